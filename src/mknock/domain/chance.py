"""Identifiers that sort by the time they were made."""

from __future__ import annotations

import secrets

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_id(now: float) -> str:
    """Return a new ULID: 26 characters, 48 bits of milliseconds and 80 bits of chance.

    ``now`` is in seconds since the epoch. Source: the ULID specification
    (github.com/ulid/spec), Crockford's base 32.
    """
    number = (int(now * 1000) & (2**48 - 1)) << 80 | secrets.randbits(80)
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))
