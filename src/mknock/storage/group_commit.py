"""Group commit for SQLite: many transactions, one flush to disk.

Whoever waits while a commit is being flushed goes into the next one together.
Statements run on the event loop's thread (microseconds each); what may wait,
for the write lock or for the disk, runs in one thread beside it. The other
way round, every statement hands the interpreter lock to a busy event loop and
waits for it again, which was measured to be a fifth slower under load
(docs/adr/0002).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from mknock.domain.errors import StoreUnavailable

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], Any]

MOST = 256
"""Jobs in one batch at the most, so that nobody holds the write lock for long."""
LOOK = 0.002
"""Seconds between two looks for a write lock that another process holds. SQLite's own waiting looks less and less
often, up to 0.1 s apart, and was measured to keep one of four busy processes waiting for over a second."""
LAST_CALL = 0.5
"""Seconds that a store which is being closed still waits for the write lock."""


class GroupCommit:
    """Runs jobs on one connection, each atomic, many to a commit.

    A job is a function of the connection; it may be run a second time when a
    neighbour in its batch failed, so it must have no effects of its own. When
    what ``run`` returns has been awaited, the job's changes are on disk. Whoever
    stops waiting does not stop the job.

    ``connection`` must not wait for locks by itself; ``lock_wait`` is how many
    seconds are spent on waiting for another process.
    """

    def __init__(self, connection: sqlite3.Connection, *, lock_wait: float) -> None:
        self._connection = connection
        self._lock_wait = lock_wait
        self._closing_at = math.inf
        self._waiting: list[tuple[Job, asyncio.Future[Any]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mknock-commit")

    def run(self, job: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Run a job durably; await what is returned.

        Raises:
            StoreUnavailable: the file is locked for too long, full, read-only or broken.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._waiting.append((job, done))
        if self._writing is None:
            self._writing = loop.create_task(self._write())
        return done

    async def close(self) -> None:
        """Finish what was begun; no job may be given from now on."""
        self._closing_at = time.monotonic() + LAST_CALL
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
        failed = await self._begin()
        batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        outcomes = [failed] * len(batch) if failed else await self._written([job for job, _ in batch])
        for (_, done), outcome in zip(batch, outcomes, strict=True):
            _settle(done, outcome)

    async def _written(self, jobs: list[Job]) -> list[Any]:
        """What becomes of each job, an error among them as itself; all that did not fail is on disk."""
        try:
            outcomes = [job(self._connection) for job in jobs]
        except Exception:
            _rollback(self._connection)
            return await self._written_apart(jobs)
        failed = await self._in_thread(self._commit)
        return [failed] * len(jobs) if failed else outcomes

    async def _written_apart(self, jobs: list[Job]) -> list[Any]:
        """Run a failed batch again, each job by itself, so that only the guilty one fails."""
        failed = await self._begin()
        if failed is None:
            try:
                outcomes = [_apart(self._connection, job) for job in jobs]
            except sqlite3.Error as error:
                _rollback(self._connection)
                failed = unavailable(error)
            else:
                failed = await self._in_thread(self._commit)
        return [failed] * len(jobs) if failed else outcomes

    # --- what may wait; each returns what went wrong, with nothing left open

    async def _begin(self) -> StoreUnavailable | None:
        """Take the write lock at once if it is free; else wait for it in the thread beside."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error:
            return await self._in_thread(self._begin_waiting)
        return None

    async def _in_thread(self, what: Callable[[], None]) -> StoreUnavailable | None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, what)
        except sqlite3.Error as error:
            _rollback(self._connection)
            return unavailable(error)
        return None

    def _begin_waiting(self) -> None:
        end = time.monotonic() + self._lock_wait
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() >= min(end, self._closing_at):
                    raise
            else:
                return
            time.sleep(LOOK)

    def _commit(self) -> None:
        self._connection.execute("COMMIT")


def unavailable(error: sqlite3.Error) -> StoreUnavailable:
    """What SQLite's own error means to a caller."""
    return StoreUnavailable(
        f"the store cannot be used right now ({error}); is the disk full or DATA_DIR read-only?"
    )


def _is_busy(error: sqlite3.Error) -> bool:
    """Whether somebody else holds the lock. The low byte of SQLite's code is the kind of error."""
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def _apart(connection: sqlite3.Connection, job: Job) -> Any:
    """Run a job behind a savepoint; return its result, or its error once its traces are gone."""
    connection.execute("SAVEPOINT job")
    try:
        outcome = job(connection)
    except Exception as error:
        connection.execute("ROLLBACK TO job")
        outcome = error
    connection.execute("RELEASE job")
    return outcome


def _rollback(connection: sqlite3.Connection) -> None:
    """Leave the transaction, unless SQLite has done so by itself, as it may when the disk is full."""
    with contextlib.suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _settle(done: asyncio.Future[Any], outcome: Any) -> None:
    if done.done():
        return  # whoever waited has gone
    if isinstance(outcome, sqlite3.Error):
        outcome = unavailable(outcome)
    if isinstance(outcome, Exception):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)
