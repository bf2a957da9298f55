//! Checks references to other blocks on save, and resolves them when a block is opened.

use std::collections::{BTreeMap, BTreeSet};

use blockyard_model::marker::{secret_marker, source};
use blockyard_model::reference::{self, BLOCK_MARKER, PermittedTarget};
use blockyard_model::{
    Address, BlockType, Locations, Manifest, Pointer, Reference, SecretSource, SecretUse, SecretValue, SplitDocument,
    SqlTarget, Violation,
};
use blockyard_store::{BlockRecord, BlockSummary};
use serde_json::{Value, json};

use crate::revision::deleted;
use crate::{Error, ErrorKind, Yard};

/// Maximum number of nested blocks in a resolved configuration. Bounds graphs in which each level
/// references the next level twice, and which therefore grow exponentially.
const MAX_NESTED_BLOCKS: usize = 1_000;

/// Resolved configuration of a block: its configuration with the configurations of all its
/// dependencies inserted, as seen by a call.
#[derive(Debug, Default)]
pub(crate) struct ResolvedBlock {
    /// Secrets are replaced by `{"$secret": pointer}`; references are replaced by
    /// `{"$block": "TYPE/NAME", "revision": 3, "config": {…}}`.
    pub(crate) config: Value,
    /// Secrets of the block and of all its dependencies.
    pub(crate) secrets: Vec<ResolvedSecret>,
    /// Databases that these configurations name.
    pub(crate) sql: Vec<SqlTarget>,
}

/// A secret of a block or of one of its dependencies.
#[derive(Debug)]
pub(crate) struct ResolvedSecret {
    /// Location of the secret within the resolved configuration.
    pub(crate) pointer: Pointer,
    /// Permitted uses of the secret.
    pub(crate) uses: SecretUse,
    /// Block that owns the secret.
    pub(crate) owner: Address,
    /// Location of the secret within the owner's configuration.
    pub(crate) field: Pointer,
    pub(crate) material: Material,
}

impl ResolvedSecret {
    /// The location of its block within the resolved configuration.
    fn block(&self) -> Pointer {
        Pointer::new(self.pointer.as_str().strip_suffix(self.field.as_str()).unwrap_or_default())
    }
}

/// Source of a secret's value.
#[derive(Debug)]
pub(crate) enum Material {
    Value(SecretValue),
    Source(SecretSource),
    /// The secret was destroyed by `purge`.
    Destroyed,
}

impl Yard {
    /// Returns the violations of a document's references: each target must exist, must not be
    /// deleted, and must match what the field accepts. Blocks in `planned` count as existing; if it
    /// is given, cycles are not checked here.
    pub(crate) async fn check_references(
        &self,
        address: &Address,
        references: &[Reference],
        planned: Option<&BTreeSet<Address>>,
    ) -> Result<Vec<Violation>, Error> {
        if references.is_empty() {
            return Ok(Vec::new());
        }
        let targets: Vec<&Address> =
            references.iter().map(|reference| &reference.target).collect::<BTreeSet<_>>().into_iter().collect();
        let known = self.store().known_blocks(&targets).await?;
        let manifests = self.newest_manifests().await?;
        let mut violations = Vec::new();
        for reference in references {
            let found = known.iter().find(|block| block.address == reference.target);
            let (message, hint) = match self.mismatch(reference, found, planned, &manifests).await? {
                Some(problem) => problem,
                None => continue,
            };
            violations.push(Violation { pointer: reference.pointer.clone(), message, hint });
        }
        if violations.is_empty()
            && planned.is_none()
            && let Some(cycle) = self.store().find_cycle(address, &targets).await?
        {
            let path: Vec<String> = cycle.iter().map(|address| format!("`{address}`")).collect();
            let closing = references.iter().find(|reference| cycle.get(1) == Some(&reference.target));
            violations.push(Violation {
                pointer: closing.map(|reference| reference.pointer.clone()).unwrap_or_default(),
                message: format!("would create a cycle of references: {}", path.join(" → ")),
                hint: None,
            });
        }
        Ok(violations)
    }

    /// Returns the reason why a reference does not match its field, with an optional hint, or
    /// `None` if it does.
    async fn mismatch(
        &self,
        Reference { permitted, target, .. }: &Reference,
        found: Option<&BlockSummary>,
        planned: Option<&BTreeSet<Address>>,
        manifests: &[std::sync::Arc<Manifest>],
    ) -> Result<Option<(String, Option<String>)>, Error> {
        let described = manifests.iter().find_map(|manifest| manifest.block_type(&target.type_slug));
        let fits = permitted.iter().any(|permitted| match permitted {
            PermittedTarget::Type(slug) => target.type_slug == *slug,
            PermittedTarget::Interface(name) => {
                described.is_some_and(|described| described.interfaces.iter().any(|own| own == name))
            }
        });
        let words: Vec<String> = permitted.iter().map(ToString::to_string).collect();
        let words = words.join(" or ");
        Ok(match (found, described) {
            (_, None) if fits || found.is_none() => Some((
                format!("requires {words}; no installed bundle has a block type `{}`", target.type_slug),
                Some("install the bundle that defines it".to_owned()),
            )),
            _ if !fits => {
                let has = described.map(|described| described.interfaces.join("`, `")).unwrap_or_default();
                let interfaces = if has.is_empty() { String::new() } else { format!(", which implements `{has}`") };
                Some((
                    format!("requires {words}; `{target}` is a block of type `{}`{interfaces}", target.type_slug),
                    None,
                ))
            }
            (None, _) if planned.is_some_and(|planned| planned.contains(target)) => None,
            (None, _) => {
                Some((format!("requires {words}; block `{target}` not found"), self.nearest_block(target).await?))
            }
            (Some(block), _) if block.deleted_at.is_some() => Some((
                format!("requires {words}; block `{target}` is deleted"),
                Some(format!("restore `{target}` first")),
            )),
            _ => None,
        })
    }

    /// Resolves a block's document, inserting the configurations of its dependencies.
    pub(crate) async fn resolve_block(
        &self,
        record: &BlockRecord,
        document: &SplitDocument,
        parts: Vec<BlockRecord>,
    ) -> Result<ResolvedBlock, Error> {
        let manifest = self.manifest(&record.bundle).await?;
        self.resolve_as(record, document, &manifest, parts).await
    }

    /// Resolves a document as [`resolve_block`](Self::resolve_block) does, with its type as another
    /// version of the bundle defines it.
    pub(crate) async fn resolve_as(
        &self,
        record: &BlockRecord,
        document: &SplitDocument,
        manifest: &Manifest,
        parts: Vec<BlockRecord>,
    ) -> Result<ResolvedBlock, Error> {
        let mut opened = BTreeMap::new();
        for part in parts {
            let document = self.unseal(&part).await?;
            let manifest = self.manifest(&part.bundle).await?;
            opened.insert(part.address.clone(), Part { record: part, document, manifest });
        }
        let mut assembly = Resolver { opened: &opened, secrets: Vec::new(), sql: Vec::new(), nested_blocks: 0 };
        let config = assembly.put(record, document, manifest, &Pointer::default())?;
        let Resolver { secrets, mut sql, .. } = assembly;
        for target in &mut sql {
            let own = secrets.iter().filter(|secret| target.block.is_within(&secret.block()));
            target.passwords = own.map(|secret| secret.pointer.clone()).collect();
        }
        Ok(ResolvedBlock { config, secrets, sql })
    }
}

/// An opened dependency.
struct Part {
    record: BlockRecord,
    document: SplitDocument,
    manifest: std::sync::Arc<Manifest>,
}

struct Resolver<'a> {
    opened: &'a BTreeMap<Address, Part>,
    secrets: Vec<ResolvedSecret>,
    sql: Vec<SqlTarget>,
    nested_blocks: usize,
}

impl Resolver<'_> {
    /// Resolves a block's configuration for insertion at `at` in the resolved configuration.
    fn put(
        &mut self,
        record: &BlockRecord,
        document: &SplitDocument,
        manifest: &Manifest,
        at: &Pointer,
    ) -> Result<Value, Error> {
        self.nested_blocks += 1;
        if self.nested_blocks > MAX_NESTED_BLOCKS {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("block `{}` expands to more than {MAX_NESTED_BLOCKS} nested blocks", record.address),
            ));
        }
        let block_type = type_of(manifest, &record.address)?;
        let mut config = document.config.clone();
        let Locations { secrets, references, .. } = block_type.schema.locations(&document.config);
        for place in references {
            let Some(slot) = config.pointer_mut(place.pointer.as_str()) else { continue };
            let missing_target = |what: &str| {
                Error::new(
                    ErrorKind::NotFound,
                    format!(
                        "block `{}` depends on `{what}` (field `{}`), which does not exist",
                        record.address,
                        place.pointer.dotted()
                    ),
                )
            };
            let target = reference::target(slot).map_err(|_| missing_target("?"))?;
            let part = self.opened.get(&target).ok_or_else(|| missing_target(&target.to_string()))?;
            if part.record.deleted_at.is_some() {
                return Err(deleted(&target).because(format!(
                    "block `{}` depends on it (field `{}`)",
                    record.address,
                    place.pointer.dotted()
                )));
            }
            let inner = at.join(&place.pointer).child("config");
            let config = self.put(&part.record, &part.document, &part.manifest, &inner)?;
            *slot = json!({
                BLOCK_MARKER: target.to_string(),
                "revision": part.record.revision.number(),
                "config": config,
            });
        }
        self.sql.extend(SqlTarget::of(&block_type.schema, &config, at));
        for place in secrets {
            // Fields in an origin template refer to the block that owns the secret and to its
            // dependencies, never to a block that depends on it.
            let uses = place.uses.expand(&config);
            let Some(slot) = config.pointer_mut(place.pointer.as_str()) else { continue };
            if slot.is_null() {
                continue;
            }
            let material = match (document.secrets.get(&place.pointer), source(slot)) {
                (Some(value), _) => Material::Value(value.clone()),
                (None, Some(source)) => Material::Source(source),
                (None, None) => Material::Destroyed,
            };
            let pointer = at.join(&place.pointer);
            *slot = secret_marker(&pointer);
            self.secrets.push(ResolvedSecret {
                pointer,
                uses,
                owner: record.address.clone(),
                field: place.pointer,
                material,
            });
        }
        Ok(config)
    }
}

/// Returns the block's type, as defined in its bundle.
pub(crate) fn type_of<'a>(manifest: &'a Manifest, address: &Address) -> Result<&'a BlockType, Error> {
    manifest.block_type(&address.type_slug).ok_or_else(|| {
        Error::new(
            ErrorKind::Invalid,
            format!("bundle `{}` no longer has a block type `{}`", manifest.name, address.type_slug),
        )
    })
}
