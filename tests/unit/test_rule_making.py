"""Rules by hand: what they name, whom they would hit, what they end, and what their end restores."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.workshop import BOT, OWNER, Workshop

from mknock.domain.errors import HomeserverUnavailable, IllegalMove, InvalidMatrixID, KnockError, NotFound
from mknock.domain.knocks import Decision, KnockState, Outcome, Reason
from mknock.domain.rules import RuleKind
from mknock.matching import Verdict, engine
from mknock.matching.glob import BadGlob
from mknock.matching.rule_lines import BadRuleLine
from mknock.services.familiar_names import KEPT, SETTLING
from mknock.services.rule_book import stance_of
from mknock.services.rule_making import MOST_HIT, Made, RuleMaker, TooWide, rule_about

S = KnockState
EVE = "@eve:evil.example"


@pytest.fixture
async def shop(fake: FakeHomeserver, tmp_path: Path) -> AsyncIterator[Workshop]:
    async with Workshop.opened(fake, tmp_path) as workshop:
        yield workshop


def maker(shop: Workshop) -> RuleMaker:
    return RuleMaker(shop.store, shop.homeserver, shop.doors, shop.book, shop.clock)


async def made(shop: Workshop, entity: str, **more: Any) -> Made:
    return await maker(shop).make(entity, actor="alice", **more)


async def removed(shop: Workshop, entity: str, **more: Any) -> None:
    await maker(shop).remove(entity, actor="alice", **more)


async def crowd(shop: Workshop, count: int) -> list[str]:
    people = shop.people(count)
    for person in people:
        shop.room.set_membership(person, person, "join")
    return people


# --- what is meant


@pytest.mark.parametrize(
    ("typed", "kind", "key"),
    [
        ("@Eve:evil.example", RuleKind.USER, "@eve:evil.example"),
        ("https://matrix.to/#/@eve:evil.example", RuleKind.USER, "@eve:evil.example"),
        ("@eve", RuleKind.USER, "@eve:knock.test"),
        ("*spam*:*", RuleKind.USER_GLOB, "*spam*:*"),
        ("@Spam*:evil.example", RuleKind.USER_GLOB, "@spam*:evil.example"),
        ("evil.example", RuleKind.SERVER, "evil.example"),
        ("@*:evil.example", RuleKind.SERVER, "evil.example"),
        ("*.evil.example", RuleKind.SERVER_GLOB, "*.evil.example"),
        ("localhost", RuleKind.SERVER, "localhost"),
    ],
)
def test_what_is_typed_shows_what_is_meant(typed: str, kind: RuleKind, key: str) -> None:
    rule = rule_about(typed, reason="", actor="cli", at=0.0, default_server="knock.test")
    assert (rule.kind, rule.key) == (kind, key)


@pytest.mark.parametrize(
    ("typed", "error"),
    [
        ("", BadRuleLine),
        ("mallory", BadRuleLine),
        ("# nobody", BadRuleLine),
        ("allow evil.example", BadRuleLine),
        ("evil.example Reason: x", BadRuleLine),
        ("@eve evil", InvalidMatrixID),
        ("*" * 9 + ":*", BadGlob),
    ],
)
def test_what_names_nobody_is_refused(typed: str, error: type[KnockError]) -> None:
    with pytest.raises(error):
        rule_about(typed, reason="", actor="cli", at=0.0)


# --- made and removed


async def test_a_rule_keeps_who_made_it_and_why(shop: Workshop) -> None:
    await made(shop, EVE, reason="spam")
    (rule,) = await shop.store.rules()
    assert (rule.entity, rule.reason, rule.source, rule.author) == (EVE, "spam", "alice", "alice")


@pytest.mark.promise(8)
async def test_making_and_removing_are_in_the_ledger(shop: Workshop) -> None:
    await made(shop, "evil.example", reason="spam")
    shop.clock.forward(1)
    await removed(shop, "evil.example")
    lines = [(one.action, one.rule, one.before, one.after) for one in await shop.store.ledger()]
    assert lines == [
        ("unblock", "evil.example", "blocked", ""),
        ("block", "evil.example", "", "blocked"),
    ]


async def test_a_rule_that_is_there_stays(shop: Workshop) -> None:
    first = await made(shop, EVE, reason="spam")
    again = await made(shop, EVE, reason="other", lasting=60)
    assert (first.new, again.new, again.rule) == (True, False, first.rule)


async def test_a_rule_may_be_made_to_last_longer(shop: Workshop) -> None:
    await made(shop, EVE, lasting=60)
    assert (await made(shop, EVE)).new
    assert [rule.expires for rule in await shop.store.rules()] == [None]


async def test_a_rule_that_has_run_out_counts_no_more(shop: Workshop) -> None:
    await made(shop, EVE, lasting=60)
    shop.clock.forward(61)
    assert await maker(shop).rules() == []
    assert (await maker(shop).explain(EVE)).verdict is Verdict.ADMIT


async def test_what_is_not_there_cannot_be_removed(shop: Workshop) -> None:
    await made(shop, EVE, allow=True)
    with pytest.raises(NotFound):
        await removed(shop, EVE)


async def test_whoever_is_allowed_comes_in_whatever_blocks_them(shop: Workshop) -> None:
    (person,) = shop.people(1)
    await made(shop, "knock.test", force=True)
    await made(shop, person, allow=True)
    assert await shop.outcome(person) is S.ADMITTED
    await removed(shop, person, allow=True)
    assert (await maker(shop).explain(person)).verdict is Verdict.REFUSE


# --- what a rule ends, and what its end restores

OF_EVERY_KIND = pytest.mark.parametrize(
    "entity", ["@person0:knock.test", "@person?:*", "knock.test", "*.test", "*PERSON*:knock.test"]
)


@pytest.mark.promise(3)
@OF_EVERY_KIND
async def test_who_waits_for_their_invite_is_refused(shop: Workshop, entity: str) -> None:
    (person,) = shop.people(1)
    knock_id = await shop.knock(person)
    await made(shop, entity, force=True)
    knock = await shop.record(knock_id)
    assert (knock.state, knock.reason, knock.rule) == (S.REFUSED, Reason.BLOCKED, entity)


@OF_EVERY_KIND
async def test_who_is_held_is_refused_and_held_again_after_it(shop: Workshop, entity: str) -> None:
    (person,) = shop.people(1)
    knock_id = await held(shop, person)
    shop.clock.forward(1)
    await made(shop, entity, force=True)
    assert (await shop.record(knock_id)).state is S.REFUSED
    await removed(shop, entity)
    newest = (await shop.store.knocks_of(person))[0]
    assert (newest.state, newest.reason) == (S.HELD, Reason.UNBLOCKED)


@OF_EVERY_KIND
async def test_an_open_invite_is_withdrawn(shop: Workshop, entity: str) -> None:
    (person,) = shop.people(1)
    knock = await shop.delivered(person)
    await made(shop, entity, force=True)
    await shop.work_for(10)
    assert ((await shop.record(knock.id)).state, shop.room.membership(person)) == (S.RESCINDED, "leave")


@OF_EVERY_KIND
async def test_an_invite_that_was_not_withdrawn_yet_stays_after_it(shop: Workshop, entity: str) -> None:
    (person,) = shop.people(1)
    knock = await shop.delivered(person)
    await made(shop, entity, force=True)
    await removed(shop, entity)
    await shop.work_for(10)
    assert ((await shop.record(knock.id)).state, shop.room.membership(person)) == (S.INVITED, "invite")


async def test_who_is_blocked_by_another_rule_too_stays_refused(shop: Workshop) -> None:
    (person,) = shop.people(1)
    knock_id = await shop.knock(person)
    await made(shop, person)
    await made(shop, "knock.test", force=True)
    await removed(shop, person)
    assert [knock.state for knock in await shop.store.knocks_of(person)] == [S.REFUSED]
    assert (await shop.record(knock_id)).reason is Reason.BLOCKED


async def test_nobody_else_is_touched(shop: Workshop) -> None:
    first, second = shop.people(2)
    knock_id = await shop.knock(second)
    await made(shop, first)
    assert (await shop.record(knock_id)).state is S.ADMITTED


async def held(shop: Workshop, person: str) -> str:
    """Somebody whose knock waits for a moderator."""
    knock_id = await shop.knock(person)
    entry = (await shop.store.ledger(knock_id=knock_id))[0]
    how = lambda k: k.moved_to(S.HELD, at=shop.clock(), due_at=None)  # noqa: E731
    await shop.store.change(knock_id, how, entry)
    return knock_id


# --- rules that hit too many


@pytest.mark.parametrize("entity", ["*:*", "@*:matrix.org", "matrix.org", "*.org", "*"])
async def test_a_rule_against_a_whole_world_is_refused(shop: Workshop, entity: str) -> None:
    with pytest.raises((TooWide, BadRuleLine)):
        await made(shop, entity)
    assert await shop.store.rules() == []


@pytest.mark.parametrize("entity", [BOT, OWNER, "knock.test", "@ow*:knock.test"])
async def test_a_rule_against_knock_itself_or_a_moderator_is_refused(shop: Workshop, entity: str) -> None:
    with pytest.raises(TooWide, match="moderators"):
        await made(shop, entity)


async def test_a_rule_against_many_members_is_refused_with_some_of_them(shop: Workshop) -> None:
    await crowd(shop, MOST_HIT + 1)
    with pytest.raises(TooWide, match=r"21 people in the room.*@person0:knock\.test") as refused:
        await made(shop, "@person*:*")
    assert "and 11 more" in str(refused.value)


async def test_a_rule_against_few_members_is_made(shop: Workshop) -> None:
    await crowd(shop, MOST_HIT)
    assert (await made(shop, "@person*:*")).new


async def test_what_is_forced_is_made(shop: Workshop) -> None:
    assert (await made(shop, "*:matrix.org", force=True)).new


async def test_a_wide_rule_waits_until_it_is_known_who_is_there(shop: Workshop) -> None:
    shop.fake.fail(down=True)
    with pytest.raises(HomeserverUnavailable, match="force"):
        await made(shop, "evil.example")


async def test_an_outage_keeps_nobody_from_blocking_one_person(shop: Workshop) -> None:
    shop.fake.fail(down=True)
    assert (await made(shop, EVE)).new


async def test_many_rules_are_looked_at_together(shop: Workshop) -> None:
    people = await crowd(shop, MOST_HIT + 1)
    rules = [rule_about(person, reason="", actor="cli", at=shop.clock()) for person in people]
    with pytest.raises(TooWide, match="21 rules"):
        await maker(shop).bring(rules, actor="cli")
    assert (await maker(shop).bring(rules, actor="cli", force=True)).new == MOST_HIT + 1


@pytest.mark.parametrize("more", [[], [EVE]], ids=["one rule", "several"])
async def test_a_preview_knows_what_members_are_called(shop: Workshop, more: list[str]) -> None:
    """A command has read nothing before, and members by the name are no reason to refuse the rule."""
    for number in range(MOST_HIT + 1):
        person = shop.fake.add_user(f"kvothrandir{number}").user_id
        shop.room.set_membership(OWNER, person, "join")
    kept = {"main": {"seen": SETTLING, "names": {"kvothrandir": 0.0}}}
    await shop.store.put_secret(KEPT, json.dumps(kept))
    listed = ["@kvothrandir:knock.test", *more]
    rules = [rule_about(one, reason="", actor="cli", at=shop.clock()) for one in listed]
    reach = await maker(shop).preview(rules)
    assert (reach.refused, len(reach.held), reach.problems) == ((), MOST_HIT + 1, ())


async def test_many_rules_show_who_is_one_slip_away(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "VERY_MANY", 0)
    shop.room.set_membership(OWNER, shop.fake.add_user("kvothrandri").user_id, "join")
    listed = ["@kvothrandir:knock.test", EVE]
    rules = [rule_about(one, reason="", actor="cli", at=shop.clock()) for one in listed]
    assert (await maker(shop).preview(rules)).refused == ("@kvothrandri:knock.test",)


async def test_what_is_brought_from_elsewhere_ends_knocks_too(shop: Workshop) -> None:
    (person,) = shop.people(1)
    knock_id = await shop.knock(person)
    rules = [rule_about(one, reason="", actor="cli", at=shop.clock()) for one in (person, EVE)]
    await made(shop, EVE)
    brought = await maker(shop).bring(rules, actor="cli")
    assert ((brought.new, brought.known), (await shop.record(knock_id)).state) == ((1, 1), S.REFUSED)


# --- decided together with a held knock


async def test_approving_may_allow_the_person_from_now_on(shop: Workshop) -> None:
    (person,) = shop.people(1)
    knock_id = await held(shop, person)
    await shop.moderation.approve(knock_id, actor="alice", reason="a friend", allow=True)
    (rule,) = await shop.store.rules()
    assert ((rule.entity, rule.allow, rule.reason), (await shop.record(knock_id)).state) == (
        (person, True, "a friend"),
        S.ADMITTED,
    )
    assert shop.book.decide(person, stance_of(shop.door)) == Decision(
        Outcome.ADMIT, Reason.ALLOWED, rule=person
    )


async def test_refusing_may_block_the_person(shop: Workshop) -> None:
    (person,) = shop.people(1)
    knock_id = await held(shop, person)
    await shop.moderation.refuse(knock_id, actor="alice", reason="spam", block=True)
    (rule,) = await shop.store.rules()
    assert ((rule.entity, rule.allow, rule.reason), (await shop.record(knock_id)).state) == (
        (person, False, "spam"),
        S.REFUSED,
    )


async def test_what_cannot_be_approved_makes_no_rule(shop: Workshop) -> None:
    (person,) = shop.people(1)
    knock_id = await shop.knock(person)
    with pytest.raises(IllegalMove):
        await shop.moderation.approve(knock_id, actor="alice", allow=True)
    assert await shop.store.rules() == []


async def test_what_cannot_be_refused_makes_no_rule(shop: Workshop) -> None:
    (person,) = shop.people(1)
    knock_id = await shop.knock(person)
    with pytest.raises(IllegalMove):
        await shop.moderation.refuse(knock_id, actor="alice", block=True)
    assert await shop.store.rules() == []
