"""Requests in lanes: one connection each, the last used first, none lost and none spoiled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import httpcore2
import httpx2
import pytest

from mknock.matrix.lanes import Address, Lanes, TooLarge

MUCH = 1_000_000


class Server:
    """A small HTTP server that counts its connections; what it answers is up to the test."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests: list[bytes] = []
        self.delay = 0.0
        self.answer: Callable[[], bytes] = lambda: answered(b"{}")
        self.closes_after_answer = False
        self.url = ""

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls) -> AsyncIterator[Server]:
        server = cls()
        listening = await asyncio.start_server(server._serve, "127.0.0.1", 0)
        server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        try:
            yield server
        finally:
            listening.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                await asyncio.sleep(self.delay)
                writer.write(self.answer())
                await writer.drain()
                if self.closes_after_answer:
                    break
        writer.close()


def answered(body: bytes, *lines: bytes) -> bytes:
    head = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *lines]
    return b"\r\n".join([*head, b"", body])


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server.opened() as running:
        yield running


@pytest.fixture
async def lanes() -> AsyncIterator[Lanes]:
    async with Lanes(read_timeout=1.0, connect_timeout=1.0) as lanes:
        yield lanes


async def get(lanes: Lanes, server: Server, *, largest: int = MUCH) -> bytes:
    address = Address.of(server.url)
    request = address.request("GET", "versions", headers={})
    _, body = await lanes.exchange(address, request, largest=largest)
    return body


# Which lane


async def test_requests_one_after_the_other_share_a_lane(server: Server, lanes: Lanes) -> None:
    for _ in range(3):
        await get(lanes, server)

    assert server.connections == 1


async def test_requests_at_once_have_a_lane_each(server: Server, lanes: Lanes) -> None:
    server.delay = 0.05
    await asyncio.gather(*(get(lanes, server) for _ in range(5)))

    assert server.connections == 5


async def test_a_lane_that_the_server_has_closed_is_not_used_again(server: Server, lanes: Lanes) -> None:
    server.closes_after_answer = True
    await get(lanes, server)
    await asyncio.sleep(0.05)

    assert await get(lanes, server) == b"{}"
    assert server.connections == 2


async def test_each_address_has_lanes_of_its_own(server: Server, lanes: Lanes) -> None:
    async with Server.opened() as other:
        await get(lanes, server)
        await get(lanes, other)

        assert (server.connections, other.connections) == (1, 1)


# Nothing is left over for the next one


async def test_a_request_that_was_cancelled_leaves_no_answer_behind(server: Server, lanes: Lanes) -> None:
    server.delay, server.answer = 0.2, lambda: answered(b'"old"')
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await get(lanes, server)
    server.delay, server.answer = 0.0, lambda: answered(b'"new"')
    await asyncio.sleep(0.3)

    assert await get(lanes, server) == b'"new"'


async def test_an_answer_that_was_too_large_leaves_nothing_behind(server: Server, lanes: Lanes) -> None:
    server.answer = lambda: answered(b"x" * 1000)
    with pytest.raises(TooLarge):
        await get(lanes, server, largest=10)
    server.answer = lambda: answered(b"{}")

    assert await get(lanes, server) == b"{}"


async def test_a_silent_server_is_a_read_timeout(server: Server) -> None:
    server.delay = 1.0
    async with Lanes(read_timeout=0.05, connect_timeout=1.0) as lanes:
        with pytest.raises(httpcore2.ReadTimeout):
            await get(lanes, server)


async def test_a_port_where_nobody_listens_is_a_connect_error(lanes: Lanes) -> None:
    async with Server.opened() as server:
        pass
    with pytest.raises(httpcore2.ConnectError):
        await get(lanes, server)


async def test_a_failed_request_does_not_spoil_the_next(server: Server, lanes: Lanes) -> None:
    server.answer = lambda: b"no HTTP at all\r\n\r\n"
    with pytest.raises(httpcore2.RemoteProtocolError):
        await get(lanes, server)
    server.answer = lambda: answered(b"{}")

    assert await get(lanes, server) == b"{}"


async def test_nothing_is_unpacked(server: Server, lanes: Lanes) -> None:
    server.answer = lambda: answered(b"packed", b"Content-Encoding: gzip")

    assert await get(lanes, server) == b"packed"


async def test_no_packing_is_asked_for(server: Server, lanes: Lanes) -> None:
    await get(lanes, server)

    assert b"Accept-Encoding: identity" in server.requests[0]


async def test_closing_ends_requests_that_are_on_their_way(server: Server) -> None:
    server.delay = 5.0
    lanes = Lanes(read_timeout=10.0, connect_timeout=1.0)
    asking = asyncio.create_task(get(lanes, server))
    await asyncio.sleep(0.05)
    await lanes.aclose()

    with pytest.raises(httpcore2.ReadError):
        await asyncio.wait_for(asking, 1.0)


# Addresses


@pytest.mark.parametrize(
    ("url", "host", "port", "named"),
    [
        ("https://hs.test", b"hs.test", 443, b"hs.test"),
        ("http://hs.test", b"hs.test", 80, b"hs.test"),
        ("http://hs.test:8008", b"hs.test", 8008, b"hs.test:8008"),
        ("http://[::1]:8008", b"::1", 8008, b"[::1]:8008"),
        ("https://bücher.example", b"xn--bcher-kva.example", 443, b"xn--bcher-kva.example"),
    ],
)
def test_an_address_is_read(url: str, host: bytes, port: int, named: bytes) -> None:
    address = Address.of(url)

    assert (address.host, address.port, address.named) == (host, port, named)


@pytest.mark.parametrize("url", ["ftp://hs.test", "hs.test", "", "http://"])
def test_what_is_no_address_is_an_error(url: str) -> None:
    with pytest.raises(httpx2.InvalidURL):
        Address.of(url)


def test_a_path_in_the_address_goes_before_what_is_asked_for() -> None:
    request = Address.of("http://hs.test/sub/").request("GET", "versions", headers={})

    assert request.url.target == b"/sub/versions"


def test_the_query_is_encoded() -> None:
    request = Address.of("http://hs.test").request("GET", "sync", headers={}, params={"since": "a b&c/ü"})

    assert request.url.target == b"/sync?since=a+b%26c%2F%C3%BC"


def test_a_post_without_a_body_says_so() -> None:
    request = Address.of("http://hs.test").request("POST", "logout", headers={})

    assert (b"Content-Length", b"0") in request.headers
