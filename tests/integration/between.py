"""A stage between Knock and its homeserver: everything passes, and what passed is known afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Self

import httpx2
from tests.kit import asgi
from tests.kit.account import Caller
from tests.kit.asgi import Answer, Receive, Scope, Send

Json = dict[str, Any]


@dataclass(frozen=True)
class Passed:
    """One request with its answer. ``call`` is the path's last part, such as ``login``."""

    call: str
    body: str
    status: int
    answer: Json


@dataclass
class Between:
    """An ASGI app in front of the homeserver at ``target``; ``instead`` holds what it answers by itself."""

    target: str
    url: str = ""
    passed: list[Passed] = field(default_factory=list)
    instead: dict[str, Answer] = field(default_factory=dict)
    _client: httpx2.AsyncClient | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, target: str) -> AsyncIterator[Self]:
        between = cls(target)
        async with Caller(target).client() as between._client, asgi.served(between) as between.url:
            yield between

    def of(self, call: str) -> list[Passed]:
        """The requests with that last part of the path, oldest first."""
        return [each for each in self.passed if each.call == call]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = await asgi.read_request(scope, receive)
        call = request.segments[-1]
        answer = self.instead.get(call) or await self._passed_on(scope, request)
        body = answer.body if isinstance(answer.body, dict) else {}
        self.passed.append(Passed(call, request.body.decode(), answer.status, body))
        await asgi.send_answer(send, answer)

    async def _passed_on(self, scope: Scope, request: asgi.Request) -> Answer:
        assert self._client is not None
        kept = (b"authorization", b"content-type")
        response = await self._client.request(
            request.method,
            f"{self.target}{scope['raw_path'].decode()}?{request.query_string.decode()}",
            content=request.body,
            headers={
                name.decode(): value.decode() for name, value in request.headers.items() if name in kept
            },
        )
        limits = {name: value for name, value in response.headers.items() if name == "retry-after"}
        return Answer(response.status_code, response.json(), limits)
