-- The yard in PostgreSQL. Formats are numbered together with those of SQLite: this is format 2.

-- One row that says which yard this is and which key it needs.
CREATE TABLE yard (
    "only"            BIGINT PRIMARY KEY CHECK ("only" = 1), -- a word of the language, as it stands in SQLite
    id                TEXT NOT NULL,
    key_id            TEXT NOT NULL,
    key_location      TEXT NOT NULL,
    canary            BYTEA NOT NULL,
    created_at        BIGINT NOT NULL, -- milliseconds since 1970-01-01 UTC, like every time here
    needs             TEXT NOT NULL DEFAULT '0.1.0', -- the version of Blockyard that this format needs
    next_key_id       TEXT, -- the key that a rotation moves to, while one is under way
    next_key_location TEXT,
    next_canary       BYTEA
);

-- Installed bundles, addressed by content. Several versions live side by side.
CREATE TABLE bundles (
    digest       BYTEA PRIMARY KEY CHECK (length(digest) = 32),
    name         TEXT NOT NULL,
    version      TEXT NOT NULL,
    manifest     TEXT NOT NULL,
    source       TEXT NOT NULL,
    size         BIGINT NOT NULL,
    installed_at BIGINT NOT NULL
);
CREATE INDEX bundles_by_name ON bundles (name);

-- The bytes apart from what is listed often.
CREATE TABLE bundle_bytes (
    digest BYTEA PRIMARY KEY REFERENCES bundles (digest),
    bytes  BYTEA NOT NULL
);
-- A component is compressed badly and read whole.
ALTER TABLE bundle_bytes ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- A type slug belongs to one bundle, for ever. Names sort by their bytes, on every server alike.
CREATE TABLE types (
    slug   TEXT COLLATE "C" PRIMARY KEY,
    bundle TEXT NOT NULL
);

CREATE TABLE grants (
    bundle     TEXT NOT NULL,
    capability TEXT COLLATE "C" NOT NULL,
    granted_at BIGINT NOT NULL,
    PRIMARY KEY (bundle, capability)
);

CREATE TABLE blocks (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    type       TEXT COLLATE "C" NOT NULL REFERENCES types (slug),
    name       TEXT COLLATE "C" NOT NULL,
    newest     BIGINT NOT NULL CHECK (newest >= 1),
    data_key   BYTEA, -- wrapped by the yard's key
    key_id     TEXT NOT NULL,
    purges     BIGINT NOT NULL DEFAULT 0, -- how often its secrets were destroyed; each time it got another data key
    created_at BIGINT NOT NULL,
    deleted_at BIGINT,
    UNIQUE (type, name)
);
CREATE INDEX blocks_by_key ON blocks (key_id);

CREATE TABLE revisions (
    block      BIGINT NOT NULL REFERENCES blocks (id),
    revision   BIGINT NOT NULL CHECK (revision >= 1),
    bundle     BYTEA NOT NULL REFERENCES bundles (digest), -- the code that validated it
    checksum   BYTEA NOT NULL, -- of the type as it was
    config     TEXT NOT NULL, -- JSON without secrets, to the byte as it was sealed
    seal       BYTEA NOT NULL, -- made with the block's data key over all of the above
    author     TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (block, revision)
);

CREATE TABLE secrets (
    block    BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    pointer  TEXT NOT NULL,
    sealed   BYTEA NOT NULL, -- nonce, ciphertext, tag
    PRIMARY KEY (block, revision, pointer),
    FOREIGN KEY (block, revision) REFERENCES revisions (block, revision)
);

-- What each revision builds on, and through which field.
CREATE TABLE block_references (
    block    BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    pointer  TEXT NOT NULL,
    target   BIGINT NOT NULL REFERENCES blocks (id),
    purpose  TEXT NOT NULL CHECK (purpose IN ('configuration', 'secret')),
    PRIMARY KEY (block, revision, pointer),
    FOREIGN KEY (block, revision) REFERENCES revisions (block, revision)
);
CREATE INDEX block_references_by_target ON block_references (target);

CREATE TABLE audit (
    id      BIGINT PRIMARY KEY, -- counted without gaps, under the lock of audit_head
    at      BIGINT NOT NULL,
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail  TEXT NOT NULL, -- JSON
    chain   BYTEA -- sha256 over this line and the chain before it
);
CREATE INDEX audit_by_subject ON audit (subject, id);
CREATE INDEX audit_by_time ON audit (at);

-- The end of the chain: whoever cuts lines off would have to change this, too.
CREATE TABLE audit_head (
    "only" BIGINT PRIMARY KEY CHECK ("only" = 1),
    lines BIGINT NOT NULL,
    chain BYTEA
);
INSERT INTO audit_head ("only", lines, chain) VALUES (1, 0, NULL);

-- Nothing is overwritten: the database itself refuses, whoever asks.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation'; END $$;

CREATE TRIGGER revisions_stay
BEFORE UPDATE OF block, revision, bundle, checksum, config, author, created_at ON revisions
FOR EACH ROW EXECUTE FUNCTION refuse('revisions are immutable');
CREATE TRIGGER revisions_are_kept BEFORE DELETE ON revisions
FOR EACH ROW EXECUTE FUNCTION refuse('revisions are immutable');
CREATE TRIGGER references_stay BEFORE UPDATE OR DELETE ON block_references
FOR EACH ROW EXECUTE FUNCTION refuse('revisions are immutable');
CREATE TRIGGER names_are_for_ever BEFORE UPDATE OF type, name ON blocks
FOR EACH ROW EXECUTE FUNCTION refuse('names are for ever');
CREATE TRIGGER blocks_are_kept BEFORE DELETE ON blocks
FOR EACH ROW EXECUTE FUNCTION refuse('names are for ever');
CREATE TRIGGER audit_stays BEFORE UPDATE OR DELETE ON audit
FOR EACH ROW EXECUTE FUNCTION refuse('the audit trail is append-only');
-- TRUNCATE does not ask the triggers of rows.
CREATE TRIGGER revisions_are_not_truncated BEFORE TRUNCATE ON revisions EXECUTE FUNCTION refuse('revisions are immutable');
CREATE TRIGGER blocks_are_not_truncated BEFORE TRUNCATE ON blocks EXECUTE FUNCTION refuse('names are for ever');
CREATE TRIGGER audit_is_not_truncated BEFORE TRUNCATE ON audit EXECUTE FUNCTION refuse('the audit trail is append-only');
