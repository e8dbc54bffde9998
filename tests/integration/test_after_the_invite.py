"""What happens after the invite, on a real homeserver: as two processes on SQLite, as two replicas on PostgreSQL."""

from __future__ import annotations

import asyncio
import re
import time
from functools import partial
from pathlib import Path
from statistics import median

import pytest
from tests.chaos.knockers import environment
from tests.integration.house import API_KEY, WELCOME, House, Way, opened
from tests.kit.cast import new_name
from tests.kit.nio_reader import NioReader
from tests.kit.postgres import Postgres
from tests.kit.processes import Server, kill, wait_until
from tests.kit.synapse import Synapse


@pytest.fixture(params=["two processes on SQLite", "two replicas on PostgreSQL"])
def way(request: pytest.FixtureRequest) -> Way:
    if "SQLite" in request.param:
        return Way(workers=2)
    postgres: Postgres = request.getfixturevalue("postgres")
    return Way(replicas=2, postgres=postgres, database=postgres.wipe(request.getfixturevalue("database")))


# The welcome


async def test_a_join_is_welcomed_within_a_second(synapse: Synapse, tmp_path: Path, way: Way) -> None:
    waits = []
    async with opened(synapse, tmp_path, way) as house:
        for _ in range(20):
            person = await house.somebody()
            await house.knock(person)
            await person.join(house.room)
            began = time.monotonic()
            await house.welcomed(person)
            waits.append(time.monotonic() - began)

    print(f"join to welcome: median {median(waits) * 1000:.0f} ms, worst {max(waits) * 1000:.0f} ms")
    assert median(waits) < 1.0


async def test_the_welcome_greets_by_name_and_pings(synapse: Synapse, tmp_path: Path) -> None:
    async with opened(synapse, tmp_path) as house:
        person = await house.somebody()
        await person.set_displayname("Carol <b>of</b> the *Hill*")
        await house.knock(person)
        await person.join(house.room)
        content = (await house.welcomed(person))["content"]

    assert content["m.mentions"] == {"user_ids": [person.user_id]}
    assert "The Repair Café" in content["body"]
    assert "<b>" not in content["formatted_body"]


async def test_who_joins_without_a_knock_is_not_welcomed(synapse: Synapse, tmp_path: Path) -> None:
    async with opened(synapse, tmp_path) as house:
        other = await house.somebody()
        await house.owner.invite(house.room, other.user_id)
        await other.join(house.room)
        await house.welcomed(await house.joined())

        assert await house.welcomes(other) == []


async def test_who_joins_without_a_knock_is_welcomed_if_the_owner_says_so(
    synapse: Synapse, tmp_path: Path
) -> None:
    async with opened(synapse, tmp_path, WELCOME_EVERYONE="true") as house:
        other = await house.somebody()
        await house.owner.invite(house.room, other.user_id)
        await other.join(house.room)

        assert await house.welcomed(other)


async def test_who_has_left_before_the_delay_is_over_is_not_welcomed(
    synapse: Synapse, tmp_path: Path
) -> None:
    async with opened(synapse, tmp_path, WELCOME_DELAY="1.5") as house:
        gone = await house.joined()
        await gone.leave(house.room)
        await house.welcomed(await house.joined())

        assert await house.welcomes(gone) == []


@pytest.mark.promise(9)
async def test_each_of_many_is_welcomed_once(synapse: Synapse, tmp_path: Path, way: Way) -> None:
    async with opened(synapse, tmp_path, way) as house:
        people = [await house.joined() for _ in range(8)]
        await asyncio.gather(*(house.welcomed(person) for person in people))
        await asyncio.sleep(1.0)

        assert [len(await house.welcomes(person)) for person in people] == [1] * 8


# Encrypted rooms


async def reads(reader: NioReader, room: str) -> list[str]:
    """What the app can read: nothing from before its person came, since nobody gave it those keys."""
    return [text for text in await reader.read(room) if text is not None]


async def test_in_an_encrypted_room_the_welcome_is_read_by_the_joiner(
    synapse: Synapse, tmp_path: Path, way: Way
) -> None:
    waits = []
    async with opened(synapse, tmp_path, way, encrypted=True) as house:
        for number in range(10):
            person = await house.somebody()
            await house.knock(person)
            async with NioReader.opened(person, tmp_path / f"app{number}") as reader:
                await person.join(house.room)
                began = time.monotonic()
                (text,) = await wait_until(partial(reads, reader, house.room), within=10.0, every=0.05)
                waits.append(time.monotonic() - began)
                assert "welcome to The Repair Café" in text

    print(f"join to encrypted welcome: median {median(waits):.2f} s, worst {max(waits):.2f} s")
    assert median(waits) < 1.0


async def test_in_an_encrypted_room_the_welcome_waits_for_the_first_device(
    synapse: Synapse, tmp_path: Path
) -> None:
    async with opened(synapse, tmp_path, encrypted=True) as house:
        person = await house.joined()
        await asyncio.sleep(2.0)
        async with NioReader.opened(person, tmp_path / "app") as reader:
            began = time.monotonic()
            await wait_until(partial(reads, reader, house.room), within=10.0, every=0.05)

            assert time.monotonic() - began < 3.0


async def test_after_a_restart_the_welcome_is_read_as_well(synapse: Synapse, tmp_path: Path) -> None:
    owner, bot = await synapse.user(new_name("owner")), await synapse.user(new_name("knock"))
    room = await synapse.new_room(owner, bot=bot, encrypted=True)
    settings = environment(synapse.url, bot, room, WELCOME_MESSAGE=WELCOME, API_KEY=API_KEY)
    for number in range(2):
        person = await synapse.user(new_name("visitor"))
        async with NioReader.opened(person, tmp_path / f"app{number}") as reader:
            with Server.uvicorn(tmp_path, settings) as server:
                await server.wait_ready("/readyz")
                house = House(synapse, owner, bot, room, [server])
                await house.knock(person)
                await person.join(room)
                await wait_until(partial(reads, reader, room), within=15.0, every=0.1)
                server.kill9()


async def test_with_the_token_of_somebodys_client_nothing_is_sent_in_clear(
    synapse: Synapse, tmp_path: Path
) -> None:
    owner, bot = await synapse.user(new_name("owner")), await synapse.user(new_name("knock"))
    room = await synapse.new_room(owner, bot=bot, encrypted=True)
    settings = environment(synapse.url, bot, room, API_KEY=API_KEY, INVITE_CHECK_INTERVAL="5")
    async with NioReader.opened(bot, tmp_path / "the bot's own app"):
        with Server.uvicorn(tmp_path, settings) as server:
            await server.wait_ready("/readyz")
            house = House(synapse, owner, bot, room, [server])
            await wait_until(lambda: is_limited(server), within=10.0)
            await house.joined()
            await wait_until(lambda: "joined" in server.output, within=15.0)
            await asyncio.sleep(1.0)

            assert await house.events(bot) == []


async def is_limited(server: Server) -> bool:
    """Whether Knock says that it can do some things in part only."""
    async with server.client() as client:
        said = (await client.get("/readyz")).json()
    return bool(said.get("limited") == ["joins", "welcome"])


# Answers to the invite


async def test_a_no_is_on_record_at_once(synapse: Synapse, tmp_path: Path, way: Way) -> None:
    async with opened(synapse, tmp_path, way) as house:
        person = await house.somebody()
        await house.knock(person)
        await person.leave(house.room)

        await wait_until(lambda: "declined" in house.output, within=5.0)


async def test_a_reminder_reaches_the_invited_person(synapse: Synapse, tmp_path: Path, way: Way) -> None:
    async with opened(synapse, tmp_path, way, REMIND_AFTER="60") as house:
        person = await house.somebody()
        await house.knock(person)
        since = (await person.sync())["next_batch"]
        way.an_hour_later(tmp_path)
        news = await person.sync(since, timeout=10_000)

    (event,) = [
        event
        for event in news["rooms"]["invite"][house.room]["invite_state"]["events"]
        if event.get("state_key") == person.user_id
    ]
    assert event["content"]["reason"].startswith("Reminder 1: ")


async def test_an_invite_that_nobody_answers_is_withdrawn(synapse: Synapse, tmp_path: Path, way: Way) -> None:
    async with opened(synapse, tmp_path, way, REMIND_AFTER="", INVITE_LIFETIME="2") as house:
        person = await house.somebody()
        await house.knock(person)

        await wait_until(lambda: house.is_gone(person), within=10.0)


# The block-list


async def test_who_is_blocked_is_put_out_whatever_they_are(
    synapse: Synapse, tmp_path: Path, way: Way
) -> None:
    async with opened(synapse, tmp_path, way, join_rule="knock") as house:
        pending, member, knocking = [await house.somebody() for _ in range(3)]
        await house.knock(pending)
        await house.knock(member)
        await member.join(house.room)
        await knocking.must("POST", "knock", house.room, json={})
        for person in (pending, member, knocking):
            await house.admin("/block_user", user_id=person.user_id)

        for person in (pending, member, knocking):
            await wait_until(partial(house.is_gone, person), within=5.0)


@pytest.mark.promise(3)
async def test_who_is_blocked_and_comes_back_is_put_out_at_once(synapse: Synapse, tmp_path: Path) -> None:
    async with opened(synapse, tmp_path, join_rule="knock") as house:
        person = await house.somebody()
        await house.admin("/block_user", user_id=person.user_id)
        await person.must("POST", "knock", house.room, json={})
        await wait_until(lambda: house.is_gone(person), within=5.0)
        await house.owner.invite(house.room, person.user_id)

        await wait_until(lambda: house.is_gone(person), within=5.0)


# One watcher


@pytest.mark.promise(9)
async def test_another_process_welcomes_when_the_one_that_has_the_turn_is_killed(
    synapse: Synapse, tmp_path: Path, way: Way
) -> None:
    async with opened(synapse, tmp_path, way) as house:
        await house.welcomed(await house.joined())
        (leader,) = turns(house)
        kill(leader)
        began = time.monotonic()
        person = await house.joined()
        await house.welcomed(person, within=15.0)
        await asyncio.sleep(0.5)

        assert time.monotonic() - began < 12.0
        assert len(await house.welcomes(person)) == 1
        assert len(turns(house)) == 2


def turns(house: House) -> list[int]:
    """The processes that took the turn."""
    lines = [line for line in house.output.splitlines() if "this process has the turn" in line]
    return [int(re.search(r"pid\W+(\d+)", line)[1]) for line in lines]  # type: ignore[index]
