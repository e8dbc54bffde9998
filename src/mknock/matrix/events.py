"""Room events of any shape, read into Knock's types.

Everything here was written by whoever sent the event: what makes no sense
counts as absent, and only a membership that cannot be read is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mknock.matrix.answers import number_in, unreadable
from mknock.ports import Member, Membership, Message, PowerLevels, StateEvent

CREATORS_RULE: Final = 12
"""From this room version on, creators have unlimited power."""


def objects_in(values: Any) -> list[dict[str, Any]]:
    """The JSON objects of a list; [] for anything else."""
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def object_in(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The JSON object under this name; {} for anything else."""
    value = data.get(name)
    return value if isinstance(value, dict) else {}


def sent_at(event: Mapping[str, Any]) -> float:
    """When an event was sent, by the sender's homeserver: seconds since the epoch; 0.0 if it does not say."""
    return max(number_in(event.get("origin_server_ts")) / 1000, 0.0)


def state_event_in(event: Mapping[str, Any]) -> StateEvent | None:
    """Read a state event; None if it is something else, or makes no sense."""
    kind, key, sender = event.get("type"), event.get("state_key"), event.get("sender")
    content = event.get("content")
    if not (isinstance(kind, str) and isinstance(key, str) and isinstance(sender, str)):
        return None
    if not isinstance(content, dict):
        return None
    before = object_in(object_in(event, "unsigned"), "prev_content")
    return StateEvent(kind, key, sender, content, before, sent_at(event))


def message_in(event: Mapping[str, Any]) -> Message | None:
    """Read a message event; None if it is something else, or makes no sense."""
    event_id, kind, content = event.get("event_id"), event.get("type"), event.get("content")
    if not (isinstance(event_id, str) and isinstance(kind, str) and isinstance(content, dict)):
        return None
    return None if "state_key" in event else Message(event_id, kind, content, sent_at(event))


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
    return Member(membership, sent_at(data), sender if isinstance(sender, str) else "")


def powers_in(levels: dict[str, Any] | None, creation: Mapping[str, Any]) -> PowerLevels:
    """Return the room's powers from its m.room.power_levels content and its m.room.create event.

    Without power levels the creator has 100 and everybody else 0. Values are
    whole numbers, or in rooms older than version 10 strings of them; anything
    else counts as absent.
    """
    made_by, endless = creators_in(creation)
    if levels is None:
        return PowerLevels(dict.fromkeys(made_by, 100), creators=made_by if endless else frozenset())
    return PowerLevels(
        users={user: level_in(value, 0) for user, value in object_in(levels, "users").items()},
        users_default=level_in(levels.get("users_default"), 0),
        invite=level_in(levels.get("invite"), 0),
        kick=level_in(levels.get("kick"), 50),
        ban=level_in(levels.get("ban"), 50),
        creators=made_by if endless else frozenset(),
        events={kind: level_in(value, 0) for kind, value in object_in(levels, "events").items()},
        events_default=level_in(levels.get("events_default"), 0),
        state_default=level_in(levels.get("state_default"), 50),
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
