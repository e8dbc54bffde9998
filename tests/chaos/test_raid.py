"""Raids, at a Knock of two processes: a burst is held after the first few, and one victim named without end is safe."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

import pytest
from tests.chaos.knockers import Knockers, environment, invited_once
from tests.integration.command import mknock
from tests.kit.account import Account
from tests.kit.fake_homeserver import FakeProcess
from tests.kit.processes import Server, wait_until

API_KEY = "api-key-of-the-raids"
PEOPLE = 500
PASS = 30
POSTS = 10_000
VICTIM_MEMORY = 30.0
"""Megabytes that ten thousand posts may leave behind; the store's cache is 16 of them."""


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings of a store that two processes share."""
    if request.param == "sqlite":
        return {}
    postgres = request.getfixturevalue("postgres")
    database = postgres.wipe(request.getfixturevalue("database"))
    return {"STORE_URL": postgres.url(database), "SECRET_KEY": "s" * 32}


class Ground:
    """Two processes of Knock, and a room."""

    def __init__(
        self, fake: FakeProcess, room: str, owner: Account, servers: list[Server], env: dict[str, str]
    ):
        self.fake, self.room, self.owner, self.servers, self.env = fake, room, owner, servers, env

    async def invitations(self) -> int:
        return sum((await self.fake.invite_counts(self.room)).values())


@asynccontextmanager
async def opened(folder: Path, **settings: str) -> AsyncIterator[Ground]:
    async with AsyncExitStack() as stack:
        fake = stack.enter_context(FakeProcess.start())
        bot, owner = await fake.user("knock"), await fake.user("alice")
        room = await fake.new_room(owner, bot=bot)
        more = {"API_KEY": API_KEY, "DATA_DIR": str(folder / "data"), **settings}
        env = environment(fake.url, bot, room, **more)
        servers = []
        for name in ("one", "two"):
            (folder / name).mkdir()
            servers.append(stack.enter_context(Server.uvicorn(folder / name, env)))
        for server in servers:
            await server.wait_ready("/readyz")
        yield Ground(fake, room, owner, servers, env)


@pytest.mark.promise(2)
async def test_of_a_burst_the_first_few_are_invited_and_the_rest_when_the_wave_is_approved(
    tmp_path: Path, where: dict[str, str]
) -> None:
    settings = {"RAID_ARRIVALS": str(PASS), "RAID_ALIKE": "0", **where}
    async with opened(tmp_path, **settings) as ground:
        people = [account.user_id for account in await ground.fake.users(PEOPLE)]
        one, two = Knockers(in_flight=32), Knockers(in_flight=32)
        await asyncio.gather(
            one.knock(ground.servers[0], people[::2]), two.knock(ground.servers[1], people[1::2])
        )
        assert len(one.acknowledged) + len(two.acknowledged) == PEOPLE
        await wait_until(lambda: _invited(ground, PASS), within=20)
        await asyncio.sleep(1.0)
        assert await ground.invitations() == PASS

        said = await mknock(tmp_path, ground.env, "approve", "--wave", "main", "--yes", within=60)
        assert f"{PEOPLE - PASS} are admitted and will be invited." in said.out, said.err
        await wait_until(lambda: invited_once(ground.fake, ground.room, people), within=60, every=0.2)
        assert sum("is being raided" in server.output for server in ground.servers) == 1


async def _invited(ground: Ground, count: int) -> bool:
    return await ground.invitations() == count


async def test_a_wave_that_is_refused_half_way_is_refused_by_a_second_try(
    tmp_path: Path, where: dict[str, str]
) -> None:
    settings = {"RAID_ARRIVALS": "1", "RAID_ALIKE": "0", **where}
    async with opened(tmp_path, **settings) as ground:
        people = [account.user_id for account in await ground.fake.users(PEOPLE)]
        await Knockers().knock(ground.servers[0], people)
        refusing = asyncio.create_task(_refuse(ground.servers[0]))
        await wait_until(lambda: _some_refused(ground.servers[1]), within=20, every=0.01)
        ground.servers[0].kill9()
        await asyncio.gather(refusing, return_exceptions=True)
        left = await _refuse(ground.servers[1])
        assert 0 < left["decided"] <= PEOPLE - 1
        assert left["left"] == 0


async def _refuse(server: Server) -> dict[str, int]:
    async with server.client(token=API_KEY, timeout=60) as client:
        answer = await client.post("/refuse_wave", json={"wave": "main"})
    said: dict[str, int] = answer.json()
    return said


async def _some_refused(server: Server) -> bool:
    async with server.client(token=API_KEY) as client:
        states = (await client.get("/wave", params={"wave": "main"})).json()["states"]
    return bool(states.get("refused"))


@pytest.mark.promise(4)
async def test_ten_thousand_posts_naming_one_victim_make_one_invite_and_leave_little_behind(
    tmp_path: Path,
) -> None:
    """Each from a network address of its own, as a botnet's; others are invited as ever."""
    async with opened(tmp_path, FORM_TOKEN="", TRUSTED_PROXIES="127.0.0.1") as ground:
        victim, other = await ground.fake.user("victim"), await ground.fake.user("other")
        await _post(ground.servers[0], victim.user_id, 0, 200)
        before = [_resident(server) for server in ground.servers]
        await asyncio.gather(
            *(
                _post(server, victim.user_id, 200 + number * POSTS, POSTS // 2)
                for number, server in enumerate(ground.servers)
            )
        )
        await _post(ground.servers[1], other.user_id, 99_999, 1)
        await wait_until(lambda: invited_once(ground.fake, ground.room, [victim.user_id, other.user_id]))
        after = [_resident(server) for server in ground.servers]
        assert max(now - then for now, then in zip(after, before, strict=True)) < VICTIM_MEMORY
        rows = _rows(tmp_path / "data" / "knock.db")
        assert rows["knocks"] == 2
        assert rows["ledger"] < 20
        assert rows["raids"] == 0
        assert rows["counters"] <= 2 * (POSTS + 300)


async def _post(server: Server, person: str, start: int, count: int) -> None:
    waiting = list(range(start, start + count))

    async with server.client(timeout=30) as client:

        async def lane() -> None:
            while waiting:
                number = waiting.pop()
                address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
                answer = await client.post(
                    "/invite_from_form", json={"Matrix ID": person}, headers={"X-Forwarded-For": address}
                )
                assert answer.status_code == 200, answer.text

        await asyncio.gather(*(lane() for _ in range(25)))


def _resident(server: Server) -> float:
    """Megabytes of memory that a process holds."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def _rows(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as connection:
        return {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - names of ours
            for table in ("knocks", "ledger", "raids", "counters")
        }
