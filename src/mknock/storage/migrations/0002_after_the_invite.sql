-- Reminders, and two queues: what waits to be delivered, and who waits to be welcomed. Each is looked
-- into by itself, so that neither a long queue of invites nor a limit on them holds up a welcome.

ALTER TABLE knocks ADD COLUMN reminders INTEGER NOT NULL DEFAULT 0;

DROP INDEX knocks_due;
CREATE INDEX knocks_due ON knocks (due_at) WHERE due_at IS NOT NULL AND state <> 'joined';
CREATE INDEX knocks_to_welcome ON knocks (due_at) WHERE due_at IS NOT NULL AND state = 'joined';
-- Who is a member by a knock, for the comparison with the room.
CREATE INDEX knocks_members ON knocks (state, id) WHERE state IN ('already_member', 'joined');

-- Invites that were sent before reminders came, and knocks held before holds ended: looked at within the day.
UPDATE knocks SET due_at = updated_at + 86400 WHERE due_at IS NULL AND state = 'invited';
UPDATE knocks SET due_at = updated_at + 2592000 WHERE due_at IS NULL AND state = 'held';
