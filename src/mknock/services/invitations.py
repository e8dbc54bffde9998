"""Turning an admitted knock into an invite, and finding out what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mknock.domain.errors import (
    HomeserverError,
    HomeserverUnavailable,
    RateLimited,
    Refused,
    TokenRefused,
)
from mknock.domain.ids import MatrixID
from mknock.domain.knocks import Knock, KnockState, Reason
from mknock.ports import Clock, Entry, Existence, Homeserver, Member, Membership, Store
from mknock.services.doors import Doors
from mknock.services.retry import Retry
from mknock.telemetry import get_logger

log = get_logger(__name__)

S = KnockState

PROFILE_PAUSE = 60.0
OWNER_PAUSE = 60.0
"""Seconds between tries while only the owner can mend it: a refused token, a bot without power."""
POWERLESS_PAUSE = 3600.0
"""Seconds between tries to withdraw an invite that the bot has no power to withdraw."""
WITHDRAWN = "The invitation was withdrawn."
LONGEST_PAUSE = 60.0
"""A wait that the homeserver asks for and that is longer is one person's own limit (Synapse's
``rc_invites.per_user`` asks for 333 s): that knock waits it out, the others only this long."""

_BY_CODE: Mapping[str, Reason] = {
    "M_INVITE_BLOCKED": Reason.INVITES_BLOCKED,  # Matrix 1.18, invite permission
    "M_UNSUPPORTED_ROOM_VERSION": Reason.ROOM_UNSUPPORTED,
    "M_INCOMPATIBLE_ROOM_VERSION": Reason.ROOM_UNSUPPORTED,
}


@dataclass(frozen=True, slots=True)
class Ending:
    """What became of a claimed knock, or (``state`` None) when to try again."""

    state: KnockState | None
    reason: Reason = Reason.PASSED
    detail: str = ""
    rule: str = ""
    due_at: float = 0.0
    tried: bool = True
    user_id: str = ""


class Invitations:
    """Delivers claimed knocks. Acting is repeatable: what was done before a crash is found out, not redone."""

    def __init__(
        self, store: Store, homeserver: Homeserver, doors: Doors, clock: Clock, retry: Retry
    ) -> None:
        self._store = store
        self._homeserver = homeserver
        self._doors = doors
        self._clock = clock
        self._retry = retry
        self._outages = 0

    async def deliver(self, claim: Knock) -> None:
        """Bring one claimed knock to its end, or give it back to be tried later.

        An outage never ends a knock (promise 1): only a definite answer does.
        """
        try:
            ending = await self._attempt(claim)
            self._outages = 0
        except RateLimited as error:
            ending = await self._limited(error)
        except TokenRefused as error:
            ending = await self._needs_owner(str(error))
        except HomeserverUnavailable as error:
            ending = await self._unavailable(claim, error)
        except HomeserverError as error:
            # A refusal of something other than the invite (reading a membership): not the visitor's doing.
            ending = await self._needs_owner(str(error))
        await self._conclude(claim, ending)

    async def _attempt(self, claim: Knock) -> Ending:
        if claim.state is S.INVITED:
            return await self._withdraw(claim)
        now = self._clock()
        if now >= claim.expires_at:
            return Ending(S.FAILED, Reason.LIFETIME_OVER, "the homeserver gave no usable answer in time")
        rule = await self._store.rule_for(claim.user_key)
        if rule is not None:
            return Ending(S.REFUSED, Reason.BLOCKED, rule.reason, rule=rule.entity)
        if claim.fence > 1:
            known = await self._found(claim)
            if known is not None:
                return known
        return await self._invite(claim)

    async def _withdraw(self, claim: Knock) -> Ending:
        """Take back an invite that a moderator or a rule no longer wants (it is due for nothing else)."""
        member = await self._homeserver.member(claim.room_id, claim.user_id)
        if member.membership not in (Membership.INVITE, Membership.JOIN):
            return Ending(S.RESCINDED, claim.reason, rule=claim.rule)
        try:
            await self._homeserver.kick(claim.room_id, claim.user_id, WITHDRAWN)
        except Refused as error:
            log.error("an invite could not be withdrawn", knock=claim.id, why=str(error))
            return Ending(None, detail=str(error), due_at=self._clock() + POWERLESS_PAUSE)
        state = S.RESCINDED if member.membership is Membership.INVITE else S.REMOVED
        return Ending(state, claim.reason, rule=claim.rule)

    async def _invite(self, claim: Knock) -> Ending:
        user_id = await self._existing(claim)
        if user_id is None:
            detail = f"{claim.user_id} does not exist on our homeserver"
            return Ending(S.FAILED, Reason.NO_SUCH_USER, detail)
        door = self._doors.get(claim.door) or self._doors.first
        try:
            await self._homeserver.invite(claim.room_id, user_id, door.invite_reason)
        except Refused as error:
            return await self._refused(claim, error)
        return Ending(S.INVITED, Reason.INVITED, user_id=user_id)

    async def _existing(self, claim: Knock) -> str | None:
        """The account to invite; None only if our own homeserver says that there is no such user.

        People's phones write the first letter of a name in upper case, and
        accounts made today have none: that is the second thing to look for.
        """
        user = MatrixID.of(claim.user_id)
        if not await self._is_ours(user) or await self._paused("profile"):
            return claim.user_id
        for candidate in dict.fromkeys((claim.user_id, f"@{user.localpart.lower()}:{user.server}")):
            if await self._existence(candidate) is not Existence.NO:
                return candidate
        return None

    async def _is_ours(self, user: MatrixID) -> bool:
        return MatrixID.of(await self._homeserver.whoami()).server == user.server

    async def _existence(self, user_id: str) -> Existence:
        """A look-up that is limited tells nothing; the invite itself will (D8)."""
        try:
            return await self._homeserver.existence(user_id)
        except RateLimited as error:
            await self._store.pause("profile", self._clock() + min(error.retry_after, PROFILE_PAUSE))
            return Existence.UNKNOWN

    async def _found(self, claim: Knock) -> Ending | None:
        """What the room already says of this person, or None if the invite is still to be sent."""
        member = await self._homeserver.member(claim.room_id, claim.user_id)
        return _ending_by(member, claim)

    async def _refused(self, claim: Knock, error: Refused) -> Ending:
        """Find out what a refused invite means: by the membership, not by the text of the error."""
        known = await self._found(claim)
        if known is not None:
            return known
        reason = _BY_CODE.get(error.code)
        if reason is None and not await self._bot_may_invite(claim.room_id):
            return await self._needs_owner(
                "the bot is not in the room or may not invite: make it a moderator"
            )
        return Ending(S.FAILED, reason or Reason.HOMESERVER_REFUSED, str(error))

    async def _bot_may_invite(self, room_id: str) -> bool:
        bot = await self._homeserver.whoami()
        try:
            if (await self._homeserver.member(room_id, bot)).membership is not Membership.JOIN:
                return False
            levels = await self._homeserver.power_levels(room_id)
        except Refused:
            return False
        return levels.of(bot) >= levels.invite

    # --- what an answer that is no answer means

    async def _limited(self, error: RateLimited) -> Ending:
        now = self._clock()
        await self._store.pause("invite", now + min(error.retry_after, LONGEST_PAUSE))
        return Ending(None, detail=str(error), due_at=now + error.retry_after, tried=False)

    async def _needs_owner(self, message: str) -> Ending:
        log.error("knocks wait for the owner", why=message)
        until = self._clock() + OWNER_PAUSE
        await self._store.pause("owner", until)
        return Ending(None, detail=message, due_at=until, tried=False)

    async def _unavailable(self, claim: Knock, error: HomeserverUnavailable) -> Ending:
        now = self._clock()
        if not error.everywhere:
            return Ending(None, detail=str(error), due_at=now + self._retry.wait(claim.attempts))
        wait = min(self._retry.wait(min(self._outages, 4)), 15.0)
        self._outages += 1
        await self._store.pause("homeserver", now + wait)
        return Ending(None, detail=str(error), due_at=now + wait, tried=False)

    async def _paused(self, what: str) -> bool:
        return await self._store.paused(what) > self._clock()

    # --- the record

    async def _conclude(self, claim: Knock, ending: Ending) -> None:
        if ending.state is None:
            log.info("knock waits", knock=claim.id, why=ending.detail)
            await self._store.put_back(claim, due_at=ending.due_at, tried=ending.tried)
            return
        now = self._clock()
        after = _after(claim, ending, now)
        recorded = await self._store.record(claim, after, [_entry(claim, after, now)])
        if recorded:
            log.info("knock settled", knock=claim.id, door=claim.door, state=after.state, reason=after.reason)
        elif ending.state is S.INVITED:
            await self._withdraw_if_unwanted(claim)

    async def _withdraw_if_unwanted(self, claim: Knock) -> None:
        """Somebody blocked or rescinded the knock while its invite was on the way: take the invite back."""
        current = await self._store.knock(claim.id)
        if current is not None and current.state in (S.REFUSED, S.RESCINDED):
            await self._homeserver.kick(claim.room_id, claim.user_id, WITHDRAWN)


def _ending_by(member: Member, claim: Knock) -> Ending | None:
    """What a membership says about a knock whose invite may or may not have been sent."""
    ours = member.since >= claim.created_at
    match member.membership:
        case Membership.INVITE:
            return Ending(S.INVITED, Reason.INVITED)
        case Membership.JOIN if ours:
            return Ending(S.JOINED, Reason.JOINED)
        case Membership.JOIN:
            return Ending(S.ALREADY_MEMBER, Reason.ALREADY_MEMBER)
        case Membership.BAN:
            return Ending(S.FAILED, Reason.BANNED, "banned from the room")
        case Membership.LEAVE if ours and member.sender == claim.user_id:
            return Ending(S.DECLINED, Reason.INVITED)
        case _:
            return None


def _after(claim: Knock, ending: Ending, now: float) -> Knock:
    state = ending.state
    assert state is not None  # noqa: S101 - narrowed by the caller
    changes = {"reason": ending.reason, "detail": ending.detail, "rule": ending.rule, "due_at": None}
    if state in (S.JOINED, S.DECLINED):
        claim = claim.moved_to(S.INVITED, at=now, invited_at=now)
    after = claim.moved_to(state, at=now, **changes)
    if state is S.INVITED:
        after = replace(after, invited_at=now, user_id=ending.user_id or claim.user_id)
    if state is S.JOINED:
        after = replace(after, joined_at=now)
    return after


def _entry(claim: Knock, after: Knock, now: float) -> Entry:
    return Entry(
        at=now,
        actor="knock",
        action="delivered",
        door=claim.door,
        knock_id=claim.id,
        user_id=after.user_id,
        reason=after.reason.value,
        rule=after.rule,
        before=claim.state.value,
        after=after.state.value,
        detail=after.detail,
    )
