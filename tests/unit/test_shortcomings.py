"""What works in part only is found, and named for the owner."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.rooms import ENCRYPTION
from tests.kit.sealing import Sealing
from tests.kit.workshop import BOT, OWNER, Wishes, Workshop

from mknock.domain.doors import Door, Welcoming
from mknock.services.doors import Doors
from mknock.services.readiness import Readiness
from mknock.services.sealing import CANNOT_ENCRYPT
from mknock.services.sessions import OwnSession
from mknock.services.shortcomings import Shortcomings
from mknock.services.successors import Successors

HELLO = Welcoming(text="Hello {user}")


@pytest.fixture
async def shop(fake: FakeHomeserver, tmp_path: Path) -> AsyncIterator[Workshop]:
    async with Workshop.opened(fake, tmp_path, Wishes(welcoming=HELLO)) as workshop:
        yield workshop


def looking(shop: Workshop, encryption: Sealing | None = None) -> Shortcomings:
    session = OwnSession(shop.homeserver, signed_in=False)
    successors = Successors(shop.store, shop.homeserver, shop.doors, shop.clock)
    return Shortcomings(shop.homeserver, shop.doors, session, successors, encryption=encryption)


async def found(shop: Workshop, encryption: Sealing | None = None) -> dict[str, str]:
    return await looking(shop, encryption).of(BOT)


async def test_where_all_is_well_there_are_none(shop: Workshop) -> None:
    assert await found(shop) == {}


async def test_a_bot_without_power_cannot_invite(shop: Workshop) -> None:
    shop.set_power(0)

    assert (await found(shop))["invites"].endswith("make it a moderator there")


async def test_a_room_that_was_replaced_is_named(shop: Workshop) -> None:
    shop.room.write("m.room.tombstone", {"replacement_room": "!secret:knock.test"})

    assert "set NEW_ROOM_ID" in (await found(shop))["room"]


@pytest.mark.promise(5)
async def test_no_shortcoming_holds_a_rooms_address(shop: Workshop) -> None:
    shop.set_power(0)
    shop.room.write("m.room.tombstone", {"replacement_room": "!secret:knock.test"})
    shop.room.write("m.room.encryption", ENCRYPTION["content"])
    said = " ".join((await found(shop)).values())

    assert (shop.room.room_id in said, "!secret" in said) == (False, False)


async def test_the_session_of_somebodys_client_hears_of_no_joins(shop: Workshop) -> None:
    await shop.bot.publish_device()

    assert "mknock login" in (await found(shop))["joins"]


async def test_without_encryption_nobody_is_welcomed_in_an_encrypted_room(shop: Workshop) -> None:
    shop.room.write("m.room.encryption", ENCRYPTION["content"])

    assert (await found(shop))["welcome"] == CANNOT_ENCRYPT


async def test_what_keeps_encryption_from_working_is_passed_on(shop: Workshop) -> None:
    shop.room.write("m.room.encryption", ENCRYPTION["content"])

    assert await found(shop, Sealing(problem="set RECOVERY_KEY")) == {"welcome": "set RECOVERY_KEY"}


async def test_readiness_takes_them_over_and_lets_them_go(shop: Workshop) -> None:
    readiness = Readiness(shop.store, shop.homeserver, shop.doors, looking(shop))
    shop.set_power(0)
    await readiness.tick(shop.clock())
    limited = dict(readiness.limited)
    shop.set_power(50)
    await readiness.tick(shop.clock())

    assert (list(limited), readiness.limited, readiness.homeserver_problem) == (["invites"], {}, "")


async def test_not_being_in_the_room_is_told_as_such(shop: Workshop) -> None:
    readiness = Readiness(shop.store, shop.homeserver, shop.doors, looking(shop))
    shop.room.kick("@owner:knock.test", BOT, {})
    await readiness.tick(shop.clock())

    assert "is not in the room" in readiness.homeserver_problem


async def test_a_process_that_does_not_look_itself_learns_where_the_doors_lead(shop: Workshop) -> None:
    new = shop.fake.add_room(OWNER, BOT)
    new.write("m.room.create", {"predecessor": {"room_id": shop.room.room_id}})
    shop.room.write("m.room.tombstone", {"replacement_room": new.room_id})
    await Readiness(shop.store, shop.homeserver, shop.doors, looking(shop)).tick(shop.clock())
    doors = Doors(shop.doors.as_described[0])
    successors = Successors(shop.store, shop.homeserver, doors, shop.clock)
    other = Readiness(shop.store, shop.homeserver, doors, replace(looking(shop), successors=successors))
    await other.recall(shop.clock())

    assert doors.first.room_id == new.room_id


async def test_one_door_of_two_without_the_bot_is_told_and_knock_is_ready(shop: Workshop) -> None:
    shop.doors.describe([shop.door, Door("shut", shop.fake.add_room(OWNER).room_id)])
    readiness = Readiness(shop.store, shop.homeserver, shop.doors, looking(shop))
    await readiness.tick(shop.clock())

    assert readiness.homeserver_problem == ""
    assert "is not in the room of door 'shut'" in readiness.limited["room"]
