"""The Matrix calls Knock makes, in the order of the specification."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from mknock.domain.errors import HomeserverError, HomeserverUnavailable, RateLimited, Refused
from mknock.matrix.answers import NotUnderstood, moment_in, text_in, unreadable
from mknock.matrix.client import MatrixClient
from mknock.matrix.events import (
    content_of,
    member_in,
    message_in,
    object_in,
    objects_in,
    powers_in,
    sent_at,
    state_event_in,
)
from mknock.matrix.sync import invitations_in, invitations_params, news_in, sync_params
from mknock.ports import (
    Existence,
    Invitation,
    LostPosition,
    Member,
    Membership,
    Message,
    News,
    PowerLevels,
    RoomAddress,
    ServerFacts,
)

V3: Final = "v3"
EVENT: Final = {"format": "event"}
"""Ask for the whole state event, not only its content (specification 1.16; Synapse long before)."""
PAGE: Final = 50
PAGES: Final = 20
"""How far back our own messages are looked through: so many pages of so many."""
MESSAGES: Final = ("m.room.message", "m.room.encrypted")
"""The kinds of event that Knock sends."""
MOST_SAID: Final = 10
"""Messages of one person that are looked at: of a flood only the newest."""
MOST_SERVERS: Final = 5
"""Servers through which a room is entered, of those that an alias names."""
LONGEST_NAME: Final = 100
"""Characters of what a homeserver calls itself."""


@dataclass(frozen=True, slots=True)
class _Me:
    """Whose token it is."""

    token: str = ""
    user_id: str = ""
    device: str = ""


class HomeserverGateway:
    """Knock's homeserver, reached through a MatrixClient. Keeps the contract of ``ports.Homeserver``."""

    def __init__(self, client: MatrixClient) -> None:
        self._client = client
        self._me = _Me()
        self._made: dict[str, Mapping[str, Any]] = {}

    async def whoami(self) -> str:
        """The Matrix ID Knock acts as. Asked once a token; a new sign-in asks again."""
        return (await self._who()).user_id

    async def device(self) -> str:
        """The device whose token Knock uses; "" for a token without one. Asked once a token."""
        return (await self._who()).device

    async def _who(self) -> _Me:
        if self._me.token != await self._client.token():
            data = await self._client.request("GET", (V3, "account", "whoami"), what="whoami")
            user_id, device = text_in(data, "user_id", "whoami"), data.get("device_id")
            # Asked again, because that very call may have renewed the token.
            token = await self._client.token()
            self._me = _Me(token, user_id, device if isinstance(device, str) else "")
        return self._me

    async def about(self) -> ServerFacts:
        """What the homeserver tells of itself, by the headers ``Server`` and ``Date`` of any answer."""
        answer = await self._client.greet()
        software = answer.header("Server").strip()[:LONGEST_NAME]
        return ServerFacts(software, moment_in(answer.header("Date")))

    async def rooms(self) -> list[str]:
        """The rooms and spaces we are in."""
        data = await self._client.request("GET", (V3, "joined_rooms"), what="looking for our rooms")
        rooms = data.get("joined_rooms")
        if not isinstance(rooms, list):
            raise unreadable("looking for our rooms")
        return [room for room in rooms if isinstance(room, str)]

    async def invitations(self) -> Sequence[Invitation]:
        """The open invitations. A first /sync takes nothing from anybody; Synapse says the same for two minutes."""
        data = await self._client.request(
            "GET", (V3, "sync"), what="looking for invitations", params=invitations_params()
        )
        return invitations_in(data, await self.whoami())

    async def join(self, room_id: str, via: Sequence[str] = ()) -> None:
        """Enter a room; through ``via``, if our homeserver is not in it yet (by both names of the parameter)."""
        path = (V3, "join", room_id) if via else (V3, "rooms", room_id, "join")
        params = dict.fromkeys(("via", "server_name"), tuple(via))
        await self._client.request("POST", path, what="joining", json={}, params=params, changing=True)

    async def leave(self, room_id: str) -> None:
        """Leave a room, or decline its invitation; then forget it, which is no matter of life and death."""
        path = (V3, "rooms", room_id)
        await self._client.request("POST", (*path, "leave"), what="leaving", json={}, changing=True)
        with suppress(Refused):
            await self._client.request("POST", (*path, "forget"), what="forgetting", json={}, changing=True)

    async def resolve(self, alias: str) -> RoomAddress | None:
        """The room behind an alias. Only our own homeserver is asked; it asks others."""
        try:
            data = await self._client.request("GET", (V3, "directory", "room", alias), what="finding a room")
        except Refused as refused:
            if _is_absent(refused):
                return None
            raise
        servers = data.get("servers")
        known = [server for server in servers if isinstance(server, str)] if isinstance(servers, list) else []
        return RoomAddress(text_in(data, "room_id", "finding a room"), tuple(known[:MOST_SERVERS]))

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

    async def ban(self, room_id: str, user_id: str, reason: str) -> None:
        """Remove somebody for good, or keep them from ever coming."""
        await self._change_membership("ban", room_id, user_id, reason)

    async def _change_membership(self, verb: str, room_id: str, user_id: str, reason: str) -> None:
        body = {"user_id": user_id} | ({"reason": reason} if reason else {})
        await self._client.request("POST", (V3, "rooms", room_id, verb), what=verb, json=body, changing=True)

    async def member(self, room_id: str, user_id: str) -> Member:
        """What the room says of one person; Membership.NONE if it never heard of them."""
        data = await self._state_event(room_id, "m.room.member", user_id)
        return Member(Membership.NONE) if data is None else member_in(data)

    async def members(self, room_id: str, membership: Membership) -> Mapping[str, Member]:
        """Everybody with this membership. Of joined members only that, by a much lighter call."""
        if membership is Membership.JOIN:
            return dict.fromkeys(await self.joined_members(room_id), Member(Membership.JOIN))
        path = (V3, "rooms", room_id, "members")
        params = {"membership": membership.value}
        data = await self._client.request("GET", path, what="reading the members", params=params)
        chunk = data.get("chunk")
        if not isinstance(chunk, list):
            raise unreadable("reading the members")
        events = (state_event_in(event) for event in objects_in(chunk))
        return {
            event.key: Member(membership, event.at, event.sender)
            for event in events
            if event is not None and event.content.get("membership") == membership.value
        }

    async def state(self, room_id: str, kind: str, key: str = "") -> Mapping[str, Any] | None:
        """The content of one state event; None if the room has none."""
        return await self._state(room_id, kind, key)

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
        return await self._state(room_id, kind, key, params=EVENT)

    async def _state(
        self, room_id: str, kind: str, key: str, *, params: Mapping[str, str] | None = None
    ) -> dict[str, Any] | None:
        path = (V3, "rooms", room_id, "state", kind, key)
        try:
            return await self._client.request("GET", path, what=f"reading {kind}", params=params)
        except Refused as refused:
            if _is_absent(refused):
                return None
            raise

    async def set_state(self, room_id: str, kind: str, key: str, content: Mapping[str, Any]) -> None:
        """Write a state event."""
        path = (V3, "rooms", room_id, "state", kind, key)
        await self._client.request("PUT", path, what=f"writing {kind}", json=content, changing=True)

    async def send(self, room_id: str, kind: str, transaction: str, content: Mapping[str, Any]) -> str:
        """Send an event. The homeserver remembers the transaction of a device, for a while (Synapse: a day)."""
        path = (V3, "rooms", room_id, "send", kind, transaction)
        data = await self._client.request("PUT", path, what="sending", json=content, changing=True)
        return text_in(data, "event_id", "sending")

    async def sent_before(self, room_id: str, key: str, value: str, *, since: float) -> bool:
        """Whether one of our own messages since then has this key and value in its content.

        Looks at the newest PAGES * PAGE of them. Who sent a message is looked at here as
        well: a member who copies our key must not keep us from sending ours.
        """
        me = await self.whoami()
        path = (V3, "rooms", room_id, "messages")
        wanted = {"senders": [me], "types": MESSAGES}
        params = {"dir": "b", "limit": str(PAGE), "filter": json.dumps(wanted)}
        for _ in range(PAGES):
            data = await self._client.request("GET", path, what="looking for our message", params=params)
            if not isinstance(data.get("chunk"), list):
                raise unreadable("looking for our message")
            ours = [event for event in objects_in(data["chunk"]) if event.get("sender") == me]
            if any(object_in(event, "content").get(key) == value for event in ours):
                return True
            end = data.get("end")
            if not isinstance(end, str) or any(sent_at(event) < since for event in ours):
                return False
            params["from"] = end
        return False

    async def said(self, room_id: str, user_id: str) -> Sequence[Message]:
        """The newest messages of one person; who sent them is looked at here as well."""
        what, path = "reading a direct room", (V3, "rooms", room_id, "messages")
        wanted = {"senders": [user_id], "types": MESSAGES}
        params = {"dir": "b", "limit": str(MOST_SAID), "filter": json.dumps(wanted)}
        data = await self._client.request("GET", path, what=what, params=params)
        if not isinstance(data.get("chunk"), list):
            raise unreadable(what)
        read = [message_in(event) for event in objects_in(data["chunk"]) if event.get("sender") == user_id]
        return [message for message in read if message is not None and message.kind in MESSAGES]

    async def account_data(self, kind: str) -> Mapping[str, Any]:
        """What our account keeps under this name."""
        path = (V3, "user", await self.whoami(), "account_data", kind)
        try:
            return await self._client.request("GET", path, what="reading our account's settings")
        except Refused as refused:
            if _is_absent(refused):
                return {}
            raise

    async def sync(
        self,
        position: str | None,
        rooms: Sequence[str],
        *,
        timeout: float,  # noqa: ASYNC109 - how long the homeserver may wait
    ) -> News:
        """Wait for news of these rooms, at most LONGEST_POLL seconds; without a position, learn where we are now.

        Raises:
            LostPosition: the homeserver does not know the position (any more), or what
                it tells from there on cannot be read, and never will be.
        """
        me = await self.whoami()
        params = sync_params(position, rooms, timeout)
        try:
            data = await self._client.request("GET", (V3, "sync"), what="sync", params=params, waiting=True)
            news = news_in(data, rooms, me)
        except (NotUnderstood, Refused) as error:
            if position and _leads_nowhere(error):
                raise LostPosition from error
            raise
        return news if position else replace(news, rooms={}, gone=frozenset())

    async def device_keys(self, user_id: str, device: str) -> Mapping[str, Any] | None:
        """The encryption keys that a device has published; None if it has none."""
        asked = {"device_keys": {user_id: [device]}}
        data = await self._client.request(
            "POST", (V3, "keys", "query"), what="looking for device keys", json=asked
        )
        found: Any = data.get("device_keys")
        for name in (user_id, device):
            found = found.get(name) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else None

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


def _leads_nowhere(error: NotUnderstood | Refused) -> bool:
    """Whether going on from the same position is vain. Synapse answers one it cannot read with 400 M_UNKNOWN."""
    return isinstance(error, NotUnderstood) or error.status == 400


def _is_absent(refused: Refused) -> bool:
    return refused.status == 404 and refused.code == "M_NOT_FOUND"
