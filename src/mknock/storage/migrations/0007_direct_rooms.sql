-- Rooms of the bot with one person each, who proves there that an account is theirs: at most a few hundred. Those
-- that are over are remembered for a day, for the limits.

CREATE TABLE direct_rooms (
    id TEXT PRIMARY KEY,
    room_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    user_key TEXT NOT NULL,
    state TEXT NOT NULL,
    began_at DOUBLE PRECISION NOT NULL,
    wrong INTEGER NOT NULL,
    heard TEXT NOT NULL,
    fence INTEGER NOT NULL,
    expires_at DOUBLE PRECISION
);
