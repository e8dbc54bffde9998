"""Signing in on a real homeserver: what our own notion of it cannot prove."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpcore2
import pytest
from tests.kit import asgi
from tests.kit.beeper_stub import CODE, BeeperStub
from tests.kit.cast import new_name
from tests.kit.synapse import Synapse

from mknock.domain.errors import TokenRefused
from mknock.matrix.auth import AFTER_LOGIN, JwtSignIn, PasswordSignIn, SignedIn, SignIn
from mknock.matrix.beeper import BeeperLogin, CodeNeeded, EmailCodeSignIn
from mknock.matrix.client import CONNECT_TIMEOUT, READ_TIMEOUT, MatrixClient
from mknock.matrix.gateway import HomeserverGateway
from mknock.matrix.lanes import Address, Lanes
from mknock.storage.sqlite import SqliteStore

PASSWORD = "correct horse"
LIFETIME = 1.5
"""Seconds that an access token lives on the hasty homeserver."""


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Synapse]:
    """A homeserver whose access tokens are soon over."""
    settings = {"refreshable_access_token_lifetime": int(LIFETIME * 1000)}
    with Synapse.start(tmp_path_factory.mktemp("hasty"), settings=settings) as running:
        yield running


@dataclass
class Knock:
    """One process of Knock that signs in, and the paths of what it asked the homeserver."""

    tokens: SignedIn
    client: MatrixClient
    asked: list[str] = field(default_factory=list)

    @property
    def homeserver(self) -> HomeserverGateway:
        return HomeserverGateway(self.client)

    def logins(self) -> int:
        return sum(path.endswith("/login") for path in self.asked)

    def refreshes(self) -> int:
        return sum(path.endswith("/refresh") for path in self.asked)


class Noting(Lanes):
    """Connections that note the path of everything asked."""

    def __init__(self) -> None:
        super().__init__(read_timeout=READ_TIMEOUT, connect_timeout=CONNECT_TIMEOUT)
        self.asked: list[str] = []

    async def exchange(
        self, address: Address, request: httpcore2.Request, *, largest: int
    ) -> tuple[httpcore2.Response, bytes]:
        self.asked.append(request.url.target.decode())
        return await super().exchange(address, request, largest=largest)


class Starting:
    """Starts processes of Knock on one store, which is what remains between them."""

    def __init__(self, path: Path, cleanup: AsyncExitStack) -> None:
        self._path = path
        self._cleanup = cleanup
        self.late = 0.0
        """Seconds that Knock's clock is ahead of the homeserver's."""

    def clock(self) -> float:
        return time.time() + self.late

    async def store(self) -> SqliteStore:
        store = SqliteStore(self._path)
        await store.open()
        self._cleanup.push_async_callback(store.close)
        return store

    async def http(self) -> Noting:
        return await self._cleanup.enter_async_context(Noting())

    async def __call__(self, url: str, sign_in: SignIn, *, holder: str = "one") -> Knock:
        http = await self.http()
        anonymous = MatrixClient(url, http=http)
        tokens = SignedIn(await self.store(), sign_in, anonymous, holder=holder, clock=self.clock)
        return Knock(tokens, MatrixClient(url, tokens, http=http), http.asked)


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Starting]:
    async with AsyncExitStack() as cleanup:
        yield Starting(tmp_path / "knock.db", cleanup)


async def someone(homeserver: Synapse) -> tuple[PasswordSignIn, str]:
    """A new account: how to sign in to it, and its Matrix ID."""
    account = await homeserver.register(new_name("bot"), PASSWORD)
    await account.log_out()
    return PasswordSignIn(account.user_id, PASSWORD), account.user_id


async def devices(knock: Knock) -> list[str]:
    listed = await knock.client.request("GET", ("v3", "devices"), what="devices")
    return [device["device_id"] for device in listed["devices"]]


async def log_out(knock: Knock) -> None:
    await knock.client.request("POST", ("v3", "logout"), what="logout", json={})


# Password


async def test_a_password_signs_in(synapse: Synapse, start: Starting) -> None:
    way, user_id = await someone(synapse)
    knock = await start(synapse.url, way)

    assert await knock.homeserver.whoami() == user_id


async def test_a_localpart_is_enough(synapse: Synapse, start: Starting) -> None:
    _, user_id = await someone(synapse)
    knock = await start(synapse.url, PasswordSignIn(user_id[1:].partition(":")[0], PASSWORD))

    assert await knock.homeserver.whoami() == user_id


async def test_a_restart_needs_no_login(synapse: Synapse, start: Starting) -> None:
    way, user_id = await someone(synapse)
    await (await start(synapse.url, way)).homeserver.whoami()
    again = await start(synapse.url, way, holder="again")

    assert await again.homeserver.whoami() == user_id
    assert again.logins() == 0


async def test_several_processes_share_one_login(synapse: Synapse, start: Starting) -> None:
    way, user_id = await someone(synapse)
    processes = [await start(synapse.url, way, holder=f"process {number}") for number in range(4)]

    seen = await asyncio.gather(*(process.homeserver.whoami() for process in processes))

    assert set(seen) == {user_id}
    assert sum(process.logins() for process in processes) == 1


@pytest.mark.promise(7)
async def test_a_wrong_password_is_tried_once_and_a_right_one_at_once(
    synapse: Synapse, start: Starting
) -> None:
    _, user_id = await someone(synapse)
    wrong = await start(synapse.url, PasswordSignIn(user_id, "wrong"))
    for _ in range(3):
        with pytest.raises(TokenRefused):
            await wrong.homeserver.whoami()
    right = await start(synapse.url, PasswordSignIn(user_id, PASSWORD), holder="again")

    assert await right.homeserver.whoami() == user_id
    assert wrong.logins() == 1


# Refresh and soft logout


async def test_a_soft_logout_is_healed_by_a_refresh(hasty: Synapse, start: Starting) -> None:
    way, user_id = await someone(hasty)
    knock = await start(hasty.url, way)
    await knock.homeserver.whoami()
    start.late = -60.0  # so that Knock does not see it coming
    await asyncio.sleep(LIFETIME + 0.1)

    answer = await knock.client.request("GET", ("v3", "account", "whoami"), what="whoami")

    assert answer["user_id"] == user_id
    assert (knock.logins(), knock.refreshes()) == (1, 1)


async def test_a_soft_logout_can_be_healed_again_and_again(hasty: Synapse, start: Starting) -> None:
    way, _ = await someone(hasty)
    knock = await start(hasty.url, way)
    start.late = -60.0
    for _ in range(2):
        await devices(knock)
        await asyncio.sleep(LIFETIME + 0.1)

    assert len(await devices(knock)) == 1
    assert (knock.logins(), knock.refreshes()) == (1, 2)


async def test_a_token_is_refreshed_before_it_is_refused(hasty: Synapse, start: Starting) -> None:
    way, _ = await someone(hasty)
    knock = await start(hasty.url, way)
    await devices(knock)
    await asyncio.sleep(LIFETIME * 0.85)
    knock.asked.clear()

    await devices(knock)

    assert [path.rpartition("/")[2] for path in knock.asked] == ["refresh", "devices"]


async def test_many_requests_on_an_ended_token_make_one_refresh(hasty: Synapse, start: Starting) -> None:
    way, _ = await someone(hasty)
    knock = await start(hasty.url, way)
    await devices(knock)
    start.late = -60.0
    await asyncio.sleep(LIFETIME + 0.1)

    await asyncio.gather(*(devices(knock) for _ in range(30)))

    assert (knock.logins(), knock.refreshes()) == (1, 1)


# Hard logout


async def test_after_a_hard_logout_there_is_a_new_login_with_the_same_device(
    synapse: Synapse, start: Starting
) -> None:
    way, _ = await someone(synapse)
    knock = await start(synapse.url, way)
    before = await devices(knock)
    await log_out(knock)
    start.late = AFTER_LOGIN

    assert await devices(knock) == before
    assert (knock.logins(), knock.refreshes()) == (2, 0)


async def test_a_logout_everywhere_ends_in_one_login_for_all(synapse: Synapse, start: Starting) -> None:
    way, _ = await someone(synapse)
    processes = [await start(synapse.url, way, holder=f"process {number}") for number in range(3)]
    for process in processes:
        await devices(process)
    await processes[0].client.request("POST", ("v3", "logout", "all"), what="logout", json={})
    start.late = AFTER_LOGIN

    await asyncio.gather(*(devices(process) for process in processes for _ in range(5)))

    assert sum(process.logins() for process in processes) == 2


# Accounts that were stopped


async def test_a_locked_account_is_not_signed_in_again(synapse: Synapse, start: Starting) -> None:
    way, user_id = await someone(synapse)
    knock = await start(synapse.url, way)
    await devices(knock)
    await (await synapse.admin()).request("PUT", f"/_synapse/admin/v2/users/{user_id}", json={"locked": True})
    start.late = AFTER_LOGIN

    with pytest.raises(TokenRefused, match="locked"):
        await devices(knock)

    assert knock.logins() == 1


async def test_a_suspended_account_is_said_to_be_suspended(synapse: Synapse, start: Starting) -> None:
    way, user_id = await someone(synapse)
    knock = await start(synapse.url, way)
    room = await synapse.new_room(
        await synapse.user(new_name("alice")), bot=await synapse.user(user_id[1:].partition(":")[0])
    )
    await (await synapse.admin()).request(
        "PUT", f"/_synapse/admin/v1/suspend/{user_id}", json={"suspend": True}
    )

    with pytest.raises(TokenRefused, match="suspended"):
        await knock.homeserver.invite(room, "@x:knock.test", "")


# Limits


async def test_synapses_limit_on_logins_is_obeyed(tmp_path: Path, start: Starting) -> None:
    with Synapse.start(tmp_path / "synapse", limits="default") as strict:
        login: dict[str, Any] = {
            "type": "m.login.password", "identifier": {"type": "m.id.user", "user": "bot"}, "password": "x",
        }  # fmt: skip
        while (await strict.anonymous().call("POST", "login", json=login)).status_code != 429:
            pass
        knock = await start(strict.url, PasswordSignIn("bot", PASSWORD))
        for _ in range(3):
            with pytest.raises(TokenRefused, match="next try is in"):
                await knock.homeserver.whoami()

    assert knock.logins() == 1


# Tokens from elsewhere


async def test_a_login_token_signs_in(synapse: Synapse, start: Starting) -> None:
    name = new_name("bot")
    knock = await start(synapse.url, JwtSignIn(synapse.jwt(name)))

    assert await knock.homeserver.whoami() == f"@{name}:knock.test"


async def test_a_login_tokens_session_is_refreshed(hasty: Synapse, start: Starting) -> None:
    knock = await start(hasty.url, JwtSignIn(hasty.jwt(new_name("bot"))))
    await devices(knock)
    start.late = -60.0
    await asyncio.sleep(LIFETIME + 0.1)

    await devices(knock)

    assert (knock.logins(), knock.refreshes()) == (1, 1)


async def test_a_bad_login_token_is_named(synapse: Synapse, start: Starting) -> None:
    knock = await start(synapse.url, JwtSignIn("nonsense"))

    with pytest.raises(TokenRefused, match="BEEPER_LOGIN_TOKEN was refused"):
        await knock.homeserver.whoami()


async def test_beepers_code_signs_in_with_two_starts(synapse: Synapse, start: Starting) -> None:
    name = new_name("bot")
    stub = BeeperStub({"bot@knock.test": name}, synapse.jwt)
    async with asgi.served(stub) as api:
        beeper = BeeperLogin(api, await start.http())
        first = await start(synapse.url, EmailCodeSignIn(await start.store(), beeper, "bot@knock.test"))
        with pytest.raises(CodeNeeded):
            await first.homeserver.whoami()
        way = EmailCodeSignIn(await start.store(), beeper, "bot@knock.test", CODE)
        second = await start(synapse.url, way, holder="second")

        assert await second.homeserver.whoami() == f"@{name}:knock.test"
    assert [call.path for call in stub.calls] == ["/user/login", "/user/login/email", "/user/login/response"]
