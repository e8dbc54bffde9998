"""Whatever colour an owner chooses, what stands on it and in it can be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mknock.web import colours
from mknock.web.colours import (
    BLACK,
    NIGHT,
    PAPER,
    TEXT,
    WHITE,
    colour_of,
    contrast,
    sheet,
    text_on,
    told_from,
    written,
)

SHAPE = 3.0
"""The least contrast of what is seen but not read (success criterion 1.4.11)."""
STYLE = (Path(colours.__file__).parent / "static" / "page.css").read_text(encoding="utf-8")
any_digits = st.text("0123456789abcdef", min_size=6, max_size=6)


def named(rules: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): ?(#[0-9a-f]{3,6})", rules))


def colour_in(rules: dict[str, str], name: str) -> colours.Colour:
    digits = rules[name][1:]
    return colour_of(digits if len(digits) == 6 else "".join(2 * digit for digit in digits))


@pytest.mark.parametrize(("one", "other", "expected"), [(BLACK, WHITE, 21.0), (WHITE, WHITE, 1.0)])
def test_contrast_is_that_of_the_guidelines(
    one: colours.Colour, other: colours.Colour, expected: float
) -> None:
    assert contrast(one, other) == pytest.approx(expected)


@given(any_digits)
def test_text_on_any_colour_can_be_read(digits: str) -> None:
    assert contrast(text_on(colour_of(digits)), colour_of(digits)) >= TEXT


@given(any_digits)
def test_what_stands_on_a_button_and_around_it_can_be_read(digits: str) -> None:
    for rules, background in zip(sheet(digits).split("@media"), (PAPER, NIGHT), strict=True):
        found = named(rules)
        accent, on_accent, text = (colour_in(found, name) for name in ("accent", "on-accent", "accent-text"))
        assert written(accent) == f"#{digits}"
        assert contrast(on_accent, accent) >= TEXT
        assert contrast(text, background) >= TEXT


@given(any_digits)
def test_a_colour_that_can_be_read_stays_as_it_is(digits: str) -> None:
    colour = colour_of(digits)
    if contrast(colour, PAPER) >= TEXT:
        assert told_from(PAPER, colour, TEXT) == colour


def themes() -> dict[str, dict[str, str]]:
    light, dark = STYLE.split("@media (prefers-color-scheme: dark)", 1)
    day = named(light)
    return {"light": day, "dark": day | named(dark)}


def test_the_backgrounds_are_those_of_the_style_sheet() -> None:
    assert [colour_in(theme, "paper") for theme in themes().values()] == [PAPER, NIGHT]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    ("ink", "paper", "least"),
    [
        ("ink", "paper", TEXT),
        ("soft", "paper", TEXT),
        ("soft", "behind", TEXT),
        ("wrong", "paper", TEXT),
        ("ink", "wrong-paper", TEXT),
        ("good", "paper", TEXT),
        ("accent-text", "paper", TEXT),
        ("on-accent", "accent", TEXT),
        ("line", "paper", SHAPE),
        ("accent-text", "behind", SHAPE),
    ],
)
def test_the_pages_own_colours_can_be_read(theme: str, ink: str, paper: str, least: float) -> None:
    rules = themes()[theme]
    assert contrast(colour_in(rules, ink), colour_in(rules, paper)) >= least
