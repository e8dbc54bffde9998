"""What risk signals have in common. Each is a check of its own, whose door says what it leads to."""

from __future__ import annotations

from mknock.domain.doors import Action
from mknock.domain.knocks import ADMITTED, Decision, Outcome, Reason

LONGEST = 120
"""Characters that are kept of what was seen."""


def signal(name: str, seen: str, action: Action, reason: Reason) -> Decision:
    """The decision on a signal: noted, and held if the door wants it so; ``seen`` is "" if there was nothing.

    ``name`` is what the owner calls it.
    """
    if not seen or action is Action.OFF:
        return ADMITTED
    note = " ".join(f"{name}: {seen}".split())[:LONGEST]
    if action is Action.HOLD:
        return Decision(Outcome.HOLD, reason, signals=(note,))
    return Decision(Outcome.ADMIT, Reason.PASSED, signals=(note,))
