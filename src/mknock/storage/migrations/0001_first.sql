-- Times are seconds since the epoch, UTC. Flags are 0 or 1. One dialect for SQLite and PostgreSQL.

CREATE TABLE knocks (
    id TEXT PRIMARY KEY,
    door TEXT NOT NULL,
    room_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    user_key TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    rule TEXT NOT NULL,
    platform TEXT NOT NULL,
    proven INTEGER NOT NULL,
    trapped INTEGER NOT NULL,
    answers TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL,
    seen_at DOUBLE PRECISION NOT NULL,
    repeats INTEGER NOT NULL,
    expires_at DOUBLE PRECISION NOT NULL,
    due_at DOUBLE PRECISION,
    fence INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    invited_at DOUBLE PRECISION,
    joined_at DOUBLE PRECISION,
    welcomed_at DOUBLE PRECISION
);

-- A due row is due work.
CREATE INDEX knocks_due ON knocks (due_at) WHERE due_at IS NOT NULL;
-- A person's history, the open knock first, and at most one of those a room, through whatever form or
-- process (promise 2). Both in one index: each that is not in the order of time costs a page a knock to write.
CREATE UNIQUE INDEX knocks_person ON knocks (
    user_key, trapped, (CASE WHEN state IN ('admitted', 'held', 'invited') THEN 'open' ELSE id END), room_id
);
CREATE INDEX knocks_open ON knocks (state, id) WHERE state IN ('admitted', 'held', 'invited');

-- Deliveries seen, so that a platform's retry is not a second knock.
CREATE TABLE events (
    name TEXT PRIMARY KEY,
    knock_id TEXT NOT NULL,
    expires_at DOUBLE PRECISION NOT NULL
);
CREATE INDEX events_expiry ON events (expires_at);

-- Sliding windows: one row a subject and slot of time. The end of its use comes first in the key,
-- so that neither counting nor tidying needs another index.
CREATE TABLE counters (
    expires_at DOUBLE PRECISION NOT NULL,
    name TEXT NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (expires_at, name)
);

-- Anonymous senders that went over their window.
CREATE TABLE backoffs (
    sender TEXT PRIMARY KEY,
    level INTEGER NOT NULL,
    until_at DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION NOT NULL
);
CREATE INDEX backoffs_expiry ON backoffs (expires_at);

CREATE TABLE rules (
    key TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    entity TEXT NOT NULL,
    reason TEXT NOT NULL,
    source TEXT NOT NULL,
    author TEXT NOT NULL,
    at DOUBLE PRECISION NOT NULL
);

CREATE TABLE ledger (
    id TEXT PRIMARY KEY,
    at DOUBLE PRECISION NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    door TEXT NOT NULL,
    knock_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    rule TEXT NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE INDEX ledger_knock ON ledger (knock_id);
CREATE INDEX ledger_user ON ledger (user_id) WHERE knock_id = '';

CREATE TABLE paces (name TEXT PRIMARY KEY, free_at DOUBLE PRECISION NOT NULL);
CREATE TABLE pauses (name TEXT PRIMARY KEY, until_at DOUBLE PRECISION NOT NULL);
CREATE TABLE leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, until_at DOUBLE PRECISION NOT NULL);
CREATE TABLE secrets (name TEXT PRIMARY KEY, value TEXT NOT NULL, expires_at DOUBLE PRECISION);
