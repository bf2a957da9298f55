//! `blockyard build` with a component or a core module that another tool built.

use std::fs;

use blockyard::model::Schema;
use blockyard_tests::{TestYard, attack, root};
use serde_json::{Value, json};

/// Writes a file. Returns its path.
fn file(yard: &TestYard, name: &str, bytes: &[u8]) -> String {
    fs::write(yard.path(name), bytes).expect("a file");
    yard.path(name).display().to_string()
}

/// A component without an embedded manifest, which describes itself with this one.
fn component(manifest: &Value) -> Vec<u8> {
    attack::with_manifest("made", "", manifest.to_string().as_bytes())
}

fn manifest() -> Value {
    let mut manifest = attack::manifest("made", "");
    manifest["license"] = json!("Apache-2.0");
    manifest
}

#[test]
fn a_component_of_another_tool_is_completed() {
    let yard = TestYard::empty();
    let path = file(&yard, "bare.wasm", &component(&manifest()));
    assert!(yard.fails(4, &["inspect", &path]).contains("the component has no manifest"));
    let shown = yard.ok(&["build", &path]);
    for expected in
        ["made 0.1.0 in made-0.1.0.wasm", "  capabilities  none", "  block types   made", "  sha256        "]
    {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    let schema = fs::read_to_string(root().join("schemas/json/build.json")).expect("a schema");
    let schema = Schema::compile(serde_json::from_str(&schema).expect("JSON")).expect("a valid schema");
    let built = yard.json(&["build", &path, "--out", &yard.path("made.wasm").display().to_string()]);
    assert_eq!(schema.check(&built), [], "{built}");
    let bytes = fs::read(yard.path("made.wasm")).expect("a file");
    assert_eq!(bytes, fs::read(yard.path("made-0.1.0.wasm")).expect("a file"), "the same in each build");
    let inspected = yard.json(&["inspect", "./made.wasm"]);
    assert_eq!((&inspected["sha256"], &inspected["license"]), (&built["sha256"], &json!("Apache-2.0")));
    assert_eq!(inspected["tools"], json!([format!("blockyard {}", env!("CARGO_PKG_VERSION"))]));
    // Completed again, the manifest is replaced, not added.
    yard.ok(&["build", "made.wasm", "--out", "again.wasm"]);
    assert_eq!(fs::read(yard.path("again.wasm")).expect("a file"), bytes);
    yard.ok(&["install", "./made.wasm", "--yes"]);
    yard.create("made/one", &json!({ "note": "a" }));
}

#[test]
fn files_that_are_not_bundles_are_rejected() {
    let yard = TestYard::empty();
    let wat = |text: &str| wat::parse_str(text).expect("WebAssembly text");
    let mut twice = manifest();
    let first = twice["types"][0].clone();
    twice["types"].as_array_mut().expect("types").push(first);
    let mut open = manifest();
    open["types"][0]["schema"]["additionalProperties"] = json!(true);
    let clock = "wasi:clocks/wall-clock@0.2.0";
    for (name, bytes, expected) in [
        ("twice.wasm", component(&twice), &["type `made`: is defined twice"][..]),
        ("open.wasm", component(&open), &["type `made`: the schema must be of `\"type\": \"object\"`"]),
        (
            "wasi.wasm",
            wat(&format!("(component (import \"{clock}\" (instance)))")),
            &["imports `wasi:clocks/wall-clock@0.2.0`", "disable WASI in the tool that built it"],
        ),
        (
            "env.wasm",
            wat("(module (import \"env\" \"now\" (func)))"),
            &["the module imports `env now`, which Blockyard does not provide"],
        ),
        ("module.wasm", wat("(module)"), &["the module is not a bundle", "add `bundle!` of the SDK"]),
        ("export.wasm", attack::attack("not-a-bundle-wrong-export"), &["the component is not a bundle"]),
        (
            "panic.wasm",
            attack::attack("panic-in-describe"),
            &["`describe` failed: panicked at the zoo: \\u{1b}[2Jthe zebra"],
        ),
        (
            "undeclared.wasm",
            attack::attack("imports-undeclared"),
            &["uses `clock`, which its manifest does not request"],
        ),
        ("text.wasm", b"hello".to_vec(), &["not a WebAssembly component"]),
        ("empty.wasm", Vec::new(), &["the file is empty"]),
    ] {
        let path = file(&yard, name, &bytes);
        let refused = yard.fails(4, &["build", &path, "--out", "out.wasm"]);
        for expected in expected {
            assert!(refused.contains(expected), "{name}: {expected}: {refused}");
        }
        assert!(!yard.path("out.wasm").exists(), "{name}");
    }
    let huge = fs::File::create(yard.path("huge.wasm")).expect("a file");
    huge.set_len(70 << 20).expect("a sparse file");
    let refused = yard.fails(4, &["build", "huge.wasm"]);
    assert!(refused.contains(&format!("has {} bytes; the limit of a bundle is {}", 70 << 20, 64 << 20)), "{refused}");
    assert!(yard.fails(3, &["build", "missing.wasm"]).contains("missing.wasm"));
}
