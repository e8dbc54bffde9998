"""The door's own policy."""

from __future__ import annotations

from mknock.domain.doors import Policy
from mknock.domain.knocks import ADMITTED, Decision, Outcome, Reason
from mknock.ports import Attempt, Facts

_DECISIONS = {
    Policy.AUTO: ADMITTED,
    Policy.REVIEW: Decision(Outcome.HOLD, Reason.REVIEW),
    Policy.PROVE_FIRST: Decision(Outcome.HOLD, Reason.REVIEW, "the account is not proven"),
    Policy.CLOSED: Decision(Outcome.HOLD, Reason.DOOR_CLOSED),
}


def policy(attempt: Attempt, _: Facts) -> Decision:
    """Hold everybody at a door that is reviewed, wants a proof first, or is closed."""
    if attempt.proven and attempt.door.policy is Policy.PROVE_FIRST:
        return ADMITTED
    return _DECISIONS[attempt.door.policy]
