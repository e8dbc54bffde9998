"""Signing in as a whole: running processes of Knock, a real homeserver, and a stand-in for Beeper's API.

What one part of it does is in tests/integration/test_sign_in.py; here is what an owner sees.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import stat
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.integration.between import Between, Passed
from tests.integration.command import Ended, Terminal, mknock
from tests.kit import asgi
from tests.kit.account import Account
from tests.kit.asgi import Answer
from tests.kit.beeper_stub import CODE, BeeperStub
from tests.kit.cast import new_name
from tests.kit.processes import Server, wait_until
from tests.kit.synapse import Synapse

PASSWORD = "correct horse battery"
EMAIL = "bot@knock.test"
FORM_TOKEN = "form-token-of-signing-in"
SECRET_KEY = "secret key of the tests of signing in"
LIFETIME = 2.0
"""Seconds that an access token lives on the hasty homeserver."""


# The stage


@dataclass(frozen=True)
class Stage:
    """A room with a bot that Knock is to sign in as, and the folder in which Knock runs."""

    home: Path
    homeserver: Synapse
    between: Between
    owner: Account
    bot: Account
    room: str

    @property
    def name(self) -> str:
        """The bot's localpart."""
        return self.bot.user_id[1:].partition(":")[0]

    @property
    def by_password(self) -> dict[str, str]:
        return {"MATRIX_USER": self.name, "MATRIX_PASSWORD": PASSWORD}

    def env(self, **more: str) -> dict[str, str]:
        common = {"NEW_ROOM_ID": self.room, "MATRIX_BASE_URL": self.between.url, "FORM_TOKEN": FORM_TOKEN}
        return {**common, **more}

    def start(self, *arguments: str, **more: str) -> Server:
        return Server.mknock(self.home, self.env(**more), *arguments)

    @contextlib.asynccontextmanager
    async def ready(self, *arguments: str, **more: str) -> AsyncIterator[Server]:
        """A Knock that has signed in; ended with SIGTERM."""
        with self.start(*arguments, **more) as server:
            await server.wait_ready("/readyz")
            yield server
            server.terminate()

    async def run(self, *arguments: str, typed: str = "", **more: str) -> Ended:
        return await mknock(self.home, self.env(**more), *arguments, typed=typed)

    async def knock(self, server: Server) -> str:
        """Let a new person fill in the form; returns the Matrix ID."""
        person = (await self.homeserver.user(new_name("visitor"))).user_id
        async with server.client() as client:
            answer = await client.post(
                "/invite_from_form", params={"token": FORM_TOKEN}, json={"Matrix ID": person}
            )
        assert answer.status_code == 200, answer.text
        return person

    async def invited(self, person: str, *, within: float = 15.0) -> bool:
        async def so() -> bool:
            return await self.owner.membership(self.room, person) == "invite"

        return await wait_until(so, within, every=0.1)

    async def a_knock_gets_through(self, server: Server) -> bool:
        return await self.invited(await self.knock(server))

    @property
    def logins(self) -> list[Passed]:
        return self.between.of("login")

    async def devices(self) -> list[str]:
        """The bot's devices but the one of the account that the test holds."""
        listed = (await self.bot.must("GET", "devices"))["devices"]
        return [each["device_id"] for each in listed if each["device_id"] != self.bot.device_id]

    async def log_out_knock(self) -> None:
        """Let the homeserver's admin end Knock's session, which makes its tokens void."""
        admin = await self.homeserver.admin()
        path = f"/_synapse/admin/v2/users/{self.bot.user_id}/devices/{(await self.devices())[0]}"
        assert (await admin.request("DELETE", path)).is_success

    def some_time_passes(self) -> None:
        """End the pauses that keep logins apart, as if their minutes were over."""
        with contextlib.closing(sqlite3.connect(self.home / "data/knock.db")) as store, store:
            store.execute("DELETE FROM pauses WHERE name LIKE 'sign-in%'")

    def kept_session(self) -> dict[str, Any]:
        with contextlib.closing(sqlite3.connect(self.home / "data/knock.db")) as store:
            (text,) = store.execute("SELECT value FROM secrets WHERE name = 'session'").fetchone()
        session: dict[str, Any] = json.loads(text)
        return session

    def change_session(self, **changes: Any) -> None:
        text = json.dumps({**self.kept_session(), **changes})
        with contextlib.closing(sqlite3.connect(self.home / "data/knock.db")) as store, store:
            store.execute("UPDATE secrets SET value = ?1 WHERE name = 'session'", (text,))


@contextlib.asynccontextmanager
async def staged(homeserver: Synapse, home: Path) -> AsyncIterator[Stage]:
    async with Between.opened(homeserver.url) as between:
        bot, owner = await homeserver.register(new_name("bot"), PASSWORD), await homeserver.user("alice")
        room = await homeserver.new_room(owner, bot=bot)
        yield Stage(home, homeserver, between, owner, bot, room)


@pytest.fixture
async def stage(synapse: Synapse, tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(synapse, tmp_path) as stage:
        yield stage


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Synapse]:
    """A homeserver whose access tokens are soon over."""
    settings = {"refreshable_access_token_lifetime": int(LIFETIME * 1000)}
    with Synapse.start(tmp_path_factory.mktemp("hasty"), settings=settings) as running:
        yield running


async def status(server: Server, path: str) -> int:
    async with server.client() as client:
        return (await client.get(path)).status_code


# By password


async def test_with_a_password_a_knock_gets_through(stage: Stage) -> None:
    async with stage.ready(**stage.by_password) as server:
        assert await stage.a_knock_gets_through(server)


async def test_a_restart_goes_on_with_the_session_that_was_kept(stage: Stage) -> None:
    for _ in range(3):
        async with stage.ready(**stage.by_password) as server:
            assert await stage.a_knock_gets_through(server)

    assert (len(stage.logins), len(await stage.devices())) == (1, 1)


async def test_four_workers_sign_in_once(stage: Stage) -> None:
    async with stage.ready("--workers", "4", **stage.by_password) as server:
        for _ in range(5):
            assert await stage.a_knock_gets_through(server)

    assert len(stage.logins) == 1


async def test_after_a_logout_by_the_admin_knock_signs_in_again_by_itself(stage: Stage) -> None:
    async with stage.ready(**stage.by_password) as server:
        await stage.log_out_knock()
        stage.some_time_passes()

        assert await stage.a_knock_gets_through(server)


async def test_the_device_stays_the_same_over_logins(stage: Stage) -> None:
    async with stage.ready(**stage.by_password) as server:
        await stage.log_out_knock()
        stage.some_time_passes()
        await stage.a_knock_gets_through(server)

    first, second = (json.loads(login.body)["device_id"] for login in stage.logins)
    assert [first] == [second] == await stage.devices()


async def test_two_workers_that_are_logged_out_sign_in_again_once(stage: Stage) -> None:
    async with stage.ready("--workers", "2", **stage.by_password) as server:
        await stage.log_out_knock()
        stage.some_time_passes()
        people = await asyncio.gather(*(stage.knock(server) for _ in range(8)))
        for person in people:
            assert await stage.invited(person, within=20)

    assert len(stage.logins) == 2


async def test_a_token_that_ran_out_is_refreshed(hasty: Synapse, tmp_path: Path) -> None:
    async with staged(hasty, tmp_path) as stage, stage.ready(**stage.by_password) as server:
        await asyncio.sleep(LIFETIME + 0.5)
        assert await stage.a_knock_gets_through(server)

        assert (len(stage.logins), len(stage.between.of("refresh")) >= 1) == (1, True)


async def test_a_soft_logout_is_healed_by_a_refresh(hasty: Synapse, tmp_path: Path) -> None:
    async with staged(hasty, tmp_path) as stage:
        async with stage.ready(**stage.by_password):
            pass
        await asyncio.sleep(LIFETIME + 0.5)
        stage.change_session(expires_at=None)  # so that only the homeserver knows that it is over
        stage.between.passed.clear()
        async with stage.ready(**stage.by_password) as server:
            assert await stage.a_knock_gets_through(server)

        refused = [each for each in stage.between.passed if each.answer.get("soft_logout")]
        assert (len(refused) >= 1, stage.logins) == (True, [])


async def test_a_wrong_password_is_tried_once(stage: Stage) -> None:
    with stage.start(MATRIX_USER=stage.name, MATRIX_PASSWORD="wrong") as server:
        await server.wait_ready()
        await wait_until(lambda: stage.logins)
        await asyncio.sleep(5)

        assert (len(stage.logins), await status(server, "/readyz")) == (1, 503)


async def test_the_log_names_the_setting_that_was_refused(stage: Stage) -> None:
    with stage.start(MATRIX_USER=stage.name, MATRIX_PASSWORD="wrong") as server:
        await wait_until(lambda: "MATRIX_PASSWORD was refused" in server.output, 20)

        assert "Traceback" not in server.output


async def test_a_corrected_password_is_tried_at_once(stage: Stage) -> None:
    with stage.start(MATRIX_USER=stage.name, MATRIX_PASSWORD="wrong") as server:
        await wait_until(lambda: "MATRIX_PASSWORD was refused" in server.output, 20)

    async with stage.ready(**stage.by_password):
        assert len(stage.logins) == 2


# What is no refusal of the token


OUTAGES = [
    Answer(502, "<html>Bad Gateway</html>"),
    Answer(429, {"errcode": "M_LIMIT_EXCEEDED", "error": "Too Many Requests"}, {"retry-after": "1"}),
    Answer(403, {"errcode": "M_FORBIDDEN", "error": "no"}),
]


@pytest.mark.promise(1)
@pytest.mark.parametrize("answer", OUTAGES, ids=lambda answer: str(answer.status))
async def test_an_outage_never_throws_the_token_away(stage: Stage, answer: Answer) -> None:
    async with stage.ready(**stage.by_password):
        before = stage.kept_session()
    stage.between.instead["whoami"] = answer
    with stage.start(**stage.by_password) as server:
        await wait_until(lambda: len(stage.between.of("whoami")) >= 3, 20)
        stage.between.instead.clear()
        await server.wait_ready("/readyz")

    assert (len(stage.logins), stage.kept_session()) == (1, before)


async def test_a_homeserver_that_was_down_at_the_start_is_signed_in_to_when_it_comes(stage: Stage) -> None:
    stage.between.instead["login"] = Answer(502, "<html>Bad Gateway</html>")
    with stage.start(**stage.by_password) as server:
        await server.wait_ready()
        person = await stage.knock(server)
        stage.between.instead.clear()

        assert await stage.invited(person, within=30)


# By Beeper's login token


async def test_a_login_token_alone_gets_a_knock_through(stage: Stage) -> None:
    async with stage.ready(BEEPER_LOGIN_TOKEN=stage.homeserver.jwt(stage.name)) as server:
        assert await stage.a_knock_gets_through(server)


async def test_a_second_start_goes_on_although_the_login_token_is_used(stage: Stage) -> None:
    token = stage.homeserver.jwt(stage.name)
    async with stage.ready(BEEPER_LOGIN_TOKEN=token):
        pass
    refusal = {"errcode": "M_FORBIDDEN", "error": "Token was used"}
    stage.between.instead["login"] = Answer(403, refusal)
    async with stage.ready(BEEPER_LOGIN_TOKEN=token) as server:
        assert await stage.a_knock_gets_through(server)

    assert len(stage.logins) == 1


# By Beeper's e-mail code


@dataclass(frozen=True)
class Beeper:
    """The stand-in for Beeper's API, and what to set to use it."""

    stub: BeeperStub
    env: dict[str, str]

    def asked(self, path: str) -> int:
        return sum(call.path == path for call in self.stub.calls)

    @property
    def emails(self) -> int:
        return self.asked("/user/login/email")

    @property
    def answers(self) -> int:
        return self.asked("/user/login/response")


@contextlib.asynccontextmanager
async def beeper_for(stage: Stage, **about: Any) -> AsyncIterator[Beeper]:
    stub = BeeperStub({EMAIL: stage.name}, token_for=stage.homeserver.jwt, **about)
    async with asgi.served(stub) as url:
        yield Beeper(stub, {"BEEPER_API_BASE": url, "BEEPER_LOGIN_EMAIL": EMAIL})


@pytest.fixture
async def beeper(stage: Stage) -> AsyncIterator[Beeper]:
    async with beeper_for(stage) as beeper:
        yield beeper


async def a_code_is_asked_for(stage: Stage, beeper: Beeper, *arguments: str) -> None:
    """Make the first start, which asks for a code, and end it."""
    with stage.start(*arguments, **beeper.env) as server:
        await wait_until(lambda: beeper.emails, 20)
        await wait_until(lambda: "set BEEPER_LOGIN_CODE" in server.output, 20)
        server.terminate()


async def test_the_first_start_asks_for_one_code_however_many_workers(stage: Stage, beeper: Beeper) -> None:
    with stage.start("--workers", "2", **beeper.env) as server:
        await server.wait_ready()
        await wait_until(lambda: beeper.emails, 20)
        await asyncio.sleep(5)

        assert (beeper.asked("/user/login"), beeper.emails) == (1, 1)


async def test_while_the_code_is_awaited_knock_is_healthy_but_not_ready(stage: Stage, beeper: Beeper) -> None:
    with stage.start(**beeper.env) as server:
        await server.wait_ready()
        await wait_until(lambda: beeper.emails, 20)

        assert (await status(server, "/healthz"), await status(server, "/readyz")) == (200, 503)


async def test_the_first_start_says_what_to_do_with_the_code(stage: Stage, beeper: Beeper) -> None:
    with stage.start(**beeper.env) as server:
        await wait_until(lambda: f"a code was sent to {EMAIL}; set BEEPER_LOGIN_CODE" in server.output, 20)

        assert "Traceback" not in server.output


async def test_while_the_code_is_awaited_sigterm_ends_knock(stage: Stage, beeper: Beeper) -> None:
    with stage.start("--workers", "2", **beeper.env) as server:
        await server.wait_ready()
        await wait_until(lambda: beeper.emails, 20)
        began = time.monotonic()
        server.terminate()

        assert time.monotonic() - began < 2


@contextlib.asynccontextmanager
async def a_beeper_that_never_answers() -> AsyncIterator[tuple[dict[str, str], asyncio.Event]]:
    """What to set to use it, and when it was asked."""
    asked = asyncio.Event()
    async with await asyncio.start_server(lambda *_: asked.set(), "127.0.0.1", 0) as silent:
        url = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
        yield {"BEEPER_API_BASE": url, "BEEPER_LOGIN_EMAIL": EMAIL}, asked


async def test_a_beeper_that_never_answers_blocks_neither_health_nor_the_end(stage: Stage) -> None:
    async with a_beeper_that_never_answers() as (env, asked):
        with stage.start(**env) as server:
            await server.wait_ready()
            await asyncio.wait_for(asked.wait(), 20)
            healthy, began = await status(server, "/healthz"), time.monotonic()
            server.terminate()

            assert (healthy, time.monotonic() - began < 2) == (200, True)


async def test_after_an_end_in_the_middle_of_a_login_the_next_start_need_not_wait(
    stage: Stage, beeper: Beeper
) -> None:
    async with a_beeper_that_never_answers() as (env, asked):
        with stage.start(**env) as server:
            await server.wait_ready()
            await asyncio.wait_for(asked.wait(), 20)
            server.terminate()
    with stage.start(**beeper.env):
        assert await wait_until(lambda: beeper.emails, 10)


@pytest.mark.promise(1)
async def test_the_second_start_signs_in_with_the_code_and_delivers_what_waited(
    stage: Stage, beeper: Beeper
) -> None:
    with stage.start("--workers", "2", **beeper.env) as server:
        await server.wait_ready()
        waiting = await stage.knock(server)
        await wait_until(lambda: beeper.emails, 20)
        server.terminate()
    async with stage.ready("--workers", "2", **beeper.env, BEEPER_LOGIN_CODE=CODE):
        assert await stage.invited(waiting)

    assert (beeper.emails, beeper.answers, len(stage.logins)) == (1, 1, 1)


async def test_a_third_start_with_the_same_code_asks_for_nothing(stage: Stage, beeper: Beeper) -> None:
    await a_code_is_asked_for(stage, beeper)
    async with stage.ready(**beeper.env, BEEPER_LOGIN_CODE=CODE):
        pass
    before = len(beeper.stub.calls)
    async with stage.ready(**beeper.env, BEEPER_LOGIN_CODE=CODE) as server:
        assert await stage.a_knock_gets_through(server)

    assert (len(beeper.stub.calls), len(stage.logins)) == (before, 1)


async def test_a_wrong_code_is_tried_once(stage: Stage, beeper: Beeper) -> None:
    await a_code_is_asked_for(stage, beeper)
    with stage.start("--workers", "2", **beeper.env, BEEPER_LOGIN_CODE="000000") as server:
        await wait_until(lambda: "the code is wrong" in server.output, 20)
        await asyncio.sleep(4)

        assert (beeper.answers, beeper.emails, "Traceback" in server.output) == (1, 1, False)


async def test_the_right_code_after_a_wrong_one_signs_in(stage: Stage, beeper: Beeper) -> None:
    await a_code_is_asked_for(stage, beeper)
    with stage.start(**beeper.env, BEEPER_LOGIN_CODE="000000") as server:
        await wait_until(lambda: "the code is wrong" in server.output, 20)
        server.terminate()  # or the login that was being tried may be waited for
    async with stage.ready(**beeper.env, BEEPER_LOGIN_CODE=CODE):
        assert (beeper.emails, beeper.answers) == (1, 2)


async def test_a_429_that_no_waiting_cures_is_not_repeated(stage: Stage) -> None:
    async with beeper_for(stage, outdated=True) as beeper:
        await a_code_is_asked_for(stage, beeper)
        with stage.start(**beeper.env, BEEPER_LOGIN_CODE=CODE) as server:
            await wait_until(lambda: "Beeper says that Knock is out of date" in server.output, 20)
            await asyncio.sleep(4)

            assert (beeper.answers, beeper.emails) == (1, 1)


async def test_a_login_by_hand_ends_the_waiting(stage: Stage, beeper: Beeper) -> None:
    with stage.start(**beeper.env) as server:
        await wait_until(lambda: beeper.emails, 20)
        await stage.run("login", typed=f"{CODE}\n", **beeper.env)
        await server.wait_ready("/readyz")

        assert await stage.a_knock_gets_through(server)


# mknock login


def assert_refused(ended: Ended, sentence: str) -> None:
    """It ended with 1 and one sentence on standard error."""
    assert (ended.code, ended.out, ended.err.count("\n"), sentence in ended.err) == (1, "", 1, True), ended


async def test_login_by_email_keeps_a_session(stage: Stage, beeper: Beeper) -> None:
    ended = await stage.run("login", "--email", EMAIL, typed=f"{CODE}\n", **beeper.env)

    assert ended == Ended(0, f"Signed in as {stage.bot.user_id}; the session is kept in the store.\n", "")


async def test_what_login_kept_is_enough_to_serve(stage: Stage, beeper: Beeper) -> None:
    await stage.run("login", "--email", EMAIL, typed=f"{CODE}\n", **beeper.env)
    async with stage.ready() as server:
        assert await stage.a_knock_gets_through(server)


@pytest.mark.promise(10)
async def test_login_by_password_at_a_terminal_hides_it(stage: Stage) -> None:
    async with Terminal.opened(stage.home, stage.env(), "login", "--user", stage.name) as terminal:
        await terminal.shows(f"Password of {stage.name}")
        terminal.type(PASSWORD + "\n")
        await terminal.shows(f"Signed in as {stage.bot.user_id}")

        assert PASSWORD not in terminal.shown


async def test_login_with_the_code_at_a_terminal(stage: Stage, beeper: Beeper) -> None:
    async with Terminal.opened(stage.home, stage.env(**beeper.env), "login") as terminal:
        await terminal.shows(f"Code that was sent to {EMAIL}")
        terminal.type(CODE + "\n")

        assert await terminal.ended() == 0


async def test_login_uses_the_password_that_is_set(stage: Stage) -> None:
    assert (await stage.run("login", **stage.by_password)).code == 0


async def test_login_twice_makes_no_second_device(stage: Stage) -> None:
    for _ in range(2):
        await stage.run("login", **stage.by_password)

    assert (len(stage.logins), len(await stage.devices())) == (2, 1)


async def test_login_with_a_wrong_password_is_one_sentence(stage: Stage) -> None:
    ended = await stage.run("login", "--user", stage.name, typed="wrong\n")

    assert_refused(ended, f"{stage.between.url} refused the login (M_FORBIDDEN)")
    assert len(stage.logins) == 1


async def test_login_with_a_wrong_code_is_one_sentence(stage: Stage, beeper: Beeper) -> None:
    ended = await stage.run("login", "--email", EMAIL, typed="000000\n", **beeper.env)

    assert_refused(ended, "the code is wrong")
    assert (beeper.emails, beeper.answers) == (1, 1)


async def test_login_at_a_beeper_that_refuses_names_the_other_ways(stage: Stage) -> None:
    async with beeper_for(stage, outdated=True) as beeper:
        ended = await stage.run("login", "--email", EMAIL, typed=f"{CODE}\n", **beeper.env)

        assert_refused(ended, "out of date as a client. Use MATRIX_ACCESS_TOKEN")
        assert beeper.answers == 1


async def test_login_without_a_token_in_the_answer_is_one_sentence(stage: Stage) -> None:
    async with beeper_for(stage, waitlisted=True) as beeper:
        ended = await stage.run("login", "--email", EMAIL, typed=f"{CODE}\n", **beeper.env)

    assert_refused(ended, "gave no token")


async def test_login_without_an_answer_is_one_sentence(stage: Stage, beeper: Beeper) -> None:
    assert_refused(await stage.run("login", "--email", EMAIL, **beeper.env), "Nobody answered")


async def test_login_at_a_homeserver_that_is_down_is_one_sentence(stage: Stage) -> None:
    ended = await stage.run("login", MATRIX_BASE_URL="http://127.0.0.1:1", **stage.by_password)

    assert_refused(ended, "no connection to http://127.0.0.1:1")


async def test_login_says_when_the_session_is_not_used(stage: Stage) -> None:
    ended = await stage.run("login", **stage.by_password, MATRIX_ACCESS_TOKEN="syt_other")

    assert (ended.code, "as long as MATRIX_ACCESS_TOKEN is set" in ended.err) == (0, True)


async def test_login_as_another_than_the_settings_say_is_told(stage: Stage) -> None:
    other = await stage.homeserver.register(new_name("other"), PASSWORD)
    ended = await stage.run("login", "--user", other.user_id, typed=f"{PASSWORD}\n", **stage.by_password)

    assert (ended.code, "as long as MATRIX_PASSWORD is set" in ended.err) == (0, True)


# At rest


def tokens_of(stage: Stage) -> list[str]:
    """Every token that the homeserver has given to Knock."""
    return [str(login.answer[name]) for login in stage.logins for name in ("access_token", "refresh_token")]


def found_on_disk(stage: Stage, secret: str) -> list[str]:
    files = [path for path in (stage.home / "data").rglob("*") if path.is_file()]
    return [path.name for path in files if secret.encode() in path.read_bytes()]


@pytest.mark.promise(10)
async def test_with_a_secret_key_no_token_is_on_disk(stage: Stage) -> None:
    async with stage.ready(**stage.by_password, SECRET_KEY=SECRET_KEY) as server:
        await stage.a_knock_gets_through(server)
        while_running = [found_on_disk(stage, token) for token in tokens_of(stage)]
    afterwards = [found_on_disk(stage, token) for token in tokens_of(stage)]

    assert while_running == afterwards == [[], []]


@pytest.mark.promise(10)
async def test_with_a_secret_key_nothing_of_beepers_login_is_on_disk(stage: Stage, beeper: Beeper) -> None:
    sealed = {**beeper.env, "SECRET_KEY": SECRET_KEY}
    with stage.start(**sealed) as server:
        await wait_until(lambda: "set BEEPER_LOGIN_CODE" in server.output, 20)
        begun = found_on_disk(stage, "login-1")
        server.terminate()
    async with stage.ready(**sealed, BEEPER_LOGIN_CODE=CODE):
        jwt = json.loads(stage.logins[0].body)["token"]

        assert (begun, found_on_disk(stage, jwt)) == ([], [])


@pytest.mark.promise(10)
async def test_without_a_secret_key_only_the_owner_may_read_the_store(stage: Stage) -> None:
    async with stage.ready(**stage.by_password):
        files = [path for path in (stage.home / "data").rglob("*") if found_in(path, tokens_of(stage))]
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in files}

    assert modes
    assert set(modes.values()) == {0o600}


def found_in(path: Path, secrets: list[str]) -> bool:
    return path.is_file() and any(secret.encode() in path.read_bytes() for secret in secrets)


@pytest.mark.promise(10)
async def test_no_token_reaches_the_log(stage: Stage, beeper: Beeper) -> None:
    env = {**beeper.env, "BEEPER_LOGIN_CODE": CODE, "LOG_LEVEL": "DEBUG"}
    await a_code_is_asked_for(stage, beeper)
    async with stage.ready(**env) as server:
        await stage.a_knock_gets_through(server)
        secrets = [*tokens_of(stage), json.loads(stage.logins[0].body)["token"], CODE]

        assert [secret for secret in secrets if secret in server.output] == []
