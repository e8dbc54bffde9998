"""``mknock links`` in this process, on a store of its own; no homeserver is needed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mknock.cli.commands import mknock as command
from mknock.domain.errors import InvalidLink, NotFound

ENVIRONMENT = {
    "NEW_ROOM_ID": "!secret:knock.test",
    "MATRIX_BASE_URL": "http://127.0.0.1:1",  # nothing listens there
    "MATRIX_ACCESS_TOKEN": "syt_token",
    "DATA_DIR": "data",
}
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command; errors of Knock's own are raised."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str, **more: str) -> Result:
        return CliRunner().invoke(
            command, ["links", *arguments], env={**ENVIRONMENT, **more}, catch_exceptions=False
        )

    return invoke


def made(run: Run, *arguments: str) -> tuple[str, str]:
    """Make a link; return its address and its id."""
    output = run("add", *arguments).output
    found = re.search(r"mknock links revoke (\w{26})\n", output)
    assert found
    return output.splitlines()[0], found[1]


def test_at_first_there_are_no_links(run: Run) -> None:
    assert run("list").output == "No invite link is open.\n"
    assert run("list", "--all").output == "There are no invite links.\n"


def test_a_link_is_shown_once_with_what_it_is(run: Run) -> None:
    path, link = made(run, "--label", "for Tara", "--uses", "3", "--for", "12h", "--skip-review")
    assert re.fullmatch(r"/i/[\w-]{24}", path)
    listed = run("list").output
    assert listed.startswith(f"{link}  for Tara\n    to main, 0 of 3 used, until 2")
    assert "skips review, by cli" in listed
    assert path[3:] not in listed


def test_the_address_is_whole_if_public_url_is_set(run: Run) -> None:
    output = run("add", PUBLIC_URL="https://knock.example").output
    assert output.startswith("https://knock.example/i/")
    assert "PUBLIC_URL" not in output


def test_a_link_may_be_good_for_ever_and_for_any_number(run: Run) -> None:
    made(run, "--unlimited", "--forever")
    assert "any number of knocks, until it is revoked" in run("list").output


@pytest.mark.parametrize("named", ["id", "address"])
def test_a_revoked_link_is_no_longer_open(run: Run, named: str) -> None:
    path, link = made(run)
    which = link if named == "id" else f"https://knock.example{path}"
    assert run("revoke", which).output == f"Nobody can knock by {link} any more.\n"
    assert run("list").output == "No invite link is open.\n"
    assert f"{link}  (revoked)" in run("list", "--all").output


def test_links_are_listed_for_programs(run: Run) -> None:
    _, link = made(run, "--greeting", "Hello")
    (listed,) = json.loads(run("list", "--json").stdout)
    assert (listed["id"], listed["greeting"], listed["status"]) == (link, "Hello", "open")


def test_a_label_steers_no_terminal(run: Run) -> None:
    made(run, "--label", "a\x1b[31m\nb\u202e")
    assert "  a [31m b\n" in run("list").output


@pytest.mark.parametrize("wish", [["--uses", "0"], ["--uses", "-3"], ["--for", "5"], ["--label", "x" * 200]])
def test_a_wish_that_cannot_be_is_answered(run: Run, wish: list[str]) -> None:
    with pytest.raises(InvalidLink):
        run("add", *wish)
    assert run("list", "--all").output == "There are no invite links.\n"


def test_a_door_or_a_link_that_is_not_there_is_named(run: Run) -> None:
    with pytest.raises(NotFound, match="there are: main"):
        run("add", "--door", "nowhere")
    with pytest.raises(NotFound, match="mknock links list"):
        run("revoke", "nothing")


@pytest.mark.parametrize("time", ["soon", "0", "11 years"])
def test_a_time_that_is_none_is_called_wrongly(run: Run, time: str) -> None:
    assert run("add", "--for", time).exit_code == 2
