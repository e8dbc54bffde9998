"""The only place that sleeps."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from mknock.ports import Clock
from mknock.telemetry import get_logger

log = get_logger(__name__)

AFTER_ERROR = 1.0
"""Seconds to wait after a tick that failed: the store may be away."""


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
    awake: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        self.awake.set()


class Runner:
    """Runs every duty in a task of its own until it is stopped. A failing tick is logged and tried again."""

    def __init__(self, duties: Sequence[Duty], clock: Clock) -> None:
        self._duties = duties
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._run(duty), name=duty.name) for duty in self._duties]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, duty: Duty) -> None:
        while True:
            duty.awake.clear()
            try:
                found = await duty.tick(self._clock())
                pause = 0.0 if found and duty.again else self._pause(duty)
            except Exception:
                log.exception("duty failed, will try again", duty=duty.name)
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
