"""Subscribing: which room is meant, going in, and what the list would do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.policy_room import KEEPER, SERVER_RULE, PolicyRoom, subscribed
from tests.kit.workshop import BOT, OWNER, Workshop

from mknock.domain.errors import NotFound
from mknock.domain.policy_lists import PolicyList
from mknock.ports import RoomAddress
from mknock.services.list_findings import ListFindings
from mknock.services.list_following import NotInTheRoom
from mknock.services.subscriptions import NotSubscribed, Subscriptions


@pytest.fixture
async def shop(fake: FakeHomeserver, tmp_path: Path) -> AsyncIterator[Workshop]:
    async with Workshop.opened(fake, tmp_path) as workshop:
        yield workshop


@pytest.fixture
def room(shop: Workshop) -> PolicyRoom:
    room = PolicyRoom.made(shop.fake, BOT)
    shop.fake.aliases["#spam:knock.test"] = room.room.room_id
    return room


def subscriptions(shop: Workshop, published: str = "") -> Subscriptions:
    restore = partial(shop.moderation.restore, actor="knock")
    return Subscriptions(
        shop.store, shop.homeserver, shop.doors, shop.clock, published=published, restore=restore
    )


def wanted(room: PolicyRoom, name: str = "spam", *, allow_wide: bool = False) -> PolicyList:
    return PolicyList(name, room.room.room_id, "", False, allow_wide, "cli", 0.0)


# Which room


async def test_an_alias_is_resolved(shop: Workshop, room: PolicyRoom) -> None:
    found = await subscriptions(shop).find("#spam:knock.test", ["else.where"])

    assert found == RoomAddress(room.room.room_id, ("else.where", "knock.test"))


async def test_of_an_id_the_server_is_tried(shop: Workshop) -> None:
    assert await subscriptions(shop).find("!old:knock.test") == RoomAddress(
        "!old:knock.test", ("knock.test",)
    )


@pytest.mark.parametrize("room", ["#nothing:knock.test", "spam", "#spam", "@person:knock.test", ""])
async def test_what_names_no_room_is_not_found(shop: Workshop, room: str) -> None:
    with pytest.raises(NotFound):
        await subscriptions(shop).find(room)


@pytest.mark.parametrize("published", ["#spam:knock.test", ""])
async def test_our_own_list_is_not_subscribed_to(shop: Workshop, room: PolicyRoom, published: str) -> None:
    with pytest.raises(NotSubscribed, match="POLICY_LIST_ROOM"):
        await subscriptions(shop, published or room.room.room_id).find("#spam:knock.test")


async def test_a_doors_room_is_no_list(shop: Workshop) -> None:
    with pytest.raises(NotSubscribed):
        await subscriptions(shop).find(shop.room.room_id)


# Going in


async def test_where_knock_is_it_need_not_go(shop: Workshop, room: PolicyRoom) -> None:
    assert not await subscriptions(shop).enter(RoomAddress(room.room.room_id))


async def test_an_open_room_is_entered(shop: Workshop) -> None:
    room = shop.fake.add_room(KEEPER, join_rule="public")

    assert await subscriptions(shop).enter(RoomAddress(room.room_id, ("knock.test",)))
    assert room.membership(BOT) == "join"


async def test_an_invitation_is_accepted(shop: Workshop) -> None:
    room = shop.fake.add_room(KEEPER)
    room.invite(KEEPER, BOT, {}, reach=lambda: None)
    await subscriptions(shop).enter(RoomAddress(room.room_id))

    assert room.membership(BOT) == "join"


@pytest.mark.promise(5)
async def test_a_closed_room_asks_for_an_invitation(shop: Workshop) -> None:
    room = shop.fake.add_room(KEEPER)
    with pytest.raises(NotSubscribed, match=f"invite {BOT}") as refused:
        await subscriptions(shop).enter(RoomAddress(room.room_id))

    assert room.room_id not in str(refused.value)


# Subscribing


async def test_a_name_is_taken_once(shop: Workshop, room: PolicyRoom) -> None:
    await subscriptions(shop).subscribe(wanted(room), actor="cli")
    other = PolicyRoom.made(shop.fake, BOT)
    with pytest.raises(NotSubscribed):
        await subscriptions(shop).subscribe(wanted(other), actor="cli")


async def test_unsubscribing_drops_the_rules(shop: Workshop, room: PolicyRoom) -> None:
    await subscriptions(shop).subscribe(wanted(room), actor="cli")
    with pytest.raises(NotFound):
        await subscriptions(shop).unsubscribe("other", actor="cli")

    assert await subscriptions(shop).unsubscribe("spam", actor="cli") == 0
    assert [line.action for line in await shop.store.ledger()] == ["unsubscribe", "subscribe"]


# Looking ahead


async def test_the_preview_counts_kinds_and_what_is_left_out(shop: Workshop, room: PolicyRoom) -> None:
    room.write("@mallory:evil.example")
    room.write("@spam*:*")
    room.write("evil.example", kind=SERVER_RULE)
    room.write("@good:evil.example", recommendation="org.matrix.mjolnir.allow")
    room.write("!room:evil.example", kind="m.policy.rule.room")
    room.write("*")
    preview = await subscriptions(shop).preview(wanted(room))

    assert preview.rules == 4
    assert preview.kinds == {"people": 1, "patterns of people": 1, "servers": 1, "people to let in": 1}
    assert sum(preview.left_out.values()) == 2
    assert preview.hits == []


async def test_the_preview_names_whom_it_would_hit(shop: Workshop, room: PolicyRoom) -> None:
    member, waiting, other = shop.people(3)
    shop.room.set_membership(member, member, "join")
    await shop.knock(waiting)
    await shop.knock(other)
    for person in (member, waiting, OWNER, BOT):
        room.write(person)
    preview = await subscriptions(shop).preview(wanted(room))

    assert {(hit.user_id, hit.where, hit.spared) for hit in preview.hits} == {
        (member, "join", ""),
        (waiting, "waiting", ""),
        (OWNER, "join", "moderator"),
        (BOT, "join", "Knock itself"),
    }


async def test_whom_a_wide_rule_hits_is_told_where_it_would_count(shop: Workshop, room: PolicyRoom) -> None:
    (person,) = shop.people(1)
    await shop.knock(person)
    room.write("@*:knock.test")
    hits = [(await subscriptions(shop).preview(wanted(room, allow_wide=wide))).hits for wide in (False, True)]

    assert person not in {hit.user_id for hit in hits[0]}
    assert person in {hit.user_id for hit in hits[1]}


async def test_a_preview_changes_nothing(shop: Workshop, room: PolicyRoom) -> None:
    room.write("@mallory:evil.example")
    await subscriptions(shop).preview(wanted(room))

    assert (await shop.store.rules(), await shop.store.policy_lists()) == ([], [])


async def test_a_room_that_cannot_be_looked_at_is_told_of(shop: Workshop, room: PolicyRoom) -> None:
    shop.room.kick(OWNER, BOT, {})
    preview = await subscriptions(shop).preview(wanted(room))

    assert preview.unseen == ["main"]


async def test_without_being_in_the_list_there_is_no_preview(shop: Workshop) -> None:
    with pytest.raises(NotInTheRoom):
        await subscriptions(shop).preview(wanted(PolicyRoom.made(shop.fake)))


# Trouble


async def test_all_is_well_in_the_lists_room(shop: Workshop, room: PolicyRoom) -> None:
    await subscribed(shop.store, room)
    findings = ListFindings(shop.store, shop.homeserver)

    assert await findings.problems(BOT) == {}
    assert [finding.verdict for finding in await findings.of(BOT)] == ["good"]


@pytest.mark.promise(5)
async def test_being_thrown_out_is_a_shortcoming(shop: Workshop, room: PolicyRoom) -> None:
    await subscribed(shop.store, room)
    room.room.kick(KEEPER, BOT, {})
    findings = ListFindings(shop.store, shop.homeserver)
    problem = (await findings.problems(BOT))["lists"]

    assert "'spam'" in problem
    assert room.room.room_id not in problem
    assert [finding.verdict for finding in await findings.of(BOT)] == ["odd"]


async def test_a_list_that_was_removed_is_none(shop: Workshop, room: PolicyRoom) -> None:
    await subscribed(shop.store, room)
    room.room.kick(KEEPER, BOT, {})
    await subscriptions(shop).unsubscribe("spam", actor="cli")

    assert await ListFindings(shop.store, shop.homeserver).problems(BOT) == {}
