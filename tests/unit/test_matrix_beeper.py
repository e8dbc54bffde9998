"""Signing in with Beeper's e-mailed code, in two starts."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kit.beeper_stub import API_TOKEN, CODE, BeeperStub
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.http import matrix_http

from mknock.domain.errors import HomeserverError, HomeserverUnavailable, RateLimited, TokenRefused
from mknock.matrix.auth import AFTER_LOGIN, SignedIn
from mknock.matrix.beeper import (
    CLOSED_PAUSE,
    BeeperClosed,
    BeeperLogin,
    CodeNeeded,
    EmailCodeSignIn,
    WrongCode,
)
from mknock.matrix.client import MatrixClient
from mknock.storage.sqlite import SqliteStore

EMAIL = "bot@knock.test"
BEGIN, SEND, RESPOND = "/user/login", "/user/login/email", "/user/login/response"


@dataclass
class Time:
    """A clock that moves when told."""

    now: float = field(default_factory=time.time)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "knock.db")
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def stub(fake: FakeHomeserver) -> BeeperStub:
    fake.add_user("bot")
    return BeeperStub({EMAIL: "bot"})


def beeper_behind(
    transport: httpx2.AsyncBaseTransport, clock: Callable[[], float] = time.time
) -> BeeperLogin:
    return BeeperLogin("http://api.beeper.test", matrix_http(transport=transport), clock=clock)


def answering(status: int, body: Any, headers: dict[str, str] | None = None) -> httpx2.MockTransport:
    async def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, json=body, headers=headers)

    return httpx2.MockTransport(answer)


Starter = Callable[..., SignedIn]


@pytest.fixture
def start(store: SqliteStore, fake: FakeHomeserver, stub: BeeperStub, clock: Time) -> Starter:
    """Starts Knock with BEEPER_LOGIN_EMAIL and, if given, BEEPER_LOGIN_CODE."""

    def one(code: str = "", *, email: str = EMAIL, transport: Any = None) -> SignedIn:
        beeper = beeper_behind(transport or stub.transport(), clock)
        way = EmailCodeSignIn(store, beeper, email, code, clock=clock)
        client = MatrixClient(fake.url, http=matrix_http(transport=fake.transport()), clock=clock)
        return SignedIn(store, way, client, holder="one", clock=clock)

    return one


def steps(stub: BeeperStub) -> list[str]:
    return [call.path for call in stub.calls]


async def refused(signed_in: SignedIn) -> str:
    with pytest.raises(TokenRefused) as error:
        await signed_in.current()
    return str(error.value)


# The three calls


async def test_the_calls_are_those_of_beepers_own_client(stub: BeeperStub) -> None:
    beeper = beeper_behind(stub.transport())
    begun = await beeper.request_code(EMAIL)
    await beeper.answer(begun.request, CODE)

    assert [(call.path, call.body) for call in stub.calls] == [
        (BEGIN, {}),
        (SEND, {"request": "login-1", "email": EMAIL, "appType": "bbctl", "onlyExistingAccounts": True}),
        (RESPOND, {"request": "login-1", "response": CODE, "appType": "bbctl", "onlyExistingAccounts": True}),
    ]


async def test_every_call_bears_the_public_token(stub: BeeperStub) -> None:
    await beeper_behind(stub.transport()).request_code(EMAIL)

    assert {call.headers["authorization"] for call in stub.calls} == {f"Bearer {API_TOKEN}"}


@pytest.mark.parametrize(
    ("expires", "seconds"),
    [
        ("2027-01-15T08:10:00Z", 600),
        ("2027-01-15T08:10:00.123456789Z", 600.123456),
        ("2027-01-15T09:10:00+01:00", 600),
        ("2027-01-15T08:10:00", 600),
        ("2020-01-01T00:00:00Z", 60),
        ("2999-01-01T00:00:00Z", 86400),
        ("soon", 900),
        (None, 900),
        (7, 900),
    ],
)
async def test_a_request_counts_as_long_as_it_says_within_reason(expires: Any, seconds: float) -> None:
    now = 1_800_000_000.0  # 2027-01-15T08:00:00Z
    beeper = beeper_behind(answering(200, {"request": "r", "expires": expires}), lambda: now)

    assert (await beeper.request_code(EMAIL)).expires_at - now == pytest.approx(seconds)


async def test_a_wrong_code_says_how_many_tries_are_left(stub: BeeperStub) -> None:
    beeper = beeper_behind(stub.transport())
    begun = await beeper.request_code(EMAIL)

    with pytest.raises(WrongCode) as wrong:
        await beeper.answer(begun.request, "000000")

    assert wrong.value.retries == 2


async def test_a_request_that_beeper_has_forgotten_takes_no_code(stub: BeeperStub) -> None:
    with pytest.raises(WrongCode) as wrong:
        await beeper_behind(stub.transport()).answer("login-of-old", CODE)

    assert wrong.value.retries == 0


async def test_an_outdated_client_is_told_the_other_ways(stub: BeeperStub) -> None:
    stub.outdated = True
    beeper = beeper_behind(stub.transport())
    begun = await beeper.request_code(EMAIL)

    with pytest.raises(
        BeeperClosed, match=r"out of date.*MATRIX_ACCESS_TOKEN.*MATRIX_USER and MATRIX_PASSWORD"
    ):
        await beeper.answer(begun.request, CODE)


async def test_an_account_without_a_token_is_told_the_other_ways(stub: BeeperStub) -> None:
    stub.waitlisted = True
    beeper = beeper_behind(stub.transport())
    begun = await beeper.request_code(EMAIL)

    with pytest.raises(BeeperClosed, match="MATRIX_ACCESS_TOKEN"):
        await beeper.answer(begun.request, CODE)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
async def test_a_closed_door_is_told_the_other_ways(status: int) -> None:
    with pytest.raises(BeeperClosed, match="MATRIX_ACCESS_TOKEN"):
        await beeper_behind(answering(status, {"error": "no"})).request_code(EMAIL)


async def test_another_429_asks_to_wait() -> None:
    limited = answering(429, {"error": "Too many requests"}, {"retry-after": "30"})

    with pytest.raises(RateLimited) as wait:
        await beeper_behind(limited).request_code(EMAIL)

    assert wait.value.retry_after == 30


@pytest.mark.promise(7)
@pytest.mark.parametrize(
    ("status", "body"), [(500, {}), (502, "x"), (302, {}), (200, {}), (200, []), (200, "x")]
)
async def test_no_usable_answer_is_no_refusal(status: int, body: Any) -> None:
    with pytest.raises(HomeserverUnavailable):
        await beeper_behind(answering(status, body)).request_code(EMAIL)


@given(
    st.integers(200, 599),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(st.sampled_from(["request", "token", "error", "retries", "expires"]), inner)
        ),
        max_leaves=5,
    ),
)
async def test_no_answer_raises_anything_but_a_homeserver_error(status: int, body: Any) -> None:
    async def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, content=json.dumps(body).encode())

    beeper = beeper_behind(httpx2.MockTransport(answer))
    for attempt in (beeper.request_code(EMAIL), beeper.answer("r", CODE)):
        with contextlib.suppress(HomeserverError):
            await attempt


# The first start


async def test_the_first_start_has_a_code_sent_and_says_so(start: Starter, stub: BeeperStub) -> None:
    said = await refused(start())

    assert steps(stub) == [BEGIN, SEND]
    assert said == (
        "a code was sent to bot@knock.test; set BEEPER_LOGIN_CODE to it and start again, "
        'or run "mknock login"'
    )


async def test_what_is_needed_is_an_error_of_its_own(start: Starter) -> None:
    with pytest.raises(CodeNeeded):
        await start().current()


async def test_no_second_code_is_sent_while_the_first_counts(start: Starter, stub: BeeperStub) -> None:
    for _ in range(5):
        signed_in = start()
        await refused(signed_in)
        await refused(signed_in)

    assert steps(stub).count(SEND) == 1


async def test_a_running_knock_has_no_second_code_sent(start: Starter, stub: BeeperStub, clock: Time) -> None:
    signed_in = start()
    await refused(signed_in)
    clock.now += 7200

    assert "start Knock again" in await refused(signed_in)
    assert steps(stub).count(SEND) == 1


async def test_a_start_after_the_code_has_expired_sends_another(
    start: Starter, stub: BeeperStub, clock: Time
) -> None:
    await refused(start())
    clock.now += 7200
    await refused(start())

    assert steps(stub).count(SEND) == 2


async def test_another_address_gets_a_code_of_its_own(start: Starter, stub: BeeperStub) -> None:
    await refused(start())
    await refused(start(email="other@knock.test"))

    assert [call.body["email"] for call in stub.calls if call.path == SEND] == [EMAIL, "other@knock.test"]


async def test_a_code_without_a_request_of_ours_has_a_new_one_sent(start: Starter, stub: BeeperStub) -> None:
    await refused(start("999999"))

    assert steps(stub) == [BEGIN, SEND]


# The second start


async def test_the_second_start_signs_in(start: Starter, fake: FakeHomeserver) -> None:
    await refused(start())

    token = await start(CODE).current()

    assert fake.accounts.session(token).user_id == "@bot:knock.test"


async def test_a_restart_with_the_used_code_uses_the_session(start: Starter, stub: BeeperStub) -> None:
    await refused(start())
    first = await start(CODE).current()
    stub.calls.clear()

    assert await start(CODE).current() == first
    assert stub.calls == []


async def test_a_used_code_is_not_tried_again_when_the_session_is_gone(
    start: Starter, stub: BeeperStub, fake: FakeHomeserver, clock: Time
) -> None:
    await refused(start())
    signed_in = start(CODE)
    token = await signed_in.current()
    clock.now += AFTER_LOGIN
    stub.calls.clear()

    with pytest.raises(CodeNeeded, match="was used or is wrong: a code was sent"):
        await signed_in.renew(token, soft=False)

    assert steps(stub) == [BEGIN, SEND]


async def test_a_wrong_code_is_tried_once(start: Starter, stub: BeeperStub) -> None:
    await refused(start())
    for _ in range(5):
        assert "wrong" in await refused(start("000000"))

    assert steps(stub).count(RESPOND) == 1


async def test_after_a_wrong_code_the_right_one_is_taken(start: Starter) -> None:
    await refused(start())
    await refused(start("000000"))

    await start(CODE).current()


async def test_after_the_last_try_a_new_start_has_another_code_sent(
    start: Starter, stub: BeeperStub, clock: Time
) -> None:
    await refused(start())
    for wrong in ("000000", "000001", "000002"):
        await refused(start(wrong))
    clock.now += 1
    await refused(start("000002"))

    assert steps(stub).count(SEND) == 2


async def test_a_token_is_not_lost_when_the_homeserver_is_down(
    start: Starter, stub: BeeperStub, fake: FakeHomeserver
) -> None:
    await refused(start())
    fake.fail(down=True)
    with pytest.raises(HomeserverUnavailable):
        await start(CODE).current()
    fake.mend()

    await start(CODE).current()

    assert steps(stub).count(RESPOND) == 1


async def test_a_token_that_the_homeserver_refused_is_dropped(
    start: Starter, store: SqliteStore, fake: FakeHomeserver
) -> None:
    await refused(start())
    fake.fail("login", status=403, times=1)
    await refused(start(CODE))

    assert "eyJ" not in (await store.secret("beeper-login") or "")


# Beeper refuses


async def test_an_outdated_client_does_not_try_again(start: Starter, stub: BeeperStub) -> None:
    await refused(start())
    stub.outdated = True
    for _ in range(5):
        assert "MATRIX_ACCESS_TOKEN" in await refused(start(CODE))

    assert steps(stub).count(RESPOND) == 1


async def test_an_hour_later_a_closed_door_is_tried_again(
    start: Starter, stub: BeeperStub, clock: Time
) -> None:
    await refused(start())
    stub.outdated = True
    await refused(start(CODE))
    stub.outdated = False
    clock.now += CLOSED_PAUSE

    await refused(start())

    assert steps(stub).count(SEND) == 2


async def test_a_limit_at_beeper_is_obeyed(start: Starter, clock: Time) -> None:
    asked: list[str] = []

    async def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.path)
        return httpx2.Response(429, json={"error": "Too many requests"}, headers={"retry-after": "30"})

    for _ in range(5):
        await refused(start(transport=httpx2.MockTransport(answer)))

    assert len(asked) == 1


# Secrets


@pytest.mark.promise(10)
async def test_no_refusal_tells_the_code(start: Starter) -> None:
    await refused(start())

    assert "000000" not in await refused(start("000000"))
