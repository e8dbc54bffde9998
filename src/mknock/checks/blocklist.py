"""The block-list at the door; delivery asks it again just before the invite."""

from __future__ import annotations

from mknock.domain.knocks import ADMITTED, Decision, Outcome, Reason
from mknock.ports import Attempt, Facts


def blocklist(_: Attempt, facts: Facts) -> Decision:
    """Refuse who is on the block-list; hold everybody while it cannot be read (promise 3)."""
    if not facts.blocklist_known:
        return Decision(Outcome.HOLD, Reason.BLOCKLIST_UNREADABLE)
    if facts.rule is not None:
        return Decision(Outcome.REFUSE, Reason.BLOCKED, facts.rule.reason, rule=facts.rule.entity)
    return ADMITTED
