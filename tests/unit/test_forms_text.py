"""Strangers' text, fit to be stored and shown."""

from __future__ import annotations

from typing import Any

import pytest

from mknock.forms.text import clean, filled, one_line, shown


@pytest.mark.parametrize(
    "unfit",
    [
        "\x00",
        "\x07",
        "\x1b",
        "\x7f",
        "\x9f",
        "\u061c",
        "\u200e",
        "\u202e",
        "\u2066",
        "\ud800",
        "\uffff",
    ],
)
def test_what_deceives_or_cannot_be_stored_goes(unfit: str) -> None:
    assert clean(f"a{unfit}b", 10) == "ab"


@pytest.mark.parametrize("text", ["é", "東京", "👩‍🚀", "نعم", "a\nb", "a\u00a0b"])
def test_what_people_write_stays(text: str) -> None:
    assert clean(text, 10) == text


@pytest.mark.parametrize("line_break", ["\r\n", "\r", "\x0b", "\x0c", "\x85", "\u2028", "\u2029"])
def test_every_line_break_becomes_the_plain_one(line_break: str) -> None:
    assert clean(f"a{line_break}b", 10) == "a\nb"


def test_blanks_around_go() -> None:
    assert clean(" \n a \t", 10) == "a"


def test_a_long_text_is_cut_visibly() -> None:
    assert clean("abcdef", 4) == "abc…"


def test_a_text_of_just_the_length_is_whole() -> None:
    assert clean("abcd", 4) == "abcd"


def test_one_line_has_no_breaks() -> None:
    assert one_line(" a\n\n b\tc ", 20) == "a b c"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("x", "x"),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (7.5, "7.5"),
        ([], ""),
        ({}, ""),
        (["a", None, "", True], "a, yes"),
        ({"Mon": ["8", "9"], "Tue": []}, "Mon: 8, 9"),
        ({"name": "me.png", "url": "https://x.example/me.png"}, "me.png"),
        ([{"filename": "a.txt", "url": "https://x.example/a"}], "a.txt"),
    ],
)
def test_values_are_shown_as_people_write_them(value: Any, text: str) -> None:
    assert shown(value) == text


def test_a_long_list_ends_in_dots() -> None:
    assert shown(["x"] * 10_000) == "x, " * 50 + "…"


def test_deep_nesting_ends_in_dots() -> None:
    deep: Any = "x"
    for _ in range(900):
        deep = [deep, 1]
    assert shown(deep) == "…, 1, 1, 1"


@pytest.mark.parametrize("value", ["x", 0, 1, True, ["", "x"], {"a": "x"}, "\x00", 0.0])
def test_something_is_filled(value: Any) -> None:
    assert filled(value)


@pytest.mark.parametrize("value", [None, "", " \n", False, [], {}, ["", None, False], {"a": [" "]}])
def test_nothing_is_not_filled(value: Any) -> None:
    assert not filled(value)
