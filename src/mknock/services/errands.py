"""An errand: something a claimed knock has to be done about at the homeserver, and how it ends.

Whatever the errand, an answer that is no answer means the same: the knock is
given back and tried again, and an outage or a limit pauses everybody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from mknock.domain.errors import HomeserverError, HomeserverUnavailable, RateLimited, TokenRefused
from mknock.domain.knocks import Knock, KnockState, Reason
from mknock.ports import Clock, Entry, Store
from mknock.services.retry import Retry
from mknock.telemetry import get_logger

log = get_logger(__name__)

S = KnockState

OWNER_PAUSE = 60.0
"""Seconds between tries while only the owner can mend it: a refused token, a bot without power."""
LONGEST_OUTAGE = 15.0
"""Seconds between tries at most while the homeserver as a whole is out of reach."""
LONGEST_PAUSE = 60.0
"""A wait that the homeserver asks for and that is longer is one person's own limit (Synapse's
``rc_invites.per_user`` asks for 333 s): that knock waits it out, the others only this long."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What the knock is now, and what was done, for the ledger."""

    knock: Knock
    action: str


@dataclass(frozen=True, slots=True)
class Waits:
    """Not settled: when to try again. ``tried`` counts it as a try without a usable answer."""

    due_at: float
    why: str
    tried: bool = True


@dataclass(frozen=True, slots=True)
class Lapsed:
    """Somebody else has the knock now: nothing is to be written."""


Ending = Settled | Waits | Lapsed


class Errands:
    """Runs errands of one kind and records how they end.

    ``limit`` names the pause that a 429 brings for all of this kind;
    ``on_outage`` is called when the homeserver as a whole is found out of reach;
    ``doors`` says how many doors there are.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        retry: Retry,
        *,
        limit: str,
        on_outage: Callable[[], None] = lambda: None,
        doors: Callable[[], int] = lambda: 1,
    ) -> None:
        self._store = store
        self._clock = clock
        self._retry = retry
        self._limit = limit
        self._on_outage = on_outage
        self._doors = doors
        self._outages = 0
        self._out_until = 0.0
        self._owner_until = 0.0

    async def run(self, claim: Knock, errand: Callable[[Knock], Awaitable[Ending]]) -> Settled | None:
        """Do the errand for a claimed knock and record its end, or give the knock back.

        An outage never ends a knock (promise 1): only a definite answer does.
        Returns what could not be recorded, because the knock was changed meanwhile.
        """
        try:
            ending = await errand(claim)
            self._outages = 0
        except RateLimited as error:
            ending = await self._limited(error)
        except TokenRefused as error:
            ending = await self.needs_owner(str(error))
        except HomeserverUnavailable as error:
            ending = await self._unavailable(claim, error)
        except HomeserverError as error:
            # A refusal of something other than the act itself (reading a membership): not the visitor's doing.
            ending = await self.room_needs_owner(str(error))
        return await self._conclude(claim, ending)

    async def needs_owner(self, message: str) -> Waits:
        """Pause everything that only the owner can mend."""
        now = self._clock()
        if now >= self._owner_until:
            log.error("knocks wait for the owner", why=message)
            self._owner_until = now + OWNER_PAUSE
        await self._store.pause("owner", self._owner_until)
        # Due at once, so that it goes on as soon as readiness sees it mended and ends the pause.
        return Waits(now, message, tried=False)

    async def room_needs_owner(self, message: str) -> Waits:
        """Something that only the owner can mend in one room: with other doors, those go on."""
        if self._doors() == 1:
            return await self.needs_owner(message)
        log.error("a knock waits for the owner", why=message)
        return Waits(self._clock() + OWNER_PAUSE, message, tried=False)

    async def _limited(self, error: RateLimited) -> Waits:
        now = self._clock()
        await self._store.pause(self._limit, now + min(error.retry_after, LONGEST_PAUSE))
        return Waits(now + error.retry_after, str(error), tried=False)

    async def _unavailable(self, claim: Knock, error: HomeserverUnavailable) -> Waits:
        now = self._clock()
        if not error.everywhere:
            return Waits(now + self._retry.wait(claim.attempts), str(error))
        if now >= self._out_until:  # the first to notice; whoever was on the way with it waits as long
            self._out_until = now + min(self._retry.wait(min(self._outages, 4)), LONGEST_OUTAGE)
            self._outages += 1
            self._on_outage()
        # Due at once: the pause alone holds it back, and it may be lifted before its time.
        await self._store.pause("homeserver", self._out_until)
        return Waits(now, str(error), tried=False)

    async def _conclude(self, claim: Knock, ending: Ending) -> Settled | None:
        match ending:
            case Waits(due_at, why, tried):
                if await self._store.put_back(claim, due_at=due_at, tried=tried):
                    log.info("knock waits", knock=claim.id, why=why)
            case Settled(knock, action):
                after = replace(knock, updated_at=self._clock())
                if not await self._store.record(claim, after, [_entry(claim, after, action)]):
                    return Settled(after, action)
                log.info(
                    "knock settled",
                    knock=claim.id,
                    door=claim.door,
                    state=after.state,
                    reason=after.reason,
                    action=action,
                )
        return None


def _entry(claim: Knock, after: Knock, action: str) -> Entry:
    return Entry(
        at=after.updated_at,
        actor="knock",
        action=action,
        door=claim.door,
        knock_id=claim.id,
        user_id=after.user_id,
        reason=after.reason.value,
        rule=after.rule,
        before=claim.state.value,
        after=after.state.value,
        detail=after.detail,
    )


def ended(claim: Knock, state: KnockState, reason: Reason, *, at: float, detail: str = "") -> Knock:
    """The knock in a state after which nothing is due."""
    return claim.moved_to(state, at=at, reason=reason, detail=detail, due_at=None)
