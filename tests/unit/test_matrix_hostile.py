"""Nothing a homeserver answers raises anything but a HomeserverError, nor gets our secrets into its text."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kit.http import matrix_http

from mknock.domain.errors import HomeserverError, HomeserverUnavailable
from mknock.matrix.auth import FixedToken
from mknock.matrix.client import MatrixClient
from mknock.matrix.gateway import HomeserverGateway

BASE = "http://hs.test"
TOKEN = "syt_canary_token"
ROOM = "!canaryroom:hs.test"
USER = "@a:hs.test"

CALLS: dict[str, Callable[[HomeserverGateway], Awaitable[object]]] = {
    "whoami": lambda knock: knock.whoami(),
    "existence": lambda knock: knock.existence(USER),
    "invite": lambda knock: knock.invite(ROOM, USER, "reason"),
    "kick": lambda knock: knock.kick(ROOM, USER, "reason"),
    "member": lambda knock: knock.member(ROOM, USER),
    "power_levels": lambda knock: knock.power_levels(ROOM),
    "joined_members": lambda knock: knock.joined_members(ROOM),
    "room_state": lambda knock: knock.room_state(ROOM),
}

leaves = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["join", "12", "50", USER, ROOM, TOKEN, "M_FORBIDDEN", "M_NOT_FOUND", "M_UNKNOWN_TOKEN"])
)  # fmt: skip
names = st.sampled_from([
    "errcode", "error", "retry_after_ms", "soft_logout", "user_id", "membership", "content", "sender",
    "origin_server_ts", "users", "users_default", "invite", "kick", "ban", "room_version",
    "additional_creators", "joined", "display_name", USER,
])  # fmt: skip
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)
bodies = st.one_of(
    st.dictionaries(names, values, max_size=5).map(lambda body: json.dumps(body).encode()),
    values.map(lambda body: json.dumps(body).encode()),
    st.binary(max_size=40),
    st.sampled_from([b"", b"<html>", b"[" * 5000, b'{"errcode":' * 2000, b"9" * 5000]),
)
tattling = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(["errcode", "error", "membership", "user_id"], st.sampled_from([ROOM, TOKEN]))
).map(lambda body: json.dumps(body).encode())
statuses = st.sampled_from([200, 201, 204, 301, 304, 307, 400, 401, 403, 404, 405, 418, 429]) | st.integers(
    200, 599
)
headers = st.dictionaries(
    st.sampled_from(["retry-after", "location", "set-cookie", "content-type", "content-encoding", "content-length"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
    | st.sampled_from(["gzip", "deflate", "gzip, gzip", "br", "-1", "nan", "//[", "http://elsewhere.test/"]),
    max_size=3,
)  # fmt: skip


@given(st.sampled_from(sorted(CALLS)), statuses, headers, bodies)
async def test_no_answer_raises_anything_but_a_homeserver_error(
    call: str, status: int, answered: dict[str, str], body: bytes
) -> None:
    async def answer(_: httpx2.Request) -> httpx2.Response:
        # The raw body comes as a stream, so that it is unpacked only when Knock reads it.
        return httpx2.Response(status, headers=answered, stream=_Bytes(body))

    async with matrix_http(transport=httpx2.MockTransport(answer)) as http:
        knock = HomeserverGateway(MatrixClient(BASE, FixedToken(TOKEN, BASE), http=http))
        with contextlib.suppress(HomeserverError):
            await CALLS[call](knock)


@pytest.mark.promise(5)
@pytest.mark.promise(10)
@given(st.sampled_from(sorted(CALLS)), statuses, tattling)
async def test_no_error_tells_the_room_or_the_token(call: str, status: int, body: bytes) -> None:
    async def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, stream=_Bytes(body))

    told = ""
    async with matrix_http(transport=httpx2.MockTransport(answer)) as http:
        knock = HomeserverGateway(MatrixClient(BASE, FixedToken(TOKEN, BASE), http=http))
        try:
            await CALLS[call](knock)
        except HomeserverError as error:
            told = f"{error!s} {error!r}"

    assert "canary" not in told


class _Bytes(httpx2.AsyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> Any:
        yield self._body


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00" * 100,
        b"HTTP/1.1 banana\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 999 Huh\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 302 Found\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
    ],
)
async def test_no_bytes_on_the_wire_raise_anything_else(raw: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with matrix_http() as http:
            knock = HomeserverGateway(MatrixClient(base, FixedToken(TOKEN, base), http=http))
            with pytest.raises(HomeserverUnavailable):
                await knock.whoami()
