"""The block-list in memory: it follows the store, and says what the rules make of a person."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.kit.workshop import SetClock

from mknock.domain.doors import Door
from mknock.domain.knocks import ADMITTED, Outcome, Reason
from mknock.domain.rules import Rule, RuleKind
from mknock.matching import Stance, Verdict
from mknock.ports import Entry
from mknock.services import rule_book
from mknock.services.rule_book import STRICT, RuleBook, stance_of, told
from mknock.storage.sqlite import SqliteStore
from mknock.wiring.doors import matching_of

MALLORY = "@mallory:example.org"
CLOCK = SetClock()


def rule(entity: str = MALLORY, kind: RuleKind = RuleKind.USER, **more: object) -> Rule:
    known: dict[str, object] = {"reason": "spam", "source": "api", "author": "api", "at": CLOCK.now, **more}
    return Rule(kind, entity, entity.lower(), **known)  # type: ignore[arg-type]


def entry() -> Entry:
    return Entry(at=CLOCK.now, actor="api", action="block")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "knock.db")
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def book(store: SqliteStore) -> RuleBook:
    book = RuleBook(store, CLOCK)
    await book.refresh()
    return book


async def put(store: SqliteStore, *rules: Rule) -> None:
    await store.change_rules(rules, (), entry())


@pytest.mark.promise(3)
@pytest.mark.promise(7)
async def test_before_the_rules_were_read_nobody_knows(store: SqliteStore) -> None:
    assert RuleBook(store, CLOCK).decide(MALLORY, STRICT) is None


async def test_what_was_there_at_the_start_is_known(store: SqliteStore) -> None:
    await put(store, rule())
    book = RuleBook(store, CLOCK)
    await book.refresh()

    assert book.blocking(MALLORY) == rule()


@pytest.mark.promise(3)
async def test_what_another_process_adds_is_seen(store: SqliteStore, book: RuleBook) -> None:
    await put(store, rule())

    assert (await book.decide_now(MALLORY, STRICT)).outcome is Outcome.REFUSE


async def test_what_another_process_removes_is_gone(store: SqliteStore, book: RuleBook) -> None:
    await put(store, rule())
    await book.refresh()
    await store.change_rules((), [rule().id], entry())
    await book.refresh()

    assert (book.blocking(MALLORY), len(book)) == (None, 0)


async def test_a_rule_that_comes_back_counts_again(store: SqliteStore, book: RuleBook) -> None:
    for put_, drop in (((rule(),), ()), ((), (rule().id,)), ((rule(),), ())):
        await store.change_rules(put_, drop, entry())
        await book.refresh()

    assert book.blocking(MALLORY) == rule()


async def test_a_rule_that_changes_counts_as_it_is_now(store: SqliteStore, book: RuleBook) -> None:
    await put(store, rule())
    await book.refresh()
    changed = rule(reason="worse", source="file")
    await store.change_rules([changed], (), entry(), replacing=True)
    await book.refresh()

    assert (book.blocking(MALLORY), len(book)) == (changed, 1)


async def test_nothing_is_read_when_nothing_has_changed(
    store: SqliteStore, book: RuleBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, rule())
    await book.refresh()

    async def must_not(*_: object, **__: object) -> list[object]:
        pytest.fail("the rules were read again")

    monkeypatch.setattr(store, "rules_since", must_not)

    assert await book.refresh() == 0


async def test_many_changes_are_taken_in_page_by_page(
    store: SqliteStore, book: RuleBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule_book, "PAGE", 3)
    await put(store, *(rule(f"@spam{number}:example.org") for number in range(10)))
    await put(store, rule())

    assert (await book.refresh(), len(book)) == (11, 11)


SLIP = "@kvothrandri:example.org"
"""One slip of the keyboard away from a rule of a flood."""


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def flooded(store: SqliteStore, clock: SetClock, monkeypatch: pytest.MonkeyPatch) -> RuleBook:
    """A book with a clock of its own that is in the middle of a flood: more than two rules without a pause."""
    monkeypatch.setattr(rule_book, "VERY_MANY", 2)
    book = RuleBook(store, clock)
    await book.refresh()
    for name in ("mallory", "vexillologist", "kvothrandir"):
        await put(store, rule(f"@{name}:example.org"))
        await book.refresh()
    return book


async def test_of_a_flood_slips_are_found_once_it_is_over(flooded: RuleBook, clock: SetClock) -> None:
    await flooded.tick(clock())
    assert flooded.look("@kv0thr4ndir:example.org", STRICT).verdict is Verdict.REFUSE
    assert flooded.look("@mallroy:example.org", STRICT).verdict is not Verdict.ADMIT
    assert flooded.look(SLIP, STRICT).verdict is Verdict.ADMIT

    clock.forward(rule_book.CALM)
    await flooded.tick(clock())
    assert flooded.look(SLIP, STRICT).verdict is Verdict.REFUSE


async def test_slips_do_not_wait_for_ever_for_the_end_of_a_flood(
    store: SqliteStore, flooded: RuleBook, clock: SetClock
) -> None:
    for number in range(int(rule_book.LONGEST_FLOOD / 0.75)):
        assert flooded.look(SLIP, STRICT).verdict is Verdict.ADMIT
        clock.forward(0.75)
        await put(store, rule(f"server{number}.example", RuleKind.SERVER))
        await flooded.tick(clock())
    assert flooded.look(SLIP, STRICT).verdict is Verdict.REFUSE


async def test_rules_that_come_apart_are_no_flood(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule_book, "VERY_MANY", 2)
    clock = SetClock()
    book = RuleBook(store, clock)
    await book.refresh()
    for name in ("mallory", "vexillologist", "kvothrandir"):
        clock.forward(rule_book.CALM)
        await put(store, rule(f"@{name}:example.org"))
        await book.refresh()
    assert book.look(SLIP, STRICT).verdict is Verdict.REFUSE


async def test_what_a_list_says_twice_counts_until_both_are_gone(store: SqliteStore, book: RuleBook) -> None:
    twice = [rule(source="list:friends", origin=origin) for origin in ("a", "b")]
    await put(store, *twice)
    await book.refresh()
    seen = []
    for gone in twice:
        await store.change_rules((), [gone.id], entry())
        await book.refresh()
        seen.append(book.blocking(MALLORY) is not None)

    assert seen == [True, False]


async def test_the_owners_rule_and_a_lists_are_two(store: SqliteStore, book: RuleBook) -> None:
    await put(store, rule(), rule(source="list:friends", origin="a"))
    await store.change_rules((), [rule().id], entry())
    await book.refresh()

    assert book.blocking(MALLORY) is not None


async def test_a_pattern_that_is_not_used_is_told_and_the_rest_counts(
    store: SqliteStore, book: RuleBook
) -> None:
    costly = rule("@" + "*a" * 20 + ":example.org", RuleKind.USER_GLOB)
    await put(store, costly, rule())
    await book.refresh()

    assert (list(book.unused), book.blocking(MALLORY)) == ([costly.id], rule())


@pytest.mark.parametrize(
    ("kind", "entity"),
    [
        (RuleKind.USER_GLOB, "@mal*:example.org"),
        (RuleKind.SERVER, "example.org"),
        (RuleKind.SERVER_GLOB, "*.org"),
    ],
)
async def test_rules_of_every_kind_name_people(
    store: SqliteStore, book: RuleBook, kind: RuleKind, entity: str
) -> None:
    await put(store, rule(entity, kind))
    decision = await book.decide_now(MALLORY, STRICT)

    assert (decision.outcome, decision.rule, decision.detail) == (Outcome.REFUSE, entity, "spam")


async def test_an_allow_rule_beats_them_all(store: SqliteStore, book: RuleBook) -> None:
    await put(store, rule(), rule("example.org", RuleKind.SERVER), rule(allow=True))
    decision = await book.decide_now(MALLORY, STRICT)

    assert (decision.outcome, decision.reason, book.blocking(MALLORY)) == (
        Outcome.ADMIT,
        Reason.ALLOWED,
        None,
    )


async def test_a_rule_counts_until_its_end(store: SqliteStore) -> None:
    clock = SetClock()
    book = RuleBook(store, clock)
    await put(store, replace(rule(), expires=clock.now + 60))
    await book.refresh()
    before = book.blocking(MALLORY)
    clock.forward(61)

    assert (before is not None, book.blocking(MALLORY)) == (True, None)


async def test_who_resembles_somebody_is_held_and_it_is_told_how(store: SqliteStore, book: RuleBook) -> None:
    await put(store, rule("@vexillologist:example.org"))
    decision = await book.decide_now("@vexillologst:example.org", Stance())

    assert decision.outcome is not Outcome.ADMIT
    assert decision.rule == "@vexillologist:example.org"
    assert "blocked for: spam" in decision.detail


async def test_of_a_resemblance_nobody_is_put_out(store: SqliteStore, book: RuleBook) -> None:
    await put(store, rule("@vexillologist:example.org"))
    await book.refresh()

    assert book.blocking("@vexil1ologist:example.org") is None


async def test_who_is_not_on_it_is_admitted(book: RuleBook) -> None:
    assert book.decide("@alice:example.org", STRICT) == ADMITTED


async def test_a_match_is_told_on_one_line(store: SqliteStore, book: RuleBook) -> None:
    await put(store, rule("@vexillologist:example.org"))
    await book.refresh()
    (match, *_) = book.look("@v3xillologist:example.org", STRICT).matches

    assert "\n" not in told(match)


# How strict a door is


async def test_a_door_may_be_stricter_or_milder_about_a_kind(store: SqliteStore, book: RuleBook) -> None:
    await put(store, rule("@martin:example.org"))
    outcomes = []
    for action in ("refuse", "hold", "log"):
        door = Door("main", "!room", matching=matching_of([("number_common", action)], other_servers=True))
        outcomes.append((await book.decide_now("@martin77:example.org", stance_of(door))).outcome)

    assert outcomes == [Outcome.REFUSE, Outcome.HOLD, Outcome.ADMIT]


def test_a_kind_that_is_misspelt_is_named_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean number_common"):
        matching_of([("numbers_common", "hold")], other_servers=True)
