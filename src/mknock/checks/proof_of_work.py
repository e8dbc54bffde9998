"""Work that a browser does before it knocks: a second for a person, and dear for whoever knocks ten thousand times."""

from __future__ import annotations

from mknock.domain.knocks import ADMITTED, Decision, Outcome, Reason
from mknock.ports import Attempt, Facts


def proof_of_work(attempt: Attempt, _: Facts) -> Decision:
    """Hold who was asked for a proof of work and showed none: it may be a person without JavaScript.

    Where people prove their account, that says more.
    """
    if attempt.submission.worked is False and not attempt.door.wants_proof:
        return Decision(Outcome.HOLD, Reason.NO_PROOF_OF_WORK)
    return ADMITTED
