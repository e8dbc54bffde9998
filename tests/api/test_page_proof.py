"""A page whose door wants a proof: everybody is shown a code, and nothing is told by it (promise 6)."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextvars import ContextVar
from html import unescape
from typing import Any

import httpx2
import pytest
from tests.api.running import BEARER, Running, Starting
from tests.api.visiting import DOORS, PAGE, TARA, light_proof, sent

from mknock.domain.knocks import KnockState, Reason
from mknock.services.proof_codes import ProofCodes
from mknock.services.readiness import Readiness

S = KnockState
PROVING = DOORS.replace('room = "!garden"', 'room = "!garden"\npolicy = "prove-first"\nproof_lifetime = "2d"')
MALLORY = "@mallory:knock.test"
_ours: ContextVar[list[str] | None] = ContextVar("statements of one request", default=None)


@pytest.fixture
async def proving(starting: Starting) -> AsyncIterator[Running]:
    async with starting(doors=PROVING) as running:
        await running.installation.readiness.tick(0.0)
        yield running


async def landed(knock: Running, answer: httpx2.Response, **more: Any) -> httpx2.Response:
    """The page that a visitor is sent to."""
    return await knock.call("GET", f"/d/{answer.headers['location']}", **more)


def code_on(page: httpx2.Response) -> str:
    found = re.search(r'class="code">([^<]+)<', page.text)
    assert found, page.text
    return found[1]


def outside(page: httpx2.Response) -> tuple[int, dict[str, str], bytes]:
    """A page as its visitor sees it, but for the code that is everybody's own."""
    return page.status_code, dict(page.headers), page.content.replace(code_on(page).encode(), b"code")


@contextlib.contextmanager
def listening(knock: Running) -> Iterator[list[str]]:
    """The store's statements that one request makes."""
    store: Any = knock.installation.parts.store
    run, read = store._run, store._read

    def noted(steps: Callable[[], Any]) -> Any:
        mine = _ours.get()  # not in the store's own thread
        return run(steps if mine is None else lambda: _noted(steps(), mine))

    async def asked(statement: str, *parameters: Any) -> Any:
        if (mine := _ours.get()) is not None:
            mine.append(statement)
        return await read(statement, *parameters)

    mine: list[str] = []
    token = _ours.set(mine)
    store._run, store._read = noted, asked
    try:
        yield mine
    finally:
        _ours.reset(token)
        del store._run, store._read


def _noted(steps: Generator[Any, Any, Any], mine: list[str]) -> Generator[Any, Any, Any]:
    rows = None
    while True:
        try:
            step = steps.send(rows)
        except StopIteration as done:
            return done.value
        mine.append(step[0])
        rows = yield step


async def test_the_page_shows_the_bot_and_a_code_that_leads_to_the_knock(proving: Running) -> None:
    page = await landed(proving, await sent(proving, TARA))
    (kept,) = await proving.knocks_of(TARA)
    store = proving.installation.parts.store
    codes = ProofCodes(store)
    found = await store.knock_with_receipt(await codes.receipt_of(code_on(page).replace("-", "")))

    assert (kept.state, kept.reason) == (S.HELD, Reason.UNPROVEN)
    assert found is not None
    assert found.id == kept.id
    assert f">{proving.bot.user_id}</a>" in unescape(page.text)
    assert f'href="https://matrix.to/#/{proving.bot.user_id}"' in page.text
    assert 'href="matrix:u/' in page.text
    assert "48 hours" in page.text


async def test_loading_the_page_again_shows_the_same_code(proving: Running) -> None:
    answer = await sent(proving, TARA)
    pages = [await landed(proving, answer) for _ in range(2)]
    assert pages[0].content == pages[1].content
    assert code_on(pages[0]) != code_on(await landed(proving, await sent(proving, TARA)))


@pytest.mark.promise(6)
async def test_everybody_is_shown_a_code_with_the_same_words_and_the_same_work(proving: Running) -> None:
    await proving.admin("POST", "/block_user", {"user_id": MALLORY})
    first = await sent(proving, "@first:knock.test")  # makes the keys, and what is remembered of them
    await landed(proving, first)
    cases: dict[str, dict[str, Any]] = {
        "held": {"user": TARA},
        "blocked": {"user": MALLORY},
        "worked": {"user": "@wendy:knock.test", "fields": {"proof": await light_proof(proving)}},
        "unknown": {"user": "@none:elsewhere.test"},
        "trapped": {"user": "@carl:knock.test", "fields": {"website": "x"}},
        "the bot": {"user": proving.bot.user_id},
        "the owner": {"user": proving.alice.user_id},
    }
    work, pages = {}, {}
    for name, case in cases.items():
        if name != "worked":
            with listening(proving) as work[name]:
                answer = await sent(proving, **case)
        else:
            answer = await sent(proving, **case)
        with listening(proving) as seen:
            pages[name] = await landed(proving, answer)
        assert seen == []
    pages["made up"] = await proving.call("GET", f"{PAGE}/s/never-given-to-anybody")

    assert work["held"] != []
    assert {repr(each) for each in work.values()} == {repr(work["held"])}
    assert {repr(outside(page)) for page in pages.values()} == {repr(outside(pages["held"]))}
    assert len({code_on(page) for page in pages.values()}) == len(pages)


async def test_a_door_that_wants_no_proof_shows_no_code(garden: Running) -> None:
    assert 'class="code"' not in (await landed(garden, await sent(garden, TARA))).text


@pytest.mark.promise(5)
@pytest.mark.promise(10)
async def test_neither_the_address_nor_the_key_is_on_the_page_nor_the_code_in_the_log(
    proving: Running,
) -> None:
    answer = await sent(proving, TARA)
    page = await landed(proving, answer)
    assert answer.headers["location"].rpartition("/")[2] not in page.text
    assert "!" not in re.sub(r"<!doctype html>", "", page.text)
    assert not any(code_on(page) in line for line in proving.lines.written)


async def test_the_page_is_in_the_visitors_language(proving: Running) -> None:
    page = await landed(proving, await sent(proving, TARA), headers={"Accept-Language": "de"})
    assert "Zeig, dass das Konto dir gehört" in page.text
    assert "48 Stunden" in page.text


@pytest.mark.parametrize(
    ("lifetime", "said"),
    [("90m", "good for 90 minutes"), ("2h", "good for 2 hours"), ("47h", "good for 47 hours")],
)
async def test_the_page_says_how_long_the_code_is_good(starting: Starting, lifetime: str, said: str) -> None:
    async with starting(doors=PROVING.replace("2d", lifetime)) as running:
        await running.installation.readiness.tick(0.0)
        assert said in (await landed(running, await sent(running, TARA))).text


async def test_as_long_as_the_account_is_unknown_the_page_says_so(
    proving: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Readiness, "account", "")
    page = await landed(proving, await sent(proving, TARA))
    assert page.status_code == 200
    assert "load this page again" in page.text
    assert 'class="code"' not in page.text


async def test_moderators_see_last_who_has_still_to_prove_the_account(proving: Running) -> None:
    await sent(proving, TARA)
    await proving.admin("POST", "/block_user", {"user_id": "@martin:knock.test"})
    await sent(proving, "@martin77:knock.test")
    listed = (await proving.call("GET", "/held", headers=BEARER)).json()["knocks"]
    assert [(each["user_id"], each["reason"]) for each in listed] == [
        ("@martin77:knock.test", "look_alike"),
        (TARA, "unproven"),
    ]


async def test_a_moderator_may_let_somebody_in_without_a_proof(proving: Running) -> None:
    await sent(proving, TARA)
    proving.fake.add_user(TARA)
    await proving.admin("POST", "/approve", {"user_id": TARA})
    assert (await proving.settled(TARA)).state is S.INVITED


async def test_who_comes_by_an_invite_link_is_shown_a_code_as_well(proving: Running) -> None:
    path = (await proving.admin("POST", "/links", {"door": "garden"})).json()["path"]
    answer = await sent(proving, TARA, path=path)
    page = await proving.call("GET", f"/i/{answer.headers['location']}")
    (kept,) = await proving.knocks_of(TARA)
    store = proving.installation.parts.store
    codes = ProofCodes(store)
    found = await store.knock_with_receipt(await codes.receipt_of(code_on(page).replace("-", "")))

    assert kept.reason is Reason.UNPROVEN
    assert found is not None
    assert found.id == kept.id
