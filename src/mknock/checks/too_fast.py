"""The time that a person needs to fill in a form."""

from __future__ import annotations

from mknock.domain.knocks import ADMITTED, Decision, Outcome, Reason
from mknock.ports import Attempt, Facts


def too_fast(attempt: Attempt, _: Facts) -> Decision:
    """Hold what came back sooner than anybody can type; a person with a quick hand is let in by a moderator.

    Where people prove their account, that says more.
    """
    if not attempt.submission.timely and not attempt.door.wants_proof:
        return Decision(Outcome.HOLD, Reason.TOO_FAST)
    return ADMITTED
