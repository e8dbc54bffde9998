"""What happened between this person and this room before."""

from __future__ import annotations

from mknock.domain.knocks import ADMITTED, NEEDS_PROOF, Decision, KnockState, Outcome, Reason
from mknock.ports import Attempt, Facts

_SAYS_NOTHING = frozenset({KnockState.REFUSED, KnockState.FAILED})


def history(attempt: Attempt, facts: Facts) -> Decision:
    """Hold an unproven ID that said no before, or that has an invite open elsewhere (promise 4).

    A hold that expired was never an invite, so it does not count as a no.
    """
    if attempt.proven:
        return ADMITTED
    told = next((knock for knock in facts.history if knock.state not in _SAYS_NOTHING), None)
    if told is not None and told.state in NEEDS_PROOF and told.invited_at is not None:
        return Decision(Outcome.HOLD, Reason.BEFORE, f"an earlier invite ended as {told.state.value}")
    if facts.open_elsewhere:
        return Decision(Outcome.HOLD, Reason.OPEN_ELSEWHERE)
    return ADMITTED
