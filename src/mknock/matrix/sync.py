"""/sync: what is asked for, and how its answer is read (Matrix specification, "Syncing").

The answer is untrusted: one event that makes no sense never loses the others,
and nothing here raises anything but a HomeserverError.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from mknock.domain.policy_lists import KINDS
from mknock.matrix.answers import text_in
from mknock.matrix.events import object_in, objects_in, state_event_in
from mknock.ports import Invitation, News, RoomNews, StateEvent

MEMBER: Final = "m.room.member"
HEARD: Final = (
    "m.room.create",
    "m.room.encryption",
    "m.room.join_rules",
    MEMBER,
    "m.room.name",
    "m.room.power_levels",
    "m.room.tombstone",
)
HAPPENING: Final = (*HEARD, *KINDS)
"""What is heard as it happens: rules of policy lists as well. Their whole state, many thousands in some rooms, is
read by itself when it is needed."""
MOST: Final = 100
"""Events of a room in one answer; if there are more, the answer says so, and the room is re-read."""
NAMED: Final = 50
"""Rooms that the filter names. It travels in the URL, of which some proxies take 8 KiB and no more; with more
rooms, all rooms of the account are asked for."""
LONGEST_POLL: Final = 30.0
"""Seconds. Less than what the client waits for an answer (READ_TIMEOUT), so that the homeserver ends the poll."""
NOTHING: Final[Mapping[str, Any]] = {"types": []}


def sync_params(position: str | None, rooms: Collection[str], timeout: float) -> dict[str, str]:
    """The query of a /sync about these rooms. ``timeout`` in seconds; without a position it is not waited."""
    seconds = min(max(timeout, 0.0), LONGEST_POLL) if position else 0.0
    params = {
        "filter": _filter(rooms, MOST if position else 1),
        "set_presence": "offline",
        "timeout": str(int(seconds * 1000)),
    }
    return params | ({"since": position} if position else {})


def _filter(rooms: Collection[str], most: int) -> str:
    heard = {"types": HEARD, "lazy_load_members": True}
    room: dict[str, Any] = {
        "timeline": heard | {"types": HAPPENING, "limit": most},
        "state": heard,
        "ephemeral": NOTHING,
        "account_data": NOTHING,
    }
    if len(rooms) <= NAMED:
        room["rooms"] = sorted(rooms)
    return json.dumps({"presence": NOTHING, "account_data": NOTHING, "room": room}, separators=(",", ":"))


def invitations_params() -> dict[str, str]:
    """The query of a first /sync that tells of nothing but open invitations."""
    nothing = {
        "timeline": {"types": [], "limit": 1},
        "state": NOTHING,
        "ephemeral": NOTHING,
        "account_data": NOTHING,
    }
    wanted = {"presence": NOTHING, "account_data": NOTHING, "room": nothing}
    return {"filter": json.dumps(wanted, separators=(",", ":")), "set_presence": "offline", "timeout": "0"}


def invitations_in(data: Mapping[str, Any], me: str) -> tuple[Invitation, ...]:
    """The invitations that an answer of /sync tells of. ``me`` is who asked."""
    invited = object_in(object_in(data, "rooms"), "invite")
    return tuple(_invitation(room, about, me) for room, about in invited.items() if isinstance(about, dict))


def _invitation(room_id: str, about: Mapping[str, Any], me: str) -> Invitation:
    """Read the stripped state that comes with an invitation (specification, "Stripped state")."""
    events = objects_in(object_in(about, "invite_state").get("events"))
    ours = next((event for event in events if _is_our_invite(event, me)), {})
    sender, is_direct = ours.get("sender"), object_in(ours, "content").get("is_direct")
    name, alias = _told(events, "m.room.name", "name"), _told(events, "m.room.canonical_alias", "alias")
    nameless = not name and not alias and _told(events, "m.room.create", "type") != "m.space"
    return Invitation(
        room_id,
        sender if isinstance(sender, str) else "",
        name,
        direct=bool(ours) and (is_direct is True or nameless),
    )


def _is_our_invite(event: Mapping[str, Any], me: str) -> bool:
    if event.get("type") != MEMBER or event.get("state_key") != me:
        return False
    return object_in(event, "content").get("membership") == "invite"


def _told(events: Sequence[Mapping[str, Any]], kind: str, key: str) -> str:
    """A text in the content of the first event of that kind; "" for none."""
    told = [object_in(event, "content").get(key) for event in events if event.get("type") == kind]
    return next((text for text in told if isinstance(text, str)), "")


def news_in(data: Mapping[str, Any], rooms: Collection[str], me: str) -> News:
    """Read what the answer of /sync tells of these rooms and of devices. ``me`` is who asked.

    Raises:
        NotUnderstood: it has no position.
    """
    joined, left = (object_in(object_in(data, "rooms"), name) for name in ("join", "leave"))
    fallback = data.get("device_unused_fallback_key_types")
    counts = object_in(data, "device_one_time_keys_count")
    return News(
        position=text_in(data, "next_batch", "sync"),
        rooms={room: _room_news(joined[room], me) for room in rooms if room in joined},
        gone=frozenset(room for room in rooms if room in left),
        invitations=invitations_in(data, me),
        to_device=tuple(objects_in(object_in(data, "to_device").get("events"))),
        devices_changed=frozenset(_texts(object_in(data, "device_lists").get("changed"))),
        one_time_keys={name: count for name, count in counts.items() if type(count) is int},
        fallback_keys=tuple(_texts(fallback)) if isinstance(fallback, list) else None,
    )


def _room_news(about: Any, me: str) -> RoomNews:
    if not isinstance(about, dict):
        return RoomNews(gap=True)
    timeline = object_in(about, "timeline")
    read = [state_event_in(event) for event in objects_in(timeline.get("events"))]
    events = tuple(event for event in read if event is not None)
    came = max((place for place, event in enumerate(events, 1) if _is_coming(event, me)), default=0)
    # Synapse shows who comes the room's past as well, down to its making. It is no news.
    gap = bool(timeline.get("limited")) or came > 0 or _changed_aside(about)
    return RoomNews(events[came:], gap)


def _is_coming(event: StateEvent, me: str) -> bool:
    """Whether we ourselves join with this event."""
    if event.kind != MEMBER or event.key != me:
        return False
    return event.content.get("membership") == "join" != event.before.get("membership")


def _changed_aside(about: Mapping[str, Any]) -> bool:
    """Whether the state changed by more than the events that are shown, as when servers disagreed about it.

    Members say nothing here: they are shown for whoever sent something (lazy loading).
    """
    shown = objects_in(object_in(about, "state").get("events"))
    return any(event.get("type") != MEMBER for event in shown)


def _texts(values: Any) -> Sequence[str]:
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []
