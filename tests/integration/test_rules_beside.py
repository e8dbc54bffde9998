"""Rules from the command line, the API and the file at once, beside a Knock of two processes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.integration.command import Ended, mknock
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.fake_homeserver.rooms import Room
from tests.kit.processes import Server, wait_until

KEY = "a-key-for-the-tests-of-rules"


@dataclass(frozen=True)
class House:
    """A running Knock of two processes, with a fake homeserver behind it."""

    home: Path
    env: Mapping[str, str]
    fake: FakeHomeserver
    room: Room
    server: Server

    async def run(self, *arguments: str) -> Ended:
        return await mknock(self.home, self.env, *arguments)

    async def block_through_the_api(self, entity: str) -> int:
        async with self.server.client() as client:
            headers = {"Authorization": f"Bearer {KEY}"}
            return (await client.post("/rules", json={"entity": entity}, headers=headers)).status_code

    def member(self, name: str) -> str:
        user_id = self.fake.add_user(name).user_id
        self.room.set_membership(user_id, user_id, "join")
        return user_id

    def is_out(self, user_id: str) -> bool:
        return self.room.membership(user_id) == "leave"

    @property
    def file(self) -> Path:
        return self.home / "blocked_users.txt"

    def lines(self) -> set[str]:
        text = self.file.read_text() if self.file.exists() else ""
        return {line for line in text.splitlines() if line and not line.startswith("#")}

    def write(self, text: str) -> None:
        """Add to the file as a person does."""
        with self.file.open("a") as file:
            file.write(text)

    async def rules(self) -> set[str]:
        return {rule["entity"] for rule in json.loads((await self.run("rules", "--json")).out)}


@pytest.fixture
async def house(tmp_path: Path, fake: FakeHomeserver) -> AsyncIterator[House]:
    bot = fake.log_in("bot")
    room = fake.add_room(fake.add_user("alice").user_id, bot.user_id)
    async with fake.served() as url:
        env = {
            "NEW_ROOM_ID": room.room_id,
            "MATRIX_BASE_URL": url,
            "MATRIX_ACCESS_TOKEN": str(bot.access_token),
            "API_KEY": KEY,
        }
        with Server.mknock(tmp_path, env, "--workers", "2") as server:
            await server.wait_ready("/readyz")
            yield House(tmp_path, env, fake, room, server)


async def test_a_pattern_from_the_command_line_puts_a_member_out_and_stands_in_the_file(house: House) -> None:
    eve = house.member("eve")
    ended = await house.run("block", "@ev*:knock.test", "--reason", "spam")
    assert ended.code == 0, ended
    await wait_until(lambda: house.is_out(eve), 5)
    await wait_until(lambda: house.lines() == {"@ev*:knock.test Reason: spam"}, 10)


async def test_an_unblock_takes_the_line_out(house: House) -> None:
    house.write("# ours\nevil.example\n@eve:evil.example\n")
    await wait_until(lambda: _rules_are(house, {"evil.example", "@eve:evil.example"}), 10)
    assert (await house.run("unblock", "evil.example")).code == 0
    await wait_until(lambda: house.file.read_text() == "# ours\n@eve:evil.example\n", 10)


async def test_rules_from_everywhere_at_once_are_all_kept(house: House) -> None:
    async def edits() -> None:
        for number in range(10):
            house.write(f"@file{number}:evil.example\n")
            await asyncio.sleep(0.2)

    async def calls() -> None:
        for number in range(10):
            assert await house.block_through_the_api(f"@api{number}:evil.example") == 200
            await asyncio.sleep(0.2)

    async def commands() -> None:
        for number in range(3):
            assert (await house.run("block", f"@cli{number}:evil.example")).code == 0

    await asyncio.gather(edits(), calls(), commands())
    wanted = {
        f"@{where}{number}:evil.example"
        for where, count in (("file", 10), ("api", 10), ("cli", 3))
        for number in range(count)
    }
    await wait_until(lambda: house.lines() == wanted, 15)
    await wait_until(lambda: _rules_are(house, wanted), 15)


async def _rules_are(house: House, wanted: set[str]) -> bool:
    return await house.rules() == wanted


async def test_a_killed_knock_leaves_file_and_store_saying_the_same(house: House) -> None:
    wanted = {f"@api{number}:evil.example" for number in range(40)}
    for entity in sorted(wanted):
        assert await house.block_through_the_api(entity) == 200
        await asyncio.sleep(0.1)  # so that some stand in the file when it dies, and some do not yet
    house.server.kill9()

    with Server.mknock(house.home, house.env, "--workers", "2") as again:
        await again.wait_ready("/readyz")
        await wait_until(lambda: house.lines() == wanted, 20)
        assert house.file.read_text().count("@api") == len(wanted)
        assert await house.rules() == wanted
