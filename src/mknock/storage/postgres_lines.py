"""Transactions that would wait for each other stand in one line, run in step, and share a commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Generic, TypeVar

import asyncpg

from mknock.domain.errors import StoreUnavailable
from mknock.storage import sql
from mknock.storage.postgres_connections import LOST, OVERTAKEN, Connections, Transaction, unavailable
from mknock.storage.rows import Row
from mknock.storage.transactions import Step, Steps

T = TypeVar("T")
Job = Callable[[], Steps[Any]]

MOST = 64
"""Transactions that are committed together at the most, so that another process's turn comes soon."""
TRIES = 3
"""How often a transaction is run that others keep overtaking, or whose connections turn out to be dead."""
LAST_CALL = 2.0
"""Seconds that a store which is being closed still waits for what was begun."""

_LOCKS = (sql.LOCK, sql.LOCK_IN_STEP)


class Lines:
    """Runs jobs, each atomic. Those that stand at the same door are run and committed together.

    They would have to wait for each other in the database, each for the other's
    flush to disk. All locks of those who go together are taken at once and in one
    order, so nobody waits in a circle (docs/adr/0009).
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._waiting: dict[Hashable, list[tuple[Job, asyncio.Future[Any]]]] = {}
        self._working: dict[Hashable, asyncio.Task[None]] = {}

    def run(self, job: Callable[[], Steps[T]]) -> asyncio.Future[T]:
        """Run a job durably; await what is returned. Whoever stops waiting does not stop the job.

        Raises:
            StoreUnavailable: there is no connection, or the database cannot keep it.
        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        first = Walk(job())
        line = first.locks[0] if first.in_step else object()
        self._waiting.setdefault(line, []).append((job, done))
        if line not in self._working:
            self._working[line] = asyncio.create_task(self._work(line))
        return done

    async def close(self) -> None:
        """Finish what was begun, if it can be finished soon; no job may be given from now on."""
        working = list(self._working.values())
        if working:
            await asyncio.wait(working, timeout=LAST_CALL)
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)

    async def _work(self, line: Hashable) -> None:
        """Work off one line until nobody stands in it."""
        batch: list[tuple[Job, asyncio.Future[Any]]] = []
        try:
            while self._waiting[line]:
                batch, self._waiting[line] = self._waiting[line][:MOST], self._waiting[line][MOST:]
                outcomes = await self._outcomes([job for job, _ in batch])
                for (_, done), outcome in zip(batch, outcomes, strict=True):
                    _settle(done, outcome)
        finally:
            for _, done in (*batch, *self._waiting[line]):
                _settle(done, StoreUnavailable("the store was closed"))
            del self._waiting[line], self._working[line]

    async def _outcomes(self, jobs: list[Job]) -> list[Any]:
        """What becomes of each job, an error among them as itself; all that did not fail is on disk."""
        try:
            return await self._written(jobs)
        except StoreUnavailable as error:
            return [error] * len(jobs)
        except Exception as error:
            outcome = unavailable(error) if isinstance(error, asyncpg.PostgresError) else error
            if len(jobs) == 1 or not _blames_one(error):
                return [outcome] * len(jobs)
        # Each by itself, so that only the guilty one fails.
        return [outcome for job in jobs for outcome in await self._outcomes([job])]

    async def _written(self, jobs: list[Job]) -> list[Any]:
        """Run the jobs in one transaction, anew if that can help; return their results."""
        for _ in range(TRIES - 1):
            try:
                return await self._written_at_once(jobs)
            except asyncpg.DataError:
                raise
            except TimeoutError as error:
                raise unavailable(error) from error
            except LOST:
                await self._connections.renew()
            except OVERTAKEN:
                pass
        try:
            return await self._written_at_once(jobs)
        except LOST as error:
            raise unavailable(error) from error

    async def _written_at_once(self, jobs: list[Job]) -> list[Any]:
        async with self._connections.transaction() as transaction:
            walks = [Walk(job()) for job in jobs]
            await transaction.lock({name for walk in walks for name in walk.locks})
            for abreast in _rounds(walks):
                await _walk_in_step(transaction, abreast)
            return [walk.result for walk in walks]


class Walk(Generic[T]):
    """A transaction on its way, and the step that it has to take next (None: it is there).

    It begins behind its locks, which are taken for all who go together.
    """

    step: Step | None
    result: T

    def __init__(self, steps: Steps[T]) -> None:
        self._steps = steps
        self.locks: Sequence[str] = ()
        self.in_step = False
        self.go(None)
        if self.step is not None and self.step[0] in _LOCKS:
            self.in_step = self.step[0] == sql.LOCK_IN_STEP
            self.locks = self.step[1]
            self.go([])

    def go(self, rows: list[Row] | None) -> None:
        """Go on with what the present step gave."""
        try:
            self.step = self._steps.send(rows)  # type: ignore[arg-type]  # None is how a generator is started
        except StopIteration as end:
            self.step, self.result = None, end.value


def _blames_one(error: Exception) -> bool:
    """Whether an error comes from what one job wanted to write, or from the database (a lock, the disk, its end)."""
    return not isinstance(error, asyncpg.PostgresError) or (error.sqlstate or "")[:2] in ("22", "23")


def _rounds(walks: Iterable[Walk[Any]]) -> list[list[Walk[Any]]]:
    """Who may go in step: those who share nothing but the line they stand in. The others follow."""
    rounds: list[tuple[set[str], list[Walk[Any]]]] = []
    for walk in walks:
        own = set(walk.locks[1:])
        # The first round behind the last in which somebody of the same name goes.
        place = max((number for number, (taken, _) in enumerate(rounds, 1) if taken & own), default=0)
        if place == len(rounds):
            rounds.append((set(), []))
        rounds[place][0].update(own)
        rounds[place][1].append(walk)
    return [abreast for _, abreast in rounds]


async def _walk_in_step(transaction: Transaction, walks: Sequence[Walk[Any]]) -> None:
    """Take everybody's next step, the same ones together, until all are there."""
    while walks := [walk for walk in walks if walk.step is not None]:
        alike: dict[str, list[tuple[Walk[Any], Sequence[Any]]]] = {}
        for walk in walks:
            if walk.step is not None:
                alike.setdefault(walk.step[0], []).append((walk, walk.step[1]))
        for statement, group in alike.items():
            answers = await transaction.rows_of_each(statement, [parameters for _, parameters in group])
            for (walk, _), rows in zip(group, answers, strict=True):
                walk.go(rows)


def _settle(done: asyncio.Future[Any], outcome: Any) -> None:
    if done.done():
        return  # whoever waited has gone
    if isinstance(outcome, Exception):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)
