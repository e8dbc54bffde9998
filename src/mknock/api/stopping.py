"""Ending requests when the process must end.

uvicorn waits for open requests before it tells the application to stop, so an
application that holds some open has to notice the signal by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

GRACE = 0.4
"""Seconds that open requests have after the signal."""


class Stopping:
    """ASGI middleware that knows the open requests and can end them with a 503."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._open: set[asyncio.Task[object]] = set()
        self._on_stop: list[Callable[[], None]] = []
        self._stopping = False

    def on_stop(self, call: Callable[[], None]) -> None:
        self._on_stop.append(call)

    def stop(self) -> None:
        """Ask everything that waits to end; what has not ended after GRACE is cut off."""
        if self._stopping:
            return
        self._stopping = True
        for call in self._on_stop:
            call()
        asyncio.get_running_loop().call_later(GRACE, self._cut_off)

    def _cut_off(self) -> None:
        for task in self._open:
            task.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - an ASGI application runs in a task
        self._open.add(task)
        answered = _Answered(send)
        try:
            await self._app(scope, receive, answered)
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            if not answered.started:
                await _closing(scope, receive, send)
        finally:
            self._open.discard(task)


class _Answered:
    """A ``send`` that remembers whether the answer has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def __call__(self, message: Message) -> None:
        self.started = True
        await self._send(message)


_closing = JSONResponse(
    {"error": "Knock is restarting, try again"}, 503, {"Retry-After": "2", "Connection": "close"}
)
