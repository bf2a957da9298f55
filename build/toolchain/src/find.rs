//! Finds or installs a WebAssembly standard library.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::TARGET;

/// Debian packages: a compiler, the sources of its standard library, and a linker.
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "rust-web-src", "lld"];
/// Path of Debian's compiler.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// A toolchain that compiles for WebAssembly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchain {
    /// The default compiler, which has the target installed.
    Installed,
    /// A separate compiler with the sources of its standard library, which cargo builds.
    FromSource {
        /// Path of the compiler.
        rustc: PathBuf,
        /// Path of a linker for WebAssembly.
        linker: PathBuf,
    },
}

/// Permitted ways to install a missing target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acquire {
    /// Install the target with rustup.
    FromRustup,
    /// Install the target with rustup or, if that fails, the distribution's packages.
    FromRustupOrPackages,
}

/// No toolchain for WebAssembly was found.
#[derive(Debug, thiserror::Error)]
#[error("no standard library for {TARGET} found")]
pub struct ToolchainError {
    /// The attempted ways, each with the reason why it failed.
    pub tried: Vec<String>,
}

impl ToolchainError {
    /// Returns a hint that names the commands to run.
    #[must_use]
    pub fn hint(&self) -> String {
        format!(
            "run `rustup target add {TARGET}`; or, on Debian if rustup cannot download, `apt-get install {}`",
            DEBIAN_PACKAGES.join(" ")
        )
    }
}

impl Toolchain {
    /// Finds a toolchain that compiles the crate in `folder` for WebAssembly, and installs the
    /// target if it is missing. `report` is called with a progress message before each step. Compilers
    /// run in `folder`, because `rust-toolchain.toml` selects the toolchain by folder.
    ///
    /// # Errors
    /// Returns a [`ToolchainError`] that lists the attempts.
    pub fn find(folder: &Path, acquire: Acquire, report: &mut dyn FnMut(&str)) -> Result<Self, ToolchainError> {
        let mut tried = Vec::new();
        if has_target(folder) {
            return Ok(Self::Installed);
        }
        tried.push(format!("the default compiler does not have the target {TARGET}"));

        report(&format!("installing the target {TARGET} with rustup"));
        match run(Command::new("rustup").args(["target", "add", TARGET]).current_dir(folder)) {
            Ok(()) if has_target(folder) => return Ok(Self::Installed),
            Ok(()) => tried.push("rustup added the target to a compiler that is not the default".to_owned()),
            Err(reason) => tried.push(format!("rustup: {reason}")),
        }
        // Debian's packages may already be installed.
        if let Ok(found) = Self::from_source(folder) {
            return Ok(found);
        }
        if acquire == Acquire::FromRustupOrPackages
            && let Err(reason) = install_packages(report)
        {
            tried.push(format!("Debian's packages: {reason}"));
        }
        Self::from_source(folder).map_err(|reason| {
            tried.push(reason);
            ToolchainError { tried }
        })
    }

    /// Returns the version of the compiler that builds the crate in `folder`, with its commit. `None` if it cannot be
    /// run.
    #[must_use]
    pub fn version(&self, folder: &Path) -> Option<String> {
        let rustc = match self {
            Self::Installed => Path::new("rustc"),
            Self::FromSource { rustc, .. } => rustc,
        };
        let output = Command::new(rustc).arg("--version").current_dir(folder).stderr(Stdio::null()).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        text.trim().strip_prefix("rustc ").map(str::to_owned)
    }

    fn from_source(folder: &Path) -> Result<Self, String> {
        let rustc = PathBuf::from(DEBIAN_RUSTC);
        if !rustc.exists() {
            return Err(format!("{DEBIAN_RUSTC} does not exist"));
        }
        let sysroot = sysroot(&rustc, folder)?;
        let sources = sysroot.join("lib/rustlib/src/rust/library/std/Cargo.toml");
        if !sources.exists() {
            return Err(format!(
                "the sources of the standard library of {DEBIAN_RUSTC} are missing: {}",
                sources.display()
            ));
        }
        let linker = linker(folder).ok_or("neither rust-lld nor wasm-ld found")?;
        Ok(Self::FromSource { rustc, linker })
    }
}

fn has_target(folder: &Path) -> bool {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", TARGET]).current_dir(folder);
    let output = rustc.stderr(Stdio::null()).output();
    output.is_ok_and(|output| {
        output.status.success() && Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir()
    })
}

fn sysroot(rustc: &Path, folder: &Path) -> Result<PathBuf, String> {
    let output = Command::new(rustc)
        .args(["--print", "sysroot"])
        .current_dir(folder)
        .output()
        .map_err(|error| format!("{}: {error}", rustc.display()))?;
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// Finds a linker: `rust-lld`, which rustup's compiler includes, or `wasm-ld` from Debian's package
/// `lld`.
fn linker(folder: &Path) -> Option<PathBuf> {
    let own = sysroot(Path::new("rustc"), folder).ok().and_then(|sysroot| {
        let hosts = std::fs::read_dir(sysroot.join("lib/rustlib")).ok()?;
        hosts.flatten().map(|host| host.path().join("bin/rust-lld")).find(|path| path.exists())
    });
    own.or_else(|| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|folder| folder.join("wasm-ld")).find(|path| path.exists())
    })
}

fn install_packages(report: &mut dyn FnMut(&str)) -> Result<(), String> {
    if run(Command::new("apt-get").arg("--version")).is_err() {
        return Err("this machine has no apt-get".to_owned());
    }
    report(&format!("installing Debian's {}", DEBIAN_PACKAGES.join(", ")));
    let apt =
        |arguments: &[&str]| run(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"));
    let install: Vec<&str> =
        ["install", "--yes", "--no-install-recommends"].into_iter().chain(DEBIAN_PACKAGES).collect();
    apt(&["update"])?;
    apt(&install)
}

/// Runs a command. On failure, returns the last line of its standard error.
fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let reason = text
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("the command failed without an error message");
    Err(reason.trim().to_owned())
}
