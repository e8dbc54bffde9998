"""A rule on the block-list."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

LIST = "list:"
"""How the source of a rule from a shared list begins; its name follows."""


def block_id(user_key: str) -> str:
    """The id of the owner's rule that blocks one person."""
    return f"block:user:{user_key}"


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
    """Where the rule came from: ``api``, ``cli``, ``file``, ``import``, or LIST and the name of a list."""
    author: str
    at: float
    expires: float | None = None
    """From when on the rule no longer counts, in seconds since the epoch; None for never."""
    allow: bool = False
    """Lets in whom it names, whatever blocks them."""
    look_alikes: bool = True
    """Whether names that resemble the one it names match too; off for strangers' lists."""
    origin: str = ""
    """In a shared list, what names the rule there; the owner's own rules are named by what they say."""

    @property
    def id(self) -> str:
        """What tells the rule from every other, in the store and in commands."""
        if not self.is_own:
            return f"{self.source}:{self.origin}"
        return f"{'allow' if self.allow else 'block'}:{self.kind}:{self.key}"

    @property
    def is_own(self) -> bool:
        """Whether the owner or a moderator made it; else it comes from a list that others keep."""
        return not self.source.startswith(LIST)

    def counts_at(self, now: float) -> bool:
        return self.expires is None or now < self.expires
