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

/// Builds the binary in a profile, the bundles and the archive.
pub(crate) fn run_task(profile: &str) -> Result {
    // Bundles are built and signed by the binary of the development profile, which other tasks share.
    let toolchain = setup::toolchain()?;
    let ((), builder) = crate::run_concurrently(|| setup::modules(&toolchain), setup::binary)?;
    let bundles = setup::plugins()?;
    registry(&builder, &bundles, &shipped())?;
    let binary = if profile == "dev" { builder.clone() } else { setup::profiled(profile)? };
    let archive = archive(&builder, &binary, &bundles)?;
    println!("{}", archive.display());
    Ok(())
}

/// Returns the folder where the binaries in the target folder look for their registry.
pub(crate) fn shipped() -> PathBuf {
    setup::target().join("share/blockyard/registry")
}

/// Creates a signed registry folder with these component files. `builder` is a built `blockyard`.
pub(crate) fn registry(builder: &Path, bundles: &[(String, PathBuf)], folder: &Path) -> Result {
    // The folder is a product of this build, not a registry whose releases anyone has installed.
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder).map_err(|error| format!("`{}`: {error}", folder.display()))?;
    let mut command = Command::new(builder);
    command.arg("publish").args(bundles.iter().map(|(_, file)| file));
    command.arg("--registry").arg(folder).args(["--name", "blockyard"]);
    match std::env::var_os(SIGNING_KEY).filter(|path| !path.is_empty()) {
        Some(path) => println!("dist: signing with the key in {}", Path::new(&path).display()),
        None => {
            let key = setup::target().join("dist/signing.key");
            println!("dist: {SIGNING_KEY} is not set; signing with the local key in {}", key.display());
            command.arg("--new-signing-key").arg(key);
        }
    }
    run(&mut command)
}

/// Creates the archive. Returns its path.
pub(crate) fn archive(builder: &Path, binary: &Path, bundles: &[(String, PathBuf)]) -> Result<PathBuf> {
    let dist = setup::target().join("dist");
    let name = format!("blockyard-{}-{}", env!("CARGO_PKG_VERSION"), setup::host_triple()?);
    let folder = dist.join(&name);
    let failed = |error: std::io::Error| format!("`{}`: {error}", folder.display());
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(folder.join("bin")).map_err(failed)?;
    let target = folder.join("bin").join(format!("blockyard{}", std::env::consts::EXE_SUFFIX));
    std::fs::copy(binary, target).map_err(failed)?;
    registry(builder, bundles, &folder.join("share/blockyard/registry"))?;
    for file in ["README.md", "LICENSE"] {
        std::fs::copy(setup::root().join(file), folder.join(file)).map_err(failed)?;
    }
    // Same input, same archive: sorted names, no owners.
    let archive = dist.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.args(["--create", "--gzip", "--sort=name", "--owner=0", "--group=0", "--numeric-owner"]);
    run(tar.arg("--file").arg(&archive).arg("--directory").arg(&dist).arg(&name))?;
    std::fs::remove_dir_all(&folder).map_err(failed)?;
    Ok(archive)
}
