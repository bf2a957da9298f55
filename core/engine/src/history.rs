//! Lists, compares and rolls back the revisions of a block.

use std::collections::BTreeMap;

use blockyard_model::{Address, PinnedAddress, Revision};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::compare::{FieldChange, compare};
use crate::time::timestamp;
use crate::{Error, ErrorKind, Yard};

/// A revision in the history of a block.
#[derive(Debug, Clone, Serialize)]
pub struct RevisionView {
    /// Revision number.
    pub revision: u64,
    /// Time at which the revision was saved.
    pub saved_at: Timestamp,
    /// User who saved the revision.
    pub author: String,
    /// Version of the bundle that validated the revision.
    pub bundle_version: String,
    /// Command that saved the revision, such as `create`, `set` or `rollback`. `None` if the audit
    /// trail contains no line for it.
    pub action: Option<String>,
    /// Revision whose content was restored. Omitted if the revision is not a rollback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback_of: Option<u64>,
    /// Dotted paths of the fields that differ from the previous revision.
    pub changed: Vec<String>,
}

/// Details of the save of one revision, from the audit trail.
#[derive(Debug, Default, Clone)]
struct Saved {
    action: Option<String>,
    rollback_of: Option<u64>,
}

/// Differences between two revisions or two blocks.
#[derive(Debug, Clone, Serialize)]
pub struct DiffView {
    /// First revision, `TYPE/NAME@N`.
    pub before: String,
    /// Second revision, `TYPE/NAME@N`.
    pub after: String,
    /// Fields that differ.
    pub changes: Vec<FieldChange>,
}

impl Yard {
    /// Lists the revisions of a block, newest first, even if the block is deleted. For a changed
    /// secret, only the field is listed.
    ///
    /// # Errors
    /// Returns an error if the type or the block does not exist.
    pub async fn history(&self, address: &Address) -> Result<Vec<RevisionView>, Error> {
        let revisions = self.store().history(address).await?;
        if revisions.is_empty() {
            return Err(self.missing(address, None).await);
        }
        let mut saves = self.saves(address).await?;
        let mut views: Vec<RevisionView> = Vec::with_capacity(revisions.len());
        let mut after: Option<blockyard_model::SplitDocument> = None;
        for revision in &revisions {
            let document = self.unseal(&revision.record).await?;
            if let (Some(after), Some(view)) = (&after, views.last_mut()) {
                view.changed = compare(&document, after)
                    .into_iter()
                    .map(|change| if change.secret { format!("{} (secret)", change.field) } else { change.field })
                    .collect();
            }
            after = Some(document);
            let Saved { action, rollback_of } = saves.remove(&revision.record.revision.number()).unwrap_or_default();
            views.push(RevisionView {
                revision: revision.record.revision.number(),
                saved_at: timestamp(revision.record.created_at),
                author: revision.record.author.clone(),
                bundle_version: revision.bundle_version.clone(),
                action,
                rollback_of,
                changed: Vec::new(),
            });
        }
        Ok(views)
    }

    /// Returns the details of each save of a block, by revision number.
    async fn saves(&self, address: &Address) -> Result<BTreeMap<u64, Saved>, Error> {
        let mut saves = BTreeMap::new();
        for line in self.store().audit_of_saves(address).await? {
            let detail: Value = serde_json::from_str(&line.detail).unwrap_or_default();
            let by_file = detail["by"].as_str() == Some("apply");
            let action = match line.action.as_str() {
                "delete" | "restore" | "purge" => continue,
                "set" if by_file => "apply".to_owned(),
                _ => line.action,
            };
            let rollback_of = detail["from"].as_u64().filter(|_| action == "rollback");
            if let Some(revision) = detail["revision"].as_u64() {
                saves.insert(revision, Saved { action: Some(action), rollback_of });
            }
        }
        Ok(saves)
    }

    /// Compares two revisions of a block, or two blocks of the same type.
    ///
    /// # Errors
    /// Returns an error if one of the revisions does not exist, or if the types differ.
    pub async fn diff(&self, before: &PinnedAddress, after: &PinnedAddress) -> Result<DiffView, Error> {
        if before.address.type_slug != after.address.type_slug {
            return Err(Error::new(
                ErrorKind::Usage,
                format!(
                    "`{before}` and `{after}` are of different types, `{}` and `{}`",
                    before.address.type_slug, after.address.type_slug
                ),
            )
            .hint("compare two revisions of one block, or two blocks of one type"));
        }
        let mut documents = Vec::new();
        let mut names = Vec::new();
        for pinned in [before, after] {
            let record = self.record(&pinned.address, pinned.revision).await?;
            names.push(format!("{}@{}", record.address, record.revision));
            documents.push(self.unseal(&record).await?);
        }
        let changes = compare(&documents[0], &documents[1]);
        let [before, after] = <[String; 2]>::try_from(names).expect("two were compared");
        Ok(DiffView { before, after, changes })
    }

    /// Saves a new revision that is equal to an old one, including its secrets and bundle version.
    /// Returns `None` if the newest revision is already equal to it.
    ///
    /// # Errors
    /// Returns an error if the block or the revision does not exist, if a dependency is missing, or
    /// if the revision's secrets were destroyed.
    pub async fn rollback(&self, address: &Address, revision: Revision) -> Result<Option<Revision>, Error> {
        self.saving(async || {
            let newest = self.live_record(address, None).await?;
            let old = self.record(address, Some(revision)).await?;
            let document = self.unseal(&old).await?;
            if newest.bundle == old.bundle && self.unseal(&newest).await? == document {
                return Ok(Some(None));
            }
            let bundle = self.bundle(&old.bundle).await?;
            self.check_document(&bundle, address, &document).await?;
            let detail = json!({ "from": revision.number() });
            let saved = self.save(&newest, &bundle, &document, "rollback", detail).await?;
            Ok(saved.map(Some))
        })
        .await
    }
}
