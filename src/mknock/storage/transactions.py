"""What happens in one transaction, step by step, without a driver.

Each function is a generator: it yields a statement with its parameters and is
sent the rows. A back-end runs it inside one transaction, so the logic is
written once and a driver stays small. A transaction may be run
again from the start when its batch has to be rolled back: it must not
have effects of its own.

Several processes may be at it, under READ COMMITTED. So whoever reads in order
to write first takes a lock (``sql.LOCK``, by name) on what it is about: the
door whose windows it counts in, the person, the sender. docs/adr/0009 says why
nobody waits in a circle.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, TypeVar

from mknock.domain.chance import new_ids
from mknock.domain.doors import Door
from mknock.domain.errors import NotFound
from mknock.domain.knocks import OPEN, STATE_AFTER, Decision, Knock, KnockState, Reason, stopped
from mknock.domain.policy_lists import PolicyList
from mknock.domain.rules import Rule, RuleKind, block_id
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
    Queue,
    RulesChanged,
)
from mknock.storage import sql
from mknock.storage.rows import Row, entry_row, knock_of, knock_row, list_of, list_row, rule_of, rule_row

T = TypeVar("T")
Step = tuple[str, tuple[Any, ...]]
Rows = list[Row]
Steps = Generator[Step, Rows, T]

EVENT_KEPT = 90 * 86400.0
"""Seconds that a delivery's event id is remembered; the longest retry of a known platform is 31 hours."""
_BY_RULE = frozenset({Reason.BLOCKED, Reason.UNBLOCKED})
RULES_LINE = "rules"
"""The line of those who change the block-list."""


def admit(attempt: Attempt, judge: Judge) -> Steps[Kept | AskedToWait]:
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
    person, event = attempt.user.key, _event_name(attempt)
    slot, counters = _slot(attempt.door.limits.window, attempt.at), _counters(attempt)
    known = yield from _known(attempt, person, event, slot, counters)
    before = (yield from _seen(known.seen)) or _repeated(attempt, known)
    if before is not None:
        return (yield from _repeat(attempt, before, event))
    counted = yield sql.COUNT_TWO, (slot.expires_at, *counters)
    at_homeserver, at_door = [row[0] - 1 for row in counted] or known.counts
    facts = Facts(
        rule=known.rule,
        history=known.history,
        open_elsewhere=known.open_elsewhere,
        sender_count=sender_count,
        homeserver_count=slot.estimate(at_homeserver, known.before[0]),
        door_count=slot.estimate(at_door, known.before[1]),
    )
    return (yield from _keep(attempt, person, event, judge(attempt, facts)))


def _line(attempt: Attempt) -> tuple[str, ...]:
    """The lines in which a knock stands: at its door (where others run in step), of its person, of its sender."""
    names = f"door:{attempt.door.slug}", _person(attempt.user.key)
    return names if attempt.sender is None else (*names, f"sender:{attempt.sender}")


def _person(user_key: str) -> str:
    return f"person:{user_key}"


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
    return last if attempt.at - last.updated_at < attempt.door.cooldown else None


def _repeat(attempt: Attempt, before: Knock, event: str) -> Steps[Kept]:
    """Count on the record there is."""
    yield sql.REPEAT, (before.id, attempt.at)
    yield from _remember(event, before.id, attempt.at)
    yield from _remember(receipt_name(attempt.submission.receipt), before.id, attempt.at)
    return Kept(replace(before, repeats=before.repeats + 1, seen_at=attempt.at), repeat=True)


def _keep(attempt: Attempt, person: str, event: str, decision: Decision) -> Steps[Kept]:
    """Keep a new knock with the ledger line of its beginning, which bears its id."""
    knock = _knock(attempt, person, decision)
    yield sql.ADD_KNOCK, knock_row(knock)
    yield from _remember(event, knock.id, attempt.at)
    yield from _remember(receipt_name(attempt.submission.receipt), knock.id, attempt.at)
    yield sql.ADD_ENTRY, entry_row(knock.id, _decided(attempt, knock, decision))
    yield sql.WAKE, ()  # whatever the decision (promise 6)
    return Kept(knock)


def receipt_name(receipt: str) -> str:
    """The name under which a visitor's way back is kept, beside the deliveries, whose names hold no colon."""
    return receipt and f"receipt:{receipt}"


def _remember(event: str, knock_id: str, at: float) -> Generator[Step, Rows, None]:
    if event:
        yield sql.ADD_EVENT, (event, knock_id, at + EVENT_KEPT)


def _knock(attempt: Attempt, person: str, decision: Decision) -> Knock:
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
        proven=attempt.proven,
        trapped=bool(submission.trap),
        answers=submission.answers,
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
    """Write ledger lines that stay in this order."""
    if entries:
        for entry_id, entry in zip(new_ids(entries[0].at, len(entries)), entries, strict=True):
            yield sql.ADD_ENTRY, entry_row(entry_id, entry)


def claim(now: float, limit: int, lease: float, pace: Pace | None, queue: Queue) -> Steps[Claimed]:
    """Claim due knocks within the pace; see ports.Store.claim."""
    if pace is not None and pace.interval > 0:
        yield sql.LOCK, ("pace",)
    rows = yield sql.PAUSED_QUEUE[queue], ()
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
            return Claimed((), (yield from _later(queue, next_at)))
        limit = min(limit, slots)
    rows = yield sql.claim(queue), (now, now + lease, limit)
    if rows and pace is not None and pace.interval > 0:
        yield sql.SET_PACE, ("changes", free_at + len(rows) * pace.interval)
    knocks = sorted((knock_of(row) for row in rows), key=lambda knock: knock.id)
    return Claimed(tuple(knocks), (yield from _later(queue, 0.0)))


def _later(queue: Queue, earliest: float) -> Generator[Step, Rows, float | None]:
    """When the next knock of the queue is due, but not before ``earliest``."""
    rows = yield sql.NEXT_DUE[queue], ()
    return max(rows[0][0], earliest) if rows else None


def hurry(user_key: str, now: float) -> Steps[int]:
    yield sql.LOCK, (_person(user_key),)
    rows = yield sql.HURRY, (user_key, now)
    if rows:
        yield sql.WAKE, ()
    return len(rows)


def renew(claims: Sequence[Knock], until: float) -> Steps[None]:
    yield sql.LOCK, tuple({_person(knock.user_key) for knock in claims})
    for knock in claims:
        yield sql.RENEW, (knock.id, knock.fence, until)


def put_back(knock: Knock, due_at: float, tried: bool) -> Steps[bool]:
    yield sql.LOCK, (_person(knock.user_key),)
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
        after.reminders,
    )


def record(knock: Knock, after: Knock, entries: Sequence[Entry]) -> Steps[bool]:
    """Write what became of a claimed knock, unless its claim was taken over."""
    yield sql.LOCK, (_person(knock.user_key),)
    rows = yield _write_knock(knock, after, fence=knock.fence)
    if not rows:
        return False
    yield from write(*entries)
    yield from _wake_for(after)
    return True


def _wake_for(after: Knock) -> Generator[Step, Rows, None]:
    """Tell the other processes of a knock that is due as soon as it is written; what is due later, they find."""
    if after.due_at is not None and after.due_at <= after.updated_at:
        yield sql.WAKE, ()


def change(
    knock_id: str, how: Callable[[Knock], Knock], entry: Entry, rule: Rule | None = None
) -> Steps[Knock]:
    """Change one knock; see ports.Store.change. Without a rule it waits for one row and holds nothing: no line."""
    added: list[Rule] = []
    if rule is not None:
        yield sql.LOCK, (RULES_LINE,)
        added = yield from _put_rules([rule], replacing=False)
    rows = yield sql.KNOCK_TO_CHANGE, (knock_id,)
    if not rows:
        raise NotFound(f"there is no knock {knock_id[:40]!r}")
    before = knock_of(rows[0])
    after = how(before)
    if after == before:
        yield from write(*_of_rules((), added, entry))
        return before
    yield _write_knock(before, after, fence=before.fence + 1)
    if after.room_id != before.room_id:
        yield sql.MOVE_KNOCK, (before.id, after.room_id)
    yield from write(*_of_rules((), added, entry), _changed(before, after, entry))
    yield from _wake_for(after)
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
    yield sql.LOCK, (RULES_LINE, _person(rule.key))
    invited = []
    added = yield from _put_rules([rule], replacing=False)
    lines = _of_rules((), added, entry)
    rows = yield sql.OF_PERSON_TO_CHANGE, (rule.key,)
    for knock in map(knock_of, rows):
        after = stopped(knock, at=entry.at, reason=Reason.BLOCKED, rule=rule.entity)
        if after == knock:
            continue
        if knock.state is KnockState.INVITED:
            invited.append(knock)
        yield _write_knock(knock, after, fence=knock.fence + 1)
        lines.append(_changed(knock, after, replace(entry, reason=Reason.BLOCKED.value, rule=rule.entity)))
    yield from write(*lines)
    return bool(added), invited


def unblock(user_key: str, entry: Entry) -> Steps[Rule | None]:
    yield sql.LOCK, (RULES_LINE, _person(user_key))
    dropped = yield from _drop_rules([block_id(user_key)], entry.at)
    if not dropped:
        return None
    yield from _keep_invited(user_key, entry)
    yield from write(*_of_rules(dropped, (), entry))
    return dropped[0]


def _keep_invited(user_key: str, entry: Entry) -> Steps[None]:
    """Let the open invites of somebody who is no longer blocked be, if they are not withdrawn yet."""
    rows = yield sql.OF_PERSON_TO_CHANGE, (user_key,)
    for knock in map(knock_of, rows):
        if knock.state is KnockState.INVITED and knock.reason is Reason.BLOCKED:
            after = replace(knock, reason=Reason.INVITED, rule="", due_at=None, updated_at=entry.at)
            yield _write_knock(knock, after, fence=knock.fence + 1)


def change_rules(
    put: Sequence[Rule], drop: Sequence[str], entry: Entry, *, replacing: bool, in_file: bool
) -> Steps[RulesChanged]:
    """Add and remove rules in one transaction; see ports.Store.change_rules."""
    yield sql.LOCK, (RULES_LINE,)
    dropped = yield from _drop_rules(drop, entry.at, in_file=in_file)
    added = yield from _put_rules(put, replacing=replacing, in_file=in_file)
    yield from write(*_of_rules(dropped, added, entry))
    return RulesChanged(tuple(added), tuple(dropped))


def add_list(policy_list: PolicyList, entry: Entry) -> Steps[bool]:
    """Subscribe to a list, unless its name or its room is taken; see ports.Store.add_list."""
    yield sql.LOCK, (RULES_LINE,)
    rows = yield sql.LISTS, ()
    others = [other for other in map(list_of, rows) if not other.removed]
    if any(policy_list.name == other.name or policy_list.room_id == other.room_id for other in others):
        return False
    yield sql.PUT_LIST, list_row(policy_list)
    yield from write(replace(entry, after=policy_list.name))
    return True


def remove_list(name: str, entry: Entry) -> Steps[PolicyList | None]:
    yield sql.LOCK, (RULES_LINE,)
    rows = yield sql.REMOVE_LIST, (name,)
    if not rows:
        return None
    yield from write(replace(entry, before=name))
    return list_of(rows[0])


def _put_rules(rules: Sequence[Rule], *, replacing: bool, in_file: bool = False) -> Steps[list[Rule]]:
    """Add rules; return those that were not there, or all of them when replacing."""
    if not rules:
        return []
    revision = yield from _next_revision()
    added = []
    for rule in rules:
        statement = sql.PUT_RULE if replacing else sql.ADD_RULE
        if (yield statement, (*rule_row(rule), int(in_file), revision)):
            added.append(rule)
    return added


def mark_in_file(rule_ids: Sequence[str], *, in_file: bool) -> Steps[None]:
    yield sql.LOCK, (RULES_LINE,)
    for rule_id in rule_ids:
        yield sql.MARK_IN_FILE, (rule_id, int(in_file))


def _drop_rules(rule_ids: Sequence[str], at: float, *, in_file: bool = False) -> Steps[list[Rule]]:
    """Remove rules; what the file held of them it still holds, unless it was changed first."""
    if not rule_ids:
        return []
    revision = yield from _next_revision()
    dropped = []
    for rule_id in rule_ids:
        rows = yield sql.DROP_RULE, (rule_id, at, revision, int(in_file))
        dropped += [rule_of(row) for row in rows]
    return dropped


def _next_revision() -> Steps[int]:
    rows = yield sql.NEXT_REVISION, ()
    return int(rows[0][0])


def _effect(rule: Rule) -> str:
    return "allowed" if rule.allow else "blocked"


def _of_rules(dropped: Sequence[Rule], added: Sequence[Rule], entry: Entry) -> list[Entry]:
    """The ledger lines of rules that went and came."""
    return [
        *(_of_rule(rule, entry, before=_effect(rule)) for rule in dropped),
        *(_of_rule(rule, entry, after=_effect(rule)) for rule in added),
    ]


def _of_rule(rule: Rule, entry: Entry, *, before: str = "", after: str = "") -> Entry:
    user = rule.entity if rule.kind is RuleKind.USER else ""
    return replace(entry, user_id=user, rule=rule.entity, before=before, after=after)


def add(knock: Knock, entry: Entry) -> Steps[None]:
    yield sql.LOCK, (_person(knock.user_key),)
    yield sql.ADD_KNOCK, knock_row(knock)
    yield from write(
        replace(entry, door=knock.door, knock_id=knock.id, user_id=knock.user_id, after=knock.state.value)
    )
    yield from _wake_for(knock)


def import_knocks(knocks: Sequence[Knock], entry: Entry) -> Steps[int]:
    """Add what is not there; should somebody knock meanwhile, the index of open knocks lets only one of both in."""
    yield sql.LOCK, ("import",)
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
    rows: Rows = []
    while not rows:  # it may be dropped between the two
        yield sql.ADD_SECRET, (name, value, expires_at)
        rows = yield sql.SECRET, (name,)
    return str(rows[0][0])


def put_secrets(rows: Sequence[tuple[Any, ...]], fence: str, seen: str) -> Steps[bool]:
    mine = yield sql.COUNT_UP, (fence, seen, str(int(seen or 0) + 1))
    if not mine:
        return False
    for row in rows:
        yield sql.PUT_SECRET, row
    return True


def take_lease(name: str, holder: str, now: float, until: float) -> Steps[bool]:
    rows = yield sql.TAKE_LEASE, (name, holder, until, now)
    return bool(rows)


def tidy(now: float, limit: int) -> Steps[int]:
    """Forget what has run out, at most ``limit`` of each kind; return how much."""
    gone = 0
    for statement in sql.TIDY:
        gone += len((yield statement, (now, limit)))
    return gone


def one(statement: str, *parameters: Any) -> Steps[Rows]:
    """A transaction of one statement."""
    return (yield statement, parameters)
