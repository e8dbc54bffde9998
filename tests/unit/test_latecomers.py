"""Open invites in simulated time: reminders, the end, and who has answered meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.workshop import OWNER, REASON, Workshop

from mknock.domain.knocks import Knock, KnockState, Reason
from mknock.services.latecomers import EXPIRED, POWERLESS_PAUSE, POWERLESS_TRIES

S = KnockState
DAY = 86400.0
WEEK = 7 * DAY


@pytest.fixture
async def shop(fake: FakeHomeserver, tmp_path: Path) -> AsyncIterator[Workshop]:
    async with Workshop.opened(fake, tmp_path) as workshop:
        yield workshop


@pytest.fixture
def carol(shop: Workshop) -> str:
    return shop.fake.add_user("carol").user_id


async def after(shop: Workshop, carol: str, seconds: float) -> Knock:
    """What has become of Carol's knock so many seconds after her invite."""
    knock = await shop.delivered(carol)
    await shop.work_for(seconds)
    return await shop.record(knock.id)


def reasons(shop: Workshop, user_id: str) -> list[str]:
    """The reasons of the invites that became events, in their order."""
    events = [event for event in shop.room.timeline if event.state_key == user_id]
    return [event.content["reason"] for event in events if event.content["membership"] == "invite"]


# Reminders


async def test_nobody_is_reminded_before_a_day_is_over(shop: Workshop, carol: str) -> None:
    await after(shop, carol, DAY - 1)

    assert reasons(shop, carol) == [REASON]


async def test_a_reminder_is_a_new_invite_event_after_a_day(shop: Workshop, carol: str) -> None:
    await after(shop, carol, DAY)

    assert reasons(shop, carol) == [REASON, f"Reminder 1: {REASON}"]


@pytest.mark.promise(4)
async def test_nobody_is_reminded_more_than_twice(shop: Workshop, carol: str) -> None:
    await after(shop, carol, WEEK - 1)

    assert reasons(shop, carol) == [REASON, f"Reminder 1: {REASON}", f"Reminder 2: {REASON}"]


async def test_the_second_reminder_comes_after_three_days(shop: Workshop, carol: str) -> None:
    assert (await after(shop, carol, 3 * DAY - 1)).reminders == 1
    await shop.work_for(1)

    assert len(reasons(shop, carol)) == 3


@pytest.mark.promise(8)
async def test_the_ledger_tells_of_a_reminder(shop: Workshop, carol: str) -> None:
    knock = await after(shop, carol, DAY)

    assert (await shop.store.ledger(knock_id=knock.id))[0].action == "reminded"


async def test_who_has_declined_is_not_reminded(shop: Workshop, carol: str) -> None:
    knock = await shop.delivered(carol)
    shop.room.leave(carol, {})
    await shop.work_for(WEEK)

    assert reasons(shop, carol) == [REASON]
    assert (await shop.record(knock.id)).reason is Reason.DECLINED


async def test_who_has_joined_unnoticed_is_not_reminded(shop: Workshop, carol: str) -> None:
    knock = await shop.delivered(carol)
    shop.room.join(carol, {})
    await shop.work_for(WEEK)

    assert (await shop.record(knock.id)).state is S.JOINED


async def test_whose_invite_somebody_took_back_is_not_reminded(shop: Workshop, carol: str) -> None:
    knock = await shop.delivered(carol)
    shop.room.kick(OWNER, carol, {})
    await shop.work_for(WEEK)

    ended = await shop.record(knock.id)
    assert (ended.state, ended.reason) == (S.RESCINDED, Reason.REMOVED)


async def test_who_was_banned_is_not_reminded(shop: Workshop, carol: str) -> None:
    knock = await shop.delivered(carol)
    shop.room.ban(OWNER, carol, {})
    await shop.work_for(WEEK)

    ended = await shop.record(knock.id)
    assert (ended.state, ended.reason) == (S.RESCINDED, Reason.BANNED)


@pytest.mark.promise(3)
async def test_who_came_onto_the_block_list_is_uninvited_and_not_reminded(shop: Workshop, carol: str) -> None:
    knock = await shop.delivered(carol)
    await shop.add_rule(carol)
    await shop.work_for(DAY)

    assert shop.room.membership(carol) == "leave"
    assert (await shop.record(knock.id)).reason is Reason.BLOCKED


@pytest.mark.promise(2)
async def test_a_reminder_sent_just_before_a_crash_is_no_second_event(shop: Workshop, carol: str) -> None:
    knock = await shop.delivered(carol)
    shop.clock.forward(DAY)
    claim = await shop.claim()
    await shop.homeserver.invite(claim.room_id, carol, shop.door.reminder_reason(0))
    await shop.work_for(60)

    assert reasons(shop, carol) == [REASON, f"Reminder 1: {REASON}"]
    assert (await shop.record(knock.id)).reminders == 1


async def test_after_a_long_outage_reminders_come_no_closer_than_meant(shop: Workshop, carol: str) -> None:
    await shop.delivered(carol)
    shop.clock.forward(3 * DAY)
    await shop.work()

    assert len(reasons(shop, carol)) == 2


@pytest.mark.promise(1)
async def test_an_outage_puts_a_reminder_off(shop: Workshop, carol: str) -> None:
    await shop.delivered(carol)
    shop.fake.fail("invite", status=502, times=3)
    await shop.work_for(DAY + 600)

    assert len(reasons(shop, carol)) == 2


# The end


async def test_an_invite_that_nobody_answers_is_withdrawn_after_a_week(shop: Workshop, carol: str) -> None:
    knock = await after(shop, carol, WEEK)

    assert shop.room.membership(carol) == "leave"
    assert (knock.state, knock.reason, knock.due_at) == (S.EXPIRED, Reason.NO_ANSWER, None)


async def test_the_withdrawal_bears_a_reason(shop: Workshop, carol: str) -> None:
    await after(shop, carol, WEEK)

    assert shop.room.timeline[-1].content["reason"] == EXPIRED


async def test_an_invite_withdrawn_just_before_a_crash_has_expired(shop: Workshop, carol: str) -> None:
    knock = await after(shop, carol, WEEK - 1)
    shop.clock.forward(1)
    claim = await shop.claim()
    await shop.homeserver.kick(claim.room_id, carol, EXPIRED)
    await shop.work_for(60)

    assert (await shop.record(knock.id)).state is S.EXPIRED


async def test_an_invite_that_cannot_be_withdrawn_is_not_tried_for_ever(shop: Workshop, carol: str) -> None:
    knock = await after(shop, carol, WEEK - 1)
    shop.set_power(0)
    await shop.work_for(POWERLESS_TRIES * (POWERLESS_PAUSE + 60))

    ended = await shop.record(knock.id)
    assert ended.state is S.EXPIRED
    assert "still stands" in ended.detail


@pytest.mark.promise(4)
async def test_who_let_an_invite_expire_is_held_when_they_come_again(shop: Workshop, carol: str) -> None:
    await after(shop, carol, WEEK)
    shop.clock.forward(30 * DAY)

    assert await shop.outcome(carol) is S.HELD


@pytest.mark.promise(4)
async def test_who_declined_is_held_when_they_come_again(shop: Workshop, carol: str) -> None:
    await shop.delivered(carol)
    shop.room.leave(carol, {})
    await shop.work_for(DAY)
    shop.clock.forward(30 * DAY)

    assert await shop.outcome(carol) is S.HELD


async def test_a_hold_that_nobody_decides_expires(shop: Workshop, carol: str) -> None:
    await shop.delivered(carol)
    shop.room.leave(carol, {})
    await shop.work_for(2 * DAY)
    await shop.outcome(carol)
    await shop.work_for(shop.door.hold_lifetime)

    (held, *_) = await shop.store.knocks_of(carol)
    assert (held.state, held.reason) == (S.EXPIRED, Reason.NOT_REVIEWED)
