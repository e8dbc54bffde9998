"""Somebody knocks."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from mknock.domain.doors import Door
from mknock.domain.knocks import OPEN, STATE_AFTER, TURNED_AWAY, Decision, Knock, KnockState, Outcome, Reason
from mknock.domain.links import InviteLink
from mknock.domain.rules import Rule, block_id
from mknock.ports import (
    HISTORY,
    AskedToWait,
    Attempt,
    Entry,
    Facts,
    Judge,
    Kept,
    LinkOver,
)
from mknock.storage import sql
from mknock.storage.rows import entry_row, knock_of, knock_row, rule_of
from mknock.storage.transactions.linking import let_in, link_line, stands_for_the_yes, use_link
from mknock.storage.transactions.proving import is_proof, mark_proven
from mknock.storage.transactions.steps import Rows, Step, Steps, person_line

EVENT_KEPT = 90 * 86400.0
"""Seconds that a delivery's event id is remembered; the longest retry of a known platform is 31 hours."""
_BY_RULE = frozenset({Reason.BLOCKED, Reason.UNBLOCKED})


def admit(attempt: Attempt, judge: Judge) -> Steps[Kept | AskedToWait | LinkOver]:
    """Gather the facts, judge and keep. See ports.Store.admit.

    The same statements run whatever the decision (promise 6); a repeat has
    fewer. Counts are read before they are written, so no two admissions at
    one door run at the same time, unless counting tells the new counts: then
    those of different people and senders may run in step.
    """
    yield sql.LOCK_IN_STEP, _line(attempt)
    sender_count = 0.0
    if attempt.sender is not None:
        wait, sender_count = yield from _count_sender(
            attempt.door, attempt.sender, attempt.at, trusted=attempt.trusted
        )
        if wait:
            return AskedToWait(wait)
    link = yield from use_link(attempt)
    if attempt.link and link is None:
        return LinkOver()
    person, event = attempt.user.key, _event_name(attempt)
    slot, counters = _slot(attempt.door.limits.window, attempt.at), _counters(attempt)
    known = yield from _known(attempt, person, event, slot, counters)
    seen = yield from _seen(known.seen)
    before = seen or _repeated(attempt, known)
    if before is not None:
        if seen is None and is_proof(attempt, before):
            before = yield from _prove(attempt, judge, before, known, slot)
        elif link is not None and stands_for_the_yes(link, before):
            before = yield from _let_in(attempt, judge, before, known, slot, link)
        if attempt.knocking and before.state not in OPEN and not before.knocking:
            event = ""  # nothing answers that membership knock: it is to be looked at again
        return (yield from _repeat(attempt, before, event))
    counted = yield sql.COUNT_TWO, (slot.expires_at, *counters)
    counts = [row[0] - 1 for row in counted] or known.counts
    facts = replace(_facts(known, known.history, counts, slot, sender_count), link=link)
    return (yield from _keep(attempt, person, event, judge(attempt, facts), link))


def prove(attempt: Attempt, judge: Judge) -> Steps[Knock | None]:
    """Somebody has shown that the account is theirs; see ports.Store.prove."""
    yield sql.LOCK, _line(attempt)
    slot = _slot(attempt.door.limits.window, attempt.at)
    known = yield from _known(attempt, attempt.user.key, "", slot, _counters(attempt))
    if not known.history or known.history[0].state not in OPEN:
        return None
    before = known.history[0]
    return (yield from _prove(attempt, judge, before, known, slot)) if is_proof(attempt, before) else before


def _prove(attempt: Attempt, judge: Judge, before: Knock, known: _Known, slot: _Slot) -> Steps[Knock]:
    """Mark the open knock as proven. One that is held is judged anew, as if the person came only now."""
    rows = yield sql.KNOCK_TO_CHANGE, (before.id,)
    before, decision = knock_of(rows[0]), None
    if not is_proof(attempt, before):
        return before
    if before.state is KnockState.HELD and not before.proven:
        decision = judge(attempt, _facts_without(before, known, slot))
    return (yield from mark_proven(attempt, before, decision))


def _let_in(
    attempt: Attempt, judge: Judge, before: Knock, known: _Known, slot: _Slot, link: InviteLink
) -> Steps[Knock]:
    """Judge the held knock anew, by the link. Unless that lets it in, it stays as it is."""
    rows = yield sql.KNOCK_TO_CHANGE, (before.id,)
    before = knock_of(rows[0])
    decision = judge(attempt, replace(_facts_without(before, known, slot), link=link))
    if decision.outcome is not Outcome.ADMIT or not stands_for_the_yes(link, before):
        return before
    return (yield from let_in(link, attempt, before, decision))


def _facts_without(before: Knock, known: _Known, slot: _Slot) -> Facts:
    """The facts as if a knock, which was counted when it came, came only now."""
    counts = [max((count or 0) - 1, 0) for count in known.counts]
    others = tuple(knock for knock in known.history if knock.id != before.id)
    return _facts(known, others, counts, slot, 0.0)


def _facts(
    known: _Known,
    history: tuple[Knock, ...],
    counts: Sequence[int | None],
    slot: _Slot,
    sender_count: float,
) -> Facts:
    at_homeserver, at_door = counts
    return Facts(
        rule=known.rule,
        history=history,
        open_elsewhere=known.open_elsewhere,
        sender_count=sender_count,
        homeserver_count=slot.estimate(at_homeserver, known.before[0]),
        door_count=slot.estimate(at_door, known.before[1]),
    )


def _line(attempt: Attempt) -> tuple[str, ...]:
    """The lines in which a knock stands: at its door (where others run in step), of its person, sender and link."""
    names = [f"door:{attempt.door.slug}", person_line(attempt.user.key)]
    if attempt.sender is not None:
        names.append(f"sender:{attempt.sender}")
    if attempt.link:
        names.append(link_line(attempt.link))
    return tuple(names)


def count_request(door: Door, sender: str, at: float) -> Steps[float]:
    """Count a request that made no knock; see ports.Store.count_request."""
    yield sql.LOCK, (f"sender:{sender}",)
    wait, _ = yield from _count_sender(door, sender, at, trusted=False)
    return wait


def _count_sender(
    door: Door, sender: str, at: float, *, trusted: bool
) -> Generator[Step, Rows, tuple[float, float]]:
    """Count a request of this sender; return how long it must wait (0.0: not at all) and its count.

    Only anonymous senders wait, and only their own address is held against
    them: never the Matrix ID they name (promise 4).
    """
    limits = door.limits
    slot, name = _slot(limits.window, at), f"sender:{door.slug}:{sender}"
    rows = yield sql.SENDER, (sender, at, name, slot.expires_at, slot.earlier)
    level, until, earlier_requests, before = rows[0]
    if not trusted and until is not None and until > at:
        return until - at, 0.0
    yield sql.COUNT, (slot.expires_at, name)
    count = slot.estimate(earlier_requests, before)
    if trusted or count <= limits.sender:
        return 0.0, count
    level = level or 0
    wait = min(limits.window * 2.0**level, limits.backoff_longest)
    yield sql.SET_BACKOFF, (sender, min(level + 1, 30), at + wait, at + wait + 2 * limits.backoff_longest)
    # What was waited for is paid for: who comes back when told to must not be sent away again.
    yield sql.UNCOUNT, (slot.expires_at, slot.earlier, name)
    return wait, count


@dataclass(frozen=True, slots=True)
class _Slot:
    """The part of time in which something is counted: a window long, needed for one window more."""

    expires_at: float
    earlier: float
    """When the slot before this one is forgotten; which names it."""
    left: float
    """How much of the slot before still is within the last ``window`` seconds, from 1 to 0."""

    def estimate(self, count: int | None, before: int | None) -> float:
        """The count of the last ``window`` seconds with one more, as if the slot before had filled evenly."""
        return (count or 0) + 1 + (before or 0) * self.left


def _slot(window: float, at: float) -> _Slot:
    number, into = divmod(at, window)
    return _Slot((number + 2) * window, (number + 1) * window, 1.0 - into / window)


def _counters(attempt: Attempt) -> tuple[str, str]:
    """Where a new knock is counted: the names of its homeserver's counter and of its door's.

    What the honeypot caught is counted apart, so that a bot cannot fill the
    windows that hold people back.
    """
    door = f"{'trap' if attempt.submission.trap else 'door'}:{attempt.door.slug}"
    return f"{door}:at:{attempt.user.server}", door


@dataclass(frozen=True, slots=True)
class _Known:
    """What is on record of a person at the moment they knock."""

    seen: str | None
    """The knock that this very delivery has led to before."""
    open_elsewhere: bool
    counts: tuple[int | None, int | None]
    """Of the homeserver and of the door, this knock not included, in the slot of now."""
    before: tuple[int | None, int | None]
    """The same in the slot before."""
    rule: Rule | None
    history: tuple[Knock, ...]


def _known(
    attempt: Attempt, person: str, event: str, slot: _Slot, counters: tuple[str, str]
) -> Generator[Step, Rows, _Known]:
    room, trapped = attempt.door.room_id, int(bool(attempt.submission.trap))
    named = block_id(person), attempt.at
    rows = yield sql.KNOWN, (person, room, event, slot.expires_at, slot.earlier, *counters, *named)
    seen, elsewhere, at_homeserver, at_homeserver_before, at_door, at_door_before, *rule = rows[0]
    history = yield sql.HISTORY, (person, room, trapped, HISTORY)
    return _Known(
        seen=seen,
        open_elsewhere=bool(elsewhere),
        counts=(at_homeserver, at_door),
        before=(at_homeserver_before, at_door_before),
        rule=rule_of(rule) if rule[0] is not None else None,
        history=tuple(map(knock_of, history)),
    )


def _event_name(attempt: Attempt) -> str:
    """The delivery's name in the store, or "" when it has none that can be trusted.

    The person is part of it: an edited response is a new knock. Event ids of
    anonymous senders are ignored, or they could use up somebody else's.
    """
    if not (attempt.trusted and attempt.submission.event_id):
        return ""
    parts = (attempt.door.slug, attempt.submission.platform, attempt.submission.event_id, attempt.user.key)
    return sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()[:32]


def _seen(knock_id: str | None) -> Generator[Step, Rows, Knock | None]:
    if knock_id is None:
        return None
    rows = yield sql.KNOCK, (knock_id,)
    return knock_of(rows[0]) if rows else None


def _repeated(attempt: Attempt, known: _Known) -> Knock | None:
    """The record on which this knock counts as a repeat, if there is one."""
    if not known.history:
        return None
    last = known.history[0]
    if last.state in OPEN:
        return last
    if last.reason in _BY_RULE and not attempt.is_blocked_by(known.rule):
        return None  # no longer blocked: a fresh start, whatever the cooldown
    if last.state is KnockState.FAILED and last.user_id != str(attempt.user):
        return None  # a slip of the keyboard, mended
    if last.state is KnockState.EXPIRED and last.reason is Reason.UNPROVEN:
        return None  # a proof that never came counts as nothing
    # Who has proven that they are there may change their mind: but not more often than once a cooldown.
    since = last.created_at if attempt.proven else last.updated_at
    return last if attempt.at - since < attempt.door.cooldown else None


def _repeat(attempt: Attempt, before: Knock, event: str) -> Steps[Kept]:
    """Count on the record there is."""
    yield sql.REPEAT, (before.id, attempt.at, attempt.at + attempt.door.proof_lifetime)
    yield from _remember(event, before.id, attempt.at)
    yield from _remember(receipt_name(attempt.submission.receipt), before.id, attempt.at)
    return Kept(replace(before, repeats=before.repeats + 1, seen_at=attempt.at), repeat=True)


def _keep(
    attempt: Attempt, person: str, event: str, decision: Decision, link: InviteLink | None
) -> Steps[Kept]:
    """Keep a new knock with the ledger line of its beginning, which bears its id."""
    knock = _knock(attempt, person, decision, link)
    yield sql.ADD_KNOCK, knock_row(knock)
    yield from _remember(event, knock.id, attempt.at)
    yield from _remember(receipt_name(attempt.submission.receipt), knock.id, attempt.at)
    yield sql.ADD_ENTRY, entry_row(knock.id, _decided(attempt, knock, decision, link))
    yield sql.WAKE, ()  # whatever the decision (promise 6)
    return Kept(knock)


def receipt_name(receipt: str) -> str:
    """The name under which a visitor's way back is kept, beside the deliveries, whose names hold no colon."""
    return receipt and f"receipt:{receipt}"


def _remember(event: str, knock_id: str, at: float) -> Generator[Step, Rows, None]:
    if event:
        yield sql.ADD_EVENT, (event, knock_id, at + EVENT_KEPT)


def _knock(attempt: Attempt, person: str, decision: Decision, link: InviteLink | None) -> Knock:
    submission, at = attempt.submission, attempt.at
    state = STATE_AFTER[decision.outcome]
    return Knock(
        id=attempt.knock_id,
        door=attempt.door.slug,
        room_id=attempt.door.room_id,
        user_id=str(attempt.user),
        user_key=person,
        state=state,
        reason=decision.reason,
        detail=decision.detail,
        rule=decision.rule,
        platform=submission.platform,
        link=link.id if link else "",
        proven=attempt.proven,
        knocking=attempt.knocking,
        trapped=bool(submission.trap),
        answers=submission.answers,
        created_at=at,
        updated_at=at,
        seen_at=at,
        expires_at=at + attempt.door.lifetime,
        due_at=_first_due(attempt, state, decision.reason),
    )


def _first_due(attempt: Attempt, state: KnockState, reason: Reason) -> float | None:
    """When a worker looks at a new knock: at once to invite or turn down, at the end of its patience if it is held."""
    door, at = attempt.door, attempt.at
    if state is KnockState.HELD:
        return door.held_until(reason, at)
    to_turn_down = attempt.knocking and state in TURNED_AWAY
    return at if state is KnockState.ADMITTED or to_turn_down else None


def _decided(attempt: Attempt, knock: Knock, decision: Decision, link: InviteLink | None) -> Entry:
    return Entry(
        at=attempt.at,
        actor=_actor(attempt, link),
        action="knocked",
        door=knock.door,
        knock_id=knock.id,
        user_id=knock.user_id,
        reason=decision.reason.value,
        rule=decision.rule,
        after=knock.state.value,
        detail=decision.detail,
    )


def _actor(attempt: Attempt, link: InviteLink | None) -> str:
    if attempt.proven:
        return str(attempt.user)
    if link is not None:
        return f"link:{link.id}"
    return f"form:{attempt.submission.platform}" if attempt.trusted else "visitor"
