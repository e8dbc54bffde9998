"""The fake homeserver is not kinder than the real one: reading rooms, sending, profiles."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from tests.kit.account import Account, Caller, Json
from tests.kit.cast import (
    FORBIDDEN,
    GRANTED,
    INVALID,
    NO_SUCH_ROOM,
    UNKNOWN_TOKEN,
    Cast,
    Outcome,
    Situation,
    banned,
    declined,
    invited,
    joined,
    kicked,
    left,
    outcome,
    stranger,
    with_token,
)
from tests.kit.homeserver import DENIED_SERVER, UNREACHABLE_SERVER, Homeserver

# Reading a room


async def reads(cast: Cast, person: Account, *what: str) -> Outcome:
    return outcome(await person.call("GET", "rooms", cast.room, *what))


@pytest.mark.parametrize(
    "what", [("state",), ("state", "m.room.name"), ("members",), ("joined_members",)], ids="/".join
)
@pytest.mark.parametrize(
    ("person", "expected"),
    [
        (joined, GRANTED),
        (stranger, FORBIDDEN),
        (invited, FORBIDDEN),
        (banned, FORBIDDEN),
        (left, GRANTED),
        (kicked, GRANTED),
        (declined, GRANTED),
    ],
)
async def test_who_may_read_the_room(
    cast: Cast, what: tuple[str, ...], person: Situation, expected: Outcome
) -> None:
    # Only the list of the joined is closed to those who are gone.
    if what == ("joined_members",) and person is not joined:
        expected = FORBIDDEN

    assert await reads(cast, await cast.one(person), *what) == expected


async def test_who_was_kicked_reads_the_room_as_it_was_then(cast: Cast) -> None:
    gone, later = await kicked(cast), await stranger(cast)
    await cast.bot.invite(cast.room, later.user_id)

    assert await gone.membership(cast.room, later.user_id) is None


async def test_who_was_kicked_reads_that_they_are_gone(cast: Cast) -> None:
    gone = await cast.one(kicked)

    assert await gone.membership(cast.room, gone.user_id) == "leave"


async def test_a_person_who_was_never_there_has_no_membership(cast: Cast) -> None:
    response = await cast.bot.call("GET", "rooms", cast.room, "state", "m.room.member", "@never:knock.test")

    assert outcome(response) == (404, "M_NOT_FOUND")


async def test_state_that_was_never_written_is_not_found(cast: Cast) -> None:
    assert await reads(cast, cast.bot, "state", "m.room.topic") == (404, "M_NOT_FOUND")


@pytest.mark.parametrize("what", [("state",), ("state", "m.room.name"), ("members",), ("joined_members",)])
async def test_an_unknown_room_reads_like_one_that_one_is_not_in(cast: Cast, what: tuple[str, ...]) -> None:
    assert outcome(await cast.bot.call("GET", "rooms", NO_SUCH_ROOM, *what)) == FORBIDDEN


async def test_state_without_a_key_has_the_empty_key(cast: Cast) -> None:
    segments = ("rooms", cast.room, "state", "m.room.name")

    assert await cast.bot.must("GET", *segments) == await cast.bot.must("GET", *segments, "")


@pytest.mark.parametrize(
    "name", ["content", "event_id", "origin_server_ts", "room_id", "sender", "state_key", "type"]
)
async def test_the_event_format_shows_the_whole_event(cast: Cast, name: str) -> None:
    assert name in await cast.member_event(cast.bot)


async def test_the_event_shows_who_made_it(cast: Cast) -> None:
    assert (await cast.member_event(await invited(cast)))["sender"] == cast.bot.user_id


async def test_the_event_shows_the_reason(cast: Cast) -> None:
    person = await stranger(cast)
    await cast.bot.invite(cast.room, person.user_id, reason="You asked to come in")

    assert (await cast.member_event(person))["content"]["reason"] == "You asked to come in"


async def test_an_invite_carries_the_name_from_the_profile(cast: Cast) -> None:
    person = await invited(cast)
    localpart = person.user_id[1:].partition(":")[0]

    assert (await cast.member_event(person))["content"]["displayname"] == localpart


async def test_an_unknown_format_is_refused(cast: Cast) -> None:
    segments = ("rooms", cast.room, "state", "m.room.name", "")

    assert outcome(await cast.bot.call("GET", *segments, params={"format": "poem"})) == INVALID


async def test_the_state_is_a_list_of_whole_events(cast: Cast) -> None:
    events = (await cast.bot.call("GET", "rooms", cast.room, "state")).json()

    assert ("m.room.name", "") in {(event["type"], event["state_key"]) for event in events}


async def listed(cast: Cast, **query: str) -> dict[str, str]:
    members = await cast.bot.must("GET", "rooms", cast.room, "members", params=query)
    return {event["state_key"]: event["content"]["membership"] for event in members["chunk"]}


async def test_members_are_those_of_every_membership(cast: Cast) -> None:
    person = await cast.one(left)

    assert (await listed(cast))[person.user_id] == "leave"


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ({"membership": "invite"}, True),
        ({"membership": "join"}, False),
        ({"not_membership": "leave"}, True),
        ({"not_membership": "invite"}, False),
        ({"membership": "nonsense"}, False),
    ],
)
async def test_members_can_be_narrowed_down(cast: Cast, query: dict[str, str], shown: bool) -> None:
    person = await cast.one(invited)

    assert (person.user_id in await listed(cast, **query)) is shown


@pytest.mark.parametrize(("person", "shown"), [(joined, True), (invited, False), (left, False)])
async def test_joined_members_are_those_who_are_in(cast: Cast, person: Situation, shown: bool) -> None:
    somebody = await cast.one(person)

    inside = await cast.bot.must("GET", "rooms", cast.room, "joined_members")

    assert (somebody.user_id in inside["joined"]) is shown


async def test_a_joined_member_is_shown_with_the_name(cast: Cast) -> None:
    inside = await cast.bot.must("GET", "rooms", cast.room, "joined_members")

    assert inside["joined"][cast.bot.user_id] == {"display_name": "botcast", "avatar_url": None}


async def test_the_bot_sees_which_rooms_it_is_in(cast: Cast) -> None:
    assert cast.room in (await cast.bot.must("GET", "joined_rooms"))["joined_rooms"]


# Sending

_sent = itertools.count(1)


async def sends(cast: Cast, who: Account, **options: Any) -> Outcome:
    segments = ("rooms", cast.room, "send", "m.room.message", f"once{next(_sent)}")
    return outcome(await who.call("PUT", *segments, **options))


@pytest.mark.parametrize(
    ("person", "expected"), [(joined, GRANTED), (stranger, FORBIDDEN), (invited, FORBIDDEN)]
)
async def test_who_may_send(cast: Cast, person: Situation, expected: Outcome) -> None:
    message = {"msgtype": "m.text", "body": "hello"}

    assert await sends(cast, await cast.one(person), json=message) == expected


async def test_the_same_transaction_sends_nothing_new(cast: Cast) -> None:
    first = await cast.bot.send_text(cast.room, "hello", transaction="welcome1")

    assert await cast.bot.send_text(cast.room, "hello again", transaction="welcome1") == first


async def test_another_device_has_transactions_of_its_own(cast: Cast) -> None:
    first = await cast.bot.send_text(cast.room, "hello", transaction="welcome2")
    other_device = await cast.homeserver.user("botcast")

    assert await other_device.send_text(cast.room, "hello", transaction="welcome2") != first


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"{", "M_NOT_JSON"), (b"", "M_NOT_JSON"), (b"[]", "M_BAD_JSON"), (b"{}", "M_UNKNOWN")],
)
async def test_a_message_that_is_none_is_a_400(cast: Cast, body: bytes, code: str) -> None:
    assert await sends(cast, cast.bot, content=body) == (400, code)


async def test_nothing_is_sent_to_an_unknown_room(cast: Cast) -> None:
    segments = ("rooms", NO_SUCH_ROOM, "send", "m.room.message", "once")

    assert (
        outcome(await cast.bot.call("PUT", *segments, json={"msgtype": "m.text", "body": "x"})) == FORBIDDEN
    )


async def test_state_takes_power(cast: Cast) -> None:
    person = await joined(cast)
    segments = ("rooms", cast.room, "state", "m.room.topic")

    assert outcome(await person.call("PUT", *segments, json={"topic": "mine"})) == FORBIDDEN


async def test_the_same_state_again_is_no_new_event(cast: Cast) -> None:
    first = await cast.bot.put_state(cast.room, "test.knock", {"said": "once"})

    assert await cast.bot.put_state(cast.room, "test.knock", {"said": "once"}) == first


# Profiles


async def looks_up(caller: Caller, user_id: str) -> Outcome:
    return outcome(await caller.call("GET", "profile", user_id))


async def test_a_profile_shows_the_name(cast: Cast) -> None:
    assert await cast.bot.must("GET", "profile", cast.alice.user_id) == {"displayname": "acast"}


@pytest.mark.parametrize(
    ("user_id", "expected"),
    [
        # Synapse calls its own unknown people M_UNKNOWN; only the status says it.
        ("@nobodyhere:knock.test", (404, "M_UNKNOWN")),
        ("nonsense", INVALID),
        (f"@x:{UNREACHABLE_SERVER}", (502, "M_UNKNOWN")),
        (f"@x:{DENIED_SERVER}", FORBIDDEN),
    ],
)
async def test_a_profile_that_is_not_to_be_had(cast: Cast, user_id: str, expected: Outcome) -> None:
    assert await looks_up(cast.bot, user_id) == expected


async def test_a_person_without_a_name_looks_as_if_there_were_nobody(cast: Cast) -> None:
    person = await cast.somebody()
    await person.set_displayname("")

    assert await looks_up(cast.bot, person.user_id) == (404, "M_NOT_FOUND")


async def test_a_profile_needs_no_token(cast: Cast) -> None:
    assert await looks_up(cast.homeserver.anonymous(), cast.alice.user_id) == GRANTED


async def test_a_profile_with_a_bad_token_is_refused(cast: Cast) -> None:
    assert await looks_up(with_token(cast.homeserver, "nonsense"), cast.alice.user_id) == UNKNOWN_TOKEN


# The rest


async def test_versions_are_answered_without_a_token(homeserver: Homeserver) -> None:
    response = await homeserver.anonymous().request("GET", "/_matrix/client/versions")

    assert "v1.11" in response.json()["versions"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/_matrix/client/v3/nonsense", 404), ("DELETE", "/_matrix/client/v3/login", 405)],
)
async def test_what_does_not_exist_is_unrecognised(
    homeserver: Homeserver, method: str, path: str, status: int
) -> None:
    response = await homeserver.anonymous().request(method, path)

    assert outcome(response) == (status, "M_UNRECOGNIZED")


async def test_the_older_prefix_is_served_too(cast: Cast) -> None:
    response = await cast.bot.request("GET", "/_matrix/client/r0/account/whoami")

    assert response.json()["user_id"] == cast.bot.user_id


@pytest.mark.parametrize("body", [{"room_version": "99"}, {"invite": ["nonsense"]}])
async def test_a_room_that_cannot_be_made_is_a_400(cast: Cast, body: Json) -> None:
    assert (await cast.alice.call("POST", "createRoom", json=body)).status_code == 400


async def test_a_user_id_with_a_slash_is_one_segment(cast: Cast) -> None:
    slashed = "@some/body:knock.test"
    await cast.bot.invite(cast.room, slashed)

    assert await cast.bot.membership(cast.room, slashed) == "invite"
