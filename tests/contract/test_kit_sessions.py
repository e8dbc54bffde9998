"""The fake homeserver is not kinder than the real one: tokens, logging in, refreshing."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from tests.kit.account import Json, logged_in
from tests.kit.cast import (
    FORBIDDEN,
    GRANTED,
    INVALID,
    MISSING_TOKEN,
    NO_SUCH_ROOM,
    UNKNOWN_TOKEN,
    Cast,
    Outcome,
    new_name,
    outcome,
    with_token,
)
from tests.kit.homeserver import Homeserver

# Tokens


async def whoami(homeserver: Homeserver, token: str) -> httpx2.Response:
    return await with_token(homeserver, token).call("GET", "account", "whoami")


NEED_A_TOKEN = [
    ("GET", ("account", "whoami")),
    ("POST", ("logout",)),
    ("GET", ("joined_rooms",)),
    ("POST", ("createRoom",)),
    ("POST", ("rooms", NO_SUCH_ROOM, "invite")),
    ("POST", ("rooms", NO_SUCH_ROOM, "kick")),
    ("POST", ("rooms", NO_SUCH_ROOM, "ban")),
    ("POST", ("rooms", NO_SUCH_ROOM, "unban")),
    ("POST", ("rooms", NO_SUCH_ROOM, "join")),
    ("POST", ("rooms", NO_SUCH_ROOM, "leave")),
    ("GET", ("rooms", NO_SUCH_ROOM, "state")),
    ("GET", ("rooms", NO_SUCH_ROOM, "state", "m.room.name", "")),
    ("GET", ("rooms", NO_SUCH_ROOM, "members")),
    ("GET", ("rooms", NO_SUCH_ROOM, "joined_members")),
    ("PUT", ("rooms", NO_SUCH_ROOM, "send", "m.room.message", "once")),
    ("PUT", ("rooms", NO_SUCH_ROOM, "state", "m.room.name")),
]


@pytest.mark.parametrize(("method", "segments"), NEED_A_TOKEN)
async def test_without_a_token_nothing_is_answered(
    homeserver: Homeserver, method: str, segments: tuple[str, ...]
) -> None:
    response = await homeserver.anonymous().call(method, *segments, content=b"{")

    assert outcome(response) == MISSING_TOKEN


@pytest.mark.parametrize(("method", "segments"), NEED_A_TOKEN)
async def test_with_an_unknown_token_nothing_is_answered(
    homeserver: Homeserver, method: str, segments: tuple[str, ...]
) -> None:
    response = await with_token(homeserver, "nonsense").call(method, *segments, content=b"{")

    assert (*outcome(response), response.json()["soft_logout"]) == (*UNKNOWN_TOKEN, False)


async def test_another_kind_of_authorization_is_no_token(homeserver: Homeserver) -> None:
    headers = {"Authorization": "Basic YTpi"}

    response = await homeserver.anonymous().call("GET", "account", "whoami", headers=headers)

    assert outcome(response) == MISSING_TOKEN


async def test_whoami_names_the_account_and_its_device(cast: Cast) -> None:
    bot = cast.bot
    expected = {"user_id": bot.user_id, "device_id": bot.device_id, "is_guest": False}

    assert await bot.must("GET", "account", "whoami") == expected


async def test_an_expired_token_is_a_soft_logout(homeserver: Homeserver) -> None:
    await homeserver.user("dozing")

    response = await whoami(homeserver, await homeserver.expired_token("dozing"))

    assert (*outcome(response), response.json()["soft_logout"]) == (*UNKNOWN_TOKEN, True)


async def test_after_logging_out_the_token_is_unknown(homeserver: Homeserver) -> None:
    person = await homeserver.user("leaving")
    await person.log_out()

    response = await person.call("GET", "account", "whoami")

    assert (*outcome(response), response.json()["soft_logout"]) == (*UNKNOWN_TOKEN, False)


async def test_logging_out_leaves_other_devices_alone(homeserver: Homeserver) -> None:
    person, elsewhere = await homeserver.user("twofold"), await homeserver.user("twofold")
    await person.log_out()

    assert outcome(await elsewhere.call("GET", "account", "whoami")) == GRANTED


async def test_an_expired_token_can_still_log_out(homeserver: Homeserver) -> None:
    await homeserver.user("tired")
    expired = with_token(homeserver, await homeserver.expired_token("tired"))

    assert outcome(await expired.call("POST", "logout", json={})) == GRANTED


# Logging in


async def logs_in(homeserver: Homeserver, **body: Any) -> httpx2.Response:
    return await homeserver.anonymous().call("POST", "login", json=body)


PASSWORD = "a password"


def password_of(name: str, password: str = PASSWORD, **more: Any) -> Json:
    identifier = {"type": "m.id.user", "user": name}
    return {"type": "m.login.password", "identifier": identifier, "password": password, **more}


@pytest.fixture
async def paula(homeserver: Homeserver) -> str:
    """Somebody new who has a password."""
    name = new_name("paula")
    await homeserver.register(name, PASSWORD)
    return name


@pytest.mark.parametrize("kind", ["m.login.password", "org.matrix.login.jwt"])
async def test_the_ways_to_log_in_are_listed(homeserver: Homeserver, kind: str) -> None:
    flows = await homeserver.anonymous().must("GET", "login")

    assert {"type": kind} in flows["flows"]


@pytest.mark.parametrize("whole", [True, False])
async def test_a_password_logs_in(homeserver: Homeserver, paula: str, whole: bool) -> None:
    user_id = f"@{paula}:knock.test"

    response = await logs_in(homeserver, **password_of(user_id if whole else paula))

    assert response.json()["user_id"] == user_id


async def test_a_login_keeps_the_device_that_it_asks_for(homeserver: Homeserver, paula: str) -> None:
    response = await logs_in(homeserver, **password_of(paula, device_id="KNOCK"))

    assert response.json()["device_id"] == "KNOCK"


async def test_a_second_login_on_a_device_leaves_the_first_token_good(
    homeserver: Homeserver, paula: str
) -> None:
    first = await logs_in(homeserver, **password_of(paula, device_id="KNOCK"))
    await logs_in(homeserver, **password_of(paula, device_id="KNOCK"))

    assert outcome(await whoami(homeserver, first.json()["access_token"])) == GRANTED


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, (400, "M_UNKNOWN")),
        ({"type": "m.login.nonsense"}, INVALID),
        (password_of("nobodyever"), FORBIDDEN),
        (password_of("@x:elsewhere.test"), FORBIDDEN),
        ({"type": "m.login.password", "password": "x"}, INVALID),
        ({**password_of("x"), "password": None}, INVALID),
        ({**password_of("x"), "identifier": {"type": "m.id.nonsense"}}, (400, "M_UNKNOWN")),
        (password_of("x", refresh_token="yes"), (400, "M_UNKNOWN")),
        ({"type": "org.matrix.login.jwt"}, FORBIDDEN),
        ({"type": "org.matrix.login.jwt", "token": "not.a.token"}, FORBIDDEN),
    ],
)
async def test_a_login_that_fails(homeserver: Homeserver, body: Json, expected: Outcome) -> None:
    assert outcome(await logs_in(homeserver, **body)) == expected


@pytest.mark.parametrize(("body", "code"), [(b"{", "M_NOT_JSON"), (b"", "M_NOT_JSON"), (b"[]", "M_BAD_JSON")])
async def test_a_login_that_cannot_be_read_is_a_400(homeserver: Homeserver, body: bytes, code: str) -> None:
    response = await homeserver.anonymous().call("POST", "login", content=body)

    assert outcome(response) == (400, code)


async def test_a_wrong_password_is_forbidden(homeserver: Homeserver, paula: str) -> None:
    assert outcome(await logs_in(homeserver, **password_of(paula, "a guess"))) == FORBIDDEN


async def test_a_jwt_logs_in_somebody_new(homeserver: Homeserver) -> None:
    name = new_name("newcomer")

    response = await logs_in(homeserver, type="org.matrix.login.jwt", token=homeserver.jwt(name))

    assert response.json()["user_id"] == f"@{name}:knock.test"


async def test_a_jwt_of_somebody_else_is_forbidden(homeserver: Homeserver) -> None:
    header, _, signature = homeserver.jwt("bob").split(".")
    alices = homeserver.jwt("alice").split(".")[1]

    response = await logs_in(homeserver, type="org.matrix.login.jwt", token=f"{header}.{alices}.{signature}")

    assert outcome(response) == FORBIDDEN


# Refresh tokens


@pytest.fixture
async def session(homeserver: Homeserver, paula: str) -> Json:
    """The answer to a login that asked for a refresh token."""
    answer: Json = (await logs_in(homeserver, **password_of(paula, refresh_token=True))).json()
    return answer


async def refreshes(homeserver: Homeserver, token: object) -> httpx2.Response:
    return await homeserver.anonymous().call("POST", "refresh", json={"refresh_token": token})


async def test_a_login_gives_no_refresh_token_unasked(homeserver: Homeserver, paula: str) -> None:
    assert "refresh_token" not in (await logs_in(homeserver, **password_of(paula))).json()


async def test_a_refreshable_token_says_how_long_it_lives(session: Json) -> None:
    assert 0 < session["expires_in_ms"] <= 300_000


async def test_a_refresh_keeps_the_device(homeserver: Homeserver, session: Json) -> None:
    fresh = (await refreshes(homeserver, session["refresh_token"])).json()

    assert (await whoami(homeserver, fresh["access_token"])).json()["device_id"] == session["device_id"]


async def test_the_old_access_token_outlives_a_refresh(homeserver: Homeserver, session: Json) -> None:
    await refreshes(homeserver, session["refresh_token"])

    assert outcome(await whoami(homeserver, session["access_token"])) == GRANTED


async def test_a_refresh_whose_answer_was_lost_can_be_repeated(homeserver: Homeserver, session: Json) -> None:
    await refreshes(homeserver, session["refresh_token"])

    assert outcome(await refreshes(homeserver, session["refresh_token"])) == GRANTED


async def test_a_repeated_refresh_voids_the_pair_that_was_lost(homeserver: Homeserver, session: Json) -> None:
    lost = (await refreshes(homeserver, session["refresh_token"])).json()
    await refreshes(homeserver, session["refresh_token"])

    assert outcome(await whoami(homeserver, lost["access_token"])) == UNKNOWN_TOKEN


async def test_once_the_new_token_was_used_the_old_refresh_token_is_void(
    homeserver: Homeserver, session: Json
) -> None:
    fresh = (await refreshes(homeserver, session["refresh_token"])).json()
    await whoami(homeserver, fresh["access_token"])

    assert outcome(await refreshes(homeserver, session["refresh_token"])) == FORBIDDEN


async def test_once_the_new_refresh_token_was_used_the_old_one_is_unknown(
    homeserver: Homeserver, session: Json
) -> None:
    fresh = (await refreshes(homeserver, session["refresh_token"])).json()
    await refreshes(homeserver, fresh["refresh_token"])

    assert outcome(await refreshes(homeserver, session["refresh_token"])) == UNKNOWN_TOKEN


async def test_logging_out_voids_the_refresh_token(homeserver: Homeserver, session: Json) -> None:
    await logged_in(homeserver.anonymous(), session).log_out()

    assert outcome(await refreshes(homeserver, session["refresh_token"])) == UNKNOWN_TOKEN


@pytest.mark.parametrize(("token", "expected"), [("nonsense", UNKNOWN_TOKEN), (1, INVALID)])
async def test_a_bad_refresh_token_is_refused(
    homeserver: Homeserver, token: object, expected: Outcome
) -> None:
    assert outcome(await refreshes(homeserver, token)) == expected


async def test_a_refresh_without_a_token_is_a_400(homeserver: Homeserver) -> None:
    response = await homeserver.anonymous().call("POST", "refresh", json={})

    assert outcome(response) == (400, "M_MISSING_PARAM")
