"""Every SQL statement, written once for SQLite and PostgreSQL, with $1 parameters."""

from __future__ import annotations

from mknock.domain.knocks import KnockState
from mknock.storage.rows import ENTRY_COLUMNS, KNOCK_COLUMNS, RULE_COLUMNS


def _places(columns: str) -> str:
    return ", ".join(f"${number}" for number in range(1, columns.count(",") + 2))


def in_states(states: frozenset[KnockState]) -> str:
    """The states as literals: only a literal lets a partial index serve the query."""
    return ", ".join(f"'{state.value}'" for state in sorted(states))


ADD_KNOCK = f"INSERT INTO knocks ({KNOCK_COLUMNS}) VALUES ({_places(KNOCK_COLUMNS)})"  # noqa: S608
KNOCK = f"SELECT {KNOCK_COLUMNS} FROM knocks WHERE id = $1"  # noqa: S608
HISTORY = f"""SELECT {KNOCK_COLUMNS} FROM knocks
 WHERE user_key = $1 AND room_id = $2 AND trapped = $3 ORDER BY id DESC LIMIT $4"""  # noqa: S608
OF_PERSON = f"SELECT {KNOCK_COLUMNS} FROM knocks WHERE user_key = $1 ORDER BY id DESC"  # noqa: S608


def knocks_in(states: frozenset[KnockState]) -> str:
    """Knocks in these states, oldest first, from behind $1, at most $2."""
    return f"""SELECT {KNOCK_COLUMNS} FROM knocks WHERE state IN ({in_states(states)}) AND id > $1
 ORDER BY id LIMIT $2"""  # noqa: S608


ELSEWHERE = """SELECT 1 FROM knocks WHERE user_key = $1 AND room_id <> $2 AND proven = 0
 AND state IN ('admitted', 'invited') LIMIT 1"""
REPEAT = "UPDATE knocks SET repeats = repeats + 1, seen_at = $2 WHERE id = $1"
WRITE_KNOCK = """UPDATE knocks SET user_id = $3, state = $4, reason = $5, detail = $6, rule = $7, updated_at = $8,
 due_at = $9, attempts = $10, invited_at = $11, joined_at = $12, welcomed_at = $13, fence = $14, expires_at = $15
 WHERE id = $1 AND fence = $2 RETURNING id"""
CLAIM = f"""UPDATE knocks SET due_at = $2, fence = fence + 1 WHERE id IN
 (SELECT id FROM knocks WHERE due_at IS NOT NULL AND due_at <= $1 ORDER BY due_at LIMIT $3)
 RETURNING {KNOCK_COLUMNS}"""  # noqa: S608
NEXT_DUE = "SELECT due_at FROM knocks WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1"
RENEW = "UPDATE knocks SET due_at = $3 WHERE id = $1 AND fence = $2 AND due_at IS NOT NULL"
PUT_BACK = """UPDATE knocks SET due_at = $3, attempts = attempts + $4 WHERE id = $1 AND fence = $2
 AND due_at IS NOT NULL RETURNING id"""
COUNTS = "SELECT state, count(*) FROM knocks WHERE state IN ('held', 'admitted', 'invited') GROUP BY state"

SEEN_EVENT = "SELECT knock_id FROM events WHERE name = $1"
ADD_EVENT = (
    "INSERT INTO events (name, knock_id, expires_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING"
)

COUNT = """INSERT INTO counters AS c (name, slot, count, before, expires_at) VALUES ($1, $2, 1, 0, $3)
 ON CONFLICT (name) DO UPDATE SET
 before = CASE WHEN c.slot = excluded.slot THEN c.before WHEN c.slot = excluded.slot - 1 THEN c.count ELSE 0 END,
 count = CASE WHEN c.slot = excluded.slot THEN c.count + 1 ELSE 1 END,
 slot = excluded.slot, expires_at = excluded.expires_at
 RETURNING count, before"""
BACKOFF = "SELECT level, until_at FROM backoffs WHERE sender = $1"
SET_BACKOFF = """INSERT INTO backoffs (sender, level, until_at, expires_at) VALUES ($1, $2, $3, $4)
 ON CONFLICT (sender) DO UPDATE SET level = excluded.level, until_at = excluded.until_at,
 expires_at = excluded.expires_at"""

RULE = f"SELECT {RULE_COLUMNS} FROM rules WHERE key = $1"  # noqa: S608
RULES = f"SELECT {RULE_COLUMNS} FROM rules ORDER BY at, key"  # noqa: S608
ADD_RULE = f"""INSERT INTO rules ({RULE_COLUMNS}) VALUES ({_places(RULE_COLUMNS)})
 ON CONFLICT (key) DO NOTHING RETURNING key"""  # noqa: S608
DROP_RULE = f"DELETE FROM rules WHERE key = $1 RETURNING {RULE_COLUMNS}"  # noqa: S608

ADD_ENTRY = f"INSERT INTO ledger ({ENTRY_COLUMNS}) VALUES ({_places(ENTRY_COLUMNS)})"  # noqa: S608
LEDGER = f"SELECT {ENTRY_COLUMNS} FROM ledger ORDER BY id DESC LIMIT $1"  # noqa: S608
LEDGER_OF_KNOCK = f"SELECT {ENTRY_COLUMNS} FROM ledger WHERE knock_id = $2 ORDER BY id DESC LIMIT $1"  # noqa: S608
LEDGER_OF_USER = f"SELECT {ENTRY_COLUMNS} FROM ledger WHERE user_id = $2 ORDER BY id DESC LIMIT $1"  # noqa: S608

PACE = "SELECT free_at FROM paces WHERE name = $1"
SET_PACE = """INSERT INTO paces (name, free_at) VALUES ($1, $2)
 ON CONFLICT (name) DO UPDATE SET free_at = excluded.free_at"""
PAUSED = "SELECT until_at FROM pauses WHERE name = $1"
PAUSED_FOR_INVITES = "SELECT max(until_at) FROM pauses WHERE name IN ('homeserver', 'invite', 'owner')"
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
ADD_SECRET = """INSERT INTO secrets (name, value, expires_at) VALUES ($1, $2, $3)
 ON CONFLICT (name) DO NOTHING"""  # noqa: S105
DROP_SECRET = "DELETE FROM secrets WHERE name = $1"  # noqa: S105

TIDY = tuple(
    f"DELETE FROM {table} WHERE expires_at <= $1 RETURNING 1"  # noqa: S608
    for table in ("counters", "backoffs", "events", "secrets")
)
