"""Every SQL statement, written once for SQLite and PostgreSQL, with $1 parameters.

SQLite has one writer at a time and needs no locks, so its driver leaves out LOCK,
WAKE and every ``FOR UPDATE``.
"""

from __future__ import annotations

from functools import cache

from mknock.domain.knocks import MEMBERS, OPEN, KnockState, Reason
from mknock.domain.rules import LIST
from mknock.ports import PAUSES, Queue
from mknock.storage.rows import (
    DIRECT_ROOM_COLUMNS,
    ENTRY_COLUMNS,
    KNOCK_COLUMNS,
    LINK_COLUMNS,
    LIST_COLUMNS,
    RAID_COLUMNS,
    RULE_COLUMNS,
)


def _places(columns: str) -> str:
    return ", ".join(f"${number}" for number in range(1, columns.count(",") + 2))


def _listed(states: frozenset[KnockState]) -> str:
    """The states as literals: only a literal lets a partial index serve the query."""
    return ", ".join(f"'{state.value}'" for state in sorted(states))


LOCK = "SELECT pg_advisory_xact_lock(key) FROM unnest($1::bigint[]) AS key"
"""Let nobody else into a transaction with one of these names until the end of this one. It is a transaction's first
step or none, so that several transactions can take their locks together, in one order, and never wait in a circle."""
LOCK_IN_STEP = f"{LOCK} -- in step"
"""The same, but the first name lets in whoever is let in by the others: their transactions may be run in step, each
statement for all of them at once."""
WAKE = "SELECT pg_notify('mknock_work', '')"
"""Tell every process, once this is on disk, that work is due."""

ADD_KNOCK = f"INSERT INTO knocks ({KNOCK_COLUMNS}) VALUES ({_places(KNOCK_COLUMNS)})"  # noqa: S608
KNOCK = f"SELECT {KNOCK_COLUMNS} FROM knocks WHERE id = $1"  # noqa: S608
KNOCK_TO_CHANGE = f"{KNOCK} FOR UPDATE"
_OPEN = f"state IN ({_listed(OPEN)})"
_PLACE = f"CASE WHEN {_OPEN} THEN 'open' ELSE id END"
"""Both as in the migration, letter by letter, or their indexes are of no use. In capitals and figures, ids sort
before 'open'."""
HISTORY = f"""SELECT {KNOCK_COLUMNS} FROM knocks
 WHERE user_key = $1 AND room_id = $2 AND trapped = $3 ORDER BY {_PLACE} DESC LIMIT $4"""  # noqa: S608
"""The open knock first, whatever its id, then the newest."""
OF_PERSON = f"SELECT {KNOCK_COLUMNS} FROM knocks WHERE user_key = $1 ORDER BY id DESC"  # noqa: S608
OF_PERSON_TO_CHANGE = f"{OF_PERSON} FOR UPDATE"


def knocks_in(states: frozenset[KnockState]) -> str:
    """Knocks in these states, oldest first, from behind $1, at most $2."""
    condition = f"state IN ({_listed(states)}) AND id > $1"
    if states <= OPEN:
        condition = f"{_OPEN} AND {condition}"
    elif states <= MEMBERS:
        condition = f"state IN ({_listed(MEMBERS)}) AND {condition}"
    return f"SELECT {KNOCK_COLUMNS} FROM knocks WHERE {condition} ORDER BY id LIMIT $2"  # noqa: S608


def _of(table: str, columns: str) -> str:
    return ", ".join(f"{table}.{column}" for column in columns.split(", "))


def _counts_from(first: int, counters: int) -> str:
    """Two columns for each of so many counters: its count in the slot of now, and in the slot before.

    A counter has three parameters: when either slot is forgotten, and its name.
    """
    return ", ".join(
        f"(SELECT count FROM counters WHERE expires_at = ${slot} AND name = ${name})"  # noqa: S608
        for name in range(first + 2, first + 3 * counters, 3)
        for slot in (name - 2, name - 1)
    )


COUNTERS = 7
"""In which a new knock is counted."""
SENDER = f"""SELECT level, until_at, {_counts_from(3, 2)}
 FROM (SELECT 1) AS always LEFT JOIN backoffs ON sender = $1 AND expires_at > $2"""  # noqa: S608
KNOWN = f"""SELECT (SELECT knock_id FROM events WHERE name = $3),
 EXISTS (SELECT 1 FROM knocks WHERE user_key = $1 AND trapped = 0 AND {_PLACE} = 'open'
 AND room_id <> $2 AND state <> 'held' AND proven = 0), {_counts_from(7, COUNTERS)},
 {_of("raids", RAID_COLUMNS)}, {_of("rules", RULE_COLUMNS)} FROM (SELECT 1) AS always
 LEFT JOIN raids ON raids.id = (SELECT id FROM raids WHERE door = $6 ORDER BY id DESC LIMIT 1)
 LEFT JOIN rules ON rules.id = $4 AND removed_at IS NULL AND (expires_at IS NULL OR expires_at > $5)"""  # noqa: S608
"""Besides the history: the knock of a delivery seen before, whether one is open elsewhere, the counts, the newest raid
of the door, and the rule that names the person."""
KNOCK_OF_EVENT = (
    f"SELECT {KNOCK_COLUMNS} FROM knocks WHERE id = (SELECT knock_id FROM events WHERE name = $1)"  # noqa: S608
)
_WAITS_FOR_PROOF = f"state = '{KnockState.HELD.value}' AND reason = '{Reason.UNPROVEN.value}'"
REPEAT = f"""UPDATE knocks SET repeats = repeats + 1, seen_at = $2,
 due_at = CASE WHEN {_WAITS_FOR_PROOF} THEN $3 ELSE due_at END WHERE id = $1"""  # noqa: S608
"""Whoever knocks again was shown another code, which is good as long as the first was."""
WRITE_KNOCK = """UPDATE knocks SET user_id = $3, state = $4, reason = $5, detail = $6, rule = $7, updated_at = $8,
 due_at = $9, attempts = $10, invited_at = $11, joined_at = $12, welcomed_at = $13, fence = $14, expires_at = $15,
 reminders = $16, knocking = $17 WHERE id = $1 AND fence = $2 RETURNING id"""
PROVE_KNOCK = "UPDATE knocks SET proven = 1, answers = $2, seen_at = $3 WHERE id = $1"
MOVE_KNOCK = "UPDATE knocks SET room_id = $2 WHERE id = $1"
_QUEUED = {
    queue: f"due_at IS NOT NULL AND state {'=' if queue is Queue.WELCOMES else '<>'} 'joined'"
    for queue in Queue
}
"""As in the migration, letter by letter, or their indexes are of no use."""


@cache
def claim(queue: Queue) -> str:
    """Claim what is due at $1 until $2, at most $3, but for what others are claiming now.

    Materialized, or PostgreSQL may look for due knocks once for each knock, and claim more than $3.
    """
    return f"""WITH due AS MATERIALIZED
 (SELECT id FROM knocks WHERE {_QUEUED[queue]} AND due_at <= $1 ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED)
 UPDATE knocks SET due_at = $2, fence = fence + 1 WHERE id IN (SELECT id FROM due) RETURNING {KNOCK_COLUMNS}"""  # noqa: S608


NEXT_DUE = {
    queue: f"SELECT due_at FROM knocks WHERE {condition} ORDER BY due_at LIMIT 1"  # noqa: S608
    for queue, condition in _QUEUED.items()
}
_WAITS = "user_key = $1 AND state = 'joined' AND due_at > $2 AND welcomed_at IS NULL"
WAITS = f"SELECT id FROM knocks WHERE {_WAITS} LIMIT 1"  # noqa: S608
HURRY = f"UPDATE knocks SET due_at = $2 WHERE {_WAITS} RETURNING id"  # noqa: S608
RENEW = "UPDATE knocks SET due_at = $3 WHERE id = $1 AND fence = $2 AND due_at IS NOT NULL"
PUT_BACK = """UPDATE knocks SET due_at = $3, attempts = attempts + $4, fence = fence + 1 WHERE id = $1 AND fence = $2
 AND due_at IS NOT NULL RETURNING id"""
COUNTS = f"SELECT state, count(*) FROM knocks WHERE {_OPEN} GROUP BY state"  # noqa: S608

ADD_EVENT = (
    "INSERT INTO events (name, knock_id, expires_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING"
)


def _count(counters: int) -> str:
    """Count one in so many counters; each has two parameters, when its slot is forgotten and its name."""
    values = ", ".join(f"(${number}, ${number + 1}, 1)" for number in range(1, 2 * counters, 2))
    return f"""INSERT INTO counters (expires_at, name, count) VALUES {values}
 ON CONFLICT (expires_at, name) DO UPDATE SET count = counters.count + 1"""  # noqa: S608


COUNT_SENDER = _count(2)
TELLING = " RETURNING count"
COUNT_KNOCK = _count(COUNTERS) + TELLING
"""SQLite leaves out what TELLING asks for: it would build a table on each call, which costs more than to have read
the counts before."""
UNCOUNT = "DELETE FROM counters WHERE name = $3 AND expires_at IN ($1, $2)"
BACKOFF = "SELECT level, until_at FROM backoffs WHERE sender = $1 AND expires_at > $2"
SET_BACKOFF = """INSERT INTO backoffs (sender, level, until_at, expires_at) VALUES ($1, $2, $3, $4)
 ON CONFLICT (sender) DO UPDATE SET level = excluded.level, until_at = excluded.until_at,
 expires_at = excluded.expires_at"""

RULE = f"SELECT {RULE_COLUMNS} FROM rules WHERE id = $1 AND removed_at IS NULL"  # noqa: S608
RULES = f"SELECT {RULE_COLUMNS} FROM rules WHERE removed_at IS NULL ORDER BY at, id"  # noqa: S608
RULES_SINCE = f"""SELECT revision, removed_at IS NOT NULL, {RULE_COLUMNS} FROM rules
 WHERE (revision, id) > ($1, $2) ORDER BY revision, id LIMIT $3"""  # noqa: S608
OWN_RULES = f"""SELECT in_file, removed_at IS NOT NULL, {RULE_COLUMNS} FROM rules
 WHERE substr(source, 1, {len(LIST)}) <> '{LIST}' AND (removed_at IS NULL OR in_file = 1) AND id > $1
 ORDER BY id LIMIT $2"""  # noqa: S608
MARK_IN_FILE = "UPDATE rules SET in_file = $2 WHERE id = $1"
RULES_OF = f"""SELECT {RULE_COLUMNS} FROM rules
 WHERE source = $1 AND removed_at IS NULL AND id > $2 ORDER BY id LIMIT $3"""  # noqa: S608
REVISION = "SELECT number FROM revisions WHERE name = 'rules'"
NEXT_REVISION = "UPDATE revisions SET number = number + 1 WHERE name = 'rules' RETURNING number"
_RULE_PLACES = _places(f"{RULE_COLUMNS}, in_file, revision")
_RULE_CHANGES = ", ".join(f"{name} = excluded.{name}" for name in RULE_COLUMNS.split(", ")[1:])
_IF_GONE = "WHERE r.removed_at IS NOT NULL OR r.expires_at <= excluded.at "
ADD_RULE = f"""INSERT INTO rules AS r ({RULE_COLUMNS}, in_file, revision) VALUES ({_RULE_PLACES})
 ON CONFLICT (id) DO UPDATE SET {_RULE_CHANGES}, in_file = excluded.in_file, revision = excluded.revision,
 removed_at = NULL {_IF_GONE}RETURNING id"""  # noqa: S608
"""No row comes back if the rule is there."""
PUT_RULE = ADD_RULE.replace(_IF_GONE, "")
"""The same, in place of what is there."""
DROP_RULE = f"""UPDATE rules SET removed_at = $2, revision = $3, in_file = CASE WHEN $4 = 1 THEN 0 ELSE in_file END
 WHERE id = $1 AND removed_at IS NULL RETURNING {RULE_COLUMNS}"""  # noqa: S608
BY_RULE = f"""SELECT {KNOCK_COLUMNS} FROM knocks WHERE rule = $1 AND rule <> '' AND id > $2
 ORDER BY id LIMIT $3"""  # noqa: S608

ADD_LINK = f"INSERT INTO invite_links ({LINK_COLUMNS}) VALUES ({_places(LINK_COLUMNS)})"  # noqa: S608
LINK = f"SELECT {LINK_COLUMNS} FROM invite_links WHERE token_hash = $1"  # noqa: S608
LINK_OF_ID = f"SELECT {LINK_COLUMNS} FROM invite_links WHERE id = $1"  # noqa: S608
LINKS = f"SELECT {LINK_COLUMNS} FROM invite_links WHERE id > $1 ORDER BY id LIMIT $2"  # noqa: S608
USE_LINK = f"""UPDATE invite_links SET used = used + 1 WHERE token_hash = $1 AND door = $2 AND revoked_at IS NULL
 AND (expires_at IS NULL OR expires_at > $3) AND (uses IS NULL OR used < uses) RETURNING {LINK_COLUMNS}"""  # noqa: S608
SET_LINK = "UPDATE knocks SET link = $2 WHERE id = $1"
UNUSE_LINK = "UPDATE invite_links SET used = used - 1 WHERE id = $1 AND used > 0"
REVOKE_LINK = f"""UPDATE invite_links SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL
 RETURNING {LINK_COLUMNS}"""  # noqa: S608
LINK_STATISTICS = "SELECT link, state, count(*) FROM knocks WHERE link <> '' GROUP BY link, state"

LISTS = f"SELECT {LIST_COLUMNS} FROM policy_lists ORDER BY at, name"  # noqa: S608
_LIST_CHANGES = ", ".join(f"{name} = excluded.{name}" for name in LIST_COLUMNS.split(", ")[1:])
PUT_LIST = f"""INSERT INTO policy_lists ({LIST_COLUMNS}) VALUES ({_places(LIST_COLUMNS)})
 ON CONFLICT (name) DO UPDATE SET {_LIST_CHANGES}"""  # noqa: S608
REMOVE_LIST = f"""UPDATE policy_lists SET removed = 1 WHERE name = $1 AND removed = 0
 RETURNING {LIST_COLUMNS}"""  # noqa: S608

ROOMS_TO_LEAVE = "SELECT room_id, list FROM rooms_to_leave ORDER BY at, room_id"
LEAVE_ROOM = """INSERT INTO rooms_to_leave (room_id, list, at) VALUES ($1, $2, $3)
 ON CONFLICT (room_id) DO UPDATE SET list = excluded.list, at = excluded.at"""
DROP_ROOM_TO_LEAVE = "DELETE FROM rooms_to_leave WHERE room_id = $1 RETURNING room_id"
DIRECT_ROOMS = f"SELECT {DIRECT_ROOM_COLUMNS} FROM direct_rooms WHERE state <> 'left' ORDER BY id LIMIT $1"  # noqa: S608
_COUNTED = (
    "state <> 'left'",
    "state <> 'left' AND (room_id = $1 OR user_key = $2)",
    "began_at > $3",
    "user_key = $2 AND began_at > $4",
)
_TALKS = ", ".join(f"sum(CASE WHEN {condition} THEN 1 ELSE 0 END)" for condition in _COUNTED)
TALKS = f"""SELECT {_TALKS}, max(CASE WHEN user_key = $2 AND began_at > $3 THEN wrong ELSE 0 END)
 FROM direct_rooms"""  # noqa: S608
"""How many there are: now, now with this person or in this room, of the last hour, of this person in a day; and their
wrong codes of the last hour, which each talk takes over from the one before."""
ADD_DIRECT_ROOM = f"INSERT INTO direct_rooms ({DIRECT_ROOM_COLUMNS}) VALUES ({_places(DIRECT_ROOM_COLUMNS)})"  # noqa: S608
WRITE_DIRECT_ROOM = """UPDATE direct_rooms SET state = $3, wrong = $4, heard = $5, fence = $6, expires_at = $7
 WHERE id = $1 AND fence = $2 RETURNING id"""

ADD_ENTRY = f"INSERT INTO ledger ({ENTRY_COLUMNS}) VALUES ({_places(ENTRY_COLUMNS)})"  # noqa: S608
LEDGER = f"SELECT {ENTRY_COLUMNS} FROM ledger ORDER BY id DESC LIMIT $1"  # noqa: S608
LEDGER_OF_KNOCK = f"SELECT {ENTRY_COLUMNS} FROM ledger WHERE knock_id = $2 ORDER BY id DESC LIMIT $1"  # noqa: S608
LEDGER_OF_USER = f"""SELECT {ENTRY_COLUMNS} FROM ledger WHERE knock_id IN (SELECT id FROM knocks WHERE user_key = $3)
 OR knock_id = '' AND user_id = $2 ORDER BY id DESC LIMIT $1"""  # noqa: S608

SIGN = f"""INSERT INTO raids AS r ({RAID_COLUMNS}) VALUES ({_places(RAID_COLUMNS)})
 ON CONFLICT (door) WHERE ended_at IS NULL DO UPDATE SET
 ends_at = CASE WHEN r.ends_at IS NULL OR r.ends_at > excluded.ends_at THEN r.ends_at ELSE excluded.ends_at END
 RETURNING {RAID_COLUMNS}"""  # noqa: S608
"""A sign of a raid: it begins, or goes on for longer."""
START_RAID = SIGN.replace("r.ends_at IS NULL OR r.ends_at > excluded.ends_at", "r.ends_at > excluded.ends_at")
"""A moderator's word: it lasts as long as they say, if that is longer."""
END_RAID = f"""UPDATE raids SET ended_at = $2, ended_by = $3, quiet_until = $4
 WHERE door = $1 AND ended_at IS NULL RETURNING {RAID_COLUMNS}"""  # noqa: S608
LAPSED_RAIDS = f"""UPDATE raids SET ended_at = ends_at, ended_by = 'knock'
 WHERE ended_at IS NULL AND told < 2 AND ends_at <= $1 RETURNING {RAID_COLUMNS}"""  # noqa: S608
TELL_RAID = "UPDATE raids SET told = $2 WHERE id = $1 AND told < $2"
RAID = f"SELECT {RAID_COLUMNS} FROM raids WHERE id = $1"  # noqa: S608
RAIDS = f"SELECT {RAID_COLUMNS} FROM raids ORDER BY id DESC LIMIT $1"  # noqa: S608
UNTOLD_RAIDS = f"SELECT {RAID_COLUMNS} FROM raids WHERE told < 2 ORDER BY id"  # noqa: S608
WAVE = f"""SELECT {KNOCK_COLUMNS} FROM knocks WHERE raid = $1 AND raid <> '' AND state = 'held' AND id > $2
 ORDER BY id LIMIT $3"""  # noqa: S608
WAVE_COUNTS = "SELECT state, count(*) FROM knocks WHERE raid = $1 AND raid <> '' GROUP BY state"

PACE = "SELECT free_at FROM paces WHERE name = $1"
SET_PACE = """INSERT INTO paces (name, free_at) VALUES ($1, $2)
 ON CONFLICT (name) DO UPDATE SET free_at = excluded.free_at"""
PAUSED = "SELECT until_at FROM pauses WHERE name = $1"
PAUSED_QUEUE = {
    queue: f"SELECT max(until_at) FROM pauses WHERE name IN ({', '.join(map(repr, names))})"  # noqa: S608
    for queue, names in PAUSES.items()
}
PAUSE = """INSERT INTO pauses AS p (name, until_at) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET
 until_at = CASE WHEN excluded.until_at > p.until_at THEN excluded.until_at ELSE p.until_at END"""
RESUME = "DELETE FROM pauses WHERE name = $1"
TAKE_LEASE = """INSERT INTO leases AS l (name, holder, until_at) VALUES ($1, $2, $3)
 ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until_at = excluded.until_at
 WHERE l.holder = excluded.holder OR l.until_at <= $4 RETURNING holder"""
DROP_LEASE = "DELETE FROM leases WHERE name = $1 AND holder = $2"
SECRET = "SELECT value FROM secrets WHERE name = $1"  # noqa: S105
PUT_SECRET = """INSERT INTO secrets (name, value, expires_at) VALUES ($1, $2, $3)
 ON CONFLICT (name) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at"""  # noqa: S105
COUNT_UP = """INSERT INTO secrets AS s (name, value, expires_at) VALUES ($1, $3, NULL)
 ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE s.value = $2 RETURNING name"""
"""A number that several processes watch, not sealed as it is no secret: no row comes back if it is not $2."""
ADD_SECRET = """INSERT INTO secrets (name, value, expires_at) VALUES ($1, $2, $3)
 ON CONFLICT (name) DO NOTHING"""  # noqa: S105
DROP_SECRET = "DELETE FROM secrets WHERE name = $1"  # noqa: S105

_REMOVED_RULES = """DELETE FROM rules WHERE id IN (SELECT id FROM rules
 WHERE removed_at <= $1 - 604800.0 AND in_file = 0
 LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING 1"""
"""A rule that was removed is told of for a week, for processes that slept; and until its line in the file is gone."""
_RUN_OUT = (
    f"""DELETE FROM {table} WHERE ({key}) IN
 (SELECT {key} FROM {table} WHERE expires_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING 1"""  # noqa: S608
    for table, key in (
        ("counters", "expires_at, name"),
        ("backoffs", "sender"),
        ("events", "name"),
        ("secrets", "name"),
        ("direct_rooms", "id"),
        ("rules", "id"),
    )
)
_OLD_RAIDS = """DELETE FROM raids WHERE id IN (SELECT id FROM raids WHERE ended_at IS NOT NULL
 AND ended_at <= $1 - 31536000.0 AND told = 2 LIMIT $2 FOR UPDATE SKIP LOCKED) RETURNING 1"""
TIDY = (*_RUN_OUT, _REMOVED_RULES, _OLD_RAIDS)
