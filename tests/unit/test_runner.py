"""Duties and their timing, and which of several processes has the turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.kit.processes import wait_until

from mknock.storage.sqlite import SqliteStore
from mknock.workers import runner as runners
from mknock.workers.runner import TURN, TURN_EVERY, TURN_LEASE, Duty, Runner, Turn

NOW = 1_800_000_000.0


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "knock.db")
    await store.open()
    yield store
    await store.close()


@asynccontextmanager
async def running(store: SqliteStore, *duties: Duty, holder: str = "one") -> AsyncIterator[Runner]:
    runner = Runner(duties, time.time, Turn(store, holder))
    runner.start()
    yield runner
    await runner.stop()


class Counted:
    """A tick that counts how often it ran."""

    def __init__(self, *, found: int = 0) -> None:
        self.times, self._found = 0, found

    async def __call__(self, _: float) -> int:
        self.times += 1
        await asyncio.sleep(0)
        return self._found


async def hanging(_: float) -> int:
    await asyncio.sleep(3600)
    return 0


# Duties


async def test_a_duty_that_fails_is_tried_again(store: SqliteStore) -> None:
    calls: list[float] = []

    async def tick(now: float) -> int:
        calls.append(now)
        raise ZeroDivisionError

    async with running(store, duty := Duty("fragile", tick, every=60.0)):
        await wait_until(lambda: calls)
        duty.wake()
        await wait_until(lambda: len(calls) > 1, within=1.0)


async def test_a_duty_that_is_woken_ticks_at_once(store: SqliteStore) -> None:
    tick = Counted()
    async with running(store, duty := Duty("sleepy", tick, every=60.0)):
        await wait_until(lambda: tick.times == 1)
        duty.wake()
        await wait_until(lambda: tick.times == 2, within=1.0)


async def test_a_duty_that_hangs_does_not_hold_up_the_end(store: SqliteStore) -> None:
    runner = Runner([Duty("hanging", hanging, every=1.0)], time.time, Turn(store, "one"))
    runner.start()
    await asyncio.sleep(0)

    await asyncio.wait_for(runner.stop(), 1.0)


# The turn


@pytest.mark.promise(9)
async def test_one_of_two_has_the_turn(store: SqliteStore) -> None:
    taken = [await Turn(store, holder).take(NOW) for holder in ("one", "two")]

    assert taken == [True, False]


@pytest.mark.promise(9)
async def test_the_turn_of_one_that_died_is_taken_within_ten_seconds(store: SqliteStore) -> None:
    await Turn(store, "one").take(NOW)
    other = Turn(store, "two")
    assert not await other.take(NOW + TURN_LEASE - 0.1)

    assert TURN_LEASE + TURN_EVERY < 10.0
    assert await other.take(NOW + TURN_LEASE + TURN_EVERY)


async def test_the_turn_is_kept_by_taking_it_again(store: SqliteStore) -> None:
    one, two = Turn(store, "one"), Turn(store, "two")
    for second in range(20):
        assert await one.take(NOW + second)

    assert not await two.take(NOW + 20)


async def test_a_turn_that_is_given_up_is_free_at_once(store: SqliteStore) -> None:
    one = Turn(store, "one")
    await one.take(NOW)
    await one.give_up()

    assert await Turn(store, "two").take(NOW + 0.1)


async def test_giving_up_takes_the_turn_from_nobody_else(store: SqliteStore) -> None:
    one, two = Turn(store, "one"), Turn(store, "two")
    await one.take(NOW)
    await two.take(NOW + TURN_LEASE)
    await one.give_up()

    assert not await Turn(store, "three").take(NOW + TURN_LEASE + 1)


@pytest.mark.promise(9)
async def test_a_process_without_a_store_gives_its_turn_up_before_another_can_have_it(
    store: SqliteStore,
) -> None:
    turn = Turn(store, "one")
    await turn.take(NOW)
    await store.close()

    assert await turn.take(NOW + 1.0)
    assert not await turn.take(NOW + TURN_LEASE - TURN_EVERY)


@pytest.mark.promise(9)
async def test_a_duty_for_one_alone_runs_in_one_of_two(store: SqliteStore) -> None:
    ticks = Counted(), Counted()
    duties = [Duty("alone", tick, every=0.01, alone=True) for tick in ticks]
    async with running(store, duties[0]), running(store, duties[1], holder="two"):
        await wait_until(lambda: max(tick.times for tick in ticks) > 5)

    assert min(tick.times for tick in ticks) == 0


@pytest.mark.promise(9)
async def test_the_end_of_one_process_is_the_turn_of_another(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runners, "TURN_EVERY", 0.02)
    tick = Counted()
    async with running(store, Duty("alone", hanging, every=1.0, alone=True)) as first:
        await wait_until(lambda: first.has_turn)
        async with running(store, Duty("alone", tick, every=1.0, alone=True), holder="two"):
            await first.stop()
            await wait_until(lambda: tick.times == 1, within=1.0)


async def test_a_duty_that_is_running_ends_when_the_turn_is_lost(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runners, "TURN_EVERY", 0.02)
    ended = asyncio.Event()

    async def tick(_: float) -> int:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()
        return 0

    async with running(store, Duty("alone", tick, every=1.0, alone=True)) as runner:
        await wait_until(lambda: runner.has_turn)
        await asyncio.sleep(0)
        late = time.time() + TURN_LEASE + 1
        await store.take_lease(TURN, "two", now=late, until=late + 60)
        await asyncio.wait_for(ended.wait(), 1.0)
