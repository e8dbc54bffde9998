"""The HTTP client: what it sends, what it bears, and how much of it at once."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import httpx2
import pytest
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.http import matrix_http

from mknock.domain.errors import HomeserverUnavailable, Refused, TokenRefused
from mknock.matrix.auth import FixedToken
from mknock.matrix.client import LARGEST_ANSWER, MatrixClient, encoded

BASE = "http://hs.test"
SECRET_ROOM = "!secret/..%room:hs.test"
Handler = Callable[[httpx2.Request], Coroutine[None, None, httpx2.Response]]


class Renewing:
    """Tokens t0, t1, …: the next one whenever the current one is refused."""

    def __init__(self) -> None:
        self.number = 0
        self.renewals: list[tuple[str, bool]] = []

    async def current(self) -> str:
        return f"t{self.number}"

    async def renew(self, refused: str, *, soft: bool) -> str:
        self.renewals.append((refused, soft))
        self.number += 1
        return await self.current()


def client_of(
    handler: Handler | None = None, *, tokens: Any = None, base: str = BASE, **options: Any
) -> MatrixClient:
    transport = httpx2.MockTransport(handler or answering({}))
    return MatrixClient(
        base, tokens or FixedToken("tok", BASE), http=matrix_http(transport=transport), **options
    )


def answering(body: Any, status: int = 200) -> Handler:
    async def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, json=body)

    return answer


def recording(seen: list[httpx2.Request]) -> Handler:
    async def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, json={})

    return answer


def raising(error: Exception) -> Handler:
    async def answer(_: httpx2.Request) -> httpx2.Response:
        raise error

    return answer


async def sent(**options: Any) -> httpx2.Request:
    """The request that a call becomes."""
    seen: list[httpx2.Request] = []
    call: dict[str, Any] = {"method": "GET", "path": ("v3", "account", "whoami"), "what": "whoami"} | options
    await client_of(recording(seen), base=call.pop("base", BASE)).request(**call)
    return seen[0]


async def trouble(handler: Handler, **options: Any) -> HomeserverUnavailable:
    with pytest.raises(HomeserverUnavailable) as caught:
        await client_of(handler, **options).request("GET", ("v3", "rooms", SECRET_ROOM), what="look")
    return caught.value


# What is sent


async def test_every_segment_is_percent_encoded() -> None:
    request = await sent(path=("v3", "rooms", "!a/b:c?d#e %", "state"))

    assert request.url.raw_path == b"/_matrix/client/v3/rooms/%21a%2Fb%3Ac%3Fd%23e%20%25/state"


@pytest.mark.parametrize(("segment", "shown"), [(".", "%2E"), ("..", "%2E%2E"), ("", ""), ("a..", "a..")])
async def test_no_segment_climbs(segment: str, shown: str) -> None:
    assert encoded(("a", segment, "b")) == f"a/{shown}/b"


async def test_half_a_character_does_no_harm() -> None:
    assert encoded(("\ud800",)) == "%ED%A0%80"


@pytest.mark.promise(10)
async def test_the_token_travels_in_the_header_only() -> None:
    request = await sent()

    assert request.headers["authorization"] == "Bearer tok"
    assert "tok" not in str(request.url)


async def test_a_call_without_authorisation_bears_no_token() -> None:
    assert "authorization" not in (await sent(auth=False)).headers


async def test_a_body_is_json() -> None:
    request = await sent(method="POST", json={"reason": "入って \ud800"})

    assert json.loads(request.content) == {"reason": "入って \ud800"}
    assert request.headers["content-type"] == "application/json"


async def test_parameters_go_into_the_query() -> None:
    assert (await sent(params={"format": "event"})).url.query == b"format=event"


@pytest.mark.parametrize("base", ["http://hs.test/", "http://user:pass@hs.test", "http://hs.test/?a=b#c"])
async def test_a_base_url_may_be_written_in_many_ways(base: str) -> None:
    request = await sent(base=base)

    assert str(request.url) == "http://hs.test/_matrix/client/v3/account/whoami"
    assert request.headers["authorization"] == "Bearer tok"


async def test_a_base_url_may_have_a_path() -> None:
    assert (await sent(base="http://hs.test/sub/")).url.path == "/sub/_matrix/client/v3/account/whoami"


# What comes back


@pytest.mark.promise(11)
async def test_a_redirect_is_not_followed() -> None:
    seen: list[httpx2.Request] = []

    async def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(307, headers={"location": "http://elsewhere.test/"})

    await trouble(answer)

    assert [request.url.host for request in seen] == ["hs.test"]


@pytest.mark.parametrize("error", [httpx2.ConnectError("refused"), httpx2.ConnectTimeout("slow")])
async def test_no_connection_is_an_outage_everywhere(error: Exception) -> None:
    assert (await trouble(raising(error))).everywhere


@pytest.mark.parametrize(
    "error",
    [
        httpx2.ReadTimeout("slow"),
        httpx2.ReadError("gone"),
        httpx2.RemoteProtocolError("gone"),
        httpx2.DecodingError("bad gzip"),
        OSError("broken pipe"),
        UnicodeError("odd"),
    ],
)
async def test_whatever_breaks_off_is_about_this_request(error: Exception) -> None:
    assert not (await trouble(raising(error))).everywhere


@pytest.mark.promise(5)
@pytest.mark.parametrize("error", [httpx2.ConnectError, httpx2.ReadTimeout, httpx2.ReadError])
async def test_no_trouble_names_the_room(error: type[Exception]) -> None:
    told = await trouble(raising(error(f"http://hs.test/{SECRET_ROOM}")))

    assert "secret" not in str(told)
    assert told.__suppress_context__


async def test_a_drip_ends_at_the_deadline() -> None:
    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.01)

    async def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=drip())

    started = time.monotonic()
    await trouble(answer, deadline=0.2)

    assert time.monotonic() - started < 2


async def test_a_huge_answer_is_not_read_to_its_end() -> None:
    given = 0

    async def flood() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 2**20
            yield bytes(2**20)

    async def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=flood())

    await trouble(answer)

    assert given <= LARGEST_ANSWER + 2**21


async def test_an_answer_packed_all_the_same_is_unreadable() -> None:
    packed = gzip.compress(b"{}")

    async def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=packed, headers={"content-encoding": "gzip"})

    assert "cannot read" in str(await trouble(answer))


@pytest.mark.parametrize("body", [[], "text", 7, None, True])
async def test_an_answer_of_another_shape_is_none(body: Any) -> None:
    await trouble(answering(body))


# The token


def only(accepted: str, soft: bool = False) -> Handler:
    async def answer(request: httpx2.Request) -> httpx2.Response:
        if request.headers["authorization"] == f"Bearer {accepted}":
            return httpx2.Response(200, json={"ok": True})
        return httpx2.Response(401, json={"errcode": "M_UNKNOWN_TOKEN", "soft_logout": soft})

    return answer


async def test_a_refused_token_is_renewed_and_the_request_repeated() -> None:
    client = client_of(only("t1"), tokens=Renewing())

    assert await client.request("GET", ("v3", "x"), what="x") == {"ok": True}


@pytest.mark.parametrize("soft", [True, False])
async def test_a_renewal_knows_the_refused_token_and_whether_the_session_lives(soft: bool) -> None:
    tokens = Renewing()

    await client_of(only("t1", soft), tokens=tokens).request("GET", ("v3", "x"), what="x")

    assert tokens.renewals == [("t0", soft)]


async def test_a_token_is_renewed_once_a_request() -> None:
    tokens = Renewing()

    with pytest.raises(TokenRefused):
        await client_of(only("never"), tokens=tokens).request("GET", ("v3", "x"), what="x")

    assert len(tokens.renewals) == 1


@pytest.mark.promise(7)
@pytest.mark.parametrize("status", [403, 429, 500, 502, 503])
async def test_nothing_but_a_401_renews_a_token(status: int) -> None:
    tokens = Renewing()
    client = client_of(answering({"errcode": "M_UNKNOWN_TOKEN"}, status), tokens=tokens)

    with pytest.raises(Exception, match=r"."):
        await client.request("GET", ("v3", "x"), what="x")

    assert tokens.renewals == []


@pytest.mark.parametrize(("status", "code"), [(401, "M_USER_LOCKED"), (403, "M_USER_SUSPENDED")])
async def test_a_stopped_account_is_not_signed_in_again(status: int, code: str) -> None:
    tokens = Renewing()

    with pytest.raises(TokenRefused):
        await client_of(answering({"errcode": code}, status), tokens=tokens).request("GET", (), what="x")

    assert tokens.renewals == []


async def test_without_tokens_only_open_calls_can_be_made() -> None:
    client = MatrixClient(BASE, http=matrix_http(transport=httpx2.MockTransport(answering({}))))

    await client.request("GET", ("versions",), what="versions", auth=False)
    with pytest.raises(TokenRefused):
        await client.request("GET", ("v3", "x"), what="x")


# Many at once


class Crowded:
    """Counts how many requests are in flight."""

    def __init__(self) -> None:
        self.now = self.most = self.served = 0

    async def __call__(self, _: httpx2.Request) -> httpx2.Response:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.001)
        self.now -= 1
        self.served += 1
        return httpx2.Response(200, json={})


@pytest.mark.parametrize("changing", [True, False])
async def test_only_so_many_are_in_flight(changing: bool) -> None:
    crowd = Crowded()
    client = client_of(crowd, reading=7, changing=3)

    await asyncio.gather(
        *(client.request("POST", ("v3", "x"), what="x", changing=changing) for _ in range(100))
    )

    assert crowd.most == (3 if changing else 7)


async def test_changes_that_hang_do_not_hold_up_reading() -> None:
    async def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            await asyncio.sleep(60)
        return httpx2.Response(200, json={})

    client = client_of(answer, changing=2)
    hanging = [
        asyncio.create_task(client.request("POST", ("v3", "x"), what="x", changing=True)) for _ in range(9)
    ]
    await asyncio.sleep(0)

    async with asyncio.timeout(2):
        await client.request("GET", ("v3", "x"), what="x")

    for task in hanging:
        task.cancel()


async def test_a_renewal_can_use_the_client_while_everybody_waits_for_it() -> None:
    class ThroughTheClient(Renewing):
        async def renew(self, refused: str, *, soft: bool) -> str:
            await client.request("POST", ("v3", "refresh"), what="refresh", auth=False)
            return await super().renew(refused, soft=soft) if self.number == 0 else "t1"

    async def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("refresh"):
            return httpx2.Response(200, json={})
        return await only("t1")(request)

    client = client_of(answer, tokens=ThroughTheClient(), reading=2)

    async with asyncio.timeout(5):
        await asyncio.gather(*(client.request("GET", ("v3", "x"), what="x") for _ in range(50)))


async def test_a_caller_that_gives_up_leaves_its_place_to_others() -> None:
    async def answer(request: httpx2.Request) -> httpx2.Response:
        if "slow" in request.url.path:
            await asyncio.sleep(60)
        return httpx2.Response(200, json={})

    client = client_of(answer, reading=1)
    for _ in range(5):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await client.request("GET", ("v3", "slow"), what="slow")

    async with asyncio.timeout(2):
        await client.request("GET", ("v3", "quick"), what="quick")


async def test_two_thousand_callers_all_get_their_answer() -> None:
    crowd = Crowded()
    client = client_of(crowd)

    await asyncio.gather(
        *(client.request("GET", ("v3", "x"), what="x", changing=bool(number % 2)) for number in range(2000))
    )

    assert crowd.served == 2000


async def test_hundreds_of_callers_over_the_network_all_get_their_answer() -> None:
    fake = FakeHomeserver()
    bot = await fake.user("bot")
    async with fake.served() as url:
        client = MatrixClient(url, FixedToken(bot.access_token or "", url))
        calls = [
            client.request("GET", ("v3", "account", "whoami"), what="whoami", changing=bool(number % 2))
            for number in range(400)
        ]
        answers = await asyncio.gather(*calls)
        await client.aclose()

    assert {answer["user_id"] for answer in answers} == {bot.user_id}


async def test_a_server_that_hangs_up_is_no_refusal() -> None:
    fake = FakeHomeserver()
    bot = await fake.user("bot")
    fake.fail("whoami", down=True, acts=True)
    async with fake.served() as url:
        client = MatrixClient(url, FixedToken(bot.access_token or "", url))
        with pytest.raises(HomeserverUnavailable):
            await client.request("GET", ("v3", "account", "whoami"), what="whoami")
        await client.aclose()


async def test_a_port_where_nobody_listens_is_an_outage_everywhere() -> None:
    client = MatrixClient("http://127.0.0.1:1", FixedToken("tok", BASE))

    with pytest.raises(HomeserverUnavailable) as outage:
        await client.request("GET", ("v3", "x"), what="x")
    await client.aclose()

    assert outage.value.everywhere


async def test_a_refusal_over_the_network_keeps_its_code() -> None:
    fake = FakeHomeserver()
    bot = await fake.user("bot")
    http = matrix_http(transport=fake.transport())
    client = MatrixClient(fake.url, FixedToken(bot.access_token or "", fake.url), http=http)

    with pytest.raises(Refused) as refused:
        await client.request("GET", ("v3", "rooms", "!none", "joined_members"), what="members")

    assert refused.value.status == 403
