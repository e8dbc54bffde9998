"""Connections to PostgreSQL: made, checked, shared, found broken and made anew."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from functools import cache
from hashlib import sha256
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs, urlsplit

import asyncpg

from mknock.domain.errors import StoreUnavailable
from mknock.storage import sql
from mknock.storage.rows import Row, storable
from mknock.telemetry import get_logger

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Borrowed: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

log = get_logger(__name__)

OLDEST = 15
"""The oldest PostgreSQL that Knock is tested with."""
CONNECT_WITHIN = 5.0
"""Seconds to wait for a new connection."""
ANSWER_WITHIN = 10.0
"""Seconds to wait for an answer, or for a connection that others use."""
SCRIPT_WITHIN = 600.0
"""Seconds to wait for a migration of one's own."""

_SESSION: Final = {
    # What COMMIT acknowledges is on disk, whatever the server's default is (promise 1).
    "synchronous_commit": "on",
    # The server gives up before we do, so that it does not go on with what nobody waits for.
    "lock_timeout": "9s",
    # A process that hangs must not keep the others out for ever.
    "idle_in_transaction_session_timeout": "10s",
}
_LOCAL = "; ".join(f"SET LOCAL {name} = '{value}'" for name, value in _SESSION.items())

LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # it leads to what was the primary until now
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
"""The connection is of no use any more, and with it is gone whatever was not committed."""
OVERTAKEN = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.UniqueViolationError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.OutdatedSchemaCacheError,
)
"""Another transaction was faster: run from the start, this one sees what that one did."""
FAILED = (asyncpg.PostgresError, *LOST)


class Connections:
    """Up to ``size`` connections to one database, behind a pooler or not.

    A pooler in transaction mode gives every transaction another session. So
    behind one, nothing is prepared, what a session has to be is said in every
    transaction, and nothing happens outside of transactions.
    """

    def __init__(self, url: str, size: int) -> None:
        self._url = url
        self._size = size
        self._pool: Pool | None = None
        self.place = place(url)
        self.pooled = False
        """Whether a pooler stands between us and the server."""

    async def open(self) -> None:
        """Look at the server and make ready to connect; see ``connected`` for what it raises."""
        async with connected(self._url) as connection:
            self.pooled = await check(connection, self.place)
        self._pool = await asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=self._size,
            timeout=CONNECT_WITHIN,
            command_timeout=ANSWER_WITHIN,
            statement_cache_size=0 if self.pooled else 200,
            server_settings={"application_name": "mknock", **({} if self.pooled else _SESSION)},
            reset=_nothing_to_reset,
        )

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            await pool.close()
        except FAILED:
            pool.terminate()

    async def read(self, statement: str, parameters: Sequence[Any], *, again: bool = True) -> list[Row]:
        """Ask one question. A connection that turns out to be dead is replaced once.

        Raises:
            StoreUnavailable: there is no answer.
        """
        try:
            return await self._read(statement, parameters)
        except asyncpg.DataError:
            raise
        except FAILED as error:
            if not again or not isinstance(error, LOST) or isinstance(error, TimeoutError):
                raise unavailable(error) from error
            await self.renew()
        return await self.read(statement, parameters, again=False)

    async def renew(self) -> None:
        """Use none of the present connections again."""
        if self._pool is not None:
            await self._pool.expire_connections()

    async def _read(self, statement: str, parameters: Sequence[Any]) -> list[Row]:
        if self.pooled:
            async with self.transaction() as transaction:
                return await transaction.rows(statement, parameters)
        async with self._borrowed() as connection:
            rows: list[Any] = await connection.fetch(statement, *map(storable, parameters))
            return rows

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A transaction that is on disk when the block has ended without an error, and otherwise undone.

        Raises:
            StoreUnavailable: there is no connection; or it was lost while the
                transaction was being committed, so that nobody knows whether it was.
        """
        async with self._borrowed() as connection:
            await connection.execute(f"BEGIN; {_LOCAL}" if self.pooled else "BEGIN")
            transaction = Transaction(connection)
            try:
                yield transaction
                await transaction.commit()
            except TimeoutError:
                connection.terminate()
                raise
            except BaseException:
                await _undo(connection)
                raise

    @contextlib.asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[Borrowed]:
        if self._pool is None:
            raise StoreUnavailable("the store is not open")
        try:
            connection = await self._pool.acquire(timeout=ANSWER_WITHIN)
        except FAILED as error:
            raise cannot_connect(error, self.place) from error
        try:
            yield connection
        finally:
            with contextlib.suppress(*FAILED):
                await self._pool.release(connection, timeout=CONNECT_WITHIN)


class Transaction:
    """A transaction that has begun."""

    def __init__(self, connection: Borrowed) -> None:
        self._connection = connection
        self._wakes = False

    async def rows(self, statement: str, parameters: Sequence[Any]) -> list[Row]:
        if statement == sql.WAKE:  # goes along with COMMIT, and costs no way of its own
            self._wakes = True
            return []
        rows: list[Any] = await self._connection.fetch(statement, *map(storable, parameters))
        return rows

    async def rows_of_each(self, statement: str, parameters: Sequence[Sequence[Any]]) -> list[list[Row]]:
        """What a statement gives for each set of parameters, one after the other, on one way to the server."""
        if len(parameters) == 1 or statement == sql.WAKE:
            rows = await self.rows(statement, parameters[0])
            return [rows for _ in parameters]
        numbered = [(*map(storable, each), number) for number, each in enumerate(parameters)]
        answers: list[list[Row]] = [[] for _ in parameters]
        for row in await self._connection.fetchmany(_numbering(statement), numbered):
            answers[row["number"]].append(row)
        return answers

    async def lock(self, names: set[str]) -> None:
        """Take all these locks, in the order in which everybody takes them."""
        if names:
            await self._connection.fetch(sql.LOCK, sorted(map(_number, names)))

    async def script(self, statements: str) -> None:
        """Run statements that may take long, such as a migration's."""
        await self._connection.execute(statements, timeout=SCRIPT_WITHIN)

    async def commit(self) -> None:
        try:
            status = await self._connection.execute(f"{sql.WAKE}; COMMIT" if self._wakes else "COMMIT")
        except LOST as error:
            raise StoreUnavailable(
                "the connection to PostgreSQL was lost while it was committing, so it is not known whether"
                " it has: repeat the request, a repeat does no harm"
            ) from error
        if status != "COMMIT":
            raise StoreUnavailable("PostgreSQL did not commit")


@cache
def _numbering(statement: str) -> str:
    """The statement with a number as its last parameter, which it gives back as the last column of every row."""
    places = re.findall(r"\$(\d+)", statement)
    number = f"${max(map(int, places), default=0) + 1}::int AS number"
    if statement.startswith("SELECT"):
        return f"SELECT found.*, {number} FROM ({statement}) AS found"  # noqa: S608 - a statement of ours
    return f"{statement}{',' if ' RETURNING ' in statement else ' RETURNING'} {number}"


def _number(name: str) -> int:
    """The advisory lock of a name: PostgreSQL's are signed numbers of 64 bits."""
    digest = sha256(name.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


async def _nothing_to_reset(_: Any) -> None:
    """Sessions are left as they were found, so giving one back costs no way to the server."""


async def _undo(connection: Borrowed) -> None:
    """Leave the transaction; a connection that cannot is given up."""
    try:
        if connection.is_in_transaction():
            await connection.execute("ROLLBACK")
    except FAILED:
        with contextlib.suppress(asyncpg.InterfaceError):  # it is gone already
            connection.terminate()


# --- a single connection


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    """A connection of its own, not from the pool.

    Raises:
        StoreUnavailable: there is none; one sentence says why, without the address's user and password.
    """
    try:
        connection = await asyncpg.connect(
            url,
            timeout=CONNECT_WITHIN,
            command_timeout=ANSWER_WITHIN,
            statement_cache_size=0,
            server_settings={"application_name": "mknock"},
        )
    except (*FAILED, ValueError) as error:
        raise cannot_connect(error, place(url)) from error
    try:
        yield connection
    finally:
        with contextlib.suppress(*FAILED):
            await connection.close(timeout=CONNECT_WITHIN)


_FACTS = """SELECT current_setting('server_version_num')::int / 10000, pg_backend_pid(),
 current_setting('transaction_read_only') = 'on', current_setting('server_encoding'), current_setting('fsync') = 'on'"""


async def check(connection: Connection, where: str) -> bool:
    """See that Knock can work with this server; return whether a pooler stands before it.

    A pooler invents the process number by which a client can cancel its query.

    Raises:
        StoreUnavailable: it is too old, read-only, or the database has the wrong encoding.
    """
    try:
        async with connection.transaction():
            version, process, read_only, encoding, durable = (await connection.fetch(_FACTS))[0]
    except FAILED as error:
        raise unavailable(error) from error
    if version < OLDEST:
        raise StoreUnavailable(
            f"PostgreSQL at {where} is version {version}, but Knock needs {OLDEST} or later"
        )
    if read_only:
        raise StoreUnavailable(f"PostgreSQL at {where} is read-only: let STORE_URL name the primary server")
    if encoding != "UTF8":
        raise StoreUnavailable(f"the database's encoding is {encoding}, but Knock needs UTF8: make it anew")
    if not durable:
        log.warning("PostgreSQL runs with fsync=off: what it keeps can be lost when its machine fails")
    return bool(process != connection.get_server_pid())


# --- what went wrong


def place(url: str) -> str:
    """The servers that an address names, without user and password."""
    parts = urlsplit(url)
    hosts = parts.netloc.rpartition("@")[2] or ",".join(parse_qs(parts.query).get("host", ()))
    return hosts or "its usual place"


def cannot_connect(error: Exception, where: str) -> StoreUnavailable:
    """What a failure to connect means to the owner."""
    match error:
        case asyncpg.InvalidAuthorizationSpecificationError():
            why = "refused the user or the password: correct STORE_URL"
        case asyncpg.InvalidCatalogNameError():
            why = "has no such database: create it, or correct STORE_URL"
        case asyncpg.PostgresError():
            why = f"does not let Knock in ({_reason(error)})"
        case ValueError():
            why = "cannot be asked: STORE_URL is not written as PostgreSQL's addresses are"
        case _:
            why = f"cannot be reached ({_reason(error)}): see that it runs, and that STORE_URL names it"
    return StoreUnavailable(f"PostgreSQL at {where} {why}")


def unavailable(error: Exception) -> StoreUnavailable:
    """What a failure in the middle means to a caller."""
    if isinstance(error, asyncpg.InsufficientPrivilegeError | asyncpg.InvalidSchemaNameError):
        return StoreUnavailable(
            f"the user of STORE_URL may not do what Knock needs ({_reason(error)}): make it the database's owner"
        )
    return StoreUnavailable(f"the store cannot be used right now ({_reason(error)}); is PostgreSQL well?")


def _reason(error: Exception) -> str:
    """The first line of an error: PostgreSQL's further ones may hold values."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__
