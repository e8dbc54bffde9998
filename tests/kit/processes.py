"""Servers as child processes, free ports, and waiting for something to become true."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, overload

import httpx2
from tests.kit.account import Caller

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "src"

_T = TypeVar("_T")

# Runs a module like ``python -m`` does and ends it with SIGTERM as soon as
# standard input closes: when its parent dies, however it dies, the child
# does not stay behind.
_LEASH = """
import os, runpy, signal, sys, threading
def hold():
    while os.read(0, 1): pass
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=hold, daemon=True).start()
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def free_port() -> int:
    """Return a port on 127.0.0.1 where nothing listens at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@overload
async def wait_until(
    predicate: Callable[[], Coroutine[Any, Any, _T]], within: float = ..., *, every: float = ...
) -> _T: ...
@overload
async def wait_until(predicate: Callable[[], _T], within: float = ..., *, every: float = ...) -> _T: ...
async def wait_until(predicate: Callable[[], Any], within: float = 10.0, *, every: float = 0.02) -> Any:
    """Ask until the predicate, awaited or not, gives something true, and return that.

    Raises:
        TimeoutError: it did not within so many seconds.
    """
    deadline = time.monotonic() + within
    while True:
        answer = predicate()
        value = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within} s: {predicate}; the last answer was {value!r}")
        await asyncio.sleep(every)


def start_on_leash(module: str, *arguments: str, log: Path) -> subprocess.Popen[bytes]:
    """Start ``python -m module`` so that it cannot outlive this process; output goes to ``log``."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-c", _LEASH, module, *arguments],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            start_new_session=True,  # Ctrl-C is for us; we end our children in our own order
        )


def end(process: subprocess.Popen[bytes], *, patience: float = 5.0) -> int:
    """End a child with SIGTERM, after ``patience`` seconds with SIGKILL, and return its exit code."""
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdin:
        process.stdin.close()
    return process.returncode


def tail(log: Path, lines: int = 30) -> str:
    """Return the last lines of a log file, "" when there is none."""
    with contextlib.suppress(FileNotFoundError):
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    return ""


class Server:
    """A web server in a process group of its own, so that its workers can be killed with it.

    Its environment is built from nothing: what a test does not set is unset.
    Leaving the ``with`` block kills whatever of it is still there.
    """

    def __init__(self, command: Sequence[str], *, port: int, directory: Path, env: Mapping[str, str]) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.log = directory / f"server-{port}.log"
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env=_environment(directory, env),
                start_new_session=True,
            )

    @classmethod
    def uvicorn(
        cls,
        directory: Path,
        env: Mapping[str, str],
        *arguments: str,
        app: str = "mknock:app",
        port: int | None = None,
    ) -> Self:
        """Start ``uvicorn mknock:app`` with more arguments, such as ``"--workers", "4"``."""
        port = port or free_port()
        command = [sys.executable, "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", str(port)]
        return cls([*command, *arguments], port=port, directory=directory, env=env)

    @classmethod
    def mknock(
        cls, directory: Path, env: Mapping[str, str], *arguments: str, port: int | None = None
    ) -> Self:
        """Start ``mknock serve`` with more arguments."""
        port = port or free_port()
        command = [sys.executable, "-m", "mknock", "serve", "--host", "127.0.0.1", "--port", str(port)]
        return cls([*command, *arguments], port=port, directory=directory, env=env)

    @property
    def alive(self) -> bool:
        """Whether the process that was started still runs."""
        return self.process.poll() is None

    @property
    def output(self) -> str:
        """Everything it wrote so far."""
        return self.log.read_text(errors="replace")

    def client(self, *, token: str | None = None, timeout: float = 30.0) -> httpx2.AsyncClient:
        """Return a client for this server that the caller of this method closes."""
        return Caller(self.url, token).client(timeout=timeout)

    async def wait_ready(self, path: str = "/healthz", *, within: float = 30.0) -> None:
        """Return as soon as ``path`` answers 200.

        Raises:
            RuntimeError: the server ended, or did not answer in time; the
                message has the end of its output.
        """
        async with self.client(timeout=5.0) as client:
            deadline = time.monotonic() + within
            while not await _answers(client, path):
                if not self.alive or time.monotonic() > deadline:
                    raise RuntimeError(f"no 200 from {self.url}{path}; its output:\n{tail(self.log)}")
                await asyncio.sleep(0.02)

    def terminate(self, *, timeout: float = 10.0) -> int:
        """Send SIGTERM to the first process, as ``docker stop`` does, and return its exit code.

        Raises:
            subprocess.TimeoutExpired: it still runs after ``timeout`` seconds.
        """
        self.process.terminate()
        return self.process.wait(timeout)

    def kill9(self) -> None:
        """Kill every process of the server at once, as a power cut does, and see them gone."""
        self._signal(signal.SIGKILL)
        self.process.wait()
        while _runs(self.process.pid):
            time.sleep(0.005)

    def freeze(self) -> None:
        """Stop every process where it is, as a machine that hangs does."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let frozen processes go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill9()


def _environment(home: Path, env: Mapping[str, str]) -> dict[str, str]:
    base = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "LANG": "C.UTF-8"}
    return {**base, "PYTHONPATH": os.pathsep.join((str(SOURCES), str(ROOT))), **env}


async def _answers(client: httpx2.AsyncClient, path: str) -> bool:
    try:
        response = await client.get(path)
    except httpx2.TransportError:
        return False
    return response.status_code == httpx2.codes.OK


def kill(pid: int) -> None:
    """Kill one process and see it gone; until then the system still leads callers to it."""
    os.kill(pid, signal.SIGKILL)
    while _group_of(Path(f"/proc/{pid}/stat")):
        time.sleep(0.005)


def _runs(group: int) -> bool:
    """Tell whether a process of that group still runs."""
    return any(_group_of(stat) == str(group) for stat in Path("/proc").glob("[0-9]*/stat"))


def _group_of(stat: Path) -> str:
    """The group of a process that runs; "" for none, and for a zombie that nobody buried.

    The main thread of a killed process may be a zombie while another one still
    holds the sockets open: only the last thread closes them.
    """
    with contextlib.suppress(OSError):
        fields = stat.read_text().rpartition(")")[2].split()
        state, group, threads = fields[0], fields[2], int(fields[17])
        return "" if state in "ZX" and threads <= 1 else group
    return ""
