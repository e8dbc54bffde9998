"""Two processes on one store, and edits of the block-list through the file, both APIs and a policy room at once."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

import httpx2
import pytest
from tests.chaos.knockers import TOKEN
from tests.integration.house import API_KEY, House, Way, opened
from tests.integration.test_after_the_invite import turns
from tests.integration.test_policy_lists import Keeper, subscribed
from tests.kit.postgres import Postgres
from tests.kit.processes import Server, wait_until
from tests.kit.synapse import Synapse

EDITS = 60
"""Rules that each side makes."""
PAUSE = 0.15
"""Seconds between two of them."""
SAVES = 10
LINES = 8
"""Rules that one save of the file makes."""
SETTLED = 45.0
"""Seconds within which all sides say the same; that includes the taking over from one that was killed."""


@dataclass(frozen=True)
class Beside(Way):
    """Two processes that nobody started together, on one store and one file."""

    replicas: int = 2
    home: Path = Path()

    @property
    def file(self) -> Path:
        return self.home / "blocked_users.txt"

    def settings(self) -> dict[str, str]:
        return super().settings() | {"DATA_DIR": str(self.home / "data"), "BLOCKLIST_FILE": str(self.file)}

    def rows(self, query: str) -> list[tuple[str, ...]]:
        if self.postgres is not None:
            return [tuple(row.split("|")) for row in self.postgres.sql(query, self.database).splitlines()]
        with contextlib.closing(sqlite3.connect(self.home / "data" / "knock.db", timeout=10)) as store:
            return store.execute(query).fetchall()


@pytest.fixture(params=["on SQLite", "on PostgreSQL"])
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Beside:
    if "SQLite" in request.param:
        return Beside(home=tmp_path)
    postgres: Postgres = request.getfixturevalue("postgres")
    database = postgres.wipe(request.getfixturevalue("database"))
    return Beside(postgres=postgres, database=database, home=tmp_path)


@dataclass
class Wanted:
    """What was asked for and acknowledged, by entity."""

    made: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    listed: set[str] = field(default_factory=set)
    """Those of ``made`` that the policy room holds; no line of the file's."""

    @property
    def alive(self) -> set[str]:
        return self.made - self.removed

    @property
    def lines(self) -> set[str]:
        return self.alive - self.listed


@dataclass(frozen=True)
class Editor:
    """A person's editor: reads the file, and puts another in its place unless it has changed meanwhile."""

    path: Path

    async def save(self, change: Callable[[list[str]], list[str]]) -> None:
        while not await self._saved(change):
            pass  # "the file has changed since reading it": load it again

    async def _saved(self, change: Callable[[list[str]], list[str]]) -> bool:
        before = self.contents()
        draft = self.path.with_suffix(".swp")
        draft.write_text("".join(f"{line}\n" for line in change(before.splitlines())))
        await asyncio.sleep(0.05)
        if self.contents() != before:
            return False
        draft.replace(self.path)
        return True

    def contents(self) -> str:
        return self.path.read_text() if self.path.exists() else ""

    def lines(self) -> list[str]:
        return [line for line in self.contents().splitlines() if line and not line.startswith("#")]


@dataclass
class Sides:
    """Everybody who edits the block-list of one Knock."""

    house: House
    keeper: Keeper
    editor: Editor
    way: Beside
    wanted: Wanted = field(default_factory=Wanted)
    on_paper: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    """Rules from the file that somebody takes back through the API."""

    async def calls(self, server: Server, name: str) -> None:
        """Through the API of one process: of three rules the second is taken back at once."""
        for number in range(EDITS):
            entity = f"@{name}{number}:evil.example"
            await self.make(server, entity)
            if number % 3 == 1:
                await self.unmake(server, entity)
            await asyncio.sleep(PAUSE)

    async def together(self) -> None:
        """The same rule through both APIs at once, and taken back through both at once."""
        for number in range(EDITS // 2):
            entity = f"@both{number}:evil.example"
            await asyncio.gather(*(self.make(server, entity) for server in self.house.servers))
            if number % 2:
                await asyncio.gather(*(self.unmake(server, entity) for server in self.house.servers))
            await asyncio.sleep(PAUSE)

    async def policies(self) -> None:
        for number in range(EDITS):
            entity = f"@listed{number}:evil.example"
            await self.keeper.ban(entity)
            self.wanted.made.add(entity)
            self.wanted.listed.add(entity)
            await asyncio.sleep(PAUSE)
            if number % 3 == 2:
                gone = f"@listed{number - 1}:evil.example"
                await self.keeper.pardon(gone)
                self.wanted.removed.add(gone)

    async def saves(self) -> None:
        """In the file: each save has new lines, and lacks some that it or the API made before."""
        for number in range(SAVES):
            new = [f"@paper{number}-{line}:evil.example" for line in range(LINES)]
            gone: list[str] = []

            def change(lines: list[str], new: Sequence[str] = new, gone: list[str] = gone) -> list[str]:
                gone[:] = [line for line in lines if _may_go(line)][:3]
                return [line for line in lines if line not in gone] + list(new)

            await self.editor.save(change)
            self.wanted.made.update(new)
            self.wanted.removed.update(gone)
            self.on_paper.put_nowait(new[0])
            await asyncio.sleep(0.4 + number % 3)
        self.on_paper.put_nowait("")

    async def second_thoughts(self) -> None:
        """What the file has made is taken back through the API."""
        while entity := await self.on_paper.get():
            server = self.house.server
            await wait_until(partial(self._unmade, server, entity), within=SETTLED, every=0.2)
            self.wanted.removed.add(entity)

    async def make(self, server: Server, entity: str) -> None:
        answer = await self._told(server, "POST", entity)
        assert answer.status_code == 200, answer.text
        self.wanted.made.add(entity)

    async def unmake(self, server: Server, entity: str) -> None:
        answer = await self._told(server, "DELETE", entity)
        assert answer.status_code in (200, 404), answer.text
        self.wanted.removed.add(entity)

    async def _unmade(self, server: Server, entity: str) -> bool:
        return (await self._told(server, "DELETE", entity)).status_code == 200

    async def _told(self, server: Server, method: str, entity: str) -> httpx2.Response:
        """Ask one process; where it has died, ask one that lives, until there is an answer."""
        while True:
            asked = server if server.alive else self.house.server
            with contextlib.suppress(httpx2.TransportError):
                async with asked.client(token=API_KEY) as client:
                    return await client.request(method, "/rules", json={"entity": entity})
            await asyncio.sleep(0.1)

    # --- what came of it

    async def settled(self) -> None:
        """Return once all of it is in force, and in the file what belongs there."""
        await wait_until(lambda: sorted(self.editor.lines()) == sorted(self.wanted.lines), SETTLED, every=0.2)
        for server in filter(lambda server: server.alive, self.house.servers):
            await wait_until(partial(self._rules_are, server), SETTLED, every=0.2)

    async def _rules_are(self, server: Server) -> bool:
        async with server.client(token=API_KEY) as client:
            rules = (await client.get("/rules")).json()["rules"]
        return sorted(rule["entity"] for rule in rules) == sorted(self.wanted.alive)

    async def not_in_force(self, server: Server) -> set[str]:
        """Whom this process judges otherwise than was asked for."""
        wrong = set()
        async with server.client(token=API_KEY) as client:
            for entity in self.wanted.made:
                said = await client.get("/explain", params={"user_id": entity})
                named = {
                    match["kind"] for match in said.json()["matches"] if match["rule"]["entity"] == entity
                }
                if ("exact" in named) is (entity in self.wanted.removed):
                    wrong.add(entity)
        return wrong

    async def is_refused_at_the_door(self, server: Server, user: str) -> bool:
        """Knock as somebody new; whether that process refuses them by itself, before anybody asks the store."""
        async with server.client() as client:
            await client.post(f"/invite_from_form?token={TOKEN}", json={"Matrix ID": user})
        told = self.way.rows(f"SELECT after FROM ledger WHERE user_id = '{user}' ORDER BY id LIMIT 1")  # noqa: S608
        return told == [("refused",)]

    def not_in_the_ledger(self) -> dict[str, tuple[int, int]]:
        """Rules that did not come once, and go once if they were removed; with how often they did."""
        query = "SELECT rule, before, after FROM ledger WHERE rule <> '' AND knock_id = ''"
        lines = Counter(self.way.rows(query))
        told = {
            entity: (lines[entity, "", "blocked"], lines[entity, "blocked", ""])
            for entity in self.wanted.made
        }
        return {entity: times for entity, times in told.items() if times not in self._fitting(entity)}

    def _fitting(self, entity: str) -> set[tuple[int, int]]:
        if entity not in self.wanted.removed:
            return {(1, 0)}
        # What is written and taken back before anybody has looked was never a rule.
        return {(1, 1), (0, 0)} if entity.startswith(("@paper", "@listed")) else {(1, 1)}


def _may_go(line: str) -> bool:
    """Whether the editor takes a line out: some that it wrote, and some that one of the APIs had written."""
    name = line.partition(":")[0]
    return name.endswith(("-3", "-5")) or (name.startswith(("@one", "@two")) and name.endswith(("0", "6")))


@asynccontextmanager
async def on_all_sides(synapse: Synapse, way: Beside, policy: str = "auto") -> AsyncIterator[Sides]:
    keeper = await Keeper.hired(synapse)
    async with opened(synapse, way.home, way, DOOR_POLICY=policy) as house:
        await subscribed(house, way, way.home, keeper)
        yield Sides(house, keeper, Editor(way.file), way)


async def edited(sides: Sides) -> None:
    """Let everybody edit at once."""
    one, two = sides.house.servers
    await asyncio.gather(
        sides.calls(one, "one"),
        sides.calls(two, "two"),
        sides.together(),
        sides.policies(),
        sides.saves(),
        sides.second_thoughts(),
    )


async def all_is_as_wanted(sides: Sides) -> None:
    """Nothing is lost, and what was removed is gone: in force, in the file, and in the ledger."""
    began = time.monotonic()
    await sides.settled()
    print(f"{len(sides.wanted.made)} rules made, {len(sides.wanted.removed)} of them removed")
    print(f"all sides said the same {time.monotonic() - began:.1f} s after the last edit")
    for server in filter(lambda server: server.alive, sides.house.servers):
        assert await sides.not_in_force(server) == set()
    assert sides.not_in_the_ledger() == {}


@pytest.mark.promise(8)
async def test_edits_from_all_sides_at_once_lose_nothing(synapse: Synapse, way: Beside) -> None:
    async with on_all_sides(synapse, way) as sides:
        await edited(sides)

        await all_is_as_wanted(sides)


async def test_a_change_is_heard_of_by_the_other_process_within_a_second(
    synapse: Synapse, way: Beside
) -> None:
    waits = []
    # Nothing is delivered, which would ask the store for newer rules.
    async with on_all_sides(synapse, way, "review") as sides:
        one, two = sides.house.servers
        for number, (here, there) in enumerate([(one, two), (two, one)] * 5):
            await sides.make(here, f"@*-{number}-x:evil.example")
            began = time.monotonic()
            people = (f"@{attempt}-{number}-x:evil.example" for attempt in itertools.count())
            await wait_until(lambda: sides.is_refused_at_the_door(there, next(people)), within=10.0, every=0)  # noqa: B023
            waits.append(time.monotonic() - began)

    print(f"seen by the other process: median {median(waits):.2f} s, worst {max(waits):.2f} s")


@pytest.mark.promise(9)
async def test_nor_when_the_process_that_follows_file_and_lists_is_killed(
    synapse: Synapse, way: Beside
) -> None:
    async with on_all_sides(synapse, way) as sides:
        (first,) = turns(sides.house)
        editing = asyncio.create_task(edited(sides))
        await asyncio.sleep(EDITS * PAUSE / 2)
        (leader,) = [server for server in sides.house.servers if server.process.pid == first]
        leader.kill9()
        await editing

        await all_is_as_wanted(sides)
        assert len(set(turns(sides.house))) == 2
