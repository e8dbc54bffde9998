"""What every store promises (ports.Store) of an open knock that turns out to be the person's own."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.contract.store_cases import (
    HOLD,
    MAIN,
    NOW,
    OTHER_ROOM,
    REFUSE,
    Listening,
    attempt,
    claimed_one,
    door,
    ended,
    entry,
    invited,
    judged,
    kept,
    knocked,
    moved,
)

from mknock.checks import decide
from mknock.domain.doors import Policy
from mknock.domain.knocks import Answer, Knock, KnockState, Outcome, Reason
from mknock.ports import Attempt, Judge, Store

S = KnockState
LATER = NOW + 5.0


def proof(who: str = "alice", at: float = LATER, **more: object) -> Attempt:
    """Somebody acts from the account itself."""
    return attempt(who, at, proven=True, **more)  # type: ignore[arg-type]


def native(who: str = "alice", at: float = LATER, **more: object) -> Attempt:
    """A membership knock."""
    return proof(who, at, knocking=True, **more)


async def proven(store: Store, showing: Attempt, judge: Judge = decide) -> Knock:
    knock = await store.prove(showing, judge)
    assert knock is not None
    assert knock == await store.knock(knock.id)
    return knock


async def test_a_proof_without_an_open_knock_changes_nothing(store: Store) -> None:
    knock = await ended(store, "alice", S.DECLINED)
    assert await store.prove(proof(), decide) is None
    assert await store.knocks_of(knock.user_key) == [knock]


@pytest.mark.promise(4)
async def test_who_was_held_for_want_of_a_proof_is_admitted_by_it(store: Store) -> None:
    await ended(store, "alice", S.DECLINED)
    held = await knocked(store, "alice", NOW + MAIN.cooldown)
    assert held.state is S.HELD
    after = await proven(store, proof(at=NOW + 4000))
    assert (after.id, after.state, after.proven, after.due_at) == (held.id, S.ADMITTED, True, NOW + 4000)
    assert after.expires_at == NOW + 4000 + MAIN.lifetime


async def test_who_was_held_at_a_door_that_wants_a_proof_is_admitted_by_it(store: Store) -> None:
    through = replace(MAIN, policy=Policy.PROVE_FIRST)
    assert (await knocked(store, "alice", through=through)).state is S.HELD
    assert (await proven(store, proof(through=through))).state is S.ADMITTED


async def test_who_is_held_for_a_review_goes_on_waiting_as_long_as_before(store: Store) -> None:
    through = replace(MAIN, policy=Policy.REVIEW)
    held = await knocked(store, "alice", through=through)
    after = await proven(store, proof(through=through))
    assert (after.state, after.due_at, after.proven) == (S.HELD, held.due_at, True)


async def test_a_knock_is_no_part_of_the_history_it_is_judged_by(store: Store) -> None:
    refused = await knocked(store, "alice", NOW - 9000, judge=HOLD)
    await store.change(refused.id, moved(S.REFUSED, reason=Reason.MODERATOR), entry("refuse"))
    await knocked(store, "alice", NOW, judge=HOLD, through=door(cooldown=0.0))
    judge = Listening()
    after = await proven(store, proof(through=door(cooldown=0.0)), judge)
    assert [knock.id for knock in judge.heard.history] == [refused.id]
    assert (after.state, after.reason) == (S.HELD, Reason.BEFORE)


async def test_a_proof_does_not_count_a_second_time(store: Store) -> None:
    narrow = door(door=2)
    await knocked(store, "alice", through=narrow, judge=HOLD)
    await knocked(store, "bob", through=narrow, judge=HOLD)
    judge = Listening()
    await proven(store, proof("alice", through=narrow), judge)
    await proven(store, proof("bob", through=narrow), judge)
    assert judge.heard.door_count == 2
    assert (await knocked(store, "carol", LATER, through=narrow)).reason is Reason.WAVE


async def test_a_blocked_person_who_proves_it_is_refused(store: Store) -> None:
    await knocked(store, "alice", judge=HOLD)
    after = await proven(store, proof(), REFUSE)
    assert (after.state, after.due_at) == (S.REFUSED, None)


@pytest.mark.promise(8)
async def test_the_ledger_says_who_has_proven_it(store: Store) -> None:
    held = await knocked(store, "alice", judge=HOLD)
    await proven(store, proof())
    line = (await store.ledger(knock_id=held.id))[0]
    assert (line.actor, line.action, line.before, line.after) == (
        "@alice:example.org",
        "proved",
        "held",
        "admitted",
    )


async def test_an_open_invite_is_only_marked(store: Store) -> None:
    open_invite = await invited(store, "alice")
    after = await proven(store, proof())
    assert (after.state, after.proven, after.due_at) == (S.INVITED, True, open_invite.due_at)


async def test_a_proven_invite_elsewhere_stands_in_nobodys_way(store: Store) -> None:
    await invited(store, "alice")
    await proven(store, proof())
    assert (await knocked(store, "alice", LATER, through=OTHER_ROOM)).state is S.ADMITTED


async def test_a_worker_that_does_not_know_of_the_proof_has_lost_its_claim(store: Store) -> None:
    await knocked(store, "alice")
    claim = await claimed_one(store)
    await proven(store, native())
    assert not await store.record(claim, claim.moved_to(S.FAILED, at=LATER), [])


async def test_the_same_proof_again_changes_nothing(store: Store) -> None:
    await knocked(store, "alice", judge=HOLD)
    first = await proven(store, proof())
    assert await store.prove(proof(at=LATER + 9), REFUSE) == first


async def test_the_exact_spelling_of_the_account_is_taken(store: Store) -> None:
    await knocked(store, "Alice", judge=HOLD)
    assert (await proven(store, proof("alice"))).user_id == "@alice:example.org"


# --- a membership knock


async def test_a_membership_knock_is_kept_as_one(store: Store) -> None:
    knock = await knocked(store, "alice", proven=True, knocking=True, judge=HOLD)
    found = await store.knock(knock.id)
    assert found is not None
    assert (found.proven, found.knocking) == (True, True)


async def test_a_refused_membership_knock_is_due_to_be_turned_down(store: Store) -> None:
    assert (await kept(store, native(), REFUSE)).knock.due_at == LATER
    assert (await claimed_one(store, LATER)).state is S.REFUSED


async def test_a_membership_knock_proves_the_open_knock(store: Store) -> None:
    held = await knocked(store, "alice", judge=HOLD, answers=(Answer("Why?", "tea"),))
    result = await kept(store, native(answers=(Answer("Reason", "scones"),)))
    found = await store.knock(held.id)
    assert result.repeat
    assert found is not None
    assert (found.state, found.proven, found.knocking) == (S.ADMITTED, True, True)
    assert [answer.value for answer in found.answers] == ["tea", "scones"]


async def test_a_proven_knock_that_is_held_is_not_judged_anew_by_knocking_in_the_room(store: Store) -> None:
    held = await knocked(store, "alice", proven=True, judge=HOLD)
    await kept(store, native())
    found = await store.knock(held.id)
    assert found is not None
    assert (found.state, found.knocking) == (S.HELD, True)


async def test_membership_knocks_count_in_the_windows(store: Store) -> None:
    narrow = door(door=2)
    held = [
        (await kept(store, native(who, through=narrow))).knock.reason for who in ("alice", "bob", "carol")
    ]
    assert held == [Reason.PASSED, Reason.PASSED, Reason.WAVE]


@pytest.mark.promise(2)
async def test_the_same_membership_knock_from_two_sides_makes_one_record(store: Store) -> None:
    results = await asyncio.gather(
        *(kept(store, native(event="knock 1", at=LATER + number)) for number in range(4))
    )
    assert sorted(result.repeat for result in results) == [False, True, True, True]
    assert len({result.knock.id for result in results}) == 1


async def test_one_that_comes_again_at_once_makes_no_second_record_within_the_cooldown(store: Store) -> None:
    first = (await kept(store, native(event="1"))).knock
    await store.change(first.id, moved(S.RETRACTED, LATER), entry("retract"))
    assert (await kept(store, native(at=LATER + 60, event="2"))).repeat
    late = await kept(store, native(at=LATER + MAIN.cooldown, event="2"))
    assert not late.repeat


async def test_who_left_after_a_while_may_knock_again_at_once(store: Store) -> None:
    knock = await ended(store, "alice", S.DECLINED)
    await store.change(knock.id, lambda k: replace(k, updated_at=NOW + 9000), entry("look"))
    assert not (await kept(store, native(at=NOW + 9001))).repeat


async def test_answering_ends_that_it_stands(store: Store) -> None:
    knock = (await kept(store, native())).knock
    after = await store.change(knock.id, moved(S.INVITED, invited_at=LATER), entry("invite"))
    found = await store.knock(knock.id)
    assert found is not None
    assert not after.knocking
    assert not found.knocking


@pytest.mark.parametrize("state", [S.REFUSED, S.RESCINDED, S.FAILED])
async def test_turning_somebody_away_is_due_as_long_as_it_stands(store: Store, state: KnockState) -> None:
    knock = (await kept(store, native())).knock
    after = await store.change(knock.id, moved(state, LATER), entry("end"))
    assert (after.knocking, after.due_at) == (True, LATER)


async def test_a_judge_may_hold_what_proves_itself(store: Store) -> None:
    await knocked(store, "alice", judge=HOLD)
    after = await proven(store, proof(), judged(Outcome.HOLD, Reason.WAVE))
    assert (after.state, after.reason) == (S.HELD, Reason.WAVE)
