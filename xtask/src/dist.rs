//! `cargo xtask dist`: the archive for users. It contains the binary for this platform and a signed
//! registry folder with the bundles of this repository:
//!
//! ```text
//! blockyard-VERSION-TRIPLE/
//!   bin/blockyard
//!   share/blockyard/registry/    registry.toml, NAME-VERSION.wasm
//!   README.md  LICENSE
//! ```
//!
//! The binary finds the registry by its own location, so `blockyard install sql` works where the
//! archive is unpacked, without a network and without Rust. Any server of static files can serve
//! the registry folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Result, run, setup};

/// Variable with the path of the minisign secret key that signs the releases.
const SIGNING_KEY: &str = "BLOCKYARD_SIGNING_KEY";

/// Key that signs a registry.
pub(crate) enum SigningKey {
    /// The key of the releases, at this path.
    Release(PathBuf),
    /// A key in the target folder, created if it is missing.
    Local,
}

impl SigningKey {
    /// Returns the key that the user names, or else the local key.
    pub(crate) fn from_environment() -> Self {
        let path = std::env::var_os(SIGNING_KEY).filter(|path| !path.is_empty());
        path.map_or(Self::Local, |path| Self::Release(path.into()))
    }
}

/// Builds the binary in a profile, the bundles and the archive.
pub(crate) fn run_task(profile: &str) -> Result {
    // Bundles are built and signed by the binary of the development profile, which other tasks share.
    let toolchain = setup::toolchain()?;
    let ((), builder) = crate::run_concurrently(|| setup::modules(&toolchain), setup::binary)?;
    let bundles = setup::plugins()?;
    let key = SigningKey::from_environment();
    registry(&builder, &bundles, &shipped(), &key)?;
    let binary = if profile == "dev" { builder.clone() } else { setup::profiled(profile)? };
    let archive = archive(&builder, &binary, &bundles, &key)?;
    println!("{}", archive.display());
    Ok(())
}

/// Returns the folder where the binaries in the target folder look for their registry.
pub(crate) fn shipped() -> PathBuf {
    setup::target().join("share/blockyard/registry")
}

/// Creates a signed registry folder with these component files. `builder` is a built `blockyard`.
pub(crate) fn registry(builder: &Path, bundles: &[(String, PathBuf)], folder: &Path, key: &SigningKey) -> Result {
    // The folder is a product of this build, not a registry whose releases anyone has installed.
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder).map_err(|error| format!("`{}`: {error}", folder.display()))?;
    let mut command = Command::new(builder);
    command.arg("publish").args(bundles.iter().map(|(_, file)| file));
    command.arg("--registry").arg(folder).args(["--name", "blockyard"]);
    // An empty path is not a path.
    command.env_remove(SIGNING_KEY);
    match key {
        SigningKey::Release(path) => {
            println!("dist: signing with the key in {}", path.display());
            command.env(SIGNING_KEY, path);
        }
        SigningKey::Local => {
            let path = setup::target().join("dist/signing.key");
            println!("dist: signing with the local key in {}; {SIGNING_KEY} names the key of releases", path.display());
            command.arg("--new-signing-key").arg(path);
        }
    }
    run(&mut command)
}

/// Creates the archive. Returns its path.
pub(crate) fn archive(
    builder: &Path,
    binary: &Path,
    bundles: &[(String, PathBuf)],
    key: &SigningKey,
) -> Result<PathBuf> {
    let dist = setup::target().join("dist");
    let name = format!("blockyard-{}-{}", env!("CARGO_PKG_VERSION"), setup::host_triple()?);
    let folder = dist.join(&name);
    let failed = |error: std::io::Error| format!("`{}`: {error}", folder.display());
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(folder.join("bin")).map_err(failed)?;
    let target = folder.join("bin").join(format!("blockyard{}", std::env::consts::EXE_SUFFIX));
    std::fs::copy(binary, target).map_err(failed)?;
    registry(builder, bundles, &folder.join("share/blockyard/registry"), key)?;
    for file in ["README.md", "LICENSE"] {
        std::fs::copy(setup::root().join(file), folder.join(file)).map_err(failed)?;
    }
    // Same input, same archive: sorted names, no owners, one time.
    let time = std::env::var("SOURCE_DATE_EPOCH").unwrap_or_else(|_| "0".to_owned());
    let archive = dist.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.args(["--create", "--gzip", "--sort=name", "--owner=0", "--group=0", "--numeric-owner"]);
    tar.arg(format!("--mtime=@{time}"));
    run(tar.arg("--file").arg(&archive).arg("--directory").arg(&dist).arg(&name))?;
    std::fs::remove_dir_all(&folder).map_err(failed)?;
    Ok(archive)
}
