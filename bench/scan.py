"""What a whole block-list scan costs, and whether it holds others up."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from mknock.domain.doors import Door
from mknock.domain.rules import Rule, RuleKind
from mknock.ports import Entry, Homeserver, Member, Membership, PowerLevels
from mknock.services.doors import Doors
from mknock.services.rule_book import RuleBook
from mknock.services.watchdog import Watchdog
from mknock.storage.sqlite import SqliteStore

MEMBERS = 10_000
RULES = 10_000
BOT = "@knock:example.org"


class Room:
    """A homeserver with one room, as far as the scan asks for it."""

    def __init__(self) -> None:
        self._members = {f"@member{number}:example.org": Member(Membership.JOIN) for number in range(MEMBERS)}

    async def whoami(self) -> str:
        return BOT

    async def members(self, _: str, membership: Membership) -> dict[str, Member]:
        return self._members if membership is Membership.JOIN else {}

    async def power_levels(self, _: str) -> PowerLevels:
        return PowerLevels({BOT: 50})


async def scan(folder: Path) -> dict[str, float]:
    """Nobody of 10,000 members is on a list of 10,000: what every scan costs, as a rule."""
    store = SqliteStore(folder / "knock.db")
    await store.open()
    await store.change_rules([_rule(number) for number in range(RULES)], (), Entry(0.0, "bench", "import"))
    book = RuleBook(store, time.time)
    await book.refresh()
    homeserver: Any = Room()
    port: Homeserver = homeserver
    watchdog = Watchdog(store, port, Doors(Door("main", "!room")), book, time.time)
    await watchdog.scan(0.0)
    began = time.process_time()
    longest = await _longest_pause(watchdog.scan(0.0))
    seconds = time.process_time() - began
    await store.close()
    print(
        f"scan of {MEMBERS:,} members against {RULES:,} rules: {seconds:.3f} s of CPU;"
        f" others waited {longest * 1000:.0f} ms at the most"
    )
    return {"cpu_s": round(seconds, 3), "longest_pause_ms": round(longest * 1000, 1)}


def _rule(number: int) -> Rule:
    user = f"@blocked{number}:example.org"
    return Rule(RuleKind.USER, user, user, "spam", source="bench", author="bench", at=0.0)


async def _longest_pause(work: Any) -> float:
    """The longest time that the event loop had no turn for others while the work was done."""
    task = asyncio.ensure_future(work)
    longest, last = 0.0, time.perf_counter()
    while not task.done():
        await asyncio.sleep(0)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    await task
    return longest
