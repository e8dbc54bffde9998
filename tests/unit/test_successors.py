"""A replaced room is followed when old and new name each other and Knock may invite there; else its door holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.fake_homeserver.rooms import Room
from tests.kit.workshop import BOT, OWNER, Workshop

from mknock.domain.doors import Door
from mknock.domain.knocks import KnockState, Reason
from mknock.services.doors import Doors
from mknock.services.successors import SETTLING, Successors

S = KnockState


@dataclass
class Upgrade:
    """A workshop whose room can be replaced."""

    shop: Workshop

    @property
    def successors(self) -> Successors:
        """As they are after a restart."""
        return Successors(self.shop.store, self.shop.homeserver, self.shop.doors, self.shop.clock)

    def successor(self, *, of: Room | None = None, bot: str | None = BOT, says: str | None = None) -> Room:
        """Replace a room by a new one, which says what it replaces."""
        old = of or self.shop.room
        new = self.shop.fake.add_room(OWNER, bot)
        predecessor = {"predecessor": {"room_id": old.room_id if says is None else says}}
        new.write("m.room.create", {"room_version": new.version, **(predecessor if says != "" else {})})
        old.write("m.room.tombstone", {"body": "moved", "replacement_room": new.room_id})
        return new

    async def look(self) -> dict[str, str]:
        return await self.successors.look(BOT)

    async def settle(self) -> None:
        """Look until there is nothing more to bring along."""
        for _ in range(3):
            await self.look()
            self.shop.clock.forward(SETTLING + 1)

    @property
    def leads_to(self) -> str:
        return self.shop.doors.first.room_id

    async def knocks(self, name: str, **changes: Any) -> str:
        """Somebody knocks at the door as it is."""
        self.shop.door = replace(self.shop.doors.first, **changes)
        await self.shop.outcome(self.shop.fake.add_user(name).user_id)
        return (await self.shop.store.knocks_of(f"@{name}:knock.test"))[0].id


@pytest.fixture
async def upgrade(fake: FakeHomeserver, tmp_path: Path) -> AsyncIterator[Upgrade]:
    async with Workshop.opened(fake, tmp_path) as shop:
        yield Upgrade(shop)


async def actions(upgrade: Upgrade, knock_id: str = "") -> list[str]:
    return [entry.action for entry in await upgrade.shop.store.ledger(knock_id=knock_id)]


# --- where the door leads


async def test_a_room_that_was_not_replaced_stays(upgrade: Upgrade) -> None:
    assert (await upgrade.look(), upgrade.leads_to) == ({}, upgrade.shop.room.room_id)


async def test_a_successor_that_names_its_predecessor_is_followed(upgrade: Upgrade) -> None:
    new = upgrade.successor()

    assert (await upgrade.look(), upgrade.leads_to) == ({}, new.room_id)


async def test_successors_of_successors_are_followed(upgrade: Upgrade) -> None:
    newest = upgrade.successor(of=upgrade.successor())
    await upgrade.look()

    assert upgrade.leads_to == newest.room_id


async def test_a_room_that_is_replaced_again_later_is_followed_again(upgrade: Upgrade) -> None:
    new = upgrade.successor()
    await upgrade.look()
    newest = upgrade.successor(of=new)
    await upgrade.look()

    assert upgrade.leads_to == newest.room_id


async def test_following_is_in_the_ledger_once(upgrade: Upgrade) -> None:
    upgrade.successor()
    await upgrade.settle()

    assert await actions(upgrade) == ["follow"]


async def test_after_a_restart_the_door_leads_there_without_asking(upgrade: Upgrade) -> None:
    new = upgrade.successor()
    await upgrade.look()
    upgrade.shop.fake.fail(down=True)
    doors = Doors(upgrade.shop.doors.as_described[0])
    await Successors(upgrade.shop.store, upgrade.shop.homeserver, doors, upgrade.shop.clock).recall()

    assert doors.first.room_id == new.room_id


async def test_another_room_from_the_owner_wins(upgrade: Upgrade) -> None:
    upgrade.successor()
    await upgrade.settle()
    chosen = upgrade.shop.fake.add_room(OWNER, BOT)
    upgrade.shop.doors.describe([replace(upgrade.shop.doors.first, room_id=chosen.room_id)])
    await upgrade.look()

    assert upgrade.leads_to == chosen.room_id


@pytest.mark.promise(5)
async def test_no_sentence_and_no_ledger_line_holds_an_address(upgrade: Upgrade) -> None:
    new = upgrade.successor(bot=None)
    said = " ".join((await upgrade.look()).values()) + str(await upgrade.shop.store.ledger())

    assert (new.room_id in said, upgrade.shop.room.room_id in said) == (False, False)


# --- where it does not


async def refused(upgrade: Upgrade) -> str:
    """Why the room is not followed to its successor."""
    said = (await upgrade.look())["main"]
    assert (upgrade.leads_to, upgrade.shop.doors.first.replaced) == (upgrade.shop.room.room_id, True)
    return said


async def test_a_room_that_names_another_predecessor_is_not_followed(upgrade: Upgrade) -> None:
    upgrade.successor(says="!other:knock.test")

    assert "does not name it as its predecessor; or set NEW_ROOM_ID" in await refused(upgrade)


async def test_a_room_that_names_no_predecessor_is_not_followed(upgrade: Upgrade) -> None:
    upgrade.successor(says="")

    assert "does not name it" in await refused(upgrade)


async def test_a_room_without_the_bot_is_not_followed(upgrade: Upgrade) -> None:
    upgrade.successor(bot=None)

    assert f"{BOT} is not in the new room: invite it there" in await refused(upgrade)


async def test_a_room_where_the_bot_may_not_invite_is_not_followed(upgrade: Upgrade) -> None:
    upgrade.successor().override_levels({"invite": 50, "users": {}})

    assert "make it a moderator there" in await refused(upgrade)


@pytest.mark.parametrize("named", [{}, {"replacement_room": 5}, {"replacement_room": "#alias:knock.test"}])
async def test_a_tombstone_that_names_no_room_holds_the_door(upgrade: Upgrade, named: dict[str, Any]) -> None:
    upgrade.shop.room.write("m.room.tombstone", named)

    assert "does not say by which room" in await refused(upgrade)


async def test_two_rooms_that_name_each_other_are_not_walked_for_ever(upgrade: Upgrade) -> None:
    new = upgrade.successor()
    new.write("m.room.tombstone", {"replacement_room": upgrade.shop.room.room_id})
    await upgrade.look()

    assert (upgrade.leads_to, upgrade.shop.doors.first.replaced) == (new.room_id, True)


async def test_where_the_owner_names_the_room_in_the_file_that_is_what_they_are_told(
    upgrade: Upgrade,
) -> None:
    upgrade.shop.doors.describe([replace(upgrade.shop.doors.first, setting="room in [doors.main]")])
    upgrade.successor(bot=None)

    assert "set room in [doors.main]" in await refused(upgrade)


async def test_one_door_that_cannot_be_looked_at_does_not_hide_the_others(upgrade: Upgrade) -> None:
    shut = upgrade.shop.fake.add_room(OWNER)
    upgrade.shop.doors.describe([Door("shut", shut.room_id), *upgrade.shop.doors.as_described])
    new = upgrade.successor()
    await upgrade.look()

    open_door = upgrade.shop.doors.get("main")
    assert open_door is not None
    assert open_door.room_id == new.room_id


# --- the knocks


async def test_new_knocks_go_to_the_new_room(upgrade: Upgrade) -> None:
    new = upgrade.successor()
    await upgrade.look()
    await upgrade.knocks("carol")
    await upgrade.shop.work()

    assert (new.membership("@carol:knock.test"), upgrade.shop.room.membership("@carol:knock.test")) == (
        "invite",
        None,
    )


async def test_an_admitted_knock_goes_to_the_new_room(upgrade: Upgrade) -> None:
    await upgrade.knocks("carol")
    new = upgrade.successor()
    await upgrade.look()
    await upgrade.shop.work()

    assert new.membership("@carol:knock.test") == "invite"


async def test_who_was_invited_to_the_old_room_is_invited_to_the_new_one_instead(upgrade: Upgrade) -> None:
    await upgrade.knocks("carol")
    await upgrade.shop.work()
    new = upgrade.successor()
    await upgrade.look()
    await upgrade.shop.work()

    assert (new.membership("@carol:knock.test"), upgrade.shop.room.membership("@carol:knock.test")) == (
        "invite",
        "leave",
    )


async def test_what_a_moderator_holds_stays_held_and_comes_along(upgrade: Upgrade) -> None:
    knock_id = await upgrade.knocks("carol")
    await upgrade.shop.store.change(
        knock_id,
        lambda knock: replace(knock.moved_to(S.HELD, at=knock.updated_at), reason=Reason.REVIEW),
        (await upgrade.shop.store.ledger())[0],
    )
    new = upgrade.successor()
    await upgrade.look()
    held = await upgrade.shop.record(knock_id)

    assert (held.state, held.room_id) == (S.HELD, new.room_id)


@pytest.mark.promise(4)
async def test_who_said_no_to_the_old_room_is_not_invited_to_the_new_one_on_a_strangers_word(
    upgrade: Upgrade,
) -> None:
    await upgrade.knocks("carol")
    await upgrade.shop.work()
    upgrade.shop.room.leave("@carol:knock.test", {})
    await upgrade.shop.room_watch.compare_all()
    new = upgrade.successor()
    await upgrade.settle()
    await upgrade.knocks("carol")
    await upgrade.shop.work()

    assert new.membership("@carol:knock.test") is None


async def test_a_knock_that_came_in_for_the_old_room_meanwhile_is_brought_along_later(
    upgrade: Upgrade,
) -> None:
    new = upgrade.successor()
    await upgrade.look()
    knock_id = await upgrade.knocks("carol", room_id=upgrade.shop.room.room_id)
    await upgrade.look()

    assert (await upgrade.shop.record(knock_id)).room_id == new.room_id


async def test_who_knocked_at_both_rooms_has_one_open_knock(upgrade: Upgrade) -> None:
    new = upgrade.successor()
    await upgrade.look()
    await upgrade.knocks("carol")
    await upgrade.knocks("carol", room_id=upgrade.shop.room.room_id)
    await upgrade.settle()
    known = await upgrade.shop.store.knocks_of("@carol:knock.test", states=frozenset({S.HELD, S.ADMITTED}))

    assert [knock.room_id for knock in known] == [new.room_id]


async def test_once_all_are_brought_along_nobody_is_looked_for_any_more(upgrade: Upgrade) -> None:
    upgrade.successor()
    await upgrade.settle()
    kept = await upgrade.shop.store.secret("standings")

    assert '"settled": true' in (kept or "")


# --- holding


async def test_where_the_room_cannot_be_followed_new_knocks_are_held(upgrade: Upgrade) -> None:
    upgrade.successor(bot=None)
    await upgrade.look()
    knock = await upgrade.shop.record(await upgrade.knocks("carol"))

    assert (knock.state, knock.reason) == (S.HELD, Reason.ROOM_REPLACED)


async def test_what_was_admitted_before_is_held_instead_of_invited(upgrade: Upgrade) -> None:
    knock_id = await upgrade.knocks("carol")
    upgrade.successor(bot=None)
    await upgrade.look()
    await upgrade.shop.work()
    knock = await upgrade.shop.record(knock_id)

    assert (knock.state, knock.reason, upgrade.shop.invite_calls("@carol:knock.test")) == (
        S.HELD,
        Reason.ROOM_REPLACED,
        0,
    )


async def test_who_was_held_for_that_is_invited_once_the_room_can_be_followed(upgrade: Upgrade) -> None:
    new = upgrade.successor(bot=None)
    await upgrade.look()
    await upgrade.knocks("carol")
    new.invite(OWNER, BOT, {}, reach=lambda: None)
    new.join(BOT, {})
    await upgrade.look()
    await upgrade.shop.work()

    assert new.membership("@carol:knock.test") == "invite"


async def test_who_was_held_for_that_is_invited_once_the_owner_names_the_room(upgrade: Upgrade) -> None:
    new = upgrade.successor(says="")
    await upgrade.look()
    await upgrade.knocks("carol")
    upgrade.shop.doors.describe([replace(upgrade.shop.doors.as_described[0], room_id=new.room_id)])
    await upgrade.look()
    await upgrade.shop.work()

    assert new.membership("@carol:knock.test") == "invite"


async def test_who_is_on_the_block_list_by_then_is_not_invited(upgrade: Upgrade) -> None:
    new = upgrade.successor(bot=None)
    await upgrade.look()
    await upgrade.knocks("carol")
    await upgrade.shop.add_rule("@carol:knock.test")
    new.invite(OWNER, BOT, {}, reach=lambda: None)
    new.join(BOT, {})
    await upgrade.look()
    await upgrade.shop.work()

    assert new.membership("@carol:knock.test") is None
