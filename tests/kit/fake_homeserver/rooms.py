"""Rooms of the fake homeserver: who is in them, who may do what.

The rules are those of the specification's authorisation rules, asked in
Synapse's order, since the order decides which of two refusals is answered.
https://spec.matrix.org/latest/rooms/v12/#authorization-rules
"""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.kit.fake_homeserver.errors import MatrixError, bad_state, forbidden, invalid, not_found
from tests.kit.homeserver import SERVER_NAME
from tests.kit.rooms import creator_outranks

Json = dict[str, Any]
State = dict[tuple[str, str], "Event"]

DEFAULT_VERSION = "12"
VERSIONS = frozenset(str(number) for number in range(1, 13))

DEFAULT_LEVELS = {
    "ban": 50,
    "events_default": 0,
    "invite": 0,
    "kick": 50,
    "redact": 50,
    "state_default": 50,
    "users_default": 0,
}
"""What counts when the power levels are silent."""

LEVELS_OF_EVENTS = {
    "m.room.avatar": 50,
    "m.room.canonical_alias": 50,
    "m.room.encryption": 100,
    "m.room.history_visibility": 100,
    "m.room.name": 50,
    "m.room.power_levels": 100,
    "m.room.server_acl": 100,
    "m.room.tombstone": 100,
}

KNOCKABLE = frozenset({"knock", "knock_restricted"})
"""The join rules under which one may knock."""

_MEMBER = "m.room.member"
_LEVELS = "m.room.power_levels"
_room_numbers = itertools.count(1)


class _Count:
    """Numbers whatever happens, in any room."""

    def __init__(self) -> None:
        self.last = 0

    def next(self) -> int:
        self.last += 1
        return self.last


_happenings = _Count()


@dataclass(slots=True)
class Event:
    """Something that happened in a room; ``state_key`` is None for a message."""

    type: str
    sender: str
    content: Json
    state_key: str | None = None
    room_id: str = ""
    number: int = field(default_factory=_happenings.next)
    """Its place among all events of all rooms; /sync counts in it."""
    before: Json = field(default_factory=dict)
    """The content that it replaced."""
    origin_server_ts: int = field(default_factory=lambda: int(time.time() * 1000))

    @property
    def event_id(self) -> str:
        return f"$event{self.number}"

    def shown_with_before(self) -> Json:
        """Return the event as /sync shows it: with the content that it replaced, and without the room."""
        shown = self.shown()
        del shown["room_id"]
        if self.before:
            shown["unsigned"]["prev_content"] = self.before
        return shown

    def shown(self) -> Json:
        """Return the event as the client-server API shows it."""
        event: Json = {
            "type": self.type,
            "sender": self.sender,
            "content": self.content,
            "room_id": self.room_id,
            "event_id": self.event_id,
            "origin_server_ts": self.origin_server_ts,
            "unsigned": {"age": 0},
        }
        return event if self.state_key is None else {**event, "state_key": self.state_key}


class Room:
    """A room's current state, everything that happened in it, and the rules to change it."""

    def __init__(self, creator: str, *, version: str = DEFAULT_VERSION) -> None:
        if version not in VERSIONS:
            text = "Your homeserver does not support this room version"
            raise MatrixError(400, "M_UNSUPPORTED_ROOM_VERSION", text)
        self.creator = creator
        self.version = version
        self.room_id = _new_room_id(version)
        self.timeline: list[Event] = []
        self.tell: Callable[[], None] = lambda: None
        """Called when something has happened here."""
        self._state: State = {}
        self._left_with: dict[str, State] = {}
        self._transactions: dict[tuple[str, str, str, str], Event] = {}
        self._found()

    @property
    def creator_outranks(self) -> bool:
        """From version 12 on no power level reaches the creator's, and it is listed nowhere."""
        return creator_outranks(self.version)

    def _found(self) -> None:
        levels: Json = {**DEFAULT_LEVELS, "events": dict(LEVELS_OF_EVENTS), "users": {self.creator: 100}}
        if self.creator_outranks:
            levels["users"] = {}
            levels["events"]["m.room.tombstone"] = 150
        self._set("m.room.create", self.creator, {"room_version": self.version})
        self.set_membership(self.creator, self.creator, "join")
        self._set(_LEVELS, self.creator, levels)
        self._set("m.room.join_rules", self.creator, {"join_rule": "invite"})

    # Looking

    def state(self) -> list[Event]:
        """Return what the state is now."""
        return list(self._state.values())

    def member_event(self, user_id: str) -> Event | None:
        return self._state.get((_MEMBER, user_id))

    def membership(self, user_id: str) -> str | None:
        event = self._state.get((_MEMBER, user_id))
        return event.content["membership"] if event else None

    def memberships(self) -> dict[str, str]:
        """Return everybody that the room ever heard of and what they are now."""
        return {
            key: event.content["membership"] for (kind, key), event in self._state.items() if kind == _MEMBER
        }

    def invite_counts(self) -> Counter[str]:
        """Return how many invites of each person really became an event; a repeat is none."""
        return Counter(
            str(event.state_key)
            for event in self.timeline
            if event.type == _MEMBER and event.content["membership"] == "invite"
        )

    def state_seen_by(self, user_id: str) -> State:
        """Return the state that this person may read.

        Who left, or was kicked, reads what it was then: a bot that was
        thrown out gets 200 and old news.
        """
        membership = self.membership(user_id)
        if membership == "join":
            return self._state
        if membership == "leave":
            return self._left_with[user_id]
        raise forbidden(f"User {user_id} not in room {self.room_id}, and room previews are disabled")

    def state_event(self, user_id: str, event_type: str, state_key: str) -> Event:
        event = self.state_seen_by(user_id).get((event_type, state_key))
        if event is None:
            raise not_found("Event not found.")
        return event

    def members(self, user_id: str) -> list[Event]:
        """Return the member events that this person may read."""
        return [event for (kind, _), event in self.state_seen_by(user_id).items() if kind == _MEMBER]

    def joined_members(self, user_id: str) -> Json:
        members = self.members(user_id)
        if self.membership(user_id) != "join":
            raise forbidden("Getting joined members while not being a current member is forbidden.")
        return {
            str(event.state_key): {"display_name": event.content.get("displayname"), "avatar_url": None}
            for event in members
            if event.content["membership"] == "join"
        }

    def power(self, user_id: str) -> float:
        if user_id == self.creator and self.creator_outranks:
            return math.inf
        levels = self._levels()
        return float(levels.get("users", {}).get(user_id, levels["users_default"]))

    def level(self, action: str) -> float:
        """Return the power that it takes to ``invite``, ``kick``, ``ban``, …"""
        return float(self._levels()[action])

    def _levels(self) -> Json:
        return DEFAULT_LEVELS | self._state[(_LEVELS, "")].content

    # Changing memberships

    def invite(self, sender: str, target: str, content: Json, *, reach: Callable[[], None]) -> None:
        """Invite somebody; ``reach`` raises when their server, which must agree, is out of reach."""
        if self.membership(target) == "ban":
            raise bad_state("Cannot invite user who was banned")
        if self._is_so_already(sender, target, "invite", content):
            return
        self._must_be_in(sender)
        if self.membership(target) == "join":
            raise forbidden(f"{target} is already in the room.")
        if self.power(sender) < self.level("invite"):
            raise forbidden("You don't have permission to invite users")
        reach()
        self.set_membership(sender, target, "invite", content)

    def kick(self, sender: str, target: str, content: Json) -> None:
        if self.membership(target) == "ban":
            raise bad_state("Cannot kick user who was banned")
        if self.membership(target) in (None, "leave"):
            raise forbidden("The target user is not in the room")
        self._must_be_in(sender)
        if sender != target:
            self._must_outrank(sender, target, "kick", f"You cannot kick user {target}.")
        self.set_membership(sender, target, "leave", content)

    def ban(self, sender: str, target: str, content: Json) -> None:
        if self._is_so_already(sender, target, "ban", content):
            return
        self._must_be_in(sender)
        self._must_outrank(sender, target, "ban", "You don't have permission to ban this user")
        self.set_membership(sender, target, "ban", content)

    def unban(self, sender: str, target: str, content: Json) -> None:
        """Lift a ban. About a person who was never here it succeeds and writes ``leave``, as Synapse does."""
        if self.membership(target) not in (None, "ban"):
            raise bad_state(f"Cannot unban user who was not banned (membership={self.membership(target)})")
        self._must_be_in(sender)
        if self.membership(target) == "ban" and self.power(sender) < self.level("ban"):
            raise forbidden(f"You cannot unban user {target}.")
        self._must_outrank(sender, target, "kick", f"You cannot kick user {target}.")
        self.set_membership(sender, target, "leave", content)

    def join(self, user_id: str, content: Json) -> None:
        if self.membership(user_id) == "ban":
            raise bad_state("Cannot join user who was banned")
        if self.membership(user_id) == "join":
            return
        public = self._state[("m.room.join_rules", "")].content.get("join_rule") == "public"
        if not public and self.membership(user_id) != "invite":
            raise forbidden("You are not invited to this room.")
        self.set_membership(user_id, user_id, "join", content)

    def knock(self, user_id: str, content: Json) -> None:
        if self.membership(user_id) == "ban":
            raise bad_state("Cannot knock user who was banned")
        if self._is_so_already(user_id, user_id, "knock", content):
            return
        if self._state[("m.room.join_rules", "")].content.get("join_rule") not in KNOCKABLE:
            raise forbidden("You don't have permission to knock")
        if self.membership(user_id) == "join":
            raise forbidden("You cannot knock on a room you are already in")
        if self.membership(user_id) == "invite":
            raise forbidden("You are already invited to this room")
        self.set_membership(user_id, user_id, "knock", content)

    def leave(self, user_id: str, content: Json) -> None:
        if self._is_so_already(user_id, user_id, "leave", content):
            return
        if self.membership(user_id) not in ("join", "invite", "knock"):
            raise forbidden(f"{user_id} not in room {self.room_id}.")
        self.set_membership(user_id, user_id, "leave", content)

    def set_membership(self, sender: str, target: str, membership: str, content: Json | None = None) -> None:
        """Write a member event without asking whether that is allowed."""
        self._set(_MEMBER, sender, {**(content or {}), "membership": membership}, target)
        if membership == "leave":
            self._left_with[target] = dict(self._state)

    def _is_so_already(self, sender: str, target: str, membership: str, content: Json) -> bool:
        """Tell whether the same sender said exactly this last; then it is answered and not repeated."""
        last = self._state.get((_MEMBER, target))
        wanted = {**content, "membership": membership}
        return last is not None and last.sender == sender and last.content == wanted

    def _must_be_in(self, user_id: str) -> None:
        if self.membership(user_id) != "join":
            raise forbidden(f"{user_id} not in room {self.room_id}.")

    def _must_outrank(self, sender: str, target: str, action: str, refusal: str) -> None:
        if self.power(sender) < self.level(action) or self.power(sender) <= self.power(target):
            raise forbidden(refusal)

    # Sending

    def send(self, sender: str, device_id: str, event_type: str, transaction: str, content: Json) -> str:
        """Send a message and return its event id; the same transaction of a device sends nothing new."""
        key = (sender, device_id, event_type, transaction)
        if key in self._transactions:
            return self._transactions[key].event_id
        self._must_be_joined_to_send(sender)
        for needed in ("body", "msgtype") if event_type == "m.room.message" else ():
            if needed not in content:
                raise MatrixError(400, "M_UNKNOWN", f"'{needed}' not in content")
        self._must_have_power(sender, event_type, "events_default")
        self._transactions[key] = self._happened(Event(event_type, sender, content))
        return self._transactions[key].event_id

    def put_state(self, sender: str, event_type: str, state_key: str, content: Json) -> str:
        """Change a piece of state that is no membership; the same content again changes nothing."""
        if event_type == _MEMBER:
            raise invalid("The fake takes memberships by their own calls only")
        self._must_be_joined_to_send(sender)
        self._must_have_power(sender, event_type, "state_default")
        if event_type == _LEVELS and self.creator_outranks and self.creator in content.get("users", {}):
            text = f"Creator user {self.creator} must not appear in content.users"
            raise MatrixError(400, "M_UNKNOWN", text)
        last = self._state.get((event_type, state_key))
        if last and (last.sender, last.content) == (sender, content):
            return last.event_id
        return self._set(event_type, sender, content, state_key).event_id

    def write(self, event_type: str, content: Json, state_key: str = "") -> None:
        """Write state as the creator, without asking; for the making of the room."""
        self._set(event_type, self.creator, content, state_key)

    def override_levels(self, content: Json) -> None:
        """Change the levels that the room starts with, as ``power_level_content_override`` does."""
        self._set(_LEVELS, self.creator, {**self._state[(_LEVELS, "")].content, **content})

    def _must_be_joined_to_send(self, sender: str) -> None:
        if self.membership(sender) != "join":
            raise forbidden(f"User {sender} not in room {self.room_id}")

    def _must_have_power(self, sender: str, event_type: str, default: str) -> None:
        needed = self._levels().get("events", {}).get(event_type, self.level(default))
        if self.power(sender) < needed:
            raise forbidden(f"You don't have permission to post that to the room. needed: {needed}")

    def _set(self, event_type: str, sender: str, content: Json, state_key: str = "") -> Event:
        last = self._state.get((event_type, state_key))
        event = Event(event_type, sender, content, state_key, before=last.content if last else {})
        self._happened(event)
        self._state[(event_type, state_key)] = event
        return event

    def _happened(self, event: Event) -> Event:
        event.room_id = self.room_id
        self.timeline.append(event)
        self.tell()
        return event


def happened_so_far() -> int:
    """The number of the newest happening of all; the next one's is greater."""
    return _happenings.last


def something_happened() -> int:
    """Number something that is no event of a room."""
    return _happenings.next()


def _new_room_id(version: str) -> str:
    # Synapse's ids of version 12 are a hash without a server: 43 characters
    # of URL-safe base64. Older ones are 18 letters and the server's name.
    number = next(_room_numbers)
    return f"!{number:A>43}" if creator_outranks(version) else f"!{number:a>18}:{SERVER_NAME}"
