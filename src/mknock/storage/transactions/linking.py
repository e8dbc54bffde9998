"""Invite links: made, used, given back, revoked."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from mknock.domain.knocks import Knock, KnockState
from mknock.domain.links import GIVEN_BACK, InviteLink
from mknock.ports import Attempt, Entry
from mknock.storage import sql
from mknock.storage.rows import link_of, link_row
from mknock.storage.transactions.steps import Rows, Step, Steps, write


def link_line(token_hash: str) -> str:
    """The line of those who use or revoke one link: its uses are read in order to be counted."""
    return f"link:{token_hash}"


def open_link(attempt: Attempt) -> Generator[Step, Rows, InviteLink | None]:
    """The link by which somebody comes, if it leads to their door and is open."""
    if not attempt.link:
        return None
    rows = yield sql.LINK, (attempt.link,)
    link = link_of(rows[0]) if rows else None
    if link is None or link.door != attempt.door.slug or not link.is_open(attempt.at):
        return None
    return link


def use_link(link: InviteLink | None) -> Generator[Step, Rows, InviteLink | None]:
    """Take a use of it, whatever will be decided (promise 6); None if somebody has revoked it meanwhile."""
    if link is None:
        return None
    taken = yield sql.USE_LINK, (link.id,)
    return replace(link, used=link.used + 1) if taken else None


def give_back(before: Knock, after: Knock) -> Generator[Step, Rows, None]:
    """Give back the use of a knock that has just failed, where that tells nobody anything."""
    if before.link and after.state is KnockState.FAILED and after.reason in GIVEN_BACK:
        yield sql.UNUSE_LINK, (before.link,)


def add_link(link: InviteLink, entry: Entry) -> Steps[None]:
    yield sql.ADD_LINK, link_row(link)
    yield from write(replace(entry, door=link.door, after=link.id, detail=link.label))


def revoke_link(link_id: str, entry: Entry) -> Steps[InviteLink | None]:
    """Revoke a link. Whoever uses it at the same time is in time, or too late: nothing between."""
    rows = yield sql.LINK_OF_ID, (link_id,)
    if not rows:
        return None
    link = link_of(rows[0])
    if link.revoked_at is not None:
        return link
    yield sql.REVOKE_LINK, (link_id, entry.at)
    yield from write(replace(entry, door=link.door, before=link.id, detail=link.label))
    return replace(link, revoked_at=entry.at)
