"""Who calls comes before what they say: the key is asked for before a byte of the body is read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message

from mknock.api.common import read_body

Handler = Callable[[Request], Awaitable[Response]]


def guarded(check: Callable[[Mapping[str, str]], None]) -> type[APIRoute]:
    """A kind of route that lets ``check`` see the headers first, and then reads no more than BODY_LIMIT.

    FastAPI reads a body whole before it looks at the dependencies of an
    endpoint: a stranger could fill the memory, and would be told
    what is wrong with the JSON instead of 401.
    """

    class Guarded(APIRoute):
        def get_route_handler(self) -> Handler:  # type: ignore[override]  # FastAPI asks for a coroutine function
            handle = super().get_route_handler()

            async def handler(request: Request) -> Response:
                check(request.headers)
                try:
                    request = await _bounded(request)
                except ClientDisconnect:
                    return Response(status_code=503)  # nobody is there to read it
                return await handle(request)

            return handler

    return Guarded


async def _bounded(request: Request) -> Request:
    """The same request with its body read. Raises TooLarge."""
    body = await read_body(request)

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request(request.scope, receive)
