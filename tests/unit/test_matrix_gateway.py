"""How answers of any shape are read; what well-behaved homeservers answer is in tests/contract."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.http import matrix_http

from mknock.domain.errors import HomeserverUnavailable, RateLimited, Refused
from mknock.matrix.auth import FixedToken
from mknock.matrix.client import MatrixClient
from mknock.matrix.events import level_in, member_in, powers_in
from mknock.matrix.gateway import HomeserverGateway, same_server
from mknock.ports import Existence, Member, Membership

BASE = "http://hs.test"
BOT = "@bot:hs.test"
ROOM = "!room:hs.test"
EVENT = {"type": "m.room.member", "sender": "@mod:hs.test", "origin_server_ts": 1500}
Answers = dict[str, tuple[int, Any]]


def gateway_of(answers: Answers, asked: list[str] | None = None) -> HomeserverGateway:
    """A gateway to a homeserver that answers by the last words of the path; 404 M_NOT_FOUND else."""

    async def answer(request: httpx2.Request) -> httpx2.Response:
        if asked is not None:
            asked.append(request.url.path)
        for end, (status, body) in answers.items():
            if request.url.path.endswith(end):
                return httpx2.Response(status, json=body)
        return httpx2.Response(404, json={"errcode": "M_NOT_FOUND"})

    http = matrix_http(transport=httpx2.MockTransport(answer))
    return HomeserverGateway(MatrixClient(BASE, FixedToken("tok", BASE), http=http))


async def gateway_to(fake: FakeHomeserver) -> HomeserverGateway:
    bot = await fake.user("bot")
    http = matrix_http(transport=fake.transport(), read_timeout=0.2)
    return HomeserverGateway(MatrixClient(fake.url, FixedToken(bot.access_token or "", fake.url), http=http))


WHOAMI: Answers = {"account/whoami": (200, {"user_id": BOT})}


# whoami


async def test_whoami_is_asked_once() -> None:
    asked: list[str] = []
    gateway = gateway_of(WHOAMI, asked)

    await gateway.whoami()
    await gateway.whoami()

    assert len(asked) == 1


async def test_whoami_is_asked_again_for_another_token() -> None:
    class Changing:
        token = "one"

        async def current(self) -> str:
            return self.token

        async def renew(self, refused: str, *, soft: bool) -> str:
            pytest.fail(f"{refused} was renewed, {soft=}")

    seen: list[str] = []

    async def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers["authorization"])
        return httpx2.Response(200, json={"user_id": BOT})

    tokens = Changing()
    http = matrix_http(transport=httpx2.MockTransport(answer))
    gateway = HomeserverGateway(MatrixClient(BASE, tokens, http=http))
    await gateway.whoami()
    tokens.token = "two"

    await gateway.whoami()

    assert seen == ["Bearer one", "Bearer two"]


async def test_a_failed_whoami_is_asked_again(fake: FakeHomeserver) -> None:
    gateway = await gateway_to(fake)
    fake.fail("whoami", status=500, times=1)
    with pytest.raises(HomeserverUnavailable):
        await gateway.whoami()

    assert await gateway.whoami() == "@bot:knock.test"


@pytest.mark.parametrize("body", [{}, {"user_id": None}, {"user_id": ""}, {"user_id": 7}])
async def test_a_whoami_without_a_user_id_is_no_answer(body: Any) -> None:
    with pytest.raises(HomeserverUnavailable):
        await gateway_of({"account/whoami": (200, body)}).whoami()


# existence


@pytest.mark.parametrize("user", ["@a:hs.test", "@a:HS.test"])
async def test_our_own_servers_not_found_is_a_no(user: str) -> None:
    assert await gateway_of(WHOAMI).existence(user) is Existence.NO


async def test_somebody_whose_name_is_empty_exists() -> None:
    answers = WHOAMI | {"/displayname": (200, {})}

    assert await gateway_of(answers).existence("@a:hs.test") is Existence.YES


async def test_synapses_own_word_for_nobody_needs_no_second_question() -> None:
    asked: list[str] = []
    answers = WHOAMI | {"profile/@a:hs.test": (404, {"errcode": "M_UNKNOWN"})}

    assert await gateway_of(answers, asked).existence("@a:hs.test") is Existence.NO
    assert not any(path.endswith("displayname") for path in asked)


@pytest.mark.promise(7)
@pytest.mark.parametrize("user", ["@a:other.test", "@a:hs.test:8448", "@a:sub.hs.test", "@a", ""])
async def test_another_servers_not_found_says_nothing(user: str) -> None:
    assert await gateway_of(WHOAMI).existence(user) is Existence.UNKNOWN


@pytest.mark.promise(7)
@pytest.mark.parametrize("status", [400, 403, 500, 502, 503])
async def test_trouble_with_the_profile_says_nothing(fake: FakeHomeserver, status: int) -> None:
    gateway = await gateway_to(fake)
    fake.fail("profile", status=status)

    assert await gateway.existence("@nobody:knock.test") is Existence.UNKNOWN


@pytest.mark.promise(7)
async def test_a_profile_that_never_comes_says_nothing(fake: FakeHomeserver) -> None:
    gateway = await gateway_to(fake)
    fake.fail("profile", hang=True)

    assert await gateway.existence("@nobody:knock.test") is Existence.UNKNOWN


@pytest.mark.promise(7)
@pytest.mark.parametrize("status", [401, 403, 500, 502])
async def test_a_not_found_says_nothing_while_we_do_not_know_who_we_are(
    fake: FakeHomeserver, status: int
) -> None:
    gateway = await gateway_to(fake)
    fake.fail("whoami", status=status)

    assert await gateway.existence("@nobody:knock.test") is Existence.UNKNOWN


async def test_the_profile_limit_is_told_to_the_caller(fake: FakeHomeserver) -> None:
    gateway = await gateway_to(fake)
    fake.fail("profile", status=429, retry_after=1.5)

    with pytest.raises(RateLimited) as limited:
        await gateway.existence("@nobody:knock.test")

    assert limited.value.retry_after == 1.5


async def test_an_outage_is_told_to_the_caller(fake: FakeHomeserver) -> None:
    gateway = await gateway_to(fake)
    fake.fail(down=True)

    with pytest.raises(HomeserverUnavailable) as outage:
        await gateway.existence("@nobody:knock.test")

    assert outage.value.everywhere


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("@a:x.test", "@b:X.TEST", True),
        ("@a:x.test", "@a:y.test", False),
        ("@a:[::1]:8448", "@b:[::1]:8448", True),
        ("@a:x.test:8448", "@a:x.test", False),
    ],
)
def test_servers_are_compared_whole_and_without_case(one: str, other: str, same: bool) -> None:
    assert same_server(one, other) is same


# member


def test_a_member_event_tells_since_when_and_by_whom() -> None:
    event = EVENT | {"content": {"membership": "ban"}}

    assert member_in(event) == Member(Membership.BAN, 1.5, "@mod:hs.test")


def test_bare_content_tells_the_membership_only() -> None:
    assert member_in({"membership": "join", "displayname": "A"}) == Member(Membership.JOIN)


@pytest.mark.promise(3)
def test_nobody_can_dress_their_membership_up_as_an_event() -> None:
    """A server that ignores ``format`` shows content, in which its sender may have put anything."""
    dressed = EVENT | {"membership": "leave", "content": {"membership": "join"}}

    assert member_in(dressed) == Member(Membership.LEAVE)


@pytest.mark.parametrize("value", ["", "none?", "JOIN", None, 7, ["join"], {}])
def test_an_unknown_membership_is_no_answer(value: Any) -> None:
    with pytest.raises(HomeserverUnavailable):
        member_in(EVENT | {"content": {"membership": value}})


@pytest.mark.parametrize("value", [None, "1500", True, -5, float("nan"), float("inf"), 10**400, [], {}])
def test_an_odd_time_is_no_time(value: Any) -> None:
    event = EVENT | {"content": {"membership": "join"}, "origin_server_ts": value}

    assert member_in(event).since == 0.0


@pytest.mark.parametrize("value", [None, 7, [], {}])
def test_an_odd_sender_is_nobody(value: Any) -> None:
    assert member_in(EVENT | {"content": {"membership": "join"}, "sender": value}).sender == ""


@pytest.mark.promise(7)
async def test_only_a_not_found_means_no_membership() -> None:
    answers: Answers = {"": (404, {"errcode": "M_UNKNOWN"})}

    with pytest.raises(Refused):
        await gateway_of(answers).member(ROOM, "@a:hs.test")


# power levels


def test_absent_levels_are_the_specifications() -> None:
    powers = powers_in({}, {})

    assert (powers.users_default, powers.invite, powers.kick, powers.ban) == (0, 0, 50, 50)


def test_without_power_levels_the_creator_has_100() -> None:
    powers = powers_in(None, {"sender": "@a:x", "content": {"room_version": "10"}})

    assert (powers.of("@a:x"), powers.of("@b:x")) == (100, 0)


def test_without_power_levels_the_creator_of_version_12_outranks_everybody() -> None:
    powers = powers_in(None, {"sender": "@a:x", "content": {"room_version": "12"}})

    assert powers.of("@a:x") == float("inf")


@pytest.mark.parametrize(("version", "outranks"), [("1", False), ("11", False), ("12", True), ("13", True)])
def test_creators_outrank_from_version_12_on(version: str, outranks: bool) -> None:
    content = {"room_version": version, "additional_creators": ["@b:x"]}

    powers = powers_in({}, {"sender": "@a:x", "content": content})

    assert powers.creators == (frozenset({"@a:x", "@b:x"}) if outranks else frozenset())


@pytest.mark.parametrize("version", [None, "", "org.example.special", [], {}, True, "12.5"])
def test_an_unknown_version_has_no_endless_power(version: Any) -> None:
    creation = {"sender": "@a:x", "content": {"room_version": version, "additional_creators": ["@b:x"]}}

    assert powers_in({}, creation).creators == frozenset()


@pytest.mark.parametrize("more", [None, "@b:x", 7, {}, [None, 7, {}]])
def test_odd_additional_creators_are_left_out(more: Any) -> None:
    creation = {"sender": "@a:x", "content": {"room_version": "12", "additional_creators": more}}

    assert powers_in({}, creation).creators == frozenset({"@a:x"})


@pytest.mark.parametrize(
    ("written", "read"),
    [(7, 7), ("7", 7), (" 7 ", 7), ("-7", -7), (7.9, 7), (None, 50), (True, 50), ("x", 50), ([], 50), ({}, 50),
     (float("nan"), 50), (float("inf"), 50), ("9" * 5000, 50)],
)  # fmt: skip
def test_a_level_is_a_number_or_the_default(written: Any, read: int) -> None:
    assert level_in(written, 50) == read


@pytest.mark.parametrize("users", [None, [], "x", 7])
def test_odd_users_are_nobody(users: Any) -> None:
    assert powers_in({"users": users}, {}).users == {}


async def test_a_rooms_creation_is_asked_once() -> None:
    asked: list[str] = []
    answers: Answers = {"m.room.create/": (200, {"sender": "@a:x", "content": {"room_version": "12"}})}
    gateway = gateway_of(answers, asked)

    await gateway.power_levels(ROOM)
    await gateway.power_levels(ROOM)

    assert sum("m.room.create" in path for path in asked) == 1


async def test_a_server_that_shows_only_content_is_understood() -> None:
    answers: Answers = {
        "m.room.power_levels/": (200, {"users": {BOT: 75}, "kick": 60}),
        "m.room.create/": (200, {"room_version": "12", "additional_creators": ["@b:x"]}),
    }

    powers = await gateway_of(answers).power_levels(ROOM)

    assert (powers.of(BOT), powers.kick, powers.of("@b:x")) == (75, 60, float("inf"))


# the whole room


async def test_members_of_odd_shape_are_still_members() -> None:
    answers: Answers = {"joined_members": (200, {"joined": {"@a:x": None, "@b:x": {"display_name": "B"}}})}

    members = await gateway_of(answers).joined_members(ROOM)

    assert members == {"@a:x": {}, "@b:x": {"display_name": "B"}}


@pytest.mark.parametrize("body", [{}, {"joined": None}, {"joined": []}])
async def test_no_list_of_members_is_no_answer(body: Any) -> None:
    """An empty room and an answer that cannot be read must not look alike."""
    with pytest.raises(HomeserverUnavailable):
        await gateway_of({"joined_members": (200, body)}).joined_members(ROOM)


async def test_what_is_no_event_is_left_out_of_the_state() -> None:
    events = [{"type": "m.room.name"}, None, 7, "x"]

    assert await gateway_of({"state": (200, events)}).room_state(ROOM) == [{"type": "m.room.name"}]


@pytest.mark.parametrize("body", [{}, None, "x"])
async def test_a_state_that_is_no_list_is_no_answer(body: Any) -> None:
    with pytest.raises(HomeserverUnavailable):
        await gateway_of({"state": (200, body)}).room_state(ROOM)
