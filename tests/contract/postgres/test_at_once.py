"""Many at once: locks, lines and claims."""

from __future__ import annotations

import asyncio
import contextlib

import asyncpg
import pytest
from tests.contract.postgres.cases import at_once
from tests.contract.store_cases import (
    HOLD,
    NOW,
    anonymous,
    attempt,
    claimed,
    claimed_one,
    entry,
    kept,
    knocked,
    moved,
    person,
    rule,
)
from tests.kit.postgres import Postgres

from mknock.domain.errors import StoreUnavailable
from mknock.domain.knocks import Knock, KnockState
from mknock.ports import Pace
from mknock.storage import postgres_connections, sql
from mknock.storage.postgres import PostgresStore
from mknock.storage.postgres_connections import Transaction

S = KnockState


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
