"""Canaries: the room's address and every secret go through a whole run, and come out nowhere (promises 5, 10)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from tests.chaos.knockers import environment
from tests.kit.account import Account
from tests.kit.fake_homeserver import FakeProcess
from tests.kit.processes import Server, wait_until
from tests.samples.forms import SAMPLES

pytestmark = [pytest.mark.xdist_group("processes"), pytest.mark.promise(10)]

FORM_TOKEN = "canary-form-token-0f9a"
API_KEY = "canary-api-key-5d1c"
SIGNING_SECRET = "canary-signing-secret-77b2"
SECRET_KEY = "canary-secret-key-that-is-long-enough-3e"
OUR_OWN = (FORM_TOKEN, API_KEY, SIGNING_SECRET, SECRET_KEY)
LOUD = ("--log-level", "trace")
RUNS: Mapping[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "as it comes": ({}, ()),
    "debug, for a terminal": ({"LOG_LEVEL": "DEBUG", "LOG_FORMAT": "console"}, LOUD),
}


@dataclass
class Visit:
    """A run's traffic: what was answered, by request, and in the end what was written."""

    server: Server
    fake: FakeProcess
    bot: Account
    room: str
    people: list[str]
    answers: dict[str, str] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)
    """Of the private pages that visitors were led to."""

    @property
    def canaries(self) -> list[str]:
        room = self.room
        return [*OUR_OWN, str(self.bot.access_token), room, room.removeprefix("!"), quote(room, safe="")]

    async def ask(
        self, client: httpx2.AsyncClient, method: str, path: str, **options: Any
    ) -> httpx2.Response:
        answer = await client.request(method, path, **options)
        name = f"{len(self.answers)} {method} {path} {answer.status_code}"
        self.answers[name] = f"{answer.headers} {answer.text}"
        return answer

    def traitors(self) -> list[str]:
        """The answers that hold a canary."""
        return [name for name, text in self.answers.items() if any(each in text for each in self.canaries)]


async def _visited(directory: Path, more: dict[str, str], arguments: tuple[str, ...]) -> Visit:
    """A whole run of ``uvicorn mknock:app`` with its access log on, in which everything goes wrong as well."""
    with FakeProcess.start() as fake:
        bot, owner = await fake.user("knock"), await fake.user("alice")
        room = await fake.new_room(owner, bot=bot)
        people = [account.user_id for account in await fake.users(30)]
        secrets = {"FORM_TOKEN": FORM_TOKEN, "API_KEY": API_KEY, "SECRET_KEY": SECRET_KEY}
        secrets["TALLY_SIGNING_SECRET"] = SIGNING_SECRET
        env = environment(
            fake.url, bot, room, **secrets, PAGE_TITLE="Garden", BASE_BACKOFF_DELAY="0.1", **more
        )
        with Server.uvicorn(directory, env, *arguments) as server:
            await server.wait_ready("/readyz")
            visit = Visit(server, fake, bot, room, people)
            async with server.client() as client:
                await _knock_well(visit, client)
                await _knock_badly(visit, client)
                await _visit_the_page(visit, client)
                await _come_by_a_link(visit, client)
                await _moderate(visit, client)
                await _hear_the_homeserver_talk(visit, client)
                await _break_the_store(visit, client, directory / "data" / "knock.db")
            server.terminate()
            return visit


async def _knock_well(visit: Visit, client: httpx2.AsyncClient) -> None:
    first, second, third, fourth = visit.people[:4]
    form = {"Matrix ID": first}
    await visit.ask(client, "POST", f"/invite_from_form?token={FORM_TOKEN}", json=form)
    await visit.ask(
        client, "POST", "/invite_from_form", json={"Matrix ID": second}, headers=_bearer(FORM_TOKEN)
    )
    await visit.ask(client, "POST", f"/invite_from_form?a=b&token={FORM_TOKEN}", data={"Matrix ID": third})
    waiting = {**_bearer(API_KEY), "Prefer": "wait=5"}
    await visit.ask(client, "POST", "/invite_from_form", json={"Matrix ID": fourth}, headers=waiting)
    post = next(sample for sample in SAMPLES if sample.platform == "tally").post(typed=visit.people[4])
    signed = hmac.new(SIGNING_SECRET.encode(), post.body, hashlib.sha256).digest()
    headers = {"tally-signature": base64.b64encode(signed).decode(), "content-type": "application/json"}
    answer = await visit.ask(client, "POST", "/invite_from_form", content=post.body, headers=headers)
    assert answer.status_code == 200


async def _knock_badly(visit: Visit, client: httpx2.AsyncClient) -> None:
    form = {"Matrix ID": visit.people[5]}
    for path in (
        f"/invite_from_form?token={FORM_TOKEN}x",
        "/invite_from_form?token=wrong",
        "/invite_from_form",
    ):
        assert (await visit.ask(client, "POST", path, json=form)).status_code == 401
    good = f"/invite_from_form?token={FORM_TOKEN}"
    await visit.ask(client, "POST", good, json={"Matrix ID": "not an ID"})
    await visit.ask(client, "POST", good, content=b"{broken", headers={"content-type": "application/json"})
    await visit.ask(client, "POST", good, content=b"x" * 300_000)
    await visit.ask(client, "GET", good)
    await visit.ask(
        client, "POST", good, json={"Matrix ID": "@nobody:knock.test"}, headers={"Prefer": "wait=5"}
    )
    for path in ("", "nowhere", "docs", "openapi.json", f"nowhere/{FORM_TOKEN}", f"{quote(visit.room)}"):
        await client.get(f"/{path}?token={FORM_TOKEN}&key={API_KEY}")  # these say back what they are asked
    for path in ("/", "/healthz", "/readyz", "/docs", "/openapi.json", "/nowhere"):
        await visit.ask(client, "GET", path)


async def _visit_the_page(visit: Visit, client: httpx2.AsyncClient) -> None:
    for path in ("/d/main", "/d/main/challenge", f"/d/none?token={FORM_TOKEN}"):
        await visit.ask(client, "GET", path)
    for typed in (visit.people[20], "not an ID"):
        await visit.ask(client, "POST", "/d/main/check", data={"matrix_id": typed})
    answer = await visit.ask(client, "POST", "/d/main", data={"matrix_id": visit.people[20]})
    place = answer.headers["location"]
    visit.tokens.append(place.rpartition("/")[2])
    assert (await visit.ask(client, "GET", f"/d/{place}")).status_code == 200


async def _come_by_a_link(visit: Visit, client: httpx2.AsyncClient) -> None:
    made = await client.post("/links", headers=_bearer(API_KEY), json={"label": "one"})
    path = made.json()["path"]
    visit.tokens.append(path.rpartition("/")[2])
    for below in ("", "/challenge", "/s/receipt", "/nowhere", "/"):
        await visit.ask(client, "GET", path + below)
    answer = await visit.ask(client, "POST", path, data={"matrix_id": visit.people[21]})
    assert answer.status_code == 303
    assert (await visit.ask(client, "GET", path)).status_code == 404  # it is used up
    assert (await visit.ask(client, "GET", "/links", headers=_bearer(API_KEY))).status_code == 200


async def _moderate(visit: Visit, client: httpx2.AsyncClient) -> None:
    headers = _bearer(API_KEY)
    for path in ("/blocklist", "/pending_invites", "/room_members", "/held"):
        assert (await visit.ask(client, "GET", path, headers=headers)).status_code == 200
        assert (await visit.ask(client, "GET", path, headers=_bearer("wrong"))).status_code == 401
        await visit.ask(client, "GET", f"{path}?api_key={API_KEY}")
    for path in ("/block_user", "/rescind_invite", "/unblock_user", "/rescind_invite"):
        person = {"user_id": visit.people[0], "reason": "a reason"}
        await visit.ask(client, "POST", path, headers=headers, json=person)
    await visit.ask(client, "POST", "/block_user", headers=headers, json={"user_id": visit.bot.user_id})
    await visit.ask(client, "POST", "/block_user", headers=headers, json={"user_id": None})
    await visit.ask(client, "POST", "/approve", headers=headers, json={"knock_id": "nothing"})
    assert visit.room in (await client.get("/room_state", headers=headers)).text


async def _hear_the_homeserver_talk(visit: Visit, client: httpx2.AsyncClient) -> None:
    """Every call fails in every way, with a text that names the room and the token."""
    told = f"{visit.room} {quote(visit.room, safe='')} {visit.bot.access_token}"
    error = {"errcode": "M_FORBIDDEN", "error": told}
    answers: list[dict[str, Any]] = [
        {"status": 403, "body": error},
        {"status": 500, "body": error},
        {"status": 404, "body": error},
        {"status": 502, "body": f"<html>{told}</html>"},
        {"status": 302, "headers": {"location": f"http://127.0.0.1:1/{quote(visit.room)}"}},
        {"status": 200, "body": f"[{told}"},
        {"status": 401, "body": {**error, "errcode": "M_UNKNOWN_TOKEN"}},
        {"down": True},
    ]
    for number, answer in enumerate(answers, 6):
        await visit.fake.fail(**answer)
        await _look_around(visit, client, visit.people[number])
        await visit.fake.mend()


async def _look_around(visit: Visit, client: httpx2.AsyncClient, person: str) -> None:
    headers = _bearer(API_KEY)
    await visit.ask(client, "POST", f"/invite_from_form?token={FORM_TOKEN}", json={"Matrix ID": person})
    await asyncio.sleep(0.1)  # so that it is delivered, as far as that is possible
    await visit.ask(client, "GET", "/readyz")
    for path in ("/room_members", "/room_state", "/pending_invites"):
        await visit.ask(client, "GET", path, headers=headers)
    for path in ("/block_user", "/rescind_invite"):
        await visit.ask(client, "POST", path, headers=headers, json={"user_id": person})


async def _break_the_store(visit: Visit, client: httpx2.AsyncClient, store: Path) -> None:
    """Put the room's address where a word is expected, so that errors nobody foresaw name it."""
    with closing(sqlite3.connect(store, timeout=10)) as connection, connection:
        connection.execute(
            "UPDATE knocks SET state = room_id WHERE state IN ('invited', 'rescinded', 'refused')"
        )
        connection.execute("UPDATE knocks SET reason = room_id, due_at = 0 WHERE state = 'admitted'")
    hasty = {**_bearer(API_KEY), "Connection": "close"}  # after a 500 uvicorn closes the connection itself
    for path in ("/block_user", "/rescind_invite"):
        await visit.ask(client, "POST", path, headers=hasty, json={"user_id": visit.people[1]})
    for person in visit.people[1:12]:
        await visit.ask(client, "POST", "/invite_from_form", json={"Matrix ID": person}, headers=hasty)
    await visit.ask(client, "GET", "/pending_invites", headers=hasty)
    await wait_until(lambda: "Traceback" in visit.server.output)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.promise(5)
@pytest.mark.parametrize("run", RUNS)
async def test_no_canary_comes_out_of_a_run_full_of_trouble(tmp_path: Path, run: str) -> None:
    visit = await _visited(tmp_path, *RUNS[run])
    written, statuses = visit.server.output, {name[-3:] for name in visit.answers}

    assert visit.traitors() == []
    assert [each for each in visit.canaries + visit.tokens if each in written] == []
    # The run was as it should be: requests in the access log, their secrets not, and real trouble.
    assert "POST /invite_from_form" in written
    assert "GET /d/main/s/" in written
    assert "GET /i/" in written
    assert "token=" not in written
    assert "Traceback" in written
    assert statuses >= {"200", "401", "404", "405", "413", "422", "500", "502", "503"}
