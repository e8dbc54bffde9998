"""Rows to records and back. Column order is written down once, here."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from mknock.domain.direct_rooms import DirectRoom, TalkState
from mknock.domain.knocks import Answer, Knock, KnockState, Reason
from mknock.domain.links import InviteLink
from mknock.domain.policy_lists import PolicyList
from mknock.domain.raids import Cause, Raid, Told
from mknock.domain.rules import Rule, RuleKind
from mknock.ports import Entry, OwnRule

Row = Sequence[Any]

KNOCK_COLUMNS = (
    "id, door, room_id, user_id, user_key, state, reason, detail, rule, platform, proven, trapped, answers,"
    " created_at, updated_at, seen_at, repeats, expires_at, due_at, fence, attempts,"
    " invited_at, joined_at, welcomed_at, reminders, link, knocking, raid, signals"
)
RULE_COLUMNS = "id, kind, entity, key, reason, source, author, at, expires_at, allow, look_alikes, origin"
LIST_COLUMNS = "name, room_id, alias, look_alikes, allow_wide, author, at, removed"
LINK_COLUMNS = (
    "id, token_hash, door, label, author, created_at, expires_at, uses, used, skips_review,"
    " greeting, revoked_at"
)
DIRECT_ROOM_COLUMNS = "id, room_id, user_id, user_key, state, began_at, wrong, heard, fence"
RAID_COLUMNS = (
    "id, door, cause, detail, started_at, started_by, ends_at, ended_at, ended_by, quiet_until, told"
)
ENTRY_COLUMNS = "id, at, actor, action, door, knock_id, user_id, reason, rule, before, after, detail"


_STATES = {state.value: state for state in KnockState}
_REASONS = {reason.value: reason for reason in Reason}
_KINDS = {kind.value: kind for kind in RuleKind}
"""To call an enumeration takes ten times as long, and there may be a hundred thousand rules."""
_json = json.JSONEncoder(separators=(",", ":")).encode
"""ASCII only: what databases cannot keep in a text (NUL, half a surrogate pair) is written as an escape."""
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def storable(value: Any) -> Any:
    """A parameter as any database can keep it: PostgreSQL has no NUL in a text, and none has half a surrogate pair."""
    if isinstance(value, str) and (not value.isascii() or "\0" in value):
        return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    return value


def answers_text(answers: Sequence[Answer]) -> str:
    return _json([[a.label, a.value] for a in answers]) if answers else "[]"


def knock_row(knock: Knock) -> tuple[Any, ...]:
    return (
        knock.id,
        knock.door,
        knock.room_id,
        knock.user_id,
        knock.user_key,
        knock.state.value,
        knock.reason.value,
        knock.detail,
        knock.rule,
        knock.platform,
        int(knock.proven),
        int(knock.trapped),
        answers_text(knock.answers),
        knock.created_at,
        knock.updated_at,
        knock.seen_at,
        knock.repeats,
        knock.expires_at,
        knock.due_at,
        knock.fence,
        knock.attempts,
        knock.invited_at,
        knock.joined_at,
        knock.welcomed_at,
        knock.reminders,
        knock.link,
        int(knock.knocking),
        knock.raid,
        "\n".join(knock.signals),
    )


def knock_of(row: Row) -> Knock:
    return Knock(
        id=row[0],
        door=row[1],
        room_id=row[2],
        user_id=row[3],
        user_key=row[4],
        state=_STATES[row[5]],
        reason=_REASONS[row[6]],
        detail=row[7],
        rule=row[8],
        platform=row[9],
        proven=bool(row[10]),
        trapped=bool(row[11]),
        answers=tuple(Answer(label, value) for label, value in json.loads(row[12])),
        created_at=row[13],
        updated_at=row[14],
        seen_at=row[15],
        repeats=row[16],
        expires_at=row[17],
        due_at=row[18],
        fence=row[19],
        attempts=row[20],
        invited_at=row[21],
        joined_at=row[22],
        welcomed_at=row[23],
        reminders=row[24],
        link=row[25],
        knocking=bool(row[26]),
        raid=row[27],
        signals=tuple(row[28].split("\n")) if row[28] else (),
    )


def rule_row(rule: Rule) -> tuple[Any, ...]:
    return (
        rule.id,
        rule.kind.value,
        rule.entity,
        rule.key,
        rule.reason,
        rule.source,
        rule.author,
        rule.at,
        rule.expires,
        int(rule.allow),
        int(rule.look_alikes),
        rule.origin,
    )


def rule_of(row: Row) -> Rule:
    return Rule(
        kind=_KINDS[row[1]],
        entity=row[2],
        key=row[3],
        reason=row[4],
        source=row[5],
        author=row[6],
        at=row[7],
        expires=row[8],
        allow=bool(row[9]),
        look_alikes=bool(row[10]),
        origin=row[11],
    )


def own_rule_of(row: Row) -> OwnRule:
    return OwnRule(rule_of(row[2:]), in_file=bool(row[0]), removed=bool(row[1]))


def list_row(policy_list: PolicyList) -> tuple[Any, ...]:
    return (
        policy_list.name,
        policy_list.room_id,
        policy_list.alias,
        int(policy_list.look_alikes),
        int(policy_list.allow_wide),
        policy_list.author,
        policy_list.at,
        int(policy_list.removed),
    )


def list_of(row: Row) -> PolicyList:
    return PolicyList(
        name=row[0],
        room_id=row[1],
        alias=row[2],
        look_alikes=bool(row[3]),
        allow_wide=bool(row[4]),
        author=row[5],
        at=row[6],
        removed=bool(row[7]),
    )


def link_row(link: InviteLink) -> tuple[Any, ...]:
    return (
        link.id,
        link.token_hash,
        link.door,
        link.label,
        link.author,
        link.created_at,
        link.expires_at,
        link.uses,
        link.used,
        int(link.skips_review),
        link.greeting,
        link.revoked_at,
    )


def link_of(row: Row) -> InviteLink:
    return InviteLink(
        id=row[0],
        token_hash=row[1],
        door=row[2],
        label=row[3],
        author=row[4],
        created_at=row[5],
        expires_at=row[6],
        uses=row[7],
        used=row[8],
        skips_review=bool(row[9]),
        greeting=row[10],
        revoked_at=row[11],
    )


def direct_room_row(room: DirectRoom) -> tuple[Any, ...]:
    return (
        room.id,
        room.room_id,
        room.user_id,
        room.user_key,
        room.state.value,
        room.began_at,
        room.wrong,
        room.heard,
        room.fence,
    )


def direct_room_of(row: Row) -> DirectRoom:
    return DirectRoom(
        id=row[0],
        room_id=row[1],
        user_id=row[2],
        user_key=row[3],
        state=TalkState(row[4]),
        began_at=row[5],
        wrong=row[6],
        heard=row[7],
        fence=row[8],
    )


def raid_row(raid: Raid) -> tuple[Any, ...]:
    return (
        raid.id,
        raid.door,
        raid.cause.value,
        raid.detail,
        raid.started_at,
        raid.started_by,
        raid.ends_at,
        raid.ended_at,
        raid.ended_by,
        raid.quiet_until,
        raid.told.value,
    )


def raid_of(row: Row) -> Raid:
    return Raid(
        id=row[0],
        door=row[1],
        cause=Cause(row[2]),
        detail=row[3],
        started_at=row[4],
        started_by=row[5],
        ends_at=row[6],
        ended_at=row[7],
        ended_by=row[8],
        quiet_until=row[9],
        told=Told(row[10]),
    )


def entry_row(entry_id: str, entry: Entry) -> tuple[Any, ...]:
    return (
        entry_id,
        entry.at,
        entry.actor,
        entry.action,
        entry.door,
        entry.knock_id,
        entry.user_id,
        entry.reason,
        entry.rule,
        entry.before,
        entry.after,
        entry.detail,
    )


def entry_of(row: Row) -> Entry:
    return Entry(*row[1:])
