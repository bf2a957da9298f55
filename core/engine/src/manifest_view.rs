//! A manifest for display and for programs: the one description of a bundle that all interfaces show.

use blockyard_model::Capability;
use serde::Serialize;
use serde_json::Value;

use crate::TypeView;

/// A capability that a bundle requests.
#[derive(Debug, Clone, Serialize)]
pub struct CapabilityView {
    /// The capability, for example `http https://api.example.com`.
    pub capability: String,
    /// Description of what it permits. Empty for a capability that this version does not know.
    pub explanation: String,
}

impl CapabilityView {
    pub(crate) fn of(text: &str) -> Self {
        let parsed = text.parse::<Capability>();
        Self {
            capability: text.to_owned(),
            explanation: parsed.map(|capability| capability.explanation()).unwrap_or_default(),
        }
    }
}

/// The content of a validated manifest.
pub(crate) struct ManifestView {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) wit: String,
    pub(crate) description: String,
    pub(crate) license: Option<String>,
    pub(crate) homepage: Option<String>,
    pub(crate) repository: Option<String>,
    pub(crate) capabilities: Vec<CapabilityView>,
    pub(crate) definitions: Vec<TypeView>,
}

impl ManifestView {
    pub(crate) fn of(manifest: &Value) -> Self {
        let text = |field: &str| manifest[field].as_str().map(str::to_owned);
        let name = text("name").unwrap_or_default();
        let types = manifest["types"].as_array().into_iter().flatten();
        let capabilities = manifest["capabilities"].as_array().into_iter().flatten();
        Self {
            definitions: types.map(|described| TypeView::of(&name, manifest, described)).collect(),
            name,
            version: text("version").unwrap_or_default(),
            wit: text("wit").unwrap_or_default(),
            description: text("description").unwrap_or_default(),
            license: text("license"),
            homepage: text("homepage"),
            repository: text("source"),
            capabilities: capabilities.filter_map(Value::as_str).map(CapabilityView::of).collect(),
        }
    }
}
