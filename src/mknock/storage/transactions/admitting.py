"""Somebody knocks."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import NamedTuple

from mknock.domain.doors import Door
from mknock.domain.knocks import OPEN, STATE_AFTER, Decision, Knock, KnockState, Reason
from mknock.domain.links import InviteLink
from mknock.domain.raids import HOUR, SENDER_SHARE, Raid
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
from mknock.storage.rows import entry_row, knock_of, knock_row, raid_of, rule_of
from mknock.storage.transactions.counting import (
    RAID_WIDTH,
    Counter,
    count_knock,
    counters_of,
    slot_of,
    to_count,
    to_read,
)
from mknock.storage.transactions.linking import link_line, open_link, use_link
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
    link = yield from open_link(attempt)
    if attempt.link and link is None:
        return LinkOver()
    person, event, counters = attempt.user.key, _event_name(attempt), counters_of(attempt)
    known = yield from _known(attempt, person, event, counters)
    before = (yield from _seen(known.seen)) or _repeated(attempt, known)
    if before is not None:
        return (yield from _repeat(attempt, before, event))
    link = yield from use_link(link)
    if attempt.link and link is None:
        return LinkOver()
    alarming = not attempt.submission.trap and sent.lately <= SENDER_SHARE
    counts = yield from count_knock(attempt, counters, known.counts, known.raid, alarming=alarming)
    raid = yield from raid_at(attempt, counts.arrivals, known.raid, alarming=alarming)
    facts = Facts(
        rule=known.rule,
        history=known.history,
        open_elsewhere=known.open_elsewhere,
        link=link,
        sender_count=sent.in_window,
        homeserver_count=counts.homeserver,
        door_count=counts.door,
        arrivals=counts.arrivals,
        raid=raid,
    )
    return (yield from _keep(attempt, person, event, judge(attempt, facts), link, raid))


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
    counters = Counter(slot, name), Counter(hour, f"hour:{name}")
    rows = yield sql.SENDER, (sender, at, *to_read(counters))
    level, until, *counts = rows[0]
    if not trusted and until is not None and until > at:
        return until - at, _Sent()
    yield sql.COUNT_SENDER, tuple(to_count(counters))
    sent = _Sent(slot.estimate(*counts[:2]), hour.estimate(*counts[2:]))
    if trusted or sent.in_window <= limits.sender:
        return 0.0, sent
    level = level or 0
    wait = min(limits.window * 2.0**level, limits.backoff_longest)
    yield sql.SET_BACKOFF, (sender, min(level + 1, 30), at + wait, at + wait + 2 * limits.backoff_longest)
    # What was waited for is paid for: who comes back when told to must not be sent away again.
    yield sql.UNCOUNT, (slot.expires_at, slot.earlier, name)
    return wait, sent


@dataclass(frozen=True, slots=True)
class _Known:
    """What is on record of a person at the moment they knock."""

    seen: str | None
    """The knock that this very delivery has led to before."""
    open_elsewhere: bool
    counts: Sequence[int | None]
    """Of each counter, this knock not included: in the slot of now, and in the slot before."""
    raid: Raid | None
    """The newest of the door, over or not."""
    rule: Rule | None
    history: tuple[Knock, ...]


def _known(
    attempt: Attempt, person: str, event: str, counters: Sequence[Counter]
) -> Generator[Step, Rows, _Known]:
    door, trapped = attempt.door, int(bool(attempt.submission.trap))
    about = (person, door.room_id, event, block_id(person), attempt.at, door.slug)
    rows = yield sql.KNOWN, (*about, *to_read(counters))
    seen, elsewhere, *rest = rows[0]
    counts, rest = rest[: 2 * len(counters)], rest[2 * len(counters) :]
    raid, rule = rest[:RAID_WIDTH], rest[RAID_WIDTH:]
    history = yield sql.HISTORY, (person, door.room_id, trapped, HISTORY)
    return _Known(
        seen=seen,
        open_elsewhere=bool(elsewhere),
        counts=counts,
        raid=raid_of(raid) if raid[0] is not None else None,
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
    return last if attempt.at - last.updated_at < attempt.door.cooldown else None


def _repeat(attempt: Attempt, before: Knock, event: str) -> Steps[Kept]:
    """Count on the record there is."""
    yield sql.REPEAT, (before.id, attempt.at)
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
        trapped=bool(submission.trap),
        answers=submission.answers,
        raid=raid.id if raid is not None and state is KnockState.HELD else "",
        signals=decision.signals,
        created_at=at,
        updated_at=at,
        seen_at=at,
        expires_at=at + attempt.door.lifetime,
        due_at=_first_due(attempt.door, state, at),
    )


def _first_due(door: Door, state: KnockState, at: float) -> float | None:
    """When a worker looks at a new knock: at once to invite, at the end of its patience if it is held."""
    if state is KnockState.HELD and door.hold_lifetime:
        return at + door.hold_lifetime
    return at if state is KnockState.ADMITTED else None


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
    if link is not None:
        return f"link:{link.id}"
    return f"form:{attempt.submission.platform}" if attempt.trusted else "visitor"
