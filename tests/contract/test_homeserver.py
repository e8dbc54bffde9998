"""What Knock may expect of ``ports.Homeserver``, whether the fake or the real homeserver is behind it."""

from __future__ import annotations

import time

import pytest
from tests.contract.homeserver_cases import Knocker
from tests.kit.account import Account
from tests.kit.cast import (
    NO_SUCH_ROOM,
    Cast,
    Situation,
    banned,
    blocking,
    declined,
    equal,
    invited,
    joined,
    kicked,
    left,
    new_name,
    owner,
    stranger,
)
from tests.kit.homeserver import DENIED_SERVER, UNREACHABLE_SERVER, Homeserver
from tests.kit.synapse import Synapse

from mknock import ports
from mknock.domain.errors import HomeserverUnavailable, Refused, TokenRefused
from mknock.ports import Existence, Invitation, Membership, RoomAddress

# Who we are


async def test_whoami_is_the_account_of_the_token(cast: Cast, knock: ports.Homeserver) -> None:
    assert await knock.whoami() == cast.bot.user_id


@pytest.mark.parametrize("token", ["nonsense", "syt_Ym90_abcdefghijklmnop_1a2b3c"])
async def test_an_unknown_token_is_refused(homeserver: Homeserver, acting_as: Knocker, token: str) -> None:
    anonymous = homeserver.anonymous()
    nobody = await acting_as(Account(anonymous.url, token, anonymous.transport))

    with pytest.raises(TokenRefused):
        await nobody.whoami()


async def test_a_token_whose_time_is_over_is_refused(homeserver: Homeserver, acting_as: Knocker) -> None:
    anonymous = homeserver.anonymous()
    name = new_name("overdue")
    await homeserver.user(name)
    token = await homeserver.expired_token(name)
    overdue = await acting_as(Account(anonymous.url, token, anonymous.transport))

    with pytest.raises(TokenRefused):
        await overdue.whoami()


async def test_the_homeserver_tells_of_itself(knock: ports.Homeserver) -> None:
    about = await knock.about()

    assert about.software
    assert about.clock == pytest.approx(time.time(), abs=30)


async def test_the_rooms_are_those_we_are_in(cast: Cast, knock: ports.Homeserver) -> None:
    assert cast.room in await knock.rooms()


async def test_a_room_that_we_have_left_is_none_of_ours(cast: Cast, knock: ports.Homeserver) -> None:
    room = await cast.homeserver.new_room(cast.alice, bot=cast.bot)
    joined = room in await knock.rooms()
    await cast.bot.leave(room)

    assert (joined, room in await knock.rooms()) == (True, False)


# Who exists


async def test_a_person_with_a_profile_exists(cast: Cast, knock: ports.Homeserver) -> None:
    assert await knock.existence(cast.alice.user_id) is Existence.YES


async def test_our_own_server_knows_who_does_not_exist(cast: Cast, knock: ports.Homeserver) -> None:
    assert await knock.existence(f"@{new_name('nobody')}:{cast.homeserver.server_name}") is Existence.NO


@pytest.mark.promise(7)
async def test_a_person_without_a_name_is_not_taken_for_nobody(cast: Cast, knock: ports.Homeserver) -> None:
    nameless = await cast.somebody()
    await nameless.set_displayname("")

    assert await knock.existence(nameless.user_id) is not Existence.NO


@pytest.mark.promise(7)
@pytest.mark.parametrize("server", [UNREACHABLE_SERVER, DENIED_SERVER])
async def test_another_server_that_cannot_be_asked_says_nothing(knock: ports.Homeserver, server: str) -> None:
    assert await knock.existence(f"@somebody:{server}") is Existence.UNKNOWN


@pytest.mark.parametrize("odd", ["nonsense", "@:", "@a/../b:x", "..", "@ü ?#%41:x"])
async def test_an_odd_id_is_nobody_known(knock: ports.Homeserver, odd: str) -> None:
    assert await knock.existence(odd) is Existence.UNKNOWN


# Inviting


@pytest.mark.parametrize("person", [stranger, invited, left, declined, kicked])
async def test_whoever_is_outside_can_be_invited(
    cast: Cast, knock: ports.Homeserver, person: Situation
) -> None:
    target = await person(cast)

    await knock.invite(cast.room, target.user_id, "You asked to come in")

    assert (await knock.member(cast.room, target.user_id)).membership is Membership.INVITE


async def test_an_invite_carries_its_reason(cast: Cast, knock: ports.Homeserver) -> None:
    person = await cast.somebody()

    await knock.invite(cast.room, person.user_id, "You asked to come in. – 入って")

    assert (await cast.member_event(person))["content"]["reason"] == "You asked to come in. – 入って"


async def test_an_invite_without_a_reason_has_none(cast: Cast, knock: ports.Homeserver) -> None:
    person = await cast.somebody()

    await knock.invite(cast.room, person.user_id, "")

    assert "reason" not in (await cast.member_event(person))["content"]


@pytest.mark.promise(2)
async def test_the_same_invite_again_makes_no_new_event(cast: Cast, knock: ports.Homeserver) -> None:
    person = await cast.somebody()
    await knock.invite(cast.room, person.user_id, "You asked")
    before = await cast.member_event(person)

    await knock.invite(cast.room, person.user_id, "You asked")

    assert (await cast.member_event(person))["event_id"] == before["event_id"]


@pytest.mark.parametrize(
    ("person", "code"), [(joined, "M_FORBIDDEN"), (banned, "M_BAD_STATE"), (blocking, "M_INVITE_BLOCKED")]
)
async def test_a_refused_invite_says_by_which_code(
    cast: Cast, knock: ports.Homeserver, person: Situation, code: str
) -> None:
    target = await person(cast)

    with pytest.raises(Refused) as refused:
        await knock.invite(cast.room, target.user_id, "")

    assert (refused.value.status, refused.value.code) == (403, code)


@pytest.mark.promise(7)
async def test_an_invitee_whose_server_is_down_is_not_refused(cast: Cast, knock: ports.Homeserver) -> None:
    with pytest.raises(HomeserverUnavailable) as trouble:
        await knock.invite(cast.room, f"@somebody:{UNREACHABLE_SERVER}", "")

    assert not trouble.value.everywhere


async def test_who_is_not_in_the_room_may_not_invite(cast: Cast, acting_as: Knocker) -> None:
    outsider = await acting_as(cast.mallory)

    with pytest.raises(Refused):
        await outsider.invite(cast.room, "@x:knock.test", "")


async def test_there_is_no_inviting_to_a_room_that_does_not_exist(knock: ports.Homeserver) -> None:
    with pytest.raises(Refused):
        await knock.invite(NO_SUCH_ROOM, "@x:knock.test", "")


@pytest.mark.promise(5)
async def test_a_refusal_does_not_name_the_room(cast: Cast, knock: ports.Homeserver) -> None:
    target = await joined(cast)

    with pytest.raises(Refused) as refused:
        await knock.invite(cast.room, target.user_id, "")

    assert cast.room not in str(refused.value)
    assert cast.room.removeprefix("!") not in str(refused.value)


# Removing


@pytest.mark.parametrize("person", [invited, joined])
async def test_a_kick_withdraws_an_invite_and_removes_a_member(
    cast: Cast, knock: ports.Homeserver, person: Situation
) -> None:
    target = await person(cast)

    await knock.kick(cast.room, target.user_id, "Sorry")

    assert (await knock.member(cast.room, target.user_id)).membership is Membership.LEAVE


@pytest.mark.parametrize(
    ("person", "code"),
    [(stranger, "M_FORBIDDEN"), (left, "M_FORBIDDEN"), (owner, "M_FORBIDDEN"), (banned, "M_BAD_STATE")],
)
async def test_who_is_not_there_or_has_more_power_cannot_be_kicked(
    cast: Cast, knock: ports.Homeserver, person: Situation, code: str
) -> None:
    target = await person(cast)

    with pytest.raises(Refused) as refused:
        await knock.kick(cast.room, target.user_id, "")

    assert refused.value.code == code


async def test_a_kick_does_not_lift_a_ban(cast: Cast, knock: ports.Homeserver) -> None:
    target = await banned(cast)

    with pytest.raises(Refused):
        await knock.kick(cast.room, target.user_id, "")

    assert (await knock.member(cast.room, target.user_id)).membership is Membership.BAN


# Membership


@pytest.mark.parametrize(
    ("person", "membership"),
    [
        (stranger, Membership.NONE),
        (invited, Membership.INVITE),
        (joined, Membership.JOIN),
        (left, Membership.LEAVE),
        (banned, Membership.BAN),
    ],
)
async def test_the_room_says_what_somebody_is_to_it(
    cast: Cast, knock: ports.Homeserver, person: Situation, membership: Membership
) -> None:
    target = await person(cast)

    assert (await knock.member(cast.room, target.user_id)).membership is membership


async def test_a_membership_says_who_made_it(cast: Cast, knock: ports.Homeserver) -> None:
    removed, gone = await kicked(cast), await left(cast)

    senders = [(await knock.member(cast.room, person.user_id)).sender for person in (removed, gone)]

    assert senders == [cast.bot.user_id, gone.user_id]


async def test_a_membership_says_since_when(cast: Cast, knock: ports.Homeserver) -> None:
    person = await invited(cast)

    event = await cast.member_event(person)

    assert (await knock.member(cast.room, person.user_id)).since == event["origin_server_ts"] / 1000


async def test_who_is_not_in_the_room_is_told_no_membership(cast: Cast, acting_as: Knocker) -> None:
    outsider = await acting_as(cast.mallory)

    with pytest.raises(Refused):
        await outsider.member(cast.room, cast.alice.user_id)


# Power


async def test_the_power_of_a_member_is_what_the_room_says(cast: Cast, knock: ports.Homeserver) -> None:
    powers = await knock.power_levels(cast.room)

    assert (powers.of(cast.bot.user_id), powers.of("@anybody:knock.test")) == (50, 0)


async def test_in_version_12_the_creator_outranks_everybody(cast: Cast, knock: ports.Homeserver) -> None:
    assert (await knock.power_levels(cast.room)).of(cast.alice.user_id) == float("inf")


async def test_additional_creators_outrank_everybody_too(synapse: Synapse, acting_as: Knocker) -> None:
    # The fake makes rooms with one creator only; powers_in has unit tests.
    alice, second = await synapse.user(new_name("alice")), await synapse.user(new_name("second"))
    room = await alice.create_room(
        room_version="12", creation_content={"additional_creators": [second.user_id]}
    )
    knock = await acting_as(alice)

    assert (await knock.power_levels(room)).of(second.user_id) == float("inf")


async def test_before_version_12_the_creator_has_a_number(cast: Cast, acting_as: Knocker) -> None:
    room = await cast.homeserver.new_room(cast.alice, bot=cast.bot, room_version="10")
    knock = await acting_as(cast.bot)

    assert (await knock.power_levels(room)).of(cast.alice.user_id) == 100


async def test_power_levels_foretell_who_can_be_kicked(cast: Cast, knock: ports.Homeserver) -> None:
    powers = await knock.power_levels(cast.room)
    people = [await joined(cast), await equal(cast), await owner(cast)]

    may = [powers.of(cast.bot.user_id) > powers.of(person.user_id) for person in people]

    assert may == [True, False, False]


# The whole room


async def test_joined_members_are_those_who_joined(cast: Cast, acting_as: Knocker) -> None:
    room = await cast.homeserver.new_room(cast.alice, bot=cast.bot)
    await cast.bot.invite(room, (await cast.somebody()).user_id)
    knock = await acting_as(cast.bot)

    assert set(await knock.joined_members(room)) == {cast.alice.user_id, cast.bot.user_id}


async def test_joined_members_have_their_names(cast: Cast, knock: ports.Homeserver) -> None:
    person = await joined(cast)
    localpart = person.user_id[1:].partition(":")[0]

    assert (await knock.joined_members(cast.room))[person.user_id]["display_name"] == localpart


async def test_the_state_holds_the_rooms_name(cast: Cast, knock: ports.Homeserver) -> None:
    names = [
        event["content"]["name"]
        for event in await knock.room_state(cast.room)
        if event["type"] == "m.room.name"
    ]

    assert names == ["The secret room"]


@pytest.mark.parametrize("version", ["10", "12"])
async def test_a_room_of_any_version_can_be_used(cast: Cast, acting_as: Knocker, version: str) -> None:
    """Ids of version 12 name no server; neither kind is ever taken apart."""
    room = await cast.homeserver.new_room(cast.alice, bot=cast.bot, room_version=version)
    person, knock = await cast.somebody(), await acting_as(cast.bot)

    await knock.invite(room, person.user_id, "")

    assert (await knock.member(room, person.user_id)).membership is Membership.INVITE


# Policy rooms


POLICY = "m.policy.rule.user"
RULE = {"entity": "@spam:evil.example", "recommendation": "m.ban", "reason": "spam"}


async def public_room(cast: Cast) -> tuple[str, str]:
    """A room that anybody may enter, and its alias."""
    name = new_name("list")
    room = await cast.alice.create_room(preset="public_chat", room_alias_name=name, room_version="10")
    return room, f"#{name}:{cast.homeserver.server_name}"


async def test_an_alias_stands_for_a_room(cast: Cast, knock: ports.Homeserver) -> None:
    room, alias = await public_room(cast)
    found = await knock.resolve(alias)

    assert found == RoomAddress(room, (cast.homeserver.server_name,))


async def test_an_alias_that_nobody_made_stands_for_nothing(cast: Cast, knock: ports.Homeserver) -> None:
    assert await knock.resolve(f"#{new_name('nothing')}:{cast.homeserver.server_name}") is None


@pytest.mark.parametrize("via", [(), ("knock.test",), ("knock.test", "other.test")])
async def test_a_public_room_can_be_entered(
    cast: Cast, knock: ports.Homeserver, via: tuple[str, ...]
) -> None:
    room, _ = await public_room(cast)
    await knock.join(room, via)

    assert (await knock.member(room, cast.bot.user_id)).membership is Membership.JOIN


async def test_a_room_that_was_left_is_no_longer_ours(cast: Cast, knock: ports.Homeserver) -> None:
    room, _ = await public_room(cast)
    await knock.join(room)
    await knock.leave(room)

    assert await cast.alice.membership(room, cast.bot.user_id) == "leave"
    assert room not in await knock.rooms()


async def test_a_room_that_we_are_not_in_cannot_be_left(cast: Cast, knock: ports.Homeserver) -> None:
    room = await cast.homeserver.new_room(cast.alice)

    with pytest.raises(Refused):
        await knock.leave(room)


async def test_a_private_room_cannot_be_entered(cast: Cast, knock: ports.Homeserver) -> None:
    room = await cast.homeserver.new_room(cast.alice)

    with pytest.raises(Refused):
        await knock.join(room, (cast.homeserver.server_name,))


async def test_state_is_written(cast: Cast, knock: ports.Homeserver) -> None:
    room = await cast.homeserver.new_room(cast.alice, bot=cast.bot)
    await knock.set_state(room, POLICY, "rule:@spam:evil.example", RULE)

    assert await knock.state(room, POLICY, "rule:@spam:evil.example") == RULE


async def test_state_is_emptied(cast: Cast, knock: ports.Homeserver) -> None:
    room = await cast.homeserver.new_room(cast.alice, bot=cast.bot)
    for content in (RULE, {}):
        await knock.set_state(room, POLICY, "rule:*:evil.example", content)

    assert await knock.state(room, POLICY, "rule:*:evil.example") == {}


async def test_without_power_no_state_is_written(cast: Cast, knock: ports.Homeserver) -> None:
    room = await cast.homeserver.new_room(cast.alice, bot=cast.bot, bot_power=0)
    levels = await knock.power_levels(room)
    with pytest.raises(Refused) as refused:
        await knock.set_state(room, POLICY, "rule", RULE)

    assert refused.value.code == "M_FORBIDDEN"
    assert levels.of(cast.bot.user_id) < levels.to_set(POLICY)


async def test_news_of_policy_rules_is_heard(cast: Cast, knock: ports.Homeserver) -> None:
    room = await cast.homeserver.new_room(cast.alice, bot=cast.bot)
    position = (await knock.sync(None, [room], timeout=0)).position
    await cast.alice.put_state(room, POLICY, RULE, state_key="rule")
    news = await knock.sync(position, [room], timeout=5)

    assert [(event.kind, event.key, event.content) for event in news.rooms[room].events] == [
        (POLICY, "rule", RULE)
    ]


# Direct rooms


async def chat_of(person: Account, bot: Account, **wishes: object) -> str:
    content = {"preset": "trusted_private_chat", "is_direct": True, "invite": [bot.user_id], **wishes}
    return await person.create_room(**content)


@pytest.fixture
async def bot(cast: Cast) -> Account:
    """A bot of its own, so that no other invitation is among those that it has."""
    return await cast.homeserver.user(new_name("direct"))


async def test_an_invitation_is_heard_whatever_rooms_we_listen_to(
    cast: Cast, bot: Account, acting_as: Knocker
) -> None:
    acting = await acting_as(bot)
    position = (await acting.sync(None, [cast.room], timeout=0)).position
    person = await cast.somebody()
    room = await chat_of(person, bot)

    news = await acting.sync(position, [cast.room], timeout=5)

    assert news.invitations == (Invitation(room, person.user_id, direct=True),)


@pytest.mark.parametrize(
    ("wishes", "direct"),
    [
        ({"is_direct": True, "name": "Some room"}, True),
        ({"is_direct": False}, True),
        ({"is_direct": False, "name": "Some room"}, False),
    ],
)
async def test_open_invitations_say_by_whom_and_whether_they_are_meant_for_us_two(
    cast: Cast, bot: Account, acting_as: Knocker, wishes: dict[str, object], direct: bool
) -> None:
    person = await cast.somebody()
    room = await chat_of(person, bot, **wishes)
    (invitation,) = await (await acting_as(bot)).invitations()

    name = str(wishes.get("name", ""))
    assert invitation == Invitation(room, person.user_id, name, direct=direct)


async def test_what_one_person_said_is_read_newest_first(
    cast: Cast, bot: Account, acting_as: Knocker
) -> None:
    acting, person, other = await acting_as(bot), await cast.somebody(), await cast.somebody()
    room = await chat_of(person, bot)
    await acting.join(room)
    await person.invite(room, other.user_id)
    await other.join(room)
    sent = [await person.send_text(room, f"text {number}", transaction=f"t{number}") for number in range(12)]
    await other.send_text(room, "not this", transaction="t")
    await acting.send(room, "m.room.message", "t", {"msgtype": "m.text", "body": "nor this"})

    said = await acting.said(room, person.user_id)

    assert [message.event_id for message in said] == sent[:1:-1]
    assert said[0].content["body"] == "text 11"
    assert said[0].at == pytest.approx(time.time(), abs=30)


async def test_nothing_is_said_to_those_outside(cast: Cast, bot: Account, acting_as: Knocker) -> None:
    person = await cast.somebody()
    room = await chat_of(person, await cast.somebody())
    with pytest.raises(Refused):
        await (await acting_as(bot)).said(room, person.user_id)


async def test_a_room_is_left_an_invitation_declined_and_neither_twice(
    cast: Cast, bot: Account, acting_as: Knocker
) -> None:
    acting, person = await acting_as(bot), await cast.somebody()
    joined, invited_to = await chat_of(person, bot), await chat_of(person, bot)
    await acting.join(joined)
    for room in (joined, invited_to):
        await acting.leave(room)
        assert await person.membership(room, bot.user_id) == "leave"


async def test_entering_a_room_twice_is_as_once(cast: Cast, bot: Account, acting_as: Knocker) -> None:
    acting, person = await acting_as(bot), await cast.somebody()
    room = await chat_of(person, bot)
    for _ in range(2):
        await acting.join(room)
    assert await person.membership(room, bot.user_id) == "join"


async def test_an_invitation_that_was_taken_back_cannot_be_accepted(
    cast: Cast, bot: Account, acting_as: Knocker
) -> None:
    person = await cast.somebody()
    room = await chat_of(person, bot, preset="private_chat")
    await person.kick(room, bot.user_id)
    with pytest.raises(Refused):
        await (await acting_as(bot)).join(room)


async def test_our_accounts_settings_are_read(bot: Account, acting_as: Knocker) -> None:
    acting, kind = await acting_as(bot), "m.invite_permission_config"
    assert await acting.account_data(kind) == {}
    await bot.set_invite_block()
    assert await acting.account_data(kind) == {"default_action": "block"}
