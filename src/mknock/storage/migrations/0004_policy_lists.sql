-- Policy rooms that Knock is subscribed to. A list that was removed stays on record, so that whoever follows it
-- knows whose rules have to go.

CREATE TABLE policy_lists (
    name TEXT PRIMARY KEY,
    room_id TEXT NOT NULL,
    alias TEXT NOT NULL,
    look_alikes INTEGER NOT NULL,
    allow_wide INTEGER NOT NULL,
    author TEXT NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    removed INTEGER NOT NULL
);

-- The rules of one list.
CREATE INDEX rules_source ON rules (source, id) WHERE removed_at IS NULL;
