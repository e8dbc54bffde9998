"""Everything that the fake homeserver remembers: people and rooms."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from tests.kit.fake_homeserver.accounts import Accounts
from tests.kit.fake_homeserver.rooms import Room, something_happened
from tests.kit.rooms import DEFAULTS, ENCRYPTION, RoomWishes

Json = dict[str, Any]


@dataclass
class Itself:
    """What the homeserver tells of itself."""

    software: str = "Fake/1"
    clock_ahead: float | None = 0.0
    """Seconds by which its clock is ahead of ours; None: it does not tell its time."""


class World:
    """The accounts, and the rooms by their ids."""

    def __init__(self) -> None:
        self.accounts = Accounts()
        self.itself = Itself()
        self.rooms: dict[str, Room] = {}
        self.aliases: dict[str, str] = {}
        """Room IDs, by the aliases that stand for them."""
        self.device_keys: dict[str, dict[str, Json]] = {}
        """What devices have published, by person and device."""
        self._devices_changed: list[tuple[int, str]] = []
        self._news = asyncio.Event()

    def add_room(self, owner: str, bot: str | None, wishes: RoomWishes) -> Room:
        """Make a private room of the user ``owner``; the user ``bot`` has joined it."""
        wish = DEFAULTS | wishes
        room = Room(owner, version=wish["room_version"])
        room.write("m.room.name", {"name": wish["name"]})
        room.write("m.room.join_rules", {"join_rule": wish["join_rule"]})
        if wish["encrypted"]:
            room.write("m.room.encryption", ENCRYPTION["content"])
        if bot:
            self._let_in(room, bot, wish["bot_power"])
        return self.keep(room)

    def of_itself(self) -> dict[str, str]:
        """The headers that tell of the homeserver."""
        told = {"Server": self.itself.software} if self.itself.software else {}
        if self.itself.clock_ahead is not None:
            told["Date"] = formatdate(time.time() + self.itself.clock_ahead, usegmt=True)
        return told

    def publish(self, user_id: str, device: str, keys: Json) -> None:
        """A device publishes its encryption keys."""
        self.device_keys.setdefault(user_id, {})[device] = keys
        self._devices_changed.append((something_happened(), user_id))
        self._tell()

    def devices_changed_since(self, number: int, seen_by: str) -> list[str]:
        """Return whose devices changed since then, of those who share a room with that person."""
        changed = {user_id for at, user_id in self._devices_changed if at > number}
        return sorted(user_id for user_id in changed if self._share_a_room(user_id, seen_by))

    async def until_news(self) -> None:
        """Return when something has happened anywhere."""
        await self._news.wait()

    def _tell(self) -> None:
        told, self._news = self._news, asyncio.Event()
        told.set()

    def _share_a_room(self, one: str, other: str) -> bool:
        return one == other or any(
            room.membership(one) == room.membership(other) == "join" for room in self.rooms.values()
        )

    def keep(self, room: Room) -> Room:
        self.rooms[room.room_id] = room
        room.tell = self._tell
        self._tell()
        return room

    def shown_in_rooms(self, user_id: str) -> Json:
        """Return the part of the profile that a homeserver copies into member events."""
        user = self.accounts.find(user_id)
        return {"displayname": user.displayname} if user and user.displayname else {}

    def _let_in(self, room: Room, bot: str, power: int) -> None:
        room.set_membership(bot, bot, "join", self.shown_in_rooms(bot))
        owner = {} if room.creator_outranks else {room.creator: 100}
        room.override_levels({"users": {**owner, bot: power}})
