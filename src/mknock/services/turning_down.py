"""A knock has ended, and the membership knock behind it still stands in the room: it is turned down there."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from mknock.domain.doors import Removal
from mknock.domain.errors import Refused
from mknock.domain.flapping import MOST, lately
from mknock.domain.knocks import MEMBERS, Knock, KnockState, Reason
from mknock.ports import Clock, Homeserver, Member, Membership, Store
from mknock.services.doors import Doors
from mknock.services.errands import Ending, Settled, Waits
from mknock.telemetry import get_logger

log = get_logger(__name__)

SHOWN: Final = "Your request to join was not accepted."
"""What the person sees, whatever the reason (promise 6)."""
TURNED_DOWN: Final = "turned down"
LEFT_KNOCKING: Final = "left knocking"
POWERLESS_PAUSE = 3600.0
"""Seconds between tries to turn somebody down without the power to."""
POWERLESS_TRIES = 3
"""After so many it is left to the moderators."""
_LET_IN = MEMBERS | {KnockState.ADMITTED, KnockState.INVITED}


class TurningDown:
    """Kicks whoever still knocks, or bans them where the block-list has them and the door says so.

    Never more often than a few times an hour: a bot that knocks again at
    once is left knocking, and moderators are told. With ``dry_run`` nobody is banned.
    """

    def __init__(
        self, store: Store, homeserver: Homeserver, doors: Doors, clock: Clock, *, dry_run: bool = False
    ) -> None:
        self._store = store
        self._homeserver = homeserver
        self._doors = doors
        self._clock = clock
        self._dry_run = dry_run

    async def settle(self, claim: Knock) -> Ending:
        """Turn down the membership knock of a claimed knock that has ended, if it is still there to be turned down."""
        knocks = await self._store.knocks_of(claim.user_key)
        if any(_took_over(knock, claim) for knock in knocks):
            return _done(claim, TURNED_DOWN)
        member = await self._homeserver.member(claim.room_id, claim.user_id)
        if not await self._is_ours_to_end(member):
            return _done(claim, TURNED_DOWN)  # it was taken back, or somebody else has answered it
        if lately(knocks, claim.room_id, self._clock()) > MOST:
            return self._leave(claim, "knocks again and again")
        return await self._act(claim)

    async def _is_ours_to_end(self, member: Member) -> bool:
        """Whether they knock still; or are invited by us, since an invite was on its way when the knock ended."""
        if member.membership is Membership.INVITE:
            return member.sender == await self._homeserver.whoami()
        return member.membership is Membership.KNOCK

    async def _act(self, claim: Knock) -> Ending:
        try:
            if self._bans(claim):
                await self._homeserver.ban(claim.room_id, claim.user_id, SHOWN)
            else:
                await self._homeserver.kick(claim.room_id, claim.user_id, SHOWN)
        except Refused as error:
            if claim.attempts + 1 < POWERLESS_TRIES:
                return Waits(self._clock() + POWERLESS_PAUSE, str(error))
            return self._leave(claim, str(error))
        return _done(claim, TURNED_DOWN)

    def _bans(self, claim: Knock) -> bool:
        door = self._doors.of(claim)
        return claim.reason is Reason.BLOCKED and door.blocked_members is Removal.BAN and not self._dry_run

    def _leave(self, claim: Knock, why: str) -> Ending:
        log.warning("a membership knock was left standing", knock=claim.id, door=claim.door, why=why)
        detail = f"the membership knock still stands: {why}"
        return _done(replace(claim, detail="; ".join(filter(None, (claim.detail, detail)))), LEFT_KNOCKING)


def _took_over(knock: Knock, claim: Knock) -> bool:
    """Whether what stands in the room by now is that of a newer record, which answers it or has done so."""
    if knock.room_id != claim.room_id or knock.id <= claim.id:
        return False
    return knock.state in _LET_IN or (knock.state is KnockState.HELD and knock.knocking)


def _done(claim: Knock, action: str) -> Settled:
    return Settled(replace(claim, knocking=False, due_at=None), action)
