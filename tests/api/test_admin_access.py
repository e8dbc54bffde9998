"""Who may use the admin endpoints: Alice owns the door and has the key; Mallory has none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from fastapi.routing import iter_route_contexts
from tests.api.running import API_KEY, BEARER, FORM_TOKEN, Running, Starting

from mknock.api.application import DOORS_FORM_ROUTE, FORM_ROUTE
from mknock.settings import Settings
from mknock.wiring.installation import Installation
from mknock.wiring.parts import parts_of

FOR_VISITORS = {
    "/d/{slug}",
    "/d/{slug}/",
    "/d/{slug}/check",
    "/d/{slug}/challenge",
    "/d/{slug}/logo/{digest}",
    "/d/{slug}/s/{receipt}",
    "/i/{token}",
    "/i/{token}/",
    "/i/{token}/check",
    "/i/{token}/challenge",
    "/i/{token}/logo/{digest}",
    "/i/{token}/s/{receipt}",
    "/static/colour/{digits}.css",
    "/static/{digest}/{name:path}",
}
FOR_EVERYBODY = {
    "/",
    "/healthz",
    "/readyz",
    "/docs",
    "/openapi.json",
    FORM_ROUTE,
    DOORS_FORM_ROUTE,
} | FOR_VISITORS
WRONG = {
    "no key": {},
    "an empty key": {"Authorization": "Bearer "},
    "another key": {"Authorization": "Bearer mallory-guesses-this"},
    "the beginning of the key": {"Authorization": f"Bearer {API_KEY[:-1]}"},
    "more than the key": {"Authorization": f"Bearer {API_KEY}x"},
    "a key that is not ASCII": {"Authorization": "Bearer schlüssel".encode()},
    "bytes that are no text": {"Authorization": b"Bearer \xff\xfe"},
    "the key under another scheme": {"Authorization": f"Basic {API_KEY}"},
    "the key without a scheme": {"Authorization": API_KEY},
    "the key in another header": {"X-Api-Key": API_KEY},
}


def guarded_endpoints() -> Iterator[tuple[str, str]]:
    """Every endpoint that there is, but for the ones that are meant for everybody."""
    settings = Settings.model_validate({"new_room_id": "!room:knock.test", "matrix_access_token": "token"})
    app = Installation(parts_of(settings)).api
    for route in iter_route_contexts(app.routes):  # as FastAPI itself lists them
        if route.path not in FOR_EVERYBODY:
            yield from ((method, str(route.path)) for method in sorted(route.methods or ()))


GUARDED = sorted(guarded_endpoints())
of_every_endpoint = pytest.mark.parametrize(("method", "path"), GUARDED)


def test_the_seeds_admin_endpoints_are_among_them() -> None:
    seed = {"/block_user", "/unblock_user", "/rescind_invite", "/blocklist", "/pending_invites"}
    assert seed | {"/room_members", "/room_state"} <= {path for _, path in GUARDED}


@of_every_endpoint
async def test_mallory_gets_401_from_every_endpoint(knock: Running, method: str, path: str) -> None:
    statuses = {
        name: (await knock.call(method, path, json={}, headers=headers)).status_code
        for name, headers in WRONG.items()
    }
    assert statuses == dict.fromkeys(WRONG, 401)


@of_every_endpoint
async def test_alice_is_let_in(knock: Running, method: str, path: str) -> None:
    answer = await knock.call(method, path, headers=BEARER)
    assert answer.status_code in (200, 404 if "{" in path else 422)  # there is nothing of that name


async def test_the_scheme_may_be_written_in_any_case(knock: Running) -> None:
    headers = {"Authorization": f"bearer {API_KEY}"}
    assert (await knock.call("GET", "/held", headers=headers)).status_code == 200


async def test_a_refused_caller_is_told_the_scheme(knock: Running) -> None:
    assert (await knock.call("GET", "/held")).headers["www-authenticate"] == "Bearer"


async def test_the_key_in_the_address_does_not_count(knock: Running) -> None:
    assert (await knock.call("GET", "/held", params={"api_key": API_KEY})).status_code == 401


async def test_the_forms_token_opens_no_admin_endpoint(starting: Starting) -> None:
    async with starting(form_token=FORM_TOKEN) as knock:
        headers = {"Authorization": f"Bearer {FORM_TOKEN}"}
        assert (await knock.call("GET", "/held", headers=headers)).status_code == 401


async def test_what_a_stranger_sends_is_not_even_read(knock: Running) -> None:
    read = []

    async def body() -> AsyncIterator[bytes]:
        read.append(1)
        yield b"{"

    response = await knock.call("POST", "/block_user", content=body())
    assert (response.status_code, read) == (401, [])


async def test_a_stranger_learns_nothing_about_the_body(knock: Running) -> None:
    assert (await knock.call("POST", "/block_user", content=b"{nonsense")).status_code == 401


async def test_without_a_setting_a_key_is_made_that_works(starting: Starting) -> None:
    async with starting(api_key=None) as knock:
        made = await knock.installation.parts.store.secret("api-key")
        headers = {"Authorization": f"Bearer {made}"}
        assert (await knock.call("GET", "/held", headers=headers)).status_code == 200


@pytest.mark.promise(10)
async def test_a_made_key_is_on_no_log_line(starting: Starting) -> None:
    async with starting(api_key=None) as knock:
        made = await knock.installation.parts.store.secret("api-key")
        assert made
        assert not [line for line in knock.lines.written if made in line]


async def test_the_made_key_stays_the_same(starting: Starting, tmp_path: Path) -> None:
    keys = set()
    for _ in range(2):
        async with starting(api_key=None) as knock:
            keys.add(await knock.installation.parts.store.secret("api-key"))
    assert len(keys) == 1


async def test_running_open_has_to_be_asked_for(starting: Starting) -> None:
    async with starting(api_key=None, allow_open_api=True) as knock:
        assert (await knock.call("GET", "/held")).status_code == 200


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/docs", "/openapi.json"])
async def test_what_is_for_everybody_needs_no_key(knock: Running, path: str) -> None:
    assert (await knock.call("GET", path)).status_code in (200, 503)


@pytest.mark.parametrize("path", ["/", "/healthz"])
async def test_the_probe_says_that_it_runs_and_nothing_else(knock: Running, path: str) -> None:
    assert (await knock.call("GET", path)).json() == {"status": "running"}


async def test_an_unknown_address_is_answered_like_any_problem(knock: Running) -> None:
    response = await knock.call("GET", "/nowhere")
    assert (response.status_code, list(response.json())) == (404, ["error"])


async def test_an_unknown_method_is_answered_like_any_problem(knock: Running) -> None:
    response = await knock.call("DELETE", "/held", headers=BEARER)
    assert (response.status_code, list(response.json())) == (405, ["error"])
