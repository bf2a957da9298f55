-- The key that signed the first installed release of a bundle, per registry. Another key is accepted
-- only by the user's decision.
CREATE TABLE signers (
    registry  TEXT NOT NULL, -- URL of the registry
    bundle    TEXT NOT NULL,
    key       TEXT NOT NULL, -- minisign public key, in base64
    pinned_at BIGINT NOT NULL,
    PRIMARY KEY (registry, bundle)
);
