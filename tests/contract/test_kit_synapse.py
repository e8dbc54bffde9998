"""The throw-away Synapse: how it starts, what it starts with, and its limits."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from tests.kit import synapse_database
from tests.kit.account import Account
from tests.kit.synapse import Synapse, SynapseDidNotStart

pytestmark = pytest.mark.synapse

WITHOUT_LOGIN_LIMITS = {
    "rc_login": {kind: {"per_second": 1000, "burst_count": 1000} for kind in ("address", "account")}
}


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Synapse]:
    """A Synapse with the limits that an owner has who changes nothing, and with a few people."""
    directory = tmp_path_factory.mktemp("limited")
    names = [f"seed{number}" for number in range(1000)]
    with Synapse.start(
        directory, limits="default", seed_users=names, settings=WITHOUT_LOGIN_LIMITS
    ) as running:
        yield running


async def test_a_seeded_person_logs_in(limited: Synapse) -> None:
    assert (await limited.user("seed999")).user_id == "@seed999:knock.test"


async def test_a_seeded_person_has_a_profile(limited: Synapse) -> None:
    profile = await limited.anonymous().must("GET", "profile", "@seed7:knock.test")

    assert profile == {"displayname": "seed7"}


async def test_a_seeded_person_joins_a_room(limited: Synapse) -> None:
    alice, guest = await limited.user("alice"), await limited.user("seed8")
    room = await limited.new_room(alice, name="The seeded room")
    await alice.invite(room, guest.user_id)

    await guest.join(room)

    assert await alice.membership(room, guest.user_id) == "join"


async def invites_until_refused(inviter: Account, room: str, *, at_most: int) -> list[httpx2.Response]:
    answers = []
    for number in range(at_most):
        body = {"user_id": f"@seed{100 + number}:knock.test"}
        answers.append(await inviter.call("POST", "rooms", room, "invite", json=body))
        if answers[-1].is_error:
            break
    return answers


async def test_the_default_limits_let_nine_or_ten_invites_through_at_once(limited: Synapse) -> None:
    inviter = await limited.user("hasty")
    room = await limited.new_room(inviter)

    *granted, _ = await invites_until_refused(inviter, room, at_most=15)

    assert 9 <= len(granted) <= 11


async def test_a_limit_tells_the_same_wait_in_the_header_and_in_the_body(limited: Synapse) -> None:
    inviter = await limited.user("hastier")
    room = await limited.new_room(inviter)

    refused = (await invites_until_refused(inviter, room, at_most=15))[-1]

    milliseconds = refused.json()["retry_after_ms"]
    assert refused.headers["retry-after"] == str(math.ceil(milliseconds / 1000))


async def test_lifted_limits_ask_nobody_to_wait(limited: Synapse) -> None:
    bot = await limited.user("unlimited")
    room = await limited.new_room(bot)
    await limited.lift_limits(bot.user_id)

    answers = await invites_until_refused(bot, room, at_most=15)

    assert [answer.status_code for answer in answers] == [200] * 15


async def test_a_homeserver_that_starts_again_knows_what_it_knew(limited: Synapse) -> None:
    alice = await limited.user("alice")
    room = await limited.new_room(alice)
    limited.stop()
    limited.start_again()

    assert await alice.membership(room, alice.user_id) == "join"


async def test_a_stopped_homeserver_is_not_there(limited: Synapse) -> None:
    limited.stop()
    try:
        with pytest.raises(httpx2.ConnectError):
            await limited.anonymous().call("GET", "login")
    finally:
        limited.start_again()


async def test_many_people_are_made_at_once(synapse: Synapse) -> None:
    people = await synapse.users(5, "crowd")

    assert [person.user_id for person in people] == [f"@crowd{number}:knock.test" for number in range(5)]


async def test_a_person_sees_the_invite_in_their_sync(synapse: Synapse) -> None:
    alice, bob = await synapse.user("alice"), await synapse.user("syncing")
    room = await synapse.new_room(alice)
    since = (await bob.sync(sync_filter={"presence": {"types": []}}))["next_batch"]
    await alice.invite(room, bob.user_id)

    assert room in (await bob.sync(since, timeout=5000))["rooms"]["invite"]


def test_a_homeserver_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(SynapseDidNotStart, match="jwt_config"):
        Synapse.start(tmp_path, settings={"jwt_config": {"enabled": True}})


# The template of the database


def test_without_a_place_to_keep_it_there_is_no_template(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_file = tmp_path / "not a directory"
    a_file.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(a_file))
    synapse_database.keep_as_template(a_file)

    assert synapse_database.copy_template(tmp_path / "copy.db") is False


def test_a_kept_template_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    original = tmp_path / "original.db"
    original.write_bytes(b"migrated")
    synapse_database.keep_as_template(original)
    synapse_database.copy_template(tmp_path / "copy.db")

    assert (tmp_path / "copy.db").read_bytes() == b"migrated"


def test_the_template_belongs_to_one_version(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = synapse_database.template()
    monkeypatch.setattr("importlib.metadata.version", lambda _: "9.9.9")

    assert synapse_database.template() != ours


def test_the_template_has_nobody_in_it(synapse: Synapse, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    if not synapse_database.copy_template(copy):
        pytest.fail("the session's Synapse started and kept no template")
    connection = sqlite3.connect(copy)
    try:
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (0,)
    finally:
        connection.close()
