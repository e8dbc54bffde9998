"""How many may come in a while."""

from __future__ import annotations

from mknock.domain.knocks import ADMITTED, Decision, Outcome, Reason
from mknock.ports import Attempt, Facts


def windows(attempt: Attempt, facts: Facts) -> Decision:
    """Hold what is over a window: a moderator approves or refuses the wave.

    Held rather than turned away, since many form platforms never try again. An
    anonymous sender over its own window was asked to wait before it
    came here (AskedToWait).
    """
    limits = attempt.door.limits
    for count, limit, whose in (
        (facts.sender_count, limits.sender, "this sender"),
        (facts.homeserver_count, limits.homeserver, attempt.user.server),
        (facts.door_count, limits.door, "this door"),
    ):
        if count > limit:
            return Decision(Outcome.HOLD, Reason.WAVE, f"over {limit} in {limits.window:.0f} s from {whose}")
    return ADMITTED
