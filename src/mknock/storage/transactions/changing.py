"""One knock is changed, or put on record without having been judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from mknock.domain.errors import NotFound
from mknock.domain.knocks import Knock
from mknock.domain.rules import Rule
from mknock.ports import (
    Entry,
)
from mknock.storage import sql
from mknock.storage.rows import knock_of, knock_row
from mknock.storage.transactions.ruling import RULES_LINE, of_rules, put_rules
from mknock.storage.transactions.steps import Steps, changed, person_line, wake_for, write, write_knock


def change(
    knock_id: str, how: Callable[[Knock], Knock], entry: Entry, rule: Rule | None = None
) -> Steps[Knock]:
    """Change one knock; see ports.Store.change. Without a rule it waits for one row and holds nothing: no line."""
    added: list[Rule] = []
    if rule is not None:
        yield sql.LOCK, (RULES_LINE,)
        added = yield from put_rules([rule], replacing=False)
    rows = yield sql.KNOCK_TO_CHANGE, (knock_id,)
    if not rows:
        raise NotFound(f"there is no knock {knock_id[:40]!r}")
    before = knock_of(rows[0])
    after = how(before)
    if after == before:
        yield from write(*of_rules((), added, entry))
        return before
    yield write_knock(before, after, fence=before.fence + 1)
    if after.room_id != before.room_id:
        yield sql.MOVE_KNOCK, (before.id, after.room_id)
    yield from write(*of_rules((), added, entry), changed(before, after, entry))
    yield from wake_for(after)
    return replace(after, fence=before.fence + 1)


def add(knock: Knock, entry: Entry) -> Steps[None]:
    yield sql.LOCK, (person_line(knock.user_key),)
    yield sql.ADD_KNOCK, knock_row(knock)
    yield from write(
        replace(entry, door=knock.door, knock_id=knock.id, user_id=knock.user_id, after=knock.state.value)
    )
    yield from wake_for(knock)


def import_knocks(knocks: Sequence[Knock], entry: Entry) -> Steps[int]:
    """Add what is not there; should somebody knock meanwhile, the index of open knocks lets only one of both in."""
    yield sql.LOCK, ("import",)
    new = 0
    for knock in knocks:
        there = yield sql.HISTORY, (knock.user_key, knock.room_id, 0, 1)
        if there:
            continue
        new += 1
        yield sql.ADD_KNOCK, knock_row(knock)
        yield from write(
            replace(entry, door=knock.door, knock_id=knock.id, user_id=knock.user_id, after=knock.state.value)
        )
    return new
