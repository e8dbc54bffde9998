"""Workers take what is due, and write down what came of it."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from mknock.domain.knocks import Knock
from mknock.ports import (
    Claimed,
    Entry,
    Pace,
    Queue,
)
from mknock.storage import sql
from mknock.storage.rows import knock_of
from mknock.storage.transactions.linking import give_back
from mknock.storage.transactions.steps import Rows, Step, Steps, person_line, wake_for, write, write_knock


def claim(now: float, limit: int, lease: float, pace: Pace | None, queue: Queue) -> Steps[Claimed]:
    """Claim due knocks within the pace; see ports.Store.claim."""
    if pace is not None and pace.interval > 0:
        yield sql.LOCK, ("pace",)
    rows = yield sql.PAUSED_QUEUE[queue], ()
    paused = rows[0][0]
    if paused is not None and paused > now:
        return Claimed((), paused)
    free_at = now
    if pace is not None and pace.interval > 0:
        rows = yield sql.PACE, ("changes",)
        free_at = max(now, rows[0][0]) if rows else now
        slots = int((now + pace.burst * pace.interval - free_at) / pace.interval + 1e-9)
        if slots < 1:
            next_at = free_at - (pace.burst - 1) * pace.interval
            return Claimed((), (yield from _later(queue, next_at)))
        limit = min(limit, slots)
    rows = yield sql.claim(queue), (now, now + lease, limit)
    if rows and pace is not None and pace.interval > 0:
        yield sql.SET_PACE, ("changes", free_at + len(rows) * pace.interval)
    knocks = sorted((knock_of(row) for row in rows), key=lambda knock: knock.id)
    return Claimed(tuple(knocks), (yield from _later(queue, 0.0)))


def _later(queue: Queue, earliest: float) -> Generator[Step, Rows, float | None]:
    """When the next knock of the queue is due, but not before ``earliest``."""
    rows = yield sql.NEXT_DUE[queue], ()
    return max(rows[0][0], earliest) if rows else None


def hurry(user_key: str, now: float) -> Steps[int]:
    yield sql.LOCK, (person_line(user_key),)
    rows = yield sql.HURRY, (user_key, now)
    if rows:
        yield sql.WAKE, ()
    return len(rows)


def renew(claims: Sequence[Knock], until: float) -> Steps[None]:
    yield sql.LOCK, tuple({person_line(knock.user_key) for knock in claims})
    for knock in claims:
        yield sql.RENEW, (knock.id, knock.fence, until)


def put_back(knock: Knock, due_at: float, tried: bool) -> Steps[bool]:
    yield sql.LOCK, (person_line(knock.user_key),)
    rows = yield sql.PUT_BACK, (knock.id, knock.fence, due_at, int(tried))
    return bool(rows)


def record(knock: Knock, after: Knock, entries: Sequence[Entry]) -> Steps[bool]:
    """Write what became of a claimed knock, unless its claim was taken over."""
    yield sql.LOCK, (person_line(knock.user_key),)
    rows = yield write_knock(knock, after, fence=knock.fence)
    if not rows:
        return False
    yield from give_back(knock, after)
    yield from write(*entries)
    yield from wake_for(after)
    return True
