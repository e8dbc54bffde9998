"""Blocking, unblocking, rescinding: what is done, and that the answer is true."""

from __future__ import annotations

import pytest
from tests.api.running import BEARER, Json, Running, Starting
from tests.kit.homeserver import UNREACHABLE_SERVER
from tests.kit.processes import wait_until

from mknock.domain.knocks import KnockState, Reason
from mknock.ports import Entry
from mknock.services.moderation import SHOWN_REASON

EVE = "@eve:knock.test"
VERBS = ["/block_user", "/rescind_invite"]
of_both_verbs = pytest.mark.parametrize("verb", VERBS)
of_every_verb = pytest.mark.parametrize("verb", [*VERBS, "/unblock_user"])


async def blocklist(knock: Running) -> list[str]:
    listed = (await knock.admin("GET", "/blocklist")).json()["blocklist"]
    return [rule["user_id"] for rule in listed]


async def ledger_of(knock: Running, user: str) -> list[Entry]:
    return await knock.installation.parts.store.ledger(user_id=user)


# --- blocking ------------------------------------------------------------------------------------


async def test_who_is_blocked_is_on_the_list(knock: Running) -> None:
    await knock.admin("POST", "/block_user", {"user_id": EVE, "reason": "spam"})
    rule = (await knock.admin("GET", "/blocklist")).json()["blocklist"][0]
    assert (rule["user_id"], rule["reason"], rule["source"]) == (EVE, "spam", "api")


async def test_blocking_says_what_it_did(knock: Running) -> None:
    answer = (await knock.admin("POST", "/block_user", {"user_id": EVE})).json()
    assert (answer["status"], answer["user_id"], answer["removal"]) == ("blocked", EVE, "not_there")


async def test_blocking_again_says_so(knock: Running) -> None:
    await knock.admin("POST", "/block_user", {"user_id": EVE})
    assert (await knock.admin("POST", "/block_user", {"user_id": EVE})).json()["status"] == "already_blocked"


async def test_a_blocked_member_is_kicked(knock: Running) -> None:
    await knock.joined("eve")
    answer = await knock.admin("POST", "/block_user", {"user_id": EVE})
    assert (answer.json()["removal"], knock.membership(EVE)) == ("kicked", "leave")


async def test_blocking_withdraws_an_open_invite(knock: Running) -> None:
    await knock.invited(EVE)
    answer = await knock.admin("POST", "/block_user", {"user_id": EVE})
    assert (answer.json()["removal"], knock.membership(EVE)) == ("invite_withdrawn", "leave")


async def test_blocking_a_knocking_member_turns_the_knock_down(starting: Starting) -> None:
    async with starting(native_knocks=False) as knock:
        knock.fake.add_user("eve")
        knock.fake.rooms[knock.room].set_membership(EVE, EVE, "knock")
        heard = len(knock.fake.calls_of("sync"))
        await wait_until(lambda: len(knock.fake.calls_of("sync")) > heard)  # or the watchdog might be quicker
        answer = await knock.admin("POST", "/block_user", {"user_id": EVE})
        assert answer.json()["removal"] == "knock_refused"


async def test_case_makes_nobody_another_person(knock: Running) -> None:
    await knock.invited(EVE)
    await knock.admin("POST", "/block_user", {"user_id": "@EVE:KNOCK.test"})
    assert (await knock.knocks_of(EVE))[0].state is KnockState.RESCINDED


async def test_the_blocked_person_is_not_told_why(knock: Running) -> None:
    await knock.joined("eve")
    await knock.admin("POST", "/block_user", {"user_id": EVE, "reason": "they are awful"})
    kick = knock.fake.calls_of("kick")[0]
    assert (b"awful" in kick.body, SHOWN_REASON.encode() in kick.body) == (False, True)


async def test_a_reason_with_a_line_break_blocks_one_person(knock: Running) -> None:
    await knock.admin("POST", "/block_user", {"user_id": EVE, "reason": "bad\n@innocent:knock.test"})
    assert await blocklist(knock) == [EVE]


async def test_what_is_typed_as_people_type_is_mended(knock: Running) -> None:
    typed = " https://matrix.to/#/@eve:knock.test "
    assert (await knock.admin("POST", "/block_user", {"user_id": typed})).json()["user_id"] == EVE


async def test_a_name_without_a_server_is_of_the_default_server(knock: Running) -> None:
    assert (await knock.admin("POST", "/block_user", {"user_id": "eve"})).json()["user_id"] == EVE


@pytest.mark.promise(8)
async def test_every_step_of_blocking_is_in_the_ledger(knock: Running) -> None:
    await knock.invited(EVE)
    await knock.admin("POST", "/block_user", {"user_id": EVE, "reason": "spam"})
    steps = {(line.actor, line.action, line.after) for line in await ledger_of(knock, EVE)}
    assert steps >= {("api", "block", "blocked"), ("api", "block", "rescinded")}


async def test_nobody_is_blocked_but_who_was_named(knock: Running) -> None:
    bystanders = [(await knock.joined(name)).user_id for name in ("u10", "u11", "u77")]
    await knock.admin("POST", "/block_user", {"user_id": "@u99:knock.test"})
    assert [knock.membership(user) for user in bystanders] == ["join"] * 3


async def test_a_name_like_the_bots_is_not_the_bot(knock: Running) -> None:
    await knock.admin("POST", "/block_user", {"user_id": "@bat:knock.test"})
    assert knock.membership(knock.bot.user_id) == "join"


# --- unblocking ----------------------------------------------------------------------------------


async def test_who_is_unblocked_is_off_the_list(knock: Running) -> None:
    await knock.admin("POST", "/block_user", {"user_id": EVE})
    await knock.admin("POST", "/unblock_user", {"user_id": EVE})
    assert await blocklist(knock) == []


async def test_unblocking_claims_nothing_about_the_room(knock: Running) -> None:
    await knock.admin("POST", "/block_user", {"user_id": EVE})
    answer = (await knock.admin("POST", "/unblock_user", {"user_id": EVE})).json()
    assert (answer["status"], answer["removal"]) == ("unblocked", None)


async def test_who_was_unblocked_may_come_in(knock: Running) -> None:
    await knock.admin("POST", "/block_user", {"user_id": EVE})
    await knock.post(EVE)
    await knock.admin("POST", "/unblock_user", {"user_id": EVE})
    assert (await knock.invited(EVE)).user_id == EVE


async def test_unblocking_somebody_who_is_not_blocked_is_a_404(knock: Running) -> None:
    answer = await knock.admin("POST", "/unblock_user", {"user_id": EVE})
    assert (answer.status_code, answer.json()) == (404, {"error": f"{EVE} is not on the block-list"})


# --- rescinding ----------------------------------------------------------------------------------


async def test_rescinding_withdraws_the_invite_on_the_homeserver(knock: Running) -> None:
    await knock.invited(EVE)
    answer = (await knock.admin("POST", "/rescind_invite", {"user_id": EVE})).json()
    assert (answer["status"], answer["removal"], knock.membership(EVE)) == (
        "rescinded",
        "invite_withdrawn",
        "leave",
    )


async def test_rescinding_kicks_who_has_joined(knock: Running) -> None:
    await knock.joined("eve")
    answer = (await knock.admin("POST", "/rescind_invite", {"user_id": EVE})).json()
    assert (answer["removal"], knock.membership(EVE)) == ("kicked", "leave")


async def test_rescinding_stops_a_held_knock(starting: Starting) -> None:
    async with starting(door_policy="review") as knock:
        await knock.post(EVE)
        await knock.admin("POST", "/rescind_invite", {"user_id": EVE})
        assert (await knock.knocks_of(EVE))[0].state is KnockState.REFUSED


@pytest.mark.parametrize("user", [EVE, "@nobody:elsewhere.test", f"@eve:{UNREACHABLE_SERVER}"])
async def test_rescinding_where_there_is_nothing_is_a_404(knock: Running, user: str) -> None:
    answer = await knock.admin("POST", "/rescind_invite", {"user_id": user})
    assert (answer.status_code, answer.json()) == (
        404,
        {"error": f"{user} has no open invite and is not in the room"},
    )


async def test_rescinding_twice_is_a_404_the_second_time(knock: Running) -> None:
    await knock.invited(EVE)
    statuses = [
        (await knock.admin("POST", "/rescind_invite", {"user_id": EVE})).status_code for _ in range(2)
    ]
    assert statuses == [200, 404]


async def test_who_was_rescinded_is_not_invited_again_on_a_strangers_word(starting: Starting) -> None:
    async with starting(knock_cooldown=0) as knock:
        await knock.invited(EVE)
        await knock.admin("POST", "/rescind_invite", {"user_id": EVE})
        await knock.post(EVE)
        latest = (await knock.knocks_of(EVE))[0]
        assert (latest.state, latest.reason) == (KnockState.HELD, Reason.BEFORE)


# --- whom nobody may touch -----------------------------------------------------------------------


@of_both_verbs
async def test_knock_refuses_to_act_on_itself(knock: Running, verb: str) -> None:
    answer = await knock.admin("POST", verb, {"user_id": knock.bot.user_id})
    assert (answer.status_code, answer.json()) == (403, {"error": "that is Knock's own account"})


@of_both_verbs
async def test_knock_stays_in_the_room_all_the_same(knock: Running, verb: str) -> None:
    await knock.admin("POST", verb, {"user_id": knock.bot.user_id.upper()})
    assert knock.membership(knock.bot.user_id) == "join"


@of_both_verbs
async def test_the_owner_cannot_be_removed(knock: Running, verb: str) -> None:
    assert (await knock.admin("POST", verb, {"user_id": knock.alice.user_id})).status_code == 403


@of_both_verbs
async def test_equals_cannot_be_removed(knock: Running, verb: str) -> None:
    carol = await knock.joined("carol")
    levels = await knock.alice.state(knock.room, "m.room.power_levels")
    users = {**levels["users"], carol.user_id: 50}
    await knock.alice.put_state(knock.room, "m.room.power_levels", {**levels, "users": users})
    statuses = (await knock.admin("POST", verb, {"user_id": carol.user_id})).status_code
    assert (statuses, knock.membership(carol.user_id)) == (403, "join")


async def test_who_cannot_be_blocked_is_not_on_the_list(knock: Running) -> None:
    await knock.admin("POST", "/block_user", {"user_id": knock.alice.user_id})
    assert await blocklist(knock) == []


async def test_a_bot_without_power_says_so(knock: Running) -> None:
    await knock.joined("eve")
    await take_power_away(knock)
    answer = (await knock.admin("POST", "/block_user", {"user_id": EVE})).json()
    assert (answer["status"], answer["removal"]) == ("blocked", "refused")


async def test_rescinding_without_power_does_not_claim_success(knock: Running) -> None:
    await knock.invited(EVE)
    await take_power_away(knock)
    answer = (await knock.admin("POST", "/rescind_invite", {"user_id": EVE})).json()
    assert (answer["status"], answer["removal"]) == ("rescinding", "refused")


async def take_power_away(knock: Running) -> None:
    levels = await knock.alice.state(knock.room, "m.room.power_levels")
    await knock.alice.put_state(
        knock.room, "m.room.power_levels", {**levels, "users": {}, "invite": 50, "kick": 50}
    )


# --- while the homeserver is away ----------------------------------------------------------------


@pytest.mark.promise(7)
@of_both_verbs
async def test_an_outage_is_told_as_not_knowing(knock: Running, verb: str) -> None:
    await knock.invited(EVE)
    knock.fake.fail(down=True)
    assert (await knock.admin("POST", verb, {"user_id": EVE})).json()["removal"] == "unknown"


@pytest.mark.promise(7)
async def test_rescinding_in_an_outage_does_not_claim_success(knock: Running) -> None:
    await knock.invited(EVE)
    knock.fake.fail(down=True)
    answer = (await knock.admin("POST", "/rescind_invite", {"user_id": EVE})).json()
    assert answer["status"] == "rescinding"


@of_both_verbs
async def test_the_invite_is_withdrawn_when_the_homeserver_is_back(knock: Running, verb: str) -> None:
    await knock.invited(EVE)
    knock.fake.fail(down=True)
    await knock.admin("POST", verb, {"user_id": EVE})
    knock.fake.mend()
    knock.clock.ahead += 120
    knock.installation.wake()
    await wait_until(lambda: knock.membership(EVE) == "leave")


async def test_in_an_outage_somebody_is_blocked_all_the_same(knock: Running) -> None:
    knock.fake.fail(down=True)
    await knock.admin("POST", "/block_user", {"user_id": EVE})
    assert await blocklist(knock) == [EVE]


@pytest.mark.promise(7)
async def test_of_somebody_unknown_in_an_outage_nothing_can_be_said(knock: Running) -> None:
    knock.fake.fail(down=True)
    answer = await knock.admin("POST", "/rescind_invite", {"user_id": EVE})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")


@pytest.mark.promise(7)
@pytest.mark.parametrize("path", ["/room_members", "/room_state"])
@pytest.mark.parametrize(
    "how", [{"down": True}, {"status": 502}, {"status": 500}, {"status": 429, "retry_after": 7}]
)
async def test_the_room_cannot_be_listed_in_an_outage(knock: Running, path: str, how: Json) -> None:
    knock.fake.fail(**how)
    answer = await knock.admin("GET", path)
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)


async def test_a_limits_own_wait_is_passed_on(knock: Running) -> None:
    knock.fake.fail("joined_members", status=429, retry_after=7)
    assert (await knock.admin("GET", "/room_members")).headers["retry-after"] == "7"


async def test_a_definite_no_of_the_homeserver_is_no_outage(knock: Running) -> None:
    knock.fake.rooms[knock.room].set_membership(knock.alice.user_id, knock.bot.user_id, "leave")
    assert (await knock.admin("GET", "/room_members")).status_code == 502


# --- the shape of what is asked ------------------------------------------------------------------


@of_every_verb
@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"user_id": None}, "user_id must be text, such as @alice:example.org"),
        ({"user_id": 42}, "user_id must be text, such as @alice:example.org"),
        ({"user_id": ["@eve:knock.test"]}, "user_id must be text, such as @alice:example.org"),
        ({"user_id": {"@eve": 1}}, "user_id must be text, such as @alice:example.org"),
        ({"user_id": True}, "user_id must be text, such as @alice:example.org"),
        ({"user_id": EVE, "reason": 5}, "reason must be text"),
        ({"user_id": EVE, "reason": ["a"]}, "reason must be text"),
        ({}, "user_id is missing"),
        ({"reason": "why"}, "user_id is missing"),
        ({"user_id": EVE, "ban": True}, "ban is not known here"),
        ([], 'the body must be a JSON object, such as {"user_id": "@alice:example.org"}'),
        ("text", 'the body must be a JSON object, such as {"user_id": "@alice:example.org"}'),
        (7, 'the body must be a JSON object, such as {"user_id": "@alice:example.org"}'),
        ({"user_id": ""}, "No Matrix ID was given; a Matrix ID looks like @alice:example.org."),
        (
            {"user_id": "eve@mail.example.org"},
            "That looks like an e-mail address; a Matrix ID looks like @alice:example.org.",
        ),
    ],
)
async def test_a_wrong_type_is_told_in_a_sentence(
    knock: Running, verb: str, body: object, sentence: str
) -> None:
    answer = await knock.admin("POST", verb, body)
    assert (answer.status_code, answer.json()) == (422, {"error": sentence})


@of_every_verb
@pytest.mark.parametrize(
    "typed", ["garbage of all sorts", "@:knock.test", "!room:knock.test", "#room:knock.test", "@a@b@c"]
)
async def test_garbage_is_nobody(knock: Running, verb: str, typed: str) -> None:
    answer = await knock.admin("POST", verb, {"user_id": typed})
    assert (answer.status_code, await blocklist(knock)) == (422, [])


@of_every_verb
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"\xff\xfe",
        b'{"user_id": "\\ud800"}',
        b'{"\\ud800": 1}',
        b"[" * 100_000,
        b'{"a": NaN}',
    ],
)
async def test_what_is_no_json_object_is_a_422(knock: Running, verb: str, content: bytes) -> None:
    headers = {**BEARER, "Content-Type": "application/json"}
    answer = await knock.call("POST", verb, content=content, headers=headers)
    assert (answer.status_code, list(answer.json())) == (422, ["error"])


@of_every_verb
async def test_json_under_another_content_type_is_a_422(knock: Running, verb: str) -> None:
    headers = {**BEARER, "Content-Type": "text/plain"}
    answer = await knock.call("POST", verb, content=b'{"user_id": "@eve:knock.test"}', headers=headers)
    assert answer.status_code == 422


@of_every_verb
async def test_an_explicit_null_reason_is_none(knock: Running, verb: str) -> None:
    answer = await knock.admin("POST", verb, {"user_id": EVE, "reason": None})
    assert answer.status_code in (200, 404)


@of_every_verb
async def test_a_large_body_is_turned_away(knock: Running, verb: str) -> None:
    answer = await knock.admin("POST", verb, {"user_id": EVE, "reason": "x" * 300 * 1024})
    assert (answer.status_code, answer.json()) == (413, {"error": "the body is larger than 256 KiB"})


@of_every_verb
@pytest.mark.parametrize("field", ["user_id", "reason"])
async def test_a_long_text_is_a_422(knock: Running, verb: str, field: str) -> None:
    answer = await knock.admin("POST", verb, {"user_id": EVE, field: "x" * 5000})
    assert answer.status_code == 422


async def test_a_problem_does_not_repeat_what_a_stranger_wrote_at_length(knock: Running) -> None:
    answer = await knock.admin("POST", "/block_user", {"k" * 9000: 1, "user_id": EVE})
    assert len(answer.text) < 200
