"""What the browser's tests work with: a garden's door, a Knock that has it, and visits to its page."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request
from tests.kit.processes import Server

from mknock.services.readiness import ACCOUNT
from mknock.storage.sqlite import SqliteStore

API_KEY = "key-of-the-browsers-tests"
ENVIRONMENT = {
    "NEW_ROOM_ID": "!main:knock.test",
    "MATRIX_BASE_URL": "http://127.0.0.1:9",
    "MATRIX_ACCESS_TOKEN": "token",
    "API_KEY": API_KEY,
    "DEFAULT_SERVER": "knock.test",
    "MAX_REQUESTS_PER_WINDOW": "100000",
}
DOORS = '''
[doors.garden]
room = "!garden:knock.test"
[doors.garden.page]
title = "Community garden"
text = """
We share beds, tools and cake. The room is **private**, so please say who you are.

- Work mornings: every *Saturday*
- More: [garden.example](https://garden.example)
"""
rules = """
1. Be kind.
2. What is said in the room stays there.
"""
colour = "#f2c200"
logo = "logo.gif"

[[doors.garden.questions]]
key = "why"
label = "Why do you want to join?"
kind = "text"
required = true
hint = "A sentence or two will do."
[[doors.garden.questions]]
key = "name"
label = "What shall we call you?"
[[doors.garden.questions]]
key = "day"
label = "When can you come?"
kind = "choice"
required = true
options = ["Saturday", "Sunday"]
[[doors.garden.questions]]
key = "likes"
label = "What do you like?"
kind = "choices"
hint = "As many as you like."
options = ["Bees", "Trees", "Cake"]
[[doors.garden.questions]]
key = "district"
label = "Where do you live?"
kind = "choice"
options = ["North", "East", "South", "West", "Centre", "Hills", "Lake", "Elsewhere"]
[[doors.garden.questions]]
key = "adult"
label = "I am 18 or older."
kind = "agree"
required = true

[doors.garden-shed]
room = "!shed:knock.test"
policy = "prove-first"
[doors.garden-shed.page]
title = "Garden shed"
colour = "#f2c200"
'''
BOT = "@the-knock-of-the-community-garden:knock.test"
"""The account that Knock acts as: it was learnt when the homeserver was there."""
LOGO = bytes.fromhex("47494638396101000100800000f2c20000000021f90401000000002c00000000010001000002024401003b")
AS_LONG_AS_A_PERSON = 3.6
"""Seconds from opening the form to sending it."""


async def learn(folder: Path) -> None:
    """Let the store be as after a time in which the homeserver was there."""
    store = SqliteStore(folder / "knock.db")
    await store.open()
    await store.put_secret(ACCOUNT, BOT)
    await store.close()


def describe(folder: Path) -> None:
    """Write the doors."""
    (folder / "doors.toml").write_text(DOORS, encoding="utf-8")
    (folder / "logo.gif").write_bytes(LOGO)


@dataclass(frozen=True)
class Knock:
    """A running Knock."""

    server: Server

    @property
    def page(self) -> str:
        return f"{self.server.url}/d/garden"

    def link(self, **wish: Any) -> str:
        """Make an invite link; return its path."""
        headers = {"Authorization": f"Bearer {API_KEY}"}
        made = httpx2.post(f"{self.server.url}/links", headers=headers, json=wish)
        return str(made.json()["path"])

    def record(self, user: str) -> dict[str, Any]:
        """What a moderator sees of somebody who is held or admitted."""
        headers = {"Authorization": f"Bearer {API_KEY}"}
        for path, key in (("/held", "knocks"), ("/pending_invites", "pending_invites")):
            found = httpx2.get(self.server.url + path, headers=headers).json()[key]
            for knock in found:
                if knock["user_id"] == user:
                    return dict(knock)
        raise LookupError(user)


@dataclass
class Visits:
    """Visits with one browser, and what went wrong meanwhile."""

    browser: Browser
    knock: Knock
    complaints: list[str] = field(default_factory=list)
    """What the browser wrote on its console, but for the statuses of answers."""
    strangers: list[str] = field(default_factory=list)
    """Addresses of other hosts that a page asked for."""
    cookies: list[Any] = field(default_factory=list)
    _contexts: list[BrowserContext] = field(default_factory=list)

    def page(self, path: str = "", *, host: str = "", link: str = "", **options: Any) -> Page:
        """Open the garden's page or that of a link, or another below it, in a browser that was never here before."""
        context = self.browser.new_context(**options)
        self._contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._watch)
        address = self.knock.page if not host else self.knock.page.replace("127.0.0.1", host)
        page.goto((self.knock.server.url + link if link else address) + path)
        return page

    def _hear(self, message: ConsoleMessage) -> None:
        if "the server responded with a status of" not in message.text:
            self.complaints.append(message.text)

    def _watch(self, request: Request) -> None:
        if urlsplit(request.url).hostname not in ("127.0.0.1", "knock.test", None):
            self.strangers.append(request.url)

    def close(self) -> None:
        for context in self._contexts:
            self.cookies += context.cookies()
            context.close()


def fill_in(page: Page, user: str) -> None:
    """Answer everything that has to be answered."""
    page.fill("#matrix_id", user)
    page.fill("#answer-why", "I like beans.")
    page.check("text=Sunday")
    page.check("[name=answer-adult]")
    page.check("[name=rules]")


def send(page: Page) -> None:
    """Take as long as a person, send the form, and see the status page."""
    time.sleep(AS_LONG_AS_A_PERSON)
    page.click("button")
    page.wait_for_url("**/s/*")


@cache
def _axe() -> str:
    return (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


def faults_of(page: Page) -> list[str]:
    """What axe-core finds wrong on the page, for people who see, hear or type in other ways."""
    page.evaluate(_axe())
    found = page.evaluate("axe.run()")
    return [
        f"{one['id']}: {json.dumps([node['html'] for node in one['nodes']])}" for one in found["violations"]
    ]
