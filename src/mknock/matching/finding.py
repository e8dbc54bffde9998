"""What the engine says: matches, each with its rule and its steps, and a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from mknock.domain.rules import Rule


class Verdict(StrEnum):
    """What is to become of the person."""

    ADMIT = "admit"
    HOLD = "hold"
    REFUSE = "refuse"


class Action(StrEnum):
    """What a door does about one kind of match."""

    REFUSE = "refuse"
    HOLD = "hold"
    LOG = "log"


class Kind(StrEnum):
    """How a name matched a rule, the surest first."""

    ALLOW = "allow"
    """An allow rule names it; nothing else counts."""
    EXACT = "exact"
    HASH = "hash"
    SERVER = "server"
    GLOB = "glob"
    SERVER_GLOB = "server_glob"
    SKELETON = "skeleton"
    """It reads the same, and only somebody who wants to pass would write it so, or the name is rare."""
    NUMBER = "number"
    """A rare name with another number."""
    AFFIX = "affix"
    """A rare name with "real", "official" or the like before or behind it."""
    DISTANCE = "distance"
    """A long, rare name with one slip of the keyboard."""
    SKELETON_COMMON = "skeleton_common"
    """It reads the same, but so do innocent people's names."""
    NUMBER_COMMON = "number_common"
    """A common name with a number added."""
    AFFIX_LOOSE = "affix_loose"
    """The name with something else before or behind it."""
    DISTANCE_LOOSE = "distance_loose"
    """One or two slips of the keyboard away."""
    OTHER_SERVER = "other_server"
    """It reads the same, on another server."""
    DISPLAY_NAME = "display_name"
    """What the person calls themselves reads like a blocked user's name."""


DEFAULT_ACTIONS: Final[Mapping[Kind, Action]] = MappingProxyType(
    {
        Kind.EXACT: Action.REFUSE,
        Kind.HASH: Action.REFUSE,
        Kind.SERVER: Action.REFUSE,
        Kind.GLOB: Action.REFUSE,
        Kind.SERVER_GLOB: Action.REFUSE,
        Kind.SKELETON: Action.REFUSE,
        Kind.NUMBER: Action.REFUSE,
        Kind.AFFIX: Action.REFUSE,
        Kind.DISTANCE: Action.REFUSE,
        Kind.SKELETON_COMMON: Action.HOLD,
        Kind.NUMBER_COMMON: Action.HOLD,
        Kind.AFFIX_LOOSE: Action.HOLD,
        Kind.DISTANCE_LOOSE: Action.HOLD,
        Kind.OTHER_SERVER: Action.HOLD,
        Kind.DISPLAY_NAME: Action.HOLD,
    }
)
RANK: Final = {kind: rank for rank, kind in enumerate(Kind)}
_STRICTNESS: Final = {Action.REFUSE: 0, Action.HOLD: 1, Action.LOG: 2}
_VERDICTS: Final = {Action.REFUSE: Verdict.REFUSE, Action.HOLD: Verdict.HOLD, Action.LOG: Verdict.ADMIT}


@dataclass(frozen=True, slots=True)
class Match:
    """One rule that a name matched, and how."""

    rule: Rule
    kind: Kind
    steps: tuple[str, ...] = ()
    """What had to be done to the name to arrive at the rule, in words."""
    distance: int = 0
    """Slips of the keyboard between the two, once those steps were done."""


@dataclass(frozen=True, slots=True)
class Stance:
    """How strict one door is."""

    actions: Mapping[Kind, Action] = field(default_factory=lambda: DEFAULT_ACTIONS)
    """For each kind of match; what is missing is as in DEFAULT_ACTIONS."""
    other_servers: bool = True
    """Whether a name on another server than the rule's can be its look-alike."""

    def action(self, kind: Kind) -> Action:
        return self.actions.get(kind) or DEFAULT_ACTIONS[kind]


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict, and every match behind it, the one that decided first."""

    verdict: Verdict
    matches: tuple[Match, ...] = ()

    @property
    def decisive(self) -> Match | None:
        return self.matches[0] if self.matches else None


ADMITTED: Final = Finding(Verdict.ADMIT)


def finding(matches: list[Match], stance: Stance) -> Finding:
    """Weigh the matches: the strictest action decides; among equals the surest kind."""
    if not matches:
        return ADMITTED
    ordered = sorted(
        matches, key=lambda m: (_STRICTNESS[stance.action(m.kind)], RANK[m.kind], m.distance, m.rule.at)
    )
    return Finding(_VERDICTS[stance.action(ordered[0].kind)], tuple(ordered))
