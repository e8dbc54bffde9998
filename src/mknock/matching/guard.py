"""Names and words that many people bear: where innocent people look like a rule, the guard speaks for them."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from enum import IntEnum
from functools import cache
from importlib import resources
from typing import Final

from mknock.matching.packed import PackedSet
from mknock.matching.reading import Reading

SHORTEST_SURNAME: Final = 3
REMEMBERED: Final = 2000
"""Names whose rarity is kept for the next time."""
NAMES: Final = ("names", "more")


class Rarity(IntEnum):
    """How many people may bear a name by chance."""

    COMMON = 0
    """A first name or a word."""
    HALF = 1
    """A name or word with an initial before or behind it."""
    RARE = 2


class Guard:
    """Knows what is common.

    ``common`` are first names and words, ``names`` the first names alone, and
    ``more`` what is common besides.
    """

    __slots__ = ("_common", "_more", "_names", "_weighed")

    def __init__(self, names: PackedSet, common: PackedSet, more: Iterable[str] = ()) -> None:
        self._names, self._common = names, common
        self._more = {name.lower() for name in more}
        self._weighed: dict[tuple[str, tuple[str, ...]], Rarity] = {}
        """What was asked lately: a look asks of one name again and again."""

    def knowing(self, names: Iterable[str]) -> Guard:
        """A guard that knows these names too."""
        return Guard(self._names, self._common, {*self._more, *names})

    def is_name(self, word: str) -> bool:
        """Whether it is somebody's first name."""
        return word in self._names or word in self._more

    def is_common(self, word: str) -> bool:
        return word in self._common or word in self._more

    def rarity(self, name: Reading, *, as_spelled: bool = False) -> Rarity:
        """How rare the core of a name is; ``as_spelled`` reads its digits as letters first."""
        core = (name.spelled if as_spelled else name.letters), name.words
        found = self._weighed.get(core)
        if found is None:
            if len(self._weighed) >= REMEMBERED:
                self._weighed.clear()
            found = self._weighed[core] = self._weigh(*core)
        return found

    def _weigh(self, letters: str, words: tuple[str, ...]) -> Rarity:
        if self.is_common(letters) or len(letters) < 2:
            return Rarity.COMMON
        if len(words) == 1:
            return self._glued(letters)
        long = [word for word in words if len(word) > 1]
        if len(long) == 1 and self.is_common(long[0]):
            return Rarity.HALF
        return Rarity.RARE

    def _glued(self, letters: str) -> Rarity:
        for rest in (letters[1:], letters[:-1]):
            if len(rest) >= SHORTEST_SURNAME and self.is_common(rest):
                return Rarity.HALF
        return Rarity.RARE


def default_guard(more: Iterable[str] = ()) -> Guard:
    """The guard that Knock ships; see data/NOTICE.md for where its names and words come from."""
    return Guard(shipped(*NAMES), shipped(*NAMES, "words"), more)


@cache
def shipped(*lists: str) -> PackedSet:
    """What stands in these lists, each of them a file of data/. They are read once."""
    folder = resources.files("mknock.matching").joinpath("data")
    texts = (gzip.decompress(folder.joinpath(f"{name}.txt.gz").read_bytes()) for name in lists)
    return PackedSet(word for text in texts for word in text.decode("ascii").split("\n"))
