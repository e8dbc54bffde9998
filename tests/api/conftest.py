"""A running Knock, and others with particular settings."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.api.running import Running, Starting, started
from tests.api.visiting import DOORS


@pytest.fixture
async def knock(tmp_path: Path) -> AsyncIterator[Running]:
    """Knock with the API key set, no form secret, and limits out of the way."""
    async with started(tmp_path) as running:
        yield running


@pytest.fixture
def starting(tmp_path: Path) -> Starting:
    """Start Knock with particular settings: ``async with starting(form_token=…) as knock``."""

    def start(**settings: Any) -> contextlib.AbstractAsyncContextManager[Running]:
        return started(tmp_path, **settings)

    return start


@pytest.fixture
async def garden(tmp_path: Path) -> AsyncIterator[Running]:
    """Knock with a door that has a page of its own."""
    async with started(tmp_path, doors=DOORS) as running:
        yield running
