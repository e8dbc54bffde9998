"""Whatever comes to the form's address, the answer is one that no platform takes for a dead webhook."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.api.running import FORM, FORM_TOKEN, Running, started

ANSWERS = {200, 401, 413, 429, 503}
DEADLY = {301, 302, 303, 307, 308, 404, 410, 500}
"""A webhook is switched off at once, or the form is lost on the way."""

over_one_knock = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
methods = st.sampled_from(
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "QUERY", "BREW"]
)
slashes = st.integers(0, 4).map("/".__mul__)
queries = st.one_of(
    st.just(b""),
    st.sampled_from([b"?", b"?token=", b"?token=x&token=y", b"?%ff", b"?a=b&&=", b"?utm_source=%20"]),
    st.binary(max_size=30).map(
        lambda raw: b"?" + bytes(byte for byte in raw if 33 <= byte < 127 and byte != 35)
    ),
)


@pytest.fixture(params=[None, FORM_TOKEN], ids=["anonymous", "with a token"])
async def knock(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Running]:
    async with started(tmp_path, form_token=request.param) as running:
        yield running


async def raw(
    knock: Running, method: str, target: bytes, body: bytes, headers: dict[str, bytes]
) -> httpx2.Response:
    """Send bytes as they are; httpx2 would tidy them."""
    path, _, query = target.partition(b"?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path.decode("latin-1"),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": [(name.lower().encode(), value) for name, value in headers.items()],
        "client": ("203.0.113.7", 40_000),
        "server": ("knock.test", 80),
    }
    messages: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        messages.append(dict(message))

    await knock.app(scope, receive, send)
    sent = b"".join(message.get("body", b"") for message in messages[1:])
    response = httpx2.Response(messages[0]["status"], headers=messages[0]["headers"], content=sent)
    if method != "HEAD":
        knock.look(method, FORM, response)
    return response


@over_one_knock
@given(method=methods, before=slashes, behind=slashes, query=queries)
@example(method="POST", before="/", behind="", query=b"")
async def test_no_method_slash_or_query_makes_the_form_look_gone(
    knock: Running, method: str, before: str, behind: str, query: bytes
) -> None:
    target = f"/{before}invite_from_form{behind}".encode() + query
    answer = await raw(knock, method, target, b"{}", {"content-type": b"application/json"})
    assert answer.status_code in (ANSWERS if method == "POST" else {405})


@over_one_knock
@given(method=methods, slash=slashes, below=st.text(max_size=20), query=queries)
@example(method="POST", slash="", below="", query=b"")
@example(method="BREW", slash="/", below="\n", query=b"")
async def test_nothing_below_a_doors_forms_looks_gone(
    knock: Running, method: str, slash: str, below: str, query: bytes
) -> None:
    encoded = below.encode("utf-8", "replace").replace(b"?", b"")
    target = f"/{slash}d/{slash}main/{slash}forms/{slash}".encode() + encoded + query
    answer = await raw(knock, method, target, b"{}", {"content-type": b"application/json"})
    assert answer.status_code in (ANSWERS if method == "POST" else {405})


@pytest.mark.parametrize("path", ["//invite_from_form", "/invite_from_form/", "///invite_from_form//"])
async def test_a_form_at_a_doubled_slash_comes_in(knock: Running, path: str) -> None:
    headers = {"content-type": b"application/json", "x-form-token": FORM_TOKEN.encode()}
    if not knock.form_secret:
        del headers["x-form-token"]
    await raw(knock, "POST", path.encode(), b'{"matrix_id": "@tara:knock.test"}', headers)
    assert len(await knock.knocks_of("@tara:knock.test")) == 1


types = st.one_of(
    st.sampled_from(
        [
            b"application/json",
            b"application/json; charset=utf-16",
            b"text/plain",
            b"application/x-www-form-urlencoded",
            b"multipart/form-data",
            b"multipart/form-data; boundary=x",
            b"multipart/form-data; boundary=",
            b"application/vnd.api+json",
            b"",
            b";;;",
        ]
    ),
    st.binary(max_size=30),
)
bodies = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from(
        [
            b"",
            b"{}",
            b"[]",
            b"null",
            b'{"matrix_id": null}',
            b'{"matrix_id": "\\ud800"}',
            b'{"matrix_id": "@\\u0000:knock.test"}',
            b'{"eventType": "FORM_RESPONSE", "data": null}',
            b'{"eventType": "FORM_RESPONSE", "data": {"fields": [null, "x", {"label": null, "value": null}]}}',
            b'{"matrix_id": ' + b"9" * 5000 + b"}",
            b'{"a":' * 5000,
            b"[" * 20_000,
            b"matrix_id=%ff%fe&=&&a",
            b"--x\r\nContent-Disposition: form-data; name=matrix_id\r\n\r\n@a:b.example\r\n--x--\r\n",
            b"--x\r\nContent-Disposition: form-data\r\n\r\n--x--",
            b"--x\r\n",
        ]
    ),
)


@settings(over_one_knock, max_examples=200)
@given(body=bodies, content_type=types, token=st.sampled_from([b"", FORM_TOKEN.encode(), b"\xff", b"x"]))
async def test_no_bytes_are_answered_otherwise_than_promised(
    knock: Running, body: bytes, content_type: bytes, token: bytes
) -> None:
    headers = {"content-type": content_type, "x-form-token": token}
    answer = await raw(knock, "POST", FORM.encode(), body, headers)
    assert answer.status_code in ANSWERS


async def test_what_opens_the_address_in_a_browser_is_told_what_it_is_for(knock: Running) -> None:
    answer = await knock.call("GET", FORM)
    assert (answer.status_code, answer.headers["allow"], answer.json()) == (
        405,
        "POST",
        {"error": "this address takes forms: send a POST"},
    )
