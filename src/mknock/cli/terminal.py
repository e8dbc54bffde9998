"""Talking to a person at a terminal.

Whatever a stranger wrote passes ``plain`` first: a terminal obeys escape
sequences, and text that runs from right to left can make a line look like
another.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from mknock.domain.errors import KnockError
from mknock.telemetry import redacted

UNSEEN = "\N{REPLACEMENT CHARACTER}"
MARGIN = "    "


class NotAnswered(KnockError):
    """A question could not be put to anybody: standard input has ended."""


class WrongAnswer(KnockError):
    """What somebody typed cannot be used; the text says why."""


def plain(text: str) -> str:
    """A stranger's text on one line, without what a terminal would obey and without what cannot be seen."""
    return "".join(map(_plain, text))


def _plain(char: str) -> str:
    if char.isprintable():
        return char
    return " " if char == "\t" or unicodedata.category(char) == "Zs" else UNSEEN


def indented(text: str, depth: int = 1) -> str:
    """A stranger's text behind a margin, so that none of its lines can pass for one of ours."""
    return "\n".join(MARGIN * depth + plain(line) for line in text.splitlines())


def moment(at: float) -> str:
    """A time in seconds since the epoch, for people."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def say(text: str) -> None:
    click.echo(text)


def say_json(value: Sequence[Any]) -> None:
    """Print one JSON value, in ASCII: what is escaped steers no terminal."""
    click.echo(json.dumps(value))


def complain(sentence: str) -> None:
    """Print one line on standard error."""
    click.echo(f"mknock: {plain(redacted(sentence))}", err=True)


def ask(question: str, *, hidden: bool = False, default: str | None = None) -> str:
    """Ask a person, or read the next line of standard input if that is a file or a pipe.

    ``default`` is what no answer means; without it there has to be one.

    Raises:
        NotAnswered: there is nobody and nothing to read from.
    """
    if is_interactive():
        answer: str = click.prompt(
            question, hide_input=hidden, default=default, show_default=bool(default), err=True
        )
    else:
        answer = _next_line(question)
    # Spaces around a password may be meant.
    answer = answer.rstrip("\r\n") if hidden else answer.strip()
    if not answer and default is None:
        raise _not_answered(question)
    return answer or default or ""


def is_interactive() -> bool:
    """Whether a person sits at standard input."""
    return sys.stdin is not None and sys.stdin.isatty()


def _next_line(question: str) -> str:
    line = sys.stdin.readline() if sys.stdin is not None else ""
    if not line:
        raise _not_answered(question)
    return line


def _not_answered(question: str) -> NotAnswered:
    return NotAnswered(
        f'Nobody answered "{question}": run the command in a terminal, or give it a line to read.'
    )
