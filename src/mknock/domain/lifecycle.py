"""How a knock goes on after its invite: what each thing seen in the room makes of its record.

Pure functions from a record to the next. Whether a step is allowed is
said by ``knocks.MOVES``; when a worker looks at the record again, by the door.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from mknock.domain.doors import Door
from mknock.domain.knocks import IN_FLIGHT, MEMBERS, Knock, KnockState, Reason

S = KnockState

UNWANTED = frozenset({Reason.BLOCKED, Reason.MODERATOR})
"""An open invite with such a reason is about to be withdrawn."""


class Seen(StrEnum):
    """What the room says of a person, and who did it."""

    INVITED = "invited"
    JOINED = "joined"
    LEFT = "left"
    """They went, or declined, themselves."""
    REMOVED = "removed"
    """Somebody else made them leave, or took the invite back."""
    BANNED = "banned"


def invited(knock: Knock, door: Door, at: float, *, reason: Reason = Reason.INVITED) -> Knock:
    """Return the knock whose invite is out; due when the person is to be reminded, or the invite ends."""
    due_at = door.latecomers.next_due(at, 0, at)
    return knock.moved_to(
        S.INVITED, at=at, reason=reason, invited_at=at, reminders=0, attempts=0, due_at=due_at
    )


def reminded(knock: Knock, door: Door, at: float) -> Knock:
    """Return the invited knock after one more reminder."""
    count = knock.reminders + 1
    due_at = door.latecomers.next_due(knock.invited_at or at, count, at)
    return replace(knock, reminders=count, attempts=0, due_at=due_at, updated_at=at)


def joined(knock: Knock, door: Door, at: float) -> Knock:
    """Return the knock of somebody who has joined; due when they are to be welcomed."""
    if knock.state is not S.INVITED and knock.state is not S.JOINED:
        knock = knock.moved_to(S.INVITED, at=at, invited_at=at)
    due_at = at + door.welcoming.delay if door.welcoming.text else None
    return knock.moved_to(S.JOINED, at=at, reason=Reason.JOINED, joined_at=at, attempts=0, due_at=due_at)


def seen(knock: Knock, what: Seen, door: Door, at: float) -> Knock:
    """Return the knock as it is after something was seen in the room; itself if that changes nothing.

    An admitted knock is left to the delivery that has it, unless the membership knock
    that it answers is gone; and an invite about to be withdrawn to whoever withdraws it.
    """
    match knock.state:
        case S.HELD | S.ADMITTED if knock.knocking and what in _ANSWERED:
            return _answered(knock, what, at)
        case S.HELD:
            return _held_seen(knock, what, door, at)
        case S.INVITED:
            return _invited_seen(knock, what, door, at)
        case state if state in MEMBERS:
            return _member_seen(knock, what, at)
        case _:
            return knock


_ANSWERED = frozenset({Seen.LEFT, Seen.REMOVED, Seen.BANNED})


def _answered(knock: Knock, what: Seen, at: float) -> Knock:
    """The membership knock is gone: taken back by the person, or turned down in the room by somebody else.

    An invite that may be on its way is taken back when it has arrived.
    """
    in_flight = knock.state is S.ADMITTED and knock.fence
    due_at = at + IN_FLIGHT if in_flight else None
    knock = replace(knock, knocking=False)
    if what is Seen.LEFT:
        return knock.moved_to(S.RETRACTED, at=at, reason=Reason.RETRACTED, due_at=due_at)
    state = S.REFUSED if knock.state is S.HELD else S.RESCINDED
    reason = Reason.BANNED if what is Seen.BANNED else Reason.MODERATOR
    return knock.moved_to(state, at=at, reason=reason, detail="turned down in the room", due_at=due_at)


def _held_seen(knock: Knock, what: Seen, door: Door, at: float) -> Knock:
    """A moderator may let somebody in, or shut them out, in the room itself."""
    match what:
        case Seen.INVITED:
            return invited(knock, door, at, reason=Reason.INVITED_IN_ROOM)
        case Seen.JOINED:
            return knock.moved_to(S.ALREADY_MEMBER, at=at, reason=Reason.ALREADY_MEMBER, due_at=None)
        case Seen.BANNED:
            return knock.moved_to(S.REFUSED, at=at, reason=Reason.BANNED, due_at=None)
        case _:
            return knock


def _invited_seen(knock: Knock, what: Seen, door: Door, at: float) -> Knock:
    match what:
        case Seen.JOINED if knock.reason not in UNWANTED:
            return joined(knock, door, at)
        case Seen.LEFT:
            return knock.moved_to(S.DECLINED, at=at, reason=Reason.DECLINED, due_at=None)
        case Seen.REMOVED:
            return knock.moved_to(S.RESCINDED, at=at, reason=_kept(knock, Reason.REMOVED), due_at=None)
        case Seen.BANNED:
            return knock.moved_to(S.RESCINDED, at=at, reason=_kept(knock, Reason.BANNED), due_at=None)
        case _:
            return knock


def _kept(knock: Knock, reason: Reason) -> Reason:
    """Why an invite ended: what it was about to be withdrawn for, if it was."""
    return knock.reason if knock.reason in UNWANTED else reason


def _member_seen(knock: Knock, what: Seen, at: float) -> Knock:
    match what:
        case Seen.LEFT:
            return knock.moved_to(S.LEFT, at=at, reason=Reason.LEFT, due_at=None)
        case Seen.REMOVED:
            return knock.moved_to(S.REMOVED, at=at, reason=Reason.REMOVED, due_at=None)
        case Seen.BANNED:
            return knock.moved_to(S.REMOVED, at=at, reason=Reason.BANNED, due_at=None)
        case _:
            return knock
