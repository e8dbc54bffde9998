"""Keeps the block-list in force over everybody who is in a room already, invited, or knocking there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from mknock.domain.doors import Door, Removal
from mknock.domain.errors import HomeserverError, Refused
from mknock.domain.ids import key_of
from mknock.domain.knocks import MEMBERS, Knock, KnockState, Reason
from mknock.domain.rules import Rule
from mknock.matching import Kind
from mknock.ports import Clock, Entry, Homeserver, Membership, PowerLevels, Store
from mknock.services.doors import Doors
from mknock.services.rule_book import RuleBook, stance_of, told
from mknock.telemetry import get_logger

log = get_logger(__name__)

S = KnockState
SHOWN = "You may not be in this room."
"""The reason that the removed person sees. Why, is for moderators."""
AGAIN = 86400.0
"""Seconds until somebody whom Knock had no power to remove is tried again, and reported again."""
BREATH = 500
"""Members that are looked at before others get a turn."""
WATCHED = (Membership.JOIN, Membership.INVITE, Membership.KNOCK)


@dataclass(frozen=True, slots=True)
class Found:
    """Somebody on the block-list who is in a room of ours."""

    user_id: str
    membership: Membership
    rule: Rule


class Watchdog:
    """Un-invites, turns down, kicks or bans whoever is on the block-list, as the door says.

    It never touches the bot, nor anybody of more power than a plain member:
    moderators are for people to judge. With ``dry_run`` it only reports.
    """

    def __init__(
        self,
        store: Store,
        homeserver: Homeserver,
        doors: Doors,
        book: RuleBook,
        clock: Clock,
        *,
        dry_run: bool = False,
    ) -> None:
        self._store = store
        self._homeserver = homeserver
        self._doors = doors
        self._book = book
        self._clock = clock
        self._dry_run = dry_run

    async def scan(self, _: float) -> int:
        """Look at everybody in every door's room; return how many were dealt with.

        One room that cannot be read does not keep the others from being looked at.
        """
        await self._book.refresh()
        dealt = 0
        for door in self._doors if len(self._book) else ():
            try:
                dealt += await self._scan_room(door)
            except HomeserverError as error:
                log.warning("the block-list scan could not read a room", door=door.slug, why=str(error))
        return dealt

    async def look_at(self, door: Door, user_id: str, membership: Membership, called: str = "") -> bool:
        """Look at one person who has just come, under that display name; return whether they were dealt with.

        Who only resembles somebody on the list is pointed out to the moderators, and left alone.
        """
        await self._book.refresh()
        rule = self._book.blocking(user_id)
        if rule is not None:
            return bool(await self._deal_with(door, [Found(user_id, membership, rule)]))
        match = self._book.look(user_id, stance_of(door), called).decisive
        if match is not None and match.kind is not Kind.ALLOW:
            await self._point_out(door, Found(user_id, membership, match.rule), told(match))
        return False

    async def _point_out(self, door: Door, found: Found, how: str) -> None:
        levels = await self._homeserver.power_levels(door.room_id)
        bot = await self._homeserver.whoami()
        if not _is_spared(found.user_id, bot, levels) and not await self._is_known(door, found):
            await self._report(door, found, f"resembles {found.rule.entity}: {how}", Reason.LOOK_ALIKE)

    async def _scan_room(self, door: Door) -> int:
        found: list[Found] = []
        for membership in WATCHED:
            members = await self._homeserver.members(door.room_id, membership)
            found += [match async for match in self._matches(list(members), membership)]
        return await self._deal_with(door, found)

    async def _matches(self, user_ids: Sequence[str], membership: Membership) -> AsyncIterator[Found]:
        for number, user_id in enumerate(user_ids, 1):
            rule = self._book.blocking(user_id)
            if rule is not None:
                yield Found(user_id, membership, rule)
            if number % BREATH == 0:
                await asyncio.sleep(0)

    async def _deal_with(self, door: Door, found: Sequence[Found]) -> int:
        if not found:
            return 0
        levels = await self._homeserver.power_levels(door.room_id)
        bot = await self._homeserver.whoami()
        dealt = 0
        for one in found:
            if _is_spared(one.user_id, bot, levels) or await self._is_known(door, one):
                continue
            if not await self._is_being_answered(door, one):
                dealt += await self._remove(door, one)
        return dealt

    async def _is_being_answered(self, door: Door, found: Found) -> bool:
        """Whether a knock on record is about to turn down their membership knock."""
        if found.membership is not Membership.KNOCK:
            return False
        knocks = await self._store.knocks_of(key_of(found.user_id))
        return any(knock.knocking and knock.room_id == door.room_id for knock in knocks)

    async def _remove(self, door: Door, found: Found) -> bool:
        """Do what the door wants about one person, and write down what came of it."""
        act = _act(door, found.membership)
        if self._dry_run or act is Removal.REPORT:
            await self._report(
                door, found, f"would be removed ({act.value})" if self._dry_run else "reported only"
            )
            return False
        try:
            change = self._homeserver.ban if act is Removal.BAN else self._homeserver.kick
            await change(door.room_id, found.user_id, SHOWN)
        except Refused as error:
            await self._report(door, found, f"could not be removed: {error}")
            return False
        await self._record(door, found, act)
        return True

    async def _record(self, door: Door, found: Found, act: Removal) -> None:
        now = self._clock()
        after = "ban" if act is Removal.BAN else "leave"
        entry = self._entry(door, found, f"watchdog:{act.value}", now)
        await self._store.write(replace(entry, before=found.membership.value, after=after))
        log.info("somebody on the block-list was removed", door=door.slug, was=found.membership, act=act)
        for knock in await self._store.knocks_of(key_of(found.user_id), states=MEMBERS | {S.INVITED}):
            if knock.room_id == door.room_id:
                await self._store.change(knock.id, lambda k: _ended(k, found.rule, now), entry)

    async def _report(self, door: Door, found: Found, what: str, reason: Reason = Reason.BLOCKED) -> None:
        """Say it once a day, not at every scan (what cannot be done is not tried for ever)."""
        now = self._clock()
        await self._store.pause(_name(door, found), now + AGAIN)
        entry = self._entry(door, found, "watchdog:report", now)
        before = found.membership.value
        await self._store.write(replace(entry, before=before, detail=what, reason=reason.value))
        log.warning("moderators should look at somebody", door=door.slug, was=found.membership, why=reason)

    async def _is_known(self, door: Door, found: Found) -> bool:
        return await self._store.paused(_name(door, found)) > self._clock()

    def _entry(self, door: Door, found: Found, action: str, now: float) -> Entry:
        return Entry(
            at=now,
            actor="watchdog",
            action=action,
            door=door.slug,
            user_id=found.user_id,
            reason=Reason.BLOCKED.value,
            rule=found.rule.entity,
        )


def _act(door: Door, membership: Membership) -> Removal:
    """What is done: an invite or a membership knock is taken back whatever the door says of members."""
    act = door.blocked_members
    return act if membership is Membership.JOIN or act is not Removal.REPORT else Removal.KICK


def _is_spared(user_id: str, bot: str, levels: PowerLevels) -> bool:
    """The bot itself, and whoever was given power in the room."""
    return user_id == bot or levels.of(user_id) > levels.users_default


def _ended(knock: Knock, rule: Rule, now: float) -> Knock:
    if knock.state not in MEMBERS | {S.INVITED}:
        return knock
    state = S.RESCINDED if knock.state is S.INVITED else S.REMOVED
    return knock.moved_to(state, at=now, reason=Reason.BLOCKED, rule=rule.entity, due_at=None)


def _name(door: Door, found: Found) -> str:
    """The name under which a report is remembered; it holds no room and no person."""
    parts = (door.slug, found.user_id, found.rule.key, found.membership.value)
    return "watchdog:" + sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()[:32]
