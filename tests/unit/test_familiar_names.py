"""Names that several members bear: whoever comes with one is held, not refused for being like a blocked one."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path

import pytest
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.workshop import OWNER, Wishes, Workshop

from mknock.domain.knocks import KnockState
from mknock.domain.rules import Rule, RuleKind
from mknock.matching import Kind, default_guard
from mknock.ports import Entry
from mknock.services import familiar_names
from mknock.services.familiar_names import (
    BEARERS,
    EVERY,
    FORGOTTEN,
    MOST,
    SETTLING,
    FamiliarNames,
    shared_names,
)
from mknock.services.rule_book import STRICT

S = KnockState
BLOCKED = "@kvothrandir:knock.test"
NAMESAKES = ("kvothrandin1", "kvothrandin.okafor", "a_kvothrandin")


@pytest.fixture
async def shop(fake: FakeHomeserver, tmp_path: Path) -> AsyncIterator[Workshop]:
    """Where somebody is blocked whose name is one letter away from one that members bear."""
    async with Workshop.opened(fake, tmp_path, Wishes()) as workshop:
        await workshop.add_rule(BLOCKED)
        await workshop.book.refresh()
        yield workshop


def settle(shop: Workshop, *names: str) -> list[str]:
    """Let people of these names become members."""
    people = [shop.fake.add_user(name).user_id for name in names]
    for person in people:
        shop.room.invite(OWNER, person, {}, reach=lambda: None)
        shop.room.join(person, {})
    return people


async def look(shop: Workshop) -> None:
    """Let the room be compared with the record, and the names be learned."""
    await shop.room_watch.compare(shop.door)
    await shop.book.tick(shop.clock())


async def seen_for(shop: Workshop, seconds: float) -> None:
    """Let the room be looked at now, every day, and after so long."""
    await look(shop)
    end = shop.clock.now + seconds
    while shop.clock.now < end:
        shop.clock.forward(min(86400.0, end - shop.clock.now))
        await look(shop)


async def newcomer(shop: Workshop, name: str = "kvothrandin") -> KnockState:
    return await shop.outcome(shop.fake.add_user(name).user_id)


async def test_who_bears_what_members_are_called_is_held(shop: Workshop) -> None:
    settle(shop, *NAMESAKES)
    await seen_for(shop, SETTLING)
    assert await newcomer(shop) is S.HELD


async def test_a_name_that_few_bear_says_nothing(shop: Workshop) -> None:
    settle(shop, *NAMESAKES[: BEARERS - 1])
    await seen_for(shop, SETTLING)
    assert await newcomer(shop) is S.REFUSED


async def test_a_wave_cannot_make_its_own_name_common(shop: Workshop) -> None:
    settle(shop, *NAMESAKES)
    await seen_for(shop, SETTLING - EVERY)
    assert await newcomer(shop) is S.REFUSED


async def test_whoever_is_blocked_bears_no_name(shop: Workshop) -> None:
    spammer, *_ = settle(shop, *NAMESAKES)
    plain = Rule(
        RuleKind.USER, spammer, spammer, "", "list:x", "", shop.clock(), look_alikes=False, origin="1"
    )
    await shop.store.change_rules([plain], (), Entry(at=shop.clock(), actor="x", action="block"))
    await shop.book.refresh()
    await seen_for(shop, SETTLING)
    assert await newcomer(shop) is S.REFUSED


async def test_a_name_is_forgotten_when_its_bearers_have_gone(shop: Workshop) -> None:
    person, *_ = settle(shop, *NAMESAKES)
    await seen_for(shop, SETTLING)
    shop.room.leave(person, {})
    await seen_for(shop, EVERY)
    assert await newcomer(shop) is S.REFUSED
    settle(shop, "kvothrandin.larsen")
    await seen_for(shop, SETTLING - EVERY)
    assert await newcomer(shop, "kvothrandim") is S.REFUSED  # it has to be borne for a week again


async def test_every_process_knows_it_and_after_a_restart(shop: Workshop) -> None:
    settle(shop, *NAMESAKES)
    async with shop.another() as early:
        await early.book.refresh()
        await seen_for(shop, SETTLING)
        await early.book.tick(shop.clock())
        async with shop.another() as late:
            await late.book.refresh()
            for process in (early, late):
                finding = process.book.look("@kvothrandin:knock.test", STRICT)
                assert [match.kind for match in finding.matches] == [Kind.DISTANCE_LOOSE]


async def test_two_looks_are_no_week(shop: Workshop) -> None:
    settle(shop, *NAMESAKES)
    await look(shop)
    shop.clock.forward(SETTLING)
    await look(shop)
    assert await newcomer(shop) is S.REFUSED


async def test_a_name_does_not_outlive_its_bearers_while_nobody_looks(shop: Workshop) -> None:
    people = settle(shop, *NAMESAKES)
    await seen_for(shop, SETTLING)
    for person in people:
        shop.room.leave(person, {})
    shop.clock.forward(2 * FORGOTTEN)
    await look(shop)
    assert await newcomer(shop) is S.REFUSED


@pytest.mark.parametrize("jump", [-365 * 86400.0, 365 * 86400.0])
async def test_a_clock_that_was_wrong_makes_no_name_old(shop: Workshop, jump: float) -> None:
    shop.clock.forward(jump)
    settle(shop, *NAMESAKES)
    await look(shop)
    shop.clock.forward(-jump)
    await seen_for(shop, SETTLING - EVERY)
    assert await newcomer(shop) is S.REFUSED
    await seen_for(shop, EVERY)
    assert await newcomer(shop, "kvothrandim") is S.REFUSED
    assert await newcomer(shop, "kvothrandin9") is S.HELD


@pytest.mark.parametrize(
    "kept", ["no JSON", "[]", '{"main": 5}', '{"main": {"seen": 1, "names": {"x": "y"}}}']
)
async def test_what_cannot_be_read_is_learned_anew(shop: Workshop, kept: str) -> None:
    await shop.store.put_secret(familiar_names.KEPT, kept)
    settle(shop, *NAMESAKES)
    await seen_for(shop, SETTLING)
    assert await newcomer(shop) is S.HELD


async def test_when_somebody_is_blocked_the_room_is_looked_at_again(shop: Workshop) -> None:
    names = FamiliarNames(shop.store, shop.doors, shop.clock, is_blocked=shop.book.blocking)
    people = settle(shop, *NAMESAKES)
    await names.note(shop.door, people)
    assert "kvothrandin" in str(await shop.store.secret(familiar_names.KEPT))
    await shop.add_rule(people[0])
    await shop.book.refresh()
    names.look_again()
    await names.note(shop.door, people)
    assert "kvothrandin" not in str(await shop.store.secret(familiar_names.KEPT))


def test_of_very_many_names_the_same_are_kept() -> None:
    endings = map("".join, product("abcdefghij", "klmnopqrst", "uvwxyz"))
    bearers = Counter({f"kvothrandin{ending}": 3 for ending in endings})
    first = shared_names(bearers, default_guard())
    shuffled = Counter(dict(sorted(bearers.items(), key=lambda item: hash(item[0]))))
    assert len(first) == MOST
    assert set(shared_names(shuffled, default_guard(), kept=first)) == set(first)
    others = [name for name in bearers if name not in first]
    assert set(shared_names(bearers, default_guard(), kept=others)) == set(others)


async def test_a_room_is_read_once_an_hour(shop: Workshop) -> None:
    await shop.room_watch.compare(shop.door)
    settle(shop, *NAMESAKES)
    shop.clock.forward(EVERY - 1)
    await shop.room_watch.compare(shop.door)
    assert await shop.store.secret(familiar_names.KEPT) is None
    shop.clock.forward(1)
    await shop.room_watch.compare(shop.door)
    assert "kvothrandin" in str(await shop.store.secret(familiar_names.KEPT))


async def test_what_the_lists_know_is_not_written_down(shop: Workshop) -> None:
    settle(shop, "anna1", "anna2", "anna3", *NAMESAKES, "kvothrandin.de", "okafor.de", "larsen.de")
    await shop.room_watch.compare(shop.door)
    kept = str(await shop.store.secret(familiar_names.KEPT))
    assert '"kvothrandin"' in kept
    assert "anna" not in kept
    assert '"de"' not in kept


async def test_a_door_that_is_no_more_is_forgotten(shop: Workshop) -> None:
    settle(shop, *NAMESAKES)
    await shop.room_watch.compare(shop.door)
    kept = str(await shop.store.secret(familiar_names.KEPT))
    await shop.store.put_secret(familiar_names.KEPT, kept.replace('"main"', '"another"', 1))
    shop.clock.forward(EVERY)
    await shop.room_watch.compare(shop.door)
    assert '"another"' not in str(await shop.store.secret(familiar_names.KEPT))
