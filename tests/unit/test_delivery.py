"""When invites are sent, and how many at once: simulated time, the real store, gateway and HTTP client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.homeserver import UNREACHABLE_SERVER
from tests.kit.processes import wait_until
from tests.kit.workshop import Process, Wishes, Workshop

from mknock.domain.knocks import Knock, KnockState
from mknock.ports import Pace
from mknock.services.errands import LONGEST_OUTAGE, LONGEST_PAUSE
from mknock.services.invitations import Invitations
from mknock.services.retry import Retry
from mknock.workers.delivery import LEASE, Delivery
from mknock.workers.runner import Duty, Runner, Turn

S = KnockState
UNREACHABLE = f"@dave:{UNREACHABLE_SERVER}"
PACE = Pace(0.5, burst=5)


@pytest.fixture
async def shop(fake: FakeHomeserver, tmp_path: Path) -> AsyncIterator[Workshop]:
    async with Workshop.opened(fake, tmp_path) as workshop:
        yield workshop


@pytest.fixture
async def one_by_one(fake: FakeHomeserver, tmp_path: Path) -> AsyncIterator[Workshop]:
    async with Workshop.opened(fake, tmp_path, Wishes(concurrency=1)) as workshop:
        yield workshop


@pytest.fixture
async def paced(fake: FakeHomeserver, tmp_path: Path) -> AsyncIterator[Workshop]:
    async with Workshop.opened(fake, tmp_path, Wishes(pace=PACE)) as workshop:
        yield workshop


async def states(shop: Workshop, knocks: list[str]) -> set[KnockState]:
    return {(await shop.record(knock_id)).state for knock_id in knocks}


# 429: the homeserver asks everybody to wait


async def test_a_limited_invite_stops_the_others_as_well(one_by_one: Workshop) -> None:
    one_by_one.fake.fail("invite", status=429, retry_after=2, times=1)
    await one_by_one.knocks(one_by_one.people(5))
    await one_by_one.work_for(1.9)

    assert len(one_by_one.invited()) == 1


@pytest.mark.promise(1)
async def test_all_go_on_when_the_wait_is_over(one_by_one: Workshop) -> None:
    one_by_one.fake.fail("invite", status=429, retry_after=2, times=1)
    knocks = await one_by_one.knocks(one_by_one.people(5))
    await one_by_one.work_for(2.01)

    assert await states(one_by_one, knocks) == {S.INVITED}


async def test_a_wait_holds_for_other_processes_too(one_by_one: Workshop) -> None:
    one_by_one.fake.fail("invite", status=429, retry_after=2, times=1)
    await one_by_one.knocks(one_by_one.people(2))
    await one_by_one.work()
    async with one_by_one.another() as second:
        await second.work_for(1.9)

    assert len(one_by_one.invited()) == 1


@pytest.mark.parametrize(
    ("how", "seconds"),
    [
        ({"headers": {"retry-after": "7"}, "body": {"errcode": "M_LIMIT_EXCEEDED"}}, 7.0),
        ({"body": {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 2500}}, 2.5),
        ({"retry_after": 2.5}, 2.5),
        ({"headers": {"retry-after": "0"}, "body": {"errcode": "M_LIMIT_EXCEEDED"}}, 1.0),
        ({"body": "<html>slow down</html>"}, 1.0),
    ],
    ids=["header", "milliseconds", "both", "zero", "no word about it"],
)
async def test_the_wait_is_as_long_as_the_homeserver_says(
    one_by_one: Workshop, how: dict[str, Any], seconds: float
) -> None:
    one_by_one.fake.fail("invite", status=429, times=1, **how)
    (knock_id,) = await one_by_one.knocks(one_by_one.people(1))
    begin = one_by_one.clock()
    await one_by_one.work()

    assert (await one_by_one.record(knock_id)).due_at == pytest.approx(begin + seconds)


async def test_one_persons_long_wait_holds_the_others_up_for_a_minute_only(one_by_one: Workshop) -> None:
    first, *others = one_by_one.people(4)
    one_by_one.fake.fail("invite", status=429, retry_after=333, times=1)
    await one_by_one.knocks([first, *others])
    await one_by_one.work_for(LONGEST_PAUSE + 1)
    after_a_minute = one_by_one.memberships(others), one_by_one.memberships([first])
    await one_by_one.work_for(333 - LONGEST_PAUSE)

    assert after_a_minute == ({"invite"}, {None})
    assert one_by_one.memberships([first]) == {"invite"}


async def test_a_wait_does_not_count_as_a_try(one_by_one: Workshop) -> None:
    one_by_one.fake.fail("invite", status=429, times=3)
    (knock_id,) = await one_by_one.knocks(one_by_one.people(1))
    await one_by_one.work_for(3)

    assert (await one_by_one.record(knock_id)).attempts == 0


# An unreachable server is one person's trouble


@pytest.mark.promise(1)
async def test_an_unreachable_server_holds_up_nobody_else(one_by_one: Workshop) -> None:
    people = one_by_one.people(5)
    await one_by_one.knocks([UNREACHABLE, *people])
    await one_by_one.work()

    assert one_by_one.memberships(people) == {"invite"}


async def test_tries_at_an_unreachable_server_become_rarer(shop: Workshop) -> None:
    await shop.knock(UNREACHABLE)
    await shop.work_for(3600)

    tries = len(shop.invited())
    assert 3600 / 300 <= tries <= 3600 / 300 + 6


# The homeserver is away


@pytest.mark.promise(1)
@pytest.mark.promise(2)
@pytest.mark.parametrize(
    "fault",
    [{"down": True}, {"status": 502, "body": "<html>Bad Gateway</html>"}],
    ids=str,
)
async def test_everybody_is_invited_once_after_two_minutes_without_a_homeserver(
    shop: Workshop, fault: dict[str, Any]
) -> None:
    people = shop.people(100)
    shop.fake.fail(**fault)
    knocks = await shop.knocks(people)
    await shop.work_for(120)
    during = await states(shop, knocks)
    shop.fake.mend()
    await shop.work_for(2 * LONGEST_OUTAGE)

    assert during == {S.ADMITTED}
    assert await states(shop, knocks) == {S.INVITED}
    assert shop.invites_each(people) == {1}


@pytest.mark.promise(1)
@pytest.mark.promise(2)
@pytest.mark.parametrize("fault", [{"down": True, "acts": True}, {"status": 500, "acts": True}], ids=str)
async def test_everybody_is_invited_once_after_two_minutes_of_broken_answers(
    shop: Workshop, fault: dict[str, Any]
) -> None:
    people = shop.people(20)
    shop.fake.fail(**fault)
    knocks = await shop.knocks(people)
    await shop.work_for(120)
    shop.fake.mend()
    await shop.work_for(300)

    assert await states(shop, knocks) == {S.INVITED}
    assert shop.invites_each(people) == {1}


async def test_a_homeserver_that_is_away_is_not_hammered(shop: Workshop) -> None:
    await shop.knocks(shop.people(100))
    shop.fake.fail(down=True)
    await shop.work_for(600)

    assert len(shop.fake.calls) <= 32 * (600 / LONGEST_OUTAGE + 4)


async def test_a_short_absence_costs_a_second(shop: Workshop) -> None:
    people = shop.people(32)
    shop.fake.fail(down=True, times=32)
    await shop.knocks(people)
    await shop.work_for(1.1)

    assert shop.memberships(people) == {"invite"}


async def test_work_goes_on_at_once_when_readiness_sees_the_homeserver_again(shop: Workshop) -> None:
    people = shop.people(3)
    shop.fake.fail(down=True)
    await shop.readiness.tick(shop.clock())
    await shop.knock(people[0])
    await shop.work_for(60)
    await shop.knocks(people[1:])
    shop.fake.mend()
    await shop.readiness.tick(shop.clock())
    await shop.work()

    assert shop.memberships(people) == {"invite"}


@pytest.mark.parametrize(
    ("fault", "pause"), [({"down": True}, "homeserver"), ({"status": 401}, "owner")], ids=str
)
async def test_a_pause_that_was_lifted_too_early_is_made_again(
    shop: Workshop, fault: dict[str, Any], pause: str
) -> None:
    await shop.knocks(shop.people(3))
    shop.fake.fail(**fault)
    await shop.work_for(40)
    await shop.store.resume(pause)
    before = len(shop.fake.calls)
    await asyncio.wait_for(shop.work(), 10)

    assert 0 < len(shop.fake.calls) - before <= 10


async def test_an_outage_is_told_to_whoever_looks_after_readiness(shop: Workshop) -> None:
    told: list[float] = []
    process = Invitations(
        shop.store,
        shop.homeserver,
        shop.doors,
        shop.book,
        shop.clock,
        Retry(),
        on_outage=lambda: told.append(shop.clock()),
    )
    shop.fake.fail(down=True)
    await shop.knock(shop.people(1)[0])
    await process.deliver(await shop.claim())

    assert told


# A homeserver that hangs


@pytest.mark.promise(1)
@pytest.mark.promise(2)
@pytest.mark.parametrize("acts", [False, True])
async def test_everybody_is_invited_once_after_a_homeserver_hung(
    fake: FakeHomeserver, tmp_path: Path, acts: bool
) -> None:
    async with Workshop.opened(fake, tmp_path, Wishes(deadline=0.05)) as shop:
        people = shop.people(10)
        fake.fail("invite", hang=True, acts=acts)
        await shop.knocks(people)
        await shop.work_for(10)
        fake.mend()
        await shop.work_for(60)

        assert shop.invites_each(people) == {1}


async def test_a_claim_in_work_is_kept_longer_than_its_lease(shop: Workshop) -> None:
    await shop.knocks(shop.people(1))
    shop.fake.fail("invite", hang=True)
    await shop.delivery.tick(shop.clock())
    await wait_until(shop.invited)
    for _ in range(4):
        shop.clock.forward(LEASE * 0.9)
        await shop.delivery.renew(shop.clock())
    async with shop.another() as second:
        taken = await second.delivery.tick(shop.clock())
    shop.fake.mend()
    await shop.delivery.drain()

    assert taken == 0


@pytest.mark.promise(1)
async def test_the_claims_of_a_dead_process_are_taken_by_another(shop: Workshop) -> None:
    people = shop.people(3)
    await shop.knocks(people)
    for _ in people:
        await shop.claim()
    async with shop.another() as second:
        await second.work_for(LEASE)

    assert shop.memberships(people) == {"invite"}


# REQUEST_DELAY is a rate over the installation


async def invites_by_tenths(seconds: float, *processes: Process, shop: Workshop) -> list[int]:
    """How many invites had been sent by each tenth of a second."""
    counts = []
    for _ in range(round(seconds * 10)):
        for process in processes:
            await process.work()
        counts.append(len(shop.invited()))
        shop.clock.forward(0.1)
    return counts


async def test_two_processes_together_keep_the_pace(paced: Workshop) -> None:
    await paced.knocks(paced.people(60))
    async with paced.another() as second:
        counts = await invites_by_tenths(10, paced, second, shop=paced)

    allowed = [PACE.burst + tenth / 10 / PACE.interval for tenth in range(100)]
    assert all(count <= limit for count, limit in zip(counts, allowed, strict=True))
    assert counts[-1] >= 10 / PACE.interval


async def test_the_pace_holds_in_every_stretch_of_time(paced: Workshop) -> None:
    await paced.knocks(paced.people(60))
    async with paced.another() as second:
        counts = await invites_by_tenths(10, paced, second, shop=paced)

    for stretch in (10, 20, 50):
        most = max(counts[tenth + stretch] - counts[tenth] for tenth in range(100 - stretch))
        assert most <= PACE.burst + stretch / 10 / PACE.interval


async def test_one_knock_alone_is_never_delayed(paced: Workshop) -> None:
    for person in paced.people(10):
        await paced.knock(person)
        await paced.work()
        assert paced.invited()[-1] == person
        paced.clock.forward(PACE.interval)


async def test_few_knocks_at_once_are_not_delayed(paced: Workshop) -> None:
    people = paced.people(PACE.burst)
    await paced.knocks(people)
    await paced.work()

    assert paced.memberships(people) == {"invite"}


async def test_without_a_delay_nothing_waits(shop: Workshop) -> None:
    people = shop.people(100)
    await shop.knocks(people)
    await shop.work()

    assert shop.memberships(people) == {"invite"}


async def test_who_knocked_first_is_invited_first(one_by_one: Workshop) -> None:
    people = one_by_one.people(10)
    for person in people:
        await one_by_one.knock(person)
        one_by_one.clock.forward(0.01)
    await one_by_one.work()

    assert one_by_one.invited() == people


# How many at once


async def test_no_more_are_on_their_way_than_allowed(fake: FakeHomeserver, tmp_path: Path) -> None:
    async with Workshop.opened(fake, tmp_path, Wishes(concurrency=8)) as shop:
        await shop.knocks(shop.people(30))
        fake.fail("invite", hang=True)
        for _ in range(5):
            await shop.delivery.tick(shop.clock())
            await asyncio.sleep(0.02)
        on_their_way = len(shop.invited())
        fake.mend()
        await shop.delivery.drain()

    assert on_their_way == 8


async def test_whoever_runs_it_is_told_when_there_is_room(shop: Workshop) -> None:
    told: list[int] = []
    delivery = Delivery(
        shop.store,
        shop.invitations.deliver,
        concurrency=4,
        pace=Pace(0.0),
        on_room=lambda: told.append(len(shop.invited())),
    )
    await shop.knocks(shop.people(4))
    await delivery.tick(shop.clock())
    await delivery.drain()

    assert told


@pytest.mark.promise(1)
async def test_2000_knocks_are_delivered_through_the_real_http_client(
    fake: FakeHomeserver, tmp_path: Path
) -> None:
    async with fake.served() as url, Workshop.opened(fake, tmp_path, Wishes(url=url)) as shop:
        people = [*shop.people(500), *(f"@person{number}:elsewhere.test" for number in range(1500))]
        fake.add_user("@somebody:elsewhere.test")  # makes that server reachable
        await asyncio.gather(*(shop.knock(person) for person in people))
        async with running(shop):
            await wait_until(lambda: len(shop.invited()) >= 2000, within=60, every=0.1)
            await wait_until(lambda: _none_open(shop), within=10, every=0.1)

        assert shop.invites_each(people) == {1}


class running:  # noqa: N801 - reads as a function
    """Run a workshop's delivery as the wiring does, with the real clock."""

    def __init__(self, shop: Workshop) -> None:
        self._delivery = Delivery(
            shop.store, shop.invitations.deliver, concurrency=32, pace=Pace(0.0), on_room=self._wake
        )
        self._duty = Duty("delivery", self._delivery.tick, every=0.5, again=True)
        self._runner = Runner([self._duty], time.time, Turn(shop.store, "one"))

    def _wake(self) -> None:
        self._duty.wake()

    async def __aenter__(self) -> None:
        self._runner.start()

    async def __aexit__(self, *_: object) -> None:
        await self._runner.stop()
        await self._delivery.stop(1.0)


async def _none_open(shop: Workshop) -> bool:
    return not await shop.store.knocks_in(frozenset({S.ADMITTED}), limit=1)


# The end, and the unexpected


async def test_what_is_nearly_done_is_finished_at_the_end(shop: Workshop) -> None:
    people = shop.people(4)
    await shop.knocks(people)
    shop.fake.fail("invite", delay=0.05)
    await shop.delivery.tick(shop.clock())
    await shop.delivery.stop(2.0)

    assert shop.memberships(people) == {"invite"}


async def test_what_hangs_is_let_go_at_the_end(shop: Workshop) -> None:
    await shop.knocks(shop.people(4))
    shop.fake.fail("invite", hang=True)
    await shop.delivery.tick(shop.clock())
    await wait_until(shop.invited)
    begin = time.monotonic()
    await shop.delivery.stop(0.1)
    await shop.delivery.drain()

    assert time.monotonic() - begin < 1.0


async def test_nothing_is_in_work_when_the_end_is_over(shop: Workshop) -> None:
    await shop.knocks(shop.people(4))
    shop.fake.fail("invite", hang=True)
    await shop.delivery.tick(shop.clock())
    await wait_until(shop.invited)
    await shop.delivery.stop(0.0)

    assert await shop.delivery.renew(shop.clock()) == 0


@pytest.mark.promise(1)
async def test_an_unexpected_error_loses_no_knock(shop: Workshop) -> None:
    (person,) = people = shop.people(1)
    await shop.knock(person)

    async def fail(_: Knock) -> None:
        raise ZeroDivisionError

    broken = Delivery(shop.store, fail, concurrency=8, pace=Pace(0.0))
    await broken.tick(shop.clock())
    await broken.drain()
    await shop.work_for(LEASE)

    assert shop.memberships(people) == {"invite"}
