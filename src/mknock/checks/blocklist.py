"""The block-list at the door; delivery asks it again just before the invite."""

from __future__ import annotations

from mknock.domain.knocks import Decision, Outcome, Reason
from mknock.ports import Attempt, Facts


def blocklist(attempt: Attempt, facts: Facts) -> Decision:
    """Refuse who is on the block-list, hold who resembles somebody there, and everybody while it cannot be read."""
    listed, rule = attempt.listed, facts.rule
    if listed is not None and listed.outcome is Outcome.REFUSE:
        return listed
    if rule is not None and attempt.is_blocked_by(rule):
        return Decision(Outcome.REFUSE, Reason.BLOCKED, rule.reason, rule=rule.entity)
    if listed is None:
        return Decision(Outcome.HOLD, Reason.BLOCKLIST_UNREADABLE)
    return listed
