"""Every language says everything, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mknock.domain import ids
from mknock.web.filled import WRONG_IDS
from mknock.web.languages import DEFAULT, chosen, languages

ENGLISH = languages()[DEFAULT]
OTHERS = [code for code in languages() if code != DEFAULT]


def flat(texts: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in texts.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{above}{key}.")
        else:
            yield above + key, value


@pytest.mark.parametrize("code", OTHERS)
def test_a_language_says_everything_and_nothing_else(code: str) -> None:
    assert list(dict(flat(languages()[code].texts))) == list(dict(flat(ENGLISH.texts)))


@pytest.mark.parametrize("code", OTHERS)
def test_a_language_has_the_same_placeholders(code: str) -> None:
    said = dict(flat(ENGLISH.texts))
    for key, text in flat(languages()[code].texts):
        assert re.findall(r"\{\w*\}", text) == re.findall(r"\{\w*\}", said[key]), key


@pytest.mark.parametrize("code", languages())
def test_no_text_is_empty(code: str) -> None:
    assert [key for key, text in flat(languages()[code].texts) if not text.strip()] == []


@pytest.mark.parametrize("code", languages())
def test_a_language_has_a_code_of_its_own(code: str) -> None:
    assert re.fullmatch("[a-z]{2,3}", code)


def test_every_sentence_about_an_id_has_its_translation() -> None:
    said = {value for name, value in vars(ids).items() if name.isupper() and isinstance(value, str)}
    sentences = {text for text in said if text.endswith(".")}
    assert sentences == set(WRONG_IDS)
    assert set(WRONG_IDS.values()) == set(ENGLISH["wrong_id"])


@given(st.text(), st.text())
def test_any_wish_gets_a_language(asked: str, accepted: str) -> None:
    assert chosen(asked, accepted).code in languages()


def test_a_header_without_end_is_not_read_to_its_end() -> None:
    assert chosen(None, "xx," * 100_000 + "de").code == DEFAULT
