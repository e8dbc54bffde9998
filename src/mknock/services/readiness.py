"""Whether Knock can do its work right now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mknock.domain.errors import HomeserverError, KnockError, StoreUnavailable
from mknock.domain.ids import MatrixID
from mknock.ports import Clock, Homeserver, Membership, Store
from mknock.services.doors import Doors
from mknock.telemetry import get_logger

log = get_logger(__name__)

UNKNOWN = "not known yet: Knock has just started"
STORE_CHECK = 1.0
"""Seconds that an answer of the store is believed, so that asking often costs nothing."""


@dataclass(slots=True)
class Readiness:
    """Looks after the two things Knock needs: its store and its homeserver.

    ``tick`` asks the homeserver (a worker calls it); ``problems`` is what
    stands in the way, in sentences without secrets.
    """

    store: Store
    homeserver: Homeserver
    doors: Doors
    clock: Clock
    on_account: Callable[[str], None] = lambda _: None
    homeserver_problem: str = UNKNOWN
    _store_problem: str = ""
    _store_checked: float = 0.0

    async def tick(self, _: float) -> int:
        """Ask the homeserver who we are and whether we are in the room; learn our server."""
        before = self.homeserver_problem
        try:
            self.homeserver_problem = await self._look()
        except HomeserverError as error:
            self.homeserver_problem = str(error)
        except StoreUnavailable as error:
            self.homeserver_problem = f"sign-in waits for the store: {error}"
        if before != self.homeserver_problem:
            _report(self.homeserver_problem)
            if not self.homeserver_problem:
                await self.store.resume("homeserver")
                await self.store.resume("owner")
        return 0

    async def problems(self) -> dict[str, str]:
        """What is wrong, by part; empty when Knock is ready."""
        found = {"store": await self._store_now(), "homeserver": self.homeserver_problem}
        return {part: problem for part, problem in found.items() if problem}

    async def _look(self) -> str:
        account = await self.homeserver.whoami()
        self.doors.learn_server(MatrixID.of(account).server)
        self.on_account(account)
        for door in self.doors:
            member = await self.homeserver.member(door.room_id, account)
            if member.membership is not Membership.JOIN:
                return f"{account} is not in the room of door {door.slug!r}: invite it and let it join"
        return ""

    async def _store_now(self) -> str:
        now = self.clock()
        if now - self._store_checked >= STORE_CHECK:
            self._store_checked = now
            try:
                await self.store.ping()
                self._store_problem = ""
            except KnockError as error:
                self._store_problem = str(error)
        return self._store_problem


def _report(problem: str) -> None:
    if problem:
        log.warning("not ready", why=problem)
    else:
        log.info("ready: the homeserver answers and we are in the room")
