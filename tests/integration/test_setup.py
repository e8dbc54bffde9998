"""``mknock setup`` as a first-time owner meets it: a terminal, a real homeserver, and no settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from dotenv import dotenv_values
from tests.integration.command import Ended, Terminal, mknock
from tests.kit.account import Account
from tests.kit.cast import new_name
from tests.kit.processes import Server
from tests.kit.synapse import Synapse

PASSWORD = "correct horse battery staple"
NOWHERE = "http://127.0.0.1:1"


@dataclass(frozen=True)
class Owner:
    """Somebody with a homeserver, an account for Knock, and an empty folder."""

    synapse: Synapse
    person: Account
    bot: Account
    home: Path

    @property
    def name(self) -> str:
        return self.bot.user_id[1:].partition(":")[0]

    async def answers(self, *lines: str, within: float = 60.0) -> Ended:
        """What ``mknock setup`` makes of these lines."""
        return await mknock(
            self.home, {}, "setup", typed="".join(f"{line}\n" for line in lines), within=within
        )

    async def by_token(self, room: str = "1", address: str = "https://knock.example.org") -> Ended:
        return await self.answers(self.synapse.url, "2", str(self.bot.access_token), room, address)

    def written(self) -> dict[str, str | None]:
        return dotenv_values(self.home / ".env", interpolate=False)

    def files(self) -> set[str]:
        return {path.name for path in self.home.iterdir()} - {"data"}


@pytest.fixture
async def owner(synapse: Synapse, tmp_path: Path) -> Owner:
    person = await synapse.user(new_name("owner"))
    return Owner(synapse, person, await synapse.register(new_name("knock"), PASSWORD), tmp_path)


@pytest.fixture
async def room(owner: Owner) -> str:
    return await owner.synapse.new_room(owner.person, bot=owner.bot, name="The Repair Café")


@asynccontextmanager
async def at_a_terminal(owner: Owner) -> AsyncIterator[Terminal]:
    async with Terminal.opened(owner.home, {}, "setup") as terminal:
        yield terminal


async def test_five_answers_make_a_knock_that_starts(owner: Owner, room: str) -> None:
    ended = await owner.by_token()

    assert (ended.code, owner.written()["NEW_ROOM_ID"]) == (0, room), ended
    assert "FAIL" not in ended.out
    with Server.mknock(owner.home, {}) as server:
        await server.wait_ready("/readyz")


async def test_the_address_for_the_form_is_said(owner: Owner, room: str) -> None:
    ended = await owner.by_token()

    assert f"https://knock.example.org/invite_from_form?token={owner.written()['FORM_TOKEN']}" in ended.out


@pytest.mark.promise(10)
async def test_the_file_is_for_its_owner_alone(owner: Owner, room: str) -> None:
    await owner.by_token()

    assert (owner.home / ".env").stat().st_mode & 0o777 == 0o600


@pytest.mark.promise(10)
async def test_with_a_password_knock_gets_a_session_of_its_own(owner: Owner, room: str) -> None:
    async with at_a_terminal(owner) as terminal:
        for question, answer in (
            ("Your homeserver", owner.synapse.url),
            ("1, 2 or 3", ""),
            ("User name", owner.name),
            (f"Password of {owner.name}", PASSWORD),
            ("Keep the password", "n"),
            ("Number of the room", "1"),
            ("Public address", ""),
        ):
            await terminal.shows(question)
            terminal.type(f"{answer}\n")

        assert await terminal.ended(within=60.0) == 0, terminal.shown
        assert PASSWORD not in terminal.shown
    assert owner.written().keys() == {"MATRIX_BASE_URL", "SECRET_KEY", "NEW_ROOM_ID", "FORM_TOKEN"}
    with Server.mknock(owner.home, {}) as server:
        await server.wait_ready("/readyz")


async def test_a_password_that_is_kept_is_in_the_file(owner: Owner, room: str) -> None:
    await owner.answers(owner.synapse.url, "1", owner.name, PASSWORD, "y", "1", "")

    assert (owner.written()["MATRIX_USER"], owner.written()["MATRIX_PASSWORD"]) == (owner.name, PASSWORD)


async def test_at_a_terminal_a_wrong_answer_is_asked_for_again(owner: Owner, room: str) -> None:
    async with at_a_terminal(owner) as terminal:
        await terminal.shows("Your homeserver")
        terminal.type(f"{NOWHERE}\n")
        await terminal.shows(f"There is no homeserver at {NOWHERE}")
        terminal.type(f"{owner.synapse.url}\n")
        await terminal.shows("1, 2 or 3")
        terminal.type("7\n")
        await terminal.shows("is not 1, 2 or 3")
        terminal.type("1\n")
        await terminal.shows("User name")
        terminal.type(f"{owner.name}\n")
        await terminal.shows("Password of")
        terminal.type("wrong\n")
        await terminal.shows("refused the login")
        terminal.interrupt()

        assert await terminal.ended() == 1
    assert owner.files() == set()


@pytest.mark.parametrize(
    "lines", [(NOWHERE,), ("",), ("{url}", "4"), ("{url}", "2", "syt_wrong"), ("{url}",)]
)
async def test_a_pipe_with_a_wrong_answer_ends_in_one_sentence_and_changes_nothing(
    owner: Owner, room: str, lines: tuple[str, ...]
) -> None:
    ended = await owner.answers(*(line.format(url=owner.synapse.url) for line in lines))

    assert (ended.code, ended.err.count("\n"), owner.files()) == (1, 1, set()), ended


async def test_what_else_is_in_the_file_stays(owner: Owner, room: str) -> None:
    (owner.home / ".env").write_text(
        "# ours\nWELCOME_MESSAGE='Hello {user}'\nMATRIX_ACCESS_TOKEN=change-me\nMATRIX_BASE_URL=https://change-me.example\n"
    )
    await owner.answers(owner.synapse.url, "1", owner.name, PASSWORD, "n", "1", "")

    assert "# ours" in (owner.home / ".env").read_text()
    assert owner.written()["WELCOME_MESSAGE"] == "Hello {user}"
    assert "MATRIX_ACCESS_TOKEN" not in owner.written()


async def test_the_second_time_enter_keeps_what_there_is(owner: Owner, room: str) -> None:
    await owner.by_token()
    before = owner.written()
    ended = await owner.answers("", "", "1", "")

    assert (ended.code, owner.written()) == (0, before), ended


async def test_an_invitation_can_be_accepted_on_the_way(owner: Owner) -> None:
    room = await owner.synapse.new_room(owner.person, name="The Repair Café")
    levels = await owner.person.state(room, "m.room.power_levels")
    await owner.person.put_state(
        room, "m.room.power_levels", {**levels, "users": {**levels["users"], owner.bot.user_id: 50}}
    )
    await owner.person.invite(room, owner.bot.user_id)
    ended = await owner.answers(owner.synapse.url, "2", str(owner.bot.access_token), "1", "1", "")

    assert "The Repair Café (invited" in ended.out
    assert (ended.code, owner.written().get("NEW_ROOM_ID")) == (0, room), ended


async def test_a_room_in_which_the_account_may_not_invite_is_shown_with_the_reason(owner: Owner) -> None:
    await owner.synapse.new_room(owner.person, bot=owner.bot, bot_power=0, name="The Café")
    levels = {"invite": 50}
    (room,) = (await owner.bot.must("GET", "joined_rooms"))["joined_rooms"]
    present = await owner.person.state(room, "m.room.power_levels")
    await owner.person.put_state(room, "m.room.power_levels", present | levels)
    ended = await owner.answers(owner.synapse.url, "2", str(owner.bot.access_token), "1")

    assert "The Café" in ended.out
    assert "may not invite there: make it a moderator" in ended.out
    assert ended.code == 1


async def test_what_a_room_is_called_does_not_steer_the_terminal(owner: Owner) -> None:
    await owner.synapse.new_room(owner.person, bot=owner.bot, name="\x1b[2Jgone\u202e")
    ended = await owner.by_token()

    assert "\x1b" not in ended.out
    assert "\u202e" not in ended.out
