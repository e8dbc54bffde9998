"""Several doors at once: each with its own room, secrets, policy and limits, and none that can be found by asking."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from tests.api.running import API_KEY, DOORS_TOKEN, FORM_TOKEN, SIGNING_SECRET, Running, Starting
from tests.api.test_form_gate import BODY
from tests.kit.processes import wait_until

from mknock.domain.knocks import Knock, KnockState, Reason
from mknock.wiring.application import _hear_signals

S = KnockState
DOORS = f"""
[doors.garden]
room = "!garden"
[doors.garden.secrets]
token = "{DOORS_TOKEN}"
tally = "{SIGNING_SECRET}"

[doors.cellar]
room = "!cellar"
policy = "review"
invite_reason = "Mind the stairs."
[doors.cellar.limits]
door = 2
[doors.cellar.secrets]
token = "another-token-of-the-cellar"

[doors.attic]
room = "!attic"
"""
TOKEN = {"X-Form-Token": DOORS_TOKEN}
CELLAR = {"X-Form-Token": "another-token-of-the-cellar"}
CANARY = "@carol:knock.test"


@pytest.fixture
async def house(starting: Starting) -> AsyncIterator[Running]:
    """The environment's door with a form token, and three in a file; the attic has no secret."""
    async with starting(form_token=FORM_TOKEN, doors=DOORS) as knock:
        yield knock


async def at(knock: Running, path: str, user: str = CANARY, **options: Any) -> httpx2.Response:
    return await knock.call("POST", path, **{"json": {"matrix_id": user}, **options})


async def only(knock: Running, user: str = CANARY) -> Knock:
    (found,) = await knock.knocks_of(user)
    return found


def visible(response: httpx2.Response) -> tuple[int, list[tuple[str, str]], bytes]:
    return response.status_code, sorted(response.headers.items()), response.content


# --- each door for itself


async def test_each_door_invites_to_its_own_room(house: Running) -> None:
    for path, headers, name in (
        ("/invite_from_form", {"X-Form-Token": FORM_TOKEN}, "ada"),
        ("/d/garden/forms/plain", TOKEN, "ben"),
    ):
        house.fake.add_user(f"@{name}:knock.test")
        await at(house, path, f"@{name}:knock.test", headers=headers)
        await house.settled(f"@{name}:knock.test")
    garden = house.fake.rooms[house.rooms["garden"]]

    assert (
        house.membership("@ada:knock.test"),
        garden.membership("@ada:knock.test"),
        house.membership("@ben:knock.test"),
        garden.membership("@ben:knock.test"),
    ) == ("invite", None, None, "invite")


async def test_each_door_has_its_own_policy(house: Running) -> None:
    await at(house, "/d/cellar/forms/plain", headers=CELLAR)
    knock = await only(house)

    assert (knock.door, knock.state, knock.reason) == ("cellar", S.HELD, Reason.REVIEW)


async def test_each_door_has_its_own_windows(house: Running) -> None:
    for number in range(3):
        await at(house, "/d/cellar/forms/plain", f"@p{number}:knock.test", headers=CELLAR)
    await at(house, "/d/garden/forms/plain", "@p9:knock.test", headers=TOKEN)
    reasons = [(await only(house, f"@p{number}:knock.test")).reason for number in (1, 2)]

    assert reasons == [Reason.REVIEW, Reason.WAVE]
    assert (await only(house, "@p9:knock.test")).state is not S.HELD


async def test_a_moderators_yes_invites_to_the_doors_room_with_its_words(house: Running) -> None:
    house.fake.add_user(CANARY)
    await at(house, "/d/cellar/forms/plain", headers=CELLAR)
    await house.admin("POST", "/approve", {"user_id": CANARY})
    await wait_until(lambda: house.fake.rooms[house.rooms["cellar"]].membership(CANARY) == "invite")
    event = house.fake.rooms[house.rooms["cellar"]].member_event(CANARY)

    assert event is not None
    assert event.content["reason"] == "Mind the stairs."


@pytest.mark.promise(4)
async def test_a_person_has_one_open_unproven_invite_over_all_doors(house: Running) -> None:
    await house.invited(CANARY)
    await at(house, "/d/garden/forms/plain", headers=TOKEN)
    newest = (await house.knocks_of(CANARY))[0]

    assert (newest.door, newest.state, newest.reason) == ("garden", S.HELD, Reason.OPEN_ELSEWHERE)


async def test_who_is_blocked_is_put_out_of_every_doors_room(house: Running) -> None:
    person = house.fake.log_in("carol")
    for room in (house.room, *house.rooms.values()):
        await house.alice.invite(room, person.user_id)
        await person.join(room)
    await house.admin("POST", "/block_user", {"user_id": person.user_id})

    assert {house.fake.rooms[room].membership(CANARY) for room in (house.room, *house.rooms.values())} == {
        "leave"
    }


async def test_a_join_at_any_door_is_heard(house: Running) -> None:
    person = house.fake.log_in("carol")
    await at(house, "/d/garden/forms/plain", headers=TOKEN)
    await house.settled(CANARY)
    await person.join(house.rooms["garden"])
    await wait_until(lambda: is_in_state(house, S.JOINED))


async def is_in_state(house: Running, state: KnockState) -> bool:
    return (await house.knocks_of(CANARY))[0].state is state


async def test_a_door_whose_room_the_bot_was_thrown_out_of_does_not_stop_the_others(house: Running) -> None:
    await house.alice.kick(house.rooms["attic"], house.bot.user_id)
    await house.installation.readiness.tick(house.clock())
    ready = await house.call("GET", "/readyz")
    await house.invited(CANARY)

    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "limited": ["room"]})


# --- who may post


LETS_IN: dict[str, dict[str, Any]] = {
    "its token": {"headers": TOKEN},
    "its token in the address": {"params": {"token": DOORS_TOKEN}},
    "its token as a bearer": {"headers": {"Authorization": f"Bearer {DOORS_TOKEN}"}},
    "the API key": {"headers": {"Authorization": f"Bearer {API_KEY}"}},
    "a signature": {
        "content": BODY,
        "json": None,
        "headers": {
            "Content-Type": "application/json",
            "Tally-Signature": base64.b64encode(
                hmac.digest(SIGNING_SECRET.encode(), BODY, hashlib.sha256)
            ).decode(),
        },
    },
}


@pytest.mark.parametrize("how", LETS_IN)
async def test_a_door_is_opened_by_its_own_secrets(house: Running, how: str) -> None:
    assert (await at(house, "/d/garden/forms/tally-or-not", **LETS_IN[how])).status_code == 200


WRONG: dict[str, dict[str, Any]] = {
    "nothing": {},
    "another word": {"params": {"token": "guess"}},
    "the environment's": {"params": {"token": FORM_TOKEN}},
    "another door's": {"headers": CELLAR},
    "a wrong signature": {"headers": {"Tally-Signature": "AAAA"}},
    "an old-fashioned form": {"json": None, "data": {"matrix_id": CANARY}},
    "nonsense": {"json": None, "content": b"\xff{"},
}


@pytest.mark.promise(6)
@pytest.mark.parametrize("how", WRONG)
async def test_a_wrong_secret_and_an_unknown_door_look_alike(house: Running, how: str) -> None:
    answers = [
        visible(await at(house, f"/d/{slug}/forms/tally", **WRONG[how]))
        for slug in ("garden", "attic", "nowhere", "%00", "x" * 500)
    ]

    assert (answers[0][0], answers.count(answers[0])) == (401, len(answers))


@pytest.mark.promise(6)
async def test_nothing_is_looked_up_before_a_wrong_secret_or_an_unknown_door_is_answered(
    house: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, asked = house.installation.parts.store, []
    for name in ("admit", "must_wait", "count_request", "secret", "write"):
        monkeypatch.setattr(store, name, lambda *_, name=name, **__: asked.append(name))
    house.fake.reset()
    for slug in ("garden", "nowhere"):
        await at(house, f"/d/{slug}/forms/tally")
    monkeypatch.undo()

    assert [name for name in asked if name != "secret"] == []  # duties in the background read secrets


async def test_a_door_without_a_secret_is_opened_by_the_api_key_alone(house: Running) -> None:
    bearer = {"Authorization": f"Bearer {API_KEY}"}
    statuses = [(await at(house, "/d/attic/forms/plain", headers=how)).status_code for how in ({}, bearer)]

    assert statuses == [401, 200]


async def test_even_with_the_api_key_an_unknown_door_is_401(house: Running) -> None:
    answer = await at(house, "/d/nowhere/forms/plain", headers={"Authorization": f"Bearer {API_KEY}"})

    assert answer.status_code == 401


async def test_the_environments_door_by_its_name_needs_its_secret_too(starting: Starting) -> None:
    async with starting(doors=DOORS) as knock:
        named = await at(knock, "/d/main/forms/plain")
        first = await at(knock, "/invite_from_form")

    assert (named.status_code, first.status_code) == (401, 200)


async def test_the_log_says_which_secret_was_wrong(house: Running) -> None:
    await at(house, "/d/garden/forms/tally", headers={"Tally-Signature": "AAAA"})
    await at(house, "/d/nowhere/forms/tally")
    said = "\n".join(house.lines.written)

    assert ("does not match secrets.tally" in said, "there is no door of that name" in said) == (True, True)


# --- the address


@pytest.mark.parametrize(
    "path",
    [
        "/d/garden/forms/tally",
        "/d/garden/forms/",
        "/d/garden/forms",
        "/d/garden/forms//",
        "/d//garden//forms//tally//",
        "/d/garden/forms/a/b/c",
        "/d/garden/forms/%F0%9F%92%A5",
        "/d/no where/forms/tally",
        "/d/%2e%2e/forms/tally",
        "/d/garden/forms/" + "x" * 3000,
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "POST"])
async def test_nothing_below_a_doors_forms_looks_gone(house: Running, method: str, path: str) -> None:
    answer = await house.call(method, path)

    assert answer.status_code == (401 if method == "POST" else 405)


async def test_the_address_names_the_reader(house: Running) -> None:
    answer = await at(house, "/d/garden/forms/typeform", headers=TOKEN)

    assert (answer.status_code, answer.json()["status"]) == (200, "not_understood")


@pytest.mark.parametrize("name", ["form", "whatever", "zapier", "plain", "Plain"])
async def test_a_word_that_is_no_platform_lets_the_shape_say_it(house: Running, name: str) -> None:
    answer = await at(house, f"/d/garden/forms/{name}", headers=TOKEN)

    assert (answer.json()["status"], (await only(house)).platform) == ("received", "plain")


async def test_a_signature_vouches_for_its_platform_whatever_the_address_says(house: Running) -> None:
    body = json.dumps({"matrix_id": CANARY}).encode()
    mac = base64.b64encode(hmac.digest(SIGNING_SECRET.encode(), body, hashlib.sha256)).decode()
    headers = {"Content-Type": "application/json", "Tally-Signature": mac}
    answer = await house.call("POST", "/d/garden/forms/plain", content=body, headers=headers)

    assert (answer.json()["status"], await house.knocks_of(CANARY)) == ("not_understood", [])


async def test_the_answers_are_those_of_the_first_door(house: Running) -> None:
    first = await house.post("@one:knock.test")
    named = await at(house, "/d/garden/forms/plain", "@two:knock.test", headers=TOKEN)

    assert visible(first) == visible(named)


async def test_a_body_that_is_too_long_is_refused_whichever_door(house: Running) -> None:
    answers = [
        await house.call("POST", f"/d/{slug}/forms/plain", content=b"x" * 300_000, headers=TOKEN)
        for slug in ("garden", "nowhere")
    ]

    assert [answer.status_code for answer in answers] == [413, 413]
    assert visible(answers[0]) == visible(answers[1])


# --- while it runs


async def rewritten(house: Running, text: str) -> None:
    path = house.installation.parts.settings.doors_file
    assert path is not None
    path.write_text(text)
    await house.installation.reload.tick(0.0)


async def test_a_door_that_is_added_while_it_runs_takes_forms(house: Running) -> None:
    room = await house.fake.new_room(house.alice, bot=house.bot)
    house.secrets.append(room)
    await rewritten(house, f'[doors.roof]\nroom = "{room}"\nsecrets.token = "{DOORS_TOKEN}"\n')
    house.fake.add_user(CANARY)
    await at(house, "/d/roof/forms/plain", headers=TOKEN)
    await house.settled(CANARY)

    assert house.fake.rooms[room].membership(CANARY) == "invite"


async def test_a_wrong_file_keeps_the_doors_and_is_told(house: Running) -> None:
    await rewritten(house, '[doors.garden]\nroom = "#alias:knock.test"\n')
    answer = await at(house, "/d/garden/forms/plain", headers=TOKEN)
    limited = (await house.call("GET", "/readyz")).json()["limited"]

    assert (answer.status_code, limited) == (200, ["doors"])
    assert "room is an alias" in "\n".join(house.lines.written)


async def test_a_file_that_is_gone_keeps_the_doors(house: Running) -> None:
    path = house.installation.parts.settings.doors_file
    assert path is not None
    path.unlink()
    await house.installation.reload.tick(0.0)

    assert (await at(house, "/d/garden/forms/plain", headers=TOKEN)).status_code == 200


async def test_a_knock_of_a_door_that_is_gone_goes_to_its_own_room(house: Running) -> None:
    house.fake.add_user(CANARY)
    await at(house, "/d/cellar/forms/plain", headers=CELLAR)
    await rewritten(house, "")
    await house.admin("POST", "/approve", {"user_id": CANARY})
    await house.settled(CANARY)
    cellar = house.fake.rooms[house.rooms["cellar"]]
    await wait_until(lambda: cellar.membership(CANARY) == "invite")

    assert house.membership(CANARY) is None


async def test_a_form_of_a_door_that_is_gone_is_401(house: Running) -> None:
    await rewritten(house, "")

    assert (await at(house, "/d/garden/forms/plain", headers=TOKEN)).status_code == 401


async def test_sighup_reads_the_file_anew(house: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = asyncio.Event()
    monkeypatch.setattr(house.installation, "read_doors_anew", heard.set)
    restore = _hear_signals(house.installation)
    try:
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.wait_for(heard.wait(), 5.0)
    finally:
        restore()
