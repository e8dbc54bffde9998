"""The direct rooms in which people prove their accounts."""

from __future__ import annotations

from dataclasses import replace

from mknock.domain.direct_rooms import HOUR, REMEMBERED, DirectRoom, TalkLimits, TalkState
from mknock.ports import Entry
from mknock.storage import sql
from mknock.storage.rows import direct_room_row
from mknock.storage.transactions.steps import Steps, write

DIRECT_ROOMS_LINE = "direct rooms"


def begin_talk(room: DirectRoom, limits: TalkLimits, entry: Entry) -> Steps[bool]:
    """Put a direct room on record; see ports.Store.begin_talk."""
    yield sql.LOCK, (DIRECT_ROOMS_LINE,)
    at = room.began_at
    rows = yield sql.TALKS, (room.room_id, room.user_key, at - HOUR, at - REMEMBERED)
    open_now, with_them, an_hour, of_person, wrong = (int(count or 0) for count in rows[0])
    if with_them or open_now >= limits.at_once or an_hour >= limits.an_hour:
        return False
    if of_person >= limits.of_person or wrong >= limits.wrong:
        return False
    yield sql.ADD_DIRECT_ROOM, direct_room_row(replace(room, wrong=wrong))
    yield from write(replace(entry, user_id=room.user_id, after=room.state.value))
    return True


def go_on_talking(before: DirectRoom, after: DirectRoom, entry: Entry) -> Steps[bool]:
    """Write how a direct room goes on; see ports.Store.go_on_talking."""
    over = after.state is TalkState.LEFT
    rows = yield (
        sql.WRITE_DIRECT_ROOM,
        (
            before.id,
            before.fence,
            after.state.value,
            after.wrong,
            after.heard,
            before.fence + 1,
            entry.at + REMEMBERED if over else None,
        ),
    )
    if rows and after.state is not before.state:
        yield from write(
            replace(entry, user_id=before.user_id, before=before.state.value, after=after.state.value)
        )
    return bool(rows)
