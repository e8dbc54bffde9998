"""A door that is being raided."""

from __future__ import annotations

from mknock.domain.knocks import ADMITTED, Decision, Outcome, Reason
from mknock.ports import Attempt, Facts


def raid(_: Attempt, facts: Facts) -> Decision:
    """Hold everybody while the door is being raided: moderators decide about the whole wave at once.

    Also who is proven: it shows whose account it is, and raiders have accounts.
    """
    if facts.raid is not None:
        return Decision(Outcome.HOLD, Reason.RAID)
    return ADMITTED
