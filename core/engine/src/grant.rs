//! Grants and revokes the capabilities of bundles in a yard.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use blockyard_model::suggestion::did_you_mean;
use blockyard_model::{BundleName, Capability};
use serde::Serialize;
use serde_json::json;

use crate::audit_writer::line;
use crate::{Error, ErrorKind, Yard};

/// A capability that a bundle requests, and whether it is granted.
#[derive(Debug, Clone, Serialize)]
pub struct GrantView {
    /// Name of the bundle.
    pub bundle: String,
    /// The capability, for example `http https://api.example.com`.
    pub capability: String,
    /// Description of what the capability permits.
    pub explanation: String,
    /// `true` if the capability is granted.
    pub granted: bool,
}

impl Yard {
    /// Lists the capabilities that installed bundles request, and whether each is granted.
    ///
    /// # Errors
    /// Returns an error if no bundle with the given name is installed.
    pub async fn grants(&self, bundle: Option<&BundleName>) -> Result<Vec<GrantView>, Error> {
        let mut views = Vec::new();
        let installed = self.newest_bundles().await?;
        if let Some(name) = bundle
            && !installed.iter().any(|(_, other, _)| other == name.as_str())
        {
            return Err(self.not_installed(name.as_str()).await);
        }
        for (_, name, manifest) in
            installed.iter().filter(|(_, name, _)| bundle.is_none_or(|expected| expected.as_str() == name))
        {
            let granted = self.store().grants(name).await?;
            let requested = manifest["capabilities"].as_array().into_iter().flatten();
            let requested: BTreeSet<Capability> = requested.filter_map(|text| text.as_str()?.parse().ok()).collect();
            // A grant may be narrower than the request, for example one origin for a request that
            // contains a field template.
            let narrower = granted.iter().filter(|grant| {
                !requested.contains(*grant) && requested.iter().any(|requested| requested.covers(grant))
            });
            for capability in requested.iter().chain(narrower) {
                views.push(GrantView {
                    bundle: name.clone(),
                    explanation: capability.explanation(),
                    granted: granted.contains(capability),
                    capability: capability.to_string(),
                });
            }
        }
        Ok(views)
    }

    /// Grants a bundle a capability that it requests, or a narrower one: for example, one origin if
    /// the bundle requests the origins that its blocks name. Returns `false` if it was already
    /// granted.
    ///
    /// # Errors
    /// Returns an error if the bundle is not installed or does not request the capability.
    pub async fn grant(&self, bundle: &BundleName, capability: &Capability) -> Result<bool, Error> {
        let requested = self.grants(Some(bundle)).await?;
        let text = capability.to_string();
        let covers =
            |view: &GrantView| view.capability.parse().is_ok_and(|requested: Capability| requested.covers(capability));
        if !requested.iter().any(covers) {
            let known = requested.iter().map(|view| view.capability.as_str());
            return Err(Error::new(
                ErrorKind::Usage,
                format!("bundle `{bundle}` does not request the capability `{text}`"),
            )
            .maybe_hint(did_you_mean(&text, known)));
        }
        let audit = line(self.actor(), "grant", bundle, &json!({ "capability": text }));
        let changed = self.store().grant(bundle.as_str(), capability, audit).await;
        self.grant_cache().clear();
        Ok(changed?)
    }

    /// Revokes a capability of a bundle. Returns `false` if it was not granted.
    ///
    /// # Errors
    /// Returns an error if the bundle is not installed.
    pub async fn revoke(&self, bundle: &BundleName, capability: &Capability) -> Result<bool, Error> {
        self.grants(Some(bundle)).await?;
        let audit = line(self.actor(), "revoke", bundle, &json!({ "capability": capability.to_string() }));
        let changed = self.store().revoke(bundle.as_str(), capability, audit).await;
        self.grant_cache().clear();
        Ok(changed?)
    }

    /// Returns the grants of a bundle for a call, possibly from the cache.
    pub(crate) async fn granted(&self, bundle: &BundleName) -> Result<Arc<BTreeSet<Capability>>, Error> {
        let changes = match self.grant_cache().cached(bundle.as_str()) {
            Ok(granted) => return Ok(granted),
            Err(changes) => changes,
        };
        let read_at = Instant::now();
        let granted = Arc::new(self.store().grants(bundle.as_str()).await?);
        self.grant_cache().insert(bundle.as_str(), changes, read_at, granted.clone());
        Ok(granted)
    }
}
