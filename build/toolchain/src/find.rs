//! Finding, or getting, a standard library for WebAssembly.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::TARGET;

/// Debian's packages: a compiler, the sources of its standard library, a linker.
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "rust-web-src", "lld"];
/// Where Debian's compiler is.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// A way to compile for WebAssembly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchain {
    /// The compiler in use has the target.
    Installed,
    /// Another compiler, with the sources of its standard library, which cargo builds.
    FromSource {
        /// That compiler.
        rustc: PathBuf,
        /// A linker for WebAssembly.
        linker: PathBuf,
    },
}

/// What may be done to get what is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acquire {
    /// Ask rustup for the target.
    FromRustup,
    /// As above, and install the distribution's packages where that is possible.
    FromRustupOrPackages,
}

/// None of the ways works.
#[derive(Debug, thiserror::Error)]
#[error("there is no standard library for {TARGET}")]
pub struct ToolchainError {
    /// What was tried, and why it did not work.
    pub tried: Vec<String>,
}

impl ToolchainError {
    /// What a person can do.
    #[must_use]
    pub fn hint(&self) -> String {
        format!(
            "run `rustup target add {TARGET}`; or, on Debian and where rustup cannot download, `apt-get install {}`",
            DEBIAN_PACKAGES.join(" ")
        )
    }
}

impl Toolchain {
    /// Finds a way to compile the crate in a folder for WebAssembly, and gets one if there is none. `say` is
    /// told each step. Compilers run in that folder, because `rust-toolchain.toml` chooses one by folder.
    ///
    /// # Errors
    /// [`ToolchainError`] with what was tried.
    pub fn find(folder: &Path, acquire: Acquire, say: &mut dyn FnMut(&str)) -> Result<Self, ToolchainError> {
        let mut tried = Vec::new();
        if has_target(folder) {
            return Ok(Self::Installed);
        }
        tried.push(format!("the compiler in use has no target {TARGET}"));

        say(&format!("asking rustup for the target {TARGET}"));
        match run(Command::new("rustup").args(["target", "add", TARGET]).current_dir(folder)) {
            Ok(()) if has_target(folder) => return Ok(Self::Installed),
            Ok(()) => tried.push("rustup added the target to another compiler than the one in use".to_owned()),
            Err(reason) => tried.push(format!("rustup: {reason}")),
        }
        // Debian's packages: there already, or to be installed.
        if let Ok(found) = Self::from_source(folder) {
            return Ok(found);
        }
        if acquire == Acquire::FromRustupOrPackages
            && let Err(reason) = install_packages(say)
        {
            tried.push(format!("Debian's packages: {reason}"));
        }
        Self::from_source(folder).map_err(|reason| {
            tried.push(reason);
            ToolchainError { tried }
        })
    }

    fn from_source(folder: &Path) -> Result<Self, String> {
        let rustc = PathBuf::from(DEBIAN_RUSTC);
        if !rustc.exists() {
            return Err(format!("there is no {DEBIAN_RUSTC}"));
        }
        let sysroot = sysroot(&rustc, folder)?;
        let sources = sysroot.join("lib/rustlib/src/rust/library/std/Cargo.toml");
        if !sources.exists() {
            return Err(format!("{DEBIAN_RUSTC} has no sources of its standard library ({})", sources.display()));
        }
        let linker = linker(folder).ok_or("there is no rust-lld and no wasm-ld")?;
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

/// rustup's compiler brings `rust-lld`; Debian's `lld` brings `wasm-ld`.
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

fn install_packages(say: &mut dyn FnMut(&str)) -> Result<(), String> {
    if run(Command::new("apt-get").arg("--version")).is_err() {
        return Err("this machine has no apt-get".to_owned());
    }
    say(&format!("installing Debian's {}", DEBIAN_PACKAGES.join(", ")));
    let apt =
        |arguments: &[&str]| run(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"));
    let install: Vec<&str> =
        ["install", "--yes", "--no-install-recommends"].into_iter().chain(DEBIAN_PACKAGES).collect();
    apt(&["update"])?;
    apt(&install)
}

/// Runs a command; what it printed last is the reason where it fails.
fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let reason = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it failed without a word");
    Err(reason.trim().to_owned())
}
