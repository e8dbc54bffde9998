-- Raids: times in which everybody at a door is held. The newest raid of a door tells whether it is being raided, and
-- whether anybody wants to hear of signs; the knocks held in it are its wave, decided together.

CREATE TABLE raids (
    id TEXT PRIMARY KEY,
    door TEXT NOT NULL,
    cause TEXT NOT NULL,
    detail TEXT NOT NULL,
    started_at DOUBLE PRECISION NOT NULL,
    started_by TEXT NOT NULL,
    ends_at DOUBLE PRECISION,
    ended_at DOUBLE PRECISION,
    ended_by TEXT NOT NULL,
    quiet_until DOUBLE PRECISION NOT NULL,
    told INTEGER NOT NULL
);
-- At most one at a time, through whatever process.
CREATE UNIQUE INDEX raids_on ON raids (door) WHERE ended_at IS NULL;
CREATE INDEX raids_door ON raids (door, id);
-- What is not told yet, or not over.
CREATE INDEX raids_untold ON raids (id) WHERE told < 2;
CREATE INDEX raids_ended ON raids (ended_at) WHERE ended_at IS NOT NULL;

ALTER TABLE knocks ADD COLUMN raid TEXT NOT NULL DEFAULT '';
ALTER TABLE knocks ADD COLUMN signals TEXT NOT NULL DEFAULT '';
CREATE INDEX knocks_wave ON knocks (raid, state, id) WHERE raid <> '';
