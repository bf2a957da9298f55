-- Time at which a version of a bundle was uninstalled; NULL while it is installed. Its revisions keep
-- its bytes, and open with them.
ALTER TABLE bundles ADD COLUMN uninstalled_at INTEGER;
-- Content of the minisign signature file of the bytes. NULL if they are unsigned, or were installed
-- by a version that did not store it.
ALTER TABLE bundles ADD COLUMN signature TEXT;

-- Time since which calls record the capabilities that they use, if later than the yard's creation.
ALTER TABLE yard ADD COLUMN uses_since INTEGER;
UPDATE yard SET uses_since = CAST(strftime('%s', 'now') AS INTEGER) * 1000;
