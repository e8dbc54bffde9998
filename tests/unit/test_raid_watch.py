"""Moderators are told of raids once, whatever fails meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.fake_homeserver.rooms import Room
from tests.kit.workshop import BOT, OWNER, Workshop

from mknock.domain.raids import Cause, Raid, Told
from mknock.services.doors import Doors
from mknock.services.notices import Notices
from mknock.services.raid_watch import AGAIN, GIVEN_UP, RaidWatch


@dataclass
class Scene:
    """A raid by hand, and the room of the moderators."""

    shop: Workshop
    room: Room
    watch: RaidWatch

    def told(self) -> list[str]:
        return [
            event.content["body"].splitlines()[0]
            for event in self.room.timeline
            if event.type == "m.room.message"
        ]

    async def look(self, later: float = 0.0) -> int:
        self.shop.clock.forward(later)
        return await self.watch.tick(self.shop.clock.now)

    def another_process(self) -> RaidWatch:
        return watch_of(self.shop, self.room)


def watch_of(shop: Workshop, room: Room) -> RaidWatch:
    doors = Doors(replace(shop.door, moderators_room=room.room_id))
    return RaidWatch(shop.store, doors, Notices(shop.store, shop.homeserver, shop.clock), shop.clock)


@pytest.fixture
async def scene(fake: FakeHomeserver, tmp_path: Path) -> AsyncIterator[Scene]:
    async with Workshop.opened(fake, tmp_path) as shop:
        room = fake.add_room(OWNER, BOT)
        now = shop.clock.now
        await shop.store.start_raid(
            Raid(
                id="01R",
                door="main",
                cause=Cause.MODERATOR,
                started_at=now,
                started_by="cli",
                ends_at=now + 60,
            )
        )
        yield Scene(shop, room, watch_of(shop, room))


async def test_the_beginning_and_the_end_are_told_once_each(scene: Scene) -> None:
    for later in (0, 1, 59, 1, 100):
        await scene.look(later)
    begun, ended = scene.told()
    assert begun.startswith("Door main is being raided (a moderator said so).")
    assert ended.startswith(
        "The raid at door main is over: it has been calm. It lasted 1 minutes; 0 knocks were held"
    )
    assert await scene.shop.store.untold_raids() == []


async def test_an_outage_delays_what_is_told(scene: Scene) -> None:
    scene.shop.fake.fail("send", status=502, times=1)
    await scene.look()
    assert scene.told() == []
    await scene.look(AGAIN - 1)
    assert scene.told() == []
    await scene.look(1)
    assert len(scene.told()) == 1


async def test_what_was_sent_just_before_a_crash_is_not_sent_again(scene: Scene) -> None:
    scene.shop.fake.fail("send", status=502, acts=True, times=1)
    await scene.look()
    await scene.another_process().tick(scene.shop.clock.now)
    assert len(scene.told()) == 1


async def test_a_pause_is_kept(scene: Scene) -> None:
    await scene.shop.store.pause("homeserver", scene.shop.clock.now + 30)
    await scene.look()
    assert scene.told() == []


async def test_a_beginning_that_could_not_be_told_gives_way_to_the_end(scene: Scene) -> None:
    scene.shop.fake.fail("send", status=502, times=1)
    await scene.look()
    await scene.look(100)
    assert [line[:8] for line in scene.told()] == ["The raid"]


async def test_a_room_that_is_closed_to_us_is_given_up_after_a_day(scene: Scene) -> None:
    scene.shop.fake.fail("send", status=403)
    await scene.look()
    await scene.look(100)
    assert len(await scene.shop.store.untold_raids()) == 1
    await scene.look(GIVEN_UP)
    assert await scene.shop.store.untold_raids() == []


async def test_without_a_room_nothing_is_told_and_the_raid_ends_all_the_same(scene: Scene) -> None:
    watch = RaidWatch(
        scene.shop.store,
        scene.shop.doors,
        Notices(scene.shop.store, scene.shop.homeserver, scene.shop.clock),
        scene.shop.clock,
    )
    await watch.tick(scene.shop.clock.now)
    await watch.tick(scene.shop.clock.now + 61)
    (raid,) = await scene.shop.store.raids()
    assert (raid.ended_by, raid.told) == ("knock", Told.ENDED)
    assert scene.told() == []
