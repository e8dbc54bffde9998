"""Everything that the fake homeserver remembers: people and rooms."""

from __future__ import annotations

from typing import Any

from tests.kit.fake_homeserver.accounts import Accounts
from tests.kit.fake_homeserver.rooms import Room
from tests.kit.rooms import DEFAULTS, ENCRYPTION, RoomWishes

Json = dict[str, Any]


class World:
    """The accounts, and the rooms by their ids."""

    def __init__(self) -> None:
        self.accounts = Accounts()
        self.rooms: dict[str, Room] = {}

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

    def keep(self, room: Room) -> Room:
        return self.rooms.setdefault(room.room_id, room)

    def shown_in_rooms(self, user_id: str) -> Json:
        """Return the part of the profile that a homeserver copies into member events."""
        user = self.accounts.find(user_id)
        return {"displayname": user.displayname} if user and user.displayname else {}

    def _let_in(self, room: Room, bot: str, power: int) -> None:
        room.set_membership(bot, bot, "join", self.shown_in_rooms(bot))
        owner = {} if room.creator_outranks else {room.creator: 100}
        room.override_levels({"users": {**owner, bot: power}})
