//! Reach of a block: the servers and databases that its configuration permits to its bundle, and
//! where its secrets may be sent.
//!
//! Both the schema and the values of fields such as `host` decide this. An upgrade compares the reach
//! before and after the conversion of a block, with the values inserted, because a new version
//! controls both.

use blockyard_model::{Capability, Manifest, OriginPattern, Pointer};

use crate::reference::{ResolvedBlock, ResolvedSecret};

/// A resolved block with the manifest that its type is defined in.
pub(crate) struct Reach<'a> {
    pub(crate) manifest: &'a Manifest,
    pub(crate) block: &'a ResolvedBlock,
}

impl Reach<'_> {
    /// Describes the servers and databases that this block permits and `old` does not. Origins
    /// without fields are omitted: they are the same for all blocks, and part of the bundle's review.
    pub(crate) fn beyond(&self, old: &Self) -> Vec<String> {
        let known = old.origins(|_| true);
        let added = self.origins(OriginPattern::has_fields).into_iter();
        let added = added.filter(|origin| !known.iter().any(|known| known.covers(origin)));
        let mut found: Vec<String> = added.map(|origin| format!("requests may be sent to `{origin}`")).collect();
        for target in &self.block.sql {
            let same =
                |known: &blockyard_model::SqlTarget| target.is_within(known) && target.database == known.database;
            if !old.block.sql.iter().any(same) {
                let server = target.host.iter().map(|host| format!(" of `{host}`")).collect::<String>();
                found.push(format!(
                    "the database `{}`{server} may be opened, or with weaker protection",
                    target.database
                ));
            }
        }
        found
    }

    /// Describes the uses of the secret at `pointer` that are not permitted for the secret of `old`
    /// at `origin`.
    pub(crate) fn secret_beyond(&self, pointer: &Pointer, old: &Self, origin: &Pointer) -> Vec<String> {
        let (Some(own), Some(known)) = (self.secret(pointer), old.secret(origin)) else { return Vec::new() };
        let uses = own.uses.beyond(&known.uses).into_iter();
        uses.map(|text| format!("secret `{}`: {text}", pointer.dotted())).collect()
    }

    /// Returns the secret at a location. Secrets of dependencies have longer locations, inside the
    /// fields that refer to them.
    fn secret(&self, pointer: &Pointer) -> Option<&ResolvedSecret> {
        self.block.secrets.iter().find(|secret| secret.pointer == *pointer)
    }

    /// Returns the origins of the requested capabilities, with the fields of the block inserted.
    fn origins(&self, selects: impl Fn(&OriginPattern) -> bool) -> Vec<OriginPattern> {
        let patterns = self.manifest.capabilities.iter().filter_map(|capability| match capability {
            Capability::Http(access) if selects(&access.origin) => Some(&access.origin),
            _ => None,
        });
        patterns.filter_map(|pattern| pattern.expand(&self.block.config)).collect()
    }
}
