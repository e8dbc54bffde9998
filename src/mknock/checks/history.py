"""What happened between this person and this room before."""

from __future__ import annotations

from mknock.domain.knocks import ADMITTED, NEEDS_PROOF, Decision, Knock, KnockState, Outcome, Reason
from mknock.ports import Attempt, Facts

_BY_A_MODERATOR = frozenset({Reason.MODERATOR, Reason.REMOVED, Reason.BANNED})
"""Why a knock ended that somebody with power in the room has ended, at Knock or in the room itself."""


def history(attempt: Attempt, facts: Facts) -> Decision:
    """Hold an unproven ID that said no before, or that has an invite open elsewhere (promise 4).

    Hold as well whom a moderator turned away: a decision of theirs outlasts the
    cooldown, and a proof changes nothing about it. A hold that expired was
    never an invite, so it does not count as a no.
    """
    told = next((knock for knock in facts.history if _tells_something(knock)), None)
    if told is not None and told.state is KnockState.REFUSED:
        return Decision(Outcome.HOLD, Reason.BEFORE, "a moderator refused them before")
    if told is not None and told.state in NEEDS_PROOF and _is_a_no(told, proven=attempt.proven):
        return Decision(Outcome.HOLD, Reason.BEFORE, f"an earlier invite ended as {told.state.value}")
    if facts.open_elsewhere and not attempt.proven:
        return Decision(Outcome.HOLD, Reason.OPEN_ELSEWHERE)
    return ADMITTED


def _is_a_no(knock: Knock, *, proven: bool) -> bool:
    """Whether an end still counts: a person may change their own mind, but not a moderator's."""
    return knock.reason in _BY_A_MODERATOR if proven else knock.invited_at is not None


def _tells_something(knock: Knock) -> bool:
    """Whether a knock's end was a decision of the person or of a moderator, rather than of a check."""
    if knock.state is KnockState.REFUSED:
        return knock.reason is Reason.MODERATOR
    return knock.state is not KnockState.FAILED and knock.reason is not Reason.UNBLOCKED
