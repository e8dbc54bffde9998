"""/sync and /messages of the fake homeserver: what has happened, from a position on or back from it."""

from __future__ import annotations

import json
from typing import Any

from tests.kit.fake_homeserver.endpoints import Asked
from tests.kit.fake_homeserver.errors import MatrixError, forbidden, invalid
from tests.kit.fake_homeserver.rooms import Event, Room, happened_so_far

Json = dict[str, Any]

_MEMBER = "m.room.member"
_PRESENCES = ("unavailable", "online", "offline")


def sync(asked: Asked) -> Json:
    """Answer what is new for the caller since ``since``, at once; without it, how things are."""
    caller, query = asked.sender, asked.request.query
    wait_asked_for(asked)
    if query.get("set_presence", "online") not in _PRESENCES:
        raise invalid(f"Query parameter 'set_presence' must be one of {list(_PRESENCES)}")
    since, wanted = position_in(query.get("since")), _wanted_rooms(query.get("filter", "{}"))
    rooms = [
        (room, _news_of(room, caller, since, wanted))
        for room in asked.world.rooms.values()
        if room.room_id in wanted.get("rooms", [room.room_id]) or room.membership(caller) == "invite"
    ]
    answer: Json = {
        "next_batch": f"s{happened_so_far()}",
        "device_one_time_keys_count": {"signed_curve25519": 0},
        "device_unused_fallback_key_types": [],
    }
    for room, (kind, shown) in rooms:
        if kind:
            answer.setdefault("rooms", {}).setdefault(kind, {})[room.room_id] = shown
    changed = asked.world.devices_changed_since(since, caller) if since else []
    return answer | ({"device_lists": {"changed": changed}} if changed else {})


def wait_asked_for(asked: Asked) -> float:
    """Return how many seconds the caller would wait for news; without a position nobody waits."""
    try:
        seconds = int(asked.request.query.get("timeout", "0")) / 1000
    except ValueError:
        raise invalid("Query parameter timeout must be an integer") from None
    return seconds if "since" in asked.request.query else 0.0


def is_news(answer: Json) -> bool:
    """Whether an answer of ``sync`` is worth giving before its time is over."""
    return "rooms" in answer or "device_lists" in answer


def position_in(text: str | None) -> int:
    """Read a position; 0 without one. Raises what Synapse says to one it cannot read."""
    if text is None:
        return 0
    if not (text.startswith("s") and text[1:].isdecimal()):
        raise MatrixError(400, "M_UNKNOWN", "Invalid stream token")
    return int(text[1:])


def _wanted_rooms(text: str) -> Json:
    """Read the ``room`` part of the filter."""
    try:
        wanted: Json = json.loads(text).get("room", {})
    except (ValueError, AttributeError):
        raise MatrixError(400, "M_NOT_JSON", "Invalid filter JSON") from None
    for room_id in wanted.get("rooms", []):
        if not room_id.startswith("!"):
            raise MatrixError(400, "M_UNKNOWN", f"'{room_id}' is not a 'matrix_room_id'")
    return wanted


def _news_of(room: Room, caller: str, since: int, wanted: Json) -> tuple[str, Json]:
    """Return under which heading the caller finds the room, and what stands there; "" for no news."""
    own = room.member_event(caller)
    membership = own.content["membership"] if own else None
    if membership == "join":
        shown = _of_joined(room, caller, since, wanted)
        return ("join", shown) if shown else ("", {})
    if own is None or own.number <= since:
        return "", {}
    if membership == "invite":
        return "invite", {"invite_state": {"events": _stripped(room, own)}}
    # Who comes without a position is not told where they once were.
    return ("leave" if since and membership in ("leave", "ban") else "", _timeline([own], limited=False))


def _stripped(room: Room, own: Event) -> list[Json]:
    """What somebody who is invited sees of the room (specification, "Stripped state")."""
    kinds = (
        "m.room.create",
        "m.room.name",
        "m.room.canonical_alias",
        "m.room.join_rules",
        "m.room.encryption",
    )
    shown = [own, *(event for event in room.state() if event.type in kinds)]
    return [
        {"type": each.type, "state_key": each.state_key, "sender": each.sender, "content": each.content}
        for each in shown
    ]


def _of_joined(room: Room, caller: str, since: int, wanted: Json) -> Json:
    """What is new in a room; to whom came since, as Synapse does, its whole past is new. {} for nothing."""
    timeline = wanted.get("timeline", {})
    newly = _came_at(room, caller) > since
    fitting = [event for event in room.timeline if (newly or event.number > since) and _fits(event, timeline)]
    if not fitting and not newly:
        return {}
    recent = fitting[-timeline.get("limit", 10) :]
    limited = newly or len(recent) < len(fitting)
    return _timeline(recent, limited=limited) | {
        "state": {"events": _shown(_beside(room, recent, 0 if newly else since, limited=limited))},
        "summary": {},
    }


def _came_at(room: Room, caller: str) -> int:
    """The number of the event with which the caller joined, not of a later change of name."""
    return max(
        event.number
        for event in room.timeline
        if (event.type, event.state_key) == (_MEMBER, caller)
        and event.content["membership"] == "join" != event.before.get("membership")
    )


def _beside(room: Room, shown: list[Event], since: int, *, limited: bool) -> list[Event]:
    """The state beside the timeline: what fell into its gap, and the members who sent something in it."""
    senders = {event.sender for event in shown}
    missed = [event for event in room.state() if limited and event.number > since and event not in shown]
    return [
        *(event for event in missed if event.type != _MEMBER),
        *(event for event in room.state() if event.type == _MEMBER and event.state_key in senders),
    ]


def _timeline(events: list[Event], *, limited: bool) -> Json:
    before = f"s{events[0].number - 1}" if events else f"s{happened_so_far()}"
    return {"timeline": {"events": _shown(events), "limited": limited, "prev_batch": before}}


def _shown(events: list[Event]) -> list[Json]:
    return [event.shown_with_before() for event in events]


def _fits(event: Event, wanted: Json) -> bool:
    types, senders = wanted.get("types"), wanted.get("senders")
    return (types is None or event.type in types) and (senders is None or event.sender in senders)


def messages(asked: Asked) -> Json:
    """Answer the newest events first, a page at a time; the last page that holds something has an end too."""
    caller, query = asked.sender, asked.request.query
    room = asked.room(forbidden(f"User {caller} not in room {asked.params['room']}"))
    room.state_seen_by(caller)
    if query.get("dir") != "b":
        raise invalid("Query parameter 'dir' must be one of ['b', 'f']")  # the fake only goes back
    wanted, before = _wanted_events(query.get("filter", "{}")), _token_in(query.get("from"))
    events = [event for event in reversed(room.timeline) if event.number < before and _fits(event, wanted)]
    page = events[: int(query.get("limit", "10"))]
    end = {"end": f"t{page[-1].number}"} if page else {}
    return {"start": f"t{before}", "chunk": [event.shown() for event in page], **end}


def _token_in(text: str | None) -> int:
    """Read a position in a room's past; without one, from the newest event on."""
    if text is None:
        return happened_so_far() + 1
    if text[:1] not in ("s", "t") or not text[1:].isdecimal():
        raise MatrixError(400, "M_UNKNOWN", "'from' parameter is invalid")
    return int(text[1:])


def _wanted_events(text: str) -> Json:
    try:
        wanted = json.loads(text)
    except ValueError:
        wanted = None
    if not isinstance(wanted, dict):
        raise MatrixError(400, "M_NOT_JSON", "Query parameter filter must be a valid JSON object")
    return wanted
