"""Leaves the rooms of policy lists that Knock is no longer subscribed to.

What is to be left is in the store until it is, so neither an outage nor a crash
keeps Knock in a room for good. One process of all does it.
"""

from __future__ import annotations

from mknock.domain.errors import HomeserverError, NotFound, Refused
from mknock.ports import Clock, Entry, Homeserver, RoomToLeave, Store
from mknock.services.doors import Doors
from mknock.services.sessions import OwnSession
from mknock.services.subscriptions import address_of
from mknock.telemetry import get_logger

log = get_logger(__name__)

AGAIN = 30.0
"""Seconds until a room that could not be left is tried again."""
LEFT = "Knock has left the list's room"
OUTSIDE = "Knock was in the list's room no longer"


class ListLeaver:
    """Leaves them one after the other, unless Knock has something else to do there.

    ``published`` is the room of Knock's own list, if there is one: its ID or alias.
    """

    def __init__(
        self,
        store: Store,
        homeserver: Homeserver,
        doors: Doors,
        clock: Clock,
        session: OwnSession,
        *,
        published: str = "",
    ) -> None:
        self._store = store
        self._homeserver = homeserver
        self._doors = doors
        self._clock = clock
        self._session = session
        self._published = published
        self._next: dict[str, float] = {}
        """When each room that could not be left is tried again."""

    async def tick(self, now: float) -> int:
        """Leave the rooms whose time has come; return how many are settled."""
        rooms = await self._store.rooms_to_leave()
        return sum(
            [await self._settle(room, now) for room in rooms if self._next.get(room.room_id, 0.0) <= now]
        )

    async def _settle(self, room: RoomToLeave, now: float) -> bool:
        try:
            done = await self._reason_to_stay(room.room_id) or await self._leave(room.room_id)
        except HomeserverError as error:
            self._next[room.room_id] = now + AGAIN
            log.info("the room of a policy list could not be left yet", list=room.list_name, why=str(error))
            return False
        entry = Entry(at=self._clock(), actor="knock", action="leave", before=room.list_name, detail=done)
        if not await self._store.room_settled(room, entry):
            await self._go_back(room)
        return True

    async def _reason_to_stay(self, room_id: str) -> str:
        """Why Knock stays in a room though no list of it is wanted; "" if it need not.

        Raises:
            HomeserverError: that cannot be found out right now.
        """
        if any(door.room_id == room_id for door in self._doors):
            return "Knock stays: it invites to that room"
        if room_id == await self._published_room():
            return "Knock stays: it publishes its own rules there"
        if await self._session.problem():
            return "Knock stays: its token is that of somebody's client, who may be there for other reasons"
        return "Knock stays: its account has power there" if await self._has_power(room_id) else ""

    async def _published_room(self) -> str:
        try:
            return (await address_of(self._homeserver, self._published)).room_id if self._published else ""
        except NotFound:
            return ""

    async def _has_power(self, room_id: str) -> bool:
        """Whether somebody has made the account more than a reader."""
        try:
            levels = await self._homeserver.power_levels(room_id)
        except Refused:
            return False  # only members may ask
        return levels.of(await self._homeserver.whoami()) > levels.users_default

    async def _leave(self, room_id: str) -> str:
        """Leave, or decline the invitation, if there is anything to leave; what came of it.

        Raises:
            HomeserverError: try again later.
        """
        try:
            await self._homeserver.leave(room_id)
        except Refused:  # banned, thrown out, or left before a crash
            return OUTSIDE
        return LEFT

    async def _go_back(self, room: RoomToLeave) -> None:
        """Somebody has subscribed to the room in the very moment that we left it."""
        server = room.room_id.partition(":")[2]
        try:
            await self._homeserver.join(room.room_id, [server] if server else [])
        except HomeserverError as error:
            # The follower says what to do, for as long as we are outside.
            log.warning("the room of a policy list was left", list=room.list_name, why=str(error))
