"""Whoever wants to hear of new rules does, whatever process made them and whoever asked for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.workshop import Workshop

from mknock.domain.ids import MatrixID

EVE = "@eve:evil.example"


@pytest.fixture
async def shop(fake: FakeHomeserver, tmp_path: Path) -> AsyncIterator[Workshop]:
    async with Workshop.opened(fake, tmp_path) as workshop:
        yield workshop


def listening(shop: Workshop) -> list[tuple[str, bool]]:
    """The rules that are heard of, each with whether it was removed."""
    heard: list[tuple[str, bool]] = []
    shop.book.on_news(lambda changes: heard.extend((one.rule.entity, one.removed) for one in changes))
    return heard


async def test_another_processes_rules_are_heard_of(shop: Workshop) -> None:
    await shop.book.refresh()
    heard = listening(shop)
    async with shop.another() as other:
        await other.moderation.block(MatrixID.of(EVE), "", actor="cli")
        await shop.book.tick(shop.clock())
        await other.moderation.unblock(MatrixID.of(EVE), actor="cli")
        await shop.watchdog.scan(shop.clock())
    assert heard == [(EVE, False), (EVE, True)]


async def test_the_first_reading_is_no_news(shop: Workshop) -> None:
    heard = listening(shop)
    await shop.add_rule(EVE)
    await shop.book.refresh()
    assert heard == []


async def test_what_is_heard_of_counts_already(shop: Workshop) -> None:
    await shop.book.refresh()
    counted: list[bool] = []
    shop.book.on_news(lambda _: counted.append(shop.book.blocking(EVE) is not None))
    await shop.moderation.block(MatrixID.of(EVE), "", actor="api")
    assert counted == [True]
