"""One name, taken apart: number in front, core, number behind, and the core's skeleton.

``4n.na_1990`` is ``4n.na`` and 1990, and its core reads ``anna``. Numbers are kept apart, since people tell
their names apart by them; digits become letters only inside the core.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

SEPARATORS: Final = r"\s._\-=/+~,:;'\"`()\[\]{}<>*#&%^?\\"
_PARTS: Final = re.compile(
    rf"(?P<in_front>[{SEPARATORS}]*)(?P<before>\d*)[{SEPARATORS}]*(?P<core>.*?)"
    rf"(?P<after>(?:[{SEPARATORS}]*\d+)*)(?P<behind>[{SEPARATORS}]*)",
    re.DOTALL,
)
_SEPARATING: Final = " \t\n._-=/+~,:;'\"`()[]{}<>*#&%^?\\"
_SEPARATOR: Final = re.compile(rf"[{SEPARATORS}]+")
_RUN: Final = re.compile(r"(.)\1+", re.DOTALL)

AS_LETTERS: Final = str.maketrans("0123456789@$!|€", "olzeasgtbgasiie")
"""Digits and signs that are written for letters; ``1`` is l or i, which are one class in the skeleton."""
ONE_CLASS: Final = str.maketrans("i", "l")
MOST_FOLDED: Final = 6
"""Digits at either end of the name that may belong to the core."""
MOST_WAYS: Final = 16
PAIRS: Final = (("rn", "m"), ("vv", "w"), ("cl", "d"))
"""Two letters that look like one in small print."""


@dataclass(frozen=True)
class Reading:
    """One way to take a name apart."""

    text: str
    """The core as it looks, with its separators and digits."""
    before: str = ""
    """The number in front of it, without zeros in front."""
    after: str = ""
    """The number behind it; a dash stands where separators divide it."""
    taken: bool = False
    """Whether digits at the ends of the name were read as letters of the core."""
    wrapped: bool = False
    """Whether separators stand around the whole name."""

    @cached_property
    def letters(self) -> str:
        """The core without separators, digits as they are."""
        return _SEPARATOR.sub("", self.text)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """What stands between the separators of the core, digits as they are."""
        return tuple(word for word in _SEPARATOR.split(self.text) if word)

    @cached_property
    def spelled(self) -> str:
        """The letters, digits read as letters."""
        return self.letters.translate(AS_LETTERS)

    @cached_property
    def skeleton(self) -> str:
        """What is compared: i and l as one, and each letter once where it is doubled."""
        return _RUN.sub(r"\1", self.tight)

    @cached_property
    def tight(self) -> str:
        """The skeleton, but with all letters as often as they stand there."""
        return self.spelled.translate(ONE_CLASS)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The skeleton, and what it becomes where two letters are read as one."""
        return tuple(dict.fromkeys((self.skeleton, *_paired(self.spelled))))

    @cached_property
    def digits_inside(self) -> bool:
        return self.letters != self.spelled

    @cached_property
    def whole(self) -> str:
        """The name without separators, its numbers as they are: ``martin82`` of ``martin.82``."""
        return (self.before + self.letters + self.after.replace("-", "")).translate(ONE_CLASS)

    @property
    def number(self) -> str:
        return f"{self.before}…{self.after}" if self.before else self.after


def _paired(spelled: str) -> list[str]:
    found = []
    for text in (spelled, _RUN.sub(r"\1", spelled)):
        paired = text
        for two, one in PAIRS:
            paired = paired.replace(two, one)
        if paired != text:
            found.append(_RUN.sub(r"\1", paired.translate(ONE_CLASS)))
    return found


def reading(text: str) -> Reading:
    """Take a name apart in the plain way: all digits at its ends are numbers."""
    parts = _PARTS.fullmatch(text)
    assert parts is not None  # noqa: S101 - every part may be empty
    if not parts["core"]:  # only digits: the number, whatever it was split into
        return Reading("", after=parts["before"] + _number(parts["after"]))
    wrapped = bool(parts["in_front"] or parts["behind"])
    return Reading(parts["core"], parts["before"], _number(parts["after"]), wrapped=wrapped)


def _number(text: str) -> str:
    """Digits, with one dash for whatever divides them."""
    return _SEPARATOR.sub("-", text.lstrip(_SEPARATING)) if text else ""


def readings(text: str) -> list[Reading]:
    """Every way to take a name apart: digits at its ends may be letters too (``mari0123``, ``4lex``, ``4.smith``)."""
    plain = reading(text)
    if not plain.text or not (plain.before or plain.after):
        return [plain]
    glued = _is_glued(text, plain)
    fronts = [("", plain.before), *_folds_before(plain.before, glued[0])]
    behinds = [("", plain.after), *_folds_behind(plain.after, glued[1])]
    ways = [(front, behind) for front in fronts for behind in behinds][1:MOST_WAYS]
    return [
        plain,
        *(
            Reading(taken + plain.text + taken_behind, before, after, taken=True, wrapped=plain.wrapped)
            for (taken, before), (taken_behind, after) in ways
        ),
    ]


def _is_glued(text: str, plain: Reading) -> tuple[bool, bool]:
    """Whether the numbers before and behind stand right at the core."""
    return plain.before + plain.text in text, plain.text + plain.after.partition("-")[0] in text


def _folds_before(number: str, glued: bool) -> list[tuple[str, str]]:
    """The digits that the core may take from the number before it, and what is left of that."""
    if not glued:  # an initial, as in 4.smith
        return [(number + ".", "")] if len(number) == 1 else []
    return [(number[-n:], number[:-n]) for n in range(1, min(len(number), MOST_FOLDED) + 1)]


def _folds_behind(number: str, glued: bool) -> list[tuple[str, str]]:
    first, _, rest = number.partition("-")
    if not glued:  # a surname that is all digits, as in p1n4.14883
        return [("." + first, rest)] if first else []
    return [(first[:n], number[n:].lstrip("-")) for n in range(1, min(len(first), MOST_FOLDED) + 1)]
