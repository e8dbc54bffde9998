"""A Knock in front of a room on a real homeserver, run as its operators run it, and the people around it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.knockers import TOKEN, environment
from tests.kit.account import Account, Json
from tests.kit.cast import new_name
from tests.kit.postgres import Postgres
from tests.kit.processes import Server, wait_until
from tests.kit.synapse import Synapse

API_KEY = "api-key-of-after-the-invite"
WELCOME = "Hello {user}, welcome to {room}!"


LATER = "UPDATE knocks SET invited_at = invited_at - 3600, due_at = due_at - 3600"


@dataclass(frozen=True)
class Way:
    """How Knock is run: replicas with several processes each, on one store."""

    replicas: int = 1
    workers: int = 1
    postgres: Postgres | None = None
    database: str = ""

    def settings(self) -> dict[str, str]:
        if self.postgres is None:
            return {}
        return {"STORE_URL": self.postgres.url(self.database), "SECRET_KEY": "s" * 32}

    def an_hour_later(self, directory: Path) -> None:
        """Let an hour go by for everything that waits."""
        self.change(directory, LATER)

    def change(self, directory: Path, statement: str) -> None:
        """Change what is on record, as the time does that a test cannot wait for."""
        if self.postgres is not None:
            self.postgres.sql(statement, self.database)
            return
        path = directory / "replica0" / "data" / "knock.db"
        with contextlib.closing(sqlite3.connect(path, timeout=10)) as connection:
            connection.execute(statement)
            connection.commit()


ONE = Way()


@dataclass(frozen=True)
class House:
    """A room on a homeserver and the Knock in front of it."""

    synapse: Synapse
    owner: Account
    bot: Account
    room: str
    servers: Sequence[Server]
    moderators: str = ""
    """The room of the moderators, if there is one."""
    env: Mapping[str, str] = field(default_factory=dict)
    """The settings of every replica."""

    @property
    def server(self) -> Server:
        """The newest replica that lives: seldom the one that has the turn."""
        return [server for server in self.servers if server.process.poll() is None][-1]

    @property
    def output(self) -> str:
        """What all replicas have logged."""
        return "".join(server.output for server in self.servers)

    async def somebody(self) -> Account:
        return await self.synapse.user(new_name("visitor"))

    async def knock(self, person: Account) -> None:
        async with self.server.client() as client:
            answer = await client.post(
                f"/invite_from_form?token={TOKEN}",
                json={"Matrix ID": person.user_id},
                headers={"Prefer": "wait=10"},
            )
        assert answer.json()["outcome"] == "invited", answer.text

    async def joined(self) -> Account:
        """Somebody who knocked and has just joined."""
        person = await self.somebody()
        await self.knock(person)
        await person.join(self.room)
        return person

    async def events(self, sender: Account) -> list[Json]:
        """The messages of this account, encrypted or not."""
        page = await self.owner.must("GET", "rooms", self.room, "messages", params={"dir": "b", "limit": 200})
        kinds = ("m.room.message", "m.room.encrypted")
        return [
            event for event in page["chunk"] if event["sender"] == sender.user_id and event["type"] in kinds
        ]

    async def welcomes(self, person: Account) -> list[Json]:
        """The messages of the bot that mention this person."""
        page = await self.owner.must("GET", "rooms", self.room, "messages", params={"dir": "b", "limit": 200})
        return [
            event
            for event in page["chunk"]
            if event["sender"] == self.bot.user_id
            and event["content"].get("m.mentions", {}).get("user_ids") == [person.user_id]
        ]

    async def welcomed(self, person: Account, *, within: float = 10.0) -> Json:
        """The welcome of this person, once it is there."""
        return (await wait_until(lambda: self.welcomes(person), within=within))[0]

    async def admin(self, path: str, **body: Any) -> Json:
        async with self.server.client(token=API_KEY) as client:
            answer = await client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        said: Json = answer.json()
        return said

    async def is_gone(self, person: Account) -> bool:
        return await self.owner.membership(self.room, person.user_id) == "leave"


@asynccontextmanager
async def opened(
    synapse: Synapse,
    directory: Path,
    way: Way = ONE,
    *,
    join_rule: str = "invite",
    encrypted: bool = False,
    moderators: str = "",
    **settings: str,
) -> AsyncIterator[House]:
    """A house with settings of its own; ``moderators`` have a room that is "clear" or "encrypted"."""
    owner, bot = await synapse.user(new_name("owner")), await synapse.user(new_name("knock"))
    room = await synapse.new_room(
        owner, bot=bot, join_rule=join_rule, name="The Repair Café", encrypted=encrypted
    )
    theirs = ""
    if moderators:
        theirs = await synapse.new_room(owner, bot=bot, encrypted=moderators == "encrypted")
        settings["MODERATORS_ROOM_ID"] = theirs
    usual = {"API_KEY": API_KEY, "REQUEST_DELAY": "0", "WELCOME_MESSAGE": WELCOME}
    env = environment(synapse.url, bot, room, **usual, **way.settings(), **settings)
    with ExitStack() as running:
        servers = [running.enter_context(_replica(directory, env, way, n)) for n in range(way.replicas)]
        for server in servers:
            await server.wait_ready("/readyz")
        yield House(synapse, owner, bot, room, servers, theirs, env)


def _replica(directory: Path, env: dict[str, str], way: Way, number: int) -> Server:
    home = directory / f"replica{number}"
    home.mkdir()
    return Server.uvicorn(home, env, "--workers", str(way.workers))
