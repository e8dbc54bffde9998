"""What rules of lists do, beside the owner's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.workshop import OWNER, Workshop

from mknock.domain.knocks import KnockState, Reason
from mknock.domain.rules import Rule, RuleKind
from mknock.matching import Engine, Verdict
from mknock.ports import Entry
from mknock.services.enforcement import Enforcement

S = KnockState
MALLORY = "@mallory:evil.example"
OWN = Rule(RuleKind.USER, MALLORY, MALLORY, "spam", "api", "api", 0.0)
LISTED = replace(OWN, source="list:spam", origin="one", look_alikes=False)
PARDONED = replace(LISTED, source="list:other", origin="two", allow=True)
ALLOWED = replace(OWN, allow=True)
EVIL = replace(OWN, kind=RuleKind.SERVER, entity="evil.example", key="evil.example")


@pytest.mark.parametrize(
    ("rules", "verdict"),
    [
        ([LISTED], Verdict.REFUSE),
        ([LISTED, PARDONED], Verdict.ADMIT),
        ([LISTED, ALLOWED], Verdict.ADMIT),
        ([OWN, ALLOWED], Verdict.ADMIT),
        ([OWN, PARDONED], Verdict.REFUSE),
        ([EVIL, PARDONED], Verdict.REFUSE),
        ([EVIL, LISTED, PARDONED], Verdict.REFUSE),
        ([OWN, PARDONED, ALLOWED], Verdict.ADMIT),
    ],
)
@pytest.mark.promise(3)
def test_no_list_lets_in_whom_the_owner_keeps_out(rules: list[Rule], verdict: Verdict) -> None:
    engine = Engine(rules)

    assert engine.look(MALLORY, now=1.0).verdict is verdict
    assert (engine.naming(MALLORY, now=1.0) is None) is (verdict is Verdict.ADMIT)


def test_names_that_resemble_those_on_a_list_are_no_ones_business() -> None:
    assert Engine([LISTED]).look("@mal1ory:evil.example", now=1.0).verdict is Verdict.ADMIT
    assert Engine([OWN]).look("@mal1ory:evil.example", now=1.0).verdict is not Verdict.ADMIT


# Whoever waits


@pytest.fixture
async def shop(fake: FakeHomeserver, tmp_path: Path) -> AsyncIterator[Workshop]:
    async with Workshop.opened(fake, tmp_path) as workshop:
        yield workshop


async def listed(shop: Workshop, user_id: str, **about: Any) -> None:
    rule = replace(LISTED, entity=user_id, key=user_id, **about)
    await shop.store.change_rules([rule], (), Entry(at=0.0, actor="list:spam", action="list"))
    await shop.book.refresh()


async def enforced(shop: Workshop) -> int:
    entry = Entry(at=shop.clock(), actor="knock", action="block")
    return await Enforcement(shop.store, shop.doors, shop.book).enforce_all(entry)


@pytest.mark.promise(3)
async def test_who_waits_for_an_invite_is_refused(shop: Workshop) -> None:
    (person,) = shop.people(1)
    knock_id = await shop.knock(person)
    await listed(shop, person)

    assert await enforced(shop) == 1
    found = await shop.record(knock_id)
    assert (found.state, found.reason, found.rule, found.detail) == (
        S.REFUSED,
        Reason.BLOCKED,
        person,
        "spam",
    )


async def test_an_open_invite_is_withdrawn(shop: Workshop) -> None:
    (person,) = shop.people(1)
    await shop.delivered(person)
    await listed(shop, person)
    await enforced(shop)
    await shop.work_for(30)

    assert shop.room.membership(person) == "leave"


async def test_nobody_else_is_touched(shop: Workshop) -> None:
    listed_one, other = shop.people(2)
    await shop.knock(other)
    await listed(shop, listed_one)

    assert await enforced(shop) == 0


async def test_it_is_done_once(shop: Workshop) -> None:
    waiting, invited = shop.people(2)
    await shop.delivered(invited)
    await shop.knock(waiting)
    for number, person in enumerate((waiting, invited)):
        await listed(shop, person, origin=str(number))

    assert [await enforced(shop), await enforced(shop)] == [2, 0]


async def test_each_is_in_the_ledger(shop: Workshop) -> None:
    (person,) = shop.people(1)
    knock_id = await shop.knock(person)
    await listed(shop, person)
    shop.clock.forward(1)
    await enforced(shop)
    line = (await shop.store.ledger(knock_id=knock_id))[0]

    assert (line.actor, line.before, line.after, line.rule) == ("knock", "admitted", "refused", person)


async def test_many_are_looked_at_page_by_page(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mknock.services.enforcement.PAGE", 3)
    people = shop.people(8)
    await shop.knocks(people)
    for number, person in enumerate(people):
        await listed(shop, person, origin=str(number))

    assert await enforced(shop) == 8


async def test_a_listed_member_is_put_out_and_may_knock_again_later(shop: Workshop) -> None:
    (person,) = shop.people(1)
    shop.room.set_membership(OWNER, person, "invite")
    shop.room.join(person, {})
    await listed(shop, person)
    await shop.watchdog.scan(shop.clock())
    refused = await shop.outcome(person)
    rule_id = replace(LISTED, entity=person, key=person).id
    await shop.store.change_rules((), [rule_id], Entry(at=0.0, actor="list:spam", action="list"))

    assert (shop.room.membership(person), refused) == ("leave", S.REFUSED)
    assert await shop.outcome(person) is S.ADMITTED
