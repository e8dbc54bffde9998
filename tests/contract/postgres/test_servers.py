"""The tests' own servers, and what a power failure would take."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.contract.postgres.cases import opened
from tests.kit.postgres import Postgres, newest, oldest
from tests.kit.processes import wait_until

from mknock.storage.postgres import PostgresStore


def test_the_newest_and_the_oldest_server_are_tested(postgres: Postgres, old_postgres: Postgres) -> None:
    versions = [server.sql("SHOW server_version").split(".")[0] for server in (postgres, old_postgres)]
    assert versions == ["18", "15"]


def test_the_oldest_server_is_not_the_machines_own(old_postgres: Postgres) -> None:
    assert oldest() is not None
    assert Path(old_postgres.sql("SHOW data_directory")).parent == old_postgres.folder


# What a power failure would take


@pytest.mark.promise(1)
async def test_a_server_that_does_not_flush_is_named(postgres: Postgres, store: PostgresStore) -> None:
    assert postgres.sql("SHOW fsync") == "off"
    assert "fsync is off" in await store.durability_problem()


@pytest.mark.promise(1)
async def test_a_server_as_it_comes_is_good_enough() -> None:
    with Postgres(newest()) as server:
        for statement in ("ALTER SYSTEM SET fsync = on", "ALTER SYSTEM SET full_page_writes = on"):
            server.sql(statement)
        server.sql("SELECT pg_reload_conf()")
        async with opened(server.url()) as store:
            await wait_until(lambda: is_durable(store), within=5.0)


async def is_durable(store: PostgresStore) -> bool:
    return await store.durability_problem() == ""
