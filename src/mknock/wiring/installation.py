"""A whole running Knock."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Sequence

from mknock.api.access import AdminKey
from mknock.api.stopping import Stopping
from mknock.api.webhooks import FormsFirst
from mknock.domain.doors import (
    Door,
)
from mknock.domain.ids import key_of
from mknock.ports import Entry, Pace, Queue, RuleChange, RulesChanged
from mknock.services.enforcement import Enforcement
from mknock.services.familiar_names import FamiliarNames
from mknock.services.invitations import Invitations
from mknock.services.list_following import ListFollower
from mknock.services.memberships import Memberships
from mknock.services.native_knocks import NativeKnocks
from mknock.services.outcomes import Outcomes
from mknock.services.proof_answers import ProofAnswers
from mknock.services.proof_talks import ProofTalks
from mknock.services.raid_watch import EVERY, RaidWatch
from mknock.services.readiness import Readiness
from mknock.services.retry import Retry
from mknock.services.shortcomings import Shortcomings
from mknock.services.successors import Successors
from mknock.services.watchdog import Watchdog
from mknock.services.welcomes import Welcomes
from mknock.telemetry import keep_secret
from mknock.wiring.addresses import Addresses
from mknock.wiring.doors import DoorsAsDescribed, secrets_of
from mknock.wiring.parts import (
    Parts,
    blocklist_file_of,
    list_findings_of,
    list_leaver_of,
    moderation_of,
    notices_of,
    prepare,
    proof_findings_of,
    publisher_of,
    session_of,
    settle_api_key,
)
from mknock.workers.delivery import LEASE, Delivery
from mknock.workers.housekeeping import Housekeeping
from mknock.workers.reload import Reload
from mknock.workers.runner import Duty, Runner, Turn
from mknock.workers.watch import Watch

LISTS_EVERY = 1.5
"""Seconds between two looks for policy lists that were added or removed by a command."""
WELCOMES_AT_ONCE = 8
"""Welcomes on their way at once."""
STOP_GRACE = 0.3
"""Seconds that invites on their way have at the end."""
RELOAD_EVERY = 2.0
"""Seconds between two looks whether the description of the doors has changed."""


class Installation:
    """A whole running Knock: its parts, its background duties, and its HTTP application."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.admin_key = AdminKey(open=parts.settings.allow_open_api)
        self.outcomes = Outcomes(parts.store)
        self.session = session_of(parts)
        successors = Successors(
            parts.store, parts.homeserver, parts.doors, parts.clock, wake=lambda: self.wake()
        )
        self.file = blocklist_file_of(parts)
        shortcomings = Shortcomings(
            parts.homeserver,
            parts.doors,
            self.session,
            successors,
            parts.encryption,
            self.file,
            list_findings_of(parts),
            proof_findings_of(parts, self.session),
            notices_of(parts),
        )
        described = DoorsAsDescribed(parts.settings)
        self.reload = Reload(parts.doors, described, described.sources, on_change=self._other_doors)
        self.readiness = Readiness(
            parts.store,
            parts.homeserver,
            parts.doors,
            shortcomings,
            doors_problem=lambda: self.reload.problem,
        )
        self.retry = Retry(base=parts.settings.base_backoff_delay, quick=parts.settings.max_retries)
        self._looking = Duty(
            "readiness", self.readiness.tick, every=15.0, next_at=self._next_look, alone=True
        )
        self.delivery, self._delivering = self._inviting()
        self.welcomes, self._welcoming = self._welcoming_duty()
        self.watchdog = Watchdog(
            parts.store,
            parts.homeserver,
            parts.doors,
            parts.book,
            parts.clock,
            dry_run=parts.settings.watchdog_dry_run,
        )
        self._familiar = FamiliarNames(parts.store, parts.doors, parts.clock, is_blocked=parts.book.blocking)
        self.memberships = Memberships(
            parts.store,
            parts.homeserver,
            parts.clock,
            guard=self.watchdog.look_at,
            doors=parts.doors,
            natives=NativeKnocks(
                parts.store, parts.homeserver, parts.doors, parts.book, parts.clock, wake=self.wake
            ),
            note=self._familiar.note,
            wake=self._welcoming.wake,
        )
        self.moderation = moderation_of(parts, wake=self.wake)
        self.reloading = Duty("doors", self.reload.tick, every=RELOAD_EVERY)
        self._scanning = Duty(
            "block-list", self._enforce, every=parts.settings.blocklist_scan_interval, alone=True
        )
        self.follower, self.leaver = self._follower(), list_leaver_of(parts, self.session)
        self.talks, self._proving = self._proving_duty()
        self.watch = self._watch()
        self._telling = [*self._file_duties(), *self._publishing_duties()]
        parts.book.on_news(self._heard_of_rules)
        turn = Turn(parts.store, holder=f"{os.getpid()}-{secrets.token_hex(4)}")
        self.runner = Runner(self._duties(), parts.clock, turn)
        addresses = Addresses(
            parts, self.admin_key, self.outcomes, self.moderation, self.readiness, self.wake
        )
        self.api, webhooks = addresses.application()
        self.stopping = Stopping(FormsFirst(self.api, webhooks))
        self.stopping.on_stop(self.outcomes.stop)

    def wake(self) -> None:
        """There may be something to deliver."""
        self._delivering.wake()

    def _wake_all(self) -> None:
        """Something may be due, by what another process did or what happened in a room."""
        self._delivering.wake()
        self._welcoming.wake()

    def _inviting(self) -> tuple[Delivery, Duty]:
        """What sends invites, reminders and withdrawals; in every process."""
        parts = self.parts
        invitations = Invitations(
            parts.store,
            parts.homeserver,
            parts.doors,
            parts.book,
            parts.clock,
            self.retry,
            on_outage=self._looking.wake,
            dry_run=parts.settings.watchdog_dry_run,
        )
        delivery = Delivery(
            parts.store,
            invitations.deliver,
            concurrency=parts.settings.delivery_concurrency,
            pace=Pace(parts.settings.request_delay),
            on_room=self.wake,
        )
        duty = Duty("delivery", delivery.tick, every=0.5, next_at=lambda: delivery.next_at, again=True)
        return delivery, duty

    def _welcoming_duty(self) -> tuple[Delivery, Duty]:
        """What welcomes; in one process, for an encrypting device has one writer."""
        parts = self.parts
        welcomes = Welcomes(
            parts.store,
            parts.homeserver,
            parts.doors,
            parts.book,
            parts.clock,
            self.retry,
            encryption=parts.encryption,
            on_outage=self._looking.wake,
        )
        delivery = Delivery(
            parts.store,
            welcomes.deliver,
            concurrency=WELCOMES_AT_ONCE,
            pace=Pace(parts.settings.request_delay),
            queue=Queue.WELCOMES,
            on_room=lambda: self._welcoming.wake(),
        )
        duty = Duty(
            "welcome", delivery.tick, every=0.5, next_at=lambda: delivery.next_at, again=True, alone=True
        )
        return delivery, duty

    def _proving_duty(self) -> tuple[ProofTalks, Duty]:
        """What talks with people who prove their account; in one process, for it reads and encrypts."""
        parts = self.parts
        answers = ProofAnswers(parts.store, parts.doors, parts.book, parts.clock, wake=self.wake)
        talks = ProofTalks(
            parts.store,
            parts.homeserver,
            answers,
            parts.clock,
            encryption=parts.encryption,
            wake=lambda: self._proving.wake(),
        )
        return talks, Duty("proofs", talks.tick, every=5.0, next_at=lambda: talks.next_at, alone=True)

    def _file_duties(self) -> list[Duty]:
        """What follows the block-list's file, if there is one; in one process, for it writes to it."""
        file = self.file
        if file is None:
            return []
        file.on_trouble = self._looking.wake
        return [Duty("block-list file", file.tick, every=2.0, next_at=lambda: file.next_at, alone=True)]

    def _heard_of_rules(self, changes: Sequence[RuleChange]) -> None:
        """The block-list is another: members may be on it now, and the file and our own list are to say the same."""
        if any(change.removed is change.rule.allow for change in changes):
            self._scanning.wake()
            self._familiar.look_again()
        for duty in self._telling:
            duty.wake()

    def _duties(self) -> list[Duty]:
        """Every background duty. Those marked ``alone`` run in one process of all (promise 9)."""
        settings = self.parts.settings
        return [
            self._delivering,
            Duty("rules", self.parts.book.tick, every=0.5),
            Duty("leases", self._renew, every=LEASE / 4),
            Duty("recall", self.readiness.recall, every=2.0),
            self.reloading,
            self._welcoming,
            self._looking,
            Duty("watch", self.watch.tick, every=5.0, again=True, alone=True),
            Duty("lists", self._follow_lists, every=LISTS_EVERY, alone=True),
            Duty("invite check", self._check_invites, every=settings.invite_check_interval, alone=True),
            self._scanning,
            self._proving,
            *self._telling,
            self._raid_duty(),
            Duty("housekeeping", Housekeeping(self.parts.store).tick, every=3600.0, alone=True),
        ]

    def _raid_duty(self) -> Duty:
        """What tells of raids and ends them; in one process, for it writes into rooms."""
        parts = self.parts
        watch = RaidWatch(parts.store, parts.doors, notices_of(parts), parts.clock)
        return Duty("raids", watch.tick, every=EVERY, alone=True)

    def _watch(self) -> Watch:
        parts = self.parts
        return Watch(
            parts.store,
            parts.homeserver,
            parts.doors,
            self.memberships,
            self.session,
            encryption=parts.encryption,
            lists=self.follower,
            talks=self.talks,
            hurry=self._hurry,
            on_change=self._look_anew,
            on_trouble=self._looking.wake,
        )

    def _follower(self) -> ListFollower:
        """What follows policy lists; it is not asked to before there is the watch."""
        parts = self.parts
        return ListFollower(
            parts.store,
            parts.homeserver,
            parts.clock,
            every=parts.settings.invite_check_interval,
            on_rooms=lambda: self.watch.listen_elsewhere(),
            on_change=self._rules_changed,
        )

    async def _follow_lists(self, now: float) -> int:
        """Follow the policy lists that there are, and leave the rooms of those that are no more."""
        return await self.follower.tick(now) + await self.leaver.tick(now)

    def _publishing_duties(self) -> list[Duty]:
        """What publishes Knock's own blocks, if a room is named for them; in one process, for it writes there."""
        publisher = publisher_of(self.parts)
        if publisher is None:
            return []
        every = publisher.every
        return [Duty("publish", publisher.tick, every=every, next_at=lambda: publisher.next_at, alone=True)]

    async def _rules_changed(self, done: RulesChanged) -> None:
        """A policy list says something else: undo what is undone. Of what is new the rule book tells."""
        await self.moderation.restore(done.dropped, actor="knock")
        self.wake()

    async def _enforce(self, now: float) -> int:
        """Look for whoever is blocked, among those who wait and in the rooms."""
        enforcement = Enforcement(self.parts.store, self.parts.doors, self.parts.book)
        ended = await enforcement.enforce_all(Entry(at=now, actor="knock", action="block"))
        if ended:
            self.wake()
        return ended + await self.watchdog.scan(now)

    async def _renew(self, now: float) -> int:
        return await self.delivery.renew(now) + await self.welcomes.renew(now)

    async def _look_anew(self) -> None:
        """A room's settings have changed: what waited for the owner may go now, and what works is another."""
        await self.parts.store.resume("owner")
        self._wake_all()
        self._looking.wake()

    async def _hurry(self, user_id: str) -> None:
        """Somebody's devices have changed: they may now be able to read their welcome."""
        if await self.parts.store.hurry(key_of(user_id), self.parts.clock()):
            self._welcoming.wake()

    async def _check_invites(self, _: float) -> int:
        """Compare every room with the record: what /sync did not tell, and for those who cannot use it."""
        return await self.memberships.compare_all()

    def read_doors_anew(self) -> None:
        """Read the description of the doors anew, whether or not it looks changed (SIGHUP)."""
        self.reload.ask()
        self.reloading.wake()

    async def _other_doors(self, doors: tuple[Door, ...]) -> None:
        """There are other doors: nothing of theirs is to be logged, and what works is another."""
        for door in doors:
            for secret in secrets_of(door):
                keep_secret(secret)
        self._looking.wake()

    def _next_look(self) -> float | None:
        return self.parts.clock() + 2.0 if self.readiness.homeserver_problem else None

    async def start(self) -> None:
        """Open the store and begin the duties. The homeserver may be down: Knock serves all the same.

        Raises:
            KnockError: the store cannot be opened.
            SettingsError: there is no way to sign in.
        """
        await prepare(self.parts, self.file)
        await self.readiness.learn()
        self.admin_key.key = await settle_api_key(self.parts)
        keep_secret(self.admin_key.key)
        self.parts.store.on_work(self._wake_all)
        self.runner.start()

    async def stop(self) -> None:
        await self.runner.stop()
        await asyncio.gather(
            self.delivery.stop(STOP_GRACE), self.welcomes.stop(STOP_GRACE), self.talks.stop()
        )
        await self.parts.close()
