"""Turning an admitted knock into an invite, and finding out what became of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from mknock.domain import lifecycle
from mknock.domain.doors import Door
from mknock.domain.errors import HomeserverError, RateLimited, Refused, TokenRefused
from mknock.domain.ids import MatrixID
from mknock.domain.knocks import Decision, Knock, KnockState, Outcome, Reason
from mknock.ports import Clock, Entry, Existence, Homeserver, Member, Membership, Store
from mknock.services.doors import Doors
from mknock.services.errands import Ending, Errands, Lapsed, Settled, Waits, ended
from mknock.services.latecomers import Latecomers
from mknock.services.retry import Retry
from mknock.services.rule_book import RuleBook, stance_of
from mknock.services.turning_down import TurningDown
from mknock.telemetry import get_logger

log = get_logger(__name__)

S = KnockState

PROFILE_PAUSE = 60.0
"""Seconds without profile look-ups, at most, after the homeserver limited one."""
POWERLESS_PAUSE = 3600.0
"""Seconds between tries to withdraw an invite that the bot has no power to withdraw."""
WITHDRAWN = "The invitation was withdrawn."
DELIVERED = "delivered"
TAKEN_BACK = "withdrawn"

_LET_IN = frozenset({S.INVITED, S.JOINED, S.ALREADY_MEMBER})
_BY_CODE: Mapping[str, Reason] = {
    "M_INVITE_BLOCKED": Reason.INVITES_BLOCKED,  # Matrix 1.18, invite permission
    "M_UNSUPPORTED_ROOM_VERSION": Reason.ROOM_UNSUPPORTED,
    "M_INCOMPATIBLE_ROOM_VERSION": Reason.ROOM_UNSUPPORTED,
}


class Invitations:
    """Delivers claimed knocks. Acting is repeatable: what was done before a crash is found out, not redone.

    A knock that is due although it is not admitted stands for something that is
    over: a hold, or an invite that nobody answers or nobody wants any more.
    ``on_outage`` is called when the homeserver as a whole is found out of reach.
    """

    def __init__(
        self,
        store: Store,
        homeserver: Homeserver,
        doors: Doors,
        book: RuleBook,
        clock: Clock,
        retry: Retry,
        *,
        on_outage: Callable[[], None] = lambda: None,
        dry_run: bool = False,
    ) -> None:
        self._store = store
        self._homeserver = homeserver
        self._doors = doors
        self._book = book
        self._clock = clock
        self._errands = Errands(
            store, clock, retry, limit="invite", on_outage=on_outage, doors=lambda: len(doors)
        )
        self._latecomers = Latecomers(homeserver, doors, clock)
        self._turning_down = TurningDown(store, homeserver, doors, clock, dry_run=dry_run)

    async def deliver(self, claim: Knock) -> None:
        """Bring one claimed knock a step on, or give it back to be tried later. Never raises for an outage."""
        unrecorded = await self._errands.run(claim, self._attempt)
        if unrecorded is not None and unrecorded.knock.state is S.INVITED and claim.state is S.ADMITTED:
            await self._leave_to_withdraw(unrecorded.knock)

    async def _attempt(self, claim: Knock) -> Ending:
        match claim.state:
            case S.ADMITTED:
                return await self._admitted(claim)
            case S.HELD:
                return Settled(ended(claim, S.EXPIRED, _waited_for(claim), at=self._clock()), "expired")
            case S.INVITED if claim.reason in lifecycle.UNWANTED:
                return await self._withdraw(claim)
            case S.INVITED:
                blocked = await self._blocked_invite(claim)
                return blocked or await self._latecomers.look_after(claim)
            case _:
                return await self._after_its_end(claim)

    async def _admitted(self, claim: Knock) -> Ending:
        if self._clock() >= claim.expires_at:
            return await self._too_late(claim)
        listed = await self._book.decide_now(claim.user_id, stance_of(self._doors.of(claim)))
        if listed.outcome is Outcome.REFUSE:
            return self._blocked(claim, listed)
        known = await self._found(claim, *_names(claim)) if claim.fence > 1 or claim.knocking else None
        if known is None and listed.outcome is Outcome.HOLD and claim.reason is not Reason.MODERATOR:
            return self._held(claim, listed)
        return known or self._without_room(claim) or await self._invite(claim)

    def _without_room(self, claim: Knock) -> Ending | None:
        """Hold a knock whose room was replaced by one that Knock may not follow to."""
        door = self._doors.of(claim)
        if not door.replaced or claim.room_id != door.room_id:
            return None
        return self._held(claim, Decision(Outcome.HOLD, Reason.ROOM_REPLACED))

    async def _too_late(self, claim: Knock) -> Ending:
        """End a knock whose lifetime is over; an invite whose answer got lost has been sent all the same."""
        with suppress(HomeserverError):
            known = await self._found(claim, *_names(claim)) if claim.fence > 1 else None
            if known is not None:
                return known
        return self._failed(
            claim, Reason.LIFETIME_OVER, "the homeserver gave no usable answer in time", claim.user_id
        )

    def _blocked(self, claim: Knock, listed: Decision) -> Ending:
        """The refusal of somebody on the block-list; a worker that died may have invited them already."""
        now = self._clock()
        refused = ended(claim, S.REFUSED, Reason.BLOCKED, at=now, detail=listed.detail)
        due_at = now if claim.fence > 1 or claim.knocking else None
        return Settled(replace(refused, rule=listed.rule, due_at=due_at), DELIVERED)

    def _held(self, claim: Knock, listed: Decision) -> Ending:
        """Leave it to a moderator: somebody resembles a rule that is newer than their knock, say."""
        now = self._clock()
        due_at = self._doors.of(claim).held_until(listed.reason, now)
        held = claim.moved_to(S.HELD, at=now, reason=listed.reason, detail=listed.detail, due_at=due_at)
        return Settled(replace(held, rule=listed.rule), "held")

    async def _blocked_invite(self, claim: Knock) -> Ending | None:
        """The withdrawal of an open invite, instead of a reminder, if the person is blocked by now."""
        await self._book.refresh()
        rule = self._book.blocking(claim.user_id)
        if rule is None:
            return None
        return await self._withdraw(replace(claim, reason=Reason.BLOCKED, rule=rule.entity))

    async def _withdraw(self, claim: Knock) -> Ending:
        """Take back an invite that a moderator or a rule no longer wants."""
        member = await self._homeserver.member(claim.room_id, claim.user_id)
        refused = await self._remove(claim, claim.user_id, member)
        state = S.REMOVED if member.membership is Membership.JOIN else S.RESCINDED
        return refused or Settled(ended(claim, state, claim.reason, at=self._clock()), TAKEN_BACK)

    async def _after_its_end(self, claim: Knock) -> Ending:
        """Take back an invite that may have gone out all the same, and turn down a membership knock."""
        if claim.state is S.RESCINDED or not claim.knocking:
            ending = await self._withdraw_unrecorded(claim)
            if not (claim.knocking and isinstance(ending, Settled)):
                return ending
        return await self._turning_down.settle(claim)

    async def _withdraw_unrecorded(self, claim: Knock) -> Ending:
        """Take back an invite that went out although the knock was refused or rescinded meanwhile."""
        if not await self._is_wanted_again(claim):
            for user_id in _names(claim):
                member = await self._homeserver.member(claim.room_id, user_id)
                refused = await self._remove(claim, user_id, member)
                if refused is not None:
                    return refused
        return Settled(replace(claim, due_at=None), TAKEN_BACK)

    async def _remove(self, claim: Knock, user_id: str, member: Member) -> Ending | None:
        """Remove whoever was invited or has joined; say when to try again if the bot has no power to."""
        if member.membership not in (Membership.INVITE, Membership.JOIN):
            return None
        try:
            await self._homeserver.kick(claim.room_id, user_id, WITHDRAWN)
        except Refused as error:
            log.error("an invite could not be withdrawn", knock=claim.id, why=str(error))
            return Waits(self._clock() + POWERLESS_PAUSE, str(error))
        return None

    async def _is_wanted_again(self, claim: Knock) -> bool:
        """Whether the same person was let in by a later knock: then the invite is that one's."""
        knocks = await self._store.knocks_of(claim.user_key, states=_LET_IN)
        return any(knock.room_id == claim.room_id and knock.id > claim.id for knock in knocks)

    async def _invite(self, claim: Knock) -> Ending:
        user_id = await self._existing(claim)
        if user_id is None:
            detail = f"{claim.user_id} does not exist on our homeserver"
            return self._failed(claim, Reason.NO_SUCH_USER, detail, claim.user_id)
        # The look-ups may have taken a minute: ask once more just before the invite (promise 3).
        listed = await self._book.decide_now(claim.user_id, stance_of(self._doors.of(claim)))
        if listed.outcome is Outcome.REFUSE:
            return self._blocked(claim, listed)
        if not await self._is_still_ours(claim):
            return Lapsed()
        return await self._invite_as(claim, user_id)

    async def _invite_as(self, claim: Knock, user_id: str) -> Ending:
        door = self._doors.of(claim)
        try:
            await self._homeserver.invite(claim.room_id, user_id, door.invite_reason)
        except Refused as error:
            return await self._refused(claim, user_id, error)
        except TokenRefused as error:
            return await self._refused_account(claim, user_id, error)
        return Settled(replace(lifecycle.invited(claim, door, self._clock()), user_id=user_id), DELIVERED)

    async def _refused_account(self, claim: Knock, user_id: str, error: TokenRefused) -> Ending:
        """Find out whose account is meant: a homeserver passes on what the invited person's server answered.

        Raises:
            TokenRefused: it is ours.
        """
        await self._homeserver.member(claim.room_id, await self._homeserver.whoami())
        return self._failed(claim, Reason.HOMESERVER_REFUSED, str(error), user_id)

    async def _is_still_ours(self, claim: Knock) -> bool:
        """Whether nobody has decided otherwise, or taken over a claim that had lapsed."""
        current = await self._store.knock(claim.id)
        return current is not None and current.fence == claim.fence

    async def _existing(self, claim: Knock) -> str | None:
        """The account to invite; None only if our own homeserver says that there is no such user."""
        user = MatrixID.of(claim.user_id)
        if claim.proven:
            return claim.user_id  # it has acted
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
            known = _found_as(member, replace(claim, user_id=user_id), self._doors.of(claim), self._clock())
            if known is not None:
                return Settled(known, DELIVERED)
        return None

    async def _refused(self, claim: Knock, user_id: str, error: Refused) -> Ending:
        """Find out what a refused invite means: by the membership, not by the text of the error."""
        known = await self._found(claim, user_id)
        if known is not None:
            return known
        reason = _BY_CODE.get(error.code)
        if reason is None and not await self._bot_may_invite(claim.room_id):
            return await self._errands.room_needs_owner(
                "the bot is not in the room or may not invite: make it a moderator"
            )
        usual = _spellings(MatrixID.of(user_id))[-1]
        if reason is None and usual != user_id:
            return await self._invite_as(claim, usual)
        return self._failed(claim, reason or Reason.HOMESERVER_REFUSED, str(error), claim.user_id)

    async def _bot_may_invite(self, room_id: str) -> bool:
        bot = await self._homeserver.whoami()
        try:
            if (await self._homeserver.member(room_id, bot)).membership is not Membership.JOIN:
                return False
            levels = await self._homeserver.power_levels(room_id)
        except Refused:
            return False
        return levels.of(bot) >= levels.invite

    def _failed(self, claim: Knock, reason: Reason, detail: str, user_id: str) -> Settled:
        knock = ended(claim, S.FAILED, reason, at=self._clock(), detail=detail)
        return Settled(replace(knock, user_id=user_id), DELIVERED)

    async def _paused(self, what: str) -> bool:
        return await self._store.paused(what) > self._clock()

    async def _leave_to_withdraw(self, invited: Knock) -> None:
        """Somebody blocked or rescinded the knock while its invite was on the way: it has to be taken back.

        Left to a worker as due work, so that an outage or a crash right now changes nothing.
        """

        def due(knock: Knock) -> Knock:
            if knock.state not in (S.REFUSED, S.RESCINDED, S.RETRACTED):
                return knock
            # Due since long ago, so that it goes before those who wait for their invite.
            return replace(knock, user_id=invited.user_id, due_at=knock.created_at)

        detail = "the invite was on its way already; it is withdrawn"
        entry = Entry(at=self._clock(), actor="knock", action="withdraw", detail=detail)
        await self._store.change(invited.id, due, entry)


def _names(claim: Knock) -> tuple[str, ...]:
    """The accounts that may have been invited for this knock."""
    return (claim.user_id,) if claim.knocking else _spellings(MatrixID.of(claim.user_id))


def _spellings(user: MatrixID) -> tuple[str, ...]:
    """The accounts that a typed ID may mean, the one that was typed first.

    People's phones write the first letter of a name in upper case, and
    accounts made today have none.
    """
    return tuple(dict.fromkeys((str(user), f"@{user.localpart.lower()}:{user.server}")))


def _found_as(member: Member, claim: Knock, door: Door, now: float) -> Knock | None:
    """What a membership makes of a knock whose invite may or may not have been sent; None: nothing."""
    ours = member.since >= claim.created_at
    if claim.knocking and member.membership is Membership.LEAVE and (claim.fence <= 1 or not ours):
        # No invite has gone out: the membership knock was taken back, or turned down by somebody else.
        what = lifecycle.Seen.LEFT if member.sender == claim.user_id else lifecycle.Seen.REMOVED
        return replace(lifecycle.seen(claim, what, door, now), due_at=None)
    match member.membership:
        case Membership.INVITE:
            return lifecycle.invited(claim, door, now)
        case Membership.JOIN if ours:
            return lifecycle.joined(claim, door, now)
        case Membership.JOIN:
            return ended(claim, S.ALREADY_MEMBER, Reason.ALREADY_MEMBER, at=now)
        case Membership.BAN:
            claim = replace(claim, knocking=False)
            return ended(claim, S.FAILED, Reason.BANNED, at=now, detail="banned from the room")
        case Membership.LEAVE if ours and member.sender == claim.user_id:
            return lifecycle.seen(lifecycle.invited(claim, door, now), lifecycle.Seen.LEFT, door, now)
        case Membership.LEAVE if ours:
            claim = replace(claim, knocking=False)
            return ended(claim, S.RESCINDED, Reason.MODERATOR, at=now, detail="taken back in the room")
        case _:
            return None


def _waited_for(claim: Knock) -> Reason:
    """Why a hold runs out: nobody proved the account, or nobody decided."""
    return Reason.UNPROVEN if claim.reason is Reason.UNPROVEN else Reason.NOT_REVIEWED
