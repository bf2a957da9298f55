//! Environment of the programs that the tests run. It is built from an explicit list, so that the
//! settings of the machine and of the user (locale, time zone, proxies, `PG*`, `XDG_*`,
//! `BLOCKYARD_*`) never affect a result.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

/// Variables that are passed on unchanged: the location of programs, and of the profiles that
/// coverage tools collect.
const PASSED_ON: [&str; 2] = ["PATH", "LLVM_PROFILE_FILE"];

/// Variables that are passed on to cargo only, which may download crates: proxies and certificate
/// authorities.
const NETWORK: [&str; 13] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CURL_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
    "CARGO_HTTP_PROXY",
];

/// Returns a command that runs a program in the environment of the tests, with an empty home
/// folder. [`TestYard::program`](crate::TestYard::program) adds the environment of a yard.
///
/// # Panics
/// If the home folder cannot be created.
#[must_use]
pub fn program(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    pass_on(&mut command, &PASSED_ON);
    command.env("HOME", home()).env("TMPDIR", std::env::temp_dir()).env("LANG", "C.UTF-8").env("TZ", "UTC");
    command
}

fn pass_on(command: &mut Command, names: &[&str]) {
    for name in names {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
}

/// Returns the home folder of the programs of this process. Other processes of tests have another
/// one. It remains when the process ends, because a static value is not dropped.
fn home() -> &'static Path {
    static HOME: OnceLock<TempDir> = OnceLock::new();
    let create = || tempfile::Builder::new().prefix("blockyard-home-").tempdir().expect("a temporary folder");
    HOME.get_or_init(create).path()
}

/// Returns a command that runs cargo with the user's toolchains, downloaded crates and network.
///
/// # Panics
/// If the user has no home folder.
#[must_use]
pub fn cargo() -> Command {
    with_cargo(program("cargo"))
}

/// Lets a program run cargo with the user's toolchains, downloaded crates and network.
///
/// # Panics
/// If the user has no home folder.
#[must_use]
pub fn with_cargo(mut command: Command) -> Command {
    let folder = |variable: &str, name: &str| {
        let home = || std::env::home_dir().expect("a home folder").join(name);
        std::env::var_os(variable).map_or_else(home, PathBuf::from)
    };
    pass_on(&mut command, &NETWORK);
    command.env("CARGO_HOME", folder("CARGO_HOME", ".cargo")).env("RUSTUP_HOME", folder("RUSTUP_HOME", ".rustup"));
    command
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::{TestYard, run_command};

    /// Returns the names of the variables that a program receives.
    fn names(program: &mut Command) -> String {
        let environment = run_command(program, None).stdout;
        let mut names: Vec<&str> =
            environment.lines().filter_map(|line| line.split_once('=').map(|(name, _)| name)).collect();
        // Set only if coverage is measured.
        names.retain(|name| *name != "LLVM_PROFILE_FILE");
        names.sort_unstable();
        names.join(" ")
    }

    #[test]
    fn only_listed_variables_are_passed_on() {
        expect!["HOME LANG PATH TMPDIR TZ"].assert_eq(&names(&mut program("env")));
        let yard = TestYard::empty();
        expect!["BLOCKYARD_YARD HOME LANG PATH PGPASSWORD TMPDIR TZ XDG_CACHE_HOME"]
            .assert_eq(&names(&mut yard.program("env")));
        assert_eq!(
            run_command(yard.program("pwd").arg("-P"), None).stdout.trim(),
            yard.path(".").canonicalize().expect("a folder").display().to_string()
        );
    }

    #[test]
    fn cargo_receives_its_folders() {
        let mut cargo = cargo();
        let names: Vec<String> = cargo.get_envs().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
        assert!(names.contains(&"CARGO_HOME".to_owned()) && names.contains(&"RUSTUP_HOME".to_owned()), "{names:?}");
        assert_eq!(run_command(cargo.arg("--version").current_dir(crate::root()), None).code, 0);
    }
}
