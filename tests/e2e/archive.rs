//! The archive for users: unpacked into an empty folder, it works at once, with an empty home, an
//! empty cache, no network and no Rust.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use blockyard_tests::{available, required, root, run_command};

/// Programs that a user of the archive does not have.
const RUST: [&str; 3] = ["cargo", "rustc", "rustup"];

/// The unpacked archive, with an empty home.
struct Unpacked {
    folder: tempfile::TempDir,
    home: PathBuf,
    top: PathBuf,
    /// `true` if programs run without a network.
    isolated: bool,
}

impl Unpacked {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let archive = required("BLOCKYARD_TEST_ARCHIVE");
        let tar = Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(folder.path()).status();
        assert!(tar.expect("tar runs").success());
        let entries: Vec<_> = fs::read_dir(folder.path()).expect("a folder").flatten().collect();
        assert_eq!(entries.len(), 1, "one folder at the top");
        let top = entries[0].path();
        let home = folder.path().join("home");
        for folder in [home.clone(), folder.path().join("tmp"), folder.path().join("stubs")] {
            fs::create_dir(folder).expect("a folder");
        }
        let unpacked = Self { folder, home, top, isolated: available("BLOCKYARD_TEST_MOUNTS") };
        for program in RUST {
            let stub = unpacked.path("stubs").join(program);
            let script = format!("#!/bin/sh\necho {program} >> '{}'\nexit 127\n", unpacked.path("calls").display());
            fs::write(&stub, script).expect("a file");
            fs::set_permissions(&stub, fs::Permissions::from_mode(0o755)).expect("chmod");
        }
        unpacked
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the programs of Rust that were called since the last time, one per line.
    fn calls(&self) -> String {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        let _ = fs::remove_file(self.path("calls"));
        calls
    }

    /// Returns a shell that runs a line with the unpacked binary, with an empty environment, and
    /// without a network if this machine permits that.
    fn shell(&self, line: &str) -> Command {
        let script = format!("set -o pipefail; {line}");
        let mut shell = if self.isolated {
            let mut isolated = Command::new("unshare");
            isolated.args(["--map-root-user", "--net", "bash", "-c", &script]);
            isolated
        } else {
            let mut shell = Command::new("bash");
            shell.args(["-c", &script]);
            shell
        };
        // The stubs precede an installed Rust.
        let path = format!("{}:{}:/usr/bin:/bin", self.path("stubs").display(), self.top.join("bin").display());
        shell.env_clear().env("PATH", path).env("HOME", &self.home).env("TMPDIR", self.path("tmp"));
        shell.current_dir(&self.home);
        shell
    }

    fn ok(&self, line: &str) -> String {
        let output = run_command(&mut self.shell(line), None);
        assert_eq!(output.code, 0, "`{line}`: {}{}", output.stdout, output.stderr);
        output.stdout + &output.stderr
    }
}

#[test]
fn readme_tutorial_runs_from_the_archive() {
    let unpacked = Unpacked::new();
    for program in RUST {
        assert_eq!(run_command(&mut unpacked.shell(program), None).code, 127);
        assert_eq!(unpacked.calls(), format!("{program}\n"));
    }
    for file in ["README.md", "LICENSE", "share/blockyard/registry/registry.toml"] {
        assert!(unpacked.top.join(file).is_file(), "{file}");
    }
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    let tour = readme.split_once("## A tour").expect("the tour").1;
    let commands: Vec<String> = tour
        .lines()
        .filter_map(|line| line.strip_prefix("$ "))
        .map(|line| line.replace("/tmp/", &format!("{}/", unpacked.home.display())))
        .collect();
    assert!(commands.iter().any(|line| line == "blockyard install sql --yes"), "{commands:?}");
    assert!(commands.len() > 10, "{commands:?}");
    for line in commands {
        unpacked.ok(&line);
    }
    assert_eq!(unpacked.calls(), "", "the tour must not need Rust");
    let bundles = unpacked.ok("blockyard bundles --json");
    let key = registry_key(&unpacked.top);
    assert!(bundles.contains(&format!("signed {key}")), "{bundles}");
}

#[test]
fn every_bundle_of_the_archive_installs_and_verifies() {
    let unpacked = Unpacked::new();
    for name in plugins() {
        let out = unpacked.ok(&format!("blockyard install {name} --yes"));
        assert!(out.contains(&format!("signer: {}", registry_key(&unpacked.top))), "{out}");
    }
    assert_eq!(unpacked.calls(), "", "an installation must not need Rust");
    // A binary that is reached through a link finds the registry, too.
    let link = unpacked.home.join("blockyard");
    std::os::unix::fs::symlink(unpacked.top.join("bin/blockyard"), &link).expect("a link");
    unpacked.ok(&format!("{} install sql --yes", link.display()));
    // A registry that other users can write is not used.
    let registry = unpacked.top.join("share/blockyard/registry/registry.toml");
    fs::set_permissions(&registry, fs::Permissions::from_mode(0o666)).expect("chmod");
    let refused = run_command(&mut unpacked.shell("blockyard --yard sqlite:other.db install sql --yes"), None);
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(refused.stderr.contains("is not used"), "{}", refused.stderr);
}

fn plugins() -> Vec<String> {
    let folders = fs::read_dir(root().join("plugins")).expect("the plugins").flatten();
    folders
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn registry_key(top: &Path) -> String {
    let text = fs::read_to_string(top.join("share/blockyard/registry/registry.toml")).expect("an index");
    let index: toml::Table = text.parse().expect("TOML");
    index["key"].as_str().expect("a key").to_owned()
}
