"""Rules come and go, and policy lists with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mknock.domain.knocks import Knock, KnockState, Reason, stopped
from mknock.domain.policy_lists import PolicyList
from mknock.domain.rules import Rule, RuleKind, block_id
from mknock.ports import (
    Entry,
    RoomToLeave,
    RulesChanged,
)
from mknock.storage import sql
from mknock.storage.rows import knock_of, list_of, list_row, rule_of, rule_row
from mknock.storage.transactions.steps import Steps, changed, person_line, write, write_knock

RULES_LINE = "rules"
"""The line of those who change the block-list."""


def block(rule: Rule, entry: Entry) -> Steps[tuple[bool, list[Knock]]]:
    """Add a rule and refuse whoever waits; see ports.Store.block."""
    yield sql.LOCK, (RULES_LINE, person_line(rule.key))
    invited = []
    added = yield from put_rules([rule], replacing=False)
    lines = of_rules((), added, entry)
    rows = yield sql.OF_PERSON_TO_CHANGE, (rule.key,)
    for knock in map(knock_of, rows):
        after = stopped(knock, at=entry.at, reason=Reason.BLOCKED, rule=rule.entity)
        if after == knock:
            continue
        if knock.state is KnockState.INVITED:
            invited.append(knock)
        yield write_knock(knock, after, fence=knock.fence + 1)
        lines.append(changed(knock, after, replace(entry, reason=Reason.BLOCKED.value, rule=rule.entity)))
    yield from write(*lines)
    return bool(added), invited


def unblock(user_key: str, entry: Entry) -> Steps[Rule | None]:
    yield sql.LOCK, (RULES_LINE, person_line(user_key))
    dropped = yield from _drop_rules([block_id(user_key)], entry.at)
    if not dropped:
        return None
    yield from _keep_invited(user_key, entry)
    yield from write(*of_rules(dropped, (), entry))
    return dropped[0]


def _keep_invited(user_key: str, entry: Entry) -> Steps[None]:
    """Let the open invites of somebody who is no longer blocked be, if they are not withdrawn yet."""
    rows = yield sql.OF_PERSON_TO_CHANGE, (user_key,)
    for knock in map(knock_of, rows):
        if knock.state is KnockState.INVITED and knock.reason is Reason.BLOCKED:
            after = replace(knock, reason=Reason.INVITED, rule="", due_at=None, updated_at=entry.at)
            yield write_knock(knock, after, fence=knock.fence + 1)


def change_rules(
    put: Sequence[Rule], drop: Sequence[str], entry: Entry, *, replacing: bool, in_file: bool
) -> Steps[RulesChanged]:
    """Add and remove rules in one transaction; see ports.Store.change_rules."""
    yield sql.LOCK, (RULES_LINE,)
    since = yield from _revision()
    same = yield from _as_they_are(put, drop)
    dropped = yield from _drop_rules([each for each in drop if each not in same], entry.at, in_file=in_file)
    new = [rule for rule in put if rule.id not in same]
    added = yield from put_rules(new, replacing=replacing, in_file=in_file)
    yield from write(*of_rules(dropped, added, entry))
    return RulesChanged(tuple(added), tuple(dropped), since, (yield from _revision()))


def _as_they_are(put: Sequence[Rule], drop: Sequence[str]) -> Steps[frozenset[str]]:
    """Rules that would be dropped only to be put back as they were: news that was heard before."""
    gone, same = set(drop), []
    for rule in put:
        if rule.id in gone:
            rows = yield sql.RULE, (rule.id,)
            same += [rule.id for row in rows if rule_of(row) == rule]
    return frozenset(same)


def add_list(policy_list: PolicyList, entry: Entry) -> Steps[bool]:
    """Subscribe to a list, unless its name or its room is taken; see ports.Store.add_list."""
    yield sql.LOCK, (RULES_LINE,)
    rows = yield sql.LISTS, ()
    others = [other for other in map(list_of, rows) if not other.removed]
    if any(policy_list.name == other.name or policy_list.room_id == other.room_id for other in others):
        return False
    yield sql.PUT_LIST, list_row(policy_list)
    yield sql.DROP_ROOM_TO_LEAVE, (policy_list.room_id,)
    yield from write(replace(entry, after=policy_list.name))
    return True


def remove_list(name: str, entry: Entry) -> Steps[PolicyList | None]:
    yield sql.LOCK, (RULES_LINE,)
    rows = yield sql.REMOVE_LIST, (name,)
    if not rows:
        return None
    policy_list = list_of(rows[0])
    yield sql.LEAVE_ROOM, (policy_list.room_id, name, entry.at)
    yield from write(replace(entry, before=name))
    return policy_list


def room_settled(room: RoomToLeave, entry: Entry) -> Steps[bool]:
    yield sql.LOCK, (RULES_LINE,)
    rows = yield sql.DROP_ROOM_TO_LEAVE, (room.room_id,)
    if rows:
        yield from write(entry)
    return bool(rows)


def put_rules(rules: Sequence[Rule], *, replacing: bool, in_file: bool = False) -> Steps[list[Rule]]:
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


def _revision() -> Steps[int]:
    rows = yield sql.REVISION, ()
    return int(rows[0][0])


def _next_revision() -> Steps[int]:
    rows = yield sql.NEXT_REVISION, ()
    return int(rows[0][0])


def _effect(rule: Rule) -> str:
    return "allowed" if rule.allow else "blocked"


def of_rules(dropped: Sequence[Rule], added: Sequence[Rule], entry: Entry) -> list[Entry]:
    """The ledger lines of rules that went and came."""
    return [
        *(_of_rule(rule, entry, before=_effect(rule)) for rule in dropped),
        *(_of_rule(rule, entry, after=_effect(rule)) for rule in added),
    ]


def _of_rule(rule: Rule, entry: Entry, *, before: str = "", after: str = "") -> Entry:
    user = rule.entity if rule.kind is RuleKind.USER else ""
    return Entry(
        at=entry.at,
        actor=entry.actor,
        action=entry.action,
        door=entry.door,
        knock_id=entry.knock_id,
        user_id=user,
        reason=entry.reason,
        rule=rule.entity,
        before=before,
        after=after,
        detail=entry.detail,
    )
