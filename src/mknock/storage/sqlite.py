"""The embedded store: one SQLite file in DATA_DIR, safe for several processes of one machine."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from mknock.domain.doors import Door
from mknock.domain.errors import StoreUnavailable
from mknock.domain.knocks import Knock, KnockState
from mknock.domain.rules import Rule
from mknock.ports import AskedToWait, Attempt, Claimed, Entry, Judge, Kept, Pace
from mknock.storage import sql, transactions
from mknock.storage.group_commit import GroupCommit, unavailable
from mknock.storage.rows import Row, entry_of, knock_of, rule_of
from mknock.storage.transactions import Steps
from mknock.storage.vault import Vault

T = TypeVar("T")

LOCK_WAIT = 10.0
"""Seconds to wait for another process's write lock."""
TIDIED_AT_ONCE = 1000
"""Rows of a kind that are forgotten in one transaction, so that nobody waits long behind it."""

_PRAGMAS = ("synchronous = FULL", "cache_size = -16000", "wal_autocheckpoint = 4000")
"""16 MB of pages in memory; the log goes into the file every 16 MB, so that busy pages are copied less often."""


class SqliteStore:
    """Everything Knock remembers, in one file.

    WAL with ``synchronous=FULL``: what has been committed survives a power
    failure. Writes are grouped (see GroupCommit); reads run on a connection
    of their own and never wait for a writer.
    """

    def __init__(self, path: Path, *, secret_key: str | None = None) -> None:
        self._path = path
        self._vault = Vault(secret_key)
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

    async def ping(self) -> None:
        """Write, so that a full or read-only disk is noticed before a visitor notices it."""
        await self._execute(sql.PUT_SECRET, "ping", "pong", None)

    # --- knocks

    async def admit(self, attempt: Attempt, judge: Judge) -> Kept | AskedToWait:
        return await self._run(lambda: transactions.admit(attempt, judge))

    async def count_request(self, door: Door, sender: str, at: float) -> float:
        return await self._run(lambda: transactions.count_request(door, sender, at))

    async def must_wait(self, sender: str, now: float) -> float:
        rows = self._read(sql.BACKOFF, sender, now)
        return max(0.0, float(rows[0][1]) - now) if rows else 0.0

    async def claim(self, now: float, *, limit: int, lease: float, pace: Pace | None = None) -> Claimed:
        return await self._run(lambda: transactions.claim(now, limit, lease, pace))

    async def renew(self, claims: Sequence[Knock], until: float) -> None:
        await self._run(lambda: transactions.renew(claims, until))

    async def put_back(self, claim: Knock, *, due_at: float, tried: bool = True) -> bool:
        return await self._run(lambda: transactions.put_back(claim, due_at, tried))

    async def record(self, claim: Knock, after: Knock, entries: Sequence[Entry]) -> bool:
        return await self._run(lambda: transactions.record(claim, after, entries))

    async def change(self, knock_id: str, how: Callable[[Knock], Knock], entry: Entry) -> Knock:
        return await self._run(lambda: transactions.change(knock_id, how, entry))

    async def knock(self, knock_id: str) -> Knock | None:
        rows = self._read(sql.KNOCK, knock_id)
        return knock_of(rows[0]) if rows else None

    async def knocks_of(self, user_key: str, *, states: frozenset[KnockState] | None = None) -> list[Knock]:
        knocks = map(knock_of, self._read(sql.OF_PERSON, user_key))
        return [knock for knock in knocks if states is None or knock.state in states]

    async def knocks_in(
        self, states: frozenset[KnockState], *, limit: int = 1000, after: str = ""
    ) -> list[Knock]:
        return [knock_of(row) for row in self._read(sql.knocks_in(states), after, limit)]

    # --- block-list

    async def rule_for(self, user_key: str) -> Rule | None:
        rows = self._read(sql.RULE, user_key)
        return rule_of(rows[0]) if rows else None

    async def rules(self) -> list[Rule]:
        return [rule_of(row) for row in self._read(sql.RULES)]

    async def block(self, rule: Rule, entry: Entry) -> tuple[bool, list[Knock]]:
        return await self._run(lambda: transactions.block(rule, entry))

    async def unblock(self, user_key: str, entry: Entry) -> Rule | None:
        return await self._run(lambda: transactions.unblock(user_key, entry))

    async def import_rules(self, rules: Sequence[Rule], entry: Entry) -> int:
        return await self._run(lambda: transactions.import_rules(rules, entry))

    async def import_knocks(self, knocks: Sequence[Knock], entry: Entry) -> int:
        return await self._run(lambda: transactions.import_knocks(knocks, entry))

    # --- ledger

    async def write(self, entry: Entry) -> None:
        await self._run(lambda: transactions.write(entry))

    async def ledger(self, *, knock_id: str = "", user_id: str = "", limit: int = 100) -> list[Entry]:
        if knock_id:
            rows = self._read(sql.LEDGER_OF_KNOCK, limit, knock_id)
        elif user_id:
            rows = self._read(sql.LEDGER_OF_USER, limit, user_id, user_id.lower())
        else:
            rows = self._read(sql.LEDGER, limit)
        return [entry_of(row) for row in rows]

    # --- shared between processes

    async def pause(self, what: str, until: float) -> None:
        await self._execute(sql.PAUSE, what, until)

    async def paused(self, what: str) -> float:
        rows = self._read(sql.PAUSED, what)
        return float(rows[0][0]) if rows else 0.0

    async def resume(self, what: str) -> None:
        await self._execute(sql.RESUME, what)

    async def take_lease(self, name: str, holder: str, *, now: float, until: float) -> bool:
        return await self._run(lambda: transactions.take_lease(name, holder, now, until))

    async def drop_lease(self, name: str, holder: str) -> None:
        await self._execute(sql.DROP_LEASE, name, holder)

    async def secret(self, name: str) -> str | None:
        rows = self._read(sql.SECRET, name)
        return self._vault.open(rows[0][0]) if rows else None

    async def put_secret(self, name: str, value: str, *, expires_at: float | None = None) -> None:
        await self._execute(sql.PUT_SECRET, name, self._vault.seal(value), expires_at)

    async def settle_secret(self, name: str, value: str, *, expires_at: float | None = None) -> str:
        sealed = self._vault.seal(value)
        kept = await self._run(lambda: transactions.settle_secret(name, sealed, expires_at))
        return self._vault.open(kept)

    async def drop_secret(self, name: str) -> None:
        await self._execute(sql.DROP_SECRET, name)

    async def tidy(self, now: float) -> int:
        gone = 0
        while some := await self._run(lambda: transactions.tidy(now, TIDIED_AT_ONCE)):
            gone += some
        return gone

    async def counts(self) -> Mapping[KnockState, int]:
        return {KnockState(state): int(number) for state, number in self._read(sql.COUNTS)}

    # --- the driver

    def _run(self, steps: Callable[[], Steps[T]]) -> asyncio.Future[T]:
        """Run one transaction; once what is returned has been awaited, it is on disk."""
        if self._group is None:
            raise StoreUnavailable("the store is not open")
        return self._group.run(lambda connection: _walk(connection, steps()))

    async def _execute(self, statement: str, *parameters: Any) -> None:
        await self._run(lambda: transactions.one(statement, *parameters))

    def _read(self, statement: str, *parameters: Any) -> list[Row]:
        if self._reader is None:
            raise StoreUnavailable("the store is not open")
        try:
            return self._reader.execute(_numbered(statement), parameters).fetchall()
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
            rows = connection.execute(_numbered(statement), parameters).fetchall()
    except StopIteration as end:
        result: T = end.value
        return result


@lru_cache(maxsize=512)
def _numbered(statement: str) -> str:
    """SQLite numbers parameters ?1, not $1."""
    return re.sub(r"\$(\d+)", r"?\1", statement)


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


def migrations() -> list[tuple[int, str]]:
    """The numbered scripts, in order."""
    folder = resources.files("mknock.storage.migrations")
    files = sorted(
        (file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name
    )
    return [(int(file.name.split("_")[0]), file.read_text("utf-8")) for file in files]
