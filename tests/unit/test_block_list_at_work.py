"""The block-list at the door, before the invite, in the room, and undone: each with the real parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.workshop import OWNER, Workshop

from mknock.domain.ids import MatrixID
from mknock.domain.knocks import KnockState, Reason
from mknock.domain.rules import Rule, RuleKind
from mknock.ports import Entry, Membership

S = KnockState
BLOCKED = "@martin:knock.test"
ALIKE = "@martin77:knock.test"
RARE = "@qvortexian:knock.test"


@pytest.fixture
async def shop(fake: FakeHomeserver, tmp_path: Path) -> AsyncIterator[Workshop]:
    for name in ("martin", "martin77", "carol"):
        fake.add_user(name)
    async with Workshop.opened(fake, tmp_path) as workshop:
        yield workshop


async def add(shop: Workshop, entity: str, kind: RuleKind) -> None:
    rule = Rule(kind, entity, entity, "spam", source="api", author="api", at=shop.clock())
    await shop.store.change_rules([rule], (), Entry(at=shop.clock(), actor="api", action="block"))


async def held(shop: Workshop, user_id: str) -> str:
    """Somebody whose knock is held at once; the id of the knock."""
    assert await shop.outcome(user_id) is S.HELD
    (knock,) = await shop.store.knocks_of(MatrixID.of(user_id).key)
    return knock.id


async def test_a_look_alike_is_held_and_the_moderator_sees_why(shop: Workshop) -> None:
    await shop.add_rule(BLOCKED)
    knock = await shop.record(await held(shop, ALIKE))

    assert (knock.reason, knock.rule) == (Reason.LOOK_ALIKE, BLOCKED)
    assert "spam" in knock.detail


@pytest.mark.promise(8)
async def test_the_match_is_in_the_ledger(shop: Workshop) -> None:
    await shop.add_rule(BLOCKED)
    knock = await shop.record(await held(shop, ALIKE))
    (line,) = await shop.store.ledger(knock_id=knock.id)

    assert (line.rule, line.detail) == (BLOCKED, knock.detail)


async def test_a_look_alike_that_a_moderator_approves_is_invited(shop: Workshop) -> None:
    await shop.add_rule(BLOCKED)
    knock_id = await held(shop, ALIKE)
    await shop.moderation.approve(knock_id, actor="alice")
    await shop.work()

    assert (await shop.record(knock_id)).state is S.INVITED


async def test_a_look_alike_of_a_newer_rule_is_held_before_the_invite(shop: Workshop) -> None:
    knock_id = await shop.knock(ALIKE)
    await shop.add_rule(BLOCKED)
    await shop.work()

    assert ((await shop.record(knock_id)).state, shop.invite_calls(ALIKE)) == (S.HELD, 0)


@pytest.mark.promise(3)
@pytest.mark.parametrize(
    ("entity", "kind"), [("knock.test", RuleKind.SERVER), ("@car*:*", RuleKind.USER_GLOB)]
)
async def test_a_rule_that_comes_after_the_knock_keeps_the_invite_back(
    shop: Workshop, entity: str, kind: RuleKind
) -> None:
    knock_id = await shop.knock("@carol:knock.test")
    await add(shop, entity, kind)
    await shop.work()

    assert ((await shop.record(knock_id)).state, shop.invite_calls("@carol:knock.test")) == (S.REFUSED, 0)


@pytest.mark.promise(3)
async def test_whoever_is_named_by_a_pattern_is_put_out_of_the_room(shop: Workshop) -> None:
    await shop.delivered("@carol:knock.test")
    shop.room.join("@carol:knock.test", {})
    await add(shop, "@car*:*", RuleKind.USER_GLOB)
    await shop.watchdog.scan(shop.clock())

    assert shop.room.membership("@carol:knock.test") == "leave"


async def test_a_member_who_resembles_somebody_is_pointed_out_and_left_alone(shop: Workshop) -> None:
    await shop.add_rule(BLOCKED)
    shop.room.set_membership(OWNER, ALIKE, "join")
    for _ in range(2):
        await shop.watchdog.look_at(shop.door, ALIKE, Membership.JOIN)
    lines = await shop.store.ledger(user_id=ALIKE)

    assert [line.reason for line in lines] == [Reason.LOOK_ALIKE.value]
    assert shop.room.membership(ALIKE) == "join"


async def test_a_display_name_that_reads_like_a_blocked_person_is_pointed_out(shop: Workshop) -> None:
    await shop.add_rule(RARE)
    shop.room.set_membership(OWNER, "@carol:knock.test", "join")
    await shop.watchdog.look_at(shop.door, "@carol:knock.test", Membership.JOIN, "Qvortexian")

    assert "display name" in (await shop.store.ledger(user_id="@carol:knock.test"))[0].detail


# Undone


async def test_who_waited_when_the_rule_came_waits_again_when_it_goes(shop: Workshop) -> None:
    await shop.add_rule(BLOCKED)
    knock_id = await held(shop, ALIKE)
    await shop.moderation.block(MatrixID.of(ALIKE), "the same person", actor="alice")
    refused = (await shop.record(knock_id)).state
    await shop.moderation.unblock(MatrixID.of(ALIKE), actor="alice")
    (again,) = await shop.store.knocks_of(ALIKE, states=frozenset({S.HELD}))

    assert (refused, again.reason, again.id != knock_id) == (S.REFUSED, Reason.UNBLOCKED, True)


async def test_undoing_twice_makes_one_knock(shop: Workshop) -> None:
    await shop.add_rule(BLOCKED)
    await held(shop, ALIKE)
    for _ in range(2):
        await shop.moderation.block(MatrixID.of(ALIKE), "the same person", actor="alice")
        await shop.moderation.unblock(MatrixID.of(ALIKE), actor="alice")

    assert len(await shop.store.knocks_of(ALIKE, states=frozenset({S.HELD}))) == 1


async def test_who_was_put_out_by_mistake_is_invited_again_without_proof(shop: Workshop) -> None:
    await shop.delivered("@carol:knock.test")
    await shop.moderation.block(MatrixID.of("@carol:knock.test"), "mistaken", actor="alice")
    await shop.moderation.unblock(MatrixID.of("@carol:knock.test"), actor="alice")

    assert (await shop.delivered("@carol:knock.test")).state is S.INVITED
