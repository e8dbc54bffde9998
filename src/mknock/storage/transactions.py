"""What happens in one transaction, step by step, without a driver.

Each function is a generator: it yields a statement with its parameters and is
sent the rows. A back-end runs it inside one transaction, so the logic is
written once and a driver stays small. A transaction may be run
again from the start when its batch has to be rolled back: it must not
have effects of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any, TypeVar

from mknock.domain.chance import new_id
from mknock.domain.doors import Limits
from mknock.domain.errors import NotFound
from mknock.domain.knocks import OPEN, STATE_AFTER, Decision, Knock, KnockState, Reason
from mknock.domain.rules import Rule
from mknock.ports import (
    HISTORY,
    AskedToWait,
    Attempt,
    Claimed,
    Entry,
    Facts,
    Judge,
    Kept,
    Pace,
)
from mknock.storage import sql
from mknock.storage.rows import Row, entry_row, knock_of, knock_row, rule_of, rule_row

T = TypeVar("T")
Step = tuple[str, tuple[Any, ...]]
Rows = list[Row]
Steps = Generator[Step, Rows, T]

EVENT_KEPT = 90 * 86400.0
"""Seconds that a delivery's event id is remembered; the longest retry of a known platform is 31 hours."""

WITHDRAW_AFTER = 5.0
"""Seconds after which a worker withdraws an invite that whoever asked for it could not withdraw at once."""


def admit(attempt: Attempt, judge: Judge) -> Steps[Kept | AskedToWait]:
    """Gather the facts, judge and keep. See ports.Store.admit."""
    sender_count = 0.0
    if attempt.sender is not None:
        wait, sender_count = yield from _count_sender(attempt, attempt.sender)
        if wait:
            return AskedToWait(wait)
    facts = yield from _facts(attempt, sender_count)
    seen = yield from _seen(attempt)
    before = seen or _repeated(attempt, facts)
    if before is not None:
        yield sql.REPEAT, (before.id, attempt.at)
        return Kept(replace(before, repeats=before.repeats + 1, seen_at=attempt.at), repeat=True)
    facts = yield from _counted(attempt, facts)
    decision = judge(attempt, facts)
    knock = _knock(attempt, decision)
    yield sql.ADD_KNOCK, knock_row(knock)
    yield from _remember_event(attempt)
    yield from write(_decided(attempt, knock, decision))
    return Kept(knock)


def _count_sender(attempt: Attempt, sender: str) -> Generator[Step, Rows, tuple[float, float]]:
    """Count a request of this sender; return how long it must wait (0.0: not at all) and its count.

    Only anonymous senders wait, and only their own address is held against
    them: never the Matrix ID they name (promise 4).
    """
    level = 0
    if not attempt.trusted:
        rows = yield sql.BACKOFF, (sender,)
        if rows:
            level, until = rows[0]
            if until > attempt.at:
                return until - attempt.at, 0.0
    limits = attempt.door.limits
    count = yield from _count(f"sender:{attempt.door.slug}:{sender}", limits, attempt.at)
    if attempt.trusted or count <= limits.sender:
        return 0.0, count
    wait = min(limits.window * 2.0**level, limits.backoff_longest)
    until = attempt.at + wait
    yield sql.SET_BACKOFF, (sender, min(level + 1, 30), until, until + 2 * limits.backoff_longest)
    return wait, count


def _count(name: str, limits: Limits, at: float) -> Generator[Step, Rows, float]:
    """Count one more in a sliding window; return the estimate for the last ``window`` seconds."""
    slot = int(at // limits.window)
    rows = yield sql.COUNT, (name, slot, (slot + 2) * limits.window)
    count, before = rows[0]
    into = at / limits.window - slot
    return float(count) + float(before) * (1.0 - into)


def _facts(attempt: Attempt, sender_count: float) -> Generator[Step, Rows, Facts]:
    room, key = attempt.door.room_id, attempt.user.key
    trapped = int(bool(attempt.submission.trap))
    rules = yield sql.RULE, (key,)
    history = yield sql.HISTORY, (key, room, trapped, HISTORY)
    elsewhere = yield sql.ELSEWHERE, (key, room)
    return Facts(
        rule=rule_of(rules[0]) if rules else None,
        history=tuple(knock_of(row) for row in history),
        open_elsewhere=bool(elsewhere),
        sender_count=sender_count,
    )


def _counted(attempt: Attempt, facts: Facts) -> Generator[Step, Rows, Facts]:
    """Count a new knock at its homeserver and its door.

    What the honeypot caught is counted apart, so that a bot cannot fill the
    windows that hold people back.
    """
    door, at = attempt.door, attempt.at
    pool = "trap" if attempt.submission.trap else "door"
    homeserver = yield from _count(f"{pool}:{door.slug}:at:{attempt.user.server}", door.limits, at)
    total = yield from _count(f"{pool}:{door.slug}", door.limits, at)
    return replace(facts, homeserver_count=homeserver, door_count=total)


def _event_name(attempt: Attempt) -> str:
    """The delivery's name in the store, or "" when it has none that can be trusted.

    The person is part of it: an edited response is a new knock. Event ids of
    anonymous senders are ignored, or they could use up somebody else's.
    """
    if not (attempt.trusted and attempt.submission.event_id):
        return ""
    parts = (attempt.door.slug, attempt.submission.platform, attempt.submission.event_id, attempt.user.key)
    return sha256("\0".join(parts).encode()).hexdigest()


def _seen(attempt: Attempt) -> Generator[Step, Rows, Knock | None]:
    rows = yield sql.SEEN_EVENT, (_event_name(attempt),)
    if not rows:
        return None
    knocks = yield sql.KNOCK, (rows[0][0],)
    return knock_of(knocks[0]) if knocks else None


def _remember_event(attempt: Attempt) -> Generator[Step, Rows, None]:
    name = _event_name(attempt)
    if name:
        yield sql.ADD_EVENT, (name, attempt.knock_id, attempt.at + EVENT_KEPT)


def _repeated(attempt: Attempt, facts: Facts) -> Knock | None:
    """The record on which this knock counts as a repeat, if there is one."""
    if not facts.history:
        return None
    last = facts.history[0]
    if last.state in OPEN:
        return last
    if last.reason is Reason.BLOCKED and facts.rule is None:
        return None  # no longer blocked: a fresh start, whatever the cooldown
    return last if attempt.at - last.updated_at < attempt.door.cooldown else None


def _knock(attempt: Attempt, decision: Decision) -> Knock:
    submission, at = attempt.submission, attempt.at
    state = STATE_AFTER[decision.outcome]
    return Knock(
        id=attempt.knock_id,
        door=attempt.door.slug,
        room_id=attempt.door.room_id,
        user_id=str(attempt.user),
        user_key=attempt.user.key,
        state=state,
        reason=decision.reason,
        detail=decision.detail,
        rule=decision.rule,
        platform=submission.platform,
        proven=attempt.proven,
        trapped=bool(submission.trap),
        answers=submission.answers,
        created_at=at,
        updated_at=at,
        seen_at=at,
        expires_at=at + attempt.door.lifetime,
        due_at=at if state is KnockState.ADMITTED else None,
    )


def _decided(attempt: Attempt, knock: Knock, decision: Decision) -> Entry:
    return Entry(
        at=attempt.at,
        actor=f"form:{attempt.submission.platform}" if attempt.trusted else "visitor",
        action="knocked",
        door=knock.door,
        knock_id=knock.id,
        user_id=knock.user_id,
        reason=decision.reason.value,
        rule=decision.rule,
        after=knock.state.value,
        detail=decision.detail,
    )


def write(*entries: Entry) -> Steps[None]:
    """Write ledger lines."""
    for entry in entries:
        yield sql.ADD_ENTRY, entry_row(new_id(entry.at), entry)


def claim(
    now: float, limit: int, lease: float, pace: Pace | None, claim_sql: str = sql.CLAIM
) -> Steps[Claimed]:
    """Claim due knocks within the pace; see ports.Store.claim."""
    rows = yield sql.PAUSED_FOR_INVITES, ()
    paused = rows[0][0]
    if paused is not None and paused > now:
        return Claimed((), paused)
    free_at = now
    if pace is not None and pace.interval > 0:
        rows = yield sql.PACE, ("changes",)
        free_at = max(now, rows[0][0]) if rows else now
        slots = int((now + pace.burst * pace.interval - free_at) / pace.interval + 1e-9)
        if slots < 1:
            next_at = free_at - (pace.burst - 1) * pace.interval
            return Claimed((), (yield from _later(next_at)))
        limit = min(limit, slots)
    rows = yield claim_sql, (now, now + lease, limit)
    if rows and pace is not None and pace.interval > 0:
        yield sql.SET_PACE, ("changes", free_at + len(rows) * pace.interval)
    knocks = sorted((knock_of(row) for row in rows), key=lambda knock: knock.id)
    return Claimed(tuple(knocks), (yield from _later(0.0)))


def _later(earliest: float) -> Generator[Step, Rows, float | None]:
    """When the next knock is due, but not before ``earliest``."""
    rows = yield sql.NEXT_DUE, ()
    return max(rows[0][0], earliest) if rows else None


def renew(claims: Sequence[Knock], until: float) -> Steps[None]:
    for knock in claims:
        yield sql.RENEW, (knock.id, knock.fence, until)


def put_back(knock: Knock, due_at: float, tried: bool) -> Steps[bool]:
    rows = yield sql.PUT_BACK, (knock.id, knock.fence, due_at, int(tried))
    return bool(rows)


def _write_knock(before: Knock, after: Knock, *, fence: int) -> Step:
    return sql.WRITE_KNOCK, (
        before.id,
        before.fence,
        after.user_id,
        after.state.value,
        after.reason.value,
        after.detail,
        after.rule,
        after.updated_at,
        after.due_at,
        after.attempts,
        after.invited_at,
        after.joined_at,
        after.welcomed_at,
        fence,
        after.expires_at,
    )


def record(knock: Knock, after: Knock, entries: Sequence[Entry]) -> Steps[bool]:
    """Write what became of a claimed knock, unless its claim was taken over."""
    rows = yield _write_knock(knock, after, fence=knock.fence)
    if not rows:
        return False
    yield from write(*entries)
    return True


def change(knock_id: str, how: Callable[[Knock], Knock], entry: Entry) -> Steps[Knock]:
    rows = yield sql.KNOCK, (knock_id,)
    if not rows:
        raise NotFound(f"there is no knock {knock_id[:40]!r}")
    before = knock_of(rows[0])
    after = how(before)
    if after == before:
        return before
    yield _write_knock(before, after, fence=before.fence + 1)
    yield from write(_changed(before, after, entry))
    return replace(after, fence=before.fence + 1)


def _changed(before: Knock, after: Knock, entry: Entry) -> Entry:
    return replace(
        entry,
        door=before.door,
        knock_id=before.id,
        user_id=before.user_id,
        reason=entry.reason or after.reason.value,
        before=before.state.value,
        after=after.state.value,
    )


def block(rule: Rule, entry: Entry) -> Steps[tuple[bool, list[Knock]]]:
    """Add a rule and refuse whoever waits; see ports.Store.block."""
    added = yield sql.ADD_RULE, rule_row(rule)
    if added:
        yield from write(replace(entry, user_id=rule.entity, rule=rule.entity, after="blocked"))
    rows = yield sql.OF_PERSON, (rule.key,)
    waiting = []
    for knock in map(knock_of, rows):
        if knock.state in (KnockState.HELD, KnockState.ADMITTED):
            yield from _refuse_blocked(knock, rule, entry)
        elif knock.state is KnockState.INVITED:
            yield _write_knock(knock, _to_withdraw(knock, rule, entry.at), fence=knock.fence + 1)
            waiting.append(knock)
    return bool(added), waiting


def _to_withdraw(knock: Knock, rule: Rule, now: float) -> Knock:
    """The same invited knock, for a worker to withdraw unless somebody does it before."""
    return replace(
        knock, reason=Reason.BLOCKED, rule=rule.entity, due_at=now + WITHDRAW_AFTER, updated_at=now
    )


def _refuse_blocked(knock: Knock, rule: Rule, entry: Entry) -> Steps[None]:
    after = knock.moved_to(
        KnockState.REFUSED, at=entry.at, reason=Reason.BLOCKED, rule=rule.entity, due_at=None
    )
    yield _write_knock(knock, after, fence=knock.fence + 1)
    yield from write(_changed(knock, after, replace(entry, reason=Reason.BLOCKED.value, rule=rule.entity)))


def unblock(user_key: str, entry: Entry) -> Steps[Rule | None]:
    rows = yield sql.DROP_RULE, (user_key,)
    if not rows:
        return None
    rule = rule_of(rows[0])
    yield from write(replace(entry, user_id=rule.entity, rule=rule.entity, before="blocked"))
    return rule


def import_rules(rules: Sequence[Rule], entry: Entry) -> Steps[int]:
    new = 0
    for rule in rules:
        added = yield sql.ADD_RULE, rule_row(rule)
        if added:
            new += 1
            yield from write(replace(entry, user_id=rule.entity, rule=rule.entity, after="blocked"))
    return new


def import_knocks(knocks: Sequence[Knock], entry: Entry) -> Steps[int]:
    new = 0
    for knock in knocks:
        there = yield sql.HISTORY, (knock.user_key, knock.room_id, 0, 1)
        if there:
            continue
        new += 1
        yield sql.ADD_KNOCK, knock_row(knock)
        yield from write(
            replace(entry, door=knock.door, knock_id=knock.id, user_id=knock.user_id, after=knock.state.value)
        )
    return new


def settle_secret(name: str, value: str, expires_at: float | None) -> Steps[str]:
    yield sql.ADD_SECRET, (name, value, expires_at)
    rows = yield sql.SECRET, (name,)
    return str(rows[0][0])


def take_lease(name: str, holder: str, now: float, until: float) -> Steps[bool]:
    rows = yield sql.TAKE_LEASE, (name, holder, until, now)
    return bool(rows)


def tidy(now: float) -> Steps[int]:
    gone = 0
    for statement in sql.TIDY:
        gone += len((yield statement, (now,)))
    return gone


def one(statement: str, *parameters: Any) -> Steps[Rows]:
    """A transaction of one statement."""
    return (yield statement, parameters)
