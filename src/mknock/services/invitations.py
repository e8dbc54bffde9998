"""Turning an admitted knock into an invite, and finding out what became of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
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
"""Seconds without profile look-ups, at most, after the homeserver limited one."""
OWNER_PAUSE = 60.0
"""Seconds between tries while only the owner can mend it: a refused token, a bot without power."""
POWERLESS_PAUSE = 3600.0
"""Seconds between tries to withdraw an invite that the bot has no power to withdraw."""
LONGEST_OUTAGE = 15.0
"""Seconds between tries at most while the homeserver as a whole is out of reach."""
WITHDRAWN = "The invitation was withdrawn."
LONGEST_PAUSE = 60.0
"""A wait that the homeserver asks for and that is longer is one person's own limit (Synapse's
``rc_invites.per_user`` asks for 333 s): that knock waits it out, the others only this long."""

_LET_IN = frozenset({S.INVITED, S.JOINED, S.ALREADY_MEMBER})
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
    """The account it is about, if that is not the one that was typed."""


class Invitations:
    """Delivers claimed knocks. Acting is repeatable: what was done before a crash is found out, not redone.

    A knock that is due although it is not admitted stands for an invite that
    nobody wants any more: it is withdrawn. ``on_outage`` is called when the
    homeserver as a whole is found out of reach.
    """

    def __init__(
        self,
        store: Store,
        homeserver: Homeserver,
        doors: Doors,
        clock: Clock,
        retry: Retry,
        *,
        on_outage: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._homeserver = homeserver
        self._doors = doors
        self._clock = clock
        self._retry = retry
        self._on_outage = on_outage
        self._outages = 0
        self._out_until = 0.0
        self._owner_until = 0.0

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
        if claim.state is not S.ADMITTED:
            return await self._withdraw(claim)
        if self._clock() >= claim.expires_at:
            return await self._too_late(claim)
        blocked = await self._blocked(claim)
        if blocked is not None:
            return blocked
        known = await self._found(claim, *_names(claim)) if claim.fence > 1 else None
        return known or await self._invite(claim)

    async def _too_late(self, claim: Knock) -> Ending:
        """End a knock whose lifetime is over; an invite whose answer got lost has been sent all the same."""
        with suppress(HomeserverError):
            known = await self._found(claim, *_names(claim)) if claim.fence > 1 else None
            if known is not None:
                return known
        return Ending(S.FAILED, Reason.LIFETIME_OVER, "the homeserver gave no usable answer in time")

    async def _blocked(self, claim: Knock) -> Ending | None:
        """The refusal of somebody on the block-list; a worker that died may have invited them already."""
        rule = await self._store.rule_for(claim.user_key)
        if rule is None:
            return None
        due_at = self._clock() if claim.fence > 1 else 0.0
        return Ending(S.REFUSED, Reason.BLOCKED, rule.reason, rule=rule.entity, due_at=due_at)

    async def _withdraw(self, claim: Knock) -> Ending:
        """Take back an invite that a moderator or a rule no longer wants."""
        if claim.state is not S.INVITED:
            return await self._withdraw_unrecorded(claim)
        member = await self._homeserver.member(claim.room_id, claim.user_id)
        refused = await self._remove(claim, claim.user_id, member)
        state = S.REMOVED if member.membership is Membership.JOIN else S.RESCINDED
        return refused or Ending(state, claim.reason, rule=claim.rule)

    async def _withdraw_unrecorded(self, claim: Knock) -> Ending:
        """Take back an invite that went out although the knock was refused or rescinded meanwhile."""
        if not await self._is_wanted_again(claim):
            for user_id in _names(claim):
                member = await self._homeserver.member(claim.room_id, user_id)
                refused = await self._remove(claim, user_id, member)
                if refused is not None:
                    return refused
        return Ending(claim.state, claim.reason, claim.detail, rule=claim.rule)

    async def _remove(self, claim: Knock, user_id: str, member: Member) -> Ending | None:
        """Remove whoever was invited or has joined; say when to try again if the bot has no power to."""
        if member.membership not in (Membership.INVITE, Membership.JOIN):
            return None
        try:
            await self._homeserver.kick(claim.room_id, user_id, WITHDRAWN)
        except Refused as error:
            log.error("an invite could not be withdrawn", knock=claim.id, why=str(error))
            return Ending(None, detail=str(error), due_at=self._clock() + POWERLESS_PAUSE)
        return None

    async def _is_wanted_again(self, claim: Knock) -> bool:
        """Whether the same person was let in by a later knock: then the invite is that one's."""
        knocks = await self._store.knocks_of(claim.user_key, states=_LET_IN)
        return any(knock.room_id == claim.room_id and knock.id > claim.id for knock in knocks)

    async def _invite(self, claim: Knock) -> Ending:
        user_id = await self._existing(claim)
        if user_id is None:
            detail = f"{claim.user_id} does not exist on our homeserver"
            return Ending(S.FAILED, Reason.NO_SUCH_USER, detail)
        # The look-ups may have taken a minute: ask once more just before the invite (promise 3).
        blocked = await self._blocked(claim)
        if blocked is not None:
            return blocked
        if not await self._is_still_ours(claim):
            return Ending(None, detail="the claim was taken over")
        return await self._invite_as(claim, user_id)

    async def _invite_as(self, claim: Knock, user_id: str) -> Ending:
        door = self._doors.get(claim.door) or self._doors.first
        try:
            await self._homeserver.invite(claim.room_id, user_id, door.invite_reason)
        except Refused as error:
            return await self._refused(claim, user_id, error)
        except TokenRefused as error:
            return await self._refused_account(claim, user_id, error)
        return Ending(S.INVITED, Reason.INVITED, user_id=user_id)

    async def _refused_account(self, claim: Knock, user_id: str, error: TokenRefused) -> Ending:
        """Find out whose account is meant: a homeserver passes on what the invited person's server answered.

        Raises:
            TokenRefused: it is ours.
        """
        await self._homeserver.member(claim.room_id, await self._homeserver.whoami())
        return Ending(S.FAILED, Reason.HOMESERVER_REFUSED, str(error), user_id=user_id)

    async def _is_still_ours(self, claim: Knock) -> bool:
        """Whether nobody has decided otherwise, or taken over a claim that had lapsed."""
        current = await self._store.knock(claim.id)
        return current is not None and current.fence == claim.fence

    async def _existing(self, claim: Knock) -> str | None:
        """The account to invite; None only if our own homeserver says that there is no such user."""
        user = MatrixID.of(claim.user_id)
        if not await self._is_ours(user) or await self._paused("profile"):
            return claim.user_id
        for candidate in _spellings(user):
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

    async def _found(self, claim: Knock, *names: str) -> Ending | None:
        """What the room already says of this person, or None if the invite is still to be sent."""
        for user_id in names:
            member = await self._homeserver.member(claim.room_id, user_id)
            known = _ending_by(member, claim, user_id)
            if known is not None:
                return known
        return None

    async def _refused(self, claim: Knock, user_id: str, error: Refused) -> Ending:
        """Find out what a refused invite means: by the membership, not by the text of the error."""
        known = await self._found(claim, user_id)
        if known is not None:
            return known
        reason = _BY_CODE.get(error.code)
        if reason is None and not await self._bot_may_invite(claim.room_id):
            return await self._needs_owner(
                "the bot is not in the room or may not invite: make it a moderator"
            )
        usual = _spellings(MatrixID.of(user_id))[-1]
        if reason is None and usual != user_id:
            return await self._invite_as(claim, usual)
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
        now = self._clock()
        if now >= self._owner_until:
            log.error("knocks wait for the owner", why=message)
            self._owner_until = now + OWNER_PAUSE
        await self._store.pause("owner", self._owner_until)
        # Due at once, so that it goes on as soon as readiness sees it mended and ends the pause.
        return Ending(None, detail=message, due_at=now, tried=False)

    async def _unavailable(self, claim: Knock, error: HomeserverUnavailable) -> Ending:
        now = self._clock()
        if not error.everywhere:
            return Ending(None, detail=str(error), due_at=now + self._retry.wait(claim.attempts))
        if now >= self._out_until:  # the first to notice; whoever was on the way with it waits as long
            self._out_until = now + min(self._retry.wait(min(self._outages, 4)), LONGEST_OUTAGE)
            self._outages += 1
            self._on_outage()
        # Due at once: the pause alone holds it back, and it may be lifted before its time.
        await self._store.pause("homeserver", self._out_until)
        return Ending(None, detail=str(error), due_at=now, tried=False)

    async def _paused(self, what: str) -> bool:
        return await self._store.paused(what) > self._clock()

    # --- the record

    async def _conclude(self, claim: Knock, ending: Ending) -> None:
        if ending.state is None:
            if await self._store.put_back(claim, due_at=ending.due_at, tried=ending.tried):
                log.info("knock waits", knock=claim.id, why=ending.detail)
            return
        now = self._clock()
        after = _after(claim, ending, now)
        recorded = await self._store.record(claim, after, [_entry(claim, after, now)])
        if recorded:
            log.info("knock settled", knock=claim.id, door=claim.door, state=after.state, reason=after.reason)
        elif ending.state is S.INVITED:
            await self._leave_to_withdraw(after)

    async def _leave_to_withdraw(self, invited: Knock) -> None:
        """Somebody blocked or rescinded the knock while its invite was on the way: it has to be taken back.

        Left to a worker as due work, so that an outage or a crash right now changes nothing.
        """

        def due(knock: Knock) -> Knock:
            if knock.state not in (S.REFUSED, S.RESCINDED):
                return knock
            # Due since long ago, so that it goes before those who wait for their invite.
            return replace(knock, user_id=invited.user_id, due_at=knock.created_at)

        detail = "the invite was on its way already; it is withdrawn"
        entry = Entry(at=self._clock(), actor="knock", action="withdraw", detail=detail)
        await self._store.change(invited.id, due, entry)


def _names(claim: Knock) -> tuple[str, ...]:
    """The accounts that may have been invited for this knock."""
    return _spellings(MatrixID.of(claim.user_id))


def _spellings(user: MatrixID) -> tuple[str, ...]:
    """The accounts that a typed ID may mean, the one that was typed first.

    People's phones write the first letter of a name in upper case, and
    accounts made today have none.
    """
    return tuple(dict.fromkeys((str(user), f"@{user.localpart.lower()}:{user.server}")))


def _ending_by(member: Member, claim: Knock, user_id: str) -> Ending | None:
    """What a membership says about a knock whose invite may or may not have been sent."""
    ours = member.since >= claim.created_at
    match member.membership:
        case Membership.INVITE:
            return Ending(S.INVITED, Reason.INVITED, user_id=user_id)
        case Membership.JOIN if ours:
            return Ending(S.JOINED, Reason.JOINED, user_id=user_id)
        case Membership.JOIN:
            return Ending(S.ALREADY_MEMBER, Reason.ALREADY_MEMBER, user_id=user_id)
        case Membership.BAN:
            return Ending(S.FAILED, Reason.BANNED, "banned from the room", user_id=user_id)
        case Membership.LEAVE if ours and member.sender == user_id:
            return Ending(S.DECLINED, Reason.INVITED, user_id=user_id)
        case Membership.LEAVE if ours:
            return Ending(S.RESCINDED, Reason.MODERATOR, "taken back in the room", user_id=user_id)
        case _:
            return None


def _after(claim: Knock, ending: Ending, now: float) -> Knock:
    state = ending.state
    assert state is not None  # noqa: S101 - narrowed by the caller
    changes = {
        "reason": ending.reason,
        "detail": ending.detail,
        "rule": ending.rule,
        "due_at": ending.due_at or None,
        "user_id": ending.user_id or claim.user_id,
    }
    if state in (S.JOINED, S.DECLINED):
        claim = claim.moved_to(S.INVITED, at=now, invited_at=now)
    after = claim.moved_to(state, at=now, **changes)
    if state is S.INVITED:
        after = replace(after, invited_at=now)
    if state is S.JOINED:
        after = replace(after, joined_at=now)
    return after


def _entry(claim: Knock, after: Knock, now: float) -> Entry:
    return Entry(
        at=now,
        actor="knock",
        action="delivered" if claim.state is S.ADMITTED else "withdrawn",
        door=claim.door,
        knock_id=claim.id,
        user_id=after.user_id,
        reason=after.reason.value,
        rule=after.rule,
        before=claim.state.value,
        after=after.state.value,
        detail=after.detail,
    )
