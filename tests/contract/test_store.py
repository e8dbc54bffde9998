"""What every store promises (ports.Store), back-end by back-end. Time comes in by argument: nothing waits."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.contract.store_cases import (
    HOLD,
    LEASE,
    MAIN,
    NOW,
    REFUSE,
    WINDOW,
    Listening,
    Shelf,
    anonymous,
    asked_to_wait,
    attempt,
    claimed,
    claimed_one,
    door,
    ended,
    entry,
    kept,
    knocked,
    moved,
    person,
    rule,
    somebody,
)

from mknock.checks import decide
from mknock.domain.errors import IllegalMove, KnockError, NotFound, StoreUnavailable
from mknock.domain.ids import MatrixID
from mknock.domain.knocks import OPEN, WITHDRAW_AFTER, Answer, Decision, Knock, KnockState, Reason
from mknock.domain.policy_lists import PolicyList
from mknock.domain.rules import Rule
from mknock.ports import HISTORY, Attempt, Facts, Judge, Pace, Secret, Store

S = KnockState
ALICE = person("alice")

# --- what is kept


@pytest.mark.promise(1)
async def test_an_admitted_knock_is_there_after_closing_and_reopening(shelf: Shelf) -> None:
    async with shelf.opened() as store:
        knock = await knocked(store, ALICE)
    async with shelf.opened() as store:
        assert await store.knock(knock.id) == knock


@pytest.mark.parametrize(
    "text", ["Grüße 👋", "a\0b", "half of a pair: \ud83d", "'; DROP TABLE knocks; --", '\n\t\\"']
)
async def test_an_answer_comes_back_as_it_was_given(store: Store, text: str) -> None:
    answers = (Answer("Why?", text), Answer(text, ""))
    knock = await knocked(store, ALICE, answers=answers)
    found = await store.knock(knock.id)
    assert found is not None
    assert found.answers == answers


UNSTORABLE = ["a\0b", "half of a pair: \ud83d"]
"""What some databases, or all of them, cannot keep in a text."""


@pytest.mark.parametrize("text", UNSTORABLE)
async def test_a_text_that_cannot_be_kept_harms_nobody(store: Store, text: str) -> None:
    await asyncio.gather(
        kept(store, attempt("alice")), store.write(entry("look", detail=text)), kept(store, attempt("bob"))
    )
    (line,) = [line for line in await store.ledger() if line.action == "look"]
    assert (line.detail[0], line.detail[-1]) in {("a", "b"), ("h", "\N{REPLACEMENT CHARACTER}")}
    assert len(await store.knocks_in(OPEN)) == 2


@pytest.mark.parametrize("text", UNSTORABLE)
async def test_what_cannot_be_kept_is_not_found(store: Store, text: str) -> None:
    assert await store.knock(text) is None
    assert await store.knocks_of(text) == []
    assert await store.secret(text) is None
    assert await store.ledger(user_id=text) == []
    assert await store.must_wait(text, NOW) == 0.0


@pytest.mark.parametrize("text", UNSTORABLE)
async def test_a_knock_holds_whatever_a_stranger_wrote(store: Store, text: str) -> None:
    """Everything that comes from outside and is not checked before."""
    answers = (Answer(text, text),)
    knock = await knocked(store, MatrixID("a" + text, "example.org"), event=text, trap=text, answers=answers)
    found = await store.knock(knock.id)
    assert found is not None
    assert (found.answers, found.trapped) == (answers, True)


async def test_an_admitted_knock_is_due_at_once(store: Store) -> None:
    assert (await knocked(store, ALICE)).due_at == NOW


async def test_a_held_knock_is_due_when_its_hold_ends(store: Store) -> None:
    assert (await knocked(store, ALICE, judge=HOLD)).due_at == NOW + MAIN.hold_lifetime


async def test_a_knock_lives_as_long_as_its_door_says(store: Store) -> None:
    assert (await knocked(store, ALICE)).expires_at == NOW + MAIN.lifetime


@pytest.mark.promise(8)
async def test_a_knock_comes_with_its_ledger_line(store: Store) -> None:
    knock = await knocked(store, ALICE)
    (line,) = await store.ledger(knock_id=knock.id)
    assert (line.at, line.actor, line.action, line.user_id) == (
        NOW,
        "form:tally",
        "knocked",
        "@alice:example.org",
    )
    assert (line.before, line.after, line.reason) == ("", "admitted", "passed")


async def test_the_ledger_says_visitor_when_nobody_vouches(store: Store) -> None:
    await kept(store, anonymous(ALICE))
    assert (await store.ledger())[0].actor == "visitor"


async def test_an_unknown_id_is_no_knock(store: Store) -> None:
    assert await store.knock("01ARZ3NDEKTSV4RRFFQ69G5FAV") is None


# --- repeats


@pytest.mark.promise(2)
async def test_a_repeat_makes_no_new_row(store: Store) -> None:
    first = await knocked(store, ALICE)
    again = await kept(store, attempt(ALICE, NOW + 5))
    assert again.repeat
    assert [knock.id for knock in await store.knocks_of(ALICE.key)] == [first.id]


async def test_a_repeat_counts_on_the_record(store: Store) -> None:
    first = await knocked(store, ALICE)
    await knocked(store, ALICE, NOW + 5)
    again = await knocked(store, ALICE, NOW + 9)
    assert again == replace(first, repeats=2, seen_at=NOW + 9) == await store.knock(first.id)


async def test_the_case_of_a_name_makes_nobody_else(store: Store) -> None:
    await knocked(store, "alice")
    assert (await kept(store, attempt("Alice", NOW + 1))).repeat


async def test_the_same_name_elsewhere_is_somebody_else(store: Store) -> None:
    await knocked(store, person("alice", "one.example"))
    assert not (await kept(store, attempt(person("alice", "two.example")))).repeat


@pytest.mark.promise(2)
async def test_two_doors_of_one_room_share_the_knock(store: Store) -> None:
    first = await knocked(store, ALICE)
    again = await kept(store, attempt(ALICE, NOW + 1, through=door("side")))
    assert again.knock.id == first.id


async def test_two_rooms_have_a_knock_each(store: Store) -> None:
    first = await knocked(store, ALICE)
    second = await knocked(store, ALICE, through=door("other", room="!other:example.org"))
    assert first.id != second.id


@pytest.mark.promise(2)
async def test_a_delivery_seen_before_is_no_second_knock(store: Store) -> None:
    first = await knocked(store, ALICE, event="e1", judge=REFUSE)
    again = await kept(store, attempt(ALICE, NOW + MAIN.cooldown * 5, event="e1"))
    assert (again.repeat, again.knock.id) == (True, first.id)


@pytest.mark.promise(2)
async def test_a_delivery_that_counted_as_a_repeat_is_remembered_too(store: Store) -> None:
    first = await knocked(store, ALICE, event="e1", judge=REFUSE)
    await knocked(store, ALICE, NOW + 1, event="e2")
    late = await kept(store, attempt(ALICE, NOW + MAIN.cooldown * 5, event="e2"))
    assert (late.repeat, late.knock.id) == (True, first.id)


async def test_an_edited_answer_that_names_somebody_else_is_a_new_knock(store: Store) -> None:
    await knocked(store, "alcie", event="e1")
    assert not (await kept(store, attempt("alice", event="e1"))).repeat


async def test_an_event_id_that_nobody_vouches_for_counts_for_nothing(store: Store) -> None:
    await kept(store, anonymous(ALICE, event="e1"), REFUSE)
    late = NOW + MAIN.cooldown
    assert not (await kept(store, attempt(ALICE, late, event="e1"))).repeat


@pytest.mark.parametrize(("after", "is_repeat"), [(3599.0, True), (3600.0, False)])
async def test_a_settled_knock_cools_down_for_the_doors_cooldown(
    store: Store, after: float, is_repeat: bool
) -> None:
    await knocked(store, ALICE, judge=REFUSE)
    assert (await kept(store, attempt(ALICE, NOW + after))).repeat is is_repeat


async def test_an_open_knock_is_repeated_however_old_it_is(store: Store) -> None:
    await knocked(store, ALICE, judge=HOLD)
    assert (await kept(store, attempt(ALICE, NOW + 400 * 86400))).repeat


async def test_the_cooldown_runs_from_the_last_change(store: Store) -> None:
    knock = await knocked(store, ALICE, judge=HOLD)
    await store.change(knock.id, moved(S.REFUSED, NOW + 1000), entry("refuse"))
    assert (await kept(store, attempt(ALICE, NOW + 4000))).repeat


async def test_a_mended_spelling_need_not_cool_down(store: Store) -> None:
    knock = await knocked(store, "Alice")
    await store.change(knock.id, moved(S.FAILED), entry("deliver"))
    assert not (await kept(store, attempt("alice", NOW + 1))).repeat


async def test_the_open_knock_counts_though_another_seems_newer(store: Store) -> None:
    """The clock of the process that kept the other one ran ahead."""
    hasty = door(cooldown=-9000.0)
    await knocked(store, ALICE, NOW + 60, through=hasty, judge=REFUSE)
    held = await knocked(store, ALICE, NOW, through=hasty, judge=HOLD)
    assert (await kept(store, attempt(ALICE, NOW + 1, through=hasty))).knock.id == held.id


# --- the trap


async def test_a_filled_trap_never_stands_in_a_real_persons_way(store: Store) -> None:
    await knocked(store, ALICE, trap="http://spam.example")
    assert (await kept(store, attempt(ALICE, NOW + 1))).knock.state is S.ADMITTED


async def test_a_real_knock_never_vouches_for_a_filled_trap(store: Store) -> None:
    await knocked(store, ALICE)
    trapped = await kept(store, attempt(ALICE, NOW + 1, trap="http://spam.example"))
    assert (trapped.repeat, trapped.knock.state) == (False, S.REFUSED)


async def test_a_filled_trap_repeated_makes_no_new_row(store: Store) -> None:
    await knocked(store, ALICE, trap="x")
    assert (await kept(store, attempt(ALICE, NOW + 1, trap="y"))).repeat


async def test_filled_traps_do_not_fill_the_windows(store: Store) -> None:
    narrow = door(door=1, homeserver=1)
    for _ in range(5):
        await knocked(store, trap="x", through=narrow)
    assert (await knocked(store, through=narrow)).state is S.ADMITTED


# --- windows


@pytest.mark.parametrize("limit", ["door", "homeserver", "sender"])
async def test_what_is_over_a_window_is_kept_and_held(store: Store, limit: str) -> None:
    limits: dict[str, Any] = {limit: 3}
    narrow = door(**limits)
    states = [(await knocked(store, through=narrow, sender="home")).state for _ in range(4)]
    assert states == [S.ADMITTED] * 3 + [S.HELD]


async def test_who_is_held_by_a_window_is_held_as_a_wave(store: Store) -> None:
    narrow = door(door=0)
    assert (await knocked(store, through=narrow)).reason is Reason.WAVE


async def test_each_homeserver_has_a_window_of_its_own(store: Store) -> None:
    narrow = door(homeserver=1)
    await knocked(store, somebody("one.example"), through=narrow)
    assert (await knocked(store, somebody("two.example"), through=narrow)).state is S.ADMITTED


async def test_each_door_has_windows_of_its_own(store: Store) -> None:
    await knocked(store, through=door(door=1, homeserver=1))
    side = door("side", door=1, homeserver=1)
    assert (await knocked(store, through=side)).state is S.ADMITTED


async def test_each_sender_has_a_window_of_its_own(store: Store) -> None:
    narrow = door(sender=1)
    await knocked(store, through=narrow, sender="home")
    assert (await knocked(store, through=narrow, sender="work")).state is S.ADMITTED


@pytest.mark.parametrize(
    ("later", "expected"), [(0.0, 5.0), (30.0, 5.0), (60.0, 5.0), (75.0, 4.0), (90.0, 3.0), (120.0, 1.0)]
)
async def test_a_window_slides(store: Store, later: float, expected: float) -> None:
    """Of the slot before, so much counts as still lies within the last window: 4 knocks, and one later."""
    for _ in range(4):
        await knocked(store)
    listening = Listening()
    await knocked(store, None, NOW + later, judge=listening)
    assert listening.heard.door_count == expected
    assert listening.heard.homeserver_count == expected


async def test_a_knock_counts_itself(store: Store) -> None:
    listening = Listening()
    await knocked(store, sender="home", judge=listening)
    heard = listening.heard
    assert (heard.sender_count, heard.homeserver_count, heard.door_count) == (1.0, 1.0, 1.0)


async def test_a_repeat_counts_for_its_sender_only(store: Store) -> None:
    await knocked(store, ALICE, sender="home")
    await knocked(store, ALICE, NOW + 1, sender="home")
    listening = Listening()
    await knocked(store, None, NOW + 2, sender="home", judge=listening)
    assert (listening.heard.sender_count, listening.heard.door_count) == (3.0, 2.0)


async def test_a_late_comer_from_the_slot_before_takes_nothing_from_the_window(store: Store) -> None:
    """Two processes stamp their knocks before they stand in line: the line may not be in order."""
    for at in (NOW - 0.001, NOW, NOW, NOW - 0.001):
        await knocked(store, None, at)
    listening = Listening()
    await knocked(store, None, NOW, judge=listening)
    assert listening.heard.door_count == 5.0


async def test_windows_hold_over_processes(store: Store, other: Store) -> None:
    narrow = door(door=1)
    await knocked(store, through=narrow)
    assert (await knocked(other, through=narrow)).state is S.HELD


async def test_windows_hold_over_a_restart(shelf: Shelf) -> None:
    narrow = door(door=1)
    async with shelf.opened() as store:
        await knocked(store, through=narrow)
    async with shelf.opened() as store:
        assert (await knocked(store, through=narrow)).state is S.HELD


# --- anonymous senders wait

NARROW = door(sender=2, backoff_longest=300.0)


async def over_the_window(store: Store, at: float = NOW, *, sender: str = "home") -> float:
    """Knock until the sender is asked to wait; return for how long."""
    for _ in range(2):
        await kept(store, anonymous(None, at, sender=sender, through=NARROW))
    return await asked_to_wait(store, anonymous(None, at, sender=sender, through=NARROW))


async def test_an_anonymous_sender_over_the_window_is_asked_to_wait(store: Store) -> None:
    assert await over_the_window(store) == WINDOW


@pytest.mark.promise(4)
async def test_nothing_is_kept_of_who_is_asked_to_wait(store: Store) -> None:
    await over_the_window(store)
    lines = await store.ledger()
    await asked_to_wait(store, anonymous(ALICE, NOW, through=NARROW))
    assert await store.knocks_of(ALICE.key) == []
    assert await store.ledger() == lines


async def test_waits_double_up_to_the_longest(store: Store) -> None:
    at, waits = NOW, []
    for _ in range(5):
        waits.append(await over_the_window(store, at))
        at += waits[-1]
    assert waits == [60.0, 120.0, 240.0, 300.0, 300.0]


async def test_who_comes_back_when_told_to_is_served(store: Store) -> None:
    wait = await over_the_window(store)
    assert (await kept(store, anonymous(None, NOW + wait, through=NARROW))).knock.state is S.ADMITTED


async def test_knocking_while_waiting_does_not_make_it_longer(store: Store) -> None:
    await over_the_window(store)
    waits = [await asked_to_wait(store, anonymous(None, NOW + n, through=NARROW)) for n in range(1, 50)]
    assert waits == [WINDOW - n for n in range(1, 50)]


async def test_knocking_while_waiting_does_not_count(store: Store) -> None:
    wait = await over_the_window(store)
    for _ in range(5):
        await asked_to_wait(store, anonymous(None, NOW + wait - 1, through=NARROW))
    listening = Listening()
    await kept(store, anonymous(None, NOW + wait, through=NARROW), listening)
    assert listening.heard.sender_count == 1.0


async def test_waits_are_forgotten_after_a_calm_time(store: Store) -> None:
    first = await over_the_window(store)
    calm = NOW + first + 2 * NARROW.limits.backoff_longest
    assert await over_the_window(store, calm) == WINDOW


async def test_waits_are_not_forgotten_before_the_calm_time(store: Store) -> None:
    first = await over_the_window(store)
    calm = NOW + first + 2 * NARROW.limits.backoff_longest
    assert await over_the_window(store, calm - WINDOW) == 2 * WINDOW


@pytest.mark.promise(4)
async def test_nobody_waits_for_what_another_sender_did_in_their_name(store: Store) -> None:
    for _ in range(2):
        await kept(store, anonymous(ALICE, through=NARROW, sender="mallory"))
    await asked_to_wait(store, anonymous(ALICE, through=NARROW, sender="mallory"))
    assert await kept(store, anonymous(ALICE, NOW + 1, through=NARROW, sender="alice"))


async def test_who_waits_waits_at_every_door(store: Store) -> None:
    await over_the_window(store)
    assert await asked_to_wait(store, anonymous(through=door("side"))) == WINDOW


async def test_who_is_vouched_for_never_waits(store: Store) -> None:
    await over_the_window(store)
    assert (await knocked(store, sender="home", through=NARROW)).state is S.ADMITTED


async def test_waits_hold_over_processes(store: Store, other: Store) -> None:
    await over_the_window(store)
    assert await asked_to_wait(other, anonymous(through=NARROW)) == WINDOW


async def test_a_request_without_a_knock_counts_for_its_sender(store: Store) -> None:
    waits = [await store.count_request(NARROW, "home", NOW) for _ in range(3)]
    assert waits == [0.0, 0.0, WINDOW]


async def test_requests_and_knocks_count_together(store: Store) -> None:
    await kept(store, anonymous(through=NARROW))
    await store.count_request(NARROW, "home", NOW)
    assert await asked_to_wait(store, anonymous(through=NARROW)) == WINDOW


async def test_asking_whether_to_wait_counts_nothing(store: Store) -> None:
    for _ in range(5):
        assert await store.must_wait("home", NOW) == 0.0
    assert await over_the_window(store) == WINDOW


@pytest.mark.parametrize(("later", "wait"), [(0.0, 60.0), (59.0, 1.0), (60.0, 0.0), (61.0, 0.0)])
async def test_who_must_wait_is_told_what_is_left(store: Store, later: float, wait: float) -> None:
    await over_the_window(store)
    assert await store.must_wait("home", NOW + later) == wait


# --- what is known of a person

OTHER_ROOM = door("other", room="!other:example.org")


async def invited(store: Store, who: str, **more: Any) -> Knock:
    knock = await knocked(store, who, **more)
    return await store.change(knock.id, moved(S.INVITED, invited_at=NOW), entry("invite"))


@pytest.mark.promise(4)
async def test_an_unproven_invite_elsewhere_holds_the_next_knock(store: Store) -> None:
    await invited(store, "alice")
    assert (await knocked(store, ALICE, through=OTHER_ROOM)).reason is Reason.OPEN_ELSEWHERE


async def test_an_admitted_knock_elsewhere_counts_as_an_invite(store: Store) -> None:
    await knocked(store, ALICE)
    assert (await knocked(store, ALICE, through=OTHER_ROOM)).reason is Reason.OPEN_ELSEWHERE


async def test_a_proven_invite_elsewhere_holds_nobody(store: Store) -> None:
    await invited(store, "alice", proven=True)
    assert (await knocked(store, ALICE, through=OTHER_ROOM)).state is S.ADMITTED


async def test_a_held_knock_elsewhere_holds_nobody(store: Store) -> None:
    await knocked(store, ALICE, judge=HOLD)
    assert (await knocked(store, ALICE, through=OTHER_ROOM)).state is S.ADMITTED


async def test_a_settled_knock_elsewhere_holds_nobody(store: Store) -> None:
    knock = await invited(store, "alice")
    await store.change(knock.id, moved(S.JOINED), entry("join"))
    assert (await knocked(store, ALICE, through=OTHER_ROOM)).state is S.ADMITTED


async def test_the_judge_hears_of_a_bounded_history_newest_first(store: Store) -> None:
    eager = door(cooldown=0.0)
    past = [await knocked(store, ALICE, NOW + n, through=eager, judge=REFUSE) for n in range(HISTORY + 4)]
    listening = Listening()
    await knocked(store, ALICE, NOW + 100, through=eager, judge=listening)
    assert listening.heard.history == tuple(past[: -HISTORY - 1 : -1])


async def test_the_judge_hears_of_this_room_only(store: Store) -> None:
    await knocked(store, ALICE, through=OTHER_ROOM)
    listening = Listening()
    await knocked(store, ALICE, judge=listening)
    assert listening.heard.history == ()


async def test_the_judge_hears_of_the_rule(store: Store) -> None:
    await store.block(rule("mallory"), entry("block"))
    listening = Listening()
    await knocked(store, "Mallory", judge=listening)
    assert listening.heard.rule == rule("mallory")


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


async def many(store: Store, count: int = 20) -> None:
    for _ in range(count):
        await knocked(store, None, NOW - 1)


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


# --- decisions of moderators


@pytest.mark.parametrize("judge", [HOLD, decide])
@pytest.mark.promise(3)
async def test_blocking_refuses_what_waits(store: Store, judge: Judge) -> None:
    knock = await knocked(store, "mallory", judge=judge)
    await store.block(rule("mallory"), entry("block", NOW + 1))
    found = await store.knock(knock.id)
    assert found is not None
    assert (found.state, found.reason, found.rule) == (S.REFUSED, Reason.BLOCKED, "@mallory:example.org")
    assert found.due_at is None


@pytest.mark.promise(3)
async def test_a_blocked_knock_cannot_be_recorded_as_invited(store: Store) -> None:
    await knocked(store, "mallory")
    claim = await claimed_one(store)
    await store.block(rule("mallory"), entry("block"))
    assert not await store.record(claim, moved(S.INVITED)(claim), [])


async def test_blocking_leaves_an_open_invite_to_be_withdrawn(store: Store) -> None:
    knock = await invited(store, "mallory")
    new, waiting = await store.block(rule("mallory"), entry("block", NOW + 1))
    assert (new, waiting) == (True, [knock])
    claim = await claimed_one(store, NOW + 1 + WITHDRAW_AFTER)
    assert (claim.state, claim.reason) == (S.INVITED, Reason.BLOCKED)


async def test_blocking_does_not_change_what_is_settled(store: Store) -> None:
    knock = await ended(store, "mallory", S.DECLINED)
    await store.block(rule("mallory"), entry("block"))
    assert await store.knock(knock.id) == knock


@pytest.mark.promise(8)
async def test_blocking_is_in_the_ledger_rule_first(store: Store) -> None:
    held = await knocked(store, "mallory", judge=HOLD)
    await store.block(rule("mallory"), entry("block", NOW + 1, detail="spam"))
    line, of_rule = (await store.ledger())[:2]
    assert (of_rule.user_id, of_rule.rule, of_rule.after) == ("@mallory:example.org",) * 2 + ("blocked",)
    assert (line.knock_id, line.before, line.after, line.reason) == (held.id, "held", "refused", "blocked")
    assert (line.actor, line.rule, line.detail) == ("api", "@mallory:example.org", "spam")


@pytest.mark.promise(8)
async def test_leaving_an_invite_to_be_withdrawn_is_in_the_ledger(store: Store) -> None:
    knock = await invited(store, "mallory")
    await store.block(rule("mallory"), entry("block", NOW + 1))
    line = (await store.ledger(knock_id=knock.id))[0]
    assert (line.action, line.before, line.after) == ("block", "invited", "invited")


async def test_blocking_twice_keeps_the_first_rule(store: Store) -> None:
    await store.block(rule("mallory"), entry("block"))
    lines = await store.ledger()
    assert await store.block(rule("Mallory", NOW + 9), entry("block")) == (False, [])
    assert await store.rules() == [rule("mallory")]
    assert await store.ledger() == lines


async def test_a_rule_is_found_however_the_name_is_written(store: Store) -> None:
    await store.block(rule("Mallory"), entry("block"))
    assert (await knocked(store, "MALLORY")).reason is Reason.BLOCKED


async def test_unblocking_returns_the_rule_that_was(store: Store) -> None:
    await store.block(rule("mallory"), entry("block"))
    assert await store.unblock(person("mallory").key, entry("unblock")) == rule("mallory")
    assert await store.rules() == []


@pytest.mark.promise(8)
async def test_unblocking_is_in_the_ledger(store: Store) -> None:
    await store.block(rule("mallory"), entry("block", NOW))
    await store.unblock(person("mallory").key, entry("unblock", NOW + 1))
    line = (await store.ledger())[0]
    assert (line.action, line.user_id, line.before, line.after) == (
        "unblock",
        "@mallory:example.org",
        "blocked",
        "",
    )


async def test_unblocking_somebody_who_is_not_blocked_writes_nothing(store: Store) -> None:
    assert await store.unblock(person("bob").key, entry("unblock")) is None
    assert await store.ledger() == []


async def test_a_blocked_person_is_refused(store: Store) -> None:
    await store.block(rule("mallory"), entry("block"))
    assert (await knocked(store, "mallory")).reason is Reason.BLOCKED


async def test_a_blocked_persons_cooldown_ends_with_the_block(store: Store) -> None:
    await store.block(rule("mallory"), entry("block"))
    await knocked(store, "mallory")
    await store.unblock(person("mallory").key, entry("unblock"))
    again = await kept(store, attempt("mallory", NOW + 1))
    assert (again.repeat, again.knock.state) == (False, S.ADMITTED)


async def test_while_blocked_a_person_cools_down_like_anybody(store: Store) -> None:
    await store.block(rule("mallory"), entry("block"))
    await knocked(store, "mallory")
    assert (await kept(store, attempt("mallory", NOW + 1))).repeat


async def test_rules_are_listed_oldest_first(store: Store) -> None:
    for name, at in (("c", 2.0), ("a", 3.0), ("b", 1.0)):
        await store.block(rule(name, at), entry("block"))
    assert [found.entity[1] for found in await store.rules()] == ["b", "c", "a"]


@pytest.mark.promise(8)
async def test_a_change_is_in_the_ledger_with_before_and_after(store: Store) -> None:
    knock = await knocked(store, ALICE, judge=HOLD)
    await store.change(
        knock.id, moved(S.ADMITTED, NOW + 1, due_at=NOW + 1), entry("approve", NOW + 1, reason="moderator")
    )
    line = (await store.ledger(knock_id=knock.id))[0]
    assert (line.action, line.before, line.after, line.reason) == ("approve", "held", "admitted", "moderator")
    assert (line.door, line.user_id) == ("main", "@alice:example.org")


async def test_a_change_returns_what_is_on_record(store: Store) -> None:
    knock = await knocked(store, ALICE, judge=HOLD)
    changed = await store.change(knock.id, moved(S.REFUSED, NOW + 1), entry("refuse"))
    assert changed == await store.knock(knock.id)


async def test_a_change_of_nothing_writes_nothing(store: Store) -> None:
    knock = await knocked(store, ALICE)
    lines = await store.ledger()
    assert await store.change(knock.id, lambda same: same, entry("look")) == knock
    assert (await store.knock(knock.id), await store.ledger()) == (knock, lines)


async def test_a_change_of_an_unknown_knock_is_an_error(store: Store) -> None:
    with pytest.raises(NotFound):
        await store.change("nobody", moved(S.REFUSED), entry("refuse"))


async def test_an_illegal_move_leaves_nothing(store: Store) -> None:
    knock = await knocked(store, ALICE, judge=REFUSE)
    lines = await store.ledger()
    with pytest.raises(IllegalMove):
        await store.change(knock.id, moved(S.ADMITTED), entry("approve"))
    assert (await store.knock(knock.id), await store.ledger()) == (knock, lines)


# --- coming from elsewhere


async def test_importing_rules_adds_what_is_not_there(store: Store) -> None:
    await store.block(rule("mallory"), entry("block"))
    new = await store.change_rules([rule("mallory"), rule("trudy"), rule("Trudy")], (), entry("import"))
    assert new.added == (rule("trudy"),)
    assert {found.entity for found in await store.rules()} == {"@mallory:example.org", "@trudy:example.org"}


async def test_importing_a_rule_twice_writes_one_ledger_line(store: Store) -> None:
    for _ in range(2):
        await store.change_rules([rule("mallory")], (), entry("import"))
    assert [line.action for line in await store.ledger()] == ["import"]


# --- policy lists


def listed(name: str = "spam", room: str = "!list:example.org", **about: Any) -> PolicyList:
    facts: dict[str, Any] = {
        "look_alikes": False,
        "allow_wide": False,
        "author": "cli",
        "at": NOW,
        "alias": "",
    }
    return PolicyList(name=name, room_id=room, **(facts | about))


def of_list(who: str, source: str = "list:spam", **about: Any) -> Rule:
    return replace(rule(who), source=source, origin=f"origin of {who}", look_alikes=False, **about)


async def test_a_list_is_kept(store: Store, other: Store) -> None:
    kept_list = listed(alias="#spam:example.org", look_alikes=True, allow_wide=True)
    assert await store.add_list(kept_list, entry("subscribe"))
    assert await other.policy_lists() == [kept_list]


async def test_subscribing_and_unsubscribing_are_in_the_ledger(store: Store) -> None:
    await store.add_list(listed(), entry("subscribe"))
    await store.remove_list("spam", entry("unsubscribe", NOW + 1))
    lines = await store.ledger()
    assert [(line.action, line.before, line.after) for line in lines] == [
        ("unsubscribe", "spam", ""),
        ("subscribe", "", "spam"),
    ]


@pytest.mark.promise(5)
async def test_the_ledger_does_not_name_the_room_of_a_list(store: Store) -> None:
    await store.add_list(listed(), entry("subscribe"))
    assert "!list" not in repr(await store.ledger())


@pytest.mark.parametrize("second", [listed(room="!other:example.org"), listed("other")])
async def test_a_name_or_a_room_is_subscribed_to_once(store: Store, second: PolicyList) -> None:
    await store.add_list(listed(), entry("subscribe"))
    assert not await store.add_list(second, entry("subscribe"))
    assert await store.policy_lists() == [listed()]
    assert len(await store.ledger()) == 1


async def test_of_those_who_subscribe_at_once_one_succeeds(store: Store, other: Store) -> None:
    results = await asyncio.gather(
        *(each.add_list(listed(f"list{n}"), entry("subscribe")) for n in range(5) for each in (store, other))
    )
    assert sum(results) == 1


async def test_a_removed_list_is_told_of_as_removed(store: Store) -> None:
    await store.add_list(listed(), entry("subscribe"))
    assert await store.remove_list("spam", entry("unsubscribe")) == listed(removed=True)
    assert await store.policy_lists() == [listed(removed=True)]


async def test_what_is_not_there_cannot_be_removed(store: Store) -> None:
    assert await store.remove_list("spam", entry("unsubscribe")) is None
    assert await store.ledger() == []


async def test_a_removed_list_gives_way_to_another_of_its_name_or_room(store: Store) -> None:
    await store.add_list(listed(), entry("subscribe"))
    await store.remove_list("spam", entry("unsubscribe"))
    assert await store.add_list(listed("other"), entry("subscribe"))
    again = listed(room="!new:example.org", at=NOW + 1)
    assert await store.add_list(again, entry("subscribe"))
    assert await store.policy_lists() == [listed("other"), again]


async def test_the_rules_of_a_list_are_its_own(store: Store) -> None:
    await store.change_rules(
        [rule("mallory"), of_list("eve"), of_list("trudy", "list:spa")], (), entry("put")
    )
    assert await store.rules_of("list:spam") == [of_list("eve")]


async def test_the_rules_of_a_list_are_read_in_pages(store: Store) -> None:
    there = sorted((of_list(f"eve{n}") for n in range(7)), key=lambda each: each.id)
    await store.change_rules(there, (), entry("put"))
    first = await store.rules_of("list:spam", limit=4)
    second = await store.rules_of("list:spam", first[-1].id, limit=4)
    assert sorted(first + second, key=lambda each: each.id) == there


async def test_a_dropped_rule_of_a_list_is_none_of_its_rules(store: Store) -> None:
    await store.change_rules([of_list("eve"), of_list("trudy")], (), entry("put"))
    await store.change_rules((), [of_list("eve").id], entry("drop"))
    assert await store.rules_of("list:spam") == [of_list("trudy")]


def from_elsewhere(who: str, number: int = 1) -> Knock:
    user = person(who)
    return Knock(
        id=f"01AAAAAAAAAAAAAAAAAAAAAAA{number}",
        door="main",
        room_id=MAIN.room_id,
        user_id=str(user),
        user_key=user.key,
        state=S.INVITED,
        reason=Reason.IMPORTED,
        created_at=NOW,
        updated_at=NOW,
        seen_at=NOW,
        expires_at=NOW + 1,
        invited_at=NOW,
    )


async def test_an_imported_knock_is_on_record(store: Store) -> None:
    knock = from_elsewhere("alice")
    assert await store.import_knocks([knock], entry("import")) == 1
    assert await store.knocks_of(ALICE.key) == [knock]


async def test_who_has_a_record_at_the_room_is_not_imported(store: Store) -> None:
    await knocked(store, ALICE, judge=REFUSE)
    people = [from_elsewhere("alice"), from_elsewhere("bob", 2), from_elsewhere("bob", 3)]
    assert await store.import_knocks(people, entry("import")) == 1


async def test_a_filled_trap_is_no_record_that_stops_an_import(store: Store) -> None:
    await knocked(store, ALICE, trap="x")
    assert await store.import_knocks([from_elsewhere("alice")], entry("import")) == 1


@pytest.mark.promise(8)
async def test_an_import_is_in_the_ledger(store: Store) -> None:
    await store.import_knocks([from_elsewhere("alice")], entry("import"))
    (line,) = await store.ledger(user_id=str(ALICE))
    assert (line.action, line.after, line.knock_id) == ("import", "invited", from_elsewhere("alice").id)


# --- lists


async def test_knocks_are_listed_oldest_first(store: Store) -> None:
    ids = [(await knocked(store, None, NOW + n, judge=HOLD)).id for n in range(5)]
    assert [knock.id for knock in await store.knocks_in(frozenset({S.HELD}))] == ids


async def test_a_list_goes_on_behind_the_last_page(store: Store) -> None:
    ids = [(await knocked(store, None, NOW + n, judge=HOLD)).id for n in range(5)]
    page = await store.knocks_in(frozenset({S.HELD}), limit=2, after=ids[1])
    assert [knock.id for knock in page] == ids[2:4]


@pytest.mark.parametrize("states", [{S.HELD}, {S.HELD, S.ADMITTED}, {S.REFUSED}, {S.REFUSED, S.HELD}, set(S)])
async def test_a_list_holds_the_wanted_states_only(store: Store, states: set[KnockState]) -> None:
    for n, judge in enumerate([HOLD, decide, REFUSE] * 2):
        await knocked(store, None, NOW + n, judge=judge)
    listed = await store.knocks_in(frozenset(states))
    assert {knock.state for knock in listed} == states & {S.HELD, S.ADMITTED, S.REFUSED}
    assert listed == sorted(listed, key=lambda knock: knock.id)


async def test_a_persons_knocks_are_listed_newest_first(store: Store) -> None:
    first = await knocked(store, ALICE, judge=REFUSE)
    second = await knocked(store, ALICE, NOW + 1, through=OTHER_ROOM)
    assert await store.knocks_of(ALICE.key) == [second, first]
    assert await store.knocks_of(ALICE.key, states=frozenset({S.REFUSED})) == [first]


async def test_open_knocks_are_counted_by_state(store: Store) -> None:
    for judge in (HOLD, HOLD, decide, REFUSE):
        await knocked(store, judge=judge)
    assert await store.counts() == {S.HELD: 2, S.ADMITTED: 1}


async def test_the_ledger_is_read_newest_first(store: Store) -> None:
    for n in range(5):
        await store.write(entry(f"line {n}", NOW + n))
    assert [line.action for line in await store.ledger(limit=2)] == ["line 4", "line 3"]


async def test_the_ledger_of_a_knock_holds_its_lines_only(store: Store) -> None:
    knock = await knocked(store, ALICE)
    await knocked(store, "bob")
    assert [line.user_id for line in await store.ledger(knock_id=knock.id)] == ["@alice:example.org"]


async def test_the_ledger_of_a_person_holds_knocks_and_rules(store: Store) -> None:
    await knocked(store, "mallory", NOW)
    await knocked(store, "bob", NOW)
    await store.block(rule("mallory"), entry("block", NOW + 1))
    lines = await store.ledger(user_id="@mallory:example.org")
    assert [line.action for line in lines] == ["block", "block", "knocked"]


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
    """One counter each of the homeserver, the door and the sender, and one event; knocks stay."""
    await knocked(store, ALICE, event="e1", sender="work")
    assert await store.tidy(NOW + 2 * WINDOW) == 3
    assert await store.tidy(NOW + 91 * 86400) == 1
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


# --- the visitor's way back


def with_receipt(receipt: str, who: MatrixID | None = None, **more: Any) -> Attempt:
    knocking = anonymous(who, **more)
    return replace(knocking, submission=replace(knocking.submission, receipt=receipt))


@pytest.mark.parametrize("judge", [decide, HOLD, REFUSE])
async def test_a_receipt_leads_to_the_knock_whatever_was_decided(store: Store, judge: Judge) -> None:
    knock = (await kept(store, with_receipt("r1"), judge)).knock
    assert await store.knock_with_receipt("r1") == knock


async def test_the_receipt_of_a_repeat_leads_to_the_knock_on_record(store: Store) -> None:
    first = (await kept(store, with_receipt("r1", ALICE))).knock
    await kept(store, with_receipt("r2", ALICE))
    assert [(await store.knock_with_receipt(each) or first).id for each in ("r1", "r2")] == [first.id] * 2


@pytest.mark.parametrize("receipt", ["r2", "", "receipt:r1"])
async def test_an_unknown_receipt_leads_nowhere(store: Store, receipt: str) -> None:
    await kept(store, with_receipt("r1"))
    await kept(store, attempt())
    assert await store.knock_with_receipt(receipt) is None


async def test_a_delivery_is_no_receipt(store: Store) -> None:
    await kept(store, attempt(event="r1"))
    assert await store.knock_with_receipt("r1") is None


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
