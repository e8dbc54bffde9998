"""The fake homeserver as a child process, steered over HTTP."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

from tests.kit import jwt
from tests.kit.account import Account, Caller, Json, UnexpectedAnswer, logged_in
from tests.kit.homeserver import SERVER_NAME
from tests.kit.processes import end, start_on_leash, tail
from tests.kit.rooms import RoomWishes


class FakeProcess:
    """A fake homeserver on a core of its own; for benchmarks, and to outlive what it is called by.

    What ``FakeHomeserver`` does at once is awaited here; ``control`` reaches the rest.
    """

    server_name = SERVER_NAME

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    @classmethod
    def start(cls, *, latency: float = 0.0, port: int = 0, timeout: float = 30.0) -> Self:
        """Start it on a free port, or on the given one.

        Raises:
            RuntimeError: it was not ready within ``timeout`` seconds.
        """
        with tempfile.TemporaryDirectory(prefix="knock-fake-") as directory:
            log = Path(directory) / "output"
            options = ("--port", str(port), "--latency", str(latency))
            process = start_on_leash("tests.kit.fake_homeserver", *options, log=log)
            try:
                return cls(process, _announced_port(process, log, timeout))
            except BaseException:
                end(process)
                raise

    def stop(self) -> None:
        end(self._process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def control(self, method: str, what: str, **asked: Any) -> Json:
        """Make one call of ``/_fake/…``: see ``tests.kit.fake_homeserver.control`` for which there are."""
        options: Mapping[str, Any] = {"params": asked} if method == "GET" else {"json": asked}
        response = await self.anonymous().request(method, f"/_fake/{what}", **options)
        if not response.is_success:
            raise UnexpectedAnswer(response)
        body: Json = response.json()
        return body

    async def fail(self, operation: str = "*", **how: Any) -> None:
        """Let the next calls of an operation fail, or of all; see ``Fault`` for how."""
        await self.control("POST", "fail", operation=operation, **how)

    async def mend(self, operation: str = "*") -> None:
        await self.control("POST", "mend", operation=operation)

    async def reset(self) -> None:
        """Forget calls, faults and latency; people and rooms stay."""
        await self.control("POST", "reset")

    async def calls_of(self, operation: str, **wanted: str) -> list[Json]:
        """Return the calls of one operation; ``user`` and ``about`` narrow them down."""
        calls: list[Json] = (await self.control("GET", "calls", operation=operation, **wanted))["calls"]
        return calls

    async def members(self, room: str) -> dict[str, str]:
        """Return everybody that the room ever heard of and what they are now."""
        members: dict[str, str] = (await self.control("GET", "members", room=room))["members"]
        return members

    async def invite_counts(self, room: str) -> dict[str, int]:
        """Return how many invites of each person really became an event; a repeat is none."""
        counts: dict[str, int] = (await self.control("GET", "members", room=room))["invites"]
        return counts

    def anonymous(self) -> Caller:
        """Return somebody without an access token."""
        return Caller(self.url)

    def jwt(self, name: str) -> str:
        """Return a token for ``org.matrix.login.jwt``; logging in with it makes the account."""
        return jwt.login_token(name)

    async def user(self, name: str) -> Account:
        """Return the account with that localpart on a fresh device; it is made when it is new."""
        return (await self._people([name]))[0]

    async def users(self, count: int, prefix: str = "user") -> list[Account]:
        """Return ``count`` accounts named prefix0, prefix1, …"""
        return await self._people([f"{prefix}{number}" for number in range(count)])

    async def register(self, name: str, password: str) -> Account:
        """Make an account that can log in with a password."""
        return (await self._people([name], password=password))[0]

    async def new_room(self, owner: Account, **wishes: Unpack[RoomWishes]) -> str:
        """Make a private room that belongs to ``owner`` and return its id."""
        bot = wishes.get("bot")
        asked: Json = {**wishes, "owner": owner.user_id, "bot": bot.user_id if bot else None}
        return str((await self.control("POST", "rooms", **asked))["room_id"])

    async def expired_token(self, name: str) -> str:
        """Return an access token of that account whose time is over: 401 with ``soft_logout``."""
        account = await self.user(name)
        await self.control("POST", "expire", user=account.user_id)
        return str(account.access_token)

    async def _people(self, names: list[str], **about: Any) -> list[Account]:
        made = await self.control("POST", "users", names=names, **about)
        return [logged_in(self.anonymous(), made["users"][name]) for name in names]


def _announced_port(process: subprocess.Popen[bytes], log: Path, timeout: float) -> int:
    deadline = time.monotonic() + timeout
    while not (said := tail(log)).startswith("ready "):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the fake homeserver did not start:\n{said}")
        time.sleep(0.02)
    return int(said.split()[1])
