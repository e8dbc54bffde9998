"""What becomes of an admitted knock: every answer of the homeserver, through the real store and gateway."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.homeserver import DENIED_SERVER, UNREACHABLE_SERVER
from tests.kit.processes import wait_until
from tests.kit.workshop import BOT, OWNER, REASON, Wishes, Workshop

from mknock.domain.ids import MatrixID
from mknock.domain.knocks import KnockState, Reason
from mknock.services.errands import OWNER_PAUSE
from mknock.services.invitations import POWERLESS_PAUSE, PROFILE_PAUSE, WITHDRAWN
from mknock.workers.delivery import LEASE

S = KnockState
CAROL = "@carol:knock.test"
TYPED = "@Carol:knock.test"
NOBODY = "@nobody:knock.test"
ELSEWHERE = "@dave:elsewhere.test"


@pytest.fixture
async def shop(fake: FakeHomeserver, tmp_path: Path) -> AsyncIterator[Workshop]:
    fake.add_user("carol")
    async with Workshop.opened(fake, tmp_path) as workshop:
        yield workshop


# An invite


async def test_an_admitted_knock_is_invited(shop: Workshop) -> None:
    knock = await shop.delivered(CAROL)

    assert (knock.state, knock.reason) == (S.INVITED, Reason.INVITED)
    assert shop.room.membership(CAROL) == "invite"


async def test_the_invite_bears_the_reason_of_the_door(shop: Workshop) -> None:
    await shop.delivered(CAROL)

    (call,) = shop.fake.calls_of("invite")
    assert f'"reason": "{REASON}"'.encode() in call.body.replace(b"\\u00e9", "é".encode())


async def test_an_invited_knock_is_due_for_its_first_reminder(shop: Workshop) -> None:
    knock = await shop.delivered(CAROL)

    assert (knock.due_at, knock.invited_at) == (shop.clock.now + 86400.0, shop.clock.now)


@pytest.mark.promise(8)
async def test_the_ledger_tells_of_the_delivery(shop: Workshop) -> None:
    knock_id = await shop.knock(CAROL)
    shop.clock.forward(1)
    await shop.work()

    entry = (await shop.store.ledger(knock_id=knock_id))[0]
    assert (entry.actor, entry.action, entry.before, entry.after) == (
        "knock",
        "delivered",
        "admitted",
        "invited",
    )


async def test_somebody_of_another_server_is_invited_without_a_look_up(shop: Workshop) -> None:
    shop.fake.add_user(ELSEWHERE)

    assert (await shop.delivered(ELSEWHERE)).state is S.INVITED
    assert not shop.fake.calls_of("profile")


async def test_somebody_who_was_invited_by_another_counts_as_invited(shop: Workshop) -> None:
    shop.room.set_membership(OWNER, CAROL, "invite")

    assert (await shop.delivered(CAROL)).state is S.INVITED


# Existence: only a clear "no" of our own server ends a knock (promise 7)


async def test_a_user_who_does_not_exist_fails(shop: Workshop) -> None:
    knock = await shop.delivered(NOBODY)

    assert (knock.state, knock.reason) == (S.FAILED, Reason.NO_SUCH_USER)
    assert not shop.fake.calls_of("invite")


@pytest.mark.promise(7)
async def test_a_hidden_profile_is_invited(shop: Workshop) -> None:
    shop.fake.add_user("erin", hidden=True)

    assert (await shop.delivered("@erin:knock.test")).state is S.INVITED


@pytest.mark.promise(7)
@pytest.mark.parametrize("status", [400, 403, 429, 500, 503])
async def test_a_look_up_that_tells_nothing_leaves_it_to_the_invite(shop: Workshop, status: int) -> None:
    shop.fake.fail("profile", status=status)

    assert (await shop.delivered(CAROL)).state is S.INVITED


@pytest.mark.promise(7)
async def test_a_look_up_that_never_comes_back_leaves_it_to_the_invite(
    fake: FakeHomeserver, tmp_path: Path
) -> None:
    async with Workshop.opened(fake, tmp_path, Wishes(deadline=0.05)) as shop:
        fake.add_user("carol")
        fake.fail("profile", hang=True)

        assert (await shop.delivered(CAROL)).state is S.INVITED


async def test_a_limited_look_up_pauses_look_ups_for_a_minute_at_most(shop: Workshop) -> None:
    shop.fake.fail("profile", status=429, retry_after=3000, times=1)
    people = shop.people(3)
    await shop.delivered(people[0])
    await shop.delivered(people[1])
    paused = len(shop.fake.calls_of("profile"))
    shop.clock.forward(PROFILE_PAUSE + 1)
    await shop.delivered(people[2])

    assert (paused, len(shop.fake.calls_of("profile"))) == (1, 2)


async def test_a_name_typed_with_a_capital_letter_finds_its_account(shop: Workshop) -> None:
    knock = await shop.delivered(TYPED)

    assert (knock.state, knock.user_id) == (S.INVITED, CAROL)
    assert shop.fake.calls_of("invite")[0].about == CAROL


async def test_a_name_that_has_capital_letters_is_left_as_it_is(shop: Workshop) -> None:
    shop.fake.add_user("Erin")

    assert (await shop.delivered("@Erin:knock.test")).user_id == "@Erin:knock.test"


# A definite answer


@pytest.mark.parametrize("typed", [CAROL, TYPED])
async def test_a_member_is_already_a_member(shop: Workshop, typed: str) -> None:
    shop.room.set_membership(CAROL, CAROL, "join")
    shop.clock.forward(1)

    knock = await shop.delivered(typed)

    assert (knock.state, knock.reason) == (S.ALREADY_MEMBER, Reason.ALREADY_MEMBER)


@pytest.mark.parametrize("typed", [CAROL, TYPED])
async def test_somebody_banned_fails(shop: Workshop, typed: str) -> None:
    shop.room.set_membership(OWNER, CAROL, "ban")

    knock = await shop.delivered(typed)

    assert (knock.state, knock.reason) == (S.FAILED, Reason.BANNED)


async def test_somebody_who_lets_nobody_invite_them_fails(shop: Workshop) -> None:
    await shop.fake.log_in("carol").set_invite_block()

    knock = await shop.delivered(CAROL)

    assert (knock.state, knock.reason) == (S.FAILED, Reason.INVITES_BLOCKED)


@pytest.mark.parametrize("code", ["M_UNSUPPORTED_ROOM_VERSION", "M_INCOMPATIBLE_ROOM_VERSION"])
async def test_a_homeserver_too_old_for_the_room_fails(shop: Workshop, code: str) -> None:
    shop.fake.fail("invite", status=400, body={"errcode": code, "error": "too old"})

    knock = await shop.delivered(CAROL)

    assert (knock.state, knock.reason) == (S.FAILED, Reason.ROOM_UNSUPPORTED)


async def test_a_refusal_that_nobody_can_explain_fails(shop: Workshop) -> None:
    knock = await shop.delivered(f"@dave:{DENIED_SERVER}")

    assert (knock.state, knock.reason) == (S.FAILED, Reason.HOMESERVER_REFUSED)


async def test_a_bare_error_page_is_no_definite_answer(shop: Workshop) -> None:
    shop.fake.fail("invite", status=403, body="<html>Forbidden by a firewall</html>")

    assert (await shop.delivered(CAROL)).state is S.ADMITTED


@pytest.mark.promise(5)
async def test_what_is_kept_of_a_refusal_does_not_name_the_room(shop: Workshop) -> None:
    told = f"no access to {shop.room.room_id}"
    shop.fake.fail("invite", status=403, body={"errcode": "M_FORBIDDEN", "error": told})

    assert shop.room.room_id not in (await shop.delivered(CAROL)).detail


async def test_a_knock_whose_lifetime_is_over_fails_without_another_try(shop: Workshop) -> None:
    knock_id = await shop.knock(CAROL)
    shop.clock.forward(shop.door.lifetime + 1)
    await shop.work()

    knock = await shop.record(knock_id)
    assert (knock.state, knock.reason) == (S.FAILED, Reason.LIFETIME_OVER)
    assert not shop.fake.calls


@pytest.mark.promise(7)
async def test_an_invite_whose_answer_got_lost_is_found_when_the_lifetime_is_over(shop: Workshop) -> None:
    shop.fake.fail("invite", status=502, acts=True)
    knock = await shop.delivered(CAROL)
    shop.clock.forward(shop.door.lifetime + 1)
    await shop.work()

    assert (await shop.record(knock.id)).state is S.INVITED


# What only the owner can mend waits for the owner


@pytest.mark.promise(1)
async def test_a_bot_that_may_not_invite_waits_for_the_owner(shop: Workshop) -> None:
    shop.set_power(0)

    assert (await shop.delivered(CAROL)).state is S.ADMITTED


@pytest.mark.promise(1)
async def test_a_bot_that_may_invite_again_goes_on(shop: Workshop) -> None:
    shop.set_power(0)
    knock = await shop.delivered(CAROL)
    shop.set_power(50)
    await shop.work_for(OWNER_PAUSE)

    assert (await shop.record(knock.id)).state is S.INVITED


async def test_the_owner_is_told_once_a_minute(
    shop: Workshop, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    shop.set_power(0)
    await shop.knocks(shop.people(10))
    await shop.work()

    told = capsys.readouterr()  # where it is written depends on whether logging was configured before
    assert max(text.count("knocks wait for the owner") for text in (told.out, told.err, caplog.text)) == 1


async def test_a_bot_that_may_not_invite_does_not_hammer(shop: Workshop) -> None:
    shop.set_power(0)
    await shop.knocks(shop.people(40))
    await shop.work_for(10 * OWNER_PAUSE)

    assert len(shop.fake.calls_of("invite")) <= 11 * 32


async def test_one_door_that_waits_for_the_owner_does_not_hold_up_the_others(shop: Workshop) -> None:
    other = shop.fake.add_room(OWNER, BOT)
    shop.set_power(0)
    shop.doors.describe([shop.door, replace(shop.door, slug="other", room_id=other.room_id)])
    waits = await shop.delivered(CAROL)
    shop.door = shop.doors.get("other") or shop.door
    goes = await shop.delivered(shop.fake.add_user("dora").user_id)

    assert (waits.state, goes.state) == (S.ADMITTED, S.INVITED)


async def test_a_door_that_waits_for_the_owner_goes_on_once_it_can(shop: Workshop) -> None:
    other = shop.fake.add_room(OWNER, BOT)
    shop.set_power(0)
    shop.doors.describe([shop.door, replace(shop.door, slug="other", room_id=other.room_id)])
    knock = await shop.delivered(CAROL)
    shop.set_power(50)
    await shop.work_for(OWNER_PAUSE)

    assert (await shop.record(knock.id)).state is S.INVITED


@pytest.mark.promise(1)
@pytest.mark.parametrize("membership", ["leave", "ban"])
async def test_a_bot_that_was_thrown_out_goes_on_when_it_is_back(shop: Workshop, membership: str) -> None:
    shop.room.set_membership(OWNER, BOT, membership)
    knock = await shop.delivered(CAROL)
    shop.room.set_membership(OWNER, BOT, "join")
    await shop.work_for(OWNER_PAUSE)

    assert knock.state is S.ADMITTED
    assert (await shop.record(knock.id)).state is S.INVITED


@pytest.mark.promise(1)
@pytest.mark.parametrize(
    "body",
    [
        {"errcode": "M_UNKNOWN_TOKEN", "error": "no"},
        {"errcode": "M_UNKNOWN_TOKEN", "error": "no", "soft_logout": True},
        {"errcode": "M_USER_LOCKED", "error": "no"},
        {"errcode": "M_SOMETHING_NEW", "error": "no"},
    ],
)
async def test_a_refused_token_waits_for_the_owner(shop: Workshop, body: dict[str, Any]) -> None:
    shop.fake.fail(status=401, body=body)
    knock = await shop.delivered(CAROL)
    await shop.work_for(10 * OWNER_PAUSE)
    waited = await shop.record(knock.id)
    shop.fake.mend()
    await shop.work_for(OWNER_PAUSE)

    assert waited.state is S.ADMITTED
    assert (await shop.record(knock.id)).state is S.INVITED


# The block-list (promise 3)


@pytest.mark.promise(3)
async def test_somebody_blocked_after_the_door_is_refused_before_the_invite(shop: Workshop) -> None:
    knock_id = await shop.knock(CAROL)
    await shop.add_rule(CAROL)
    await shop.work()

    knock = await shop.record(knock_id)
    assert (knock.state, knock.reason, knock.rule) == (S.REFUSED, Reason.BLOCKED, CAROL)
    assert not shop.fake.calls_of("invite")


@pytest.mark.promise(3)
async def test_somebody_blocked_during_the_look_up_is_never_invited(shop: Workshop) -> None:
    knock_id = await shop.knock(CAROL)
    shop.fake.fail("profile", hang=True)
    await shop.delivery.tick(shop.clock())
    await wait_until(lambda: shop.fake.calls_of("profile"))
    await shop.moderation.block(MatrixID.of(CAROL), "spam", actor="api")
    shop.fake.mend()
    await shop.delivery.drain()

    assert (await shop.record(knock_id)).state is S.REFUSED
    assert not shop.fake.calls_of("invite")


@pytest.mark.promise(3)
async def test_nobody_is_invited_while_the_block_list_cannot_be_read(shop: Workshop) -> None:
    knock_id = await shop.knock(CAROL)
    _rename(shop.path, "revisions", "gone")
    await shop.work()
    waited = await shop.record(knock_id)
    _rename(shop.path, "gone", "revisions")
    await shop.work_for(LEASE)

    assert waited.state is S.ADMITTED
    assert (await shop.record(knock_id)).state is S.INVITED
    assert shop.invite_calls(CAROL) == 1


def _rename(path: Path, now: str, wanted: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"ALTER TABLE {now} RENAME TO {wanted}")


async def in_flight(shop: Workshop, person: str = CAROL) -> str:
    """Somebody's invite is on its way: the homeserver has it, and carries it out when it arrives."""
    knock_id = await shop.knock(person)
    shop.fake.fail("invite", hang=True)
    await shop.delivery.tick(shop.clock())
    await wait_until(lambda: shop.fake.calls_of("invite"))
    return knock_id


async def arrive(shop: Workshop) -> None:
    shop.fake.mend("invite")
    await shop.delivery.drain()


@pytest.mark.promise(3)
@pytest.mark.parametrize("typed", [CAROL, TYPED])
async def test_an_invite_that_was_on_its_way_when_somebody_was_blocked_is_withdrawn(
    shop: Workshop, typed: str
) -> None:
    knock_id = await in_flight(shop, typed)
    await shop.moderation.block(MatrixID.of(CAROL), "spam", actor="api")
    await arrive(shop)
    await shop.work()

    assert shop.room.membership(CAROL) == "leave"
    assert (await shop.record(knock_id)).state is S.REFUSED


@pytest.mark.promise(3)
async def test_an_invite_that_cannot_be_withdrawn_at_once_is_withdrawn_later(shop: Workshop) -> None:
    knock_id = await in_flight(shop)
    await shop.moderation.block(MatrixID.of(CAROL), "spam", actor="api")
    shop.fake.fail("kick", status=502, times=2)
    await arrive(shop)
    await shop.work_for(60)

    assert shop.room.membership(CAROL) == "leave"
    assert (await shop.record(knock_id)).state is S.REFUSED


async def test_an_invite_that_was_on_its_way_when_it_was_rescinded_is_withdrawn(shop: Workshop) -> None:
    knock_id = await in_flight(shop)
    await shop.moderation.rescind(MatrixID.of(CAROL), "a mistake", actor="api")
    await arrive(shop)
    await shop.work()

    assert shop.room.membership(CAROL) == "leave"
    assert (await shop.record(knock_id)).state is S.RESCINDED


async def test_an_invite_that_the_bot_may_not_withdraw_is_withdrawn_when_it_may(shop: Workshop) -> None:
    await shop.delivered(CAROL)
    shop.set_power(0)
    await shop.moderation.block(MatrixID.of(CAROL), "spam", actor="api")
    await shop.work_for(60)
    shop.set_power(50)
    await shop.work_for(POWERLESS_PAUSE)

    assert shop.room.membership(CAROL) == "leave"


async def test_the_invite_of_a_later_knock_is_not_withdrawn_for_an_earlier_one(shop: Workshop) -> None:
    await in_flight(shop)
    await shop.moderation.block(MatrixID.of(CAROL), "spam", actor="api")
    await shop.moderation.unblock(MatrixID.of(CAROL), actor="api")
    shop.fake.fail("kick", down=True)
    await arrive(shop)
    await shop.work()
    shop.clock.forward(1)
    later = await shop.knock(CAROL)
    await shop.work_for(60)
    shop.fake.mend("kick")
    await shop.work_for(60)

    assert (await shop.record(later)).state is S.INVITED
    assert shop.room.membership(CAROL) == "invite"


@pytest.mark.promise(3)
async def test_an_unrecorded_invite_of_somebody_blocked_since_is_withdrawn(shop: Workshop) -> None:
    await crashed_after_the_invite(shop)
    await shop.add_rule(CAROL)
    await shop.work_for(LEASE)

    assert shop.room.membership(CAROL) == "leave"


async def test_an_open_invite_is_withdrawn_when_the_homeserver_is_back(shop: Workshop) -> None:
    knock = await shop.delivered(CAROL)
    shop.fake.fail(down=True)
    await shop.moderation.block(MatrixID.of(CAROL), "spam", actor="api")
    await shop.work_for(60)
    shop.fake.mend()
    await shop.work_for(30)

    assert shop.room.membership(CAROL) == "leave"
    assert (await shop.record(knock.id)).state is S.RESCINDED


async def test_a_withdrawn_invite_says_no_reason_of_the_moderator(shop: Workshop) -> None:
    await in_flight(shop)
    await shop.moderation.block(MatrixID.of(CAROL), "a secret reason", actor="api")
    await arrive(shop)
    await shop.work()

    (call,) = shop.fake.calls_of("kick")
    assert WITHDRAWN.encode() in call.body


# A claim taken again (promise 2)


async def crashed_after_the_invite(shop: Workshop, person: str = CAROL) -> str:
    """A worker died between the homeserver's answer and the record."""
    knock_id = await shop.knock(person)
    claim = await shop.claim()
    await shop.homeserver.invite(claim.room_id, person.lower(), REASON)
    return knock_id


@pytest.mark.promise(2)
@pytest.mark.parametrize("typed", [CAROL, TYPED])
async def test_a_claim_taken_again_reads_the_membership_first(shop: Workshop, typed: str) -> None:
    knock_id = await crashed_after_the_invite(shop, typed)
    await shop.work_for(LEASE)

    assert (await shop.record(knock_id)).state is S.INVITED
    assert shop.invite_calls(CAROL) == 1


@pytest.mark.promise(2)
async def test_a_claim_taken_again_sees_that_they_have_joined(shop: Workshop) -> None:
    knock_id = await crashed_after_the_invite(shop)
    shop.room.join(CAROL, {})
    await shop.work_for(LEASE)

    assert (await shop.record(knock_id)).state is S.JOINED


@pytest.mark.promise(4)
async def test_a_claim_taken_again_sees_that_they_have_declined(shop: Workshop) -> None:
    knock_id = await crashed_after_the_invite(shop)
    shop.room.leave(CAROL, {})
    await shop.work_for(LEASE)

    assert (await shop.record(knock_id)).state is S.DECLINED
    assert shop.invite_calls(CAROL) == 1


async def test_a_claim_taken_again_invites_who_was_not_invited(shop: Workshop) -> None:
    knock_id = await shop.knock(CAROL)
    await shop.claim()
    await shop.work_for(LEASE)

    assert (await shop.record(knock_id)).state is S.INVITED


async def test_a_claim_taken_again_invites_who_left_long_before_they_knocked(shop: Workshop) -> None:
    shop.room.set_membership(CAROL, CAROL, "leave")
    shop.clock.forward(60)
    knock_id = await shop.knock(CAROL)
    await shop.claim()
    await shop.work_for(LEASE)

    assert (await shop.record(knock_id)).state is S.INVITED


@pytest.mark.promise(2)
async def test_a_worker_whose_claim_was_taken_over_does_not_invite(shop: Workshop) -> None:
    await shop.knock(CAROL)
    stale = await shop.claim()
    await shop.work_for(LEASE)
    await shop.invitations.deliver(stale)

    assert shop.invite_calls(CAROL) == 1


@pytest.mark.promise(2)
async def test_a_worker_whose_claim_was_taken_over_meanwhile_cannot_finish(shop: Workshop) -> None:
    knock_id = await in_flight(shop)
    shop.clock.forward(LEASE)
    async with shop.another() as second:
        shop.fake.fail("invite", status=400, body={"errcode": "M_UNSUPPORTED_ROOM_VERSION"})
        taken = await second.claim()
        await arrive(shop)
        unfinished = await shop.record(knock_id)
        await second.invitations.deliver(taken)

    assert unfinished.state is S.ADMITTED
    assert (await shop.record(knock_id)).state is S.INVITED
    assert [entry.action for entry in await shop.store.ledger(knock_id=knock_id)] == ["delivered", "knocked"]


# No usable answer (promise 1); how long things wait is in test_delivery.py


@pytest.mark.promise(1)
@pytest.mark.promise(7)
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429},
        {"status": 429, "retry_after": 2},
        {"status": 500},
        {"status": 502},
        {"status": 502, "body": "<html>Bad Gateway</html>"},
        {"status": 504, "body": ""},
        {"status": 404, "body": {"errcode": "M_UNRECOGNIZED", "error": "wrong place"}},
        {"status": 302, "headers": {"location": "http://elsewhere.test/"}},
        {"status": 200, "body": "not JSON"},
        {"down": True},
    ],
    ids=str,
)
async def test_what_is_no_answer_never_ends_a_knock(shop: Workshop, fault: dict[str, Any]) -> None:
    shop.fake.fail("invite", **fault)
    knock = await shop.delivered(CAROL)
    await shop.work_for(120)
    waited = await shop.record(knock.id)
    shop.fake.mend()
    await shop.work_for(300)

    assert waited.state is S.ADMITTED
    assert (await shop.record(knock.id)).state is S.INVITED


@pytest.mark.promise(2)
@pytest.mark.parametrize("fault", [{"status": 502}, {"down": True}, {"status": 429}], ids=str)
async def test_an_invite_that_counted_although_its_answer_did_not_is_not_repeated(
    shop: Workshop, fault: dict[str, Any]
) -> None:
    shop.fake.fail("invite", acts=True, **fault)
    knock = await shop.delivered(CAROL)
    await shop.work_for(60)

    assert (await shop.record(knock.id)).state is S.INVITED
    assert shop.invite_calls(CAROL) == 1


@pytest.mark.promise(1)
async def test_a_refused_invite_is_not_believed_while_the_membership_cannot_be_read(shop: Workshop) -> None:
    shop.room.set_membership(OWNER, CAROL, "ban")
    shop.fake.fail("state_event", status=500)
    knock = await shop.delivered(CAROL)
    shop.fake.mend()
    await shop.work_for(60)

    assert knock.state is S.ADMITTED
    assert (await shop.record(knock.id)).reason is Reason.BANNED


@pytest.mark.promise(1)
@pytest.mark.promise(7)
async def test_an_unreachable_server_is_tried_for_seven_days(shop: Workshop) -> None:
    knock = await shop.delivered(f"@dave:{UNREACHABLE_SERVER}")
    for _ in range(27):
        shop.clock.forward(6 * 3600)
        await shop.work()
    waited = await shop.record(knock.id)
    shop.fake.add_user(f"@dave:{UNREACHABLE_SERVER}")
    await shop.work_for(300)

    assert (waited.state, waited.attempts) == (S.ADMITTED, 28)
    assert (await shop.record(knock.id)).state is S.INVITED


async def test_two_invites_at_once_do_not_disturb_each_other(shop: Workshop) -> None:
    people = shop.people(20)
    knocks = await shop.knocks(people)
    await asyncio.gather(shop.work(), shop.work())

    assert {(await shop.record(knock_id)).state for knock_id in knocks} == {S.INVITED}
    assert shop.memberships(people) == {"invite"}
