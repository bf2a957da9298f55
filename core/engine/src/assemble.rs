//! Assembles a bundle's component file from a core WebAssembly module.

use std::sync::Arc;

use blockyard_host::{Sandbox, SandboxConfig};
use blockyard_model::Digest;
use blockyard_registry::component::{self, About};

use crate::Error;

/// A built bundle.
#[derive(Debug, Clone)]
pub struct Built {
    /// Content of the component file.
    pub bytes: Vec<u8>,
    /// sha256 of `bytes`.
    pub digest: Digest,
    /// Bundle name.
    pub name: String,
    /// Bundle version.
    pub version: String,
}

/// Metadata of the crate that the module was compiled from.
#[derive(Debug, Clone, Default)]
pub struct Provenance {
    /// Version of the crate.
    pub version: String,
    /// License of the crate, as an SPDX expression.
    pub license: Option<String>,
    /// URL of the source repository.
    pub source: Option<String>,
}

/// Encodes a module as a component, runs its `describe` in a sandbox with nothing linked, and
/// embeds the resulting manifest.
///
/// # Errors
/// Returns an error if the module is not a valid bundle.
pub async fn assemble(module: &[u8], provenance: Provenance) -> Result<Built, Error> {
    let sandbox = Sandbox::new(&SandboxConfig::default())?;
    let bare = component::encode(module)?;
    let bundle = sandbox.load(Arc::new(bare.clone())).await?;
    let Provenance { version, license, source } = provenance;
    let about = About { name: bundle.manifest().name.to_string(), version, license, source };
    let bytes = component::embed(&bare, bundle.manifest_text(), &about)?;
    Ok(Built { digest: Digest::of(&bytes), bytes, name: about.name, version: bundle.manifest().version.to_string() })
}
