"""What the store keeps and hands out besides knocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from mknock.domain.knocks import Knock
from mknock.domain.rules import Rule


class Queue(StrEnum):
    """What waits for a worker. Each queue is worked on, and held up, by itself."""

    INVITES = "invites"
    """Invites to send, to remind of and to withdraw, and holds that end."""
    WELCOMES = "welcomes"
    """People who have joined and are to be welcomed."""


PAUSES: Mapping[Queue, tuple[str, ...]] = {
    Queue.INVITES: ("homeserver", "owner", "invite"),
    Queue.WELCOMES: ("homeserver", "owner", "send"),
}
"""The pauses (see Store.pause) that hold up a queue."""
LIMITS = ("invite", "send")
"""Those of them that stand for a limit of the homeserver's."""


@dataclass(frozen=True, slots=True)
class Pace:
    """At most one changing call every ``interval`` seconds over the installation, ``burst`` at once."""

    interval: float
    burst: int = 5


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a worker may do now, and when to look again at the latest (None: nothing is waiting)."""

    knocks: tuple[Knock, ...]
    next_at: float | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the audit ledger: who did what, why, by which rule, with before and after."""

    at: float
    actor: str
    action: str
    door: str = ""
    knock_id: str = ""
    user_id: str = ""
    reason: str = ""
    rule: str = ""
    before: str = ""
    after: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RuleChange:
    """A rule as it was left by the change with this number."""

    revision: int
    rule: Rule
    removed: bool = False


@dataclass(frozen=True, slots=True)
class OwnRule:
    """A rule of the owner's, and what the block-list's file has of it.

    One that is ``removed`` is told of as long as the file still holds it.
    """

    rule: Rule
    in_file: bool = False
    removed: bool = False


@dataclass(frozen=True, slots=True)
class RulesChanged:
    """What a change of rules came to: those that are new (or others than before), and those that are gone."""

    added: tuple[Rule, ...] = ()
    dropped: tuple[Rule, ...] = ()
    since: int = 0
    """The rules' revision before the change."""
    revision: int = 0
    """And after it; in between nobody else has changed any."""


@dataclass(frozen=True, slots=True)
class RoomToLeave:
    """The room of a policy list that Knock is no longer subscribed to."""

    room_id: str = field(repr=False)
    list_name: str


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret to be stored. It may be forgotten after ``expires_at``."""

    name: str
    value: str = field(repr=False)
    expires_at: float | None = None
