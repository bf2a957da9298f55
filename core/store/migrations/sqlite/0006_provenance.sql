-- How a revision was saved, and the reason that its author gave. NULL in revisions of earlier formats.
-- The seal covers both, together with the author.
ALTER TABLE revisions ADD COLUMN origin TEXT;
ALTER TABLE revisions ADD COLUMN reason TEXT;

DROP TRIGGER revisions_stay;
CREATE TRIGGER revisions_stay
BEFORE UPDATE OF block, revision, bundle, checksum, config, author, created_at, origin, reason ON revisions
BEGIN SELECT RAISE(ABORT, 'revisions are immutable'); END;
