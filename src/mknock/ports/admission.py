"""What is known when somebody knocks, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mknock.domain.doors import Door
from mknock.domain.ids import MatrixID
from mknock.domain.knocks import ADMITTED, Decision, Knock, Outcome, Reason, Submission
from mknock.domain.links import InviteLink
from mknock.domain.raids import NOBODY, Arrivals, Raid
from mknock.domain.rules import Rule


@dataclass(frozen=True, slots=True)
class Attempt:
    """Somebody knocks: what the store needs to gather the facts and to keep the knock.

    ``sender`` is the visitor's network address as a keyed hash, or None when it
    is not known; ``trusted`` says that the delivery was authenticated (it is
    then stored over any window); ``proven`` that the person acted from
    this Matrix account.
    """

    knock_id: str
    door: Door
    user: MatrixID
    submission: Submission
    at: float
    sender: str | None = None
    trusted: bool = False
    proven: bool = False
    link: str = ""
    """The hash of the token of the invite link by which they come; "" for none."""
    knocking: bool = False
    """A membership knock of theirs stands in the door's room, and is to be answered."""
    likeness: str = ""
    """What is compared of the name with those of others who came lately; "" compares with nobody's."""
    listed: Decision | None = ADMITTED
    """What the block-list says of the person; None when it cannot be read: then nobody may be admitted (promise 3)."""

    def is_blocked_by(self, rule: Rule | None) -> bool:
        """Whether the block-list refuses the person; ``rule`` is that of their own name, if there is one."""
        if self.listed is not None and self.listed.outcome is Outcome.REFUSE:
            return True
        return rule is not None and (self.listed is None or self.listed.reason is not Reason.ALLOWED)


HISTORY = 16
"""How many earlier knocks of one person at one room are looked at."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the store knows at the moment of judging, all from one transaction.

    Counts are of the sliding window, this knock included. ``rule`` is the rule that
    names this very person, newer than what ``Attempt.listed`` may have known.
    """

    rule: Rule | None = None
    history: tuple[Knock, ...] = ()
    """The same person's newest knocks at the same room, newest first (at most HISTORY of them)."""
    open_elsewhere: bool = False
    """An unproven knock of the same person is open at another room."""
    link: InviteLink | None = None
    """The invite link by which the person comes, open, with this use of it counted."""
    sender_count: float = 0.0
    homeserver_count: float = 0.0
    door_count: float = 0.0
    arrivals: Arrivals = NOBODY
    raid: Raid | None = None
    """The raid that is on at the door; it may have begun with this knock."""


Judge = Callable[[Attempt, Facts], Decision]
"""Decides from the facts alone. Runs inside the store's transaction: it must not block."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The knock is on disk. ``repeat`` says it counted on a record that was there before."""

    knock: Knock
    repeat: bool = False


@dataclass(frozen=True, slots=True)
class LinkOver:
    """The invite link is no longer good for anything, or never was: nothing was kept."""


@dataclass(frozen=True, slots=True)
class AskedToWait:
    """An anonymous sender is over its window: nothing was kept; try again in ``retry_after`` seconds."""

    retry_after: float
