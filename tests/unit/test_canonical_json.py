"""One value, one text. Examples: https://spec.matrix.org/v1.18/appendices/#canonical-json"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mknock.matrix.canonical_json import LARGEST, canonical, signable

EXAMPLES: list[tuple[Any, str]] = [
    ({}, "{}"),
    ({"one": 1, "two": "Two"}, '{"one":1,"two":"Two"}'),
    ({"b": "2", "a": "1"}, '{"a":"1","b":"2"}'),
    ({"a": "日本語"}, '{"a":"日本語"}'),
    ({"本": 2, "日": 1}, '{"日":1,"本":2}'),
    ({"a": "\u65e5"}, '{"a":"日"}'),
    ({"a": None}, '{"a":null}'),
    ({"a": -0, "b": True}, '{"a":0,"b":true}'),
    ({"a": [1, {"c": False, "b": []}]}, '{"a":[1,{"b":[],"c":false}]}'),
    ({"a": '\x00\x1f\n"\\/\x7f'}, '{"a":"\\u0000\\u001f\\n\\"\\\\/\x7f"}'),
    ({"\U0001f600": 1, "\uffff": 2}, '{"\uffff":2,"\U0001f600":1}'),
]


@pytest.mark.parametrize(("value", "text"), EXAMPLES)
def test_a_value_has_one_text(value: Any, text: str) -> None:
    assert canonical(value).decode() == text


@pytest.mark.parametrize(
    "value",
    [1.0, {"a": 1.5}, float("nan"), LARGEST + 1, -LARGEST - 1, {1: 2}, {"a": "\ud800"}, {"a": b""}, (1,)],
)
def test_some_values_have_none(value: Any) -> None:
    with pytest.raises(ValueError):
        canonical(value)


def test_a_value_that_is_nested_too_deeply_has_none() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match="deep"):
        canonical(deep)


def test_signatures_are_not_about_themselves() -> None:
    assert signable({"a": 1, "signatures": {"x": {}}, "unsigned": {"age": 1}}) == b'{"a":1}'


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-LARGEST, LARGEST) | st.text(st.characters(codec="utf-8")),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    )
)
def test_canonical_json_is_json_of_the_same_value(value: Any) -> None:
    assert json.loads(canonical(value)) == value
