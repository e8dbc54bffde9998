"""Who is on the block-list is in no room of ours for long, however they came."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.workshop import BOT, OWNER, Wishes, Workshop

from mknock.domain.doors import Removal
from mknock.domain.knocks import KnockState, Reason
from mknock.services.watchdog import AGAIN, SHOWN

S = KnockState
Opening = Callable[..., AbstractAsyncContextManager[Workshop]]


@pytest.fixture
async def shop(fake: FakeHomeserver, tmp_path: Path) -> AsyncIterator[Workshop]:
    async with Workshop.opened(fake, tmp_path) as workshop:
        yield workshop


@pytest.fixture
def opened(fake: FakeHomeserver, tmp_path: Path) -> Opening:
    def open_with(**wishes: Any) -> AbstractAsyncContextManager[Workshop]:
        return Workshop.opened(fake, tmp_path, Wishes(**wishes))

    return open_with


async def blocked(shop: Workshop, membership: str, name: str = "mallory") -> str:
    """Somebody with this membership of the room, who is on the block-list."""
    user_id = shop.fake.add_user(name).user_id
    if membership != "none":
        shop.room.set_membership(user_id if membership in ("join", "knock") else OWNER, user_id, membership)
    await shop.add_rule(user_id)
    return user_id


async def actions(shop: Workshop) -> list[str]:
    return [entry.action for entry in await shop.store.ledger() if entry.actor == "watchdog"]


@pytest.mark.promise(3)
@pytest.mark.parametrize("membership", ["join", "invite", "knock"])
async def test_whoever_is_blocked_is_put_out(shop: Workshop, membership: str) -> None:
    mallory = await blocked(shop, membership)
    await shop.watchdog.scan(shop.clock())

    assert shop.room.membership(mallory) == "leave"


async def test_they_are_shown_no_reason_that_tells_more(shop: Workshop) -> None:
    await blocked(shop, "join")
    await shop.watchdog.scan(shop.clock())

    assert shop.room.timeline[-1].content["reason"] == SHOWN


async def test_nobody_else_is_touched(shop: Workshop) -> None:
    await blocked(shop, "join")
    alice = shop.fake.add_user("alice").user_id
    shop.room.set_membership(alice, alice, "join")
    await shop.watchdog.scan(shop.clock())

    assert shop.room.membership(alice) == "join"


async def test_the_same_name_in_other_letters_is_put_out(shop: Workshop) -> None:
    shop.room.set_membership("@Mallory:knock.test", "@Mallory:knock.test", "join")
    await shop.add_rule("@mallory:knock.test")
    await shop.watchdog.scan(shop.clock())

    assert shop.room.membership("@Mallory:knock.test") == "leave"


@pytest.mark.promise(8)
async def test_the_ledger_names_the_rule(shop: Workshop) -> None:
    mallory = await blocked(shop, "join")
    await shop.watchdog.scan(shop.clock())

    (entry,) = [entry for entry in await shop.store.ledger(user_id=mallory) if entry.actor == "watchdog"]
    assert (entry.action, entry.rule, entry.before, entry.after) == (
        "watchdog:kick",
        mallory,
        "join",
        "leave",
    )


async def test_a_member_is_banned_where_the_door_says_so(opened: Opening) -> None:
    async with opened(blocked_members=Removal.BAN) as shop:
        mallory = await blocked(shop, "join")
        await shop.watchdog.scan(shop.clock())

        assert shop.room.membership(mallory) == "ban"


async def test_a_member_is_only_reported_where_the_door_says_so(opened: Opening) -> None:
    async with opened(blocked_members=Removal.REPORT) as shop:
        mallory = await blocked(shop, "join")
        await shop.watchdog.scan(shop.clock())

        assert shop.room.membership(mallory) == "join"
        assert await actions(shop) == ["watchdog:report"]


@pytest.mark.parametrize("membership", ["invite", "knock"])
async def test_an_invite_is_taken_back_even_where_members_are_only_reported(
    opened: Opening, membership: str
) -> None:
    async with opened(blocked_members=Removal.REPORT) as shop:
        mallory = await blocked(shop, membership)
        await shop.watchdog.scan(shop.clock())

        assert shop.room.membership(mallory) == "leave"


async def test_a_dry_run_removes_nobody_and_says_what_it_would_do(opened: Opening) -> None:
    async with opened(dry_run=True) as shop:
        mallory = await blocked(shop, "join")
        await shop.watchdog.scan(shop.clock())

        assert shop.room.membership(mallory) == "join"
        details = [entry.detail for entry in await shop.store.ledger(user_id=mallory)]
        assert any("would be removed (kick)" in detail for detail in details)


@pytest.mark.parametrize("power", [1, 50, 100])
async def test_whoever_has_power_is_spared(shop: Workshop, power: int) -> None:
    mallory = await blocked(shop, "join")
    shop.room.override_levels({"users": {BOT: 100, mallory: power}})
    await shop.watchdog.scan(shop.clock())

    assert shop.room.membership(mallory) == "join"


async def test_the_bot_itself_is_spared(shop: Workshop) -> None:
    await shop.add_rule(BOT)
    await shop.watchdog.scan(shop.clock())

    assert shop.room.membership(BOT) == "join"


async def test_without_power_it_is_reported_once_a_day(shop: Workshop) -> None:
    await blocked(shop, "join")
    shop.room.override_levels({"users": {BOT: 0}, "kick": 50})
    for _ in range(3):
        await shop.watchdog.scan(shop.clock())
        shop.clock.forward(600)

    assert await actions(shop) == ["watchdog:report"]
    assert len(shop.fake.calls_of("kick")) == 1


async def test_without_power_it_is_tried_again_the_next_day(shop: Workshop) -> None:
    mallory = await blocked(shop, "join")
    shop.room.override_levels({"users": {BOT: 0}, "kick": 50})
    await shop.watchdog.scan(shop.clock())
    shop.room.override_levels({"users": {BOT: 100}, "kick": 50})
    shop.clock.forward(AGAIN)
    await shop.watchdog.scan(shop.clock())

    assert shop.room.membership(mallory) == "leave"


async def test_a_knock_of_theirs_ends_with_them(shop: Workshop) -> None:
    mallory = shop.fake.add_user("mallory").user_id
    knock = await shop.delivered(mallory)
    await shop.add_rule(mallory)
    await shop.watchdog.scan(shop.clock())

    ended = await shop.record(knock.id)
    assert (ended.state, ended.reason, ended.rule) == (S.RESCINDED, Reason.BLOCKED, mallory)


@pytest.mark.promise(7)
async def test_a_homeserver_that_is_away_is_not_an_empty_room(shop: Workshop) -> None:
    mallory = await blocked(shop, "join")
    shop.fake.fail(down=True)
    await shop.watchdog.scan(shop.clock())
    shop.fake.mend()
    await shop.watchdog.scan(shop.clock())

    assert shop.room.membership(mallory) == "leave"


async def test_an_empty_block_list_asks_the_homeserver_nothing(shop: Workshop) -> None:
    before = len(shop.fake.calls)
    await shop.watchdog.scan(shop.clock())

    assert len(shop.fake.calls) == before
