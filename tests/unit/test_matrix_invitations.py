"""Invitations and messages of any shape, as /sync and /messages tell them: written by strangers, read without harm."""

from __future__ import annotations

from typing import Any

import pytest

from mknock.matrix.events import message_in
from mknock.matrix.sync import invitations_in, news_in
from mknock.ports import Invitation

ME = "@bot:knock.test"
CAROL = "@carol:knock.test"
Json = dict[str, Any]


def invite(**changes: Any) -> Json:
    event = {
        "type": "m.room.member",
        "state_key": ME,
        "sender": CAROL,
        "content": {"membership": "invite", "is_direct": True},
    }
    return event | changes


def told(kind: str, **content: Any) -> Json:
    return {"type": kind, "state_key": "", "sender": CAROL, "content": content}


def read(*events: Any) -> Invitation:
    (invitation,) = invitations_in(answer(list(events)), ME)
    return invitation


def answer(events: Any) -> Json:
    return {"next_batch": "s1", "rooms": {"invite": {"!room": {"invite_state": {"events": events}}}}}


def test_an_invitation_says_by_whom_and_that_it_is_direct() -> None:
    assert read(invite()) == Invitation("!room", CAROL, direct=True)


@pytest.mark.parametrize(
    "events",
    [
        [],
        [invite(state_key="@other:knock.test")],
        [invite(content={"membership": "join", "is_direct": True})],
        [invite(content=7)],
        [invite(type="m.room.message")],
        ["text", None, 7, [[]]],
    ],
)
def test_without_our_own_invite_nobody_has_invited_us(events: list[Any]) -> None:
    assert read(*events) == Invitation("!room", "", direct=False)


@pytest.mark.parametrize("is_direct", [None, "true", 1, [], {}])
def test_only_a_true_is_a_direct_invitation(is_direct: Any) -> None:
    event = invite(content={"membership": "invite", "is_direct": is_direct})
    assert not read(event, told("m.room.name", name="A room")).direct


@pytest.mark.parametrize(
    "state",
    [
        told("m.room.name", name="A room"),
        told("m.room.canonical_alias", alias="#room:knock.test"),
        told("m.room.create", type="m.space"),
    ],
)
def test_a_room_with_a_name_an_address_or_rooms_of_its_own_is_not_meant_for_two(state: Json) -> None:
    assert not read(invite(content={"membership": "invite"}), state).direct
    assert read(invite(content={"membership": "invite"})).direct


@pytest.mark.parametrize("name", [7, None, [], {"name": "x"}])
def test_an_odd_name_is_none(name: Any) -> None:
    assert read(invite(), told("m.room.name", name=name)).name == ""


@pytest.mark.parametrize(
    "rooms", [None, [], {"invite": []}, {"invite": {"!room": 7}}, {"invite": {"!room": {}}}]
)
def test_an_odd_answer_holds_nobodys_invitation(rooms: Any) -> None:
    found = news_in({"next_batch": "s1", "rooms": rooms}, (), ME).invitations
    assert all(not invitation.sender and not invitation.direct for invitation in found)


@pytest.mark.parametrize("sent", [None, 7, [], {"events": 7}, {"events": ["x", 7]}])
def test_odd_messages_to_our_device_are_none(sent: Any) -> None:
    assert news_in({"next_batch": "s1", "to_device": sent}, (), ME).to_device == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"event_id": 7},
        {"event_id": None},
        {"type": []},
        {"content": "text"},
        {"content": None},
        {"state_key": ""},
    ],
)
def test_an_odd_message_is_none(changes: Json) -> None:
    event = {"event_id": "$1", "type": "m.room.message", "content": {"body": "x"}, "origin_server_ts": "soon"}
    assert message_in(event) is not None
    assert message_in(event | changes) is None
