//! Reads revisions, and verifies and decrypts them.

use std::collections::BTreeMap;

use blockyard_model::marker::secret_marker;
use blockyard_model::suggestion::did_you_mean;
use blockyard_model::{Address, Digest, Revision, SplitDocument};
use blockyard_store::{BlockFilter, BlockRecord};
use blockyard_vault::{DataKey, SecretContext};
use serde_json::json;

use crate::{Code, Error, ErrorKind, Yard};

/// Maximum number of block names to search for a suggestion.
const CANDIDATES: u32 = 10_000;

impl Yard {
    /// Returns a block's record with a verified seal. The error distinguishes a missing type, block
    /// and revision.
    pub(crate) async fn record(&self, address: &Address, revision: Option<Revision>) -> Result<BlockRecord, Error> {
        match self.store().block(address, revision).await? {
            Some(record) => {
                self.check_seal(&record).await?;
                Ok(record)
            }
            None => Err(self.missing(address, revision).await),
        }
    }

    /// Like [`record`](Self::record), but returns an error for a deleted block.
    pub(crate) async fn live_record(
        &self,
        address: &Address,
        revision: Option<Revision>,
    ) -> Result<BlockRecord, Error> {
        let record = self.record(address, revision).await?;
        if record.deleted_at.is_some() { Err(deleted(address)) } else { Ok(record) }
    }

    /// Returns the error that explains why the block or the revision does not exist.
    pub(crate) async fn missing(&self, address: &Address, revision: Option<Revision>) -> Error {
        match self.missing_reason(address, revision).await {
            Ok(why) | Err(why) => why,
        }
    }

    async fn missing_reason(&self, address: &Address, revision: Option<Revision>) -> Result<Error, Error> {
        if let Some(revision) = revision
            && let Some(record) = self.store().block(address, None).await?
        {
            let message = format!("block `{address}` has no revision {revision}; its newest is {}", record.newest);
            return Ok(Error::new(ErrorKind::NotFound, message));
        }
        self.block_type(&address.type_slug).await?;
        let hint = self.nearest_block(address).await?;
        Ok(Error::new(ErrorKind::NotFound, format!("block `{address}` not found"))
            .maybe_hint(hint)
            .details(json!({ "address": address.to_string() })))
    }

    /// Returns a "did you mean" hint with the most similar address.
    pub(crate) async fn nearest_block(&self, address: &Address) -> Result<Option<String>, Error> {
        let some = BlockFilter { limit: Some(CANDIDATES), ..BlockFilter::default() };
        let own_type = BlockFilter { types: Some(vec![address.type_slug.to_string()]), ..some.clone() };
        let mut known = Vec::new();
        for filter in [own_type, some] {
            known.extend(self.store().blocks(&filter).await?.into_iter().map(|block| block.address.to_string()));
        }
        Ok(did_you_mean(&address.to_string(), known.iter().map(String::as_str)))
    }

    /// Verifies the seal of a revision, so that a revision that was not written by Blockyard is
    /// rejected: with a modified `host`, the password would be sent to that host.
    pub(crate) async fn check_seal(&self, record: &BlockRecord) -> Result<DataKey, Error> {
        let data_key = self.data_key(record).await?;
        let content = SealedContent::of(record).digest();
        data_key
            .check_content(self.id(), &record.address, record.revision, &content, &record.seal)
            .map_err(|_| changed_outside(&record.address, record.revision))?;
        Ok(data_key)
    }

    /// Unwraps the data key of a block.
    pub(crate) async fn data_key(&self, record: &BlockRecord) -> Result<DataKey, Error> {
        let wrapped = record.data_key.as_deref().ok_or_else(|| changed_outside(&record.address, record.revision))?;
        let key = self.key(&record.key_id).await?;
        Ok(key.unwrap(self.id(), &record.address, wrapped)?)
    }

    /// Opens a revision: verifies its seal and decrypts its secrets.
    pub(crate) async fn unseal(&self, record: &BlockRecord) -> Result<SplitDocument, Error> {
        let data_key = self.check_seal(record).await?;
        let mut secrets = BTreeMap::new();
        for (pointer, sealed) in &record.secrets {
            // A sealed value without a marker in the sealed configuration does not belong to the
            // block.
            if record.config.pointer(pointer.as_str()) != Some(&secret_marker(pointer)) {
                return Err(changed_outside(&record.address, record.revision));
            }
            let context =
                SecretContext { yard: self.id(), address: &record.address, revision: record.revision, pointer };
            secrets.insert(pointer.clone(), data_key.open(&context, sealed)?);
        }
        let document = SplitDocument { config: record.config.clone(), secrets };
        // Only a purge removes secrets.
        if record.purges == 0 && !document.missing_secrets().is_empty() {
            return Err(changed_outside(&record.address, record.revision));
        }
        Ok(document)
    }
}

/// The content that the seal of a revision covers.
pub(crate) struct SealedContent<'a> {
    /// Digest of the bundle that validated the revision.
    pub(crate) bundle: Digest,
    /// Checksum of the block type.
    pub(crate) checksum: Digest,
    /// Stored text of the configuration. A serialization of the parsed document would depend on the
    /// version and the features of `serde_json` in the build.
    pub(crate) config: &'a str,
    pub(crate) author: &'a str,
    pub(crate) origin: Option<&'a str>,
    pub(crate) reason: Option<&'a str>,
}

impl<'a> SealedContent<'a> {
    pub(crate) fn of(record: &'a BlockRecord) -> Self {
        Self {
            bundle: record.bundle,
            checksum: record.checksum,
            config: &record.config_text,
            author: &record.author,
            origin: record.origin.as_deref(),
            reason: record.reason.as_deref(),
        }
    }

    /// Returns the digest that is sealed. A revision of an earlier format has neither an origin nor a
    /// reason, and its seal does not cover the author. No content has both forms: the first line of
    /// that form is a digest.
    pub(crate) fn digest(&self) -> Digest {
        let Self { bundle, checksum, config, author, origin, reason } = self;
        if origin.is_none() && reason.is_none() {
            return Digest::of(format!("{bundle}\n{checksum}\n{config}").as_bytes());
        }
        let mut text = format!("revision 2\n{bundle}\n{checksum}\n");
        // Each part is preceded by its length, so that different parts never have the same encoding.
        for part in [Some(*author), *origin, *reason] {
            match part {
                Some(part) => text.push_str(&format!("{}:{part}\n", part.len())),
                None => text.push_str("-\n"),
            }
        }
        text.push_str(config);
        Digest::of(text.as_bytes())
    }
}

pub(crate) fn deleted(address: &Address) -> Error {
    Error::new(ErrorKind::NotFound, format!("block `{address}` is deleted"))
        .code(Code::Deleted { address: address.clone() })
}

pub(crate) fn changed_outside(address: &Address, revision: Revision) -> Error {
    Error::new(
        ErrorKind::Denied,
        format!("block `{address}@{revision}` was modified by a program other than Blockyard"),
    )
    .hint("restore the yard from a backup, and find out which program modified it")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(config: &str) -> SealedContent<'_> {
        let (bundle, checksum) = (Digest::of(b"bundle"), Digest::of(b"type"));
        SealedContent { bundle, checksum, config, author: "ada@zoo", origin: None, reason: None }
    }

    fn digest(config: &str) -> Digest {
        content(config).digest()
    }

    /// Pins the digest: a build with the `serde_json` features `preserve_order` or
    /// `arbitrary_precision` must produce the same value.
    #[test]
    fn the_seal_covers_the_stored_text() {
        let stored = r#"{"b":1.0,"a":1e3,"n":18446744073709551615,"t":"\u00e9é/"}"#;
        let expected = format!("{}\n{}\n{stored}", Digest::of(b"bundle"), Digest::of(b"type"));
        assert_eq!(digest(stored), Digest::of(expected.as_bytes()));
        assert_eq!(digest(stored).to_string(), "5fc8ad0f495f9c1e5d83645932e27db0df4c170a9da3c95cc294ad150eb18553");
    }

    /// Different spellings of the same document are different content.
    #[test]
    fn another_spelling_of_the_same_document_breaks_the_seal() {
        let spellings = [
            r#"{"a":1,"b":2}"#,
            r#"{"b":2,"a":1}"#,
            r#"{"a": 1,"b":2}"#,
            r#"{"\u0061":1,"b":2}"#,
            "{\"a\":1,\"b\":2}\n",
        ];
        let digests: std::collections::BTreeSet<String> =
            spellings.iter().map(|spelling| digest(spelling).to_string()).collect();
        assert_eq!(digests.len(), spellings.len());
    }

    /// Each part of the content changes the digest, also if the text of all parts together is equal.
    #[test]
    fn the_seal_covers_author_origin_and_reason() {
        let set = || SealedContent { origin: Some("set"), reason: Some("why"), ..content("{}") };
        let contents = [
            content("{}"),
            set(),
            SealedContent { author: "eve@zoo", ..set() },
            SealedContent { origin: Some("edit"), ..set() },
            SealedContent { origin: None, ..set() },
            SealedContent { reason: Some("wh"), ..set() },
            SealedContent { reason: Some(""), ..set() },
            SealedContent { reason: None, ..set() },
            SealedContent { origin: Some("set\n3:why"), reason: None, ..set() },
            SealedContent { config: "[]", ..set() },
        ];
        let digests: std::collections::BTreeSet<String> =
            contents.iter().map(|content| content.digest().to_string()).collect();
        assert_eq!(digests.len(), contents.len());
        let expected =
            format!("revision 2\n{}\n{}\n7:ada@zoo\n3:set\n3:why\n{{}}", Digest::of(b"bundle"), Digest::of(b"type"));
        assert_eq!(set().digest(), Digest::of(expected.as_bytes()));
    }
}
