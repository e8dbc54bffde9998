"""The room of a list that is no longer wanted is left, sooner or later, unless Knock is needed there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.policy_room import PolicyRoom, subscribed
from tests.kit.workshop import BOT, Workshop

from mknock.ports import Entry
from mknock.services.list_leaving import AGAIN, ListLeaver
from mknock.services.sessions import OwnSession
from mknock.services.subscriptions import Subscriptions


@pytest.fixture
async def shop(fake: FakeHomeserver, tmp_path: Path) -> AsyncIterator[Workshop]:
    async with Workshop.opened(fake, tmp_path) as workshop:
        yield workshop


@pytest.fixture
async def room(shop: Workshop) -> PolicyRoom:
    """The room of a list that Knock was subscribed to until now."""
    room = PolicyRoom.made(shop.fake, BOT)
    shop.fake.aliases["#spam:knock.test"] = room.room.room_id
    await subscribed(shop.store, room)
    await unsubscribed(shop)
    return room


async def unsubscribed(shop: Workshop, name: str = "spam") -> None:
    assert await shop.store.remove_list(name, Entry(at=1.0, actor="cli", action="unsubscribe"))


def leaver(shop: Workshop, published: str = "", *, signed_in: bool = True) -> ListLeaver:
    session = OwnSession(shop.homeserver, signed_in=signed_in)
    return ListLeaver(shop.store, shop.homeserver, shop.doors, shop.clock, session, published=published)


async def told(shop: Workshop) -> list[tuple[str, str, str]]:
    return [
        (line.actor, line.before, line.detail) for line in await shop.store.ledger() if line.action == "leave"
    ]


async def test_the_room_is_left_and_the_ledger_says_so(shop: Workshop, room: PolicyRoom) -> None:
    assert await leaver(shop).tick(0.0) == 1
    assert room.room.membership(BOT) == "leave"
    assert await told(shop) == [("knock", "spam", "Knock has left the list's room")]


async def test_it_is_left_once(shop: Workshop, room: PolicyRoom) -> None:
    leaving = leaver(shop)
    await leaving.tick(0.0)
    room.room.set_membership(BOT, BOT, "join")  # somebody wants Knock there, for reasons of their own
    assert await leaving.tick(1.0) == 0
    assert room.room.membership(BOT) == "join"


async def test_an_invitation_that_was_never_accepted_is_declined(shop: Workshop, room: PolicyRoom) -> None:
    room.room.set_membership("@keeper:knock.test", BOT, "invite")
    await leaver(shop).tick(0.0)
    assert room.room.membership(BOT) == "leave"


async def test_where_knock_no_longer_is_there_is_nothing_to_leave(shop: Workshop, room: PolicyRoom) -> None:
    room.room.set_membership("@keeper:knock.test", BOT, "ban")
    assert await leaver(shop).tick(0.0) == 1
    assert await shop.store.rooms_to_leave() == []
    assert room.room.membership(BOT) == "ban"


# Where Knock is needed


async def test_the_room_that_knock_invites_to_is_not_left(shop: Workshop) -> None:
    await subscribed(shop.store, PolicyRoom(shop.room))
    await unsubscribed(shop)
    await leaver(shop).tick(0.0)
    assert shop.room.membership(BOT) == "join"
    assert await told(shop) == [("knock", "spam", "Knock stays: it invites to that room")]


@pytest.mark.parametrize("by", ["alias", "id"])
async def test_the_room_that_knock_publishes_into_is_not_left(
    shop: Workshop, room: PolicyRoom, by: str
) -> None:
    await leaver(shop, "#spam:knock.test" if by == "alias" else room.room.room_id).tick(0.0)
    assert room.room.membership(BOT) == "join"


async def test_a_published_room_that_does_not_exist_keeps_knock_nowhere(
    shop: Workshop, room: PolicyRoom
) -> None:
    await leaver(shop, "#nothing:knock.test").tick(0.0)
    assert room.room.membership(BOT) == "leave"


async def test_a_room_that_was_subscribed_to_again_is_not_left(shop: Workshop, room: PolicyRoom) -> None:
    await subscribed(shop.store, room, "again")
    assert await leaver(shop).tick(0.0) == 0
    assert room.room.membership(BOT) == "join"


async def test_where_somebody_gave_knock_power_it_stays(shop: Workshop, room: PolicyRoom) -> None:
    levels = {"users": {"@keeper:knock.test": 100, BOT: 50}}
    room.room.write("m.room.power_levels", levels, "")
    await leaver(shop).tick(0.0)
    assert room.room.membership(BOT) == "join"


async def test_with_the_token_of_somebodys_client_nothing_is_left(shop: Workshop, room: PolicyRoom) -> None:
    await shop.bot.publish_device()
    await leaver(shop, signed_in=False).tick(0.0)
    assert room.room.membership(BOT) == "join"


# With a fault


async def test_while_the_homeserver_is_away_it_is_tried_again(shop: Workshop, room: PolicyRoom) -> None:
    leaving = leaver(shop)
    shop.fake.fail(down=True)
    assert await leaving.tick(0.0) == 0
    shop.fake.mend()
    assert await leaving.tick(AGAIN - 1) == 0  # not at once again
    assert await leaving.tick(AGAIN) == 1
    assert room.room.membership(BOT) == "leave"


async def test_after_a_restart_it_is_left_all_the_same(shop: Workshop, room: PolicyRoom) -> None:
    shop.fake.fail(down=True)
    await leaver(shop).tick(0.0)
    shop.fake.mend()
    await leaver(shop).tick(0.0)
    assert room.room.membership(BOT) == "leave"


async def test_a_name_that_is_taken_by_another_list_does_not_keep_knock_in_the_room(
    shop: Workshop, room: PolicyRoom
) -> None:
    other = PolicyRoom.made(shop.fake, BOT)
    await subscribed(shop.store, other, "spam")
    await leaver(shop).tick(0.0)
    assert (room.room.membership(BOT), other.room.membership(BOT)) == ("leave", "join")


async def test_who_died_after_leaving_settles_it_once_more(shop: Workshop, room: PolicyRoom) -> None:
    await shop.homeserver.leave(room.room.room_id)
    assert await leaver(shop).tick(0.0) == 1
    assert (room.room.membership(BOT), await shop.store.rooms_to_leave()) == ("leave", [])
    assert len(await told(shop)) == 1


async def test_whoever_subscribes_while_the_room_is_being_left_is_in_it_in_the_end(
    shop: Workshop, room: PolicyRoom
) -> None:
    room.room.write("m.room.join_rules", {"join_rule": "public"}, "")
    restore = partial(shop.moderation.restore, actor="knock")
    subscriptions = Subscriptions(shop.store, shop.homeserver, shop.doors, shop.clock, restore=restore)
    wanted = replace((await shop.store.policy_lists())[0], removed=False)
    await asyncio.gather(leaver(shop).tick(0.0), subscriptions.subscribe(wanted, actor="cli"))
    assert room.room.membership(BOT) == "join"
