"""What moderators do, through the real store and gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.workshop import OWNER, Workshop

from mknock.checks import decide
from mknock.domain.chance import new_id
from mknock.domain.errors import NotAllowed
from mknock.domain.ids import MatrixID
from mknock.domain.knocks import KnockState, Reason, Submission
from mknock.ports import Attempt, Kept
from mknock.services.moderation import Removal
from mknock.workers.delivery import LEASE

S = KnockState
CAROL = "@carol:knock.test"
TYPED = "@Carol:knock.test"


@pytest.fixture
async def shop(fake: FakeHomeserver, tmp_path: Path) -> AsyncIterator[Workshop]:
    fake.add_user("carol")
    async with Workshop.opened(fake, tmp_path) as workshop:
        yield workshop


async def block(shop: Workshop, user_id: str) -> Removal:
    return (await shop.moderation.block(MatrixID.of(user_id), "spam", actor="alice")).removal


@pytest.mark.promise(3)
@pytest.mark.parametrize("spelling", [CAROL, TYPED, "@CAROL:knock.test"])
async def test_a_block_withdraws_the_invite_however_the_id_is_spelt(shop: Workshop, spelling: str) -> None:
    await shop.delivered(TYPED)

    assert await block(shop, spelling) is Removal.INVITE_WITHDRAWN
    assert shop.room.membership(CAROL) == "leave"


async def test_a_block_kicks_somebody_who_never_knocked(shop: Workshop) -> None:
    carol = shop.fake.log_in("carol")
    await shop.homeserver.invite(shop.door.room_id, CAROL, "")
    await carol.join(shop.door.room_id)

    assert await block(shop, "@CAROL:knock.test") is Removal.KICKED
    assert shop.room.membership(CAROL) == "leave"


async def test_a_block_counts_though_the_watchdog_was_faster(shop: Workshop) -> None:
    carol = shop.fake.log_in("carol")
    await shop.homeserver.invite(shop.door.room_id, CAROL, "")
    await carol.join(shop.door.room_id)
    shop.fake.fail("kick", status=403, acts=True, times=1)

    assert await block(shop, CAROL) is Removal.KICKED


async def test_a_block_without_the_power_to_kick_says_so(shop: Workshop) -> None:
    carol = shop.fake.log_in("carol")
    await shop.homeserver.invite(shop.door.room_id, CAROL, "")
    await carol.join(shop.door.room_id)
    shop.fake.fail("kick", status=403)

    assert await block(shop, CAROL) is Removal.REFUSED


@pytest.mark.promise(8)
async def test_a_kick_is_in_the_ledger_even_without_a_knock(shop: Workshop) -> None:
    await shop.homeserver.invite(shop.door.room_id, CAROL, "")
    await block(shop, CAROL)

    removals = [e for e in await shop.store.ledger(user_id=CAROL) if e.action == "remove"]
    assert [(e.actor, e.before, e.after) for e in removals] == [("alice", "invite", "leave")]


@pytest.mark.promise(3)
async def test_an_invite_whose_worker_died_is_withdrawn_after_the_block(shop: Workshop) -> None:
    await shop.knock(CAROL)
    claim = await shop.claim()
    await block(shop, CAROL)
    await shop.homeserver.invite(claim.room_id, CAROL, "")  # what the dead worker had sent arrives late

    await shop.work_for(120)

    assert shop.room.membership(CAROL) == "leave"


async def test_unblocking_keeps_an_invite_that_was_not_withdrawn_yet(shop: Workshop) -> None:
    knock = await shop.delivered(CAROL)
    shop.fake.fail(down=True)
    assert await block(shop, CAROL) is Removal.UNKNOWN
    await shop.moderation.unblock(MatrixID.of(CAROL), actor="alice")
    shop.fake.mend()

    await shop.work_for(120)

    assert (await shop.record(knock.id)).state is S.INVITED
    assert shop.room.membership(CAROL) == "invite"


async def test_an_invite_is_withdrawn_once_the_homeserver_answers_again(shop: Workshop) -> None:
    knock = await shop.delivered(CAROL)
    shop.fake.fail(down=True)
    await block(shop, CAROL)
    shop.fake.mend()

    await shop.work_for(120)

    assert (await shop.record(knock.id)).state is S.RESCINDED
    assert shop.room.membership(CAROL) == "leave"


@pytest.mark.parametrize("who", [OWNER, OWNER.upper().replace("KNOCK.TEST", "knock.test")])
async def test_somebody_of_as_much_power_is_spared_in_any_spelling(shop: Workshop, who: str) -> None:
    with pytest.raises(NotAllowed):
        await block(shop, who)

    assert await shop.store.rules() == []


@pytest.mark.promise(4)
async def test_whom_a_moderator_refused_is_held_the_next_time(shop: Workshop) -> None:
    first = await kept_by_review(shop)
    await shop.moderation.refuse(first.knock.id, actor="alice", reason="spammer")
    shop.clock.forward(30 * 86400)

    again = await kept(shop)

    assert (again.knock.state, again.knock.reason) == (S.HELD, Reason.BEFORE)


async def kept_by_review(shop: Workshop) -> Kept:
    """A knock that waits for a moderator."""
    result = await kept(shop)
    entry = (await shop.store.ledger(knock_id=result.knock.id))[0]
    held = await shop.store.change(
        result.knock.id, lambda k: k.moved_to(S.HELD, at=shop.clock(), due_at=None), entry
    )
    return Kept(held)


async def kept(shop: Workshop) -> Kept:
    now, user = shop.clock(), MatrixID.of(CAROL)
    attempt = Attempt(new_id(now), shop.door, user, Submission("test", user), now, trusted=True)
    result = await shop.store.admit(attempt, decide)
    assert isinstance(result, Kept)
    return result


@pytest.mark.promise(2)
async def test_an_invite_taken_back_in_the_room_is_not_sent_again_after_a_crash(shop: Workshop) -> None:
    knock_id = await shop.knock(CAROL)
    claim = await shop.claim()
    await shop.homeserver.invite(claim.room_id, CAROL, "")  # and the worker dies
    shop.clock.forward(1)
    await shop.fake.log_in("owner").kick(claim.room_id, CAROL)
    shop.clock.forward(LEASE)

    await shop.work()

    assert (await shop.record(knock_id)).state is S.RESCINDED
    assert shop.room.membership(CAROL) == "leave"


async def test_one_persons_suspended_account_stops_nobody_else(shop: Workshop) -> None:
    shop.fake.add_user("dave")
    suspended = {"errcode": "M_USER_SUSPENDED", "error": "This account is suspended"}
    shop.fake.fail("invite", status=403, body=suspended, times=1)
    knocks = await shop.knocks([CAROL, "@dave:knock.test"])

    await shop.work()

    assert {(await shop.record(knock)).state for knock in knocks} == {S.FAILED, S.INVITED}
