"""Knock's HTTP connections, ending where a test wants them to."""

from __future__ import annotations

import httpcore2
import httpx2

from mknock.matrix.client import READ_TIMEOUT
from mknock.matrix.client import matrix_http as on_the_network
from mknock.matrix.lanes import Address, Lanes


def matrix_http(
    *, transport: httpx2.AsyncBaseTransport | None = None, read_timeout: float = READ_TIMEOUT
) -> Lanes:
    """As ``mknock.matrix.client.matrix_http``, with a transport of httpx2 in place of the network."""
    if transport is None:
        return on_the_network(read_timeout=read_timeout)
    return on_the_network(read_timeout=read_timeout, new_lane=lambda address: OnTransport(address, transport))


class OnTransport:
    """A lane that ends at a transport of httpx2, whose errors it raises as httpcore2's."""

    def __init__(self, address: Address, transport: httpx2.AsyncBaseTransport) -> None:
        self._address, self._transport = address, transport
        self.closed = False

    async def handle_async_request(self, request: httpcore2.Request) -> httpcore2.Response:
        try:
            return await self._answer(request)
        except httpx2.HTTPError as error:
            raise _same(error) from error

    async def _answer(self, request: httpcore2.Request) -> httpcore2.Response:
        content = b"".join([chunk async for chunk in request.stream])  # type: ignore[union-attr]
        asked = httpx2.Request(
            request.method.decode(),
            f"{self._address}{request.url.target.decode()}",
            headers=request.headers,
            content=content or None,
            extensions=request.extensions,
        )
        response = await self._transport.handle_async_request(asked)
        return httpcore2.Response(response.status_code, headers=response.headers.raw, content=response.stream)

    def has_expired(self) -> bool:
        return False

    def is_closed(self) -> bool:
        return self.closed

    async def aclose(self) -> None:
        self.closed = True


def _same(error: httpx2.HTTPError) -> Exception:
    kind: type[Exception] = getattr(httpcore2, type(error).__name__, httpcore2.NetworkError)
    return kind(str(error))
