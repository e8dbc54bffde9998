"""The door's own policy."""

from __future__ import annotations

from mknock.domain.doors import Policy
from mknock.domain.knocks import ADMITTED, Decision, Outcome, Reason
from mknock.ports import Attempt, Facts

_DECISIONS = {
    Policy.AUTO: ADMITTED,
    Policy.REVIEW: Decision(Outcome.HOLD, Reason.REVIEW),
    Policy.PROVE_FIRST: Decision(Outcome.HOLD, Reason.UNPROVEN),
    Policy.CLOSED: Decision(Outcome.HOLD, Reason.DOOR_CLOSED),
}


_SKIPPED = frozenset({Policy.REVIEW, Policy.CLOSED})


def policy(attempt: Attempt, facts: Facts) -> Decision:
    """Hold everybody at a door that is reviewed or closed, and until they are proven at one that wants a proof.

    An invite link may stand for the moderator's yes, but not for a proof.
    """
    if attempt.proven and attempt.door.policy is Policy.PROVE_FIRST:
        return ADMITTED
    if facts.link and facts.link.skips_review and attempt.door.policy in _SKIPPED:
        return ADMITTED
    return _DECISIONS[attempt.door.policy]
