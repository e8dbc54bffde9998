"""``mknock forms try``: what Knock would read in a captured delivery."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final

import click

from mknock.cli.running import read_settings
from mknock.cli.terminal import complain, indented, plain, say
from mknock.domain.doors import FormReading
from mknock.domain.errors import NothingToDo
from mknock.domain.knocks import Submission
from mknock.forms import BY_NAME, FormPost, read
from mknock.settings import SettingsError
from mknock.wiring.doors import doors_of

MOST: Final = 1024 * 1024
"""Bytes that are read; a running Knock takes no more than 256 KiB."""
HEAD: Final = re.compile(rb"(?:[A-Z]+ \S+ HTTP/[0-9.]+\r?\n)?(?:[A-Za-z0-9-]+:[^\n]*\n)+\r?\n")
"""What stands before the body when a whole request was captured."""
BOUNDARY: Final = re.compile(rb"--([^\s]{1,70})\r?\n")


@click.group()
def forms() -> None:
    """Look at what form platforms deliver."""


@forms.command("try")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--platform", type=click.Choice(list(BY_NAME)), metavar="NAME", help="Read it as this platform's."
)
@click.option(
    "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header that came with it."
)
@click.option("--content-type", help="Its content type (default: guessed from the file).")
def try_(file: BinaryIO, platform: str | None, headers: tuple[str, ...], content_type: str | None) -> None:
    """Show what Knock would read in a captured delivery.

    FILE holds the body as it came, or the whole request with its headers; - is
    standard input. Nothing is kept, and nobody is asked or invited. Ends with
    code 1 if it names nobody. Secrets and signatures are not looked at.
    """
    post = captured(file.read(MOST), headers, content_type)
    try:
        submission = read(post, _reading(), platform or "").submission
    except NothingToDo as error:
        say(str(error))
        return
    for line in _shown(submission):
        say(line)
    if submission.user_id is None:
        sys.exit(1)


def captured(content: bytes, headers: Iterable[str] = (), content_type: str | None = None) -> FormPost:
    """Make a delivery of a file, with its headers if it begins with them."""
    head = HEAD.match(content)
    body = content[head.end() :] if head else content
    lines = [*(head[0].decode("latin-1").splitlines() if head else []), *headers]
    given = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    given["content-type"] = content_type or given.get("content-type") or _guessed(body)
    if given["content-type"].startswith("multipart/") and b"\r\n" not in body:
        body = body.replace(b"\n", b"\r\n")  # an editor has changed it
    return FormPost(body, given)


def _guessed(body: bytes) -> str:
    if boundary := BOUNDARY.match(body):
        return f"multipart/form-data; boundary={boundary[1].decode('latin-1')}"
    if body.lstrip()[:1] in (b"{", b"["):
        return "application/json"
    return "application/x-www-form-urlencoded" if b"=" in body else ""


def _reading() -> FormReading:
    """What the settings say about the form; nothing, if they are not complete."""
    try:
        return doors_of(read_settings())[0].reading
    except SettingsError:
        complain("The settings are not complete, so FORM_ID_FIELD and the like do not count here.")
        return FormReading()


def _shown(submission: Submission) -> Iterator[str]:
    user = submission.user_id
    yield f"platform  {submission.platform}"
    yield f"person    {plain(str(user)) if user else f'nobody: {plain(submission.problem)}'}"
    yield f"event id  {plain(submission.event_id) or 'none: a repeat is known by its person alone'}"
    yield f"honeypot  {f'filled: {plain(submission.trap)}' if submission.trap else 'empty'}"
    if submission.sender_address:
        yield f"visitor   {plain(submission.sender_address)}"
    yield "answers" if submission.answers else "answers   none"
    for answer in submission.answers:
        yield f"{indented(answer.label)}\n{indented(answer.value, 2)}"
