"""Works off one queue of due knocks: invites, or welcomes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from mknock.domain.knocks import Knock
from mknock.ports import Pace, Queue, Store
from mknock.telemetry import get_logger

log = get_logger(__name__)

LEASE = 10.0
"""Seconds after which a claim of a dead process is taken by another."""


class Delivery:
    """Claims due knocks and works on up to ``concurrency`` of them at once.

    ``tick`` starts what can be started and returns at once; ``on_room`` is
    called when there is room for more. Claims in work are renewed by
    ``renew``, which must be called well within the lease.
    """

    def __init__(
        self,
        store: Store,
        deliver: Callable[[Knock], Awaitable[None]],
        *,
        concurrency: int,
        pace: Pace,
        queue: Queue = Queue.INVITES,
        on_room: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._deliver = deliver
        self._concurrency = concurrency
        self._pace = pace
        self._queue = queue
        self._on_room = on_room
        self._working: dict[asyncio.Task[None], Knock] = {}
        self.next_at: float | None = None
        """When the next knock is due, as far as the last tick saw."""

    async def tick(self, now: float) -> int:
        """Claim what is due and start on it; return how many were started."""
        room = self._concurrency - len(self._working)
        if room < 1:
            return 0
        claimed = await self._store.claim(now, limit=room, lease=LEASE, pace=self._pace, queue=self._queue)
        self.next_at = claimed.next_at
        for knock in claimed.knocks:
            task = asyncio.create_task(self._work(knock))
            self._working[task] = knock
            task.add_done_callback(self._done)
        return len(claimed.knocks)

    async def renew(self, now: float) -> int:
        """Keep the claims in work; return how many there are."""
        claims = list(self._working.values())
        if claims:
            await self._store.renew(claims, now + LEASE)
        return len(claims)

    async def drain(self) -> None:
        """Wait until nothing is in work."""
        while self._working:
            await asyncio.wait(self._working)

    async def stop(self, grace: float) -> None:
        """Give what is in work ``grace`` seconds, then let it go: its claims lapse and are taken again."""
        if self._working:
            await asyncio.wait(self._working, timeout=grace)
        for task in self._working:
            task.cancel()
        if self._working:  # not longer than the grace: whatever clings on ends with the process
            await asyncio.wait(self._working, timeout=max(grace, 0.1))

    async def _work(self, knock: Knock) -> None:
        try:
            await self._deliver(knock)
        except Exception:
            # The claim lapses and is taken again, with the membership read first.
            log.exception("delivery failed unexpectedly", knock=knock.id)

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._working[task]
        room = self._concurrency - len(self._working)
        if not self._working or room * 4 >= self._concurrency:
            self._on_room()
