//! Converts one block to another version of its bundle: runs `migrate`, moves the secrets, adds the
//! values that the user supplies, and validates the result. Saves nothing.

use std::collections::BTreeSet;

use blockyard_host::{Bundle, HostError, Migrated};
use blockyard_model::marker::handles;
use blockyard_model::migration::MigratedDocument;
use blockyard_model::{Address, BlockType, Manifest, Pointer, Purpose, Reference, SplitDocument, Violation};
use blockyard_store::BlockRecord;
use serde::{Deserialize, Serialize};

use crate::compare::{FieldChange, compare};
use crate::reach::Reach;
use crate::reference::type_of;
use crate::{Error, ErrorKind, Patch, Yard};

/// Result of converting a block.
#[derive(Debug, Default, Clone)]
pub(crate) struct Conversion {
    /// The converted document. It is not saved if there are problems.
    pub(crate) document: SplitDocument,
    /// Description of the conversion.
    pub(crate) report: ConversionReport,
    /// `true` if the bundle crashed or exceeded a limit.
    pub(crate) crashed: bool,
}

/// Description of a conversion, for the user. Contains no secret.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConversionReport {
    /// Changed fields. A field that is removed without a successor is listed as removed, with its
    /// value.
    pub changes: Vec<FieldChange>,
    /// Secrets that move to another field.
    pub moved: Vec<MovedSecret>,
    /// Explanations by the bundle.
    pub notes: Vec<String>,
    /// Additional servers and databases that the block permits to the bundle, and additional uses of
    /// its secrets. They require the user's agreement.
    pub wider: Vec<String>,
    /// Reasons why the block cannot be converted.
    pub problems: Vec<ConversionProblem>,
}

/// A secret that moves to another field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedSecret {
    /// Dotted path of the field before the conversion.
    pub from: String,
    /// Dotted path of the field after it.
    pub to: String,
}

/// Reason why a block cannot be converted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversionProblem {
    /// JSON Pointer of the field; empty if the problem concerns the block as a whole.
    pub pointer: String,
    /// Description of the problem.
    pub message: String,
    /// Suggested action.
    pub hint: Option<String>,
}

impl From<Violation> for ConversionProblem {
    fn from(violation: Violation) -> Self {
        Self { pointer: violation.pointer.as_str().to_owned(), message: violation.message, hint: violation.hint }
    }
}

/// A block and its dependencies, as stored.
pub(crate) struct StoredBlock {
    pub(crate) record: BlockRecord,
    pub(crate) dependencies: Vec<BlockRecord>,
}

impl Yard {
    /// Converts a block to the version of its type in `bundle`, with the values of `supplied`.
    /// Problems of the block are part of the result.
    ///
    /// # Errors
    /// Returns an error if the block cannot be opened, or if the yard cannot be read.
    pub(crate) async fn convert(
        &self,
        stored: &StoredBlock,
        bundle: &Bundle,
        supplied: Option<&Patch>,
    ) -> Result<Conversion, Error> {
        let address = &stored.record.address;
        let old = self.manifest(&stored.record.bundle).await?;
        let (old_type, new_type) = (type_of(&old, address)?, type_of(bundle.manifest(), address)?);
        let before = self.unseal(&stored.record).await?;
        let mut conversion = Conversion::default();
        let Some(migrated) = self.migrate(bundle, old_type, new_type, &before, &mut conversion).await? else {
            return Ok(conversion);
        };
        // A block that is only the source of a secret is not a reference.
        let key = |reference: &Reference| (reference.purpose == Purpose::Configuration, reference.target.clone());
        let known: BTreeSet<(bool, Address)> = before.references(&old_type.schema).iter().map(key).collect();
        let added = migrated.document.references(&new_type.schema);
        let added = added.into_iter().filter(|reference| !known.contains(&key(reference)));
        conversion.problems(added.map(|reference| {
            let message = format!(
                "the migration refers to block `{}`, which the block did not reference; only a user can add it",
                reference.target
            );
            Violation::new(reference.pointer, message)
        }));
        if !conversion.report.problems.is_empty() {
            return Ok(conversion);
        }
        let supplied = supplied.cloned().unwrap_or_default();
        let document = match self.changed(bundle, address, &migrated.document, supplied) {
            Ok(document) => document,
            Err(error) if error.kind() == ErrorKind::Internal => return Err(error),
            Err(error) => {
                conversion.report.problems.extend(problems_of(&error));
                return Ok(conversion);
            }
        };
        match self.problems(bundle, address, &document, None).await {
            Ok(violations) => conversion.problems(violations),
            Err(error) if error.kind() == ErrorKind::Bundle => {
                conversion.crashed = true;
                conversion.report.problems.extend(problems_of(&error));
            }
            Err(error) => return Err(error),
        }
        conversion.problems(self.broken_references(address, (old_type, new_type), bundle).await?);
        conversion.compare(&before, &document, &migrated);
        if conversion.report.problems.is_empty() {
            let manifests = (&*old, bundle.manifest());
            conversion.report.wider = self.additional_reach(stored, (&before, &document), manifests, &migrated).await?;
        }
        conversion.document = document;
        Ok(conversion)
    }

    /// Runs `migrate` if the version of the type differs, and moves the secrets. Returns `None` if
    /// that fails; the problems are added to the conversion.
    async fn migrate(
        &self,
        bundle: &Bundle,
        old_type: &BlockType,
        new_type: &BlockType,
        before: &SplitDocument,
        conversion: &mut Conversion,
    ) -> Result<Option<MigratedDocument>, Error> {
        let config = handles(&before.config);
        // A configuration of a later version stays as it is, and is valid only if nothing changed.
        let migrated = if new_type.version > old_type.version {
            let migrated = self.sandbox()?.migrate(bundle, new_type.slug.as_str(), old_type.version, &config).await;
            match migrated {
                Ok(Migrated { config, notes }) => {
                    conversion.report.notes = notes;
                    config
                }
                Err(HostError::Problem(problem)) => {
                    let hint = problem.hint;
                    let problem = Violation { pointer: Pointer::default(), message: problem.message, hint };
                    conversion.problems([problem]);
                    return Ok(None);
                }
                Err(error) => {
                    let error = Error::from(error);
                    if error.kind() != ErrorKind::Bundle {
                        return Err(error);
                    }
                    conversion.crashed = true;
                    conversion.report.problems.extend(problems_of(&error));
                    return Ok(None);
                }
            }
        } else {
            config
        };
        match MigratedDocument::new(before, &new_type.schema, migrated) {
            Ok(migrated) => Ok(Some(migrated)),
            Err(violations) => {
                conversion.problems(violations);
                Ok(None)
            }
        }
    }

    /// Describes what the converted document permits to the bundle, and the stored one does not.
    async fn additional_reach(
        &self,
        stored: &StoredBlock,
        (before, after): (&SplitDocument, &SplitDocument),
        (old, new): (&Manifest, &Manifest),
        migrated: &MigratedDocument,
    ) -> Result<Vec<String>, Error> {
        let record = &stored.record;
        let old_parts = stored.dependencies.clone();
        let new_parts = self.dependencies(stored, after, new).await?;
        let old = Reach { manifest: old, block: &self.resolve_as(record, before, old, old_parts).await? };
        let new = Reach { manifest: new, block: &self.resolve_as(record, after, new, new_parts).await? };
        let mut found = new.beyond(&old);
        for (pointer, origin) in &migrated.origins {
            // A secret that the user supplies is not the one that was moved.
            let moved = (migrated.document.secrets.get(pointer), migrated.document.config.pointer(pointer.as_str()));
            if moved == (after.secrets.get(pointer), after.config.pointer(pointer.as_str())) {
                found.extend(new.secret_beyond(pointer, &old, origin));
            }
        }
        Ok(found.into_iter().map(|text| format!("`{}`: {text}", record.address)).collect())
    }

    /// Returns the blocks that a converted document depends on. Those that the stored document does
    /// not reference are read.
    async fn dependencies(
        &self,
        stored: &StoredBlock,
        document: &SplitDocument,
        manifest: &Manifest,
    ) -> Result<Vec<BlockRecord>, Error> {
        let mut found = stored.dependencies.clone();
        for reference in document.references(&type_of(manifest, &stored.record.address)?.schema) {
            if found.iter().any(|record| record.address == reference.target) {
                continue;
            }
            if let Some((own, parts)) = self.store().block_with_dependencies(&reference.target, None).await? {
                let known: BTreeSet<Address> = found.iter().map(|record| record.address.clone()).collect();
                found.extend(parts.into_iter().chain([own]).filter(|record| !known.contains(&record.address)));
            }
        }
        Ok(found)
    }
}

impl Conversion {
    fn problems(&mut self, violations: impl IntoIterator<Item = Violation>) {
        self.report.problems.extend(violations.into_iter().map(ConversionProblem::from));
    }

    /// Lists the changed fields and the moved secrets.
    fn compare(&mut self, before: &SplitDocument, after: &SplitDocument, migrated: &MigratedDocument) {
        let moved = migrated.moved();
        // A secret that is still in its old field, too, is listed as an additional field.
        let gone = |origin: &Pointer| {
            before.config.pointer(origin.as_str()).is_some() && after.config.pointer(origin.as_str()).is_none()
        };
        let renamed: Vec<&(Pointer, Pointer)> = moved.iter().filter(|(origin, _)| gone(origin)).collect();
        let is_listed = |change: &FieldChange| {
            renamed.iter().any(|(from, to)| change.secret && [from.dotted(), to.dotted()].contains(&change.field))
        };
        self.report.changes = compare(before, after).into_iter().filter(|change| !is_listed(change)).collect();
        let moves = renamed.iter().map(|(from, to)| MovedSecret { from: from.dotted(), to: to.dotted() });
        self.report.moved = moves.collect();
    }
}

/// Returns the problems that an error describes: its violations, or its message and causes.
fn problems_of(error: &Error) -> Vec<ConversionProblem> {
    let listed = error.values().filter(|_| error.kind() == ErrorKind::Invalid);
    let listed = listed.and_then(|values| serde_json::from_value::<Vec<ConversionProblem>>(values).ok());
    listed.unwrap_or_else(|| {
        let mut message = vec![error.to_string()];
        message.extend(error.causes());
        let hint = error.hints().first().cloned();
        vec![ConversionProblem { pointer: String::new(), message: message.join(": "), hint }]
    })
}
