"""What moderators do about raids: begin and end them, look at the whole wave, and decide it at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from mknock.domain.chance import new_id
from mknock.domain.errors import IllegalMove, NotFound
from mknock.domain.ids import MatrixID
from mknock.domain.knocks import Knock, KnockState, Reason
from mknock.domain.raids import Cause, Raid
from mknock.matching.likeness import likeness
from mknock.ports import Clock, Entry, Store
from mknock.services.doors import Doors
from mknock.services.moderation import Moderation

PAGE = 100
"""Knocks that are read, and blocked, at once."""
AT_ONCE = 20
"""Knocks that are decided at once: each in a transaction of its own, so nobody waits long behind them."""
SHOWN = 10
"""Of each kind, in a preview."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a wave is like: how many still wait and for what, and what most of them have in common."""

    raid: Raid
    held: int
    states: Mapping[KnockState, int]
    """How many were held in all, by the state they are in now."""
    reasons: Mapping[Reason, int]
    """Why they wait. Who waits for the raid alone is let in with the wave; against the others there is more."""
    people: Sequence[str]
    """The first of them."""
    likenesses: Sequence[tuple[str, int]]
    """What names have in common, and how many."""
    servers: Sequence[tuple[str, int]]
    signals: Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Decided:
    """How many knocks of a wave were decided, and how many still wait."""

    raid: Raid
    decided: int
    left: int


@dataclass(slots=True)
class _Tally:
    held: int = 0
    reasons: Counter[Reason] = field(default_factory=Counter)
    people: list[str] = field(default_factory=list)
    likenesses: Counter[str] = field(default_factory=Counter)
    servers: Counter[str] = field(default_factory=Counter)
    signals: Counter[str] = field(default_factory=Counter)

    def add(self, knock: Knock) -> None:
        user = MatrixID.of(knock.user_id)
        self.held += 1
        self.reasons[knock.reason] += 1
        self.likenesses[likeness(user.localpart)] += 1
        self.servers[user.server] += 1
        self.signals.update(signal.partition(":")[0] for signal in knock.signals)
        if len(self.people) < SHOWN:
            self.people.append(knock.user_id)


class Waves:
    """Each verb names its ``actor`` for the ledger. A wave is named by its raid's id, or by its door for the newest."""

    def __init__(self, store: Store, doors: Doors, moderation: Moderation, clock: Clock) -> None:
        self._store = store
        self._doors = doors
        self._moderation = moderation
        self._clock = clock

    def now(self) -> float:
        return self._clock()

    async def start(self, slug: str, *, actor: str, lasting: float | None = None) -> Raid:
        """Hold everybody at a door from now on: for ``lasting`` seconds, or until somebody ends it.

        Raises:
            NotFound: there is no such door.
        """
        if self._doors.get(slug) is None:
            raise NotFound(f"there is no door {slug[:64]!r}")
        now = self._clock()
        raid = Raid(
            id=new_id(now),
            door=slug,
            cause=Cause.MODERATOR,
            started_at=now,
            started_by=actor,
            ends_at=None if lasting is None else now + lasting,
        )
        return await self._store.start_raid(raid)

    async def end(self, slug: str, *, actor: str, quiet: float | None = None) -> Raid:
        """End the raid at a door; for ``quiet`` seconds, or the door's calm, no other begins by itself.

        Who is held still waits.

        Raises:
            NotFound: there is none.
        """
        now, door = self._clock(), self._doors.get(slug)
        calm = door.alarm.calm if door else 0.0
        until = now + (calm if quiet is None else quiet)
        raid = await self._store.end_raid(slug, now, actor, quiet_until=until)
        if raid is None:
            raise NotFound(f"no raid is on at door {slug[:64]!r}")
        return raid

    async def raids(self) -> list[Raid]:
        """The newest raids, those that are on among them."""
        return await self._store.raids()

    async def find(self, name: str) -> Raid:
        """The raid with this id, or the newest of the door of this name.

        Raises:
            NotFound: there is none.
        """
        raid = await self._store.raid(name.upper())
        of_door = (one for one in await self._store.raids() if one.door == name)
        found = raid or next(of_door, None)
        if found is None:
            raise NotFound(f"there is no wave {name[:64]!r}: see mknock raid list, or GET /raids")
        return found

    async def held(self, name: str) -> list[Knock]:
        """Everybody of a wave who still waits, oldest first."""
        raid = await self.find(name)
        return [knock async for page in self._pages(raid) for knock in page]

    async def preview(self, name: str) -> Preview:
        """What the wave is like, before anything is decided."""
        raid, tally = await self.find(name), _Tally()
        async for page in self._pages(raid):
            for knock in page:
                tally.add(knock)
        del tally.likenesses[""]
        return Preview(
            raid=raid,
            held=tally.held,
            states=await self._store.wave_counts(raid.id),
            reasons=tally.reasons,
            people=tally.people,
            likenesses=tally.likenesses.most_common(SHOWN),
            servers=tally.servers.most_common(SHOWN),
            signals=tally.signals.most_common(SHOWN),
        )

    async def approve(
        self, name: str, *, actor: str, reason: str = "", spare: Collection[str] = ()
    ) -> Decided:
        """Admit everybody of a wave who waits for the raid alone, but for the knocks to ``spare`` (by id).

        May be broken off and repeated: it goes on with who still waits.
        """

        async def admit(knock: Knock) -> None:
            if knock.reason is Reason.RAID:
                await self._moderation.approve(knock.id, actor=actor, reason=reason)

        return await self._decide(name, spare, admit)

    async def refuse(
        self, name: str, *, actor: str, reason: str = "", block: bool = False, spare: Collection[str] = ()
    ) -> Decided:
        """Refuse everybody of a wave, whatever else they wait for; with ``block`` put them on the block-list as well.

        Who cannot be blocked (Knock itself, somebody of its power) is left as they are. May be broken off and
        repeated, as ``approve``.
        """
        entry = Entry(at=self._clock(), actor=actor, action="block", detail=reason)
        blocked: set[str] = set()

        async def prepare(page: Sequence[Knock]) -> None:
            if block:
                blocked.update(
                    await self._moderation.block_all([MatrixID.of(one.user_id) for one in page], entry)
                )

        async def turn_away(knock: Knock) -> None:
            if not block or knock.user_key in blocked:
                await self._moderation.refuse(knock.id, actor=actor, reason=reason)

        return await self._decide(name, spare, turn_away, prepare)

    async def _decide(
        self,
        name: str,
        spare: Collection[str],
        decide: Callable[[Knock], Awaitable[None]],
        prepare: Callable[[Sequence[Knock]], Awaitable[None]] | None = None,
    ) -> Decided:
        raid, spared = await self.find(name), {knock_id.upper() for knock_id in spare}
        before = (await self._store.wave_counts(raid.id)).get(KnockState.HELD, 0)
        async for page in self._pages(raid):
            chosen = [knock for knock in page if knock.id not in spared]
            if prepare is not None and chosen:
                await prepare(chosen)
            for start in range(0, len(chosen), AT_ONCE):
                await asyncio.gather(
                    *(_unless_decided(decide, one) for one in chosen[start : start + AT_ONCE])
                )
        left = (await self._store.wave_counts(raid.id)).get(KnockState.HELD, 0)
        return Decided(raid, max(before - left, 0), left)

    async def _pages(self, raid: Raid) -> AsyncIterator[list[Knock]]:
        page = await self._store.wave(raid.id, limit=PAGE)
        while page:
            yield page
            page = await self._store.wave(raid.id, after=page[-1].id, limit=PAGE)


async def _unless_decided(decide: Callable[[Knock], Awaitable[None]], knock: Knock) -> None:
    """Decide a knock, unless somebody else has meanwhile."""
    try:
        await decide(knock)
    except (IllegalMove, NotFound):
        return
