"""What the fake homeserver does when it is told to fail, and what it remembers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest
from tests.kit.account import Account, UnexpectedAnswer
from tests.kit.cast import BAD_STATE, GRANTED, Outcome, outcome, with_token
from tests.kit.fake_homeserver import FakeHomeserver, FakeProcess
from tests.kit.homeserver import Homeserver
from tests.kit.processes import wait_until

BOB = "@bob:knock.test"


@pytest.fixture
def bot(fake: FakeHomeserver) -> Account:
    return fake.log_in("bot")


@pytest.fixture
def room(fake: FakeHomeserver, bot: Account) -> str:
    return fake.add_room("@alice:knock.test", bot.user_id).room_id


async def invite(bot: Account, room: str, user_id: str = BOB) -> httpx2.Response:
    return await bot.call("POST", "rooms", room, "invite", json={"user_id": user_id})


async def test_a_fault_hits_as_many_calls_as_it_was_told(
    fake: FakeHomeserver, bot: Account, room: str
) -> None:
    fake.fail("invite", status=500, times=2)

    assert [(await invite(bot, room)).status_code for _ in range(3)] == [500, 500, 200]


async def test_a_fault_without_a_number_stays_until_it_is_mended(
    fake: FakeHomeserver, bot: Account, room: str
) -> None:
    fake.fail("invite", status=500)
    failed = [(await invite(bot, room)).status_code for _ in range(3)]
    fake.mend("invite")

    assert [*failed, (await invite(bot, room)).status_code] == [500, 500, 500, 200]


async def test_a_fault_of_one_operation_leaves_the_others_alone(
    fake: FakeHomeserver, bot: Account, room: str
) -> None:
    fake.fail("kick", status=500)

    assert outcome(await invite(bot, room)) == GRANTED


async def test_a_fault_of_everything_hits_any_call(fake: FakeHomeserver, bot: Account) -> None:
    fake.fail(status=503)

    assert (await bot.call("GET", "account", "whoami")).status_code == 503


async def test_the_newest_fault_goes_first(fake: FakeHomeserver, bot: Account, room: str) -> None:
    fake.fail("invite", status=500)
    fake.fail("invite", status=502, times=1)

    assert [(await invite(bot, room)).status_code for _ in range(2)] == [502, 500]


async def test_a_failed_call_changes_nothing(fake: FakeHomeserver, bot: Account, room: str) -> None:
    fake.fail("invite", status=502, times=1)
    await invite(bot, room)

    assert fake.rooms[room].membership(BOB) is None


async def test_a_call_can_act_although_its_answer_is_an_error(
    fake: FakeHomeserver, bot: Account, room: str
) -> None:
    fake.fail("invite", status=504, acts=True)
    await invite(bot, room)

    assert fake.rooms[room].membership(BOB) == "invite"


async def test_a_fault_gives_the_body_that_it_was_told(fake: FakeHomeserver, bot: Account, room: str) -> None:
    fake.fail("invite", status=403, body={"errcode": "M_USER_SUSPENDED", "error": "no"})

    assert outcome(await invite(bot, room)) == (403, "M_USER_SUSPENDED")


async def test_a_fault_can_answer_what_a_proxy_would(fake: FakeHomeserver, bot: Account, room: str) -> None:
    fake.fail("invite", status=502, body="<html>Bad Gateway</html>")

    assert (await invite(bot, room)).text == "<html>Bad Gateway</html>"


async def test_a_limit_tells_the_wait_in_whole_seconds_in_the_header(
    fake: FakeHomeserver, bot: Account, room: str
) -> None:
    fake.fail("invite", status=429, retry_after=1.2)

    assert (await invite(bot, room)).headers["retry-after"] == "2"


async def test_a_limit_tells_the_wait_in_milliseconds_in_the_body(
    fake: FakeHomeserver, bot: Account, room: str
) -> None:
    fake.fail("invite", status=429, retry_after=1.2)
    body = (await invite(bot, room)).json()

    assert body == {"errcode": "M_LIMIT_EXCEEDED", "error": "Too Many Requests", "retry_after_ms": 1200}


async def test_a_header_of_the_test_goes_over_the_usual_one(
    fake: FakeHomeserver, bot: Account, room: str
) -> None:
    date = "Sun, 22 Nov 2026 22:52:07 GMT"
    fake.fail("invite", status=429, retry_after=1.2, headers={"retry-after": date})

    assert (await invite(bot, room)).headers["retry-after"] == date


def test_a_fault_of_an_operation_that_does_not_exist_is_an_error(fake: FakeHomeserver) -> None:
    with pytest.raises(ValueError, match="no operation 'invte'"):
        fake.fail("invte", status=500)


async def test_a_homeserver_that_is_down_cannot_be_reached(fake: FakeHomeserver, bot: Account) -> None:
    fake.fail(down=True)

    with pytest.raises(httpx2.ConnectError):
        await bot.call("GET", "account", "whoami")


async def test_an_answer_that_is_lost_is_an_error_of_reading(
    fake: FakeHomeserver, bot: Account, room: str
) -> None:
    fake.fail("invite", down=True, acts=True)

    with pytest.raises(httpx2.ReadError):
        await invite(bot, room)


async def test_a_call_that_hangs_runs_into_the_callers_timeout(
    fake: FakeHomeserver, bot: Account, room: str
) -> None:
    fake.fail("whoami", hang=True)

    async with bot.client(timeout=0.05) as client:
        with pytest.raises(httpx2.ReadTimeout):
            await client.get("/_matrix/client/v3/account/whoami")


async def test_a_call_that_hangs_is_answered_when_the_fault_is_mended(
    fake: FakeHomeserver, bot: Account, room: str
) -> None:
    fake.fail("invite", hang=True, times=1)
    hanging = asyncio.create_task(invite(bot, room))
    await wait_until(lambda: fake.calls_of("invite"))
    fake.mend()

    assert outcome(await hanging) == GRANTED


async def test_the_latency_comes_before_every_answer(fake: FakeHomeserver, bot: Account) -> None:
    fake.latency = 0.05
    began = time.monotonic()
    await bot.call("GET", "account", "whoami")

    assert time.monotonic() - began >= 0.05


# Memory


async def test_a_call_is_remembered_with_who_made_it_about_whom(
    fake: FakeHomeserver, bot: Account, room: str
) -> None:
    await invite(bot, room)
    call = fake.calls[-1]

    assert (call.operation, call.user, call.about, call.status) == ("invite", bot.user_id, BOB, 200)


async def test_a_call_is_remembered_with_the_path_of_its_operation(
    fake: FakeHomeserver, bot: Account, room: str
) -> None:
    await invite(bot, room)

    assert (fake.calls[-1].method, fake.calls[-1].path) == ("POST", "rooms/{room}/invite")


async def test_a_call_that_failed_is_remembered_too(fake: FakeHomeserver, bot: Account, room: str) -> None:
    fake.fail("invite", status=502)
    await invite(bot, room)

    assert fake.calls_of("invite", about=BOB)[0].status == 502


async def test_calls_are_told_apart_by_the_person(fake: FakeHomeserver, bot: Account, room: str) -> None:
    await invite(bot, room)
    await invite(bot, room, "@carol:knock.test")

    assert len(fake.calls_of("invite", about=BOB)) == 1


async def test_making_people_and_rooms_leaves_no_trace(fake: FakeHomeserver) -> None:
    await fake.new_room(await fake.user("alice"), bot=await fake.user("bot"))

    assert fake.calls == []


async def test_repeated_invites_count_once(fake: FakeHomeserver, bot: Account, room: str) -> None:
    for _ in range(3):
        await invite(bot, room)

    assert fake.rooms[room].invite_counts()[BOB] == 1


async def test_a_hidden_profile_is_forbidden(fake: FakeHomeserver, bot: Account) -> None:
    fake.add_user("shy", hidden=True)

    assert (await bot.call("GET", "profile", "@shy:knock.test")).status_code == 403


async def test_a_person_of_another_server_makes_that_server_reachable(
    fake: FakeHomeserver, bot: Account, room: str
) -> None:
    fake.add_user("@zoe:elsewhere.test")

    assert outcome(await invite(bot, room, "@zoe:elsewhere.test")) == GRANTED


# On a real port, in this process and as another


@contextlib.asynccontextmanager
async def at(url: str, account: Account) -> AsyncIterator[httpx2.AsyncClient]:
    async with Account(url, account.access_token).client(timeout=0.5) as client:
        yield client


async def test_a_fake_can_be_called_over_the_network(fake: FakeHomeserver, bot: Account) -> None:
    async with fake.served() as url, at(url, bot) as client:
        response = await client.get("/_matrix/client/v3/account/whoami")

    assert response.json()["user_id"] == bot.user_id


@pytest.mark.parametrize("acts", [False, True])
async def test_over_the_network_a_dropped_connection_is_one(
    fake: FakeHomeserver, bot: Account, acts: bool
) -> None:
    fake.fail(down=True, acts=acts)

    async with fake.served() as url, at(url, bot) as client:
        with pytest.raises(httpx2.TransportError):
            await client.get("/_matrix/client/v3/account/whoami")


async def test_over_the_network_who_gave_up_waiting_acts_no_more(
    fake: FakeHomeserver, bot: Account, room: str
) -> None:
    fake.fail("invite", hang=True)
    async with fake.served() as url, at(url, bot) as client:
        with pytest.raises(httpx2.ReadTimeout):
            await client.post(f"/_matrix/client/v3/rooms/{room}/invite", json={"user_id": BOB})
        await wait_until(lambda: fake.calls[-1].dropped)
        fake.mend()

    assert fake.rooms[room].membership(BOB) is None


@pytest.fixture(scope="module")
def child() -> Iterator[FakeProcess]:
    with FakeProcess.start() as running:
        yield running


@pytest.fixture
async def process(child: FakeProcess) -> FakeProcess:
    """A fake homeserver as another process, without faults and calls."""
    await child.reset()
    return child


async def made(process: Homeserver) -> tuple[Account, str]:
    bot = await process.user("bot")
    return bot, await process.new_room(await process.user("alice"), bot=bot, name="Elsewhere")


async def test_another_process_is_told_to_fail(process: FakeProcess) -> None:
    bot, room = await made(process)
    await process.fail("invite", status=429, retry_after=3, times=1)

    assert [(await invite(bot, room)).status_code for _ in range(2)] == [429, 200]


async def test_another_process_is_mended(process: FakeProcess) -> None:
    bot, room = await made(process)
    await process.fail(status=500)
    await process.mend()

    assert outcome(await invite(bot, room)) == GRANTED


async def test_another_process_tells_its_calls(process: FakeProcess) -> None:
    bot, room = await made(process)
    await invite(bot, room)

    assert [call["user"] for call in await process.calls_of("invite", about=BOB)] == [bot.user_id]


async def test_another_process_tells_its_members(process: FakeProcess) -> None:
    bot, room = await made(process)
    await invite(bot, room)

    assert (await process.members(room))[BOB] == "invite"


async def test_another_process_tells_how_often_somebody_was_invited(process: FakeProcess) -> None:
    bot, room = await made(process)
    await invite(bot, room)
    await invite(bot, room)

    assert (await process.invite_counts(room))[BOB] == 1


async def test_another_process_drops_connections(process: FakeProcess) -> None:
    bot, room = await made(process)
    await process.fail("invite", down=True)

    with pytest.raises(httpx2.TransportError):
        await invite(bot, room)


async def test_another_process_lets_a_token_expire(process: FakeProcess) -> None:
    token = await process.expired_token("sleeper")
    response = await with_token(process, token).call("GET", "account", "whoami")

    assert response.json()["soft_logout"] is True


async def test_another_process_voids_tokens(process: FakeProcess) -> None:
    account = await process.user("leaver")
    await process.control("POST", "revoke", user=account.user_id)
    response = await account.call("GET", "account", "whoami")

    assert response.json()["soft_logout"] is False


async def test_another_process_takes_passwords(process: FakeProcess) -> None:
    await process.register("paula", "a password")
    identifier = {"type": "m.id.user", "user": "paula"}
    body = {"type": "m.login.password", "identifier": identifier, "password": "a password"}

    assert (await process.anonymous().call("POST", "login", json=body)).status_code == 200


@pytest.mark.parametrize(("what", "asked"), [("fail", {"operation": "nonsense"}), ("latency", {})])
async def test_a_mistake_in_steering_is_an_error(
    process: FakeProcess, what: str, asked: dict[str, str]
) -> None:
    with pytest.raises(UnexpectedAnswer):
        await process.control("POST", what, **asked)


async def test_another_process_has_the_same_rules(process: FakeProcess) -> None:
    bot, room = await made(process)
    await bot.ban(room, BOB)
    refused: Outcome = outcome(await invite(bot, room))

    assert refused == BAD_STATE
