"""What processes share: secrets, leases, and forgetting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mknock.storage import sql
from mknock.storage.transactions.steps import Rows, Steps


def settle_secret(name: str, value: str, expires_at: float | None) -> Steps[str]:
    rows: Rows = []
    while not rows:  # it may be dropped between the two
        yield sql.ADD_SECRET, (name, value, expires_at)
        rows = yield sql.SECRET, (name,)
    return str(rows[0][0])


def put_secrets(rows: Sequence[tuple[Any, ...]], fence: str, seen: str) -> Steps[bool]:
    mine = yield sql.COUNT_UP, (fence, seen, str(int(seen or 0) + 1))
    if not mine:
        return False
    for row in rows:
        yield sql.PUT_SECRET, row
    return True


def take_lease(name: str, holder: str, now: float, until: float) -> Steps[bool]:
    rows = yield sql.TAKE_LEASE, (name, holder, until, now)
    return bool(rows)


def tidy(now: float, limit: int) -> Steps[int]:
    """Forget what has run out, at most ``limit`` of each kind; return how much."""
    gone = 0
    for statement in sql.TIDY:
        gone += len((yield statement, (now, limit)))
    return gone
