"""Several doors of one Knock on a real homeserver: two rooms and a space, one of them upgraded while people wait."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.chaos.knockers import TOKEN, environment
from tests.kit.account import Account, Json
from tests.kit.cast import new_name
from tests.kit.processes import Server, wait_until
from tests.kit.synapse import Synapse

pytestmark = pytest.mark.xdist_group("doors")

API_KEY = "api-key-of-many-doors"
GARDEN_TOKEN = "token-of-the-garden"
DOORS = """
[doors.garden]
room = "{room}"
policy = "{policy}"
secrets.token_env = "DOORS_GARDEN"
"""


@dataclass(frozen=True)
class House:
    """Two rooms on a homeserver, and the Knock that keeps doors to both."""

    synapse: Synapse
    owner: Account
    bot: Account
    room: str
    garden: str
    server: Server

    async def somebody(self) -> Account:
        return await self.synapse.user(new_name("visitor"))

    async def knock(self, path: str, person: Account) -> Json:
        async with self.server.client() as client:
            form = {"Matrix ID": person.user_id}
            answer = await client.post(path, json=form, headers={"Prefer": "wait=10"})
        said: Json = {"status_code": answer.status_code, **answer.json()}
        return said

    async def approve(self, person: Account) -> None:
        async with self.server.client(token=API_KEY) as client:
            answer = await client.post("/approve", json={"user_id": person.user_id})
        assert answer.status_code == 200, answer.text

    async def is_invited(self, room: str, person: Account) -> bool:
        return await self.owner.membership(room, person.user_id) == "invite"

    async def readiness(self) -> Json:
        async with self.server.client() as client:
            said: Json = (await client.get("/readyz")).json()
        return said


FIRST = f"/invite_from_form?token={TOKEN}"
GARDEN = f"/d/garden/forms/form?token={GARDEN_TOKEN}"


@asynccontextmanager
async def opened(
    synapse: Synapse, directory: Path, *, policy: str = "auto", is_space: bool = False
) -> AsyncIterator[House]:
    owner, bot = await synapse.user(new_name("owner")), await synapse.user(new_name("knock"))
    room = await synapse.new_room(owner, bot=bot)
    garden = await (a_space(owner, bot) if is_space else synapse.new_room(owner, bot=bot))
    (directory / "doors.toml").write_text(DOORS.format(room=garden, policy=policy))
    more = {"API_KEY": API_KEY, "DOORS_GARDEN": GARDEN_TOKEN, "WELCOME_MESSAGE": "off"}
    with Server.uvicorn(directory, environment(synapse.url, bot, room, **more)) as server:
        await server.wait_ready("/readyz")
        yield House(synapse, owner, bot, room, garden, server)


async def a_space(owner: Account, bot: Account) -> str:
    space = await owner.create_room(
        creation_content={"type": "m.space"}, power_level_content_override={"users": {bot.user_id: 50}}
    )
    await owner.invite(space, bot.user_id)
    await bot.join(space)
    return space


async def test_two_doors_with_rooms_policies_and_secrets_of_their_own_work_at_once(
    synapse: Synapse, tmp_path: Path
) -> None:
    async with opened(synapse, tmp_path, policy="review") as house:
        ada, ben = await house.somebody(), await house.somebody()
        first, named = await house.knock(FIRST, ada), await house.knock(GARDEN, ben)
        forged = await house.knock(f"/d/garden/forms/form?token={TOKEN}", ada)
        await house.approve(ben)
        await wait_until(lambda: house.is_invited(house.garden, ben), within=10.0)

        assert (first["outcome"], named["outcome"], forged["status_code"]) == ("invited", "held", 401)
        assert await house.owner.membership(house.garden, ada.user_id) is None
        assert await house.owner.membership(house.room, ben.user_id) is None


async def test_a_door_to_a_space_opens_the_rooms_of_its_members(synapse: Synapse, tmp_path: Path) -> None:
    async with opened(synapse, tmp_path, is_space=True) as house:
        allowed = {"type": "m.room_membership", "room_id": house.garden}
        rule = {"join_rule": "restricted", "allow": [allowed]}
        inner = await house.owner.create_room(
            initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": rule}]
        )
        person = await house.somebody()
        said = await house.knock(GARDEN, person)
        await person.join(house.garden)
        await person.join(inner)

        assert said["outcome"] == "invited"


async def test_an_upgraded_room_is_followed_with_everybody_who_waits(
    synapse: Synapse, tmp_path: Path
) -> None:
    async with opened(synapse, tmp_path) as house:
        early, late, after = [await house.somebody() for _ in range(3)]
        await house.knock(GARDEN, early)
        upgraded = await house.owner.must(
            "POST", "rooms", house.garden, "upgrade", json={"new_version": "12"}
        )
        new = upgraded["replacement_room"]
        await wait_until(lambda: is_limited(house), within=20.0)
        held = await house.knock(GARDEN, late)
        await house.owner.invite(new, house.bot.user_id)
        await house.bot.join(new)
        await wait_until(lambda: house.is_invited(new, late), within=30.0)
        await wait_until(lambda: house.is_invited(new, early), within=10.0)
        said = await house.knock(GARDEN, after)

        assert (held["outcome"], held["reason"], said["outcome"]) == ("held", "room_replaced", "invited")
        assert await house.is_invited(new, after)
        assert new not in house.server.output


async def is_limited(house: House) -> bool:
    return "room" in (await house.readiness()).get("limited", [])


async def test_a_door_that_is_added_while_knock_runs_opens(synapse: Synapse, tmp_path: Path) -> None:
    async with opened(synapse, tmp_path) as house:
        other = await synapse.new_room(house.owner, bot=house.bot)
        text = (tmp_path / "doors.toml").read_text()
        added = f'\n[doors.roof]\nroom = "{other}"\nsecrets.token_env = "DOORS_GARDEN"\n'
        (tmp_path / "doors.toml").write_text(text + added)
        await wait_until(lambda: "there are other doors" in house.server.output, within=10.0)
        person = await house.somebody()
        said = await house.knock(f"/d/roof/forms/form?token={GARDEN_TOKEN}", person)

        assert (said["outcome"], await house.is_invited(other, person)) == ("invited", True)
