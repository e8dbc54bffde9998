"""The field that people cannot see."""

from __future__ import annotations

from mknock.domain.knocks import ADMITTED, Decision, Outcome, Reason
from mknock.ports import Attempt, Facts


def honeypot(attempt: Attempt, _: Facts) -> Decision:
    """Refuse whoever filled the trap."""
    trap = attempt.submission.trap
    if trap:
        return Decision(Outcome.REFUSE, Reason.HONEYPOT, f"the hidden field held {trap[:80]!r}")
    return ADMITTED
