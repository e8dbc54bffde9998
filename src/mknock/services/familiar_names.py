"""Names that members of a room bear, which the look-alike engine is milder with.

The guard's lists know few names of many languages. Where three members of one
room share a name, whoever comes with it too may well be a fourth of that name
and not the blocked one in disguise: who would be refused is held. So that a
wave of new accounts cannot make its own name familiar, a name counts when it
has been borne for a week, and whoever is blocked does not count.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Collection, Container
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from mknock.domain.doors import Door
from mknock.matching import Guard, default_guard, names_in
from mknock.ports import Clock, Store
from mknock.services.doors import Doors
from mknock.telemetry import get_logger

log = get_logger(__name__)

KEPT: Final = "familiar names"
"""The name under which the store keeps them: from when on each was borne, by door."""
BEARERS: Final = 3
"""Members of one room who bear a name."""
SETTLING: Final = 7 * 86400.0
"""Seconds for which they have to."""
EVERY: Final = 3600.0
"""Seconds after which the members of a room are looked at again."""
FORGOTTEN: Final = 2 * 86400.0
"""Seconds without a look at a room after which its names have to be borne for a week again."""
SHORTEST: Final = 3
"""Letters of a name that is worth knowing."""
MOST: Final = 300
"""Names of one room, those that most members bear."""
AT_ONCE: Final = 500
"""Members that are looked at before others get a turn."""


class FamiliarNames:
    """Takes note of the names in the doors' rooms; in one process, for it writes them down for all."""

    def __init__(
        self, store: Store, doors: Doors, clock: Clock, *, is_blocked: Callable[[str], object]
    ) -> None:
        self._store = store
        self._doors = doors
        self._clock = clock
        self._is_blocked = is_blocked
        self._guard = default_guard()
        self._noted: dict[str, float] = {}
        """When a door's room was looked at."""
        self._writing = asyncio.Lock()

    def look_again(self) -> None:
        """Look at every room when it is read next: other people are blocked."""
        self._noted.clear()

    async def note(self, door: Door, members: Collection[str]) -> None:
        """Take note of who is in the door's room, unless that was done lately."""
        now = self._clock()
        if 0.0 <= now - self._noted.get(door.slug, -EVERY) < EVERY:
            return
        bearers = await self._bearers(members)
        async with self._writing:
            kept = await _kept(self._store)
            rooms = {slug: room for slug, room in kept.items() if self._doors.get(slug)}
            borne = _borne_since(rooms.pop(door.slug, _Room()), now)
            names = shared_names(bearers, self._guard, kept=borne)
            if names:
                rooms[door.slug] = _Room(now, {name: borne.get(name, now) for name in names})
            if rooms != kept:
                told = {slug: asdict(room) for slug, room in rooms.items()}
                await self._store.put_secret(KEPT, json.dumps(told))
        self._noted[door.slug] = now

    async def _bearers(self, members: Collection[str]) -> Counter[str]:
        """How many members bear each name."""
        bearers: Counter[str] = Counter()
        for number, user_id in enumerate(members, 1):
            if not self._is_blocked(user_id):
                bearers.update(names_in(user_id))
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        return bearers


def shared_names(bearers: Counter[str], guard: Guard, kept: Container[str] = ()) -> list[str]:
    """Names that several bear and the guard does not know: those that most bear, and among equals those ``kept``."""
    names = [
        name
        for name, count in bearers.items()
        if count >= BEARERS and len(name) >= SHORTEST and not guard.is_common(name)
    ]
    return sorted(names, key=lambda name: (-bearers[name], name not in kept, name))[:MOST]


async def familiar_names(store: Store) -> frozenset[str]:
    """The names that have been borne for long enough, in any door's room.

    Raises:
        StoreUnavailable: there is no answer.
    """
    rooms = (await _kept(store)).values()
    return frozenset(
        name for room in rooms for name, since in room.names.items() if room.seen - since >= SETTLING
    )


@dataclass(frozen=True, slots=True)
class _Room:
    """When a room was looked at last, and from when on each name was borne, in seconds since the epoch."""

    seen: float = 0.0
    names: dict[str, float] = field(default_factory=dict)


def _borne_since(room: _Room, now: float) -> dict[str, float]:
    """From when on names were borne; from nowhere if nobody has looked for long, or the clock was another."""
    if not 0.0 <= now - room.seen < FORGOTTEN:
        return {}
    return room.names


async def _kept(store: Store) -> dict[str, _Room]:
    """What is on record, by door; nothing if that cannot be read: nobody is refused or let in for it."""
    kept = await store.secret(KEPT)
    try:
        told = json.loads(kept or "{}")
        return {slug: _room_of(room) for slug, room in told.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        log.warning("what names members bear could not be read, and is learned anew", why=str(problem))
        return {}


def _room_of(told: Any) -> _Room:
    return _Room(float(told["seen"]), {name: float(since) for name, since in told["names"].items()})
