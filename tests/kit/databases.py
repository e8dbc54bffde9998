"""The databases that any test may ask for by name: one server of each kind for the session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.kit.postgres import PgBouncer, Postgres, bouncer, newest, oldest


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The newest PostgreSQL, for the whole session. Take a database of your own, or wipe the one of ``database``."""
    with Postgres(newest()) as server:
        yield server


@pytest.fixture(scope="session")
def old_postgres() -> Iterator[Postgres]:
    """The oldest PostgreSQL that Knock supports."""
    binaries = oldest()
    if binaries is None:
        pytest.skip("PostgreSQL 15 is not here: run tools/setup.sh databases")
    with Postgres(binaries) as server:
        yield server


@pytest.fixture(scope="session")
def pgbouncer(old_postgres: Postgres) -> Iterator[PgBouncer]:
    """PgBouncer in transaction mode before the oldest PostgreSQL."""
    program = bouncer()
    if program is None:
        pytest.skip("PgBouncer is not here: run tools/setup.sh databases")
    with PgBouncer(old_postgres, program) as running:
        yield running


@pytest.fixture(scope="session")
def database(postgres: Postgres) -> str:
    """A database that is wiped before every test that uses it."""
    return postgres.fresh()


@pytest.fixture(scope="session")
def old_database(old_postgres: Postgres) -> str:
    return old_postgres.fresh()
