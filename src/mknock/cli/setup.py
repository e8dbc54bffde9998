"""``mknock setup``: from nothing to a written .env, question by question."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from mknock.cli.choose_room import room_for
from mknock.cli.doctor import line_of
from mknock.cli.draft import Draft
from mknock.cli.login import sign_in_with_code, sign_in_with_password
from mknock.cli.running import with_parts
from mknock.cli.terminal import NotAnswered, WrongAnswer, ask, complain, is_interactive, plain, say
from mknock.domain.errors import KnockError
from mknock.matrix.client import matrix_http
from mknock.matrix.discovery import discovered
from mknock.services.findings import Finding, Verdict
from mknock.settings import SettingsError
from mknock.wiring.parts import Parts, doctor_of

SIGN_IN_SETTINGS = (
    "MATRIX_ACCESS_TOKEN",
    "MATRIX_USER",
    "MATRIX_PASSWORD",
    "BEEPER_LOGIN_TOKEN",
    "BEEPER_LOGIN_EMAIL",
    "BEEPER_LOGIN_CODE",
)
INTRODUCTION = """\
This asks what Knock needs to know and writes it into {path}. An answer in [brackets] is taken
if you just press Enter; Ctrl-C ends it, and nothing is changed until the end.

You need an account that Knock acts as (one of its own is best), and a room in which it may invite.
"""
WAYS = """\
How does Knock sign in?
  1  user name and password
  2  access token (of a session that no other program uses)
  3  code by e-mail (Beeper)"""


@click.command()
def setup() -> None:
    """Set Knock up, question by question, and write .env.

    Asks for the homeserver, signs in, lists the rooms and spaces in which the
    account may invite, makes the form's secret, looks at everything as the
    doctor does, and says what to paste into the form. Settings that are in
    .env already stay, unless an answer replaces them. Without a terminal the
    answers are read from standard input, a line each.
    """
    path = Path(os.environ.get("ENV_FILE") or ".env")
    say(INTRODUCTION.format(path=path))
    with Draft.begun(path) as draft:
        for step in (_homeserver, _account, _room, _form, _address):
            _until_right(step, draft)
            say("")
        findings = with_parts(lambda parts: doctor_of(parts).examine(), draft.settings())
        for finding in findings:
            say(line_of(finding))
        what_now = _what_now(draft, findings)
        draft.keep()
    say(what_now)


def _until_right(step: Callable[[Draft], None], draft: Draft) -> None:
    """Do a step again after a wrong answer, as long as there is somebody to ask."""
    while True:
        try:
            return step(draft)
        except NotAnswered:
            raise
        except (KnockError, SettingsError) as error:
            if not is_interactive():
                raise
            complain(str(error))


# --- the steps -----------------------------------------------------------------------------------


def _homeserver(draft: Draft) -> None:
    typed = ask(
        "Your homeserver: its name, its address, or the Matrix ID of Knock's account",
        default=draft.get("MATRIX_BASE_URL"),
    )

    async def look() -> str:
        async with matrix_http() as http:
            return await discovered(http, typed, time.time)

    address = asyncio.run(look())
    draft.put("MATRIX_BASE_URL", address)
    say(f"There is a homeserver at {address}.")
    if typed.startswith("@"):
        draft.account = typed


def _account(draft: Draft) -> None:
    _make_key(draft)
    account = _signed_in(draft)
    if account and _yes(f"Knock can sign in as {account} already. Keep that?"):
        return
    say(WAYS)
    usual = "3" if "beeper" in (draft.get("MATRIX_BASE_URL") or "") else "1"
    match ask("1, 2 or 3", default=usual):
        case "1":
            _with_password(draft)
        case "2":
            _with_token(draft)
        case "3":
            draft.drop(*SIGN_IN_SETTINGS)
            sign_in_with_code(draft.settings(), None)
        case other:
            raise WrongAnswer(f"{plain(other)!r} is not 1, 2 or 3.")
    say(f"Knock acts as {plain(_account_of(draft))}.")


def _make_key(draft: Draft) -> None:
    """A key for the secrets in the store, from before the first of them is put there."""
    if not draft.get("SECRET_KEY"):
        draft.put("SECRET_KEY", secrets.token_hex(32))


def _with_password(draft: Draft) -> None:
    user = ask("User name", default=draft.account or None)
    password = ask(f"Password of {user}", hidden=True)
    draft.drop(*SIGN_IN_SETTINGS)
    sign_in_with_password(draft.settings(), user, password)
    if _yes("Keep the password in the file, so that Knock can sign in again by itself if its session ends?"):
        draft.put("MATRIX_USER", user)
        draft.put("MATRIX_PASSWORD", password)


def _with_token(draft: Draft) -> None:
    token = ask("Access token", hidden=True).strip()
    draft.drop(*SIGN_IN_SETTINGS)
    draft.put("MATRIX_ACCESS_TOKEN", token)


def _account_of(draft: Draft) -> str:
    async def look(parts: Parts) -> str:
        return await parts.homeserver.whoami()

    return with_parts(look, draft.settings())


def _signed_in(draft: Draft) -> str:
    """Who Knock acts as by the settings there are; "" if it cannot sign in."""
    try:
        return _account_of(draft)
    except (KnockError, SettingsError):
        return ""


def _room(draft: Draft) -> None:
    draft.put("NEW_ROOM_ID", room_for(draft.settings))


def _form(draft: Draft) -> None:
    if not draft.get("FORM_TOKEN"):
        draft.put("FORM_TOKEN", secrets.token_urlsafe(32))
        say("A secret for the form was made (FORM_TOKEN): only who has it can post.")


def _address(draft: Draft) -> None:
    typed = ask(
        "Public address of Knock, such as https://knock.example.org (Enter: not known yet)",
        default=draft.get("PUBLIC_URL") or "",
    )
    if typed:
        draft.put("PUBLIC_URL", typed if "://" in typed else f"https://{typed}")
        draft.settings()


def _yes(question: str) -> bool:
    return ask(f"{question} (y/n)", default="y").lower() in ("y", "yes", "j", "ja")


# --- the end -------------------------------------------------------------------------------------


def _what_now(draft: Draft, findings: Sequence[Finding]) -> str:
    address = draft.get("PUBLIC_URL") or "https://YOUR-ADDRESS"
    lines = [f"\n{draft.path} is written. It holds secrets: keep it to yourself.\n"]
    if any(finding.verdict is Verdict.BAD for finding in findings):
        lines.append('Mend what says FAIL, then look again with "mknock doctor".')
    lines += [
        "Start Knock:                       mknock serve   (or: docker compose up -d)",
        f"Address for the form's webhook:    {address}/invite_from_form?token={draft.get('FORM_TOKEN')}",
        "How to connect Tally and others:   docs/how-to/ (connect-tally.md, connect-any-form.md)",
    ]
    return "\n".join(lines)
