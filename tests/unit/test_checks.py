"""Every check says what it should, and ``decide`` the strictest of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mknock.checks import CHECKS, Check, decide
from mknock.checks.blocklist import blocklist
from mknock.checks.flapping import flapping
from mknock.checks.history import history
from mknock.checks.honeypot import honeypot
from mknock.checks.links import links
from mknock.checks.name_pattern import name_pattern
from mknock.checks.policy import policy
from mknock.checks.proof_of_work import proof_of_work
from mknock.checks.raid import raid
from mknock.checks.room_replaced import room_replaced
from mknock.checks.too_fast import too_fast
from mknock.checks.windows import windows
from mknock.domain.doors import Door, Limits, Policy
from mknock.domain.flapping import MOST, WINDOW
from mknock.domain.ids import MatrixID
from mknock.domain.knocks import ADMITTED, Decision, Knock, KnockState, Outcome, Reason, Submission
from mknock.domain.rules import Rule, RuleKind
from mknock.ports import Attempt, Facts

S = KnockState
ALICE = MatrixID("alice", "example.org")
DOOR = Door("main", "!room:example.org", limits=Limits(door=60, homeserver=20, sender=5))
RULE = Rule(RuleKind.USER, "@alice:example.org", ALICE.key, "sold watches", "api", "api", 1.0)


def knocking(*, trap: str = "", through: Door = DOOR, proven: bool = False) -> Attempt:
    submission = Submission("tally", ALICE, trap=trap)
    return Attempt("01AAAAAAAAAAAAAAAAAAAAAAAA", through, ALICE, submission, 100.0, proven=proven)


def earlier(state: KnockState, reason: Reason = Reason.PASSED, *, invited: bool = True) -> Knock:
    """An earlier knock of the same person at the same room."""
    return Knock(
        id="01AAAAAAAAAAAAAAAAAAAAAAAB",
        door="main",
        room_id=DOOR.room_id,
        user_id=str(ALICE),
        user_key=ALICE.key,
        state=state,
        reason=reason,
        created_at=1.0,
        updated_at=1.0,
        seen_at=1.0,
        expires_at=9.0,
        invited_at=2.0 if invited else None,
    )


def known(*past: Knock, **more: Any) -> Facts:
    """What the store knows; ``past`` is the history, newest first."""
    return Facts(history=past, **more)


# --- the trap


def test_whoever_fills_the_trap_is_refused() -> None:
    decision = honeypot(knocking(trap="http://spam.example"), Facts())
    assert (decision.outcome, decision.reason) == (Outcome.REFUSE, Reason.HONEYPOT)


def test_an_empty_trap_catches_nobody() -> None:
    assert honeypot(knocking(), Facts()) == ADMITTED


def test_what_the_trap_caught_is_told_in_short_and_cannot_disturb_a_log() -> None:
    detail = honeypot(knocking(trap="\x1b[31m\n\ud83d" + "x" * 500), Facts()).detail
    assert detail.isprintable()
    assert len(detail) < 150


# --- the block-list


@pytest.mark.promise(3)
def test_who_is_on_the_block_list_is_refused_and_the_rule_is_named() -> None:
    decision = blocklist(knocking(), known(rule=RULE))
    assert decision == Decision(Outcome.REFUSE, Reason.BLOCKED, "sold watches", "@alice:example.org")


def test_who_is_not_on_the_block_list_passes() -> None:
    assert blocklist(knocking(), Facts()) == ADMITTED


@pytest.mark.promise(3)
@pytest.mark.promise(7)
def test_while_the_block_list_cannot_be_read_everybody_is_held() -> None:
    decision = blocklist(replace(knocking(), listed=None), Facts())
    assert (decision.outcome, decision.reason) == (Outcome.HOLD, Reason.BLOCKLIST_UNREADABLE)


# --- what happened before

SAID_NO = [S.DECLINED, S.LEFT, S.REMOVED, S.EXPIRED, S.RESCINDED]
SAYS_NOTHING = [
    earlier(S.FAILED, Reason.NO_SUCH_USER),
    earlier(S.REFUSED, Reason.BLOCKED, invited=False),
    earlier(S.REFUSED, Reason.WAVE, invited=False),
    earlier(S.EXPIRED, invited=False),
    earlier(S.RESCINDED, invited=False),
    earlier(S.RETRACTED, invited=False),
    earlier(S.ALREADY_MEMBER),
    earlier(S.JOINED),
]


@pytest.mark.promise(4)
@pytest.mark.parametrize("state", SAID_NO)
def test_an_unproven_id_that_said_no_before_is_held(state: KnockState) -> None:
    decision = history(knocking(), known(earlier(state)))
    assert (decision.outcome, decision.reason) == (Outcome.HOLD, Reason.BEFORE)
    assert state.value in decision.detail


@pytest.mark.parametrize("state", SAID_NO)
def test_who_proves_their_account_may_come_back(state: KnockState) -> None:
    assert history(knocking(proven=True), known(earlier(state), open_elsewhere=True)) == ADMITTED


@pytest.mark.promise(4)
@pytest.mark.parametrize("proven", [False, True])
def test_whom_a_moderator_refused_is_held(proven: bool) -> None:
    decision = history(knocking(proven=proven), known(earlier(S.REFUSED, Reason.MODERATOR, invited=False)))
    assert (decision.outcome, decision.reason) == (Outcome.HOLD, Reason.BEFORE)


@pytest.mark.parametrize("state", [S.REMOVED, S.RESCINDED])
@pytest.mark.parametrize("reason", [Reason.MODERATOR, Reason.REMOVED, Reason.BANNED])
@pytest.mark.parametrize("invited", [False, True])
def test_a_proof_does_not_overrule_a_moderator(state: KnockState, reason: Reason, invited: bool) -> None:
    past = earlier(state, reason, invited=invited)
    assert history(knocking(proven=True), known(past)).reason is Reason.BEFORE


@pytest.mark.parametrize("past", SAYS_NOTHING, ids=lambda past: f"{past.state}-{past.reason}")
def test_what_was_nobodys_no_holds_nobody(past: Knock) -> None:
    assert history(knocking(), known(past)) == ADMITTED


@pytest.mark.parametrize("later", [earlier(S.FAILED), earlier(S.REFUSED, Reason.WAVE)], ids=str)
def test_a_no_counts_though_something_else_went_wrong_since(later: Knock) -> None:
    assert history(knocking(), known(later, earlier(S.DECLINED))).reason is Reason.BEFORE


def test_who_joined_after_a_no_is_welcome() -> None:
    assert history(knocking(), known(earlier(S.JOINED), earlier(S.DECLINED))) == ADMITTED


@pytest.mark.promise(4)
def test_an_unproven_id_with_an_invite_elsewhere_is_held() -> None:
    decision = history(knocking(), known(open_elsewhere=True))
    assert (decision.outcome, decision.reason) == (Outcome.HOLD, Reason.OPEN_ELSEWHERE)


def test_somebody_new_passes() -> None:
    assert history(knocking(), Facts()) == ADMITTED


# --- windows


@pytest.mark.parametrize(
    ("counts", "whose"),
    [
        ({"sender_count": 5.1}, "this sender"),
        ({"homeserver_count": 21.0}, "example.org"),
        ({"door_count": 61.0}, "this door"),
    ],
)
def test_what_is_over_a_window_is_held(counts: dict[str, float], whose: str) -> None:
    decision = windows(knocking(), known(**counts))
    assert (decision.outcome, decision.reason) == (Outcome.HOLD, Reason.WAVE)
    assert decision.detail.endswith(f"in 60 s from {whose}")


def test_what_just_fits_into_every_window_passes() -> None:
    facts = known(sender_count=5.0, homeserver_count=20.0, door_count=60.0)
    assert windows(knocking(), facts) == ADMITTED


# --- the door's policy


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (Policy.AUTO, ADMITTED),
        (Policy.REVIEW, Decision(Outcome.HOLD, Reason.REVIEW)),
        (Policy.PROVE_FIRST, Decision(Outcome.HOLD, Reason.UNPROVEN)),
        (Policy.CLOSED, Decision(Outcome.HOLD, Reason.DOOR_CLOSED)),
    ],
)
def test_a_door_decides_by_its_policy(chosen: Policy, expected: Decision) -> None:
    assert policy(knocking(through=replace(DOOR, policy=chosen)), Facts()) == expected


def test_every_policy_decides_something() -> None:
    assert all(policy(knocking(through=replace(DOOR, policy=each)), Facts()) for each in Policy)


# --- all together

HELD = Decision(Outcome.HOLD, Reason.REVIEW)
HELD_AGAIN = Decision(Outcome.HOLD, Reason.WAVE)
REFUSED = Decision(Outcome.REFUSE, Reason.HONEYPOT)


# --- Knock's own page


def on_the_page(**more: Any) -> Attempt:
    return replace(knocking(), submission=Submission("page", ALICE, **more))


@pytest.mark.parametrize(
    ("worked", "outcome"), [(None, Outcome.ADMIT), (True, Outcome.ADMIT), (False, Outcome.HOLD)]
)
def test_who_was_asked_for_a_proof_of_work_and_showed_none_is_held(
    worked: bool | None, outcome: Outcome
) -> None:
    assert proof_of_work(on_the_page(worked=worked), known()).outcome is outcome


@pytest.mark.parametrize(("timely", "outcome"), [(True, Outcome.ADMIT), (False, Outcome.HOLD)])
def test_who_fills_in_the_page_faster_than_a_person_is_held(timely: bool, outcome: Outcome) -> None:
    assert too_fast(on_the_page(timely=timely), known()).outcome is outcome


@pytest.mark.parametrize("check", [proof_of_work, too_fast])
def test_where_people_prove_their_account_their_browser_has_nothing_to_prove(check: Check) -> None:
    door = replace(DOOR, policy=Policy.PROVE_FIRST)
    attempt = replace(on_the_page(worked=False, timely=False), door=door)
    assert check(attempt, known()) == ADMITTED
    assert decide(attempt, known()).reason is Reason.UNPROVEN
    assert decide(replace(attempt, proven=True), known()) == ADMITTED


def test_a_proof_of_work_lets_nobody_in_who_is_blocked() -> None:
    assert decide(on_the_page(worked=True), known(rule=RULE)).reason is Reason.BLOCKED


# --- together


def says(decision: Decision) -> Check:
    return lambda _attempt, _facts: decision


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([], ADMITTED),
        ([ADMITTED, ADMITTED], ADMITTED),
        ([ADMITTED, HELD], HELD),
        ([HELD, ADMITTED], HELD),
        ([HELD, HELD_AGAIN], HELD),
        ([HELD, REFUSED], REFUSED),
        ([REFUSED, HELD], REFUSED),
    ],
)
def test_the_strictest_decision_wins_and_of_equals_the_first(
    said: list[Decision], expected: Decision
) -> None:
    assert decide(knocking(), Facts(), [says(each) for each in said]) == expected


def test_nothing_runs_after_a_knock_is_refused() -> None:
    def must_not_run(_attempt: Attempt, _facts: Facts) -> Decision:
        pytest.fail("a later check ran")

    decision = decide(knocking(trap="http://spam.example"), Facts(), [honeypot, must_not_run])

    assert decision.reason is Reason.HONEYPOT


def test_a_door_whose_room_was_replaced_holds_everybody() -> None:
    replaced = replace(DOOR, replaced=True)
    assert room_replaced(knocking(through=replaced), Facts()) == Decision(Outcome.HOLD, Reason.ROOM_REPLACED)


def test_of_two_reasons_to_hold_the_replaced_room_is_the_last() -> None:
    """So whoever is held for it passed all the others."""
    reviewed = replace(DOOR, replaced=True, policy=Policy.REVIEW)
    assert decide(knocking(through=reviewed), Facts()).reason is Reason.REVIEW


def test_a_door_that_wants_a_proof_lets_in_who_has_proven_it() -> None:
    waiting = replace(DOOR, policy=Policy.PROVE_FIRST)
    assert decide(knocking(through=waiting), Facts()).outcome is Outcome.HOLD
    assert decide(knocking(through=waiting, proven=True), Facts()).outcome is Outcome.ADMIT


@pytest.mark.parametrize("policy_", [Policy.REVIEW, Policy.CLOSED])
def test_a_proof_opens_no_other_door(policy_: Policy) -> None:
    attempt = knocking(through=replace(DOOR, policy=policy_), proven=True)
    assert decide(attempt, Facts()).outcome is Outcome.HOLD


# --- again and again


def lately(count: int, *, ago: float = 1.0, proven: bool = True) -> Facts:
    """So many knocks of the same person, at these seconds before."""
    return known(
        *(replace(earlier(S.RETRACTED), proven=proven, created_at=100.0 - ago) for _ in range(count))
    )


def in_the_room() -> Attempt:
    return replace(knocking(proven=True), knocking=True)


def test_the_fourth_membership_knock_in_an_hour_is_held() -> None:
    assert flapping(in_the_room(), lately(MOST - 1)) == ADMITTED
    decision = flapping(in_the_room(), lately(MOST))
    assert (decision.outcome, decision.reason) == (Outcome.HOLD, Reason.FLAPPING)


def test_what_is_an_hour_ago_or_came_by_a_form_is_no_flapping() -> None:
    assert flapping(in_the_room(), lately(MOST, ago=WINDOW)) == ADMITTED
    assert flapping(in_the_room(), lately(MOST, proven=False)) == ADMITTED


def test_a_form_never_flaps() -> None:
    assert flapping(knocking(proven=True), lately(MOST)) == ADMITTED


# --- all of them


def test_every_check_is_run() -> None:
    assert set(CHECKS) == {
        honeypot,
        blocklist,
        flapping,
        history,
        windows,
        proof_of_work,
        too_fast,
        links,
        raid,
        name_pattern,
        policy,
        room_replaced,
    }


@pytest.mark.promise(3)
def test_who_is_blocked_is_refused_whatever_else_is_wrong() -> None:
    closed = replace(DOOR, policy=Policy.CLOSED)
    facts = known(earlier(S.DECLINED), rule=RULE, door_count=1000.0, open_elsewhere=True)
    assert decide(knocking(through=closed), facts).reason is Reason.BLOCKED


def test_somebody_new_is_admitted() -> None:
    assert decide(knocking(), Facts(sender_count=1.0, homeserver_count=1.0, door_count=1.0)) == ADMITTED
