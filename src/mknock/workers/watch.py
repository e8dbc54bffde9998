"""Follows /sync: learns at once who joins, declines, leaves, is banned or knocks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mknock.domain.doors import Door
from mknock.domain.errors import HomeserverError, Refused
from mknock.domain.policy_lists import KINDS
from mknock.ports import Encryption, Homeserver, LostPosition, News, RoomNews, Store
from mknock.services.doors import Doors
from mknock.services.list_following import ListFollower
from mknock.services.memberships import Memberships
from mknock.services.proof_talks import ProofTalks
from mknock.services.sessions import OwnSession
from mknock.telemetry import get_logger

log = get_logger(__name__)

MEMBER = "m.room.member"
LONG_POLL = 25.0
"""Seconds that the homeserver may hold an answer back when nothing happens."""


class Watch:
    """One step of following /sync a tick. The position is kept once everything before it is dealt with.

    What may have been missed (no position yet, one that the homeserver no longer
    knows, a gap) leads to a comparison of the whole room with the record. ``on_change``
    is called when a room's settings have changed, ``on_trouble`` when we cannot listen.
    With ``lists`` policy rooms are listened to as well; ``talks`` hears who invites us.
    """

    def __init__(
        self,
        store: Store,
        homeserver: Homeserver,
        doors: Doors,
        memberships: Memberships,
        session: OwnSession,
        *,
        encryption: Encryption | None = None,
        lists: ListFollower | None = None,
        talks: ProofTalks | None = None,
        hurry: Callable[[str], Awaitable[None]],
        on_change: Callable[[], Awaitable[None]],
        on_trouble: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._homeserver = homeserver
        self._doors = doors
        self._memberships = memberships
        self._session = session
        self._encryption = encryption
        self._lists = lists
        self._talks = talks
        self._other_rooms = asyncio.Event()
        self._hurry = hurry
        self._on_change = on_change
        self._on_trouble = on_trouble
        self._heard: frozenset[str] = frozenset()

    async def tick(self, _: float) -> int:
        """Hear what is new; return 0 if we may not listen, or the homeserver does not answer."""
        try:
            if await self._session.problem():
                return 0
            await self._hear()
        except HomeserverError as error:
            log.info("not hearing of joins right now", why=str(error))
            self._on_trouble()
            return 0
        return 1

    def listen_elsewhere(self) -> None:
        """Other rooms are to be listened to: do not wait for what happens in those of before."""
        self._other_rooms.set()

    async def _hear(self) -> None:
        name = await self._position_name()
        position = await self._store.secret(name)
        self._other_rooms.clear()
        door_rooms = [door.room_id for door in self._doors]
        await self._look_at_new(door_rooms)
        rooms = list(dict.fromkeys((*self._doors.rooms, *(self._lists.rooms if self._lists else ()))))
        try:
            news = await self._unless_elsewhere(self._homeserver.sync(position, rooms, timeout=LONG_POLL))
        except LostPosition:
            log.warning("the homeserver has forgotten where we were: re-reading the rooms")
            position = None
            news = await self._homeserver.sync(None, rooms, timeout=0)
        if news is None:
            return
        await self._take_in(news, anew=position is None)
        if news.position != position:
            await self._store.put_secret(name, news.position)

    async def _look_at_new(self, rooms: Sequence[str]) -> None:
        """Compare the rooms that nobody listened to until now: a door was added, or leads elsewhere."""
        for door in self._doors if self._heard else ():
            if door.room_id not in self._heard:
                await self._compare(door)
        self._heard = frozenset(rooms)

    async def _unless_elsewhere(self, sync: Coroutine[None, None, News]) -> News | None:
        """Wait for an answer, but no longer than we are to listen to these rooms.

        An answer that nobody waits for is given again, from the same position.
        """
        answer = asyncio.ensure_future(sync)
        elsewhere = asyncio.ensure_future(self._other_rooms.wait())
        try:
            await asyncio.wait((answer, elsewhere), return_when=asyncio.FIRST_COMPLETED)
            return answer.result() if answer.done() else None
        finally:
            for task in (answer, elsewhere):
                task.cancel()
            await asyncio.gather(answer, elsewhere, return_exceptions=True)

    async def _take_in(self, news: News, *, anew: bool) -> None:
        if self._encryption is not None:
            ours = set(self._doors.rooms)  # nothing is sent into policy rooms
            rooms = {room_id: room for room_id, room in news.rooms.items() if room_id in ours}
            to_device = await self._wanted(news.to_device)
            await self._encryption.heard(replace(news, rooms=rooms, to_device=to_device))
        if self._talks is not None:
            self._talks.heard(news.invitations)
        for door in self._doors:
            await self._take_in_room(door, news.rooms.get(door.room_id, RoomNews()), anew=anew)
            if door.room_id in news.gone:
                self._on_trouble()
        if self._lists is not None:
            await self._take_in_lists(self._lists, news, anew=anew)
        for user_id in news.devices_changed:
            await self._hurry(user_id)

    async def _wanted(self, sent: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
        """Of what was sent to our device, what comes from people who may be about to prove their account."""
        senders = [event["sender"] for event in sent if isinstance(event.get("sender"), str)]
        if self._talks is None or not senders:
            return ()
        wanted = await self._talks.senders_wanted(senders)
        return tuple(event for event in sent if event.get("sender") in wanted)

    async def _take_in_room(self, door: Door, room: RoomNews, *, anew: bool) -> None:
        for event in room.events:
            if event.kind == MEMBER:
                await self._memberships.heard(door, event)
        if anew or room.gap:
            await self._compare(door)
        if room.gap or any(event.kind != MEMBER and event.kind not in KINDS for event in room.events):
            await self._on_change()  # powers, encryption, an upgrade …: what we may and can do is another

    async def _compare(self, door: Door) -> None:
        """Compare a room with the record. One that we may not read keeps nobody from hearing of the others."""
        try:
            await self._memberships.compare(door)
        except Refused as error:
            log.warning("a room could not be compared with the record", door=door.slug, why=str(error))

    async def _take_in_lists(self, lists: ListFollower, news: News, *, anew: bool) -> None:
        if anew:
            lists.suspect()
        for room_id in lists.rooms & news.rooms.keys():
            await lists.heard(room_id, news.rooms[room_id])
        if lists.rooms & news.gone:
            lists.suspect()
            self._on_trouble()

    async def _position_name(self) -> str:
        """Where the position is kept: it belongs to the device whose token we use."""
        return f"position:{await self._homeserver.whoami()}:{await self._homeserver.device()}"
