"""Somebody who knocks in the room again and again."""

from __future__ import annotations

from mknock.domain.flapping import MOST, lately
from mknock.domain.knocks import ADMITTED, Decision, Outcome, Reason
from mknock.ports import Attempt, Facts


def flapping(attempt: Attempt, facts: Facts) -> Decision:
    """Hold a membership knock after too many, so that no invite answers it.

    The door's cooldown lets through one record each time; this bounds it where the cooldown is short.
    """
    before = lately(facts.history, attempt.door.room_id, attempt.at)
    if attempt.knocking and before >= MOST:
        return Decision(Outcome.HOLD, Reason.FLAPPING, f"knocked {before} times in the last hour already")
    return ADMITTED
