"""The stand-in for Beeper's login API does what its clients rely on."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from tests.kit.beeper_stub import API_TOKEN, CODE, BeeperStub
from tests.kit.homeserver import Homeserver

EMAIL = "bot@knock.example"


@pytest.fixture
def beeper() -> BeeperStub:
    return BeeperStub({EMAIL: "beeperbot"})


async def post(beeper: BeeperStub, path: str, token: str = API_TOKEN, **body: Any) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(transport=beeper.transport(), base_url=beeper.url) as client:
        return await client.post(path, json=body, headers=headers)


async def respond(beeper: BeeperStub, code: str = CODE, email: str = EMAIL) -> httpx2.Response:
    """Go through the whole login and return the last answer."""
    request = (await post(beeper, "/user/login")).json()["request"]
    await post(beeper, "/user/login/email", request=request, email=email)
    return await post(beeper, "/user/login/response", request=request, response=code)


async def test_the_token_logs_in_on_the_homeserver(homeserver: Homeserver) -> None:
    beeper = BeeperStub({EMAIL: "beeperbot"}, homeserver.jwt)
    token = (await respond(beeper)).json()["token"]
    body = {"type": "org.matrix.login.jwt", "token": token, "device_id": "KNOCK"}

    session = await homeserver.anonymous().must("POST", "login", json=body)

    assert (session["user_id"], session["device_id"]) == ("@beeperbot:knock.test", "KNOCK")


async def test_a_login_request_can_be_finished_later(beeper: BeeperStub) -> None:
    request = (await post(beeper, "/user/login")).json()["request"]
    await post(beeper, "/user/login/email", request=request, email=EMAIL)
    await post(beeper, "/user/login")

    assert (await post(beeper, "/user/login/response", request=request, response=CODE)).status_code == 200


async def test_a_wrong_code_tells_how_many_tries_are_left(beeper: BeeperStub) -> None:
    response = await respond(beeper, code="000000")

    assert (response.status_code, response.json()) == (403, {"retries": 2})


async def test_an_unknown_address_never_gets_a_right_code(beeper: BeeperStub) -> None:
    assert (await respond(beeper, email="nobody@knock.example")).status_code == 403


async def test_a_code_works_once(beeper: BeeperStub) -> None:
    await respond(beeper)
    request = "login-1"

    assert (await post(beeper, "/user/login/response", request=request, response=CODE)).status_code == 400


async def test_after_three_wrong_codes_the_request_is_over(beeper: BeeperStub) -> None:
    await respond(beeper, code="000000")
    for _ in range(2):
        await post(beeper, "/user/login/response", request="login-1", response="000000")

    assert (await post(beeper, "/user/login/response", request="login-1", response=CODE)).status_code == 400


async def test_an_outdated_client_is_told_so_with_a_429(beeper: BeeperStub) -> None:
    beeper.outdated = True
    response = await respond(beeper)

    assert (response.status_code, response.json()) == (429, {"error": "Your client is out of date"})


async def test_who_is_on_the_waitlist_gets_no_token(beeper: BeeperStub) -> None:
    beeper.waitlisted = True

    assert "token" not in (await respond(beeper)).json()


async def test_without_the_public_token_nothing_is_answered(beeper: BeeperStub) -> None:
    assert (await post(beeper, "/user/login", token="nonsense")).status_code == 401


async def test_calls_are_remembered_in_order(beeper: BeeperStub) -> None:
    await respond(beeper)

    assert [call.path for call in beeper.calls] == [
        "/user/login",
        "/user/login/email",
        "/user/login/response",
    ]
