"""The little of ASGI that the stand-in servers need: a request in, an answer out.

No framework: the fake homeserver is measured against, so it must cost less
than what it measures.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

import httpx2
import uvicorn

# httpx2's ASGITransport looks for this module at every request. Where it is not
# installed that is a search of the path each time, and Python 3.11's import lock
# raises KeyError when a collection within it imports something (CPython 91351).
if importlib.util.find_spec("sniffio") is None:
    sys.modules["sniffio"] = None  # type: ignore[assignment]

Json = dict[str, Any]
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(slots=True)
class Request:
    """One HTTP request, whole."""

    method: str
    segments: list[str]
    """The parts of the path, percent-decoded one by one: an id may hold a slash."""
    query_string: bytes
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.query_string.decode()))


@dataclass(slots=True)
class Answer:
    """One HTTP answer; a body that is no text is written as JSON."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


async def read_request(scope: Scope, receive: Receive) -> Request:
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    path: bytes = scope["raw_path"]
    segments = path.decode().strip("/").split("/")
    return Request(
        method=scope["method"],
        segments=[unquote(part) if "%" in part else part for part in segments],
        query_string=scope["query_string"],
        headers=dict(scope["headers"]),
        body=body,
    )


async def send_answer(send: Send, answer: Answer) -> None:
    is_text = isinstance(answer.body, str)
    body = (answer.body if is_text else json.dumps(answer.body)).encode()
    headers = [
        (b"content-type", b"text/html" if is_text else b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *((name.lower().encode(), value.encode()) for name, value in answer.headers.items()),
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def drop_connection(receive: Receive, send: Send, *, acted: bool) -> None:
    """End the connection without an answer.

    Under uvicorn the socket is closed. Inside httpx2's ASGITransport, where
    there is none, the error is raised that httpx2 would raise for it.
    """
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is None:
        raise httpx2.ReadError("no answer") if acted else httpx2.ConnectError("connection refused")
    transport.abort()
    await until_gone(receive)


async def until_gone(receive: Receive) -> None:
    """Return when the caller has given up and closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


class InProcess(httpx2.ASGITransport):
    """ASGITransport with the read timeout, which httpx2 leaves to the network below it."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        seconds = request.extensions.get("timeout", {}).get("read")
        try:
            async with asyncio.timeout(seconds):
                return await super().handle_async_request(request)
        except TimeoutError as error:
            raise httpx2.ReadTimeout(f"no answer within {seconds} s", request=request) from error


@contextlib.asynccontextmanager
async def served(app: App, *, port: int = 0) -> AsyncIterator[str]:
    """Serve the app from this event loop on a real port, and give its URL.

    So a test keeps the app in its hands while another process calls it.
    """
    ready = asyncio.Event()
    with _listening_socket(port) as listening:
        server = _Server(app, ready.set)
        # Not serve(): that would take the test runner's signal handlers.
        running = asyncio.create_task(server._serve([listening]))
        await ready.wait()
        try:
            yield f"http://127.0.0.1:{_port_of(listening)}"
        finally:
            server.should_exit = server.force_exit = True
            await running


def run(app: App, *, port: int) -> None:
    """Serve the app until SIGTERM; the first line on standard output is ``ready`` and the port."""
    with _listening_socket(port) as listening:
        _Server(app, lambda: print("ready", _port_of(listening), flush=True)).run([listening])


def arguments(description: str) -> argparse.ArgumentParser:
    """Return a parser that knows what every stand-in server takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    return parser


class _Server(uvicorn.Server):
    def __init__(self, app: App, on_ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app, log_config=None, access_log=False, lifespan="off", ws="none", proxy_headers=False
            )
        )
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()


def _listening_socket(port: int) -> socket.socket:
    listening = socket.create_server(("127.0.0.1", port), backlog=2048)
    listening.setblocking(False)
    return listening


def _port_of(listening: socket.socket) -> int:
    port: int = listening.getsockname()[1]
    return port
