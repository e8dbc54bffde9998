"""What only the SQLite store can break: its file, its locks, its plans and its group commit."""

from __future__ import annotations

import asyncio
import contextlib
import re
import resource
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.contract.store_cases import (
    HOLD,
    NOW,
    REFUSE,
    WINDOW,
    anonymous,
    attempt,
    claimed,
    door,
    entry,
    kept,
    knocked,
    moved,
    rule,
)

from mknock.checks import decide
from mknock.domain.errors import StoreUnavailable
from mknock.domain.knocks import OPEN, Answer, KnockState
from mknock.domain.raids import Cause, Raid
from mknock.ports import Pace
from mknock.storage import sql_store, sqlite
from mknock.storage.rows import knock_row
from mknock.storage.sqlite import SqliteStore

S = KnockState


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "knock.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(path)
    await opened.open()
    yield opened
    await opened.close()


def writer(store: SqliteStore) -> sqlite3.Connection:
    connection = store._writer
    assert connection is not None
    return connection


# --- the file


def modes(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}


def content(*paths: Path) -> bytes:
    return b"".join(path.read_bytes() for path in paths)


def made(path: Path, written: bytes, mode: int = 0o600) -> bytes:
    """Put a file where the store will be; return what is in it."""
    path.parent.mkdir()
    path.write_bytes(written)
    path.chmod(mode)
    return written


@pytest.mark.promise(10)
async def test_nobody_else_can_read_the_files(store: SqliteStore, path: Path) -> None:
    await knocked(store)
    assert modes(path.parent) == dict.fromkeys(
        ["knock.db", "knock.db-wal", "knock.db-shm", "knock.lock"], 0o600
    )


@pytest.mark.promise(10)
async def test_a_file_that_others_could_read_is_closed_to_them(path: Path) -> None:
    made(path, b"", mode=0o644)
    store = SqliteStore(path)
    await store.open()
    await store.close()
    assert modes(path.parent)["knock.db"] == 0o600


@pytest.mark.promise(10)
async def test_a_secret_is_nowhere_in_the_files(path: Path) -> None:
    canary = "syt_canary_token"
    store = SqliteStore(path, secret_key="a long enough key")
    await store.open()
    await store.put_secret("token", canary)
    await store.settle_secret("api-key", canary)
    written = content(*path.parent.iterdir())
    await store.close()
    assert b"api-key" in written
    assert canary.encode() not in written


@pytest.mark.promise(1)
async def test_every_commit_is_flushed_to_the_disk(store: SqliteStore) -> None:
    settings = [
        writer(store).execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "journal_mode")
    ]
    assert settings == [2, "wal"]


async def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match=r"knock\.db cannot be opened in DATA_DIR"):
        await SqliteStore(tmp_path / "file" / "knock.db").open()


async def test_a_file_that_is_no_database_is_not_touched(path: Path) -> None:
    diary = made(path, b"Dear diary, " * 1000)
    with pytest.raises(StoreUnavailable, match="not a database"):
        await SqliteStore(path).open()
    assert content(path) == diary


async def test_a_migration_is_applied_once(path: Path) -> None:
    for _ in range(3):
        store = SqliteStore(path)
        await store.open()
        await store.close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        applied = [row[0] for row in connection.execute("SELECT number FROM schema_version ORDER BY number")]
    assert applied == [number for number, _ in sql_store.migrations()]


async def test_a_migration_that_fails_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sqlite, "migrations", lambda: [(1, "CREATE TABLE a (b TEXT);\nCREATE TABLE a (b TEXT);\n")]
    )
    with pytest.raises(StoreUnavailable):
        await SqliteStore(path).open()
    monkeypatch.undo()
    store = SqliteStore(path)
    await store.open()
    assert (await knocked(store)).state is S.ADMITTED
    await store.close()


@pytest.mark.promise(2)
async def test_the_schema_itself_allows_one_open_knock_a_person_and_room(store: SqliteStore) -> None:
    """Should ever two admissions overlook each other, the second fails rather than invites twice."""
    knock = await knocked(store, "alice")
    second = replace(knock, id="01AAAAAAAAAAAAAAAAAAAAAAAA", state=S.HELD, due_at=None)
    row = knock_row(second)
    with pytest.raises(sqlite3.IntegrityError):
        writer(store).execute(f"INSERT INTO knocks VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608


# --- what goes wrong with a disk


@contextlib.contextmanager
def disk_full_at_the_first_statement(store: SqliteStore) -> Iterator[None]:
    connection = writer(store)
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    yield
    connection.execute("PRAGMA max_page_count = 1073741823")


@contextlib.contextmanager
def disk_full_at_the_commit(store: SqliteStore) -> Iterator[None]:
    """Nothing of this process may grow beyond what the log has now; statements are in memory until the commit."""
    size = Path(f"{store._path}-wal").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def read_only(store: SqliteStore) -> Iterator[None]:
    writer(store).execute("PRAGMA query_only = ON")
    yield
    writer(store).execute("PRAGMA query_only = OFF")


@contextlib.contextmanager
def locked_for_too_long(store: SqliteStore) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(store._path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        yield


Trouble = Callable[[SqliteStore], contextlib.AbstractContextManager[None]]
TROUBLES: list[Trouble] = [
    disk_full_at_the_first_statement,
    disk_full_at_the_commit,
    read_only,
    locked_for_too_long,
]


@pytest.fixture
async def impatient(path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SqliteStore]:
    """A store that does not wait long for a lock."""
    monkeypatch.setattr(sqlite, "LOCK_WAIT", 0.05)
    opened = SqliteStore(path)
    await opened.open()
    await knocked(opened, "before")
    yield opened
    await opened.close()


LONG = (Answer("Why?", "because " * 4000),)


@pytest.mark.promise(1)
@pytest.mark.parametrize("trouble", TROUBLES)
async def test_what_cannot_be_written_is_not_acknowledged_and_changes_nothing(
    impatient: SqliteStore, trouble: Trouble
) -> None:
    with trouble(impatient):
        results = await asyncio.gather(
            *(impatient.admit(attempt(f"p{n}", answers=LONG), decide) for n in range(20)),
            return_exceptions=True,
        )
    assert {type(result) for result in results} == {StoreUnavailable}
    assert [knock.user_id for knock in await impatient.knocks_in(OPEN)] == ["@before:example.org"]
    assert len(await impatient.ledger()) == 1


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_once_the_trouble_is_over_the_store_works_again(
    impatient: SqliteStore, trouble: Trouble
) -> None:
    with trouble(impatient), pytest.raises(StoreUnavailable):
        await impatient.admit(attempt(answers=LONG), decide)
    assert (await knocked(impatient)).state is S.ADMITTED


@pytest.mark.parametrize("trouble", TROUBLES[1:])  # a ping takes no room of its own before the commit
async def test_a_ping_notices_the_trouble(impatient: SqliteStore, trouble: Trouble) -> None:
    with trouble(impatient), pytest.raises(StoreUnavailable):
        await impatient.ping()


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_reading_goes_on_while_nothing_can_be_written(impatient: SqliteStore, trouble: Trouble) -> None:
    with trouble(impatient):
        assert len(await impatient.knocks_in(OPEN)) == 1


async def test_a_lock_that_is_given_back_in_time_does_no_harm(store: SqliteStore) -> None:
    with locked_for_too_long(store):
        waiting = asyncio.ensure_future(kept(store, attempt()))
        await asyncio.sleep(0.05)
        assert not waiting.done()
    assert (await waiting).knock.state is S.ADMITTED


async def test_a_store_that_is_closed_does_not_wait_for_a_lock(store: SqliteStore) -> None:
    loop = asyncio.get_running_loop()
    with locked_for_too_long(store):
        waiting = asyncio.ensure_future(store.ping())
        await asyncio.sleep(0)
        began = loop.time()
        await store.close()
        with pytest.raises(StoreUnavailable):
            await waiting
    assert loop.time() - began < sqlite.LOCK_WAIT / 2


# --- what an outsider could measure


def shape(statement: str) -> str:
    """A statement without its parameters."""
    return re.sub(r"'(?:[^']|'')*'|\bNULL\b|\b\d[\d.e+]*\b", "?", statement)


async def statements(store: SqliteStore, acting: Callable[[], Awaitable[Any]]) -> list[str]:
    """The shapes of the statements that run while something is done."""
    seen: list[str] = []
    writer(store).set_trace_callback(lambda statement: seen.append(shape(statement)))
    await acting()
    writer(store).set_trace_callback(None)
    return seen


def knocking(case: str, *, trusted: bool, **more: Any) -> Callable[[SqliteStore], Awaitable[Any]]:
    """What is measured: the knock of the person whom the case is about; without trust, at Knock's own page."""
    event = "e1" if trusted else ""
    chosen = attempt(case, NOW + 7200, trusted=trusted, sender="home", event=event, **more)
    if not trusted:
        chosen = replace(chosen, submission=replace(chosen.submission, receipt=f"receipt of {case}"))
    return lambda store: kept(store, chosen)


async def prepare(store: SqliteStore, case: str) -> dict[str, Any]:
    """Bring about the case; return how its knock differs."""
    match case:
        case "blocked":
            await store.block(rule("blocked"), entry("block"))
        case "refused before":
            await knocked(store, case, judge=REFUSE)
        case "declined before" | "a member":
            knock = await knocked(store, case)
            await store.change(knock.id, moved(S.INVITED, invited_at=NOW), entry("invite"))
            state = S.JOINED if case == "a member" else S.DECLINED
            await store.change(knock.id, moved(state), entry("answer"))
        case "invited elsewhere":
            await knocked(store, case, through=door("other", room="!other"))
        case "a wave":
            return {"through": door(door=0)}
        case "honeypot":
            return {"trap": "http://spam.example"}
        case "a raid":
            await store.start_raid(raid())
        case "honeypot in a raid":
            await store.start_raid(raid())
            return {"trap": "http://spam.example"}
    return {}


def raid() -> Raid:
    return Raid(id="01R", door="main", cause=Cause.MODERATOR, started_at=NOW, started_by="cli")


CASES = [
    "blocked",
    "refused before",
    "declined before",
    "a member",
    "invited elsewhere",
    "a wave",
    "honeypot",
    "a raid",
    "honeypot in a raid",
]


@pytest.mark.promise(6)
@pytest.mark.parametrize("trusted", [True, False], ids=["vouched for", "anonymous"])
@pytest.mark.parametrize("case", CASES)
async def test_the_same_statements_run_whatever_the_decision(
    store: SqliteStore, case: str, trusted: bool
) -> None:
    admitted = await statements(store, lambda: knocking("nobody special", trusted=trusted)(store))
    more = await prepare(store, case)
    assert await statements(store, lambda: knocking(case, trusted=trusted, **more)(store)) == admitted


@pytest.mark.promise(6)
@pytest.mark.parametrize("trusted", [True, False], ids=["vouched for", "anonymous"])
async def test_the_same_statements_run_for_every_repeat(store: SqliteStore, trusted: bool) -> None:
    repeats = []
    for name, judge in (("admitted", decide), ("held", HOLD), ("refused", REFUSE)):
        await knocked(store, name, NOW + 7100, judge=judge)
        repeats.append(await statements(store, lambda name=name: knocking(name, trusted=trusted)(store)))  # type: ignore[misc]
    assert repeats[0] == repeats[1] == repeats[2]


# --- what a store costs that holds much

MANY = 20_000
"""More change nothing but the time that the test takes; the benchmark has a million."""


def fill(path: Path) -> None:
    """Multiply what is on record: settled knocks of as many people, ledger lines, events, counters that ran out."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for table in ("knocks", "ledger", "events", "counters"):
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            connection.execute(
                f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY})"  # noqa: S608
                f" INSERT INTO {table} SELECT {', '.join(map(_copied, columns))}"
                f" FROM n, (SELECT * FROM {table} LIMIT 1)"
            )


def _copied(column: str) -> str:
    """The column's value in the copies."""
    other = {"state": "'joined'", "due_at": "NULL", "user_id": "printf('@n%d:example.org', i)"}
    other |= dict.fromkeys(("id", "name", "knock_id"), "printf('00%024d', i)")
    return {**other, "user_key": other["user_id"]}.get(column, column)


async def everyday(store: SqliteStore) -> None:
    """All that happens while knocks come in and are delivered."""
    narrow = door(sender=1)
    await knocked(store, "alice", NOW, event="e1")
    await knocked(store, "alice", NOW, event="e1")
    await knocked(store, "alice", NOW, event="e2")
    await kept(store, anonymous("bob", NOW, through=narrow))
    await store.admit(anonymous("bob", NOW, through=narrow), decide)
    await knocked(store, "carol", NOW, trap="x", sender="home")
    claim = await claimed_one_of_two(store)
    await store.renew([claim], NOW + 100)
    await store.record(claim, moved(S.INVITED)(claim), [entry("deliver")])
    (late,) = (await claimed(store, NOW + 1000, pace=Pace(1.0))).knocks
    await store.put_back(late, due_at=NOW + 2000)
    await store.tidy(NOW + WINDOW)


async def claimed_one_of_two(store: SqliteStore) -> Any:
    found = await claimed(store, NOW + 1, limit=1)
    return found.knocks[0]


async def test_no_everyday_statement_reads_a_whole_table(store: SqliteStore) -> None:
    seen: list[str] = []
    writer(store).set_trace_callback(seen.append)
    await everyday(store)
    writer(store).set_trace_callback(None)
    asked = {
        shape(text): text
        for text in seen
        if text.startswith(("SELECT", "INSERT", "UPDATE", "DELETE", "WITH"))
    }
    plans = [row[3] for text in asked.values() for row in writer(store).execute(f"EXPLAIN QUERY PLAN {text}")]
    assert len(asked) > 15
    assert [
        plan for plan in plans if re.match(r"SCAN (knocks|events|counters|ledger|backoffs|rules)\b", plan)
    ] == []


async def instructions(store: SqliteStore, acting: Callable[[], Awaitable[Any]]) -> int:
    """How many instructions of SQLite's machine it takes, in tens: the same every time, on any computer."""
    count = 0

    def tick() -> None:
        nonlocal count
        count += 1

    writer(store).set_progress_handler(tick, 10)
    await acting()
    writer(store).set_progress_handler(None, 0)
    return count


async def test_a_knock_costs_the_same_with_many_on_record(store: SqliteStore, path: Path) -> None:
    async def cost() -> int:
        return await instructions(store, lambda: everyday_knock(store))

    await knocked(store, event="e0")
    few = await cost()
    fill(path)
    assert len(await store.knocks_in(frozenset({S.JOINED}), limit=10)) == 10
    assert await cost() <= 1.1 * few


async def everyday_knock(store: SqliteStore) -> None:
    for _ in range(10):
        await knocked(store, None, NOW + WINDOW, event="e9", sender="home")
    await claimed(store, NOW + WINDOW, limit=5)


# What a power failure would take


@pytest.mark.promise(1)
@pytest.mark.parametrize(
    ("kind", "says"),
    [("ext4", ""), ("", ""), ("tmpfs", "DATA_DIR is in memory"), ("nfs4", "DATA_DIR is on a network")],
)
async def test_a_folder_that_keeps_nothing_for_long_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, says: str
) -> None:
    monkeypatch.setattr("mknock.storage.sqlite.file_system_of", lambda _: kind)
    problem = await SqliteStore(tmp_path / "knock.db").durability_problem()

    assert (problem.startswith(says), bool(problem)) == (True, bool(says))
