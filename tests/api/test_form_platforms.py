"""Every platform's delivery through the real endpoint: once, again, signed, forged, as a test."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from tests.api.running import FORM, FORM_TOKEN, Running, Starting
from tests.samples.forms import SAMPLES, SIGNED_SAMPLES, TYPED, Sample, Signed

from mknock.domain.knocks import KnockState
from mknock.forms import FormPost

of_every_sample = pytest.mark.parametrize("sample", SAMPLES, ids=str)
of_every_signed = pytest.mark.parametrize("signed", SIGNED_SAMPLES, ids=str)


async def deliver(knock: Running, post: FormPost, **options: Any) -> httpx2.Response:
    headers = {name.encode(): value.encode("latin-1") for name, value in post.headers.items()}
    return await knock.call("POST", FORM, content=post.body, headers=headers, **options)


async def kept(knock: Running) -> int:
    return len(await knock.installation.parts.store.knocks_in(frozenset(KnockState)))


def settings_of(sample: Sample) -> dict[str, Any]:
    reading = sample.reading
    named = {"form_id_field": reading.id_field, "form_honeypot_field": reading.trap_field}
    return {"form_token": FORM_TOKEN} | {name: value for name, value in named.items() if value}


def secret_of(signed: Signed) -> dict[str, str]:
    return {f"{signed.signer}_signing_secret": signed.secret}


def set_clock(knock: Running, at: float) -> None:
    knock.clock.ahead = 0.0
    knock.clock.ahead = at - knock.clock()


# --- with the token ------------------------------------------------------------------------------


@of_every_sample
async def test_a_delivery_and_its_repeat_are_one_knock(starting: Starting, sample: Sample) -> None:
    async with starting(**settings_of(sample)) as knock:
        for _ in range(2):
            answer = await deliver(knock, sample.post(), params={"token": FORM_TOKEN})
            assert answer.status_code == 200
        knocks = await knock.knocks_of(TYPED)
        assert [(one.platform, len(one.answers) > 0) for one in knocks] == [(sample.platform, True)]


@of_every_sample
async def test_without_its_secret_nothing_is_kept(starting: Starting, sample: Sample) -> None:
    async with starting(**settings_of(sample)) as knock:
        assert ((await deliver(knock, sample.post())).status_code, await kept(knock)) == (401, 0)


@of_every_sample
async def test_a_delivery_of_a_megabyte_is_refused_as_such(starting: Starting, sample: Sample) -> None:
    async with starting(**settings_of(sample)) as knock:
        post = sample.post(why="x" * 1024 * 1024)
        assert (await deliver(knock, post, params={"token": FORM_TOKEN})).status_code == 413


async def test_a_platform_that_posts_like_a_browser_gets_no_page(knock: Running) -> None:
    sample = next(sample for sample in SAMPLES if sample.platform == "jotform")
    answer = await deliver(knock, sample.post())
    assert answer.json()["status"] == "received"


# --- tests and drafts ----------------------------------------------------------------------------


async def test_a_test_delivery_is_acknowledged_and_makes_no_knock(knock: Running) -> None:
    answer = await knock.call("POST", FORM, json={"event": "testEndpoint"})
    assert (answer.status_code, answer.json(), await kept(knock)) == (
        200,
        {
            "status": "nothing_to_do",
            "message": "This is the test of the endpoint by Formbricks: it has arrived, all is well.",
        },
        0,
    )


async def test_a_test_delivery_needs_the_secret_too(starting: Starting) -> None:
    async with starting(form_token=FORM_TOKEN) as knock:
        assert (await knock.call("POST", FORM, json={"event": "testEndpoint"})).status_code == 401


async def test_test_deliveries_of_a_stranger_count_against_them(starting: Starting) -> None:
    async with starting(max_requests_per_sender=3) as knock:
        tests = [await knock.call("POST", FORM, json={"event": "testEndpoint"}) for _ in range(5)]
        assert [answer.status_code for answer in tests][-1] == 429


# --- with a signature ----------------------------------------------------------------------------


@of_every_signed
async def test_what_is_signed_comes_in(starting: Starting, signed: Signed) -> None:
    async with starting(**secret_of(signed)) as knock:
        set_clock(knock, signed.clock)
        answer = await deliver(knock, signed.post)
        assert (answer.status_code, [one.platform for one in await knock.knocks_of(TYPED)]) == (
            200,
            [signed.platform],
        )


@of_every_signed
async def test_a_signed_delivery_played_again_is_one_knock(starting: Starting, signed: Signed) -> None:
    async with starting(**secret_of(signed)) as knock:
        set_clock(knock, signed.clock)
        for _ in range(3):
            await deliver(knock, signed.post)
        assert await kept(knock) == 1


@of_every_signed
async def test_a_forged_delivery_is_refused_with_the_reason_in_the_log(
    starting: Starting, signed: Signed
) -> None:
    async with starting(**secret_of(signed)) as knock:
        set_clock(knock, signed.clock)
        forged = replace(signed.post, body=signed.post.body.replace(b"alice", b"mallo"))
        answer = await deliver(knock, forged)
        assert (answer.status_code, await kept(knock)) == (401, 0)
        assert f"does not match {signed.signer.upper()}_SIGNING_SECRET" in "\n".join(knock.lines.written)


def mac(secret: str, data: bytes) -> bytes:
    return hmac.digest(secret.encode(), data, hashlib.sha256)


def as_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def as_jws(secret: str, body: bytes) -> str:
    claims = json.dumps({"sha256": hashlib.sha256(body).hexdigest()}).encode()
    parts = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (b'{"alg":"HS256"}', claims))
    return f"{parts.decode()}.{base64.urlsafe_b64encode(mac(secret, parts)).decode().rstrip('=')}"


SECRET = "the secret of one platform"
AT = "1700000000"
SIGNERS: dict[str, Callable[[bytes], dict[str, str]]] = {
    "tally": lambda body: {"tally-signature": as_base64(mac(SECRET, body))},
    "typeform": lambda body: {"typeform-signature": "sha256=" + as_base64(mac(SECRET, body))},
    "opnform": lambda body: {"x-webhook-signature": "sha256=" + mac(SECRET, body).hex()},
    "formspree": lambda body: {
        "formspree-signature": f"t={AT},v1={mac(SECRET, AT.encode() + b'.' + body).hex()}"
    },
    "webflow": lambda body: {
        "x-webflow-timestamp": f"{AT}000",
        "x-webflow-signature": mac(SECRET, AT.encode() + b"000:" + body).hex(),
    },
    "netlify": lambda body: {"x-webhook-signature": as_jws(SECRET, body)},
}
"""How each platform with a shape of its own would sign any body."""


@pytest.mark.parametrize("signer", SIGNERS)
async def test_a_platforms_signature_lets_no_other_shape_in(starting: Starting, signer: str) -> None:
    async with starting(**{f"{signer}_signing_secret": SECRET}) as knock:
        set_clock(knock, float(AT))
        for sample in SAMPLES:
            post = replace(
                sample.post(), headers={**sample.post().headers, **SIGNERS[signer](sample.post().body)}
            )
            assert (await deliver(knock, post)).status_code == 200
        assert {one.platform for one in await knock.knocks_of(TYPED)} == {signer}


async def test_a_secret_of_another_platform_does_not_do(starting: Starting) -> None:
    tally, typeform = SIGNED_SAMPLES[0], SIGNED_SAMPLES[1]
    async with starting(**secret_of(tally)) as knock:
        answer = await deliver(knock, typeform.post)
        said = "\n".join(knock.lines.written)
        assert (answer.status_code, "but TYPEFORM_SIGNING_SECRET is not set" in said) == (401, True)


async def test_every_secret_may_be_set_at_once(starting: Starting) -> None:
    secrets = {name: value for signed in SIGNED_SAMPLES for name, value in secret_of(signed).items()}
    async with starting(**secrets, form_token=FORM_TOKEN) as knock:
        set_clock(knock, SIGNED_SAMPLES[0].clock)
        statuses = {(await deliver(knock, signed.post)).status_code for signed in SIGNED_SAMPLES}
        unsigned = await deliver(knock, SAMPLES[0].post())
        assert (statuses, unsigned.status_code) == ({200}, 401)


@pytest.mark.parametrize(
    ("settings", "post", "why"),
    [
        ({"form_token": FORM_TOKEN}, {}, "it carries neither a token nor a signature"),
        ({"form_token": FORM_TOKEN}, {"x-form-token": "guess"}, "its token is not FORM_TOKEN"),
        (
            {"tally_signing_secret": "s"},
            {"x-form-token": "guess"},
            "its token is wrong; FORM_TOKEN is not set",
        ),
        (
            {"form_token": FORM_TOKEN},
            {"x-webhook-signature": "sha256=00"},
            "it is signed, but OPNFORM_SIGNING_SECRET or NETLIFY_SIGNING_SECRET is not set",
        ),
    ],
)
async def test_a_refusal_says_in_the_log_what_was_missing(
    starting: Starting, settings: dict[str, str], post: dict[str, str], why: str
) -> None:
    async with starting(**settings) as knock:
        await deliver(knock, FormPost(b"{}", {"content-type": "application/json", **post}))
        assert why in "\n".join(knock.lines.written)


async def test_a_form_that_a_trusted_sender_cannot_make_readable_is_in_the_log(starting: Starting) -> None:
    async with starting(form_token=FORM_TOKEN) as knock:
        ping = {"base": {"id": "app0"}, "webhook": {"id": "ach0"}}
        answer = await knock.call("POST", FORM, json=ping, params={"token": FORM_TOKEN})
        assert answer.json()["status"] == "not_understood"
        assert "Airtable's API webhooks do not send the answers" in "\n".join(knock.lines.written)


async def test_a_signature_too_old_is_refused(starting: Starting) -> None:
    signed = next(one for one in SIGNED_SAMPLES if one.signer == "webhook")
    async with starting(**secret_of(signed)) as knock:
        set_clock(knock, signed.clock + 600)
        answer = await deliver(knock, signed.post)
        said = "\n".join(knock.lines.written)
        assert (answer.status_code, "or its time is too far from ours" in said) == (401, True)


async def test_a_secret_of_standard_webhooks_vouches_for_any_shape(starting: Starting) -> None:
    signed = next(one for one in SIGNED_SAMPLES if one.signer == "formbricks")
    async with starting(webhook_signing_secret=signed.secret) as knock:
        set_clock(knock, signed.clock)
        await deliver(knock, signed.post)
        assert [one.platform for one in await knock.knocks_of(TYPED)] == ["formbricks"]


def test_the_secrets_of_the_samples_are_as_settings_want_them() -> None:
    keys = [base64.b64decode(one.secret[6:]) for one in SIGNED_SAMPLES if one.secret.startswith("whsec_")]
    assert all(len(key) >= 24 for key in keys)
