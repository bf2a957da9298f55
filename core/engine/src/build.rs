//! From a bundle's source to its one file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use blockyard_host::{Sandbox, SandboxConfig};
use blockyard_model::Digest;
use blockyard_registry::component::{self, About};
use blockyard_toolchain::{Acquire, Toolchain};

use crate::ownership::{Guard, writable_by_others};
use crate::{Error, ErrorKind};

/// Files that cargo and rustup read in every folder above the one that they run in. Each can name a program to
/// run.
const READ_ABOVE: [&str; 5] =
    ["Cargo.toml", ".cargo/config.toml", ".cargo/config", "rust-toolchain.toml", "rust-toolchain"];

/// Whether crates that a registry names are built, which runs their code on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Building {
    /// They are refused.
    Refused,
    /// The user agreed to build them.
    Agreed,
}

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
/// sandbox with nothing linked, and puts that description inside. `say` is told each step.
///
/// The compiler runs in the crate's folder, wherever this program runs: configuration files of cargo and rustup
/// count if they are in that folder, or above it and no other user's.
///
/// # Errors
/// There is no WebAssembly toolchain; it does not compile; it is not a bundle; a file above the crate's folder
/// belongs to another user.
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
    let folder = resolved(folder)?;
    only_own_files_above(&folder)?;
    // cargo runs for a minute: the runtime keeps its other tasks going meanwhile.
    let made = tokio::task::block_in_place(|| {
        say(&format!("compiling {}", folder.display()));
        let toolchain = Toolchain::find(&folder, Acquire::FromRustup, &mut *say)?;
        blockyard_toolchain::build(&folder, &toolchain).map_err(Error::from)
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

/// The absolute path of a crate's folder.
pub(crate) fn resolved(folder: &Path) -> Result<PathBuf, Error> {
    folder.canonicalize().map_err(|error| {
        Error::new(ErrorKind::Outside, format!("`{}` cannot be read", folder.display())).because(error)
    })
}

/// The user named the crate, not what others put into the folders above it.
fn only_own_files_above(folder: &Path) -> Result<(), Error> {
    for above in folder.ancestors().skip(1) {
        for file in READ_ABOVE.iter().map(|name| above.join(name)) {
            if file.symlink_metadata().is_err() {
                continue;
            }
            // What cannot be examined cannot be relied on.
            let reason = writable_by_others(&file, Guard::Source).unwrap_or_else(|error| Some(error.to_string()));
            if let Some(reason) = reason {
                let message = format!("`{}` is above the crate, and would change how it is built", file.display());
                return Err(Error::new(ErrorKind::Denied, message)
                    .because(reason)
                    .hint(format!("move the crate `{}` to a folder of yours, and build it there", folder.display())));
            }
        }
    }
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::{Permissions, create_dir_all, set_permissions, write};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn files_of_others_above_a_crate_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let inner = folder.path().join("shared/crate");
        create_dir_all(inner.join(".cargo")).expect("folders");
        create_dir_all(folder.path().join("shared/.cargo")).expect("a folder");
        for name in READ_ABOVE {
            let above = folder.path().join("shared").join(name);
            write(&above, "").expect("a file");
            set_permissions(&above, Permissions::from_mode(0o664)).expect("chmod");
            only_own_files_above(&inner).expect("a group that shares its source");
            set_permissions(&above, Permissions::from_mode(0o666)).expect("chmod");
            assert_eq!(only_own_files_above(&inner).expect_err(name).kind(), ErrorKind::Denied);
            std::fs::remove_file(&above).expect("gone");
            // What is in the crate's own folder was named with it.
            write(inner.join(name), "").expect("a file");
            set_permissions(inner.join(name), Permissions::from_mode(0o666)).expect("chmod");
            only_own_files_above(&inner).expect("the crate's own");
        }
    }
}
