"""The calls of the client-server API that the fake answers, one function each, and the table of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tests.kit.asgi import Request
from tests.kit.fake_homeserver.accounts import Session, access_token, server_of, valid_user_id
from tests.kit.fake_homeserver.errors import (
    MatrixError,
    forbidden,
    invalid,
    not_found,
)
from tests.kit.fake_homeserver.rooms import DEFAULT_VERSION, Room
from tests.kit.fake_homeserver.world import World
from tests.kit.homeserver import SERVER_NAME

Json = dict[str, Any]

_VERSIONS = {"versions": ["r0.6.1", *(f"v1.{minor}" for minor in range(1, 16))], "unstable_features": {}}
_LOGIN_FLOWS = {"flows": [{"type": "org.matrix.login.jwt"}, {"type": "m.login.password"}]}


@dataclass
class Asked:
    """A request that found its operation, and the world that it is about."""

    request: Request
    params: Mapping[str, str]
    world: World

    @cached_property
    def session(self) -> Session:
        """The session of the access token, asked for when it is needed; raises the 401s."""
        return self.world.accounts.session(access_token(self.request.headers))

    @property
    def sender(self) -> str:
        return self.session.user_id

    def body(self, *, may_be_empty: bool = False) -> Json:
        """Return the body, which must be a JSON object; raises the 400s."""
        raw = self.request.body
        return {} if may_be_empty and not raw else _json_object(raw)

    def room(self, unknown: MatrixError) -> Room:
        """Return the room that the path names; what is said of an unknown one differs by call."""
        room = self.world.rooms.get(self.params["room"])
        if room is None:
            raise unknown
        return room


def _json_object(raw: bytes) -> Json:
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise MatrixError(400, "M_NOT_JSON", "Content not JSON.") from error
    if not isinstance(body, dict):
        raise MatrixError(400, "M_BAD_JSON", "Content must be a JSON object.")
    return body


# Who and what


def versions(asked: Asked) -> Json:
    if b"authorization" in asked.request.headers:
        _ = asked.session
    return _VERSIONS


def whoami(asked: Asked) -> Json:
    return {"user_id": asked.sender, "is_guest": False, "device_id": asked.session.device_id}


def login_flows(asked: Asked) -> Json:
    return _LOGIN_FLOWS


def login(asked: Asked) -> Json:
    return asked.world.accounts.log_in(asked.body())


def refresh(asked: Asked) -> Json:
    token = _needed(asked.body(), "refresh_token")
    if not isinstance(token, str):
        raise invalid("Invalid param: refresh_token")
    return asked.world.accounts.refresh(token)


def logout(asked: Asked) -> Json:
    asked.world.accounts.end_session(access_token(asked.request.headers))
    return {}


def profile(asked: Asked) -> Json:
    # A token is not needed here, but a bad one is refused all the same.
    if b"authorization" in asked.request.headers:
        _ = asked.session
    user_id = asked.params["user"]
    if not user_id.startswith("@") or ":" not in user_id:
        raise invalid("Invalid user id")
    return asked.world.accounts.profile(user_id)


def put_displayname(asked: Asked) -> Json:
    if asked.sender != asked.params["user"]:
        raise forbidden("Cannot set another user's displayname")
    user = asked.world.accounts.add(asked.sender)
    user.displayname = asked.body().get("displayname") or None
    return {}


def put_account_data(asked: Asked) -> Json:
    if asked.sender != asked.params["user"]:
        raise forbidden("Cannot add account data for other users.")
    asked.world.accounts.add(asked.sender).account_data[asked.params["type"]] = asked.body()
    return {}


def account_data(asked: Asked) -> Json:
    if asked.sender != asked.params["user"]:
        raise forbidden("Cannot get account data for other users.")
    kept = asked.world.accounts.add(asked.sender).account_data
    if asked.params["type"] not in kept:
        raise not_found("Account data not found")
    return kept[asked.params["type"]]


def joined_rooms(asked: Asked) -> Json:
    sender = asked.sender
    rooms = asked.world.rooms.items()
    return {"joined_rooms": [room_id for room_id, room in rooms if room.membership(sender) == "join"]}


# Memberships


def create_room(asked: Asked) -> Json:
    sender, wishes = asked.sender, asked.body()
    invitees = [valid_user_id(user_id) for user_id in wishes.get("invite", [])]
    room = Room(sender, version=str(wishes.get("room_version", DEFAULT_VERSION)))
    room.set_membership(sender, sender, "join", asked.world.shown_in_rooms(sender))
    if "power_level_content_override" in wishes:
        room.override_levels(wishes["power_level_content_override"])
    if wishes.get("preset") == "public_chat":
        room.write("m.room.join_rules", {"join_rule": "public"})
    for event in wishes.get("initial_state", []):
        room.write(event["type"], event["content"], event.get("state_key", ""))
    if "name" in wishes:
        room.write("m.room.name", {"name": wishes["name"]})
    for user_id in invitees:
        _invite(asked, room, user_id, {"is_direct": True} if wishes.get("is_direct") else {})
    if "room_alias_name" in wishes:
        asked.world.aliases[f"#{wishes['room_alias_name']}:{SERVER_NAME}"] = room.room_id
    return {"room_id": asked.world.keep(room).room_id}


def directory(asked: Asked) -> Json:
    alias = asked.params["alias"]
    if not alias.startswith("#") or ":" not in alias:
        raise invalid("Room alias invalid")
    room_id = asked.world.aliases.get(alias)
    if room_id is None:
        raise not_found(f"Room alias {alias} not found")
    return {"room_id": room_id, "servers": [SERVER_NAME]}


def invite(asked: Asked) -> Json:
    target, content = _target(asked)
    invitee = asked.world.accounts.find(target)
    if invitee and invitee.blocks_invites:
        raise MatrixError(403, "M_INVITE_BLOCKED", "You are not permitted to invite this user.")
    _invite(asked, asked.room(forbidden("Unknown room")), target, content)
    return {}


def kick(asked: Asked) -> Json:
    target, content = _target(asked)
    asked.room(_NOT_A_KNOWN_ROOM).kick(asked.sender, target, content)
    return {}


def ban(asked: Asked) -> Json:
    target, content = _target(asked)
    asked.room(forbidden("Unknown room")).ban(asked.sender, target, content)
    return {}


def unban(asked: Asked) -> Json:
    target, content = _target(asked)
    asked.room(_NOT_A_KNOWN_ROOM).unban(asked.sender, target, content)
    return {}


def join(asked: Asked) -> Json:
    sender, content = asked.sender, _reason(asked.body(may_be_empty=True))
    room = asked.room(MatrixError(404, "M_UNKNOWN", "Can't join remote room"))
    room.join(sender, {**asked.world.shown_in_rooms(sender), **content})
    return {"room_id": room.room_id}


def leave(asked: Asked) -> Json:
    sender, content = asked.sender, _reason(asked.body(may_be_empty=True))
    asked.room(_NOT_A_KNOWN_ROOM).leave(sender, content)
    return {}


def forget(asked: Asked) -> Json:
    if asked.room(_NOT_A_KNOWN_ROOM).membership(asked.sender) == "join":
        raise MatrixError(400, "M_UNKNOWN", "User is in the room")
    return {}


def _invite(asked: Asked, room: Room, target: str, content: Json) -> None:
    refusal = f"Can't connect to server {server_of(target)}"
    room.invite(
        asked.sender,
        target,
        {**asked.world.shown_in_rooms(target), **content},
        reach=lambda: asked.world.accounts.need_server(target, refusal),
    )


def _target(asked: Asked) -> tuple[str, Json]:
    """Return whom the call is about and the content that it adds to the member event."""
    _ = asked.session
    body = asked.body(may_be_empty=True)
    return valid_user_id(_needed(body, "user_id")), _reason(body)


def _reason(body: Json) -> Json:
    return {"reason": body["reason"]} if "reason" in body else {}


def _needed(body: Json, name: str) -> Any:
    if name not in body:
        raise MatrixError(400, "M_MISSING_PARAM", f"Missing params: ['{name}']")
    return body[name]


# Reading and writing a room


def state_event(asked: Asked) -> Json:
    shape = asked.request.query.get("format", "content")
    sender, room = asked.sender, _readable(asked)
    if shape not in ("content", "event"):
        raise invalid("Query parameter 'format' must be one of ['content', 'event']")
    event = room.state_event(sender, asked.params["type"], asked.params.get("key", ""))
    return event.content if shape == "content" else event.shown()


def state(asked: Asked) -> list[Json]:
    events = _readable(asked).state_seen_by(asked.sender).values()
    return [event.shown() for event in events]


def members(asked: Asked) -> Json:
    query = asked.request.query
    only, never = query.get("membership"), query.get("not_membership")
    events = _readable(asked).members(asked.sender)
    wanted = (event for event in events if event.content["membership"] != never)
    return {"chunk": [event.shown() for event in wanted if only in (None, event.content["membership"])]}


def joined_members(asked: Asked) -> Json:
    return {"joined": _readable(asked).joined_members(asked.sender)}


def send(asked: Asked) -> Json:
    session, content = asked.session, asked.body()
    event_type, transaction = asked.params["type"], asked.params["txn"]
    room = _readable(asked)
    return {"event_id": room.send(session.user_id, session.device_id, event_type, transaction, content)}


def put_state(asked: Asked) -> Json:
    sender, content = asked.sender, asked.body()
    event_type, key = asked.params["type"], asked.params.get("key", "")
    return {"event_id": _readable(asked).put_state(sender, event_type, key, content)}


def knock(asked: Asked) -> Json:
    sender, content = asked.sender, _reason(asked.body(may_be_empty=True))
    room = asked.room(MatrixError(404, "M_NOT_FOUND", "Can't knock on a remote room"))
    room.knock(sender, {**asked.world.shown_in_rooms(sender), **content})
    return {"room_id": room.room_id}


def keys_upload(asked: Asked) -> Json:
    """Publish a device's keys; those to be used once are not kept."""
    session, body = asked.session, asked.body()
    if "device_keys" in body:
        asked.world.publish(session.user_id, session.device_id, body["device_keys"])
    return {"one_time_key_counts": {"signed_curve25519": 0}}


def keys_query(asked: Asked) -> Json:
    _ = asked.session
    wanted = asked.body().get("device_keys", {})
    known = asked.world.device_keys
    found = {
        user: {
            device: keys for device, keys in known.get(user, {}).items() if not devices or device in devices
        }
        for user, devices in wanted.items()
    }
    return {"device_keys": found, "failures": {}}


def _readable(asked: Asked) -> Room:
    # An unknown room and a room one is not in are answered alike.
    return asked.room(forbidden(f"User {asked.sender} not in room {asked.params['room']}"))


_NOT_A_KNOWN_ROOM = MatrixError(404, "M_UNKNOWN", "Not a known room")
