"""``mknock doors``: says what the doors will do, or what is wrong with their file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mknock.cli.commands import mknock
from mknock.domain.doors import Policy

ROOM = "!secret:knock.test"
TOKEN = "canary-token-of-a-door"
DOORS = f"""
[doors.garden]
room = "{ROOM}"
policy = "prove-first"
reminders = "off"
page.title = "Garden"
secrets.token = "{TOKEN}"
questions = [{{key = "why", label = "Why?"}}]
"""

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    Path("doors.toml").write_text(DOORS)

    def invoke(*arguments: str, **environ: str) -> Result:
        return CliRunner().invoke(mknock, list(arguments), env=environ, catch_exceptions=False)

    return invoke


def test_the_check_says_what_each_door_will_do(run: Run) -> None:
    checked = run("doors", "check")

    assert (checked.exit_code, "garden: holds every knock until" in checked.output) == (0, True)
    assert "forms: let in by its token" in checked.output
    assert "never reminded" in checked.output
    assert "questions: why" in checked.output
    assert "page: /d/garden" in checked.output


@pytest.mark.parametrize("policy", Policy)
def test_the_check_explains_every_policy(run: Run, policy: Policy) -> None:
    Path("doors.toml").write_text(DOORS.replace("prove-first", policy))

    assert run("doors", "check").exit_code == 0


def test_a_door_without_a_secret_is_said_to_be_shut_to_forms(run: Run) -> None:
    Path("doors.toml").write_text(f'[doors.garden]\nroom = "{ROOM}"\n')

    assert "lets nobody in but the API key" in run("doors", "check").output


def test_the_check_says_where_native_knocks_are_off(run: Run) -> None:
    assert "native knocks" not in run("doors", "check").output
    Path("doors.toml").write_text(DOORS.replace("policy", "native_knocks = false\npolicy"))

    assert "native knocks: left to moderators" in run("doors", "check").output


def test_a_wrong_file_ends_with_1_and_says_where(run: Run) -> None:
    Path("doors.toml").write_text(DOORS.replace("policy", "polcy"))
    checked = run("doors", "check")

    assert checked.exit_code == 1
    assert 'doors.toml: door "garden": polcy is not known: did you mean policy?' in checked.stderr


def test_another_file_can_be_checked(run: Run) -> None:
    Path("new.toml").write_text("[doors.x]\n")
    checked = run("doors", "check", "new.toml")

    assert (checked.exit_code, 'new.toml: door "x": room is missing' in checked.stderr) == (1, True)


def test_the_list_has_addresses_and_sources(run: Run) -> None:
    listed = run("doors", "list", NEW_ROOM_ID="!main:knock.test", PUBLIC_URL="https://knock.example.org")

    assert listed.stdout.splitlines() == [
        "main  auto  https://knock.example.org/invite_from_form  (environment)",
        "garden  prove-first  https://knock.example.org/d/garden/forms/<platform>  (doors.toml)",
    ]


@pytest.mark.promise(10)
@pytest.mark.parametrize("command", ["check", "list"])
def test_neither_rooms_nor_secrets_are_shown(run: Run, command: str) -> None:
    shown = run("doors", command).output

    assert (ROOM in shown, TOKEN in shown) == (False, False)


def test_the_doctor_says_what_is_wrong_with_the_file_beside_the_rest(run: Run) -> None:
    Path("doors.toml").write_text("[doors.garden]\n")
    examined = run("doctor", NEW_ROOM_ID="!main:knock.test")

    assert 'FAIL  doors file: doors.toml: door "garden": room is missing' in examined.output
    assert "ok    admin endpoints" in examined.output


def test_the_doctor_says_which_doors_are_in_the_file(run: Run) -> None:
    assert "ok    doors file: doors.toml describes garden" in run("doctor").output
