"""What every store promises (ports.Store): what processes share, what happens when it fails, and many at once."""

from __future__ import annotations

import asyncio

import pytest
from tests.contract.store_cases import (
    NOW,
    WINDOW,
    Listening,
    Shelf,
    attempt,
    claimed,
    door,
    entry,
    kept,
    knocked,
    many,
    over_the_window,
    person,
)

from mknock.checks import decide
from mknock.domain.errors import KnockError, StoreUnavailable
from mknock.domain.knocks import OPEN, Decision, Knock, KnockState
from mknock.ports import Attempt, Facts, Secret, Store

S = KnockState
ALICE = person("alice")

# --- shared between processes


async def test_a_lease_has_one_holder(store: Store, other: Store) -> None:
    assert await store.take_lease("sync", "one", now=NOW, until=NOW + 10)
    assert not await other.take_lease("sync", "two", now=NOW + 9, until=NOW + 20)


async def test_a_lease_that_ran_out_is_free(store: Store, other: Store) -> None:
    await store.take_lease("sync", "one", now=NOW, until=NOW + 10)
    assert await other.take_lease("sync", "two", now=NOW + 10, until=NOW + 20)
    assert not await store.take_lease("sync", "one", now=NOW + 11, until=NOW + 21)


async def test_a_holder_renews_its_lease(store: Store, other: Store) -> None:
    await store.take_lease("sync", "one", now=NOW, until=NOW + 10)
    assert await store.take_lease("sync", "one", now=NOW + 5, until=NOW + 15)
    assert not await other.take_lease("sync", "two", now=NOW + 14, until=NOW + 24)


async def test_a_dropped_lease_is_free(store: Store, other: Store) -> None:
    await store.take_lease("sync", "one", now=NOW, until=NOW + 10)
    await store.drop_lease("sync", "one")
    assert await other.take_lease("sync", "two", now=NOW + 1, until=NOW + 11)


async def test_nobody_drops_the_lease_of_another(store: Store, other: Store) -> None:
    await store.take_lease("sync", "one", now=NOW, until=NOW + 10)
    await other.drop_lease("sync", "two")
    assert not await other.take_lease("sync", "two", now=NOW + 1, until=NOW + 11)


async def test_a_secret_is_kept(store: Store, other: Store) -> None:
    await store.put_secret("token", "old")
    await store.put_secret("token", "new")
    assert await other.secret("token") == "new"


async def test_a_dropped_secret_is_gone(store: Store) -> None:
    await store.put_secret("token", "value")
    await store.drop_secret("token")
    assert await store.secret("token") is None


async def test_all_processes_settle_on_one_secret(store: Store, other: Store) -> None:
    settled = await asyncio.gather(
        *(each.settle_secret("api-key", f"key {n}") for n in range(10) for each in (store, other))
    )
    assert len(set(settled)) == 1
    assert await store.secret("api-key") == settled[0]


def secrets(*names: str, value: str = "value") -> list[Secret]:
    return [Secret(name, value) for name in names]


async def test_several_secrets_are_written_at_once(store: Store, other: Store) -> None:
    assert await store.put_secrets(secrets("one", "two"), fence="fence", seen="")
    assert [await other.secret(name) for name in ("one", "two")] == ["value", "value"]


async def test_writing_several_secrets_counts_their_fence_up(store: Store, other: Store) -> None:
    await store.put_secrets(secrets("one"), fence="fence", seen="")
    first = await other.secret("fence")
    await store.put_secrets(secrets("one"), fence="fence", seen=first or "")
    assert (first, await other.secret("fence")) == ("1", "2")


@pytest.mark.parametrize("seen", ["", "2"])
async def test_nothing_is_written_over_what_others_have_written_since(
    store: Store, other: Store, seen: str
) -> None:
    await other.put_secrets(secrets("one", value="theirs"), fence="fence", seen="")
    written = await store.put_secrets(secrets("one", "two", value="ours"), fence="fence", seen=seen)
    assert (written, await store.secret("one"), await store.secret("two")) == (False, "theirs", None)


async def test_of_those_who_write_at_once_one_succeeds(store: Store, other: Store) -> None:
    results = await asyncio.gather(
        *(
            each.put_secrets(secrets("one", value=f"value {n}"), fence="fence", seen="")
            for n in range(5)
            for each in (store, other)
        )
    )
    assert sorted(results) == [False] * 9 + [True]


async def test_secrets_that_were_written_together_run_out_by_themselves(store: Store) -> None:
    both = [Secret("short", "value", NOW + 1), Secret("long", "value")]
    await store.put_secrets(both, fence="fence", seen="")
    await store.tidy(NOW + 1)
    assert (await store.secret("short"), await store.secret("long")) == (None, "value")


@pytest.mark.promise(10)
async def test_secrets_that_were_written_together_are_opened_with_their_key_only(shelf: Shelf) -> None:
    async with shelf.opened(secret_key="the right key") as store:
        await store.put_secrets(secrets("one"), fence="fence", seen="")
        assert await store.secret("one") == "value"
    async with shelf.opened(secret_key="another key") as store:
        with pytest.raises(StoreUnavailable, match="SECRET_KEY"):
            await store.secret("one")


@pytest.mark.promise(10)
async def test_a_secret_is_opened_with_its_key_only(shelf: Shelf) -> None:
    async with shelf.opened(secret_key="the right key") as store:
        await store.put_secret("token", "value")
        assert await store.secret("token") == "value"
    for wrong in ("another key", None):
        async with shelf.opened(secret_key=wrong) as store:
            with pytest.raises(StoreUnavailable, match="SECRET_KEY"):
                await store.secret("token")


async def test_a_secret_from_before_the_key_was_set_still_opens(shelf: Shelf) -> None:
    async with shelf.opened() as store:
        await store.put_secret("token", "value")
    async with shelf.opened(secret_key="a key") as store:
        assert await store.secret("token") == "value"


async def test_what_has_run_out_is_forgotten(store: Store) -> None:
    await store.put_secret("short", "value", expires_at=NOW + 1)
    await store.put_secret("long", "value")
    assert await store.tidy(NOW + 1) == 1
    assert (await store.secret("short"), await store.secret("long")) == (None, "value")


async def test_nothing_is_forgotten_before_its_time(store: Store) -> None:
    await over_the_window(store)
    await knocked(store, ALICE, event="e1", sender="work")
    assert await store.tidy(NOW + WINDOW) == 0


async def test_counters_waits_and_events_are_forgotten(store: Store) -> None:
    """Windows of the homeserver, the door and the sender; what raids are told by, of an hour and of days; an event."""
    await knocked(store, ALICE, event="e1", sender="work")
    forgotten = [await store.tidy(at) for at in (NOW + 2 * WINDOW, NOW + 3 * 86400, NOW + 91 * 86400)]
    assert forgotten == [3, 6, 1]
    assert len(await store.knocks_of(ALICE.key)) == 1


async def test_any_amount_is_forgotten(store: Store) -> None:
    await asyncio.gather(*(store.put_secret(f"secret {n}", "", expires_at=NOW) for n in range(1100)))
    assert await store.tidy(NOW) == 1100


async def test_it_may_be_told_whom_to_wake_at_any_time(shelf: Shelf) -> None:
    store = shelf.store()
    store.on_work(lambda: None)
    await store.open()
    store.on_work(lambda: None)
    await knocked(store)
    await store.close()


async def test_a_store_that_works_answers_a_ping(store: Store) -> None:
    await store.ping()


# --- failures


@pytest.mark.promise(7)
async def test_a_closed_store_says_that_it_cannot_be_used(shelf: Shelf) -> None:
    store = shelf.store()
    with pytest.raises(StoreUnavailable):
        await store.admit(attempt(), decide)
    with pytest.raises(StoreUnavailable):
        await store.knock("01ARZ3NDEKTSV4RRFFQ69G5FAV")


async def test_a_store_may_be_closed_twice(shelf: Shelf) -> None:
    async with shelf.opened() as store:
        await store.close()


async def test_closing_finishes_what_was_begun(shelf: Shelf) -> None:
    async with shelf.opened() as store:
        tasks = [asyncio.ensure_future(kept(store, attempt())) for _ in range(50)]
        await asyncio.sleep(0)
        await store.close()
        assert len(await asyncio.gather(*tasks)) == 50


class Burst(KnockError):
    """What a broken judge raises."""


def broken(_attempt: Attempt, _facts: Facts) -> Decision:
    raise Burst


async def test_one_that_fails_fails_alone(store: Store) -> None:
    results = await asyncio.gather(
        *(store.admit(attempt(f"p{n}"), broken if n == 5 else decide) for n in range(10)),
        return_exceptions=True,
    )
    assert [type(result).__name__ for result in results] == ["Kept"] * 5 + ["Burst"] + ["Kept"] * 4
    assert len(await store.knocks_in(OPEN)) == len(await store.ledger()) == 9


async def test_one_that_fails_leaves_nothing(store: Store) -> None:
    def late(knock: Knock) -> Knock:
        raise Burst

    knock = await knocked(store, ALICE)
    with pytest.raises(Burst):
        await store.change(knock.id, late, entry("approve"))
    assert len(await store.ledger()) == 1


async def test_one_that_fails_counts_in_no_window(store: Store) -> None:
    with pytest.raises(Burst):
        await store.admit(attempt(sender="home"), broken)
    listening = Listening()
    await knocked(store, sender="home", judge=listening)
    assert (listening.heard.sender_count, listening.heard.door_count) == (1.0, 1.0)


async def test_whoever_stops_waiting_takes_nobody_along(store: Store) -> None:
    tasks = [asyncio.ensure_future(kept(store, attempt())) for _ in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(not isinstance(result, BaseException) for result in results) == 10
    assert (await kept(store, attempt())).knock.state is S.ADMITTED


# --- many at once


@pytest.mark.promise(2)
async def test_one_person_many_times_at_once_has_one_knock(store: Store, other: Store) -> None:
    results = await asyncio.gather(
        *(kept(each, attempt(ALICE)) for _ in range(25) for each in (store, other))
    )
    assert sum(not result.repeat for result in results) == 1
    (knock,) = await store.knocks_of(ALICE.key)
    assert knock.repeats == 49


@pytest.mark.promise(1)
async def test_many_people_at_once_are_all_on_record(store: Store, other: Store) -> None:
    await asyncio.gather(*(kept(each, attempt()) for _ in range(100) for each in (store, other)))
    assert len(await store.knocks_in(frozenset({S.ADMITTED}))) == 200


async def test_windows_are_exact_however_many_knock_at_once(store: Store, other: Store) -> None:
    narrow = door(door=30)
    results = await asyncio.gather(
        *(kept(each, attempt(through=narrow)) for _ in range(30) for each in (store, other))
    )
    assert sum(result.knock.state is S.ADMITTED for result in results) == 30


@pytest.mark.promise(2)
async def test_claims_at_once_give_each_knock_to_one(store: Store, other: Store) -> None:
    await many(store, 30)
    found = await asyncio.gather(*(claimed(each, limit=4) for _ in range(5) for each in (store, other)))
    ids = [knock.id for each in found for knock in each.knocks]
    assert len(ids) == len(set(ids)) == 30
