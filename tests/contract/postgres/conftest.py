"""One database, and its servers, for the tests of what only PostgreSQL can break."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from tests.contract.postgres.cases import opened
from tests.kit.postgres import PgBouncer, Postgres, newest

from mknock.storage.postgres import PostgresStore


@pytest.fixture
def url(postgres: Postgres, database: str) -> str:
    """The address of an empty database."""
    return postgres.url(postgres.wipe(database))


@pytest.fixture
async def store(url: str) -> AsyncIterator[PostgresStore]:
    async with opened(url) as opened_store:
        yield opened_store


@pytest.fixture
async def other(url: str, store: PostgresStore) -> AsyncIterator[PostgresStore]:
    """The same store as another process has it."""
    async with opened(url) as opened_store:
        yield opened_store


@pytest.fixture
def behind_pgbouncer(old_postgres: Postgres, old_database: str, pgbouncer: PgBouncer) -> str:
    """The address of an empty database of the oldest server, through a pooler."""
    return pgbouncer.url(old_postgres.wipe(old_database))


@pytest.fixture
def fragile() -> Iterator[Postgres]:
    """A server of the test's own, that may be stopped."""
    with Postgres(newest()) as server:
        yield server
