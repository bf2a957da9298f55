//! Prerequisites of the tasks: the toolchain, the binary, the bundles and servers.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use blockyard_toolchain::{Acquire, BuildError, Profile, Toolchain};

use crate::{Result, run};

/// Returns the root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the repository").to_owned()
}

/// Returns cargo's target folder.
pub(crate) fn target() -> PathBuf {
    // Cargo commands of the tasks run in the root, and resolve a relative path there.
    root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// Returns the toolchain for bundles, installing the standard library for wasm32 if it is missing.
pub(crate) fn toolchain() -> Result<Toolchain> {
    let toolchain = Toolchain::find(&root(), Acquire::FromRustupOrPackages, &mut |text| println!("setup: {text}"))
        .map_err(|error| format!("{error}\n  tried: {}\n  hint: {}", error.tried.join("; "), error.hint()))?;
    match &toolchain {
        Toolchain::Installed => println!("setup: the compiler has the target {}", blockyard_toolchain::TARGET),
        Toolchain::FromSource { rustc, .. } => {
            println!(
                "setup: building the standard library for {} from the sources of {}",
                blockyard_toolchain::TARGET,
                rustc.display()
            );
        }
    }
    Ok(toolchain)
}

/// Builds the binary. Returns its path.
pub(crate) fn binary() -> Result<PathBuf> {
    println!("setup: building blockyard");
    // Builds with the features of the whole workspace, so that dependencies are built only once for
    // the binary and the tests.
    run(cargo().args(["build", "--workspace", "--bin", "blockyard", "--bin", "flights-etl"]))?;
    Ok(built("blockyard"))
}

/// Builds the binary with what the demo uses: without MySQL, OpenTelemetry, and the features that
/// only tests add to its dependencies, in the profile that compiles in the shortest time. Returns its
/// path.
pub(crate) fn small_binary() -> Result<PathBuf> {
    println!("setup: building blockyard");
    let package = ["--package", "blockyard-cli", "--bin", "blockyard", "--no-default-features"];
    run(cargo().args(["build", "--profile", "quick"]).args(package))?;
    Ok(target().join("quick").join(format!("blockyard{}", std::env::consts::EXE_SUFFIX)))
}

/// Returns the path of a program in the debug profile.
pub(crate) fn built(name: &str) -> PathBuf {
    target().join("debug").join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

/// Builds the binary and the benchmark program in the profile `dist`, that of the archive for users.
/// Returns their paths. A single command builds shared dependencies only once.
pub(crate) fn optimized() -> Result<(PathBuf, PathBuf)> {
    println!("setup: building blockyard in the profile `dist`");
    run(cargo().args(linker_options()?).args([
        "build",
        "--profile",
        "dist",
        "--package",
        "blockyard-cli",
        "--package",
        "blockyard-bench",
    ]))?;
    let built = |name: &str| target().join("dist").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    Ok((built("blockyard"), built("blockyard-bench")))
}

/// Builds the binary in a profile. Returns its path.
pub(crate) fn profiled(profile: &str) -> Result<PathBuf> {
    println!("setup: building blockyard in the profile `{profile}`");
    let options = if profile == "dist" { linker_options()? } else { Vec::new() };
    run(cargo().args(options).args(["build", "--package", "blockyard-cli", "--profile", profile]))?;
    Ok(target().join(profile).join(format!("blockyard{}", std::env::consts::EXE_SUFFIX)))
}

/// Returns the options of cargo that make the binary for users smaller, where rustc links with LLD:
/// functions with the same code are merged, and relocations are stored as bitmaps, which glibc 2.36
/// and later read (`DT_RELR`). The latter also make the program start faster.
fn linker_options() -> Result<Vec<String>> {
    const WITH_LLD: &str = "x86_64-unknown-linux-gnu";
    if host_triple()? != WITH_LLD {
        return Ok(Vec::new());
    }
    let flags = ["-Wl,--icf=all", "-Wl,-z,pack-relative-relocs"].map(|flag| format!("\"-Clink-arg={flag}\""));
    Ok(vec!["--config".to_owned(), format!("target.{WITH_LLD}.rustflags=[{}]", flags.join(", "))])
}

/// Returns the target triple of this machine, as the compiler names it.
pub(crate) fn host_triple() -> Result<String> {
    let output =
        Command::new("rustc").arg("-vV").output().map_err(|error| format!("`rustc` cannot be run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "`rustc -vV` does not name the host".to_owned())
}

/// Folders with the bundles of this repository and the guests of its tests, one crate each.
const BUNDLES: [&str; 2] = ["plugins", "tests/guests"];

/// Compiles the modules of all bundles. Unlike [`bundles`], which then finds them compiled, this
/// does not need the binary.
pub(crate) fn modules(toolchain: &Toolchain) -> Result {
    for parent in BUNDLES {
        for name in crates(parent)? {
            module(&format!("{parent}/{name}"), toolchain)?;
        }
    }
    Ok(())
}

/// Compiles the module of one bundle.
pub(crate) fn module(folder: &str, toolchain: &Toolchain) -> Result {
    println!("setup: compiling {folder}");
    let compiled = blockyard_toolchain::build(&root().join(folder), toolchain, Profile::Release);
    compiled.map(drop).map_err(|error| match &error {
        BuildError::Compile { output, .. } => format!("{error}: {output}"),
        _ => error.to_string(),
    })
}

/// Builds all bundles. Returns their names and files.
pub(crate) fn bundles() -> Result<Vec<(String, PathBuf)>> {
    let mut built = Vec::new();
    for parent in BUNDLES {
        built.extend(built_from(parent)?);
    }
    Ok(built)
}

/// Builds the bundles of this repository. Returns their names and files.
pub(crate) fn plugins() -> Result<Vec<(String, PathBuf)>> {
    built_from("plugins")
}

/// Returns whether a built bundle is one of this repository, not a guest of the tests.
pub(crate) fn is_plugin(name: &str) -> bool {
    root().join("plugins").join(name).is_dir()
}

fn built_from(parent: &str) -> Result<Vec<(String, PathBuf)>> {
    let crates = crates(parent)?.into_iter();
    crates.map(|name| bundle(&name, &format!("{parent}/{name}")).map(|file| (name, file))).collect()
}

/// Returns the names of the crates in a folder, in alphabetical order.
fn crates(parent: &str) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(root().join(parent)).map_err(|error| format!("`{parent}`: {error}"))?;
    let crates = entries.flatten().filter(|entry| entry.path().join("Cargo.toml").is_file());
    let mut names: Vec<String> = crates.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

/// Builds one bundle. Returns its file.
pub(crate) fn bundle(name: &str, folder: &str) -> Result<PathBuf> {
    println!("setup: building the bundle {name}");
    let binary = target().join("debug/blockyard");
    let dist = target().join("dist");
    std::fs::create_dir_all(&dist).map_err(|error| error.to_string())?;
    let file = dist.join(format!("{name}.wasm"));
    run(Command::new(&binary).arg("build").arg(root().join(folder)).arg("--out").arg(&file).arg("--quiet"))?;
    Ok(file)
}

/// Returns a cargo command in the root of the repository, with the environment of a shell. The
/// variables that the outer cargo sets for xtask's package would cause some build scripts to run
/// again.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|own| text.starts_with(own)) {
            command.env_remove(name);
        }
    }
    command
}

/// A program that tests require, and the Debian package that contains it.
#[derive(Clone, Copy)]
pub(crate) struct Need {
    pub(crate) program: &'static str,
    pub(crate) package: &'static str,
}

impl Need {
    fn is_installed(&self) -> bool {
        match self.program {
            // Debian's Python is installed without pip, which is a module.
            PIP => {
                let tried = Command::new("python3").args(["-m", "pip", "--version"]).output();
                tried.is_ok_and(|ran| ran.status.success())
            }
            program => find(program).is_some(),
        }
    }
}

/// Program of the [`Need`] for pip.
pub(crate) const PIP: &str = "python3 -m pip";

/// Checks that a program is installed, installing it if possible.
pub(crate) fn need(need: &Need) -> Result {
    if programs(std::slice::from_ref(need)).is_empty() {
        return Ok(());
    }
    Err(format!(
        "`{}` is not installed, and the Debian package `{}` could not be installed",
        need.program, need.package
    ))
}

/// Finds programs, installing their packages if this machine permits it. Returns the programs that
/// are still missing.
pub(crate) fn programs(needs: &[Need]) -> Vec<&'static str> {
    let mut packages: Vec<&str> = needs.iter().filter(|need| !need.is_installed()).map(|need| need.package).collect();
    packages.sort_unstable();
    packages.dedup();
    if !packages.is_empty() {
        println!("setup: installing the Debian packages {}", packages.join(", "));
        let install: Vec<&str> = ["install", "--yes", "--no-install-recommends"].into_iter().chain(packages).collect();
        if let Err(reason) = apt(&["update"]).and_then(|()| apt(&install)) {
            println!("setup: {reason}");
        }
    }
    missing(needs)
}

/// Returns the programs that are not installed.
pub(crate) fn missing(needs: &[Need]) -> Vec<&'static str> {
    needs.iter().filter(|need| !need.is_installed()).map(|need| need.program).collect()
}

/// Runs `apt-get` as root. The error contains the last lines that it printed.
fn apt(arguments: &[&str]) -> Result {
    const LINES: usize = 5;
    let mut command = if is_root() {
        Command::new("apt-get")
    } else {
        let mut sudo = Command::new("sudo");
        // Without a question for a password.
        sudo.args(["-n", "apt-get"]);
        sudo
    };
    let shown = format!("apt-get {}", arguments.join(" "));
    let ran = command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).output();
    let ran = ran.map_err(|error| format!("`{shown}` cannot be run: {error}"))?;
    if ran.status.success() {
        return Ok(());
    }
    let printed = String::from_utf8_lossy(&ran.stderr);
    let lines: Vec<&str> = printed.lines().collect();
    let last = lines[lines.len().saturating_sub(LINES)..].join("\n  ");
    Err(format!("`{shown}` failed ({}):\n  {last}", ran.status))
}

/// Returns whether this process runs as root.
pub(crate) fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Returns whether a process may mount file systems in a user namespace on this machine.
pub(crate) fn may_mount() -> bool {
    let tried = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"])
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

/// Finds a program in PATH, in the folders of servers, which are in the PATH of root only, or among
/// those of PostgreSQL, which Debian does not include in PATH.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut postgres: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    postgres.sort();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .chain(postgres.into_iter().rev())
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
