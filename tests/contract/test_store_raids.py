"""What every store promises (ports.Store): raids are noticed as they come, and hold until it is calm."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.contract.store_cases import (
    NOW,
    Listening,
    Shelf,
    anonymous,
    attempt,
    door,
    entry,
    kept,
    knocked,
    moved,
    person,
    somebody,
)

from mknock.checks import decide
from mknock.domain.doors import Alarm, Door
from mknock.domain.knocks import Answer, Knock, KnockState, Reason
from mknock.domain.raids import DAY, Cause, Raid, Told
from mknock.matching.likeness import likeness
from mknock.ports import Store

S = KnockState
CALM = 600.0


def watched(slug: str = "main", *, arrivals: int = 5, alike: int = 3) -> Door:
    """A door at which five in five minutes, or three alike in an hour, may pass."""
    return replace(door(slug), alarm=Alarm(arrivals, alike, CALM))


BY_NUMBER = watched(alike=0)
BY_LIKENESS = watched(arrivals=0)


async def came(
    store: Store, name: str = "", at: float = NOW, *, through: Door = BY_NUMBER, **more: Any
) -> Knock:
    """Somebody knocks, with what is compared of their name."""
    who = person(name) if name else somebody()
    return await knocked(store, who, at, through=through, likeness=likeness(who.localpart), **more)


async def raided(store: Store, at: float = NOW, *, through: Door = BY_NUMBER) -> str:
    """Bring about a raid; return its id."""
    for _ in range(6):
        knock = await came(store, at=at, through=through)
    assert knock.raid
    return knock.raid


def by_hand(at: float = NOW, *, slug: str = "main", ends_at: float | None = None) -> Raid:
    return Raid(
        id=f"RAID{at:022.0f}",
        door=slug,
        cause=Cause.MODERATOR,
        started_at=at,
        started_by="cli",
        ends_at=ends_at,
    )


# --- how a raid begins


async def test_the_first_few_pass_and_the_rest_of_the_burst_is_held(store: Store) -> None:
    states = [(await came(store)).state for _ in range(8)]
    assert states == [S.ADMITTED] * 5 + [S.HELD] * 3


async def test_who_is_held_by_a_raid_says_so_and_bears_its_wave(store: Store) -> None:
    wave = await raided(store)
    knock = await came(store)
    assert (knock.reason, knock.raid) == (Reason.RAID, wave)


async def test_a_burst_that_comes_together_is_held_as_well(store: Store) -> None:
    knocks = await asyncio.gather(*(came(store) for _ in range(60)))
    assert sum(knock.state is S.ADMITTED for knock in knocks) == 5
    assert len({knock.raid for knock in knocks if knock.raid}) == 1


async def test_a_raid_is_seen_by_another_process_at_once(store: Store, other: Store) -> None:
    wave = await raided(store)
    assert (await came(other)).raid == wave


async def test_a_burst_at_two_processes_is_one_raid(store: Store, other: Store) -> None:
    knocks = await asyncio.gather(*(came(one) for _ in range(30) for one in (store, other)))
    assert len({knock.raid for knock in knocks if knock.raid}) == 1
    assert sum(knock.state is S.ADMITTED for knock in knocks) == 5


async def test_a_raid_survives_a_restart(shelf: Shelf) -> None:
    async with shelf.opened() as store:
        wave = await raided(store)
    async with shelf.opened() as store:
        assert (await came(store)).raid == wave


async def test_each_door_is_raided_by_itself(store: Store) -> None:
    await raided(store)
    assert (await came(store, through=watched("side"))).state is S.ADMITTED


async def test_names_of_one_shape_are_a_raid(store: Store) -> None:
    names = ["kqz481", "wvn720", "hbt118", "xmr903", "plq556"]
    assert [(await came(store, name, through=BY_LIKENESS)).state for name in names] == [S.ADMITTED] * 3 + [
        S.HELD
    ] * 2


async def test_the_same_name_on_many_servers_is_a_raid(store: Store) -> None:
    states = []
    for number in range(5):
        who = replace(person("raider"), server=f"s{number}.example")
        states.append((await knocked(store, who, through=BY_LIKENESS, likeness=likeness("raider"))).state)
    assert states == [S.ADMITTED] * 3 + [S.HELD] * 2


async def test_names_of_letters_only_are_no_raid(store: Store) -> None:
    names = ["alice", "robin", "clara", "peter", "david", "hanna", "laura"]
    assert {(await came(store, name, through=BY_LIKENESS)).state for name in names} == {S.ADMITTED}


async def test_many_of_an_unusual_homeserver_are_a_raid(store: Store) -> None:
    for number in range(40):
        await came(store, at=NOW - DAY / 2 + number * 600.0, through=BY_LIKENESS)
    states = [(await knocked(store, somebody("evil.example"), through=BY_LIKENESS)).state for _ in range(5)]
    assert states == [S.ADMITTED] * 3 + [S.HELD] * 2


async def test_many_of_the_usual_homeserver_are_no_raid(store: Store) -> None:
    for number in range(40):
        await knocked(store, None, NOW - DAY / 2 + number * 600.0, through=BY_LIKENESS)
    assert {(await knocked(store, through=BY_LIKENESS)).state for _ in range(8)} == {S.ADMITTED}


async def test_a_busy_door_is_not_raided_by_its_usual(store: Store) -> None:
    """More than one a minute all day, so five in five minutes are what always comes."""
    await asyncio.gather(
        *(came(store, at=NOW - DAY + number * 42.8, through=door()) for number in range(2016))
    )
    assert {(await came(store, at=NOW + number)).state for number in range(6)} == {S.ADMITTED}


async def test_nobody_alone_can_close_a_door(store: Store) -> None:
    """From one network address come at most three that count, whomever they name."""
    for _ in range(12):
        await kept(store, anonymous(through=BY_NUMBER, sender="mallory"))
    assert (await came(store)).state is S.ADMITTED


async def test_many_senders_can(store: Store) -> None:
    for number in range(6):
        await kept(store, anonymous(through=BY_NUMBER, sender=f"bot{number}"))
    assert (await kept(store, anonymous(through=BY_NUMBER, sender="alice"))).knock.reason is Reason.RAID


async def test_what_the_trap_caught_is_no_sign(store: Store) -> None:
    for _ in range(12):
        await came(store, trap="x")
    assert (await came(store)).state is S.ADMITTED


@pytest.mark.promise(4)
async def test_naming_one_victim_without_end_raids_nobody(store: Store) -> None:
    for number in range(50):
        await kept(store, anonymous("victim", NOW + number, through=BY_NUMBER, sender=f"bot{number}"))
    assert (await came(store, at=NOW + 60)).state is S.ADMITTED
    assert len(await store.knocks_of(person("victim").key)) == 1


async def test_the_proven_are_held_with_the_others(store: Store) -> None:
    await raided(store)
    assert (await came(store, proven=True)).reason is Reason.RAID


async def test_zero_takes_no_notice(store: Store) -> None:
    never = watched(arrivals=0, alike=0)
    assert {(await came(store, through=never)).state for _ in range(40)} == {S.ADMITTED}


@pytest.mark.parametrize("later", [1.0, 2 * CALM], ids=["in the raid", "after it"])
async def test_a_proof_takes_nobody_out_of_the_wave(store: Store, later: float) -> None:
    """Raiders have accounts: who was held with the wave is decided with it."""
    wave = await raided(store)
    await came(store, "raider")
    proof = attempt("raider", NOW + later, through=BY_NUMBER, proven=True)
    after = await store.prove(proof, decide)
    assert after is not None
    assert (after.state, after.proven, after.reason, after.raid) == (S.HELD, True, Reason.RAID, wave)


# --- how it goes on and ends


@pytest.mark.parametrize(("later", "state"), [(CALM - 1, S.HELD), (CALM, S.ADMITTED)])
async def test_a_raid_lasts_until_it_was_calm(store: Store, later: float, state: KnockState) -> None:
    await raided(store)
    assert (await came(store, at=NOW + later)).state is state


async def test_new_signs_make_it_last(store: Store) -> None:
    wave = await raided(store)
    for _ in range(6):
        await came(store, at=NOW + CALM - 10)
    assert (await came(store, at=NOW + CALM + 100)).raid == wave


async def test_single_knocks_do_not(store: Store) -> None:
    await raided(store)
    for later in (400, 500, 590):
        await came(store, at=NOW + later)
    assert (await came(store, at=NOW + CALM)).state is S.ADMITTED


async def test_what_came_in_a_raid_is_no_part_of_the_usual(store: Store) -> None:
    await raided(store)
    for _ in range(50):
        await came(store)
    listening = Listening()
    await kept(store, attempt(None, NOW + 2 * CALM, through=BY_NUMBER), listening)
    assert listening.heard.arrivals.usual == 7.0


async def test_a_raid_whose_time_is_over_is_ended_once_with_its_line(store: Store, other: Store) -> None:
    wave = await raided(store)
    assert await store.end_lapsed_raids(NOW + CALM - 1) == []
    ended = [*await store.end_lapsed_raids(NOW + CALM), *await other.end_lapsed_raids(NOW + CALM)]
    assert [(raid.id, raid.ended_by, raid.ended_at) for raid in ended] == [(wave, "knock", NOW + CALM)]
    assert [(line.action, line.actor) for line in await store.ledger(limit=1)] == [("raid ends", "knock")]


async def test_the_beginning_is_in_the_ledger_once(store: Store) -> None:
    wave = await raided(store)
    await came(store)
    lines = [line for line in await store.ledger() if line.action == "raid begins"]
    assert [(line.actor, line.door, line.reason, line.after) for line in lines] == [
        ("knock", "main", "arrivals", wave)
    ]


async def test_the_next_raid_is_another(store: Store) -> None:
    wave = await raided(store)
    await store.end_lapsed_raids(NOW + CALM)
    assert await raided(store, NOW + 2 * CALM) != wave


# --- moderators


async def test_a_moderator_can_hold_everybody(store: Store) -> None:
    raid = await store.start_raid(by_hand())
    knock = await came(store)
    assert (knock.state, knock.reason, knock.raid) == (S.HELD, Reason.RAID, raid.id)


async def test_what_a_moderator_began_lasts_until_it_is_ended(store: Store) -> None:
    await store.start_raid(by_hand())
    await store.end_lapsed_raids(NOW + 7 * DAY)
    assert (await came(store, at=NOW + 7 * DAY)).state is S.HELD
    assert await store.end_raid("main", NOW + 7 * DAY, "cli", quiet_until=0.0)
    assert (await came(store, at=NOW + 7 * DAY)).state is S.ADMITTED


async def test_a_moderators_word_makes_the_raid_that_is_on_last(store: Store) -> None:
    wave = await raided(store)
    assert (await store.start_raid(by_hand())).id == wave
    assert (await came(store, at=NOW + 7 * DAY)).raid == wave


async def test_a_raid_that_was_ended_does_not_begin_again_before_its_time(store: Store) -> None:
    await raided(store)
    await store.end_raid("main", NOW, "cli", quiet_until=NOW + 100)
    assert [(await came(store, at=NOW + later)).state for later in (0, 99, 100)] == [
        S.ADMITTED,
        S.ADMITTED,
        S.HELD,
    ]


async def test_there_may_be_none_to_end(store: Store) -> None:
    assert await store.end_raid("main", NOW, "cli", quiet_until=NOW) is None
    assert await store.ledger() == []


async def test_what_is_told_is_noted(store: Store) -> None:
    wave = await raided(store)
    await store.tell_raid(wave, Told.BEGUN)
    assert [raid.told for raid in await store.untold_raids()] == [Told.BEGUN]
    await store.tell_raid(wave, Told.ENDED)
    await store.tell_raid(wave, Told.BEGUN)
    assert await store.untold_raids() == []


# --- the wave


async def test_a_wave_is_who_was_held(store: Store) -> None:
    wave = await raided(store)
    held = {(await came(store)).id for _ in range(3)}
    assert len(await store.wave(wave)) == 4
    assert held < {knock.id for knock in await store.wave(wave)}


async def test_a_wave_comes_in_pages(store: Store) -> None:
    wave = await raided(store)
    for _ in range(4):
        await came(store)
    first = await store.wave(wave, limit=2)
    assert [knock.id for knock in first + await store.wave(wave, after=first[-1].id)] == [
        knock.id for knock in await store.wave(wave)
    ]


async def test_a_wave_is_counted_by_what_became_of_it(store: Store) -> None:
    wave = await raided(store)
    knock = await came(store)
    await store.change(knock.id, moved(S.ADMITTED, due_at=NOW), entry("approve"))
    assert await store.wave_counts(wave) == {S.HELD: 1, S.ADMITTED: 1}


async def test_nobody_is_in_the_wave_of_no_raid(store: Store) -> None:
    await came(store)
    assert (await store.wave(""), await store.wave_counts("")) == ([], {})


async def test_old_raids_are_forgotten(store: Store) -> None:
    await raided(store)
    await store.end_lapsed_raids(NOW + CALM)
    (raid,) = await store.raids()
    await store.tell_raid(raid.id, Told.ENDED)
    await store.tidy(NOW + 364 * 86400)
    assert len(await store.raids()) == 1
    await store.tidy(NOW + 367 * 86400)
    assert await store.raids() == []


async def test_signals_are_kept(store: Store) -> None:
    knock = await came(store, through=door(), answers=(Answer("why", "see https://spam.example"),))
    read = await store.knock(knock.id)
    assert read is not None
    assert (read.state, read.signals) == (S.ADMITTED, ("links: 1 in the answers",))
    (line,) = await store.ledger(knock_id=knock.id)
    assert line.detail == "signal links: 1 in the answers"
