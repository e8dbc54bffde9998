"""A first start where the first mknock was, seen from the outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.api.running import Running, Starting
from tests.kit.processes import wait_until

from mknock.domain.knocks import KnockState
from mknock.matrix.session import kept_session

EVE = "@eve:knock.test"
PENDING = {"@alice2:knock.test": {"invite_time": "2026-01-05T10:00:00", "last_checked": None}}
TOKEN = "syt_canary_of_the_first_mknock"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    (tmp_path / "blocked_users.txt").write_text(f"{EVE} Reason: spam\n# nobody\n\n@bad\n")
    (tmp_path / "pending_invites.json").write_text(json.dumps(PENDING))
    (tmp_path / "tokens.json").write_text(json.dumps({"access_token": TOKEN, "device_id": "OLD"}))
    return tmp_path


async def test_the_old_block_list_is_in_force_from_the_first_request(old: Path, starting: Starting) -> None:
    async with starting() as knock:
        await knock.post(EVE)
        assert (await knock.knocks_of(EVE))[0].state is KnockState.REFUSED


async def test_the_old_block_list_is_listed_with_its_reasons(old: Path, starting: Starting) -> None:
    async with starting() as knock:
        rules = (await knock.admin("GET", "/blocklist")).json()["blocklist"]
        assert [(rule["user_id"], rule["reason"], rule["source"]) for rule in rules] == [
            (EVE, "spam", "file")
        ]


async def test_old_open_invites_are_pending(old: Path, starting: Starting) -> None:
    async with starting() as knock:
        (pending,) = (await knock.admin("GET", "/pending_invites")).json()["pending_invites"]
        assert (pending["user_id"], pending["reason"], pending["invited_at"]) == (
            "@alice2:knock.test",
            "imported",
            1767607200.0,
        )


async def test_an_old_open_invite_can_be_rescinded(old: Path, starting: Starting) -> None:
    async with starting() as knock:
        invite(knock, "@alice2:knock.test")
        answer = await knock.admin("POST", "/rescind_invite", {"user_id": "@alice2:knock.test"})
        assert answer.json()["removal"] == "invite_withdrawn"


def invite(knock: Running, user: str) -> None:
    knock.fake.add_user(user)
    knock.fake.rooms[knock.room].set_membership(knock.bot.user_id, user, "invite")


@pytest.mark.promise(3)
async def test_the_open_invite_of_a_blocked_person_is_withdrawn(old: Path, starting: Starting) -> None:
    (old / "pending_invites.json").write_text(json.dumps({EVE: {}}))
    async with starting() as knock:
        await wait_until(lambda: state_of(knock, EVE, KnockState.RESCINDED))


async def state_of(knock: Running, user: str, state: KnockState) -> bool:
    return (await knock.knocks_of(user))[0].state is state


@pytest.mark.promise(2)
async def test_who_was_invited_by_the_first_mknock_is_not_invited_again(
    old: Path, starting: Starting
) -> None:
    async with starting() as knock:
        await knock.post("@alice2:knock.test")
        assert (await knock.knocks_of("@alice2:knock.test"))[0].repeats == 1


async def test_the_old_session_is_kept_for_the_homeserver_that_is_set(old: Path, starting: Starting) -> None:
    async with starting() as knock:
        session = await kept_session(knock.installation.parts.store)
        assert session is not None
        assert (session.access_token, session.device_id, session.base_url) == (TOKEN, "OLD", knock.fake.url)


async def test_a_session_that_is_there_is_not_replaced(old: Path, starting: Starting) -> None:
    async with starting() as knock:
        (old / "tokens.json").rename(old / "other.json")
        (old / "other.json").write_text('{"access_token": "another"}')
    async with starting(tokens_file=old / "other.json") as knock:
        session = await kept_session(knock.installation.parts.store)
        assert session is not None
        assert session.access_token == TOKEN


async def test_it_is_said_once(old: Path, starting: Starting) -> None:
    async with starting() as knock:
        said = [line for line in knock.lines.written if "first mknock" in line or "tokens.json" in line]
    async with starting() as knock:
        again = [line for line in knock.lines.written if "first mknock" in line or "tokens.json" in line]
    assert (len(said), len(again)) == (2, 0)


@pytest.mark.promise(10)
async def test_the_old_token_is_on_no_log_line(old: Path, starting: Starting) -> None:
    async with starting() as knock:
        assert not [line for line in knock.lines.written if TOKEN in line]


async def test_who_was_unblocked_stays_so_after_a_restart(old: Path, starting: Starting) -> None:
    async with starting() as knock:
        await knock.admin("POST", "/unblock_user", {"user_id": EVE})
    async with starting() as knock:
        assert (await knock.admin("GET", "/blocklist")).json()["count"] == 0


async def test_knock_starts_on_files_that_make_no_sense(old: Path, starting: Starting) -> None:
    for name in ("blocked_users.txt", "pending_invites.json", "tokens.json"):
        (old / name).write_bytes(b'{"broken\0')
    async with starting() as knock:
        assert (await knock.call("GET", "/healthz")).status_code == 200


async def test_what_makes_no_sense_is_kept_aside_in_the_data_folder(old: Path, starting: Starting) -> None:
    (old / "pending_invites.json").write_bytes(b'{"@alice2:knock.test": {"inv')
    async with starting():
        kept = list((old / "data" / "kept-aside").iterdir())
    assert [path.read_bytes() for path in kept] == [b'{"@alice2:knock.test": {"inv']
