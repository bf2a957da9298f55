//! Saving blocks: new ones, and new revisions of old ones.

use std::collections::BTreeMap;

use blockyard_host::Bundle;
use blockyard_model::document::{SECRET_MARKER, handles, source_marker};
use blockyard_model::suggestion::did_you_mean;
use blockyard_model::{
    Address, BlockType, Digest, Pointer, Revision, SealedDocument, SecretSource, SecretValue, Violation,
};
use blockyard_store::{NewRevision, StoreError};
use blockyard_vault::{DataKey, Place};
use serde_json::{Map, Value, json};

use crate::audit::{line, now};
use crate::{Error, ErrorKind, Yard};

/// How often a save is made again because another one came first.
const SAVE_TRIES: u32 = 100;

/// What to save: values, secrets, and what to take away. Fields are named as on a command line,
/// `a.b` for `b` in `a`.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// A document whose members replace those of the block.
    pub document: Option<Value>,
    /// Values as text, read by the type that the schema gives the field.
    pub texts: Vec<(String, String)>,
    /// Values as they are.
    pub values: Vec<(String, Value)>,
    /// Secrets.
    pub secrets: Vec<(String, SecretInput)>,
    /// Fields to take away.
    pub unset: Vec<String>,
}

/// A secret, or where it is read at each call.
#[derive(Debug, Clone)]
pub enum SecretInput {
    /// To be sealed in the yard.
    Value(SecretValue),
    /// Kept as a source.
    Source(SecretSource),
}

impl Yard {
    /// Makes a block: revision 1.
    ///
    /// # Errors
    /// The type is unknown; the name is taken; the document is not valid, with all problems.
    pub async fn create(&self, address: &Address, changes: Changes) -> Result<Revision, Error> {
        let bundle = self.bundle_of_type(&address.type_slug).await?;
        if let Some(taken) = self.store().block(address, None).await? {
            let address = address.clone();
            return Err(if taken.deleted_at.is_some() {
                StoreError::TakenByDeleted(address)
            } else {
                StoreError::Taken(address)
            }
            .into());
        }
        let document = self.checked(&bundle, address, json!({}), changes).await?;
        let data_key = DataKey::generate();
        let sealed = self.seal(&data_key, address, Revision::FIRST, &document);
        let new = self.revision(&bundle, address, Revision::FIRST, &document, &sealed, &data_key)?;
        let detail = json!({ "revision": 1, "bundle": bundle.digest().to_string() });
        self.store().create_block(&new.borrow(), line(self.actor(), "create", address, &detail), now()).await?;
        Ok(Revision::FIRST)
    }

    /// Checks what [`create`](Self::create) would save, and saves nothing.
    ///
    /// # Errors
    /// As `create`.
    pub async fn check_new(&self, address: &Address, changes: Changes) -> Result<(), Error> {
        let bundle = self.bundle_of_type(&address.type_slug).await?;
        self.checked(&bundle, address, json!({}), changes).await.map(drop)
    }

    /// Saves a new revision of a block, made from its newest one: what is not named stays as it
    /// is, secrets too. None where nothing would change.
    ///
    /// With `if_revision`, the newest revision must be that one.
    ///
    /// # Errors
    /// There is no such block; another save came first; the document is not valid.
    pub async fn set(
        &self,
        address: &Address,
        changes: Changes,
        if_revision: Option<Revision>,
    ) -> Result<Option<Revision>, Error> {
        // Whoever names no revision wants these changes on top of whatever is the newest.
        for _ in 0..SAVE_TRIES {
            match self.set_once(address, changes.clone(), if_revision).await {
                Err(error) if if_revision.is_none() && error.kind() == ErrorKind::Conflict => {}
                done => return done,
            }
        }
        self.set_once(address, changes, if_revision).await
    }

    async fn set_once(
        &self,
        address: &Address,
        changes: Changes,
        if_revision: Option<Revision>,
    ) -> Result<Option<Revision>, Error> {
        let record = self.live_record(address, None).await?;
        if let Some(wanted) = if_revision
            && wanted != record.newest
        {
            return Err(StoreError::Moved { address: address.clone(), newest: record.newest }.into());
        }
        let bundle = self.bundle(&record.bundle).await?;
        let before = self.unseal(&record)?;
        let base = plain(&before);
        let document = self.checked(&bundle, address, base, changes).await?;
        if document == before {
            return Ok(None);
        }
        let data_key = self.data_key(&record)?;
        let next = record.newest.next();
        let sealed = self.seal(&data_key, address, next, &document);
        let new = self.revision(&bundle, address, next, &document, &sealed, &data_key)?;
        let detail = json!({ "revision": next.number(), "bundle": bundle.digest().to_string() });
        let saved = self
            .store()
            .save_revision(&new.borrow(), record.newest, line(self.actor(), "set", address, &detail), now())
            .await?;
        Ok(Some(saved))
    }

    /// The document that changes make of a base, checked by schema and bundle.
    async fn checked(
        &self,
        bundle: &Bundle,
        address: &Address,
        base: Value,
        changes: Changes,
    ) -> Result<SealedDocument, Error> {
        let block_type = type_of(bundle, address)?;
        let what = format!("block `{address}`");
        let config = apply(block_type, base, changes)?;
        let document = SealedDocument::split(&block_type.schema, config)
            .map_err(|violations| Error::violations(&what, &violations))?;
        let mut violations = document.violations(&block_type.schema);
        violations.extend(unreadable_sources(&document));
        if violations.is_empty() {
            let sandbox = self.sandbox()?;
            let found = sandbox.validate(bundle, address.type_slug.as_str(), &handles(&document.config)).await?;
            violations.extend(found.into_iter().map(|(pointer, message)| Violation::new(pointer, message)));
        }
        if violations.is_empty() { Ok(document) } else { Err(Error::violations(&what, &violations)) }
    }

    fn seal(
        &self,
        data_key: &DataKey,
        address: &Address,
        revision: Revision,
        document: &SealedDocument,
    ) -> Vec<(Pointer, Vec<u8>)> {
        let yard = &self.store().yard().id;
        document
            .secrets
            .iter()
            .map(|(pointer, secret)| {
                (pointer.clone(), data_key.seal(&Place { yard, address, revision, pointer }, secret))
            })
            .collect()
    }

    fn revision<'a>(
        &self,
        bundle: &Bundle,
        address: &'a Address,
        revision: Revision,
        document: &'a SealedDocument,
        sealed: &'a [(Pointer, Vec<u8>)],
        data_key: &DataKey,
    ) -> Result<OwnedRevision<'a>, Error> {
        let checksum = type_of(bundle, address)?.checksum;
        let content = content_digest(&bundle.digest(), &checksum, &document.config);
        Ok(OwnedRevision {
            address,
            seal: data_key.seal_content(&self.store().yard().id, address, revision, &content),
            bundle: bundle.digest(),
            checksum,
            config: &document.config,
            secrets: sealed,
            data_key: self.key().wrap(&self.store().yard().id, address, data_key),
            key_id: self.key().id().to_string(),
            author: self.actor().to_owned(),
        })
    }
}

/// What a [`NewRevision`] borrows from.
struct OwnedRevision<'a> {
    address: &'a Address,
    seal: Vec<u8>,
    bundle: Digest,
    checksum: Digest,
    config: &'a Value,
    secrets: &'a [(Pointer, Vec<u8>)],
    data_key: Vec<u8>,
    key_id: String,
    author: String,
}

impl OwnedRevision<'_> {
    fn borrow(&self) -> NewRevision<'_> {
        NewRevision {
            address: self.address,
            bundle: self.bundle,
            checksum: self.checksum,
            config: self.config,
            seal: &self.seal,
            secrets: self.secrets,
            data_key: &self.data_key,
            key_id: &self.key_id,
            author: &self.author,
        }
    }
}

/// What the seal of a revision is about: the code that validated it, its type, its configuration.
/// The configuration's members are sorted, so its text is the same wherever it is written.
pub(crate) fn content_digest(bundle: &Digest, checksum: &Digest, config: &Value) -> Digest {
    Digest::of(format!("{bundle}\n{checksum}\n{config}").as_bytes())
}

/// The block's type in its bundle.
pub(crate) fn type_of<'a>(bundle: &'a Bundle, address: &Address) -> Result<&'a BlockType, Error> {
    bundle.manifest().block_type(&address.type_slug).ok_or_else(|| {
        Error::new(
            ErrorKind::Invalid,
            format!("bundle `{}` has no type `{}` any more", bundle.manifest().name, address.type_slug),
        )
    })
}

/// A document with its secrets in place, for changes to be made to. `split` takes them out again.
fn plain(document: &SealedDocument) -> Value {
    let mut config = document.config.clone();
    for (pointer, secret) in &document.secrets {
        if let Some(slot) = config.pointer_mut(pointer.as_str()) {
            *slot = Value::from(secret.expose());
        }
    }
    config
}

fn apply(block_type: &BlockType, mut config: Value, changes: Changes) -> Result<Value, Error> {
    let schema = &block_type.schema;
    match changes.document {
        None => {}
        Some(Value::Object(members)) => {
            for (key, value) in members {
                config[key] = value;
            }
        }
        Some(_) => return Err(Error::new(ErrorKind::Invalid, "a configuration is a JSON object")),
    }
    for field in &changes.unset {
        let pointer = Pointer::from_dotted(field);
        if pointer.remove(&mut config).is_none() {
            return Err(Error::new(ErrorKind::NotFound, format!("the block has no field `{field}` to unset"))
                .maybe_hint(did_you_mean(field, members(&config))));
        }
    }
    let in_the_way = |field: &str, place: Pointer| {
        Error::new(ErrorKind::Invalid, format!("field `{field}` cannot be set: `{place}` is not an object"))
    };
    for (field, text) in &changes.texts {
        let pointer = Pointer::from_dotted(field);
        if schema.is_secret(&pointer) {
            return Err(Error::new(ErrorKind::Usage, format!("field `{field}` is a secret; on a command line it would stay in the shell's history"))
                .hint(format!("use `--secret {field}` to be asked, `--secret {field}=-` for standard input, or `--secret {field}=env:NAME`")));
        }
        let value = schema.parse_value(&pointer, text);
        pointer.set(&mut config, value).map_err(|place| in_the_way(field, place))?;
    }
    for (field, value) in changes.values {
        let pointer = Pointer::from_dotted(&field);
        pointer.set(&mut config, value).map_err(|place| in_the_way(&field, place))?;
    }
    let mut unknown: Vec<Violation> = Vec::new();
    for (field, secret) in changes.secrets {
        let pointer = Pointer::from_dotted(&field);
        if !schema.is_secret(&pointer) {
            let known = block_type.secret_fields();
            let names: Vec<String> = known.iter().map(|place| place.pointer.dotted()).collect();
            unknown.push(Violation {
                message: format!("is not a secret field of `{}`", block_type.slug),
                hint: did_you_mean(&field, names.iter().map(String::as_str)).or_else(|| match names.as_slice() {
                    [] => Some("the type has no secret fields".to_owned()),
                    names => Some(format!("secret fields: `{}`", names.join("`, `"))),
                }),
                pointer,
            });
            continue;
        }
        let value = match secret {
            SecretInput::Value(value) => Value::from(value.expose()),
            SecretInput::Source(source) => source_marker(&source),
        };
        pointer.set(&mut config, value).map_err(|place| in_the_way(&field, place))?;
    }
    if unknown.is_empty() { Ok(config) } else { Err(Error::violations("the list of secrets", &unknown)) }
}

fn members(config: &Value) -> impl Iterator<Item = &str> {
    config.as_object().into_iter().flat_map(Map::keys).map(String::as_str)
}

/// Sources that no call could read, and markers that only Blockyard writes.
fn unreadable_sources(document: &SealedDocument) -> Vec<Violation> {
    let mut violations: Vec<Violation> = document
        .sources()
        .into_iter()
        .filter(|(_, source)| matches!(source, SecretSource::Block(_)))
        .map(|(pointer, source)| Violation {
            pointer,
            message: format!(
                "`{source}` needs a block that implements `secret-store`, and no installed bundle has one"
            ),
            hint: Some("use `env:NAME` or `file:PATH`".to_owned()),
        })
        .collect();
    let sealed: BTreeMap<&Pointer, ()> = document.secrets.keys().map(|pointer| (pointer, ())).collect();
    violations.extend(
        foreign_markers(&document.config, &Pointer::default())
            .into_iter()
            .filter(|pointer| !sealed.contains_key(pointer))
            .map(|pointer| {
                Violation::new(pointer, format!("`{SECRET_MARKER}` stands for a sealed secret; give the secret itself"))
            }),
    );
    violations
}

fn foreign_markers(value: &Value, pointer: &Pointer) -> Vec<Pointer> {
    match value {
        Value::Object(object) if object.contains_key(SECRET_MARKER) => vec![pointer.clone()],
        Value::Object(object) => {
            object.iter().flat_map(|(key, member)| foreign_markers(member, &pointer.child(key))).collect()
        }
        Value::Array(array) => array
            .iter()
            .enumerate()
            .flat_map(|(index, element)| foreign_markers(element, &pointer.child(&index.to_string())))
            .collect(),
        _ => Vec::new(),
    }
}
