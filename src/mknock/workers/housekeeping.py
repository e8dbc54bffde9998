"""Forgets what has run out: counters, back-offs, old event ids, expired secrets."""

from __future__ import annotations

from mknock.ports import Store


class Housekeeping:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def tick(self, now: float) -> int:
        return await self._store.tidy(now)
