"""The ``mknock`` command as people run it: processes, pipes, signals, and a Knock that runs beside it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
import socket
import sqlite3
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.integration.command import Ended, Terminal, command, interrupted, mknock
from tests.kit.account import Account
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.fake_homeserver.rooms import Room
from tests.kit.processes import Server, _environment, free_port, wait_until
from tests.kit.synapse import Synapse

NOWHERE = "http://127.0.0.1:1"
"""Nothing listens there."""
FORM_TOKEN = "form-token-of-the-command-line"
OFFLINE = {
    "NEW_ROOM_ID": "!secret:knock.test",
    "MATRIX_BASE_URL": NOWHERE,
    "MATRIX_ACCESS_TOKEN": "syt_token",
}


def assert_one_sentence(ended: Ended, code: int) -> None:
    """It failed with that code and one line on standard error, and printed nothing else."""
    assert (ended.code, ended.out, ended.err.count("\n")) == (code, "", 1), ended
    assert ended.err.startswith("mknock: "), ended


@contextlib.contextmanager
def taken_port() -> Iterator[int]:
    """Somebody listens on a port, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


# Wrong settings, wrong calls


@pytest.mark.parametrize("name", ["serve", "held"])
async def test_a_missing_setting_is_one_sentence_and_2(tmp_path: Path, name: str) -> None:
    assert_one_sentence(await mknock(tmp_path, {"MATRIX_ACCESS_TOKEN": "syt_token"}, name), 2)


async def test_without_a_way_to_sign_in_serving_is_refused_with_2(tmp_path: Path) -> None:
    env = {"NEW_ROOM_ID": "!secret:knock.test"}

    assert_one_sentence(await mknock(tmp_path, env, "serve", "--workers", "4"), 2)


async def test_a_wrong_call_is_2(tmp_path: Path) -> None:
    assert (await mknock(tmp_path, OFFLINE, "held", "--nonsense")).code == 2


async def test_settings_are_read_from_the_env_file(tmp_path: Path) -> None:
    lines = "".join(f"{name}={value}\n" for name, value in OFFLINE.items())
    (tmp_path / ".env").write_text(lines)

    assert (await mknock(tmp_path, {}, "held")).out == "Nobody waits.\n"


async def test_a_warning_goes_to_standard_error_once(tmp_path: Path) -> None:
    ended = await mknock(tmp_path, {**OFFLINE, "FORM_TOKN": "x"}, "held")

    assert (ended.out, ended.err.count("FORM_TOKEN")) == ("Nobody waits.\n", 1)


# The store


@pytest.mark.parametrize("name", ["held", "serve"])
async def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()

    assert_one_sentence(await mknock(tmp_path, {**OFFLINE, "DATA_DIR": "file/data"}, name), 1)


async def test_a_file_that_is_no_database_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/knock.db").write_text("not a database, and longer than a header of one" * 100)

    assert_one_sentence(await mknock(tmp_path, OFFLINE, "held"), 1)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program holds the store's write lock."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.close()


async def test_a_locked_store_is_one_sentence_after_a_while(tmp_path: Path) -> None:
    await mknock(tmp_path, OFFLINE, "held")
    with locked(tmp_path / "data/knock.db"):
        assert_one_sentence(await mknock(tmp_path, OFFLINE, "api-key"), 1)


async def test_another_secret_key_is_one_sentence(tmp_path: Path) -> None:
    await mknock(tmp_path, {**OFFLINE, "SECRET_KEY": "a" * 32}, "api-key")

    assert_one_sentence(await mknock(tmp_path, {**OFFLINE, "SECRET_KEY": "b" * 32}, "api-key"), 1)


# Where the output goes


async def in_a_shell(home: Path, line: str) -> Ended:
    """Run a line of shell with ``mknock`` in it."""
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", line.replace("mknock", shlex.join(command()))),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=home,
        env=_environment(home, OFFLINE),
    )
    out, err = await process.communicate()
    return Ended(await process.wait(), out.decode(), err.decode())


@pytest.mark.parametrize(
    "line", ["mknock doctor | true", "mknock held | true", "mknock --help | head -c1 >&2"]
)
async def test_a_reader_that_is_gone_is_no_traceback(tmp_path: Path, line: str) -> None:
    assert len((await in_a_shell(tmp_path, line)).err) <= 1


async def test_a_full_disk_behind_the_output_is_one_sentence(tmp_path: Path) -> None:
    assert_one_sentence(await in_a_shell(tmp_path, "mknock held > /dev/full"), 1)


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&- <&-"])
async def test_closed_streams_do_no_harm(tmp_path: Path, redirection: str) -> None:
    ended = await in_a_shell(tmp_path, f"mknock held {redirection}")

    assert (ended.code, ended.err) == (0, "")


async def test_an_encoding_without_the_letters_shows_escapes(tmp_path: Path) -> None:
    ended = await mknock(tmp_path, {**OFFLINE, "PYTHONIOENCODING": "latin-1"}, "doctor")

    assert "\\u2026" in ended.out


# Ctrl-C


async def test_ctrl_c_is_no_traceback(tmp_path: Path) -> None:
    at_work = asyncio.Event()
    async with await asyncio.start_server(lambda *_: at_work.set(), "127.0.0.1", 0) as silent:
        env = {**OFFLINE, "MATRIX_BASE_URL": f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}"}
        ended = await interrupted(tmp_path, env, "doctor", when=at_work)

    assert (ended.code, ended.err.strip()) == (1, "Aborted!")


async def test_ctrl_c_at_a_question_ends_the_command_at_once(tmp_path: Path) -> None:
    async with Terminal.opened(tmp_path, OFFLINE, "login", "--user", "bot") as terminal:
        await terminal.shows("Password of bot")
        began = time.monotonic()
        terminal.interrupt()

        assert (await terminal.ended(), time.monotonic() - began < 1) == (1, True)


# Serving


async def test_a_port_that_is_taken_is_no_traceback(tmp_path: Path) -> None:
    with taken_port() as port:
        ended = await mknock(tmp_path, OFFLINE, "serve", "--host", "127.0.0.1", "--port", str(port))

    assert (ended.code, "address already in use" in ended.err, "Traceback" in ended.err) == (1, True, False)


async def test_serve_listens_where_the_settings_say(tmp_path: Path) -> None:
    port = free_port()
    env = {**OFFLINE, "HOST": "127.0.0.1", "PORT": str(port), "WORKERS": "2"}
    with Server([*command("serve")], port=port, directory=tmp_path, env=env) as server:
        await server.wait_ready()

        assert await wait_until(lambda: server.output.count("Started server process") == 2)


async def test_an_option_of_serve_comes_before_the_setting(tmp_path: Path) -> None:
    with Server.mknock(tmp_path, {**OFFLINE, "PORT": "1", "HOST": "192.0.2.1"}) as server:
        await server.wait_ready()

        assert server.alive


# Beside a running Knock


@dataclass(frozen=True)
class House:
    """A running Knock whose door holds everybody, with a fake homeserver behind it."""

    home: Path
    env: Mapping[str, str]
    fake: FakeHomeserver
    room: Room
    server: Server

    async def knock(self, name: str, **answers: str) -> str:
        """Let somebody with an account fill in the form; returns the Matrix ID."""
        person = self.fake.add_user(name)
        form = {"Matrix ID": person.user_id, **answers}
        async with self.server.client() as client:
            answer = await client.post("/invite_from_form", params={"token": FORM_TOKEN}, json=form)
        assert answer.status_code == 200
        return person.user_id

    async def run(self, *arguments: str) -> Ended:
        return await mknock(self.home, self.env, *arguments)


def settings(url: str, bot: Account, room: str) -> dict[str, str]:
    return {
        "NEW_ROOM_ID": room,
        "MATRIX_BASE_URL": url,
        "MATRIX_ACCESS_TOKEN": str(bot.access_token),
        "FORM_TOKEN": FORM_TOKEN,
        "DOOR_POLICY": "review",
    }


@pytest.fixture
async def house(tmp_path: Path, fake: FakeHomeserver) -> AsyncIterator[House]:
    bot = fake.log_in("bot")
    room = fake.add_room(fake.add_user("alice").user_id, bot.user_id)
    async with fake.served() as url:
        env = settings(url, bot, room.room_id)
        with Server.mknock(tmp_path, env) as server:
            await server.wait_ready("/readyz")
            yield House(tmp_path, env, fake, room, server)


async def test_an_approved_knock_is_invited_within_a_second_or_so(house: House) -> None:
    person = await house.knock("carol")
    ended = await house.run("approve", person)
    began = time.monotonic()
    await wait_until(lambda: house.room.memberships().get(person) == "invite")

    assert (ended.code, time.monotonic() - began < 1.5) == (0, True)


async def test_a_refused_knock_is_not_invited(house: House) -> None:
    person = await house.knock("carol")
    await house.run("refuse", person)
    await asyncio.sleep(1.5)

    assert house.fake.calls_of("invite") == []


async def test_a_bare_name_is_somebody_of_knocks_own_server(house: House) -> None:
    await house.knock("carol")

    assert (await house.run("approve", "carol")).out == "@carol:knock.test is admitted and will be invited.\n"


async def test_what_waits_is_listed_while_knock_runs(house: House) -> None:
    person = await house.knock("carol", **{"Why?": "I mend bikes."})
    (shown,) = json.loads((await house.run("held", "--json")).out)

    assert (shown["user_id"], shown["answers"][-1]["value"]) == (person, "I mend bikes.")


async def test_two_moderators_at_once_decide_once(house: House) -> None:
    person = await house.knock("carol")
    ended = await asyncio.gather(*(house.run("approve", person) for _ in range(3)))

    assert sorted(one.code for one in ended) == [0, 1, 1]


async def test_the_printed_key_opens_the_endpoints(house: House) -> None:
    key = (await house.run("api-key")).out.strip()
    async with house.server.client(token=key) as client:
        assert (await client.get("/held")).status_code == 200


@pytest.mark.promise(10)
async def test_a_key_that_is_made_is_only_printed_when_asked_for(house: House) -> None:
    key = (await house.run("api-key")).out.strip()

    assert (len(key) >= 32, key in house.server.output) == (True, False)


# The doctor


async def test_a_healthy_knock_makes_the_doctor_content(house: House) -> None:
    ended = await house.run("doctor")

    assert (ended.code, "FAIL" in ended.out) == (0, False), ended


async def test_the_doctor_fails_when_something_is_bad(tmp_path: Path) -> None:
    ended = await mknock(tmp_path, OFFLINE, "doctor")

    assert (ended.code, "FAIL  sign-in: " in ended.out, ended.err) == (1, True, "")


async def test_the_doctor_speaks_json(tmp_path: Path) -> None:
    ended = await mknock(tmp_path, OFFLINE, "doctor", "--json")
    verdicts = {finding["what"]: finding["verdict"] for finding in json.loads(ended.out)}

    assert (ended.code, verdicts["store"], verdicts["sign-in"], verdicts["form"]) == (1, "good", "bad", "odd")


async def test_the_doctor_goes_on_without_a_way_to_sign_in(tmp_path: Path) -> None:
    ended = await mknock(tmp_path, {"NEW_ROOM_ID": "!secret:knock.test"}, "doctor")

    assert "FAIL  sign-in: Knock is not signed in" in ended.out


async def test_the_doctor_goes_on_without_a_store(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = await mknock(tmp_path, {**OFFLINE, "DATA_DIR": "file/data"}, "doctor")

    assert ("FAIL  store: " in ended.out, "FAIL  sign-in: " in ended.out) == (True, True)


async def doctor_on_synapse(
    synapse: Synapse, home: Path, room: str, bot: Account, **more: str
) -> dict[str, tuple[str, str]]:
    ended = await mknock(home, {**settings(synapse.url, bot, room), **more}, "doctor", "--json")
    return {finding["what"]: (finding["verdict"], finding["says"]) for finding in json.loads(ended.out)}


async def test_on_a_real_homeserver_all_is_well(synapse: Synapse, tmp_path: Path) -> None:
    bot = await synapse.user("doctorbot")
    room = await synapse.new_room(await synapse.user("alice"), bot=bot)

    found = await doctor_on_synapse(synapse, tmp_path, room, bot, PUBLIC_URL="https://knock.example.org")

    assert {verdict for verdict, _ in found.values()} == {"good"}


async def test_on_a_real_homeserver_a_bot_outside_the_room_is_told(synapse: Synapse, tmp_path: Path) -> None:
    bot, alice = await synapse.user("doctorbot"), await synapse.user("alice")

    found = await doctor_on_synapse(synapse, tmp_path, await synapse.new_room(alice), bot)

    assert (found["room of door main"][0], "is not in the room" in found["room of door main"][1]) == (
        "bad",
        True,
    )


async def test_on_a_real_homeserver_an_invited_bot_is_told_to_join(synapse: Synapse, tmp_path: Path) -> None:
    bot, alice = await synapse.user("doctorbot"), await synapse.user("alice")
    room = await synapse.new_room(alice)
    await alice.invite(room, bot.user_id)

    found = await doctor_on_synapse(synapse, tmp_path, room, bot)

    assert "let it join" in found["room of door main"][1]


async def test_on_a_real_homeserver_a_bot_that_was_removed_is_told(synapse: Synapse, tmp_path: Path) -> None:
    bot, alice = await synapse.user("doctorbot"), await synapse.user("alice")
    room = await synapse.new_room(alice, bot=bot)
    await alice.kick(room, bot.user_id)

    found = await doctor_on_synapse(synapse, tmp_path, room, bot)

    assert "has left the room, or was removed" in found["room of door main"][1]


async def test_on_a_real_homeserver_a_bot_without_power_is_told(synapse: Synapse, tmp_path: Path) -> None:
    bot, alice = await synapse.user("doctorbot"), await synapse.user("alice")
    room = await synapse.new_room(alice, bot=bot, bot_power=0)
    levels = await alice.state(room, "m.room.power_levels")
    await alice.put_state(room, "m.room.power_levels", {**levels, "invite": 50})

    found = await doctor_on_synapse(synapse, tmp_path, room, bot)

    assert (found["may invite to main"][0], found["may kick from main"][0]) == ("bad", "odd")


async def test_on_a_real_homeserver_a_wrong_token_is_told(synapse: Synapse, tmp_path: Path) -> None:
    bot, alice = await synapse.user("doctorbot"), await synapse.user("alice")
    room = await synapse.new_room(alice, bot=bot)

    found = await doctor_on_synapse(synapse, tmp_path, room, bot, MATRIX_ACCESS_TOKEN="syt_wrong")

    assert found["sign-in"] == (
        "bad",
        f"MATRIX_ACCESS_TOKEN was refused by {synapse.url} (M_UNKNOWN_TOKEN). Set a new one.",
    )
