"""Beeper's private e-mail login, as its own command-line client makes it.

Three calls to ``api.beeper.com`` turn an e-mailed code into a token for
``org.matrix.login.jwt``. The API is undocumented and may close to others at any
time, so whatever it refuses ends in a sentence that names the other ways to
sign in (bridge-manager, ``api/beeperapi/login.go``).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from mknock.domain.errors import HomeserverUnavailable, RateLimited, TokenRefused
from mknock.matrix.answers import Answer, parsed, wait_asked_for
from mknock.matrix.client import bare, exchange
from mknock.matrix.lanes import Address, Lanes
from mknock.matrix.session import Session
from mknock.ports import Clock, Store
from mknock.telemetry import keep_secret

API_TOKEN: Final = "BEEPER-PRIVATE-API-PLEASE-DONT-USE"  # noqa: S105  public: every client sends it
AS_BBCTL: Final = {"appType": "bbctl", "onlyExistingAccounts": True}
DEADLINE: Final = 30.0
"""Seconds for one call."""
SHORTEST, USUAL, LONGEST = 60.0, 900.0, 86400.0
"""Seconds that a login request counts, whatever its answer says of when it expires."""
REQUEST_IS_OVER: Final = frozenset({400, 404, 410})
"""Answers to a code whose login request Beeper no longer knows."""
TOKEN_LIFETIME: Final = 600.0
"""Seconds that a token is tried again when the homeserver could not be reached to use it."""
OTHER_WAYS: Final = "Use MATRIX_ACCESS_TOKEN, or MATRIX_USER and MATRIX_PASSWORD, instead."


class CodeNeeded(TokenRefused):
    """Signing in waits for the owner to read an e-mail."""


class WrongCode(TokenRefused):
    """Beeper did not accept the code; ``retries`` more may be tried."""

    def __init__(self, retries: int) -> None:
        left = f"{retries} more may be tried" if retries else "no more may be tried with this e-mail"
        super().__init__(f"Beeper says that the code is wrong: {left}")
        self.retries = retries


class BeeperClosed(TokenRefused):
    """Beeper's login service refuses Knock as a client: no waiting and no repeating helps."""


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """A login that was begun: a code is on its way. ``expires_at`` in seconds since the epoch."""

    request: str
    expires_at: float


class BeeperLogin:
    """Beeper's login service at ``base_url`` (BEEPER_API_BASE)."""

    def __init__(self, base_url: str, http: Lanes, *, clock: Clock = time.time) -> None:
        self._address = Address.of(bare(base_url))
        self._http = http
        self._clock = clock

    async def request_code(self, email: str) -> LoginRequest:
        """Let Beeper send a code to ``email``.

        Raises:
            BeeperClosed: it refuses to.
            RateLimited: it asks to wait.
            HomeserverUnavailable: there was no usable answer.
        """
        begun = self._granted(await self._post("user/login", {}))
        request = begun.get("request")
        if not isinstance(request, str) or not request:
            raise HomeserverUnavailable("Beeper's login service gave no login request", everywhere=False)
        named = {"request": request, "email": email, **AS_BBCTL}
        self._granted(await self._post("user/login/email", named), needs_json=False)
        return LoginRequest(request, self._end_of(begun.get("expires")))

    async def answer(self, request: str, code: str) -> str:
        """Return the login token that the code is exchanged for. It can be used once.

        Raises:
            WrongCode: the code is not the one that was sent.
            BeeperClosed, RateLimited, HomeserverUnavailable: as in ``request_code``.
        """
        body = {"request": request, "response": code, **AS_BBCTL}
        answer = await self._post("user/login/response", body)
        retries = _object(answer).get("retries")
        if answer.status == 403 and isinstance(retries, int):
            raise WrongCode(max(retries, 0))
        if answer.status in REQUEST_IS_OVER:
            raise WrongCode(0)
        token = self._granted(answer).get("token")
        if not isinstance(token, str) or not token:
            raise BeeperClosed(f"Beeper accepted the code but gave no token for this account. {OTHER_WAYS}")
        keep_secret(token, lasting=False)
        return token

    async def _post(self, path: str, body: Mapping[str, Any]) -> Answer:
        request = self._address.request(
            "POST",
            path,
            headers={"Authorization": f"Bearer {API_TOKEN}", "Content-Type": "application/json"},
            content=json.dumps(body).encode(),
        )
        what = "Beeper's login service"
        return await exchange(self._http, self._address, request, what=what, deadline=DEADLINE)

    def _granted(self, answer: Answer, *, needs_json: bool = True) -> dict[str, Any]:
        """Return the JSON object of a success, or raise what anything else means."""
        said = _object(answer)
        if 200 <= answer.status < 300 and (said or not needs_json):
            return said
        if answer.status == 429 and "out of date" not in str(said.get("error", "")).lower():
            wait = wait_asked_for(answer.header("Retry-After"), None, self._clock())
            raise RateLimited(f"Beeper's login service asks to wait {wait:g} s", retry_after=wait)
        if answer.status == 429:
            raise BeeperClosed(f"Beeper says that Knock is out of date as a client. {OTHER_WAYS}")
        if 400 <= answer.status < 500:
            raise BeeperClosed(f"Beeper's login service refused ({answer.status}). {OTHER_WAYS}")
        raise HomeserverUnavailable(
            f"Beeper's login service gave no usable answer ({answer.status})", everywhere=False
        )

    def _end_of(self, expires: Any) -> float:
        now = self._clock()
        try:
            told = datetime.fromisoformat(expires)
            left = (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp() - now
        except (ValueError, TypeError, OverflowError):
            left = USUAL
        return now + min(max(left, SHORTEST), LONGEST)


def _object(answer: Answer) -> dict[str, Any]:
    data = parsed(answer.body)
    return data if isinstance(data, dict) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Progress:
    """How far signing in by e-mail has come; kept in the store over restarts and for all processes."""

    email: str = ""
    request: str = field(default="", repr=False)
    expires_at: float = 0.0
    spent: str = ""
    """A hash of the last code that was used or wrong: it is not tried again."""
    token: str = field(default="", repr=False)
    token_until: float = 0.0
    closed_until: float = 0.0
    """Beeper refused us: not asked again before."""


PROGRESS: Final = "beeper-login"
CLOSED_PAUSE: Final = 3600.0
"""Seconds without another try once Beeper has refused Knock as a client."""


class EmailCodeSignIn:
    """BEEPER_LOGIN_EMAIL and, at the second start, BEEPER_LOGIN_CODE.

    The first start has Beeper send a code and keeps the login request; the
    second, with the code set, uses it. A start asks for a code at most once, and
    not while an earlier one can still be used. Must run under the lease of
    SignedIn, which sees to it that one process does this for all.
    """

    name = "BEEPER_LOGIN_CODE"

    def __init__(
        self, store: Store, beeper: BeeperLogin, email: str, code: str = "", *, clock: Clock = time.time
    ) -> None:
        self.account = email
        self.secret = f"{email}\n{code}"
        self._store = store
        self._beeper = beeper
        self._code = code
        self._clock = clock
        self._started_at = clock()

    def owns(self, session: Session) -> bool:
        """``mknock login`` leaves the account open; another address means another account."""
        return session.account in ("", self.account)

    async def credentials(self) -> dict[str, Any]:
        """The token that the code was exchanged for, as a login.

        Raises:
            CodeNeeded: the owner has to set BEEPER_LOGIN_CODE, to the code of the newest e-mail.
            BeeperClosed: Beeper refuses Knock; a try an hour later at the earliest.
            RateLimited, HomeserverUnavailable: there was no usable answer from Beeper.
        """
        progress, now = await self._progress(), self._clock()
        if progress.token and now < progress.token_until:
            return _login_with(progress.token)
        if now < progress.closed_until:
            raise BeeperClosed(f"Beeper's login service refuses Knock as a client. {OTHER_WAYS}")
        try:
            return await self._next_step(progress, now)
        except BeeperClosed:
            await self._keep(replace(progress, closed_until=now + CLOSED_PAUSE))
            raise

    async def settled(self, *, accepted: bool) -> None:  # noqa: ARG002  used up either way
        """The token was used: it cannot be used again, nor can the code."""
        await self._keep(_Progress(email=self.account, spent=(await self._progress()).spent))

    async def _next_step(self, progress: _Progress, now: float) -> dict[str, Any]:
        if now < progress.expires_at:
            if self._code and progress.spent != _hash(self._code):
                return await self._exchanged(progress, now)
            raise CodeNeeded(self._code_needed(progress))
        if progress.expires_at > self._started_at:
            raise CodeNeeded(
                f"the code that was sent to {self.account} can no longer be used; "
                'start Knock again to get another, or run "mknock login"'
            )
        request = await self._beeper.request_code(self.account)
        progress = replace(progress, request=request.request, expires_at=request.expires_at)
        await self._keep(progress)
        raise CodeNeeded(self._code_needed(progress))

    async def _exchanged(self, progress: _Progress, now: float) -> dict[str, Any]:
        used = replace(progress, spent=_hash(self._code))
        try:
            token = await self._beeper.answer(progress.request, self._code)
        except WrongCode as wrong:
            await self._keep(used if wrong.retries else replace(used, expires_at=now))
            raise CodeNeeded(f"{wrong}. {self._code_needed(used)}") from None
        await self._keep(replace(used, token=token, token_until=now + TOKEN_LIFETIME))
        return _login_with(token)

    def _code_needed(self, progress: _Progress) -> str:
        old = (
            "the BEEPER_LOGIN_CODE that is set was used or is wrong: "
            if progress.spent == _hash(self._code)
            else ""
        )
        return (
            f"{old}a code was sent to {self.account}; set BEEPER_LOGIN_CODE to it and start again, "
            'or run "mknock login"'
        )

    async def _progress(self) -> _Progress:
        try:
            kept = _Progress(**json.loads(await self._store.secret(PROGRESS) or "{}"))
        except (ValueError, TypeError):
            kept = _Progress()
        return kept if kept.email == self.account else _Progress(email=self.account)

    async def _keep(self, progress: _Progress) -> None:
        await self._store.put_secret(PROGRESS, json.dumps(asdict(progress)))


def _login_with(token: str) -> dict[str, Any]:
    return {"type": "org.matrix.login.jwt", "token": token}


def _hash(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()
