"""What is told of each list: what counts, what does not and why, or that nobody knows right now."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.policy_room import PolicyRoom, subscribed
from tests.kit.workshop import BOT, Workshop

from mknock.domain.errors import NotFound
from mknock.ports import Entry
from mknock.services.list_following import ListFollower
from mknock.services.list_reports import ListReports


async def nothing(_: object) -> None:
    return None


@pytest.fixture
async def shop(fake: FakeHomeserver, tmp_path: Path) -> AsyncIterator[Workshop]:
    async with Workshop.opened(fake, tmp_path) as workshop:
        yield workshop


@pytest.fixture
async def room(shop: Workshop) -> PolicyRoom:
    """The room of a list that is followed, with two rules that count and two that do not."""
    room = PolicyRoom.made(shop.fake, BOT)
    for entity in ("@mallory:evil.example", "@*:evil.example", "*", "nobody"):
        room.write(entity)
    await subscribed(shop.store, room)
    follower = ListFollower(shop.store, shop.homeserver, shop.clock, every=300.0, on_change=nothing)
    await follower.tick(shop.clock())
    return room


async def test_what_counts_and_what_does_not_is_told(shop: Workshop, room: PolicyRoom) -> None:
    (report,) = await ListReports(shop.store, shop.homeserver).all()

    assert (report.policy_list.name, report.rules, sorted(report.left_out.values())) == ("spam", 2, [1, 1])
    assert {one.entity for one in report.examples} == {"*", "nobody"}
    assert report.problem == ""


async def test_of_one_list_the_same(shop: Workshop, room: PolicyRoom) -> None:
    reports = ListReports(shop.store, shop.homeserver)

    assert await reports.one("spam") == (await reports.all())[0]


async def test_while_the_homeserver_is_away_the_rules_are_counted_all_the_same(
    shop: Workshop, room: PolicyRoom
) -> None:
    shop.fake.fail(down=True)
    (report,) = await ListReports(shop.store, shop.homeserver).all()

    assert (report.rules, report.left_out, bool(report.problem)) == (2, {}, True)


async def test_a_homeserver_that_does_not_answer_keeps_nobody_waiting_for_long(
    shop: Workshop, room: PolicyRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mknock.services.list_reports.PATIENCE", 0.05)
    shop.fake.fail("state", hang=True)
    (report,) = await ListReports(shop.store, shop.homeserver).all()

    assert "too long" in report.problem


async def test_outside_the_room_it_is_not_known_what_is_left_out(shop: Workshop, room: PolicyRoom) -> None:
    room.room.set_membership(BOT, BOT, "leave")
    report = await ListReports(shop.store, shop.homeserver).one("spam")

    assert "not in the room" in report.problem
    assert room.room.room_id not in report.problem


@pytest.mark.parametrize("name", ["other", "", "spam\n", "'"])
async def test_a_list_that_there_is_not_is_not_found(shop: Workshop, room: PolicyRoom, name: str) -> None:
    with pytest.raises(NotFound):
        await ListReports(shop.store, shop.homeserver).one(name)


async def test_a_list_that_was_removed_is_none(shop: Workshop, room: PolicyRoom) -> None:
    await shop.store.remove_list("spam", Entry(at=1.0, actor="cli", action="unsubscribe"))

    assert await ListReports(shop.store, shop.homeserver).all() == []
