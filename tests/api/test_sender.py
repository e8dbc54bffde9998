"""Whose request it is: behind no proxy, one, two, and behind those who lie."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from tests.api.running import FORM, Running, Starting
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from mknock.api.sender import Visitors

VISITOR = "203.0.113.7"
PROXY = "10.0.0.1"
OUTER = "192.0.2.10"
LIE = "198.51.100.1"


def request(peer: str | None, *forwarded: str, port: int = 40_000) -> Request:
    headers = [(b"x-forwarded-for", value.encode("latin-1", "replace")) for value in forwarded]
    client = None if peer is None else (peer, port)
    return Request({"type": "http", "headers": headers, "client": client})


def seen(peer: str | None, *forwarded: str, trusted: str = "", port: int = 40_000) -> str | None:
    return Visitors([ip_network(one) for one in trusted.split()]).address(
        request(peer, *forwarded, port=port)
    )


# --- without a trusted proxy ---------------------------------------------------------------------


def test_without_a_proxy_it_is_the_peer() -> None:
    assert seen(VISITOR) == VISITOR


def test_nobody_is_believed_unless_trusted() -> None:
    assert seen(VISITOR, LIE) == VISITOR


def test_behind_an_unnamed_proxy_all_are_one() -> None:
    assert {seen(PROXY, VISITOR), seen(PROXY, LIE)} == {PROXY}


def test_a_unix_socket_counts_as_this_machine() -> None:
    assert (seen(None), seen(None, VISITOR, trusted="127.0.0.1")) == ("127.0.0.1", VISITOR)


# --- with trusted proxies ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("forwarded", "trusted"),
    [
        ((VISITOR,), PROXY),
        ((f"{LIE}, {VISITOR}",), PROXY),
        ((LIE, VISITOR), PROXY),
        ((f"{LIE},{VISITOR} ",), "10.0.0.0/8"),
        ((f"{VISITOR}, {OUTER}",), f"{PROXY} {OUTER}"),
        ((f"{LIE}, {VISITOR}, {OUTER}",), f"{PROXY} {OUTER}"),
        ((f"{LIE}, {VISITOR}", OUTER), f"{PROXY} {OUTER}"),
        ((f"{VISITOR}:5123",), PROXY),
        ((f"{OUTER}, , {VISITOR}, ",), PROXY),
    ],
)
def test_it_is_the_rightmost_hop_that_is_not_trusted(forwarded: tuple[str, ...], trusted: str) -> None:
    assert seen(PROXY, *forwarded, trusted=trusted) == VISITOR


@pytest.mark.parametrize("hop", ["2001:db8::7", "[2001:db8::7]", "[2001:db8::7]:443"])
def test_ipv6_hops_are_understood(hop: str) -> None:
    assert seen(PROXY, hop, trusted=PROXY) == "2001:db8::7"


def test_a_proxy_seen_through_a_socket_for_both_kinds_is_the_same() -> None:
    assert seen(f"::ffff:{PROXY}", VISITOR, trusted=PROXY) == VISITOR


def test_where_all_are_trusted_it_is_the_first() -> None:
    assert seen(PROXY, f"{OUTER}, {PROXY}", trusted=f"{PROXY} {OUTER}") == OUTER


@given(st.lists(st.text(max_size=20), max_size=5), st.integers(0, 65535))
def test_no_header_makes_it_fail(forwarded: list[str], port: int) -> None:
    assert seen(PROXY, *forwarded, trusted="10.0.0.0/8", port=port) is not None


@given(st.lists(st.sampled_from([LIE, VISITOR, OUTER, "127.0.0.1", "unknown", "", "x:y:z"]), max_size=5))
def test_whatever_a_visitor_claims_the_proxys_word_counts(claims: list[str]) -> None:
    assert seen(PROXY, ", ".join([*claims, "203.0.113.99"]), trusted=PROXY) == "203.0.113.99"


# --- as uvicorn shows it -------------------------------------------------------------------------


async def through_uvicorn(
    peer: str, port: int, *forwarded: str, trusted: str, believes: str = "127.0.0.1"
) -> Any:
    """The address after uvicorn has had its way with the client, as ``uvicorn mknock:app`` does by default."""
    found = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found.append(Visitors([ip_network(one) for one in trusted.split()]).address(Request(scope)))

    scope = dict(request(peer, *forwarded, port=port).scope)
    await ProxyHeadersMiddleware(app, trusted_hosts=believes)(scope, None, None)  # type: ignore[arg-type]
    return found[0]


@pytest.mark.parametrize("hop", [VISITOR, f"{VISITOR}:5123"])
async def test_what_uvicorn_rewrote_is_not_believed(hop: str) -> None:
    assert await through_uvicorn("127.0.0.1", 40_000, hop, trusted="") == "127.0.0.1"


@pytest.mark.parametrize("hop", [VISITOR, f"{VISITOR}:5123"])
async def test_behind_a_trusted_local_proxy_uvicorn_changes_nothing(hop: str) -> None:
    assert await through_uvicorn("127.0.0.1", 40_000, hop, trusted="127.0.0.1") == VISITOR


async def test_a_lie_before_a_trusted_local_proxy_gains_nothing() -> None:
    hops = f"{LIE}, {VISITOR}"
    assert await through_uvicorn("127.0.0.1", 40_000, hops, trusted="127.0.0.1") == VISITOR


async def test_uvicorn_told_to_believe_everybody_is_not_believed() -> None:
    hops = f"{LIE}, {VISITOR}"
    assert await through_uvicorn("127.0.0.1", 40_000, hops, trusted="127.0.0.1", believes="*") == VISITOR


@pytest.mark.parametrize(
    "hops",
    [f"{VISITOR}, {LIE}", f"{VISITOR}:40000, {LIE}", f"{LIE}, {VISITOR}:40000", f"{VISITOR}, 127.0.0.1"],
)
async def test_who_reaches_knock_past_its_proxy_cannot_pass_for_the_proxy(hops: str) -> None:
    assert await through_uvicorn(VISITOR, 40_000, hops, trusted="127.0.0.1") == VISITOR


# --- what it is for ------------------------------------------------------------------------------


async def knocks(knock: Running, *addresses: str, app: Any = None) -> list[int]:
    """Knock once from each of these addresses, through the proxy."""
    answers = [
        await knock.post(
            f"@u{number}:knock.test", address=PROXY, headers={"X-Forwarded-For": address}, app=app
        )
        for number, address in enumerate(addresses)
    ]
    return [answer.status_code for answer in answers]


@pytest.mark.parametrize(
    ("trusted", "addresses", "expected"),
    [
        ("", [VISITOR, LIE], [200, 429]),
        (PROXY, [VISITOR, LIE], [200, 200]),
        (PROXY, [VISITOR, VISITOR], [200, 429]),
        (PROXY, [f"{LIE}, {VISITOR}", f"{OUTER}, {VISITOR}"], [200, 429]),
        (f"{PROXY}, {OUTER}", [f"{VISITOR}, {OUTER}", f"{LIE}, {OUTER}"], [200, 200]),
        (PROXY, ["2001:db8:1:2::1", "2001:db8:1:2:ffff::9"], [200, 429]),
        (PROXY, ["2001:db8:1:2::1", "2001:db8:1:3::1"], [200, 200]),
        (PROXY, [VISITOR, f"::ffff:{VISITOR}"], [200, 429]),
    ],
)
async def test_each_visitor_has_a_window_of_their_own(
    starting: Starting, trusted: str, addresses: list[str], expected: list[int]
) -> None:
    async with starting(trusted_proxies=trusted, max_requests_per_sender=1) as knock:
        assert await knocks(knock, *addresses) == expected


async def test_an_unnamed_proxy_is_warned_of_once(starting: Starting) -> None:
    async with starting() as knock:
        await knocks(knock, VISITOR, LIE, OUTER)
        assert len([line for line in knock.lines.written if "TRUSTED_PROXIES" in line]) == 1


@pytest.mark.promise(10)
async def test_no_visitors_address_is_kept_or_logged(starting: Starting, tmp_path: Any) -> None:
    async with starting(max_requests_per_sender=1) as knock:
        for _ in range(3):
            await knock.call("POST", FORM, json={"matrix_id": "@tara:knock.test"}, address=VISITOR)
        logged = [line for line in knock.lines.written if VISITOR in line]
        kept = [path for path in (tmp_path / "data").iterdir() if VISITOR.encode() in path.read_bytes()]
        assert (logged, kept) == ([], [])
