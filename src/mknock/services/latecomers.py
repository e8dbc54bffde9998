"""People who have not answered their invite: reminded, and in the end no longer waited for."""

from __future__ import annotations

from dataclasses import replace

from mknock.domain import lifecycle
from mknock.domain.doors import Door
from mknock.domain.errors import Refused
from mknock.domain.knocks import Knock, KnockState, Reason
from mknock.domain.lifecycle import Seen
from mknock.ports import Clock, Homeserver, Member, Membership
from mknock.services.doors import Doors
from mknock.services.errands import Ending, Settled, Waits, ended
from mknock.telemetry import get_logger

log = get_logger(__name__)

EXPIRED = "The invitation was not answered in time. You are welcome to ask again."
"""Shown to the person whose invite is withdrawn."""
POWERLESS_PAUSE = 3600.0
"""Seconds between tries to withdraw an invite that the bot has no power to withdraw."""
POWERLESS_TRIES = 3
"""After so many the invite counts as expired all the same; the ledger says that it still stands."""


class Latecomers:
    """Looks after open invites: who has answered meanwhile, who is reminded, whose invite ends.

    A reminder is the same invite with another reason: a new event, which the
    invited person's app shows again. Synapse makes none of an invite with the
    same sender and content, so a reminder that was sent just before a crash
    is not sent twice.
    """

    def __init__(self, homeserver: Homeserver, doors: Doors, clock: Clock) -> None:
        self._homeserver = homeserver
        self._doors = doors
        self._clock = clock

    async def look_after(self, claim: Knock) -> Ending:
        """Do what is due about a claimed, invited knock."""
        door, now = self._doors.of(claim), self._clock()
        member = await self._homeserver.member(claim.room_id, claim.user_id)
        ends_at = door.latecomers.ends_at(_began(claim))
        if member.membership is Membership.INVITE:
            if ends_at is not None and now >= ends_at:
                return await self._withdraw(claim, now)
            return await self._remind(claim, door, now)
        if ends_at is not None and now >= ends_at and await self._was_ours(member):
            return Settled(_expired(claim, now), "expired")  # withdrawn just before a crash
        what = seen_of(member, claim.user_id)
        after = claim if what is None else lifecycle.seen(claim, what, door, now)
        return Settled(replace(after, due_at=None) if after is claim else after, "seen")

    async def _remind(self, claim: Knock, door: Door, now: float) -> Ending:
        """Send the reminder that is due, if one is; they never come closer than they were meant to."""
        due_at = _reminder_at(claim, door)
        if due_at is None or now < due_at:
            return Settled(replace(claim, due_at=due_at or door.latecomers.ends_at(_began(claim))), "looked")
        try:
            await self._homeserver.invite(claim.room_id, claim.user_id, door.reminder_reason(claim.reminders))
        except Refused as error:
            log.warning("a reminder was refused", knock=claim.id, why=str(error))
        return Settled(lifecycle.reminded(claim, door, now), "reminded")

    async def _withdraw(self, claim: Knock, now: float) -> Ending:
        try:
            await self._homeserver.kick(claim.room_id, claim.user_id, EXPIRED)
        except Refused as error:
            if claim.attempts + 1 < POWERLESS_TRIES:
                return Waits(now + POWERLESS_PAUSE, str(error))
            log.error("an invite that nobody answered could not be withdrawn", knock=claim.id, why=str(error))
            return Settled(
                replace(_expired(claim, now), detail=f"the invite still stands: {error}"), "expired"
            )
        return Settled(_expired(claim, now), "expired")

    async def _was_ours(self, member: Member) -> bool:
        return member.membership is Membership.LEAVE and member.sender == await self._homeserver.whoami()


def _expired(claim: Knock, now: float) -> Knock:
    return ended(claim, KnockState.EXPIRED, Reason.NO_ANSWER, at=now)


def _began(claim: Knock) -> float:
    return claim.invited_at or claim.created_at


def _reminder_at(claim: Knock, door: Door) -> float | None:
    """The earliest time of the next reminder; None if there is none to come."""
    times = door.latecomers.reminders
    return _began(claim) + times[claim.reminders] if claim.reminders < len(times) else None


def seen_of(member: Member, user_id: str) -> Seen | None:
    """What a membership says that a person whose invite was out has done, or had done to them."""
    match member.membership:
        case Membership.JOIN:
            return Seen.JOINED
        case Membership.INVITE:
            return Seen.INVITED
        case Membership.LEAVE:
            return Seen.LEFT if member.sender in (user_id, "") else Seen.REMOVED
        case Membership.BAN:
            return Seen.BANNED
        case _:
            return None
