"""Which statements run: the same whatever is decided, and none that reads a whole table."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
from tests.contract.store_cases import (
    HOLD,
    REFUSE,
    attempt,
    door,
    entry,
    kept,
    knocked,
    rule,
)

from mknock.checks import decide
from mknock.domain.knocks import KnockState
from mknock.storage import sql
from mknock.storage.postgres import PostgresStore
from mknock.storage.postgres_connections import Transaction

S = KnockState


@contextlib.contextmanager
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The statements that transactions run meanwhile, and their ends."""
    seen: list[str] = []
    rows, commit = Transaction.rows, Transaction.commit

    async def noted_rows(transaction: Transaction, statement: str, parameters: Any) -> list[Any]:
        seen.append(statement)
        return await rows(transaction, statement, parameters)

    async def noted_commit(transaction: Transaction) -> None:
        seen.append(f"commit, waking: {transaction._wakes}")
        await commit(transaction)

    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "rows", noted_rows)
        patch.setattr(Transaction, "commit", noted_commit)
        yield seen


@pytest.mark.promise(6)
@pytest.mark.parametrize("trusted", [True, False], ids=["vouched for", "anonymous"])
async def test_the_same_statements_run_whatever_the_decision(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch, trusted: bool
) -> None:
    await store.block(rule("blocked"), entry("block"))
    runs = []
    for name, judge, through in (
        ("admitted", decide, door()),
        ("held", HOLD, door()),
        ("refused", REFUSE, door()),
        ("blocked", decide, door()),
        ("wave", decide, door(door=0)),
    ):
        with recorded(monkeypatch) as seen:
            knocking = attempt(name, trusted=trusted, sender="home", event="e" * trusted, through=through)
            await kept(store, knocking, judge)
        runs.append(seen)
    assert all(run == runs[0] for run in runs[1:])
    assert len(runs[0]) > 6


# --- what a store costs that holds much


async def test_no_everyday_statement_reads_a_whole_table(store: PostgresStore, url: str) -> None:
    """With 20,000 knocks on record, people settled, and every plan asked for as PostgreSQL would make it."""
    await knocked(store, "alice", event="e0", sender="home")
    connection = await asyncpg.connect(url)
    await fill(connection)
    plans = [await plan(connection, statement) for statement in EVERYDAY]
    await connection.close()
    assert [
        found for found in plans if re.search(r"Seq Scan on (knocks|events|ledger|counters)", found)
    ] == []


EVERYDAY = (
    sql.KNOWN,
    sql.HISTORY,
    sql.OF_PERSON,
    *(sql.claim(queue) for queue in sql.NEXT_DUE),
    *sql.NEXT_DUE.values(),
    sql.KNOCK_TO_CHANGE,
    sql.LEDGER_OF_KNOCK,
    sql.knocks_in(frozenset({S.HELD})),
    sql.COUNTS,
    sql.WAVE,
    sql.WAVE_COUNTS,
    sql.UNTOLD_RAIDS,
)


async def plan(connection: Any, statement: str) -> str:
    """How PostgreSQL would run a statement for values it does not know."""
    async with connection.transaction():
        await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        places = len(set(re.findall(r"\$\d+", statement)))
        given = f"({', '.join(['NULL'] * places)})" if places else ""
        await connection.execute(f"PREPARE asked AS {statement}")
        rows = await connection.fetch(f"EXPLAIN EXECUTE asked{given}")
        await connection.execute("DEALLOCATE asked")
    return "\n".join(row[0] for row in rows)


MANY = 20_000


async def fill(connection: Any) -> None:
    """Multiply what is on record."""
    for table in ("knocks", "ledger", "events", "counters"):
        columns = await connection.fetch(
            "SELECT column_name FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position",
            table,
        )
        values = ", ".join(_copied(row["column_name"]) for row in columns)
        await connection.execute(
            f"INSERT INTO {table} SELECT {values} FROM generate_series(1, {MANY}) AS n,"  # noqa: S608
            f" (SELECT * FROM {table} LIMIT 1) AS one"
        )
    await connection.execute("ANALYZE")


def _copied(column: str) -> str:
    """The column's value in the copies."""
    number = "'00' || lpad(n::text, 24, '0')"
    other = {"state": "'refused'", "due_at": "NULL", "user_key": "'@n' || n || ':example.org'"}
    return {**other, **dict.fromkeys(("id", "name", "knock_id"), number)}.get(column, f'"{column}"')
