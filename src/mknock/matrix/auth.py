"""Where the access token comes from: a fixed one, or a session that Knock keeps itself.

::

    TokenSource                      what MatrixClient asks
    ├── FixedToken                   MATRIX_ACCESS_TOKEN
    └── SignedIn                     a session in the store, refreshed or made by a SignIn
        ├── PasswordSignIn           MATRIX_USER and MATRIX_PASSWORD
        ├── JwtSignIn                BEEPER_LOGIN_TOKEN
        ├── beeper.EmailCodeSignIn   BEEPER_LOGIN_EMAIL and BEEPER_LOGIN_CODE
        └── KeptSessionOnly          none of them: the session that "mknock login" left

Only a 401 throws a token away. Logins are scarce (Synapse allows five, then one
in 333 seconds), so one process signs in for all, and a refused login is not
repeated before a pause that the store remembers over restarts.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from mknock.domain.errors import (
    HomeserverError,
    HomeserverUnavailable,
    RateLimited,
    Refused,
    TokenRefused,
)
from mknock.matrix.answers import StaleToken, text_in
from mknock.matrix.client import MatrixClient
from mknock.matrix.session import Session, keep_session, kept_session
from mknock.ports import Clock, Store
from mknock.telemetry import keep_secret

Sleep = Callable[[float], Awaitable[None]]

LEASE: Final = "sign-in"
LEASE_TIME: Final = 60.0
"""Seconds; longer than the longest single request."""
PATIENCE: Final = 90.0
"""Seconds to wait for another process that is signing in."""
LOOK_AGAIN: Final = 0.25
"""Seconds between two looks at the store meanwhile."""
REFRESH_AGAIN: Final = 10.0
"""Seconds between two tries to refresh a token that is still good."""
LIMITED: Final = "sign-in"
"""The pause that a 429 asks for: it holds for every way to sign in."""
TROUBLE: Final = "sign-in-trouble"
"""The pause after no usable answer."""
AFTER_REFUSAL: Final = 300.0
"""Seconds until the same refused password or token is tried again."""
AFTER_LOGIN: Final = 60.0
"""Seconds between two logins at least, for a homeserver that refuses its own fresh tokens."""
AFTER_TROUBLE: Final = 10.0
"""Seconds after a login or refresh that broke off or got no usable answer: it may have counted all the same."""


def random_device_id() -> str:
    """A device id of our own making, as the specification allows."""
    return f"KNOCK{secrets.token_hex(4).upper()}"


class CredentialsRefused(TokenRefused):
    """The homeserver at ``base_url`` did not accept a login; ``code`` says why."""

    def __init__(self, name: str, base_url: str, code: str) -> None:
        super().__init__(
            f"{name} was refused by {base_url} ({code}). "
            f'Set the right one, or run "mknock doctor". The same one is tried again in {AFTER_REFUSAL:g} s.'
        )
        self.base_url = base_url
        self.code = code


class FixedToken:
    """The access token that the owner set; there is no way to get another."""

    def __init__(self, token: str, base_url: str) -> None:
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise TokenRefused("MATRIX_ACCESS_TOKEN is empty or holds a character that no token has")
        self._token = token
        self._base_url = base_url

    async def current(self) -> str:
        return self._token

    async def renew(self, refused: str, *, soft: bool) -> str:  # noqa: ARG002  the protocol's arguments
        raise TokenRefused(
            f"MATRIX_ACCESS_TOKEN was refused by {self._base_url} (M_UNKNOWN_TOKEN). "
            'Set a new one, or run "mknock doctor".'
        )


class SignIn(Protocol):
    """A way to sign in. ``name`` is the setting to mention when it was refused."""

    @property
    def name(self) -> str: ...

    @property
    def account(self) -> str:
        """What the owner typed to name the account; "" when nothing does."""

    @property
    def secret(self) -> str:
        """What was typed; a slow hash of it tells whether it was refused before."""

    def owns(self, session: Session) -> bool:
        """Whether a kept session is the one this way would lead to."""

    async def credentials(self) -> dict[str, Any]:
        """What tells the homeserver who we are, as part of the body of POST /login.

        Raises:
            HomeserverError: there is nothing to sign in with, now or at all.
        """

    async def settled(self, *, accepted: bool) -> None:
        """The homeserver has accepted or refused these credentials."""


class PasswordSignIn:
    """``m.login.password`` for ``user``, a Matrix ID or its localpart."""

    name = "MATRIX_PASSWORD"

    def __init__(self, user: str, password: str) -> None:
        self.account = user
        self.secret = f"{user}\n{password}"
        self._password = password

    def owns(self, session: Session) -> bool:
        """A session of another user is of no use once the owner has changed MATRIX_USER."""
        localpart = session.user_id.partition(":")[0].removeprefix("@")
        names = (session.account, session.user_id, localpart)
        return self.account.lower() in (name.lower() for name in names)

    async def credentials(self) -> dict[str, Any]:
        identifier = {"type": "m.id.user", "user": self.account}
        return {"type": "m.login.password", "identifier": identifier, "password": self._password}

    async def settled(self, *, accepted: bool) -> None: ...


class JwtSignIn:
    """``org.matrix.login.jwt``; Beeper's tokens can be used once only."""

    name = "BEEPER_LOGIN_TOKEN"
    account = ""

    def __init__(self, token: str) -> None:
        self.secret = token

    def owns(self, session: Session) -> bool:  # noqa: ARG002  a token does not tell whose it is
        return True

    async def credentials(self) -> dict[str, Any]:
        return {"type": "org.matrix.login.jwt", "token": self.secret}

    async def settled(self, *, accepted: bool) -> None: ...


class KeptSessionOnly:
    """No way to sign in: whatever ``mknock login`` has left must do."""

    name = account = secret = ""

    def owns(self, session: Session) -> bool:  # noqa: ARG002
        return True

    async def credentials(self) -> dict[str, Any]:
        raise TokenRefused(
            "Knock is not signed in. Set MATRIX_ACCESS_TOKEN, or MATRIX_USER and MATRIX_PASSWORD, "
            'or run "mknock login".'
        )

    async def settled(self, *, accepted: bool) -> None: ...


class SignedIn:
    """A session kept in the store, shared by all processes.

    ``client`` needs no tokens of its own; ``holder`` names this process among
    those that share the store. However many callers need a new
    token, one attempt is made, and all of them get its outcome.
    """

    def __init__(
        self,
        store: Store,
        sign_in: SignIn,
        client: MatrixClient,
        *,
        holder: str,
        clock: Clock = time.time,
        sleep: Sleep = asyncio.sleep,
        new_device_id: Callable[[], str] = random_device_id,
    ) -> None:
        self._store = store
        self._sign_in = sign_in
        self._client = client
        self._holder = holder
        self._clock = clock
        self._sleep = sleep
        self._new_device_id = new_device_id
        self._session: Session | None = None
        self._attempt: asyncio.Task[Session] | None = None
        self._marked = ""
        self._not_ahead_before = 0.0

    async def aclose(self) -> None:
        """Stop signing in, if that is going on, and let another process do it. Call before the store closes."""
        if self._attempt is not None:
            self._attempt.cancel()
            await asyncio.wait({self._attempt})

    async def current(self) -> str:
        """The session's token, refreshed shortly before its time is over, or made by a first login."""
        session = self._session
        if session is None:
            return (await self._replacement("", soft=False)).access_token
        now = self._clock()
        if session.is_over(now):
            return (await self._replacement(session.access_token, soft=True)).access_token
        if session.is_due(now):
            return (await self._refreshed_ahead(session)).access_token
        return session.access_token

    async def renew(self, refused: str, *, soft: bool) -> str:
        """Another token: the one another process has stored meanwhile, a refreshed one, or by a login."""
        return (await self._replacement(refused, soft=soft)).access_token

    async def sign_in_now(self) -> Session:
        """Sign in anew, whatever session there is and whatever was refused before: a person asks for it."""
        for pause in (LIMITED, TROUBLE, await self._mark()):
            await self._store.resume(pause)
        kept = await kept_session(self._store)
        return await self._replacement(kept.access_token if kept else "", soft=False)

    async def _refreshed_ahead(self, session: Session) -> Session:
        """Refresh a token that still works; trouble with that is no trouble yet."""
        if self._attempt is not None or self._clock() < self._not_ahead_before:
            return session
        self._not_ahead_before = self._clock() + REFRESH_AGAIN
        try:
            return await self._replacement(session.access_token, soft=True)
        except HomeserverError:
            return session

    async def _replacement(self, refused: str, *, soft: bool) -> Session:
        if self._attempt is None:
            self._attempt = asyncio.create_task(self._replace(refused, soft=soft))
            self._attempt.add_done_callback(self._attempt_ended)
        # Shielded: a caller that gives up must not cut a login short between the answer and the store.
        return await asyncio.shield(self._attempt)

    def _attempt_ended(self, attempt: asyncio.Task[Session]) -> None:
        self._attempt = None
        if not attempt.cancelled() and attempt.exception() is None:
            self._session = attempt.result()
            for token in (self._session.access_token, self._session.refresh_token):
                keep_secret(token, lasting=False)

    async def _replace(self, refused: str, *, soft: bool) -> Session:
        """Wait for our turn among all processes; whoever comes second finds the first one's session."""
        give_up_at = self._clock() + PATIENCE
        while True:
            if (session := await self._stored_by_another(refused)) is not None:
                return session
            if await self._take_turn():
                try:
                    return await self._in_our_turn(refused, soft=soft)
                finally:
                    await self._store.drop_lease(LEASE, self._holder)
            if self._clock() >= give_up_at:
                raise HomeserverUnavailable("another process is still signing in", everywhere=False)
            await self._sleep(LOOK_AGAIN)

    async def _take_turn(self) -> bool:
        now = self._clock()
        return await self._store.take_lease(LEASE, self._holder, now=now, until=now + LEASE_TIME)

    async def _stored_by_another(self, refused: str) -> Session | None:
        kept = await self._kept()
        if kept is None or kept.access_token == refused or kept.is_over(self._clock()):
            return None
        return kept

    async def _kept(self) -> Session | None:
        kept = await kept_session(self._store)
        if kept is None or kept.base_url != self._client.base_url or not self._sign_in.owns(kept):
            return None
        return kept

    async def _in_our_turn(self, refused: str, *, soft: bool) -> Session:
        if (session := await self._stored_by_another(refused)) is not None:
            return session
        kept = await self._kept()
        if kept is not None and kept.refresh_token and (soft or kept.access_token != refused):
            refreshed = await self._refresh(kept)
            if refreshed is not None:
                return refreshed
        return await self._log_in()

    async def _refresh(self, kept: Session) -> Session | None:
        """Return the refreshed session, or None if only a login helps."""
        await self._heed()
        try:
            answer = await self._post("refresh", {"refresh_token": kept.refresh_token})
        except (Refused, StaleToken):
            return None
        session = kept.renewed(answer, self._clock())
        await keep_session(self._store, session)  # before its first use: the old pair ends with that
        return session

    async def _log_in(self) -> Session:
        mark = await self._mark()
        await self._heed(mark)
        credentials = await self._limited(self._sign_in.credentials())
        answer = await self._accepted(credentials, mark)
        session = self._session_in(answer)
        await keep_session(self._store, session)
        await self._store.pause(mark, self._clock() + AFTER_LOGIN)
        await self._sign_in.settled(accepted=True)
        return session

    async def _accepted(self, credentials: dict[str, Any], mark: str) -> dict[str, Any]:
        """Return the answer to a login; a refusal of it is remembered."""
        body = credentials | {
            "device_id": await self._device_id(),
            "initial_device_display_name": "Knock",
            "refresh_token": True,
        }
        try:
            return await self._post("login", body)
        except _NotNow:
            raise
        except (Refused, TokenRefused) as error:
            await self._store.pause(mark, self._clock() + AFTER_REFUSAL)
            await self._sign_in.settled(accepted=False)
            if isinstance(error, TokenRefused):
                raise
            raise self._refusal(error) from None

    def _refusal(self, refused: Refused) -> CredentialsRefused:
        why = refused.code or str(refused.status)
        return CredentialsRefused(self._sign_in.name, self._client.base_url, why)

    def _session_in(self, answer: dict[str, Any]) -> Session:
        base = Session(
            base_url=self._client.base_url,
            access_token="",
            user_id=text_in(answer, "user_id", "signing in"),
            account=self._sign_in.account,
            device_id=text_in(answer, "device_id", "signing in"),
        )
        return base.renewed(answer, self._clock())

    async def _post(self, endpoint: str, body: dict[str, Any]) -> dict[str, Any]:
        """Call /login or /refresh, in our turn still; a 429 becomes a pause for all processes."""
        if not await self._take_turn():
            raise HomeserverUnavailable("another process took over signing in", everywhere=False)
        what = "signing in" if endpoint == "login" else "refreshing the session"
        return await self._limited(
            self._client.request("POST", ("v3", endpoint), what=what, json=body, auth=False)
        )

    async def _limited(self, call: Awaitable[dict[str, Any]]) -> dict[str, Any]:
        try:
            return await call
        except RateLimited as limited:
            await self._store.pause(LIMITED, self._clock() + limited.retry_after)
            raise _NotNow(self._client.base_url, limited.retry_after) from None
        except HomeserverUnavailable as trouble:
            if not trouble.everywhere:
                await self._store.pause(TROUBLE, self._clock() + AFTER_TROUBLE)
            raise

    async def _heed(self, *pauses: str) -> None:
        """Go on only if no pause for signing in is on."""
        now = self._clock()
        wait = max([await self._store.paused(pause) - now for pause in (LIMITED, *pauses)])
        if wait > 0:
            raise _NotNow(self._client.base_url, wait)
        if await self._store.paused(TROUBLE) > now:
            raise HomeserverUnavailable("signing in got no answer a moment ago", everywhere=False)

    async def _device_id(self) -> str:
        """The device id that all logins share, so that encryption and transaction ids survive them."""
        return await self._store.settle_secret("device_id", self._new_device_id())

    async def _mark(self) -> str:
        """Name the pause for exactly these credentials, so that corrected ones are tried at once.

        A pause is not encrypted in the store, hence the slow hash, salted and cut to 32 bits.
        """
        if not self._marked:
            secret, salt = self._sign_in.secret.encode(), (await self._device_id()).encode()
            digest = await asyncio.to_thread(
                hashlib.scrypt, secret, salt=salt, n=2**14, r=8, p=1, dklen=4, maxmem=2**26
            )
            self._marked = f"sign-in:{digest.hex()}"
        return self._marked


class _NotNow(TokenRefused):
    """Signing in has to wait, after a refusal, a 429 or a login of a moment ago."""

    def __init__(self, base_url: str, wait: float) -> None:
        super().__init__(f"Knock is not signed in at {base_url}: the next try is in {wait:.0f} s")
