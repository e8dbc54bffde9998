"""A raid on a real homeserver: moderators are told once, in clear and encrypted; calm ends it; the wave comes in."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.chaos.knockers import TOKEN
from tests.integration.command import mknock
from tests.integration.house import House, Way, opened
from tests.kit.account import Account, Json
from tests.kit.processes import wait_until
from tests.kit.synapse import Synapse

pytestmark = pytest.mark.xdist_group("raid")

PASS = 3
PEOPLE = 8


async def messages(house: House, kind: str = "m.room.message") -> list[Json]:
    """What was said in the moderators' room, oldest first."""
    path = ("rooms", house.moderators, "messages")
    page = await house.owner.must("GET", *path, params={"dir": "f", "limit": 200})
    return [event for event in page["chunk"] if event["type"] == kind]


async def knock(house: House, person: Account) -> None:
    async with house.server.client() as client:
        form = {"Matrix ID": person.user_id}
        answer = await client.post(f"/invite_from_form?token={TOKEN}", json=form)
    assert answer.status_code == 200


async def invited(house: House, people: list[Account]) -> int:
    memberships = [await house.owner.membership(house.room, person.user_id) for person in people]
    return memberships.count("invite")


CALM = "UPDATE raids SET ends_at = ends_at - 60"
"""The minute of calm that ends a raid goes by."""
RAID: dict[str, Any] = {"RAID_ARRIVALS": str(PASS), "RAID_ALIKE": "0", "RAID_CALM": "60"}


async def raided(house: House) -> list[Account]:
    """Let eight people knock at once, of whom three may pass."""
    people = [await house.somebody() for _ in range(PEOPLE)]
    await asyncio.gather(*(knock(house, person) for person in people))
    return people


async def test_moderators_are_told_once_calm_ends_it_and_the_wave_comes_in(
    synapse: Synapse, tmp_path: Path
) -> None:
    way = Way(workers=2)
    async with opened(synapse, tmp_path, way, moderators="clear", **RAID) as house:
        people = await raided(house)
        await wait_until(lambda: _are(house, 1), within=15)
        (begun,) = await messages(house)
        assert (begun["sender"], begun["content"]["msgtype"]) == (house.bot.user_id, "m.notice")
        assert "is being raided (4 in five minutes" in begun["content"]["body"]
        assert await invited(house, people) <= PASS
        done = await house.admin("/approve_wave", wave="main")
        assert (done["decided"], done["left"]) == (PEOPLE - PASS, 0)
        await wait_until(lambda: _all_invited(house, people), within=20)
        assert len(await messages(house)) == 1
        way.change(tmp_path, CALM)
        await wait_until(lambda: _are(house, 2), within=30)
        await asyncio.sleep(2.5)
        _, ended = await messages(house)
        assert "it has been calm" in ended["content"]["body"]
        assert house.moderators not in house.output


async def test_an_encrypted_moderators_room_is_told_in_encrypted_words_only(
    synapse: Synapse, tmp_path: Path
) -> None:
    async with opened(synapse, tmp_path, moderators="encrypted", **RAID) as house:
        await raided(house)
        await wait_until(lambda: _are(house, 1, "m.room.encrypted"), within=20)
        await house.admin("/end_raid", door="main")
        await wait_until(lambda: _are(house, 2, "m.room.encrypted"), within=20)
        assert await messages(house) == []


async def test_the_doctor_says_whether_moderators_can_be_told(synapse: Synapse, tmp_path: Path) -> None:
    async with opened(synapse, tmp_path, moderators="clear") as house:
        await house.admin("/start_raid", door="main")
        home, env = tmp_path / "replica0", house.env
        said = await mknock(home, env, "doctor")
        assert "moderators' room of main: Knock is in it and may write" in said.out
        assert "door main: is being raided, so everybody is held" in said.out
        await house.owner.must("POST", "rooms", house.moderators, "kick", json={"user_id": house.bot.user_id})
        said = await mknock(home, env, "doctor")
        assert "is not in it: invite it and let it join" in said.out
        assert house.moderators not in said.out


async def _all_invited(house: House, people: list[Account]) -> bool:
    return await invited(house, people) == len(people)


async def _are(house: House, count: int, kind: str = "m.room.message") -> bool:
    return len(await messages(house, kind)) == count
