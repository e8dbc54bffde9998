"""The proof of work and the time on a form: for one door, in time, once."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from altcha import Challenge, Payload, solve_challenge
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mknock.domain.ids import MatrixID
from mknock.storage.sqlite import SqliteStore
from mknock.web.proof import LIFETIME, ProofOfWork
from mknock.web.signing import LONGEST, SHORTEST, Signer, Stamps

ALICE, MALLORY = MatrixID("alice", "knock.test"), MatrixID("mallory", "knock.test")


class House:
    """One store with its clock, and as many processes as one likes."""

    def __init__(self, folder: Path) -> None:
        self.store = SqliteStore(folder / "knock.db")
        self.now = 1_900_000_000.0
        self.proof, self.stamps = self.process()

    def process(self) -> tuple[ProofOfWork, Stamps]:
        signer = Signer(self.store)
        return ProofOfWork(self.store, signer, self.clock, tries=(1, 3)), Stamps(signer, self.clock)

    def clock(self) -> float:
        return self.now

    async def solved(self, slug: str = "main") -> str:
        challenge = Challenge.from_dict(await self.proof.challenge(slug))
        solution = solve_challenge(challenge)
        assert solution is not None
        return Payload(challenge, solution).to_base64()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path)
    await made.store.open()
    yield made
    await made.store.close()


def changed(payload: str, *path: str, to: Any) -> str:
    """The payload with another value somewhere inside."""
    whole = json.loads(base64.b64decode(payload))
    *above, last = path
    place = whole
    for key in above:
        place = place[key]
    place[last] = to
    return base64.b64encode(json.dumps(whole).encode()).decode()


# --- the work


async def test_work_that_was_done_is_shown(house: House) -> None:
    assert await house.proof.shown(await house.solved(), "main", ALICE)


async def test_work_counts_in_every_process(house: House) -> None:
    other, _ = house.process()
    assert await other.shown(await house.solved(), "main", ALICE)


async def test_work_is_good_for_one_person(house: House) -> None:
    work = await house.solved()
    assert await house.proof.shown(work, "main", ALICE)
    other, _ = house.process()
    assert not await other.shown(work, "main", MALLORY)


async def test_of_several_at_once_work_is_good_for_one(house: House) -> None:
    work = await house.solved()
    people = [MatrixID(f"p{number}", "knock.test") for number in range(8)]
    shown = await asyncio.gather(*(house.process()[0].shown(work, "main", one) for one in people))
    assert sum(shown) == 1


async def test_a_browser_may_send_its_form_again(house: House) -> None:
    work = await house.solved()
    assert [await house.proof.shown(work, "main", ALICE) for _ in range(2)] == [True, True]


async def test_other_spaces_and_keys_in_a_payload_make_no_other_solution(house: House) -> None:
    work = await house.solved()
    await house.proof.shown(work, "main", ALICE)
    assert not await house.proof.shown(changed(work, "solution", "time", to=7), "main", MALLORY)


async def test_work_for_one_door_opens_no_other(house: House) -> None:
    assert not await house.proof.shown(await house.solved("garden"), "main", ALICE)


async def test_work_is_good_for_a_while(house: House) -> None:
    work = await house.solved()
    house.now += LIFETIME
    assert not await house.proof.shown(work, "main", ALICE)


async def test_what_was_solved_is_forgotten_when_it_is_good_no_more(house: House) -> None:
    await house.proof.shown(await house.solved(), "main", ALICE)
    assert await house.store.tidy(house.now + LIFETIME + 1) == 1


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("challenge", "parameters", "expiresAt"), 2_000_000_000),
        (("challenge", "parameters", "data"), {"door": "garden"}),
        (("challenge", "parameters", "nonce"), "00" * 16),
        (("challenge", "parameters", "cost"), 1),
        (("challenge", "parameters", "keyPrefix"), ""),
        (("challenge", "parameters", "keySignature"), None),
        (("challenge", "signature"), "00" * 32),
        (("challenge", "signature"), None),
        (("solution", "derivedKey"), "00" * 32),
        (("solution", "derivedKey"), None),
        (("solution",), None),
        (("challenge",), []),
    ],
)
async def test_work_that_was_changed_is_none(house: House, path: tuple[str, ...], value: Any) -> None:
    assert not await house.proof.shown(changed(await house.solved(), *path, to=value), "main", ALICE)


async def test_a_challenge_of_another_knock_is_none(house: House, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = House(tmp_path / "other")
    await other.store.open()
    assert not await house.proof.shown(await other.solved(), "main", ALICE)
    await other.store.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(st.text(max_size=50), st.binary(max_size=50).map(lambda raw: base64.b64encode(raw).decode()))
)
async def test_anything_else_is_no_work(house: House, payload: str) -> None:
    assert not await house.proof.shown(payload, "main", ALICE)


async def test_a_payload_without_end_is_no_work(house: House) -> None:
    assert not await house.proof.shown("A" * 100_000, "main", ALICE)


# --- the time


@pytest.mark.parametrize(
    ("later", "timely", "valid"),
    [
        (0, False, True),
        (SHORTEST - 1, False, True),
        (SHORTEST, True, True),
        (LONGEST, True, True),
        (LONGEST + 2, False, False),
    ],
)
async def test_a_form_is_open_for_as_long_as_a_person_needs(
    house: House, later: float, timely: bool, valid: bool
) -> None:
    stamp = await house.stamps.stamp("main")
    house.now += later
    assert (await house.stamps.timely(stamp, "main"), await house.stamps.valid(stamp, "main")) == (
        timely,
        valid,
    )


async def test_the_time_on_a_form_counts_in_every_process(house: House) -> None:
    _, other = house.process()
    assert await other.valid(await house.stamps.stamp("main"), "main")


async def test_the_time_on_one_doors_form_is_none_on_anothers(house: House) -> None:
    assert not await house.stamps.valid(await house.stamps.stamp("garden"), "main")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(max_size=60), st.from_regex(r"[0-9]{1,40}-[0-9a-f]{32}")))
async def test_a_made_up_time_is_none(house: House, stamp: str) -> None:
    assert not await house.stamps.valid(stamp, "main")


async def test_a_time_that_was_changed_is_none(house: House) -> None:
    stamp = await house.stamps.stamp("main")
    moment, _, mark = stamp.partition("-")
    assert not await house.stamps.valid(f"{int(moment) - 60}-{mark}", "main")
