"""The embedded store: one SQLite file in DATA_DIR, safe for several processes of one machine."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from mknock.domain.errors import StoreUnavailable
from mknock.storage import sql
from mknock.storage.file_systems import IN_MEMORY, OVER_NETWORK, file_system_of
from mknock.storage.group_commit import GroupCommit, unavailable
from mknock.storage.rows import Row, storable
from mknock.storage.sql_store import SqlStore, migrations
from mknock.storage.transactions import Steps

T = TypeVar("T")

LOCK_WAIT = 10.0
"""Seconds to wait for another process's write lock."""

_NOT_NEEDED = frozenset({sql.LOCK, sql.LOCK_IN_STEP, sql.WAKE})
"""A transaction has the file to itself, and other processes look for work by themselves."""
_PRAGMAS = ("synchronous = FULL", "cache_size = -16000", "wal_autocheckpoint = 4000")
"""16 MB of pages in memory; the log goes into the file every 16 MB, so that busy pages are copied less often."""


class SqliteStore(SqlStore):
    """Everything Knock remembers, in one file.

    WAL with ``synchronous=FULL``: what has been committed survives a power
    failure. Writes are grouped (see GroupCommit); reads run on a connection
    of their own and never wait for a writer.
    """

    def __init__(self, path: Path, *, secret_key: str | None = None) -> None:
        super().__init__(secret_key)
        self._path = path
        self._reader: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None
        self._group: GroupCommit | None = None

    async def open(self) -> None:
        """Open the file, bring its schema up to date under a lock over all processes.

        Raises:
            StoreUnavailable: the file or its folder cannot be written.
        """
        try:
            writer, self._reader = await asyncio.to_thread(self._connect)
        except (sqlite3.Error, OSError) as error:
            message = f"the store {self._path.name} cannot be opened in DATA_DIR ({error}); make it writable"
            raise StoreUnavailable(message) from error
        self._writer = writer
        self._group = GroupCommit(writer, lock_wait=LOCK_WAIT)

    async def close(self) -> None:
        group, self._group = self._group, None
        if group is not None:
            await group.close()
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()
        self._reader = self._writer = None

    async def durability_problem(self) -> str:
        """What the file system makes of a flush; SQLite's own part is seen to (``synchronous=FULL``)."""
        kind = file_system_of(self._path)
        if kind in IN_MEMORY:
            return (
                f"DATA_DIR is in memory ({kind}), so a restart of the machine loses everything: choose a disk"
            )
        if kind in OVER_NETWORK:
            return f"DATA_DIR is on a network file system ({kind}), which SQLite does not work well on: choose a disk"
        return ""

    def on_work(self, wake: Callable[[], None]) -> None:
        """A file tells nobody of changes: the workers' own looks have to do."""

    # --- the driver

    def _run(self, steps: Callable[[], Steps[T]]) -> asyncio.Future[T]:
        """Run one transaction; once what is returned has been awaited, it is on disk."""
        if self._group is None:
            raise StoreUnavailable("the store is not open")
        return self._group.run(lambda connection: _walk(connection, steps()))

    async def _read(self, statement: str, *parameters: Any) -> list[Row]:
        if self._reader is None:
            raise StoreUnavailable("the store is not open")
        try:
            return _rows(self._reader, statement, parameters)
        except sqlite3.Error as error:
            raise unavailable(error) from error

    def _connect(self) -> tuple[sqlite3.Connection, sqlite3.Connection]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(self._path.with_suffix(".lock")), contextlib.ExitStack() as undo:
            _private(self._path)
            writer = undo.enter_context(contextlib.closing(_connection(self._path)))
            writer.execute("PRAGMA journal_mode = WAL")
            _migrate(writer)
            writer.execute("PRAGMA busy_timeout = 0")  # from now on GroupCommit waits, beside the event loop
            reader = undo.enter_context(contextlib.closing(_connection(self._path)))
            reader.execute("PRAGMA query_only = ON")
            undo.pop_all()
        return writer, reader


def _connection(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=LOCK_WAIT, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _walk(connection: sqlite3.Connection, steps: Steps[T]) -> T:
    """Run the steps of a transaction and return its result."""
    rows: list[Row] = None  # type: ignore[assignment]  # how a generator is started
    try:
        while True:
            statement, parameters = steps.send(rows)
            rows = _rows(connection, statement, parameters)
    except StopIteration as end:
        result: T = end.value
        return result


def _rows(connection: sqlite3.Connection, statement: str, parameters: Sequence[Any]) -> list[Row]:
    if statement in _NOT_NEEDED:
        return []
    try:
        return connection.execute(_adapted(statement), parameters).fetchall()
    except UnicodeEncodeError:
        return connection.execute(_adapted(statement), [*map(storable, parameters)]).fetchall()


@lru_cache(maxsize=512)
def _adapted(statement: str) -> str:
    """SQLite numbers parameters ?1, not $1, and locks the whole file instead of rows."""
    unlocked = re.sub(r" FOR UPDATE( SKIP LOCKED)?", "", statement)
    return re.sub(r"\$(\d+)", r"?\1", unlocked.removesuffix(sql.TELLING))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock over all processes of this machine; it ends with the process, even by kill -9."""
    _private(path)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _private(path: Path) -> None:
    """Make a file, if need be, that nobody else can read (promise 10); SQLite's own files take after it."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    path.chmod(0o600)


def _migrate(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS schema_version (number INTEGER PRIMARY KEY)")
    done = {row[0] for row in connection.execute("SELECT number FROM schema_version")}
    for number, script in migrations():
        if number not in done:
            _apply(connection, number, script)


def _apply(connection: sqlite3.Connection, number: int, script: str) -> None:
    """Apply one migration, all of it or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in script.split(";\n"):
            if statement.strip():
                connection.execute(statement)
        connection.execute("INSERT INTO schema_version (number) VALUES (?1)", (number,))
    except sqlite3.Error:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
