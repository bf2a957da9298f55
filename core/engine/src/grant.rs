//! What a bundle may use in this yard.

use std::collections::BTreeSet;

use blockyard_model::suggestion::did_you_mean;
use blockyard_model::{BundleName, Capability};
use serde::Serialize;
use serde_json::json;

use crate::audit::line;
use crate::{Error, ErrorKind, Yard};

/// A capability that a bundle asks for, and whether it has it.
#[derive(Debug, Clone, Serialize)]
pub struct GrantView {
    /// The bundle.
    pub bundle: String,
    /// The capability.
    pub capability: String,
    /// What it lets the bundle do.
    pub explanation: String,
    /// Whether it is granted.
    pub granted: bool,
}

impl Yard {
    /// What installed bundles ask for, and what they have.
    ///
    /// # Errors
    /// No such bundle is installed.
    pub async fn grants(&self, bundle: Option<&BundleName>) -> Result<Vec<GrantView>, Error> {
        let mut views = Vec::new();
        let installed = self.newest_bundles().await?;
        if let Some(name) = bundle
            && !installed.iter().any(|(_, other, _)| other == name.as_str())
        {
            let known = installed.iter().map(|(_, other, _)| other.as_str());
            return Err(not_installed(name).maybe_hint(did_you_mean(name.as_str(), known)));
        }
        for (_, name, manifest) in
            installed.iter().filter(|(_, name, _)| bundle.is_none_or(|wanted| wanted.as_str() == name))
        {
            let granted = self.store().grants(name).await?;
            let asked = manifest["capabilities"].as_array().into_iter().flatten();
            let asked: BTreeSet<Capability> = asked.filter_map(|text| text.as_str()?.parse().ok()).collect();
            // Less than what is asked for may be granted in its place: one origin where a field stands.
            let narrower =
                granted.iter().filter(|grant| !asked.contains(*grant) && asked.iter().any(|asked| asked.covers(grant)));
            for capability in asked.iter().chain(narrower) {
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

    /// Grants a bundle what it asks for, or less of it: one origin where it asks for those that its
    /// blocks name. Says whether that changed anything.
    ///
    /// # Errors
    /// It is not installed, or does not ask for it.
    pub async fn grant(&self, bundle: &BundleName, capability: &Capability) -> Result<bool, Error> {
        let asked = self.grants(Some(bundle)).await?;
        let text = capability.to_string();
        let covers = |view: &GrantView| view.capability.parse().is_ok_and(|asked: Capability| asked.covers(capability));
        if !asked.iter().any(covers) {
            let known = asked.iter().map(|view| view.capability.as_str());
            return Err(Error::new(ErrorKind::Usage, format!("bundle `{bundle}` does not ask for `{text}`"))
                .maybe_hint(did_you_mean(&text, known)));
        }
        let audit = line(self.actor(), "grant", bundle, &json!({ "capability": text }));
        Ok(self.store().grant(bundle.as_str(), capability, audit).await?)
    }

    /// Takes a capability from a bundle. Says whether that changed anything.
    ///
    /// # Errors
    /// It is not installed.
    pub async fn revoke(&self, bundle: &BundleName, capability: &Capability) -> Result<bool, Error> {
        self.grants(Some(bundle)).await?;
        let audit = line(self.actor(), "revoke", bundle, &json!({ "capability": capability.to_string() }));
        Ok(self.store().revoke(bundle.as_str(), capability, audit).await?)
    }
}

fn not_installed(bundle: &BundleName) -> Error {
    Error::new(ErrorKind::NotFound, format!("bundle `{bundle}` is not installed"))
}
