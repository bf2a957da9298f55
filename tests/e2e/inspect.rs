//! `blockyard inspect`: shows component files and installed bundles without running their code.

use std::fs;

use blockyard::model::Schema;
use blockyard_tests::{TestYard, attack, on_both, root};
use serde_json::{Value, json};

use crate::install::sec;

on_both!(an_installed_bundle_is_described_like_its_file, a_signature_is_shown);

/// Prints the document of `inspect --json`, which matches its schema.
fn inspected(yard: &TestYard, bundle: &str) -> Value {
    let text = fs::read_to_string(root().join("schemas/json/inspect.json")).expect("a schema");
    let schema = Schema::compile(serde_json::from_str(&text).expect("JSON")).expect("a valid schema");
    let document = yard.json(&["inspect", bundle]);
    assert_eq!(schema.check(&document), [], "{document}");
    document
}

/// Writes a file. Returns its path.
fn file(yard: &TestYard, name: &str, bytes: &[u8]) -> String {
    fs::write(yard.path(name), bytes).expect("a file");
    yard.path(name).display().to_string()
}

fn an_installed_bundle_is_described_like_its_file(yard: &TestYard) {
    let properties = json!({
        "url": {"type": "string", "description": "URL of the service."},
        "token": {"type": "string", "writeOnly": true, "format": "password", "x-secret": {"audience": []}},
    });
    let search = json!({
        "name": "search", "description": "Finds items.", "effect": "read", "safe": ["POST https://a.example/search"],
        "arguments": {"type": "object", "properties": {"word": {"type": "string", "description": "Word to find."}}},
        "result": {"type": "null"},
    });
    let capabilities = ["log", "http https://a.example"];
    let path = sec(yard, "0.1.0", &capabilities, &properties, &[search]);
    let of_file = inspected(yard, &path);
    assert_eq!(of_file["installed"], Value::Null);
    yard.ok(&["install", &path, "--yes"]);
    let mut installed = inspected(yard, "sec");
    assert_eq!(installed["installed"]["signature"], "unsigned", "{installed}");
    assert_eq!(installed, inspected(yard, "sec@0.1.0"));
    installed["installed"] = Value::Null;
    assert_eq!(installed, of_file);
    assert_eq!(
        of_file["sha256"],
        yard.json(&["bundles"])["bundles"]
            .as_array()
            .expect("bundles")
            .iter()
            .find(|bundle| bundle["name"] == "sec")
            .expect("the bundle")["sha256"]
    );
    let size = &of_file["size"];
    assert_eq!(size["total"], fs::metadata(&path).expect("a file").len());
    let sum: u64 = ["code", "data", "custom", "other"].iter().filter_map(|part| size[part].as_u64()).sum();
    assert_eq!(size["total"], sum);
    // `info` describes the release with the same lines.
    let shown = yard.ok(&["inspect", "sec"]);
    let of_info = yard.ok(&["info", "sec", "--registry", &registry(yard, &path)]);
    let manifest = |text: &str| -> String {
        let from = text.find("capabilities:\n").expect("capabilities");
        text[from..].split("releases:\n").next().unwrap_or_default().to_owned()
    };
    assert_eq!(manifest(&shown), manifest(&of_info));
    for expected in [
        "http https://a.example: send requests to",
        "url  (text",
        "token  (SECRET",
        "search  (read)",
        "--word  (text)",
        "Word to find.",
        "sends `POST https://a.example/search`, declared safe",
        "signature     unsigned",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    assert!(yard.fails(3, &["inspect", "secc"]).contains("did you mean `sec`?"));
    assert!(yard.fails(3, &["inspect", "sec@0.2.0"]).contains("installed: `0.1.0`"));
}

/// Publishes a bundle in a new registry. Returns its folder.
fn registry(yard: &TestYard, path: &str) -> String {
    let [folder, key] = ["acme", "key"].map(|name| yard.path(name).display().to_string());
    yard.ok(&["publish", path, "--registry", &folder, "--name", "acme", "--new-signing-key", &key]);
    folder
}

fn a_signature_is_shown(yard: &TestYard) {
    let path = sec(yard, "0.1.0", &["log"], &json!({}), &[]);
    let registry = registry(yard, &path);
    yard.ok(&["install", "sec", "--registry", &registry, "--yes"]);
    let installed = &inspected(yard, "sec")["installed"];
    assert_eq!(installed["signature"], "valid");
    assert!(installed["signer"].as_str().is_some_and(|signer| signer.starts_with("RW")), "{installed}");
    assert!(yard.ok(&["inspect", "sec"]).contains("signature     valid, by RW"));
}

/// Without a yard, and without running `describe`, which loops in this file.
#[test]
fn a_file_is_described_without_its_code() {
    let yard = TestYard::empty();
    let path = file(&yard, "loop.wasm", &attack::attack("loop-in-describe"));
    assert_eq!(inspected(&yard, &path)["name"], "loop-in-describe");
    assert!(!yard.path("yard.db").exists());
    assert!(yard.fails(3, &["inspect", "sec"]).contains("yard"), "an installed bundle is in a yard");
}

#[test]
fn hostile_files_are_rejected() {
    let yard = TestYard::empty();
    let good = attack::attack("trap");
    let huge = yard.path("huge.wasm");
    let length = 100 << 20;
    fs::File::create(&huge).and_then(|file| file.set_len(length)).expect("a sparse file");
    fs::create_dir(yard.path("folder.wasm")).expect("a folder");
    for (code, name, bytes, expected) in [
        (4, "truncated.wasm", &good[..good.len() - 7], "not a bundle: not a valid component: unexpected"),
        (4, "cut.wasm", &good[..10], "not a bundle"),
        (4, "two.wasm", &attack::attack("two-manifests"), "the component has 2 manifests; it must have one"),
        (4, "none.wasm", &attack::attack("no-manifest"), "the component has no manifest"),
        (4, "json.wasm", &attack::attack("manifest-is-not-json"), "the manifest is not valid"),
        (4, "module.wasm", &attack::attack("not-a-bundle-core-module"), "a core WebAssembly module, not a component"),
        (4, "text.wasm", b"hello", "not a WebAssembly component"),
        (4, "empty.wasm", b"", "the file is empty"),
        (4, "many.wasm", &attack::attack("too-many-functions"), "it has more than 200000 functions"),
    ] {
        let path = file(&yard, name, bytes);
        let refused = yard.fails(code, &["inspect", &path]);
        assert!(refused.contains(expected), "{name}: {refused}");
    }
    let refused = yard.fails(4, &["inspect", &huge.display().to_string()]);
    assert!(refused.contains(&format!("has {length} bytes; the limit of a bundle is 67108864")), "{refused}");
    assert!(yard.fails(2, &["inspect", "./folder.wasm"]).contains("is a folder, not a component file"));
    assert!(yard.fails(3, &["inspect", "missing.wasm"]).contains("`missing.wasm` cannot be read"));
    assert!(yard.fails(2, &["inspect", "Sec"]).contains("`S`"));
}

#[test]
fn text_of_a_bundle_is_escaped() {
    let yard = TestYard::empty();
    let mut manifest = attack::manifest("sec", "");
    for field in ["description", "license", "homepage", "source"] {
        manifest[field] = json!("a\u{1b}[2Jb\u{202e}\nerror: forged");
    }
    for field in ["title", "description"] {
        manifest["types"][0][field] = manifest["license"].clone();
    }
    manifest["types"][0]["operations"][0]["description"] = manifest["license"].clone();
    manifest["types"][0]["schema"]["properties"]["note"]["description"] = manifest["license"].clone();
    let text = manifest.to_string();
    let mut component = attack::with_manifest("sec", "", text.as_bytes());
    attack::embed(&mut component, text.as_bytes());
    let shown = yard.ok(&["inspect", &file(&yard, "sec.wasm", &component)]);
    assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "{shown}");
    assert!(!shown.lines().any(|line| line.starts_with("error")), "{shown}");
    assert_eq!(shown.matches("\\u{1b}[2Jb\\u{202e}").count(), 8, "{shown}");
}
