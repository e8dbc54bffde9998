"""A knock, its decision and its lifecycle.

A knock is the record of one person asking to come in through one door. The
record is also the job: while ``due_at`` is set, a worker has something to do.
Times are seconds since the epoch, UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from typing import Any, Self

from mknock.domain.errors import IllegalMove
from mknock.domain.ids import MatrixID


class KnockState(StrEnum):
    """Where a knock is in its life."""

    HELD = "held"
    ADMITTED = "admitted"
    INVITED = "invited"
    JOINED = "joined"
    LEFT = "left"
    REMOVED = "removed"
    REFUSED = "refused"
    DECLINED = "declined"
    EXPIRED = "expired"
    RESCINDED = "rescinded"
    RETRACTED = "retracted"
    FAILED = "failed"
    ALREADY_MEMBER = "already_member"


S = KnockState

MOVES: Mapping[KnockState, frozenset[KnockState]] = {
    S.HELD: frozenset({S.ADMITTED, S.INVITED, S.ALREADY_MEMBER, S.REFUSED, S.EXPIRED, S.RETRACTED}),
    S.ADMITTED: frozenset(
        {S.INVITED, S.ALREADY_MEMBER, S.HELD, S.REFUSED, S.RESCINDED, S.RETRACTED, S.FAILED}
    ),
    # An invite to a room that was replaced by a newer one leads nowhere: the knock is admitted to that one.
    S.INVITED: frozenset({S.ADMITTED, S.JOINED, S.DECLINED, S.EXPIRED, S.RESCINDED, S.REMOVED}),
    S.JOINED: frozenset({S.LEFT, S.REMOVED}),
    S.ALREADY_MEMBER: frozenset({S.LEFT, S.REMOVED}),
    S.LEFT: frozenset(),
    S.REMOVED: frozenset(),
    S.REFUSED: frozenset(),
    S.DECLINED: frozenset(),
    S.EXPIRED: frozenset(),
    S.RESCINDED: frozenset(),
    S.RETRACTED: frozenset(),
    S.FAILED: frozenset(),
}
"""The allowed moves. Docs draw the lifecycle from this table; an illegal move is an error."""

OPEN: frozenset[KnockState] = frozenset({S.HELD, S.ADMITTED, S.INVITED})
"""A person has at most one open knock a room."""

MEMBERS: frozenset[KnockState] = frozenset({S.JOINED, S.ALREADY_MEMBER})
"""Whoever knocked is in the room."""

NEEDS_PROOF: frozenset[KnockState] = frozenset({S.DECLINED, S.LEFT, S.REMOVED, S.EXPIRED, S.RESCINDED})
"""Endings after which nobody is invited again on a stranger's word (promise 4)."""

TURNED_AWAY: frozenset[KnockState] = frozenset({S.REFUSED, S.EXPIRED, S.RESCINDED, S.FAILED})
"""Endings that a membership knock still has to be told of, by turning it down in the room."""


class Outcome(IntEnum):
    """What a check says, from mild to strict; the strictest wins."""

    ADMIT = 0
    HOLD = 1
    REFUSE = 2


class Reason(StrEnum):
    """Why a knock is where it is. For moderators and the ledger, never for the visitor."""

    PASSED = "passed"
    HONEYPOT = "honeypot"
    ALLOWED = "allowed"
    """An allow rule names the person."""
    BLOCKED = "blocked"
    LOOK_ALIKE = "look_alike"
    """The name resembles one on the block-list."""
    UNBLOCKED = "unblocked"
    """The rule that had ended it was removed."""
    WAVE = "wave"
    RAID = "raid"
    """The door is being raided: everybody is held until it is calm."""
    NAME_PATTERN = "name_pattern"
    """Others of the last hour have names like this one."""
    LINKS = "links"
    """There are links in the answers."""
    NO_PROOF_OF_WORK = "no_proof_of_work"
    """The visitor's browser showed no work, or work that was shown before: most often it runs no JavaScript."""
    TOO_FAST = "too_fast"
    """Knock's own page came back sooner than a person can fill it in, or after a day, or was never opened."""
    REVIEW = "review"
    UNPROVEN = "unproven"
    """The door wants a proof of the account first: the knock waits for its person, not for a moderator."""
    DOOR_CLOSED = "door_closed"
    ROOM_REPLACED = "room_replaced"
    """The room was replaced by one that Knock may not follow to; let in as soon as it may."""
    BEFORE = "before"
    """The same person declined, left, was removed, or let an invite expire before."""
    OPEN_ELSEWHERE = "open_elsewhere"
    """The same unproven ID has an open invite to another room."""
    BLOCKLIST_UNREADABLE = "blocklist_unreadable"
    MODERATOR = "moderator"
    INVITED = "invited"
    ALREADY_MEMBER = "already_member"
    JOINED = "joined"
    INVITED_IN_ROOM = "invited_in_room"
    """Somebody else invited the person from within the room."""
    DECLINED = "declined"
    NO_ANSWER = "no_answer"
    """The invite was not answered in time."""
    NOT_REVIEWED = "not_reviewed"
    """No moderator decided in time."""
    LEFT = "left"
    RETRACTED = "retracted"
    """The person took their membership knock back."""
    FLAPPING = "flapping"
    """The person knocks in the room again and again."""
    REMOVED = "removed"
    """Somebody else removed the person, or took the invite back, in the room."""
    NO_SUCH_USER = "no_such_user"
    BANNED = "banned"
    INVITES_BLOCKED = "invites_blocked"
    """The person's own settings refuse invitations (M_INVITE_BLOCKED)."""
    ROOM_UNSUPPORTED = "room_unsupported"
    """The person's homeserver is too old for the room's version."""
    HOMESERVER_REFUSED = "homeserver_refused"
    LIFETIME_OVER = "lifetime_over"
    IMPORTED = "imported"


@dataclass(frozen=True, slots=True)
class Decision:
    """What the checks decided, and why. ``rule`` names the block-list entry, if one did it."""

    outcome: Outcome
    reason: Reason
    detail: str = ""
    rule: str = ""
    signals: tuple[str, ...] = ()
    """Risk signals, each a word and what was seen; for moderators, whatever the outcome."""


ADMITTED = Decision(Outcome.ADMIT, Reason.PASSED)

STATE_AFTER: Mapping[Outcome, KnockState] = {
    Outcome.ADMIT: S.ADMITTED,
    Outcome.HOLD: S.HELD,
    Outcome.REFUSE: S.REFUSED,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One answered question, for the moderator."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class Submission:
    """What a form delivered, read.

    ``user_id`` is None when no Matrix ID could be made of it; ``problem`` then
    says why in one sentence meant for the person who typed. ``event_id`` is the
    platform's own id of the delivery ("" when it has none); ``trap`` holds what was
    written into the field that people cannot see; ``sender_address`` is
    the visitor's network address as far as the platform passes it on.

    The rest is known of Knock's own page alone: ``worked`` says whether the
    browser showed a proof of work (None: nobody asked for one), ``timely``
    whether the form took as long as a person needs, and ``receipt`` is the hash
    of the token that leads the visitor back ("" when there is none).
    """

    platform: str
    user_id: MatrixID | None
    problem: str = ""
    event_id: str = ""
    trap: str = ""
    answers: tuple[Answer, ...] = ()
    sender_address: str = ""
    worked: bool | None = None
    timely: bool = True
    receipt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knock:
    """One person asking to come in through one door. See the module for its times."""

    id: str
    door: str
    room_id: str
    user_id: str
    user_key: str
    state: KnockState
    reason: Reason
    detail: str = ""
    rule: str = ""
    platform: str = ""
    link: str = ""
    """The id of the invite link by which it came; "" for none."""
    proven: bool = False
    """The person acted from this very Matrix account (a native knock, a code sent by it)."""
    trapped: bool = False
    """The honeypot was filled. Such a knock never stands in a real person's way."""
    answers: tuple[Answer, ...] = ()
    raid: str = ""
    """The raid in which the knock was held: its wave."""
    signals: tuple[str, ...] = ()
    """Risk signals that were seen, each a word and what it was."""
    created_at: float
    updated_at: float
    seen_at: float
    """When it was last repeated."""
    repeats: int = 0
    expires_at: float
    due_at: float | None = None
    """When a worker may claim it; while claimed, when that claim lapses."""
    fence: int = 0
    """Counts the claims, so that a worker whose claim lapsed cannot finish another's work."""
    attempts: int = 0
    """Tries that ended without a usable answer."""
    reminders: int = 0
    """How often the person was reminded of the open invite."""
    invited_at: float | None = None
    joined_at: float | None = None
    welcomed_at: float | None = None
    knocking: bool = False
    """A membership knock of theirs stands in the room, as far as we know, and is to be answered with this one."""

    def __repr__(self) -> str:
        return f"Knock({self.id!r}, {self.state.value})"

    def moved_to(self, state: KnockState, *, at: float, **changes: Any) -> Self:
        """Return the same knock in its next state.

        Moving to the state it is already in changes nothing but ``changes``,
        so a worker that died between acting and recording may run again. One
        that ends while a membership knock of theirs stands stays due, so
        that a worker turns that down whatever crashes.

        Raises:
            IllegalMove: MOVES has no such step.
        """
        if state is not self.state and state not in MOVES[self.state]:
            raise IllegalMove(self.id, self.state.value, state.value)
        after = replace(self, state=state, updated_at=at, **changes)
        if after.knocking and state in TURNED_AWAY:
            return replace(after, due_at=at if after.due_at is None else after.due_at)
        return after if state in (S.HELD, S.ADMITTED) else replace(after, knocking=False)


def proved(
    knock: Knock,
    user: MatrixID,
    decision: Decision | None,
    *,
    at: float,
    lifetime: float,
    knocking: bool = False,
    answers: tuple[Answer, ...] = (),
) -> Knock:
    """Return an open knock as it is once the person has acted from the very account that it names.

    ``decision`` is what the checks say now, of one that is held; None leaves it as it
    is. ``answers`` are added to those that there were.
    """
    answers = knock.answers + tuple(answer for answer in answers if answer not in knock.answers)
    knocking = knocking and knock.state is not S.INVITED
    knock = replace(
        knock, proven=True, user_id=str(user), answers=answers, knocking=knocking or knock.knocking
    )
    if decision is None or knock.state is not S.HELD:
        return knock
    told: dict[str, Any] = {"reason": decision.reason, "detail": decision.detail, "rule": decision.rule}
    if decision.outcome is Outcome.ADMIT:
        return knock.moved_to(S.ADMITTED, at=at, due_at=at, expires_at=at + lifetime, **told)
    if decision.outcome is Outcome.REFUSE:
        return knock.moved_to(S.REFUSED, at=at, due_at=None, **told)
    return replace(knock, **told)  # it goes on waiting, as long as it was to wait


WITHDRAW_AFTER = 5.0
"""Seconds after which a worker withdraws an invite that whoever asked for it could not withdraw at once."""
IN_FLIGHT = 60.0
"""Seconds after which an invite that was on its way has arrived, or never will."""


def stopped(knock: Knock, *, at: float, reason: Reason, rule: str = "") -> Knock:
    """Return the knock as it is once somebody wants it no more.

    What waits ends at once. Where an invite was sent, or may be on its way, the
    knock stays due, so that a worker takes the invite back whatever crashes.
    """
    match knock.state:
        case S.HELD:
            return knock.moved_to(S.REFUSED, at=at, reason=reason, rule=rule, due_at=None)
        case S.ADMITTED:
            state = S.REFUSED if reason is Reason.BLOCKED else S.RESCINDED
            due_at = at + IN_FLIGHT if knock.fence else None
            return knock.moved_to(state, at=at, reason=reason, rule=rule, due_at=due_at)
        case S.INVITED:
            return replace(knock, reason=reason, rule=rule, due_at=at + WITHDRAW_AFTER, updated_at=at)
        case _:
            return knock
