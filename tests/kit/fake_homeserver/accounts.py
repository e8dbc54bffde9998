"""People and their sessions on the fake homeserver."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from typing import Any

from tests.kit import jwt
from tests.kit.fake_homeserver.errors import (
    MatrixError,
    forbidden,
    invalid,
    missing_token,
    not_found,
    unknown_token,
    unreachable,
)
from tests.kit.homeserver import DENIED_SERVER, SERVER_NAME

Json = dict[str, Any]

_NO_SUCH_LOGIN = "Invalid username or password"


@dataclass(slots=True)
class User:
    """Somebody with an account, here or on another server."""

    user_id: str
    displayname: str | None
    password: str | None = None
    hidden: bool = False
    """The profile is answered with 403, as by servers that show it to acquaintances only."""
    account_data: dict[str, Json] = field(default_factory=dict)

    @property
    def blocks_invites(self) -> bool:
        return self.account_data.get("m.invite_permission_config", {}).get("default_action") == "block"


@dataclass(slots=True)
class Session:
    """One access token; ``ends`` is a time in seconds since 1970, None for never."""

    access_token: str
    user_id: str
    device_id: str
    ends: float | None = None


@dataclass(slots=True)
class RefreshToken:
    """One refresh token and, once it was used, the pair that it gave."""

    token: str
    user_id: str
    device_id: str
    successor: RefreshToken | None = None
    session: Session | None = None
    """The session that came with this refresh token."""
    proven: bool = False
    """The pair arrived: one of its two tokens was used, so the one before it is void."""


class Accounts:
    """Everybody the homeserver knows, and who is logged in with which token."""

    def __init__(self) -> None:
        self.token_lifetime = 300.0
        """Seconds that an access token lives if the login asked for a refresh token."""
        self.denied_servers = {DENIED_SERVER}
        self._users: dict[str, User] = {}
        self._reachable = {SERVER_NAME}
        self._sessions: dict[str, Session] = {}
        self._refreshing: dict[str, RefreshToken] = {}
        self._numbers = itertools.count(1)

    # People

    def add(
        self, name: str, *, password: str | None = None, displayname: str | None = None, hidden: bool = False
    ) -> User:
        """Make an account and return it; a whole user ID of another server makes that server reachable."""
        user_id = name if name.startswith("@") else f"@{name}:{SERVER_NAME}"
        localpart, _, server = user_id[1:].partition(":")
        self._reachable.add(server)
        user = User(user_id, localpart if displayname is None else displayname, password, hidden)
        return self._users.setdefault(user_id, user)

    def find(self, user_id: str) -> User | None:
        return self._users.get(user_id)

    def profile(self, user_id: str) -> Json:
        """Return what ``/profile`` shows, or raise what it answers instead."""
        self.need_server(user_id, "Failed to fetch profile")
        user = self._users.get(user_id)
        if user is None and server_of(user_id) == SERVER_NAME:
            # Synapse forgets to say M_NOT_FOUND about its own users.
            raise MatrixError(404, "M_UNKNOWN", "No row found (profiles)")
        if user is None or not user.displayname:
            raise not_found("Profile was not found")
        if user.hidden:
            raise forbidden("Profile isn't available")
        return {"displayname": user.displayname}

    def need_server(self, user_id: str, failure: str) -> None:
        """Raise what is answered when that person's server is needed and cannot be used."""
        server = server_of(user_id)
        if server in self.denied_servers:
            raise forbidden(f"Federation denied with {server}.")
        if server not in self._reachable:
            raise unreachable(failure)

    # Sessions

    def open_session(self, user_id: str, device_id: str | None, *, refreshable: bool = False) -> Json:
        """Log somebody in and return the body of the answer."""
        device = device_id or f"DEVICE{next(self._numbers)}"
        session = self._new_session(user_id, device, expires=refreshable)
        answer = {
            "user_id": user_id,
            "access_token": session.access_token,
            "device_id": device,
            "home_server": SERVER_NAME,
        }
        return answer | self._new_refresh_token(session) if refreshable else answer

    def session(self, access_token: str) -> Session:
        """Return the session of a valid token; raise the 401 otherwise."""
        session = self._sessions.get(access_token)
        if session is None:
            raise unknown_token()
        if session.ends is not None:
            if session.ends < time.time():
                raise unknown_token("Access token has expired", soft=True)
            self._prove(session)
        return session

    def owner_of(self, access_token: str) -> str:
        """Return whose token that is, expired or not; "" when it is nobody's."""
        session = self._sessions.get(access_token)
        return session.user_id if session else ""

    def end_session(self, access_token: str) -> None:
        """Log a device out: all its tokens are void. An expired token may still do that."""
        ending = self._sessions.get(access_token)
        if ending is None:
            raise unknown_token()
        self._sessions = {
            token: kept for token, kept in self._sessions.items() if not _same_device(kept, ending)
        }
        self._refreshing = {
            token: kept for token, kept in self._refreshing.items() if not _same_device(kept, ending)
        }

    def expire(self, user_id: str) -> None:
        """Let the time of all access tokens of that account be over; refresh tokens stay good."""
        for session in self._sessions.values():
            if session.user_id == user_id:
                session.ends = 0.0

    def revoke(self, user_id: str) -> None:
        """Void all tokens of that account, as an administrator does who logs it out everywhere."""
        self._sessions = {t: s for t, s in self._sessions.items() if s.user_id != user_id}
        self._refreshing = {t: r for t, r in self._refreshing.items() if r.user_id != user_id}

    def refresh(self, token: str) -> Json:
        """Give a new pair of tokens for a refresh token.

        The old refresh token stays good until one of the new pair is used,
        so an answer that got lost can be asked for again.
        """
        old = self._refreshing.get(token)
        if old is None:
            raise unknown_token("invalid refresh token")
        if old.successor:
            if old.successor.proven:
                raise forbidden("refresh token isn't valid anymore")
            self._forget(old.successor)
        self._forget_what_led_to(old)
        session = self._new_session(old.user_id, old.device_id, expires=True)
        answer = {"access_token": session.access_token, **self._new_refresh_token(session)}
        old.successor = self._refreshing[answer["refresh_token"]]
        return answer

    def _new_session(self, user_id: str, device_id: str, *, expires: bool) -> Session:
        ends = time.time() + self.token_lifetime if expires else None
        session = Session(f"access-{next(self._numbers)}", user_id, device_id, ends)
        self._sessions[session.access_token] = session
        return session

    def _new_refresh_token(self, session: Session) -> Json:
        token = f"refresh-{next(self._numbers)}"
        self._refreshing[token] = RefreshToken(token, session.user_id, session.device_id, session=session)
        return {"refresh_token": token, "expires_in_ms": int(self.token_lifetime * 1000)}

    def _prove(self, session: Session) -> None:
        for refreshing in self._refreshing.values():
            if refreshing.session is session:
                refreshing.proven = True

    def _forget_what_led_to(self, used: RefreshToken) -> None:
        self._refreshing = {t: r for t, r in self._refreshing.items() if r.successor is not used}

    def _forget(self, refreshing: RefreshToken) -> None:
        self._refreshing.pop(refreshing.token, None)
        if refreshing.session:
            self._sessions.pop(refreshing.session.access_token, None)

    # Logging in

    def log_in(self, body: Json) -> Json:
        """Answer ``POST /login``."""
        refreshable = body.get("refresh_token", False)
        if not isinstance(refreshable, bool):
            raise MatrixError(400, "M_UNKNOWN", "`refresh_token` should be true or false.")
        if "type" not in body:
            raise MatrixError(400, "M_UNKNOWN", "Missing JSON keys.")
        user = self._who_logs_in(body)
        return self.open_session(user.user_id, body.get("device_id"), refreshable=refreshable)

    def _who_logs_in(self, body: Json) -> User:
        if body["type"] == "org.matrix.login.jwt":
            return self._bearer_of(body.get("token"))
        if body["type"] == "m.login.password":
            return self._knower_of_password(body)
        raise invalid("Invalid login submission")

    def _bearer_of(self, token: str | None) -> User:
        if token is None:
            raise forbidden("Token field for JWT is missing")
        try:
            return self.add(jwt.subject(token))
        except (ValueError, KeyError) as error:
            raise forbidden(f"JWT validation failed: {error}") from error

    def _knower_of_password(self, body: Json) -> User:
        identifier = body.get("identifier")
        if not isinstance(identifier, dict):
            raise invalid("Invalid login submission")
        if identifier.get("type") != "m.id.user":
            raise MatrixError(400, "M_UNKNOWN", "Unknown login identifier type")
        if not isinstance(body.get("password"), str):
            raise invalid("Bad parameter: password")
        name = str(identifier.get("user"))
        user = self._users.get(name if name.startswith("@") else f"@{name}:{SERVER_NAME}")
        if user is None or user.password is None or user.password != body["password"]:
            raise forbidden(_NO_SUCH_LOGIN)
        return user


def server_of(user_id: str) -> str:
    return user_id.partition(":")[2]


def valid_user_id(value: object) -> str:
    """Return the value if it is a user ID; raise the 400 otherwise."""
    if not isinstance(value, str):
        raise MatrixError(500, "M_UNKNOWN", "Internal server error")
    if not value.startswith("@"):
        raise invalid("Expected UserID string to start with '@'")
    if ":" not in value:
        raise invalid("Expected UserID of the form '@localname:domain'")
    return value


def _same_device(one: Session | RefreshToken, other: Session) -> bool:
    return (one.user_id, one.device_id) == (other.user_id, other.device_id)


def access_token(headers: dict[bytes, bytes]) -> str:
    """Return the token that a request carries; raise the 401 when there is none."""
    value = headers.get(b"authorization")
    if value is None:
        raise missing_token()
    scheme, _, token = value.partition(b" ")
    if scheme != b"Bearer" or not token or b" " in token:
        raise missing_token("Invalid Authorization header.")
    return token.decode("ascii", "replace")
