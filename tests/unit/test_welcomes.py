"""Who joined is welcomed once, with the names they have then, and never in clear where all else is encrypted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.fake_homeserver.rooms import Event
from tests.kit.sealing import Sealing
from tests.kit.workshop import BOT, OWNER, Wishes, Workshop

from mknock.domain.doors import Welcoming
from mknock.domain.knocks import Knock, KnockState
from mknock.services.sealing import ENCRYPTED, MESSAGE
from mknock.services.welcome_text import MARKER
from mknock.services.welcomes import FIRST_DEVICE, LATE
from mknock.workers.delivery import LEASE

S = KnockState
Opening = Callable[..., AbstractAsyncContextManager[Workshop]]
HELLO = Welcoming(text="Hello {user}")


@pytest.fixture
def opened(fake: FakeHomeserver, tmp_path: Path) -> Opening:
    def open_with(**wishes: Any) -> AbstractAsyncContextManager[Workshop]:
        return Workshop.opened(fake, tmp_path, Wishes(**{"welcoming": HELLO, **wishes}))

    return open_with


@pytest.fixture
async def shop(opened: Opening) -> AsyncIterator[Workshop]:
    async with opened() as workshop:
        yield workshop


@pytest.fixture
def carol(fake: FakeHomeserver) -> str:
    return fake.add_user("carol").user_id


async def joined(shop: Workshop, carol: str) -> str:
    """Carol has joined by a knock, and Knock knows it."""
    knock = await shop.delivered(carol)
    shop.room.join(carol, {})
    await shop.room_watch.compare(shop.door)
    return knock.id


def sent(shop: Workshop) -> list[Event]:
    return [event for event in shop.room.timeline if event.type in (MESSAGE, ENCRYPTED)]


async def test_who_joined_is_welcomed(shop: Workshop, carol: str) -> None:
    await joined(shop, carol)
    await shop.welcome()

    (event,) = sent(shop)
    assert event.content["m.mentions"] == {"user_ids": [carol]}


async def test_the_record_tells_when(shop: Workshop, carol: str) -> None:
    knock_id = await joined(shop, carol)
    await shop.welcome()

    knock = await shop.record(knock_id)
    assert (knock.state, knock.welcomed_at, knock.due_at) == (S.JOINED, shop.clock.now, None)


@pytest.mark.promise(8)
async def test_the_ledger_tells_of_the_welcome(shop: Workshop, carol: str) -> None:
    knock_id = await joined(shop, carol)
    shop.clock.forward(1)
    await shop.welcome()

    assert (await shop.store.ledger(knock_id=knock_id))[0].action == "welcomed"


async def test_nobody_is_welcomed_who_has_not_joined(shop: Workshop, carol: str) -> None:
    await shop.delivered(carol)
    shop.clock.forward(3600)
    await shop.welcome()

    assert sent(shop) == []


async def test_without_a_text_nobody_is_welcomed(opened: Opening, carol: str) -> None:
    async with opened(welcoming=Welcoming()) as shop:
        await joined(shop, carol)
        await shop.welcome()

        assert sent(shop) == []


# Only those who stayed


async def test_a_welcome_waits_for_its_delay(opened: Opening, carol: str) -> None:
    async with opened(welcoming=Welcoming(text="Hello", delay=30.0)) as shop:
        await joined(shop, carol)
        shop.clock.forward(29)
        await shop.welcome()
        assert sent(shop) == []
        shop.clock.forward(1)
        await shop.welcome()

        assert len(sent(shop)) == 1


async def test_new_devices_do_not_shorten_the_delay(opened: Opening, carol: str) -> None:
    async with opened(welcoming=Welcoming(text="Hello", delay=30.0)) as shop:
        await joined(shop, carol)
        await shop.store.hurry(carol, shop.clock())
        await shop.welcome()

        assert sent(shop) == []


async def test_who_has_left_meanwhile_is_not_welcomed(shop: Workshop, carol: str) -> None:
    knock_id = await joined(shop, carol)
    shop.room.leave(carol, {})
    await shop.welcome()

    assert sent(shop) == []
    assert (await shop.record(knock_id)).state is S.LEFT


async def test_who_was_kicked_meanwhile_is_not_welcomed(shop: Workshop, carol: str) -> None:
    knock_id = await joined(shop, carol)
    shop.room.kick(OWNER, carol, {})
    await shop.welcome()

    assert sent(shop) == []
    assert (await shop.record(knock_id)).state is S.REMOVED


@pytest.mark.promise(3)
async def test_who_is_on_the_block_list_by_now_is_not_welcomed(shop: Workshop, carol: str) -> None:
    await joined(shop, carol)
    await shop.add_rule(carol)
    await shop.welcome()

    assert sent(shop) == []


# Once, whatever happens


@pytest.mark.promise(2)
async def test_a_welcome_sent_just_before_a_crash_is_not_sent_again(shop: Workshop, carol: str) -> None:
    await joined(shop, carol)
    shop.fake.fail("send", down=True, acts=True, times=1)
    await shop.welcome()
    shop.clock.forward(LEASE)
    await shop.welcome()

    assert len(sent(shop)) == 1


@pytest.mark.promise(2)
async def test_after_a_long_downtime_our_own_event_is_looked_for(shop: Workshop, carol: str) -> None:
    knock_id = await joined(shop, carol)
    # Another device: the homeserver does not know its transactions.
    elsewhere = shop.fake.log_in("bot")
    content = {"msgtype": "m.text", "body": "Hello", MARKER: knock_id}
    await elsewhere.must("PUT", "rooms", shop.room.room_id, "send", MESSAGE, "x", json=content)
    shop.clock.forward(LATE + 1)
    await shop.welcome()

    assert len(sent(shop)) == 1
    assert (await shop.record(knock_id)).welcomed_at is not None


async def test_after_a_long_downtime_who_was_not_welcomed_is(shop: Workshop, carol: str) -> None:
    await joined(shop, carol)
    shop.clock.forward(3600)
    await shop.welcome()

    assert len(sent(shop)) == 1


@pytest.mark.promise(1)
@pytest.mark.parametrize("fault", [{"status": 502}, {"status": 429, "retry_after": 3}, {"down": True}])
async def test_a_welcome_is_not_lost_when_the_homeserver_fails(
    shop: Workshop, carol: str, fault: Mapping[str, Any]
) -> None:
    await joined(shop, carol)
    shop.fake.fail("send", times=1, **fault)
    for _ in range(60):
        await shop.welcome()
        shop.clock.forward(1)

    assert len(sent(shop)) == 1


async def test_a_limit_on_messages_does_not_hold_up_invites(shop: Workshop, carol: str) -> None:
    await joined(shop, carol)
    shop.fake.fail("send", status=429, retry_after=30, times=1)
    await shop.welcome()
    dave = shop.fake.add_user("dave").user_id

    assert (await shop.delivered(dave)).state is S.INVITED


async def test_a_limit_on_invites_does_not_hold_up_a_welcome(shop: Workshop, carol: str) -> None:
    await joined(shop, carol)
    shop.fake.fail("invite", status=429, retry_after=30, times=1)
    await shop.delivered(shop.fake.add_user("dave").user_id)
    await shop.welcome()

    assert len(sent(shop)) == 1


# Encrypted rooms


def encrypted(shop: Workshop) -> None:
    shop.room.write("m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"})


async def record_after(shop: Workshop, carol: str, seconds: float = 0.0) -> Knock:
    knock_id = await joined(shop, carol)
    encrypted(shop)
    for _ in range(int(seconds // 5) + 1):
        await shop.welcome()
        shop.clock.forward(5)
    return await shop.record(knock_id)


async def test_in_an_encrypted_room_the_welcome_is_encrypted(opened: Opening, carol: str) -> None:
    sealing = Sealing(readers=[carol])
    async with opened(encryption=sealing) as shop:
        await record_after(shop, carol)

        assert [event.type for event in sent(shop)] == [ENCRYPTED]
        assert sent(shop)[0].content["ciphertext"] == "sealed"


async def test_the_key_goes_to_everybody_in_the_room(opened: Opening, carol: str) -> None:
    sealing = Sealing(readers=[carol])
    async with opened(encryption=sealing) as shop:
        await record_after(shop, carol)

    assert set(sealing.sealed[0][0]) == {carol, BOT, OWNER}


async def test_an_encrypted_welcome_waits_for_the_first_device(opened: Opening, carol: str) -> None:
    sealing = Sealing()
    async with opened(encryption=sealing) as shop:
        await record_after(shop, carol, seconds=30)
        assert sent(shop) == []
        sealing.readers.add(carol)
        await shop.store.hurry(carol, shop.clock())
        await shop.welcome()

        assert len(sent(shop)) == 1


@pytest.mark.parametrize("sealing", [None, Sealing(), Sealing(problem="the account is somebody else's")])
async def test_nothing_is_sent_in_clear_into_an_encrypted_room(
    opened: Opening, carol: str, sealing: Sealing | None
) -> None:
    async with opened(encryption=sealing) as shop:
        await record_after(shop, carol, seconds=FIRST_DEVICE + 60)

        assert sent(shop) == []


async def test_a_welcome_that_cannot_be_sent_is_given_up_after_a_while(opened: Opening, carol: str) -> None:
    async with opened(encryption=None) as shop:
        knock = await record_after(shop, carol, seconds=FIRST_DEVICE + 60)

    assert (knock.due_at, knock.welcomed_at) == (None, None)
    assert "mknock[e2ee]" in knock.detail


async def test_the_owner_may_have_it_sent_in_clear(opened: Opening, carol: str) -> None:
    welcoming = Welcoming(text="Hello", clear_in_encrypted=True)
    async with opened(encryption=None, welcoming=welcoming) as shop:
        await record_after(shop, carol)

        assert [event.type for event in sent(shop)] == [MESSAGE]
