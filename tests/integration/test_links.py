"""Invite links on a real homeserver, through several processes at once."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from pathlib import Path

import pytest
from altcha import Challenge, Payload, solve_challenge
from tests.integration.house import API_KEY, House, Way, opened
from tests.kit.account import Account, Json
from tests.kit.postgres import Postgres
from tests.kit.processes import wait_until
from tests.kit.synapse import Synapse

AS_LONG_AS_A_PERSON = 3.6
"""Seconds from opening the form to sending it."""


@pytest.fixture(params=["two processes on SQLite", "two replicas on PostgreSQL"])
def way(request: pytest.FixtureRequest) -> Way:
    if "SQLite" in request.param:
        return Way(workers=2)
    postgres: Postgres = request.getfixturevalue("postgres")
    return Way(replicas=2, postgres=postgres, database=postgres.wipe(request.getfixturevalue("database")))


async def asked(house: House, method: str, path: str, json: object = None) -> Json:
    async with house.server.client(token=API_KEY) as client:
        answer = await client.request(method, path, json=json)
    assert answer.status_code == 200, answer.text
    said: Json = answer.json()
    return said


async def made(house: House, **wish: object) -> tuple[str, str]:
    """Make a link; return its path and its id."""
    answer = await asked(house, "POST", "/links", wish)
    return answer["path"], answer["link"]["id"]


async def link_of(house: House) -> Json:
    (link,) = (await asked(house, "GET", "/links"))["links"]
    return dict(link)


async def is_invited(house: House, user: str) -> bool:
    return await house.owner.membership(house.room, user) == "invite"


async def knocks(house: House, number: int, path: str, person: Account) -> int:
    """Fill in the link's form in one of the replicas; return the answer's status."""
    async with house.servers[number % len(house.servers)].client() as client:
        return (await client.post(path, data={"matrix_id": person.user_id})).status_code


async def comes(house: House, path: str, person: Account) -> int:
    """Open the link and fill in its form as a browser would, work included; return the answer's status."""
    async with house.server.client() as client:
        stamp = re.search(r'name="opened" value="([^"]+)"', (await client.get(path)).text)
        assert stamp
        challenge = Challenge.from_dict((await client.get(f"{path}/challenge")).json())
        solution = solve_challenge(challenge)
        assert solution is not None
        await asyncio.sleep(AS_LONG_AS_A_PERSON)
        form = {"matrix_id": person.user_id, "opened": stamp[1]}
        form["proof"] = Payload(challenge, solution).to_base64()
        return (await client.post(path, data=form)).status_code


async def test_a_link_through_a_reviewed_door_leads_into_the_room(
    synapse: Synapse, tmp_path: Path, way: Way
) -> None:
    async with opened(synapse, tmp_path, way, DOOR_POLICY="review") as house:
        person = await house.somebody()
        path, _ = await made(house, skip_review=True)

        assert await comes(house, path, person) == 303
        await wait_until(lambda: is_invited(house, person.user_id), within=20)
        await person.join(house.room)
        await house.welcomed(person)
        assert (await link_of(house))["knocks"] == {"joined": 1}
        async with house.server.client() as client:
            assert (await client.get(path)).status_code == 404


async def test_a_link_is_used_up_by_those_who_are_first(synapse: Synapse, tmp_path: Path, way: Way) -> None:
    async with opened(synapse, tmp_path, way) as house:
        path, _ = await made(house, uses=3)
        people = [await house.somebody() for _ in range(10)]
        statuses = await asyncio.gather(*(knocks(house, n, path, one) for n, one in enumerate(people)))
        held = (await asked(house, "GET", "/held"))["knocks"]

        assert (sorted(statuses)[:3], set(sorted(statuses)[3:])) == ([303] * 3, {404})
        assert len(held) == 3
        link = await link_of(house)
        assert (link["used"], link["status"], link["knocks"]) == (3, "used_up", {"held": 3})
        for knock in held:
            await asked(house, "POST", "/approve", {"knock_id": knock["id"]})
        for knock in held:
            await wait_until(partial(is_invited, house, knock["user_id"]), within=20)


async def test_nobody_comes_by_a_link_once_it_is_revoked(synapse: Synapse, tmp_path: Path, way: Way) -> None:
    async with opened(synapse, tmp_path, way) as house:
        path, link_id = await made(house, uses=None)
        people = [await house.somebody() for _ in range(12)]
        early = [asyncio.create_task(knocks(house, n, path, one)) for n, one in enumerate(people[:6])]
        await asked(house, "DELETE", "/links", {"link": link_id})
        late = await asyncio.gather(*(knocks(house, n, path, one) for n, one in enumerate(people[6:])))
        in_time = (await asyncio.gather(*early)).count(303)

        assert set(late) == {404}
        assert (await link_of(house))["used"] == in_time
