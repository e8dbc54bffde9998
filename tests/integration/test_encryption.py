"""Encrypted rooms on a real homeserver, read by an app that shares no code with Knock."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import vodozemac
from tests.kit.account import Account
from tests.kit.cast import new_name
from tests.kit.key_server import foreign_identity, without_signatures
from tests.kit.nio_reader import NioReader
from tests.kit.synapse import Synapse
from tests.unit.test_secret_storage import DESCRIPTION, NAME, RECOVERY_KEY, SEALED, SEED

from mknock.domain.errors import EncryptionUnavailable
from mknock.matrix.answers import ProofWanted
from mknock.matrix.auth import FixedToken
from mknock.matrix.client import MatrixClient, matrix_http
from mknock.matrix.encryption.cross_signing import FOREIGN_IDENTITY
from mknock.matrix.encryption.machine import NOT_OURS, Machine
from mknock.matrix.encryption.signatures import decoded
from mknock.matrix.gateway import HomeserverGateway
from mknock.ports import Encryption, Membership, Rotation
from mknock.storage.sqlite import SqliteStore

Json = dict[str, Any]
ROTATION = Rotation()
PASSWORD = "correct horse"


@dataclass
class Knock:
    """One process of Knock in an encrypted room."""

    room: str
    encryption: Machine
    homeserver: HomeserverGateway
    client: MatrixClient
    _sent: int = field(default=0)

    async def encrypted(self, text: str) -> Json:
        content = {"msgtype": "m.text", "body": text}
        members = list(await self.homeserver.members(self.room, Membership.JOIN))
        return await self.encryption.encrypt(self.room, members, "m.room.message", content, rotation=ROTATION)

    async def say(self, text: str) -> Json:
        content = await self.encrypted(text)
        await self.homeserver.send(self.room, "m.room.encrypted", new_name("t"), content)
        return content


class Stage:
    """A room that is encrypted, with Alice in it, and Knock, which may be started again and again."""

    def __init__(self, synapse: Synapse, directory: Path, cleanup: AsyncExitStack) -> None:
        self.synapse = synapse
        self.directory = directory
        self._cleanup = cleanup
        self.bot: Account
        self.alice: Account
        self.room = ""

    async def set_up(self) -> None:
        self.bot = await self.synapse.user(new_name("bot"))
        self.alice = await self.synapse.user(new_name("alice"))
        self.room = await self.synapse.new_room(self.alice, bot=self.bot, encrypted=True)

    async def knock(self, *, bot: Account | None = None, **settings: Any) -> Knock:
        """Start Knock on its store, as after a restart."""
        store = SqliteStore(self.directory / "knock.db")
        await store.open()
        self._cleanup.push_async_callback(store.close)
        http = matrix_http()
        self._cleanup.push_async_callback(http.aclose)
        tokens = FixedToken((bot or self.bot).access_token or "", self.synapse.url)
        client = MatrixClient(self.synapse.url, tokens, http=http)
        homeserver = HomeserverGateway(client)
        encryption = Machine(client, homeserver, store, clock=time.time, **settings)
        return Knock(self.room, encryption, homeserver, client)

    async def app(self, account: Account) -> NioReader:
        """Open an app on that account's device."""
        directory = self.directory / account.device_id
        return await self._cleanup.enter_async_context(NioReader.opened(account, directory))

    async def joined(self, name: str) -> Account:
        """Somebody new who comes in."""
        account = await self.synapse.user(new_name(name))
        await self.alice.invite(self.room, account.user_id)
        await account.join(self.room)
        return account


@pytest.fixture
async def stage(synapse: Synapse, tmp_path: Path) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as cleanup:
        made = Stage(synapse, tmp_path, cleanup)
        await made.set_up()
        yield made


async def keys_of(asker: Account, user_id: str) -> Json:
    """What the homeserver tells of somebody's keys."""
    return await asker.must("POST", "keys", "query", json={"device_keys": {user_id: []}})


async def test_what_knock_keeps_to_is_the_port(stage: Stage) -> None:
    encryption: Encryption = (await stage.knock()).encryption
    assert await encryption.problem() == ""


async def test_a_members_app_decrypts_what_knock_sends(stage: Stage) -> None:
    app = await stage.app(stage.alice)
    await (await stage.knock()).say("Welcome!")
    assert await app.read(stage.room) == ["Welcome!"]


async def test_it_still_does_after_a_restart_of_knock(stage: Stage) -> None:
    app = await stage.app(stage.alice)
    first = await (await stage.knock()).say("before")
    second = await (await stage.knock()).say("after")
    assert await app.read(stage.room) == ["before", "after"]
    assert first["session_id"] == second["session_id"]


async def test_a_crash_between_keeping_and_sending_uses_no_message_key_twice(stage: Stage) -> None:
    app = await stage.app(stage.alice)
    lost = await (await stage.knock()).encrypted("never sent")
    sent = await (await stage.knock()).say("sent")
    indices = [
        vodozemac.MegolmMessage.from_base64(each["ciphertext"]).message_index() for each in (lost, sent)
    ]
    assert (indices, await app.read(stage.room)) == ([0, 1], ["sent"])


async def test_a_device_that_comes_later_reads_on(stage: Stage) -> None:
    await stage.app(stage.alice)
    knock = await stage.knock()
    first = await knock.say("early")
    laptop = await stage.app(await stage.synapse.user(stage.alice.user_id[1:].partition(":")[0]))
    second = await knock.say("late")
    assert (first["session_id"] == second["session_id"], (await laptop.read(stage.room))[-1]) == (
        True,
        "late",
    )


async def test_knock_hears_of_a_later_device_by_sync(stage: Stage) -> None:
    await stage.app(stage.alice)
    knock = await stage.knock()
    news = await knock.homeserver.sync(None, [stage.room], timeout=0)
    await knock.encryption.heard(news)
    await knock.say("early")
    laptop = await stage.app(await stage.synapse.user(stage.alice.user_id[1:].partition(":")[0]))
    await knock.encryption.heard(await knock.homeserver.sync(news.position, [stage.room], timeout=5))
    await knock.say("late")
    assert (await laptop.read(stage.room))[-1] == "late"


async def test_who_has_left_does_not_get_the_next_sessions_key(stage: Stage) -> None:
    await stage.app(stage.alice)
    bob = await stage.joined("bob")
    await stage.app(bob)
    knock = await stage.knock()
    first = await knock.say("together")
    await bob.leave(stage.room)
    second = await knock.say("without Bob")
    await bob_comes_back(stage, bob)
    assert first["session_id"] != second["session_id"]


async def bob_comes_back(stage: Stage, bob: Account) -> None:
    await stage.alice.invite(stage.room, bob.user_id)
    await bob.join(stage.room)


async def test_who_was_away_cannot_read_what_was_said_meanwhile(stage: Stage) -> None:
    bob = await stage.joined("bob")
    app = await stage.app(bob)
    knock = await stage.knock()
    await knock.say("together")
    await bob.leave(stage.room)
    await knock.say("without Bob")
    await bob_comes_back(stage, bob)
    await knock.say("together again")
    assert await app.read(stage.room) == ["together", None, "together again"]


async def test_a_joiners_first_device_is_waited_for(stage: Stage) -> None:
    knock = await stage.knock()
    bob = await stage.joined("bob")
    before = await knock.encryption.can_read(bob.user_id)
    await stage.app(bob)
    assert (before, await knock.encryption.can_read(bob.user_id)) == (False, True)


# --- what a client that excludes insecure devices looks at


def is_signed(content: Json, user_id: str, key_id: str, public: str) -> bool:
    """Whether that key has signed it, by libraries that Knock does not use for this."""
    signature = content["signatures"][user_id][f"ed25519:{key_id}"]
    key = vodozemac.Ed25519PublicKey.from_base64(public)
    key.verify_signature(without_signatures(content), vodozemac.Ed25519Signature.from_base64(signature))
    return True


def public_of(key: Json) -> str:
    (public,) = key["keys"].values()
    return str(public)


async def test_others_see_that_the_account_vouches_for_the_device(stage: Stage) -> None:
    await (await stage.knock()).encryption.start()
    bot, shown = stage.bot, await keys_of(stage.alice, stage.bot.user_id)
    master, self_signing = (shown[f"{kind}_keys"][bot.user_id] for kind in ("master", "self_signing"))
    device = shown["device_keys"][bot.user_id][bot.device_id]
    assert is_signed(self_signing, bot.user_id, public_of(master), public_of(master))
    assert is_signed(device, bot.user_id, public_of(self_signing), public_of(self_signing))
    assert is_signed(device, bot.user_id, bot.device_id, device["keys"][f"ed25519:{bot.device_id}"])


# --- whose session and whose identity it is


async def test_a_session_of_somebodys_app_is_left_alone(stage: Stage) -> None:
    await stage.app(stage.bot)
    before = await keys_of(stage.alice, stage.bot.user_id)
    problem = await (await stage.knock()).encryption.problem()
    assert (problem, await keys_of(stage.alice, stage.bot.user_id)) == (NOT_OURS, before)


async def test_the_homeserver_gives_our_own_keys_back_as_ours(stage: Stage) -> None:
    knock = await stage.knock()
    await knock.encryption.start()
    shown = (await keys_of(stage.alice, stage.bot.user_id))["device_keys"]
    assert await knock.encryption.is_ours(shown[stage.bot.user_id][stage.bot.device_id])


async def test_a_new_session_of_the_account_is_vouched_for_by_the_same_identity(stage: Stage) -> None:
    app = await stage.app(stage.alice)
    await (await stage.knock()).say("first session")
    again = await stage.synapse.user(stage.bot.user_id[1:].partition(":")[0])
    await (await stage.knock(bot=again)).say("second session")
    shown = await keys_of(stage.alice, stage.bot.user_id)
    signatures = shown["device_keys"][stage.bot.user_id][again.device_id]["signatures"][stage.bot.user_id]
    assert f"ed25519:{public_of(shown['self_signing_keys'][stage.bot.user_id])}" in signatures
    assert await app.read(stage.room) == ["first session", "second session"]


@pytest.fixture
async def foreign(stage: Stage) -> Stage:
    """The account has an identity of its owner's, who has left its keys in the secret storage."""
    bot, identity = stage.bot, foreign_identity(stage.bot.user_id, decoded(SEED, 32))
    await bot.must("POST", "keys", "device_signing", "upload", json=identity)
    for name, content in {
        NAME: {"encrypted": {"key1": SEALED}},
        "m.secret_storage.key.key1": DESCRIPTION,
    }.items():
        await bot.must("PUT", "user", bot.user_id, "account_data", name, json=content)
    return stage


async def test_the_owners_identity_stays(foreign: Stage) -> None:
    async def identity() -> Json:
        shown = await keys_of(foreign.alice, foreign.bot.user_id)
        return {kind: shown[f"{kind}_keys"] for kind in ("master", "self_signing")}

    before = await identity()
    with pytest.raises(EncryptionUnavailable, match="RECOVERY_KEY"):
        await (await foreign.knock(password=PASSWORD)).say("never sent")
    assert await identity() == before


async def test_the_owner_is_told_what_to_do(foreign: Stage) -> None:
    assert await (await foreign.knock()).encryption.problem() == FOREIGN_IDENTITY


async def test_with_the_recovery_key_the_owners_identity_vouches_for_the_device(foreign: Stage) -> None:
    app = await foreign.app(foreign.alice)
    await (await foreign.knock(recovery_key=RECOVERY_KEY)).say("Welcome!")
    bot, shown = foreign.bot, await keys_of(foreign.alice, foreign.bot.user_id)
    self_signing = public_of(shown["self_signing_keys"][bot.user_id])
    assert is_signed(
        shown["device_keys"][bot.user_id][bot.device_id], bot.user_id, self_signing, self_signing
    )
    assert await app.read(foreign.room) == ["Welcome!"]


async def test_the_proof_that_the_homeserver_wants_is_the_password(stage: Stage, synapse: Synapse) -> None:
    """Synapse wants it for a second identity, and takes it in the form in which Knock gives it."""
    bot = await synapse.register(new_name("bot"), PASSWORD)
    client = (await stage.knock(bot=bot)).client
    path = ("v3", "keys", "device_signing", "upload")
    await client.request("POST", path, what="first", json=foreign_identity(bot.user_id, bytes(32)))
    other = foreign_identity(bot.user_id, bytes(range(32)))
    with pytest.raises(ProofWanted) as wanted:
        await client.request("POST", path, what="second", json=other)
    proof = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": bot.user_id},
        "password": PASSWORD,
        "session": wanted.value.session,
    }
    await client.request("POST", path, what="second", json={**other, "auth": proof})
    shown = await keys_of(stage.alice, bot.user_id)
    assert public_of(shown["master_keys"][bot.user_id]) == public_of(other["master_key"])
