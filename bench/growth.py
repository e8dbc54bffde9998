"""Does a knock cost more with a million on record?"""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import time
from pathlib import Path
from statistics import median

from mknock.checks import decide
from mknock.domain.chance import new_id
from mknock.domain.doors import Alarm, Door, Limits
from mknock.domain.ids import MatrixID
from mknock.domain.knocks import Submission
from mknock.ports import Attempt
from mknock.storage.sqlite import SqliteStore

RECORDED = 1_000_000
UNLIMITED = Limits(door=10**9, homeserver=10**9, sender=10**9)
DOOR = Door("main", "!benchmark", limits=UNLIMITED, alarm=Alarm(arrivals=0, alike=0))
_numbers = itertools.count()


async def growth(folder: Path) -> dict[str, float]:
    """Time admissions into an empty store and into one with a million knocks, in turn."""
    small, large = SqliteStore(folder / "small.db"), SqliteStore(folder / "large.db")
    for store in (small, large):
        await store.open()
        await _rate(store, 50)
    _fill(folder / "large.db")
    pairs = [(await _rate(small, 2000), await _rate(large, 2000)) for _ in range(5)]
    ratio = median(few / many for few, many in pairs)
    print(
        f"admissions: {median(p[0] for p in pairs):.0f} /s empty, {median(p[1] for p in pairs):.0f} /s with 1 M"
    )
    print(f"cost with {RECORDED:,} knocks on record: {ratio:.2f} x")
    for store in (small, large):
        await store.close()
    return {"cost_with_1m": round(ratio, 3)}


async def _rate(store: SqliteStore, count: int) -> float:
    async def lane(people: int) -> None:
        for _ in range(people):
            await store.admit(_attempt(), decide)

    began = time.perf_counter()
    await asyncio.gather(*(lane(count // 32) for _ in range(32)))
    return (count // 32 * 32) / (time.perf_counter() - began)


def _attempt() -> Attempt:
    now, user = time.time(), MatrixID(f"somebody{next(_numbers)}", "example.org")
    return Attempt(new_id(now), DOOR, user, Submission("bench", user), now, trusted=True)


def _fill(path: Path) -> None:
    """Multiply one knock, with its ledger line and event, into a million settled ones."""
    with sqlite3.connect(path) as connection:
        for table in ("knocks", "ledger", "events"):
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            connection.execute(
                f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {RECORDED})"  # noqa: S608
                f" INSERT INTO {table} SELECT {', '.join(map(_copied, columns))}"
                f" FROM n, (SELECT * FROM {table} LIMIT 1)"
            )
    connection.close()


def _copied(column: str) -> str:
    match column:
        case "id" | "name":
            return "printf('00%024d', i)"
        case "user_id" | "user_key":
            return "printf('@person%d:example.org', i)"
        case "knock_id":
            return "printf('00%024d', i)"
        case "state":
            return "'joined'"
        case "due_at":
            return "NULL"
        case _:
            return column
