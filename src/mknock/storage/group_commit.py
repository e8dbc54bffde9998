"""Group commit for SQLite: many transactions, one flush to disk.

Whoever waits while a commit is being flushed goes into the next one together.
Statements run on the event loop's thread (microseconds each); what may wait,
taking the write lock and flushing, runs in one thread beside it. The other
way round, every statement hands the interpreter lock to a busy event loop and
waits for it again, which was measured to be several times slower under load
(docs/adr/0002).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from mknock.domain.errors import StoreUnavailable

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], Any]

MOST = 256
"""Jobs in one batch at the most, so that nobody holds the write lock for long."""


class GroupCommit:
    """Runs jobs on one connection, each atomic, many to a commit.

    A job is a function of the connection; it may be run a second time when a
    neighbour in its batch failed, so it must have no effects of its own. When
    ``run`` returns, the job's changes are on disk.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._waiting: list[tuple[Job, asyncio.Future[Any]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mknock-commit")

    async def run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run a job durably.

        Raises:
            StoreUnavailable: the file is locked for too long, full, read-only or broken.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._waiting.append((job, done))
        if self._writing is None:
            self._writing = loop.create_task(self._write())
        return await done

    async def close(self) -> None:
        while self._writing is not None:
            await asyncio.wait([self._writing])
        self._thread.shutdown()

    async def _write(self) -> None:
        try:
            while self._waiting:
                await self._write_batch()
        finally:
            self._writing = None

    async def _write_batch(self) -> None:
        begun = await self._in_thread("BEGIN IMMEDIATE")
        batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        if begun is not None:
            return _fail(batch, begun)
        try:
            results = [job(self._connection) for job, _ in batch]
        except Exception:
            self._connection.execute("ROLLBACK")
            return await self._one_by_one(batch)
        await self._commit([(done, result) for (_, done), result in zip(batch, results, strict=True)])

    async def _commit(self, finished: list[tuple[asyncio.Future[Any], Any]]) -> None:
        failed = await self._in_thread("COMMIT")
        if failed is not None:
            _rollback(self._connection)
        for done, result in finished:
            if not done.done():
                done.set_exception(failed) if failed else done.set_result(result)

    async def _one_by_one(self, batch: list[tuple[Job, asyncio.Future[Any]]]) -> None:
        """Give each job of a failed batch a transaction of its own, so that only the guilty one fails."""
        for job, done in batch:
            begun = await self._in_thread("BEGIN IMMEDIATE")
            if begun is not None:
                _fail([(job, done)], begun)
                continue
            try:
                result = job(self._connection)
            except Exception as error:
                self._connection.execute("ROLLBACK")
                _fail([(job, done)], error)
                continue
            await self._commit([(done, result)])

    async def _in_thread(self, statement: str) -> StoreUnavailable | None:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, self._connection.execute, statement)
        except sqlite3.Error as error:
            return unavailable(error)
        return None


def unavailable(error: sqlite3.Error) -> StoreUnavailable:
    """What SQLite's own error means to a caller."""
    return StoreUnavailable(
        f"the store cannot be used right now ({error}); is the disk full or DATA_DIR read-only?"
    )


def _rollback(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _fail(batch: list[tuple[Job, asyncio.Future[Any]]], error: Exception) -> None:
    for _, done in batch:
        if not done.done():
            done.set_exception(unavailable(error) if isinstance(error, sqlite3.Error) else error)
