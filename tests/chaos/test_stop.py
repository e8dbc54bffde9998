"""SIGTERM ends Knock within two seconds at any moment, however it was started."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from tests.chaos.knockers import TOKEN, environment
from tests.chaos.launches import Launch, each_launch, one_process
from tests.kit.account import Account
from tests.kit.fake_homeserver import FakeProcess
from tests.kit.processes import Server, free_port, wait_until

from mknock.domain.knocks import KnockState
from mknock.storage.sqlite import SqliteStore

pytestmark = pytest.mark.xdist_group("processes")

PATIENCE = 2.0
"""Seconds, as promised."""
GOOD_ENDS = (0, -signal.SIGTERM)
API_KEY = "the-api-key-of-the-stop-tests"
ROOM = "!aroomthatnobodyanswersfor"
FORM = f"/invite_from_form?token={TOKEN}"
BOT = Account("", "an-access-token", user_id="@knock:knock.test")


def stopped(server: Server) -> tuple[int, float]:
    """Send SIGTERM; the exit code and the seconds it took."""
    begin = time.monotonic()
    return server.terminate(), time.monotonic() - begin


async def acknowledged_and_kept(directory: Path, people: list[str]) -> bool:
    """Whether the store that was left behind can be opened and holds all of them."""
    store = SqliteStore(directory / "data" / "knock.db")
    await store.open()
    try:
        knocks = await store.knocks_in(frozenset({KnockState.ADMITTED, KnockState.INVITED}))
    finally:
        await store.close()
    return {knock.user_id for knock in knocks} >= set(people)


@contextmanager
def sent(server: Server, request: bytes) -> Iterator[socket.socket]:
    """A connection on which so much was sent, and nothing more."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.settimeout(5.0)
        connection.sendall(request)
        yield connection


@each_launch
async def test_it_ends_in_time_with_nothing_to_do(tmp_path: Path, launch: Launch) -> None:
    env = environment(f"http://127.0.0.1:{free_port()}", BOT, ROOM)
    with launch(tmp_path, env) as server:
        await server.wait_ready()
        async with server.client() as client:
            await client.get("/healthz")  # and the connection stays open

            code, seconds = stopped(server)

    assert code in GOOD_ENDS
    assert seconds < PATIENCE


@pytest.mark.parametrize("booting", [0.7, 1.4])
def test_four_workers_that_are_still_booting_end_in_time(tmp_path: Path, booting: float) -> None:
    env = environment(f"http://127.0.0.1:{free_port()}", BOT, ROOM)
    with Server.uvicorn(tmp_path, env, "--workers", "4") as server:
        time.sleep(booting)

        code, seconds = stopped(server)

    assert code in GOOD_ENDS
    assert seconds < PATIENCE + 1.0  # four interpreters start on however few cores there are


@pytest.mark.promise(1)
@each_launch
async def test_it_ends_in_time_in_the_midst_of_everything(tmp_path: Path, launch: Launch) -> None:
    with FakeProcess.start() as fake:
        bot, owner = await fake.user("knock"), await fake.user("alice")
        room = await fake.new_room(owner, bot=bot)
        people = [account.user_id for account in await fake.users(30)]
        await fake.fail("invite", hang=True)
        await fake.fail("joined_members", hang=True)
        with launch(tmp_path, environment(fake.url, bot, room, API_KEY=API_KEY)) as server:
            await server.wait_ready()
            async with server.client() as client:
                for person in people[5:]:
                    await client.post(FORM, json={"Matrix ID": person})
                waiting = [asyncio.create_task(_wait(client, person)) for person in people[:5]]
                looking = asyncio.create_task(
                    client.get("/room_members", headers={"Authorization": f"Bearer {API_KEY}"})
                )
                await wait_until(lambda: _hang(fake))
                with sent(server, _half_a_form()) as half, sent(server, b"POST /invite_fr") as less:
                    await asyncio.sleep(0.2)
                    code, seconds = await asyncio.to_thread(stopped, server)
                    answer, nothing = half.recv(4096), less.recv(4096)
                waited = await asyncio.gather(*waiting)
                looked = await looking

    assert code in GOOD_ENDS
    assert seconds < PATIENCE
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert nothing == b""
    assert [(status, body["outcome"]) for status, body in waited] == [(200, "admitted")] * 5
    assert looked.status_code == 503
    assert "Traceback" not in server.output
    assert await acknowledged_and_kept(tmp_path, people)


async def _wait(client: httpx2.AsyncClient, person: str) -> tuple[int, dict[str, str]]:
    answer = await client.post(FORM, json={"Matrix ID": person}, headers={"Prefer": "wait=10"})
    return answer.status_code, answer.json()


async def _hang(fake: FakeProcess) -> bool:
    return len(await fake.calls_of("invite")) >= 16 and bool(await fake.calls_of("joined_members"))


def _half_a_form() -> bytes:
    body = json.dumps({"Matrix ID": "@half:knock.test"}).encode()
    head = f"POST {FORM} HTTP/1.1\r\nhost: knock\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body[:7]


async def test_it_ends_in_time_although_a_client_does_not_read_its_answer(tmp_path: Path) -> None:
    with FakeProcess.start() as fake:
        bot, owner = await fake.user("knock"), await fake.user("alice")
        room = await fake.new_room(owner, bot=bot)
        event = {"type": "m.room.name", "content": {"name": "x" * 1000}}
        await fake.fail("state", status=200, body=json.dumps([event] * 8000))
        with one_process(tmp_path, environment(fake.url, bot, room, API_KEY=API_KEY)) as server:
            await server.wait_ready()
            request = f"GET /room_state HTTP/1.1\r\nhost: knock\r\nauthorization: Bearer {API_KEY}\r\n\r\n"
            with sent(server, request.encode()):
                await wait_until(lambda: "/room_state" in server.output)
                code, seconds = stopped(server)

    assert code in GOOD_ENDS
    assert seconds < PATIENCE


@pytest.mark.parametrize("after", [0.0, 0.3, 0.6, 0.9, 1.2])
async def test_it_ends_in_time_while_it_starts_without_a_homeserver(tmp_path: Path, after: float) -> None:
    env = environment(f"http://127.0.0.1:{free_port()}", BOT, ROOM)
    with one_process(tmp_path, env) as server:
        await asyncio.sleep(after)
        code, seconds = stopped(server)

    assert code in GOOD_ENDS
    assert seconds < PATIENCE


async def test_it_ends_in_time_while_it_signs_in_at_a_homeserver_that_hangs(tmp_path: Path) -> None:
    with FakeProcess.start() as fake:
        await fake.fail("login", hang=True)
        env = environment(fake.url, BOT, ROOM, MATRIX_USER="knock", MATRIX_PASSWORD="secret password")
        del env["MATRIX_ACCESS_TOKEN"]
        with one_process(tmp_path, env) as server:
            await wait_until(lambda: fake.calls_of("login"), within=20)
            code, seconds = stopped(server)

    assert code in GOOD_ENDS
    assert seconds < PATIENCE
    assert "Traceback" not in server.output
