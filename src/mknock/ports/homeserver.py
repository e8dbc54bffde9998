"""The homeserver: the calls that Knock makes, and what it hears."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol


class Membership(StrEnum):
    """A person's membership of a room (Matrix specification, m.room.member)."""

    INVITE = "invite"
    JOIN = "join"
    KNOCK = "knock"
    LEAVE = "leave"
    BAN = "ban"
    NONE = "none"
    """Never had one."""


@dataclass(frozen=True, slots=True)
class Member:
    """What the room says of one person. ``since`` is 0.0 when the homeserver does not tell."""

    membership: Membership
    since: float = 0.0
    sender: str = ""


@dataclass(frozen=True, slots=True)
class PowerLevels:
    """Who may do what in a room (m.room.power_levels, with the specification's defaults).

    ``creators`` have unlimited power in rooms of version 12 and later.
    """

    users: Mapping[str, int]
    users_default: int = 0
    invite: int = 0
    kick: int = 50
    ban: int = 50
    creators: frozenset[str] = field(default_factory=frozenset)
    events: Mapping[str, int] = field(default_factory=dict)
    """What sending an event of a type needs, where that is not ``events_default``."""
    events_default: int = 0
    state_default: int = 50

    def of(self, user_id: str) -> float:
        """The power of one person; infinite for a creator of a version 12 room."""
        if user_id in self.creators:
            return float("inf")
        return self.users.get(user_id, self.users_default)

    def to_send(self, kind: str) -> int:
        """The power that sending a message event of this type needs."""
        return self.events.get(kind, self.events_default)

    def to_set(self, kind: str) -> int:
        """The power that writing a state event of this type needs."""
        return self.events.get(kind, self.state_default)


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a homeserver tells of itself."""

    software: str = ""
    """Such as "Synapse/1.163.2"; "" if it does not say."""
    clock: float | None = None
    """Its time at the answer, in seconds since the epoch, to the second; None if it does not say."""


@dataclass(frozen=True, slots=True)
class StateEvent:
    """A state event of a room, as /sync tells it. ``at`` is its origin_server_ts in seconds."""

    kind: str
    key: str
    sender: str
    content: Mapping[str, Any]
    before: Mapping[str, Any] = field(default_factory=dict)
    """The content it replaced (``unsigned.prev_content``); empty if there was none."""
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class RoomNews:
    """What happened in one room, oldest first. With ``gap`` something is missing: re-read the members."""

    events: tuple[StateEvent, ...] = ()
    gap: bool = False


@dataclass(frozen=True, slots=True)
class Invitation:
    """Somebody invites us to a room. What it says was written by them."""

    room_id: str
    sender: str
    name: str = ""
    """The room's; "" for none."""
    direct: bool = False
    """It is meant for the two of us: it says so, or the room has neither a name nor an address."""


@dataclass(frozen=True, slots=True)
class Message:
    """What somebody sent into a room, encrypted or not. ``at`` is its origin_server_ts in seconds."""

    event_id: str
    kind: str
    content: Mapping[str, Any]
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class News:
    """One answer of /sync. ``position`` is where to go on; store it once all of this is dealt with."""

    position: str
    rooms: Mapping[str, RoomNews] = field(default_factory=dict)
    """The rooms we are in, by room ID."""
    gone: frozenset[str] = frozenset()
    """Rooms that we have left or been thrown out of."""
    invitations: tuple[Invitation, ...] = ()
    """Those that are new; without a position all that are open."""
    to_device: tuple[Mapping[str, Any], ...] = ()
    """What was sent to our own device: kept by the homeserver until the next position is asked for."""
    devices_changed: frozenset[str] = frozenset()
    """People whose devices are new or different (``device_lists.changed``)."""
    one_time_keys: Mapping[str, int] = field(default_factory=dict)
    """Our own unused one-time keys on the homeserver, by algorithm."""
    fallback_keys: tuple[str, ...] | None = None
    """The algorithms of our unused fallback keys; None when the homeserver did not say."""


@dataclass(frozen=True, slots=True)
class RoomAddress:
    """A room that an alias stands for, and servers through which it can be entered."""

    room_id: str
    servers: tuple[str, ...] = ()


class LostPosition(Exception):
    """The homeserver no longer knows the position: begin anew, and re-read the members."""


class Existence(StrEnum):
    """Whether an account exists, as far as a profile look-up can tell."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"
    """Hidden profile, other homeserver, limits, or an outage: not a "no"."""


class Homeserver(Protocol):
    """The Matrix calls Knock makes. Every one may raise a HomeserverError.

    ``room_id`` is always an ID, never an alias; path segments are percent-encoded.
    """

    async def whoami(self) -> str:
        """The Matrix ID Knock acts as (GET /account/whoami)."""

    async def about(self) -> ServerFacts:
        """What the homeserver tells anybody of itself (GET /versions)."""

    async def rooms(self) -> list[str]:
        """The IDs of the rooms and spaces we are in (GET /joined_rooms)."""

    async def invitations(self) -> Sequence[Invitation]:
        """The invitations that we have not answered; some homeservers tell of a change only after minutes."""

    async def join(self, room_id: str, via: Sequence[str] = ()) -> None:
        """Accept an invitation, or enter a room that is open to all. ``via`` are servers that are in it."""

    async def leave(self, room_id: str) -> None:
        """Leave a room, or decline its invitation, and forget it."""

    async def resolve(self, alias: str) -> RoomAddress | None:
        """What an alias stands for; None if there is no such alias."""

    async def existence(self, user_id: str) -> Existence: ...

    async def invite(self, room_id: str, user_id: str, reason: str) -> None: ...

    async def kick(self, room_id: str, user_id: str, reason: str) -> None: ...

    async def member(self, room_id: str, user_id: str) -> Member: ...

    async def power_levels(self, room_id: str) -> PowerLevels: ...

    async def ban(self, room_id: str, user_id: str, reason: str) -> None: ...

    async def members(self, room_id: str, membership: Membership) -> Mapping[str, Member]:
        """Everybody with this membership, by Matrix ID."""

    async def state(self, room_id: str, kind: str, key: str = "") -> Mapping[str, Any] | None:
        """The content of one state event; None if the room has none."""

    async def set_state(self, room_id: str, kind: str, key: str, content: Mapping[str, Any]) -> None:
        """Write a state event; the same content again changes nothing."""

    async def send(self, room_id: str, kind: str, transaction: str, content: Mapping[str, Any]) -> str:
        """Send a message event; the same ``transaction`` again changes nothing. Returns its event ID."""

    async def sent_before(self, room_id: str, key: str, value: str, *, since: float) -> bool:
        """Whether one of our own events since then (seconds) has this key and value in its content."""

    async def said(self, room_id: str, user_id: str) -> Sequence[Message]:
        """The newest messages of one person in a room that we are in, newest first; at most ten."""

    async def account_data(self, kind: str) -> Mapping[str, Any]:
        """What our account keeps under this name; nothing if it keeps none."""

    async def device(self) -> str:
        """The ID of the device whose token we use; "" if the token has none."""

    async def device_keys(self, user_id: str, device: str) -> Mapping[str, Any] | None:
        """The encryption keys that a device has published (POST /keys/query); None if it has none."""

    async def sync(self, position: str | None, rooms: Sequence[str], *, timeout: float) -> News:  # noqa: ASYNC109 - the long poll
        """Wait up to ``timeout`` seconds for news of these rooms. Without a position: where we are now.

        Raises:
            LostPosition: the position is no longer known.
        """

    async def joined_members(self, room_id: str) -> Mapping[str, Mapping[str, Any]]:
        """Joined members by Matrix ID, with ``display_name`` and ``avatar_url`` as the homeserver gives them."""

    async def room_state(self, room_id: str) -> list[dict[str, Any]]:
        """All current state events of the room."""
