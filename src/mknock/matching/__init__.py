"""The look-alike engine: rules and names in, matches with an explanation out.

A piece of its own: it knows Knock's rules and Matrix IDs, and nothing of stores, servers or doors.
"""

from mknock.matching.engine import Engine
from mknock.matching.finding import DEFAULT_ACTIONS, Action, Finding, Kind, Match, Stance, Verdict
from mknock.matching.glob import BadGlob
from mknock.matching.guard import Guard, default_guard
from mknock.matching.judge import Thresholds

__all__ = [
    "DEFAULT_ACTIONS",
    "Action",
    "BadGlob",
    "Engine",
    "Finding",
    "Guard",
    "Kind",
    "Match",
    "Stance",
    "Thresholds",
    "Verdict",
    "default_guard",
]
