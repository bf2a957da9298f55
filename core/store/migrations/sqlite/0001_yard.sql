-- The yard: one row that says which yard this is and which key it needs.
CREATE TABLE yard (
    only         INTEGER PRIMARY KEY CHECK (only = 1),
    id           TEXT NOT NULL,
    key_id       TEXT NOT NULL,
    key_location TEXT NOT NULL,
    canary       BLOB NOT NULL,
    created_at   INTEGER NOT NULL -- milliseconds since 1970-01-01 UTC, like every time here
) STRICT;

-- Installed bundles, addressed by content. Several versions live side by side.
CREATE TABLE bundles (
    digest       BLOB PRIMARY KEY CHECK (length(digest) = 32),
    name         TEXT NOT NULL,
    version      TEXT NOT NULL,
    manifest     TEXT NOT NULL,
    source       TEXT NOT NULL,
    size         INTEGER NOT NULL,
    installed_at INTEGER NOT NULL
) STRICT;
CREATE INDEX bundles_by_name ON bundles (name);

-- The bytes apart from what is listed often.
CREATE TABLE bundle_bytes (
    digest BLOB PRIMARY KEY REFERENCES bundles (digest),
    bytes  BLOB NOT NULL
) STRICT;

-- A type slug belongs to one bundle, for ever.
CREATE TABLE types (
    slug   TEXT PRIMARY KEY,
    bundle TEXT NOT NULL
) STRICT;

CREATE TABLE grants (
    bundle     TEXT NOT NULL,
    capability TEXT NOT NULL,
    granted_at INTEGER NOT NULL,
    PRIMARY KEY (bundle, capability)
) STRICT;

CREATE TABLE blocks (
    id         INTEGER PRIMARY KEY,
    type       TEXT NOT NULL REFERENCES types (slug),
    name       TEXT NOT NULL,
    newest     INTEGER NOT NULL CHECK (newest >= 1),
    data_key   BLOB, -- wrapped by the yard's key
    key_id     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    deleted_at INTEGER,
    UNIQUE (type, name)
) STRICT;

CREATE TABLE revisions (
    block      INTEGER NOT NULL REFERENCES blocks (id),
    revision   INTEGER NOT NULL CHECK (revision >= 1),
    bundle     BLOB NOT NULL REFERENCES bundles (digest), -- the code that validated it
    checksum   BLOB NOT NULL, -- of the type as it was
    config     TEXT NOT NULL, -- JSON without secrets
    seal       BLOB NOT NULL, -- made with the block's data key over all of the above
    author     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (block, revision)
) STRICT, WITHOUT ROWID;

CREATE TABLE secrets (
    block    INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    pointer  TEXT NOT NULL,
    sealed   BLOB NOT NULL, -- nonce, ciphertext, tag
    PRIMARY KEY (block, revision, pointer),
    FOREIGN KEY (block, revision) REFERENCES revisions (block, revision)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    id      INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail  TEXT NOT NULL -- JSON
) STRICT;

-- Nothing is overwritten: the database itself refuses, whoever asks.
CREATE TRIGGER revisions_stay BEFORE UPDATE ON revisions
BEGIN SELECT RAISE(ABORT, 'revisions are immutable'); END;
CREATE TRIGGER revisions_are_kept BEFORE DELETE ON revisions
BEGIN SELECT RAISE(ABORT, 'revisions are immutable'); END;
CREATE TRIGGER names_are_for_ever BEFORE UPDATE OF type, name ON blocks
BEGIN SELECT RAISE(ABORT, 'names are for ever'); END;
CREATE TRIGGER blocks_are_kept BEFORE DELETE ON blocks
BEGIN SELECT RAISE(ABORT, 'names are for ever'); END;
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
