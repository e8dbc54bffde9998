"""Starting: without a homeserver Knock serves all the same; with a wrong setting it ends and says why."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import httpx2
import pytest
from tests.chaos.knockers import TOKEN, Knockers, environment, invited_once
from tests.chaos.launches import Launch, each_launch, four_processes, one_process, the_command
from tests.kit.account import Account
from tests.kit.fake_homeserver import FakeProcess
from tests.kit.processes import Server, wait_until

pytestmark = pytest.mark.xdist_group("processes")

NOWHERE = "http://127.0.0.1:9"
BOT = Account("", "an-access-token", user_id="@knock:knock.test")
ROOM = "!aroomthatnobodyanswersfor"


async def world(fake: FakeProcess) -> tuple[Account, str, list[str]]:
    """A bot, a room and people; a fake homeserver that was started anew makes the same ones."""
    bot, owner = await fake.user("knock"), await fake.user("alice")
    room = await fake.new_room(owner, bot=bot)
    return bot, room, [account.user_id for account in await fake.users(20)]


# The homeserver is down


@pytest.fixture
async def settled(tmp_path: Path) -> tuple[dict[str, str], int, list[str]]:
    """The settings for a homeserver that is down now, its port, and the people on it."""
    with FakeProcess.start() as fake:
        bot, room, people = await world(fake)
        return environment(fake.url, bot, room), fake.port, people


@pytest.mark.promise(1)
@each_launch
async def test_a_start_without_a_homeserver_accepts_and_delivers_later(
    tmp_path: Path, launch: Launch, settled: tuple[dict[str, str], int, list[str]]
) -> None:
    env, port, people = settled
    knockers = Knockers()
    with launch(tmp_path, env) as server:
        await server.wait_ready("/healthz")
        async with server.client() as client:
            not_ready = await client.get("/readyz")
        await knockers.knock(server, people)
        with FakeProcess.start(port=port) as fake:
            await world(fake)
            await server.wait_ready("/readyz", within=10)
            await wait_until(lambda: invited_once(fake, env["NEW_ROOM_ID"], people), within=10, every=0.1)

    assert (not_ready.status_code, not_ready.json()["not_ready"]) == (503, ["homeserver"])
    assert sorted(knockers.acknowledged) == sorted(people)
    assert "Traceback" not in server.output


async def test_readiness_follows_a_homeserver_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    with FakeProcess.start() as fake:
        bot, room, people = await world(fake)
        with one_process(tmp_path, environment(fake.url, bot, room)) as server:
            await server.wait_ready("/readyz")
            await fake.fail(status=502, body="<html>Bad Gateway</html>")
            async with server.client() as client:
                await client.post(f"/invite_from_form?token={TOKEN}", json={"Matrix ID": people[0]})
                await wait_until(lambda: _status(client, "/readyz", 503), within=20, every=0.2)
                alive = await client.get("/healthz")
            await fake.mend()
            await server.wait_ready("/readyz", within=10)
            await wait_until(lambda: invited_once(fake, room, people[:1]), within=20, every=0.1)

    assert alive.status_code == 200


async def _status(client: httpx2.AsyncClient, path: str, status: int) -> bool:
    return (await client.get(path)).status_code == status


# What is wrong is said in one sentence, and the start ends

COMPLETE = {"NEW_ROOM_ID": ROOM, "MATRIX_BASE_URL": NOWHERE, "MATRIX_ACCESS_TOKEN": "an-access-token"}
WRONG = {
    "nothing": ({}, "NEW_ROOM_ID is missing"),
    "a word for a number": (
        {**COMPLETE, "MAX_REQUESTS_PER_WINDOW": "many"},
        "MAX_REQUESTS_PER_WINDOW must be",
    ),
    "a file for a folder": ({**COMPLETE, "DATA_DIR": "a-file"}, "make it writable"),
    "no way to sign in": (
        {"NEW_ROOM_ID": ROOM, "MATRIX_BASE_URL": NOWHERE},
        "There is no way to sign in",
    ),
}


def four_by_the_command(directory: Path, env: Mapping[str, str]) -> Server:
    return Server.mknock(directory, env, "--workers", "4")


async def ended(launch: Launch, directory: Path, env: Mapping[str, str]) -> tuple[int, str]:
    """Start it with settings that cannot do; its exit code and what it said."""
    (directory / "a-file").touch()
    with launch(directory, env) as server:
        code = await asyncio.to_thread(server.process.wait, 30)
        return code, server.output


@pytest.mark.parametrize(
    ("launch", "wrong"),
    [
        pytest.param(launch, wrong, id=f"{launch.__name__}: {wrong}")
        for launch, wrongs in {
            one_process: list(WRONG),
            the_command: ["nothing", "a file for a folder"],
            four_by_the_command: ["a file for a folder"],
        }.items()
        for wrong in wrongs
    ],
)
async def test_what_is_wrong_ends_the_start_with_one_sentence(
    tmp_path: Path, launch: Launch, wrong: str
) -> None:
    env, sentence = WRONG[wrong]
    code, output = await ended(launch, tmp_path, env)

    assert code not in (0, -9)
    assert output.count(sentence) == 1
    assert "Traceback" not in output


async def test_workers_that_cannot_start_are_not_started_again(tmp_path: Path) -> None:
    # uvicorn's supervisor itself then ends with code 0; "mknock serve" looks before it starts any.
    env, sentence = WRONG["a file for a folder"]
    code, output = await ended(four_processes, tmp_path, env)

    assert code != -9
    assert 1 <= output.count(sentence) <= 4
    assert "Traceback" not in output
