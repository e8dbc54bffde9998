"""Sessions: made once for all processes, refreshed in time, and never thrown away for an outage."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.http import matrix_http

from mknock.domain.errors import HomeserverError, HomeserverUnavailable, TokenRefused
from mknock.matrix.auth import (
    AFTER_LOGIN,
    AFTER_REFUSAL,
    AFTER_TROUBLE,
    LEASE,
    PATIENCE,
    FixedToken,
    JwtSignIn,
    KeptSessionOnly,
    PasswordSignIn,
    SignedIn,
    SignIn,
)
from mknock.matrix.client import MatrixClient
from mknock.matrix.session import SECRET, Session, keep_session, kept_session
from mknock.storage.sqlite import SqliteStore

PASSWORD = "correct horse"
BOT = "@bot:knock.test"


@dataclass
class Time:
    """A clock that moves when told, or when somebody sleeps by it."""

    now: float = field(default_factory=time.time)
    on_sleep: Callable[[], Any] = lambda: None

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        result = self.on_sleep()
        if result is not None:
            await result
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "knock.db")
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def fake() -> FakeHomeserver:
    homeserver = FakeHomeserver()
    homeserver.add_user("bot", password=PASSWORD)
    return homeserver


Starter = Callable[..., SignedIn]


@pytest.fixture
def start(store: SqliteStore, fake: FakeHomeserver, clock: Time) -> Starter:
    """Starts a process of Knock: what it signs in with, and who it is among the processes."""

    def one(sign_in: SignIn | None = None, *, holder: str = "one", transport: Any = None) -> SignedIn:
        http = matrix_http(transport=transport or fake.transport(), read_timeout=1.0)
        client = MatrixClient(fake.url, http=http, clock=clock)
        way = sign_in or PasswordSignIn("bot", PASSWORD)
        return SignedIn(store, way, client, holder=holder, clock=clock, sleep=clock.sleep)

    return one


def answering(status: int, body: Any) -> httpx2.MockTransport:
    async def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, json=body)

    return httpx2.MockTransport(answer)


async def works(fake: FakeHomeserver, token: str) -> bool:
    headers = {"Authorization": f"Bearer {token}"}
    answer = await fake.anonymous().call("GET", "account", "whoami", headers=headers)
    return answer.status_code == 200


def logins(fake: FakeHomeserver) -> int:
    return len(fake.calls_of("login"))


def login_bodies(fake: FakeHomeserver) -> list[dict[str, Any]]:
    return [json.loads(call.body) for call in fake.calls_of("login")]


def written_to(directory: Path) -> bytes:
    return b"".join(file.read_bytes() for file in directory.iterdir())


async def the_session(store: SqliteStore) -> Session:
    session = await kept_session(store)
    assert session is not None
    return session


# A fixed token


async def test_a_fixed_token_is_what_the_owner_set() -> None:
    assert await FixedToken("syt_x", "https://hs.test").current() == "syt_x"


async def test_a_refused_fixed_token_says_what_to_do() -> None:
    with pytest.raises(TokenRefused) as refused:
        await FixedToken("syt_x", "https://hs.test").renew("syt_x", soft=True)

    assert str(refused.value) == (
        "MATRIX_ACCESS_TOKEN was refused by https://hs.test (M_UNKNOWN_TOKEN). "
        'Set a new one, or run "mknock doctor".'
    )


@pytest.mark.parametrize("token", ["", "a b", "a\nb", "tökn", "a\x00"])
async def test_a_token_that_no_header_can_carry_is_not_sent(token: str) -> None:
    with pytest.raises(TokenRefused):
        await FixedToken(token, "https://hs.test").current()


# The first login


async def test_the_first_use_signs_in(start: Starter, fake: FakeHomeserver) -> None:
    assert await works(fake, await start().current())


async def test_a_login_tells_all_that_the_homeserver_should_know(
    start: Starter, fake: FakeHomeserver, store: SqliteStore
) -> None:
    await start().current()

    assert login_bodies(fake) == [
        {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": "bot"},
            "password": PASSWORD,
            "device_id": await store.secret("device_id"),
            "initial_device_display_name": "Knock",
            "refresh_token": True,
        }
    ]


@pytest.mark.parametrize("user", ["bot", BOT])
async def test_a_restart_uses_the_session_there_is(start: Starter, fake: FakeHomeserver, user: str) -> None:
    first = await start(PasswordSignIn(user, PASSWORD)).current()

    assert await start(PasswordSignIn(user, PASSWORD), holder="later").current() == first
    assert logins(fake) == 1


async def test_a_login_by_token_makes_a_session(start: Starter, fake: FakeHomeserver) -> None:
    assert await works(fake, await start(JwtSignIn(fake.jwt("bot"))).current())


async def test_many_callers_make_one_login(start: Starter, fake: FakeHomeserver) -> None:
    signed_in = start()

    tokens = await asyncio.gather(*(signed_in.current() for _ in range(50)))

    assert (len(set(tokens)), logins(fake)) == (1, 1)


async def test_many_processes_make_one_login(start: Starter, fake: FakeHomeserver, clock: Time) -> None:
    fake.latency = 0.05
    clock.on_sleep = lambda: asyncio.sleep(0.02)
    processes = [start(holder=f"process {number}") for number in range(4)]

    tokens = await asyncio.gather(*(process.current() for process in processes))

    assert (len(set(tokens)), logins(fake)) == (1, 1)


async def test_a_caller_that_gives_up_does_not_cut_the_login_short(
    start: Starter, fake: FakeHomeserver
) -> None:
    fake.latency = 0.1
    signed_in = start()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await signed_in.current()

    await signed_in.current()

    assert logins(fake) == 1


async def test_without_a_way_to_sign_in_the_kept_session_is_used(start: Starter) -> None:
    token = await start().current()

    assert await start(KeptSessionOnly(), holder="later").current() == token


async def test_without_a_way_and_without_a_session_the_owner_is_told(start: Starter) -> None:
    with pytest.raises(TokenRefused, match="mknock login"):
        await start(KeptSessionOnly()).current()


# Whose session it is


async def test_a_session_of_another_user_is_not_used(start: Starter, fake: FakeHomeserver) -> None:
    fake.add_user("other", password="x")
    await start().current()

    token = await start(PasswordSignIn("other", "x"), holder="later").current()

    assert fake.accounts.session(token).user_id == "@other:knock.test"


async def test_a_session_on_another_homeserver_is_not_used(
    start: Starter, fake: FakeHomeserver, store: SqliteStore
) -> None:
    await keep_session(store, Session(base_url="https://elsewhere.test", access_token="t", user_id=BOT))

    assert await works(fake, await start().current())


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", "[]", "{}", "null", '{"access_token": 7}', '{"base_url": "x", "access_token": "a b"}'],
)
async def test_a_session_that_cannot_be_read_is_made_anew(
    start: Starter, fake: FakeHomeserver, store: SqliteStore, text: str
) -> None:
    await store.put_secret(SECRET, text)

    assert await works(fake, await start().current())


async def test_a_session_of_a_later_version_can_be_read(store: SqliteStore) -> None:
    later = json.loads(Session(base_url="b", access_token="t").dump()) | {"new_field": 1}
    await store.put_secret(SECRET, json.dumps(later))

    assert (await the_session(store)).access_token == "t"


# Refreshing


async def test_a_soft_logout_is_refreshed_not_logged_in(start: Starter, fake: FakeHomeserver) -> None:
    signed_in = start()
    old = await signed_in.current()
    fake.accounts.expire(BOT)

    new = await signed_in.renew(old, soft=True)

    assert (await works(fake, new), logins(fake)) == (True, 1)


async def test_the_refreshed_pair_is_in_the_store(
    start: Starter, fake: FakeHomeserver, store: SqliteStore
) -> None:
    signed_in = start()
    old = await signed_in.current()

    new = await signed_in.renew(old, soft=True)

    kept = await the_session(store)
    assert kept.access_token == new
    assert json.loads(fake.calls_of("refresh")[-1].body)["refresh_token"] != kept.refresh_token


async def test_a_refresh_can_follow_a_refresh(start: Starter, fake: FakeHomeserver) -> None:
    signed_in = start()
    token = await signed_in.current()
    for _ in range(5):
        token = await signed_in.renew(token, soft=True)
        assert await works(fake, token)

    assert logins(fake) == 1


async def test_a_crash_before_the_pair_is_stored_costs_no_login(
    start: Starter, fake: FakeHomeserver, store: SqliteStore
) -> None:
    token = await start().current()
    before = await the_session(store)
    await start(holder="crashes").renew(token, soft=True)
    await keep_session(store, before)

    again = await start(holder="later").renew(token, soft=True)

    assert (await works(fake, again), logins(fake)) == (True, 1)


async def test_a_refresh_without_a_new_refresh_token_keeps_the_old(
    store: SqliteStore, start: Starter
) -> None:
    token = await start().current()
    before = await the_session(store)
    refreshed = start(transport=answering(200, {"access_token": "fresh"}), holder="later")

    await refreshed.renew(token, soft=True)

    assert (await the_session(store)).refresh_token == before.refresh_token


async def test_a_refused_refresh_token_leads_to_a_login(
    start: Starter, fake: FakeHomeserver, clock: Time
) -> None:
    signed_in = start()
    old = await signed_in.current()
    fake.accounts.revoke(BOT)
    clock.now += AFTER_LOGIN

    assert await works(fake, await signed_in.renew(old, soft=True))


async def test_a_hard_logout_leads_to_a_login_at_once(
    start: Starter, fake: FakeHomeserver, clock: Time
) -> None:
    signed_in = start()
    old = await signed_in.current()
    fake.accounts.revoke(BOT)
    clock.now += AFTER_LOGIN

    assert await works(fake, await signed_in.renew(old, soft=False))
    assert fake.calls_of("refresh") == []


async def test_all_logins_are_of_one_device(start: Starter, fake: FakeHomeserver, clock: Time) -> None:
    signed_in = start()
    old = await signed_in.current()
    clock.now += AFTER_LOGIN
    await signed_in.renew(old, soft=False)

    devices = {body["device_id"] for body in login_bodies(fake)}

    assert (len(devices), logins(fake)) == (1, 2)


async def test_a_token_that_another_process_renewed_is_used(start: Starter, fake: FakeHomeserver) -> None:
    one, other = start(), start(holder="other")
    old = await one.current()
    await other.current()
    new = await one.renew(old, soft=True)

    assert await other.renew(old, soft=False) == new
    assert len(fake.calls_of("refresh")) == 1


async def test_a_token_is_refreshed_before_its_time_is_over(
    start: Starter, fake: FakeHomeserver, clock: Time, store: SqliteStore
) -> None:
    signed_in = start()
    old = await signed_in.current()
    clock.now = ((await the_session(store)).expires_at or 0) - 30

    assert await signed_in.current() != old
    assert len(fake.calls_of("refresh")) == 1


async def test_a_token_that_is_still_good_for_long_is_left_alone(
    start: Starter, fake: FakeHomeserver, clock: Time
) -> None:
    signed_in = start()
    await signed_in.current()
    clock.now += 120

    await signed_in.current()

    assert fake.calls_of("refresh") == []


async def test_a_start_after_the_tokens_time_refreshes_it(
    start: Starter, fake: FakeHomeserver, clock: Time
) -> None:
    await start().current()
    clock.now += 3600

    assert await works(fake, await start(holder="later").current())
    assert (logins(fake), len(fake.calls_of("refresh"))) == (1, 1)


# Trouble


@pytest.mark.promise(7)
@pytest.mark.parametrize("fault", [{"down": True}, {"status": 502}, {"status": 500}, {"status": 429}])
async def test_trouble_while_refreshing_ahead_is_no_trouble_yet(
    start: Starter, fake: FakeHomeserver, clock: Time, fault: dict[str, Any]
) -> None:
    signed_in = start()
    old = await signed_in.current()
    clock.now += 270
    fake.fail("refresh", **fault)

    assert await signed_in.current() == old


async def test_a_token_that_is_still_good_is_not_refreshed_at_every_request(
    start: Starter, fake: FakeHomeserver, clock: Time
) -> None:
    signed_in = start()
    await signed_in.current()
    clock.now += 270
    fake.fail("refresh", status=403)
    for _ in range(20):
        await signed_in.current()

    assert len(fake.calls_of("refresh")) == 1


@pytest.mark.promise(7)
@pytest.mark.parametrize("fault", [{"down": True}, {"status": 502}, {"status": 500}])
async def test_an_outage_while_refreshing_leads_to_no_login(
    start: Starter, fake: FakeHomeserver, fault: dict[str, Any]
) -> None:
    signed_in = start()
    old = await signed_in.current()
    fake.fail("refresh", **fault)

    with pytest.raises(HomeserverUnavailable):
        await signed_in.renew(old, soft=True)

    assert logins(fake) == 1


async def test_no_connection_at_start_is_over_as_soon_as_there_is_one(
    start: Starter, fake: FakeHomeserver
) -> None:
    signed_in = start()
    fake.fail(down=True)
    with pytest.raises(HomeserverUnavailable) as outage:
        await signed_in.current()
    fake.mend()

    assert outage.value.everywhere
    assert await works(fake, await signed_in.current())


async def test_a_login_that_broke_off_is_not_repeated_at_once(
    start: Starter, fake: FakeHomeserver, clock: Time
) -> None:
    signed_in = start()
    fake.fail("login", status=500)
    for _ in range(5):
        with pytest.raises(HomeserverUnavailable):
            await signed_in.current()
    assert logins(fake) == 1
    fake.mend()
    clock.now += AFTER_TROUBLE

    assert await works(fake, await signed_in.current())


@pytest.mark.parametrize("holder", ["one", "after a restart"])
async def test_a_limit_on_logins_is_obeyed(
    start: Starter, fake: FakeHomeserver, clock: Time, holder: str
) -> None:
    fake.fail("login", status=429, retry_after=30, times=1)
    with pytest.raises(TokenRefused):
        await start().current()
    clock.now += 29
    with pytest.raises(TokenRefused):
        await start(PasswordSignIn("bot", "another"), holder=holder).current()

    assert logins(fake) == 1


async def test_after_the_limit_the_login_goes_on(start: Starter, fake: FakeHomeserver, clock: Time) -> None:
    fake.fail("login", status=429, retry_after=30, times=1)
    signed_in = start()
    with pytest.raises(TokenRefused):
        await signed_in.current()
    clock.now += 30

    assert await works(fake, await signed_in.current())


# A refused password


async def test_a_refused_password_is_named_with_what_to_do(start: Starter) -> None:
    with pytest.raises(TokenRefused) as refused:
        await start(PasswordSignIn("bot", "wrong")).current()

    assert str(refused.value).startswith(
        "MATRIX_PASSWORD was refused by http://fake.knock.test (M_FORBIDDEN)."
    )


async def test_a_refused_password_is_not_tried_again_before_the_pause_ends(
    start: Starter, fake: FakeHomeserver, clock: Time
) -> None:
    for number in range(20):
        with pytest.raises(TokenRefused):
            await start(PasswordSignIn("bot", "wrong"), holder=f"restart {number}").current()
        clock.now += AFTER_REFUSAL / 21

    assert logins(fake) == 1


async def test_a_refused_password_is_tried_again_after_the_pause(
    start: Starter, fake: FakeHomeserver, clock: Time
) -> None:
    signed_in = start(PasswordSignIn("bot", "wrong"))
    for _ in range(2):
        with pytest.raises(TokenRefused):
            await signed_in.current()
        clock.now += AFTER_REFUSAL

    assert logins(fake) == 2


async def test_a_corrected_password_is_tried_at_once(start: Starter, fake: FakeHomeserver) -> None:
    with pytest.raises(TokenRefused):
        await start(PasswordSignIn("bot", "wrong")).current()

    assert await works(fake, await start(holder="after a restart").current())


async def test_a_homeserver_that_refuses_its_own_fresh_tokens_is_not_asked_for_more(
    start: Starter, fake: FakeHomeserver
) -> None:
    signed_in = start()
    token = await signed_in.current()
    for _ in range(10):
        with pytest.raises(TokenRefused):
            await signed_in.renew(token, soft=False)

    assert logins(fake) == 1


async def test_a_locked_account_is_not_signed_in_again(
    start: Starter, store: SqliteStore, fake: FakeHomeserver
) -> None:
    token = await start().current()
    locked = start(
        transport=answering(401, {"errcode": "M_USER_LOCKED", "soft_logout": True}), holder="later"
    )

    with pytest.raises(TokenRefused, match="locked"):
        await locked.renew(token, soft=True)

    assert logins(fake) == 1


async def test_a_person_who_signs_in_by_hand_does_not_wait(start: Starter, fake: FakeHomeserver) -> None:
    fake.fail("login", status=429, retry_after=3600, times=1)
    with pytest.raises(TokenRefused):
        await start().current()

    session = await start(holder="by hand").sign_in_now()

    assert await works(fake, session.access_token)


async def test_signing_in_by_hand_replaces_the_session(start: Starter, fake: FakeHomeserver) -> None:
    old = await start().current()

    session = await start(holder="by hand").sign_in_now()

    assert (session.access_token != old, logins(fake)) == (True, 2)


# Several processes


async def test_a_process_waits_for_another_that_is_signing_in(
    start: Starter, store: SqliteStore, clock: Time, fake: FakeHomeserver
) -> None:
    await store.take_lease(LEASE, "other", now=clock(), until=clock() + 60)
    theirs = Session(base_url=fake.url, access_token="theirs", user_id=BOT)
    clock.on_sleep = lambda: keep_session(store, theirs)

    assert await start().current() == "theirs"
    assert logins(fake) == 0


async def test_a_process_takes_over_from_one_that_died(
    start: Starter, store: SqliteStore, clock: Time, fake: FakeHomeserver
) -> None:
    await store.take_lease(LEASE, "dead", now=clock(), until=clock() + 5)

    assert await works(fake, await start().current())


async def test_waiting_for_another_process_has_an_end(
    start: Starter, store: SqliteStore, clock: Time
) -> None:
    began = clock()
    await store.take_lease(LEASE, "other", now=began, until=began + 10 * PATIENCE)

    with pytest.raises(HomeserverUnavailable):
        await start().current()

    assert clock() - began < PATIENCE + 1


async def test_the_lease_is_given_back(start: Starter, store: SqliteStore, clock: Time) -> None:
    await start().current()

    assert await store.take_lease(LEASE, "other", now=clock(), until=clock() + 1)


async def test_the_lease_is_given_back_after_a_refusal_too(
    start: Starter, store: SqliteStore, clock: Time
) -> None:
    with pytest.raises(TokenRefused):
        await start(PasswordSignIn("bot", "wrong")).current()

    assert await store.take_lease(LEASE, "other", now=clock(), until=clock() + 1)


async def test_a_process_that_ends_gives_the_lease_back(
    start: Starter, store: SqliteStore, clock: Time
) -> None:
    busy = asyncio.Event()

    class Endless(PasswordSignIn):
        async def credentials(self) -> dict[str, Any]:
            busy.set()
            return await asyncio.Future()

    signed_in = start(Endless("bot", PASSWORD))
    caller = asyncio.create_task(signed_in.current())
    await busy.wait()

    await signed_in.aclose()

    assert await store.take_lease(LEASE, "other", now=clock(), until=clock() + 1)
    assert caller.done() or caller.cancel()


async def test_a_process_that_lost_its_turn_does_not_sign_in(
    start: Starter, store: SqliteStore, clock: Time, fake: FakeHomeserver
) -> None:
    class Slow(PasswordSignIn):
        async def credentials(self) -> dict[str, Any]:
            clock.now += 120
            await store.take_lease(LEASE, "quicker", now=clock(), until=clock() + 60)
            return await super().credentials()

    with pytest.raises(HomeserverUnavailable):
        await start(Slow("bot", PASSWORD)).current()

    assert logins(fake) == 0


# Secrets


@pytest.mark.promise(10)
async def test_no_token_is_shown(start: Starter, store: SqliteStore) -> None:
    token = await start().current()
    session = await the_session(store)

    assert token not in repr(session)
    assert session.refresh_token not in repr(session)


@pytest.mark.promise(10)
async def test_tokens_are_encrypted_with_a_secret_key(tmp_path: Path, fake: FakeHomeserver) -> None:
    store = SqliteStore(tmp_path / "sealed.db", secret_key="a key of the owner's, long enough")
    await store.open()
    client = MatrixClient(fake.url, http=matrix_http(transport=fake.transport()))
    token = await SignedIn(store, PasswordSignIn("bot", PASSWORD), client, holder="one").current()
    await store.close()

    assert token.encode() not in written_to(tmp_path)


@pytest.mark.promise(10)
async def test_no_refusal_tells_the_password(start: Starter) -> None:
    with pytest.raises(TokenRefused) as refused:
        await start(PasswordSignIn("bot", "canary-password")).current()

    assert "canary" not in f"{refused.value!r}"


async def test_the_pauses_do_not_tell_the_password(
    start: Starter, store: SqliteStore, tmp_path: Path
) -> None:
    with pytest.raises(TokenRefused):
        await start(PasswordSignIn("bot", "canary-password")).current()
    await store.close()

    assert b"canary" not in written_to(tmp_path)


# Whatever comes back

answers = st.dictionaries(
    st.sampled_from(["access_token", "user_id", "device_id", "refresh_token", "expires_in_ms", "errcode"]),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from(["M_FORBIDDEN", "M_UNKNOWN_TOKEN", "M_USER_LOCKED", "tok", 10**400, [], {}]),
)  # fmt: skip


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([200, 400, 401, 403, 404, 429, 500, 502]), answers)
async def test_no_answer_to_a_login_raises_anything_but_a_homeserver_error(
    store: SqliteStore, status: int, body: dict[str, Any]
) -> None:
    http = matrix_http(transport=answering(status, body))
    client = MatrixClient("http://hs.test", http=http)
    signed_in = SignedIn(store, PasswordSignIn("bot", PASSWORD), client, holder="one")

    for attempt in (signed_in.sign_in_now(), signed_in.current(), signed_in.renew("tok", soft=True)):
        with contextlib.suppress(HomeserverError):
            await attempt
