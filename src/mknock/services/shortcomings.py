"""What Knock can do in part only, though its store and its homeserver are there."""

from __future__ import annotations

from dataclasses import dataclass

from mknock.domain.doors import Door
from mknock.ports import Encryption, Homeserver
from mknock.services.blocklist_file import BlocklistFile
from mknock.services.doors import Doors
from mknock.services.list_findings import ListFindings
from mknock.services.notices import Notices
from mknock.services.proof_findings import ProofFindings
from mknock.services.sealing import CANNOT_ENCRYPT
from mknock.services.sessions import OwnSession
from mknock.services.successors import Successors, is_in


@dataclass(frozen=True, slots=True)
class Shortcomings:
    """Looks for them: in the session, in each door's room, in the block-list's file, and in policy rooms."""

    homeserver: Homeserver
    doors: Doors
    session: OwnSession
    successors: Successors
    encryption: Encryption | None = None
    file: BlocklistFile | None = None
    lists: ListFindings | None = None
    proofs: ProofFindings | None = None
    notices: Notices | None = None

    async def of(self, account: str) -> dict[str, str]:
        """By its name, a sentence for the owner on each thing that does not work.

        Raises:
            HomeserverError: it cannot be found out right now.
        """
        found = {"joins": [await self.session.problem()], "invites": [], "room": [], "welcome": []}
        found["room"] += (await self.successors.look(account)).values()
        for door in self.doors:
            if not await is_in(self.homeserver, door.room_id, account):
                found["room"].append(f"{account} is not in the room of door {door.slug!r}: invite it there")
                continue
            found["invites"].append(await self._cannot_invite(door, account))
            found["welcome"].append(await self._cannot_welcome(door))
        found["proofs"] = [await self.proofs.problem() if self.proofs else ""]
        found["notices"] = [await self._cannot_tell(door, account) for door in self.doors]
        found["blocklist"] = [self.file.shortcoming if self.file else ""]
        named = {name: "; ".join(filter(None, each)) for name, each in found.items() if any(each)}
        return named | (await self.lists.problems(account) if self.lists else {})

    async def _cannot_invite(self, door: Door, account: str) -> str:
        levels = await self.homeserver.power_levels(door.room_id)
        if levels.of(account) >= levels.invite:
            return ""
        return f"{account} may not invite to the room of door {door.slug!r}, so knocks wait: make it a moderator there"

    async def _cannot_tell(self, door: Door, account: str) -> str:
        """Why moderators cannot be told of what happens at a door."""
        if self.notices is None or not door.moderators_room:
            return ""
        problem = await self.notices.problem(door.moderators_room, account)
        return f"the moderators' room of door {door.slug!r} is told nothing: {problem}" if problem else ""

    async def _cannot_welcome(self, door: Door) -> str:
        """Why nobody can be welcomed in an encrypted room."""
        if not door.welcoming.text or door.welcoming.clear_in_encrypted:
            return ""
        if await self.homeserver.state(door.room_id, "m.room.encryption") is None:
            return ""
        return await self.encryption.problem() if self.encryption else CANNOT_ENCRYPT
