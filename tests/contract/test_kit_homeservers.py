"""The fake homeserver is not kinder than the real one: who may invite, kick, ban, join and leave.

Each fact here, in test_kit_rooms.py and in test_kit_sessions.py is asked of
both homeservers. What Synapse answers was read off Synapse 1.163; where the
fake differs a test fails, and so it does where a new Synapse differs.
"""

from __future__ import annotations

import pytest
from tests.kit.account import Account
from tests.kit.cast import (
    BAD_STATE,
    BLOCKED,
    FORBIDDEN,
    GRANTED,
    INVALID,
    NO_SUCH_ROOM,
    Cast,
    Outcome,
    Situation,
    banned,
    blocking,
    declined,
    equal,
    invited,
    invited_by_another,
    joined,
    joined_and_blocking,
    kicked,
    left,
    outcome,
    owner,
    stranger,
)
from tests.kit.homeserver import DENIED_SERVER, UNREACHABLE_SERVER, Homeserver


@pytest.mark.parametrize(
    ("action", "person", "expected"),
    [
        ("invite", stranger, GRANTED),
        ("invite", invited, GRANTED),
        ("invite", invited_by_another, GRANTED),
        ("invite", left, GRANTED),
        ("invite", declined, GRANTED),
        ("invite", kicked, GRANTED),
        ("invite", joined, FORBIDDEN),
        ("invite", banned, BAD_STATE),
        ("invite", blocking, BLOCKED),
        ("invite", joined_and_blocking, BLOCKED),
        ("kick", invited, GRANTED),
        ("kick", joined, GRANTED),
        ("kick", stranger, FORBIDDEN),
        ("kick", left, FORBIDDEN),
        ("kick", declined, FORBIDDEN),
        ("kick", kicked, FORBIDDEN),
        ("kick", equal, FORBIDDEN),
        ("kick", owner, FORBIDDEN),
        ("kick", banned, BAD_STATE),
        ("ban", stranger, GRANTED),
        ("ban", invited, GRANTED),
        ("ban", joined, GRANTED),
        ("ban", left, GRANTED),
        ("ban", banned, GRANTED),
        ("ban", equal, FORBIDDEN),
        ("ban", owner, FORBIDDEN),
        ("unban", banned, GRANTED),
        ("unban", stranger, GRANTED),
        ("unban", invited, BAD_STATE),
        ("unban", joined, BAD_STATE),
        ("unban", left, BAD_STATE),
    ],
)
async def test_what_the_bot_may_do_depends_on_the_persons_membership(
    cast: Cast, action: str, person: Situation, expected: Outcome
) -> None:
    target = await person(cast)

    assert await cast.act(cast.bot, action, target.user_id) == expected


@pytest.mark.parametrize(
    ("action", "becomes"), [("invite", "invite"), ("kick", "leave"), ("ban", "ban"), ("unban", "leave")]
)
async def test_an_action_becomes_the_membership(cast: Cast, action: str, becomes: str) -> None:
    target = await {"invite": stranger, "kick": joined, "ban": joined, "unban": banned}[action](cast)

    await cast.act(cast.bot, action, target.user_id)

    assert await cast.bot.membership(cast.room, target.user_id) == becomes


@pytest.mark.parametrize("action", ["invite", "kick", "ban", "unban"])
@pytest.mark.parametrize(("person", "expected"), [(joined, FORBIDDEN), (banned, None)])
async def test_an_outsider_may_do_nothing(
    cast: Cast, action: str, person: Situation, expected: Outcome | None
) -> None:
    # Whether the target is banned is looked at before the sender is.
    of_banned = {"invite": BAD_STATE, "kick": BAD_STATE, "ban": FORBIDDEN, "unban": FORBIDDEN}
    of_joined = {"unban": BAD_STATE}
    target = await person(cast)

    answered = await cast.act(cast.mallory, action, target.user_id)

    assert answered == (of_joined.get(action, expected) if expected else of_banned[action])


async def test_an_invited_bot_that_has_not_joined_may_not_invite(cast: Cast) -> None:
    person = await invited(cast)

    assert await cast.act(person, "invite", "@x:knock.test") == FORBIDDEN


@pytest.mark.parametrize("action", ["kick", "ban"])
async def test_a_member_without_power_may_not_remove_people(cast: Cast, action: str) -> None:
    weak, target = await joined(cast), await joined(cast)

    assert await cast.act(weak, action, target.user_id) == FORBIDDEN


async def test_a_member_without_power_may_not_unban(cast: Cast) -> None:
    weak, target = await joined(cast), await banned(cast)

    assert await cast.act(weak, "unban", target.user_id) == FORBIDDEN


async def test_inviting_takes_the_power_that_the_room_asks_for(homeserver: Homeserver) -> None:
    alice, bot = await homeserver.user("powerful"), await homeserver.user("powerless")
    room = await homeserver.new_room(alice, bot=bot, bot_power=49)
    levels = await alice.state(room, "m.room.power_levels")
    await alice.put_state(room, "m.room.power_levels", {**levels, "invite": 50})

    response = await bot.call("POST", "rooms", room, "invite", json={"user_id": "@x:knock.test"})

    assert outcome(response) == FORBIDDEN


async def test_an_invite_takes_no_power_when_the_levels_are_silent(homeserver: Homeserver) -> None:
    alice, bot = await homeserver.user("powerful"), await homeserver.user("powerless")
    room = await homeserver.new_room(alice, bot=bot, bot_power=0)

    response = await bot.call("POST", "rooms", room, "invite", json={"user_id": "@x:knock.test"})

    assert outcome(response) == GRANTED


async def test_before_version_12_the_creator_has_the_power_that_is_listed(homeserver: Homeserver) -> None:
    alice, bot = await homeserver.user("oldcreator"), await homeserver.user("oldbot")
    room = await homeserver.new_room(alice, bot=bot, bot_power=101, room_version="10")

    await bot.kick(room, alice.user_id)

    assert await bot.membership(room, alice.user_id) == "leave"


@pytest.mark.parametrize(("version", "named"), [("10", True), ("12", False)])
async def test_a_room_id_names_its_server_only_before_version_12(
    homeserver: Homeserver, version: str, named: bool
) -> None:
    room = await homeserver.new_room(await homeserver.user("creator"), room_version=version)

    assert room.endswith(":knock.test") is named


async def test_an_encrypted_room_says_so(homeserver: Homeserver) -> None:
    alice = await homeserver.user("secretive")
    room = await homeserver.new_room(alice, encrypted=True, join_rule="knock")

    assert (await alice.state(room, "m.room.encryption"))["algorithm"] == "m.megolm.v1.aes-sha2"


# Inviting


async def test_an_unknown_person_of_this_server_can_be_invited(cast: Cast) -> None:
    assert await cast.act(cast.bot, "invite", "@nobodyatall:knock.test") == GRANTED


async def test_an_invite_to_an_unreachable_server_is_a_502(cast: Cast) -> None:
    assert await cast.act(cast.bot, "invite", f"@x:{UNREACHABLE_SERVER}") == (502, "M_UNKNOWN")


async def test_an_invite_that_could_not_be_delivered_leaves_no_membership(cast: Cast) -> None:
    unreachable = f"@y:{UNREACHABLE_SERVER}"

    await cast.act(cast.bot, "invite", unreachable)

    assert await cast.bot.membership(cast.room, unreachable) is None


async def test_power_is_asked_for_before_another_server_is(cast: Cast) -> None:
    assert await cast.act(cast.mallory, "invite", f"@x:{UNREACHABLE_SERVER}") == FORBIDDEN


async def test_an_invite_to_a_server_that_is_not_federated_with_is_forbidden(cast: Cast) -> None:
    assert await cast.act(cast.bot, "invite", f"@x:{DENIED_SERVER}") == FORBIDDEN


async def test_a_ban_needs_no_other_server(cast: Cast) -> None:
    assert await cast.act(cast.bot, "ban", f"@banned:{UNREACHABLE_SERVER}") == GRANTED


async def test_a_repeated_invite_is_no_new_event(cast: Cast) -> None:
    person = await invited(cast)
    before = await cast.member_event(person)

    await cast.bot.invite(cast.room, person.user_id)

    assert (await cast.member_event(person))["event_id"] == before["event_id"]


async def test_an_invite_with_another_reason_is_a_new_event(cast: Cast) -> None:
    person = await invited(cast)
    before = await cast.member_event(person)

    await cast.bot.invite(cast.room, person.user_id, reason="A reminder")

    assert (await cast.member_event(person))["event_id"] != before["event_id"]


async def test_a_person_who_blocks_invites_can_allow_them_again(cast: Cast) -> None:
    person = await blocking(cast)
    await person.set_invite_block(blocked=False)

    assert await cast.act(cast.bot, "invite", person.user_id) == GRANTED


@pytest.mark.parametrize(
    ("user_id", "expected"),
    [("nonsense", INVALID), ("@nonsense", INVALID), ("alice:knock.test", INVALID), (5, (500, "M_UNKNOWN"))],
)
@pytest.mark.parametrize("action", ["invite", "kick"])
async def test_what_is_no_user_id_is_refused(
    cast: Cast, action: str, user_id: object, expected: Outcome
) -> None:
    response = await cast.bot.call("POST", "rooms", cast.room, action, json={"user_id": user_id})

    assert outcome(response) == expected


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"{", "M_NOT_JSON"), (b"[]", "M_BAD_JSON"), (b"{}", "M_MISSING_PARAM"), (b"", "M_MISSING_PARAM")],
)
@pytest.mark.parametrize("action", ["invite", "kick", "ban", "unban"])
async def test_a_body_that_cannot_be_read_is_a_400(cast: Cast, action: str, body: bytes, code: str) -> None:
    response = await cast.bot.call("POST", "rooms", cast.room, action, content=body)

    assert outcome(response) == (400, code)


@pytest.mark.parametrize(
    ("action", "expected"),
    [("invite", FORBIDDEN), ("ban", FORBIDDEN), ("kick", (404, "M_UNKNOWN")), ("unban", (404, "M_UNKNOWN"))],
)
async def test_an_unknown_room_is_refused(cast: Cast, action: str, expected: Outcome) -> None:
    body = {"user_id": "@x:knock.test"}

    assert outcome(await cast.bot.call("POST", "rooms", NO_SUCH_ROOM, action, json=body)) == expected


# Joining and leaving


async def joins(cast: Cast, person: Account) -> Outcome:
    return outcome(await person.call("POST", "rooms", cast.room, "join", json={}))


@pytest.mark.parametrize(
    ("person", "expected"),
    [(invited, GRANTED), (joined, GRANTED), (stranger, FORBIDDEN), (kicked, FORBIDDEN), (banned, BAD_STATE)],
)
async def test_who_may_join_a_private_room(cast: Cast, person: Situation, expected: Outcome) -> None:
    assert await joins(cast, await person(cast)) == expected


@pytest.mark.parametrize(
    ("person", "expected"),
    [
        (invited, GRANTED),
        (joined, GRANTED),
        (left, GRANTED),
        (stranger, FORBIDDEN),
        (kicked, FORBIDDEN),
        (banned, FORBIDDEN),
    ],
)
async def test_who_may_leave(cast: Cast, person: Situation, expected: Outcome) -> None:
    leaver = await person(cast)

    assert outcome(await leaver.call("POST", "rooms", cast.room, "leave", json={})) == expected


@pytest.mark.parametrize("action", ["join", "leave"])
async def test_an_unknown_room_can_be_neither_joined_nor_left(cast: Cast, action: str) -> None:
    response = await cast.bot.call("POST", "rooms", NO_SUCH_ROOM, action, json={})

    assert outcome(response) == (404, "M_UNKNOWN")


async def test_anybody_joins_a_public_room(homeserver: Homeserver) -> None:
    room = await homeserver.new_room(await homeserver.user("host"), join_rule="public")
    guest = await homeserver.user("guest")

    await guest.join(room)

    assert await guest.membership(room, guest.user_id) == "join"
