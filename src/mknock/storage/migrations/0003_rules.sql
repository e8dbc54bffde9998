-- Rules of every kind, the owner's own and those of shared lists. What changed since when is told by the
-- revision, so that every process can follow; a removed rule stays for a while to be told of.

ALTER TABLE rules RENAME TO rules_before_3;
CREATE TABLE rules (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    entity TEXT NOT NULL,
    key TEXT NOT NULL,
    reason TEXT NOT NULL,
    source TEXT NOT NULL,
    author TEXT NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION,
    allow INTEGER NOT NULL,
    look_alikes INTEGER NOT NULL,
    origin TEXT NOT NULL,
    in_file INTEGER NOT NULL,
    revision BIGINT NOT NULL,
    removed_at DOUBLE PRECISION
);
INSERT INTO rules SELECT 'block:user:' || key, kind, entity, key, reason, source, author, at, NULL, 0, 1, '', 0, 1, NULL
 FROM rules_before_3;
DROP TABLE rules_before_3;
CREATE INDEX rules_revision ON rules (revision, id);
CREATE INDEX rules_expiry ON rules (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX rules_removal ON rules (removed_at) WHERE removed_at IS NOT NULL;

CREATE TABLE revisions (name TEXT PRIMARY KEY, number BIGINT NOT NULL);
INSERT INTO revisions (name, number) VALUES ('rules', 1);

-- Whom a rule has kept out, to undo it.
CREATE INDEX knocks_by_rule ON knocks (rule) WHERE rule <> '';
