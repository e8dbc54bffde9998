"""Memory-thrifty sets and tables of hashes: one array, without an object an entry.

The hashes are Python's own. They differ from process to process and are never stored, so nobody can choose
names that collide; whoever finds an entry compares the names themselves.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Final

NUMBER_BITS: Final = 20
MOST_NUMBERS: Final = (1 << NUMBER_BITS) - 1
"""Numbers that fit beside the hash."""
HASH: Final = (1 << 64 - NUMBER_BITS) - 1
"""The part of a hash that is kept."""
FULL: Final = 0.7
"""The share of slots above which probing takes too long."""
MOST_TRIES: Final = 400
"""Slots that are tried for an entry before it is given up: a wave of names that are nearly the same costs no more."""
MARKS: Final = 2
"""Bytes of marks an entry, at least; up to twice as many."""
BIT: Final = 40
"""Where in a hash the number of its bit in the byte of marks begins."""


class PackedSet:
    """Words, by 32 bits of their hash: of a thousand million strangers one passes for a member."""

    __slots__ = ("_size", "_slots")

    def __init__(self, words: Iterable[str]) -> None:
        words = list(words)
        self._size = size = len(words) * 5 // 3 + 7
        self._slots = slots = array("I", [0]) * size
        for word in words:  # written out: every start of Knock does this for 280,000 words
            hashed = hash(word)
            at, mark = hashed % size, (hashed >> 29) & 0xFFFFFFFF or 1
            while (found := slots[at]) and found != mark:
                at = at + 1 if at + 1 < size else 0
            slots[at] = mark

    def __contains__(self, word: str) -> bool:
        hashed = hash(word)
        at, mark = hashed % self._size, (hashed >> 29) & 0xFFFFFFFF or 1
        slots = self._slots
        while (found := slots[at]) != mark:
            if not found:
                return False
            at = at + 1 if at + 1 < self._size else 0
        return True


class PackedTable:
    """From hashes to small numbers; several numbers may share a hash, and of hundreds that do the first are kept.

    Nearly all that is looked up is not there. Most of it is told by one byte
    of ``_marks``, and by one bit of that if others left their marks there;
    they stay in the processor's cache when the slots do not.
    """

    __slots__ = ("_marks", "_mask", "_size", "_slots", "used")

    def __init__(self, capacity: int) -> None:
        self._size = int(capacity / FULL) + 7
        self._slots = array("Q", [0]) * self._size
        self._mask = (1 << (capacity * MARKS).bit_length()) - 1
        self._marks = bytearray(self._mask + 1)
        self.used = 0

    @property
    def room(self) -> int:
        """How many more entries fit."""
        return int(self._size * FULL) - self.used

    @property
    def bytes(self) -> int:
        return self._size * 8 + len(self._marks)

    def put(self, hashes: Iterable[int], number: int) -> None:
        """Enter the number under each of the hashes."""
        number += 1
        self._enter([(hashed & HASH) << NUMBER_BITS | number for hashed in hashes])

    def take_from(self, other: PackedTable, start: int, count: int) -> bool:
        """Enter what stands in ``count`` slots of another table; return whether those were its last."""
        self._enter(filter(None, other._slots[start : start + count]))
        return start + count >= other._size

    def numbers(self, hashes: Iterable[int]) -> list[int]:
        """The numbers that were entered under any of the hashes; one may come twice."""
        marks, mask = self._marks, self._mask
        likely = [hashed for hashed in hashes if marks[hashed & mask]]
        return self._probed(likely) if likely else likely

    def _probed(self, hashes: list[int]) -> list[int]:
        slots, size, found = self._slots, self._size, []
        marks, mask = self._marks, self._mask
        for hashed in hashes:
            if not marks[hashed & mask] >> (hashed >> BIT & 7) & 1:
                continue
            hashed &= HASH
            at = hashed % size
            while entry := slots[at]:
                if entry >> NUMBER_BITS == hashed:
                    found.append((entry & MOST_NUMBERS) - 1)
                at += 1
                if at == size:
                    at = 0
        return found

    def _enter(self, entries: Iterable[int]) -> None:
        slots, size, used = self._slots, self._size, 0
        marks, mask = self._marks, self._mask
        for entry in entries:
            hashed = entry >> NUMBER_BITS
            at, tries = hashed % size, 0
            while found := slots[at]:
                if found == entry or tries == MOST_TRIES:
                    break
                tries += 1
                at += 1
                if at == size:
                    at = 0
            else:
                slots[at] = entry
                marks[hashed & mask] |= 1 << (hashed >> BIT & 7)
                used += 1
        self.used += used
