"""What every store promises (ports.Store): the policy lists that Knock follows."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.contract.store_cases import (
    MAIN,
    NOW,
    REFUSE,
    entry,
    knocked,
    person,
    rule,
)

from mknock.domain.knocks import Knock, KnockState, Reason
from mknock.domain.policy_lists import PolicyList
from mknock.domain.rules import Rule
from mknock.ports import RoomToLeave, Store

S = KnockState
ALICE = person("alice")

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


@pytest.mark.promise(8)
async def test_the_room_of_a_removed_list_is_to_be_left_until_that_is_settled(
    store: Store, other: Store
) -> None:
    await store.add_list(listed(), entry("subscribe"))
    assert await store.rooms_to_leave() == []
    await store.remove_list("spam", entry("unsubscribe"))
    room = RoomToLeave("!list:example.org", "spam")
    assert await other.rooms_to_leave() == [room]
    assert await store.room_settled(room, entry("leave"))
    assert await other.rooms_to_leave() == []
    assert not await other.room_settled(room, entry("leave"))
    assert [line.action for line in await store.ledger()].count("leave") == 1


async def test_a_room_that_is_subscribed_to_again_is_not_to_be_left(store: Store) -> None:
    await store.add_list(listed(), entry("subscribe"))
    await store.remove_list("spam", entry("unsubscribe"))
    await store.add_list(listed("again"), entry("subscribe"))
    assert await store.rooms_to_leave() == []


async def test_the_rules_of_a_list_are_its_own(store: Store) -> None:
    await store.change_rules(
        [rule("mallory"), of_list("eve"), of_list("trudy", "list:spa")], (), entry("put")
    )
    assert await store.rules_of("list:spam") == [of_list("eve")]


async def test_a_rule_that_is_replaced_by_itself_stays_as_it_is(store: Store) -> None:
    """Whoever follows a list hears of the same once more when another has died."""
    ours, other = of_list("mallory"), replace(of_list("trudy"), reason="new")
    await store.change_rules([ours, of_list("trudy")], [], entry("list"), replacing=True)
    revision = await store.rules_revision()
    done = await store.change_rules([ours, other], [ours.id, other.id], entry("list"), replacing=True)

    assert ([one.id for one in done.added], [one.id for one in done.dropped]) == ([other.id], [other.id])
    assert [change.rule for change in await store.rules_since(revision, "\uffff")] == [other]
    assert sorted(line.rule for line in await store.ledger()).count(ours.entity) == 1


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
