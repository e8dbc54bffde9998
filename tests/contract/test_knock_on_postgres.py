"""Knock as processes on PostgreSQL: two replicas, one of them killed, the database restarted under both."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from tests.chaos.knockers import TOKEN, Knockers, environment, invited_once
from tests.integration.command import mknock
from tests.kit.fake_homeserver import FakeProcess
from tests.kit.postgres import PASSWORD, PgBouncer, Postgres, newest
from tests.kit.processes import Server, wait_until

from mknock.settings import Settings, SettingsError
from mknock.wiring.parts import store_of

SECRET_KEY = "a secret key of thirty-two characters"
PEOPLE = 100


@dataclass(frozen=True)
class Ground:
    """A homeserver with a room and people, and the settings of every replica."""

    fake: FakeProcess
    room: str
    people: list[str]
    settings: dict[str, str]

    def replica(self, folder: Path, name: str) -> Server:
        home = folder / name
        home.mkdir()
        return Server.uvicorn(home, self.settings)

    async def all_invited_once(self) -> bool:
        return await invited_once(self.fake, self.room, self.people)


async def ground(fake: FakeProcess, **settings: str) -> Ground:
    owner, bot = await fake.user("owner"), await fake.user("bot")
    room = await fake.new_room(owner, bot=bot)
    people = [account.user_id for account in await fake.users(PEOPLE)]
    return Ground(
        fake,
        room,
        people,
        environment(fake.url, bot, room, SECRET_KEY=SECRET_KEY, API_KEY="k" * 20, **settings),
    )


@pytest.fixture
def fake_process() -> Iterator[FakeProcess]:
    with FakeProcess.start() as process:
        yield process


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A server of the test's own, that may be restarted."""
    with Postgres(newest()) as running:
        yield running


@pytest.fixture(params=["postgres", "pgbouncer"])
def way(request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings that lead to an empty database, directly or through a pooler."""
    if request.param == "postgres":
        direct: Postgres = request.getfixturevalue("postgres")
        return {"STORE_URL": direct.url(direct.wipe(request.getfixturevalue("database")))}
    old: Postgres = request.getfixturevalue("old_postgres")
    name = old.wipe(request.getfixturevalue("old_database"))
    pooler: PgBouncer = request.getfixturevalue("pgbouncer")
    return {"STORE_URL": pooler.url(name), "STORE_NOTIFY_URL": old.url(name)}


@pytest.fixture
async def shared(fake_process: FakeProcess, way: dict[str, str]) -> Ground:
    return await ground(fake_process, **way)


@pytest.mark.promise(1)
@pytest.mark.promise(2)
async def test_everybody_is_invited_once_though_a_replica_is_killed(shared: Ground, tmp_path: Path) -> None:
    knockers = Knockers(in_flight=16)
    with shared.replica(tmp_path, "one") as one, shared.replica(tmp_path, "two") as two:
        for each in (one, two):
            await each.wait_ready("/readyz")
        await knockers.knock(one, shared.people[: PEOPLE // 2], stop_after=PEOPLE // 4)
        await knockers.knock(two, [who for who in shared.people if who not in knockers.acknowledged])
        assert set(knockers.acknowledged) == set(shared.people)
        await wait_until(shared.all_invited_once, 30.0)


@pytest.mark.promise(10)
async def test_the_stores_password_is_in_no_line_of_the_log(shared: Ground, tmp_path: Path) -> None:
    with shared.replica(tmp_path, "one") as one:
        await one.wait_ready("/readyz")
        output = one.output
    assert "s%40fe" not in output
    assert PASSWORD not in output


async def is_unready(client: httpx2.AsyncClient) -> bool:
    return (await client.get("/readyz")).status_code == httpx2.codes.SERVICE_UNAVAILABLE


@pytest.mark.promise(1)
async def test_a_restart_of_the_database_loses_nothing_and_needs_nobody(
    fake_process: FakeProcess, server: Postgres, tmp_path: Path
) -> None:
    here = await ground(fake_process, STORE_URL=server.url())
    knockers = Knockers(in_flight=8)
    with here.replica(tmp_path, "one") as one:
        await one.wait_ready("/readyz")
        await knockers.knock(one, here.people[: PEOPLE // 2])
        server.stop()
        async with one.client() as client:
            refused = await client.post(
                f"/invite_from_form?token={TOKEN}", json={"Matrix ID": here.people[-1]}
            )
            assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
            await wait_until(lambda: is_unready(client))
        server.start()
        await one.wait_ready("/readyz")
        await knockers.knock(one, here.people[PEOPLE // 2 :])
        assert set(knockers.acknowledged) == set(here.people)
        await wait_until(here.all_invited_once, 30.0)


async def test_the_doctor_looks_at_the_store(shared: Ground, tmp_path: Path) -> None:
    """It can be used; that the tests' own servers do not flush is worth a warning."""
    ended = await mknock(tmp_path, shared.settings, "doctor")
    assert "warn  store: PostgreSQL does not flush to disk" in ended.out


@pytest.mark.promise(10)
@pytest.mark.parametrize("command", ["doctor", "serve"])
async def test_a_wrong_password_is_one_sentence(
    fake_process: FakeProcess, postgres: Postgres, tmp_path: Path, command: str
) -> None:
    here = await ground(fake_process, STORE_URL=postgres.url(password="canary-password"))
    ended = await mknock(tmp_path, here.settings, command)
    said = ended.out + ended.err
    assert f"PostgreSQL at 127.0.0.1:{postgres.port} refused the user or the password" in said
    assert "canary" not in said
    assert "Traceback" not in said


def test_without_its_driver_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    settings = Settings.model_validate(
        {"new_room_id": "!room:knock.test", "store_url": "postgresql://db/knock"}
    )
    with pytest.raises(SettingsError, match=r'install "mknock\[postgres\]"'):
        store_of(settings)
