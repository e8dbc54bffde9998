"""Somebody knocks."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from hashlib import sha256
from typing import NamedTuple

from mknock.domain.doors import Door
from mknock.domain.knocks import OPEN, STATE_AFTER, TURNED_AWAY, Decision, Knock, KnockState, Outcome, Reason
from mknock.domain.links import InviteLink
from mknock.domain.raids import HOUR, SENDER_SHARE, Raid
from mknock.ports import (
    AskedToWait,
    Attempt,
    Entry,
    Judge,
    Kept,
    LinkOver,
)
from mknock.storage import sql
from mknock.storage.rows import entry_row, knock_of, knock_row
from mknock.storage.transactions.counting import (
    count_knock,
    counters_of,
    slot_of,
    to_count,
    to_read,
)
from mknock.storage.transactions.knowing import Known, facts_of, facts_without, known_of
from mknock.storage.transactions.linking import let_in, link_line, stands_for_the_yes, use_link
from mknock.storage.transactions.proving import is_proof, mark_proven
from mknock.storage.transactions.raiding import raid_at
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
    sent = _Sent()
    if attempt.sender is not None:
        wait, sent = yield from _count_sender(
            attempt.door, attempt.sender, attempt.at, trusted=attempt.trusted
        )
        if wait:
            return AskedToWait(wait)
    link = yield from use_link(attempt)
    if attempt.link and link is None:
        return LinkOver()
    person, event, counters = attempt.user.key, _event_name(attempt), counters_of(attempt)
    known = yield from known_of(attempt, event, counters)
    seen = yield from _seen(known.seen)
    before = seen or _repeated(attempt, known)
    if before is not None:
        if seen is None and is_proof(attempt, before):
            before = yield from _prove(attempt, judge, before, known)
        elif link is not None and stands_for_the_yes(link, before):
            before = yield from _let_in(attempt, judge, before, known, link)
        if attempt.knocking and before.state not in OPEN and not before.knocking:
            event = ""  # nothing answers that membership knock: it is to be looked at again
        return (yield from _repeat(attempt, before, event))
    alarming = not attempt.submission.trap and sent.lately <= SENDER_SHARE
    counts = yield from count_knock(attempt, counters, known.counts, known.raid, alarming=alarming)
    raid = yield from raid_at(attempt, counts.arrivals, known.raid, alarming=alarming)
    facts = facts_of(known, known.history, counts, raid, link=link, sender_count=sent.in_window)
    return (yield from _keep(attempt, person, event, judge(attempt, facts), link, raid))


def prove(attempt: Attempt, judge: Judge) -> Steps[Knock | None]:
    """Somebody has shown that the account is theirs; see ports.Store.prove."""
    yield sql.LOCK, _line(attempt)
    known = yield from known_of(attempt, "", counters_of(attempt))
    if not known.history or known.history[0].state not in OPEN:
        return None
    before = known.history[0]
    return (yield from _prove(attempt, judge, before, known)) if is_proof(attempt, before) else before


def _prove(attempt: Attempt, judge: Judge, before: Knock, known: Known) -> Steps[Knock]:
    """Mark the open knock as proven. One that is held is judged anew, as if the person came only now."""
    rows = yield sql.KNOCK_TO_CHANGE, (before.id,)
    before, decision = knock_of(rows[0]), None
    if not is_proof(attempt, before):
        return before
    if before.state is KnockState.HELD and not before.proven:
        decision = judge(attempt, facts_without(before, known, attempt.at))
    return (yield from mark_proven(attempt, before, decision))


def _let_in(attempt: Attempt, judge: Judge, before: Knock, known: Known, link: InviteLink) -> Steps[Knock]:
    """Judge the held knock anew, by the link. Unless that lets it in, it stays as it is."""
    rows = yield sql.KNOCK_TO_CHANGE, (before.id,)
    before = knock_of(rows[0])
    decision = judge(attempt, replace(facts_without(before, known, attempt.at), link=link))
    if decision.outcome is not Outcome.ADMIT or not stands_for_the_yes(link, before):
        return before
    return (yield from let_in(link, attempt, before, decision))


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


class _Sent(NamedTuple):
    """How many requests came from one sender, this one included."""

    in_window: float = 0.0
    lately: float = 0.0
    """In the last hour."""


def _count_sender(
    door: Door, sender: str, at: float, *, trusted: bool
) -> Generator[Step, Rows, tuple[float, _Sent]]:
    """Count a request of this sender; return how long it must wait (0.0: not at all) and its counts.

    Only anonymous senders wait, and only their own address is held against
    them: never the Matrix ID they name (promise 4).
    """
    limits, name = door.limits, f"sender:{door.slug}:{sender}"
    slot, hour = slot_of(limits.window, at), slot_of(HOUR, at)
    counters = (slot, name), (hour, f"hour:{name}")
    rows = yield sql.SENDER, (sender, at, *to_read(counters))
    level, until, *counts = rows[0]
    if not trusted and until is not None and until > at:
        return until - at, _Sent()
    yield sql.COUNT_SENDER, to_count(counters)
    sent = _Sent(slot.estimate(*counts[:2]), hour.estimate(*counts[2:]))
    if trusted or sent.in_window <= limits.sender:
        return 0.0, sent
    level = level or 0
    wait = min(limits.window * 2.0**level, limits.backoff_longest)
    yield sql.SET_BACKOFF, (sender, min(level + 1, 30), at + wait, at + wait + 2 * limits.backoff_longest)
    # What was waited for is paid for: who comes back when told to must not be sent away again.
    yield sql.UNCOUNT, (slot.expires_at, slot.earlier, name)
    return wait, sent


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


def _repeated(attempt: Attempt, known: Known) -> Knock | None:
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
    attempt: Attempt,
    person: str,
    event: str,
    decision: Decision,
    link: InviteLink | None,
    raid: Raid | None,
) -> Steps[Kept]:
    """Keep a new knock with the ledger line of its beginning, which bears its id."""
    knock = _knock(attempt, person, decision, link, raid)
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


def _knock(
    attempt: Attempt, person: str, decision: Decision, link: InviteLink | None, raid: Raid | None
) -> Knock:
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
        raid=raid.id if raid is not None and state is KnockState.HELD else "",
        signals=decision.signals,
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
        detail="; ".join(filter(None, (decision.detail, *(f"signal {each}" for each in decision.signals)))),
    )


def _actor(attempt: Attempt, link: InviteLink | None) -> str:
    if attempt.proven:
        return str(attempt.user)
    if link is not None:
        return f"link:{link.id}"
    return f"form:{attempt.submission.platform}" if attempt.trusted else "visitor"
