//! Drops the bytes of uninstalled bundles that no revision names.

use blockyard_store::BundleRecord;
use serde::Serialize;
use serde_json::json;

use crate::audit_writer::line;
use crate::{Error, Yard};

/// A version of a bundle whose bytes were dropped.
#[derive(Debug, Clone, Serialize)]
pub struct DroppedBundle {
    /// Bundle name.
    pub name: String,
    /// Version number.
    pub version: String,
    /// sha256 of the component file.
    pub sha256: String,
    /// Size of the component file in bytes.
    pub bytes: u64,
}

impl Yard {
    /// Drops the bytes of uninstalled versions that no revision names, deleted blocks included.
    /// Installed versions are never dropped. Returns the dropped versions, ordered by name.
    ///
    /// # Errors
    /// Returns an error if the database cannot be written.
    pub async fn gc(&self) -> Result<Vec<DroppedBundle>, Error> {
        let audit = |dropped: &[BundleRecord]| {
            let dropped: Vec<DroppedBundle> = dropped.iter().map(DroppedBundle::of).collect();
            line(self.actor(), "gc", self.id(), &json!({ "dropped": dropped }))
        };
        let dropped = self.store().drop_unused_bundles(&audit).await?;
        Ok(dropped.iter().map(DroppedBundle::of).collect())
    }
}

impl DroppedBundle {
    fn of(record: &BundleRecord) -> Self {
        Self {
            name: record.name.clone(),
            version: record.version.clone(),
            sha256: record.digest.to_string(),
            bytes: record.size,
        }
    }
}
