"""Invite links: a way to a door that a moderator hands out.

The token in a link's address is a secret. It is shown once, when the link is
made; what is kept is its hash. Times are seconds since the epoch, UTC.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256

from mknock.domain.knocks import KnockState, Reason

_TOKEN = re.compile(r"[A-Za-z0-9_-]{24}")
MOST_USES = 1_000_000
LONGEST_LABEL = 100
LONGEST_GREETING = 4000

GIVEN_BACK: frozenset[Reason] = frozenset(
    {Reason.NO_SUCH_USER, Reason.ROOM_UNSUPPORTED, Reason.HOMESERVER_REFUSED, Reason.LIFETIME_OVER}
)
"""Why a knock may fail so that its use of the link is given back: ends that tell an outsider nothing that a link's
page may not tell. A ban, or an invite that was refused by the person's own settings, is none of them (promise 6)."""


class LinkStatus(StrEnum):
    """What an invite link is good for."""

    OPEN = "open"
    USED_UP = "used_up"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class InviteLink:
    """A link by which people knock at one door. ``label`` and ``author`` are for moderators."""

    id: str
    token_hash: str = field(repr=False)
    door: str
    label: str = ""
    author: str
    created_at: float
    expires_at: float | None = None
    """When it ends; None: never."""
    uses: int | None = None
    """How many knocks it is good for; None: any number."""
    used: int = 0
    skips_review: bool = False
    """Whoever comes by it need not wait for a moderator, and finds a closed door open."""
    greeting: str = ""
    """Markdown, shown above the door's own text."""
    revoked_at: float | None = None

    def status(self, now: float) -> LinkStatus:
        if self.revoked_at is not None:
            return LinkStatus.REVOKED
        if self.expires_at is not None and self.expires_at <= now:
            return LinkStatus.EXPIRED
        if self.uses is not None and self.used >= self.uses:
            return LinkStatus.USED_UP
        return LinkStatus.OPEN

    def is_open(self, now: float) -> bool:
        """Whether a knock can come by it."""
        return self.status(now) is LinkStatus.OPEN


@dataclass(frozen=True, slots=True)
class LinkStatistics:
    """What became of the knocks that came by one link, by the state they are in now."""

    knocks: Mapping[KnockState, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.knocks.values())

    @property
    def joined(self) -> int:
        """Who came in, whether or not they are still there."""
        return sum(self.knocks.get(state, 0) for state in (KnockState.JOINED, KnockState.LEFT))


def new_token() -> str:
    """A token that nobody guesses: 144 random bits, 24 characters that need no escaping in an address."""
    return secrets.token_urlsafe(18)


def hash_of(token: str) -> str:
    """Under what a token is kept; "" for what cannot be one, which is the hash of none."""
    return sha256(token.encode()).hexdigest() if _TOKEN.fullmatch(token) else ""


def token_in(text: str) -> str:
    """The token of a link's address, or the text itself."""
    return text.partition("?")[0].rstrip("/").rpartition("/")[2]
