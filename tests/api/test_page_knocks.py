"""Knocking at a door's own page: what is kept, what is given back, and that the answers tell nothing."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import pytest
from tests.api.running import VISITOR, Running, Starting
from tests.api.visiting import DOORS, FILLED, PAGE, TARA, light_proof, opened, proof, sent, stamp_on, value_of

from mknock.domain.knocks import Answer, KnockState, Reason
from mknock.domain.rules import Rule, RuleKind
from mknock.ports import Entry
from mknock.services.proof_codes import ProofCodes

S = KnockState

# --- knocking


async def test_who_did_the_work_and_took_their_time_is_invited(garden: Running) -> None:
    garden.fake.add_user(TARA)
    answer = await sent(garden, TARA, fields={"proof": await proof(garden), "answer-likes": ["bees", "cake"]})
    assert answer.status_code == 303
    assert re.fullmatch(r"garden/s/[\w-]{32}", answer.headers["location"])
    settled = await garden.settled(TARA)
    assert (settled.state, settled.platform, settled.door) == (S.INVITED, "page", "garden")
    assert settled.answers == (
        Answer("Why?", "I like beans."),
        Answer("Which day?", "Sunday"),
        Answer("What do you like?", "bees, cake"),
        Answer("Rules", "accepted"),
    )


async def test_without_javascript_a_moderator_looks_first(garden: Running) -> None:
    await sent(garden, TARA)
    (kept,) = await garden.knocks_of(TARA)
    assert (kept.state, kept.reason) == (S.HELD, Reason.NO_PROOF_OF_WORK)


async def test_a_solution_is_good_for_one_person(garden: Running) -> None:
    work = await light_proof(garden)
    for user in (TARA, "@mallory:knock.test"):
        await sent(garden, user, fields={"proof": work})
    (kept,) = await garden.knocks_of("@mallory:knock.test")
    assert kept.reason is Reason.NO_PROOF_OF_WORK
    assert (await garden.knocks_of(TARA))[0].reason is not Reason.NO_PROOF_OF_WORK


async def test_who_is_faster_than_a_person_is_held(garden: Running) -> None:
    work = await light_proof(garden)
    stamp = stamp_on(await garden.call("GET", PAGE))
    await garden.call("POST", PAGE, data={"opened": stamp, "matrix_id": TARA, "proof": work, **FILLED})
    (kept,) = await garden.knocks_of(TARA)
    assert (kept.state, kept.reason) == (S.HELD, Reason.TOO_FAST)


async def test_the_status_page_leads_to_the_knock_by_a_hash_alone(garden: Running) -> None:
    token = (await sent(garden, TARA)).headers["location"].rpartition("/")[2]
    store = garden.installation.parts.store
    (kept,) = await garden.knocks_of(TARA)
    assert await store.knock_with_receipt(token) is None
    codes = ProofCodes(store)
    found = await store.knock_with_receipt(await codes.receipt_of(await codes.code_of(token)))
    assert found is not None
    assert found.id == kept.id


async def test_a_trap_that_was_filled_is_refused_and_not_told(garden: Running) -> None:
    answer = await sent(garden, TARA, fields={"website": "http://spam.example"})
    (kept,) = await garden.knocks_of(TARA)
    assert (answer.status_code, kept.state, kept.reason) == (303, S.REFUSED, Reason.HONEYPOT)


async def test_the_page_works_below_a_path_of_a_proxy(garden: Running) -> None:
    stamp = await opened(garden)
    transport = httpx2.ASGITransport(app=garden.app, root_path="/below", client=(VISITOR, 40_000))
    async with httpx2.AsyncClient(transport=transport, base_url="http://knock.test/below") as client:
        page = await client.get("d/garden")
        answer = await client.post("d/garden", data={"opened": stamp, "matrix_id": TARA, **FILLED})
        status = await client.get(f"d/{answer.headers['location']}")
    assert '"../static/' in page.text
    assert answer.headers["location"].startswith("garden/s/")
    assert '"../../../static/' in status.text


# --- what is wrong


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"matrix_id": ""}, "matrix_id"),
        ({"matrix_id": "#room:knock.test"}, "matrix_id"),
        ({"answer-why": "  "}, "answer-why"),
        ({"answer-day": "Monday"}, "answer-day"),
        ({"answer-likes": ["bees", "wasps"]}, "answer-likes"),
        ({"rules": ""}, "rules"),
        ({"rules": "no"}, "rules"),
    ],
)
async def test_what_is_wrong_is_said_beside_its_field(garden: Running, fields: Any, name: str) -> None:
    answer = await sent(garden, TARA, fields=fields)
    assert answer.status_code == 422
    assert f'id="{name}-wrong"' in answer.text
    assert re.search(rf'aria-describedby="{name}-wrong', answer.text)
    assert answer.text.count(" autofocus") == 1
    assert await garden.knocks_of(TARA) == []


async def test_a_form_that_comes_back_keeps_its_answers(garden: Running) -> None:
    typed = '"tara" <x>'
    answer = await sent(garden, typed, fields={"answer-likes": ["trees"], "answer-why": "</textarea><b>"})
    assert value_of("matrix_id", answer) == typed
    assert "&lt;/textarea&gt;&lt;b&gt;</textarea>" in answer.text
    assert re.findall(r'value="([^"]+)" checked', answer.text) == ["Sunday", "trees", "yes"]


async def test_a_form_that_comes_back_keeps_its_time(garden: Running) -> None:
    stamp = await opened(garden)
    answer = await garden.call("POST", PAGE, data={"opened": stamp, "matrix_id": "nobody"} | {"rules": "yes"})
    assert stamp_on(answer) == stamp


async def test_a_forged_time_is_not_given_back(garden: Running) -> None:
    forged = "1-" + "0" * 32
    answer = await garden.call("POST", PAGE, data={"opened": forged})
    assert stamp_on(answer) != forged


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "application/json", 422),
        (b"", "text/plain", 422),
        (b"matrix_id=" + b"x" * 300_000, "application/x-www-form-urlencoded", 413),
        (b"x", "multipart/form-data; boundary=", 422),
        (b"&".join(b"a%d=1" % number for number in range(2000)), "application/x-www-form-urlencoded", 422),
    ],
)
async def test_what_is_no_form_gets_a_page(garden: Running, content: bytes, kind: str, status: int) -> None:
    answer = await garden.call("POST", PAGE, content=content, headers={"Content-Type": kind})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


async def test_a_store_that_is_away_gets_a_page(garden: Running) -> None:
    stamp = await opened(garden)
    await garden.installation.parts.store.close()
    answer = await garden.call("POST", PAGE, data={"opened": stamp, "matrix_id": TARA, **FILLED})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    assert "Please try again" in answer.text


# --- how many


async def test_a_visitor_over_the_window_is_asked_to_wait(starting: Starting) -> None:
    async with starting(doors=DOORS, max_requests_per_sender=2) as running:
        answers = [await sent(running, f"@p{number}:knock.test") for number in range(3)]
    assert [answer.status_code for answer in answers] == [303, 303, 429]
    assert int(answers[2].headers["retry-after"]) > 0
    assert "Please wait" in answers[2].text


async def test_wrong_ids_count_as_well(starting: Starting) -> None:
    async with starting(doors=DOORS, max_requests_per_sender=2) as running:
        answers = [await sent(running, "nobody@mail.example") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [422, 422, 429]


async def test_what_cannot_be_read_counts_as_well(starting: Starting) -> None:
    async with starting(doors=DOORS, max_requests_per_sender=2) as running:
        answers = [await running.call("POST", PAGE, content=b"{}") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [422, 422, 429]


# --- nothing is told


def outside(answer: httpx2.Response) -> tuple[int, dict[str, str], bytes]:
    """An answer as its visitor sees it, but for the token that is everybody's own."""
    headers = {name: re.sub(r"/s/[\w-]+", "/s/…", value) for name, value in answer.headers.items()}
    return answer.status_code, headers, answer.content


@pytest.mark.promise(6)
async def test_admitted_held_blocked_repeated_and_trapped_visitors_see_the_same(garden: Running) -> None:
    store = garden.installation.parts.store
    rule = Rule(RuleKind.USER, "@mallory:knock.test", "@mallory:knock.test", "spam", "api", "api", 1.0)
    await store.block(rule, Entry(at=1.0, actor="api", action="blocked"))
    answers = {
        "admitted": await sent(garden, TARA, fields={"proof": await light_proof(garden)}),
        "repeated": await sent(garden, TARA),
        "held": await sent(garden, "@bob:knock.test"),
        "blocked": await sent(garden, "@mallory:knock.test"),
        "trapped": await sent(garden, "@carl:knock.test", fields={"website": "x"}),
        "trapped and nobody": await sent(
            garden, "nobody", fields={"website": "x", "rules": "", "matrix_id": "!"}
        ),
        "no such account": await sent(garden, "@none:elsewhere.test"),
    }
    seen = {name: outside(answer) for name, answer in answers.items()}
    assert set(map(repr, seen.values())) == {repr(seen["admitted"])}
    pages = [await garden.call("GET", f"/d/{answer.headers['location']}") for answer in answers.values()]
    pages.append(await garden.call("GET", f"{PAGE}/s/unknown-token"))
    assert len({repr(outside(page)) for page in pages}) == 1


@pytest.mark.promise(5)
@pytest.mark.promise(10)
async def test_the_token_of_a_status_page_is_nowhere_on_it(garden: Running) -> None:
    location = (await sent(garden, TARA)).headers["location"]
    token = location.rpartition("/")[2]
    page = await garden.call("GET", f"/d/{location}")
    assert token not in page.text
    assert token not in str(page.headers)
    assert page.headers["x-robots-tag"] == "noindex"


@pytest.mark.promise(6)
async def test_no_homeserver_is_asked_before_the_answer(garden: Running) -> None:
    garden.fake.fail(down=True)
    assert (await sent(garden, TARA, fields={"proof": await light_proof(garden)})).status_code == 303


@pytest.mark.promise(4)
async def test_naming_one_victim_many_times_makes_one_knock(garden: Running) -> None:
    for _ in range(5):
        await sent(garden, TARA)
    assert len(await garden.knocks_of(TARA)) == 1
