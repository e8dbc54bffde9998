"""Waiting for what becomes of a knock."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from mknock.domain.errors import NotFound
from mknock.domain.knocks import Knock, KnockState
from mknock.ports import Store

LOOK = 0.05
"""Seconds between two looks: another process may be the one that delivers."""

T = TypeVar("T")


class Outcomes:
    """Lets an authenticated sender wait for the outcome; ``stop`` ends all waits at once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        self._stopped.set()

    async def wait(self, knock_id: str, seconds: float) -> Knock:
        """Return the knock once it is more than admitted, or as it is after so many seconds."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while True:
            knock = await self._store.knock(knock_id)
            if knock is None:
                raise NotFound("the knock is gone")
            if knock.state is not KnockState.ADMITTED or self._stopped.is_set() or loop.time() >= end:
                return knock
            await self._pause()

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._stopped.wait(), LOOK)
        except TimeoutError:
            return
