"""A real Chromium, and a real Knock that it visits.

The tests here are no coroutines: Playwright has an event loop of its own, which lives
as long as a module and not longer, so that the others' are not in its way.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright
from tests.browser.visits import ENVIRONMENT, Knock, Visits, describe, learn
from tests.kit.processes import Server

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def knock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Knock]:
    """A running Knock whose homeserver is away: nobody is invited, and everything is kept."""
    folder = tmp_path_factory.mktemp("knock")
    describe(folder)
    asyncio.run(learn(folder))
    with Server.uvicorn(folder, {**ENVIRONMENT, "DATA_DIR": str(folder)}) as server:
        asyncio.run(server.wait_ready())
        yield Knock(server)


@pytest.fixture(scope="module")
def chromium(knock: Knock) -> Iterator[Browser]:
    """The browser. Knock is there before it, since Playwright lets no other event loop begin."""
    program = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if program is None:
        pytest.skip("there is no Chromium here: install the package chromium")
    # Inside a container there is nothing to make a sandbox of; another name for this machine is no secure context.
    arguments = ["--no-sandbox", "--host-resolver-rules=MAP knock.test 127.0.0.1"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def visits(knock: Knock, chromium: Browser) -> Iterator[Visits]:
    """Opens pages; at the end nothing may have gone wrong in any of them."""
    made = Visits(chromium, knock)
    yield made
    made.close()
    assert made.complaints == []
    assert made.strangers == []
    assert made.cookies == []
