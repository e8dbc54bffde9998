"""The only place that sleeps, and that decides which process has the turn."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from mknock.domain.errors import KnockError, StoreUnavailable
from mknock.ports import Clock, Store
from mknock.telemetry import get_logger

log = get_logger(__name__)

AFTER_ERROR = 1.0
"""Seconds to wait after a tick that failed: the store may be away."""
TURN = "watch"
"""The name of the lease: of all processes, the one that holds it has the duties of one watcher."""
TURN_LEASE = 8.0
"""Seconds after which the turn of a process that died goes to another (promise 9: within 10)."""
TURN_EVERY = 1.5
"""Seconds between two tries to take the turn, or to keep it."""


@dataclass
class Duty:
    """A worker's tick, how often it runs at least, and what wakes it earlier."""

    name: str
    tick: Callable[[float], Awaitable[int]]
    every: float
    """Seconds between two ticks, when nothing wakes it."""
    next_at: Callable[[], float | None] = lambda: None
    """When the worker knows it has something to do before that."""
    again: bool = False
    """Tick again at once as long as the last tick found something to do."""
    alone: bool = False
    """Only in the process that has the turn (promise 9)."""
    awake: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        self.awake.set()


class Turn:
    """Whether this process has the turn: a lease in the store, over all processes and machines.

    ``holder`` is this process's name. A process that cannot reach the store gives
    its turn up before the lease ends, so that two never have it at once.
    """

    def __init__(self, store: Store, holder: str) -> None:
        self._store = store
        self._holder = holder
        self._until = 0.0

    async def take(self, now: float) -> bool:
        """Take or keep the turn; return whether we have it."""
        until = now + TURN_LEASE
        try:
            if await self._store.take_lease(TURN, self._holder, now=now, until=until):
                self._until = until
            else:
                self._until = 0.0
        except StoreUnavailable as error:
            log.warning("the turn could not be kept", why=str(error))
        return now + TURN_EVERY < self._until

    async def give_up(self) -> None:
        """Let another process have the turn at once."""
        if self._until:
            self._until = 0.0
            with contextlib.suppress(StoreUnavailable):
                await self._store.drop_lease(TURN, self._holder)


class Runner:
    """Runs every duty in a task of its own until it is stopped. A failing tick is logged and tried again.

    Duties that are for one process alone run while ``turn`` is ours.
    """

    def __init__(self, duties: Sequence[Duty], clock: Clock, turn: Turn) -> None:
        self._duties = duties
        self._clock = clock
        self._turn = turn
        self._tasks: list[asyncio.Task[None]] = []
        self._alone: list[asyncio.Task[None]] = []

    @property
    def has_turn(self) -> bool:
        return bool(self._alone)

    def start(self) -> None:
        self._tasks = self._begin(duty for duty in self._duties if not duty.alone)
        self._tasks.append(asyncio.create_task(self._take_turns(), name="turn"))

    async def stop(self) -> None:
        await _end(self._tasks)
        await _end(self._alone)
        await self._turn.give_up()

    def _begin(self, duties: Iterable[Duty]) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(self._run(duty), name=duty.name) for duty in duties]

    async def _take_turns(self) -> None:
        while True:
            ours = await self._turn.take(self._clock())
            if ours and not self._alone:
                log.info("this process has the turn", pid=os.getpid())
                self._alone = self._begin(duty for duty in self._duties if duty.alone)
            elif not ours and self._alone:
                log.warning("this process has lost the turn", pid=os.getpid())
                await _end(self._alone)
                self._alone = []
            await asyncio.sleep(TURN_EVERY)

    async def _run(self, duty: Duty) -> None:
        while True:
            duty.awake.clear()
            try:
                found = await duty.tick(self._clock())
                pause = 0.0 if found and duty.again else self._pause(duty)
            except Exception as error:
                _report(duty, error)
                pause = AFTER_ERROR
            # Not wait_for: until Python 3.12 it swallows a cancellation that meets the waking.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await duty.awake.wait()

    def _pause(self, duty: Duty) -> float:
        next_at = duty.next_at()
        if next_at is None:
            return duty.every
        return min(max(next_at - self._clock(), 0.005), duty.every)


def _report(duty: Duty, error: Exception) -> None:
    """Say that a tick failed. What is away will be back; only a mistake of ours needs its traceback."""
    if isinstance(error, KnockError):
        log.warning("duty could not be done, will try again", duty=duty.name, why=str(error))
    else:
        log.exception("duty failed, will try again", duty=duty.name, exc_info=error)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
