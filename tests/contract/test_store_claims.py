"""What every store promises (ports.Store): how workers share what is due."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.contract.store_cases import (
    HOLD,
    LEASE,
    NOW,
    OTHER_ROOM,
    attempt,
    claimed,
    claimed_one,
    entry,
    kept,
    knocked,
    many,
    moved,
    person,
)

from mknock.domain.knocks import KnockState, Reason
from mknock.ports import Pace, Store

S = KnockState
ALICE = person("alice")

# --- claims


async def test_a_claim_lasts_for_the_lease(store: Store) -> None:
    await knocked(store, ALICE)
    claim = await claimed_one(store, NOW + 1)
    assert (claim.due_at, claim.fence) == (NOW + 1 + LEASE, 1)


async def test_nothing_is_claimed_before_it_is_due(store: Store) -> None:
    await knocked(store, ALICE, NOW + 5)
    found = await claimed(store, NOW + 4)
    assert (found.knocks, found.next_at) == ((), NOW + 5)


async def test_an_empty_store_has_nothing_to_claim(store: Store) -> None:
    found = await claimed(store)
    assert (found.knocks, found.next_at) == ((), None)


async def test_what_has_been_due_longest_is_claimed_first(store: Store) -> None:
    knocks = [await knocked(store, None, NOW + n) for n in (3, 1, 2)]
    found = await claimed(store, NOW + 9, limit=2)
    assert [knock.id for knock in found.knocks] == [knocks[1].id, knocks[2].id]


async def test_a_held_knock_is_not_claimed(store: Store) -> None:
    await knocked(store, ALICE, judge=HOLD)
    assert (await claimed(store, NOW + 1)).knocks == ()


@pytest.mark.promise(2)
async def test_a_claim_is_not_given_to_two(store: Store, other: Store) -> None:
    await knocked(store, ALICE)
    await claimed_one(store)
    assert (await claimed(other, NOW + LEASE - 1)).knocks == ()


async def test_whoever_finds_nothing_learns_when_the_claim_lapses(store: Store, other: Store) -> None:
    await knocked(store, ALICE)
    await claimed_one(store)
    assert (await claimed(other, NOW + 1)).next_at == NOW + LEASE


@pytest.mark.promise(1)
async def test_a_lapsed_claim_is_taken_again_with_a_higher_fence(store: Store, other: Store) -> None:
    await knocked(store, ALICE)
    await claimed_one(store)
    assert (await claimed_one(other, NOW + LEASE)).fence == 2


@pytest.mark.promise(2)
async def test_a_lapsed_claim_that_was_taken_over_records_nothing(store: Store) -> None:
    await knocked(store, ALICE)
    stale = await claimed_one(store)
    current = await claimed_one(store, NOW + LEASE)
    lines = await store.ledger()
    assert not await store.record(stale, moved(S.INVITED)(stale), [entry("deliver")])
    assert (await store.knock(current.id), await store.ledger()) == (current, lines)


async def test_a_lapsed_claim_that_nobody_took_over_still_counts(store: Store) -> None:
    await knocked(store, ALICE)
    claim = await claimed_one(store)
    assert await store.record(claim, moved(S.INVITED, NOW + 2 * LEASE)(claim), [])


async def test_what_is_recorded_is_not_due_any_more(store: Store) -> None:
    await knocked(store, ALICE)
    claim = await claimed_one(store)
    after = moved(S.INVITED, NOW + 1, reason=Reason.INVITED, invited_at=NOW + 1)(claim)
    await store.record(claim, after, [entry("deliver", NOW + 1, knock_id=claim.id)])
    assert await store.knock(claim.id) == after
    assert (await claimed(store, NOW + 1000)).knocks == ()


@pytest.mark.promise(8)
async def test_what_is_recorded_is_in_the_ledger_in_order(store: Store) -> None:
    await knocked(store, ALICE)
    claim = await claimed_one(store)
    lines = [entry(f"line {n}", NOW + 1, knock_id=claim.id) for n in range(9)]
    await store.record(claim, moved(S.INVITED)(claim), lines)
    assert (await store.ledger(knock_id=claim.id))[:9] == lines[::-1]


async def test_a_repeat_while_a_claim_is_worked_on_is_not_lost(store: Store) -> None:
    await knocked(store, ALICE)
    claim = await claimed_one(store)
    await knocked(store, ALICE, NOW + 1)
    await store.record(claim, moved(S.INVITED)(claim), [])
    found = await store.knock(claim.id)
    assert found is not None
    assert found.repeats == 1


async def test_a_renewed_claim_does_not_lapse(store: Store) -> None:
    await knocked(store, ALICE)
    await store.renew([await claimed_one(store)], NOW + 100)
    assert (await claimed(store, NOW + 99)).knocks == ()


async def test_a_claim_that_was_taken_over_cannot_be_renewed(store: Store) -> None:
    await knocked(store, ALICE)
    stale = await claimed_one(store)
    current = await claimed_one(store, NOW + LEASE)
    await store.renew([stale], NOW + 1000)
    assert await store.knock(current.id) == current


async def test_what_was_recorded_is_not_brought_back_by_a_late_renewal(store: Store) -> None:
    await knocked(store, ALICE)
    claim = await claimed_one(store)
    await store.record(claim, moved(S.INVITED)(claim), [])
    await store.renew([claim], NOW + 1000)
    assert (await claimed(store, NOW + 2000)).knocks == ()


async def test_what_is_put_back_waits_until_its_time(store: Store) -> None:
    await knocked(store, ALICE)
    assert await store.put_back(await claimed_one(store), due_at=NOW + 30)
    assert (await claimed(store, NOW + 29)).knocks == ()
    assert await claimed_one(store, NOW + 30)


@pytest.mark.parametrize(("tried", "attempts"), [(True, 1), (False, 0)])
async def test_what_is_put_back_counts_the_tries(store: Store, tried: bool, attempts: int) -> None:
    await knocked(store, ALICE)
    await store.put_back(await claimed_one(store), due_at=NOW, tried=tried)
    assert (await claimed_one(store)).attempts == attempts


async def test_a_claim_that_was_taken_over_cannot_be_put_back(store: Store) -> None:
    await knocked(store, ALICE)
    stale = await claimed_one(store)
    current = await claimed_one(store, NOW + LEASE)
    assert not await store.put_back(stale, due_at=NOW)
    assert await store.knock(current.id) == current


async def test_who_put_a_claim_back_has_it_no_more(store: Store) -> None:
    await knocked(store, ALICE)
    claim = await claimed_one(store)
    await store.put_back(claim, due_at=NOW + 30)
    assert not await store.record(claim, moved(S.INVITED)(claim), [])


async def test_a_moderators_change_ends_the_claim(store: Store) -> None:
    await knocked(store, ALICE)
    claim = await claimed_one(store)
    await store.change(claim.id, moved(S.RESCINDED), entry("rescind"))
    assert not await store.record(claim, moved(S.INVITED)(claim), [])


async def test_a_knock_may_be_given_another_room(store: Store) -> None:
    knock = await knocked(store, ALICE)
    await store.change(knock.id, lambda one: replace(one, room_id=OTHER_ROOM.room_id), entry("follow"))
    again = await kept(store, attempt(ALICE, NOW + 1, through=OTHER_ROOM))
    assert (again.repeat, again.knock.id, again.knock.room_id) == (True, knock.id, OTHER_ROOM.room_id)


# --- pace and pauses

PACE = Pace(interval=2.0, burst=5)


async def test_a_burst_goes_at_once_and_then_one_every_interval(store: Store) -> None:
    await many(store)
    claims = [len((await claimed(store, NOW + n, pace=PACE)).knocks) for n in range(7)]
    assert claims == [5, 0, 1, 0, 1, 0, 1]


async def test_the_pace_is_kept_over_processes(store: Store, other: Store) -> None:
    await many(store)
    first = await claimed(store, NOW, limit=3, pace=PACE)
    second = await claimed(other, NOW, pace=PACE)
    assert (len(first.knocks), len(second.knocks)) == (3, 2)


async def test_who_is_held_back_by_the_pace_learns_when_it_goes_on(store: Store) -> None:
    await many(store)
    await claimed(store, NOW, pace=PACE)
    assert (await claimed(store, NOW, pace=PACE)).next_at == NOW + PACE.interval


async def test_a_calm_time_brings_one_burst_and_no_more(store: Store) -> None:
    await many(store)
    await claimed(store, NOW, pace=PACE)
    assert len((await claimed(store, NOW + 3600, pace=PACE)).knocks) == 5


async def test_what_was_not_there_to_claim_uses_no_pace(store: Store) -> None:
    for n in range(10):
        await claimed(store, NOW + n / 10, pace=PACE)
    await many(store, 5)
    assert len((await claimed(store, NOW + 1, pace=PACE)).knocks) == 5


async def test_no_interval_is_no_limit(store: Store) -> None:
    await many(store)
    assert len((await claimed(store, NOW, pace=Pace(0.0))).knocks) == 20


@pytest.mark.parametrize("what", ["invite", "homeserver", "owner"])
async def test_a_pause_stops_claims_until_its_end(store: Store, other: Store, what: str) -> None:
    await knocked(store, ALICE)
    await store.pause(what, NOW + 30)
    held_back = await claimed(other, NOW + 29)
    assert (held_back.knocks, held_back.next_at) == ((), NOW + 30)
    assert await claimed_one(other, NOW + 30)


async def test_a_pause_of_something_else_stops_no_claim(store: Store) -> None:
    await knocked(store, ALICE)
    await store.pause("profile", NOW + 30)
    assert await claimed_one(store)


async def test_the_later_end_of_two_pauses_wins(store: Store) -> None:
    await store.pause("invite", NOW + 30)
    await store.pause("invite", NOW + 10)
    assert await store.paused("invite") == NOW + 30


async def test_what_is_resumed_is_not_paused(store: Store) -> None:
    await store.pause("invite", NOW + 30)
    await store.resume("invite")
    assert await store.paused("invite") == 0.0
