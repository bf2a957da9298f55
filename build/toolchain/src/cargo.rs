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
    /// Version of the compiler, e.g. `1.95.0 (59807616e 2026-04-14)`. `None` if the compiler does not report it.
    pub compiler: Option<String>,
}

/// Purpose of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// A small module, the same on every machine with the same toolchain.
    Release,
    /// A module that is compiled fast after a change, for the author of the crate.
    Development,
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

/// Compiles a crate for WebAssembly, without debug information.
///
/// Paths are remapped, so that the same source produces the same bytes in every folder. cargo runs
/// in the crate's folder, because it reads configuration files from its working directory, and the
/// user's current folder must not provide them. Flags of the environment and `build.rustflags` are not used.
///
/// # Errors
/// Returns a [`BuildError`] if the folder contains no crate, if cargo cannot be run, if the crate
/// does not compile, or if it has no `cdylib` target.
pub fn build(folder: &Path, toolchain: &Toolchain, profile: Profile) -> Result<Crate, BuildError> {
    let folder = &folder.canonicalize().map_err(|_| BuildError::NotACrate(folder.to_owned()))?;
    let manifest = manifest(folder)?;
    let package = package(&manifest)?;
    let mut command = command(folder, &manifest, &package, profile);
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
        compiler: toolchain.version(folder),
    })
}

/// Returns the command that compiles a crate.
fn command(folder: &Path, manifest: &Path, package: &Package, profile: Profile) -> Command {
    let mut command = Command::new("cargo");
    command
        .current_dir(folder)
        // For a library that is also an `rlib`, cargo omits the optimization at link time.
        .args(["rustc", "--lib", "--crate-type", "cdylib", "--release", "--target", TARGET])
        .args(["--message-format", "json-render-diagnostics"])
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(package.target_folder.join(match profile {
            Profile::Release => "bundles",
            Profile::Development => "bundles-dev",
        }))
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        // It takes precedence over the profile.
        .env_remove("CARGO_INCREMENTAL")
        // cargo sets this variable when it runs this program; it would select the wrong compiler.
        .env_remove("RUSTUP_TOOLCHAIN_SOURCE")
        .stdin(Stdio::null());
    let variables = match profile {
        Profile::Release => [("OPT_LEVEL", "s"), ("LTO", "true"), ("CODEGEN_UNITS", "1"), ("INCREMENTAL", "false")],
        // The optimization at link time would compile all dependencies again after each change.
        Profile::Development => [("OPT_LEVEL", "1"), ("LTO", "off"), ("CODEGEN_UNITS", "16"), ("INCREMENTAL", "true")],
    };
    for (name, value) in variables {
        command.env(format!("CARGO_PROFILE_RELEASE_{name}"), value);
    }
    remap(&mut command, &package.workspace, &package.target_folder);
    command
}

/// Result of the native tests of a crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestRun {
    /// `true` if all tests passed.
    pub passed: bool,
    /// Output of cargo, of the compiler and of the tests.
    pub output: String,
}

/// Runs the tests of a crate natively.
///
/// # Errors
/// Returns [`BuildError::NotACrate`] or [`BuildError::NoCargo`]. Tests that fail or do not compile are part of the
/// result.
pub fn test(folder: &Path) -> Result<TestRun, BuildError> {
    let folder = &folder.canonicalize().map_err(|_| BuildError::NotACrate(folder.to_owned()))?;
    let manifest = manifest(folder)?;
    let output = Command::new("cargo")
        .current_dir(folder)
        .args(["test", "--manifest-path"])
        .arg(&manifest)
        .env_remove("RUSTUP_TOOLCHAIN_SOURCE")
        .stdin(Stdio::null())
        .output()
        .map_err(BuildError::NoCargo)?;
    let text = [output.stderr, output.stdout].concat();
    Ok(TestRun { passed: output.status.success(), output: String::from_utf8_lossy(&text).into_owned() })
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

/// Remaps local paths. Otherwise, they would appear in panic messages and change the digest of the bundle. Of several
/// prefixes that match, the compiler uses the last one.
fn remap(command: &mut Command, workspace: &Path, target: &Path) {
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
        .unwrap_or_default();
    let flags = [(workspace, "/bundle"), (target, "/target"), (cargo_home.as_path(), "/cargo")]
        .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()));
    if flags.iter().any(|flag| flag.contains(char::is_whitespace)) {
        // A variable separates flags by spaces.
        let flags: Vec<String> = flags.iter().map(|flag| Value::from(flag.as_str()).to_string()).collect();
        command.arg("--config").arg(format!("target.{TARGET}.rustflags=[{}]", flags.join(",")));
    } else {
        command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", flags.join(" "));
    }
}
