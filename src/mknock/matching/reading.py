"""One name, taken apart: number in front, core, number behind, and the core's skeleton.

``4n.na_1990`` is ``4n.na`` and 1990, and its core reads ``anna``. Numbers are kept apart, since people tell
their names apart by them; digits become letters only inside the core.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

SEPARATING: Final = " \t\n\r\v\f._-=/+~,:;'\"`()[]{}<>*#&%^?\\"
DIGITS: Final = "0123456789"
_AS_BLANKS: Final = str.maketrans(dict.fromkeys(SEPARATING, " "))

AS_LETTERS: Final = str.maketrans("0123456789@$!|€", "olzeasgtbgasiie")
"""Digits and signs that are written for letters; ``1`` is l or i, which are one class in the skeleton."""
OWN_NUMBER: Final = 2
"""Digits from which on a number tells two people of one name apart."""
MOST_FOLDED: Final = 10
"""Digits at either end of the name that may belong to the core."""
MOST_WAYS: Final = 48
_DOUBLE: Final = re.compile(r"(.)\1", re.DOTALL)
_PLAIN: Final = re.compile("([a-z]+)([0-9]*)")
"""Most names: letters, and perhaps a number behind them."""
PAIRS: Final = (("rn", "m"), ("vv", "w"), ("cl", "d"))
"""Two letters that look like one in small print."""


class Reading:
    """One way to take a name apart."""

    __slots__ = (
        "_skeleton", "after", "before", "letters", "number", "spelled", "taken", "text", "tight", "words", "wrapped"
    )  # fmt: skip

    text: str
    """The core as it looks, with its separators and digits."""
    before: str
    """The number in front of it."""
    after: str
    """The number behind it; a dash stands where separators divide it."""
    number: str
    """Both numbers."""
    taken: bool
    """Whether digits at the ends of the name were read as letters of the core."""
    wrapped: bool
    """Whether separators stand around the whole name."""
    letters: str
    """The core without separators, digits as they are."""
    words: tuple[str, ...]
    """What stands between the separators of the core, digits as they are."""
    spelled: str
    """The letters, digits read as letters."""
    tight: str
    """The same, with i and l as one."""

    def __init__(
        self, text: str, before: str = "", after: str = "", *, taken: bool = False, wrapped: bool = False
    ) -> None:
        self.text, self.before, self.after = text, before, after
        self.number = f"{before}…{after}" if before else after
        self.taken, self.wrapped = taken, wrapped
        if text.isalpha():
            self.words, self.letters, self.spelled = (text,), text, text
        else:
            self.words = tuple(text.translate(_AS_BLANKS).split())
            self.letters = "".join(self.words)
            self.spelled = self.letters.translate(AS_LETTERS)
        self.tight = self.spelled.replace("i", "l")
        self._skeleton: str | None = None

    @property
    def skeleton(self) -> str:
        """What is compared: the tight form with each letter once where it is doubled."""
        if self._skeleton is None:
            self._skeleton = collapsed(self.tight)
        return self._skeleton

    @property
    def keys(self) -> tuple[str, ...]:
        """The skeleton, and what it becomes where two letters are read as one."""
        spelled = self.spelled
        if "rn" in spelled or "vv" in spelled or "cl" in spelled:
            return tuple(dict.fromkeys((self.skeleton, *_paired(spelled))))
        return (self.skeleton,)

    @property
    def has_own_number(self) -> bool:
        """Whether its number tells it from others of the same name."""
        return len(self.before) + len(self.after) - self.after.count("-") >= OWN_NUMBER

    @property
    def digits_inside(self) -> bool:
        return self.letters != self.spelled

    @property
    def whole(self) -> str:
        """The name without separators, its numbers as they are: ``martin82`` of ``martin.82``."""
        return self.before + self.letters.replace("i", "l") + self.after.replace("-", "")


def _paired(spelled: str) -> Iterator[str]:
    for text in (spelled, collapsed(spelled)):
        for two, one in PAIRS:
            text = text.replace(two, one)
        yield collapsed(text.replace("i", "l"))


def collapsed(text: str) -> str:
    """The text with each letter once where it is doubled."""
    if not _DOUBLE.search(text):
        return text
    return text[0] + "".join([letter for before, letter in pairwise(text) if letter != before])


def reading(text: str) -> Reading:
    """Take a name apart in the plain way: all digits at its ends are numbers."""
    if plain := _PLAIN.fullmatch(text):
        return Reading(plain[1], after=plain[2])
    body = text.strip(SEPARATING)
    rest = body.lstrip(DIGITS)
    before, rest = body[: len(body) - len(rest)], rest.lstrip(SEPARATING)
    core = rest.rstrip(DIGITS + SEPARATING)
    after = rest[len(core) :].translate(_AS_BLANKS).split()
    if not core:  # only digits: the number, whatever it was split into
        return Reading("", after="".join((before, *after)))
    return Reading(core, before, "-".join(after), wrapped=len(body) < len(text))


def other_skeletons(text: str, plain: Reading) -> Iterator[tuple[str, Way]]:
    """Skeletons of other ways to take it apart: digits at its ends may be letters (``mari0123``, ``4lex``)."""
    fronts = [("", plain.before), *_folds_before(plain, text)]
    behinds = [("", plain.after), *_folds_behind(plain, text)]
    for way in [(front, behind) for front in fronts for behind in behinds][1:MOST_WAYS]:
        (front, _), (behind, _) = way
        yield collapsed(front.translate(_TIGHT) + plain.tight + behind.translate(_TIGHT)), way


def taken(plain: Reading, way: Way) -> Reading:
    """The reading in which the core takes the digits of this way."""
    (front, before), (behind, after) = way
    return Reading(front + plain.text + behind, before, after, taken=True, wrapped=plain.wrapped)


Fold = tuple[str, str]
"""The digits that the core takes from a number, and what is left of that."""
Way = tuple[Fold, Fold]
"""The fold before the core and the one behind it."""
_TIGHT: Final = AS_LETTERS | {ord("i"): "l", ord("."): None}


def _folds_before(plain: Reading, text: str) -> list[Fold]:
    """What the core may take from the number in front of it, all of it first."""
    number = plain.before
    if not number:
        return []
    if number + plain.text not in text:  # a word or an initial of its own, as in 4.smith
        return [(number + ".", "")]
    return [(number[-n:], number[:-n]) for n in range(min(len(number), MOST_FOLDED), 0, -1)]


def _folds_behind(plain: Reading, text: str) -> list[Fold]:
    """What the core may take from the number behind it, the least first."""
    number = plain.after
    if not number:
        return []
    first, *more = number.split("-")
    apart = "" if plain.text + first in text else "."  # a surname that is all digits, as in p1n4.14883
    least = len(first) if apart else 1
    folds = [
        (apart + first[:n], number[n:].lstrip("-")) for n in range(least, min(len(first), MOST_FOLDED) + 1)
    ]
    return [*folds, (apart + ".".join((first, *more)), "")] if more else folds
