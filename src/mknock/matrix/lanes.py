"""HTTP connections that keep their price when many requests are in flight.

httpx2's pool looks at every idle connection, down to a system call each, for every request that
begins or ends, and its client spends as much on a request as the network does. So Knock speaks
to httpcore2, the layer below both. Each request goes into a lane, one connection of its own; the
lane used last is taken first, so that few connections are kept when there is little to do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self
from urllib.parse import urlencode

import httpcore2
import httpx2

IDLE: Final = 15.0
"""Seconds that an unused connection is kept."""
PORTS: Final = {"http": 80, "https": 443}
ALWAYS: Final = (
    (b"User-Agent", b"mknock"),
    (b"Accept", b"application/json"),
    (b"Accept-Encoding", b"identity"),
)
"""Sent with every request. Nothing is unpacked, so that no answer is larger than it looks."""


Params = Mapping[str, str | Sequence[str]]
"""A query: a name that stands there several times has a sequence of values."""


class Lane(Protocol):
    """One connection: httpcore2's, or a stand-in that ends elsewhere."""

    async def handle_async_request(self, request: httpcore2.Request) -> httpcore2.Response: ...

    def has_expired(self) -> bool: ...

    def is_closed(self) -> bool: ...

    async def aclose(self) -> None: ...


class TooLarge(Exception):
    """The answer's body is larger than whoever asked wanted."""


@dataclass(frozen=True, slots=True)
class Address:
    """A server's address and the path in front of everything asked for there, read once."""

    scheme: bytes
    host: bytes
    port: int
    named: bytes
    """The ``Host`` header."""
    prefix: str

    @classmethod
    def of(cls, url: str) -> Self:
        """Read an ``http`` or ``https`` address. Raises httpx2.InvalidURL."""
        parts = httpx2.URL(url)
        port = parts.port or PORTS.get(parts.scheme)
        if port is None or not parts.host:
            raise httpx2.InvalidURL("an address begins with https:// or http:// and names a host")
        prefix = parts.raw_path.decode("ascii").rstrip("/")
        return cls(parts.raw_scheme, parts.raw_host, port, parts.netloc, prefix)

    def __str__(self) -> str:
        return f"{self.scheme.decode()}://{self.named.decode()}"

    @property
    def origin(self) -> httpcore2.Origin:
        return httpcore2.Origin(self.scheme, self.host, self.port)

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        params: Params | None = None,
        content: bytes | None = None,
    ) -> httpcore2.Request:
        """Make a request; ``path`` is percent-encoded already. Raises ValueError for a header that cannot be."""
        target = f"{self.prefix}/{path}" + (f"?{urlencode(params, doseq=True)}" if params else "")
        url = httpcore2.URL(scheme=self.scheme, host=self.host, port=self.port, target=target.encode("ascii"))
        lines = [(b"Host", self.named), *ALWAYS]
        lines += [(name.encode("ascii"), value.encode("utf-8")) for name, value in headers.items()]
        if content is not None or method != "GET":
            lines.append((b"Content-Length", b"%d" % len(content or b"")))
        return httpcore2.Request(method, url, headers=lines, content=content)


class Lanes:
    """As many lanes as there are requests at once. Whoever uses it bounds that number.

    ``read_timeout`` and ``connect_timeout`` are in seconds.
    """

    def __init__(
        self,
        *,
        read_timeout: float,
        connect_timeout: float,
        new_lane: Callable[[Address], Lane] | None = None,
    ) -> None:
        self._timeout = {"connect": connect_timeout, "read": read_timeout, "write": read_timeout}
        self._new_lane = new_lane or lane_maker()
        self._free: dict[Address, list[Lane]] = defaultdict(list)
        self._busy: set[Lane] = set()

    async def exchange(
        self, address: Address, request: httpcore2.Request, *, largest: int
    ) -> tuple[httpcore2.Response, bytes]:
        """Send a request and read its whole answer, of at most ``largest`` bytes.

        Raises:
            TooLarge: the answer goes on.
            Exception: httpcore2's, for whatever happens to the connection.
        """
        request.extensions["timeout"] = self._timeout
        lane = await self._lane(address)
        self._busy.add(lane)
        try:
            response = await lane.handle_async_request(request)
            try:
                return response, await _body(response, largest)
            finally:
                await response.aclose()
        finally:
            self._busy.discard(lane)
            if not lane.is_closed():
                self._free[address].append(lane)

    async def aclose(self) -> None:
        """Close every connection, those in use as well."""
        lanes = [*self._busy, *(lane for free in self._free.values() for lane in free)]
        self._free.clear()
        for lane in lanes:
            await lane.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _lane(self, address: Address) -> Lane:
        """The free lane that was used last, if its server has not closed it since."""
        free = self._free[address]
        if len(free) > 1 and free[0].has_expired():  # the one that nobody has needed for longest
            await free.pop(0).aclose()
        while free:
            lane = free.pop()
            if not lane.has_expired():
                return lane
            await lane.aclose()
        return self._new_lane(address)


async def _body(response: httpcore2.Response, largest: int) -> bytes:
    assert isinstance(response.stream, AsyncIterable)  # noqa: S101 - for the type checker
    body = bytearray()
    async for chunk in response.stream:
        body += chunk
        if len(body) > largest:
            raise TooLarge
    return bytes(body)


def lane_maker() -> Callable[[Address], Lane]:
    """Return what makes lanes; they share one TLS context, which takes long to make.

    No proxy and no certificate file is taken from the environment (promise 11).
    """
    tls: Any = httpx2.create_ssl_context(trust_env=False)

    def new_lane(address: Address) -> Lane:
        return httpcore2.AsyncHTTPConnection(address.origin, ssl_context=tls, keepalive_expiry=IDLE)

    return new_lane
