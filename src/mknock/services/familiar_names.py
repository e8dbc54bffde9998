"""Names that members of a room bear. The guard takes them for common, as it does those of its lists.

Its lists know few names of many languages. Where three members of one room
share a name, whoever comes with it too is rather a fourth of that name than
the blocked one in disguise. So that a wave cannot make its own name common, a
name counts when it has been borne for a week, and whoever is blocked does not
count.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Collection
from typing import Final

from mknock.domain.doors import Door
from mknock.matching import Guard, default_guard, names_in
from mknock.ports import Clock, Store
from mknock.services.doors import Doors

KEPT: Final = "familiar names"
"""The name under which the store keeps them: from when on each was borne, by door."""
BEARERS: Final = 3
"""Members of one room who bear a name."""
SETTLING: Final = 7 * 86400.0
"""Seconds for which they have to."""
EVERY: Final = 3600.0
"""Seconds after which the members of a room are looked at again."""
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

    async def note(self, door: Door, members: Collection[str]) -> None:
        """Take note of who is in the door's room, unless that was done lately."""
        now = self._clock()
        if now - self._noted.get(door.slug, -EVERY) < EVERY:
            return
        names = await self._shared_by(members)
        async with self._writing:
            before = await _kept(self._store)
            after = {slug: borne for slug, borne in before.items() if self._doors.get(slug)}
            there = after.pop(door.slug, {})
            if names:
                after[door.slug] = {name: there.get(name, now) for name in names}
            if after != before:
                await self._store.put_secret(KEPT, json.dumps(after))
        self._noted[door.slug] = now

    async def _shared_by(self, members: Collection[str]) -> list[str]:
        bearers: Counter[str] = Counter()
        for number, user_id in enumerate(members, 1):
            if not self._is_blocked(user_id):
                bearers.update(names_in(user_id))
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        return shared(bearers, self._guard)


def shared(bearers: Counter[str], guard: Guard) -> list[str]:
    """Names that several bear, by how many do, and that the guard does not know; the most borne first."""
    names = (name for name, count in bearers.most_common() if count >= BEARERS and len(name) >= SHORTEST)
    return [name for name in names if not guard.is_common(name)][:MOST]


async def familiar_names(store: Store, now: float) -> frozenset[str]:
    """The names that have been borne for long enough, in any door's room.

    Raises:
        StoreUnavailable: there is no answer.
    """
    kept = await _kept(store)
    return frozenset(
        name for borne in kept.values() for name, since in borne.items() if since <= now - SETTLING
    )


async def _kept(store: Store) -> dict[str, dict[str, float]]:
    kept: dict[str, dict[str, float]] = json.loads(await store.secret(KEPT) or "{}")
    return kept
