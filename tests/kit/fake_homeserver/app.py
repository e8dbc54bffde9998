"""The fake homeserver: the client-server calls that Knock makes, answered from memory.

It is as strict as Synapse 1.163: same statuses, same codes, same order of
the checks. ``tests/contract/test_kit_homeservers.py`` runs on both.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Coroutine
from typing import Any, Unpack

import httpx2
from tests.kit import asgi, jwt
from tests.kit.account import Account, Caller, logged_in
from tests.kit.asgi import Answer, Receive, Request, Scope, Send
from tests.kit.fake_homeserver import control, sync
from tests.kit.fake_homeserver.accounts import User, access_token
from tests.kit.fake_homeserver.endpoints import Asked
from tests.kit.fake_homeserver.errors import MatrixError
from tests.kit.fake_homeserver.faults import EVERYTHING, Call, Fault, Faults
from tests.kit.fake_homeserver.rooms import Room
from tests.kit.fake_homeserver.routes import OPERATIONS, Route, find
from tests.kit.fake_homeserver.world import World
from tests.kit.homeserver import SERVER_NAME
from tests.kit.rooms import RoomWishes


class _Dropped(Exception):
    """The connection ends without an answer; ``acted`` tells whether the call was carried out."""

    def __init__(self, *, acted: bool) -> None:
        super().__init__()
        self.acted = acted


class FakeHomeserver:
    """A homeserver in memory: an ASGI app, and the hands that steer it.

    ``latency`` are the seconds that every answer takes, ``calls`` is what
    came in, oldest first; ``fail`` and ``mend`` make and lift faults.
    """

    server_name = SERVER_NAME
    url = "http://fake.knock.test"

    def __init__(self, *, latency: float = 0.0) -> None:
        self.latency = latency
        self.calls: list[Call] = []
        self._world = World()
        self.accounts = self._world.accounts
        self.rooms = self._world.rooms
        self.aliases = self._world.aliases
        self.itself = self._world.itself
        self._faults = Faults()

    # Where it is

    def transport(self) -> httpx2.AsyncBaseTransport:
        """Return a transport for httpx2 that ends here, read timeouts included."""
        return asgi.InProcess(app=self)

    def served(self, *, port: int = 0) -> contextlib.AbstractAsyncContextManager[str]:
        """Serve it on a real port from this event loop, for another process to call; gives the URL."""
        return asgi.served(self, port=port)

    # People and rooms; what is made here leaves no trace in ``calls``

    def anonymous(self) -> Caller:
        """Return somebody without an access token."""
        return Caller(self.url, transport=self.transport)

    def jwt(self, name: str) -> str:
        """Return a token for ``org.matrix.login.jwt``; logging in with it makes the account."""
        return jwt.login_token(name)

    def add_user(self, name: str, **about: Any) -> User:
        """Make an account; see ``Accounts.add`` for what can be said about it."""
        return self.accounts.add(name, **about)

    def log_in(self, name: str) -> Account:
        """Return the account with that localpart on a fresh device; it is made when it is new."""
        user = self.accounts.add(name)
        return logged_in(self.anonymous(), self.accounts.open_session(user.user_id, None))

    async def user(self, name: str) -> Account:
        """Return the account with that localpart on a fresh device; it is made when it is new."""
        return self.log_in(name)

    async def users(self, count: int, prefix: str = "user") -> list[Account]:
        """Return ``count`` accounts named prefix0, prefix1, …"""
        return [self.log_in(f"{prefix}{number}") for number in range(count)]

    async def register(self, name: str, password: str) -> Account:
        """Make an account that can log in with a password."""
        self.accounts.add(name, password=password)
        return self.log_in(name)

    async def new_room(self, owner: Account, **wishes: Unpack[RoomWishes]) -> str:
        """Make a private room that belongs to ``owner`` and return its id."""
        bot = wishes.get("bot")
        return self.add_room(owner.user_id, bot.user_id if bot else None, **wishes).room_id

    def add_room(self, owner: str, bot: str | None = None, /, **wishes: Unpack[RoomWishes]) -> Room:
        """Make a private room of the user ``owner`` in which the user ``bot`` is."""
        return self._world.add_room(owner, bot, wishes)

    async def expired_token(self, name: str) -> str:
        """Return an access token of that account whose time is over: 401 with ``soft_logout``."""
        user = self.accounts.add(name)
        token = str(self.accounts.open_session(user.user_id, None)["access_token"])
        self.accounts.session(token).ends = 0.0
        return token

    # Faults, and what was asked

    def fail(self, operation: str = EVERYTHING, **how: Any) -> Fault:
        """Let the next calls of an operation fail, or of all; the newest fault goes first.

        ``fail("invite", status=429, retry_after=2, times=3)``, ``fail(down=True)``,
        ``fail("send", hang=True)``, ``fail("invite", status=502, acts=True)``:
        see ``Fault``.

        Raises:
            ValueError: there is no such operation.
        """
        if operation != EVERYTHING and operation not in OPERATIONS:
            raise ValueError(f"no operation {operation!r}; there are {', '.join(sorted(OPERATIONS))}")
        fault = Fault(operation, **how)
        self._faults.add(fault)
        return fault

    def mend(self, operation: str = EVERYTHING) -> None:
        """Lift the faults of an operation, or all; calls that hang because of them go on."""
        self._faults.mend(operation)

    def calls_of(self, operation: str, *, user: str | None = None, about: str | None = None) -> list[Call]:
        """Return the calls of one operation; only those by ``user`` and about ``about`` where given."""
        return [
            call
            for call in self.calls
            if call.operation == operation and user in (None, call.user) and about in (None, call.about)
        ]

    def reset(self) -> None:
        """Forget calls, faults and latency; people and rooms stay."""
        self.mend()
        self.calls.clear()
        self.latency = 0.0

    # The way of a request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = await asgi.read_request(scope, receive)
        if request.segments[0] == "_fake":
            await asgi.send_answer(send, control.answer(self, request))
            return
        try:
            answer = await self._answer(request, receive)
        except _Dropped as dropped:
            await asgi.drop_connection(receive, send, acted=dropped.acted)
        else:
            await asgi.send_answer(send, answer)

    async def _answer(self, request: Request, receive: Receive) -> Answer:
        try:
            route, params = find(request)
        except MatrixError as error:
            return Answer(error.status, error.body)
        asked = Asked(request, params, self._world)
        call = self._noted(route, asked)
        if self.latency:
            await asyncio.sleep(self.latency)
        fault = self._faults.take(route.operation)
        try:
            answer = (
                await self._faulty(fault, route, asked, receive)
                if fault
                else await self._done(route, asked, receive)
            )
        except _Dropped:
            call.dropped = True
            raise
        call.status = answer.status
        return answer

    async def _done(self, route: Route, asked: Asked, receive: Receive) -> Answer:
        """Carry the call out; a /sync waits for news as long as it was asked to."""
        answer = _carried_out(route, asked)
        if route.operation != "sync" or answer.status != 200:
            return answer
        until = time.monotonic() + sync.wait_asked_for(asked)
        while not sync.is_news(answer.body) and (left := until - time.monotonic()) > 0:
            if not await self._outlasts(self._world.until_news(), receive, seconds=left):
                raise _Dropped(acted=True)
            answer = _carried_out(route, asked)
        return answer

    async def _faulty(self, fault: Fault, route: Route, asked: Asked, receive: Receive) -> Answer:
        acted = _carried_out(route, asked) if fault.acts else None
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.hang and not await self._outlasts(self._faults.hang(fault), receive):
            raise _Dropped(acted=fault.acts)
        if fault.down:
            raise _Dropped(acted=fault.acts)
        if fault.status is not None:
            return Answer(fault.status, fault.answer_body(), fault.answer_headers())
        return acted or await self._done(route, asked, receive)

    async def _outlasts(
        self, what: Coroutine[Any, Any, None], receive: Receive, *, seconds: float | None = None
    ) -> bool:
        """Wait for something, at most so long, and tell whether the caller waited as well."""
        awaited = asyncio.ensure_future(what)
        gone = asyncio.ensure_future(asgi.until_gone(receive))
        try:
            await asyncio.wait((awaited, gone), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            return not gone.done()
        finally:
            awaited.cancel()
            gone.cancel()

    def _noted(self, route: Route, asked: Asked) -> Call:
        request = asked.request
        call = Call(
            operation=route.operation,
            method=route.method,
            path=route.path,
            user=self._user_of(request),
            at=time.time(),
            params=dict(asked.params),
            body=request.body,
            about=_about(asked),
        )
        self.calls.append(call)
        return call

    def _user_of(self, request: Request) -> str:
        with contextlib.suppress(MatrixError):
            return self.accounts.owner_of(access_token(request.headers))
        return ""


def _carried_out(route: Route, asked: Asked) -> Answer:
    try:
        return Answer(200, route.handler(asked), asked.world.of_itself() if route.path == "versions" else {})
    except MatrixError as error:
        return Answer(error.status, error.body)


def _about(asked: Asked) -> str:
    """Return the person in the path or in the body, "" when there is none or it cannot be read."""
    named = asked.params.get("user") or asked.params.get("key")
    if named or b"user_id" not in asked.request.body:
        return named or ""
    with contextlib.suppress(ValueError, AttributeError):
        return str(json.loads(asked.request.body).get("user_id", ""))
    return ""
