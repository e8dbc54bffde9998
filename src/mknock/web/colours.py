"""The owner's colour, made readable: contrast as WCAG 2.2 measures it (success criterion 1.4.3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

Colour = tuple[int, int, int]

BLACK: Final[Colour] = (0, 0, 0)
WHITE: Final[Colour] = (255, 255, 255)
PAPER: Final[Colour] = (255, 255, 255)
"""What stands behind text on a light page, and what on a dark one; as in static/page.css."""
NIGHT: Final[Colour] = (32, 33, 38)
TEXT = 4.5
_STEP = 0.04


def colour_of(digits: str) -> Colour:
    """The colour of six hexadecimal digits."""
    red, green, blue = bytes.fromhex(digits)
    return red, green, blue


def written(colour: Colour) -> str:
    return "#" + bytes(colour).hex()


def luminance(colour: Colour) -> float:
    """Relative luminance, from 0 (black) to 1 (white)."""
    red, green, blue = (_linear(part / 255) for part in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    return float(part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4)


def contrast(one: Colour, other: Colour) -> float:
    """From 1 (the same) to 21 (black on white)."""
    dark, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dark + 0.05)


def text_on(colour: Colour) -> Colour:
    """Black or white, whichever is read better; one of them always has a contrast over TEXT."""
    return max((BLACK, WHITE), key=lambda text: contrast(text, colour))


def told_from(background: Colour, colour: Colour, least: float) -> Colour:
    """The colour itself, or as much of it as leaves that contrast with the background."""
    return next(
        shade for shade in _shades(colour, text_on(background)) if contrast(shade, background) >= least
    )


def _shades(colour: Colour, end: Colour) -> Iterator[Colour]:
    """From the colour to ``end``, step by step."""
    steps = round(1 / _STEP)
    for step in range(steps + 1):
        share = step / steps
        red, green, blue = (round(a + (b - a) * share) for a, b in zip(colour, end, strict=True))
        yield red, green, blue


def sheet(digits: str) -> str:
    """The style sheet of a page in this colour: buttons, what stands on them, and coloured text."""
    light, dark = (_rules(colour_of(digits), background) for background in (PAPER, NIGHT))
    return f":root{{{light}}}\n@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"


def _rules(colour: Colour, background: Colour) -> str:
    """The colour stays as it is where text stands on it; what it writes, and draws around that, is seen on the page."""
    text = told_from(background, colour, TEXT)
    return f"--accent:{written(colour)};--on-accent:{written(text_on(colour))};--accent-text:{written(text)}"
