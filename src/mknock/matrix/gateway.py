"""The Matrix calls Knock makes, in the order of the specification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mknock.domain.errors import HomeserverError, HomeserverUnavailable, RateLimited, Refused
from mknock.matrix.answers import number_in, text_in, unreadable
from mknock.matrix.client import MatrixClient
from mknock.ports import Existence, Member, Membership, PowerLevels

V3: Final = "v3"
EVENT: Final = {"format": "event"}
"""Ask for the whole state event, not only its content (specification 1.16; Synapse long before)."""
CREATORS_RULE: Final = 12
"""From this room version on, creators have unlimited power."""


class HomeserverGateway:
    """Knock's homeserver, reached through a MatrixClient. Keeps the contract of ``ports.Homeserver``."""

    def __init__(self, client: MatrixClient) -> None:
        self._client = client
        self._me: tuple[str, str] = ("", "")
        self._made: dict[str, Mapping[str, Any]] = {}

    async def whoami(self) -> str:
        """The Matrix ID Knock acts as. Asked once a token; a new sign-in asks again."""
        token, user_id = self._me
        if token != await self._client.token():
            data = await self._client.request("GET", (V3, "account", "whoami"), what="whoami")
            user_id = text_in(data, "user_id", "whoami")
            # Asked again, because that very call may have renewed the token.
            self._me = (await self._client.token(), user_id)
        return user_id

    async def existence(self, user_id: str) -> Existence:
        """Whether the account exists, from one profile look-up.

        Only a 404 of our own server, about its own people, is a "no": other
        servers hide profiles, and an outage says nothing.

        Raises:
            RateLimited: the profile limit; the caller may pause look-ups.
            HomeserverUnavailable: only if the homeserver is out of reach as a whole.
        """
        try:
            return await self._look_up(user_id)
        except RateLimited:
            raise
        except HomeserverError as error:
            if isinstance(error, HomeserverUnavailable) and error.everywhere:
                raise
            return Existence.UNKNOWN

    async def _look_up(self, user_id: str) -> Existence:
        try:
            await self._client.request("GET", (V3, "profile", user_id), what="profile look-up")
        except Refused as refused:
            if refused.status != 404 or not same_server(user_id, await self.whoami()):
                return Existence.UNKNOWN
            return await self._told_from_nameless(user_id, refused)
        return Existence.YES

    async def _told_from_nameless(self, user_id: str, refused: Refused) -> Existence:
        """Tell nobody from somebody without a name, whom Synapse answers with 404 as well.

        Of nobody, Synapse 1.163 says M_UNKNOWN. With M_NOT_FOUND it means a person whose
        profile is empty, but other homeservers mean nobody: the name alone settles it.
        """
        if refused.code == "M_UNKNOWN":
            return Existence.NO
        path = (V3, "profile", user_id, "displayname")
        try:
            await self._client.request("GET", path, what="profile look-up")
        except Refused as again:
            return Existence.NO if _is_absent(again) else Existence.UNKNOWN
        return Existence.YES

    async def invite(self, room_id: str, user_id: str, reason: str) -> None:
        """Invite somebody; inviting the invited again succeeds and changes nothing."""
        await self._change_membership("invite", room_id, user_id, reason)

    async def kick(self, room_id: str, user_id: str, reason: str) -> None:
        """Remove somebody, withdraw an invite, or turn a membership knock down."""
        await self._change_membership("kick", room_id, user_id, reason)

    async def _change_membership(self, verb: str, room_id: str, user_id: str, reason: str) -> None:
        body = {"user_id": user_id} | ({"reason": reason} if reason else {})
        await self._client.request("POST", (V3, "rooms", room_id, verb), what=verb, json=body, changing=True)

    async def member(self, room_id: str, user_id: str) -> Member:
        """What the room says of one person; Membership.NONE if it never heard of them."""
        data = await self._state_event(room_id, "m.room.member", user_id)
        return Member(Membership.NONE) if data is None else member_in(data)

    async def power_levels(self, room_id: str) -> PowerLevels:
        """Who may do what, with the specification's defaults and version 12's creators."""
        levels = await self._state_event(room_id, "m.room.power_levels")
        creation = await self._creation(room_id)
        return powers_in(None if levels is None else content_of(levels, "users"), creation)

    async def _creation(self, room_id: str) -> Mapping[str, Any]:
        """The room's m.room.create event, which never changes: asked once a room."""
        if room_id not in self._made:
            event = await self._state_event(room_id, "m.room.create") or {}
            if not isinstance(event.get("sender"), str):
                return event
            self._made[room_id] = event
        return self._made[room_id]

    async def _state_event(self, room_id: str, kind: str, key: str = "") -> dict[str, Any] | None:
        """One state event, or only its content from a server that ignores ``format``; None without one."""
        path = (V3, "rooms", room_id, "state", kind, key)
        try:
            return await self._client.request("GET", path, what=f"reading {kind}", params=EVENT)
        except Refused as refused:
            if _is_absent(refused):
                return None
            raise

    async def joined_members(self, room_id: str) -> Mapping[str, Mapping[str, Any]]:
        """Joined members by Matrix ID. Knock must be joined itself."""
        path = (V3, "rooms", room_id, "joined_members")
        joined = (await self._client.request("GET", path, what="reading the members")).get("joined")
        if not isinstance(joined, dict):
            raise unreadable("reading the members")
        return {user: about if isinstance(about, dict) else {} for user, about in joined.items()}

    async def room_state(self, room_id: str) -> list[dict[str, Any]]:
        """All current state events, as the homeserver gives them."""
        events = await self._client.request_list((V3, "rooms", room_id, "state"), what="reading the state")
        return [event for event in events if isinstance(event, dict)]


def same_server(user_id: str, other: str) -> bool:
    """Whether two Matrix IDs are of one homeserver; host names have no case."""
    return user_id.partition(":")[2].lower() == other.partition(":")[2].lower()


def content_of(data: dict[str, Any], own_key: str) -> dict[str, Any]:
    """Return an event's content from either shape a homeserver may answer.

    ``own_key`` is a key of the content: beside it, a "content" would have been
    written by whoever sent the event, so it does not count.
    """
    content = data.get("content")
    return content if isinstance(content, dict) and own_key not in data else data


def member_in(data: dict[str, Any]) -> Member:
    """Read an m.room.member event, or its bare content (then without ``since`` and ``sender``)."""
    content = content_of(data, "membership")
    try:
        membership = Membership(content.get("membership", ""))
    except (ValueError, TypeError):
        raise unreadable("reading m.room.member") from None
    if content is data or membership is Membership.NONE:
        return Member(membership)
    sender = data.get("sender")
    since = max(number_in(data.get("origin_server_ts")) / 1000, 0.0)
    return Member(membership, since, sender if isinstance(sender, str) else "")


def powers_in(levels: dict[str, Any] | None, creation: Mapping[str, Any]) -> PowerLevels:
    """Return the room's powers from its m.room.power_levels content and its m.room.create event.

    Without power levels the creator has 100 and everybody else 0. Values are
    whole numbers, or in rooms older than version 10 strings of them; anything
    else counts as absent.
    """
    made_by, endless = creators_in(creation)
    if levels is None:
        return PowerLevels(dict.fromkeys(made_by, 100), creators=made_by if endless else frozenset())
    users = levels.get("users")
    return PowerLevels(
        users={user: level_in(value, 0) for user, value in users.items()} if isinstance(users, dict) else {},
        users_default=level_in(levels.get("users_default"), 0),
        invite=level_in(levels.get("invite"), 0),
        kick=level_in(levels.get("kick"), 50),
        ban=level_in(levels.get("ban"), 50),
        creators=made_by if endless else frozenset(),
    )


def creators_in(creation: Mapping[str, Any]) -> tuple[frozenset[str], bool]:
    """Who made the room, and whether its version gives creators unlimited power."""
    content = content_of(dict(creation), "room_version")
    version = level_in(content.get("room_version"), 1)
    more = content.get("additional_creators") if version >= CREATORS_RULE else None
    candidates = [creation.get("sender"), *(more if isinstance(more, list) else [])]
    return frozenset(user for user in candidates if isinstance(user, str)), version >= CREATORS_RULE


def level_in(value: Any, default: int) -> int:
    """Read a power level, or a room version, from whatever was written there."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return default
    try:
        return int(value)
    except (ValueError, OverflowError):
        return default


def _is_absent(refused: Refused) -> bool:
    return refused.status == 404 and refused.code == "M_NOT_FOUND"
