"""``mknock explain``, in this process: no settings, no store, no homeserver."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mknock.cli.commands import mknock

RULES = """\
# people we know
@mario:example.org Reason: sold watches
@kvothrandir:example.org
*.evil.example
nobody knows what this is
allow @mario77:example.org
"""

Explain = Callable[..., Result]


@pytest.fixture
def explain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Explain:
    monkeypatch.chdir(tmp_path)
    Path("list.txt").write_text(RULES, encoding="utf-8")

    def invoke(*arguments: str, typed: str | bytes = "") -> Result:
        return CliRunner().invoke(
            mknock, ["explain", *arguments], input=typed, env={}, catch_exceptions=False
        )

    return invoke


def batch(explain: Explain, typed: str | bytes) -> list[dict[str, Any]]:
    result = explain("--rules", "list.txt", "--batch", typed=typed)
    assert result.exit_code == 0
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_line_of_json_is_printed_for_each_id(explain: Explain) -> None:
    told = batch(
        explain, "@mar1o_7:example.org\n\n@alice:example.org\n@x:a.evil.example\n@mario77:example.org"
    )
    assert told == [
        {
            "user_id": "@mar1o_7:example.org",
            "verdict": "refuse",
            "kind": "number",
            "rule": "@mario:example.org",
            "steps": ["1 → i", "number 7 dropped"],
        },
        {"user_id": "@alice:example.org", "verdict": "admit", "kind": None, "rule": None, "steps": []},
        {
            "user_id": "@x:a.evil.example",
            "verdict": "refuse",
            "kind": "server_glob",
            "rule": "*.evil.example",
            "steps": [],
        },
        {
            "user_id": "@mario77:example.org",
            "verdict": "admit",
            "kind": "allow",
            "rule": "@mario77:example.org",
            "steps": [],
        },
    ]


@pytest.mark.parametrize(
    "typed", [b"alice\n", b"\xff\xfe\x80\n", b"@:\n", b"@a b:example.org\n", "\u202e@\n".encode()]
)
def test_what_is_no_id_is_told_with_its_problem(explain: Explain, typed: bytes) -> None:
    [told] = batch(explain, typed)
    assert (told["verdict"], told["kind"]) == ("refuse", "unreadable")
    assert told["problem"]


def test_an_id_that_only_looks_like_one_is_explained_all_the_same(explain: Explain) -> None:
    [told] = batch(explain, "@mar\u200bio:example.org\n")
    assert (told["verdict"], told["kind"], told["rule"]) == ("refuse", "skeleton", "@mario:example.org")
    assert told["problem"]


def test_a_broken_line_is_reported_by_its_number(explain: Explain) -> None:
    result = explain("--rules", "list.txt", "--batch", typed="@alice:example.org\n")
    assert "list.txt, line 5: " in result.stderr
    assert result.exit_code == 0


def test_one_id_is_explained_in_words(explain: Explain) -> None:
    result = explain("@mari0:example.org", "--rules", "list.txt")
    assert result.stdout.splitlines() == [
        "@mari0:example.org would be refused.",
        "    skeleton @mario:example.org: sold watches",
        "        0 → o",
    ]


def test_the_display_name_is_compared_too(explain: Explain) -> None:
    result = explain("@q:example.org", "--name", "KVOTHRANDIR", "--rules", "list.txt")
    assert "would be held for a moderator" in result.stdout
    assert "display_name @kvothrandir:example.org" in result.stdout


def test_somebody_whom_no_rule_means_is_let_in(explain: Explain) -> None:
    result = explain("@alice:example.org", "--rules", "list.txt")
    assert result.stdout == "@alice:example.org would be let in.\nNo rule matches.\n"


def test_what_a_terminal_would_obey_is_not_printed(explain: Explain) -> None:
    result = explain("@a\x1b[31m:example.org", "--rules", "list.txt")
    assert "\x1b" not in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rules", "list.txt"], "either one USER_ID or --batch"),
        (["--rules", "list.txt", "--batch", "@alice:example.org"], "either one USER_ID or --batch"),
        (["--rules", "list.txt", "--batch", "--name", "Al"], "--name goes with one USER_ID"),
        (["--rules", "nowhere.txt", "--batch"], "does not exist"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(explain: Explain, arguments: list[str], said: str) -> None:
    result = explain(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
