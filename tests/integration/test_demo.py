"""``make demo`` shows what it says, and leaves nothing behind however it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.kit.processes import ROOT, _environment, wait_until

pytestmark = pytest.mark.xdist_group("demo")

PATIENCE = 90.0
"""Seconds; the demonstration takes about six, and a multiple of that on a busy machine."""
STEPS = [
    "Starting a throw-away Matrix homeserver",
    "Alice makes a private room",
    "Starting Knock",
    "Bob fills in a form",
    "Knock invites Bob",
    "Bob accepts",
    "Knock hears of it, and welcomes him",
    "The same form is posted again",
    "12 forms at once",
    "A moderator looks at who waits",
]


class Demo:
    """The demonstration as a process, with a folder of its own for what it makes."""

    def __init__(self, process: asyncio.subprocess.Process, output: Path, folder: Path) -> None:
        self.process = process
        self._output = output
        self.folder = folder

    @property
    def shown(self) -> str:
        return self._output.read_text()

    async def shows(self, text: str) -> None:
        await wait_until(lambda: text in self.shown or self.process.returncode is not None, PATIENCE)
        assert text in self.shown, self.shown

    async def ended(self) -> int:
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()

    def processes(self) -> dict[int, str]:
        """The command lines of what runs in the folder, or was told of it, by process id."""
        return {pid: line for pid, line in running().items() if str(self.folder) in _cwd(pid) + line}

    def left_behind(self) -> list[str]:
        return [*self.processes().values(), *(path.name for path in self.folder.iterdir())]


def running() -> dict[int, str]:
    return {int(path.name): _command_line(path) for path in Path("/proc").glob("[0-9]*")}


def _command_line(process: Path) -> str:
    with contextlib.suppress(OSError):
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def _cwd(pid: int) -> str:
    with contextlib.suppress(OSError):
        return str(Path(f"/proc/{pid}/cwd").readlink())
    return ""


@contextlib.asynccontextmanager
async def started(home: Path, **env: str) -> AsyncIterator[Demo]:
    """Start the demonstration; end it like the end of a terminal if it still runs."""
    folder, output = home / "tmp", home / "output"
    folder.mkdir()
    with output.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(ROOT / "demo" / "demo.py")),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            cwd=home,
            env=_environment(home, {"TMPDIR": str(folder), **env}),
            start_new_session=True,
        )
    demo = Demo(process, output, folder)
    try:
        yield demo
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGHUP)
        await demo.ended()


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str, list[str]]:
    """One run to the end: its exit code, what it showed, and what it left behind."""

    async def run() -> tuple[int, str, list[str]]:
        async with started(tmp_path_factory.mktemp("demo"), DEMO_ONCE="1") as demo:
            return await demo.ended(), demo.shown, demo.left_behind()

    return asyncio.run(run())


def test_it_ends_well(once: tuple[int, str, list[str]]) -> None:
    assert (once[0], "Every step was seen." in once[1]) == (0, True), once[1]


def test_it_shows_every_step_in_order(once: tuple[int, str, list[str]]) -> None:
    shown = re.findall(r"^(\d+)\. (.*)$", once[1], re.MULTILINE)

    assert [(number, text[: len(step)]) for (number, text), step in zip(shown, STEPS, strict=True)] == [
        (str(number), step) for number, step in enumerate(STEPS, 1)
    ]


@pytest.mark.parametrize(
    "fact",
    [
        r"answered 200 after \d+ ms, with the knock safely on disk",
        r"Bob has an invitation, \d+ ms after the post",
        r"Bob is in the room",
        r"the forged one is answered 401",
        r"\d+ are invited; \d+ are held",
        r"@visitor\d+:knock\.test is invited",
    ],
)
def test_it_shows_what_happened(once: tuple[int, str, list[str]], fact: str) -> None:
    assert re.search(f"✓ {fact}", once[1])


def test_it_says_where_everything_runs(once: tuple[int, str, list[str]]) -> None:
    assert len(re.findall(r"✓ .* http://127\.0\.0\.1:\d+$", once[1], re.MULTILINE)) == 2


def test_it_fits_a_small_window(once: tuple[int, str, list[str]]) -> None:
    assert [line for line in once[1].splitlines() if len(line) > 80] == []


def test_it_leaves_nothing_behind(once: tuple[int, str, list[str]]) -> None:
    assert once[2] == []


async def test_it_runs_until_ctrl_c_and_then_leaves_nothing_behind(tmp_path: Path) -> None:
    async with started(tmp_path) as demo:
        await demo.shows("Ctrl-C ends it")
        ran = len(demo.processes())
        demo.process.send_signal(signal.SIGINT)

        assert (ran >= 2, await demo.ended(), demo.left_behind()) == (True, 0, [])


async def test_what_it_tells_to_try_works(tmp_path: Path) -> None:
    async with started(tmp_path) as demo:
        await demo.shows("Ctrl-C ends it")
        block = demo.shown.partition("Everything keeps running")[2].replace("\\\n", "")
        commands = re.findall(
            r"^     ((?:curl|cd|\S*(?:mknock|python\S* -m mknock)) .*)$", block, re.MULTILINE
        )
        await asyncio.sleep(10)  # so that the wave is over, as when somebody reads this
        shell = await asyncio.create_subprocess_exec(
            *("bash", "-ec", "\n".join(["set -x", *commands])),
            env=_environment(tmp_path, {}),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out = (await shell.communicate())[0].decode()

        assert (
            shell.returncode,
            len(commands),
            "@carol:knock.test" in out.partition("pending_invites")[2],
        ) == (
            0,
            6,
            True,
        ), out


@pytest.mark.parametrize("step", ["1. Starting", "3. Starting"])
async def test_sigterm_in_the_middle_leaves_nothing_behind(tmp_path: Path, step: str) -> None:
    async with started(tmp_path) as demo:
        await demo.shows(step)
        demo.process.send_signal(signal.SIGTERM)

        assert (await demo.ended(), demo.left_behind()) == (130, [])


async def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        async with started(tmp_path, DEMO_PORT=port) as demo:
            assert await demo.ended() == 1
            assert demo.shown.strip().startswith(f"The demonstration failed: DEMO_PORT {port} cannot be used")


async def test_a_port_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    async with started(tmp_path, DEMO_PORT="http") as demo:
        assert await demo.ended() == 1
        assert demo.shown == "\nThe demonstration failed: DEMO_PORT must be a port, but is 'http'\n"


async def test_a_knock_that_dies_is_a_failure_with_its_log(tmp_path: Path) -> None:
    async with started(tmp_path) as demo:
        await demo.shows("Ctrl-C ends it")
        (knock,) = [pid for pid, line in demo.processes().items() if "mknock serve" in line]
        os.kill(knock, signal.SIGTERM)

        assert (await demo.ended(), demo.left_behind()) == (1, [])
        assert "Knock has ended by itself\nThe end of Knock's log:\n" in demo.shown
