"""What every store promises (ports.Store): what it keeps of a knock, and what a repeat is."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.contract.store_cases import (
    HOLD,
    MAIN,
    NOW,
    OTHER_ROOM,
    REFUSE,
    Listening,
    Shelf,
    anonymous,
    attempt,
    door,
    entry,
    invited,
    kept,
    knocked,
    moved,
    person,
    rule,
)

from mknock.checks import decide
from mknock.domain.ids import MatrixID
from mknock.domain.knocks import OPEN, Answer, KnockState, Reason
from mknock.ports import HISTORY, Attempt, Judge, Store

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


# --- what is known of a person


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
