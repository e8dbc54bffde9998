"""Steering a fake homeserver that runs as another process: ``/_fake/…`` over HTTP.

=========  ============  ==========================================================
POST       ``fail``      the fields of ``Fault`` as JSON
POST       ``mend``      ``{"operation"?}``
POST       ``latency``   ``{"seconds"}``
POST       ``reset``     forgets calls, faults and latency
GET        ``calls``     ``?operation=&user=&about=``, all optional
POST       ``users``     ``{"names": […]}`` gives each a session; ``{"password"?}``
POST       ``rooms``     ``{"owner", "bot"?, …}`` with user IDs and ``RoomWishes``
POST       ``expire``    ``{"user"}``: the access tokens of that user ID are over
POST       ``revoke``    ``{"user"}``: all tokens of that user ID are void
GET        ``members``   ``?room=`` who is what, and how often each was invited
=========  ============  ==========================================================
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from tests.kit.asgi import Answer, Request

if TYPE_CHECKING:
    from tests.kit.fake_homeserver.app import FakeHomeserver

Json = dict[str, Any]


def answer(fake: FakeHomeserver, request: Request) -> Answer:
    """Do what the test asks for; a mistake in it is answered with 400 and the reason."""
    control = _CONTROLS.get((request.method, request.segments[-1]))
    if control is None:
        return Answer(404, {"error": "no such control"})
    try:
        return Answer(200, control(fake, _asked(request)))
    except (KeyError, TypeError, ValueError) as error:
        return Answer(400, {"error": repr(error)})


def _asked(request: Request) -> Json:
    return {**request.query, **(json.loads(request.body) if request.body else {})}


def _fail(fake: FakeHomeserver, asked: Json) -> Json:
    fake.fail(asked.pop("operation", "*"), **asked)
    return {}


def _mend(fake: FakeHomeserver, asked: Json) -> Json:
    fake.mend(asked.get("operation", "*"))
    return {}


def _latency(fake: FakeHomeserver, asked: Json) -> Json:
    fake.latency = float(asked["seconds"])
    return {}


def _reset(fake: FakeHomeserver, _: Json) -> Json:
    fake.reset()
    return {}


def _calls(fake: FakeHomeserver, asked: Json) -> Json:
    wanted = [
        {**dataclasses.asdict(call), "body": call.body.decode(errors="replace")}
        for call in fake.calls
        if all(getattr(call, name) == value for name, value in asked.items())
    ]
    return {"calls": wanted}


def _users(fake: FakeHomeserver, asked: Json) -> Json:
    sessions = {}
    for name in asked["names"]:
        user = fake.add_user(name, password=asked.get("password"))
        sessions[name] = fake.accounts.open_session(user.user_id, None)
    return {"users": sessions}


def _rooms(fake: FakeHomeserver, asked: Json) -> Json:
    room = fake.add_room(asked.pop("owner"), asked.pop("bot", None), **asked)
    return {"room_id": room.room_id}


def _expire(fake: FakeHomeserver, asked: Json) -> Json:
    fake.accounts.expire(asked["user"])
    return {}


def _revoke(fake: FakeHomeserver, asked: Json) -> Json:
    fake.accounts.revoke(asked["user"])
    return {}


def _members(fake: FakeHomeserver, asked: Json) -> Json:
    room = fake.rooms[asked["room"]]
    return {"members": room.memberships(), "invites": room.invite_counts()}


_CONTROLS = {
    ("POST", "fail"): _fail,
    ("POST", "mend"): _mend,
    ("POST", "latency"): _latency,
    ("POST", "reset"): _reset,
    ("GET", "calls"): _calls,
    ("POST", "users"): _users,
    ("POST", "rooms"): _rooms,
    ("POST", "expire"): _expire,
    ("POST", "revoke"): _revoke,
    ("GET", "members"): _members,
}
