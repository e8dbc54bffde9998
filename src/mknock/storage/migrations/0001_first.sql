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
CREATE INDEX knocks_person ON knocks (user_key, room_id, id);
CREATE INDEX knocks_state ON knocks (state, id);
-- A person has at most one open knock a room, through whatever form or process (promise 2).
CREATE UNIQUE INDEX knocks_open ON knocks (room_id, user_key) WHERE state IN ('held', 'admitted', 'invited');

-- Deliveries seen, so that a platform's retry is not a second knock.
CREATE TABLE events (
    name TEXT PRIMARY KEY,
    knock_id TEXT NOT NULL,
    expires_at DOUBLE PRECISION NOT NULL
);
CREATE INDEX events_expiry ON events (expires_at);

-- Sliding windows: one row a window and subject, this slot's count and the one before.
CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    slot BIGINT NOT NULL,
    count BIGINT NOT NULL,
    before BIGINT NOT NULL,
    expires_at DOUBLE PRECISION NOT NULL
);
CREATE INDEX counters_expiry ON counters (expires_at);

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
CREATE INDEX ledger_user ON ledger (user_id);

CREATE TABLE paces (name TEXT PRIMARY KEY, free_at DOUBLE PRECISION NOT NULL);
CREATE TABLE pauses (name TEXT PRIMARY KEY, until_at DOUBLE PRECISION NOT NULL);
CREATE TABLE leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, until_at DOUBLE PRECISION NOT NULL);
CREATE TABLE secrets (name TEXT PRIMARY KEY, value TEXT NOT NULL, expires_at DOUBLE PRECISION);
