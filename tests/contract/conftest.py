"""The stores that the store's suite runs on, and the port that the homeserver's suite is about.

Each test of the store runs once on every back-end. PostgreSQL is there twice:
the newest, asked directly, and the oldest, behind a pooler in transaction mode.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.contract.homeserver_cases import Knocker
from tests.contract.store_cases import Shelf
from tests.kit.account import Account
from tests.kit.cast import Cast
from tests.kit.http import matrix_http

from mknock import ports
from mknock.matrix.auth import FixedToken
from mknock.matrix.client import MatrixClient
from mknock.matrix.gateway import HomeserverGateway
from mknock.ports import Store

Places = dict[str, Callable[[], str]]


@pytest.fixture
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Places:
    """How each back-end gets an empty place."""

    def wiped(server: str, database: str, through: str) -> str:
        name = request.getfixturevalue(server).wipe(request.getfixturevalue(database))
        address: str = request.getfixturevalue(through).url(name)
        return address

    return {
        "sqlite": lambda: str(tmp_path / "knock.db"),
        "postgres": lambda: wiped("postgres", "database", "postgres"),
        "pgbouncer": lambda: wiped("old_postgres", "old_database", "pgbouncer"),
    }


@pytest.fixture(params=["sqlite", "postgres", "pgbouncer"])
def shelf(request: pytest.FixtureRequest, places: Places) -> Shelf:
    """An empty place for a store."""
    return Shelf(request.param, places[request.param]())


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


@pytest.fixture
async def acting_as() -> AsyncIterator[Knocker]:
    """Makes the homeserver's port for an account."""
    async with AsyncExitStack() as open_clients:

        async def make(account: Account) -> ports.Homeserver:
            http = await open_clients.enter_async_context(matrix_http(transport=account.transport()))
            tokens = FixedToken(account.access_token or "", account.url)
            return HomeserverGateway(MatrixClient(account.url, tokens, http=http))

        yield make


@pytest.fixture
async def knock(cast: Cast, acting_as: Knocker) -> ports.Homeserver:
    """The homeserver's port as the bot that is in the room."""
    return await acting_as(cast.bot)
