"""What every store promises (ports.Store): direct rooms, and knocks that wait for a proof."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.contract.store_cases import MAIN, NOW, attempt, claimed, entry, kept, knocked, person

from mknock.checks import decide
from mknock.domain.chance import new_id
from mknock.domain.direct_rooms import HOUR, REMEMBERED, DirectRoom, TalkLimits, TalkState
from mknock.domain.doors import Policy
from mknock.domain.knocks import KnockState, Reason
from mknock.ports import Store

T = TalkState
S = KnockState
LIMITS = TalkLimits(at_once=3, an_hour=4, of_person=3, wrong=5)
PROVING = replace(MAIN, policy=Policy.PROVE_FIRST, proof_lifetime=1000.0)


def room(who: str = "alice", at: float = NOW, *, where: str = "", state: TalkState = T.JOINING) -> DirectRoom:
    user = person(who)
    return DirectRoom(
        id=new_id(at),
        room_id=where or f"!{who}:example.org",
        user_id=str(user),
        user_key=user.key,
        began_at=at,
        state=state,
    )


async def begun(store: Store, direct: DirectRoom, limits: TalkLimits = LIMITS) -> bool:
    return await store.begin_talk(direct, limits, entry("direct room", direct.began_at))


async def over(store: Store, direct: DirectRoom, at: float = NOW, **changes: int) -> None:
    assert await store.go_on_talking(direct, direct.now(T.LEFT, **changes), entry("direct room", at))


async def test_a_direct_room_is_kept_until_it_is_left(store: Store, other: Store) -> None:
    direct = room()
    assert await begun(store, direct)
    assert await other.direct_rooms() == [direct]
    await over(store, direct)
    assert await other.direct_rooms() == []


async def test_how_a_talk_goes_on_is_kept(store: Store, other: Store) -> None:
    direct = room()
    await begun(store, direct)
    after = direct.now(T.OPEN, wrong=2, heard="$event")
    assert await store.go_on_talking(direct, after, entry("direct room"))
    assert await other.direct_rooms() == [replace(after, fence=1)]


@pytest.mark.promise(9)
async def test_of_two_that_go_on_with_a_talk_one_is_told_no(store: Store, other: Store) -> None:
    direct = room()
    await begun(store, direct)
    went_on = await asyncio.gather(
        *(each.go_on_talking(direct, direct.now(T.OPEN), entry("direct room")) for each in (store, other))
    )
    assert sorted(went_on) == [False, True]


@pytest.mark.promise(9)
async def test_of_two_that_begin_the_same_talk_one_is_told_no(store: Store, other: Store) -> None:
    begins = [(each, room()) for _ in range(4) for each in (store, other)]
    said = await asyncio.gather(*(begun(*begin) for begin in begins))
    assert sorted(said) == [False] * 7 + [True]


@pytest.mark.promise(8)
async def test_every_state_of_a_talk_is_in_the_ledger(store: Store) -> None:
    direct = room()
    await begun(store, direct)
    await store.go_on_talking(direct, direct.now(T.OPEN), entry("direct room", NOW + 1))
    again = replace(direct.now(T.OPEN), fence=1)
    await store.go_on_talking(again, again.now(T.OPEN, wrong=1), entry("direct room", NOW + 2))
    lines = await store.ledger(user_id=direct.user_id)
    assert [(line.before, line.after) for line in lines] == [("joining", "open"), ("", "joining")]


@pytest.mark.parametrize(
    "second", [room(where="!another:example.org"), room("bob", where="!alice:example.org")]
)
async def test_a_person_and_a_room_have_one_talk_at_a_time(store: Store, second: DirectRoom) -> None:
    first = room()
    await begun(store, first)
    assert not await begun(store, second)
    await over(store, first)
    assert await begun(store, second)


async def test_there_are_only_so_many_talks_at_once(store: Store) -> None:
    said = [await begun(store, room(f"p{number}")) for number in range(4)]
    assert said == [True, True, True, False]


async def test_there_are_only_so_many_talks_an_hour(store: Store) -> None:
    for number in range(4):
        direct = room(f"p{number}")
        assert await begun(store, direct)
        await over(store, direct)
    assert not await begun(store, room("late", NOW + HOUR - 1))
    assert await begun(store, room("later", NOW + HOUR + 1))


async def test_a_person_has_only_so_many_talks_a_day(store: Store) -> None:
    for hours in (0, 2, 4):
        direct = room(at=NOW + hours * HOUR)
        assert await begun(store, direct)
        await over(store, direct)
    assert not await begun(store, room(at=NOW + 20 * HOUR))
    assert await begun(store, room(at=NOW + REMEMBERED + 1))


@pytest.mark.promise(4)
async def test_wrong_codes_count_over_all_talks_of_an_hour(store: Store) -> None:
    first = room()
    assert await begun(store, first)
    await over(store, first, wrong=4)
    assert await begun(store, room())
    (second,) = await store.direct_rooms()
    assert second.wrong == 4
    await over(store, second, wrong=5)
    assert not await begun(store, room(at=NOW + 60))
    assert await begun(store, room("bob", NOW + 60))
    assert await begun(store, room(at=NOW + HOUR + 1))


async def test_a_talk_that_is_over_is_forgotten_after_a_day_and_an_open_one_never(store: Store) -> None:
    left, there = room("bob"), room()
    for each in (left, there):
        await begun(store, each)
    await over(store, left)
    assert await store.tidy(NOW + REMEMBERED - 1) == 0
    assert await store.tidy(NOW + REMEMBERED + 1) == 1
    assert await store.direct_rooms() == [there]


# --- knocks that wait for a proof


async def test_a_knock_without_proof_expires_sooner(store: Store) -> None:
    knock = await knocked(store, "alice", through=PROVING)
    assert (knock.state, knock.reason, knock.due_at) == (S.HELD, Reason.UNPROVEN, NOW + 1000)


async def test_knocking_again_gives_it_as_much_time_again(store: Store) -> None:
    first = await knocked(store, "alice", through=PROVING)
    assert (await kept(store, attempt("alice", NOW + 900, through=PROVING))).repeat
    assert (await store.knock(first.id)).due_at == NOW + 1900  # type: ignore[union-attr]
    assert (await claimed(store, NOW + 1001)).knocks == ()


async def test_knocking_again_changes_nothing_about_another_hold(store: Store) -> None:
    review = replace(MAIN, policy=Policy.REVIEW, proof_lifetime=1000.0)
    first = await knocked(store, "alice", through=review)
    await kept(store, attempt("alice", NOW + 900, through=review))
    assert (await store.knock(first.id)).due_at == first.due_at  # type: ignore[union-attr]


async def test_a_proof_that_never_came_is_no_reason_to_count_on_the_old_record(store: Store) -> None:
    first = await knocked(store, "alice", through=PROVING)
    ended = {"due_at": None, "reason": Reason.UNPROVEN}
    await store.change(
        first.id, lambda knock: knock.moved_to(S.EXPIRED, at=NOW + 1000, **ended), entry("expired")
    )
    anew = await knocked(store, "alice", NOW + 1001, through=PROVING)
    assert (anew.id != first.id, anew.state) == (True, S.HELD)


async def test_a_proof_lets_a_held_knock_in(store: Store) -> None:
    first = await knocked(store, "alice", through=PROVING)
    proof = attempt("alice", NOW + 10, through=PROVING, proven=True)
    after = await store.prove(proof, decide)
    assert after is not None
    assert (after.id, after.state, after.proven) == (first.id, S.ADMITTED, True)
