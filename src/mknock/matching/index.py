"""Finds the skeletons of rules that equal a name's, or come close to it, without looking at the others.

Closeness goes by deletion neighbourhoods: two texts at most n edits apart become equal when at most n letters
are left out of each. Rules enter all of theirs into one packed table; a name looks its own up.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Final

from mknock.matching.distance import distance
from mknock.matching.packed import MOST_NUMBERS, PackedTable

PREFIX: Final = 16
"""Letters from the start of a skeleton that make up its neighbourhood; the rest is compared when it is found."""
MOST_ENTRIES: Final = 1 + PREFIX + PREFIX * (PREFIX - 1) // 2
"""Entries of one skeleton, at most."""
FIRST_TABLE: Final = 1 << 15
"""Entries that the first table has room for."""
LARGEST_STEP: Final = 1 << 19
"""Entries of a table that is added in passing, so that adding one rule never waits for a large one."""


class Neighbours:
    """Skeletons by number, and which of them lie close to a text.

    Entries that were added one by one lie in several tables, each of which a
    look has to ask; ``tidy`` puts them into one, a few at a time.
    """

    def __init__(self, one_from: int, two_from: int, expected: int = FIRST_TABLE) -> None:
        """Find one edit in skeletons of ``one_from`` letters and more, two from ``two_from`` on."""
        self._one_from, self._two_from = one_from, two_from
        self._tables = [PackedTable(expected)]
        self._next: PackedTable | None = None
        self._moved = 0
        self.skeletons: list[str] = []
        self.numbers: dict[str, int] = {}

    @property
    def bytes(self) -> int:
        return sum(table.bytes for table in self._tables)

    @property
    def untidy(self) -> bool:
        return len(self._tables) > 1

    def add(self, skeleton: str) -> int:
        """Return the skeleton's number, a new one if it was not there."""
        number = self.numbers.get(skeleton)
        if number is None:
            number = self.numbers[skeleton] = len(self.skeletons)
            self.skeletons.append(skeleton)
            if number < MOST_NUMBERS:  # beyond a million different names only equal ones are found
                self._enter(skeleton, number)
        return number

    def reach(self, skeleton: str) -> int:
        """How many edits away a name may be to be found."""
        return (len(skeleton) >= self._one_from) + (len(skeleton) >= self._two_from)

    def near(self, text: str) -> Iterator[tuple[int, int]]:
        """The numbers of all skeletons within their reach of the text, each with its distance, not 0."""
        edits = (len(text) >= self._one_from - 1) + (len(text) >= self._two_from - 2)
        if not edits:
            return
        hashes = list(_neighbourhood(text, edits))
        seen = set()
        for table in self._tables:
            for number in table.numbers(hashes):
                if number not in seen:
                    seen.add(number)
                    skeleton = self.skeletons[number]
                    found = distance(skeleton, text, self.reach(skeleton))
                    if found:
                        yield number, found

    def tidy(self, most: int = 200) -> bool:
        """Move up to ``most`` skeletons towards one table; return whether there is more to do."""
        if self._next is None:
            if not self.untidy:
                return False
            self._next, self._moved = PackedTable(2 * sum(table.used for table in self._tables)), 0
        end = min(self._moved + most, len(self.skeletons), MOST_NUMBERS)
        for number in range(self._moved, end):
            if self._next.room < MOST_ENTRIES:  # too much was added meanwhile: begin again with a larger one
                self._next = None
                return True
            self._put(self._next, self.skeletons[number], number)
        self._moved = end
        if end == min(len(self.skeletons), MOST_NUMBERS):
            self._tables, self._next = [self._next], None
        return self.untidy

    def _enter(self, skeleton: str, number: int) -> None:
        if self._tables[-1].room < entries(skeleton, self.reach(skeleton)):
            taken = sum(table.used for table in self._tables)
            self._tables = [*self._tables, PackedTable(min(taken, LARGEST_STEP))]
        self._put(self._tables[-1], skeleton, number)

    def _put(self, table: PackedTable, skeleton: str, number: int) -> None:
        edits = self.reach(skeleton)
        if edits:
            table.put(_neighbourhood(skeleton, edits), number)


def _neighbourhood(text: str, edits: int) -> Iterator[int]:
    """Hashes of what is left of the text's start when up to ``edits`` letters are left out."""
    start = text[:PREFIX]
    yield hash(tuple(start))
    yield from map(hash, combinations(start, len(start) - 1))
    if edits > 1:
        yield from map(hash, combinations(start, len(start) - 2))


def entries(skeleton: str, edits: int) -> int:
    """How many entries a skeleton takes in the table, at most."""
    length = min(len(skeleton), PREFIX)
    return (0, 1 + length, 1 + length + length * (length - 1) // 2)[edits]
