"""Matrix's own knocks: heard of or found, each becomes one knock, and each is answered in the room."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.processes import wait_until
from tests.kit.workshop import BOT, OWNER, Wishes, Workshop

from mknock.domain.doors import Alarm, Policy, Removal
from mknock.domain.flapping import MOST
from mknock.domain.ids import MatrixID
from mknock.domain.knocks import Answer, Knock, KnockState, Reason
from mknock.ports import StateEvent
from mknock.services.native_knocks import LONGEST_REASON
from mknock.services.turning_down import LEFT_KNOCKING, POWERLESS_PAUSE, SHOWN

S = KnockState
HOUR = 3600.0
Opening = Callable[..., AbstractAsyncContextManager[Workshop]]


@pytest.fixture
def opened(fake: FakeHomeserver, tmp_path: Path) -> Opening:
    """A workshop at whose room anybody may knock."""

    @asynccontextmanager
    async def opening(**wishes: Any) -> AsyncIterator[Workshop]:
        async with Workshop.opened(fake, tmp_path, Wishes(**{"cooldown": HOUR, **wishes})) as shop:
            shop.room.write("m.room.join_rules", {"join_rule": "knock"})
            yield shop

    return opening


@pytest.fixture
async def shop(opened: Opening) -> AsyncIterator[Workshop]:
    async with opened() as workshop:
        yield workshop


@pytest.fixture
async def reviewed(opened: Opening) -> AsyncIterator[Workshop]:
    """Where every knock waits for a moderator."""
    async with opened(policy=Policy.REVIEW) as workshop:
        yield workshop


@pytest.fixture
def carol(fake: FakeHomeserver) -> str:
    return fake.add_user("carol").user_id


def told(shop: Workshop, number: int = -1) -> StateEvent:
    """The newest (or another) event of the room, as /sync tells it."""
    event = shop.room.timeline[number]
    return StateEvent(
        kind=event.type,
        key=event.state_key or "",
        sender=event.sender,
        content=event.content,
        before=event.before,
        at=event.origin_server_ts / 1000,
    )


async def hear(shop: Workshop) -> None:
    await shop.room_watch.heard(shop.door, told(shop))


async def compare(shop: Workshop) -> None:
    await shop.room_watch.compare(shop.door)


Way = Callable[[Workshop], Awaitable[None]]
BOTH = pytest.mark.parametrize("notice", [hear, compare])


async def knock(shop: Workshop, user_id: str, notice: Way = hear, **content: Any) -> Knock:
    """Somebody knocks in the room, and Knock gets to know of it; their newest record."""
    shop.room.knock(user_id, content)
    await notice(shop)
    return await newest(shop, user_id)


async def newest(shop: Workshop, user_id: str) -> Knock:
    return (await shop.store.knocks_of(user_id))[0]


async def retracted(shop: Workshop, user_id: str, notice: Way = hear) -> None:
    shop.room.leave(user_id, {})
    await notice(shop)


async def in_flight(shop: Workshop, user_id: str) -> Knock:
    """Somebody knocks, and the invite is on its way."""
    made = await knock(shop, user_id)
    shop.fake.fail("invite", hang=True)
    await shop.delivery.tick(shop.clock())
    await wait_until(lambda: shop.fake.calls_of("invite"))
    return made


async def arrive(shop: Workshop) -> None:
    shop.fake.mend("invite")
    await shop.delivery.drain()


def kicks(shop: Workshop, user_id: str) -> int:
    return len(shop.fake.calls_of("kick", about=user_id))


# --- a knock like any other


@BOTH
async def test_a_membership_knock_becomes_a_proven_knock(shop: Workshop, carol: str, notice: Way) -> None:
    made = await knock(shop, carol, notice)
    assert (made.state, made.proven, made.knocking, made.platform) == (S.ADMITTED, True, True, "matrix")


@BOTH
async def test_who_is_admitted_is_invited(shop: Workshop, carol: str, notice: Way) -> None:
    await knock(shop, carol, notice)
    await shop.work()
    made = await newest(shop, carol)
    assert (shop.room.membership(carol), made.state, made.knocking) == ("invite", S.INVITED, False)


@pytest.mark.promise(7)
async def test_an_account_without_a_profile_exists_all_the_same(shop: Workshop, carol: str) -> None:
    shop.fake.fail("profile", status=404, body='{"errcode": "M_UNKNOWN", "error": "no profile"}')
    await knock(shop, carol)
    await shop.work()
    assert shop.room.membership(carol) == "invite"


@pytest.mark.promise(2)
async def test_heard_and_found_and_heard_again_it_is_one_knock(shop: Workshop, carol: str) -> None:
    shop.room.knock(carol, {})
    await hear(shop)
    await compare(shop)
    await hear(shop)
    assert len(await shop.store.knocks_of(carol)) == 1
    await shop.work()
    assert shop.invite_calls(carol) == 1


@pytest.mark.promise(2)
async def test_an_old_event_told_again_changes_nothing(shop: Workshop, carol: str) -> None:
    """As after a crash before the position in /sync was kept."""
    await knock(shop, carol)
    event = told(shop)
    await shop.work()
    shop.room.join(carol, {})
    await hear(shop)
    await shop.room_watch.heard(shop.door, event)
    assert [one.state for one in await shop.store.knocks_of(carol)] == [S.JOINED]


@pytest.mark.promise(8)
async def test_the_ledger_names_the_person_as_the_one_who_acted(shop: Workshop, carol: str) -> None:
    made = await knock(shop, carol)
    (line,) = await shop.store.ledger(knock_id=made.id)
    assert (line.actor, line.action, line.after) == (carol, "knocked", "admitted")


async def test_a_door_that_wants_a_proof_has_it(opened: Opening, carol: str) -> None:
    async with opened(policy=Policy.PROVE_FIRST) as shop:
        assert (await knock(shop, carol)).state is S.ADMITTED


@pytest.mark.parametrize("policy", [Policy.REVIEW, Policy.CLOSED])
async def test_a_door_that_holds_holds_it(opened: Opening, carol: str, policy: Policy) -> None:
    async with opened(policy=policy) as shop:
        assert (await knock(shop, carol)).state is S.HELD
        await shop.work()
        assert shop.room.membership(carol) == "knock"


async def test_a_door_that_does_not_honour_them_leaves_them_alone(opened: Opening, carol: str) -> None:
    async with opened(native_knocks=False) as shop:
        shop.room.knock(carol, {})
        await hear(shop)
        await compare(shop)
        assert await shop.store.knocks_of(carol) == []


async def test_of_two_doors_to_one_room_the_first_that_honours_them_is_knocked_at(
    shop: Workshop, carol: str
) -> None:
    shop.doors.describe(
        [replace(shop.door, slug="deaf", native_knocks=False), shop.door, replace(shop.door, slug="side")]
    )
    shop.room.knock(carol, {})
    for door in shop.doors:
        await shop.room_watch.heard(door, told(shop))
    await shop.room_watch.compare_all()
    (made,) = await shop.store.knocks_of(carol)
    assert (made.door, made.repeats) == ("main", 0)


@BOTH
async def test_an_odd_id_changes_nothing(shop: Workshop, notice: Way) -> None:
    shop.room.set_membership("@:", "@:", "knock")
    await notice(shop)
    assert await shop.store.knocks_of("@:") == []


async def test_a_homeserver_that_is_away_makes_it_be_told_again(shop: Workshop, carol: str) -> None:
    shop.room.knock(carol, {})
    shop.fake.fail("state_event", status=502)
    with pytest.raises(Exception, match="502"):
        await hear(shop)
    assert await shop.store.knocks_of(carol) == []


async def test_a_room_that_may_not_be_looked_at_holds_up_nobody(shop: Workshop, carol: str) -> None:
    shop.room.knock(carol, {})
    shop.fake.fail("state_event", status=403, body='{"errcode": "M_FORBIDDEN", "error": "no"}')
    await hear(shop)
    assert await shop.store.knocks_of(carol) == []
    shop.fake.mend()
    await compare(shop)
    assert (await newest(shop, carol)).state is S.ADMITTED


# --- what a stranger wrote


@BOTH
async def test_the_reason_is_there_for_the_moderator(reviewed: Workshop, carol: str, notice: Way) -> None:
    made = await knock(reviewed, carol, notice, reason="I bake scones", displayname="Carol")
    assert made.answers == (Answer("Display name", "Carol"), Answer("Reason", "I bake scones"))


@pytest.mark.parametrize(
    ("reason", "kept"),
    [
        ("a\x00b\x1b[31m\u202eevil", "ab[31mevil"),
        ("x" * 5000, "x" * (LONGEST_REASON - 1) + "…"),
        ({"a": 1}, None),
        (7, None),
        ("", None),
    ],
)
async def test_a_hostile_reason_harms_nobody(
    reviewed: Workshop, carol: str, reason: Any, kept: str | None
) -> None:
    made = await knock(reviewed, carol, reason=reason)
    assert [answer.value for answer in made.answers] == ([] if kept is None else [kept])


@pytest.mark.promise(10)
async def test_the_reason_is_in_no_log_and_is_sent_nowhere(
    shop: Workshop, carol: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await knock(shop, carol, reason="canary in the reason")
    await shop.work()
    invite = shop.room.member_event(carol)
    assert invite is not None
    assert "canary" not in caplog.text + str(invite.content)


async def test_a_name_like_a_blocked_one_is_held(shop: Workshop, carol: str) -> None:
    await shop.add_rule("@salamanderking:evil.example")
    made = await knock(shop, carol, displayname="Salamanderking")
    assert (made.state, made.reason) == (S.HELD, Reason.LOOK_ALIKE)


# --- an open knock from a form


async def test_names_alike_that_knock_one_after_the_other_are_a_raid(opened: Opening) -> None:
    async with opened(alarm=Alarm(arrivals=0, alike=3)) as shop:
        made = [await knock(shop, shop.fake.add_user(f"raider{number}").user_id) for number in range(10, 16)]
    assert [one.reason for one in made] == [Reason.PASSED] * 3 + [Reason.RAID] * 3


@pytest.mark.promise(4)
@BOTH
async def test_it_proves_an_open_knock_that_was_held_for_want_of_a_proof(
    opened: Opening, carol: str, notice: Way
) -> None:
    async with opened(policy=Policy.PROVE_FIRST) as shop:
        assert await shop.outcome(carol) is S.HELD
        made = await knock(shop, carol, notice, reason="me again")
        assert (made.state, made.proven, made.knocking) == (S.ADMITTED, True, True)
        assert [answer.value for answer in made.answers] == ["me again"]
        await shop.work()
        assert shop.room.membership(carol) == "invite"
        assert len(await shop.store.knocks_of(carol)) == 1


async def test_an_open_knock_that_waits_for_a_moderator_goes_on_waiting(
    reviewed: Workshop, carol: str
) -> None:
    assert await reviewed.outcome(carol) is S.HELD
    made = await knock(reviewed, carol)
    assert (made.state, made.proven, made.knocking) == (S.HELD, True, True)


@pytest.mark.promise(4)
async def test_who_declined_may_knock_themselves(shop: Workshop, carol: str) -> None:
    await shop.delivered(carol)
    await retracted(shop, carol)
    shop.clock.forward(HOUR)
    made = await knock(shop, carol)
    assert (made.state, shop.room.membership(carol)) == (S.ADMITTED, "knock")


async def test_whom_a_moderator_removed_is_left_to_a_moderator(shop: Workshop, carol: str) -> None:
    await shop.delivered(carol)
    shop.room.join(carol, {})
    await hear(shop)
    shop.room.kick(OWNER, carol, {})
    await hear(shop)
    shop.clock.forward(HOUR)
    made = await knock(shop, carol)
    assert (made.state, made.reason) == (S.HELD, Reason.BEFORE)


async def test_somebody_in_the_room_who_knocks_was_out_of_it_without_our_hearing(
    shop: Workshop, carol: str
) -> None:
    await shop.delivered(carol)
    shop.room.join(carol, {})
    await hear(shop)
    shop.room.leave(carol, {})
    shop.clock.forward(HOUR)
    made = await knock(shop, carol, compare)
    assert (made.state, made.reason) == (S.HELD, Reason.BEFORE)
    assert (await shop.store.knocks_of(carol))[1].state is S.REMOVED


# --- refused


async def test_who_is_refused_is_turned_down_in_the_room(reviewed: Workshop, carol: str) -> None:
    made = await knock(reviewed, carol)
    await reviewed.moderation.refuse(made.id, actor="api")
    await reviewed.work()
    event = reviewed.room.member_event(carol)
    assert event is not None
    assert (event.content, event.sender) == ({"membership": "leave", "reason": SHOWN}, BOT)
    after = await reviewed.record(made.id)
    assert (after.state, after.knocking, after.due_at) == (S.REFUSED, False, None)


async def test_who_is_approved_is_invited(reviewed: Workshop, carol: str) -> None:
    made = await knock(reviewed, carol)
    await reviewed.moderation.approve(made.id, actor="api")
    await reviewed.work()
    assert reviewed.room.membership(carol) == "invite"


async def test_a_hold_that_ends_turns_them_down(reviewed: Workshop, carol: str) -> None:
    made = await knock(reviewed, carol)
    await reviewed.work_for(reviewed.door.hold_lifetime + 1)
    assert (await reviewed.record(made.id)).state is S.EXPIRED
    assert reviewed.room.membership(carol) == "leave"


@pytest.mark.promise(3)
@BOTH
async def test_who_is_blocked_is_turned_down_once(shop: Workshop, carol: str, notice: Way) -> None:
    await shop.add_rule(carol)
    made = await knock(shop, carol, notice)
    assert (made.state, made.reason) == (S.REFUSED, Reason.BLOCKED)
    await shop.watchdog.scan(0.0)
    await shop.work()
    await shop.watchdog.scan(0.0)
    assert (shop.room.membership(carol), kicks(shop, carol)) == ("leave", 1)


async def test_the_scan_leaves_whoever_is_about_to_be_turned_down_to_that(shop: Workshop, carol: str) -> None:
    await shop.add_rule(carol)
    await knock(shop, carol)
    assert await shop.watchdog.scan(0.0) == 0
    assert shop.room.membership(carol) == "knock"


@pytest.mark.promise(3)
async def test_who_is_blocked_just_before_the_invite_is_turned_down(shop: Workshop, carol: str) -> None:
    made = await knock(shop, carol)
    await shop.add_rule(carol)
    await shop.work()
    assert (await shop.record(made.id)).state is S.REFUSED
    assert (shop.room.membership(carol), shop.invite_calls(carol)) == ("leave", 0)


@pytest.mark.promise(3)
async def test_who_is_blocked_while_the_invite_is_on_its_way_is_out_of_the_room(
    shop: Workshop, carol: str
) -> None:
    await in_flight(shop, carol)
    await shop.moderation.block(MatrixID.of(carol), "spam", actor="api")
    await arrive(shop)
    await shop.work()
    assert shop.room.membership(carol) == "leave"


async def test_who_is_blocked_is_banned_only_where_the_door_says_so(opened: Opening, carol: str) -> None:
    async with opened(blocked_members=Removal.BAN) as shop:
        await shop.add_rule(carol)
        await knock(shop, carol)
        await shop.work()
        assert shop.room.membership(carol) == "ban"


async def test_a_dry_run_bans_nobody(opened: Opening, carol: str) -> None:
    async with opened(blocked_members=Removal.BAN, dry_run=True) as shop:
        await shop.add_rule(carol)
        await knock(shop, carol)
        await shop.work()
        assert shop.room.membership(carol) == "leave"


async def test_who_is_blocked_while_they_wait_is_turned_down(reviewed: Workshop, carol: str) -> None:
    await knock(reviewed, carol)
    await reviewed.add_rule(carol)
    made = await newest(reviewed, carol)
    await reviewed.moderation.refuse(made.id, actor="api", block=True)
    await reviewed.work()
    assert (reviewed.room.membership(carol), kicks(reviewed, carol)) == ("leave", 1)


@pytest.mark.promise(1)
async def test_turning_down_outlasts_an_outage(reviewed: Workshop, carol: str) -> None:
    made = await knock(reviewed, carol)
    await reviewed.moderation.refuse(made.id, actor="api")
    reviewed.fake.fail("kick", status=502)
    await reviewed.work_for(60.0)
    assert reviewed.room.membership(carol) == "knock"
    reviewed.fake.mend()
    await reviewed.store.resume("homeserver")
    await reviewed.work_for(600.0)
    assert reviewed.room.membership(carol) == "leave"


@pytest.mark.promise(1)
async def test_a_worker_that_dies_before_it_turned_somebody_down_is_followed_by_another(
    reviewed: Workshop, carol: str
) -> None:
    made = await knock(reviewed, carol)
    await reviewed.moderation.refuse(made.id, actor="api")
    await reviewed.claim()
    await reviewed.work_for(11.0)
    assert (reviewed.room.membership(carol), kicks(reviewed, carol)) == ("leave", 1)


async def test_a_worker_that_dies_after_it_turned_somebody_down_does_not_do_it_twice(
    reviewed: Workshop, carol: str
) -> None:
    made = await knock(reviewed, carol)
    await reviewed.moderation.refuse(made.id, actor="api")
    await reviewed.claim()
    await reviewed.homeserver.kick(reviewed.room.room_id, carol, SHOWN)
    await reviewed.work_for(11.0)
    assert kicks(reviewed, carol) == 1
    assert not (await reviewed.record(made.id)).knocking


async def test_without_power_it_is_left_to_the_moderators_after_some_tries(
    reviewed: Workshop, carol: str
) -> None:
    made = await knock(reviewed, carol)
    reviewed.room.override_levels({"kick": 90, "users": {BOT: 50}})
    await reviewed.moderation.refuse(made.id, actor="api")
    await reviewed.work_for(POWERLESS_PAUSE * 10)
    after = await reviewed.record(made.id)
    assert (kicks(reviewed, carol), after.due_at) == (3, None)
    assert "the membership knock still stands" in after.detail
    assert (await reviewed.store.ledger(knock_id=made.id))[0].action == LEFT_KNOCKING


@pytest.mark.promise(1)
async def test_an_invite_waits_for_the_homeserver_and_is_sent_once(shop: Workshop, carol: str) -> None:
    shop.fake.fail("invite", status=502)
    await knock(shop, carol)
    await shop.work_for(60.0)
    shop.fake.mend()
    await shop.store.resume("homeserver")
    await shop.work_for(600.0)
    assert shop.room.invite_counts()[carol] == 1


async def test_somebody_whose_invite_is_refused_is_not_left_waiting(shop: Workshop, carol: str) -> None:
    shop.fake.fail("invite", status=403, body='{"errcode": "M_INVITE_BLOCKED", "error": "no"}')
    made = await knock(shop, carol)
    await shop.work()
    assert (await shop.record(made.id)).state is S.FAILED
    assert shop.room.membership(carol) == "leave"


@pytest.mark.promise(2)
async def test_an_older_refusal_does_not_take_back_a_newer_invite(opened: Opening, carol: str) -> None:
    async with opened(policy=Policy.REVIEW, cooldown=0.0) as shop:
        first = await knock(shop, carol)
        await shop.moderation.refuse(first.id, actor="api")
        shop.room.leave(carol, {})
        shop.clock.forward(1.0)
        second = await knock(shop, carol)
        await shop.moderation.approve(second.id, actor="api")
        claims = (await shop.store.claim(shop.clock(), limit=9, lease=10.0)).knocks
        for claim in sorted(claims, key=lambda one: one.id, reverse=True):
            await shop.invitations.deliver(claim)
        assert shop.room.membership(carol) == "invite"


async def test_who_proves_a_held_knock_and_is_blocked_is_turned_down(opened: Opening, carol: str) -> None:
    async with opened(policy=Policy.PROVE_FIRST) as shop:
        assert await shop.outcome(carol) is S.HELD
        await shop.add_rule(carol)
        made = await knock(shop, carol)
        assert (made.state, made.reason) == (S.REFUSED, Reason.BLOCKED)
        await shop.work()
        assert shop.room.membership(carol) == "leave"
        assert "left knocking" not in [line.action for line in await shop.store.ledger()]


# --- taken back


@BOTH
async def test_a_knock_that_is_taken_back_ends(reviewed: Workshop, carol: str, notice: Way) -> None:
    made = await knock(reviewed, carol)
    await retracted(reviewed, carol, notice)
    after = await reviewed.record(made.id)
    assert (after.state, after.reason, after.due_at) == (S.RETRACTED, Reason.RETRACTED, None)


async def test_one_that_is_taken_back_before_the_invite_is_not_invited(shop: Workshop, carol: str) -> None:
    made = await knock(shop, carol)
    shop.room.leave(carol, {})
    await shop.work()
    assert ((await shop.record(made.id)).state, shop.invite_calls(carol)) == (S.RETRACTED, 0)


async def test_an_invite_on_its_way_to_somebody_who_took_it_back_is_withdrawn(
    shop: Workshop, carol: str
) -> None:
    made = await in_flight(shop, carol)
    await retracted(shop, carol)
    await arrive(shop)
    await shop.work()
    assert (shop.room.membership(carol), (await shop.record(made.id)).state) == ("leave", S.RETRACTED)


async def test_so_is_one_whose_worker_died(shop: Workshop, carol: str) -> None:
    await knock(shop, carol)
    await shop.claim()
    await retracted(shop, carol)
    await shop.homeserver.invite(shop.room.room_id, carol, "too late")
    await shop.work_for(61.0)
    assert shop.room.membership(carol) == "leave"


@pytest.mark.promise(4)
async def test_taking_it_back_is_no_no(reviewed: Workshop, carol: str) -> None:
    await knock(reviewed, carol)
    await retracted(reviewed, carol)
    reviewed.clock.forward(HOUR)
    reviewed.doors.describe([replace(reviewed.door, policy=Policy.AUTO)])
    reviewed.door = reviewed.doors.first
    assert await reviewed.outcome(carol) is S.ADMITTED


async def test_one_that_was_taken_back_before_knock_heard_of_it_makes_no_record(
    shop: Workshop, carol: str
) -> None:
    shop.room.knock(carol, {})
    shop.room.leave(carol, {})
    await shop.room_watch.heard(shop.door, told(shop, -2))
    await shop.room_watch.heard(shop.door, told(shop))
    assert await shop.store.knocks_of(carol) == []


# --- somebody else answers


@BOTH
async def test_a_moderator_who_invites_in_the_room_has_decided(
    reviewed: Workshop, carol: str, notice: Way
) -> None:
    made = await knock(reviewed, carol)
    reviewed.room.invite(OWNER, carol, {}, reach=lambda: None)
    await notice(reviewed)
    after = await reviewed.record(made.id)
    assert (after.state, after.reason, after.knocking) == (S.INVITED, Reason.INVITED_IN_ROOM, False)


@BOTH
async def test_a_moderator_who_turns_down_in_the_room_has_decided(
    reviewed: Workshop, carol: str, notice: Way
) -> None:
    made = await knock(reviewed, carol)
    reviewed.room.kick(OWNER, carol, {})
    await notice(reviewed)
    after = await reviewed.record(made.id)
    assert (after.state, after.reason, after.due_at) == (S.REFUSED, Reason.MODERATOR, None)
    reviewed.clock.forward(HOUR)
    assert (await knock(reviewed, carol)).reason is Reason.BEFORE


@BOTH
async def test_a_ban_in_the_room_refuses(reviewed: Workshop, carol: str, notice: Way) -> None:
    made = await knock(reviewed, carol)
    reviewed.room.ban(OWNER, carol, {})
    await notice(reviewed)
    assert (await reviewed.record(made.id)).state is S.REFUSED
    await reviewed.work()
    assert reviewed.room.membership(carol) == "ban"


async def test_a_moderators_invite_is_not_taken_back_by_a_refusal(reviewed: Workshop, carol: str) -> None:
    made = await knock(reviewed, carol)
    reviewed.room.invite(OWNER, carol, {}, reach=lambda: None)
    await reviewed.moderation.refuse(made.id, actor="api")
    await reviewed.work()
    assert reviewed.room.membership(carol) == "invite"


async def test_a_moderator_who_was_faster_is_not_overruled(shop: Workshop, carol: str) -> None:
    made = await knock(shop, carol)
    shop.room.kick(OWNER, carol, {})
    await shop.work()
    after = await shop.record(made.id)
    assert (after.state, shop.invite_calls(carol)) == (S.RESCINDED, 0)


# --- again and again


async def test_flapping_makes_one_record_a_cooldown_and_is_reported_once(
    reviewed: Workshop, carol: str
) -> None:
    for _ in range(20):
        await knock(reviewed, carol)
        await retracted(reviewed, carol)
    assert len(await reviewed.store.knocks_of(carol)) == 1
    lines = [line for line in await reviewed.store.ledger(limit=1000) if line.action == "left knocking"]
    assert [(line.user_id, line.reason) for line in lines] == [(carol, "flapping")]


async def test_who_is_kicked_and_knocks_again_at_once_is_left_knocking(shop: Workshop, carol: str) -> None:
    await shop.add_rule(carol)
    for _ in range(20):
        await knock(shop, carol)
        await shop.work()
    assert (kicks(shop, carol), shop.room.membership(carol)) == (1, "knock")


@pytest.mark.parametrize("blocked", [False, True])
async def test_with_a_short_cooldown_only_some_are_answered_in_an_hour(
    opened: Opening, carol: str, blocked: bool
) -> None:
    async with opened(cooldown=0.0) as shop:
        if blocked:
            await shop.add_rule(carol)
        for _ in range(20):
            shop.clock.forward(1.0)
            if shop.room.membership(carol) in ("invite", "knock"):
                await retracted(shop, carol)
            await knock(shop, carol)
            await shop.work()
        answers = kicks(shop, carol) if blocked else shop.invite_calls(carol)
        assert answers == MOST


async def test_who_was_left_knocking_is_looked_at_when_the_cooldown_is_over(
    shop: Workshop, carol: str
) -> None:
    await knock(shop, carol)
    await shop.work()
    await retracted(shop, carol)
    await knock(shop, carol)
    for _ in range(3):
        await compare(shop)
    assert len(await shop.store.knocks_of(carol)) == 1
    shop.clock.forward(HOUR)
    await compare(shop)
    made = await newest(shop, carol)
    assert (made.state, made.knocking) == (S.ADMITTED, True)


async def test_somebody_who_is_left_knocking_costs_a_comparison_nothing(shop: Workshop, carol: str) -> None:
    await shop.add_rule(carol)
    await knock(shop, carol)
    await shop.work()
    await knock(shop, carol)
    await compare(shop)
    before = (await newest(shop, carol), len(shop.fake.calls_of("state_event")))
    await compare(shop)
    assert (await newest(shop, carol), len(shop.fake.calls_of("state_event"))) == before


async def test_one_that_stands_though_it_was_answered_is_looked_at_once(opened: Opening, carol: str) -> None:
    """By each process: the homeserver may not have let us turn it down."""
    async with opened(policy=Policy.REVIEW, cooldown=0.0) as shop:
        shop.room.override_levels({"kick": 90, "users": {BOT: 50}})
        made = await knock(shop, carol)
        await shop.moderation.refuse(made.id, actor="api")
        await shop.work_for(POWERLESS_PAUSE * 10)
        for _ in range(3):
            await compare(shop)
        (after,) = await shop.store.knocks_of(carol)
        assert (after.state, after.repeats) == (S.REFUSED, 1)


async def test_an_older_refusal_does_not_turn_down_a_newer_knock(opened: Opening, carol: str) -> None:
    async with opened(policy=Policy.REVIEW, cooldown=0.0) as shop:
        first = await knock(shop, carol)
        await shop.moderation.refuse(first.id, actor="api")
        shop.room.leave(carol, {})
        shop.clock.forward(1.0)
        second = await knock(shop, carol)
        await shop.work()
        assert (second.id != first.id, shop.room.membership(carol)) == (True, "knock")
