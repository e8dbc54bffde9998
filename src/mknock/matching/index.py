"""Finds the skeletons of rules that equal a name's, or come close to it, without looking at the others.

Closeness goes by deletion neighbourhoods: two texts at most n edits apart become equal when at most n letters
are left out of each. Rules enter all of theirs into one packed table; a name looks its own up. Two letters
swapped twice or more are found by their sorted letters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Final

from mknock.matching.distance import distance
from mknock.matching.packed import MOST_NUMBERS, PackedTable

PREFIX: Final = 14
"""Letters from the start of a skeleton that make up its neighbourhood; the rest is compared when it is found."""
MOST_ENTRIES: Final = 2 + PREFIX + PREFIX * (PREFIX - 1) // 2
"""Entries of one skeleton, at most."""
FIRST_TABLE: Final = 1 << 15
"""Entries that the first table has room for."""
LARGEST_STEP: Final = 1 << 19
"""Entries of a table that is added in passing, so that adding one rule never waits for a large one."""


class Neighbours:
    """Skeletons by number, each with its reach: how many edits away a name is still found.

    Two swaps are found from a reach of one on.

    Entries that were added one by one lie in several tables, each of which a
    look has to ask; ``tidy`` puts them into one, a few at a time.
    """

    __slots__ = ("_moved", "_next", "_reach", "_shortest", "_tables", "numbers", "skeletons")

    def __init__(self, expected: int = FIRST_TABLE) -> None:
        self._tables = [PackedTable(expected)]
        self._next: PackedTable | None = None
        self._moved = 0
        self._shortest = [999, 999, 999]
        """The shortest skeleton of each reach."""
        self._reach = bytearray()
        self.skeletons: list[str] = []
        self.numbers: dict[str, int] = {}

    @property
    def bytes(self) -> int:
        return sum(table.bytes for table in self._tables)

    @property
    def untidy(self) -> bool:
        return len(self._tables) > 1

    def add(self, skeleton: str, reach: int) -> int:
        """Return the skeleton's number, a new one if it was not there.

        Whoever comes with a longer reach extends it for all.
        """
        number = self.numbers.get(skeleton)
        if number is None:
            number = self.numbers[skeleton] = len(self.skeletons)
            self.skeletons.append(skeleton)
            self._reach.append(0)
        if reach > self._reach[number] and number < MOST_NUMBERS:
            self._reach[number] = reach
            self._shortest[reach] = min(self._shortest[reach], len(skeleton))
            self._enter(skeleton, number, reach)
        return number

    def near(self, text: str, most: int = 2) -> Iterator[tuple[int, int]]:
        """The numbers of all skeletons within their reach of the text, each with its distance, not 0."""
        edits = most if most < 2 or len(text) >= self._shortest[2] - 2 else 1
        if len(text) < self._shortest[edits] - edits:
            return
        hashes = _neighbourhood(text, edits)
        found = {number for table in self._tables for number in table.numbers(hashes)}
        for number in found:
            skeleton = self.skeletons[number]
            edits = distance(skeleton, text, 2) or 0
            if 0 < edits <= self._reach[number] or (edits and sorted(skeleton) == sorted(text)):
                yield number, edits

    def tidy(self, most: int = 200) -> bool:
        """Move up to ``most`` skeletons towards one table; return whether there is more to do."""
        if self._next is None:
            if not self.untidy:
                return False
            self._next, self._moved = PackedTable(2 * sum(table.used for table in self._tables)), 0
        last = min(len(self.skeletons), MOST_NUMBERS)
        end = min(self._moved + most, last)
        for number in range(self._moved, end):
            if self._next.room < MOST_ENTRIES:  # too much was added meanwhile: begin again with a larger one
                self._next = None
                return True
            self._put(self._next, self.skeletons[number], number, self._reach[number])
        self._moved = end
        if end == last:
            self._tables, self._next = [self._next], None
        return self.untidy

    def _enter(self, skeleton: str, number: int, reach: int) -> None:
        if self._tables[-1].room < MOST_ENTRIES:
            taken = sum(table.used for table in self._tables)
            self._tables = [*self._tables, PackedTable(max(FIRST_TABLE, min(taken, LARGEST_STEP)))]
        self._put(self._tables[-1], skeleton, number, reach)
        if self._next is not None and number < self._moved:
            self._put(self._next, skeleton, number, reach)

    def _put(self, table: PackedTable, skeleton: str, number: int, reach: int) -> None:
        if reach:
            table.put(_neighbourhood(skeleton, reach), number)


def _neighbourhood(text: str, edits: int) -> list[int]:
    """Hashes of the text's sorted letters, and of what is left of its start without up to ``edits`` letters."""
    start = text[:PREFIX]
    hashes = [hash("".join(sorted(text))), hash(tuple(start)), *map(hash, combinations(start, len(start) - 1))]
    if edits > 1:
        hashes += map(hash, combinations(start, len(start) - 2))
    return hashes


def entries(lengths: Iterable[tuple[int, int]]) -> int:
    """How many entries skeletons of these lengths and reaches take, at most."""
    total = 0
    for length, reach in lengths:
        n = min(length, PREFIX)
        total += (0, 2 + n, 2 + n + n * (n - 1) // 2)[reach]
    return total
