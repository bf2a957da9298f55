//! Compiles the crate of one bundle with cargo.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{TARGET, Toolchain};

/// A compiled crate, and its package metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crate {
    /// Package name.
    pub name: String,
    /// Package version.
    pub version: String,
    /// SPDX license expression.
    pub license: Option<String>,
    /// URL of the source repository.
    pub repository: Option<String>,
    /// Path of the core WebAssembly module that cargo wrote.
    pub module: PathBuf,
}

/// A failed build.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The folder has no `Cargo.toml`.
    #[error("`{}` is not the folder of a crate: it has no Cargo.toml", .0.display())]
    NotACrate(PathBuf),
    /// cargo cannot be run.
    #[error("cargo cannot be run")]
    NoCargo(#[source] std::io::Error),
    /// The crate does not compile.
    #[error("`{folder}` does not compile")]
    Compile {
        /// Folder of the crate.
        folder: String,
        /// Standard error of cargo, with the compiler's diagnostics.
        output: String,
    },
    /// The package has no `cdylib` target, so cargo produces no WebAssembly module.
    #[error("`{}` produces no WebAssembly module: add `crate-type = [\"cdylib\"]` under `[lib]` to its Cargo.toml", .0.display())]
    NoModule(PathBuf),
}

/// Compiles a crate for WebAssembly, optimized for size and without debug information.
///
/// Paths are remapped, so that the same source produces the same bytes on every machine. cargo runs
/// in the crate's folder, because it reads configuration files from its working directory, and the
/// user's current folder must not provide them.
///
/// # Errors
/// Returns a [`BuildError`] if the folder contains no crate, if cargo cannot be run, if the crate
/// does not compile, or if it has no `cdylib` target.
pub fn build(folder: &Path, toolchain: &Toolchain) -> Result<Crate, BuildError> {
    let folder = &folder.canonicalize().map_err(|_| BuildError::NotACrate(folder.to_owned()))?;
    let manifest = manifest(folder)?;
    let package = package(&manifest)?;
    let mut command = Command::new("cargo");
    command
        .current_dir(folder)
        // For a library that is also an `rlib`, cargo omits the optimization at link time.
        .args(["rustc", "--lib", "--crate-type", "cdylib", "--release", "--target", TARGET])
        .args(["--message-format", "json-render-diagnostics"])
        .arg("--manifest-path")
        .arg(&manifest)
        .arg("--target-dir")
        .arg(package.target_folder.join("bundles"))
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "s")
        .env("CARGO_PROFILE_RELEASE_LTO", "true")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", remapped(&package.workspace))
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        // cargo sets this variable when it runs this program; it would select the wrong compiler.
        .env_remove("RUSTUP_TOOLCHAIN_SOURCE")
        .stdin(Stdio::null());
    if let Toolchain::FromSource { rustc, linker } = toolchain {
        command
            .args(["-Z", "build-std=std,panic_abort"])
            .env("RUSTC", rustc)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
    }
    let output = command.output().map_err(BuildError::NoCargo)?;
    if !output.status.success() {
        return Err(BuildError::Compile {
            folder: folder.display().to_string(),
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    let module = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| {
            message["reason"] == "compiler-artifact" && message["target"]["name"] == package.library.as_str()
        })
        .flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default())
        .filter_map(|file| file.as_str().map(PathBuf::from))
        .find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
        .ok_or_else(|| BuildError::NoModule(folder.to_owned()))?;
    Ok(Crate {
        name: package.name,
        version: package.version,
        license: package.license,
        repository: package.repository,
        module,
    })
}

/// Returns the path of the crate's `Cargo.toml`.
///
/// # Errors
/// Returns [`BuildError::NotACrate`] if the folder has no `Cargo.toml`.
pub fn manifest(folder: &Path) -> Result<PathBuf, BuildError> {
    let manifest = folder.join("Cargo.toml");
    if manifest.exists() { Ok(manifest) } else { Err(BuildError::NotACrate(folder.to_owned())) }
}

struct Package {
    name: String,
    version: String,
    license: Option<String>,
    repository: Option<String>,
    library: String,
    target_folder: PathBuf,
    workspace: PathBuf,
}

fn package(manifest: &Path) -> Result<Package, BuildError> {
    let folder = || manifest.parent().map(Path::to_owned).unwrap_or_default();
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--no-deps", "--manifest-path"])
        .arg(manifest)
        .current_dir(folder())
        .stdin(Stdio::null())
        .output()
        .map_err(BuildError::NoCargo)?;
    let broken = || BuildError::Compile {
        folder: folder().display().to_string(),
        output: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|_| broken())?;
    let expected = manifest.canonicalize().unwrap_or_else(|_| manifest.to_owned());
    let found = metadata["packages"].as_array().into_iter().flatten().find(|package| {
        package["manifest_path"]
            .as_str()
            .is_some_and(|path| Path::new(path).canonicalize().is_ok_and(|path| path == expected))
    });
    let package = found.ok_or_else(|| BuildError::NotACrate(folder()))?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let library =
        package["targets"].as_array().into_iter().flatten().find(|target| {
            target["crate_types"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "cdylib"))
        });
    let library = library.and_then(|target| text(&target["name"])).ok_or_else(|| BuildError::NoModule(folder()))?;
    Ok(Package {
        name: text(&package["name"]).unwrap_or_default(),
        version: text(&package["version"]).unwrap_or_default(),
        license: text(&package["license"]),
        repository: text(&package["repository"]),
        library,
        target_folder: text(&metadata["target_directory"]).unwrap_or_default().into(),
        workspace: text(&metadata["workspace_root"]).unwrap_or_default().into(),
    })
}

/// Returns the `rustc` flags that remap local paths. Otherwise, local paths would appear in panic
/// messages and change the digest of the bundle.
fn remapped(workspace: &Path) -> String {
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
        .unwrap_or_default();
    format!("--remap-path-prefix={}=/bundle --remap-path-prefix={}=/cargo", workspace.display(), cargo_home.display())
}
