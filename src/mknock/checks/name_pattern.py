"""Others of the last hour with names like this one."""

from __future__ import annotations

from mknock.checks.signals import signal
from mknock.domain.knocks import Decision, Reason
from mknock.domain.raids import ALIKE_SHARE, many_alike
from mknock.ports import Attempt, Facts

FEW = 5
"""So many, with this one, may be chance."""


def name_pattern(attempt: Attempt, facts: Facts) -> Decision:
    """Signal a name that is like those of several others who came in the last hour, long before that is a raid."""
    seen = ""
    if attempt.likeness and many_alike(facts.arrivals, FEW, ALIKE_SHARE / 2):
        seen = f"{facts.arrivals.alike - 1:.0f} others of the last hour are like it ({attempt.likeness})"
    return signal("name_pattern", seen, attempt.door.signals.name_pattern, Reason.NAME_PATTERN)
