"""Secrets and the room's address: nowhere, over every call and its failures (promises 5 and 10).

Every call of every test in this folder is looked at in this way, and so is
every line that was logged meanwhile; here are those that try hardest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.api.running import BEARER, FORM, FORM_TOKEN, ROOM_STATE, SIGNING_SECRET, Running, Starting

pytestmark = [pytest.mark.promise(5), pytest.mark.promise(10)]

PERSON = "@tara:knock.test"
SECRETS = {"form_token": FORM_TOKEN, "tally_signing_secret": SIGNING_SECRET}


BODIES: tuple[Any, ...] = ({"user_id": PERSON}, {"user_id": 7}, {"knock_id": "none"}, {}, [])
FORMS: tuple[dict[str, Any], ...] = (
    {"json": {"matrix_id": PERSON}},
    {"data": {"matrix_id": PERSON}},
    {"json": {"matrix_id": "nobody@mail.example"}},
)


def calls() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every endpoint, rightly and wrongly called."""
    for keys in (BEARER, {}, {"Authorization": f"Bearer {FORM_TOKEN}"}, {"X-Form-Token": FORM_TOKEN}):
        for path in ("/", "/healthz", "/readyz", "/docs", "/openapi.json", "/held", "/blocklist"):
            yield "GET", path, {"headers": keys}
        for path in ("/pending_invites", "/room_members", ROOM_STATE, FORM, f"{FORM}?token={FORM_TOKEN}"):
            yield "GET", path, {"headers": keys}
        for path in ("/block_user", "/unblock_user", "/rescind_invite", "/approve", "/refuse"):
            for body in BODIES:
                yield "POST", path, {"headers": keys, "json": body}
        for form in FORMS:
            yield "POST", FORM, {"headers": keys, **form}
            yield "POST", f"{FORM}?token={FORM_TOKEN}", {"headers": keys, **form}
        yield "POST", FORM, {"headers": keys, "content": b"x" * 300_000}
    yield "POST", FORM, {"headers": {**BEARER, "Prefer": "wait=1"}, **FORMS[0]}


async def every_call(knock: Running) -> None:
    for method, path, options in calls():
        await knock.call(method, path, **options)


async def test_nothing_is_told_when_all_is_well(starting: Starting) -> None:
    async with starting(**SECRETS) as knock:
        knock.fake.add_user(PERSON)
        await every_call(knock)


@pytest.mark.parametrize(
    "how",
    [
        {"down": True},
        {"status": 500},
        {"status": 502, "body": "<html>bad gateway</html>"},
        {"status": 429, "retry_after": 3},
        {"status": 401},
        {"status": 403},
        {"status": 404},
        {"status": 200, "body": {}},
    ],
    ids=lambda how: "-".join(map(str, how.values())),
)
async def test_nothing_is_told_when_the_homeserver_fails(starting: Starting, how: dict[str, Any]) -> None:
    async with starting(**SECRETS) as knock:
        knock.fake.fail(**how)
        await every_call(knock)


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500])
async def test_nothing_is_told_when_the_homeserver_says_too_much(starting: Starting, status: int) -> None:
    async with starting(**SECRETS) as knock:
        body = {"errcode": "M_FORBIDDEN", "error": f"{knock.bot.access_token} may not touch {knock.room}"}
        knock.fake.fail(status=status, body=body)
        await every_call(knock)


async def test_nothing_is_told_when_the_store_is_gone(starting: Starting) -> None:
    async with starting(**SECRETS) as knock:
        await knock.installation.parts.store.close()
        await every_call(knock)


async def test_nothing_is_told_when_knock_is_not_in_the_room(starting: Starting) -> None:
    async with starting(**SECRETS) as knock:
        knock.fake.rooms[knock.room].set_membership(knock.alice.user_id, knock.bot.user_id, "ban")
        await knock.installation.readiness.tick(0.0)
        await every_call(knock)


async def test_the_rooms_address_is_told_to_the_key_alone(knock: Running) -> None:
    assert knock.room in (await knock.call("GET", ROOM_STATE, headers=BEARER)).text


async def test_a_leak_would_be_noticed(knock: Running) -> None:
    response = await knock.call("GET", ROOM_STATE, headers=BEARER)
    with pytest.raises(AssertionError, match="a secret is told by /room_members"):
        knock.look("GET", "/room_members", response)
