"""Rooms that were replaced by newer ones ("upgraded"): where their doors lead now.

Anybody can make a room and name it as another's successor, and anybody can
make one that names another as its predecessor. Only when each names the other
is it the same room, and Knock follows; else the door holds. What was found
is kept in the store, so that a restart while the homeserver is away, and
every other process, knows it without asking.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from mknock.domain.doors import Door
from mknock.domain.errors import HomeserverError, Refused
from mknock.domain.knocks import OPEN, Knock, KnockState, Reason
from mknock.domain.lifecycle import UNWANTED
from mknock.ports import Clock, Entry, Homeserver, Membership, Store
from mknock.services.doors import Doors, Standing
from mknock.telemetry import get_logger, keep_secret

log = get_logger(__name__)

S = KnockState
KEPT = "standings"
"""The name under which the store keeps where the doors lead."""
SETTLING = 30.0
"""Seconds after which every process has learned where a door leads, so that no knock comes in for the old room."""
MOVED = "The room has moved; an invitation to the new one follows."
"""Shown to the person whose invite to the old room is withdrawn."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Rooms that follow each other. ``problem``: why the last one's successor cannot be followed to ("": none)."""

    rooms: tuple[str, ...]
    problem: str = ""


async def trace(homeserver: Homeserver, room_id: str, account: str) -> Trace:
    """Follow a room to what it has become, as far as both sides agree and the account may invite there.

    Raises:
        HomeserverError: it cannot be found out.
    """
    rooms = [room_id]
    while (tombstone := await homeserver.state(rooms[-1], "m.room.tombstone")) is not None:
        successor = tombstone.get("replacement_room")
        if not isinstance(successor, str) or not successor.startswith("!") or successor in rooms:
            return Trace(tuple(rooms), "it does not say by which room")
        problem = await _why_not(homeserver, rooms[-1], successor, account)
        if problem:
            return Trace(tuple(rooms), problem)
        rooms.append(successor)
    return Trace(tuple(rooms))


async def _why_not(homeserver: Homeserver, room_id: str, successor: str, account: str) -> str:
    """Why a successor cannot be followed to; "" if it can."""
    if not await is_in(homeserver, successor, account):
        return f"{account} is not in the new room: invite it there and let it join"
    made = await homeserver.state(successor, "m.room.create") or {}
    predecessor = made.get("predecessor")
    if not isinstance(predecessor, Mapping) or predecessor.get("room_id") != room_id:
        return "the new room does not name it as its predecessor"
    levels = await homeserver.power_levels(successor)
    if levels.of(account) < levels.invite:
        return f"{account} may not invite to the new room: make it a moderator there"
    return ""


async def is_in(homeserver: Homeserver, room_id: str, account: str) -> bool:
    """Whether the account is in the room. Only members may ask, so a refusal is a no."""
    try:
        return (await homeserver.member(room_id, account)).membership is Membership.JOIN
    except Refused:
        return False


class Successors:
    """Looks after the doors whose rooms were replaced; ``wake`` is called when knocks may go on."""

    def __init__(
        self,
        store: Store,
        homeserver: Homeserver,
        doors: Doors,
        clock: Clock,
        *,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._homeserver = homeserver
        self._doors = doors
        self._clock = clock
        self._wake = wake
        self._kept = ""

    async def recall(self) -> dict[str, Standing]:
        """Take over from the store where the doors lead."""
        self._kept = await self._store.secret(KEPT) or ""
        standings = _read(self._kept)
        self._learn(standings)
        return standings

    async def look(self, account: str) -> dict[str, str]:
        """Follow each door as far as it leads; by slug, a sentence for the owner where it cannot be followed.

        Raises:
            HomeserverError: it cannot be found out right now.
        """
        known, standings, problems = await self.recall(), dict[str, Standing](), dict[str, str]()
        for door in self._doors.as_described:
            before = self._before(door, known.get(door.slug))
            standing, problem = await self._look_at(door, before, account)
            if standing is not None:
                standings[door.slug] = standing
            if problem:
                problems[door.slug] = sentence(door, problem)
        await self._keep(standings)
        for slug, standing in standings.items():
            if not (standing.replaced or standing.settled):
                standings[slug] = await self._bring_along(slug, standing)
        await self._keep(standings)
        return problems

    def _before(self, door: Door, known: Standing | None) -> Standing | None:
        """What is known of the door's present room: nothing, if the owner gave it another.

        Knocks that waited for that come along.
        """
        if known is None or known.described == door.room_id:
            return known
        if known.settled and not known.replaced:
            return None
        past = tuple(room for room in (*known.past, known.now) if room != door.room_id)
        return Standing(door.room_id, door.room_id, past, since=self._clock())

    async def _look_at(
        self, door: Door, before: Standing | None, account: str
    ) -> tuple[Standing | None, str]:
        began = before.now if before else door.room_id
        try:
            found = await trace(self._homeserver, began, account)
        except Refused:
            return before, ""  # the bot is not in the room: told elsewhere
        standing = before or Standing(door.room_id, began)
        if len(found.rooms) > 1:
            past = (*standing.past, *found.rooms[:-1])
            standing = replace(
                standing, now=found.rooms[-1], past=past, since=self._clock(), settled=False, replaced=False
            )
            await self._tell(door, "follow", "the room was replaced by a newer one: the door leads there")
        if found.problem and not standing.replaced:
            await self._tell(door, "hold", f"the room was replaced by a newer one: {found.problem}")
        standing = replace(standing, replaced=bool(found.problem))
        return (standing if standing.past or standing.replaced else None), found.problem

    async def _tell(self, door: Door, action: str, detail: str) -> None:
        log.warning("a door's room was replaced", door=door.slug, what=action, why=detail)
        await self._store.write(
            Entry(at=self._clock(), actor="knock", action=action, door=door.slug, detail=detail)
        )

    async def _keep(self, standings: Mapping[str, Standing]) -> None:
        text = json.dumps({slug: asdict(standing) for slug, standing in standings.items()})
        self._learn(standings)
        if text != (self._kept or "{}"):
            await self._store.put_secret(KEPT, text)
            self._kept = text

    def _learn(self, standings: Mapping[str, Standing]) -> None:
        for standing in standings.values():
            keep_secret(standing.now)
        self._doors.learn_standings(standings)

    # --- the knocks

    async def _bring_along(self, slug: str, standing: Standing) -> Standing:
        """Bring the door's knocks into its room of now, the settled ones too: what was declined stays so."""
        door = self._doors.get(slug)
        if door is None:
            return standing
        began, moved = self._clock(), 0
        async for knock in self._knocks_of(slug, standing):
            moved += await self._bring(knock, door, standing)
        if moved:
            log.info("knocks were brought along to the new room", door=slug, knocks=moved)
            self._wake()
        return replace(standing, settled=not moved and began >= standing.since + SETTLING)

    async def _knocks_of(self, slug: str, standing: Standing) -> AsyncIterator[Knock]:
        for state in S:
            page = await self._store.knocks_in(frozenset({state}))
            while page:
                for knock in page:
                    if knock.door == slug and knock.room_id in standing.past and not _is_going(knock):
                        yield knock
                page = await self._store.knocks_in(frozenset({state}), after=page[-1].id)

    async def _bring(self, knock: Knock, door: Door, standing: Standing) -> bool:
        now = self._clock()
        if knock.state in OPEN and await self._is_open_there(knock, door):
            how = _given_up(now)
        else:
            how = _brought(door, standing, now)
        if knock.state is S.INVITED:
            await self._take_back(knock)
        detail = "the room was replaced by a newer one"
        entry = Entry(at=now, actor="knock", action="follow", detail=detail)
        after = await self._store.change(knock.id, how, entry)
        return (after.room_id, after.state) != (knock.room_id, knock.state)

    async def _is_open_there(self, knock: Knock, door: Door) -> bool:
        others = await self._store.knocks_of(knock.user_key, states=OPEN)
        return any(other.room_id == door.room_id and other.trapped == knock.trapped for other in others)

    async def _take_back(self, knock: Knock) -> None:
        """Withdraw the invite to the old room, if that can be done: it leads nowhere."""
        with suppress(HomeserverError):
            member = await self._homeserver.member(knock.room_id, knock.user_id)
            if member.membership is Membership.INVITE:
                await self._homeserver.kick(knock.room_id, knock.user_id, MOVED)


def sentence(door: Door, problem: str) -> str:
    """What the owner is told of a room that cannot be followed."""
    return (
        f"the room of door {door.slug!r} was replaced by a newer one (upgraded), and knocks are held:"
        f" {problem}; or set {door.setting} to the room that counts"
    )


def _is_going(knock: Knock) -> bool:
    """Whether its invite is being taken back: that happens where it is."""
    return knock.state is S.INVITED and knock.reason in UNWANTED


def _brought(door: Door, standing: Standing, now: float) -> Callable[[Knock], Knock]:
    def how(knock: Knock) -> Knock:
        if knock.room_id not in standing.past or _is_going(knock):
            return knock
        moved = replace(knock, room_id=door.room_id, knocking=False)  # a membership knock stays behind
        if knock.state is S.ADMITTED:
            return replace(moved, due_at=now)
        if knock.state is S.INVITED or (knock.state is S.HELD and knock.reason is Reason.ROOM_REPLACED):
            return moved.moved_to(
                S.ADMITTED,
                at=now,
                reason=Reason.ROOM_REPLACED,
                due_at=now,
                expires_at=now + door.lifetime,
                invited_at=None,
                reminders=0,
                attempts=0,
            )
        return moved

    return how


def _given_up(now: float) -> Callable[[Knock], Knock]:
    """End a knock whose person has another open one at the new room: there is one a room."""

    def how(knock: Knock) -> Knock:
        if knock.state not in OPEN:
            return knock
        state = S.REFUSED if knock.state is S.HELD else S.RESCINDED
        return knock.moved_to(state, at=now, reason=Reason.ROOM_REPLACED, due_at=None)

    return how


def _read(text: str) -> dict[str, Standing]:
    kept: dict[str, dict[str, Any]] = json.loads(text or "{}")
    return {slug: Standing(**{**one, "past": tuple(one["past"])}) for slug, one in kept.items()}
