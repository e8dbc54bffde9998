"""What a transaction is made of, and the steps that several have in common."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any, TypeVar

from mknock.domain.chance import new_ids
from mknock.domain.knocks import Knock
from mknock.ports import (
    Entry,
)
from mknock.storage import sql
from mknock.storage.rows import Row, entry_row

T = TypeVar("T")
Step = tuple[str, tuple[Any, ...]]
Rows = list[Row]
Steps = Generator[Step, Rows, T]


def one(statement: str, *parameters: Any) -> Steps[Rows]:
    """A transaction of one statement."""
    return (yield statement, parameters)


def write(*entries: Entry) -> Steps[None]:
    """Write ledger lines that stay in this order."""
    if entries:
        for entry_id, entry in zip(new_ids(entries[0].at, len(entries)), entries, strict=True):
            yield sql.ADD_ENTRY, entry_row(entry_id, entry)


def person_line(user_key: str) -> str:
    return f"person:{user_key}"


def write_knock(before: Knock, after: Knock, *, fence: int) -> Step:
    return sql.WRITE_KNOCK, (
        before.id,
        before.fence,
        after.user_id,
        after.state.value,
        after.reason.value,
        after.detail,
        after.rule,
        after.updated_at,
        after.due_at,
        after.attempts,
        after.invited_at,
        after.joined_at,
        after.welcomed_at,
        fence,
        after.expires_at,
        after.reminders,
        int(after.knocking),
    )


def wake_for(after: Knock) -> Generator[Step, Rows, None]:
    """Tell the other processes of a knock that is due as soon as it is written; what is due later, they find."""
    if after.due_at is not None and after.due_at <= after.updated_at:
        yield sql.WAKE, ()


def changed(before: Knock, after: Knock, entry: Entry) -> Entry:
    return replace(
        entry,
        door=before.door,
        knock_id=before.id,
        user_id=before.user_id,
        reason=entry.reason or after.reason.value,
        before=before.state.value,
        after=after.state.value,
    )
