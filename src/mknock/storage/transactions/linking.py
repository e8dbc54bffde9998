"""Invite links: made, used, given back, revoked."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from mknock.domain.knocks import Decision, Knock, KnockState, Reason
from mknock.domain.links import GIVEN_BACK, InviteLink
from mknock.ports import Attempt, Entry
from mknock.storage import sql
from mknock.storage.rows import link_of, link_row
from mknock.storage.transactions.steps import Rows, Step, Steps, changed, wake_for, write, write_knock

_FOR_REVIEW = frozenset({Reason.REVIEW, Reason.DOOR_CLOSED})


def link_line(token_hash: str) -> str:
    """The line of those who use or revoke one link: its uses are read in order to be counted."""
    return f"link:{token_hash}"


def use_link(attempt: Attempt) -> Generator[Step, Rows, InviteLink | None]:
    """Take a use of the link by which somebody comes; None if it is not open, or leads to another door.

    It is taken whatever will be decided, of a repeat too: what is left of a link tells nothing of a person (promise 6).
    """
    if not attempt.link:
        return None
    rows = yield sql.USE_LINK, (attempt.link, attempt.door.slug, attempt.at)
    return link_of(rows[0]) if rows else None


def stands_for_the_yes(link: InviteLink | None, before: Knock) -> bool:
    """Whether a link says what a knock was held for: that a moderator wants the person in."""
    held = before.state is KnockState.HELD and before.reason in _FOR_REVIEW
    return link is not None and link.skips_review and held


def let_in(link: InviteLink, attempt: Attempt, before: Knock, decision: Decision) -> Steps[Knock]:
    """Admit a held knock, since its person came again by a link that stands for the moderator's yes."""
    at = attempt.at
    after = before.moved_to(
        KnockState.ADMITTED,
        at=at,
        reason=decision.reason,
        detail=decision.detail,
        due_at=at,
        expires_at=at + attempt.door.lifetime,
        link=link.id,
    )
    yield sql.SET_LINK, (before.id, link.id)
    yield write_knock(before, after, fence=before.fence + 1)
    yield from write(changed(before, after, Entry(at=at, actor=f"link:{link.id}", action="let in")))
    yield from wake_for(after)
    return replace(after, fence=before.fence + 1)


def give_back(before: Knock, after: Knock) -> Generator[Step, Rows, None]:
    """Give back the use of a knock that has just failed, where that tells nobody anything."""
    if before.link and after.state is KnockState.FAILED and after.reason in GIVEN_BACK:
        yield sql.UNUSE_LINK, (before.link,)


def add_link(link: InviteLink, entry: Entry) -> Steps[None]:
    yield sql.ADD_LINK, link_row(link)
    yield from write(replace(entry, door=link.door, after=link.id, detail=link.label))


def revoke_link(link_id: str, entry: Entry) -> Steps[InviteLink | None]:
    """Revoke a link. Whoever uses it at the same time is in time, or too late: nothing between."""
    revoked = yield sql.REVOKE_LINK, (link_id, entry.at)
    if revoked:
        link = link_of(revoked[0])
        yield from write(replace(entry, door=link.door, before=link.id, detail=link.label))
        return link
    rows = yield sql.LINK_OF_ID, (link_id,)
    return link_of(rows[0]) if rows else None
