"""How large, how often, how long: what the form endpoint turns away, and how it says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from tests.api.running import FORM, FORM_TOKEN, Running, Starting

from mknock.api.common import BODY_LIMIT
from mknock.domain.knocks import KnockState, Reason

CHUNK = b" " * 16 * 1024
JSON = {"Content-Type": "application/json"}
TRUSTED = {"X-Form-Token": FORM_TOKEN}


@dataclass
class Endless:
    """A body that never ends and remembers how much of it was taken."""

    taken: int = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            self.taken += len(CHUNK)
            yield CHUNK


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


# --- size ----------------------------------------------------------------------------------------


async def test_a_form_of_the_largest_size_comes_in(knock: Running) -> None:
    form = b'{"matrix_id": "@tara:knock.test"}'
    assert (await knock.call("POST", FORM, content=form.ljust(BODY_LIMIT), headers=JSON)).status_code == 200


@pytest.mark.parametrize("size", [BODY_LIMIT + 1, 300 * 1024])
async def test_a_larger_form_is_turned_away(knock: Running, size: int) -> None:
    answer = await knock.call("POST", FORM, content=b" " * size, headers=JSON)
    assert (answer.status_code, answer.json()) == (413, {"error": "the body is larger than 256 KiB"})


async def test_a_large_plain_form_is_answered_with_a_page(knock: Running) -> None:
    answer = await knock.call("POST", FORM, data={"matrix_id": "x" * BODY_LIMIT})
    assert (answer.status_code, answer.headers["content-type"]) == (413, "text/html; charset=utf-8")


async def test_a_body_of_unknown_length_is_read_to_the_limit_and_no_further(knock: Running) -> None:
    body = Endless()
    answer = await knock.call("POST", FORM, content=body.chunks(), headers=JSON)
    assert (answer.status_code, body.taken) == (413, BODY_LIMIT + len(CHUNK))


async def test_a_length_that_lies_is_not_believed(knock: Running) -> None:
    body = Endless()
    headers = {**JSON, "Content-Length": "10"}
    answer = await knock.call("POST", FORM, content=body.chunks(), headers=headers)
    assert (answer.status_code, body.taken) == (413, BODY_LIMIT + len(CHUNK))


async def test_of_a_body_that_says_it_is_too_large_nothing_is_read(knock: Running) -> None:
    body = Endless()
    headers = {**JSON, "Content-Length": str(BODY_LIMIT + 1)}
    answer = await knock.call("POST", FORM, content=body.chunks(), headers=headers)
    assert (answer.status_code, body.taken) == (413, 0)


@pytest.mark.parametrize("length", ["-1", "many", "1e3", "", "9" * 5000, "0x10", "१२"])
async def test_a_length_that_is_no_number_harms_nothing(knock: Running, length: str) -> None:
    headers = {**JSON, "Content-Length": length.encode()}
    content = pieces(b'{"matrix_id": ', b'"@tara:knock.test"}')
    answer = await knock.call("POST", FORM, content=content, headers=headers)
    assert answer.status_code in (200, 413)


async def test_a_body_in_many_pieces_is_read_whole(knock: Running) -> None:
    form = b'{"matrix_id": "@tara:knock.test"}'
    await knock.call("POST", FORM, content=pieces(*(form[n : n + 1] for n in range(len(form)))), headers=JSON)
    assert [one.user_id for one in await knock.knocks_of("@tara:knock.test")] == ["@tara:knock.test"]


@dataclass
class Wire:
    """The other end of a connection, message by message."""

    incoming: Iterable[dict[str, Any]]
    sent: list[dict[str, Any]] = field(default_factory=list)

    async def receive(self) -> dict[str, Any]:
        self._messages = getattr(self, "_messages", None) or iter(self.incoming)
        return next(self._messages)

    async def send(self, message: Any) -> None:
        self.sent.append(dict(message))


@pytest.mark.parametrize("path", [FORM, "/block_user"])
async def test_a_sender_that_hangs_up_is_no_error(knock: Running, path: str) -> None:
    wire = Wire([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"authorization", b"Bearer canary-api-key-4711")],
        "client": ("203.0.113.7", 1),
        "server": ("knock.test", 80),
        "scheme": "http",
        "root_path": "",
        "http_version": "1.1",
    }
    await knock.app(scope, wire.receive, wire.send)
    assert wire.sent[0]["status"] == 503


# --- how often -----------------------------------------------------------------------------------


async def statuses(knock: Running, count: int, **options: Any) -> list[int]:
    return [(await knock.post(f"@u{n}:knock.test", **options)).status_code for n in range(count)]


async def test_an_anonymous_sender_over_its_window_is_asked_to_wait(starting: Starting) -> None:
    async with starting(max_requests_per_sender=2) as knock:
        assert await statuses(knock, 3) == [200, 200, 429]


async def test_the_wait_is_said_in_seconds(starting: Starting) -> None:
    async with starting(max_requests_per_sender=1, spam_window_seconds=60) as knock:
        await knock.post()
        answer = await knock.post()
        assert (answer.headers["retry-after"], list(answer.json())) == ("60", ["error"])


async def test_a_plain_form_over_its_window_gets_a_page(starting: Starting) -> None:
    async with starting(max_requests_per_sender=1) as knock:
        await knock.post()
        answer = await knock.call("POST", FORM, data={"matrix_id": "@tara:knock.test"})
        assert (answer.status_code, answer.headers["content-type"]) == (429, "text/html; charset=utf-8")


async def test_the_wait_grows_with_each_time(starting: Starting) -> None:
    async with starting(max_requests_per_sender=1, spam_window_seconds=60) as knock:
        waits = []
        for _ in range(3):
            await statuses(knock, 2)
            waits.append(int((await knock.post()).headers["retry-after"]))
            knock.clock.ahead += waits[-1]
        assert waits == [60, 120, 240]


async def test_who_has_waited_is_let_in_again(starting: Starting) -> None:
    async with starting(max_requests_per_sender=1, spam_window_seconds=60) as knock:
        await statuses(knock, 1)
        knock.clock.ahead += int((await knock.post()).headers["retry-after"])
        assert (await knock.post()).status_code == 200


async def test_of_a_request_that_was_turned_away_nothing_is_kept(starting: Starting) -> None:
    async with starting(max_requests_per_sender=1) as knock:
        await knock.post("@first:knock.test")
        await knock.post("@second:knock.test")
        assert await knock.knocks_of("@second:knock.test") == []


@pytest.mark.promise(4)
async def test_one_senders_wait_is_nobody_elses(starting: Starting) -> None:
    async with starting(max_requests_per_sender=1) as knock:
        await statuses(knock, 5)
        assert (await knock.post("@u0:knock.test", address="198.51.100.1")).status_code == 200


@pytest.mark.promise(4)
async def test_naming_a_victim_keeps_the_victim_out_of_nothing(starting: Starting) -> None:
    async with starting(max_requests_per_sender=1) as knock:
        knock.fake.add_user("victim")
        for _ in range(10):
            await knock.post("@victim:knock.test", address="198.51.100.66")
        answer = await knock.post("@victim:knock.test", address="192.0.2.1")
        assert (answer.status_code, len(await knock.knocks_of("@victim:knock.test"))) == (200, 1)


@pytest.mark.promise(1)
async def test_an_authenticated_delivery_is_never_turned_away(starting: Starting) -> None:
    async with starting(form_token=FORM_TOKEN, max_requests_per_sender=1, max_requests_per_window=2) as knock:
        assert await statuses(knock, 6, headers=TRUSTED) == [200] * 6


async def test_what_is_over_the_doors_window_is_held(starting: Starting) -> None:
    async with starting(form_token=FORM_TOKEN, max_requests_per_window=2) as knock:
        await statuses(knock, 4, headers=TRUSTED)
        held = (await knock.admin("GET", "/held")).json()["knocks"]
        assert [(one["user_id"], one["reason"]) for one in held] == [
            ("@u2:knock.test", "wave"),
            ("@u3:knock.test", "wave"),
        ]


async def test_what_is_over_a_homeservers_window_is_held(starting: Starting) -> None:
    async with starting(max_requests_per_homeserver=1) as knock:
        await statuses(knock, 2)
        await knock.post("@other:elsewhere.example")
        assert [
            (await knock.knocks_of(user))[0].reason is Reason.WAVE
            for user in ("@u0:knock.test", "@u1:knock.test", "@other:elsewhere.example")
        ] == [False, True, False]


async def test_one_setting_lifts_all_windows(starting: Starting) -> None:
    async with starting(max_requests_per_window=300) as knock:
        assert await statuses(knock, 100) == [200] * 100


# --- when it cannot be kept ----------------------------------------------------------------------


@pytest.mark.promise(1)
async def test_without_its_store_knock_acknowledges_nothing(knock: Running) -> None:
    await knock.installation.parts.store.close()
    answer = await knock.post()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")


async def test_a_plain_form_without_a_store_gets_a_page(knock: Running) -> None:
    await knock.installation.parts.store.close()
    answer = await knock.call("POST", FORM, data={"matrix_id": "@tara:knock.test"})
    assert (answer.status_code, answer.headers["content-type"]) == (503, "text/html; charset=utf-8")


@pytest.mark.promise(1)
async def test_a_homeserver_that_is_away_turns_nobody_away(knock: Running) -> None:
    knock.fake.fail(down=True)
    await knock.post("@tara:knock.test")
    assert (await knock.knocks_of("@tara:knock.test"))[0].state is KnockState.ADMITTED


async def test_at_the_end_who_waits_for_an_outcome_is_answered(knock: Running) -> None:
    knock.fake.fail(down=True)
    headers = {"Authorization": "Bearer canary-api-key-4711", "Prefer": "wait=10"}
    waiting = asyncio.create_task(knock.post(headers=headers))
    await asyncio.sleep(0.1)
    knock.installation.stopping.stop()
    answer: httpx2.Response = await asyncio.wait_for(waiting, 2)
    assert answer.json()["outcome"] == "admitted"
