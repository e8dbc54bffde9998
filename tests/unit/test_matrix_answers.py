"""What each kind of answer means."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest

from mknock.domain.errors import HomeserverError, HomeserverUnavailable, RateLimited, Refused, TokenRefused
from mknock.matrix.answers import (
    DEFAULT_WAIT,
    LONGEST_WAIT,
    Answer,
    ProofWanted,
    StaleToken,
    judge,
    wait_asked_for,
)

NOW = 1_800_000_000.0
HTML = b"<html><body>502 Bad Gateway</body></html>"


def said(status: int, body: Any = None, *, retry_after: str = "") -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, raw, [(b"Retry-After", retry_after.encode())] if retry_after else [])


def error_of(status: int, body: Any = None, *, retry_after: str = "") -> HomeserverError:
    with pytest.raises(HomeserverError) as caught:
        judge(said(status, body, retry_after=retry_after), "invite", NOW)
    return caught.value


def matrix(code: Any, **more: Any) -> dict[str, Any]:
    return {"errcode": code, "error": "You are not allowed in !secret:hs.test", **more}


# Successes


def test_a_success_gives_its_json() -> None:
    assert judge(said(200, {"user_id": "@a:b"}), "whoami", NOW) == {"user_id": "@a:b"}


@pytest.mark.parametrize("body", [b"", HTML, b"{", b"\xff\xfe", b"[" * 100_000, b"1" * 10_000])
def test_a_success_that_is_not_json_is_no_answer(body: bytes) -> None:
    assert isinstance(error_of(200, body), HomeserverUnavailable)


# Refusals


def test_a_refusal_has_the_status_and_the_code() -> None:
    error = error_of(403, matrix("M_FORBIDDEN"))

    assert isinstance(error, Refused)
    assert (error.status, error.code) == (403, "M_FORBIDDEN")


@pytest.mark.promise(5)
def test_a_refusal_names_the_operation_and_the_code_and_nothing_else() -> None:
    assert str(error_of(403, matrix("M_FORBIDDEN"))) == "invite was refused: M_FORBIDDEN (403)"


@pytest.mark.promise(10)
@pytest.mark.parametrize("code", ["!secret:hs.test", "syt_token", "M_\nX", "M_" + "X" * 100, "m_forbidden"])
def test_a_code_that_is_none_is_not_repeated(code: str) -> None:
    error = error_of(403, matrix(code))

    assert isinstance(error, Refused)
    assert error.code == ""
    assert code not in str(error)


@pytest.mark.promise(7)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413])
@pytest.mark.parametrize(
    "body", [HTML, {}, {"message": "Forbidden"}, [], None, {"errcode": 7}, {"errcode": ""}]
)
def test_a_no_that_is_not_the_homeservers_own_word_is_no_answer(status: int, body: Any) -> None:
    assert isinstance(error_of(status, body), HomeserverUnavailable)


@pytest.mark.promise(7)
@pytest.mark.parametrize("status", [404, 405])
def test_an_endpoint_that_is_not_there_is_no_refusal(status: int) -> None:
    assert isinstance(error_of(status, matrix("M_UNRECOGNIZED")), HomeserverUnavailable)


# Outages


@pytest.mark.parametrize("status", [502, 503, 504, 521, 522, 523, 530])
def test_a_proxys_own_error_means_that_the_homeserver_is_out_of_reach(status: int) -> None:
    error = error_of(status, HTML)

    assert isinstance(error, HomeserverUnavailable)
    assert error.everywhere


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_error_of_the_homeserver_is_about_this_request(status: int) -> None:
    error = error_of(status, matrix("M_UNKNOWN"))

    assert isinstance(error, HomeserverUnavailable)
    assert not error.everywhere


@pytest.mark.promise(11)
@pytest.mark.parametrize("status", [301, 302, 304, 307, 308])
@pytest.mark.parametrize("body", [HTML, matrix("M_FORBIDDEN")])
def test_a_redirect_is_no_answer(status: int, body: Any) -> None:
    error = error_of(status, body)

    assert isinstance(error, HomeserverUnavailable)
    assert "redirect" in str(error)


# The token


@pytest.mark.parametrize("code", ["M_UNKNOWN_TOKEN", "M_MISSING_TOKEN"])
def test_a_401_about_the_token_may_be_healed(code: str) -> None:
    assert isinstance(error_of(401, matrix(code)), StaleToken)


@pytest.mark.parametrize(("value", "soft"), [(True, True), (False, False), ("true", False), (1, False)])
def test_only_a_true_soft_logout_is_one(value: Any, soft: bool) -> None:
    error = error_of(401, matrix("M_UNKNOWN_TOKEN", soft_logout=value))

    assert isinstance(error, TokenRefused)
    assert error.soft is soft


@pytest.mark.promise(7)
@pytest.mark.parametrize("status", [403, 404, 500, 502])
def test_a_token_error_with_another_status_is_not_about_the_token(status: int) -> None:
    assert not isinstance(error_of(status, matrix("M_UNKNOWN_TOKEN")), TokenRefused)


@pytest.mark.parametrize(
    ("status", "code", "word"), [(401, "M_USER_LOCKED", "locked"), (403, "M_USER_SUSPENDED", "suspended")]
)
def test_a_stopped_account_is_said_to_be_stopped(status: int, code: str, word: str) -> None:
    error = error_of(status, matrix(code, soft_logout=True))

    assert isinstance(error, TokenRefused)
    assert not isinstance(error, StaleToken)
    assert word in str(error)


# Waiting


@pytest.mark.parametrize("body", [matrix("M_LIMIT_EXCEEDED"), HTML, {}, b""])
def test_a_429_is_a_limit_whoever_sends_it(body: Any) -> None:
    error = error_of(429, body, retry_after="7")

    assert isinstance(error, RateLimited)
    assert error.retry_after == 7.0


@pytest.mark.parametrize(
    ("header", "milliseconds", "seconds"),
    [
        ("2", None, 2.0),
        (" 2 ", None, 2.0),
        ("1.5", None, 1.5),
        ("", 50, 0.05),
        ("1", 50, 0.05),
        ("4", 3333, 3.333),
        ("4", 4000, 4.0),
        ("60", 500, 60.0),  # a proxy in front asks for more
        ("2", 60_000, 2.0),  # the header counts since 1.10
        ("2", "1500", 2.0),
        ("nonsense", 1500, 1.5),
    ],
)
def test_the_header_counts_and_the_milliseconds_make_it_exact(
    header: str, milliseconds: Any, seconds: float
) -> None:
    assert wait_asked_for(header, milliseconds, NOW) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "header", ["", "0", "-5", "nan", "inf", "1e9", "²", "٣", "1_0", "soon", "Sun, 99 Foo"]
)
@pytest.mark.parametrize(
    "milliseconds", [None, 0, -1, float("nan"), float("inf"), True, "50", [], {}, 10**400]
)
def test_garbage_becomes_the_default(header: str, milliseconds: Any) -> None:
    assert wait_asked_for(header, milliseconds, NOW) == DEFAULT_WAIT


def test_a_date_is_a_wait_until_then() -> None:
    then = format_datetime(datetime.fromtimestamp(NOW + 90, UTC), usegmt=True)

    assert wait_asked_for(then, None, NOW) == 90.0


def test_a_date_in_the_past_becomes_the_default() -> None:
    then = format_datetime(datetime.fromtimestamp(NOW - 90, UTC), usegmt=True)

    assert wait_asked_for(then, None, NOW) == DEFAULT_WAIT


@pytest.mark.parametrize(("header", "milliseconds"), [("999999999", None), ("", 10**15), ("4000", 3_999_999)])
def test_no_answer_silences_knock_for_long(header: str, milliseconds: Any) -> None:
    assert wait_asked_for(header, milliseconds, NOW) == LONGEST_WAIT


# Proofs that are wanted


def test_a_demand_for_proof_has_its_session() -> None:
    error = error_of(401, {"flows": [{"stages": ["m.login.password"]}], "session": "abc"})

    assert isinstance(error, ProofWanted)
    assert error.session == "abc"


def test_a_proof_that_was_not_good_enough_is_wanted_again() -> None:
    assert isinstance(error_of(401, matrix("M_FORBIDDEN", flows=[], session="abc")), ProofWanted)


@pytest.mark.parametrize("session", [None, 7, {}])
def test_a_demand_for_proof_may_have_no_session(session: Any) -> None:
    error = error_of(401, {"flows": [], "session": session})

    assert isinstance(error, ProofWanted)
    assert error.session == ""


@pytest.mark.parametrize("flows", [None, {}, "password"])
def test_without_flows_it_is_no_demand_for_proof(flows: Any) -> None:
    assert not isinstance(error_of(401, {"flows": flows}), ProofWanted)


def test_a_stale_token_comes_before_any_proof() -> None:
    assert isinstance(error_of(401, matrix("M_UNKNOWN_TOKEN", flows=[])), StaleToken)
