"""Reading in an encrypted direct room: which keys count, for whom, and what harms nobody."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
import vodozemac
from tests.kit.encrypting import Acting, Encrypting, MemorySecrets, sent
from tests.kit.key_server import BOT, ROOM, KeyServer
from tests.kit.writing import MEGOLM, Writer

from mknock.matrix.encryption import inbox
from mknock.matrix.encryption.machine import Machine
from mknock.matrix.encryption.olm import LIFETIME
from mknock.ports import News

Json = dict[str, Any]
CAROL = "@carol:hs.test"
MALLORY = "@mallory:hs.test"


class Scene:
    """Knock, whose keys are published, and Carol with a device."""

    def __init__(self) -> None:
        self.server = KeyServer()
        self.secrets = MemorySecrets()
        self.made = Encrypting(self.secrets, self.server, acting=Acting())
        self.knock: Machine = self.made.knock()
        self.carol: Writer

    async def begin(self) -> Scene:
        await self.knock.start()
        self.carol = Writer(self.server, CAROL)
        return self

    def restart(self) -> None:
        self.knock = self.made.knock()

    async def hears(self, *events: Json) -> None:
        await self.knock.heard(News("s1", to_device=events))

    async def reads(self, content: Json, *, sender: str = CAROL, room: str = ROOM) -> Any:
        return await self.knock.decrypt(room, sender, content)

    def kept(self, begins: str) -> list[Json]:
        return [json.loads(value) for name, value in self.secrets.kept.items() if f":{begins}:" in name]


@pytest.fixture
async def scene() -> Scene:
    return await Scene().begin()


def text(read: Any) -> str | None:
    return None if read is None else read.get("body", "nothing")


async def test_a_message_is_read_with_the_key_that_its_senders_device_sent(scene: Scene) -> None:
    await scene.hears(scene.carol.room_key())
    assert text(await scene.reads(scene.carol.message("the code"))) == "the code"


async def test_a_message_whose_key_comes_later_is_read_then(scene: Scene) -> None:
    key, message = scene.carol.room_key(), scene.carol.message("the code")
    assert await scene.reads(message) is None
    await scene.hears(key)
    assert text(await scene.reads(message)) == "the code"


@pytest.mark.promise(1)
async def test_a_key_is_on_disk_before_the_position_is(scene: Scene) -> None:
    await scene.hears(scene.carol.room_key())
    scene.restart()
    assert text(await scene.reads(scene.carol.message("one"))) == "one"
    scene.restart()
    assert text(await scene.reads(scene.carol.message("two"))) == "two"


async def test_following_sync_asks_nobody_about_what_came(scene: Scene) -> None:
    before = len(scene.server.asked)
    await scene.hears(scene.carol.room_key())
    assert len(scene.server.asked) == before


async def test_more_keys_come_by_the_same_session(scene: Scene) -> None:
    await scene.hears(scene.carol.room_key())
    await scene.reads(scene.carol.message("one"))
    scene.carol.group = vodozemac.GroupSession()
    await scene.hears(scene.carol.room_key())
    assert text(await scene.reads(scene.carol.message("two"))) == "two"


async def test_who_answers_in_the_session_that_knock_began_is_read(scene: Scene) -> None:
    scene.server.one_time_keys[CAROL, "PHONE"] = scene.carol.one_time_keys()
    scene.server.readers[CAROL, "PHONE"] = scene.carol
    await sent(scene.knock, CAROL)
    scene.carol.uses(scene.carol._olm[-1])
    event = scene.carol.room_key()
    (part,) = event["content"]["ciphertext"].values()
    assert part["type"] == 1
    await scene.hears(event)
    before = scene.kept("olm")
    assert text(await scene.reads(scene.carol.message("the code"))) == "the code"
    assert scene.kept("olm") != before  # no message key opens twice
    await sent(scene.knock, CAROL)  # that session goes on in both directions


async def test_several_devices_of_one_person_are_read(scene: Scene) -> None:
    desk = Writer(scene.server, CAROL, "DESK")
    await scene.hears(scene.carol.room_key(), desk.room_key())
    assert text(await scene.reads(scene.carol.message("one"))) == "one"
    assert text(await scene.reads(desk.message("two"))) == "two"


# --- what does not count


@pytest.mark.parametrize(
    "changes",
    [
        {"sender": MALLORY},
        {"recipient": CAROL},
        {"recipient_keys": {"ed25519": "A" * 43}},
        {"recipient_keys": None},
        {"keys": {"ed25519": "A" * 43}},
        {"keys": []},
        {"type": "m.forwarded_room_key"},
        {"type": ["m.room_key"]},
        {"content": {"algorithm": "m.megolm.v2"}},
        {"content": {"session_id": "A" * 43}},
        {"content": {"session_id": None}},
        {"content": {"session_key": "AAAA"}},
        {"content": {"session_key": 7}},
        {"content": {"session_key": "x" * 5000}},
        {"content": {"room_id": None}},
        {"content": {"room_id": "!other:hs.test"}},
    ],
)
async def test_a_key_that_says_anything_else_than_is_known_does_not_count(
    scene: Scene, changes: Json
) -> None:
    await scene.hears(scene.carol.room_key(**changes))
    assert await scene.reads(scene.carol.message("the code")) is None
    scene.carol.group = vodozemac.GroupSession()
    await scene.hears(scene.carol.room_key())
    assert text(await scene.reads(scene.carol.message("after it"))) == "after it"


async def test_a_key_in_somebody_elses_name_does_not_count(scene: Scene) -> None:
    """A homeserver that says somebody else sent it cannot make it theirs."""
    mallory = Writer(scene.server, MALLORY)
    await scene.hears(mallory.room_key(outside={"sender": CAROL}))
    assert await scene.reads(mallory.message("the code")) is None


async def test_a_device_that_its_person_has_not_published_does_not_count(scene: Scene) -> None:
    key = scene.carol.room_key()
    del scene.server.devices[CAROL]["PHONE"]
    await scene.hears(key)
    assert await scene.reads(scene.carol.message("the code")) is None


@pytest.mark.promise(7)
async def test_a_homeserver_that_does_not_answer_is_asked_again(scene: Scene) -> None:
    scene.server.failures.add("hs.test")
    await scene.hears(scene.carol.room_key())
    message = scene.carol.message("the code")
    assert await scene.reads(message) is None
    scene.server.failures.clear()
    scene.made.clock.forward(61)
    assert text(await scene.reads(message)) == "the code"


async def test_a_key_of_one_room_opens_nothing_in_another(scene: Scene) -> None:
    await scene.hears(scene.carol.room_key())
    assert await scene.reads(scene.carol.message("the code"), room="!other:hs.test") is None
    assert text(await scene.reads(scene.carol.message("the code", room="!other:hs.test"))) == "nothing"


async def test_a_key_of_one_person_opens_nothing_of_another(scene: Scene) -> None:
    await scene.hears(scene.carol.room_key())
    assert await scene.reads(scene.carol.message("the code"), sender=MALLORY) is None


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"algorithm": MEGOLM},
        {"ciphertext": 7},
        {"ciphertext": "AAAA"},
        {"ciphertext": "A" * 100_000},
        {"ciphertext": "\N{SNOWMAN}"},
        {"algorithm": ["x"]},
        {"session_id": {}},
    ],
)
async def test_an_odd_message_is_nothing(scene: Scene, odd: Json) -> None:
    await scene.hears(scene.carol.room_key())
    content = scene.carol.message("x") | {"ciphertext": "AAAA"} | odd
    assert await scene.reads(content) in (None, {})


@pytest.mark.parametrize(
    "part",
    [
        None,
        [],
        {"type": 0, "body": ""},
        {"type": 0, "body": "AAAA"},
        {"type": 1, "body": "AAAA"},
        {"type": 2, "body": "AAAA"},
        {"type": True, "body": "!"},
        {"type": 0, "body": 7},
        {"type": 0, "body": "\N{SNOWMAN}"},
        {"type": 0, "body": "AwogAAAA" * 40},
    ],
)
async def test_an_odd_message_to_our_device_harms_nobody(scene: Scene, part: Any) -> None:
    odd = scene.carol.room_key()
    odd["content"]["ciphertext"] = dict.fromkeys(odd["content"]["ciphertext"], part)
    events: Sequence[Any] = [odd, {**odd, "content": 7}, {"sender": CAROL}, {**odd, "sender": 7}]
    await scene.hears(*events)
    assert await scene.reads(scene.carol.message("x")) is None
    scene.carol.group = vodozemac.GroupSession()
    await scene.hears(scene.carol.room_key())
    assert text(await scene.reads(scene.carol.message("after it"))) == "after it"


async def test_a_flood_keeps_only_the_newest(scene: Scene) -> None:
    for _ in range(10 * inbox.MOST):
        await scene.hears(scene.carol.room_key())
        scene.carol.group = vodozemac.GroupSession()
    await scene.hears(scene.carol.room_key(), scene.carol.room_key(outside={"content": {"x": "y" * 10_000}}))
    (kept,) = scene.kept("inbox")
    assert len(kept["messages"]) == inbox.MOST
    assert text(await scene.reads(scene.carol.message("the code"))) == "the code"
    (keys,) = scene.kept("keys")
    assert 0 < len(keys) <= inbox.MOST


async def test_our_account_is_never_forgotten_and_all_that_was_sent_is(scene: Scene) -> None:
    await scene.hears(scene.carol.room_key())
    await scene.reads(scene.carol.message("one"))
    now, ends = (
        scene.made.clock(),
        {name.rpartition(":KNOCK1:")[2]: at for name, at in scene.secrets.ends.items()},
    )
    assert ends["account"] is None
    assert ends[f"inbox:{CAROL}"] == now + inbox.KEPT_FOR
    assert ends[f"keys:{CAROL}"] == now + inbox.KEPT_FOR
    assert ends[f"heard:{CAROL}"] == now + LIFETIME


async def test_a_process_that_dies_with_a_key_in_its_hands_loses_none(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.hears(scene.carol.room_key())
    message = scene.carol.message("the code")

    async def dies(*_: object, **__: object) -> bool:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(scene.secrets, "put_secrets", dies)
        with pytest.raises(RuntimeError):
            await scene.reads(message)
    scene.restart()
    assert text(await scene.reads(message)) == "the code"
    scene.carol.group = vodozemac.GroupSession()
    await scene.hears(scene.carol.room_key())
    assert text(await scene.reads(scene.carol.message("and on"))) == "and on"


async def test_a_one_time_key_is_good_once(scene: Scene) -> None:
    await scene.hears(scene.carol.room_key())
    await scene.reads(scene.carol.message("one"))
    for name in [name for name in scene.secrets.kept if ":heard:" in name or ":keys:" in name]:
        del scene.secrets.kept[name]
    scene.restart()
    assert await scene.reads(scene.carol.message("two")) is None


async def test_a_key_under_another_name_is_none(scene: Scene) -> None:
    other = "A" * 43
    await scene.hears(scene.carol.room_key(content={"session_id": other}))
    assert await scene.reads(scene.carol.message("the code") | {"session_id": other}) is None


async def test_what_comes_twice_is_dealt_with_once(scene: Scene) -> None:
    event = scene.carol.room_key()
    await scene.hears(event)
    await scene.reads(scene.carol.message("one"))
    before = scene.kept("heard")
    await scene.hears(event)
    await scene.reads(scene.carol.message("two"))
    assert scene.kept("heard") == before
    assert BOT in scene.server.devices
