//! `blockyard new`: with the binary and cargo only, a new crate is tested, built, installed, called,
//! changed and upgraded.

use std::path::{Path, PathBuf};

use blockyard_tests::environment::with_cargo;
use blockyard_tests::web::{Answer, Web};
use blockyard_tests::{CommandOutput, TestYard, root, run_command};
use serde_json::json;

/// Maximum size of the bundle of the template in bytes.
const BYTES: u64 = 200_000;

/// Runs a program with cargo in a folder of the yard.
fn run(yard: &TestYard, folder: &Path, program: &[&str]) -> CommandOutput {
    let mut command = match program {
        ["blockyard", arguments @ ..] => yard.command(arguments),
        [program, arguments @ ..] => {
            let mut command = yard.program(program);
            command.args(arguments);
            command
        }
        [] => panic!("a program"),
    };
    command.current_dir(folder).env("CARGO_PROFILE_DEV_DEBUG", "0");
    run_command(&mut with_cargo(command), None)
}

fn ok(yard: &TestYard, folder: &Path, program: &[&str]) -> String {
    let output = run(yard, folder, program);
    assert_eq!(output.code, 0, "{program:?}: {}{}", output.stdout, output.stderr);
    output.stdout + &output.stderr
}

/// Renames a field in version 2 of the block type, and converts the configuration of version 1.
pub(crate) fn change_type(source: &Path) {
    let before = std::fs::read_to_string(source).expect("the source");
    let start = before.find("/// Access to an HTTP API.").expect("the struct");
    let end = before.find("#[operations]").expect("the operations");
    let old = before[start..end].replace("pub struct Acme ", "pub struct AcmeV1 ");
    let new = before[start..end]
        .replace("version = 1, title = \"Acme\"", "version = 2, title = \"Acme\", previous = AcmeV1")
        .replace("base_url: String", "url: String")
        .replace("{config.base_url}", "{config.url}");
    let conversion = "impl From<AcmeV1> for Acme {\n    fn from(old: AcmeV1) -> Self {\n        \
                      Self { url: old.base_url, token: old.token }\n    }\n}\n\n";
    let rest = before[end..].replace("self.base_url", "self.url").replace("{config.base_url}", "{config.url}");
    let rest = rest.replace("\"base_url\":", "\"url\":");
    std::fs::write(source, [&before[..start], &old, &new, conversion, &rest].concat()).expect("the source");
}

#[test]
fn a_new_bundle_is_tested_built_installed_and_upgraded() {
    let web = Web::start(|request| match (request.target.as_str(), request.header("authorization")) {
        ("/v1/items", "Bearer t0ken") => Answer::text(r#"["lion"]"#),
        _ => Answer::status(404),
    });
    let yard = TestYard::empty();
    let home = yard.path(".");
    let crate_folder = home.join("acme");
    // The crate is built by itself, although it is in the folder of another workspace.
    std::fs::write(home.join("Cargo.toml"), "[workspace]\n").expect("a file");
    let printed = ok(&yard, &home, &["blockyard", "new", "acme/"]);
    assert!(printed.contains("created acme/ with the bundle `acme` and the block type `acme`"), "{printed}");
    assert!(printed.contains("add it to `exclude`"), "{printed}");

    // `--locked` fails if the lock file is incomplete; `--offline` if it names other versions than the tests.
    let tested = ok(&yard, &crate_folder, &["cargo", "test", "--locked", "--offline"]);
    assert!(tested.contains("test result: ok. 1 passed"), "{tested}");

    ok(&yard, &crate_folder, &["blockyard", "build"]);
    let file = crate_folder.join("acme-0.1.0.wasm");
    let bytes = std::fs::metadata(&file).expect("the bundle").len();
    assert!(bytes <= BYTES, "the bundle of the template has {bytes} bytes");
    let file = file.display().to_string();
    yard.ok(&["install", &file, "--yes", "--grant", &format!("http {}", web.url())]);
    let base = format!("base_url={}", web.url());
    let create = ["create", "acme/main", "--set", &base, "--secret", "token=-"];
    yard.ok_with_input(&create, "t0ken");
    assert_eq!(yard.json(&["call", "acme/main", "get", "--path", "v1/items"]), json!(["lion"]));

    change_type(&crate_folder.join("src/lib.rs"));
    let manifest = crate_folder.join("Cargo.toml");
    let text = std::fs::read_to_string(&manifest).expect("a file");
    std::fs::write(&manifest, text.replace("version = \"0.1.0\"", "version = \"0.2.0\"")).expect("a file");
    ok(&yard, &crate_folder, &["blockyard", "build"]);
    yard.ok(&["install", &file.replace("0.1.0", "0.2.0"), "--yes", "--grant", "http {config.url}", "--replace"]);
    yard.ok(&["upgrade", "acme", "--yes"]);
    assert_eq!(yard.config("acme/main")["url"], json!(web.url()));
    assert_eq!(yard.json(&["call", "acme/main", "get", "--path", "v1/items"]), json!(["lion"]));
}

#[test]
fn versions_in_the_lock_file_of_a_new_crate_are_those_of_the_tests() {
    let yard = TestYard::empty();
    ok(&yard, &yard.path("."), &["blockyard", "new", "zoo", "--type", "animal"]);
    let packages = |path: PathBuf| -> Vec<(String, String)> {
        let lock: toml::Table = std::fs::read_to_string(path).expect("a lock file").parse().expect("TOML");
        let text = |package: &toml::Value, key: &str| package[key].as_str().expect("a text").to_owned();
        let packages = lock["package"].as_array().expect("packages");
        packages.iter().map(|package| (text(package, "name"), text(package, "version"))).collect()
    };
    let tested = packages(root().join("Cargo.lock"));
    let locked = packages(yard.path("zoo/Cargo.lock"));
    assert!(locked.len() > 30, "{locked:?}");
    let other: Vec<_> =
        locked.iter().filter(|package| !tested.contains(package) && package.0 != "bundle-zoo").collect();
    assert!(other.is_empty(), "update build/template/Cargo.lock.in: {other:?}");
}

#[test]
fn a_wrong_path_or_name_creates_nothing() {
    let yard = TestYard::empty();
    std::fs::create_dir(yard.path("full")).expect("a folder");
    std::fs::write(yard.path("full/file"), "mine").expect("a file");
    for (code, arguments, expected) in [
        (6, &["new", "full"][..], "is not empty"),
        (6, &["new", "full/file"], "is not a folder"),
        (4, &["new", "my_acme"], "name the folder `my-acme`"),
        (4, &["new", "/"], "does not end in the name of a bundle"),
        (2, &["new", "acme", "--type", "a_b"], "has the character `_`"),
        (2, &["new", "acme", "--sdk", "newest"], "--sdk"),
        (2, &["new"], "PATH"),
    ] {
        let refused = yard.fails(code, arguments);
        assert!(refused.contains(expected), "{arguments:?}: {refused}");
    }
    let left: Vec<_> = std::fs::read_dir(yard.path(".")).expect("a folder").flatten().map(|e| e.file_name()).collect();
    assert!(!left.iter().any(|name| name == "acme" || name == "my_acme"), "{left:?}");
    assert_eq!(std::fs::read_dir(yard.path("full")).expect("a folder").count(), 1);
}

#[test]
fn a_published_sdk_is_a_requirement() {
    let yard = TestYard::empty();
    yard.ok(&["new", "acme", "--sdk", "0.1"]);
    let manifest = std::fs::read_to_string(yard.path("acme/Cargo.toml")).expect("a file");
    assert!(manifest.contains("blockyard-sdk = \"^0.1\""), "{manifest}");
}
