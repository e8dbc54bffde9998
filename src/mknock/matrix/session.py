"""A session on the homeserver, as it is kept in the store."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final, Self

from mknock.matrix.answers import number_in, text_in, unreadable
from mknock.ports import Store

SECRET: Final = "session"  # noqa: S105  the name it is kept under
AHEAD: Final = 60.0
"""Seconds before its end at which a token is refreshed, or a fifth of its life if that is less."""

_TOKEN: Final = re.compile(r"[!-~]+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Who is signed in where, with which tokens. Times are seconds since the epoch.

    ``account`` is what the owner typed to sign in ("" when that says nothing
    about the account); ``expires_at`` is None for a token that lasts until it is
    refused.
    """

    base_url: str
    access_token: str = field(repr=False)
    user_id: str = ""
    account: str = ""
    device_id: str = ""
    refresh_token: str = field(default="", repr=False)
    began_at: float = 0.0
    expires_at: float | None = None

    def is_over(self, now: float) -> bool:
        """Whether the access token's time is over."""
        return self.expires_at is not None and now >= self.expires_at

    def is_due(self, now: float) -> bool:
        """Whether the access token should be refreshed, so that no request meets its end."""
        if self.expires_at is None or not self.refresh_token:
            return False
        return now >= self.expires_at - min(AHEAD, (self.expires_at - self.began_at) / 5)

    def renewed(self, answer: Mapping[str, Any], now: float) -> Self:
        """Return the session with the tokens of a /login or /refresh answer.

        A refresh that brings no new refresh token leaves the old one valid.

        Raises:
            HomeserverUnavailable: the answer holds no usable access token.
        """
        lifetime = number_in(answer.get("expires_in_ms")) / 1000
        refresh = answer.get("refresh_token")
        return replace(
            self,
            access_token=usable_token(answer),
            refresh_token=refresh if isinstance(refresh, str) and refresh else self.refresh_token,
            began_at=now,
            expires_at=now + lifetime if lifetime > 0 else None,
        )

    def dump(self) -> str:
        """The session as text, for the store."""
        return json.dumps(asdict(self))


def can_be_sent(token: str) -> bool:
    """Whether a header can carry the token."""
    return _TOKEN.fullmatch(token) is not None


def usable_token(answer: Mapping[str, Any]) -> str:
    """The access token of an answer. Raises HomeserverUnavailable when there is none that can be sent."""
    token = text_in(dict(answer), "access_token", "signing in")
    if not can_be_sent(token):
        raise unreadable("signing in")
    return token


async def kept_session(store: Store) -> Session | None:
    """The session in the store; None if there is none, or none that this version can read."""
    return _load(await store.secret(SECRET) or "")


async def keep_session(store: Store, session: Session) -> None:
    """Put the session into the store, for all processes and the next start."""
    await store.put_secret(SECRET, session.dump())


def _load(text: str) -> Session | None:
    known = {each.name for each in fields(Session)}
    try:
        session = Session(**{name: value for name, value in json.loads(text).items() if name in known})
        return session if can_be_sent(session.access_token) else None
    except (ValueError, TypeError, AttributeError):
        return None
