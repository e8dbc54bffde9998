"""Whose session it is, whose identity the account has, and what the owner is told."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from tests.kit.encrypting import TEXT, Acting, Encrypting, sent
from tests.kit.key_server import (
    BOT,
    DEVICE,
    ROOM,
    Json,
    KeyServer,
    Reader,
    foreign_identity,
    without_signatures,
)
from tests.unit.test_secret_storage import DESCRIPTION, NAME, OTHER_KEY, RECOVERY_KEY, SEALED, SEED

from mknock.domain.errors import EncryptionUnavailable, HomeserverError, HomeserverUnavailable
from mknock.matrix.encryption import WithoutExtra, encryption_of
from mknock.matrix.encryption.cross_signing import FOREIGN_IDENTITY, NOT_THAT_KEY, PROOF_NEEDED
from mknock.matrix.encryption.machine import LOOK_AGAIN, NO_DEVICE, NOT_OURS, SETTLED_FOR
from mknock.matrix.encryption.signatures import decoded
from mknock.ports import News, Rotation
from mknock.storage.sqlite import SqliteStore

PASSWORD = "correct horse"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Encrypting]:
    store = SqliteStore(tmp_path / "knock.db", secret_key="a key of the tests")
    await store.open()
    yield Encrypting(store, KeyServer())
    await store.close()


def is_signed_by(content: Json, user_id: str, key: str, key_id: str) -> bool:
    """Whether the signature is there and right; raises InvalidSignature if it is wrong."""
    signature = content["signatures"].get(user_id, {}).get(f"ed25519:{key_id}")
    if signature is None:
        return False
    public = Ed25519PublicKey.from_public_bytes(decoded(key, 32))
    public.verify(decoded(signature, 64), without_signatures(content))
    return True


def public_of(key: Json) -> str:
    (public,) = key["keys"].values()
    return str(public)


# --- our device's keys


async def test_our_device_keys_are_published_and_signed_by_the_device(place: Encrypting) -> None:
    await place.knock().start()
    keys = place.server.devices[BOT][DEVICE]
    assert is_signed_by(keys, BOT, keys["keys"][f"ed25519:{DEVICE}"], DEVICE)


async def test_our_one_time_keys_are_signed_by_the_device(place: Encrypting) -> None:
    await place.knock().start()
    public = place.server.devices[BOT][DEVICE]["keys"][f"ed25519:{DEVICE}"]
    keys = place.server.one_time_keys[BOT, DEVICE]
    assert [is_signed_by(key, BOT, public, DEVICE) for key in keys.values()] == [True] * 20


async def test_a_fallback_key_is_uploaded_as_such(place: Encrypting) -> None:
    await place.knock().start()
    (keys,) = [body["fallback_keys"] for body in place.server.calls("keys/upload") if "fallback_keys" in body]
    assert [key["fallback"] for key in keys.values()] == [True]


async def test_starting_again_publishes_nothing_new(place: Encrypting) -> None:
    await place.knock().start()
    place.server.asked.clear()
    await place.knock().start()
    assert [path for path, _ in place.server.asked] == ["keys/query"]


async def test_a_start_that_was_interrupted_goes_on_with_the_same_keys(place: Encrypting) -> None:
    place.server.instead["keys/upload"] = httpx2.Response(503, json={"errcode": "M_UNKNOWN"})
    with pytest.raises(HomeserverUnavailable):
        await place.knock().start()
    (tried,) = place.server.calls("keys/upload")
    place.server.instead.clear()
    await place.knock().start()
    assert place.server.calls("keys/upload")[1] == tried


async def test_processes_that_start_at_the_same_moment_do_not_disturb_each_other(place: Encrypting) -> None:
    processes = [place.knock() for _ in range(4)]

    assert await asyncio.gather(*(each.problem() for each in processes)) == [""] * 4


async def test_a_process_that_was_overtaken_looks_again_at_once(
    place: Encrypting, monkeypatch: pytest.MonkeyPatch
) -> None:
    knock = place.knock()

    async def overtaken(*_: object, **__: object) -> bool:
        return False

    with monkeypatch.context() as patch:
        patch.setattr(place.store, "put_secrets", overtaken)
        during = await knock.problem()

    assert (during != "", await knock.problem()) == (True, "")


async def test_one_time_keys_that_are_refused_are_not_offered_again(place: Encrypting) -> None:
    refusal = httpx2.Response(
        400, json={"errcode": "M_INVALID_PARAM", "error": "One time key already exists"}
    )
    usual = place.server._upload
    place.server.instead["keys/upload"] = lambda body: refusal if "one_time_keys" in body else usual(body)
    await place.knock().start()
    place.server.asked.clear()
    await place.knock().start()
    assert place.server.calls("keys/upload") == []


async def test_keys_that_were_used_up_are_replaced(place: Encrypting) -> None:
    knock = place.knock()
    await knock.start()
    place.server.asked.clear()
    await knock.heard(News("s1", one_time_keys={"signed_curve25519": 3}, fallback_keys=()))
    (body,) = place.server.calls("keys/upload")
    assert (len(body["one_time_keys"]), len(body["fallback_keys"])) == (17, 1)


@pytest.mark.parametrize(
    "news",
    [
        News("s1"),
        News("s1", one_time_keys={"signed_curve25519": 15}, fallback_keys=("signed_curve25519",)),
        News("s1", one_time_keys={"signed_curve25519": 60}),
    ],
)
async def test_enough_keys_are_left_alone(place: Encrypting, news: News) -> None:
    knock = place.knock()
    await knock.start()
    place.server.asked.clear()
    await knock.heard(news)
    assert place.server.calls("keys/upload") == []


async def test_keys_that_cannot_be_uploaded_do_not_stop_us_from_listening(place: Encrypting) -> None:
    knock = place.knock()
    await knock.start()
    place.server.instead["keys/upload"] = httpx2.Response(403, json={"errcode": "M_FORBIDDEN"})
    await knock.heard(News("s1", one_time_keys={"signed_curve25519": 0}))


# --- whose session it is


async def test_a_session_with_somebody_elses_keys_is_not_ours(place: Encrypting) -> None:
    place.server.add(BOT, DEVICE)
    assert await place.knock().problem() == NOT_OURS


async def test_nothing_is_uploaded_over_somebody_elses_keys(place: Encrypting) -> None:
    place.server.add(BOT, DEVICE)
    with pytest.raises(EncryptionUnavailable):
        await sent(place.knock(), "@alice:hs.test")
    assert {path for path, _ in place.server.asked} == {"keys/query"}


async def test_the_owner_is_told_to_sign_in_anew() -> None:
    assert "`mknock login`" in NOT_OURS


async def test_our_own_keys_are_told_from_others(place: Encrypting) -> None:
    knock = place.knock()
    before = await knock.is_ours(Reader(BOT, DEVICE).device_keys())
    await knock.start()
    ours = place.server.devices[BOT][DEVICE]
    theirs = Reader(BOT, DEVICE).device_keys()
    assert (before, await place.knock().is_ours(ours), await knock.is_ours(theirs)) == (False, True, False)


async def test_keys_that_replaced_ours_make_the_session_foreign(place: Encrypting) -> None:
    await place.knock().start()
    place.server.add(BOT, DEVICE)
    assert await place.knock().problem() == NOT_OURS


async def test_a_new_session_of_the_same_account_begins_anew_under_the_same_identity(
    place: Encrypting,
) -> None:
    await place.knock().start()
    master = place.server.cross_signing[BOT]["master_key"]
    place.acting = Acting(device_id="KNOCK2")
    await place.knock().start()
    signed = place.server.devices[BOT]["KNOCK2"]["signatures"][BOT]
    assert (len(signed), place.server.cross_signing[BOT]["master_key"]) == (2, master)


async def test_a_running_knock_notices_its_new_session(place: Encrypting) -> None:
    knock = place.knock()
    await knock.start()
    place.acting.device_id = "KNOCK2"
    assert (await sent(knock))["device_id"] == "KNOCK2"


async def test_a_token_without_a_session_cannot_encrypt(place: Encrypting) -> None:
    place.acting.device_id = ""
    assert await place.knock().problem() == NO_DEVICE


# --- the account's identity


async def test_our_device_is_vouched_for_up_to_the_master_key(place: Encrypting) -> None:
    """What a client that excludes insecure devices asks for, checked link by link."""
    await place.knock().start()
    identity, device = place.server.cross_signing[BOT], place.server.devices[BOT][DEVICE]
    master, self_signing = public_of(identity["master_key"]), public_of(identity["self_signing_key"])
    assert is_signed_by(device, BOT, self_signing, self_signing)
    assert is_signed_by(identity["self_signing_key"], BOT, master, master)
    assert is_signed_by(identity["user_signing_key"], BOT, master, master)


async def test_the_device_vouches_for_the_master_key(place: Encrypting) -> None:
    await place.knock().start()
    master = place.server.cross_signing[BOT]["master_key"]
    public = place.server.devices[BOT][DEVICE]["keys"][f"ed25519:{DEVICE}"]
    assert is_signed_by(master, BOT, public, DEVICE)


async def test_an_identity_is_made_once(place: Encrypting) -> None:
    await place.knock().start()
    await place.knock().start()
    assert len(place.server.calls("keys/device_signing/upload")) == 1


async def test_a_homeserver_that_asks_for_the_password_gets_it(place: Encrypting) -> None:
    place.server.password = PASSWORD
    await place.knock(password=PASSWORD).start()
    assert place.server.calls("keys/device_signing/upload")[1]["auth"] == {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": BOT},
        "password": PASSWORD,
        "session": "a session",
    }


@pytest.mark.parametrize("password", ["", "the wrong one"])
async def test_the_owner_is_asked_for_a_password_that_is_missing(place: Encrypting, password: str) -> None:
    place.server.password = PASSWORD
    assert await place.knock(password=password).problem() == PROOF_NEEDED


async def test_the_password_goes_nowhere_unasked(place: Encrypting) -> None:
    await place.knock(password=PASSWORD).start()
    assert PASSWORD not in str(place.server.asked)


@pytest.fixture
def foreign(place: Encrypting) -> Encrypting:
    """The account has an identity that Knock did not make, with its keys in the secret storage."""
    place.server.cross_signing[BOT] = foreign_identity(BOT, decoded(SEED, 32))
    place.server.account_data[NAME] = {"encrypted": {"key1": SEALED}}
    place.server.account_data["m.secret_storage.key.key1"] = DESCRIPTION
    return place


async def test_a_foreign_identity_is_never_replaced(foreign: Encrypting) -> None:
    before = foreign.server.cross_signing[BOT]
    await foreign.knock(password=PASSWORD).problem()
    assert (foreign.server.calls("keys/device_signing/upload"), foreign.server.cross_signing[BOT]) == (
        [],
        before,
    )


async def test_the_owner_is_told_of_a_foreign_identity(foreign: Encrypting) -> None:
    assert await foreign.knock().problem() == FOREIGN_IDENTITY


async def test_nothing_is_encrypted_under_a_foreign_identity(foreign: Encrypting) -> None:
    alice = foreign.server.add("@alice:hs.test")
    with pytest.raises(EncryptionUnavailable, match="RECOVERY_KEY"):
        await sent(foreign.knock(), alice.user_id)


async def test_the_recovery_key_lets_a_foreign_identity_vouch_for_us(foreign: Encrypting) -> None:
    await foreign.knock(recovery_key=RECOVERY_KEY).start()
    self_signing = public_of(foreign.server.cross_signing[BOT]["self_signing_key"])
    assert is_signed_by(foreign.server.devices[BOT][DEVICE], BOT, self_signing, self_signing)


async def test_the_recovery_key_is_needed_once(foreign: Encrypting) -> None:
    await foreign.knock(recovery_key=RECOVERY_KEY).start()
    assert await foreign.knock().problem() == ""


async def test_a_recovery_key_of_an_earlier_identity_is_told(foreign: Encrypting) -> None:
    foreign.server.cross_signing[BOT] = foreign_identity(BOT, bytes(32))
    assert await foreign.knock(recovery_key=RECOVERY_KEY).problem() == NOT_THAT_KEY


@pytest.mark.parametrize("key", [OTHER_KEY, "nonsense"])
async def test_a_wrong_recovery_key_is_told(foreign: Encrypting, key: str) -> None:
    assert "RECOVERY_KEY is not" in await foreign.knock(recovery_key=key).problem()


@pytest.mark.promise(10)
async def test_the_recovery_key_is_sent_to_nobody(foreign: Encrypting) -> None:
    await foreign.knock(recovery_key=RECOVERY_KEY).start()
    assert RECOVERY_KEY not in str(foreign.server.asked)
    assert SEED not in str(foreign.server.asked)


async def test_a_self_signing_key_that_its_master_has_not_signed_does_not_count(foreign: Encrypting) -> None:
    del foreign.server.cross_signing[BOT]["self_signing_key"]["signatures"]
    assert await foreign.knock(recovery_key=RECOVERY_KEY).problem() == FOREIGN_IDENTITY


async def test_an_identity_that_appears_while_we_prove_ourselves_is_not_replaced(place: Encrypting) -> None:
    async def meanwhile(body: Json) -> httpx2.Response:
        place.server.cross_signing[BOT] = foreign_identity(BOT, bytes(32))
        return httpx2.Response(401, json={"flows": [{"stages": ["m.login.password"]}], "session": "x"})

    place.server.instead["keys/device_signing/upload"] = meanwhile
    problem = await place.knock(password=PASSWORD).problem()
    assert (problem, PASSWORD in str(place.server.asked)) == (FOREIGN_IDENTITY, False)


async def test_an_answer_that_does_not_say_is_not_taken_for_no_identity(place: Encrypting) -> None:
    place.server.instead["keys/query"] = {"failures": {"hs.test": {}}}
    with pytest.raises(HomeserverError):
        await place.knock().start()
    assert place.server.calls("keys/device_signing/upload") == []


@pytest.mark.parametrize("master", [[], {"keys": {}}, {"user_id": BOT, "keys": {"ed25519:x": "x"}}])
async def test_an_identity_that_cannot_be_read_is_not_taken_for_none(place: Encrypting, master: Any) -> None:
    place.server.cross_signing[BOT] = {"master_key": master, "self_signing_key": {}, "user_signing_key": {}}
    with pytest.raises(HomeserverUnavailable):
        await place.knock().start()


async def test_a_reset_of_the_identity_is_noticed(place: Encrypting) -> None:
    knock = place.knock()
    await knock.start()
    place.server.cross_signing[BOT] = foreign_identity(BOT, bytes(32))
    await knock.heard(News("s1", devices_changed=frozenset({BOT})))
    assert await knock.problem() == FOREIGN_IDENTITY


async def test_a_problem_that_the_owner_has_solved_goes_away(foreign: Encrypting) -> None:
    knock = foreign.knock()
    await knock.problem()
    del foreign.server.cross_signing[BOT]
    foreign.clock.forward(LOOK_AGAIN)
    assert await knock.problem() == ""


async def test_a_look_is_not_repeated_for_every_message(place: Encrypting) -> None:
    knock = place.knock()
    await knock.start()
    place.server.asked.clear()
    place.clock.forward(SETTLED_FOR - 1)
    await knock.problem()
    assert place.server.asked == []


async def test_a_homeserver_without_encryption_is_a_problem_and_no_error(place: Encrypting) -> None:
    place.server.instead["keys/upload"] = httpx2.Response(403, json={"errcode": "M_FORBIDDEN"})
    assert "M_FORBIDDEN" in await place.knock().problem()


# --- without the extra


async def test_without_the_extra_the_owner_is_told_what_to_install(
    place: Encrypting, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith(("vodozemac", "mknock.matrix.encryption."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("mknock.matrix.encryption.find_spec", lambda _: None)
    missing = encryption_of(place.server.client(), place.acting, place.store, clock=place.clock)
    assert "pip install 'mknock[e2ee]'" in await missing.problem()
    assert "vodozemac" not in sys.modules


async def test_without_the_extra_nothing_is_encrypted() -> None:
    with pytest.raises(EncryptionUnavailable, match="e2ee"):
        await WithoutExtra().encrypt(ROOM, [BOT], "m.room.message", TEXT, rotation=Rotation())
