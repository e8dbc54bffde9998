"""What an outsider can see of a decision: nothing (promise 6)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from tests.api.running import FORM, FORM_TOKEN, Running, Starting

from mknock.domain.knocks import KnockState, Reason

pytestmark = pytest.mark.promise(6)

STRANGER = "@stranger:knock.test"
LIMIT = 5


async def stranger(knock: Running) -> str:
    knock.fake.add_user(STRANGER)
    return STRANGER


async def blocked(knock: Running) -> str:
    await knock.admin("POST", "/block_user", {"user_id": "@eve:knock.test"})
    return "@eve:knock.test"


async def held(knock: Running) -> str:
    """Somebody whose invite was taken back: only a moderator may let them in."""
    await knock.invited("@again:knock.test")
    await knock.admin("POST", "/rescind_invite", {"user_id": "@again:knock.test"})
    return "@again:knock.test"


async def wave(knock: Running) -> str:
    """One more of a homeserver than fit into its window."""
    for number in range(LIMIT):
        await knock.call(
            "POST", FORM, json={"matrix_id": f"@w{number}:wave.example"}, **SENDERS["authenticated"]
        )
    return "@last:wave.example"


async def unknown(knock: Running) -> str:
    return "@nobody:knock.test"


async def unreachable(knock: Running) -> str:
    return "@somebody:127.0.0.1:1"


async def member(knock: Running) -> str:
    return knock.alice.user_id


async def the_bot(knock: Running) -> str:
    return knock.bot.user_id


async def already_invited(knock: Running) -> str:
    await knock.invited("@carol:knock.test")
    return "@carol:knock.test"


async def banned(knock: Running) -> str:
    person = knock.fake.add_user("brawler")
    await knock.alice.ban(knock.room, person.user_id)
    return person.user_id


async def trapped(knock: Running) -> str:
    return "@robot:knock.test"


Case = Callable[[Running], Awaitable[str]]
CASES: tuple[Case, ...] = (
    stranger,
    blocked,
    held,
    wave,
    unknown,
    unreachable,
    member,
    the_bot,
    already_invited,
    banned,
    trapped,
)
TRUTH: dict[Case, tuple[KnockState, Reason]] = {
    stranger: (KnockState.INVITED, Reason.INVITED),
    blocked: (KnockState.REFUSED, Reason.BLOCKED),
    held: (KnockState.HELD, Reason.BEFORE),
    wave: (KnockState.HELD, Reason.WAVE),
    unknown: (KnockState.FAILED, Reason.NO_SUCH_USER),
    member: (KnockState.ALREADY_MEMBER, Reason.ALREADY_MEMBER),
    already_invited: (KnockState.INVITED, Reason.INVITED),
    banned: (KnockState.FAILED, Reason.BANNED),
    trapped: (KnockState.REFUSED, Reason.HONEYPOT),
}
SENDERS: dict[str, dict[str, Any]] = {
    "anonymous": {},
    "authenticated": {"headers": {"X-Form-Token": FORM_TOKEN}},
}
SHAPES: dict[str, Callable[[dict[str, str]], dict[str, Any]]] = {
    "JSON": lambda fields: {"json": fields},
    "urlencoded": lambda fields: {"data": fields},
    "multipart": lambda fields: {"files": {name: (None, value) for name, value in fields.items()}},
}
of_every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
of_every_sender = pytest.mark.parametrize("sender", SENDERS)


@asynccontextmanager
async def door(starting: Starting, sender: str) -> AsyncIterator[Running]:
    """A door at which every case can come up; with a form token, so that a sender can be authenticated."""
    token = FORM_TOKEN if sender == "authenticated" else None
    limits = {"max_requests_per_homeserver": LIMIT, "max_requests_per_sender": 1000}
    async with starting(form_token=token, knock_cooldown=0, **limits) as knock:
        yield knock


def visible(response: httpx2.Response) -> tuple[int, list[tuple[str, str]], bytes]:
    """All that a sender can see but for the moment."""
    headers = [(name, value) for name, value in response.headers.items() if name != "date"]
    return response.status_code, headers, response.content


async def asked(knock: Running, user: str, shape: str, sender: str, trap: str = "") -> httpx2.Response:
    fields = {"matrix_id": user, "honeypot": trap}
    return await knock.call("POST", FORM, **SHAPES[shape](fields), **SENDERS[sender])


@of_every_sender
@of_every_case
async def test_every_decision_looks_like_every_other(starting: Starting, case: Case, sender: str) -> None:
    async with door(starting, sender) as knock:
        user, trap = await case(knock), "spam" if case is trapped else ""
        plain = [visible(await asked(knock, "@plain:elsewhere.example", shape, sender)) for shape in SHAPES]
        seen = [visible(await asked(knock, user, shape, sender, trap)) for shape in SHAPES]
        assert seen == plain


@pytest.mark.parametrize("case", TRUTH, ids=lambda case: case.__name__)
async def test_the_moderators_see_the_truth(starting: Starting, case: Case) -> None:
    async with door(starting, "authenticated") as knock:
        user = await case(knock)
        await asked(knock, user, "JSON", "authenticated", "spam" if case is trapped else "")
        settled = await knock.settled(user)
        assert (settled.state, settled.reason) == TRUTH[case]


@of_every_sender
async def test_a_repeat_looks_like_the_first_time(starting: Starting, sender: str) -> None:
    async with door(starting, sender) as knock:
        first, second = [await asked(knock, STRANGER, "JSON", sender) for _ in range(2)]
        assert visible(first) == visible(second)


@of_every_sender
async def test_a_filled_trap_without_a_matrix_id_looks_alike(starting: Starting, sender: str) -> None:
    async with door(starting, sender) as knock:
        plain = await asked(knock, STRANGER, "JSON", sender)
        assert visible(await asked(knock, "", "JSON", sender, "spam")) == visible(plain)


@pytest.mark.parametrize("policy", ["auto", "review", "closed"])
async def test_the_doors_policy_cannot_be_seen(starting: Starting, policy: str) -> None:
    async with starting(door_policy=policy) as knock:
        answer = await knock.post(STRANGER)
        assert answer.json() == {
            "status": "received",
            "message": "Thank you. If you are admitted, the invitation is in your Matrix app within moments.",
        }


@of_every_sender
async def test_nobody_is_asked_before_the_answer(starting: Starting, sender: str) -> None:
    async with door(starting, sender) as knock:
        knock.fake.add_user(STRANGER)
        await knock.installation.readiness.tick(0.0)
        knock.fake.reset()
        knock.fake.fail(hang=True)
        answer = await asked(knock, STRANGER, "JSON", sender)
        assert answer.status_code == 200


async def test_an_outage_cannot_be_seen(knock: Running) -> None:
    before = await knock.post("@one:knock.test")
    knock.fake.fail(down=True)
    assert visible(await knock.post("@two:knock.test")) == visible(before)


async def test_an_anonymous_sender_cannot_wait_for_the_outcome(knock: Running) -> None:
    await knock.admin("POST", "/block_user", {"user_id": STRANGER})
    plain = await knock.post("@plain:knock.test")
    assert visible(await knock.post(STRANGER, headers={"Prefer": "wait=5"})) == visible(plain)
