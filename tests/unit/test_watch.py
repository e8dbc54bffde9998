"""Following /sync: where it goes on, and what it does about what it hears."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.workshop import BOT, OWNER, Workshop

from mknock.domain.doors import Door
from mknock.domain.knocks import KnockState
from mknock.services.sessions import OwnSession
from mknock.workers.watch import Watch

S = KnockState


@dataclass
class Following:
    """A watch on the workshop's room, and what it called for."""

    shop: Workshop
    called: list[str] = field(default_factory=list)

    def watch(self, *, signed_in: bool = True) -> Watch:
        """A watch as it is after a restart."""
        shop = self.shop
        session = OwnSession(shop.homeserver, signed_in=signed_in)
        return Watch(
            shop.store,
            shop.homeserver,
            shop.doors,
            shop.room_watch,
            session,
            hurry=self._hurry,
            on_change=self._change,
            on_trouble=lambda: self.called.append("trouble"),
        )

    async def hear(self) -> list[str]:
        """One step; what it called for."""
        self.called.clear()
        await self.watch().tick(self.shop.clock())
        return list(self.called)

    async def _hurry(self, user_id: str) -> None:
        self.called.append(f"hurry {user_id}")

    async def _change(self) -> None:
        self.called.append("change")


@pytest.fixture
async def following(fake: FakeHomeserver, tmp_path: Path) -> AsyncIterator[Following]:
    """A watch that has heard where it is."""
    async with Workshop.opened(fake, tmp_path) as shop:
        following = Following(shop)
        await following.hear()
        yield following


async def invited(following: Following) -> str:
    return (await following.shop.delivered(following.shop.fake.add_user("carol").user_id)).id


async def state(following: Following, knock_id: str) -> KnockState:
    return (await following.shop.record(knock_id)).state


async def test_a_join_is_heard(following: Following) -> None:
    knock_id = await invited(following)
    following.shop.room.join("@carol:knock.test", {})
    await following.hear()

    assert await state(following, knock_id) is S.JOINED


async def test_what_happened_while_nobody_listened_is_heard_later(following: Following) -> None:
    knock_id = await invited(following)
    following.shop.room.join("@carol:knock.test", {})
    following.shop.room.leave("@carol:knock.test", {})
    await following.hear()

    assert await state(following, knock_id) is S.LEFT


async def test_a_watch_that_dies_in_the_middle_hears_the_same_again(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    knock_id = await invited(following)
    following.shop.room.join("@carol:knock.test", {})

    async def dies(*_: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(following.shop.room_watch, "heard", dies)
        with pytest.raises(RuntimeError):
            await following.hear()
    await following.hear()

    assert await state(following, knock_id) is S.JOINED


async def test_a_position_that_the_homeserver_has_forgotten_leads_to_a_comparison(
    following: Following,
) -> None:
    knock_id = await invited(following)
    following.shop.room.join("@carol:knock.test", {})
    following.shop.fake.fail("sync", status=400, body={"errcode": "M_UNKNOWN"}, times=1)
    await following.hear()

    assert await state(following, knock_id) is S.JOINED


async def test_without_a_session_of_our_own_nobody_listens(following: Following) -> None:
    await following.shop.bot.publish_device()
    asked_before = len(following.shop.fake.calls_of("sync"))

    assert await following.watch(signed_in=False).tick(following.shop.clock()) == 0
    assert len(following.shop.fake.calls_of("sync")) == asked_before


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("m.room.power_levels", {"users": {BOT: 50, OWNER: 100}, "invite": 0}),
        ("m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"}),
        ("m.room.tombstone", {"body": "", "replacement_room": "!other:knock.test"}),
        ("m.room.join_rules", {"join_rule": "knock"}),
    ],
)
async def test_a_change_of_the_rooms_settings_is_heard(
    following: Following, kind: str, content: dict[str, object]
) -> None:
    following.shop.room.write(kind, content)

    assert await following.hear() == ["change"]


async def test_who_comes_and_goes_is_no_change_of_settings(following: Following) -> None:
    await invited(following)
    following.shop.room.join("@carol:knock.test", {})

    assert await following.hear() == []


async def test_being_thrown_out_is_trouble(following: Following) -> None:
    following.shop.room.kick(OWNER, BOT, {})

    assert "trouble" in await following.hear()


async def test_a_homeserver_that_does_not_answer_is_trouble(following: Following) -> None:
    following.shop.fake.fail("sync", down=True)

    assert await following.hear() == ["trouble"]


async def test_whose_devices_change_is_hurried(following: Following) -> None:
    carol = following.shop.fake.log_in("carol")
    following.shop.room.invite(OWNER, carol.user_id, {}, reach=lambda: None)
    following.shop.room.join(carol.user_id, {})
    await following.hear()
    await carol.publish_device()

    assert await following.hear() == [f"hurry {carol.user_id}"]


async def test_a_room_that_nobody_listened_to_is_compared_when_its_door_is_added(
    following: Following,
) -> None:
    shop, watch = following.shop, following.watch()
    knock_id = await invited(following)
    described = shop.doors.as_described
    other = shop.fake.add_room(OWNER, BOT)
    shop.doors.describe([Door("other", other.room_id)])
    await watch.tick(shop.clock())
    shop.room.join("@carol:knock.test", {})
    other.set_membership(
        OWNER, "@dave:knock.test", "invite"
    )  # or the homeserver would wait for news of that room
    await watch.tick(shop.clock())
    shop.doors.describe(described)
    shop.room.set_membership(OWNER, "@dave:knock.test", "invite")
    await watch.tick(shop.clock())

    assert await state(following, knock_id) is S.JOINED


async def test_a_room_that_may_not_be_read_does_not_keep_others_from_being_heard(
    following: Following,
) -> None:
    shop = following.shop
    knock_id = await invited(following)
    shop.doors.describe([Door("shut", shop.fake.add_room(OWNER).room_id), *shop.doors.as_described])
    shop.room.join("@carol:knock.test", {})
    shop.fake.fail("sync", status=400, body={"errcode": "M_UNKNOWN"}, times=1)
    await following.hear()

    assert await state(following, knock_id) is S.JOINED
