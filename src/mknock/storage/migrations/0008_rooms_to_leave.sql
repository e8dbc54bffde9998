-- Rooms of policy lists that Knock is no longer subscribed to, until it has left them.

CREATE TABLE rooms_to_leave (
    room_id TEXT PRIMARY KEY,
    list TEXT NOT NULL,
    at DOUBLE PRECISION NOT NULL
);
