//! Saves new blocks and new revisions.

use std::collections::BTreeSet;

use blockyard_host::Bundle;
use blockyard_model::marker::{handles, source_marker};
use blockyard_model::schema::secret_fields;
use blockyard_model::suggestion::did_you_mean;
use blockyard_model::{
    Address, BlockType, PinnedAddress, PlainDocument, Pointer, Reason, Reference, Revision, RevisionOrigin,
    SecretSource, SecretValue, SetName, SplitDocument, Violation,
};
use blockyard_store::{BlockRecord, NewRevision, StoreError, WrappedKey};
use blockyard_vault::{DataKey, SecretContext};
use serde_json::{Map, Value, json};

use crate::call::run_blocking;
use crate::connection_url;
use crate::key::is_moved;
use crate::merge::Merge;
use crate::reference::type_of;
use crate::revision::SealedContent;
use crate::secret_source::unusable_sources;
use crate::{Error, ErrorKind, Yard};

/// Maximum number of attempts to save a block when other writers save it concurrently.
const MAX_SAVE_ATTEMPTS: u32 = 1_000;

/// Changes to a block's document. Fields and secrets that the patch does not name are retained.
#[derive(Debug, Clone, Default)]
pub struct Patch {
    /// Document that is merged into the block's configuration, object by object. Lists are
    /// replaced. It may contain secrets.
    pub document: Option<PlainDocument>,
    /// Fields to remove.
    pub unset: Vec<Pointer>,
    /// Values of fields, as JSON. Objects are merged as in `document`.
    pub set: Vec<(Pointer, Value)>,
    /// Secrets.
    pub secrets: Vec<(Pointer, SecretInput)>,
}

/// A secret, or a source from which it is read on each call.
#[derive(Debug, Clone)]
pub enum SecretInput {
    /// Value to be sealed in the yard.
    Value(SecretValue),
    /// Source to be stored instead of a value.
    Source(SecretSource),
}

impl Yard {
    /// Creates a block with revision 1.
    ///
    /// # Errors
    /// Returns an error if the block type is not installed, if the name is taken, or, with all
    /// violations, if the document is invalid.
    pub async fn create(&self, address: &Address, patch: Patch) -> Result<Revision, Error> {
        let bundle = self.bundle_of_type(&address.type_slug).await?;
        self.check_free(address).await?;
        let document = self.changed(&bundle, address, &SplitDocument::default(), patch)?;
        self.check_document(&bundle, address, &document).await?;
        self.insert(&bundle, address, &document, &RevisionOrigin::Create).await
    }

    /// Creates a block with the configuration and the secrets of another block of its type, and with
    /// changes to them.
    ///
    /// # Errors
    /// Returns an error if the original does not exist, is deleted, has another type or uses another
    /// version of the bundle than new blocks do, if the name is taken, or if the document is invalid.
    pub async fn copy(&self, original: &PinnedAddress, address: &Address, patch: Patch) -> Result<Revision, Error> {
        let PinnedAddress { address: from, revision } = original;
        if from.type_slug != address.type_slug {
            let message = format!("`{address}` does not have the type of `{from}`");
            return Err(Error::new(ErrorKind::Usage, message)
                .hint(format!("a copy keeps its type: `{}/{}`", from.type_slug, address.name)));
        }
        let record = self.live_record(from, *revision).await?;
        let bundle = self.bundle_of_type(&address.type_slug).await?;
        if bundle.digest() != record.bundle {
            let message = format!("block `{original}` uses another version of its bundle than new blocks do");
            return Err(Error::new(ErrorKind::Conflict, message)
                .maybe_hint(self.older_bundle_hint(&record.bundle, from).await)
                .hint("upgrade the blocks of the bundle first"));
        }
        self.check_free(address).await?;
        let before = self.unseal(&record).await?;
        let document = self.changed(&bundle, address, &before, patch)?;
        self.check_document(&bundle, address, &document).await?;
        let copied = PinnedAddress { address: from.clone(), revision: Some(record.revision) };
        self.insert(&bundle, address, &document, &RevisionOrigin::Copy(copied)).await
    }

    /// Checks that no block has this address, and that no deleted block had it.
    ///
    /// # Errors
    /// Returns an error if the name is taken.
    pub async fn check_free(&self, address: &Address) -> Result<(), Error> {
        let Some(taken) = self.store().block(address, None).await? else { return Ok(()) };
        let address = address.clone();
        let error =
            if taken.deleted_at.is_some() { StoreError::TakenByDeleted(address) } else { StoreError::Taken(address) };
        Err(error.into())
    }

    /// Validates the block that [`create`](Self::create) would save, without saving it.
    ///
    /// # Errors
    /// Same as [`create`](Self::create), except for a name that is taken.
    pub async fn check_new(&self, address: &Address, patch: Patch) -> Result<(), Error> {
        let bundle = self.bundle_of_type(&address.type_slug).await?;
        let document = self.changed(&bundle, address, &SplitDocument::default(), patch)?;
        self.check_document(&bundle, address, &document).await
    }

    /// Saves a new revision with changes to the newest one. Fields and secrets that the changes do
    /// not name are retained. Returns `None` if nothing would change.
    ///
    /// With `if_revision`, the newest revision must have that number. Without it, the changes are
    /// applied to the newest revision at the time of the save.
    ///
    /// # Errors
    /// Returns an error if the block does not exist, if another revision was saved first, or if the
    /// document is invalid.
    pub async fn set(
        &self,
        address: &Address,
        patch: Patch,
        if_revision: Option<Revision>,
    ) -> Result<Option<Revision>, Error> {
        self.saving(async || {
            let newest = self.live_record(address, None).await?;
            if let Some(expected) = if_revision
                && expected != newest.newest
            {
                return Err(StoreError::Moved { address: address.clone(), newest: newest.newest }.into());
            }
            let bundle = self.bundle(&newest.bundle).await?;
            let before = self.unseal(&newest).await?;
            // A secret that the change replaces may still be in use elsewhere.
            self.check_reason(&before)?;
            let checked = async {
                let document = self.changed(&bundle, address, &before, patch.clone())?;
                if document != before {
                    self.check_document(&bundle, address, &document).await?;
                }
                Ok::<_, Error>(document)
            };
            let document = match checked.await {
                Ok(document) => document,
                Err(error) => return Err(error.maybe_hint(self.older_bundle_hint(&newest.bundle, address).await)),
            };
            if document == before {
                return Ok(Some(None));
            }
            let saved = self.save(&newest, &bundle, &document, &RevisionOrigin::Set).await?;
            Ok(saved.map(Some))
        })
        .await
    }

    /// Retries a save until no concurrent save conflicts with it. `save` returns `None` on a
    /// conflict.
    pub(crate) async fn saving<T>(&self, save: impl AsyncFn() -> Result<Option<T>, Error>) -> Result<T, Error> {
        for _ in 0..MAX_SAVE_ATTEMPTS {
            if let Some(saved) = save().await? {
                return Ok(saved);
            }
        }
        Err(Error::new(
            ErrorKind::Conflict,
            format!("too many conflicting writes; gave up after {MAX_SAVE_ATTEMPTS} attempts"),
        )
        .hint("try again"))
    }

    /// Applies changes to a document and returns the result, with its secrets separated.
    pub(crate) fn changed(
        &self,
        bundle: &Bundle,
        address: &Address,
        before: &SplitDocument,
        patch: Patch,
    ) -> Result<SplitDocument, Error> {
        let block_type = type_of(bundle.manifest(), address)?;
        let mut plain = before.plain();
        if plain.0.is_null() {
            plain.0 = json!({});
        }
        let merge = apply(block_type, &mut plain, patch)?;
        let invalid = |violations: Vec<Violation>| Error::violations(&format!("block `{address}`"), &violations);
        let document = SplitDocument::split(&block_type.schema, plain).map_err(invalid)?;
        let (document, unclear) = merge.finish(document, before, &block_type.schema);
        if unclear.is_empty() { Ok(document) } else { Err(invalid(unclear)) }
    }

    /// Validates a document against its schema, references and bundle. The error lists all
    /// violations.
    pub(crate) async fn check_document(
        &self,
        bundle: &Bundle,
        address: &Address,
        document: &SplitDocument,
    ) -> Result<(), Error> {
        let violations = self.problems(bundle, address, document, None).await?;
        if violations.is_empty() { Ok(()) } else { Err(Error::violations(&format!("block `{address}`"), &violations)) }
    }

    /// Returns all violations of a document. `planned` lists the blocks of the same block file,
    /// which count as existing; cycles among them are detected by the plan.
    pub(crate) async fn problems(
        &self,
        bundle: &Bundle,
        address: &Address,
        document: &SplitDocument,
        planned: Option<&BTreeSet<Address>>,
    ) -> Result<Vec<Violation>, Error> {
        let block_type = type_of(bundle.manifest(), address)?;
        let mut violations = self.violations(bundle, address, document).await?;
        violations.extend(unusable_sources(document));
        violations.extend(self.check_references(address, &document.references(&block_type.schema), planned).await?);
        if violations.is_empty() {
            let found =
                self.sandbox()?.validate(bundle, address.type_slug.as_str(), &handles(&document.config)).await?;
            violations.extend(found.into_iter().map(|(pointer, message)| Violation::new(pointer, message)));
        }
        violations.sort_by(|a, b| a.pointer.cmp(&b.pointer));
        Ok(violations)
    }

    /// Validates a document against its schema, which the bundle controls. A slow validation runs
    /// on a thread for blocking tasks.
    async fn violations(
        &self,
        bundle: &Bundle,
        address: &Address,
        document: &SplitDocument,
    ) -> Result<Vec<Violation>, Error> {
        let schema = &type_of(bundle.manifest(), address)?.schema;
        if schema.is_quick(&document.config) {
            return Ok(document.violations(schema));
        }
        let (bundle, address, document) = (bundle.clone(), address.clone(), document.clone());
        run_blocking(move || Ok(document.violations(&type_of(bundle.manifest(), &address)?.schema))).await
    }

    /// Saves revision 1 of a block with a validated document.
    pub(crate) async fn insert(
        &self,
        bundle: &Bundle,
        address: &Address,
        document: &SplitDocument,
        origin: &RevisionOrigin,
    ) -> Result<Revision, Error> {
        let data_key = DataKey::generate();
        let sealed = SealedRevision::new(self, bundle, address, Revision::FIRST, document, &data_key, origin)?;
        let detail = detail(origin, bundle, Revision::FIRST);
        let set = match origin {
            RevisionOrigin::Apply(set) => set.as_ref().map(SetName::as_str),
            _ => None,
        };
        for _ in 0..MAX_SAVE_ATTEMPTS {
            let key = self.keys().current();
            let wrapped = key.wrap(self.id(), address, &data_key);
            let key_id = key.id().to_string();
            let wrapped = WrappedKey { data_key: &wrapped, key_id: &key_id };
            let done = self.line_of_change("create", address, detail.clone());
            match self.store().create_block(&sealed.borrow(), &wrapped, set, done).await {
                Ok(()) => return Ok(Revision::FIRST),
                Err(error) if is_moved(&error) => self.load_keys().await?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::KeyMoved.into())
    }

    /// Saves the next revision of a block with a validated document. Returns `None` if another
    /// revision was saved first.
    pub(crate) async fn save(
        &self,
        newest: &BlockRecord,
        bundle: &Bundle,
        document: &SplitDocument,
        origin: &RevisionOrigin,
    ) -> Result<Option<Revision>, Error> {
        let address = &newest.address;
        let next = newest.newest.next();
        let data_key = self.data_key(newest).await?;
        let sealed = SealedRevision::new(self, bundle, address, next, document, &data_key, origin)?;
        let action = if matches!(origin, RevisionOrigin::Rollback(_)) { "rollback" } else { "set" };
        let done = self.line_of_change(action, address, detail(origin, bundle, next));
        match self.store().save_revision(&sealed.borrow(), newest, done).await {
            Ok(saved) => Ok(Some(saved)),
            Err(StoreError::Moved { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Returns the details of the line of the audit trail about a revision.
fn detail(origin: &RevisionOrigin, bundle: &Bundle, revision: Revision) -> Value {
    let mut detail = match origin {
        RevisionOrigin::Copy(original) => json!({ "copied_from": original.to_string() }),
        RevisionOrigin::Rollback(revision) => json!({ "from": revision.number() }),
        RevisionOrigin::Apply(Some(set)) => json!({ "by": origin.action(), "set": set.as_str() }),
        RevisionOrigin::Create | RevisionOrigin::Set => json!({}),
        other => json!({ "by": other.action() }),
    };
    detail["revision"] = json!(revision.number());
    detail["bundle"] = json!(bundle.digest().to_string());
    detail
}

/// A sealed revision. Owns the data that a [`NewRevision`] borrows.
pub(crate) struct SealedRevision<'a> {
    address: &'a Address,
    bundle: blockyard_model::Digest,
    checksum: blockyard_model::Digest,
    /// The sealed and stored text of the configuration.
    config: String,
    seal: Vec<u8>,
    secrets: Vec<(Pointer, Vec<u8>)>,
    references: Vec<Reference>,
    author: &'a str,
    origin: String,
    reason: Option<&'a str>,
}

impl<'a> SealedRevision<'a> {
    /// Seals a revision with the actor and the reason of the handle `yard`.
    ///
    /// # Errors
    /// Returns an error if the reason contains a secret of the document.
    pub(crate) fn new(
        yard: &'a Yard,
        bundle: &Bundle,
        address: &'a Address,
        revision: Revision,
        document: &SplitDocument,
        data_key: &DataKey,
        origin: &RevisionOrigin,
    ) -> Result<Self, Error> {
        yard.check_reason(document)?;
        let block_type = type_of(bundle.manifest(), address)?;
        let config = document.config.to_string();
        let origin = origin.to_string();
        let (author, reason) = (yard.actor(), yard.reason().map(Reason::as_str));
        let content = SealedContent {
            bundle: bundle.digest(),
            checksum: block_type.checksum,
            config: &config,
            author,
            origin: Some(&origin),
            reason,
        };
        let content = content.digest();
        let secrets = document.secrets.iter().map(|(pointer, secret)| {
            (pointer.clone(), data_key.seal(&SecretContext { yard: yard.id(), address, revision, pointer }, secret))
        });
        Ok(Self {
            address,
            bundle: bundle.digest(),
            checksum: block_type.checksum,
            config,
            seal: data_key.seal_content(yard.id(), address, revision, &content),
            secrets: secrets.collect(),
            references: document.references(&block_type.schema),
            author,
            origin,
            reason,
        })
    }

    pub(crate) fn borrow(&self) -> NewRevision<'_> {
        NewRevision {
            address: self.address,
            bundle: self.bundle,
            checksum: self.checksum,
            config: &self.config,
            seal: &self.seal,
            secrets: &self.secrets,
            references: &self.references,
            author: self.author,
            origin: &self.origin,
            reason: self.reason,
        }
    }
}

impl Patch {
    /// Creates a patch that sets top-level fields.
    #[must_use]
    pub fn setting<V: Into<Value>>(fields: impl IntoIterator<Item = (&'static str, V)>) -> Self {
        let set = fields.into_iter().map(|(field, value)| (Pointer::default().child(field), value.into())).collect();
        Self { set, ..Self::default() }
    }

    /// Returns the top-level fields that the patch names.
    fn named(&self) -> BTreeSet<String> {
        let document = self.document.iter().filter_map(|document| document.0.as_object()).flat_map(Map::keys).cloned();
        let pointers = self.set.iter().map(|(field, _)| field).chain(self.secrets.iter().map(|(field, _)| field));
        document.chain(pointers.filter_map(|pointer| pointer.tokens().into_iter().next())).collect()
    }
}

fn apply(block_type: &BlockType, plain: &mut PlainDocument, patch: Patch) -> Result<Merge, Error> {
    let schema = &block_type.schema;
    let named = patch.named();
    let config = &mut plain.0;
    let mut merge = Merge::default();
    if let Some(mut document) = patch.document {
        if !document.0.is_object() {
            return Err(Error::new(ErrorKind::Invalid, "the configuration must be a JSON object"));
        }
        merge
            .put(config, &Pointer::default(), document.0.take())
            .map_err(|_| Error::new(ErrorKind::Invalid, "the configuration must be a JSON object"))?;
    }
    for pointer in &patch.unset {
        if pointer.remove(config).is_none() {
            let field = pointer.dotted();
            return Err(Error::new(ErrorKind::NotFound, format!("the block has no field `{field}` to unset"))
                .maybe_hint(did_you_mean(&field, members(config))));
        }
    }
    let blocked = |field: &Pointer, ancestor: Pointer| {
        let field = field.dotted();
        Error::new(ErrorKind::Invalid, format!("field `{field}` cannot be set: `{ancestor}` is not an object"))
    };
    for (pointer, value) in patch.set {
        merge.put(config, &pointer, value).map_err(|ancestor| blocked(&pointer, ancestor))?;
    }
    connection_url::expand_urls(schema, config, &named)?;
    let mut unknown: Vec<Violation> = Vec::new();
    for (pointer, secret) in patch.secrets {
        if !schema.is_secret(&pointer) {
            let names: Vec<String> = secret_fields(schema.document()).iter().map(Pointer::dotted).collect();
            unknown.push(Violation {
                message: format!("is not a secret field of `{}`", block_type.slug),
                hint: did_you_mean(&pointer.dotted(), names.iter().map(String::as_str)).or_else(|| {
                    match names.as_slice() {
                        [] => Some("the type has no secret fields".to_owned()),
                        names => Some(format!("secret fields: `{}`", names.join("`, `"))),
                    }
                }),
                pointer,
            });
            continue;
        }
        let value = match secret {
            SecretInput::Value(value) => Value::from(value.expose()),
            SecretInput::Source(source) => source_marker(&source),
        };
        pointer.set(config, value).map_err(|ancestor| blocked(&pointer, ancestor))?;
    }
    if unknown.is_empty() { Ok(merge) } else { Err(Error::violations("the list of secrets", &unknown)) }
}

fn members(config: &Value) -> impl Iterator<Item = &str> {
    config.as_object().into_iter().flat_map(Map::keys).map(String::as_str)
}
