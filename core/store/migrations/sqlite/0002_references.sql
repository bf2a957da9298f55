-- The version of Blockyard that this format needs, for the message of an older one.
ALTER TABLE yard ADD COLUMN needs TEXT NOT NULL DEFAULT '0.1.0';
-- The key that a rotation moves to, while one is under way.
ALTER TABLE yard ADD COLUMN next_key_id TEXT;
ALTER TABLE yard ADD COLUMN next_key_location TEXT;
ALTER TABLE yard ADD COLUMN next_canary BLOB;

-- How often a block's secrets were destroyed; each time it got another data key.
ALTER TABLE blocks ADD COLUMN purges INTEGER NOT NULL DEFAULT 0;

-- Which blocks a rotation has still to move.
CREATE INDEX blocks_by_key ON blocks (key_id);

-- What each revision builds on, and through which field.
CREATE TABLE block_references (
    block    INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    pointer  TEXT NOT NULL,
    target   INTEGER NOT NULL REFERENCES blocks (id),
    purpose  TEXT NOT NULL CHECK (purpose IN ('configuration', 'secret')),
    PRIMARY KEY (block, revision, pointer),
    FOREIGN KEY (block, revision) REFERENCES revisions (block, revision)
) STRICT, WITHOUT ROWID;
CREATE INDEX block_references_by_target ON block_references (target);

-- Each line's hash is over the line and the hash before it; lines that are older than this format
-- have none of their own and are covered by the first that has one.
ALTER TABLE audit ADD COLUMN chain BLOB;
CREATE INDEX audit_by_subject ON audit (subject, id);
CREATE INDEX audit_by_time ON audit (at);

-- The end of the chain: whoever cuts lines off would have to change this, too.
CREATE TABLE audit_head (
    only  INTEGER PRIMARY KEY CHECK (only = 1),
    lines INTEGER NOT NULL,
    chain BLOB
) STRICT;
INSERT INTO audit_head (only, lines, chain) SELECT 1, count(*), NULL FROM audit;

-- A seal may be made anew, with a new data key, when secrets are destroyed. It vouches for itself.
DROP TRIGGER revisions_stay;
CREATE TRIGGER revisions_stay
BEFORE UPDATE OF block, revision, bundle, checksum, config, author, created_at ON revisions
BEGIN SELECT RAISE(ABORT, 'revisions are immutable'); END;
CREATE TRIGGER references_stay BEFORE UPDATE ON block_references
BEGIN SELECT RAISE(ABORT, 'revisions are immutable'); END;
CREATE TRIGGER references_are_kept BEFORE DELETE ON block_references
BEGIN SELECT RAISE(ABORT, 'revisions are immutable'); END;

-- `INSERT OR REPLACE` would delete without asking the triggers of deletion.
CREATE TRIGGER audit_is_not_replaced BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
CREATE TRIGGER revisions_are_not_replaced BEFORE INSERT ON revisions
WHEN EXISTS (SELECT 1 FROM revisions WHERE block = NEW.block AND revision = NEW.revision)
BEGIN SELECT RAISE(ABORT, 'revisions are immutable'); END;
CREATE TRIGGER blocks_are_not_replaced BEFORE INSERT ON blocks
WHEN EXISTS (SELECT 1 FROM blocks WHERE id = NEW.id OR type = NEW.type AND name = NEW.name)
BEGIN SELECT RAISE(ABORT, 'names are for ever'); END;
