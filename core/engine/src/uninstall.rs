//! Uninstalls bundles. The revisions that a version validated keep its bytes, and open with them;
//! its block types remain reserved for the bundle.

use std::collections::BTreeSet;

use blockyard_model::{BundleName, Capability, Digest};
use blockyard_store::{AuditLine, BundleRecord, StoreError, Uninstall};
use semver::Version;
use serde::Serialize;
use serde_json::json;

use crate::audit_writer::line;
use crate::{Error, ErrorKind, Yard};

/// A planned or completed uninstallation.
#[derive(Debug, Clone, Serialize)]
pub struct Uninstallation {
    /// Bundle name.
    pub name: String,
    /// Versions to uninstall.
    pub versions: Vec<BundleVersion>,
    /// Versions that remain installed.
    pub remaining: Vec<BundleVersion>,
    /// Capabilities whose grant is removed, because no remaining version requests them.
    pub revoked: Vec<String>,
}

/// A version of a bundle.
#[derive(Debug, Clone, Serialize)]
pub struct BundleVersion {
    /// Version number.
    pub version: String,
    /// sha256 of the component file.
    pub sha256: String,
    #[serde(skip)]
    digest: Digest,
}

impl Yard {
    /// Determines what an uninstallation would change. Without `version`, all installed versions of
    /// the bundle are uninstalled.
    ///
    /// # Errors
    /// Returns an error if the bundle or the version is not installed, or, with a list, if the newest
    /// revisions of blocks use it.
    pub async fn plan_uninstall(
        &self,
        bundle: &BundleName,
        version: Option<&Version>,
    ) -> Result<Uninstallation, Error> {
        let all = self.store().bundles().await?;
        let installed: Vec<&BundleRecord> = all.iter().filter(|record| record.name == bundle.as_str()).collect();
        if installed.is_empty() {
            return Err(self.not_installed(bundle.as_str()).await);
        }
        let text = version.map(ToString::to_string);
        let (versions, remaining): (Vec<_>, Vec<_>) =
            installed.into_iter().partition(|record| text.as_ref().is_none_or(|text| *text == record.version));
        if versions.is_empty() {
            let text = text.unwrap_or_default();
            let known: Vec<String> = remaining.iter().map(|record| format!("`{}`", record.version)).collect();
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("version {text} of bundle `{bundle}` is not installed"),
            )
            .hint(format!("installed: {}", known.join(", "))));
        }
        let mut users = self.store().bundle_users(bundle.as_str()).await?;
        users.retain(|user| versions.iter().any(|record| record.digest == user.digest));
        if !users.is_empty() {
            return Err(StoreError::BundleInUse { bundle: bundle.to_string(), users }.into());
        }
        let granted = self.store().grants(bundle.as_str()).await?;
        let revoked = granted.iter().map(ToString::to_string).filter(|text| !self.is_requested(text, &remaining));
        Ok(Uninstallation {
            name: bundle.to_string(),
            revoked: revoked.collect(),
            versions: versions.into_iter().map(BundleVersion::of).collect(),
            remaining: remaining.into_iter().map(BundleVersion::of).collect(),
        })
    }

    /// Uninstalls versions of a bundle. Afterwards they are not listed, and new blocks do not use
    /// them. Grants that no remaining version requests are removed.
    ///
    /// # Errors
    /// Returns an error if blocks use one of the versions, or if the installed versions differ from
    /// those of the plan.
    pub async fn uninstall(&self, plan: Uninstallation) -> Result<Uninstallation, Error> {
        let digests = |versions: &[BundleVersion]| versions.iter().map(|version| version.digest).collect();
        let (versions, remaining): (BTreeSet<Digest>, BTreeSet<Digest>) =
            (digests(&plan.versions), digests(&plan.remaining));
        let all = self.store().bundles().await?;
        let records: Vec<&BundleRecord> = all.iter().filter(|record| remaining.contains(&record.digest)).collect();
        let revoked = |text: &str| -> Option<AuditLine> {
            let detail = json!({ "capability": text, "by": "uninstall" });
            (!self.is_requested(text, &records)).then(|| line(self.actor(), "revoke", &plan.name, &detail))
        };
        let uninstall = Uninstall { bundle: &plan.name, versions: &versions, remaining: &remaining };
        let audit = line(self.actor(), "uninstall", &plan.name, &json!({ "versions": plan.versions }));
        let done = self.store().uninstall(&uninstall, audit, &revoked).await;
        self.grant_cache().clear();
        done?;
        Ok(plan)
    }

    /// Checks whether one of the bundles requests a capability, given as text. A bundle with a damaged
    /// manifest may request it. A capability that this version does not know may be requested by any
    /// bundle.
    fn is_requested(&self, capability: &str, bundles: &[&BundleRecord]) -> bool {
        match capability.parse::<Capability>() {
            Ok(capability) => bundles.iter().any(|record| match self.manifest_of(record) {
                Ok(manifest) => manifest.requests(&capability),
                Err(_) => true,
            }),
            Err(_) => !bundles.is_empty(),
        }
    }
}

impl BundleVersion {
    fn of(record: &BundleRecord) -> Self {
        Self { version: record.version.clone(), sha256: record.digest.to_string(), digest: record.digest }
    }
}
