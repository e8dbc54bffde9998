"""People who knock in their Matrix app, at the room itself, on a real homeserver."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.chaos.knockers import environment
from tests.integration.house import API_KEY, WELCOME, House, Way, opened
from tests.kit.account import Account, Json
from tests.kit.cast import new_name
from tests.kit.postgres import Postgres
from tests.kit.processes import Server, wait_until
from tests.kit.synapse import Synapse


@pytest.fixture(params=["four processes on SQLite", "two replicas on PostgreSQL"])
def way(request: pytest.FixtureRequest) -> Way:
    if "SQLite" in request.param:
        return Way(workers=4)
    postgres: Postgres = request.getfixturevalue("postgres")
    return Way(replicas=2, postgres=postgres, database=postgres.wipe(request.getfixturevalue("database")))


async def becomes(house: House, person: Account, membership: str, *, within: float = 10.0) -> None:
    async def is_so() -> bool:
        return await house.owner.membership(house.room, person.user_id) == membership

    await wait_until(is_so, within=within, every=0.05)


async def held(house: House, person: Account) -> list[Json]:
    async with house.server.client(token=API_KEY) as client:
        listed: list[Json] = (await client.get("/held")).json()["knocks"]
    return [one for one in listed if one["user_id"] == person.user_id]


async def waiting(house: House, person: Account) -> Json:
    """The person's knock in the list of those that wait."""
    listed: list[Json] = await wait_until(partial(held, house, person), within=10.0, every=0.05)
    return listed[0]


async def seen_by(person: Account, room: str) -> Json:
    """What the person's own app is told of their membership, once they are out."""
    answer = await person.must(
        "GET",
        "sync",
        params={"filter": '{"room":{"include_leave":true,"timeline":{"limit":10}}}', "timeout": "0"},
    )
    about = answer["rooms"].get("leave", {}).get(room, {"timeline": {"events": []}, "state": {"events": []}})
    events = [*about.get("state", {}).get("events", []), *about["timeline"]["events"]]
    mine: list[Json] = [event for event in events if event.get("state_key") == person.user_id]
    return mine[-1] if mine else {}


async def test_who_knocks_in_their_app_is_invited_and_welcomed(
    synapse: Synapse, tmp_path: Path, way: Way
) -> None:
    waits = []
    async with opened(synapse, tmp_path, way, join_rule="knock") as house:
        for _ in range(5):
            person = await house.somebody()
            began = time.monotonic()
            await person.knock(house.room, reason="I bake scones")
            await becomes(house, person, "invite")
            waits.append(time.monotonic() - began)
            await person.join(house.room)
            await house.welcomed(person)
            event = await house.owner.state(house.room, "m.room.member", state_key=person.user_id)
            assert "scones" not in str(event)
        assert "scones" not in house.output

        assert house.room not in house.output

    print(f"membership knock to invite: worst {max(waits) * 1000:.0f} ms")


async def test_each_of_many_is_invited_once(synapse: Synapse, tmp_path: Path, way: Way) -> None:
    async with opened(synapse, tmp_path, way, join_rule="knock", INVITE_CHECK_INTERVAL="5") as house:
        people = [await house.somebody() for _ in range(8)]
        await asyncio.gather(*(person.knock(house.room) for person in people))
        await asyncio.gather(*(becomes(house, person, "invite", within=20.0) for person in people))
        await asyncio.sleep(6.0)  # a comparison as well
        page = await house.owner.must(
            "GET", "rooms", house.room, "messages", params={"dir": "b", "limit": 300}
        )
        invites = [
            event["state_key"]
            for event in page["chunk"]
            if event["type"] == "m.room.member" and event["content"]["membership"] == "invite"
        ]
        mine = {person.user_id for person in people}
        assert sorted(user for user in invites if user in mine) == sorted(mine)


async def test_at_a_reviewed_door_the_moderator_reads_the_reason_and_approves(
    synapse: Synapse, tmp_path: Path
) -> None:
    async with opened(synapse, tmp_path, join_rule="knock", DOOR_POLICY="review") as house:
        person = await house.somebody()
        await person.knock(house.room, reason="I bake scones")
        one = await waiting(house, person)
        assert {"label": "Reason", "value": "I bake scones"} in one["answers"]
        assert one["platform"] == "matrix"
        await house.admin("/approve", knock_id=one["id"])
        await becomes(house, person, "invite")
        await person.join(house.room)
        await house.welcomed(person)


async def test_at_a_reviewed_door_who_is_refused_is_told_so_and_may_knock_again(
    synapse: Synapse, tmp_path: Path
) -> None:
    async with opened(
        synapse, tmp_path, join_rule="knock", DOOR_POLICY="review", KNOCK_COOLDOWN="0"
    ) as house:
        person = await house.somebody()
        await person.knock(house.room)
        await house.admin(
            "/refuse", knock_id=(await waiting(house, person))["id"], reason="for moderators only"
        )
        await becomes(house, person, "leave")
        told = await seen_by(person, house.room)
        assert told["sender"] == house.bot.user_id
        assert told["content"]["reason"] == "Your request to join was not accepted."

        await person.knock(house.room)
        again = await waiting(house, person)
        assert again["reason"] == "before"


async def test_who_is_blocked_is_turned_down(synapse: Synapse, tmp_path: Path) -> None:
    async with opened(synapse, tmp_path, join_rule="knock") as house:
        person = await house.somebody()
        await house.admin("/block_user", user_id=person.user_id)
        await person.knock(house.room)
        await becomes(house, person, "leave")
        event = await house.owner.state(house.room, "m.room.member", state_key=person.user_id)
        assert event["reason"] == "Your request to join was not accepted."


async def test_where_blocked_members_are_banned_so_are_blocked_knockers(
    synapse: Synapse, tmp_path: Path
) -> None:
    async with opened(synapse, tmp_path, join_rule="knock", BLOCKED_MEMBERS="ban") as house:
        person = await house.somebody()
        await house.admin("/block_user", user_id=person.user_id)
        await person.knock(house.room)
        await becomes(house, person, "ban")


async def test_a_knock_that_is_taken_back_waits_no_more(synapse: Synapse, tmp_path: Path) -> None:
    async with opened(synapse, tmp_path, join_rule="knock", DOOR_POLICY="review") as house:
        person = await house.somebody()
        await person.knock(house.room)
        await waiting(house, person)
        await person.leave(house.room)

        async def waits_no_more() -> bool:
            return await held(house, person) == []

        await wait_until(waits_no_more, within=10.0, every=0.05)


async def test_a_moderator_may_answer_in_the_room(synapse: Synapse, tmp_path: Path) -> None:
    async with opened(synapse, tmp_path, join_rule="knock", DOOR_POLICY="review") as house:
        let_in, sent_away = await house.somebody(), await house.somebody()
        for person in (let_in, sent_away):
            await person.knock(house.room)
            await waiting(house, person)
        await house.owner.invite(house.room, let_in.user_id)
        await house.owner.kick(house.room, sent_away.user_id)

        async def nobody_waits() -> bool:
            return await held(house, let_in) + await held(house, sent_away) == []

        await wait_until(nobody_waits, within=10.0, every=0.05)
        await let_in.join(house.room)
        await house.welcomed(let_in)
        assert await house.owner.membership(house.room, sent_away.user_id) == "leave"


@pytest.mark.promise(4)
async def test_a_form_knock_that_waits_for_a_proof_is_proven_in_the_app(
    synapse: Synapse, tmp_path: Path
) -> None:
    async with opened(synapse, tmp_path, join_rule="knock", DOOR_POLICY="prove-first") as house:
        person = await house.somebody()
        async with house.server.client(token=API_KEY) as client:
            answer = await client.post("/invite_from_form", json={"Matrix ID": person.user_id})
        assert answer.status_code == 200, answer.text
        await waiting(house, person)
        await person.knock(house.room)
        await becomes(house, person, "invite")


async def test_where_native_knocks_are_off_they_are_left_to_moderators(
    synapse: Synapse, tmp_path: Path
) -> None:
    async with opened(
        synapse, tmp_path, join_rule="knock", NATIVE_KNOCKS="false", INVITE_CHECK_INTERVAL="5"
    ) as house:
        person = await house.somebody()
        await person.knock(house.room)
        await house.welcomed(await house.joined())  # it hears
        await asyncio.sleep(6.0)
        assert await house.owner.membership(house.room, person.user_id) == "knock"


async def test_a_room_of_a_space_may_be_knocked_at_too(synapse: Synapse, tmp_path: Path) -> None:
    async with opened(synapse, tmp_path, join_rule="knock_restricted") as house:
        person = await house.somebody()
        await person.knock(house.room)
        await becomes(house, person, "invite")


async def test_a_bot_that_knocks_and_declines_in_circles_gets_one_invite(
    synapse: Synapse, tmp_path: Path
) -> None:
    async with opened(synapse, tmp_path, join_rule="knock", INVITE_CHECK_INTERVAL="5") as house:
        person = await house.somebody()
        await person.knock(house.room)
        await becomes(house, person, "invite")
        for _ in range(5):
            await person.leave(house.room)
            await person.knock(house.room)
        await wait_until(lambda: '"flapping"' in house.output, within=10.0)
        await asyncio.sleep(6.0)  # a comparison as well
        assert await house.owner.membership(house.room, person.user_id) == "knock"
        assert house.output.count('"flapping"') == 1


# While Knock is down


async def room_of(synapse: Synapse, **wishes: Any) -> tuple[Account, Account, str]:
    owner, bot = await synapse.user(new_name("owner")), await synapse.user(new_name("knock"))
    return owner, bot, await synapse.new_room(owner, bot=bot, join_rule="knock", **wishes)


@pytest.mark.promise(1)
@pytest.mark.parametrize("first_start", [True, False])
async def test_a_knock_while_knock_was_down_is_not_lost(
    synapse: Synapse, tmp_path: Path, first_start: bool
) -> None:
    owner, bot, room = await room_of(synapse)
    settings = environment(synapse.url, bot, room, API_KEY=API_KEY, WELCOME_MESSAGE=WELCOME)
    house = House(synapse, owner, bot, room, [])
    person, taken_back = await house.somebody(), await house.somebody()
    if not first_start:
        with Server.uvicorn(tmp_path, settings) as server:
            await server.wait_ready("/readyz")
            before = await house.somebody()
            await before.knock(room)
            await becomes(house, before, "invite")
            server.kill9()
    await person.knock(room)
    await taken_back.knock(room)
    await taken_back.leave(room)
    with Server.uvicorn(tmp_path, settings) as server:
        await server.wait_ready("/readyz")
        await becomes(house, person, "invite", within=20.0)
        await person.join(room)
        await house.welcomed(person)
        assert await owner.membership(room, taken_back.user_id) == "leave"


@pytest.mark.promise(1)
async def test_killed_right_after_a_refusal_it_turns_down_when_it_is_back(
    synapse: Synapse, tmp_path: Path
) -> None:
    owner, bot, room = await room_of(synapse)
    settings = environment(synapse.url, bot, room, API_KEY=API_KEY, DOOR_POLICY="review")
    with Server.uvicorn(tmp_path, settings) as server:
        await server.wait_ready("/readyz")
        house = House(synapse, owner, bot, room, [server])
        people = [await house.somebody() for _ in range(6)]
        await asyncio.gather(*(person.knock(room) for person in people))
        waiting_now = [await waiting(house, person) for person in people]
        await asyncio.gather(*(house.admin("/refuse", knock_id=one["id"]) for one in waiting_now))
        server.kill9()
    with Server.uvicorn(tmp_path, settings) as server:
        await server.wait_ready("/readyz")
        await asyncio.gather(*(becomes(house, person, "leave", within=30.0) for person in people))


@pytest.mark.promise(1)
@pytest.mark.promise(2)
async def test_killed_again_and_again_everybody_is_answered_once(synapse: Synapse, tmp_path: Path) -> None:
    owner, bot, room = await room_of(synapse)
    settings = environment(synapse.url, bot, room, API_KEY=API_KEY, WELCOME_MESSAGE="off")
    house = House(synapse, owner, bot, room, [])
    people = [await house.somebody() for _ in range(9)]
    for number in range(3):
        with Server.uvicorn(tmp_path, settings) as server:
            await server.wait_ready("/readyz")
            await asyncio.gather(*(person.knock(room) for person in people[number * 3 : number * 3 + 3]))
            await asyncio.sleep(0.02 * number)
            server.kill9()
    with Server.uvicorn(tmp_path, settings) as server:
        await server.wait_ready("/readyz")
        await asyncio.gather(*(becomes(house, person, "invite", within=30.0) for person in people))
        await asyncio.sleep(1.0)
    page = await owner.must("GET", "rooms", room, "messages", params={"dir": "b", "limit": 300})
    invites = [
        event["state_key"]
        for event in page["chunk"]
        if event["type"] == "m.room.member" and event["content"]["membership"] == "invite"
    ]
    assert sorted(user for user in invites if "visitor" in user) == sorted(
        person.user_id for person in people
    )
