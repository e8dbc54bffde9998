"""Invite links: made, listed and revoked by moderators, and opened by whoever has one."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from tests.api.running import BEARER, Running, Starting
from tests.api.visiting import DOORS, FILLED, TARA, light_proof, opened, proof, sent, stamp_on

from mknock.domain.knocks import KnockState, Reason
from mknock.domain.rules import Rule, RuleKind
from mknock.ports import Entry

S = KnockState
WELL_FORMED = "A" * 24


async def made(knock: Running, **wish: Any) -> tuple[str, dict[str, Any]]:
    """Make a link as a moderator; return the path of its page, and what was answered."""
    answer = await knock.admin("POST", "/links", wish)
    assert answer.status_code == 200, answer.text
    return answer.json()["path"], answer.json()["link"]


async def listed(knock: Running) -> list[dict[str, Any]]:
    links: list[dict[str, Any]] = (await knock.admin("GET", "/links")).json()["links"]
    return links


async def by_link(knock: Running, path: str, user: str = TARA, **more: Any) -> httpx2.Response:
    """Come by a link as a person would, with the work done."""
    fields = {**more.pop("fields", {})}
    if "proof" not in fields:
        fields["proof"] = await light_proof(knock, path)
    return await sent(knock, user, path=path, fields=fields, **more)


def seen(answer: httpx2.Response) -> tuple[int, str, str]:
    """An answer without the token of the status page, which is everybody's own."""
    headers = re.sub(r"/s/[\w-]+", "/s/…", str(dict(answer.headers)))
    return answer.status_code, headers, answer.text


# --- moderators


async def test_a_link_is_made_listed_and_revoked(garden: Running) -> None:
    path, link = await made(garden, door="garden", label="for Tara", uses=3, expires_in=600)
    assert re.fullmatch(r"/i/[\w-]{24}", path)
    assert (link["door"], link["label"], link["uses"], link["used"], link["status"]) == (
        "garden",
        "for Tara",
        3,
        0,
        "open",
    )
    assert link["expires_at"] - link["created_at"] == pytest.approx(600)
    assert await listed(garden) == [link]
    revoked = await garden.admin("DELETE", "/links", {"link": link["id"]})
    assert (revoked.status_code, revoked.json()["status"]) == (200, "revoked")
    assert [each["status"] for each in await listed(garden)] == ["revoked"]


async def test_a_link_is_good_for_one_knock_and_a_week_unless_it_says_otherwise(knock: Running) -> None:
    _, link = await made(knock)
    assert (link["uses"], link["door"], link["skip_review"]) == (1, "main", False)
    assert link["expires_at"] - link["created_at"] == pytest.approx(7 * 86400)
    _, endless = await made(knock, uses=None, expires_in=None)
    assert (endless["uses"], endless["expires_at"]) == (None, None)


async def test_the_address_is_whole_if_knock_knows_its_own(starting: Starting) -> None:
    async with starting(public_url="https://knock.example") as running:
        answer = (await running.admin("POST", "/links", {})).json()
        assert answer["url"] == f"https://knock.example{answer['path']}"


async def test_a_link_is_revoked_by_its_address_as_well(knock: Running) -> None:
    path, link = await made(knock)
    answer = await knock.admin("DELETE", "/links", {"link": f"https://knock.example{path}?lang=de"})
    assert answer.json()["id"] == link["id"]


@pytest.mark.promise(10)
async def test_its_token_is_shown_once(knock: Running) -> None:
    path, _ = await made(knock, label="secret")
    token = path.rpartition("/")[2]
    assert token not in (await knock.admin("GET", "/links")).text
    assert not [line for line in knock.lines.written if token in line]
    ledger = await knock.installation.parts.store.ledger()
    assert token not in repr(ledger)


@pytest.mark.parametrize(
    ("wish", "status", "says"),
    [
        ({"door": "nowhere"}, 404, "There is no door 'nowhere'"),
        ({"uses": 0}, 422, "uses"),
        ({"uses": -1}, 422, "uses"),
        ({"uses": "2"}, 422, "uses"),
        ({"expires_in": 1}, 422, "expires_in"),
        ({"expires_in": -600}, 422, "expires_in"),
        ({"label": "x" * 101}, 422, "label"),
        ({"greeting": "x" * 4001}, 422, "greeting"),
        ({"skip_review": "yes"}, 422, "skip_review"),
        ({"token": WELL_FORMED}, 422, "token"),
    ],
)
async def test_a_wish_that_cannot_be_is_answered(
    knock: Running, wish: dict[str, Any], status: int, says: str
) -> None:
    answer = await knock.admin("POST", "/links", wish)
    assert (answer.status_code, says in answer.json()["error"]) == (status, True)
    assert await listed(knock) == []


@pytest.mark.parametrize("which", ["", "nothing", "/i/" + WELL_FORMED, "\0", "é" * 100])
async def test_a_link_that_is_not_there_cannot_be_revoked(knock: Running, which: str) -> None:
    answer = await knock.admin("DELETE", "/links", {"link": which})
    assert answer.status_code == 404


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("POST", {}), ("DELETE", {"link": "x"})])
async def test_links_are_for_whoever_has_the_key(knock: Running, method: str, body: object) -> None:
    answer = await knock.call(method, "/links", json=body)
    assert answer.status_code == 401


# --- the page


async def test_the_page_is_that_of_the_door_with_the_greeting_above(garden: Running) -> None:
    path, _ = await made(garden, door="garden", greeting="Hello **Tara** <script>x</script>")
    page = (await garden.call("GET", path)).text
    assert "<h1>Garden &lt;group&gt;</h1>" in page
    assert "Hello <strong>Tara</strong>" in page
    assert "<script>x" not in page
    assert page.index("Tara</strong>") < page.index("Hello <strong>you</strong>")


@pytest.mark.parametrize(("language", "title"), [("en", "Ask to join"), ("de", "Um Einlass bitten")])
async def test_a_door_without_a_page_has_a_plain_one_for_its_links(
    garden: Running, language: str, title: str
) -> None:
    path, _ = await made(garden, door="cellar")
    assert f"<h1>{title}</h1>" in (await garden.call("GET", f"{path}?lang={language}")).text
    assert (await garden.call("GET", "/d/cellar")).status_code == 404


async def test_opening_the_page_spends_nothing(garden: Running) -> None:
    path, _ = await made(garden, door="garden")
    for _ in range(3):
        assert (await garden.call("GET", path)).status_code == 200
    assert [link["used"] for link in await listed(garden)] == [0]


async def test_who_comes_by_a_link_is_invited_and_counted(garden: Running) -> None:
    garden.fake.add_user(TARA)
    path, link = await made(garden, door="garden", uses=5)
    answer = await by_link(garden, path, fields={"proof": await proof(garden, path)})
    assert answer.status_code == 303
    assert (await garden.call("GET", f"/i/{answer.headers['location']}")).status_code == 200
    knock = await garden.settled(TARA)
    assert (knock.state, knock.link) == (S.INVITED, link["id"])
    assert [(each["used"], each["knocks"]) for each in await listed(garden)] == [(1, {"invited": 1})]


async def test_what_is_wrong_in_the_form_is_told_and_spends_nothing(garden: Running) -> None:
    path, _ = await made(garden, door="garden")
    answer = await by_link(garden, path, "nobody@mail.example")
    assert (answer.status_code, "looks like an e-mail" in answer.text) == (422, True)
    assert f'data-check="../i/{path.rpartition("/")[2]}/check' in answer.text
    assert [link["used"] for link in await listed(garden)] == [0]


async def test_the_id_is_checked_as_it_is_typed(garden: Running) -> None:
    path, _ = await made(garden, door="cellar")
    answer = await garden.call("POST", f"{path}/check", data={"matrix_id": TARA})
    assert answer.json()["good"] is True


async def test_the_page_works_below_a_path_of_a_proxy(garden: Running) -> None:
    path, _ = await made(garden, door="cellar")
    stamp = await opened(garden, path)
    transport = httpx2.ASGITransport(app=garden.app, root_path="/below", client=("203.0.113.7", 40_000))
    async with httpx2.AsyncClient(transport=transport, base_url="http://knock.test/below") as client:
        answer = await client.post(path, data={"opened": stamp, "matrix_id": TARA})
        landed = await client.get(f"/i/{answer.headers['location']}")
    assert (answer.status_code, landed.status_code) == (303, 200)
    assert 'href="../../../static/' in landed.text


async def test_a_slash_at_the_end_is_taken_away(garden: Running) -> None:
    path, _ = await made(garden, door="garden")
    answer = await garden.call("GET", f"{path}/?lang=de")
    assert (answer.status_code, answer.headers["location"]) == (308, f"..{path[2:]}?lang=de")


# --- what a link may and may not


@pytest.mark.parametrize("policy", ["review", "closed"])
async def test_a_link_may_stand_for_the_moderators_yes(starting: Starting, policy: str) -> None:
    async with starting(door_policy=policy) as running:
        running.fake.add_user(TARA)
        path, _ = await made(running, skip_review=True)
        await by_link(running, path)
        assert (await running.settled(TARA)).state is S.INVITED


@pytest.mark.parametrize(
    ("policy", "wish"), [("review", {}), ("closed", {}), ("prove-first", {"skip_review": True})]
)
async def test_a_link_is_otherwise_subject_to_the_doors_policy(
    starting: Starting, policy: str, wish: dict[str, Any]
) -> None:
    async with starting(door_policy=policy) as running:
        path, link = await made(running, **wish)
        await by_link(running, path)
        (kept,) = await running.knocks_of(TARA)
        assert (kept.state, kept.link) == (S.HELD, link["id"])
        (held,) = (await running.admin("GET", "/held")).json()["knocks"]
        assert held["link"] == link["id"]


@pytest.mark.promise(3)
async def test_no_link_lets_in_whoever_is_blocked(garden: Running) -> None:
    await garden.admin("POST", "/block_user", {"user_id": TARA})
    path, _ = await made(garden, door="garden", skip_review=True)
    await by_link(garden, path)
    (kept,) = await garden.knocks_of(TARA)
    assert (kept.state, kept.reason) == (S.REFUSED, Reason.BLOCKED)


async def test_without_javascript_a_moderator_looks_first_whatever_the_link(garden: Running) -> None:
    path, _ = await made(garden, door="garden", skip_review=True)
    await sent(garden, TARA, path=path)
    (kept,) = await garden.knocks_of(TARA)
    assert (kept.state, kept.reason) == (S.HELD, Reason.NO_PROOF_OF_WORK)


async def test_a_use_is_given_back_when_there_is_no_such_account(garden: Running) -> None:
    path, _ = await made(garden, door="garden")
    await by_link(garden, path, "@nobody:knock.test")
    assert (await garden.settled("@nobody:knock.test")).state is S.FAILED
    assert [link["used"] for link in await listed(garden)] == [0]


# --- links that are over


async def over(knock: Running) -> dict[str, str]:
    """The paths of links by which nobody can knock, by why."""
    paths = {"unknown": f"/i/{WELL_FORMED}"}
    paths["revoked"], link = await made(knock, door="garden")
    await knock.admin("DELETE", "/links", {"link": link["id"]})
    paths["used up"], _ = await made(knock, door="garden")
    assert (await by_link(knock, paths["used up"], "@first:knock.test")).status_code == 303
    paths["expired"], _ = await made(knock, door="garden", expires_in=60)
    knock.clock.ahead += 61
    return paths


@pytest.mark.promise(6)
async def test_links_that_are_over_are_all_the_same(garden: Running) -> None:
    paths = await over(garden)
    for method in ("GET", "POST"):
        answers = {why: await garden.call(method, path) for why, path in paths.items()}
        assert len({repr(seen(answer)) for answer in answers.values()}) == 1
        assert answers["unknown"].status_code == 404
        assert "leads nowhere any more" in answers["unknown"].text


async def test_a_link_that_ends_while_the_form_is_open_keeps_nothing(garden: Running) -> None:
    path, link = await made(garden, door="garden")
    stamp = await opened(garden, path)
    await garden.admin("DELETE", "/links", {"link": link["id"]})
    answer = await garden.call("POST", path, data={"opened": stamp, "matrix_id": TARA, **FILLED})
    assert (answer.status_code, await garden.knocks_of(TARA)) == (404, [])


@pytest.mark.parametrize(
    "token",
    ["x", "A" * 23, "A" * 25, "A" * 10_000, "%00", "%ff", "é" * 24, "'; DROP TABLE"],
)
@pytest.mark.parametrize("below", ["", "/check", "/challenge", "/s/x", "/logo/x"])
async def test_hostile_tokens_are_links_to_nowhere(garden: Running, token: str, below: str) -> None:
    answer = await garden.call("POST" if below == "/check" else "GET", f"/i/{token}{below}")
    assert answer.status_code == 404


async def test_a_link_to_a_door_that_is_gone_leads_nowhere(garden: Running) -> None:
    path, _ = await made(garden, door="cellar")
    doors = garden.installation.parts.doors
    doors.describe([door for door in doors.as_described if door.slug != "cellar"])
    assert (await garden.call("GET", path)).status_code == 404
    assert [link["door"] for link in await listed(garden)] == ["cellar"]


async def test_a_store_that_is_away_gets_a_page(garden: Running) -> None:
    path, _ = await made(garden, door="garden")
    await garden.installation.parts.store.close()
    answer = await garden.call("GET", path)
    assert (answer.status_code, "Please try again" in answer.text) == (503, True)


# --- nothing is told


@pytest.mark.promise(6)
async def test_whoever_comes_by_a_link_sees_the_same_and_spends_the_same(garden: Running) -> None:
    store = garden.installation.parts.store
    rule = Rule(RuleKind.USER, "@mallory:knock.test", "@mallory:knock.test", "spam", "api", "api", 1.0)
    await store.block(rule, Entry(at=1.0, actor="api", action="blocked"))
    people = {"admitted": TARA, "blocked": "@mallory:knock.test", "held": "@bob:knock.test"}
    garden.fake.add_user(TARA)
    looks = {}
    for name, user in people.items():
        path, _ = await made(garden, door="garden")
        answer = await (sent(garden, user, path=path) if name == "held" else by_link(garden, path, user))
        token = path.rpartition("/")[2]
        after = await garden.call("GET", path)
        looks[name] = repr((seen(answer), seen(after))).replace(token, "…")
    assert len(set(looks.values())) == 1
    assert [link["used"] for link in await listed(garden)] == [1, 1, 1]


@pytest.mark.promise(4)
async def test_exactly_as_many_come_in_as_a_link_has_uses(garden: Running) -> None:
    path, _ = await made(garden, door="garden", uses=5)
    stamp = stamp_on(await garden.call("GET", path))
    garden.clock.ahead += 20
    forms = [{"opened": stamp, "matrix_id": f"@p{n}:knock.test", **FILLED} for n in range(20)]
    answers = await asyncio.gather(*(garden.call("POST", path, data=form) for form in forms))
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(303), statuses.count(404)) == (5, 15)
    assert [link["used"] for link in await listed(garden)] == [5]


async def test_a_visitor_over_the_window_is_asked_to_wait(starting: Starting) -> None:
    async with starting(doors=DOORS, max_requests_per_sender=2) as running:
        path, _ = await made(running, door="garden", uses=None)
        answers = [await sent(running, f"@p{number}:knock.test", path=path) for number in range(3)]
    assert [answer.status_code for answer in answers] == [303, 303, 429]


async def test_ten_thousand_links_are_listed(knock: Running) -> None:
    store = knock.installation.parts.store
    _, first = await made(knock)
    (found,) = await store.links()
    entry = Entry(at=1.0, actor="api", action="make link")
    await asyncio.gather(
        *(
            store.add_link(replace(found, id=f"{found.id}{n:05}", token_hash=f"{n}"), entry)
            for n in range(10_000)
        )
    )
    answer = await knock.call("GET", "/links", headers=BEARER)
    assert (answer.json()["count"], answer.json()["links"][0]["id"]) == (10_001, first["id"])
