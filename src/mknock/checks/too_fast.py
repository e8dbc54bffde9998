"""The time that a person needs to fill in a form."""

from __future__ import annotations

from mknock.checks.signals import signal
from mknock.domain.knocks import Decision, Reason
from mknock.ports import Attempt, Facts


def too_fast(attempt: Attempt, _: Facts) -> Decision:
    """Signal what came back sooner than anybody can type; a person with a quick hand is let in by a moderator.

    Where people prove their account, that says more.
    """
    odd = not attempt.submission.timely and not attempt.door.wants_proof
    seen = "sooner than a person can fill in the page, or after more than a day" if odd else ""
    return signal("speed", seen, attempt.door.signals.speed, Reason.TOO_FAST)
