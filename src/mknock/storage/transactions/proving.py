"""An open knock turns out to be the person's own."""

from __future__ import annotations

from dataclasses import replace

from mknock.domain.knocks import OPEN, Decision, Knock, KnockState, Reason, proved
from mknock.ports import Attempt, Entry
from mknock.storage import sql
from mknock.storage.rows import answers_text
from mknock.storage.transactions.steps import Steps, changed, wake_for, write, write_knock


def is_proof(attempt: Attempt, before: Knock) -> bool:
    """Whether an attempt shows what was not known of an open knock: that it is theirs, or stands in the room."""
    new = not before.proven or (attempt.knocking and not before.knocking)
    return attempt.proven and before.state in OPEN and new


def mark_proven(attempt: Attempt, before: Knock, decision: Decision | None) -> Steps[Knock]:
    """Write down the proof, and what was decided anew of a knock that is held (None: nothing was)."""
    after = proved(
        before,
        attempt.user,
        decision,
        at=attempt.at,
        lifetime=attempt.door.lifetime,
        knocking=attempt.knocking,
        answers=attempt.submission.answers,
    )
    if before.reason is Reason.UNPROVEN and after.state is KnockState.HELD:
        after = replace(
            after, due_at=attempt.door.held_until(after.reason, attempt.at)
        )  # for a moderator now
    yield sql.PROVE_KNOCK, (before.id, answers_text(after.answers), attempt.at)
    # A claim of before does not know of this: it ends.
    yield write_knock(before, after, fence=before.fence + 1)
    yield from write(changed(before, after, _of_proof(attempt, after)))
    yield from wake_for(after)
    return replace(after, seen_at=attempt.at, fence=before.fence + 1)


def _of_proof(attempt: Attempt, after: Knock) -> Entry:
    action = "knocked" if attempt.knocking else "proved"
    return Entry(attempt.at, str(attempt.user), action, rule=after.rule, detail=after.detail)
