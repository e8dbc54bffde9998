"""A door whose room is gone."""

from __future__ import annotations

from mknock.domain.knocks import ADMITTED, Decision, Outcome, Reason
from mknock.ports import Attempt, Facts


def room_replaced(attempt: Attempt, _: Facts) -> Decision:
    """Hold everybody while the room was replaced by one that Knock may not follow to.

    The last of the checks: whoever is held for this reason passed all the
    others, and is let in as soon as the door has a room again.
    """
    if attempt.door.replaced:
        return Decision(Outcome.HOLD, Reason.ROOM_REPLACED)
    return ADMITTED
