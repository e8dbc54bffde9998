"""Patterns with ``*`` and ``?``, matched in linear time: strangers write them, in policy lists."""

from __future__ import annotations

import re
from typing import Final

from mknock.domain.errors import InvalidRule

MOST_WILDCARDS: Final = 8
MOST_BYTES: Final = 255
LONGEST_GRAM: Final = 4
HEADS: Final = (8, 6, 4)
"""Lengths of the beginnings that patterns are found by, with the ``@``."""
CROWD: Final = 16
"""Patterns of one beginning, at most: strangers may write thousands that begin alike."""
WILD: Final = re.compile(r"[*?]")


class BadGlob(InvalidRule):
    """A pattern is not used: it is too long, or has too many wildcards."""


def is_glob(text: str) -> bool:
    return WILD.search(text) is not None


class Glob:
    """A pattern, compared without regard to case.

    Each piece between two stars is looked for once, from where the last one
    ended; nothing is ever tried again (no backtracking).
    """

    __slots__ = ("_first", "_last", "_middle", "pattern")

    def __init__(self, pattern: str) -> None:
        """Read the pattern.

        Raises:
            BadGlob: it has more than MOST_WILDCARDS wildcards or MOST_BYTES bytes.
        """
        check(pattern)
        self.pattern = pattern.lower()
        pieces = [_Piece(piece) for piece in re.split(r"\*+", self.pattern)]
        self._first, self._middle = pieces[0], pieces[1:-1]
        self._last = pieces[-1] if len(pieces) > 1 else None

    def matches(self, text: str) -> bool:
        """Whether the whole text fits. ``text`` is in lower case."""
        if not self._first.is_at(text, 0):
            return False
        at = self._first.length
        if self._last is None:
            return at == len(text)
        end = len(text) - self._last.length
        for piece in self._middle:
            at = piece.after(text, at)
            if at < 0:
                return False
        return at <= end and self._last.is_at(text, end)


class _Piece:
    """What stands between two stars; ``?`` fits any one character."""

    __slots__ = ("_pattern", "_text", "length")

    def __init__(self, text: str) -> None:
        self._text, self.length = text, len(text)
        wild = "".join("." if c == "?" else re.escape(c) for c in text)
        self._pattern = re.compile(wild, re.DOTALL) if "?" in text else None

    def is_at(self, text: str, at: int) -> bool:
        if self._pattern is None:
            return text.startswith(self._text, at)
        return self._pattern.match(text, at) is not None

    def after(self, text: str, at: int) -> int:
        """Where the piece ends when looked for from ``at`` on; -1 if it is not there."""
        if self._pattern is None:
            found = text.find(self._text, at)
            return found + self.length if found >= 0 else -1
        match = self._pattern.search(text, at)
        return match.end() if match else -1


def check(pattern: str) -> None:
    """Raise BadGlob for a pattern that is not used."""
    if len(WILD.findall(pattern)) > MOST_WILDCARDS:
        raise BadGlob(f"A pattern has at most {MOST_WILDCARDS} wildcards; this one has more.")
    if len(pattern.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise BadGlob(f"A pattern has at most {MOST_BYTES} bytes; this one is longer.")


Buckets = dict[int, dict[str, list[tuple["Glob", int]]]]
"""Patterns with the caller's numbers by a piece of them, and those by its length."""


class Globs:
    """Many patterns, of which a check tries only those whose beginning, or rarest letters, are there."""

    __slots__ = ("_grams", "_heads", "_numbers", "_places")

    def __init__(self) -> None:
        self._heads: Buckets = {length: {} for length in HEADS}
        """Those that begin with plain letters: one question a length, whatever the text."""
        self._grams: Buckets = {}
        """All others, by letters that stand anywhere in them."""
        self._places: dict[tuple[str, int], tuple[Buckets, str]] = {}
        self._numbers: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def add(self, pattern: str, number: int) -> None:
        """Enter the pattern under a number of the caller's.

        Raises:
            BadGlob: the pattern is not used.
        """
        glob = Glob(pattern)
        buckets, piece = place = self._place(glob.pattern)
        buckets.setdefault(len(piece), {}).setdefault(piece, []).append((glob, number))
        self._places[glob.pattern, number] = place
        self._numbers.setdefault(glob.pattern, []).append(number)

    def remove(self, pattern: str, number: int) -> None:
        place = self._places.pop((pattern.lower(), number), None)
        if place is not None:
            self._forget(pattern.lower(), number)
            buckets, piece = place
            bucket = buckets[len(piece)]
            bucket[piece] = [entry for entry in bucket[piece] if entry[1] != number]
            if not bucket[piece]:
                del bucket[piece]

    def _forget(self, pattern: str, number: int) -> None:
        self._numbers[pattern].remove(number)
        if not self._numbers[pattern]:
            del self._numbers[pattern]

    def under(self, pattern: str) -> list[int]:
        """The numbers that the pattern was entered under."""
        return list(self._numbers.get(pattern.lower(), ()))

    def matching(self, text: str) -> list[int]:
        """The numbers of all patterns that the text, in lower case, fits."""
        found: list[int] = []
        for length, bucket in self._heads.items():
            if bucket and (entries := bucket.get(text[:length])):
                found += [number for glob, number in entries if glob.matches(text)]
        for length, bucket in self._grams.items():
            if bucket:
                for gram in bucket.keys() & _grams_of(text, length):
                    found += [number for glob, number in bucket[gram] if glob.matches(text)]
        return sorted(found)

    def _place(self, pattern: str) -> tuple[Buckets, str]:
        """Where the pattern is entered: by its beginning, unless that is short or that of many."""
        plain = WILD.split(pattern, 1)[0]
        for length in HEADS:
            head = pattern[:length]
            if len(plain) >= length and len(self._heads[length].get(head, ())) < CROWD:
                return self._heads, head
        return self._grams, self._rarest(pattern)

    def _rarest(self, pattern: str) -> str:
        """A piece of the pattern of up to four characters that few patterns stand under.

        What comes before the colon counts first: many names share a server.
        """
        user, _, server = pattern.partition(":")
        for text, least in ((user, 2), (server, 3), (user, 1), (server, 1)):
            grams = {gram for piece in WILD.split(text) for gram in _longest_grams(piece, least)} - {"@"}
            if grams:
                return min(grams, key=self._crowd)
        return ""

    def _crowd(self, gram: str) -> tuple[int, int, str]:
        return (-len(gram), len(self._grams.get(len(gram), {}).get(gram, ())), gram)


def _longest_grams(piece: str, least: int) -> set[str]:
    length = min(LONGEST_GRAM, len(piece))
    return _grams_of(piece, length) if length >= least else set()


def _grams_of(text: str, length: int) -> set[str]:
    return {text[i : i + length] for i in range(len(text) - length + 1)} if length else {""}
