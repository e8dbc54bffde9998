"""Servers as child processes: they start clean, and die when they are told to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from tests.kit.processes import Server, end, free_port, start_on_leash, tail, wait_until

APP = """
import json, os
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    status = 404 if scope["path"] == "/nowhere" else 200
    body = json.dumps({"pid": os.getpid(), "env": dict(os.environ)}).encode()
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "tiny.py").write_text(APP)
    return tmp_path


@pytest.fixture
def server(directory: Path) -> Iterator[Server]:
    with Server.uvicorn(directory, {"GREETING": "hello"}, "--lifespan", "off", app="tiny:app") as running:
        yield running


async def ask(server: Server) -> dict[str, dict[str, str]]:
    async with server.client() as client:
        answer: dict[str, dict[str, str]] = (await client.get("/")).json()
        return answer


async def test_a_server_answers_once_it_is_ready(server: Server) -> None:
    await server.wait_ready("/")

    assert "pid" in await ask(server)


async def test_its_environment_is_what_it_was_given_and_no_more(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    await server.wait_ready("/")
    environment = (await ask(server))["env"]

    assert set(environment) - {"LC_CTYPE"} == {"GREETING", "HOME", "LANG", "PATH", "PYTHONPATH"}


async def test_a_server_that_ended_says_why(directory: Path) -> None:
    with (
        Server.uvicorn(directory, {}, app="missing:app") as server,
        pytest.raises(RuntimeError, match="missing"),
    ):
        await server.wait_ready("/", within=20)


async def test_a_server_that_never_gets_ready_is_an_error(server: Server) -> None:
    await server.wait_ready("/")

    with pytest.raises(RuntimeError, match="no 200"):
        await server.wait_ready("/nowhere", within=0.1)


async def test_sigterm_ends_it(server: Server) -> None:
    await server.wait_ready("/")
    server.terminate()

    assert not server.alive


async def test_kill_9_leaves_no_worker_behind(directory: Path) -> None:
    arguments = ("--workers", "2", "--lifespan", "off")
    with Server.uvicorn(directory, {}, *arguments, app="tiny:app") as server:
        await server.wait_ready("/")
        server.kill9()

    with pytest.raises(httpx2.ConnectError):
        await ask(server)


async def test_a_frozen_server_does_not_answer(server: Server) -> None:
    await server.wait_ready("/")
    server.freeze()

    async with server.client(timeout=0.2) as client:
        with pytest.raises(httpx2.TimeoutException):
            await client.get("/")


async def test_a_thawed_server_answers_again(server: Server) -> None:
    await server.wait_ready("/")
    server.freeze()
    server.thaw()

    assert "pid" in await ask(server)


async def test_its_output_is_kept(server: Server) -> None:
    await server.wait_ready("/")

    assert "Uvicorn running" in server.output


def test_a_free_port_can_be_listened_on() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as listening:
        assert listening.fileno() > 0


@pytest.fixture
def leashed(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = start_on_leash("http.server", "0", "--bind", "127.0.0.1", log=tmp_path / "log")
    yield process
    end(process)


async def test_a_child_on_a_leash_ends_when_its_parent_is_gone(leashed: subprocess.Popen[bytes]) -> None:
    assert leashed.stdin is not None
    leashed.stdin.close()

    assert await wait_until(lambda: leashed.poll() is not None)


def test_a_child_on_a_leash_ends_on_sigterm(leashed: subprocess.Popen[bytes]) -> None:
    assert end(leashed) == -signal.SIGTERM


def test_a_child_that_ignores_sigterm_is_killed() -> None:
    stubborn = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('x', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        os.read(process.stdout.fileno(), 1)

        assert end(process, patience=0.1) == -signal.SIGKILL


def test_the_tail_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("1\n2\n3\n")

    assert tail(log, 2) == "2\n3"


def test_a_log_that_is_not_there_has_no_tail(tmp_path: Path) -> None:
    assert tail(tmp_path / "log") == ""


async def test_waiting_returns_what_came_true() -> None:
    answers = iter([0, 0, 5])

    assert await wait_until(lambda: next(answers)) == 5


async def test_waiting_takes_an_awaited_predicate() -> None:
    async def ready() -> bool:
        return True

    assert await wait_until(ready)


async def test_waiting_for_what_never_comes_is_an_error() -> None:
    with pytest.raises(TimeoutError, match="not within"):
        await wait_until(lambda: False, 0.05)
