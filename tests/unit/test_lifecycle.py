"""The lifecycle is one table: whatever moves a knock goes by it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mknock.domain.errors import IllegalMove
from mknock.domain.knocks import (
    IN_FLIGHT,
    MOVES,
    NEEDS_PROOF,
    OPEN,
    STATE_AFTER,
    TURNED_AWAY,
    WITHDRAW_AFTER,
    Knock,
    KnockState,
    Outcome,
    Reason,
    stopped,
)

S = KnockState
FINAL = {S.LEFT, S.REMOVED, S.REFUSED, S.DECLINED, S.EXPIRED, S.RESCINDED, S.RETRACTED, S.FAILED}
MOVES_THAT_ARE_NOT = [(a, b) for a in S for b in S if a is not b and b not in MOVES[a]]
MOVES_THAT_ARE = [(a, b) for a in S for b in S if b in MOVES[a]]


def knock(state: KnockState = S.HELD, *, fence: int = 0, due_at: float | None = None) -> Knock:
    return Knock(
        id="01AAAAAAAAAAAAAAAAAAAAAAAA",
        door="main",
        room_id="!room:example.org",
        user_id="@alice:example.org",
        user_key="@alice:example.org",
        state=state,
        reason=Reason.PASSED,
        created_at=1.0,
        updated_at=1.0,
        seen_at=1.0,
        expires_at=9.0,
        due_at=due_at,
        fence=fence,
    )


def test_every_state_has_its_moves() -> None:
    assert set(MOVES) == set(S)


def test_every_move_leads_to_a_state() -> None:
    assert set().union(*MOVES.values()) <= set(S)


def test_every_state_can_be_reached() -> None:
    assert set().union(*MOVES.values()) | set(STATE_AFTER.values()) == set(S)


def test_no_move_leads_to_the_state_it_starts_from() -> None:
    assert [state for state in S if state in MOVES[state]] == []


def test_final_states_are_final() -> None:
    assert {state for state in S if not MOVES[state]} == FINAL


def test_what_is_open_can_still_be_refused_or_withdrawn() -> None:
    assert all(MOVES[state] & {S.REFUSED, S.RESCINDED} for state in OPEN)


def test_nothing_that_was_settled_becomes_open_again() -> None:
    assert [(state, MOVES[state] & OPEN) for state in set(S) - OPEN if MOVES[state] & OPEN] == []


def test_what_needs_proof_afterwards_is_final() -> None:
    assert NEEDS_PROOF < FINAL


def test_every_outcome_has_a_state() -> None:
    assert set(STATE_AFTER) == set(Outcome)


@pytest.mark.parametrize(("before", "after"), MOVES_THAT_ARE)
def test_a_membership_knock_waits_for_an_answer_until_it_has_one(
    before: KnockState, after: KnockState
) -> None:
    moved = replace(knock(before), knocking=True).moved_to(after, at=7.0)
    if after in TURNED_AWAY:
        assert (moved.knocking, moved.due_at) == (True, 7.0)
    else:
        assert moved.knocking is (after in {S.HELD, S.ADMITTED})


def test_whoever_is_turned_away_and_knocks_by_a_form_is_left_alone() -> None:
    assert all(knock().moved_to(state, at=7.0).due_at is None for state in TURNED_AWAY & MOVES[S.HELD])


@pytest.mark.parametrize(("before", "after"), MOVES_THAT_ARE)
def test_a_move_of_the_table_is_made(before: KnockState, after: KnockState) -> None:
    moved = knock(before).moved_to(after, at=5.0)
    assert (moved.state, moved.updated_at) == (after, 5.0)


@pytest.mark.parametrize(("before", "after"), MOVES_THAT_ARE_NOT)
def test_a_move_that_is_not_in_the_table_is_an_error(before: KnockState, after: KnockState) -> None:
    with pytest.raises(IllegalMove, match=f"is {before.value}; it cannot become {after.value}"):
        knock(before).moved_to(after, at=5.0)


@pytest.mark.parametrize("state", S)
def test_moving_to_where_it_is_changes_only_what_is_said(state: KnockState) -> None:
    assert knock(state).moved_to(state, at=1.0, detail="again").detail == "again"


@given(st.lists(st.sampled_from(S)))
def test_no_path_leads_out_of_a_final_state(path: list[KnockState]) -> None:
    here = knock()
    for state in path:
        before = here
        try:
            here = here.moved_to(state, at=1.0)
        except IllegalMove:
            continue
        assert before.state not in FINAL or here.state is before.state


# --- what somebody wants no more


def test_a_held_knock_that_is_not_wanted_is_refused() -> None:
    after = stopped(knock(S.HELD), at=5.0, reason=Reason.MODERATOR)
    assert (after.state, after.due_at, after.reason) == (S.REFUSED, None, Reason.MODERATOR)


@pytest.mark.parametrize(("reason", "state"), [(Reason.BLOCKED, S.REFUSED), (Reason.MODERATOR, S.RESCINDED)])
def test_an_admitted_knock_that_is_not_wanted_ends_at_once(reason: Reason, state: KnockState) -> None:
    after = stopped(knock(S.ADMITTED, due_at=1.0), at=5.0, reason=reason)
    assert (after.state, after.due_at) == (state, None)


@pytest.mark.promise(3)
def test_one_that_a_worker_has_claimed_stays_due_since_an_invite_may_be_on_its_way() -> None:
    after = stopped(knock(S.ADMITTED, fence=1, due_at=1.0), at=5.0, reason=Reason.BLOCKED)
    assert (after.state, after.due_at) == (S.REFUSED, 5.0 + IN_FLIGHT)


@pytest.mark.promise(3)
def test_an_invited_knock_that_is_not_wanted_is_due_to_be_withdrawn() -> None:
    after = stopped(knock(S.INVITED), at=5.0, reason=Reason.BLOCKED, rule="@alice:example.org")
    assert (after.state, after.due_at, after.rule) == (S.INVITED, 5.0 + WITHDRAW_AFTER, "@alice:example.org")


@pytest.mark.parametrize("state", [state for state in S if state not in OPEN])
def test_what_is_settled_is_not_stopped(state: KnockState) -> None:
    assert stopped(knock(state), at=5.0, reason=Reason.MODERATOR) == knock(state)
