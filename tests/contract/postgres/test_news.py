"""How other processes hear of work."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.contract.postgres.cases import opened
from tests.contract.store_cases import (
    HOLD,
    NOW,
    claimed_one,
    entry,
    knocked,
    moved,
)
from tests.kit.postgres import Postgres
from tests.kit.processes import free_port, wait_until

from mknock.domain.knocks import KnockState
from mknock.storage.postgres import PostgresStore

S = KnockState


class Ear:
    """Somebody who is woken, and notes when."""

    def __init__(self) -> None:
        self.woken_at: list[float] = []

    def __call__(self) -> None:
        self.woken_at.append(time.monotonic())

    async def listening(self) -> Ear:
        """Wait until the first waking, which tells that the listener has begun; forget it."""
        await wait_until(lambda: self.woken_at)
        self.woken_at.clear()
        return self

    async def heard_of(self, act: Awaitable[Any]) -> float:
        """How many seconds after the act the waking came."""
        await act
        began = time.monotonic()
        await wait_until(lambda: self.woken_at, every=0.002)
        return self.woken_at[0] - began


async def listening(store: PostgresStore) -> Ear:
    ear = Ear()
    store.on_work(ear)
    return await ear.listening()


async def approve(store: PostgresStore) -> None:
    knock = await knocked(store, judge=HOLD)
    await store.change(knock.id, moved(S.ADMITTED, due_at=NOW), entry("approve"))


@pytest.mark.parametrize("act", [knocked, approve], ids=["a knock", "an approval"])
async def test_another_process_hears_of_work_at_once(
    store: PostgresStore, other: PostgresStore, act: Callable[[PostgresStore], Awaitable[Any]]
) -> None:
    ear = await listening(other)
    assert await ear.heard_of(act(store)) < 0.2


async def test_nobody_is_woken_for_what_is_due_later(store: PostgresStore, other: PostgresStore) -> None:
    await knocked(store)
    ear = await listening(other)
    claim = await claimed_one(store)
    await store.record(claim, moved(S.INVITED, NOW, due_at=NOW + 86400)(claim), [entry("deliver")])
    await asyncio.sleep(0.1)
    assert ear.woken_at == []


async def test_the_listener_connects_anew(
    postgres: Postgres, database: str, store: PostgresStore, other: PostgresStore
) -> None:
    """And wakes when it has, for nobody knows what happened in between."""
    ear = await listening(other)
    postgres.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
        " AND datname = current_database()",
        database,
    )
    await ear.listening()
    assert await ear.heard_of(knocked(store)) < 0.2


async def test_who_begins_to_listen_before_the_store_is_open_hears_as_well(
    url: str, store: PostgresStore
) -> None:
    early, ear = PostgresStore(url), Ear()
    early.on_work(ear)
    await early.open()
    await ear.listening()
    assert await ear.heard_of(knocked(store)) < 0.2
    await early.close()


async def test_behind_a_pooler_the_news_come_by_an_address_past_it(
    behind_pgbouncer: str, old_postgres: Postgres, old_database: str
) -> None:
    async with (
        opened(behind_pgbouncer) as store,
        opened(behind_pgbouncer, notify_url=old_postgres.url(old_database)) as other,
    ):
        ear = await listening(other)
        assert await ear.heard_of(knocked(store)) < 0.2


async def test_behind_a_pooler_without_such_an_address_nobody_listens(behind_pgbouncer: str) -> None:
    async with opened(behind_pgbouncer) as store:
        store.on_work(Ear())
        assert store._listener is None


@pytest.mark.parametrize("notify", ["the pooler again", "nothing there"])
async def test_an_address_that_brings_no_news_does_no_harm(behind_pgbouncer: str, notify: str) -> None:
    nowhere = f"postgresql://knock:canary@127.0.0.1:{free_port()}/knock"
    notify_url = behind_pgbouncer if notify == "the pooler again" else nowhere
    async with opened(behind_pgbouncer, notify_url=notify_url) as store:
        store.on_work(Ear())
        await asyncio.sleep(0.1)
        assert (await knocked(store)).state is S.ADMITTED
