"""Write each command's own help into docs/reference/cli.md: the commands are the truth, the page follows them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from mknock.cli.commands import mknock

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "cli.md"
BLOCK = re.compile(r"(?<=^## `)(mknock(?: [a-z-]+)*)`\n\n```text\n.*?^```$", re.MULTILINE | re.DOTALL)
WIDTH = 80


def commands_of(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """A command and those below it, each with its full name, in the order of the help."""
    yield name, command
    if isinstance(command, click.Group):
        for inner, one in command.commands.items():
            yield from commands_of(f"{name} {inner}", one)


COMMANDS = dict(commands_of("mknock", mknock))


def help_of(name: str) -> str:
    """What ``mknock --help`` or ``mknock COMMAND --help`` prints in a window of WIDTH columns."""
    command = COMMANDS[name]
    context = click.Context(command, info_name=name, terminal_width=WIDTH, **mknock.context_settings)
    return command.get_help(context)


def with_help(page: str) -> str:
    """The page with the help under each command's heading made anew."""
    return BLOCK.sub(lambda block: f"{block[1]}`\n\n```text\n{help_of(block[1])}\n```", page)


if __name__ == "__main__":
    PAGE.write_text(with_help(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
