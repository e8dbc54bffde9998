"""Finds the skeletons of rules that equal a name's, or come close to it, without looking at the others.

Closeness goes by deletion neighbourhoods: two texts at most n edits apart become equal when at most n letters
are left out of each. Rules enter all of theirs into one packed table; a name looks its own up. Two letters
swapped twice or more are found by their sorted letters.
"""

from __future__ import annotations

from itertools import combinations
from typing import Final

from mknock.matching.distance import distance
from mknock.matching.packed import MOST_NUMBERS, PackedTable

WINDOW: Final = 10
"""Letters of a skeleton that make up its neighbourhood, half of them its first and half its last ones.

What stands between them is compared when it is found. Both ends, since many
full names begin or end alike; an edit in one half moves nothing in the other.
"""
MOST_ENTRIES: Final = 2 + WINDOW + WINDOW * (WINDOW - 1) // 2
"""Entries of one skeleton, at most."""
FIRST_TABLE: Final = 1 << 14
"""Entries that the smallest table has room for."""
TABLES: Final = 3
"""Tables that a look may have to ask before they are merged."""
LARGEST_STEP: Final = 1 << 19
"""Entries of a table that is added in passing, so that adding one rule never waits for a large one."""


class Neighbours:
    """Skeletons by number, each with its reach: how many edits away a name is still found.

    Entries that were added one by one lie in several tables, each of which a
    look has to ask; ``tidy`` puts them into one, a few at a time.
    """

    __slots__ = ("_behind", "_merge", "_reach", "_shortest", "_tables", "_waiting", "numbers", "skeletons")

    def __init__(self) -> None:
        self._tables: list[PackedTable] = []
        self._merge: _Merge | None = None
        self._behind: list[tuple[int, int, str]] = []
        """Numbers of skeletons with the reach and the letters that are not entered yet."""
        self._waiting = 0
        """How many entries they take, at most."""
        self._shortest = [999, 999, 999]
        """The shortest skeleton of each reach."""
        self._reach = bytearray()
        self.skeletons: list[str] = []
        self.numbers: dict[str, int] = {}

    @property
    def bytes(self) -> int:
        return sum(table.bytes for table in self._tables)

    @property
    def tables(self) -> int:
        """How many tables a look asks."""
        return len(self._tables)

    @property
    def untidy(self) -> bool:
        """Whether ``tidy`` has something to do."""
        return bool(self._behind or self._merge or len(self._tables) > TABLES)

    def add(self, skeleton: str, reach: int, letters: str = "", *, later: bool = False) -> int:
        """Return the skeleton's number, a new one if it was not there.

        Whoever comes with a longer reach extends it for all. ``letters`` are
        what the name's swapped forms share, in any order. Entering all that is
        left to ``tidy`` if it may come ``later``; equal skeletons are found at
        once.
        """
        number = self.numbers.get(skeleton)
        if number is None:
            number = self.numbers[skeleton] = len(self.skeletons)
            self.skeletons.append(skeleton)
            self._reach.append(0)
        if reach and number < MOST_NUMBERS:
            if later:
                self._behind.append((number, reach, letters))
                self._waiting += _entries(skeleton, reach)
            else:
                self._enter(number, reach, letters)
        return number

    def near(self, text: str, letters: str = "", most: int = 2) -> list[tuple[int, int]]:
        """The numbers of all skeletons within their reach of the text, each with its distance, not 0.

        Whoever shares the ``letters`` comes with 2, and may be farther away.
        """
        hashes = _neighbourhood(text, self._left_out(text, most))
        swapped = [hash("".join(sorted(letters)))] if letters else []
        numbers = self._under(hashes + swapped)
        if not numbers:
            return []
        close = {number: edits for number in numbers if (edits := self._distance(number, text, most))}
        if swapped and len(close) < len(numbers):
            close |= {n: 2 for n in self._under(swapped) if n not in close and self.skeletons[n] != text}
        return list(close.items())

    def _left_out(self, text: str, most: int) -> int:
        """How many letters of the text have to be left out, at most.

        Of two edits one puts a letter in where every skeleton that is found
        from so far away is longer, unless ends alone are compared; where
        all of those are too long none is found.
        """
        shortest = self._shortest[2]
        return 2 if most == 2 and len(text) >= min(shortest, max(shortest - 2, WINDOW)) else 1

    def _under(self, hashes: list[int]) -> list[int]:
        """The numbers that stand under any of the hashes, in their order."""
        found: list[int] = []
        for table in self._tables:
            found += table.numbers(hashes)
        return sorted(set(found)) if found else found

    def _distance(self, number: int, text: str, most: int) -> int:
        """How far a skeleton is from the text; 0 also if that is beyond its reach or ``most``."""
        return distance(self.skeletons[number], text, min(self._reach[number], most)) or 0

    def tidy(self, most: int = 20) -> bool:
        """Do the work of up to ``most`` skeletons; return whether there is more to do."""
        if self._behind:
            for _ in range(min(most, len(self._behind))):
                number, reach, letters = self._behind.pop()
                self._waiting -= _entries(self.skeletons[number], reach)
                self._enter(number, reach, letters)
        elif self._merge is not None:
            if self._merge.step(most * MOST_ENTRIES):
                self._tables = [self._merge.into, *self._tables[self._merge.count :]]
                self._merge = None
        elif len(self._tables) > TABLES:
            self._merge = _Merge(self._tables)
            self._tables = [*self._tables, PackedTable(FIRST_TABLE)]  # for what is added meanwhile
        return self.untidy

    def _enter(self, number: int, reach: int, letters: str) -> None:
        skeleton, before = self.skeletons[number], self._reach[number]
        hashes = [hash("".join(sorted(letters)))] if letters else []
        if reach > before:
            hashes += _neighbourhood(skeleton, reach)
            self._reach[number] = reach
            self._shortest[reach] = min(self._shortest[reach], len(skeleton))
        self._table().put(hashes, number)

    def _table(self) -> PackedTable:
        """The table that has room for one more skeleton; a new one has it for all that wait."""
        if not self._tables or self._tables[-1].room < MOST_ENTRIES:
            taken = sum(table.used for table in self._tables)
            room = max(FIRST_TABLE, min(taken, LARGEST_STEP), self._waiting + MOST_ENTRIES)
            self._tables = [*self._tables, PackedTable(room)]
        return self._tables[-1]


class _Merge:
    """Tables on their way into one."""

    __slots__ = ("_at", "_done", "_tables", "into")

    def __init__(self, tables: list[PackedTable]) -> None:
        self._tables = tables
        self.into = PackedTable(sum(table.used for table in tables) * 4 // 3)
        self._done = self._at = 0

    @property
    def count(self) -> int:
        return len(self._tables)

    def step(self, slots: int) -> bool:
        """Move so many slots; return whether that was all."""
        if self.into.take_from(self._tables[self._done], self._at, slots):
            self._done, self._at = self._done + 1, 0
        else:
            self._at += slots
        return self._done == len(self._tables)


def _neighbourhood(text: str, edits: int) -> list[int]:
    """Hashes of what is left of the text's ends when up to ``edits`` letters are left out."""
    ends = _ends(text)
    hashes = [hash(tuple(ends)), *map(hash, combinations(ends, len(ends) - 1))]
    if edits > 1:
        hashes += map(hash, combinations(ends, max(len(ends) - 2, 0)))
    return hashes


def _ends(text: str) -> str:
    return text if len(text) <= WINDOW else text[: WINDOW // 2] + text[-(WINDOW // 2) :]


def _entries(skeleton: str, reach: int) -> int:
    """How many entries a skeleton of this reach takes, at most."""
    n = min(len(skeleton), WINDOW)
    return (0, 2 + n, 2 + n + n * (n - 1) // 2)[reach]
