"""docs/reference/cli.md shows the commands' own help, of every command and of nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from tests.kit.processes import _environment
from tools.write_cli_help import BLOCK, COMMANDS, PAGE, with_help

TEXT = PAGE.read_text(encoding="utf-8")
NAMES = list(COMMANDS)


def test_the_page_is_up_to_date() -> None:
    assert with_help(TEXT) == TEXT, "run: make docs"


def test_every_command_has_its_help_on_the_page_in_their_order() -> None:
    assert [block[1] for block in BLOCK.finditer(TEXT)] == NAMES


def test_every_heading_is_a_command() -> None:
    assert re.findall(r"^## `(.*)`$", TEXT, re.MULTILINE) == NAMES


@pytest.mark.parametrize("name", ["mknock", "mknock held", "mknock forms try"])
def test_the_help_is_what_the_command_prints(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", *name.split(), "--help"]
    env = _environment(tmp_path, {"COLUMNS": "80"})
    printed = subprocess.run(
        command, env=env, cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout

    assert f"## `{name}`\n\n```text\n{printed}```\n" in TEXT


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_option_is_explained(command: click.Command) -> None:
    options = [option for option in command.params if isinstance(option, click.Option)]
    assert [option.name for option in options if not option.help] == []
