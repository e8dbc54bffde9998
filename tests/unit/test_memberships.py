"""What is seen in the room becomes the record, by an event at once or by a comparison later."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.workshop import BOT, OWNER, Wishes, Workshop

from mknock.domain.doors import Door, Welcoming
from mknock.domain.knocks import Knock, KnockState, Reason
from mknock.ports import StateEvent

S = KnockState
HELLO = Welcoming(text="Hello {user}")


@pytest.fixture
async def shop(fake: FakeHomeserver, tmp_path: Path) -> AsyncIterator[Workshop]:
    async with Workshop.opened(fake, tmp_path, Wishes(welcoming=HELLO)) as workshop:
        yield workshop


@pytest.fixture
async def open_house(fake: FakeHomeserver, tmp_path: Path) -> AsyncIterator[Workshop]:
    """Where everybody is welcomed."""
    wishes = Wishes(welcoming=Welcoming(text="Hello {user}", everyone=True))
    async with Workshop.opened(fake, tmp_path, wishes) as workshop:
        yield workshop


@pytest.fixture
def carol(fake: FakeHomeserver) -> str:
    return fake.add_user("carol").user_id


def told(shop: Workshop, number: int = -1, *, before: str = "leave") -> StateEvent:
    """The newest (or another) event of the room's timeline, as /sync tells it."""
    event = shop.room.timeline[number]
    return StateEvent(
        kind=event.type,
        key=event.state_key or "",
        sender=event.sender,
        content=event.content,
        before={"membership": before},
        at=event.origin_server_ts / 1000,
    )


async def hear(shop: Workshop, *, before: str = "invite") -> None:
    await shop.room_watch.heard(shop.door, told(shop, before=before))


async def compare(shop: Workshop, *, before: str = "invite") -> None:
    await shop.room_watch.compare(shop.door)


Way = Callable[..., Awaitable[None]]
BOTH = pytest.mark.parametrize("notice", [hear, compare])


async def invited(shop: Workshop, user_id: str) -> str:
    return (await shop.delivered(user_id)).id


async def held(shop: Workshop, user_id: str) -> str:
    """Somebody whose knock waits for a moderator, since they have declined before."""
    await shop.delivered(user_id)
    shop.room.leave(user_id, {})
    await compare(shop)
    assert await shop.outcome(user_id) is S.HELD
    (knock,) = await shop.store.knocks_of(user_id, states=frozenset({S.HELD}))
    return knock.id


async def state_and_reason(shop: Workshop, knock_id: str) -> tuple[KnockState, Reason]:
    knock = await shop.record(knock_id)
    return knock.state, knock.reason


@BOTH
async def test_a_join_is_recorded(shop: Workshop, carol: str, notice: Way) -> None:
    knock_id = await invited(shop, carol)
    shop.room.join(carol, {})
    await notice(shop)

    assert await state_and_reason(shop, knock_id) == (S.JOINED, Reason.JOINED)


@BOTH
async def test_a_join_makes_the_welcome_due(shop: Workshop, carol: str, notice: Way) -> None:
    knock_id = await invited(shop, carol)
    shop.room.join(carol, {})
    await notice(shop)

    assert (await shop.record(knock_id)).due_at == shop.clock.now


@BOTH
async def test_a_no_is_recorded(shop: Workshop, carol: str, notice: Way) -> None:
    knock_id = await invited(shop, carol)
    shop.room.leave(carol, {})
    await notice(shop)

    assert await state_and_reason(shop, knock_id) == (S.DECLINED, Reason.DECLINED)


@BOTH
async def test_an_invite_that_a_moderator_took_back_is_recorded(
    shop: Workshop, carol: str, notice: Way
) -> None:
    knock_id = await invited(shop, carol)
    shop.room.kick(OWNER, carol, {})
    await notice(shop)

    assert await state_and_reason(shop, knock_id) == (S.RESCINDED, Reason.REMOVED)


@BOTH
async def test_a_ban_is_recorded(shop: Workshop, carol: str, notice: Way) -> None:
    knock_id = await invited(shop, carol)
    shop.room.ban(OWNER, carol, {})
    await notice(shop)

    assert await state_and_reason(shop, knock_id) == (S.RESCINDED, Reason.BANNED)


@BOTH
async def test_who_leaves_has_left(shop: Workshop, carol: str, notice: Way) -> None:
    knock_id = await invited(shop, carol)
    shop.room.join(carol, {})
    await notice(shop)
    shop.room.leave(carol, {})
    await notice(shop, before="join")

    assert await state_and_reason(shop, knock_id) == (S.LEFT, Reason.LEFT)


@BOTH
async def test_who_is_kicked_was_removed(shop: Workshop, carol: str, notice: Way) -> None:
    knock_id = await invited(shop, carol)
    shop.room.join(carol, {})
    await notice(shop)
    shop.room.kick(OWNER, carol, {})
    await notice(shop, before="join")

    assert await state_and_reason(shop, knock_id) == (S.REMOVED, Reason.REMOVED)


@BOTH
async def test_a_moderators_own_invite_decides_a_held_knock(shop: Workshop, carol: str, notice: Way) -> None:
    knock_id = await held(shop, carol)
    shop.room.invite(OWNER, carol, {}, reach=lambda: None)
    await notice(shop, before="leave")

    assert await state_and_reason(shop, knock_id) == (S.INVITED, Reason.INVITED_IN_ROOM)


@pytest.mark.promise(8)
async def test_the_ledger_names_who_did_it(shop: Workshop, carol: str) -> None:
    knock_id = await invited(shop, carol)
    shop.clock.forward(1)
    shop.room.kick(OWNER, carol, {})
    await hear(shop)

    assert (await shop.store.ledger(knock_id=knock_id))[0].actor == OWNER


@BOTH
async def test_the_same_again_changes_nothing(shop: Workshop, carol: str, notice: Way) -> None:
    knock_id = await invited(shop, carol)
    shop.room.join(carol, {})
    await notice(shop)
    before = await shop.record(knock_id), len(await shop.store.ledger())
    await notice(shop)

    assert (await shop.record(knock_id), len(await shop.store.ledger())) == before


@BOTH
async def test_what_the_bot_does_is_no_news(shop: Workshop, carol: str, notice: Way) -> None:
    knock_id = await invited(shop, carol)
    shop.room.kick(BOT, carol, {})
    await notice(shop)

    assert (await shop.record(knock_id)).state is S.INVITED


async def test_a_new_name_or_picture_is_no_join(shop: Workshop, carol: str) -> None:
    knock_id = await invited(shop, carol)
    shop.room.join(carol, {"displayname": "Carol"})
    await hear(shop, before="join")

    assert (await shop.record(knock_id)).state is S.INVITED


@pytest.mark.promise(3)
async def test_who_is_blocked_is_put_out_the_moment_they_come(shop: Workshop, carol: str) -> None:
    await shop.add_rule(carol)
    shop.room.set_membership(carol, carol, "join")
    await hear(shop, before="leave")

    assert shop.room.membership(carol) == "leave"


@pytest.mark.parametrize("membership", [None, 7, "", "ghost", ["join"], {"join": 1}])
async def test_an_odd_membership_changes_nothing(shop: Workshop, carol: str, membership: Any) -> None:
    knock_id = await invited(shop, carol)
    event = StateEvent("m.room.member", carol, carol, {"membership": membership}, {"membership": "invite"})
    await shop.room_watch.heard(shop.door, event)

    assert (await shop.record(knock_id)).state is S.INVITED


@pytest.mark.parametrize("key", ["", "carol", "@", "@:", "@a\0:b", "@ü:x", "@" + "a" * 300 + ":b"])
async def test_an_odd_id_changes_nothing(shop: Workshop, key: str) -> None:
    event = StateEvent("m.room.member", key, key, {"membership": "join"}, {})
    await shop.room_watch.heard(shop.door, event)

    assert await knocks(shop) == []


async def knocks(shop: Workshop) -> list[Knock]:
    return await shop.store.knocks_in(frozenset(S))


# People who came without a knock


async def test_who_joins_without_a_knock_gets_no_record(shop: Workshop, carol: str) -> None:
    shop.room.set_membership(carol, carol, "join")
    await hear(shop, before="invite")

    assert await knocks(shop) == []


async def test_who_joins_without_a_knock_is_put_on_record_where_everybody_is_welcomed(
    open_house: Workshop, carol: str
) -> None:
    open_house.room.set_membership(carol, carol, "join")
    await hear(open_house, before="invite")

    (knock,) = await knocks(open_house)
    assert (knock.state, knock.due_at) == (S.JOINED, open_house.clock.now)


async def test_the_same_join_is_put_on_record_once(open_house: Workshop, carol: str) -> None:
    open_house.room.set_membership(carol, carol, "join")
    await hear(open_house, before="invite")
    await hear(open_house, before="invite")

    assert len(await knocks(open_house)) == 1


async def test_the_bots_own_join_is_not_welcomed(open_house: Workshop) -> None:
    open_house.room.set_membership(BOT, BOT, "join")
    await hear(open_house, before="invite")

    assert await knocks(open_house) == []


# Two doors to one room


async def test_a_knock_is_looked_after_by_its_own_door(shop: Workshop, carol: str) -> None:
    """The other door welcomes nobody."""
    await invited(shop, carol)
    silent = Door("silent", shop.room.room_id)
    shop.doors.describe([silent, shop.door])
    shop.room.join(carol, {})
    await shop.room_watch.compare(silent)
    (knock,) = await shop.store.knocks_of(carol)

    assert (knock.state, knock.due_at) == (S.JOINED, shop.clock())


async def test_a_room_that_cannot_be_read_does_not_keep_the_others_from_being_compared(
    shop: Workshop, carol: str
) -> None:
    await invited(shop, carol)
    shop.doors.describe([Door("shut", shop.fake.add_room(OWNER).room_id), shop.door])
    shop.room.join(carol, {})

    assert await shop.room_watch.compare_all() == 1
