"""Knock's own parts around a fake homeserver, with a clock that a test sets: no waiting, no mocks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.kit.account import Account
from tests.kit.fake_homeserver import FakeHomeserver
from tests.kit.fake_homeserver.rooms import Room
from tests.kit.http import matrix_http

from mknock.checks import decide
from mknock.domain.chance import new_id
from mknock.domain.doors import Alarm, Door, Limits, Policy, Removal, Welcoming
from mknock.domain.ids import MatrixID
from mknock.domain.knocks import Knock, KnockState, Submission
from mknock.domain.rules import Rule, RuleKind
from mknock.matrix.auth import FixedToken
from mknock.matrix.client import MatrixClient
from mknock.matrix.gateway import HomeserverGateway
from mknock.ports import Attempt, Encryption, Entry, Kept, Pace, Queue
from mknock.services.doors import Doors
from mknock.services.familiar_names import FamiliarNames
from mknock.services.invitations import Invitations
from mknock.services.memberships import Memberships
from mknock.services.moderation import Moderation
from mknock.services.native_knocks import NativeKnocks
from mknock.services.readiness import Readiness
from mknock.services.retry import Retry
from mknock.services.rule_book import RuleBook, stance_of
from mknock.services.watchdog import Watchdog
from mknock.services.welcomes import Welcomes
from mknock.storage.sqlite import SqliteStore
from mknock.workers.delivery import LEASE, Delivery

REASON = "You asked to join the repair café."
BOT = "@bot:knock.test"
OWNER = "@owner:knock.test"
UNLIMITED = Limits(door=1_000_000, homeserver=1_000_000, sender=1_000_000)
UNALARMED = Alarm(arrivals=0, alike=0)


class SetClock:
    """A clock that stands still until it is moved. It starts at the real time, as the homeserver's does."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += seconds


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """How the parts are set. With a ``url`` the homeserver is called over the network."""

    url: str = ""
    pace: Pace = field(default_factory=lambda: Pace(0.0))
    concurrency: int = 32
    deadline: float = 45.0
    welcoming: Welcoming = field(default_factory=Welcoming)
    blocked_members: Removal = Removal.KICK
    dry_run: bool = False
    policy: Policy = Policy.AUTO
    alarm: Alarm = UNALARMED
    native_knocks: bool = True
    cooldown: float = 0.0
    encryption: Encryption | None = None


class Process:
    """The parts that one process of Knock has, put together as the wiring does."""

    def __init__(self, room: Room, bot: Account, path: Path, clock: SetClock, wishes: Wishes) -> None:
        self.store = SqliteStore(path)
        self.http = matrix_http(transport=None if wishes.url else bot.transport())
        url = wishes.url or bot.url
        tokens = FixedToken(str(bot.access_token), url)
        client = MatrixClient(url, tokens, http=self.http, clock=clock, deadline=wishes.deadline)
        self.homeserver = HomeserverGateway(client)
        self.door = Door(
            "main",
            room.room_id,
            limits=UNLIMITED,
            cooldown=wishes.cooldown,
            alarm=wishes.alarm,
            invite_reason=REASON,
            welcoming=wishes.welcoming,
            blocked_members=wishes.blocked_members,
            policy=wishes.policy,
            native_knocks=wishes.native_knocks,
        )
        self.doors = Doors(self.door)
        self.clock = clock
        self.book = RuleBook(self.store, clock)
        retry = Retry(chance=lambda: 0.5)  # no spread
        self.invitations = Invitations(
            self.store, self.homeserver, self.doors, self.book, clock, retry, dry_run=wishes.dry_run
        )
        self.delivery = Delivery(
            self.store, self.invitations.deliver, concurrency=wishes.concurrency, pace=wishes.pace
        )
        welcomes = Welcomes(
            self.store, self.homeserver, self.doors, self.book, clock, retry, encryption=wishes.encryption
        )
        self.welcomes = Delivery(
            self.store, welcomes.deliver, concurrency=8, pace=wishes.pace, queue=Queue.WELCOMES
        )
        self.watchdog = Watchdog(
            self.store, self.homeserver, self.doors, self.book, clock, dry_run=wishes.dry_run
        )
        self.room_watch = Memberships(
            self.store,
            self.homeserver,
            clock,
            guard=self.watchdog.look_at,
            doors=self.doors,
            natives=NativeKnocks(self.store, self.homeserver, self.doors, self.book, clock),
            note=FamiliarNames(self.store, self.doors, clock, is_blocked=self.book.blocking).note,
        )
        self.moderation = Moderation(
            self.store, self.homeserver, self.doors, self.book, clock, wake=lambda: None
        )
        self.readiness = Readiness(self.store, self.homeserver, self.doors)

    async def claim(self) -> Knock:
        """Claim what is due, as a worker does that dies right after."""
        return (await self.store.claim(self.clock(), limit=1, lease=LEASE)).knocks[0]

    async def work(self) -> None:
        """Deliver until nothing is due at this moment."""
        for _ in range(1000):
            if not await self.delivery.tick(self.clock()):
                return
            await self.delivery.drain()
        raise AssertionError("what cannot be done now is due again and again")

    async def work_for(self, seconds: float) -> None:
        """Let so many seconds pass, and deliver whenever something is due."""
        end = self.clock() + seconds
        while True:
            await self.work()
            next_at = self.delivery.next_at
            if next_at is None or next_at > end:
                break
            self.clock.now = max(next_at, self.clock.now + 0.001)
        self.clock.now = end
        await self.work()

    async def welcome(self) -> None:
        """Send the welcomes that are due at this moment."""
        for _ in range(100):
            if not await self.welcomes.tick(self.clock()):
                return
            await self.welcomes.drain()
        raise AssertionError("a welcome that cannot be sent now is due again and again")

    async def close(self) -> None:
        await self.delivery.stop(0.0)
        await self.welcomes.stop(0.0)
        await self.http.aclose()
        await self.store.close()


class Workshop(Process):
    """The first process, with a room and a bot in it; ``another`` starts a second one on the same store."""

    def __init__(self, fake: FakeHomeserver, directory: Path, wishes: Wishes) -> None:
        self.fake = fake
        self.wishes = wishes
        self.path = directory / "knock.db"
        self.bot = fake.log_in("bot")
        self.room = fake.add_room(fake.add_user("owner").user_id, self.bot.user_id)
        super().__init__(self.room, self.bot, self.path, SetClock(), wishes)

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(
        cls, fake: FakeHomeserver, directory: Path, wishes: Wishes | None = None
    ) -> AsyncIterator[Self]:
        workshop = cls(fake, directory, wishes or Wishes())
        await workshop.store.open()
        try:
            yield workshop
        finally:
            await workshop.close()

    @contextlib.asynccontextmanager
    async def another(self) -> AsyncIterator[Process]:
        """A second process on the same store and clock."""
        second = Process(self.room, self.bot, self.path, self.clock, self.wishes)
        await second.store.open()
        try:
            yield second
        finally:
            await second.close()

    # People and what happens to them

    def people(self, count: int) -> list[str]:
        """So many accounts on the homeserver; their Matrix IDs."""
        return [self.fake.add_user(f"person{number}").user_id for number in range(count)]

    async def knock(self, user_id: str) -> str:
        """Somebody knocks and is admitted; the id of the knock."""
        knock = await self._admitted(user_id)
        assert knock.state is KnockState.ADMITTED
        return knock.id

    async def outcome(self, user_id: str) -> KnockState:
        """Somebody knocks; the state of the knock right after."""
        return (await self._admitted(user_id)).state

    async def _admitted(self, user_id: str) -> Knock:
        now = self.clock()
        user = MatrixID.of(user_id)
        await self.book.refresh()
        listed = self.book.decide(user, stance_of(self.door))
        attempt = Attempt(
            new_id(now), self.door, user, Submission("test", user), now, trusted=True, listed=listed
        )
        kept = await self.store.admit(attempt, decide)
        assert isinstance(kept, Kept)
        return kept.knock

    async def knocks(self, people: Sequence[str]) -> list[str]:
        return [await self.knock(person) for person in people]

    async def delivered(self, user_id: str) -> Knock:
        """Somebody knocks; what has become of the knock when nothing more is due."""
        knock_id = await self.knock(user_id)
        await self.work()
        return await self.record(knock_id)

    async def record(self, knock_id: str) -> Knock:
        knock = await self.store.knock(knock_id)
        assert knock is not None
        return knock

    async def add_rule(self, user_id: str) -> None:
        """Put somebody on the block-list without looking at their knocks, as an import does."""
        rule = Rule(
            RuleKind.USER, user_id, user_id.lower(), "spam", source="import", author="", at=self.clock()
        )
        await self.store.change_rules([rule], (), Entry(at=self.clock(), actor="import", action="block"))

    def invite_calls(self, user_id: str) -> int:
        """How often the homeserver was asked to invite somebody."""
        return len(self.fake.calls_of("invite", about=user_id))

    def invited(self) -> list[str]:
        """Whom the homeserver was asked to invite, in that order."""
        return [call.about for call in self.fake.calls_of("invite")]

    def invites_each(self, people: Sequence[str]) -> set[int]:
        """How many invites of each became an event."""
        counts = self.room.invite_counts()
        return {counts[person] for person in people}

    def memberships(self, people: Sequence[str]) -> set[str | None]:
        return {self.room.membership(person) for person in people}

    def set_power(self, power: int) -> None:
        """The owner changes the bot's power; inviting takes 50."""
        self.room.override_levels({"invite": 50, "users": {BOT: power}})
