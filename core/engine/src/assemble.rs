//! From a core WebAssembly module to the one file of a bundle.

use std::sync::Arc;

use blockyard_host::{Sandbox, SandboxConfig};
use blockyard_model::Digest;
use blockyard_registry::component::{self, About};

use crate::Error;

/// A bundle that was built.
#[derive(Debug, Clone)]
pub struct Built {
    /// The bytes of the component file.
    pub bytes: Vec<u8>,
    /// Their sha256.
    pub digest: Digest,
    /// The bundle's name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// What the crate of a module says about it.
#[derive(Debug, Clone, Default)]
pub struct Provenance {
    /// The crate's version.
    pub version: String,
    /// Its license, as an SPDX expression.
    pub license: Option<String>,
    /// The URL of its source.
    pub source: Option<String>,
}

/// Encodes a module as a component, has it describe itself in a sandbox with nothing linked, and embeds that
/// description.
///
/// # Errors
/// The module is not one of a bundle.
pub async fn assemble(module: &[u8], provenance: Provenance) -> Result<Built, Error> {
    let sandbox = Sandbox::new(&SandboxConfig::default())?;
    let bare = component::encode(module)?;
    let bundle = sandbox.load(Arc::new(bare.clone())).await?;
    let Provenance { version, license, source } = provenance;
    let about = About { name: bundle.manifest().name.to_string(), version, license, source };
    let bytes = component::embed(&bare, bundle.manifest_text(), &about)?;
    Ok(Built { digest: Digest::of(&bytes), bytes, name: about.name, version: bundle.manifest().version.to_string() })
}
