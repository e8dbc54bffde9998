"""``mknock raid``, and ``--wave`` of held, approve and refuse, on a store of their own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from tests.contract.store_cases import attempt, person

from mknock.checks import decide
from mknock.cli.commands import mknock as command
from mknock.domain.doors import Alarm, Door
from mknock.domain.errors import NotFound
from mknock.domain.knocks import KnockState
from mknock.storage.sqlite import SqliteStore

ENVIRONMENT = {
    "NEW_ROOM_ID": "!secret:knock.test",
    "MATRIX_BASE_URL": "http://127.0.0.1:1",  # nothing listens there
    "MATRIX_ACCESS_TOKEN": "syt_token",
    "DATA_DIR": "data",
}
AT = 1_790_000_000.0
DOOR = Door("main", "!secret:knock.test", alarm=Alarm(arrivals=1, alike=0))
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str, typed: str = "") -> Result:
        return CliRunner().invoke(
            command, list(arguments), input=typed, env=ENVIRONMENT, catch_exceptions=False
        )

    return invoke


async def _fill() -> list[str]:
    store = SqliteStore(Path("data/knock.db"))
    await store.open()
    for name in ("alice", "bob", "carol", "dave"):
        await store.admit(attempt(person(name, "knock.test"), AT, through=DOOR), decide)
    held = await store.wave((await store.raids())[0].id)
    await store.close()
    return [knock.id for knock in held]


@pytest.fixture
def wave(run: Run) -> list[str]:
    """Four have knocked; the ids of the three who are held."""
    return asyncio.run(_fill())


async def _states() -> dict[str, KnockState]:
    store = SqliteStore(Path("data/knock.db"))
    await store.open()
    knocks = await store.knocks_in(frozenset(KnockState))
    await store.close()
    return {knock.id: knock.state for knock in knocks}


def test_a_raid_is_begun_and_ended_by_hand(run: Run) -> None:
    assert (
        "Whoever knocks at main is held, until you run: mknock raid end main."
        in run("raid", "start", "main").output
    )
    assert "on, until it is ended\n    moderator, begun by cli" in run("raid", "list").output
    assert "The raid at main is over." in run("raid", "end", "main").output
    assert "by cli\n" in run("raid", "list").output


def test_a_raid_may_be_for_a_time(run: Run) -> None:
    assert " is held, until 20" in run("raid", "start", "main", "--for", "2h").output


@pytest.mark.parametrize(
    "arguments",
    [
        ("raid", "start", "main", "--for", "soon"),
        ("raid", "end", "main", "--quiet", "0"),
        ("approve",),
        ("approve", "@alice:knock.test", "--wave", "main"),
        ("approve", "--wave", "main", "--allow"),
        ("refuse", "@alice:knock.test", "--except", "01X"),
    ],
)
def test_a_slip_is_said(run: Run, arguments: tuple[str, ...]) -> None:
    ended = run(*arguments)
    assert ended.exit_code == click.UsageError.exit_code
    assert "Error: " in ended.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("raid", "start", "nowhere"),
        ("raid", "end", "main"),
        ("held", "--wave", "main"),
        ("approve", "--wave", "01AAAAAAAAAAAAAAAAAAAAAAAA", "--yes"),
    ],
)
def test_what_is_not_there_is_not_found(run: Run, arguments: tuple[str, ...]) -> None:
    with pytest.raises(NotFound):
        run(*arguments)


def test_no_raid_is_said(run: Run) -> None:
    assert run("raid", "list").output == "There has been no raid.\n"


def test_a_wave_is_shown_before_it_is_decided(run: Run, wave: list[str]) -> None:
    shown = run("held", "--wave", "main", "--preview").output
    assert "3 wait, of 3 that were held" in shown
    assert "waiting for: raid 3" in shown
    assert "from: knock.test 3" in shown
    assert "people: @" in shown


def test_everybody_of_a_wave_is_listed(run: Run, wave: list[str]) -> None:
    listed = json.loads(run("held", "--wave", "main", "--json").stdout)
    assert [one["id"] for one in listed] == wave


def test_held_tells_of_the_wave(run: Run, wave: list[str]) -> None:
    assert "3 of them came in one raid; decide them together: mknock approve --wave" in run("held").output


def test_nothing_is_decided_without_a_yes(run: Run, wave: list[str]) -> None:
    assert run("approve", "--wave", "main", typed="n\n").output.endswith("Nothing was changed.\n")
    assert list(asyncio.run(_states()).values()).count(KnockState.HELD) == 3


def test_a_wave_is_approved_but_for_some(run: Run, wave: list[str]) -> None:
    said = run("approve", "--wave", "main", "--except", wave[0], typed="y\n").output
    assert "2 are admitted and will be invited; 1 still wait" in said
    states = asyncio.run(_states())
    assert [states[one] for one in wave] == [KnockState.HELD, KnockState.ADMITTED, KnockState.ADMITTED]


def test_a_wave_is_refused_and_blocked_though_the_homeserver_is_away(run: Run, wave: list[str]) -> None:
    assert "3 are refused and blocked." in run("refuse", "--wave", "main", "--block", "--yes").output
    assert "@carol:knock.test" in run("rules").output
