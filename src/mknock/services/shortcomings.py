"""What Knock can do in part only, though its store and its homeserver are there."""

from __future__ import annotations

from dataclasses import dataclass

from mknock.domain.doors import Door
from mknock.ports import Encryption, Homeserver
from mknock.services.doors import Doors
from mknock.services.sessions import OwnSession

CANNOT_ENCRYPT = "the room is encrypted, and Knock cannot encrypt: pip install 'mknock[e2ee]'"


@dataclass(frozen=True, slots=True)
class Shortcomings:
    """Looks for them: in the session, and in each door's room."""

    homeserver: Homeserver
    doors: Doors
    session: OwnSession
    encryption: Encryption | None = None

    async def of(self, account: str) -> dict[str, str]:
        """By its name, a sentence for the owner on each thing that does not work.

        Raises:
            HomeserverError: it cannot be found out right now.
        """
        found = {"joins": [await self.session.problem()], "invites": [], "room": [], "welcome": []}
        for door in self.doors:
            found["invites"].append(await self._cannot_invite(door, account))
            found["room"].append(await self._is_replaced(door))
            found["welcome"].append(await self._cannot_welcome(door))
        return {name: "; ".join(filter(None, each)) for name, each in found.items() if any(each)}

    async def _cannot_invite(self, door: Door, account: str) -> str:
        levels = await self.homeserver.power_levels(door.room_id)
        if levels.of(account) >= levels.invite:
            return ""
        return f"{account} may not invite to the room of door {door.slug!r}, so knocks wait: make it a moderator there"

    async def _is_replaced(self, door: Door) -> str:
        if await self.homeserver.state(door.room_id, "m.room.tombstone") is None:
            return ""
        return (
            f"the room of door {door.slug!r} was replaced by a newer one (upgraded): set NEW_ROOM_ID to that"
        )

    async def _cannot_welcome(self, door: Door) -> str:
        """Why nobody can be welcomed in an encrypted room."""
        if not door.welcoming.text or door.welcoming.clear_in_encrypted:
            return ""
        if await self.homeserver.state(door.room_id, "m.room.encryption") is None:
            return ""
        return await self.encryption.problem() if self.encryption else CANNOT_ENCRYPT
