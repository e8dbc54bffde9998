"""Letting a knock in: from what a form delivered to what is on record."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Callable
from hashlib import sha256

from mknock.checks import decide
from mknock.domain.chance import new_id
from mknock.domain.doors import Door
from mknock.domain.errors import InvalidMatrixID
from mknock.domain.ids import MatrixID
from mknock.domain.knocks import Knock, KnockState, Submission
from mknock.matching.likeness import likeness
from mknock.ports import AskedToWait, Attempt, Clock, Entry, Kept, LinkOver, Store
from mknock.services.rule_book import RuleBook, stance_of

NAME_QUESTIONS = frozenset(
    {"name", "your name", "display name", "nickname", "nick", "dein name", "anzeigename"}
)
"""Labels of questions whose answer is compared with the block-list, as what the person calls themselves."""
KEY_LIFETIME = 86400.0
"""Seconds after which senders get new names: what was kept cannot be linked to them any more."""


class SenderNames:
    """Turns network addresses into names that mean nothing to anybody else.

    An address is kept only as an HMAC under a key that all processes share
    and that is thrown away after a day. An IPv6 address counts by its /64,
    which is what one subscriber gets (RFC 6177).
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._day = -1
        self._key = b""

    async def name(self, address: str, now: float) -> str:
        day = int(now // KEY_LIFETIME)
        if day != self._day:
            fresh = secrets.token_hex(32)
            ends = (day + 1) * KEY_LIFETIME
            kept = await self._store.settle_secret(f"sender-key-{day}", fresh, expires_at=ends)
            self._day, self._key = day, bytes.fromhex(kept)
        return hmac.new(self._key, _network(address).encode(), sha256).hexdigest()[:32]


def _network(address: str) -> str:
    """The address, or the /64 of an IPv6 one; an IPv4 address in IPv6 dress counts as IPv4."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed), 64), strict=False))


class Admission:
    """Keeps knocks. When ``submit`` returns a Kept, the knock is on disk (promise 1)."""

    def __init__(self, store: Store, book: RuleBook, clock: Clock, *, wake: Callable[[], None]) -> None:
        self._store = store
        self._book = book
        self._clock = clock
        self._wake = wake
        self._names = SenderNames(store)

    async def must_wait(self, address: str | None) -> float:
        """Seconds that an anonymous visitor still has to wait; asked before anything of a form is read."""
        if address is None:
            return 0.0
        now = self._clock()
        return await self._store.must_wait(await self._names.name(address, now), now)

    async def count(self, door: Door, address: str | None) -> float:
        """Count an anonymous request that made no knock; return the seconds that its visitor must wait now."""
        if address is None:
            return 0.0
        now = self._clock()
        return await self._store.count_request(door, await self._names.name(address, now), now)

    async def submit(
        self, submission: Submission, door: Door, *, address: str | None, trusted: bool, link: str = ""
    ) -> Kept | AskedToWait | LinkOver | None:
        """Judge a submission and keep it; None if there was nothing but a filled trap.

        ``address`` is the network address of an anonymous visitor; for a
        trusted delivery the one that the platform passes on counts, if any.
        ``link`` is the hash of the token of the invite link by which the person comes.

        Raises:
            InvalidMatrixID: there is no Matrix ID in it; the text is meant for who typed it.
            StoreUnavailable: nothing was kept.
        """
        if submission.user_id is None:
            return await self._nobody(submission, door, address=address, trusted=trusted)
        result = await self._admit(
            submission, submission.user_id, door, address=address, trusted=trusted, link=link
        )
        if isinstance(result, Kept) and _is_to_be_invited(result.knock, self._clock()):
            self._wake()
        return result

    async def _admit(
        self,
        submission: Submission,
        user: MatrixID,
        door: Door,
        *,
        address: str | None,
        trusted: bool,
        link: str,
    ) -> Kept | AskedToWait | LinkOver:
        now = self._clock()
        counted = submission.sender_address if trusted else address
        attempt = Attempt(
            knock_id=new_id(now),
            door=door,
            user=user,
            submission=submission,
            at=now,
            sender=await self._names.name(counted, now) if counted else None,
            trusted=trusted,
            link=link,
            likeness=likeness(user.localpart),
            listed=self._book.decide(user, stance_of(door), _called(submission)),
        )
        return await self._store.admit(attempt, decide)

    async def _nobody(
        self, submission: Submission, door: Door, *, address: str | None, trusted: bool
    ) -> AskedToWait | None:
        """A form that names nobody: count it, or if a platform vouches for it tell the owner."""
        if trusted:
            await self._store.write(_unreadable(submission, door, self._clock()))
        elif wait := await self.count(door, address):
            return AskedToWait(wait)
        if submission.trap:
            return None
        raise InvalidMatrixID(submission.problem)


def _is_to_be_invited(knock: Knock, now: float) -> bool:
    return knock.state is KnockState.ADMITTED and knock.due_at is not None and knock.due_at <= now


def _called(submission: Submission) -> str:
    """What the person says they are called, if the form asked for it; "" if not."""
    named = (answer.value for answer in submission.answers if answer.label.strip().lower() in NAME_QUESTIONS)
    return next(named, "")


def _unreadable(submission: Submission, door: Door, now: float) -> Entry:
    return Entry(
        at=now,
        actor=f"form:{submission.platform}",
        action="could not read",
        door=door.slug,
        reason="honeypot" if submission.trap else "no_matrix_id",
        detail=submission.problem,
    )
