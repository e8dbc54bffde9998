"""Entities that a list names by their hash only (MSC4205)."""

from __future__ import annotations

import hashlib
from base64 import b64encode


def hash_of(entity: str) -> str:
    """The unpadded base64 of the entity's SHA-256: of a whole Matrix ID, or a server name, as it is written."""
    digest = hashlib.sha256(entity.encode("utf-8", "surrogatepass")).digest()
    return b64encode(digest).decode("ascii").rstrip("=")


def hash_key(written: str) -> str:
    """A hash from a list in the form of ``hash_of``: without padding, in the standard alphabet."""
    return written.strip().rstrip("=").replace("-", "+").replace("_", "/")
