"""A raid at a running Knock: who passes, who is held, what moderators are told, and how they decide the wave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.api.running import Json, Running, Starting
from tests.kit.processes import wait_until

from mknock.domain.knocks import KnockState

S = KnockState
ARRIVALS = 5
CALM = 600.0
DOORS = """
[doors.garden]
room = "!garden"
moderators_room = "!moderators"
secrets.token = "token-of-the-garden-door-0123456789"
raids = { arrivals = 3, alike = 0, calm = "2m" }
"""


@pytest.fixture
async def raided(starting: Starting) -> AsyncIterator[Running]:
    """Eight people at a door where five may pass in five minutes."""
    async with starting(raid_arrivals=ARRIVALS, raid_alike=0, raid_calm=CALM) as knock:
        for number in range(8):
            knock.fake.add_user(f"raider{number}")
        await asyncio.gather(
            *(knock.post(raider(number), address=f"192.0.2.{number}") for number in range(8))
        )
        yield knock


def raider(number: int) -> str:
    return f"@raider{number}:knock.test"


async def ask(knock: Running, method: str, path: str, **body: Any) -> Json:
    answer = await knock.admin(method, path, body or None)
    assert answer.status_code == 200, answer.text
    said: Json = answer.json()
    return said


async def states(knock: Running) -> list[KnockState]:
    return [(await knock.knocks_of(raider(number)))[0].state for number in range(8)]


# --- while it lasts


async def test_the_first_few_are_invited_and_the_rest_of_the_burst_is_held(raided: Running) -> None:
    await wait_until(lambda: _invited(raided, ARRIVALS))
    assert (await states(raided)).count(S.HELD) == 3


async def _invited(knock: Running, count: int) -> bool:
    return (await states(knock)).count(S.INVITED) == count


async def test_the_raid_is_listed(raided: Running) -> None:
    listed = await ask(raided, "GET", "/raids")
    (raid,) = listed["raids"]
    assert (raid["door"], raid["cause"], raid["on"], raid["started_by"]) == (
        "main",
        "arrivals",
        True,
        "knock",
    )


@pytest.mark.promise(6)
async def test_the_answer_is_the_same_in_a_raid(starting: Starting) -> None:
    async with starting(raid_arrivals=ARRIVALS, raid_alike=0) as knock:
        answers = [await knock.post(raider(number)) for number in range(8)]
        assert len({(answer.status_code, answer.text) for answer in answers}) == 1


@pytest.mark.promise(6)
async def test_nobody_outside_can_see_that_there_is_one(raided: Running) -> None:
    answer = await raided.call("GET", "/readyz")
    assert "raid" not in answer.text


async def test_it_is_logged_once_and_without_names(raided: Running) -> None:
    await wait_until(lambda: any("is being raided" in line for line in raided.lines.written))
    await asyncio.sleep(1.2)
    lines = [line for line in raided.lines.written if "is being raided" in line]
    assert len(lines) == 1
    assert "raider" not in lines[0]


async def test_it_ends_by_itself_when_it_was_calm(raided: Running) -> None:
    raided.clock.ahead += CALM + 400
    await wait_until(lambda: any("a raid is over" in line for line in raided.lines.written))
    raided.fake.add_user("late")
    await raided.post("@late:knock.test")
    assert (await raided.settled("@late:knock.test")).state is S.INVITED


async def test_who_was_held_still_waits_after_it(raided: Running) -> None:
    await ask(raided, "POST", "/end_raid", door="main")
    assert (await states(raided)).count(S.HELD) == 3


# --- by hand


async def test_a_moderator_holds_everybody_and_lets_go(knock: Running) -> None:
    raid = await ask(knock, "POST", "/start_raid", door="main")
    assert (raid["cause"], raid["started_by"], raid["ends_at"], raid["on"]) == (
        "moderator",
        "api",
        None,
        True,
    )
    await knock.post(raider(0))
    assert (await knock.knocks_of(raider(0)))[0].state is S.HELD
    ended = await ask(knock, "POST", "/end_raid", door="main")
    assert (ended["on"], ended["ended_by"]) == (False, "api")
    knock.fake.add_user("raider1")
    await knock.post(raider(1))
    assert (await knock.settled(raider(1))).state is S.INVITED


async def test_it_may_be_for_a_time(knock: Running) -> None:
    raid = await ask(knock, "POST", "/start_raid", door="main", seconds=60)
    assert raid["ends_at"] == pytest.approx(raid["started_at"] + 60)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/start_raid", {"door": "nowhere"}, 404),
        ("/start_raid", {}, 422),
        ("/start_raid", {"door": "main", "seconds": 0}, 422),
        ("/start_raid", {"door": "main", "seconds": "NaN"}, 422),
        ("/end_raid", {"door": "main"}, 404),
        ("/end_raid", {"door": "x" * 65}, 422),
        ("/end_raid", {"door": "\x00"}, 404),
        ("/approve_wave", {"wave": "01AAAAAAAAAAAAAAAAAAAAAAAA"}, 404),
        ("/approve_wave", {"wave": "main", "spare": "one"}, 422),
        ("/refuse_wave", {"wave": "x" * 65}, 422),
        ("/refuse_wave", {"wave": "main", "block": "yes"}, 422),
        ("/approve_wave", {"wave": "main", "block": True}, 422),
    ],
)
async def test_what_is_wrong_is_said(knock: Running, path: str, body: Json, status: int) -> None:
    answer = await knock.admin("POST", path, body)
    assert answer.status_code == status
    assert answer.json()["error"]


@pytest.mark.parametrize("path", ["/wave", "/held_in_wave"])
async def test_a_wave_that_is_not_there_cannot_be_looked_at(knock: Running, path: str) -> None:
    assert (await knock.admin("GET", f"{path}?wave=main")).status_code == 404


@pytest.mark.parametrize("path", ["/raids", "/wave?wave=main", "/held_in_wave?wave=main"])
async def test_nobody_looks_without_the_key(knock: Running, path: str) -> None:
    assert (await knock.call("GET", path)).status_code == 401


@pytest.mark.parametrize("path", ["/start_raid", "/end_raid", "/approve_wave", "/refuse_wave"])
async def test_nobody_acts_without_the_key(knock: Running, path: str) -> None:
    assert (await knock.call("POST", path, json={"door": "main"})).status_code == 401


# --- the wave


async def test_a_wave_can_be_looked_at_first(raided: Running) -> None:
    wave = await ask(raided, "GET", "/wave?wave=main")
    assert (wave["held"], wave["states"], wave["reasons"]) == (3, {"held": 3}, {"raid": 3})
    assert wave["servers"] == {"knock.test": 3}
    assert wave["likenesses"] == {"aaaaaa9": 3}
    assert len(wave["people"]) == 3
    listed = await ask(raided, "GET", f"/held_in_wave?wave={wave['raid']['id']}")
    assert {one["wave"] for one in listed["knocks"]} == {wave["raid"]["id"]}


async def test_the_whole_wave_is_let_in(raided: Running) -> None:
    done = await ask(raided, "POST", "/approve_wave", wave="main", reason="a friendly crowd")
    assert (done["decided"], done["left"]) == (3, 0)
    await wait_until(lambda: _invited(raided, 8))


async def test_each_of_a_wave_has_its_line(raided: Running) -> None:
    knocks = (await ask(raided, "GET", "/held_in_wave?wave=main"))["knocks"]
    await ask(raided, "POST", "/approve_wave", wave="main", reason="a friendly crowd")
    for knock in knocks:
        lines = await raided.installation.parts.store.ledger(knock_id=knock["id"])
        assert [(line.actor, line.detail) for line in lines if line.action == "approve"] == [
            ("api", "a friendly crowd")
        ]


async def test_the_whole_wave_is_refused(raided: Running) -> None:
    assert (await ask(raided, "POST", "/refuse_wave", wave="main"))["decided"] == 3
    assert (await states(raided)).count(S.REFUSED) == 3


async def test_a_wave_is_blocked(raided: Running) -> None:
    await ask(raided, "POST", "/refuse_wave", wave="main", block=True, reason="raid")
    blocked = {rule["user_id"] for rule in (await ask(raided, "GET", "/blocklist"))["blocklist"]}
    refused = {raider(number) for number, state in enumerate(await states(raided)) if state is S.REFUSED}
    assert len(refused) == 3
    assert blocked == refused


async def test_who_is_spared_goes_on_waiting(raided: Running) -> None:
    knocks = (await ask(raided, "GET", "/held_in_wave?wave=main"))["knocks"]
    done = await ask(raided, "POST", "/refuse_wave", wave="main", spare=[knocks[0]["id"].lower()])
    assert (done["decided"], done["left"]) == (2, 1)
    left = (await ask(raided, "GET", "/held_in_wave?wave=main"))["knocks"]
    assert [one["id"] for one in left] == [knocks[0]["id"]]


async def test_deciding_again_changes_nothing(raided: Running) -> None:
    await ask(raided, "POST", "/refuse_wave", wave="main")
    assert await ask(raided, "POST", "/approve_wave", wave="main") | {"wave": ""} == {
        "wave": "",
        "decided": 0,
        "left": 0,
    }


async def test_who_waits_for_something_else_too_is_not_let_in_with_the_wave(starting: Starting) -> None:
    async with starting(raid_arrivals=1, raid_alike=0, risk_signals="links=hold") as knock:
        await knock.post(raider(0))
        await knock.post(raider(1))
        await knock.post(raider(2), fields={"Why?": "look at https://spam.example"})
        done = await ask(knock, "POST", "/approve_wave", wave="main")
        assert (done["decided"], done["left"]) == (1, 1)
        (left,) = (await ask(knock, "GET", "/held_in_wave?wave=main"))["knocks"]
        assert (left["reason"], left["signals"]) == ("links", ["links: 1 in the answers"])
        assert (await ask(knock, "POST", "/refuse_wave", wave="main"))["decided"] == 1


@pytest.mark.promise(4)
async def test_a_thousand_posts_naming_one_victim_make_one_invite_and_harm_nobody(
    starting: Starting,
) -> None:
    """From many addresses, so that no single one of them is asked to wait; ten thousand are in tests/chaos."""
    async with starting(raid_arrivals=30, raid_alike=10) as knock:
        knock.fake.add_user("victim")
        knock.fake.add_user("other")
        store = knock.installation.parts.store
        for batch in range(10):
            await asyncio.gather(
                *(knock.post("@victim:knock.test", address=f"10.1.{batch}.{number}") for number in range(100))
            )
        await knock.settled("@victim:knock.test")
        assert len(await knock.knocks_of("@victim:knock.test")) == 1
        lines = await store.ledger(user_id="@victim:knock.test", limit=100_000)
        assert [line.action for line in lines].count("invite") <= 1
        assert len(lines) < 10
        await knock.post("@other:knock.test", address="192.0.2.7")
        assert (await knock.settled("@other:knock.test")).state is S.INVITED


# --- what moderators are told


async def told(knock: Running, room: str) -> list[str]:
    return [
        event.content["body"] for event in knock.fake.rooms[room].timeline if event.type == "m.room.message"
    ]


async def test_the_moderators_room_is_told_once_of_the_beginning_and_of_the_end(starting: Starting) -> None:
    async with starting(doors=DOORS) as knock:
        room = knock.rooms["moderators"]
        path = "/d/garden/forms/form"
        headers = {"X-Form-Token": "token-of-the-garden-door-0123456789"}
        for number in range(6):
            await knock.call("POST", path, json={"matrix_id": raider(number)}, headers=headers)
        await wait_until(lambda: told(knock, room))
        (begun,) = await told(knock, room)
        assert begun.startswith("Door garden is being raided (4 in five minutes")
        knock.clock.ahead += 500
        await wait_until(lambda: _are_told(knock, room, 2))
        await asyncio.sleep(1.2)
        _, ended = await told(knock, room)
        assert "3 knocks were held, and 3 of them still wait" in ended


async def _are_told(knock: Running, room: str, count: int) -> bool:
    return len(await told(knock, room)) == count
