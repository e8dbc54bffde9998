"""Who can read what: sharing a room's key, replacing it, and crashes in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import vodozemac
from tests.kit.encrypting import TEXT, Encrypting, sent
from tests.kit.key_server import BOT, DEVICE, ROOM, Json, KeyServer, Reader

from mknock.domain.errors import EncryptionUnavailable, HomeserverUnavailable
from mknock.matrix.encryption import devices
from mknock.matrix.encryption.devices import LISTENING, MOST_DEVICES, SILENT, Devices, unhurried
from mknock.matrix.encryption.drawer import OutOfTurn
from mknock.matrix.encryption.machine import Machine
from mknock.matrix.encryption.megolm import DEVICES_AT_ONCE
from mknock.matrix.encryption.olm import LIFETIME
from mknock.ports import News, RoomNews, Rotation, StateEvent
from mknock.storage.sqlite import SqliteStore

ALICE = "@alice:hs.test"
BOB = "@bob:elsewhere.test"
ANSWER_LOST = httpx2.Response(502, json={"errcode": "M_UNKNOWN"})


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Encrypting]:
    store = SqliteStore(tmp_path / "knock.db")
    await store.open()
    yield Encrypting(store, KeyServer())
    await store.close()


@pytest.fixture
def alice(place: Encrypting) -> Reader:
    return place.server.add(ALICE)


@pytest.fixture
def knock(place: Encrypting) -> Machine:
    return place.knock()


def keys_sent(place: Encrypting) -> list[tuple[str, str]]:
    """Whose devices were sent a key, in order."""
    return [
        (user, device)
        for body in place.server.calls("sendToDevice")
        for user, messages in body["messages"].items()
        for device in messages
    ]


# --- what is written


async def test_a_member_reads_what_knock_sends(knock: Machine, alice: Reader) -> None:
    event = await sent(knock, ALICE)
    assert alice.read(event) == {"room_id": ROOM, "type": "m.room.message", "content": TEXT}


async def test_an_event_has_the_fields_of_the_specification(knock: Machine, alice: Reader) -> None:
    event = await sent(knock, ALICE)
    assert (event["algorithm"], event["device_id"], set(event)) == (
        "m.megolm.v1.aes-sha2",
        DEVICE,
        {"algorithm", "ciphertext", "session_id", "sender_key", "device_id"},
    )


async def test_what_an_event_replies_to_stays_readable_for_the_homeserver(
    knock: Machine, alice: Reader
) -> None:
    relation = {"m.in_reply_to": {"event_id": "$event"}}
    event = await sent(knock, ALICE, content={**TEXT, "m.relates_to": relation})
    assert event["m.relates_to"] == relation


async def test_a_key_tells_who_sent_it_to_whom(place: Encrypting, knock: Machine, alice: Reader) -> None:
    await sent(knock, ALICE)
    (payload,) = alice.room_keys
    ours = place.server.devices[BOT][DEVICE]["keys"][f"ed25519:{DEVICE}"]
    del payload["sender_device_keys"], payload["content"]
    assert payload == {
        "type": "m.room_key",
        "sender": BOT,
        "recipient": ALICE,
        "recipient_keys": {"ed25519": alice.ed25519},
        "keys": {"ed25519": ours},
    }


async def test_a_key_brings_our_device_keys_with_every_signature(
    place: Encrypting, knock: Machine, alice: Reader
) -> None:
    await sent(knock, ALICE)
    assert alice.room_keys[0]["sender_device_keys"] == place.server.devices[BOT][DEVICE]


async def test_a_key_says_which_room_and_session_it_is_for(knock: Machine, alice: Reader) -> None:
    event = await sent(knock, ALICE)
    content = alice.room_keys[0]["content"]
    del content["session_key"]
    assert content == {
        "algorithm": "m.megolm.v1.aes-sha2",
        "room_id": ROOM,
        "session_id": event["session_id"],
    }


@pytest.mark.promise(10)
async def test_nothing_of_a_message_or_its_key_is_sent_in_clear(
    place: Encrypting, knock: Machine, alice: Reader
) -> None:
    event = await sent(knock, ALICE)
    seen = str(place.server.asked) + str(event)
    assert (TEXT["body"] in seen, alice.room_keys[0]["content"]["session_key"] in seen) == (False, False)


@pytest.mark.promise(10)
async def test_no_key_is_in_the_files_of_a_store_with_a_secret_key(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "sealed" / "knock.db", secret_key="a long enough key")
    await store.open()
    place = Encrypting(store, KeyServer())
    await sent(place.knock(), place.server.add(ALICE).user_id)
    await store.close()
    written = b"".join(path.read_bytes() for path in (tmp_path / "sealed").iterdir())
    assert (b"encryption:" in written, b"pickle" in written, b"master" in written) == (True, False, False)


# --- who gets the key


async def test_a_device_gets_a_sessions_key_once(place: Encrypting, knock: Machine, alice: Reader) -> None:
    await sent(knock, ALICE)
    await sent(knock, ALICE)
    assert keys_sent(place) == [(ALICE, "PHONE")]


async def test_every_device_of_every_member_gets_it(place: Encrypting, knock: Machine, alice: Reader) -> None:
    place.server.add(ALICE, "LAPTOP")
    place.server.add(BOB)
    await sent(knock, ALICE, BOB)
    assert sorted(keys_sent(place)) == [(ALICE, "LAPTOP"), (ALICE, "PHONE"), (BOB, "PHONE")]


async def test_the_accounts_other_sessions_get_it_but_not_our_own(place: Encrypting, knock: Machine) -> None:
    place.server.add(BOT, "OWNERS")
    await sent(knock)
    assert keys_sent(place) == [(BOT, "OWNERS")]


async def test_a_later_device_gets_the_same_sessions_key(
    place: Encrypting, knock: Machine, alice: Reader
) -> None:
    first = await sent(knock, ALICE)
    laptop = place.server.add(ALICE, "LAPTOP")
    second = await sent(knock, ALICE)
    assert (first["session_id"] == second["session_id"], laptop.can_read(second)) == (True, True)


async def test_a_later_device_cannot_read_what_was_sent_before(
    place: Encrypting, knock: Machine, alice: Reader
) -> None:
    first = await sent(knock, ALICE)
    laptop = place.server.add(ALICE, "LAPTOP")
    await sent(knock, ALICE)
    assert (alice.can_read(first), laptop.can_read(first)) == (True, False)


async def test_a_device_without_a_key_left_is_tried_again(place: Encrypting, knock: Machine) -> None:
    alice = place.server.add(ALICE, one_time_keys=0)
    first = await sent(knock, ALICE)
    alice.account.generate_one_time_keys(1)
    place.server.one_time_keys[ALICE, "PHONE"] = alice.one_time_keys()
    second = await sent(knock, ALICE)
    assert (alice.can_read(first), alice.can_read(second)) == (False, True)


async def test_one_person_has_so_many_devices_at_most(place: Encrypting) -> None:
    keys = place.server.add(ALICE).device_keys()
    place.server.devices[ALICE] = {f"D{number}": keys for number in range(MOST_DEVICES)} | {"Z": keys}
    place.server.devices[ALICE]["PHONE"] = keys
    known = await Devices(place.server.client(), place.clock).of([ALICE])
    assert known[ALICE] == ()  # the first ones are nobody's, and those behind them are not looked at


async def test_many_devices_get_it_in_parts(place: Encrypting, knock: Machine) -> None:
    people = [f"@user{number}:hs.test" for number in range(DEVICES_AT_ONCE + 20)]
    readers = [place.server.add(person, one_time_keys=1) for person in people]
    event = await sent(knock, *people)
    parts = [len(body["messages"]) for body in place.server.calls("sendToDevice")]
    assert (parts, all(reader.can_read(event) for reader in readers)) == ([DEVICES_AT_ONCE, 20], True)


async def test_others_have_their_turn_between_two_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "SLICE", 0.0)
    order: list[str] = []

    async def other() -> None:
        for _ in range(3):
            order.append("other")
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    async for item in unhurried("abc"):
        order.append(item)  # noqa: PERF401 - one after the other is what this is about
    await task
    assert order == ["a", "other", "b", "other", "c", "other"]


# --- people whose server is out of reach, and people without a device


async def test_a_server_that_is_silent_does_not_stop_the_others(
    place: Encrypting, knock: Machine, alice: Reader
) -> None:
    bob = place.server.add(BOB)
    place.server.failures = {"elsewhere.test"}
    event = await sent(knock, ALICE, BOB)
    assert (alice.can_read(event), bob.can_read(event)) == (True, False)


async def test_who_was_silent_gets_the_key_later(place: Encrypting, knock: Machine) -> None:
    bob = place.server.add(BOB)
    place.server.failures = {"elsewhere.test"}
    await sent(knock, BOB)
    place.server.failures = set()
    place.clock.forward(SILENT)
    assert bob.can_read(await sent(knock, BOB))


async def test_a_silent_server_is_left_in_peace_for_a_while(place: Encrypting, knock: Machine) -> None:
    place.server.failures = {"elsewhere.test"}
    await knock.start()
    await sent(knock, BOB)
    place.server.asked.clear()
    await sent(knock, BOB)
    assert [body for body in place.server.calls("keys/query") if BOB in body["device_keys"]] == []


async def test_who_is_silent_now_has_not_left(place: Encrypting, knock: Machine) -> None:
    place.server.add(BOB)
    first = await sent(knock, BOB)
    place.server.failures = {"elsewhere.test"}
    second = await sent(knock, BOB)
    assert first["session_id"] == second["session_id"]


async def test_whoever_has_a_device_can_read(knock: Machine, alice: Reader) -> None:
    assert (await knock.can_read(ALICE), await knock.can_read(BOB)) == (True, False)


async def test_somebodys_first_device_is_noticed_at_once(place: Encrypting, knock: Machine) -> None:
    await knock.heard(News("s1"))
    before = await knock.can_read(ALICE)
    place.server.add(ALICE)
    assert (before, await knock.can_read(ALICE)) == (False, True)


# --- remembering devices while /sync tells of changes


async def test_devices_are_remembered_while_we_listen(
    place: Encrypting, knock: Machine, alice: Reader
) -> None:
    await knock.start()
    await knock.heard(News("s1"))
    await sent(knock, ALICE)
    place.server.asked.clear()
    await sent(knock, ALICE)
    assert [body for body in place.server.calls("keys/query") if ALICE in body["device_keys"]] == []


async def test_a_change_that_sync_tells_of_counts(place: Encrypting, knock: Machine, alice: Reader) -> None:
    await knock.heard(News("s1"))
    await sent(knock, ALICE)
    laptop = place.server.add(ALICE, "LAPTOP")
    await knock.heard(News("s2", devices_changed=frozenset({ALICE})))
    assert laptop.can_read(await sent(knock, ALICE))


async def test_without_listening_everybody_is_asked_about_each_time(
    place: Encrypting, knock: Machine, alice: Reader
) -> None:
    await knock.heard(News("s1"))
    await sent(knock, ALICE)
    place.clock.forward(LISTENING + 1)
    laptop = place.server.add(ALICE, "LAPTOP")
    assert laptop.can_read(await sent(knock, ALICE))


async def test_what_was_remembered_before_a_silence_of_sync_is_not_believed_after_it(
    place: Encrypting, knock: Machine, alice: Reader
) -> None:
    await knock.heard(News("s1"))
    await sent(knock, ALICE)
    place.clock.forward(LISTENING + 1)
    laptop = place.server.add(ALICE, "LAPTOP")
    await knock.heard(News("s2"))
    assert laptop.can_read(await sent(knock, ALICE))


async def test_an_answer_older_than_a_change_is_not_remembered(place: Encrypting, alice: Reader) -> None:
    known = Devices(place.server.client(), place.clock)
    known.heard([])

    def meanwhile(body: Json) -> Json:
        answer = place.server.query(body)
        place.server.instead.clear()
        place.server.add(ALICE, "LAPTOP")
        known.heard([ALICE])
        return answer

    place.server.instead["keys/query"] = meanwhile
    await known.of([ALICE])
    assert len((await known.of([ALICE]))[ALICE] or ()) == 2


# --- replacing the session


def left(user: str = BOB, **more: Any) -> StateEvent:
    return StateEvent("m.room.member", user, user, {"membership": "leave"}, **more)


def sessions(*events: Json) -> int:
    return len({event["session_id"] for event in events})


async def test_a_session_is_used_for_as_many_messages_as_the_room_wants(
    knock: Machine, alice: Reader
) -> None:
    events = [await sent(knock, ALICE, rotation=Rotation(messages=3)) for _ in range(7)]
    assert [sessions(*events[:3]), sessions(*events[:4]), sessions(*events)] == [1, 2, 3]


async def test_a_session_is_used_for_as_long_as_the_room_wants(
    place: Encrypting, knock: Machine, alice: Reader
) -> None:
    first = await sent(knock, ALICE, rotation=Rotation(seconds=3600))
    place.clock.forward(3599)
    second = await sent(knock, ALICE, rotation=Rotation(seconds=3600))
    place.clock.forward(1)
    third = await sent(knock, ALICE, rotation=Rotation(seconds=3600))
    assert (sessions(first, second), sessions(second, third)) == (1, 2)


async def test_who_has_left_cannot_read_on(place: Encrypting, knock: Machine, alice: Reader) -> None:
    bob = place.server.add(BOB)
    await sent(knock, ALICE, BOB)
    event = await sent(knock, ALICE)
    assert (alice.can_read(event), bob.can_read(event)) == (True, False)


async def test_who_left_and_came_back_in_between_begins_a_new_session(
    place: Encrypting, knock: Machine, alice: Reader
) -> None:
    place.server.add(BOB)
    first = await sent(knock, ALICE, BOB)
    await knock.heard(News("s1", rooms={ROOM: RoomNews((left(),))}))
    second = await sent(knock, ALICE, BOB)
    assert sessions(first, second) == 2


async def test_a_gap_in_what_we_heard_begins_a_new_session(knock: Machine, alice: Reader) -> None:
    first = await sent(knock, ALICE)
    await knock.heard(News("s1", rooms={ROOM: RoomNews(gap=True)}))
    assert sessions(first, await sent(knock, ALICE)) == 2


@pytest.mark.parametrize(
    "event",
    [
        left(before={"membership": "invite"}),
        left(before={"membership": "knock"}),
        StateEvent("m.room.member", BOB, BOB, {"membership": "join"}),
        StateEvent("m.room.name", "", BOB, {"membership": "leave"}),
    ],
)
async def test_nobody_has_left_who_could_read(knock: Machine, alice: Reader, event: StateEvent) -> None:
    first = await sent(knock, ALICE)
    await knock.heard(News("s1", rooms={ROOM: RoomNews((event,))}))
    assert sessions(first, await sent(knock, ALICE)) == 1


async def test_a_leave_in_one_room_is_no_matter_in_another(knock: Machine, alice: Reader) -> None:
    first = await sent(knock, ALICE)
    await knock.heard(News("s1", rooms={"!other:hs.test": RoomNews((left(),))}))
    assert sessions(first, await sent(knock, ALICE)) == 1


async def test_a_leave_heard_by_another_process_counts(
    place: Encrypting, knock: Machine, alice: Reader
) -> None:
    first = await sent(knock, ALICE)
    await place.knock().heard(News("s1", rooms={ROOM: RoomNews((left(),))}))
    assert sessions(first, await sent(knock, ALICE)) == 2


async def test_a_device_that_is_gone_cannot_read_on(place: Encrypting, knock: Machine, alice: Reader) -> None:
    laptop = place.server.add(ALICE, "LAPTOP")
    await sent(knock, ALICE)
    del place.server.devices[ALICE]["LAPTOP"]
    event = await sent(knock, ALICE)
    assert (alice.can_read(event), laptop.can_read(event)) == (True, False)


async def test_a_device_with_other_keys_is_another_device(
    place: Encrypting, knock: Machine, alice: Reader
) -> None:
    await sent(knock, ALICE)
    again = place.server.add(ALICE)
    event = await sent(knock, ALICE)
    assert (again.can_read(event), alice.can_read(event)) == (True, False)


async def test_one_to_one_sessions_are_kept_for_the_next_key(
    place: Encrypting, knock: Machine, alice: Reader
) -> None:
    for _ in range(3):
        await sent(knock, ALICE, rotation=Rotation(messages=1))
    assert (len(alice.room_keys), len(place.server.calls("keys/claim"))) == (3, 1)


async def test_one_to_one_sessions_are_renewed_in_case_the_other_has_lost_theirs(
    place: Encrypting, knock: Machine, alice: Reader
) -> None:
    await sent(knock, ALICE)
    place.clock.forward(LIFETIME)
    await sent(knock, ALICE)
    assert len(place.server.calls("keys/claim")) == 2


async def test_rooms_have_sessions_of_their_own(knock: Machine, alice: Reader) -> None:
    assert sessions(await sent(knock, ALICE), await sent(knock, ALICE, room="!other:hs.test")) == 2


# --- restarts, crashes, and two processes


def index_of(event: Json) -> int:
    return vodozemac.MegolmMessage.from_base64(event["ciphertext"]).message_index()


async def test_after_a_restart_the_session_goes_on(place: Encrypting, alice: Reader) -> None:
    first = await sent(place.knock(), ALICE)
    second = await sent(place.knock(), ALICE)
    assert (sessions(first, second), len(alice.room_keys), alice.can_read(second)) == (1, 1, True)


async def test_a_crash_before_the_message_is_sent_uses_no_message_key_twice(
    place: Encrypting, alice: Reader
) -> None:
    lost = await sent(place.knock(), ALICE)
    after = await sent(place.knock(), ALICE)
    assert index_of(after) == index_of(lost) + 1


async def test_a_key_that_may_not_have_arrived_is_sent_again(
    place: Encrypting, knock: Machine, alice: Reader
) -> None:
    place.server.instead["sendToDevice"] = ANSWER_LOST
    with pytest.raises(HomeserverUnavailable):
        await sent(knock, ALICE)
    place.server.instead.clear()
    assert alice.can_read(await sent(place.knock(), ALICE))


async def test_a_key_that_was_sent_twice_is_encrypted_anew(
    place: Encrypting, knock: Machine, alice: Reader
) -> None:
    """The message arrived, its answer did not: the same one-to-one message key must not be used again."""

    def arrives(body: Json) -> httpx2.Response:
        place.server._send(body)
        return ANSWER_LOST

    place.server.instead["sendToDevice"] = arrives
    with pytest.raises(HomeserverUnavailable):
        await sent(knock, ALICE)
    place.server.instead.clear()
    event = await sent(place.knock(), ALICE)
    assert (alice.can_read(event), len(alice.room_keys)) == (True, 2)


async def test_those_who_got_the_key_before_a_failure_do_not_get_it_again(
    place: Encrypting, knock: Machine
) -> None:
    people = [f"@user{number}:hs.test" for number in range(DEVICES_AT_ONCE + 1)]
    for person in people:
        place.server.add(person, one_time_keys=1)
    place.server.instead["sendToDevice"] = lambda body: (
        place.server._send(body) if len(body["messages"]) > 1 else ANSWER_LOST
    )
    with pytest.raises(HomeserverUnavailable):
        await sent(knock, *people)
    place.server.instead.clear()
    place.server.asked.clear()
    await sent(place.knock(), *people)
    assert keys_sent(place) == [(people[-1], "PHONE")]


async def test_messages_encrypted_at_once_have_different_keys(knock: Machine, alice: Reader) -> None:
    events = await asyncio.gather(*(sent(knock, ALICE) for _ in range(10)))
    assert sorted(index_of(event) for event in events) == list(range(10))


async def test_a_process_that_lost_its_turn_encrypts_nothing(place: Encrypting, alice: Reader) -> None:
    """It hangs while it asks for keys, another process takes over, and then it goes on."""
    late, other = place.knock(), place.knock()
    await late.start()
    await other.start()

    async def meanwhile(body: Json) -> Json:
        place.server.instead.clear()
        await sent(other, ALICE)
        return place.server.query(body)

    place.server.instead["keys/query"] = meanwhile
    with pytest.raises(OutOfTurn):
        await sent(late, ALICE)


async def test_a_process_that_lost_its_turn_goes_on_from_the_others_state(
    place: Encrypting, alice: Reader
) -> None:
    one, other = place.knock(), place.knock()
    events = [await sent(knock, ALICE) for knock in (one, other, one, other)]
    assert [index_of(event) for event in events] == [0, 1, 2, 3]


async def test_two_first_starts_at_once_make_one_device(place: Encrypting) -> None:
    results = await asyncio.gather(*(place.knock().start() for _ in range(4)), return_exceptions=True)
    await place.knock().start()
    assert [result for result in results if result and not isinstance(result, EncryptionUnavailable)] == []
    assert await place.knock().is_ours(place.server.devices[BOT][DEVICE])
