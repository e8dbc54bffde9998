"""The ``mknock`` command."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click
import uvicorn

from mknock import __version__
from mknock.domain.errors import KnockError
from mknock.domain.ids import parse_matrix_id
from mknock.domain.knocks import Knock
from mknock.matrix.auth import JwtSignIn, PasswordSignIn, SignIn
from mknock.matrix.beeper import BeeperLogin
from mknock.services.doctor import Doctor, Verdict
from mknock.services.moderation import Moderation
from mknock.settings import Settings, SettingsError, load_settings
from mknock.telemetry import configure_logging, keep_secret
from mknock.wiring import Parts, need_sign_in, parts_of, settle_api_key, signed_in

T = TypeVar("T")

ACTOR = "cli"
MARKS = {Verdict.GOOD: ("ok  ", "green"), Verdict.ODD: ("warn", "yellow"), Verdict.BAD: ("FAIL", "red")}


def _settings() -> Settings:
    settings = load_settings(require_sign_in=False)
    for secret in settings.secret_values():
        keep_secret(secret)
    configure_logging("WARNING", "console")
    return settings


def _with_parts(work: Callable[[Parts], Awaitable[T]]) -> T:
    """Open the store, do the work, close everything."""

    async def run() -> T:
        parts = parts_of(_settings())
        try:
            await parts.store.open()
            return await work(parts)
        finally:
            await parts.close()

    return asyncio.run(run())


def _moderation(parts: Parts) -> Moderation:
    """Moderation on the store; a running Knock notices what is due within a second."""
    return Moderation(parts.store, parts.homeserver, parts.doors, parts.clock, wake=lambda: None)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mknock")
def cli() -> None:
    """Knock lets people ask to join a private Matrix room."""


@cli.command()
@click.option("--host", help="Network address to listen on (default: HOST).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on (default: PORT).")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes to start (default: WORKERS).")
def serve(host: str | None, port: int | None, workers: int | None) -> None:
    """Run Knock: receive forms, send invites."""
    settings = load_settings(require_sign_in=False)
    uvicorn.run(
        "mknock:app",
        host=host or settings.host,
        port=settings.port if port is None else port,
        workers=workers or settings.workers,
        log_level=settings.log_level.lower(),
        proxy_headers=False,  # TRUSTED_PROXIES alone says who is believed
        server_header=False,
        timeout_graceful_shutdown=1,
    )


@cli.command()
@click.option("--email", help="E-mail address of a Beeper account (default: BEEPER_LOGIN_EMAIL).")
@click.option("--user", help="Matrix user for a password login (default: MATRIX_USER).")
def login(email: str | None, user: str | None) -> None:
    """Sign in once, and keep the session in the store.

    With --user you are asked for the password; with --email Beeper sends a code
    that you are asked for. What you type is not kept.
    """

    async def work(parts: Parts) -> str:
        sign_in = await _asked_sign_in(parts, email, user)
        tokens = signed_in(parts.settings, parts.store, parts.http, sign_in, parts.clock)
        return (await tokens.sign_in_now()).user_id

    click.echo(f"Signed in as {_with_parts(work)}; the session is kept in the store.")


async def _asked_sign_in(parts: Parts, email: str | None, user: str | None) -> SignIn:
    settings = parts.settings
    if user or (settings.matrix_user and not email):
        known = settings.matrix_password if not user else None
        password = known.get_secret_value() if known else await _prompt("Password", hidden=True)
        return PasswordSignIn(user or str(settings.matrix_user), password)
    email = email or settings.beeper_login_email or await _prompt("E-mail address of the Beeper account")
    beeper = BeeperLogin(settings.beeper_api_base, parts.http, clock=parts.clock)
    request = await beeper.request_code(email)
    return JwtSignIn(await beeper.answer(request.request, await _prompt(f"Code sent to {email}")))


async def _prompt(text: str, *, hidden: bool = False) -> str:
    answer: str = await asyncio.to_thread(click.prompt, text, hide_input=hidden)
    return answer.strip()


@cli.command("api-key")
def api_key() -> None:
    """Print the key of the admin endpoints, making one if there is none."""
    click.echo(_with_parts(settle_api_key))


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
def held(as_json: bool) -> None:
    """List the knocks that wait for a moderator."""
    knocks = _with_parts(lambda parts: _moderation(parts).held())
    if as_json:
        click.echo(json.dumps([_facts(knock) for knock in knocks], ensure_ascii=False))
        return
    for knock in knocks:
        click.echo(_line(knock))
    if not knocks:
        click.echo("Nobody waits.")


def _facts(knock: Knock) -> dict[str, object]:
    return {
        "id": knock.id,
        "user_id": knock.user_id,
        "reason": knock.reason.value,
        "detail": knock.detail,
        "created_at": knock.created_at,
        "answers": [[answer.label, answer.value] for answer in knock.answers],
    }


def _line(knock: Knock) -> str:
    answers = "".join(f"\n    {_plain(answer.label)}: {_plain(answer.value)}" for answer in knock.answers)
    return f"{knock.id}  {_plain(knock.user_id)}  {knock.reason.value}  {_plain(knock.detail)}{answers}"


def _plain(text: str) -> str:
    """A stranger's text without what a terminal would obey."""
    return "".join(char if char.isprintable() else "�" for char in text)


@cli.command()
@click.argument("who")
@click.option("--reason", default="", help="Why, for the ledger.")
def approve(who: str, reason: str) -> None:
    """Admit a held knock: WHO is its id or a Matrix ID. The invite goes out next."""

    async def work(parts: Parts) -> Knock:
        moderation = _moderation(parts)
        return await moderation.approve(await _knock_id(parts, moderation, who), actor=ACTOR, reason=reason)

    click.echo(f"{_with_parts(work).user_id} is admitted and will be invited.")


@cli.command()
@click.argument("who")
@click.option("--reason", default="", help="Why, for the ledger; the person is told nothing.")
def refuse(who: str, reason: str) -> None:
    """Refuse a held knock: WHO is its id or a Matrix ID."""

    async def work(parts: Parts) -> Knock:
        moderation = _moderation(parts)
        return await moderation.refuse(await _knock_id(parts, moderation, who), actor=ACTOR, reason=reason)

    click.echo(f"{_with_parts(work).user_id} is refused.")


async def _knock_id(parts: Parts, moderation: Moderation, who: str) -> str:
    if await parts.store.knock(who) is not None or (len(who) == 26 and who.isalnum()):
        return who
    user = parse_matrix_id(who, default_server=parts.doors.first.reading.default_server)
    return (await moderation.held_of(user)).id


@cli.command()
def doctor() -> None:
    """Look for what is wrong, and say how to mend it. Fails if something is."""

    async def work(parts: Parts) -> bool:
        await need_sign_in(parts)
        settings = parts.settings
        findings = await Doctor(
            parts.store,
            parts.homeserver,
            parts.doors,
            form_secrets=settings.form_secrets,
            open_api=settings.allow_open_api,
            public_url=settings.public_url,
        ).examine()
        for finding in findings:
            mark, colour = MARKS[finding.verdict]
            click.echo(f"{click.style(mark, fg=colour)}  {finding.what}: {finding.says}")
        return all(finding.verdict is not Verdict.BAD for finding in findings)

    if not _with_parts(work):
        sys.exit(1)


def main() -> None:
    """Run the command; Knock's own errors are one sentence, and exit code 2 for a wrong setting, else 1."""
    try:
        cli(prog_name="mknock")
    except SettingsError as error:
        click.echo(f"mknock: {error}", err=True)
        sys.exit(2)
    except KnockError as error:
        click.echo(f"mknock: {error}", err=True)
        sys.exit(1)
