"""One HTTP client for the Matrix client-server API.

It percent-encodes paths, carries the token, bounds how much is in flight, and turns every
answer, or lack of one, into JSON or a HomeserverError. Redirects are not followed
(promise 11); the token travels in a header, never in a URL (promise 10).
"""

from __future__ import annotations

import asyncio
import json as jsonlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote

import httpcore2
import httpx2

from mknock.domain.errors import HomeserverUnavailable, TokenRefused
from mknock.matrix.answers import Answer, NotUnderstood, StaleToken, judge, unreadable
from mknock.matrix.lanes import Address, Lane, Lanes, Params, TooLarge
from mknock.ports import Clock

READING: Final = 32
"""Requests that only read, in flight at once."""
CHANGING: Final = 24
"""Requests that change something, in flight at once. Synapse is no faster for more; one that is far away is."""
CONNECT_TIMEOUT: Final = 5.0
READ_TIMEOUT: Final = 35.0
"""Seconds. Synapse answers a federated invite within 30."""
DEADLINE: Final = 45.0
"""Seconds for one request from its first to its last byte, however slowly they drip."""
LARGEST_ANSWER: Final = 10 * 1024 * 1024
LARGEST_STATE: Final = 64 * 1024 * 1024
"""Of a room's whole state: some policy rooms have tens of thousands of rules."""
NOT_SIGNED_IN: Final = "this client has no access token"


class TokenSource(Protocol):
    """Where the access token comes from."""

    async def current(self) -> str:
        """The token to use now. Raises TokenRefused when there is none to be had."""

    async def renew(self, refused: str, *, soft: bool) -> str:
        """A token other than ``refused``, which the homeserver did not accept (any more).

        ``soft`` says that the session itself still exists (soft logout).

        Raises:
            TokenRefused: there is no way to get another.
        """


def matrix_http(
    *, read_timeout: float = READ_TIMEOUT, new_lane: Callable[[Address], Lane] | None = None
) -> Lanes:
    """Return the connections for homeserver calls; whoever makes them closes them.

    They have no limit and so no queue of their own: MatrixClient bounds what is
    in flight, so that waiting is never an error. No proxy is taken from the
    environment (promise 11). ``new_lane`` is used instead of the network.
    """
    return Lanes(read_timeout=read_timeout, connect_timeout=CONNECT_TIMEOUT, new_lane=new_lane)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    method: str
    path: Sequence[str]
    what: str
    json: Mapping[str, Any] | None = None
    params: Params | None = None
    auth: bool = True
    changing: bool = False
    waiting: bool = False
    largest: int = LARGEST_ANSWER


class MatrixClient:
    """The homeserver at ``base_url``, as whoever ``tokens`` signs in.

    Without ``tokens`` only calls with ``auth=False`` can be made. Any number
    of callers may wait at once; ``reading`` and ``changing`` requests
    queue apart, so that a slow invite never holds up a look-up.
    """

    def __init__(
        self,
        base_url: str,
        tokens: TokenSource | None = None,
        *,
        http: Lanes | None = None,
        clock: Clock = time.time,
        reading: int = READING,
        changing: int = CHANGING,
        deadline: float = DEADLINE,
    ) -> None:
        self._base = bare(base_url)
        self._address = Address.of(self._base)
        self._tokens = tokens
        self._own_http = http is None
        self._http = http or matrix_http()
        self._clock = clock
        self._reading = asyncio.Semaphore(reading)
        self._changing = asyncio.Semaphore(changing)
        self._deadline = deadline

    @property
    def base_url(self) -> str:
        """The homeserver's address, without any password in it: fit for an error text."""
        return self._base

    async def token(self) -> str:
        """The access token in use. Raises TokenRefused when there is none."""
        if self._tokens is None:
            raise TokenRefused(NOT_SIGNED_IN)
        return await self._tokens.current()

    async def aclose(self) -> None:
        """Close the connections, if this client made them."""
        if self._own_http:
            await self._http.aclose()

    async def request(
        self,
        method: str,
        path: Sequence[str],
        *,
        what: str,
        json: Mapping[str, Any] | None = None,
        params: Params | None = None,
        auth: bool = True,
        changing: bool = False,
        waiting: bool = False,
    ) -> dict[str, Any]:
        """Make one call and return the JSON object it answers.

        ``path`` holds the segments behind ``/_matrix/client``; ``what`` is the
        operation's name in error texts. ``waiting`` says that the homeserver
        answers when there is something to tell: it stands in nobody's way.

        Raises:
            HomeserverError: there was no answer, or another one.
        """
        call = _Call(
            method=method,
            path=path,
            what=what,
            json=json,
            params=params,
            auth=auth,
            changing=changing,
            waiting=waiting,
        )
        data = await self._answer(call)
        if not isinstance(data, dict):
            raise unreadable(what)
        return data

    async def request_list(self, path: Sequence[str], *, what: str) -> list[Any]:
        """GET something that is answered with a JSON list, such as a room's state; else as ``request``."""
        data = await self._answer(_Call(method="GET", path=path, what=what, largest=LARGEST_STATE))
        if not isinstance(data, list):
            raise unreadable(what)
        return data

    async def greet(self) -> Answer:
        """GET /versions as anybody, and return the answer with its headers.

        Raises:
            HomeserverError: there was no answer, or it is none of a homeserver.
        """
        call = _Call(method="GET", path=("versions",), what="asking for its versions", auth=False)
        answer = await self._exchanged(call, None)
        judge(answer, call.what, self._clock())
        return answer

    async def _answer(self, call: _Call) -> Any:
        """Make the call, once more with another token if the first was refused as stale."""
        if not call.auth:
            return await self._send(call, None)
        token = ""
        try:
            async with self._slot(call):
                token = await self.token()
                return await self._send(call, token)
        except StaleToken as stale:
            soft = stale.soft
        # Outside the slot, so that nobody who renews waits for those who wait for the renewed token.
        token = await self._renewed(token, soft=soft)
        async with self._slot(call):
            return await self._send(call, token)

    def _slot(self, call: _Call) -> AbstractAsyncContextManager[object]:
        if call.waiting:
            return nullcontext()
        return self._changing if call.changing else self._reading

    async def _renewed(self, refused: str, *, soft: bool) -> str:
        if self._tokens is None:
            raise TokenRefused(NOT_SIGNED_IN)
        return await self._tokens.renew(refused, soft=soft)

    async def _send(self, call: _Call, token: str | None) -> Any:
        return judge(await self._exchanged(call, token), call.what, self._clock())

    async def _exchanged(self, call: _Call, token: str | None) -> Answer:
        request = self._address.request(
            call.method,
            f"_matrix/client/{encoded(call.path)}",
            params=call.params,
            headers=_headers(call, token),
            content=None if call.json is None else jsonlib.dumps(call.json).encode(),
        )
        return await exchange(
            self._http,
            self._address,
            request,
            what=call.what,
            deadline=self._deadline,
            largest=call.largest,
        )


def _headers(call: _Call, token: str | None) -> dict[str, str]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    if call.json is not None:
        headers["Content-Type"] = "application/json"
    return headers


async def exchange(
    http: Lanes,
    address: Address,
    request: httpcore2.Request,
    *,
    what: str,
    deadline: float = DEADLINE,
    largest: int = LARGEST_ANSWER,
) -> Answer:
    """Send a request and read its answer, whatever it says.

    Raises:
        HomeserverUnavailable: there was none, or it broke off, was too slow or
            too large. ``everywhere`` when no connection could be made at all.
    """
    # Always "from None": the cause knows the URL, and with it the room (promise 5).
    try:
        async with asyncio.timeout(deadline):
            response, body = await http.exchange(address, request, largest=largest)
    except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
        raise HomeserverUnavailable(f"{what} failed: no connection to {address}", everywhere=True) from None
    except (TimeoutError, httpcore2.TimeoutException):
        raise HomeserverUnavailable(f"{what} got no answer in time", everywhere=False) from None
    except TooLarge:
        raise NotUnderstood(f"{what} was answered with more than {largest} bytes") from None
    except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError, ValueError) as error:
        kind = type(error).__name__
        raise HomeserverUnavailable(f"{what} broke off ({kind})", everywhere=False) from None
    return Answer(response.status, body, response.headers)


def encoded(path: Sequence[str]) -> str:
    """Percent-encode every segment, dots that would climb included."""
    return "/".join(_segment(segment) for segment in path)


def _segment(text: str) -> str:
    if text in (".", ".."):
        return text.replace(".", "%2E")
    return quote(text, safe="", errors="surrogatepass")


def bare(url: str) -> str:
    """The address without user name, password, query and trailing slash."""
    parts = httpx2.URL(url)
    return str(parts.copy_with(username=None, password=None, query=None, fragment=None)).rstrip("/")
