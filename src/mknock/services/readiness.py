"""Whether Knock can do its work right now."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from mknock.domain.errors import HomeserverError, KnockError, StoreUnavailable
from mknock.domain.ids import MatrixID
from mknock.ports import Homeserver, Store
from mknock.services.doors import Doors
from mknock.services.shortcomings import Shortcomings
from mknock.services.successors import is_in
from mknock.telemetry import get_logger

log = get_logger(__name__)

UNKNOWN = "not known yet: Knock has just started"
ACCOUNT = "account"
"""The name under which the store keeps whom Knock acts as."""
SEEN = "readiness"
"""The name under which the process that asks the homeserver tells the others what it saw, and when."""
STALE = 40.0
"""Seconds after which what another process saw is no longer believed: then everybody looks for themselves."""
STORE_PATIENCE = 2.0
"""Seconds after which a store that says nothing counts as away."""
STORE_CHECK = 1.0
"""Seconds that an answer of the store is believed, so that asking often costs nothing."""


@dataclass(slots=True)
class Readiness:
    """Looks after the two things Knock needs: its store and its homeserver.

    ``tick`` asks the homeserver; one process does, and ``recall`` tells the others
    what it saw. ``problems`` is what stands in the way, in sentences without secrets.
    """

    store: Store
    homeserver: Homeserver
    doors: Doors
    shortcomings: Shortcomings | None = None
    homeserver_problem: str = UNKNOWN
    limited: dict[str, str] = field(default_factory=dict)
    """What Knock can do in part only, by its name, with a sentence for the owner. It is ready all the same."""
    doors_problem: Callable[[], str] = lambda: ""
    """What is wrong with the description of the doors, as this process reads it."""
    _account: str = ""
    _looking: asyncio.Task[str] | None = None
    _looked_at: float = 0.0

    async def learn(self) -> None:
        """Learn our server and the doors' rooms from the last time: known while the homeserver is away."""
        self._account = await self.store.secret(ACCOUNT) or ""
        if self._account:
            self.doors.learn_server(MatrixID.of(self._account).server)
        if self.shortcomings is not None:
            await self.shortcomings.successors.recall()

    async def recall(self, now: float) -> int:
        """Take over what the process that asks the homeserver saw; ask it ourselves if nobody has for long."""
        told = json.loads(await self.store.secret(SEEN) or "{}")
        if now - told.get("at", 0.0) >= STALE:
            return await self.tick(now)
        if self.homeserver_problem != told["problem"]:
            self.homeserver_problem = told["problem"]
            await self.learn()
            _report(self.homeserver_problem)
        self.limited = told["limited"]
        if self.shortcomings is not None:
            await self.shortcomings.successors.recall()
        return 0

    async def tick(self, now: float) -> int:
        """Ask the homeserver who we are and whether we are in the room; learn our server."""
        before = self.homeserver_problem
        try:
            self.homeserver_problem = await self._look()
            if not self.homeserver_problem:
                await self._look_for_shortcomings()
        except HomeserverError as error:
            self.homeserver_problem = str(error)
        except StoreUnavailable as error:
            self.homeserver_problem = f"sign-in waits for the store: {error}"
        if before != self.homeserver_problem:
            _report(self.homeserver_problem)
            if not self.homeserver_problem:
                await self.store.resume("homeserver")
                await self.store.resume("owner")
        seen = {"at": now, "problem": self.homeserver_problem, "limited": self.limited}
        await self.store.put_secret(SEEN, json.dumps(seen))
        return 0

    @property
    def account(self) -> str:
        """The account that Knock acts as; "" as long as it was never learnt."""
        return self._account

    @property
    def limitations(self) -> dict[str, str]:
        """What works in part only, seen by whichever process."""
        problem = self.doors_problem()
        return {**self.limited, "doors": problem} if problem else self.limited

    async def problems(self) -> dict[str, str]:
        """What is wrong, by part; empty when Knock is ready."""
        found = {"store": await self._store_now(), "homeserver": self.homeserver_problem}
        return {part: problem for part, problem in found.items() if problem}

    async def _look(self) -> str:
        account = await self.homeserver.whoami()
        self.doors.learn_server(MatrixID.of(account).server)
        if account != self._account:
            await self.store.put_secret(ACCOUNT, account)
            self._account = account
        absent = [door.slug for door in self.doors if not await is_in(self.homeserver, door.room_id, account)]
        if len(absent) < len(self.doors):
            return ""
        return f"{account} is not in the room of door {absent[0]!r}: invite it and let it join"

    async def _look_for_shortcomings(self) -> None:
        """Find out what works in part only, and say so when that changes."""
        limited = await self.shortcomings.of(self._account) if self.shortcomings else {}
        for name, problem in limited.items():
            if self.limited.get(name) != problem:
                log.warning("ready, but not for everything", what=name, why=problem)
        self.limited = limited

    async def _store_now(self) -> str:
        """What is wrong with the store. However many ask, it is looked at once, and nobody waits long."""
        now = asyncio.get_running_loop().time()
        if self._looking is None or (self._looking.done() and now - self._looked_at >= STORE_CHECK):
            self._looked_at = now
            self._looking = asyncio.create_task(self._look_at_store())
        try:
            return await asyncio.wait_for(asyncio.shield(self._looking), STORE_PATIENCE)
        except TimeoutError:
            return "the store does not answer"

    async def _look_at_store(self) -> str:
        try:
            await self.store.ping()
        except KnockError as error:
            return str(error)
        return ""


def _report(problem: str) -> None:
    if problem:
        log.warning("not ready", why=problem)
    else:
        log.info("ready: the homeserver answers and we are in the room")
