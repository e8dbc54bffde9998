"""A rule on the block-list."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RuleKind(StrEnum):
    """What a rule names."""

    USER = "user"
    """One Matrix ID, compared by its key (``MatrixID.key``)."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Blocks whoever it names. ``at`` is in seconds since the epoch, UTC."""

    kind: RuleKind
    entity: str
    """The Matrix ID as it was written."""
    key: str
    """What it is compared by."""
    reason: str
    """Why, for moderators; never shown to the person it names."""
    source: str
    """Where the rule came from: ``api``, ``cli``, ``file``, ``import``."""
    author: str
    at: float
