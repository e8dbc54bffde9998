"""What holds for a store after any sequence of everyday operations, by whichever of two processes."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contract.store_cases import LEASE, NOW, attempt, door, entry, moved, rule

from mknock.checks import decide
from mknock.domain.errors import IllegalMove
from mknock.domain.knocks import MOVES, OPEN, Knock, KnockState, Reason, stopped
from mknock.ports import Entry, Kept, Store
from mknock.storage.sqlite import SqliteStore

S = KnockState
PEOPLE = ("alice", "bob", "mallory")
DOORS = (
    door(sender=6, door=9, cooldown=100.0),
    door("side", cooldown=0.0),
    door("other", room="!other:example.org", cooldown=100.0),
)
PAUSES = (0.002, 1.0, LEASE + 1, 70.0, 101.0)


@dataclass
class World:
    """Two processes on one store, what they hold, and what they were told."""

    stores: tuple[Store, Store]
    now: float = NOW
    claims: list[Knock] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)

    def store(self, number: int) -> Store:
        return self.stores[number % 2]

    async def knock(self, number: int) -> None:
        """Somebody knocks: the number says who, where and how."""
        knocking = attempt(
            PEOPLE[number % 3],
            self.now,
            through=DOORS[number // 3 % 3],
            trap="x" if number % 7 == 0 else "",
            event=f"e{number % 5}" if number % 2 else "",
            trusted=number % 4 != 0,
            sender=f"s{number % 2}",
            proven=number % 11 == 0,
        )
        result = await self.store(number).admit(knocking, decide)
        if isinstance(result, Kept):
            assert result.repeat is (result.knock.id in self.ids)
            self.ids.add(result.knock.id)

    async def claim(self, number: int) -> None:
        found = await self.store(number).claim(self.now, limit=2, lease=LEASE)
        self.claims += found.knocks

    async def deliver(self, number: int) -> None:
        """A worker records what became of a claim, which may have lapsed long ago."""
        claim = self._claim(number)
        if claim is None:
            return
        after = _delivered(claim, number, self.now)
        await self.store(number).record(claim, after, [_line(claim, after, self.now)])

    async def put_back(self, number: int) -> None:
        claim = self._claim(number)
        if claim is not None:
            await self.store(number).put_back(claim, due_at=self.now + 5)

    async def renew(self, number: int) -> None:
        await self.store(number).renew(self.claims, self.now + LEASE)

    async def block(self, number: int) -> None:
        await self.store(number).block(rule(PEOPLE[number % 3], self.now), entry("block", self.now))

    async def unblock(self, number: int) -> None:
        await self.store(number).unblock(rule(PEOPLE[number % 3]).key, entry("unblock", self.now))

    async def moderate(self, number: int) -> None:
        """A moderator, or the room, moves some knock somewhere: allowed or not."""
        knock_id = _one_of(sorted(self.ids), number // 12)
        if knock_id is None:
            return
        state = list(S)[number % 12]
        due_at = self.now if state is S.ADMITTED else None
        with contextlib.suppress(IllegalMove):
            how = moved(state, self.now, due_at=due_at, reason=Reason.MODERATOR)
            await self.store(number).change(knock_id, how, entry("moderate", self.now))

    async def rescind(self, number: int) -> None:
        knock_id = _one_of(sorted(self.ids), number)
        if knock_id is not None:
            await self.store(number).change(
                knock_id,
                lambda knock: stopped(knock, at=self.now, reason=Reason.MODERATOR),
                entry("rescind", self.now),
            )

    async def tidy(self, number: int) -> None:
        await self.store(number).tidy(self.now)

    def _claim(self, number: int) -> Knock | None:
        return self.claims.pop(number % len(self.claims)) if self.claims else None


def _one_of(ids: list[str], number: int) -> str | None:
    return ids[number % len(ids)] if ids else None


def _delivered(claim: Knock, number: int, now: float) -> Knock:
    if claim.state in (S.REFUSED, S.RESCINDED):
        return replace(claim, due_at=None)
    if claim.state is S.INVITED:
        return claim.moved_to(S.RESCINDED, at=now, due_at=None)
    state = (S.INVITED, S.FAILED, S.ALREADY_MEMBER, S.INVITED)[number % 4]
    return claim.moved_to(state, at=now, due_at=None, reason=Reason.INVITED)


def _line(before: Knock, after: Knock, now: float) -> Entry:
    states = {"before": before.state.value, "after": after.state.value}
    return entry("deliver", now, knock_id=before.id, user_id=before.user_id, **states)


OPERATIONS: list[Callable[[World, int], Awaitable[None]]] = [
    World.knock,
    World.knock,
    World.claim,
    World.deliver,
    World.put_back,
    World.renew,
    World.block,
    World.unblock,
    World.moderate,
    World.rescind,
    World.tidy,
]
Step = tuple[Callable[[World, int], Awaitable[None]], int, float]
steps = st.lists(
    st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 1000), st.sampled_from(PAUSES)), max_size=40
)


async def after(doing: list[Step], check: Callable[[World], Awaitable[None]]) -> None:
    """Do the steps on an empty store; check after each."""
    with tempfile.TemporaryDirectory() as folder:
        stores = SqliteStore(Path(folder) / "knock.db"), SqliteStore(Path(folder) / "knock.db")
        for store in stores:
            await store.open()
        world = World(stores)
        for operation, number, pause in doing:
            world.now += pause
            await operation(world, number)
            await check(world)
        for store in stores:
            await store.close()


async def all_knocks(world: World) -> list[Knock]:
    return await world.stores[0].knocks_in(frozenset(S))


async def open_knocks_are_one_a_person_and_room(world: World) -> None:
    places = [(knock.user_key, knock.room_id) for knock in await all_knocks(world) if knock.state in OPEN]
    assert len(places) == len(set(places))


async def nothing_is_on_record_that_was_not_told(world: World) -> None:
    assert {knock.id for knock in await all_knocks(world)} == world.ids


async def the_ledger_tells_every_move(world: World) -> None:
    for knock in await all_knocks(world):
        lines = (await world.stores[0].ledger(knock_id=knock.id))[::-1]
        states = [KnockState(line.after) for line in lines]
        assert (lines[0].action, lines[0].before, states[-1]) == ("knocked", "", knock.state)
        for earlier, later in pairwise(lines):
            assert later.before == earlier.after
        for before, now in pairwise(states):
            assert now is before or now in MOVES[before]


async def what_is_due_is_admitted_or_has_to_end(world: World) -> None:
    for knock in await all_knocks(world):
        if knock.state is S.ADMITTED:
            assert knock.due_at is not None
        elif knock.due_at is not None:
            assert knock.state in (S.HELD, S.INVITED, S.REFUSED, S.RESCINDED)
            assert knock.state is S.HELD or knock.reason in (Reason.BLOCKED, Reason.MODERATOR)


async def nobody_blocked_waits(world: World) -> None:
    blocked = {found.key for found in await world.stores[0].rules()}
    waiting = {knock.user_key for knock in await all_knocks(world) if knock.state in (S.HELD, S.ADMITTED)}
    assert not blocked & waiting


FACTS = {
    "one open knock": pytest.param(open_knocks_are_one_a_person_and_room, marks=pytest.mark.promise(2)),
    "nothing untold": pytest.param(nothing_is_on_record_that_was_not_told, marks=pytest.mark.promise(1)),
    "the ledger": pytest.param(the_ledger_tells_every_move, marks=pytest.mark.promise(8)),
    "what is due": pytest.param(what_is_due_is_admitted_or_has_to_end),
    "the block-list": pytest.param(nobody_blocked_waits, marks=pytest.mark.promise(3)),
}


@pytest.mark.parametrize("fact", FACTS.values(), ids=FACTS)
@given(doing=steps)
@settings(max_examples=30)
def test_it_holds_after_any_sequence(fact: Callable[[World], Awaitable[None]], doing: list[Step]) -> None:
    asyncio.run(after(doing, fact))
