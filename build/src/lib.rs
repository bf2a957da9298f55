//! Builds a bundle's component file from the source of a crate: compiles the module with cargo, and
//! passes it to the engine. Creates the crate of a new bundle.
//!
//! A build runs build scripts and macros of the crate and its dependencies with the permissions of
//! the user. It is therefore not part of the engine: servers and programs that embed Blockyard
//! never compile code.

mod foreign;
mod new;
mod sdk;
mod watch;

use std::path::{Path, PathBuf};

use blockyard::{Built, Error, ErrorKind, Guard, Provenance, assemble, writable_by_others};
use blockyard_toolchain::{Acquire, BuildError, Toolchain, ToolchainError};

pub use blockyard_toolchain::{Profile, TestRun};

pub use new::{Created, NewCrate, Sdk, create};
pub use watch::{Watch, WatchMethod};

/// Files that cargo and rustup read from every parent folder of their working directory. Each can
/// specify a program to run.
const READ_ABOVE: [&str; 5] =
    ["Cargo.toml", ".cargo/config.toml", ".cargo/config", "rust-toolchain.toml", "rust-toolchain"];

/// Builds a bundle: compiles the crate and assembles the module into a component file. `report` is
/// called with a progress message before each step.
///
/// The compiler runs in the crate's folder, independent of the current folder. Configuration files
/// of cargo and rustup in that folder apply, and those in its parent folders if no other user can
/// write them.
///
/// # Errors
/// Returns an error if no WebAssembly toolchain is available, if the crate does not compile or is
/// not a bundle, or if another user can write a configuration file in a parent folder.
pub async fn build(folder: &Path, profile: Profile, report: &mut (dyn FnMut(&str) + Send)) -> Result<Built, Error> {
    // Checked first, to avoid installing a toolchain for a folder without a crate.
    require_crate(folder)?;
    let folder = resolved(folder)?;
    only_own_files_above(&folder)?;
    // cargo may run for a minute; `block_in_place` lets the runtime continue its other tasks.
    let made = tokio::task::block_in_place(|| {
        report(&format!("compiling {}", folder.display()));
        let toolchain =
            Toolchain::find(&folder, Acquire::FromRustup, &mut *report).map_err(|error| no_toolchain(&error))?;
        blockyard_toolchain::build(&folder, &toolchain, profile).map_err(not_built)
    })?;
    let module = std::fs::read(&made.module).map_err(|error| {
        Error::new(ErrorKind::Remote, format!("cargo's module `{}` cannot be read", made.module.display()))
            .because(error)
    })?;
    let provenance =
        Provenance { version: made.version, license: made.license, source: made.repository, compiler: made.compiler };
    assemble(&module, provenance).await.map_err(|error| foreign::explained(error, &folder))
}

/// Runs the native tests of a crate. `report` is called with a progress message.
///
/// # Errors
/// Returns an error if cargo cannot be run, or if another user can write a configuration file in a parent folder.
pub fn test(folder: &Path, report: &mut (dyn FnMut(&str) + Send)) -> Result<TestRun, Error> {
    require_crate(folder)?;
    let folder = resolved(folder)?;
    only_own_files_above(&folder)?;
    report(&format!("running the tests of {}", folder.display()));
    tokio::task::block_in_place(|| blockyard_toolchain::test(&folder).map_err(not_built))
}

/// Checks that a folder contains a crate.
///
/// # Errors
/// Returns an error if the folder has no `Cargo.toml`.
pub fn require_crate(folder: &Path) -> Result<(), Error> {
    blockyard_toolchain::manifest(folder).map(|_| ()).map_err(not_built)
}

/// Returns the absolute path of a crate's folder.
///
/// # Errors
/// Returns an error if the folder cannot be read.
pub fn resolved(folder: &Path) -> Result<PathBuf, Error> {
    folder
        .canonicalize()
        .map_err(|error| Error::new(ErrorKind::Remote, format!("`{}` cannot be read", folder.display())).because(error))
}

/// Checks that no other user can write the build configuration in the parent folders. The user
/// chose to build the crate, not what others put into the folders above it.
fn only_own_files_above(folder: &Path) -> Result<(), Error> {
    for above in folder.ancestors().skip(1) {
        for file in READ_ABOVE.iter().map(|name| above.join(name)) {
            if file.symlink_metadata().is_err() {
                continue;
            }
            // A file that cannot be inspected is treated as modifiable by others.
            let reason = writable_by_others(&file, Guard::Source).unwrap_or_else(|error| Some(error.to_string()));
            if let Some(reason) = reason {
                let message =
                    format!("`{}` is in a folder above the crate, and would affect its build", file.display());
                return Err(Error::new(ErrorKind::Denied, message).because(reason).hint(format!(
                    "move the crate `{}` to a folder that no other user can write, and build it there",
                    folder.display()
                )));
            }
        }
    }
    Ok(())
}

fn not_built(error: BuildError) -> Error {
    let message = error.to_string();
    match error {
        BuildError::Compile { output, .. } => Error::new(ErrorKind::Invalid, message).because(output.trim().to_owned()),
        BuildError::NotACrate(_) => Error::new(ErrorKind::NotFound, message),
        BuildError::NoCargo(cause) => {
            Error::new(ErrorKind::Remote, message).because(cause).hint("install Rust from https://rustup.rs")
        }
        BuildError::NoModule(_) => Error::new(ErrorKind::Invalid, message),
    }
}

fn no_toolchain(error: &ToolchainError) -> Error {
    Error::new(ErrorKind::Remote, error.to_string()).because(error.tried.join("; ")).hint(error.hint())
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::{Permissions, create_dir_all, set_permissions, write};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn cargo_files_of_other_users_above_a_crate_are_refused() {
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
            // Files in the crate's own folder are part of the crate that the user chose.
            write(inner.join(name), "").expect("a file");
            set_permissions(inner.join(name), Permissions::from_mode(0o666)).expect("chmod");
            only_own_files_above(&inner).expect("the crate's own");
        }
    }
}
