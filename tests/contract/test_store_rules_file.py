"""What every store knows of the block-list's file: which of the owner's rules it holds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.contract.store_cases import NOW, Shelf, entry, knocked, rule

from mknock.domain.rules import LIST, Rule, RuleKind
from mknock.ports import OwnRule, Store

MALLORY = rule("mallory")
TRUDY = rule("trudy", NOW + 1)
WEEK = 7 * 86400.0


def of_a_list() -> Rule:
    return Rule(RuleKind.SERVER, "evil.example", "evil.example", "", LIST + "main", "", NOW, origin="e1")


async def test_the_owners_rules_are_told_without_those_of_shared_lists(store: Store) -> None:
    await store.change_rules([TRUDY, MALLORY, of_a_list()], (), entry("import"))
    assert await store.own_rules() == [OwnRule(MALLORY), OwnRule(TRUDY)]


async def test_what_came_from_the_file_is_in_the_file(store: Store) -> None:
    await store.change_rules([MALLORY], (), entry("edit"), in_file=True)
    assert await store.own_rules() == [OwnRule(MALLORY, in_file=True)]


@pytest.mark.parametrize("in_file", [True, False])
async def test_what_was_written_to_the_file_is_marked(store: Store, in_file: bool) -> None:
    await store.change_rules([MALLORY, TRUDY], (), entry("import"), in_file=not in_file)
    await store.mark_in_file([MALLORY.id, TRUDY.id, "block:user:@nobody:example.org"], in_file)
    assert await store.own_rules() == [OwnRule(MALLORY, in_file), OwnRule(TRUDY, in_file)]


async def test_a_mark_is_no_change_of_the_rules(store: Store) -> None:
    await store.change_rules([MALLORY], (), entry("import"))
    before = await store.rules_revision()
    await store.mark_in_file([MALLORY.id], True)
    assert await store.rules_revision() == before


async def test_a_change_says_between_which_revisions_it_stands(store: Store) -> None:
    """So that whoever made several knows whether others have changed rules in between."""
    start = await store.rules_revision()
    first = await store.change_rules([MALLORY], (), entry("edit"))
    other = await store.change_rules([TRUDY], (), entry("block"))
    second = await store.change_rules([TRUDY], [MALLORY.id], entry("edit"), replacing=True)
    nothing = await store.change_rules((), [MALLORY.id], entry("edit"))

    changes = [first, other, second, nothing]
    assert [change.since for change in changes] == [start, *(change.revision for change in changes[:-1])]
    assert nothing.revision == await store.rules_revision()


async def test_a_removed_rule_is_told_of_while_the_file_holds_it(store: Store) -> None:
    await store.change_rules([MALLORY], (), entry("edit"), in_file=True)
    await store.unblock(MALLORY.key, entry("unblock"))
    assert await store.own_rules() == [OwnRule(MALLORY, in_file=True, removed=True)]
    assert await store.rules() == []


async def test_a_removed_rule_whose_line_is_gone_is_told_of_no_more(store: Store) -> None:
    await store.change_rules([MALLORY], (), entry("edit"), in_file=True)
    await store.unblock(MALLORY.key, entry("unblock"))
    await store.mark_in_file([MALLORY.id], False)
    assert await store.own_rules() == []


async def test_a_rule_whose_line_was_removed_is_told_of_no_more(store: Store) -> None:
    await store.change_rules([MALLORY], (), entry("edit"), in_file=True)
    await store.change_rules((), [MALLORY.id], entry("edit"), in_file=True)
    assert await store.own_rules() == []


async def test_a_rule_that_comes_back_is_to_be_written_anew(store: Store) -> None:
    await store.change_rules([MALLORY], (), entry("edit"), in_file=True)
    await store.unblock(MALLORY.key, entry("unblock"))
    await store.block(MALLORY, entry("block"))
    assert await store.own_rules() == [OwnRule(MALLORY)]


async def test_tidying_keeps_a_removed_rule_while_the_file_holds_it(store: Store) -> None:
    await store.change_rules([MALLORY], (), entry("edit"), in_file=True)
    await store.unblock(MALLORY.key, entry("unblock", NOW))
    await store.tidy(NOW + 2 * WEEK)
    assert await store.own_rules() == [OwnRule(MALLORY, in_file=True, removed=True)]


async def test_what_the_file_holds_is_known_after_a_restart(shelf: Shelf) -> None:
    async with shelf.opened() as store:
        await store.change_rules([MALLORY], (), entry("edit"), in_file=True)
    async with shelf.opened() as store:
        assert await store.own_rules() == [OwnRule(MALLORY, in_file=True)]


async def test_a_rule_that_has_run_out_stands_in_nobodys_way(store: Store) -> None:
    await store.change_rules([replace(MALLORY, expires=NOW + 10)], (), entry("block"))
    again = rule("mallory", NOW + 10)
    assert (await store.change_rules([again], (), entry("block"))).added == (again,)
    assert await store.rules() == [again]


async def test_a_rule_that_has_not_run_out_stays(store: Store) -> None:
    brief = replace(MALLORY, expires=NOW + 10)
    await store.change_rules([brief], (), entry("block"))
    assert (await store.change_rules([rule("mallory", NOW + 9)], (), entry("block"))).added == ()
    assert await store.rules() == [brief]


async def test_knocks_by_a_rule_are_told_page_by_page(store: Store) -> None:
    first, second = await knocked(store, "mallory"), await knocked(store, "mallory", NOW + 1, trap="x")
    await store.change(first.id, lambda k: replace(k, rule="*:evil.example"), entry("x"))
    await store.change(second.id, lambda k: replace(k, rule="*:evil.example"), entry("x"))
    (one,) = await store.knocks_by_rule("*:evil.example", limit=1)
    (two,) = await store.knocks_by_rule("*:evil.example", after=one.id)
    assert (one.id, two.id) == (first.id, second.id)


async def test_of_very_many_all_are_told_oldest_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mknock.storage.sql_store.OWN_PAGE", 2)
    rules = [replace(rule(f"person{number}"), at=NOW - number) for number in range(5)]
    await store.change_rules(rules, [], entry("import"), in_file=True)
    await store.change_rules([replace(rule("stranger"), source="list:spam", origin="x")], [], entry("list"))

    assert await store.own_rules() == [OwnRule(one, in_file=True) for one in reversed(rules)]
