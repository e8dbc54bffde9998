"""Counting who comes: sliding windows, one row a subject and slot of time."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import NamedTuple

from mknock.domain.raids import DAY, HOUR, RECENT, Arrivals, Raid
from mknock.ports import Attempt
from mknock.storage import sql
from mknock.storage.rows import RAID_COLUMNS
from mknock.storage.transactions.steps import Rows, Step

RAID_WIDTH = RAID_COLUMNS.count(",") + 1


class Slot(NamedTuple):
    """The part of time in which something is counted: a window long, needed for one window more."""

    expires_at: float
    earlier: float
    """When the slot before this one is forgotten; which names it."""
    left: float
    """How much of the slot before still is within the last ``window`` seconds, from 1 to 0."""

    def estimate(self, count: int | None, before: int | None) -> float:
        """The count of the last ``window`` seconds with one more, as if the slot before had filled evenly."""
        return (count or 0) + 1 + (before or 0) * self.left


def slot_of(window: float, at: float) -> Slot:
    number, into = divmod(at, window)
    return Slot((number + 2) * window, (number + 1) * window, 1.0 - into / window)


Counter = tuple[Slot, str]
"""What is counted under a name in a slot."""


def counters_of(attempt: Attempt) -> list[Counter]:
    """Where a new knock is counted; the first two are the windows of its homeserver and of its door.

    What the honeypot caught is counted apart, so that a bot cannot fill the
    windows that hold people back.
    """
    at, door = attempt.at, f"{'trap' if attempt.submission.trap else 'door'}:{attempt.door.slug}"
    window, hour, day = slot_of(attempt.door.limits.window, at), slot_of(HOUR, at), slot_of(DAY, at)
    server = f"{door}:at:{attempt.user.server}"
    return [
        (window, server),
        (window, door),
        (slot_of(RECENT, at), f"recent:{door}"),
        (hour, f"alike:{door}:{attempt.likeness}"),
        (hour, f"hour:{server}"),
        (day, f"day:{door}"),
        (day, f"day:{server}"),
    ]


_WINDOWS = 2
"""The first of the counters."""
_USUAL = 5
"""The first of those that tell what is usual."""


def to_read(counters: Sequence[Counter]) -> list[float | str]:
    return [value for slot, name in counters for value in (slot.expires_at, slot.earlier, name)]


def to_count(counters: Sequence[Counter]) -> tuple[float | str, ...]:
    return tuple([value for slot, name in counters for value in (slot.expires_at, name)])


class Counts(NamedTuple):
    """How many came, this knock included: in the window from the same homeserver, in the window, and lately."""

    homeserver: float
    door: float
    arrivals: Arrivals


def count_knock(
    attempt: Attempt,
    counters: Sequence[Counter],
    known: Sequence[int | None],
    newest: Raid | None,
    *,
    alarming: bool,
) -> Generator[Step, Rows, Counts]:
    """Count a knock. One that may not alarm anybody is counted where nobody looks, in the same statement.

    So is, of the usual, what comes in a raid.
    """
    raided = newest is not None and newest.is_on(attempt.at)
    last = _WINDOWS if not alarming else _USUAL if raided else len(counters)
    counted, now = counters, known[::2]
    if last < len(counters):
        aside = enumerate(counters[last:])
        counted = [
            *counters[:last],
            *((slot, f"aside:{attempt.door.slug}:{place}") for place, (slot, _) in aside),
        ]
    if told := (yield sql.COUNT_KNOCK, to_count(counted)):
        now = [*(row[0] - 1 for row in told[:last]), *now[last:]]
    return _counts(counters, now, known[1::2])


def counts_before(counters: Sequence[Counter], known: Sequence[int | None]) -> Counts:
    """The same as when a knock that is counted already came: it is no other than itself."""
    return _counts(counters, [max((now or 0) - 1, 0) for now in known[::2]], known[1::2])


def _counts(counters: Sequence[Counter], now: Sequence[int | None], before: Sequence[int | None]) -> Counts:
    homeserver, door, *arrivals = [
        slot.estimate(count, earlier) for (slot, _), count, earlier in zip(counters, now, before, strict=True)
    ]
    return Counts(homeserver, door, Arrivals(*arrivals))
