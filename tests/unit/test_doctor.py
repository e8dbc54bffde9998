"""What the doctor finds, good and bad, of each thing it looks at."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.kit.account import Account
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.fake_homeserver.rooms import Room
from tests.kit.http import matrix_http
from tests.kit.rooms import ENCRYPTION
from tests.kit.sealing import Sealing

from mknock.domain.doors import Door, Removal, Welcoming
from mknock.matrix.auth import FixedToken, KeptSessionOnly, SignedIn
from mknock.matrix.client import MatrixClient, TokenSource
from mknock.matrix.gateway import HomeserverGateway
from mknock.ports import Encryption
from mknock.services.doctor import CLOCKS_APART, Doctor, address
from mknock.services.doors import Doors
from mknock.services.findings import Finding, Verdict
from mknock.services.room_findings import RoomFindings
from mknock.services.sessions import OwnSession
from mknock.storage.sqlite import SqliteStore

BOT = "@bot:knock.test"
KEY = "k" * 32
WELCOMING = Welcoming("Hello {user}!")

Examine = Callable[..., Awaitable[dict[str, Finding]]]


@pytest.fixture
def bot(fake: FakeHomeserver) -> Account:
    return fake.log_in("bot")


@pytest.fixture
def owner(fake: FakeHomeserver) -> str:
    return fake.add_user("alice").user_id


@pytest.fixture
def room(fake: FakeHomeserver, owner: str, bot: Account) -> Room:
    return fake.add_room(owner, bot.user_id)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "knock.db")
    yield store
    await store.close()


@pytest.fixture
def examine(fake: FakeHomeserver, bot: Account, room: Room, store: SqliteStore) -> Examine:
    """Let the doctor look; gives the findings by what they are about."""

    async def look(
        *,
        room_id: str = room.room_id,
        tokens: TokenSource | None = None,
        kept: SqliteStore = store,
        welcoming: Welcoming = WELCOMING,
        blocked_members: Removal = Removal.KICK,
        native_knocks: bool = True,
        encryption: Encryption | None = None,
        **more: Any,
    ) -> dict[str, Finding]:
        about = {"form_secrets": True, "open_api": False, "public_url": "https://knock.example.org", **more}
        async with matrix_http(transport=fake.transport()) as http:
            source = tokens or FixedToken(str(bot.access_token), fake.url)
            homeserver = HomeserverGateway(MatrixClient(fake.url, source, http=http))
            door = Door(
                "main",
                room_id,
                welcoming=welcoming,
                blocked_members=blocked_members,
                native_knocks=native_knocks,
            )
            session = OwnSession(homeserver, signed_in=False, encryption=encryption)
            rooms = RoomFindings(homeserver, encryption)
            doctor = Doctor(kept, homeserver, Doors(door), time.time, session, rooms, **about)
            return {finding.what: finding for finding in await doctor.examine()}

    return look


async def test_where_all_is_well_everything_is_good(examine: Examine) -> None:
    verdicts = {what: finding.verdict for what, finding in (await examine()).items()}

    assert verdicts == dict.fromkeys(
        (
            "store",
            "sign-in",
            "session",
            "room of door main",
            "may invite to main",
            "may kick from main",
            "may write to main",
            "join rule of main",
            "encryption of main",
            "clock",
            "limits",
            "block-list file",
            "form",
            "admin endpoints",
            "public address",
        ),
        Verdict.GOOD,
    )


@pytest.mark.promise(5)
async def test_no_finding_holds_the_rooms_address(examine: Examine, room: Room) -> None:
    assert not any(room.room_id in finding.says for finding in (await examine()).values())


# The store


async def test_a_store_that_cannot_be_opened_is_bad(examine: Examine, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    found = (await examine(kept=SqliteStore(tmp_path / "file" / "knock.db")))["store"]

    assert (found.verdict, "make it writable" in found.says) == (Verdict.BAD, True)


async def test_a_broken_store_does_not_stop_the_doctor(examine: Examine, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    found = await examine(kept=SqliteStore(tmp_path / "file" / "knock.db"))

    assert found["room of door main"].verdict is Verdict.GOOD


@pytest.mark.parametrize("other", ["x" * 32, None])
async def test_another_secret_key_than_before_is_bad(
    examine: Examine, tmp_path: Path, other: str | None
) -> None:
    path = tmp_path / "sealed.db"
    before = SqliteStore(path, secret_key=KEY)
    await before.open()
    await before.put_secret("api-key", "value")
    await before.close()
    sealed = SqliteStore(path, secret_key=other)

    found = (await examine(kept=sealed, secrets=("session", "api-key")))["store"]
    await sealed.close()

    assert (found.verdict, "SECRET_KEY" in found.says) == (Verdict.BAD, True)


# Signing in


async def test_a_refused_token_is_bad(examine: Examine, fake: FakeHomeserver) -> None:
    found = (await examine(tokens=FixedToken("syt_wrong", fake.url)))["sign-in"]

    assert (found.verdict, found.says.startswith("MATRIX_ACCESS_TOKEN was refused")) == (Verdict.BAD, True)


async def test_the_doctor_does_not_send_anybody_to_the_doctor(examine: Examine, fake: FakeHomeserver) -> None:
    assert "mknock doctor" not in (await examine(tokens=FixedToken("syt_wrong", fake.url)))["sign-in"].says


async def test_without_a_way_to_sign_in_the_ways_are_named(
    examine: Examine, fake: FakeHomeserver, store: SqliteStore
) -> None:
    tokens = SignedIn(store, KeptSessionOnly(), MatrixClient(fake.url), holder="test")

    found = (await examine(tokens=tokens))["sign-in"]

    assert (found.verdict, "MATRIX_ACCESS_TOKEN" in found.says) == (Verdict.BAD, True)


OUTAGES: list[dict[str, Any]] = [
    {"down": True},
    {"status": 502, "body": "<html>"},
    {"status": 404, "body": "no"},
]


@pytest.mark.parametrize("fault", OUTAGES)
async def test_a_homeserver_that_does_not_answer_is_bad(
    examine: Examine, fake: FakeHomeserver, fault: dict[str, Any]
) -> None:
    fake.fail("whoami", **fault)
    found = (await examine())["sign-in"]

    assert (found.verdict, "check MATRIX_BASE_URL" in found.says) == (Verdict.BAD, True)


async def test_a_limit_is_named(examine: Examine, fake: FakeHomeserver) -> None:
    fake.fail("whoami", status=429, retry_after=3)

    assert (await examine())["sign-in"].says.endswith("wait 3 s, then run this again")


async def test_without_a_sign_in_nothing_is_said_of_the_room(examine: Examine, fake: FakeHomeserver) -> None:
    fake.fail("whoami", down=True)

    assert "room of door main" not in await examine()


# The room


async def found_in(examine: Examine, fake: FakeHomeserver, membership: str) -> Finding:
    """What is found where the bot has that membership."""
    elsewhere = fake.add_room(fake.add_user("alice").user_id, BOT)
    elsewhere.set_membership(elsewhere.creator, BOT, membership, {})
    return (await examine(room_id=elsewhere.room_id))["room of door main"]


@pytest.mark.parametrize("membership", ["leave", "ban", "invite"])
async def test_not_being_in_the_room_is_bad(examine: Examine, fake: FakeHomeserver, membership: str) -> None:
    found = await found_in(examine, fake, membership)

    assert (found.verdict, "let it join" in found.says) == (Verdict.BAD, True)


async def test_never_having_been_in_the_room_is_bad(
    examine: Examine, fake: FakeHomeserver, owner: str
) -> None:
    elsewhere = fake.add_room(owner)

    found = (await examine(room_id=elsewhere.room_id))["room of door main"]

    assert (found.verdict, "NEW_ROOM_ID is wrong" in found.says) == (Verdict.BAD, True)


async def test_a_room_that_does_not_exist_is_bad(examine: Examine) -> None:
    found = (await examine(room_id="!nowhere:knock.test"))["room of door main"]

    assert (found.verdict, "NEW_ROOM_ID is wrong" in found.says) == (Verdict.BAD, True)


async def test_an_outage_is_not_taken_for_not_being_in_the_room(
    examine: Examine, fake: FakeHomeserver
) -> None:
    fake.fail("state_event", status=502, body="<html>")

    assert "could not be looked at" in (await examine())["room of door main"].says


# Powers


async def powers(examine: Examine, fake: FakeHomeserver, owner: str, **levels: Any) -> dict[str, Finding]:
    elsewhere = fake.add_room(owner, BOT)
    elsewhere.override_levels(levels)
    return await examine(room_id=elsewhere.room_id)


async def test_not_being_allowed_to_invite_is_bad(examine: Examine, fake: FakeHomeserver, owner: str) -> None:
    found = (await powers(examine, fake, owner, users={BOT: 20}, invite=50))["may invite to main"]

    assert (found.verdict, found.says) == (
        Verdict.BAD,
        "no: it has power 20 and needs 50; make it a moderator in the room's settings, under roles",
    )


async def test_not_being_allowed_to_kick_is_odd(examine: Examine, fake: FakeHomeserver, owner: str) -> None:
    found = await powers(examine, fake, owner, users={BOT: 20}, invite=0, kick=50)

    assert found["may kick from main"].verdict is Verdict.ODD


async def test_not_being_allowed_to_ban_is_odd_only_where_the_door_bans(
    examine: Examine, fake: FakeHomeserver, owner: str
) -> None:
    elsewhere = fake.add_room(owner, BOT)
    elsewhere.override_levels({"users": {BOT: 50}, "ban": 100})
    banning = await examine(room_id=elsewhere.room_id, blocked_members=Removal.BAN)
    kicking = await examine(room_id=elsewhere.room_id)

    assert (banning["may ban from main"].verdict, "may ban from main" in kicking) == (Verdict.ODD, False)


@pytest.mark.parametrize("levels", [{"events_default": 60}, {"events": {"m.room.message": 60}}])
async def test_not_being_allowed_to_write_is_odd(
    examine: Examine, fake: FakeHomeserver, owner: str, levels: dict[str, Any]
) -> None:
    found = await powers(examine, fake, owner, users={BOT: 50}, **levels)

    assert found["may write to main"].verdict is Verdict.ODD


async def test_whoever_sends_no_welcome_need_not_be_allowed_to_write(
    examine: Examine, fake: FakeHomeserver, owner: str
) -> None:
    assert "may write to main" not in await examine(welcoming=Welcoming())


# What the room is like


async def test_a_room_that_was_replaced_is_bad(examine: Examine, room: Room) -> None:
    room.write("m.room.tombstone", {"body": "", "replacement_room": "!secret:knock.test"})

    found = (await examine())["room of door main"]

    assert (found.verdict, "set NEW_ROOM_ID" in found.says, "secret" in found.says) == (
        Verdict.BAD,
        True,
        False,
    )


async def test_the_creators_who_outrank_the_bot_are_named(examine: Examine, owner: str) -> None:
    assert f"its creators outrank everybody: {owner}" in (await examine())["room of door main"].says


async def test_a_public_room_is_odd(examine: Examine, room: Room) -> None:
    room.write("m.room.join_rules", {"join_rule": "public"})

    assert (await examine())["join rule of main"].verdict is Verdict.ODD


@pytest.mark.parametrize("join_rule", ["org.example.strange", 7, None, ["invite"]])
async def test_a_join_rule_that_nobody_knows_is_odd(examine: Examine, room: Room, join_rule: Any) -> None:
    room.write("m.room.join_rules", {"join_rule": join_rule})

    assert (await examine())["join rule of main"].verdict is Verdict.ODD


@pytest.mark.promise(5)
@pytest.mark.parametrize("join_rule", ["knock", "knock_restricted"])
async def test_where_people_may_knock_in_the_room_it_says_that_the_address_is_known(
    examine: Examine, room: Room, join_rule: str
) -> None:
    room.write("m.room.join_rules", {"join_rule": join_rule})

    found = (await examine())["join rule of main"]

    assert (found.verdict, "the address is known" in found.says) == (Verdict.GOOD, True)


async def test_not_being_allowed_to_turn_down_knocks_in_the_room_is_odd(examine: Examine, room: Room) -> None:
    room.write("m.room.join_rules", {"join_rule": "knock"})
    room.override_levels({"users": {BOT: 20}, "kick": 50, "invite": 0})

    found = (await examine())["join rule of main"]

    assert (found.verdict, "cannot turn anybody down: it has power 20 and needs 50" in found.says) == (
        Verdict.ODD,
        True,
    )


async def test_where_knocks_in_the_room_are_left_to_moderators_it_says_so(
    examine: Examine, room: Room
) -> None:
    room.write("m.room.join_rules", {"join_rule": "knock"})

    assert "leaves that to moderators" in (await examine(native_knocks=False))["join rule of main"].says


async def test_an_encrypted_room_without_encryption_of_ours_is_odd(examine: Examine, room: Room) -> None:
    room.write("m.room.encryption", ENCRYPTION["content"])

    found = (await examine())["encryption of main"]

    assert (found.verdict, "nobody is welcomed" in found.says, "mknock[e2ee]" in found.says) == (
        Verdict.ODD,
        True,
        True,
    )


async def test_an_encrypted_room_is_good_where_we_can_encrypt(examine: Examine, room: Room) -> None:
    room.write("m.room.encryption", ENCRYPTION["content"])

    assert (await examine(encryption=Sealing()))["encryption of main"].verdict is Verdict.GOOD


async def test_that_welcomes_are_sent_in_clear_is_said(examine: Examine, room: Room) -> None:
    room.write("m.room.encryption", ENCRYPTION["content"])
    clear = Welcoming("Hello!", clear_in_encrypted=True)

    assert "in clear" in (await examine(welcoming=clear))["encryption of main"].says


# The session, the clock and the limits


async def test_the_session_of_somebodys_client_is_odd(examine: Examine, bot: Account) -> None:
    await bot.publish_device()

    found = (await examine())["session"]

    assert (found.verdict, "mknock login" in found.says) == (Verdict.ODD, True)


@pytest.mark.parametrize(("ahead", "says"), [(-3600.0, "ahead of"), (3600.0, "behind")])
async def test_a_clock_that_is_wrong_is_odd(
    examine: Examine, fake: FakeHomeserver, ahead: float, says: str
) -> None:
    fake.itself.clock_ahead = ahead

    found = (await examine())["clock"]

    assert (found.verdict, says in found.says, "NTP" in found.says) == (Verdict.ODD, True, True)


@pytest.mark.parametrize("ahead", [None, CLOCKS_APART / 2])
async def test_a_clock_that_is_nearly_right_or_not_told_is_good(
    examine: Examine, fake: FakeHomeserver, ahead: float | None
) -> None:
    fake.itself.clock_ahead = ahead

    assert (await examine())["clock"].verdict is Verdict.GOOD


async def test_of_synapse_the_usual_limits_are_told(examine: Examine, fake: FakeHomeserver) -> None:
    fake.itself.software = "Synapse/1.163.2"

    assert "10 invites at once" in (await examine())["limits"].says


async def test_that_the_homeserver_asks_to_wait_is_odd(examine: Examine, store: SqliteStore) -> None:
    await store.open()
    await store.pause("invite", time.time() + 40)

    found = (await examine())["limits"]

    assert (found.verdict, "another" in found.says) == (Verdict.ODD, True)


# What needs no homeserver


async def test_without_a_form_secret_that_is_odd(examine: Examine) -> None:
    found = (await examine(form_secrets=False))["form"]

    assert (found.verdict, "FORM_TOKEN" in found.says) == (Verdict.ODD, True)


async def test_open_endpoints_are_odd(examine: Examine) -> None:
    found = (await examine(open_api=True))["admin endpoints"]

    assert (found.verdict, "ALLOW_OPEN_API" in found.says) == (Verdict.ODD, True)


@pytest.mark.parametrize(
    "public_url",
    [
        None,
        "http://knock.example.org",
        "https://localhost",
        "http://localhost:8000",
        "https://127.0.0.1",
        "https://[::1]:8000",
        "https://192.168.1.5",
        "https://knock",
        "https://nas.local",
    ],
)
def test_an_address_that_a_form_cannot_use_is_odd(public_url: str | None) -> None:
    assert address(public_url).verdict is Verdict.ODD


@pytest.mark.parametrize("public_url", ["https://knock.example.org", "https://knock.example.org/door"])
def test_a_public_address_is_good(public_url: str) -> None:
    assert address(public_url).says == f"forms post to {public_url}/invite_from_form"


async def test_what_is_not_good_says_what_to_do(examine: Examine) -> None:
    found = (await examine(public_url=None))["public address"]

    assert found.says.startswith("PUBLIC_URL is not set")
