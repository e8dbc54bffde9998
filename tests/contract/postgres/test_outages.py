"""Servers that go away, crash, hang or cut a connection."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest
from tests.contract.postgres.cases import opened
from tests.contract.store_cases import (
    NOW,
    attempt,
    kept,
    knocked,
)
from tests.kit.postgres import Postgres
from tests.kit.processes import wait_until

from mknock.checks import decide
from mknock.domain.errors import StoreUnavailable
from mknock.domain.knocks import OPEN, KnockState
from mknock.ports import Store
from mknock.storage import postgres_connections, postgres_lines
from mknock.storage.postgres import PostgresStore
from mknock.storage.postgres_connections import Transaction

S = KnockState


async def everything(store: Store) -> list[Any]:
    """What becomes of a method of each kind."""
    outcomes: tuple[Any, ...] = await asyncio.gather(
        store.admit(attempt(), decide),
        store.knocks_in(OPEN),
        store.claim(NOW, limit=1, lease=1.0),
        store.ping(),
        store.take_lease("lease", "holder", now=NOW, until=NOW),
        store.secret("name"),
        return_exceptions=True,
    )
    return list(outcomes)


@pytest.mark.promise(1)
@pytest.mark.promise(7)
@pytest.mark.parametrize("end", [Postgres.stop, Postgres.crash])
async def test_while_the_server_is_away_nothing_is_known_and_then_all_is_there_again(
    fragile: Postgres, end: Callable[[Postgres], None]
) -> None:
    async with opened(fragile.url()) as store:
        before = await knocked(store)
        await everything(store)
        end(fragile)
        assert {type(outcome) for outcome in await everything(store)} == {StoreUnavailable}
        fragile.start()
        assert not [outcome for outcome in await everything(store) if isinstance(outcome, Exception)]
        assert await store.knock(before.id)


@pytest.mark.promise(1)
async def test_what_is_acknowledged_while_the_server_crashes_is_on_record(fragile: Postgres) -> None:
    """Callers go on and on; the server is killed under them, and what they were told has come true."""
    acknowledged: list[str] = []
    async with opened(fragile.url()) as store:

        async def knock_on_and_on() -> None:
            with contextlib.suppress(StoreUnavailable):
                while True:
                    acknowledged.append((await knocked(store)).id)

        callers = [asyncio.create_task(knock_on_and_on()) for _ in range(16)]
        await wait_until(lambda: len(acknowledged) > 100)
        await asyncio.to_thread(fragile.crash)
        await asyncio.gather(*callers)
        fragile.start()
        on_record = {knock.id for knock in await store.knocks_in(OPEN, limit=10_000)}
    assert on_record >= set(acknowledged)


async def test_connections_that_died_in_silence_are_replaced(
    postgres: Postgres, database: str, store: PostgresStore
) -> None:
    await everything(store)
    ended = postgres.sql(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        database,
    )
    assert int(ended) > 1
    assert not [outcome for outcome in await everything(store) if isinstance(outcome, Exception)]


@contextlib.asynccontextmanager
async def locked(address: str) -> AsyncIterator[None]:
    """Somebody has the whole table to himself: nobody can even read it."""
    connection = await asyncpg.connect(address)
    async with connection.transaction():
        await connection.execute("LOCK TABLE knocks IN ACCESS EXCLUSIVE MODE")
        yield
    await connection.close()


@pytest.mark.promise(7)
@pytest.mark.parametrize("who_gives_up", ["we", "the server"])
async def test_whoever_waits_too_long_is_told_so_once(
    store: PostgresStore, url: str, monkeypatch: pytest.MonkeyPatch, who_gives_up: str
) -> None:
    """Nobody stands in line behind one who has waited in vain, to wait in vain as well."""
    if who_gives_up == "we":
        monkeypatch.setattr(postgres_connections, "ANSWER_WITHIN", 0.3)
    else:
        monkeypatch.setitem(postgres_connections._SESSION, "lock_timeout", "300ms")
    async with opened(url) as impatient:
        async with locked(url):
            began = time.monotonic()
            callers = (impatient.admit(attempt(), decide) for _ in range(30))
            outcomes = await asyncio.gather(impatient.knock("id"), *callers, return_exceptions=True)
            waited = time.monotonic() - began
        assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
        assert waited < 2
        assert (await knocked(impatient)).state is S.ADMITTED


@pytest.mark.promise(7)
async def test_a_connection_lost_while_committing_is_said_to_leave_it_open(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = Transaction.commit

    async def cut(transaction: Transaction) -> None:
        transaction._connection.terminate()
        await commit(transaction)

    monkeypatch.setattr(Transaction, "commit", cut)
    with pytest.raises(StoreUnavailable, match="not known whether"):
        await kept(store, attempt())


async def test_a_store_that_is_closed_does_not_wait_for_a_lock(
    store: PostgresStore, other: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_lines, "LAST_CALL", 0.1)
    async with other._connections.transaction() as transaction:
        await transaction.lock({"door:main"})
        waiting = asyncio.ensure_future(kept(store, attempt()))
        await asyncio.sleep(0.05)
        began = time.monotonic()
        await store.close()
        with pytest.raises(StoreUnavailable):
            await waiting
    assert time.monotonic() - began < 5
