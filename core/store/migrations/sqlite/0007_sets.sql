-- Set of the block file that contained the block when a file was last applied to it; NULL if that file
-- names no set, or if no file contained it.
ALTER TABLE blocks ADD COLUMN set_name TEXT;
CREATE INDEX blocks_by_set ON blocks (set_name);
