"""The table of the calls that the fake homeserver answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tests.kit.asgi import Request
from tests.kit.fake_homeserver import endpoints, sync
from tests.kit.fake_homeserver.endpoints import Asked
from tests.kit.fake_homeserver.errors import unrecognised


@dataclass(frozen=True)
class Route:
    """One operation: its name, method, path below ``/_matrix/client/v3``, and what answers it."""

    operation: str
    method: str
    path: str
    handler: Callable[[Asked], Any]

    @cached_property
    def parts(self) -> list[str]:
        return self.path.split("/")

    def params(self, segments: list[str]) -> dict[str, str] | None:
        """Return the parameters that the path holds, or None when it is another path."""
        params = {}
        for part, segment in zip(self.parts, segments, strict=True):
            if part[0] == "{":
                params[part[1:-1]] = segment
            elif part != segment:
                return None
        return params


ROUTES = (
    Route("versions", "GET", "versions", endpoints.versions),
    Route("whoami", "GET", "account/whoami", endpoints.whoami),
    Route("login_flows", "GET", "login", endpoints.login_flows),
    Route("login", "POST", "login", endpoints.login),
    Route("refresh", "POST", "refresh", endpoints.refresh),
    Route("logout", "POST", "logout", endpoints.logout),
    Route("profile", "GET", "profile/{user}", endpoints.profile),
    Route("put_displayname", "PUT", "profile/{user}/displayname", endpoints.put_displayname),
    Route("put_account_data", "PUT", "user/{user}/account_data/{type}", endpoints.put_account_data),
    Route("account_data", "GET", "user/{user}/account_data/{type}", endpoints.account_data),
    Route("joined_rooms", "GET", "joined_rooms", endpoints.joined_rooms),
    Route("create_room", "POST", "createRoom", endpoints.create_room),
    Route("directory", "GET", "directory/room/{alias}", endpoints.directory),
    Route("invite", "POST", "rooms/{room}/invite", endpoints.invite),
    Route("kick", "POST", "rooms/{room}/kick", endpoints.kick),
    Route("ban", "POST", "rooms/{room}/ban", endpoints.ban),
    Route("unban", "POST", "rooms/{room}/unban", endpoints.unban),
    Route("join", "POST", "rooms/{room}/join", endpoints.join),
    Route("join", "POST", "join/{room}", endpoints.join),
    Route("leave", "POST", "rooms/{room}/leave", endpoints.leave),
    Route("forget", "POST", "rooms/{room}/forget", endpoints.forget),
    Route("knock", "POST", "knock/{room}", endpoints.knock),
    Route("keys_upload", "POST", "keys/upload", endpoints.keys_upload),
    Route("keys_query", "POST", "keys/query", endpoints.keys_query),
    Route("state_event", "GET", "rooms/{room}/state/{type}/{key}", endpoints.state_event),
    Route("state_event", "GET", "rooms/{room}/state/{type}", endpoints.state_event),
    Route("state", "GET", "rooms/{room}/state", endpoints.state),
    Route("members", "GET", "rooms/{room}/members", endpoints.members),
    Route("joined_members", "GET", "rooms/{room}/joined_members", endpoints.joined_members),
    Route("send", "PUT", "rooms/{room}/send/{type}/{txn}", endpoints.send),
    Route("put_state", "PUT", "rooms/{room}/state/{type}/{key}", endpoints.put_state),
    Route("put_state", "PUT", "rooms/{room}/state/{type}", endpoints.put_state),
    Route("messages", "GET", "rooms/{room}/messages", sync.messages),
    Route("sync", "GET", "sync", sync.sync),
)


OPERATIONS = frozenset(route.operation for route in ROUTES)


def find(request: Request) -> tuple[Route, dict[str, str]]:
    """Return the operation that a request asks for, and the parameters in its path.

    Raises:
        MatrixError: there is no such path (404), or not with this method (405).
    """
    segments = _below_the_version(request.segments)
    fitting = [(route, route.params(segments)) for route in _BY_LENGTH.get(len(segments), ())]
    found = [(route, params) for route, params in fitting if params is not None]
    for route, params in found:
        if route.method == request.method:
            return route, params
    raise unrecognised(405 if found else 404)


def _below_the_version(segments: list[str]) -> list[str]:
    if segments == ["_matrix", "client", "versions"]:
        return ["versions"]
    known = segments[:2] == ["_matrix", "client"] and segments[2:3] in (["v3"], ["r0"])
    return segments[3:] if known else []


def _by_length() -> dict[int, list[Route]]:
    lengths = {len(route.parts) for route in ROUTES}
    return {length: [route for route in ROUTES if len(route.parts) == length] for length in lengths}


_BY_LENGTH = _by_length()
