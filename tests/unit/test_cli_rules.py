"""The commands for rules in this process, on a store of their own, with a homeserver that is away."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mknock.cli.commands import mknock as command
from mknock.domain.errors import HomeserverUnavailable, NotFound
from mknock.matching import engine
from mknock.services.rule_making import TooWide

EVE = "@eve:evil.example"
ENVIRONMENT = {
    "NEW_ROOM_ID": "!secret:knock.test",
    "MATRIX_BASE_URL": "http://127.0.0.1:1",  # nothing listens there
    "MATRIX_ACCESS_TOKEN": "syt_token",
    "DATA_DIR": "data",
    "DEFAULT_SERVER": "knock.test",
}
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command; errors of Knock's own are raised."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str, typed: str = "") -> Result:
        return CliRunner().invoke(
            command, list(arguments), input=typed, env=ENVIRONMENT, catch_exceptions=False
        )

    return invoke


def listed(run: Run) -> list[str]:
    rules = json.loads(run("rules", "--json").stdout)
    return [("allow " if rule["allow"] else "") + rule["entity"] for rule in rules]


def test_at_first_there_are_no_rules(run: Run) -> None:
    assert run("rules").output == "There are no rules.\n"


def test_whoever_is_blocked_is_listed_until_they_are_unblocked(run: Run) -> None:
    assert run("block", EVE, "--reason", "spam").output == f"{EVE} is blocked.\n"
    assert f"{EVE}\n    user, by cli on " in run("rules").output
    assert run("unblock", EVE).output == f"{EVE} is no longer blocked.\n"
    assert listed(run) == []


def test_whoever_is_allowed_is_listed_until_that_is_taken_back(run: Run) -> None:
    assert run("allow", "*.friends.example").output == "*.friends.example is allowed.\n"
    assert listed(run) == ["allow *.friends.example"]
    assert run("unallow", "*.friends.example").output == "*.friends.example is no longer allowed.\n"
    assert listed(run) == []


def test_blocking_twice_says_so(run: Run) -> None:
    run("block", EVE)
    assert run("block", EVE).output == f"{EVE} is blocked already.\n"


def test_a_block_may_end(run: Run) -> None:
    assert " is blocked until 2" in run("block", EVE, "--for", "7d").output
    assert json.loads(run("rules", "--json").stdout)[0]["expires_at"] is not None


@pytest.mark.parametrize("time", ["soon", "0", "-1", "11 years", "600w"])
def test_a_time_that_is_none_is_called_wrongly(run: Run, time: str) -> None:
    assert run("block", EVE, "--for", time).exit_code == 2


def test_what_would_hit_everybody_is_refused_unless_it_is_forced(run: Run) -> None:
    with pytest.raises(TooWide, match="everybody"):
        run("block", "*:*")
    assert run("block", "*:*", "--force").output == "*:* is blocked.\n"


def test_a_pattern_waits_for_a_homeserver_that_is_away(run: Run) -> None:
    with pytest.raises(HomeserverUnavailable):
        run("block", "*spam*:*")


def test_what_was_not_blocked_cannot_be_unblocked(run: Run) -> None:
    with pytest.raises(NotFound):
        run("unblock", EVE)


def test_rules_are_listed_by_their_source(run: Run) -> None:
    run("block", EVE)
    assert run("rules", "--source", "file").output == "There are no rules.\n"
    assert EVE in run("rules", "--source", "cli").output


def test_a_reason_steers_no_terminal(run: Run) -> None:
    run("block", EVE, "--reason", "bad\x1b[2Jguy\nsecond line")
    assert "\x1b" not in run("rules").output
    assert "\nsecond" not in run("rules").output


# --- import and export


def test_what_is_exported_can_be_imported(run: Run, tmp_path: Path) -> None:
    run("block", EVE, "--reason", "=spam")
    run("allow", "friends.example")
    for form in ("csv", "json", "draupnir", "txt"):
        (tmp_path / form).write_text(run("export", "--format", form).stdout)
    run("unblock", EVE)
    run("unallow", "friends.example")
    for form in ("csv", "json", "draupnir", "txt"):
        assert run("import", form).output == "New rules: 2. There already: 0.\n"
        assert sorted(listed(run)) == sorted([EVE, "allow friends.example"])
        run("unblock", EVE)
        run("unallow", "friends.example")


def test_what_is_left_out_is_told_by_its_number(run: Run) -> None:
    done = run("import", "-", typed=f"entity,reason\n{EVE},spam\n@bad,\n")
    assert (done.stdout, "3 is left out" in done.stderr) == ("New rules: 1. There already: 0.\n", True)


def test_a_dry_run_changes_nothing(run: Run) -> None:
    done = run("import", "-", "--dry-run", typed=f"{EVE},spam\n")
    assert done.stdout == f"block {EVE}: spam\nRules: 1. Nothing was changed.\n"
    assert listed(run) == []


def test_a_file_against_everybody_is_refused(run: Run) -> None:
    with pytest.raises(TooWide):
        run("import", "-", typed=f"{EVE},spam\n*:*,all\n")
    assert listed(run) == []


# --- explain and the ledger


def test_the_rules_in_force_are_explained(run: Run) -> None:
    run("block", "@malloryworthington:evil.example", "--reason", "spam")
    lines = run("explain", "@ma11oryworthington:evil.example").output.splitlines()
    assert lines[0] == "@ma11oryworthington:evil.example would be refused."
    assert "@malloryworthington:evil.example: spam" in lines[1]
    assert run("explain", "@alice:knock.test").output.splitlines()[-1] == "No rule matches."


def test_slips_are_explained_in_a_very_long_list_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("block", "@malloryworthington:evil.example")
    monkeypatch.setattr(engine, "VERY_MANY", 0)
    assert "would be refused" in run("explain", "@malloryworthnigton:evil.example").output


def test_a_file_is_explained_without_the_store(run: Run, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{EVE}\n")
    assert run("explain", EVE, "--rules", "list.txt").output.startswith(f"{EVE} would be refused.")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("arguments", [["explain"], ["explain", "--batch"]])
def test_explaining_nobody_is_called_wrongly(run: Run, arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_the_ledger_says_who_did_what_and_why(run: Run) -> None:
    assert run("ledger").output == "Nothing is on record.\n"
    run("block", EVE, "--reason", "spam")
    shown = run("ledger").output
    assert f"cli: block {EVE}  blocked\n    detail: spam\n" in shown
    assert run("ledger", "--user", EVE).output == shown
    assert run("ledger", "--user", "@nobody:x.example").output == "Nothing is on record.\n"


def test_the_ledger_is_json_for_programs(run: Run) -> None:
    run("block", EVE)
    (line,) = json.loads(run("ledger", "--json").stdout)
    assert (line["actor"], line["action"], line["rule"], line["after"]) == ("cli", "block", EVE, "blocked")
