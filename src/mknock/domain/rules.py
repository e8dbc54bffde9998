"""A rule on the block-list."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RuleKind(StrEnum):
    """What a rule names."""

    USER = "user"
    """One Matrix ID, compared by its key (``MatrixID.key``)."""
    USER_GLOB = "user_glob"
    """Matrix IDs by a pattern, ``*`` for anything and ``?`` for one character."""
    SERVER = "server"
    """Everybody on one homeserver."""
    SERVER_GLOB = "server_glob"
    """Everybody on the homeservers that fit a pattern."""
    USER_HASH = "user_hash"
    """One Matrix ID by its SHA-256 (MSC4205), so that the list does not spell it out."""
    SERVER_HASH = "server_hash"
    """One homeserver by its SHA-256."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Blocks whoever it names. ``at`` is in seconds since the epoch, UTC."""

    kind: RuleKind
    entity: str
    """The Matrix ID, pattern, server or hash as it was written."""
    key: str
    """What it is compared by."""
    reason: str
    """Why, for moderators; never shown to the person it names."""
    source: str
    """Where the rule came from: ``api``, ``cli``, ``file``, ``import``."""
    author: str
    at: float
    expires: float | None = None
    """From when on the rule no longer counts, in seconds since the epoch; None for never."""
    allow: bool = False
    """Lets in whom it names, whatever blocks them."""
    look_alikes: bool = True
    """Whether names that resemble the one it names match too; off for strangers' lists."""

    def counts_at(self, now: float) -> bool:
        return self.expires is None or now < self.expires
