"""The store in PostgreSQL: for several machines at once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, TypeVar

from mknock.domain.errors import StoreUnavailable
from mknock.storage.postgres_connections import FAILED, Connections, Transaction, unavailable
from mknock.storage.postgres_lines import Lines
from mknock.storage.postgres_news import Listener
from mknock.storage.rows import Row
from mknock.storage.sql_store import SqlStore, migrations
from mknock.storage.transactions import Steps

T = TypeVar("T")

PATIENCE = 120
"""Seconds to wait for another process's migration."""
DURABLE = "SELECT current_setting('fsync'), current_setting('full_page_writes')"


class PostgresStore(SqlStore):
    """Everything Knock remembers, in one PostgreSQL database of its own.

    What has been committed is on the server's disk (``synchronous_commit=on`` in
    every session). It connects anew by itself after an outage. ``notify_url``
    leads past a pooler, to hear of the other processes' work.
    """

    def __init__(
        self, url: str, *, secret_key: str | None = None, notify_url: str | None = None, pool_size: int = 10
    ) -> None:
        super().__init__(secret_key)
        self._url = url
        self._notify_url = notify_url
        self._connections = Connections(url, pool_size)
        self._lines: Lines | None = None
        self._wake: Callable[[], None] | None = None
        self._listener: Listener | None = None

    async def open(self) -> None:
        """Connect, and bring the schema up to date under a lock over all processes.

        Raises:
            StoreUnavailable: one sentence says why not.
        """
        await self._connections.open()
        try:
            async with self._connections.transaction() as transaction:
                await _migrate(transaction)
        except BaseException as error:
            await self._connections.close()
            if isinstance(error, FAILED):
                raise unavailable(error) from error
            raise
        self._lines = Lines(self._connections)
        self._listen()

    async def close(self) -> None:
        lines, self._lines = self._lines, None
        listener, self._listener = self._listener, None
        if listener is not None:
            await listener.close()
        if lines is not None:
            await lines.close()
        await self._connections.close()

    def on_work(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._listen()

    def _listen(self) -> None:
        """Begin to listen, once the store is open and somebody wants to be woken."""
        if self._wake is None or self._lines is None or self._listener is not None:
            return
        if self._notify_url or not self._connections.pooled:
            self._listener = Listener(self._notify_url or self._url, self._heard)

    def _heard(self) -> None:
        if self._wake is not None:
            self._wake()

    async def durability_problem(self) -> str:
        """What the server's settings make of a commit. ``synchronous_commit`` is ours to set, and is on."""
        ((fsync, whole_pages),) = await self._read(DURABLE)
        if fsync != "on":
            return "PostgreSQL does not flush to disk (fsync is off), so a power failure can take knocks: set it on"
        if whole_pages != "on":
            return "PostgreSQL may lose pages in a power failure (full_page_writes is off): set it on"
        return ""

    # --- the driver

    def _run(self, steps: Callable[[], Steps[T]]) -> asyncio.Future[T]:
        if self._lines is None:
            raise StoreUnavailable("the store is not open")
        return self._lines.run(steps)

    async def _read(self, statement: str, *parameters: Any) -> list[Row]:
        return await self._connections.read(statement, parameters)


async def _migrate(transaction: Transaction) -> None:
    """Apply what is missing of the numbered scripts, all of it or nothing."""
    await transaction.script(f"SET LOCAL lock_timeout = '{PATIENCE}s'")
    await transaction.lock({"migrations"})
    if not (await transaction.rows("SELECT 1 WHERE to_regclass('schema_version') IS NOT NULL", ())):
        await transaction.script("CREATE TABLE schema_version (number INTEGER PRIMARY KEY)")
    done = {row[0] for row in await transaction.rows("SELECT number FROM schema_version", ())}
    for number, script in migrations():
        if number not in done:
            await transaction.script(_collated(script))
            await transaction.rows("INSERT INTO schema_version (number) VALUES ($1)", (number,))


def _collated(script: str) -> str:
    """Sort texts by their bytes, as SQLite does, whatever language the database speaks."""
    return re.sub(r"\bTEXT\b", 'TEXT COLLATE "C"', script)
