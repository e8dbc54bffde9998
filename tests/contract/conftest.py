"""The stores that the store's suite runs on: each test runs once on every back-end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.contract.store_cases import Shelf

from mknock.ports import Store


@pytest.fixture(params=["sqlite"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Shelf:
    """An empty place for a store."""
    return Shelf(request.param, str(tmp_path / "knock.db"))


@pytest.fixture
async def store(shelf: Shelf) -> AsyncIterator[Store]:
    """An open, empty store."""
    async with shelf.opened() as opened:
        yield opened


@pytest.fixture
async def other(shelf: Shelf, store: Store) -> AsyncIterator[Store]:
    """The same store as another process has it."""
    async with shelf.opened() as opened:
        yield opened
