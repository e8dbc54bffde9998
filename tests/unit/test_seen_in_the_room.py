"""What each thing seen in the room makes of a record: a table of all of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mknock.domain import lifecycle
from mknock.domain.doors import Door, Latecomers, Welcoming
from mknock.domain.knocks import IN_FLIGHT, MOVES, Knock, KnockState, Reason
from mknock.domain.lifecycle import Seen

S = KnockState
DAY = 86400.0
DOOR = Door("main", "!room:example.org", welcoming=Welcoming(text="Hello", delay=30.0))

TABLE = {
    (S.HELD, Seen.INVITED): (S.INVITED, Reason.INVITED_IN_ROOM),
    (S.HELD, Seen.JOINED): (S.ALREADY_MEMBER, Reason.ALREADY_MEMBER),
    (S.HELD, Seen.BANNED): (S.REFUSED, Reason.BANNED),
    (S.INVITED, Seen.JOINED): (S.JOINED, Reason.JOINED),
    (S.INVITED, Seen.LEFT): (S.DECLINED, Reason.DECLINED),
    (S.INVITED, Seen.REMOVED): (S.RESCINDED, Reason.REMOVED),
    (S.INVITED, Seen.BANNED): (S.RESCINDED, Reason.BANNED),
    (S.JOINED, Seen.LEFT): (S.LEFT, Reason.LEFT),
    (S.JOINED, Seen.REMOVED): (S.REMOVED, Reason.REMOVED),
    (S.JOINED, Seen.BANNED): (S.REMOVED, Reason.BANNED),
    (S.ALREADY_MEMBER, Seen.LEFT): (S.LEFT, Reason.LEFT),
    (S.ALREADY_MEMBER, Seen.REMOVED): (S.REMOVED, Reason.REMOVED),
    (S.ALREADY_MEMBER, Seen.BANNED): (S.REMOVED, Reason.BANNED),
}
NOTHING = [(state, what) for state in S for what in Seen if (state, what) not in TABLE]


def knock(state: KnockState, reason: Reason = Reason.PASSED) -> Knock:
    return Knock(
        id="01AAAAAAAAAAAAAAAAAAAAAAAA",
        door="main",
        room_id="!room:example.org",
        user_id="@alice:example.org",
        user_key="@alice:example.org",
        state=state,
        reason=reason,
        created_at=1.0,
        updated_at=1.0,
        seen_at=1.0,
        expires_at=9.0,
        due_at=5.0,
    )


ANSWERED = {
    (S.HELD, Seen.LEFT): (S.RETRACTED, Reason.RETRACTED),
    (S.HELD, Seen.REMOVED): (S.REFUSED, Reason.MODERATOR),
    (S.HELD, Seen.BANNED): (S.REFUSED, Reason.BANNED),
    (S.ADMITTED, Seen.LEFT): (S.RETRACTED, Reason.RETRACTED),
    (S.ADMITTED, Seen.REMOVED): (S.RESCINDED, Reason.MODERATOR),
    (S.ADMITTED, Seen.BANNED): (S.RESCINDED, Reason.BANNED),
}
"""What ends a knock that answers a membership knock."""


@pytest.mark.parametrize("fence", [0, 1])
@pytest.mark.parametrize(("state", "what"), ANSWERED)
def test_a_membership_knock_that_is_gone_ends_its_knock(state: KnockState, what: Seen, fence: int) -> None:
    after = lifecycle.seen(replace(knock(state), knocking=True, fence=fence), what, DOOR, 100.0)

    assert (after.state, after.reason, after.knocking) == (*ANSWERED[state, what], False)
    # An invite may be on its way only to who was admitted and claimed.
    assert after.due_at == (100.0 + IN_FLIGHT if state is S.ADMITTED and fence else None)


@pytest.mark.parametrize(("state", "what"), TABLE)
def test_what_is_seen_moves_the_knock(state: KnockState, what: Seen) -> None:
    after = lifecycle.seen(knock(state), what, DOOR, 100.0)

    assert (after.state, after.reason) == TABLE[state, what]


@pytest.mark.parametrize(("state", "what"), NOTHING)
def test_anything_else_changes_nothing(state: KnockState, what: Seen) -> None:
    before = knock(state)

    assert lifecycle.seen(before, what, DOOR, 100.0) is before


@pytest.mark.parametrize(("state", "what"), TABLE)
def test_the_table_of_moves_has_every_step(state: KnockState, what: Seen) -> None:
    assert TABLE[state, what][0] in MOVES[state]


@pytest.mark.parametrize("reason", sorted(lifecycle.UNWANTED))
def test_who_joins_while_the_invite_is_withdrawn_is_not_welcomed(reason: Reason) -> None:
    before = knock(S.INVITED, reason)

    assert lifecycle.seen(before, Seen.JOINED, DOOR, 100.0) is before


@pytest.mark.parametrize("reason", sorted(lifecycle.UNWANTED))
def test_an_invite_that_was_being_withdrawn_keeps_its_reason(reason: Reason) -> None:
    assert lifecycle.seen(knock(S.INVITED, reason), Seen.REMOVED, DOOR, 100.0).reason is reason


def test_who_joined_is_due_to_be_welcomed_after_the_delay() -> None:
    assert lifecycle.joined(knock(S.INVITED), DOOR, 100.0).due_at == 130.0


def test_without_a_welcome_nothing_is_due_after_a_join() -> None:
    door = replace(DOOR, welcoming=Welcoming())

    assert lifecycle.joined(knock(S.INVITED), door, 100.0).due_at is None


def test_who_joined_before_the_invite_was_recorded_has_joined() -> None:
    assert lifecycle.joined(knock(S.ADMITTED), DOOR, 100.0).state is S.JOINED


@pytest.mark.parametrize("state", [S.DECLINED, S.RESCINDED, S.LEFT, S.REMOVED, S.REFUSED, S.ALREADY_MEMBER])
def test_nothing_is_due_any_more_after_an_ending(state: KnockState) -> None:
    endings = [step for step, (after, _) in TABLE.items() if after is state]

    assert {lifecycle.seen(knock(before), what, DOOR, 1.0).due_at for before, what in endings} == {None}


# When an invite is looked at next


def test_without_reminders_only_the_end_is_due() -> None:
    assert Latecomers((), 7 * DAY).next_due(0.0, 0, 0.0) == 7 * DAY


def test_without_an_end_nothing_is_due_after_the_last_reminder() -> None:
    assert Latecomers((DAY,), 0.0).next_due(0.0, 1, DAY) is None


def test_an_end_before_the_reminder_comes_first() -> None:
    assert Latecomers((3 * DAY,), 2 * DAY).next_due(0.0, 0, 0.0) == 2 * DAY


@given(
    st.lists(st.floats(60, 365 * DAY), max_size=2, unique=True).map(sorted),
    st.floats(0, 365 * DAY),
    st.floats(0, 800 * DAY),
)
def test_after_every_reminder_something_later_is_due_or_nothing(
    reminders: list[float], lifetime: float, now: float
) -> None:
    latecomers = Latecomers(tuple(reminders), lifetime)
    for reminded in range(len(reminders) + 1):
        due_at = latecomers.next_due(0.0, reminded, now)

        assert due_at is None or due_at > now or due_at == latecomers.ends_at(0.0)
