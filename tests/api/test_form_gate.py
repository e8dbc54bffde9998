"""Who may post: anybody while no secret is set, and then only who satisfies one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import httpx2
import pytest
from tests.api.running import API_KEY, FORM, FORM_TOKEN, SIGNING_SECRET, Running, Starting

from mknock.domain.knocks import KnockState

TALLY = {
    "eventId": "event-1",
    "eventType": "FORM_RESPONSE",
    "data": {
        "fields": [
            {"key": "question_1", "label": "Matrix ID", "type": "INPUT_TEXT", "value": "@tara:knock.test"},
            {"key": "question_2", "label": None, "type": "INPUT_NUMBER", "value": None},
        ]
    },
}
BODY = json.dumps(TALLY).encode()


def signature(body: bytes = BODY, secret: str = SIGNING_SECRET) -> str:
    return base64.b64encode(hmac.digest(secret.encode(), body, hashlib.sha256)).decode()


async def deliver(knock: Running, body: bytes = BODY, **options: Any) -> httpx2.Response:
    headers = {"Content-Type": "application/json", **options.pop("headers", {})}
    return await knock.call("POST", FORM, content=body, headers=headers, **options)


BEARERS: dict[str, dict[str, Any]] = {
    "as a bearer token": {"headers": {"Authorization": f"Bearer {FORM_TOKEN}"}},
    "in its own header": {"headers": {"X-Form-Token": FORM_TOKEN}},
    "in the address": {"params": {"token": FORM_TOKEN}},
}
WRONG: dict[str, dict[str, Any]] = {
    "nothing": {},
    "an empty token": {"params": {"token": ""}},
    "another token": {"params": {"token": "guess"}},
    "part of the token": {"params": {"token": FORM_TOKEN[:-1]}},
    "a token that is not ASCII": {"params": {"token": "schlüssel"}},
    "bytes that are no text": {"headers": {b"X-Form-Token": b"\xff\xfe"}},
    "the token as basic": {"headers": {"Authorization": f"Basic {FORM_TOKEN}"}},
    "the token in the body": {"body": json.dumps({**TALLY, "token": FORM_TOKEN}).encode()},
}


# --- the form's token ----------------------------------------------------------------------------


@pytest.mark.parametrize("how", BEARERS)
async def test_the_token_lets_a_form_in(starting: Starting, how: str) -> None:
    async with starting(form_token=FORM_TOKEN) as knock:
        assert (await deliver(knock, **BEARERS[how])).status_code == 200


@pytest.mark.parametrize("how", WRONG)
async def test_without_the_token_nothing_comes_in(starting: Starting, how: str) -> None:
    async with starting(form_token=FORM_TOKEN) as knock:
        answer = await deliver(knock, **WRONG[how])
        assert (answer.status_code, answer.headers["www-authenticate"], await kept(knock)) == (
            401,
            "Bearer",
            0,
        )


async def kept(knock: Running) -> int:
    return len(await knock.installation.parts.store.knocks_in(frozenset(KnockState)))


async def test_a_plain_form_without_the_token_gets_a_page(starting: Starting) -> None:
    async with starting(form_token=FORM_TOKEN) as knock:
        answer = await knock.call("POST", FORM, data={"matrix_id": "@tara:knock.test"})
        assert (answer.status_code, answer.headers["content-type"]) == (401, "text/html; charset=utf-8")


@pytest.mark.parametrize("shape", ["json", "data"])
async def test_the_token_is_needed_whatever_the_shape(starting: Starting, shape: str) -> None:
    async with starting(form_token=FORM_TOKEN) as knock:
        fields: Any = {"matrix_id": "@tara:knock.test"}
        assert (await knock.call("POST", FORM, **{shape: fields})).status_code == 401


async def test_the_api_key_is_accepted_as_it_was(starting: Starting) -> None:
    async with starting(form_token=FORM_TOKEN) as knock:
        headers = {"Authorization": f"Bearer {API_KEY}"}
        assert (await deliver(knock, headers=headers)).status_code == 200


async def test_an_unauthenticated_delivery_is_refused_before_it_is_read(starting: Starting) -> None:
    async with starting(form_token=FORM_TOKEN) as knock:
        assert (await deliver(knock, b"{nonsense")).status_code == 401


# --- Tally's signature ---------------------------------------------------------------------------


async def test_a_signed_delivery_comes_in(starting: Starting) -> None:
    async with starting(tally_signing_secret=SIGNING_SECRET) as knock:
        assert (await deliver(knock, headers={"Tally-Signature": signature()})).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Tally-Signature": ""},
        {"Tally-Signature": signature(secret="another")},
        {"Tally-Signature": signature(b"another body")},
        {"Tally-Signature": signature().lower()},
        {"Tally-Signature": b"\xff\xff"},
        {"Tally-Signature": SIGNING_SECRET},
        {"X-Form-Token": SIGNING_SECRET},
    ],
)
async def test_without_its_signature_nothing_comes_in(starting: Starting, headers: dict[str, Any]) -> None:
    async with starting(tally_signing_secret=SIGNING_SECRET) as knock:
        assert (await deliver(knock, headers=headers)).status_code == 401


@pytest.mark.parametrize("form", [{"data": {"matrix_id": "@tara:knock.test"}}, {"json": {"matrix_id": "x"}}])
async def test_another_shape_is_no_way_around_the_signature(starting: Starting, form: Any) -> None:
    async with starting(tally_signing_secret=SIGNING_SECRET) as knock:
        assert (await knock.call("POST", FORM, **form)).status_code == 401


async def test_one_of_two_secrets_is_enough(starting: Starting) -> None:
    async with starting(tally_signing_secret=SIGNING_SECRET, form_token=FORM_TOKEN) as knock:
        signed = await deliver(knock, headers={"Tally-Signature": signature()})
        with_token = await deliver(knock, params={"token": FORM_TOKEN})
        assert (signed.status_code, with_token.status_code) == (200, 200)


async def test_a_delivery_repeated_by_the_platform_is_one_knock(starting: Starting) -> None:
    async with starting(tally_signing_secret=SIGNING_SECRET) as knock:
        for _ in range(3):
            await deliver(knock, headers={"Tally-Signature": signature()})
        assert await kept(knock) == 1


# --- without a secret ----------------------------------------------------------------------------


async def test_without_a_secret_anybody_may_post(knock: Running) -> None:
    assert (await deliver(knock)).status_code == 200


async def test_a_wrong_token_is_told_even_where_none_is_needed(knock: Running) -> None:
    answer = await deliver(knock, params={"token": "an old one"})
    assert (answer.status_code, "send none" in answer.json()["error"]) == (401, True)


async def test_the_api_key_makes_a_delivery_trusted(knock: Running) -> None:
    answer = await deliver(knock, headers={"Authorization": f"Bearer {API_KEY}", "Prefer": "wait=5"})
    assert answer.json()["outcome"] in ("invited", "failed")


# --- waiting for the outcome ---------------------------------------------------------------------

TRUSTED = {"Authorization": f"Bearer {API_KEY}"}


async def test_a_trusted_sender_may_wait_for_the_outcome(knock: Running) -> None:
    knock.fake.add_user("@tara:knock.test")
    answer = await deliver(knock, headers={**TRUSTED, "Prefer": "wait=5"})
    known = (await knock.knocks_of("@tara:knock.test"))[0]
    assert (answer.json()["outcome"], answer.json()["knock_id"]) == ("invited", known.id)


@pytest.mark.parametrize(
    "value", ["wait=5", "WAIT=5", 'wait="5"', "respond-async, wait=5", "wait=5;foo=1", "wait = 5"]
)
async def test_a_preference_that_was_granted_is_named(knock: Running, value: str) -> None:
    answer = await deliver(knock, headers={**TRUSTED, "Prefer": value})
    assert answer.headers["preference-applied"] == "wait"


@pytest.mark.parametrize(
    "value",
    ["", "wait", "wait=", "wait=-1", "wait=abc", "wait=0", "wait=1e3", "wait=0x5", "wait=5s", "await=5", "5"],
)
async def test_nonsense_is_no_preference(knock: Running, value: str) -> None:
    answer = await deliver(knock, headers={**TRUSTED, "Prefer": value})
    assert (set(answer.json()), "preference-applied" in answer.headers) == ({"status", "message"}, False)


async def test_the_outcome_may_be_that_a_moderator_decides(starting: Starting) -> None:
    async with starting(door_policy="review") as knock:
        answer = await deliver(knock, headers={**TRUSTED, "Prefer": "wait=5"})
        assert (answer.json()["outcome"], answer.json()["reason"]) == ("held", "review")


async def test_who_waits_in_vain_is_told_what_is_known(knock: Running) -> None:
    knock.fake.fail(down=True)
    answer = await deliver(knock, headers={**TRUSTED, "Prefer": "wait=1"})
    assert answer.json()["outcome"] == "admitted"


async def test_a_plain_form_gets_its_page_all_the_same(knock: Running) -> None:
    answer = await knock.call(
        "POST", FORM, data={"matrix_id": "@tara:knock.test"}, headers={**TRUSTED, "Prefer": "wait=5"}
    )
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
