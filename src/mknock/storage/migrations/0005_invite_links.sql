-- Invite links, by the hash of their token, and the link by which a knock came ("": by none).

CREATE TABLE invite_links (
    id TEXT PRIMARY KEY,
    token_hash TEXT NOT NULL UNIQUE,
    door TEXT NOT NULL,
    label TEXT NOT NULL,
    author TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION,
    uses BIGINT,
    used BIGINT NOT NULL,
    skips_review INTEGER NOT NULL,
    greeting TEXT NOT NULL,
    revoked_at DOUBLE PRECISION
);

ALTER TABLE knocks ADD COLUMN link TEXT NOT NULL DEFAULT '';
CREATE INDEX knocks_link ON knocks (link, state) WHERE link <> '';
