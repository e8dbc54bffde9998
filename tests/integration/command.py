"""The real ``mknock`` command in a process of its own, with an environment made from nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.kit.processes import _environment, wait_until

# Makes standard input, which is a pseudo-terminal, the terminal of the command, as a login does.
_AT_A_TERMINAL = """
import os, runpy, sys
os.login_tty(0)
sys.argv[0] = "mknock"
runpy.run_module("mknock", run_name="__main__")
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "mknock", *arguments]


async def mknock(
    home: Path, env: Mapping[str, str], *arguments: str, typed: str = "", within: float = 30.0
) -> Ended:
    """Run a command in ``home`` until it ends, without a terminal; ``typed`` is its standard input.

    Raises:
        TimeoutError: it did not end within so many seconds.
    """
    process = await asyncio.create_subprocess_exec(
        *command(*arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=home,
        env=_environment(home, env),
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(within):
            out, err = await process.communicate(typed.encode())
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    return Ended(await process.wait(), out.decode(), err.decode())


class Terminal:
    """A command at a terminal: what it shows, and what is typed."""

    def __init__(self, process: asyncio.subprocess.Process, screen: int) -> None:
        self.process = process
        self._screen = screen
        self._shown = b""

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, home: Path, env: Mapping[str, str], *arguments: str) -> AsyncIterator[Self]:
        """Start a command at a terminal of its own; kill it at the end of the block if it still runs."""
        screen, line = pty.openpty()
        os.set_blocking(screen, False)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _AT_A_TERMINAL,
            *arguments,
            stdin=line,
            stdout=line,
            stderr=line,
            cwd=home,
            env=_environment(home, env),
        )
        os.close(line)
        try:
            yield cls(process, screen)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            os.close(screen)

    @property
    def shown(self) -> str:
        """Everything on the screen so far; what was typed is there as well unless it was hidden."""
        with contextlib.suppress(OSError):  # nothing new, or the other end is closed
            while chunk := os.read(self._screen, 65536):
                self._shown += chunk
        return self._shown.decode(errors="replace").replace("\r\n", "\n")

    async def shows(self, text: str, *, within: float = 20.0) -> None:
        await wait_until(lambda: text in self.shown, within)

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.type("\x03")

    async def ended(self, *, within: float = 20.0) -> int:
        """Return the exit code."""
        async with asyncio.timeout(within):
            return await self.process.wait()


async def interrupted(home: Path, env: Mapping[str, str], *arguments: str, when: asyncio.Event) -> Ended:
    """Run a command and send it SIGINT as soon as something has happened."""
    process = await asyncio.create_subprocess_exec(
        *command(*arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=home,
        env=_environment(home, env),
        start_new_session=True,
    )
    async with asyncio.timeout(30):
        await when.wait()
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    out, err = await process.communicate()
    return Ended(await process.wait(), out.decode(), err.decode())
