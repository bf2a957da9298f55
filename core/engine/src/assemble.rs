//! Assembles a bundle's component file from a core WebAssembly module.

use std::sync::Arc;

use blockyard_host::{Sandbox, SandboxConfig, examine};
use blockyard_model::Digest;
use blockyard_registry::component::{self, About};
use blockyard_registry::sections;

use crate::error::FOREIGN_INTERFACE;
use crate::inspect::PACKAGE;
use crate::{Code, Error, ErrorKind};

/// Version and layer in the preamble of a core module.
const CORE_MODULE: [u8; 4] = [1, 0, 0, 0];

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
    /// Version of the Rust compiler. `None` if another tool built the module.
    pub compiler: Option<String>,
}

/// Encodes a module as a component, runs its `describe` in a sandbox with nothing linked, and
/// embeds the resulting manifest. Other custom sections are removed.
///
/// # Errors
/// Returns an error if the module is not a valid bundle.
pub async fn assemble(module: &[u8], provenance: Provenance) -> Result<Built, Error> {
    described(component::encode(module)?, Some(provenance)).await
}

/// Completes a component or a core module that another tool built, as [`assemble`] does with the module of a crate.
/// License and source are those of its manifest. An embedded manifest is replaced.
///
/// # Errors
/// Returns an error if the file is not a valid bundle.
pub async fn assemble_file(bytes: &[u8]) -> Result<Built, Error> {
    if bytes.get(4..8) == Some(&CORE_MODULE) && bytes.starts_with(b"\0asm") {
        return described(component::encode(bytes)?, None).await;
    }
    examine(bytes)?;
    let imports = sections::imports(bytes)?;
    let foreign: Vec<String> = imports.into_iter().filter(|name| !name.starts_with(PACKAGE)).collect();
    if !foreign.is_empty() {
        let message = format!("the component imports `{}`, which Blockyard does not provide", foreign.join("`, `"));
        return Err(Error::new(ErrorKind::Invalid, message)
            .hint(FOREIGN_INTERFACE)
            .hint("disable WASI in the tool that built it; for componentize-js: `disableFeatures`, with all features")
            .code(Code::ForeignImports { imports: foreign }));
    }
    described(bytes.to_owned(), None).await
}

/// Embeds the manifest that a component describes itself with.
async fn described(component: Vec<u8>, provenance: Option<Provenance>) -> Result<Built, Error> {
    let bare = sections::strip(&component)?;
    let sandbox = Sandbox::new(&SandboxConfig::default())?;
    let bundle = sandbox.load(Arc::new(bare.clone())).await?;
    let manifest = bundle.manifest();
    let Provenance { version, license, source, compiler } = provenance.unwrap_or_else(|| Provenance {
        version: manifest.version.to_string(),
        license: manifest.license.clone(),
        source: manifest.source.clone(),
        compiler: None,
    });
    let compiler = compiler.map(|version| ("rustc".to_owned(), version));
    let tools = compiler.into_iter().chain([("blockyard".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]).collect();
    let about = About { name: manifest.name.to_string(), version, license, source, tools };
    let bytes = component::embed(&bare, bundle.manifest_text(), &about)?;
    // The manifest adds to the size of the file.
    examine(&bytes)?;
    Ok(Built { digest: Digest::of(&bytes), bytes, name: about.name, version: manifest.version.to_string() })
}
