"""An HTTP transport that keeps its price when many requests are in flight.

httpx2's pool looks at every idle connection, down to a system call each, for
every request that begins or ends. With the several dozen connections of a busy
delivery that was a third of all work. Here each request goes into a lane, a
pool of one connection; the lane used last is taken first, so that few
connections are kept when there is little to do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import httpx2

IDLE = 15.0
"""Seconds that an unused connection is kept."""

Lane = httpx2.AsyncBaseTransport


class Lanes(httpx2.AsyncBaseTransport):
    """As many lanes as there are requests at once. Whoever uses it bounds that number."""

    def __init__(self, new_lane: Callable[[], Lane] | None = None) -> None:
        self._new_lane = new_lane or lane_maker()
        self._free: list[Lane] = []
        self._all: list[Lane] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        lane = self._free.pop() if self._free else self._another()
        try:
            response = await lane.handle_async_request(request)
        except BaseException:
            self._free.append(lane)
            raise
        assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101 - for the type checker
        response.stream = _Until(response.stream, lambda: self._free.append(lane))
        return response

    async def aclose(self) -> None:
        for lane in self._all:
            await lane.aclose()

    def _another(self) -> Lane:
        lane = self._new_lane()
        self._all.append(lane)
        return lane


class _Until(httpx2.AsyncByteStream):
    """A response's stream that says when it is closed, once."""

    def __init__(self, stream: httpx2.AsyncByteStream, closed: Callable[[], None]) -> None:
        self._stream = stream
        self._closed: Callable[[], None] | None = closed

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            closed, self._closed = self._closed, None
            if closed is not None:
                closed()


def lane_maker() -> Callable[[], Lane]:
    """Return what makes lanes; they share one TLS context, which takes long to make."""
    tls = httpx2.create_ssl_context(trust_env=False)
    limits = httpx2.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=IDLE)

    def new_lane() -> Lane:
        return httpx2.AsyncHTTPTransport(verify=tls, trust_env=False, limits=limits)

    return new_lane
