"""What Knock blocks stands in its policy room, and nothing else of anybody's is touched there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.policy_room import KEEPER, USER_RULE
from tests.kit.workshop import BOT, Workshop

from mknock.domain.policy_lists import KINDS, PolicyList, rule_in
from mknock.domain.rules import Rule, RuleKind
from mknock.ports import Entry
from mknock.services.list_publishing import Publisher, events_of

MALLORY = "@mallory:evil.example"
EVERY = 300.0
AT = (USER_RULE, f"knock:{MALLORY}")


class Publishing:
    """A publisher and the room it publishes into, of which somebody else is the owner."""

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        self.room = shop.fake.add_room(shop.fake.add_user("keeper").user_id, BOT, bot_power=50)
        self.publisher = self.another()

    def another(self, *, reasons: bool = True, room: str = "") -> Publisher:
        shop, room = self.shop, room or self.room.room_id
        return Publisher(
            shop.store, shop.homeserver, shop.book, shop.clock, room=room, every=EVERY, reasons=reasons
        )

    async def tick(self) -> int:
        return await self.publisher.tick(self.shop.clock())

    async def block(self, entity: str = MALLORY, kind: RuleKind = RuleKind.USER, **about: Any) -> Rule:
        rule = Rule(kind, entity, entity.lower(), "spam", "api", "api", at=self.shop.clock())
        rule = replace(rule, **about)
        await self.shop.store.change_rules([rule], (), Entry(at=0.0, actor="api", action="block"))
        return rule

    async def unblock(self, rule: Rule) -> None:
        await self.shop.store.change_rules((), [rule.id], Entry(at=0.0, actor="api", action="unblock"))

    def there(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The rules in the room, without those that were emptied."""
        return {
            (event.type, str(event.state_key)): event.content
            for event in self.room.state()
            if event.type in KINDS and event.content
        }

    def writes(self) -> int:
        return len(self.shop.fake.calls_of("put_state"))


@pytest.fixture
async def publishing(fake: FakeHomeserver, tmp_path: Path) -> AsyncIterator[Publishing]:
    async with Workshop.opened(fake, tmp_path) as shop:
        yield Publishing(shop)


async def test_a_block_is_published(publishing: Publishing) -> None:
    await publishing.block()
    await publishing.tick()

    assert publishing.there() == {
        AT: {"entity": MALLORY, "recommendation": "m.ban", "reason": "spam"},
    }


@pytest.mark.parametrize(
    ("kind", "entity", "event"),
    [
        (RuleKind.USER_GLOB, "@spam*:*", "m.policy.rule.user"),
        (RuleKind.SERVER, "evil.example", "m.policy.rule.server"),
        (RuleKind.SERVER_GLOB, "*.evil.example", "m.policy.rule.server"),
    ],
)
async def test_patterns_and_servers_are_published(
    publishing: Publishing, kind: RuleKind, entity: str, event: str
) -> None:
    await publishing.block(entity, kind)
    await publishing.tick()

    assert publishing.there()[event, f"knock:{entity}"]["entity"] == entity


async def test_a_name_with_capitals_is_published_in_small_letters_as_well(publishing: Publishing) -> None:
    """Draupnir compares letter by letter, and accounts of today have no capitals."""
    await publishing.block("@Mallory:Evil.example")
    await publishing.block("Evil.Example", RuleKind.SERVER)
    await publishing.tick()

    assert sorted(content["entity"] for content in publishing.there().values()) == [
        "@Mallory:Evil.example",
        "@mallory:evil.example",
        "evil.example",
    ]


async def test_what_was_published_as_it_was_typed_alone_is_made_up_for(publishing: Publishing) -> None:
    """Knock did so before. What stands there is written elsewhere before its place is taken."""
    typed = {"entity": "@Mallory:evil.example", "recommendation": "m.ban", "reason": "spam"}
    publishing.room.put_state(BOT, USER_RULE, "knock:@mallory:evil.example", typed)
    rule = await publishing.block("@Mallory:evil.example")
    await publishing.tick()

    told = [content["entity"] for _, content in events_of(rule, reasons=True)]
    assert told == ["@Mallory:evil.example", "@mallory:evil.example"]
    assert sorted(content["entity"] for content in publishing.there().values()) == told


async def test_both_spellings_are_taken_back(publishing: Publishing) -> None:
    rule = await publishing.block("@Mallory:Evil.example")
    await publishing.tick()
    await publishing.unblock(rule)
    await publishing.tick()

    assert publishing.there() == {}


async def test_what_is_published_is_read_as_the_same_rule(publishing: Publishing) -> None:
    rule = await publishing.block()
    await publishing.tick()
    (event,) = [event.shown() for event in publishing.room.state() if event.type == USER_RULE]
    read = rule_in(event, PolicyList("own", "!r:x", "", False, False, "cli", 0.0))

    assert isinstance(read, Rule)
    assert (read.kind, read.key, read.reason, read.allow) == (rule.kind, rule.key, rule.reason, False)


@pytest.mark.parametrize(
    "about",
    [
        {"source": "list:spam", "origin": "x"},
        {"allow": True},
        {"kind": RuleKind.USER_HASH},
        {"kind": RuleKind.SERVER_HASH},
    ],
)
async def test_only_blocks_of_our_own_are_published(publishing: Publishing, about: dict[str, Any]) -> None:
    await publishing.block(**about)
    await publishing.tick()

    assert publishing.there() == {}


async def test_a_block_that_has_run_out_is_taken_back(publishing: Publishing) -> None:
    await publishing.block(expires=publishing.shop.clock() + 60)
    await publishing.tick()
    before = publishing.there()
    publishing.shop.clock.forward(61)
    await publishing.tick()

    assert (len(before), publishing.there()) == (1, {})


async def test_an_unblock_empties_the_event(publishing: Publishing) -> None:
    rule = await publishing.block()
    await publishing.tick()
    await publishing.unblock(rule)
    await publishing.tick()

    assert publishing.there() == {}


async def test_a_block_made_while_knock_was_away_is_published_at_the_start(publishing: Publishing) -> None:
    gone = await publishing.block()
    await publishing.tick()
    await publishing.unblock(gone)
    await publishing.block("@trudy:evil.example")
    await publishing.another().tick(publishing.shop.clock())

    assert [key for _, key in publishing.there()] == ["knock:@trudy:evil.example"]


async def test_only_differences_are_sent(publishing: Publishing) -> None:
    for number in range(5):
        await publishing.block(f"@p{number}:evil.example")
    await publishing.tick()
    await publishing.block()
    await publishing.tick()
    await publishing.another().tick(publishing.shop.clock())

    assert publishing.writes() == 6


async def test_where_nothing_has_changed_nothing_is_asked(publishing: Publishing) -> None:
    await publishing.block()
    await publishing.tick()
    asked = len(publishing.shop.fake.calls)
    await publishing.block("@trudy:evil.example", source="list:spam", origin="x")
    await publishing.tick()

    assert len(publishing.shop.fake.calls) == asked


async def test_what_others_took_out_is_put_back_after_a_while(publishing: Publishing) -> None:
    await publishing.block()
    await publishing.tick()
    publishing.room.write(USER_RULE, {}, AT[1])
    publishing.shop.clock.forward(EVERY)
    await publishing.tick()

    assert AT in publishing.there()


async def test_what_others_wrote_is_left_alone(publishing: Publishing) -> None:
    publishing.room.write(USER_RULE, {"entity": "@x:y", "recommendation": "m.ban"}, "knock:@x:y")
    publishing.room.put_state(BOT, USER_RULE, "rule:@z:y", {"entity": "@z:y", "recommendation": "m.ban"})
    await publishing.tick()

    assert len(publishing.there()) == 2


async def test_what_others_block_there_already_is_not_said_again(publishing: Publishing) -> None:
    publishing.room.write(USER_RULE, {"entity": MALLORY, "recommendation": "m.ban"}, "theirs")
    await publishing.block()

    assert await publishing.tick() == 0


async def test_reasons_can_be_left_out(publishing: Publishing) -> None:
    await publishing.block()
    await publishing.another(reasons=False).tick(publishing.shop.clock())

    assert publishing.there()[AT]["reason"] == ""


async def test_a_long_name_fits_into_a_state_key(publishing: Publishing) -> None:
    rule = await publishing.block("@" + "ü" * 120 + ":evil.example")
    await publishing.tick()

    assert [len(key.encode()) <= 255 for (_, key), _ in events_of(rule, reasons=True)] == [True]
    assert len(publishing.there()) == 1


# Trouble


async def test_a_limit_is_waited_for_and_shared(publishing: Publishing) -> None:
    for number in range(3):
        await publishing.block(f"@p{number}:evil.example")
    publishing.shop.fake.fail("put_state", status=429, retry_after=20, times=1)
    await publishing.tick()
    until, shared = publishing.shop.clock() + 20, await publishing.shop.store.paused("send")
    waited = await publishing.tick()

    assert (waited, publishing.writes()) == (0, 1)
    assert [shared, publishing.publisher.next_at] == pytest.approx([until, until])


async def test_after_the_limit_the_rest_is_sent(publishing: Publishing) -> None:
    for number in range(3):
        await publishing.block(f"@p{number}:evil.example")
    publishing.shop.fake.fail("put_state", status=429, retry_after=20, times=1)
    await publishing.tick()
    publishing.shop.clock.forward(20.1)
    await publishing.tick()

    assert len(publishing.there()) == 3


async def test_without_power_nothing_is_tried(publishing: Publishing) -> None:
    publishing.room.override_levels({"users": {BOT: 0, KEEPER: 100}})
    await publishing.block()
    await publishing.tick()

    assert publishing.writes() == 0
    assert (await publishing.publisher.problem()).endswith("make it a moderator")


async def test_with_power_it_is_made_up_for(publishing: Publishing) -> None:
    publishing.room.override_levels({"users": {BOT: 0, KEEPER: 100}})
    await publishing.block()
    await publishing.tick()
    publishing.room.override_levels({"users": {BOT: 50, KEEPER: 100}})
    publishing.shop.clock.forward(EVERY)
    await publishing.tick()

    assert AT in publishing.there()
    assert await publishing.publisher.problem() == ""


async def test_what_the_homeserver_refuses_holds_up_nothing_else(publishing: Publishing) -> None:
    for number in range(3):
        await publishing.block(f"@p{number}:evil.example")
    publishing.shop.fake.fail("put_state", status=413, body={"errcode": "M_TOO_LARGE"}, times=1)

    assert await publishing.tick() == 2


async def test_an_outage_changes_nothing(publishing: Publishing) -> None:
    await publishing.block()
    publishing.shop.fake.fail(down=True)
    await publishing.tick()
    publishing.shop.fake.mend()
    await publishing.tick()

    assert AT in publishing.there()


async def test_knock_enters_the_room_when_it_is_invited(publishing: Publishing) -> None:
    publishing.room.kick(KEEPER, BOT, {})
    await publishing.block()
    outside = await publishing.publisher.problem()
    await publishing.tick()
    publishing.room.invite(KEEPER, BOT, {}, reach=lambda: None)
    await publishing.tick()

    assert "invite it" in outside
    assert AT in publishing.there()


async def test_the_room_may_be_named_by_its_alias(publishing: Publishing) -> None:
    publishing.shop.fake.aliases["#own:knock.test"] = publishing.room.room_id
    await publishing.block()
    await publishing.another(room="#own:knock.test").tick(publishing.shop.clock())

    assert AT in publishing.there()


async def test_an_alias_of_nothing_is_a_problem(publishing: Publishing) -> None:
    lost = publishing.another(room="#lost:knock.test")
    await publishing.block()

    assert await lost.tick(publishing.shop.clock()) == 0
    assert "does not exist" in await lost.problem()
