"""What a session is, what keeps a store from opening, and how its schema is made."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import replace

import asyncpg
import pytest
from tests.contract.postgres.cases import opened
from tests.contract.store_cases import (
    knocked,
)
from tests.kit.postgres import PASSWORD, PgBouncer, Postgres
from tests.kit.processes import free_port

from mknock.domain.errors import StoreUnavailable
from mknock.domain.knocks import KnockState
from mknock.storage import postgres as postgres_store
from mknock.storage import postgres_connections, sql
from mknock.storage.postgres import PostgresStore
from mknock.storage.postgres_connections import place
from mknock.storage.rows import knock_row
from mknock.storage.sql_store import migrations

S = KnockState


@pytest.mark.promise(1)
@pytest.mark.parametrize("way", ["url", "behind_pgbouncer"])
async def test_every_commit_is_flushed_to_the_disk_whatever_the_server_would_do(
    request: pytest.FixtureRequest, postgres: Postgres, database: str, way: str
) -> None:
    address: str = request.getfixturevalue(way)
    postgres.sql(f"ALTER DATABASE {database} SET synchronous_commit = off")
    async with opened(address) as store, store._connections.transaction() as transaction:
        found = await transaction.rows("SELECT current_setting('synchronous_commit')", ())
    postgres.sql(f"ALTER DATABASE {database} RESET synchronous_commit")
    assert found[0][0] == "on"


@pytest.mark.parametrize(("way", "pooled"), [("url", False), ("behind_pgbouncer", True)])
async def test_a_pooler_is_noticed(request: pytest.FixtureRequest, way: str, pooled: bool) -> None:
    async with opened(request.getfixturevalue(way)) as store:
        assert store._connections.pooled is pooled


async def test_the_oldest_server_is_enough(old_postgres: Postgres, old_database: str) -> None:
    async with opened(old_postgres.url(old_postgres.wipe(old_database))) as store:
        assert (await knocked(store)).state is S.ADMITTED


async def test_no_more_connections_are_made_than_allowed(postgres: Postgres, database: str) -> None:
    address = postgres.url(postgres.wipe(database))
    async with opened(address, pool_size=3) as store:
        await asyncio.gather(*(store.put_secret(f"secret {n}", "value") for n in range(50)))
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        assert int(postgres.sql(sessions, database)) - 1 <= 3  # who asks is there as well


# --- what keeps it from opening


@pytest.mark.promise(10)
@pytest.mark.parametrize(
    ("user", "password", "name", "says"),
    [
        ("knock", "a wrong canary", "postgres", "refused the user or the password"),
        ("nobody-here", "a wrong canary", "postgres", "refused the user or the password"),
        ("knock", PASSWORD, "no_such_database", "has no such database"),
    ],
)
async def test_why_it_cannot_be_opened_is_said_in_one_sentence_without_the_password(
    postgres: Postgres, user: str, password: str, name: str, says: str
) -> None:
    address = postgres.url(name, user=user, password=password)
    with pytest.raises(StoreUnavailable, match=says) as refused:
        await PostgresStore(address).open()
    assert f"127.0.0.1:{postgres.port}" in str(refused.value)
    assert not [secret for secret in ("canary", PASSWORD, user + ":", "\n") if secret in str(refused.value)]


async def test_a_server_that_is_away_is_named() -> None:
    port = free_port()
    with pytest.raises(StoreUnavailable, match=f"PostgreSQL at 127.0.0.1:{port} cannot be reached"):
        await PostgresStore(f"postgresql://knock:canary@127.0.0.1:{port}/knock").open()


async def test_a_name_that_leads_nowhere_is_named() -> None:
    with pytest.raises(StoreUnavailable, match=r"PostgreSQL at db\.invalid cannot be reached"):
        await PostgresStore("postgresql://knock:canary@db.invalid/knock").open()


async def test_a_database_that_the_pooler_cannot_reach_is_no_traceback(pgbouncer: PgBouncer) -> None:
    with pytest.raises(StoreUnavailable, match=r"PostgreSQL at 127\.0\.0\.1"):
        await PostgresStore(pgbouncer.url("no_such_database")).open()


async def test_a_server_that_is_too_old_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_connections, "OLDEST", 99)
    with pytest.raises(StoreUnavailable, match=r"is version \d+, but Knock needs 99 or later"):
        await PostgresStore(url).open()


async def test_a_database_that_cannot_hold_every_language_is_refused(postgres: Postgres) -> None:
    postgres.sql("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(StoreUnavailable, match="encoding is LATIN1"):
        await PostgresStore(postgres.url("latin")).open()
    postgres.drop("latin")


async def test_a_user_who_may_not_make_tables_is_told_so(postgres: Postgres, url: str, database: str) -> None:
    postgres.sql("CREATE ROLE guest LOGIN PASSWORD 'guest'; GRANT USAGE ON SCHEMA public TO guest", database)
    guest = postgres.url(database, user="guest", password="guest")
    with pytest.raises(StoreUnavailable, match="make it the database's owner"):
        await PostgresStore(guest).open()
    postgres.sql("DROP OWNED BY guest; DROP ROLE guest", database)


@contextlib.contextmanager
def read_only(server: Postgres, database: str) -> Iterator[None]:
    """New sessions of this database cannot write, as on a standby."""
    server.sql(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    try:
        yield
    finally:
        server.sql(f"ALTER DATABASE {database} RESET default_transaction_read_only")


async def test_a_read_only_server_is_refused(postgres: Postgres, url: str, database: str) -> None:
    with (
        read_only(postgres, database),
        pytest.raises(StoreUnavailable, match="read-only: let STORE_URL name the primary"),
    ):
        await PostgresStore(url).open()


async def test_a_server_that_becomes_read_only_is_noticed_by_a_ping(
    postgres: Postgres, database: str, store: PostgresStore
) -> None:
    with read_only(postgres, database):
        await store._connections.renew()
        with pytest.raises(StoreUnavailable, match="read-only"):
            await store.ping()
        assert await store.rules() == []
        await store._connections.renew()
    await store.ping()


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://u:p@db.example:5432/knock", "db.example:5432"),
        ("postgresql://u:p@one:1,two:2/knock", "one:1,two:2"),
        ("postgresql://u:p@/knock?host=/run/postgresql", "/run/postgresql"),
        ("postgresql:///knock", "its usual place"),
    ],
)
def test_a_place_is_named_without_user_and_password(address: str, shown: str) -> None:
    assert place(address) == shown


# --- the schema


async def test_a_migration_is_applied_once(postgres: Postgres, url: str, database: str) -> None:
    for _ in range(3):
        async with opened(url):
            pass
    applied = postgres.sql("SELECT number FROM schema_version ORDER BY number", database).split()
    assert [int(number) for number in applied] == [number for number, _ in migrations()]


async def test_a_migration_that_fails_leaves_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = [(1, "CREATE TABLE a (b TEXT);\n"), (2, "CREATE TABLE a (b TEXT);\n")]
    monkeypatch.setattr(postgres_store, "migrations", lambda: broken)
    with pytest.raises(StoreUnavailable):
        await PostgresStore(url).open()
    monkeypatch.undo()
    async with opened(url) as store:
        assert (await knocked(store)).state is S.ADMITTED


@pytest.mark.parametrize("way", ["url", "behind_pgbouncer"])
async def test_many_may_make_the_schema_at_once(request: pytest.FixtureRequest, way: str) -> None:
    address: str = request.getfixturevalue(way)
    stores = [PostgresStore(address) for _ in range(8)]
    await asyncio.gather(*(each.open() for each in stores))
    assert (await knocked(stores[0])).state is S.ADMITTED
    for each in stores:
        await each.close()


async def test_texts_sort_by_their_bytes_whatever_the_databases_language(
    postgres: Postgres, database: str, store: PostgresStore
) -> None:
    foreign = (
        "SELECT count(*) FROM information_schema.columns WHERE data_type = 'text' AND table_schema = 'public'"
    )
    assert int(postgres.sql(foreign, database)) > 20
    assert postgres.sql(f"{foreign} AND collation_name IS DISTINCT FROM 'C'", database) == "0"


@pytest.mark.promise(2)
async def test_the_schema_itself_allows_one_open_knock_a_person_and_room(
    postgres: Postgres, database: str, store: PostgresStore
) -> None:
    knock = await knocked(store, "alice")
    second = replace(knock, id="01AAAAAAAAAAAAAAAAAAAAAAAA", state=S.HELD, due_at=None)
    connection = await asyncpg.connect(postgres.url(database))
    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.execute(sql.ADD_KNOCK, *knock_row(second))
    await connection.close()
