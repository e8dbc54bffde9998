"""A started Knock for one test, and a caller that looks at every answer it gets.

What is looked at, whatever the test is about: no secret is in the answer
(promises 5 and 10), and its status and body are those of the OpenAPI description.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from tests.kit.account import Account
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.http import matrix_http
from tests.kit.processes import wait_until

from mknock.api.reference import Described
from mknock.domain.ids import MatrixID
from mknock.domain.knocks import Knock, KnockState
from mknock.matrix.auth import FixedToken
from mknock.matrix.client import MatrixClient
from mknock.matrix.gateway import HomeserverGateway
from mknock.services.doors import Doors
from mknock.services.rule_book import RuleBook
from mknock.settings import Settings, load_doors
from mknock.telemetry import configure_logging
from mknock.wiring.application import Application
from mknock.wiring.doors import doors_of
from mknock.wiring.installation import Installation
from mknock.wiring.parts import Parts, store_of

Json = dict[str, Any]

API_KEY = "canary-api-key-4711"
FORM_TOKEN = "canary-form-token-4711"
DOORS_TOKEN = "canary-doors-token-4711"
SIGNING_SECRET = "canary-signing-secret-4711"
VISITOR = "203.0.113.7"
FORM = "/invite_from_form"
ROOM_STATE = "/room_state"
"""The one answer that holds the room's address, for whoever has the key."""

BEARER = {"Authorization": f"Bearer {API_KEY}"}


_schema: Json = {}


class Clock:
    """The time, which a test may put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class Lines(logging.Handler):
    """What is logged at info and above, as it would be written."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.written: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.written.append(self.format(record))


@dataclass
class Running:
    """Knock, started. Alice owns the room, the bot is in it with power 50."""

    installation: Installation
    fake: FakeHomeserver
    alice: Account
    bot: Account
    room: str
    clock: Clock
    lines: Lines
    secrets: list[str] = field(default_factory=list)
    rooms: dict[str, str] = field(default_factory=dict)
    """The rooms of the doors in the file, by the names that they have there."""

    @property
    def app(self) -> Application:
        return Application(self.installation)

    def schema(self) -> Json:
        """The description, which is the same for every Knock."""
        if not _schema:
            inner = self.installation.api
            assert isinstance(inner, Described)
            _schema.update(inner.openapi())
        return _schema

    @property
    def form_secret(self) -> dict[str, str]:
        """The headers of a form that knows its token, where there is one."""
        return {"X-Form-Token": FORM_TOKEN} if self.installation.parts.settings.form_token else {}

    # --- calling

    @contextlib.asynccontextmanager
    async def client(
        self, *, address: str = VISITOR, port: int = 40_000, app: Any = None
    ) -> AsyncIterator[httpx2.AsyncClient]:
        """A client at that network address. A Knock that raises an error fails the test."""
        transport = httpx2.ASGITransport(app=app or self.app, client=(address, port))
        async with httpx2.AsyncClient(transport=transport, base_url="http://knock.test") as client:
            yield client

    async def call(
        self,
        method: str,
        path: str,
        *,
        address: str = VISITOR,
        port: int = 40_000,
        app: Any = None,
        **options: Any,
    ) -> httpx2.Response:
        """Make a request and look at its answer."""
        async with self.client(address=address, port=port, app=app) as client:
            response = await client.request(method, path, **options)
        self.look(method, path, response)
        return response

    async def admin(self, method: str, path: str, json: object = None) -> httpx2.Response:
        """Call as Alice, who has the key."""
        body: Json = {} if json is None else {"json": json}
        return await self.call(method, path, headers=BEARER, **body)

    async def post(self, user: str = "@visitor:knock.test", **options: Any) -> httpx2.Response:
        """Knock as that user, with a form of JSON; ``fields`` are further answers."""
        fields = options.pop("fields", {})
        headers = {**self.form_secret, **options.pop("headers", {})}
        return await self.call("POST", FORM, json={"matrix_id": user, **fields}, headers=headers, **options)

    # --- looking

    def look(self, method: str, path: str, response: httpx2.Response) -> None:
        if path != ROOM_STATE or response.is_error:
            seen = f"{response.headers} {response.text}"
            assert not [secret for secret in self.secrets if secret in seen], f"a secret is told by {path}"
        self._compare(method, path.partition("?")[0], response)

    def _compare(self, method: str, path: str, response: httpx2.Response) -> None:
        """Hold the answer against the description, where there is one for this method."""
        schema = self.schema()
        operation = schema["paths"].get(path, {}).get(method.lower())
        if operation is None:
            return
        answer = operation["responses"][str(response.status_code)]
        kind = response.headers.get("content-type", "").partition(";")[0]
        assert kind in answer["content"], f"{kind} is not described"
        if kind == "application/json":
            shape = answer["content"][kind]["schema"]
            Draft202012Validator({**shape, "components": schema["components"]}).validate(response.json())

    # --- waiting

    async def settled(self, user: str) -> Knock:
        """Wait until the person's newest knock is more than admitted."""
        await wait_until(lambda: self._is_settled(user))
        return (await self.knocks_of(user))[0]

    async def _is_settled(self, user: str) -> bool:
        knocks = await self.knocks_of(user)
        return bool(knocks) and knocks[0].state is not KnockState.ADMITTED

    async def knocks_of(self, user: str) -> list[Knock]:
        return await self.installation.parts.store.knocks_of(MatrixID.of(user).key)

    async def invited(self, user: str) -> Knock:
        """Give that user an account, knock, and wait for the invite."""
        self.fake.add_user(user)
        await self.post(user)
        knock = await self.settled(user)
        assert knock.state is KnockState.INVITED
        return knock

    async def joined(self, name: str) -> Account:
        """Return somebody who knocked, was invited, and came in."""
        person = self.fake.log_in(name)
        await self.invited(person.user_id)
        await person.join(self.room)
        return person

    def membership(self, user: str) -> str | None:
        return self.fake.rooms[self.room].membership(user)


Starting = Callable[..., contextlib.AbstractAsyncContextManager[Running]]
"""Starts Knock with particular settings."""


def settings_for(folder: Path, fake: FakeHomeserver, room: str, token: str, **more: Any) -> Settings:
    return Settings.model_validate(
        {
            "new_room_id": room,
            "matrix_base_url": fake.url,
            "matrix_access_token": token,
            "data_dir": folder / "data",
            "blocklist_file": folder / "blocked_users.txt",
            "pending_invites_file": folder / "pending_invites.json",
            "tokens_file": folder / "tokens.json",
            "api_key": API_KEY,
            "request_delay": 0,
            "max_requests_per_window": 1_000_000,
            "default_server": fake.server_name,
            **more,
        }
    )


@contextlib.asynccontextmanager
async def started(folder: Path, *, doors: str = "", **settings: Any) -> AsyncIterator[Running]:
    """Start Knock with these settings; at the end, look through what it logged.

    ``doors`` is what ``doors.toml`` holds; each ``!<name>`` in it becomes a room that the bot is in.
    """
    fake, clock = FakeHomeserver(), Clock()
    bot, alice = fake.log_in("bot"), fake.log_in("alice")
    room = await fake.new_room(alice, bot=bot)
    token = bot.access_token or ""
    given = settings_for(folder, fake, room, token, **settings)
    rooms = {name: await fake.new_room(alice, bot=bot) for name in re.findall(r'"!(\w+)"', doors)}
    if doors:
        path = folder / "doors.toml"
        path.write_text(re.sub(r'"!(\w+)"', lambda name: f'"{rooms[name[1]]}"', doors))
        given = given.model_copy(update={"doors_file": path})
        given = given.model_copy(update={"doors": load_doors(given, {})})
    http = matrix_http(transport=fake.transport())
    client = MatrixClient(fake.url, FixedToken(token, fake.url), http=http, clock=clock)
    # Put together by hand, since a client for the network that nobody uses takes long to make.
    store, gateway = store_of(given), HomeserverGateway(client)
    parts = Parts(given, store, gateway, Doors(*doors_of(given)), clock, http, RuleBook(store, clock))
    installation = Installation(parts)
    with logged() as lines:
        await installation.start()
        secrets = [room, *rooms.values(), token, API_KEY, FORM_TOKEN, SIGNING_SECRET, DOORS_TOKEN]
        try:
            yield Running(installation, fake, alice, bot, room, clock, lines, secrets, rooms)
        finally:
            fake.mend()
            await installation.stop()
        seen = "\n".join(lines.written)
        assert not [secret for secret in secrets if secret in seen], "a secret was logged"


@contextlib.contextmanager
def logged() -> Iterator[Lines]:
    """Collect what is logged meanwhile."""
    root, lines = logging.getLogger(), Lines()
    handlers, level = root.handlers[:], root.level
    configure_logging("INFO", "json")
    lines.setFormatter(root.handlers[-1].formatter)
    root.addHandler(lines)
    try:
        yield lines
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
