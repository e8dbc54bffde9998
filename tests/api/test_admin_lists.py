"""Held knocks and what becomes of them, and the lists of knocks, rules and members."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.api.running import BEARER, Json, Running, Starting

from mknock.domain.chance import new_id
from mknock.domain.ids import MatrixID
from mknock.domain.knocks import Knock, KnockState, Reason
from mknock.ports import Entry

DAVE = "@dave:knock.test"
NOBODYS = "01JZX4T8M2V7Q9R3C5B6N8KDWE"
of_both_verbs = pytest.mark.parametrize("verb", ["/approve", "/refuse"])


@pytest.fixture
async def door(starting: Starting) -> AsyncIterator[Running]:
    """A door that holds everybody."""
    async with starting(door_policy="review") as knock:
        yield knock


async def held(door: Running, user: str = DAVE) -> Json:
    door.fake.add_user(user)
    await door.post(user, fields={"Why?": "A friend told me"})
    knock: Json = (await door.admin("GET", "/held")).json()["knocks"][0]
    return knock


# --- held knocks ---------------------------------------------------------------------------------


async def test_a_held_knock_is_listed_with_what_the_person_said(door: Running) -> None:
    knock = await held(door)
    assert (knock["user_id"], knock["state"], knock["reason"], knock["answers"]) == (
        DAVE,
        "held",
        "review",
        [{"label": "Why?", "value": "A friend told me"}],
    )


async def test_held_knocks_are_listed_oldest_first(door: Running) -> None:
    for name in ("anna", "bert", "carl"):
        await door.post(f"@{name}:knock.test")
        door.clock.ahead += 1
    listed = (await door.admin("GET", "/held")).json()
    assert [knock["user_id"][1:5] for knock in listed["knocks"]] == ["anna", "bert", "carl"]


async def test_an_approved_knock_is_invited(door: Running) -> None:
    await door.admin("POST", "/approve", {"knock_id": (await held(door))["id"]})
    assert (await door.settled(DAVE)).state is KnockState.INVITED


async def test_a_knock_can_be_approved_by_the_persons_name(door: Running) -> None:
    await held(door)
    answer = await door.admin("POST", "/approve", {"user_id": DAVE})
    assert (answer.json()["state"], answer.json()["reason"]) == ("admitted", "moderator")


async def test_a_refused_knock_is_not_invited(door: Running) -> None:
    await held(door)
    answer = await door.admin("POST", "/refuse", {"user_id": DAVE, "reason": "not now"})
    assert (answer.json()["state"], answer.json()["detail"], door.membership(DAVE)) == (
        "refused",
        "not now",
        None,
    )


@pytest.mark.promise(8)
async def test_who_decided_is_in_the_ledger(door: Running) -> None:
    knock = await held(door)
    await door.admin("POST", "/refuse", {"knock_id": knock["id"], "reason": "not now"})
    line = (await door.installation.parts.store.ledger(knock_id=knock["id"]))[0]
    assert (line.actor, line.action, line.detail, line.before, line.after) == (
        "api",
        "refuse",
        "not now",
        "held",
        "refused",
    )


@pytest.mark.promise(3)
async def test_a_blocked_person_cannot_be_approved(door: Running) -> None:
    knock = await held(door)
    await door.admin("POST", "/block_user", {"user_id": DAVE})
    answer = await door.admin("POST", "/approve", {"knock_id": knock["id"]})
    assert (answer.status_code, door.membership(DAVE)) == (409, None)


@of_both_verbs
async def test_a_knock_is_decided_once(door: Running, verb: str) -> None:
    knock = await held(door)
    statuses = [(await door.admin("POST", verb, {"knock_id": knock["id"]})).status_code for _ in range(2)]
    assert statuses == [200, 409]


@of_both_verbs
async def test_an_unknown_knock_is_a_404(door: Running, verb: str) -> None:
    answer = await door.admin("POST", verb, {"knock_id": NOBODYS})
    assert (answer.status_code, answer.json()) == (404, {"error": f"there is no knock '{NOBODYS}'"})


@of_both_verbs
async def test_somebody_who_does_not_wait_is_a_404(door: Running, verb: str) -> None:
    answer = await door.admin("POST", verb, {"user_id": DAVE})
    assert (answer.status_code, answer.json()) == (404, {"error": f"{DAVE} has no held knock"})


@of_both_verbs
@pytest.mark.parametrize("body", [{}, {"knock_id": None}, {"reason": "why"}, {"knock_id": "", "user_id": ""}])
async def test_somebody_has_to_be_meant(door: Running, verb: str, body: Json) -> None:
    answer = await door.admin("POST", verb, body)
    assert (answer.status_code, answer.json()) == (
        422,
        {"error": "say which knock is meant: knock_id (see GET /held) or user_id"},
    )


@of_both_verbs
@pytest.mark.parametrize(
    "body", [{"knock_id": 7}, {"user_id": []}, {"knock_id": "x" * 65}, {"nock_id": "x"}, [], None, "x"]
)
async def test_a_wrong_type_is_told_in_a_sentence(door: Running, verb: str, body: object) -> None:
    answer = await door.call("POST", verb, json=body, headers=BEARER)
    assert (answer.status_code, list(answer.json())) == (422, ["error"])


@of_both_verbs
async def test_a_large_body_is_turned_away(door: Running, verb: str) -> None:
    assert (await door.admin("POST", verb, {"knock_id": "x" * 300 * 1024})).status_code == 413


# --- lists ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "name"),
    [("/held", "knocks"), ("/blocklist", "blocklist"), ("/pending_invites", "pending_invites")],
)
async def test_an_empty_list_is_a_list(knock: Running, path: str, name: str) -> None:
    assert (await knock.admin("GET", path)).json() == {name: [], "count": 0}


async def test_an_open_invite_is_pending(knock: Running) -> None:
    await knock.invited(DAVE)
    pending = (await knock.admin("GET", "/pending_invites")).json()
    assert [(one["user_id"], one["state"]) for one in pending["pending_invites"]] == [(DAVE, "invited")]


async def test_who_waits_for_the_homeserver_is_pending(knock: Running) -> None:
    knock.fake.fail(down=True)
    await knock.post(DAVE)
    pending = (await knock.admin("GET", "/pending_invites")).json()
    assert [(one["user_id"], one["state"]) for one in pending["pending_invites"]] == [(DAVE, "admitted")]


async def test_no_list_ends_early(knock: Running) -> None:
    await knock.installation.parts.store.import_knocks(
        [invited(number, knock.room) for number in range(2500)], Entry(at=0, actor="test", action="invited")
    )
    listed = (await knock.admin("GET", "/pending_invites")).json()
    assert (listed["count"], len(listed["pending_invites"])) == (2500, 2500)


def invited(number: int, room: str) -> Knock:
    user = MatrixID.of(f"@user{number}:knock.test")
    return Knock(
        id=new_id(number),
        door="main",
        room_id=room,
        user_id=str(user),
        user_key=user.key,
        state=KnockState.INVITED,
        reason=Reason.INVITED,
        created_at=number,
        updated_at=number,
        seen_at=number,
        expires_at=number,
    )


async def test_the_members_are_those_of_the_room_now(knock: Running) -> None:
    await knock.joined("dave")
    members = (await knock.admin("GET", "/room_members")).json()
    assert {member["user_id"] for member in members["members"]} == {
        DAVE,
        knock.alice.user_id,
        knock.bot.user_id,
    }


async def test_the_rooms_state_is_given_as_it_is(knock: Running) -> None:
    events = (await knock.admin("GET", "/room_state")).json()
    assert {event["type"] for event in events} >= {"m.room.create", "m.room.name", "m.room.power_levels"}


@pytest.mark.promise(5)
async def test_no_list_but_the_rooms_state_holds_its_address(knock: Running) -> None:
    await knock.joined("dave")
    answers = [
        await knock.admin("GET", path)
        for path in ("/held", "/blocklist", "/pending_invites", "/room_members", "/openapi.json", "/docs")
    ]
    assert not [answer for answer in answers if knock.room in answer.text]


# --- the store is away ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/held", None),
        ("GET", "/blocklist", None),
        ("GET", "/pending_invites", None),
        ("POST", "/block_user", {"user_id": DAVE}),
        ("POST", "/unblock_user", {"user_id": DAVE}),
        ("POST", "/rescind_invite", {"user_id": DAVE}),
        ("POST", "/approve", {"knock_id": NOBODYS}),
        ("POST", "/refuse", {"user_id": DAVE}),
    ],
)
async def test_without_its_store_knock_asks_to_come_back(
    knock: Running, method: str, path: str, body: Json | None
) -> None:
    await knock.installation.parts.store.close()
    answer = await knock.admin(method, path, body)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")


async def test_without_its_store_knock_is_not_ready(knock: Running) -> None:
    await knock.installation.parts.store.close()
    answer = await knock.call("GET", "/readyz")
    assert (answer.status_code, "store" in answer.json()["not_ready"]) == (503, True)


async def test_without_its_homeserver_knock_is_not_ready_but_runs(starting: Starting) -> None:
    async with starting() as knock:
        knock.fake.fail(down=True)
        await knock.installation.readiness.tick(0.0)
        answers = [await knock.call("GET", path) for path in ("/readyz", "/healthz", "/")]
        assert [answer.status_code for answer in answers] == [503, 200, 200]


async def test_readiness_names_the_part_and_nothing_more(knock: Running) -> None:
    knock.fake.fail(down=True)
    await knock.installation.readiness.tick(0.0)
    answer = await knock.call("GET", "/readyz")
    assert answer.json() == {"status": "not_ready", "not_ready": ["homeserver"]}
