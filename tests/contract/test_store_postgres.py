"""What only PostgreSQL can break: its locks, its connections, its restarts, its poolers and its news."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.contract.store_cases import (
    HOLD,
    NOW,
    REFUSE,
    anonymous,
    attempt,
    claimed,
    claimed_one,
    door,
    entry,
    kept,
    knocked,
    moved,
    person,
    rule,
)
from tests.kit.postgres import PASSWORD, PgBouncer, Postgres, newest, oldest
from tests.kit.processes import free_port, wait_until

from mknock.checks import decide
from mknock.domain.errors import StoreUnavailable
from mknock.domain.knocks import OPEN, Knock, KnockState
from mknock.ports import Pace, Store
from mknock.storage import postgres as postgres_store
from mknock.storage import postgres_connections, postgres_lines, sql
from mknock.storage.postgres import PostgresStore
from mknock.storage.postgres_connections import Transaction, place
from mknock.storage.rows import knock_row
from mknock.storage.sql_store import migrations

S = KnockState
KEY = "a secret key that is long enough"


@contextlib.asynccontextmanager
async def opened(url: str, **more: Any) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(url, secret_key=KEY, **more)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
def url(postgres: Postgres, database: str) -> str:
    """The address of an empty database."""
    return postgres.url(postgres.wipe(database))


@pytest.fixture
async def store(url: str) -> AsyncIterator[PostgresStore]:
    async with opened(url) as opened_store:
        yield opened_store


@pytest.fixture
async def other(url: str, store: PostgresStore) -> AsyncIterator[PostgresStore]:
    """The same store as another process has it."""
    async with opened(url) as opened_store:
        yield opened_store


@pytest.fixture
def behind_pgbouncer(old_postgres: Postgres, old_database: str, pgbouncer: PgBouncer) -> str:
    """The address of an empty database of the oldest server, through a pooler."""
    return pgbouncer.url(old_postgres.wipe(old_database))


# --- what a session is


@pytest.mark.promise(1)
@pytest.mark.parametrize("way", ["url", "behind_pgbouncer"])
async def test_every_commit_is_flushed_to_the_disk_whatever_the_server_would_do(
    request: pytest.FixtureRequest, postgres: Postgres, database: str, way: str
) -> None:
    address: str = request.getfixturevalue(way)
    postgres.sql(f"ALTER DATABASE {database} SET synchronous_commit = off")
    async with opened(address) as store, store._connections.transaction() as transaction:
        found = await transaction.rows("SELECT current_setting('synchronous_commit')", ())
    postgres.sql(f"ALTER DATABASE {database} RESET synchronous_commit")
    assert found[0][0] == "on"


@pytest.mark.parametrize(("way", "pooled"), [("url", False), ("behind_pgbouncer", True)])
async def test_a_pooler_is_noticed(request: pytest.FixtureRequest, way: str, pooled: bool) -> None:
    async with opened(request.getfixturevalue(way)) as store:
        assert store._connections.pooled is pooled


async def test_the_oldest_server_is_enough(old_postgres: Postgres, old_database: str) -> None:
    async with opened(old_postgres.url(old_postgres.wipe(old_database))) as store:
        assert (await knocked(store)).state is S.ADMITTED


async def test_no_more_connections_are_made_than_allowed(postgres: Postgres, database: str) -> None:
    address = postgres.url(postgres.wipe(database))
    async with opened(address, pool_size=3) as store:
        await asyncio.gather(*(store.put_secret(f"secret {n}", "value") for n in range(50)))
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        assert int(postgres.sql(sessions, database)) - 1 <= 3  # who asks is there as well


# --- what keeps it from opening


@pytest.mark.promise(10)
@pytest.mark.parametrize(
    ("user", "password", "name", "says"),
    [
        ("knock", "a wrong canary", "postgres", "refused the user or the password"),
        ("nobody-here", "a wrong canary", "postgres", "refused the user or the password"),
        ("knock", PASSWORD, "no_such_database", "has no such database"),
    ],
)
async def test_why_it_cannot_be_opened_is_said_in_one_sentence_without_the_password(
    postgres: Postgres, user: str, password: str, name: str, says: str
) -> None:
    address = postgres.url(name, user=user, password=password)
    with pytest.raises(StoreUnavailable, match=says) as refused:
        await PostgresStore(address).open()
    assert f"127.0.0.1:{postgres.port}" in str(refused.value)
    assert not [secret for secret in ("canary", PASSWORD, user + ":", "\n") if secret in str(refused.value)]


async def test_a_server_that_is_away_is_named() -> None:
    port = free_port()
    with pytest.raises(StoreUnavailable, match=f"PostgreSQL at 127.0.0.1:{port} cannot be reached"):
        await PostgresStore(f"postgresql://knock:canary@127.0.0.1:{port}/knock").open()


async def test_a_name_that_leads_nowhere_is_named() -> None:
    with pytest.raises(StoreUnavailable, match=r"PostgreSQL at db\.invalid cannot be reached"):
        await PostgresStore("postgresql://knock:canary@db.invalid/knock").open()


async def test_a_database_that_the_pooler_cannot_reach_is_no_traceback(pgbouncer: PgBouncer) -> None:
    with pytest.raises(StoreUnavailable, match=r"PostgreSQL at 127\.0\.0\.1"):
        await PostgresStore(pgbouncer.url("no_such_database")).open()


async def test_a_server_that_is_too_old_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_connections, "OLDEST", 99)
    with pytest.raises(StoreUnavailable, match=r"is version \d+, but Knock needs 99 or later"):
        await PostgresStore(url).open()


async def test_a_database_that_cannot_hold_every_language_is_refused(postgres: Postgres) -> None:
    postgres.sql("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(StoreUnavailable, match="encoding is LATIN1"):
        await PostgresStore(postgres.url("latin")).open()
    postgres.drop("latin")


async def test_a_user_who_may_not_make_tables_is_told_so(postgres: Postgres, url: str, database: str) -> None:
    postgres.sql("CREATE ROLE guest LOGIN PASSWORD 'guest'; GRANT USAGE ON SCHEMA public TO guest", database)
    guest = postgres.url(database, user="guest", password="guest")
    with pytest.raises(StoreUnavailable, match="make it the database's owner"):
        await PostgresStore(guest).open()
    postgres.sql("DROP OWNED BY guest; DROP ROLE guest", database)


@contextlib.contextmanager
def read_only(server: Postgres, database: str) -> Iterator[None]:
    """New sessions of this database cannot write, as on a standby."""
    server.sql(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    try:
        yield
    finally:
        server.sql(f"ALTER DATABASE {database} RESET default_transaction_read_only")


async def test_a_read_only_server_is_refused(postgres: Postgres, url: str, database: str) -> None:
    with (
        read_only(postgres, database),
        pytest.raises(StoreUnavailable, match="read-only: let STORE_URL name the primary"),
    ):
        await PostgresStore(url).open()


async def test_a_server_that_becomes_read_only_is_noticed_by_a_ping(
    postgres: Postgres, database: str, store: PostgresStore
) -> None:
    with read_only(postgres, database):
        await store._connections.renew()
        with pytest.raises(StoreUnavailable, match="read-only"):
            await store.ping()
        assert await store.rules() == []
        await store._connections.renew()
    await store.ping()


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://u:p@db.example:5432/knock", "db.example:5432"),
        ("postgresql://u:p@one:1,two:2/knock", "one:1,two:2"),
        ("postgresql://u:p@/knock?host=/run/postgresql", "/run/postgresql"),
        ("postgresql:///knock", "its usual place"),
    ],
)
def test_a_place_is_named_without_user_and_password(address: str, shown: str) -> None:
    assert place(address) == shown


# --- the schema


async def test_a_migration_is_applied_once(postgres: Postgres, url: str, database: str) -> None:
    for _ in range(3):
        async with opened(url):
            pass
    applied = postgres.sql("SELECT number FROM schema_version ORDER BY number", database).split()
    assert [int(number) for number in applied] == [number for number, _ in migrations()]


async def test_a_migration_that_fails_leaves_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = [(1, "CREATE TABLE a (b TEXT);\n"), (2, "CREATE TABLE a (b TEXT);\n")]
    monkeypatch.setattr(postgres_store, "migrations", lambda: broken)
    with pytest.raises(StoreUnavailable):
        await PostgresStore(url).open()
    monkeypatch.undo()
    async with opened(url) as store:
        assert (await knocked(store)).state is S.ADMITTED


@pytest.mark.parametrize("way", ["url", "behind_pgbouncer"])
async def test_many_may_make_the_schema_at_once(request: pytest.FixtureRequest, way: str) -> None:
    address: str = request.getfixturevalue(way)
    stores = [PostgresStore(address) for _ in range(8)]
    await asyncio.gather(*(each.open() for each in stores))
    assert (await knocked(stores[0])).state is S.ADMITTED
    for each in stores:
        await each.close()


async def test_texts_sort_by_their_bytes_whatever_the_databases_language(
    postgres: Postgres, database: str, store: PostgresStore
) -> None:
    foreign = (
        "SELECT count(*) FROM information_schema.columns WHERE data_type = 'text' AND table_schema = 'public'"
    )
    assert int(postgres.sql(foreign, database)) > 20
    assert postgres.sql(f"{foreign} AND collation_name IS DISTINCT FROM 'C'", database) == "0"


@pytest.mark.promise(2)
async def test_the_schema_itself_allows_one_open_knock_a_person_and_room(
    postgres: Postgres, database: str, store: PostgresStore
) -> None:
    knock = await knocked(store, "alice")
    second = replace(knock, id="01AAAAAAAAAAAAAAAAAAAAAAAA", state=S.HELD, due_at=None)
    connection = await asyncpg.connect(postgres.url(database))
    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.execute(sql.ADD_KNOCK, *knock_row(second))
    await connection.close()


# --- many at once


async def at_once(*acts: Awaitable[Any]) -> list[Any]:
    """Everything at once, within a time in which no deadlock would be noticed and no lock be waited out."""
    async with asyncio.timeout(30):
        return await asyncio.gather(*acts)


def deadlocks(server: Postgres, database: str) -> int:
    server.sql("SELECT pg_stat_force_next_flush()", database)
    return int(
        server.sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()", database)
    )


@pytest.mark.promise(2)
@pytest.mark.parametrize("who", [["alice"], ["alice", "bob", "carol"]], ids=["one person", "three people"])
async def test_nobody_waits_in_a_circle_at_one_door(
    postgres: Postgres, database: str, store: PostgresStore, other: PostgresStore, who: list[str]
) -> None:
    """64 callers in two processes; the senders are shared as well, in another order."""
    before = deadlocks(postgres, database)
    callers = [
        kept(each, anonymous(who[n % len(who)], NOW + n / 100, sender=f"sender {-n % 5}"))
        for n in range(32)
        for each in (store, other)
    ]
    results = await at_once(*callers)
    assert sum(not result.repeat for result in results) == len(who)
    assert deadlocks(postgres, database) == before


async def test_admitting_delivering_and_moderating_get_along(
    postgres: Postgres, database: str, store: PostgresStore, other: PostgresStore
) -> None:
    """Everything that takes more than one lock, on the same people, at once."""
    before = deadlocks(postgres, database)
    names = [f"p{n}" for n in range(8)]
    await asyncio.gather(*(knocked(store, name) for name in names))
    claims = (await claimed(store)).knocks

    async def deliver(each: PostgresStore) -> None:
        for claim in claims:
            await each.renew(list(claims), NOW + 100)
            await each.record(claim, moved(S.INVITED, due_at=NOW)(claim), [entry("deliver")])

    async def moderate(each: PostgresStore) -> None:
        for name in reversed(names):
            await each.block(rule(name), entry("block"))
            await each.unblock(person(name).key, entry("unblock"))

    async def knock_again(each: PostgresStore) -> None:
        await asyncio.gather(*(kept(each, attempt(name, NOW + 1)) for name in names * 4))

    both = (store, other)
    await at_once(*(act(each) for act in (deliver, moderate, knock_again) for each in both))
    assert deadlocks(postgres, database) == before


async def test_a_transaction_that_was_overtaken_is_run_again(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    troubles = iter([asyncpg.DeadlockDetectedError("a circle"), asyncpg.SerializationError("too late")])
    commit = Transaction.commit

    async def unlucky(transaction: Transaction) -> None:
        for trouble in troubles:
            raise trouble
        await commit(transaction)

    monkeypatch.setattr(Transaction, "commit", unlucky)
    knock = await knocked(store, "alice")
    assert await store.knock(knock.id) == knock
    assert len(await store.ledger()) == 1


async def test_a_transaction_that_is_overtaken_for_ever_is_given_up(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unlucky(_: Transaction) -> None:
        raise asyncpg.SerializationError("too late")

    monkeypatch.setattr(Transaction, "commit", unlucky)
    with pytest.raises(StoreUnavailable, match="too late"):
        await kept(store, attempt("alice"))
    monkeypatch.undo()
    assert await store.ledger() == []


async def test_a_moderators_change_waits_for_another_and_sees_it(
    store: PostgresStore, other: PostgresStore
) -> None:
    """Read without a lock, both would have found the knock held."""
    knock = await knocked(store, "alice", judge=HOLD)
    seen: list[KnockState] = []

    def admit(found: Knock) -> Knock:
        seen.append(found.state)
        return moved(S.ADMITTED)(found) if found.state is S.HELD else found

    await at_once(*(each.change(knock.id, admit, entry("approve")) for each in (store, other) * 5))
    assert (seen.count(S.HELD), len(await store.ledger())) == (1, 2)


async def test_claims_at_once_keep_the_pace(store: PostgresStore, other: PostgresStore) -> None:
    await asyncio.gather(*(knocked(store, None, NOW - 1) for _ in range(20)))
    found = await at_once(*(claimed(each, pace=Pace(2.0, burst=5)) for each in (store, other) * 4))
    assert sum(len(each.knocks) for each in found) == 5


async def test_a_claim_does_not_wait_for_a_knock_that_is_being_changed(
    store: PostgresStore, other: PostgresStore
) -> None:
    await knocked(store, "alice")
    free = await knocked(store, "bob")
    held = await store.knocks_of(person("alice").key)
    async with other._connections.transaction() as transaction:
        await transaction.rows(sql.KNOCK_TO_CHANGE, (held[0].id,))
        assert (await claimed_one(store)).id == free.id


async def test_a_process_that_hangs_in_a_transaction_does_not_hold_up_the_others_for_ever(
    store: PostgresStore, other: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(postgres_connections._SESSION, "idle_in_transaction_session_timeout", "200ms")
    await other._connections.close()
    await other._connections.open()
    with contextlib.suppress(StoreUnavailable):
        async with other._connections.transaction() as hanging:
            await hanging.lock({"door:main"})
            assert (await knocked(store)).state is S.ADMITTED


# --- what a stranger may send


@pytest.mark.parametrize("text", ["a\0b", "half of a pair: \ud83d"])
async def test_a_text_that_cannot_be_kept_stops_nobody_else_in_the_line(
    store: PostgresStore, text: str
) -> None:
    knocking = asyncio.gather(*(kept(store, attempt(name, trap=text)) for name in ("alice", "bob")))
    await store.write(entry(text))
    assert [result.knock.trapped for result in await knocking] == [True, True]
    assert len(await store.ledger()) == 3


# --- outages


@pytest.fixture
def fragile() -> Iterator[Postgres]:
    """A server of the test's own, that may be stopped."""
    with Postgres(newest()) as server:
        yield server


async def everything(store: Store) -> list[Any]:
    """What becomes of a method of each kind."""
    outcomes: tuple[Any, ...] = await asyncio.gather(
        store.admit(attempt(), decide),
        store.knocks_in(OPEN),
        store.claim(NOW, limit=1, lease=1.0),
        store.ping(),
        store.take_lease("lease", "holder", now=NOW, until=NOW),
        store.secret("name"),
        return_exceptions=True,
    )
    return list(outcomes)


@pytest.mark.promise(1)
@pytest.mark.promise(7)
@pytest.mark.parametrize("end", [Postgres.stop, Postgres.crash])
async def test_while_the_server_is_away_nothing_is_known_and_then_all_is_there_again(
    fragile: Postgres, end: Callable[[Postgres], None]
) -> None:
    async with opened(fragile.url()) as store:
        before = await knocked(store)
        await everything(store)
        end(fragile)
        assert {type(outcome) for outcome in await everything(store)} == {StoreUnavailable}
        fragile.start()
        assert not [outcome for outcome in await everything(store) if isinstance(outcome, Exception)]
        assert await store.knock(before.id)


@pytest.mark.promise(1)
async def test_what_is_acknowledged_while_the_server_crashes_is_on_record(fragile: Postgres) -> None:
    """Callers go on and on; the server is killed under them, and what they were told has come true."""
    acknowledged: list[str] = []
    async with opened(fragile.url()) as store:

        async def knock_on_and_on() -> None:
            with contextlib.suppress(StoreUnavailable):
                while True:
                    acknowledged.append((await knocked(store)).id)

        callers = [asyncio.create_task(knock_on_and_on()) for _ in range(16)]
        await wait_until(lambda: len(acknowledged) > 100)
        await asyncio.to_thread(fragile.crash)
        await asyncio.gather(*callers)
        fragile.start()
        on_record = {knock.id for knock in await store.knocks_in(OPEN, limit=10_000)}
    assert on_record >= set(acknowledged)


async def test_connections_that_died_in_silence_are_replaced(
    postgres: Postgres, database: str, store: PostgresStore
) -> None:
    await everything(store)
    ended = postgres.sql(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        database,
    )
    assert int(ended) > 1
    assert not [outcome for outcome in await everything(store) if isinstance(outcome, Exception)]


@contextlib.asynccontextmanager
async def locked(address: str) -> AsyncIterator[None]:
    """Somebody has the whole table to himself: nobody can even read it."""
    connection = await asyncpg.connect(address)
    async with connection.transaction():
        await connection.execute("LOCK TABLE knocks IN ACCESS EXCLUSIVE MODE")
        yield
    await connection.close()


@pytest.mark.promise(7)
@pytest.mark.parametrize("who_gives_up", ["we", "the server"])
async def test_whoever_waits_too_long_is_told_so_once(
    store: PostgresStore, url: str, monkeypatch: pytest.MonkeyPatch, who_gives_up: str
) -> None:
    """Nobody stands in line behind one who has waited in vain, to wait in vain as well."""
    if who_gives_up == "we":
        monkeypatch.setattr(postgres_connections, "ANSWER_WITHIN", 0.3)
    else:
        monkeypatch.setitem(postgres_connections._SESSION, "lock_timeout", "300ms")
    async with opened(url) as impatient:
        async with locked(url):
            began = time.monotonic()
            callers = (impatient.admit(attempt(), decide) for _ in range(30))
            outcomes = await asyncio.gather(impatient.knock("id"), *callers, return_exceptions=True)
            waited = time.monotonic() - began
        assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
        assert waited < 2
        assert (await knocked(impatient)).state is S.ADMITTED


@pytest.mark.promise(7)
async def test_a_connection_lost_while_committing_is_said_to_leave_it_open(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = Transaction.commit

    async def cut(transaction: Transaction) -> None:
        transaction._connection.terminate()
        await commit(transaction)

    monkeypatch.setattr(Transaction, "commit", cut)
    with pytest.raises(StoreUnavailable, match="not known whether"):
        await kept(store, attempt())


async def test_a_store_that_is_closed_does_not_wait_for_a_lock(
    store: PostgresStore, other: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_lines, "LAST_CALL", 0.1)
    async with other._connections.transaction() as transaction:
        await transaction.lock({"door:main"})
        waiting = asyncio.ensure_future(kept(store, attempt()))
        await asyncio.sleep(0.05)
        began = time.monotonic()
        await store.close()
        with pytest.raises(StoreUnavailable):
            await waiting
    assert time.monotonic() - began < 5


# --- news of work


class Ear:
    """Somebody who is woken, and notes when."""

    def __init__(self) -> None:
        self.woken_at: list[float] = []

    def __call__(self) -> None:
        self.woken_at.append(time.monotonic())

    async def listening(self) -> Ear:
        """Wait until the first waking, which tells that the listener has begun; forget it."""
        await wait_until(lambda: self.woken_at)
        self.woken_at.clear()
        return self

    async def heard_of(self, act: Awaitable[Any]) -> float:
        """How many seconds after the act the waking came."""
        await act
        began = time.monotonic()
        await wait_until(lambda: self.woken_at, every=0.002)
        return self.woken_at[0] - began


async def listening(store: PostgresStore) -> Ear:
    ear = Ear()
    store.on_work(ear)
    return await ear.listening()


async def approve(store: PostgresStore) -> None:
    knock = await knocked(store, judge=HOLD)
    await store.change(knock.id, moved(S.ADMITTED, due_at=NOW), entry("approve"))


@pytest.mark.parametrize("act", [knocked, approve], ids=["a knock", "an approval"])
async def test_another_process_hears_of_work_at_once(
    store: PostgresStore, other: PostgresStore, act: Callable[[PostgresStore], Awaitable[Any]]
) -> None:
    ear = await listening(other)
    assert await ear.heard_of(act(store)) < 0.2


async def test_nobody_is_woken_for_what_is_due_later(store: PostgresStore, other: PostgresStore) -> None:
    await knocked(store)
    ear = await listening(other)
    claim = await claimed_one(store)
    await store.record(claim, moved(S.INVITED, NOW, due_at=NOW + 86400)(claim), [entry("deliver")])
    await asyncio.sleep(0.1)
    assert ear.woken_at == []


async def test_the_listener_connects_anew(
    postgres: Postgres, database: str, store: PostgresStore, other: PostgresStore
) -> None:
    """And wakes when it has, for nobody knows what happened in between."""
    ear = await listening(other)
    postgres.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
        " AND datname = current_database()",
        database,
    )
    await ear.listening()
    assert await ear.heard_of(knocked(store)) < 0.2


async def test_who_begins_to_listen_before_the_store_is_open_hears_as_well(
    url: str, store: PostgresStore
) -> None:
    early, ear = PostgresStore(url), Ear()
    early.on_work(ear)
    await early.open()
    await ear.listening()
    assert await ear.heard_of(knocked(store)) < 0.2
    await early.close()


async def test_behind_a_pooler_the_news_come_by_an_address_past_it(
    behind_pgbouncer: str, old_postgres: Postgres, old_database: str
) -> None:
    async with (
        opened(behind_pgbouncer) as store,
        opened(behind_pgbouncer, notify_url=old_postgres.url(old_database)) as other,
    ):
        ear = await listening(other)
        assert await ear.heard_of(knocked(store)) < 0.2


async def test_behind_a_pooler_without_such_an_address_nobody_listens(behind_pgbouncer: str) -> None:
    async with opened(behind_pgbouncer) as store:
        store.on_work(Ear())
        assert store._listener is None


@pytest.mark.parametrize("notify", ["the pooler again", "nothing there"])
async def test_an_address_that_brings_no_news_does_no_harm(behind_pgbouncer: str, notify: str) -> None:
    nowhere = f"postgresql://knock:canary@127.0.0.1:{free_port()}/knock"
    notify_url = behind_pgbouncer if notify == "the pooler again" else nowhere
    async with opened(behind_pgbouncer, notify_url=notify_url) as store:
        store.on_work(Ear())
        await asyncio.sleep(0.1)
        assert (await knocked(store)).state is S.ADMITTED


# --- what an outsider could measure


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


# --- the tests' own servers


def test_the_newest_and_the_oldest_server_are_tested(postgres: Postgres, old_postgres: Postgres) -> None:
    versions = [server.sql("SHOW server_version").split(".")[0] for server in (postgres, old_postgres)]
    assert versions == ["18", "15"]


def test_the_oldest_server_is_not_the_machines_own(old_postgres: Postgres) -> None:
    assert oldest() is not None
    assert Path(old_postgres.sql("SHOW data_directory")).parent == old_postgres.folder


# What a power failure would take


@pytest.mark.promise(1)
async def test_a_server_that_does_not_flush_is_named(postgres: Postgres, store: PostgresStore) -> None:
    assert postgres.sql("SHOW fsync") == "off"
    assert "fsync is off" in await store.durability_problem()


@pytest.mark.promise(1)
async def test_a_server_as_it_comes_is_good_enough() -> None:
    with Postgres(newest()) as server:
        for statement in ("ALTER SYSTEM SET fsync = on", "ALTER SYSTEM SET full_page_writes = on"):
            server.sql(statement)
        server.sql("SELECT pg_reload_conf()")
        async with opened(server.url()) as store:
            await wait_until(lambda: is_durable(store), within=5.0)


async def is_durable(store: PostgresStore) -> bool:
    return await store.durability_problem() == ""
