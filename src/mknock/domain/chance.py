"""Identifiers that sort by the time they were made."""

from __future__ import annotations

from random import getrandbits

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_SHIFTS = range(120, -1, -10)


def new_id(now: float) -> str:
    """Return a new ULID: 26 characters, 48 bits of milliseconds and 80 bits of chance.

    ``now`` is in seconds since the epoch. It tells things apart and is no
    secret: chance comes from the process's own generator, not the system's.
    Source: the ULID specification (github.com/ulid/spec), Crockford's base 32.
    """
    return _written(_number(now))


def new_ids(now: float, count: int) -> list[str]:
    """Return so many new ULIDs that sort in the order of the list."""
    first = _number(now)
    return [_written(first + place) for place in range(count)]


def _number(now: float) -> int:
    return (int(now * 1000) & (2**48 - 1)) << 80 | getrandbits(80)


def _written(number: int) -> str:
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])
