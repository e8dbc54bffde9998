"""The homeservers that any test may ask for by name."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings
from tests.kit.cast import Cast
from tests.kit.databases import database, old_database, old_postgres, pgbouncer, postgres
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.homeserver import Homeserver
from tests.kit.synapse import Synapse

__all__ = ["database", "old_database", "old_postgres", "pgbouncer", "postgres"]

# Whoever runs us in the background lets us ignore Ctrl-C, and our children with us; some tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is not a failure; what is slow is measured by the benchmarks.
settings.register_profile("knock", deadline=None)
settings.load_profile("knock")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that asks for the real homeserver, so that ``-m "not synapse"`` leaves it out."""
    for item in items:
        if "synapse" in getattr(item, "fixturenames", ()):
            item.add_marker("synapse")


def pytest_collection_finish() -> None:
    """Let the collector leave alone what lives as long as the session, and look at the rest less often.

    It looked through everything at every tenth application that a test put together.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="session")
def synapse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Synapse]:
    """The real homeserver: one for the session, without limits. Take a room of your own, and new names.

    Where it cannot start, the test fails. It is never skipped: a test that
    did not run proves nothing.
    """
    with Synapse.start(tmp_path_factory.mktemp("synapse")) as running:
        yield running


@pytest.fixture
def fake() -> FakeHomeserver:
    """A fake homeserver of the test's own, in this process."""
    return FakeHomeserver()


@pytest.fixture(params=["fake", pytest.param("synapse", marks=pytest.mark.synapse)])
def homeserver(request: pytest.FixtureRequest) -> Homeserver:
    """Each homeserver in turn: what is asked of one is asked of the other."""
    chosen: Homeserver = request.getfixturevalue(request.param)
    return chosen


@pytest.fixture(scope="session")
def casts() -> dict[str, Cast]:
    """The casts that were assembled, by the URL of their homeserver."""
    return {}


@pytest.fixture
async def cast(homeserver: Homeserver, casts: dict[str, Cast]) -> Cast:
    """People in one room of the homeserver, the same for the whole session on Synapse.

    A test brings new people for what it changes; memberships of different
    people do not touch each other.
    """
    known = casts.get(homeserver.url)
    if known is None or known.homeserver is not homeserver:
        casts[homeserver.url] = await Cast.assembled(homeserver)
    return casts[homeserver.url]
