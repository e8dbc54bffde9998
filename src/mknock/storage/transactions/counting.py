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


class Counter(NamedTuple):
    """What is counted under a name in a slot."""

    slot: Slot
    name: str


def counters_of(attempt: Attempt) -> list[Counter]:
    """Where a new knock is counted; the first two are the windows of its homeserver and of its door.

    What the honeypot caught is counted apart, so that a bot cannot fill the
    windows that hold people back.
    """
    at, door = attempt.at, f"{'trap' if attempt.submission.trap else 'door'}:{attempt.door.slug}"
    window, hour, day = slot_of(attempt.door.limits.window, at), slot_of(HOUR, at), slot_of(DAY, at)
    server = f"{door}:at:{attempt.user.server}"
    return [
        Counter(window, server),
        Counter(window, door),
        Counter(slot_of(RECENT, at), f"recent:{door}"),
        Counter(hour, f"alike:{door}:{attempt.likeness}"),
        Counter(hour, f"hour:{server}"),
        Counter(day, f"day:{door}"),
        Counter(day, f"day:{server}"),
    ]


_WINDOWS = 2
"""The first of the counters."""
_USUAL = 5
"""The first of those that tell what is usual."""


def to_read(counters: Sequence[Counter]) -> list[float | str]:
    return [value for slot, name in counters for value in (slot.expires_at, slot.earlier, name)]


def to_count(counters: Sequence[Counter]) -> list[float | str]:
    return [value for slot, name in counters for value in (slot.expires_at, name)]


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
    aside = [
        Counter(counter.slot, f"aside:{attempt.door.slug}:{place}")
        for place, counter in enumerate(counters[last:])
    ]
    told = [row[0] - 1 for row in (yield sql.COUNT_KNOCK, tuple(to_count([*counters[:last], *aside])))]
    now = [*(told[:last] or known[: 2 * last : 2]), *known[2 * last :: 2]]
    homeserver, door, *arrivals = [
        counter.slot.estimate(count, before)
        for counter, count, before in zip(counters, now, known[1::2], strict=True)
    ]
    return Counts(homeserver, door, Arrivals(*arrivals))


def counts_before(counters: Sequence[Counter], known: Sequence[int | None]) -> Counts:
    """The same as when a knock that is counted already came: it is no other than itself."""
    homeserver, door, *arrivals = [
        counter.slot.estimate(max((now or 0) - 1, 0), before)
        for counter, now, before in zip(counters, known[::2], known[1::2], strict=True)
    ]
    return Counts(homeserver, door, Arrivals(*arrivals))
