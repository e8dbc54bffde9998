"""multipart/form-data within bounds."""

from __future__ import annotations

import pytest

from mknock.domain.errors import Unreadable
from mknock.forms.multipart import parse

CONTENT_TYPE = "multipart/form-data; boundary=x"


def part(name: str, text: str, more: str = "") -> str:
    return f'--x\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n{text}\r\n'


def parsed(*parts: str, end: str = "--x--\r\n", content_type: str = CONTENT_TYPE) -> list[tuple[str, str]]:
    return list(parse("".join((*parts, end)).encode(), content_type))


def test_parts_come_in_order() -> None:
    assert parsed(part("b", "1"), part("a", "2"), part("b", "3")) == [("b", "1"), ("a", "2"), ("b", "3")]


def test_text_keeps_its_line_breaks() -> None:
    assert parsed(part("a", "one\r\n\r\ntwo")) == [("a", "one\r\n\r\ntwo")]


def test_text_may_begin_like_the_boundary() -> None:
    assert parsed(part("a", "\r\n--y--\r\n--")) == [("a", "\r\n--y--\r\n--")]


def test_of_a_file_only_the_name_is_kept() -> None:
    assert parsed(part("a", "PNG…", '; filename="me.png"')) == [("a", "me.png")]


def test_a_file_that_was_not_chosen_is_empty() -> None:
    assert parsed(part("a", "", '; filename=""')) == [("a", "")]


def test_names_may_be_of_any_script() -> None:
    assert parsed(part("Wärme", "東京")) == [("Wärme", "東京")]


def test_bytes_that_are_no_text_are_replaced() -> None:
    body = part("a", "?").encode().replace(b"?", b"\xff") + b"--x--"
    assert list(parse(body, CONTENT_TYPE)) == [("a", "\ufffd")]


def test_a_part_without_a_name_is_passed_over() -> None:
    assert parsed("--x\r\nContent-Type: text/plain\r\n\r\nhello\r\n", part("a", "1")) == [("a", "1")]


def test_the_name_of_one_part_is_not_used_for_the_next() -> None:
    assert parsed(part("a", "1"), "--x\r\nX: y\r\n\r\n2\r\n") == [("a", "1")]


def test_a_form_without_fields_is_read() -> None:
    assert parsed() == []


def test_a_quoted_boundary_is_understood() -> None:
    assert parsed(part("a", "1"), content_type='multipart/form-data; boundary="x"') == [("a", "1")]


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=✗"],
)
def test_a_form_without_a_boundary_is_unreadable(content_type: str) -> None:
    with pytest.raises(Unreadable, match="names no boundary"):
        parsed(part("a", "1"), content_type=content_type)


@pytest.mark.parametrize("end", ["", "--x\r\n", "--x-", '--x\r\nContent-Disposition: form-data; name="b"'])
def test_a_form_that_breaks_off_is_unreadable(end: str) -> None:
    with pytest.raises(Unreadable, match="breaks off"):
        parsed(part("a", "1"), end=end)


@pytest.mark.parametrize(
    "broken",
    [
        "hello",
        "--x\n\n",
        "--x\r\nno colon\r\n\r\n1\r\n",
        "--x\r\n" + "A: b\r\n" * 9 + "\r\n1\r\n",
        "--x\r\nA: " + "b" * 5000 + "\r\n\r\n1\r\n",
        part("a", "1", "; b=c" * 50),
    ],
    ids=["preamble", "line feeds", "no header", "many headers", "long header", "many parameters"],
)
def test_a_malformed_form_is_unreadable(broken: str) -> None:
    with pytest.raises(Unreadable):
        parsed(broken)


def test_an_endless_boundary_is_unreadable() -> None:
    with pytest.raises(Unreadable):
        parsed(part("a", "1"), content_type="multipart/form-data; boundary=" + "x" * 500)


def test_a_form_may_have_a_thousand_parts() -> None:
    assert len(parsed(*[part("a", "1")] * 1000)) == 1000


def test_a_form_of_more_parts_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="1000 fields"):
        parsed(*[part("a", "1")] * 1001)
