//! The revisions of a block: listed, compared, taken back.

use std::collections::BTreeMap;

use blockyard_model::{Address, PinnedAddress, Revision};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::audit::timestamp;
use crate::compare::{FieldChange, compare};
use crate::{Error, ErrorKind, Yard};

/// A revision in a history.
#[derive(Debug, Clone, Serialize)]
pub struct RevisionView {
    /// Its number.
    pub revision: u64,
    /// When it was saved.
    pub saved_at: Timestamp,
    /// Who saved it.
    pub author: String,
    /// The version of the bundle that validated it.
    pub bundle_version: String,
    /// The command that saved it: `create`, `set`, `rollback`, …; `None` if the audit trail has no line
    /// about it.
    pub action: Option<String>,
    /// The revision whose content it repeats, after a rollback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback_of: Option<u64>,
    /// The fields that differ from the revision before.
    pub changed: Vec<String>,
}

/// What the audit trail has about the save of one revision.
#[derive(Debug, Default, Clone)]
struct Saved {
    action: Option<String>,
    rollback_of: Option<u64>,
}

/// What differs between two revisions, or two blocks.
#[derive(Debug, Clone, Serialize)]
pub struct DiffView {
    /// The one.
    pub before: String,
    /// The other.
    pub after: String,
    /// The fields that differ.
    pub changes: Vec<FieldChange>,
}

impl Yard {
    /// The revisions of a block, the newest first, of a deleted one too. Of a secret it says that it
    /// was saved anew, never more.
    ///
    /// # Errors
    /// There is no such type or block.
    pub async fn history(&self, address: &Address) -> Result<Vec<RevisionView>, Error> {
        let revisions = self.store().history(address).await?;
        if revisions.is_empty() {
            return Err(self.missing(address, None).await);
        }
        let mut saves = self.saves(address).await?;
        let mut views: Vec<RevisionView> = Vec::with_capacity(revisions.len());
        let mut after: Option<blockyard_model::SealedDocument> = None;
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

    /// The saves of a block by the revision that each made.
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

    /// What differs between two revisions of a block, or between two blocks of one type.
    ///
    /// # Errors
    /// One of them is not there; they are of different types.
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

    /// Saves a new revision that is equal to an old one, secrets and the version of its bundle
    /// included. None where the newest is like that already.
    ///
    /// # Errors
    /// There is no such block or revision; what it builds on is not there any more; its secrets were
    /// destroyed.
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
