//! From a bundle's source to its one file.

use std::path::Path;
use std::sync::Arc;

use blockyard_host::{Sandbox, SandboxConfig};
use blockyard_model::Digest;
use blockyard_registry::component::{self, About};
use blockyard_toolchain::{Acquire, Toolchain};

use crate::{Error, ErrorKind};

/// A bundle that was built.
#[derive(Debug, Clone)]
pub struct Built {
    /// The component file's bytes.
    pub bytes: Vec<u8>,
    /// sha256 of them.
    pub digest: Digest,
    /// The bundle's name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// Builds a bundle: compiles the crate, makes a component of it, has it describe itself in a
/// sandbox with nothing linked, and puts that description inside. `say` hears what is being done.
///
/// # Errors
/// There is no WebAssembly toolchain; it does not compile; it is not a bundle.
pub async fn build(folder: &Path, say: &mut (dyn FnMut(&str) + Send)) -> Result<Built, Error> {
    let sandbox = Sandbox::new(&SandboxConfig::default())?;
    build_in(&sandbox, folder, say).await
}

pub(crate) async fn build_in(
    sandbox: &Sandbox,
    folder: &Path,
    say: &mut (dyn FnMut(&str) + Send),
) -> Result<Built, Error> {
    // Before a toolchain is fetched for nothing.
    blockyard_toolchain::manifest(folder)?;
    // cargo runs for a minute: the runtime keeps its other tasks going meanwhile.
    let made = tokio::task::block_in_place(|| {
        let toolchain = Toolchain::find(Acquire::FromRustup, &mut *say)?;
        say(&format!("compiling {}", folder.display()));
        blockyard_toolchain::build(folder, &toolchain).map_err(Error::from)
    })?;
    let module = std::fs::read(&made.module).map_err(|error| {
        Error::new(ErrorKind::Outside, format!("cargo's module `{}` cannot be read", made.module.display()))
            .because(error)
    })?;
    let bare = component::encode(&module)?;
    let bundle = sandbox.load(Arc::new(bare.clone())).await?;
    let about = About {
        name: bundle.manifest().name.to_string(),
        version: made.version,
        license: made.license,
        source: made.repository,
    };
    let bytes = component::embed(&bare, bundle.manifest_text(), &about)?;
    Ok(Built { digest: Digest::of(&bytes), bytes, name: about.name, version: bundle.manifest().version.to_string() })
}
