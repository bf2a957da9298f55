//! Lists, compares and rolls back the revisions of a block.

use std::collections::BTreeMap;

use blockyard_model::{Address, PinnedAddress, Revision, RevisionOrigin};
use blockyard_store::HistoryRecord;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

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
    /// How the revision was saved. `None` if an earlier version of Blockyard saved it and the audit
    /// trail contains no line for it. The JSON form consists of the following fields.
    #[serde(skip)]
    pub origin: Option<RevisionOrigin>,
    /// Action that saved the revision, such as `create`, `set` or `rollback`.
    pub action: Option<String>,
    /// Set of the block file that was applied. Omitted if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// Revision whose content was restored. Omitted if the revision is not a rollback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback_of: Option<u64>,
    /// Revision of another block that was copied, `TYPE/NAME@N`. Omitted if the revision is not a
    /// copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copied_from: Option<String>,
    /// Version of the bundle before an upgrade. Omitted if the revision is not an upgrade.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgraded_from: Option<String>,
    /// Reason that the author gave.
    pub reason: Option<String>,
    /// Dotted paths of the fields that differ from the previous revision.
    pub changed: Vec<String>,
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
        // Earlier versions of Blockyard recorded origins in the audit trail only.
        let mut recorded = match revisions.iter().all(|revision| revision.record.origin.is_some()) {
            true => BTreeMap::new(),
            false => self.recorded_origins(address).await?,
        };
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
            let stored = revision.record.origin.as_deref().map(RevisionOrigin::parse);
            views.push(view(revision, stored.or_else(|| recorded.remove(&revision.record.revision.number()))));
        }
        Ok(views)
    }

    /// Returns the origins that the audit trail contains, by revision number.
    async fn recorded_origins(&self, address: &Address) -> Result<BTreeMap<u64, RevisionOrigin>, Error> {
        let mut origins = BTreeMap::new();
        for line in self.store().audit_of_saves(address).await? {
            let detail: Value = serde_json::from_str(&line.detail).unwrap_or_default();
            let text = |field: &str| detail[field].as_str().unwrap_or_default();
            let origin = match line.action.as_str() {
                "delete" | "restore" | "purge" => continue,
                "create" if detail["copied_from"].is_string() => format!("copy:{}", text("copied_from")),
                "set" if text("by") == "apply" => "apply".to_owned(),
                "rollback" => format!("rollback:{}", detail["from"]),
                "upgrade" => format!("upgrade:{}", text("from_version")),
                action => action.to_owned(),
            };
            if let Some(revision) = detail["revision"].as_u64() {
                origins.insert(revision, RevisionOrigin::parse(&origin));
            }
        }
        Ok(origins)
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
            let before = self.unseal(&newest).await?;
            self.check_reason(&before)?;
            if newest.bundle == old.bundle && before == document {
                return Ok(Some(None));
            }
            let bundle = self.bundle(&old.bundle).await?;
            self.check_document(&bundle, address, &document).await?;
            let saved = self.save(&newest, &bundle, &document, &RevisionOrigin::Rollback(revision)).await?;
            Ok(saved.map(Some))
        })
        .await
    }
}

/// Returns the view of a revision, without its changes.
fn view(revision: &HistoryRecord, origin: Option<RevisionOrigin>) -> RevisionView {
    let record = &revision.record;
    let mut view = RevisionView {
        revision: record.revision.number(),
        saved_at: timestamp(record.created_at),
        author: record.author.clone(),
        bundle_version: revision.bundle_version.clone(),
        action: origin.as_ref().map(|origin| origin.action().to_owned()),
        set: None,
        rollback_of: None,
        copied_from: None,
        upgraded_from: None,
        reason: record.reason.clone(),
        changed: Vec::new(),
        origin: None,
    };
    match &origin {
        Some(RevisionOrigin::Apply(Some(set))) => view.set = Some(set.to_string()),
        Some(RevisionOrigin::Rollback(restored)) => view.rollback_of = Some(restored.number()),
        Some(RevisionOrigin::Copy(original)) => view.copied_from = Some(original.to_string()),
        Some(RevisionOrigin::Upgrade(version)) => view.upgraded_from = Some(version.clone()),
        _ => {}
    }
    RevisionView { origin, ..view }
}
