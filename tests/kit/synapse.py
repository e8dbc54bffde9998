"""A real Synapse for a test session or the demonstration, thrown away afterwards."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack
from urllib.parse import quote

import httpx2
from tests.kit import jwt, rooms, synapse_database
from tests.kit.account import Account, Caller, Json, UnexpectedAnswer, logged_in
from tests.kit.homeserver import SERVER_NAME
from tests.kit.processes import end, free_port, start_on_leash, tail
from tests.kit.rooms import RoomWishes
from tests.kit.synapse_config import REGISTRATION_SECRET, Limits, database, write_configuration

__all__ = ["Account", "Synapse", "SynapseDidNotStart"]

START_TIMEOUT = 60.0
"""Seconds; a start takes 1.3 s, and a multiple of that on a busy machine."""


class SynapseDidNotStart(RuntimeError):
    """Synapse ended or kept silent instead of answering; the text has the end of its log."""

    def __init__(self, why: str, log: Path) -> None:
        super().__init__(f"Synapse did not start: {why}. The end of {log}:\n{tail(log)}")


class Synapse:
    """A running homeserver named ``knock.test`` on a port of 127.0.0.1.

    Made by ``start``; ends with the ``with`` block or ``stop``, and at the
    latest with the process that started it.
    """

    server_name = SERVER_NAME

    def __init__(self, directory: Path, *, port: int, limits: Limits, settings: Mapping[str, Any]) -> None:
        self.directory = directory
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.log = directory / "synapse.log"
        self._configuration = write_configuration(directory, port=port, limits=limits, settings=settings)
        self._process: subprocess.Popen[bytes] | None = None
        self._admin: Account | None = None

    @classmethod
    def start(
        cls,
        directory: Path,
        *,
        limits: Limits = "relaxed",
        port: int | None = None,
        seed_users: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> Self:
        """Start a fresh homeserver in ``directory`` and return when it answers.

        ``seed_users`` are localparts of accounts that are there from the
        start; ``settings`` go over the configuration.

        Raises:
            SynapseDidNotStart: there was no answer within a minute.
        """
        directory.mkdir(parents=True, exist_ok=True)
        _prepare_database(database(directory))
        synapse_database.write_people(database(directory), seed_users)
        server = cls(directory, port=port or free_port(), limits=limits, settings=settings or {})
        server.start_again()
        return server

    def start_again(self) -> None:
        """Start the stopped homeserver on the port and with the data that it had.

        Raises:
            SynapseDidNotStart: there was no answer within a minute.
        """
        configuration = str(self._configuration)
        self._process = start_on_leash("synapse.app.homeserver", "-c", configuration, log=self.log)
        try:
            _wait_for_versions(self.url, self._process, self.log)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the homeserver; its data stays where it is."""
        if self._process:
            end(self._process)
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def anonymous(self) -> Caller:
        """Return somebody without an access token."""
        return Caller(self.url)

    def jwt(self, name: str) -> str:
        """Return a token for ``org.matrix.login.jwt``; logging in with it makes the account."""
        return jwt.login_token(name)

    async def user(self, name: str) -> Account:
        """Return the account with that localpart on a fresh device; it is made when it is new."""
        body = {"type": "org.matrix.login.jwt", "token": self.jwt(name)}
        return logged_in(self.anonymous(), await self.anonymous().must("POST", "login", json=body))

    async def users(self, count: int, prefix: str = "user") -> list[Account]:
        """Return ``count`` accounts named prefix0, prefix1, …; 13 ms each.

        For thousands see ``seed_users`` of ``start``.
        """
        twenty_at_once = asyncio.Semaphore(20)

        async def one(number: int) -> Account:
            async with twenty_at_once:
                return await self.user(f"{prefix}{number}")

        return list(await asyncio.gather(*(one(number) for number in range(count))))

    async def register(self, name: str, password: str, *, admin: bool = False) -> Account:
        """Make an account that can log in with a password; ``admin`` may call Synapse's admin API.

        https://element-hq.github.io/synapse/latest/admin_api/register_api.html
        """
        path = "/_synapse/admin/v1/register"
        nonce = (await self.anonymous().request("GET", path)).json()["nonce"]
        body = {"nonce": nonce, "username": name, "password": password, "admin": admin}
        mac = _registration_mac(nonce, name, password, "admin" if admin else "notadmin")
        answer = await self.anonymous().request("POST", path, json={**body, "mac": mac})
        return logged_in(self.anonymous(), _wanted(answer))

    async def admin(self) -> Account:
        """Return an account that may call Synapse's admin API; always the same one."""
        if self._admin is None:
            self._admin = await self.register("admin", "admin", admin=True)
        return self._admin

    async def lift_limits(self, user_id: str) -> None:
        """Let that account send and invite without limit, as an owner would do for the bot."""
        path = f"/_synapse/admin/v1/users/{quote(user_id, safe='')}/override_ratelimit"
        no_limit = {"messages_per_second": 0, "burst_count": 0}
        _wanted(await (await self.admin()).request("POST", path, json=no_limit))

    async def new_room(self, owner: Account, **wishes: Unpack[RoomWishes]) -> str:
        """Make a private room that belongs to ``owner`` and return its id."""
        return await rooms.new_room(owner, **wishes)

    async def expired_token(self, name: str) -> str:
        """Return an access token of that account whose time is over: 401 with ``soft_logout``."""
        path = f"/_synapse/admin/v1/users/{quote(f'@{name}:{SERVER_NAME}', safe='')}/login"
        soon = {"valid_until_ms": int(time.time() * 1000) + 200}
        answer = _wanted(await (await self.admin()).request("POST", path, json=soon))
        await asyncio.sleep(0.25)
        return str(answer["access_token"])


def _prepare_database(path: Path) -> None:
    """Put a migrated, empty database there, from the template if there is one."""
    for old in path.parent.glob(f"{path.name}*"):
        old.unlink()
    if not synapse_database.copy_template(path):
        _migrate(path)
        synapse_database.keep_as_template(path)


def _migrate(path: Path) -> None:
    """Let a homeserver start once on an empty database, which is the only way to get a migrated one."""
    with tempfile.TemporaryDirectory(prefix="knock-synapse-") as directory:
        server = Synapse(Path(directory), port=free_port(), limits="relaxed", settings={})
        server.start_again()
        server.stop()
        synapse_database.fold_journal(database(server.directory))
        database(server.directory).replace(path)


def _wait_for_versions(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    with httpx2.Client(trust_env=False, verify=False, timeout=5.0) as client:
        while not _has_versions(client, url):
            if process.poll() is not None:
                raise SynapseDidNotStart(f"it ended with code {process.returncode}", log)
            if time.monotonic() > deadline:
                raise SynapseDidNotStart(f"no answer within {START_TIMEOUT:.0f} s", log)
            time.sleep(0.02)


def _has_versions(client: httpx2.Client, url: str) -> bool:
    try:
        return client.get(f"{url}/_matrix/client/versions").is_success
    except httpx2.TransportError:
        return False


def _registration_mac(*parts: str) -> str:
    message = b"\0".join(part.encode() for part in parts)
    return hmac.new(REGISTRATION_SECRET.encode(), message, hashlib.sha1).hexdigest()


def _wanted(response: httpx2.Response) -> Json:
    if not response.is_success:
        raise UnexpectedAnswer(response)
    body: Json = response.json()
    return body
