//! Structure of the workspace: the permitted dependencies between its crates.

use std::path::Path;

use blockyard_tests::environment::cargo;
use blockyard_tests::root;
use serde_json::Value;

/// Folders of bundles. Each crate in them depends on the SDK only.
const BUNDLES: [&str; 3] = ["plugins", "tests/guests", "bench/guest"];

/// Each other crate of the workspace with the workspace crates that it may depend on.
const ARROWS: [(&str, &[&str]); 20] = [
    ("blockyard-model", &[]),
    ("blockyard-toolchain", &[]),
    ("blockyard-store", &["blockyard-model"]),
    ("blockyard-vault", &["blockyard-model"]),
    ("blockyard-registry", &["blockyard-model"]),
    ("blockyard-call", &["blockyard-model"]),
    ("blockyard-sql", &["blockyard-model", "blockyard-call"]),
    ("blockyard-http", &["blockyard-model", "blockyard-call"]),
    ("blockyard-host", &["blockyard-model", "blockyard-call", "blockyard-sql", "blockyard-http"]),
    ("blockyard-telemetry", &[]),
    (
        "blockyard",
        &[
            "blockyard-model",
            "blockyard-store",
            "blockyard-vault",
            "blockyard-registry",
            "blockyard-host",
            "blockyard-telemetry",
        ],
    ),
    ("blockyard-build", &["blockyard", "blockyard-toolchain"]),
    ("blockyard-cli", &["blockyard", "blockyard-build"]),
    ("blockyard-sdk-macros", &[]),
    // The tests of the SDK enable its features, by a dependency on itself.
    ("blockyard-sdk", &["blockyard-sdk", "blockyard-sdk-macros"]),
    ("blockyard-example-etl", &["blockyard"]),
    ("blockyard-tests", &["blockyard"]),
    ("blockyard-bench", &["blockyard"]),
    ("blockyard-fuzz", &["blockyard", "blockyard-host", "blockyard-sql", "blockyard-sdk"]),
    ("xtask", &["blockyard-toolchain"]),
];

/// Libraries that only the listed crates may depend on.
const CONFINED: [(&str, &[&str]); 12] = [
    // `bench` uses wasmtime and sqlx directly, as the baseline for its comparisons.
    ("wasmtime", &["blockyard-call", "blockyard-sql", "blockyard-http", "blockyard-host", "blockyard-bench"]),
    ("keyring", &["blockyard-vault"]),
    ("chacha20poly1305", &["blockyard-vault"]),
    ("sqlx", &["blockyard-store", "blockyard-sql", "blockyard-bench"]),
    // The SDK has fakes of the host for the tests of bundles, behind features.
    ("rusqlite", &["blockyard-sql", "blockyard-sdk"]),
    ("opentelemetry", &["blockyard-telemetry"]),
    ("wit-bindgen", &["blockyard-sdk"]),
    ("jsonschema", &["blockyard-model"]),
    // The tests include HTTP and TLS servers.
    ("hyper", &["blockyard-http", "blockyard-tests"]),
    ("rustls", &["blockyard-http", "blockyard-telemetry", "blockyard-registry", "blockyard-tests"]),
    ("reqwest", &["blockyard-registry", "blockyard-bench"]),
    ("ring", &["blockyard-call", "blockyard-host", "blockyard-sdk"]),
];

/// Returns cargo's description of each crate of the workspace.
pub(crate) fn crates() -> Vec<Value> {
    let output = cargo()
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo's metadata");
    metadata["packages"].as_array().expect("packages").clone()
}

/// Returns the names of the crates that a crate may depend on.
fn allowed(package: &Value) -> &'static [&'static str] {
    let name = package["name"].as_str().expect("a name");
    let manifest = Path::new(package["manifest_path"].as_str().expect("a path"));
    if BUNDLES.iter().any(|folder| manifest.starts_with(root().join(folder))) {
        return &["blockyard-sdk"];
    }
    let arrow = ARROWS.iter().find(|(known, _)| *known == name);
    arrow.unwrap_or_else(|| panic!("`{name}` is missing in `ARROWS`")).1
}

#[test]
fn crates_depend_only_in_permitted_directions() {
    let packages = crates();
    let ours: Vec<&str> = packages.iter().map(|package| package["name"].as_str().expect("a name")).collect();
    for (name, _) in ARROWS {
        assert!(ours.contains(&name), "`{name}` in `ARROWS` is not a crate of the workspace");
    }
    for package in &packages {
        let (name, allowed) = (package["name"].as_str().expect("a name"), allowed(package));
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let dependency_name = dependency["name"].as_str().expect("a name");
            if ours.contains(&dependency_name) {
                assert!(allowed.contains(&dependency_name), "`{name}` must not depend on `{dependency_name}`");
            }
            if let Some((_, homes)) = CONFINED.iter().find(|(library, _)| *library == dependency_name) {
                assert!(homes.contains(&name), "`{name}` must not use `{dependency_name}`");
            }
        }
    }
}

#[test]
fn each_crate_has_complete_metadata() {
    for package in crates() {
        for field in ["description", "license", "repository", "homepage", "rust_version"] {
            let value = package[field].as_str().unwrap_or_default();
            assert!(!value.is_empty(), "`{}` has no `{field}` in its Cargo.toml", package["name"]);
        }
    }
}

/// Returns the path in the repository and the code without comments of each source file in `core`.
fn code_of_the_core() -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut folders = vec![root().join("core")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            let name = path.strip_prefix(root()).expect("in the repository").to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".rs") {
                let text = std::fs::read_to_string(&path).expect("a source file");
                let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
                files.push((name, code.join("\n")));
            }
        }
    }
    assert!(files.len() > 100, "the core has sources");
    files
}

#[test]
fn core_neither_prints_nor_reads_the_environment() {
    // Three modules read the environment by design and document it; tests find their servers in
    // environment variables.
    let allowed = [
        "core/engine/src/key_source.rs",
        "core/engine/src/keys.rs",
        "core/engine/src/call.rs",
        "core/engine/tests/",
        "core/capability/sql/src/tests/",
        "core/store/tests/",
    ];
    for (name, code) in code_of_the_core() {
        if !allowed.iter().any(|prefix| name.starts_with(prefix)) {
            for word in ["println!", "eprintln!", "env::var", "current_dir("] {
                assert!(!code.contains(word), "{name} contains `{word}`");
            }
        }
    }
}

#[test]
fn core_names_no_command_or_flag() {
    for (name, code) in code_of_the_core() {
        for word in ["`blockyard ", "exit_code"] {
            assert!(!code.contains(word), "{name} contains `{word}`");
        }
        let flag =
            code.match_indices("`--").find(|(at, _)| code[at + 3..].starts_with(|c: char| c.is_ascii_lowercase()));
        assert!(flag.is_none(), "{name} names a flag: {}", &code[flag.map_or(0, |(at, _)| at)..][..20]);
    }
}

/// Returns the names of all crates that `blockyard` links with these flags.
fn links(flags: &[&str]) -> String {
    let output = cargo()
        .args(["tree", "--package", "blockyard", "--edges", "normal", "--prefix", "none", "--offline"])
        .args(flags)
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("names")
}

#[test]
fn minimal_engine_links_only_what_it_needs() {
    let (all, small) = (links(&[]), links(&["--no-default-features"]));
    for library in ["sqlx-mysql ", "opentelemetry ", "reqwest "] {
        assert!(all.contains(library) && !small.contains(library), "{library}");
    }
    assert!(
        !all.contains("blockyard-toolchain ") && !all.contains("blockyard-build "),
        "the engine must not link the toolchain"
    );
}

/// The package of the SDK contains only files of its own folder.
#[test]
fn the_sdk_has_the_interfaces_of_the_host() {
    let folders = ["schemas/wit", "sdk/rust/wit"].map(|folder| root().join(folder));
    let files = folders.each_ref().map(|folder| {
        let mut found = std::collections::BTreeMap::new();
        for version in std::fs::read_dir(folder).expect("a folder").flatten() {
            for file in std::fs::read_dir(version.path()).expect("a folder").flatten() {
                let text = std::fs::read_to_string(file.path()).expect("a file");
                found.insert((version.file_name(), file.file_name()), text);
            }
        }
        found
    });
    assert!(!files[0].is_empty() && files[0] == files[1], "copy schemas/wit to sdk/rust/wit");
}

/// `cargo package` accepts the crates of the SDK, and the package contains the interfaces.
#[test]
fn the_sdk_can_be_packaged() {
    let target = tempfile::tempdir().expect("a folder");
    let output = cargo()
        .args(["package", "-p", "blockyard-sdk-macros", "-p", "blockyard-sdk"])
        .args(["--no-verify", "--offline", "--allow-dirty", "--target-dir"])
        .arg(target.path())
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let package = std::fs::read_dir(target.path().join("package")).expect("packages").flatten();
    let packages: Vec<_> = package.filter(|file| file.path().extension().is_some_and(|end| end == "crate")).collect();
    assert_eq!(packages.len(), 2);
    let sdk = packages.iter().find(|file| file.file_name().to_string_lossy().starts_with("blockyard-sdk-0"));
    let listed = std::process::Command::new("tar").arg("-tzf").arg(sdk.expect("the SDK").path()).output();
    let listed = String::from_utf8_lossy(&listed.expect("tar runs").stdout).into_owned();
    assert!(listed.contains("/wit/v0_1/bundle.wit"), "{listed}");
}
