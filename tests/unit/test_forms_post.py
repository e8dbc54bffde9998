"""Bytes and a Content-Type become a payload."""

from __future__ import annotations

import pytest

from mknock.domain.errors import Unreadable
from mknock.forms.post import FormPost, Payload, decode, wants_page

URLENCODED = "application/x-www-form-urlencoded"


def post(body: bytes, content_type: str | None = None) -> FormPost:
    return FormPost(body, {} if content_type is None else {"content-type": content_type})


def decoded(body: bytes, content_type: str | None = None) -> Payload:
    return decode(post(body, content_type))


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=UTF-8",
        "APPLICATION/JSON",
        "application/vnd.api+json",
        "text/plain",
        "application/octet-stream",
        URLENCODED,
        "",
        None,
    ],
)
def test_an_object_is_json_whatever_the_content_type(content_type: str | None) -> None:
    assert decoded(b'{"a": 1}', content_type) == Payload({"a": 1})


@pytest.mark.parametrize("body", [b"[1]", b" \r\n\t[1]", b"\xef\xbb\xbf[1]", b"\xef\xbb\xbf\n[1]"])
def test_blanks_and_a_byte_order_mark_before_json_are_passed_over(body: bytes) -> None:
    assert decoded(body) == Payload([1])


def test_a_json_scalar_is_read_when_announced() -> None:
    assert decoded(b'"x"', "application/json") == Payload("x")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"a": 1}}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"a": "\xff"}',
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": "\x00"}',
        '{"a": 1}'.encode("utf-16"),
    ],
    ids=lambda body: repr(body[:20]),
)
def test_broken_json_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        decoded(body, "application/json")


def test_of_a_repeated_json_key_the_last_counts() -> None:
    assert decoded(b'{"a": 1, "a": 2}').data == {"a": 2}


def test_a_browser_form_gives_names_and_texts() -> None:
    assert decoded(b"a=1&b=x+y%C3%A9&c=", URLENCODED) == Payload({"a": "1", "b": "x yé", "c": ""}, html=True)


def test_a_repeated_name_gives_all_its_texts() -> None:
    assert decoded(b"a=1&b=2&a=3", URLENCODED).data == {"a": ["1", "3"], "b": "2"}


def test_a_name_without_a_value_is_an_empty_answer() -> None:
    assert decoded(b"a&b=1", URLENCODED).data == {"a": "", "b": "1"}


@pytest.mark.parametrize("body", [b"a=%ff", b"a=\xff", b"a=%C3"])
def test_bytes_that_are_no_text_are_replaced_in_a_browser_form(body: bytes) -> None:
    assert decoded(body, URLENCODED).data == {"a": "\ufffd"}


def test_an_empty_browser_form_has_no_fields() -> None:
    assert decoded(b"", URLENCODED) == Payload({}, html=True)


def test_a_browser_form_may_have_a_thousand_fields() -> None:
    assert len(decoded(b"&".join(b"%d=x" % n for n in range(1000)), URLENCODED).data) == 1000


def test_a_browser_form_of_more_fields_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="1000 fields"):
        decoded(b"&".join(b"%d=x" % n for n in range(1001)), URLENCODED)


@pytest.mark.parametrize("body", [b"", b" \n"])
def test_nothing_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable, match="empty"):
        decoded(body)


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "image/png", None, ";", "\udcff"])
def test_anything_else_is_unreadable(content_type: str | None) -> None:
    with pytest.raises(Unreadable, match="neither JSON nor an HTML form"):
        decoded(b"<knock/>", content_type)


@pytest.mark.parametrize(
    "content_type", [URLENCODED, "multipart/form-data; boundary=x", "Multipart/Form-Data"]
)
def test_whoever_posts_as_a_browser_wants_a_page(content_type: str) -> None:
    assert wants_page(post(b"a=1", content_type))


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", None])
def test_whoever_posts_otherwise_wants_no_page(content_type: str | None) -> None:
    assert not wants_page(post(b"a=1", content_type))


def test_json_under_a_false_flag_wants_no_page() -> None:
    assert not wants_page(post(b'{"a": 1}', URLENCODED))


def test_a_broken_form_of_a_browser_still_wants_a_page() -> None:
    assert wants_page(post(b"--x", "multipart/form-data"))
