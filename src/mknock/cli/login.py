"""``mknock login``."""

from __future__ import annotations

import click

from mknock.cli.running import read_settings, with_parts
from mknock.cli.terminal import ask, complain, plain, say
from mknock.domain.errors import KnockError
from mknock.matrix.auth import CredentialsRefused, JwtSignIn, PasswordSignIn, SignIn
from mknock.matrix.beeper import BeeperLogin
from mknock.settings import Settings
from mknock.wiring.parts import Parts, setting_before, signed_in


class LoginRefused(KnockError):
    """The homeserver did not accept what was typed."""


@click.command()
@click.option("--email", help="E-mail address of a Beeper account (default: BEEPER_LOGIN_EMAIL).")
@click.option("--user", help="Matrix user for a login by password (default: MATRIX_USER).")
def login(email: str | None, user: str | None) -> None:
    """Sign in once, and keep the session in the store.

    With --user you are asked for the password; with --email Beeper sends a
    code that you are asked for. Neither is kept. Without a terminal the answer
    is read from standard input.
    """
    if email and user:
        raise click.UsageError("--email and --user are two ways to sign in: give one of them.")
    settings = read_settings()
    if user or (settings.matrix_user and not email):
        _with_password(settings, user)
    else:
        sign_in_with_code(settings, email)


def _with_password(settings: Settings, user: str | None) -> None:
    name, password = user or settings.matrix_user or "", settings.matrix_password
    known = None if user or password is None else password.get_secret_value()
    typed = known or ask(f"Password of {name}", hidden=True)
    sign_in_with_password(settings, name, typed)


def sign_in_with_password(settings: Settings, user: str, password: str) -> None:
    """Keep a session of this user in the store.

    Raises:
        LoginRefused: the homeserver does not accept the password.
        HomeserverError: there was no usable answer.
    """
    with_parts(lambda parts: _sign_in(parts, PasswordSignIn(user, password)), settings)


def sign_in_with_code(settings: Settings, email: str | None) -> None:
    """Let Beeper send a code, ask for it, and keep the session.

    Asks between two runs of the event loop: inside one, Ctrl-C would wait for an answer.
    """
    address = email or settings.beeper_login_email or ask("E-mail address of the Beeper account")
    request = with_parts(lambda parts: _beeper(parts).request_code(address), settings)
    code = ask(f"Code that was sent to {address}")

    async def work(parts: Parts) -> None:
        await _sign_in(parts, JwtSignIn(await _beeper(parts).answer(request.request, code)))

    with_parts(work, settings)


def _beeper(parts: Parts) -> BeeperLogin:
    return BeeperLogin(parts.settings.beeper_api_base, parts.http, clock=parts.clock)


async def _sign_in(parts: Parts, way: SignIn) -> None:
    tokens = signed_in(parts.settings, parts.store, parts.http, way, parts.clock)
    try:
        session = await tokens.sign_in_now()
    except CredentialsRefused as error:
        raise LoginRefused(f"{error.base_url} refused the login ({error.code}).") from None
    say(f"Signed in as {plain(session.user_id)}; the session is kept in the store.")
    if first := setting_before(parts, session):
        complain(f"The session is not used as long as {first} is set: remove that.")
