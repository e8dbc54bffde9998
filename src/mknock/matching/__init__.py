"""The look-alike engine: rules and names in, matches with an explanation out.

A piece of its own: it knows Knock's rules and Matrix IDs, and nothing of stores, servers or doors.
"""

from mknock.matching.engine import VERY_MANY, Engine, names_in
from mknock.matching.extent import Extent, extent
from mknock.matching.finding import DEFAULT_ACTIONS, Action, Finding, Kind, Match, Stance, Verdict
from mknock.matching.glob import BadGlob
from mknock.matching.guard import Guard, default_guard
from mknock.matching.judge import Thresholds
from mknock.matching.rule_lines import BadRuleLine, read_rules, rule_of

__all__ = [
    "DEFAULT_ACTIONS",
    "VERY_MANY",
    "Action",
    "BadGlob",
    "BadRuleLine",
    "Engine",
    "Extent",
    "Finding",
    "Guard",
    "Kind",
    "Match",
    "Stance",
    "Thresholds",
    "Verdict",
    "default_guard",
    "extent",
    "names_in",
    "read_rules",
    "rule_of",
]
