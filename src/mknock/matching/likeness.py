"""What the names of one wave have in common.

Made for comparing newcomers with each other, not with the block-list: coarser than the engine, and quick.
"""

from __future__ import annotations

import re
import string
from typing import Final

from mknock.matching.confusables import seen
from mknock.matching.reading import reading

LONGEST: Final = 64
SHORTEST_STEM: Final = 3
"""Two letters say nothing."""
MANY_TURNS: Final = 3
"""Letters and digits that take turns so often are drawn by lot; how they do differs from name to name."""
_DRAWN: Final = str.maketrans(
    {chr(number): "-" for number in range(128)}
    | dict.fromkeys(string.ascii_letters, "a")
    | dict.fromkeys(string.digits, "9")
)
_WORDS: Final = re.compile("a+|-+")


def likeness(localpart: str) -> str:
    """What a name shares with those that are made in the same way; "" if with nobody's.

    With digits that is its shape: ``aaaa99`` of ``anna83``. Without, its shape would be that of most people's
    names, so it is its skeleton: ``reads ana``, as on every server where the same name was taken.
    """
    text = seen(localpart).text
    drawn = _drawn(text)
    if "9" in drawn:
        return _shape(drawn)[:LONGEST]
    stem = reading(text).skeleton
    return f"reads {stem[:LONGEST]}" if len(stem) >= SHORTEST_STEM else ""


def _drawn(text: str) -> str:
    if text.isascii():
        return text.translate(_DRAWN)
    return "".join("a" if character.isalpha() else character.translate(_DRAWN) for character in text)


def _shape(drawn: str) -> str:
    """Beside separators stand words, whose lengths differ by themselves."""
    if "-" in drawn:
        return _WORDS.sub(lambda run: run[0][0], drawn)
    if drawn.count("a9") + drawn.count("9a") >= MANY_TURNS:
        return f"mixed, {len(drawn)} long"
    return drawn
