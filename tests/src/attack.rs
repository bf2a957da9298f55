//! Builds the bundles of the attacks in `tests/attacks`: WebAssembly text, one file per
//! attack.
//!
//! A file contains only the code of its attack. The prelude supplies the rest of a valid bundle: a
//! memory, `cabi_realloc`, and each export that the file does not define itself under the name that
//! the prelude uses (`$describe`, `$validate`, `$invoke`, …). Directives at the top of a file
//! change the manifest and the module:
//!
//! - `;; capabilities: log, clock`: capabilities that the manifest requests;
//! - `;; result: {"type": "integer"}`: schema of the attack's result, `null` by default;
//! - `;; manifest: TEXT`: text that `describe` returns instead of a valid manifest;
//! - `;; embedded: NAME`: name in the embedded manifest, different from the one in `describe`;
//! - `;; manifests: 2`: number of embedded manifests;
//! - `;; times 40: (memory 1)`: code that is inserted into the module 40 times.
//!
//! A file that begins with `(component` or `(module` is used unchanged.
//!
//! This file uses no other module of the crate, because the tests of `core/host` include it.

use std::path::PathBuf;

use serde_json::{Value, json};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const EXPORTS: &str = "blockyard:bundle/block-types@0.1.0";

/// Address of the manifest in the guest's memory.
const MANIFEST_AT: usize = 1024;

/// Definitions that are added to a module unless its file contains the first string of the pair.
const PRELUDE: [(&str, &str); 8] = [
    ("(memory $memory", r#"(memory $memory 2)"#),
    (
        "(func $realloc",
        r#"(global $heap (mut i32) (i32.const 65536))
        (func $realloc (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
            (local $at i32)
            (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
            (global.set $heap (i32.add (local.get $at) (local.get $size)))
            (block $enough
                (br_if $enough (i32.le_u (global.get $heap) (i32.shl (memory.size) (i32.const 16))))
                (drop (memory.grow (i32.add (i32.const 1) (i32.shr_u (local.get $size) (i32.const 16))))))
            (memory.copy (local.get $at) (local.get $old) (local.get $old-size))
            (local.get $at))"#,
    ),
    ("(func $describe", "(func $describe (result i32) (i32.const 32))"),
    ("(func $validate", "(func $validate (param i32 i32 i32 i32) (result i32) (i32.const 48))"),
    ("(func $migrate", "(func $migrate (param i32 i32 i32 i32 i32) (result i32) (i32.const 192))"),
    ("(func $check", "(func $check (param i32 i32 i32 i32 i64 i32 i32) (result i32) (i32.const 192))"),
    ("(func $invoke", "(func $invoke (type $call) (call $null))"),
    ("(func $next", "(func $next (param i32) (result i32) (i32.const 48))"),
];

/// Responses in memory, functions that return them, and the function exported as `invoke`. It
/// distinguishes the operation `go`, the attack, from the harmless `well` by the length of the
/// name.
const ANSWERS: &str = r#"
    (type $call (func (param i32 i32 i32 i32 i64 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (data (i32.const 64) "\00\00\00\00\60\00\00\00\04\00\00\00\00\00\00\00\00\00\00\00")
    (data (i32.const 96) "null")
    (data (i32.const 192) "\00\00\00\00\d0\00\00\00\02\00\00\00")
    (data (i32.const 208) "[]")
    (func $null (result i32) (i32.const 64))
    ;; The JSON text at a place.
    (func $answer (param $at i32) (param $length i32) (result i32)
        (i32.store (i32.const 132) (local.get $at))
        (i32.store (i32.const 136) (local.get $length))
        (i32.const 128))
    ;; A number of one digit.
    (func $digit (param $digit i32) (result i32)
        (i32.store8 (i32.const 112) (i32.add (i32.const 48) (local.get $digit)))
        (call $answer (i32.const 112) (i32.const 1)))
    ;; `null` with an output: 1 is a body, 2 are parts.
    (func $output (param $kind i32) (param $handle i32) (result i32)
        (i32.store (i32.const 164) (i32.const 96))
        (i32.store (i32.const 168) (i32.const 4))
        (i32.store (i32.const 172) (local.get $kind))
        (i32.store (i32.const 176) (local.get $handle))
        (i32.const 160))
    (func $dispatch (type $call)
        (if (i32.eq (local.get 8) (i32.const 4)) (then (return (call $null))))
        (call $invoke (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5)
            (local.get 6) (local.get 7) (local.get 8) (local.get 9) (local.get 10) (local.get 11) (local.get 12)))
"#;

/// Returns the folder of the attacks.
#[must_use]
pub fn folder() -> PathBuf {
    // The crate that includes this file is either `tests` or `core/host`.
    let crate_folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let found = crate_folder.ancestors().map(|folder| folder.join("tests/attacks")).find(|folder| folder.is_dir());
    found.expect("the folder `tests/attacks`")
}

/// Builds the component of an attack.
///
/// # Panics
/// If the file is missing or not valid.
#[must_use]
pub fn attack(name: &str) -> Vec<u8> {
    let path = folder().join(format!("{name}.wat"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    build(name, &text)
}

/// Builds a component from text in the format of the attack files.
///
/// # Panics
/// If the text is not valid.
#[must_use]
pub fn build(name: &str, text: &str) -> Vec<u8> {
    let code = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with(";;")).unwrap_or_default();
    if code.starts_with("(component") || code.starts_with("(module") {
        return wat::parse_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let manifest = match word(text, "manifest") {
        Some(text) => text.to_owned(),
        None => manifest(name, text).to_string(),
    };
    let mut component = with_manifest(name, text, manifest.as_bytes());
    let embedded = match word(text, "embedded") {
        Some(other) => manifest.replace(name, other),
        None => manifest,
    };
    for _ in 0..word(text, "manifests").map_or(1, |count| count.parse().expect("a number")) {
        embed(&mut component, embedded.as_bytes());
    }
    component
}

/// Builds a component whose `describe` returns these bytes, without an embedded manifest.
///
/// # Panics
/// If the text is not valid.
#[must_use]
pub fn with_manifest(name: &str, text: &str, manifest: &[u8]) -> Vec<u8> {
    let module = module(text, manifest);
    let mut module = wat::parse_str(&module).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut resolve = Resolve::default();
    let wit = include_str!("../../schemas/wit/v0_1/bundle.wit");
    let package = resolve.push_str("bundle.wit", wit).expect("valid WIT");
    let world = resolve.select_world(&[package], Some("bundle-reveal")).expect("the world `bundle-reveal`");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("metadata in the module");
    let encoded = ComponentEncoder::default().module(&module).and_then(|mut encoder| encoder.encode());
    encoded.unwrap_or_else(|error| panic!("{name}: {error:#}"))
}

/// Embeds a manifest in a component file as a custom section.
pub fn embed(component: &mut Vec<u8>, manifest: &[u8]) {
    let section_name = "blockyard:manifest";
    let mut section = vec![u8::try_from(section_name.len()).expect("a short name")];
    section.extend_from_slice(section_name.as_bytes());
    section.extend_from_slice(manifest);
    component.push(0);
    let mut length = section.len();
    // WebAssembly encodes the length of a section as LEB128.
    while length >= 0x80 {
        component.push(0x80 | u8::try_from(length & 0x7f).expect("seven bits"));
        length >>= 7;
    }
    component.push(u8::try_from(length).expect("seven bits"));
    component.extend_from_slice(&section);
}

/// Returns a valid manifest: one type with the name of the bundle and the operations `go` and
/// `well`.
///
/// # Panics
/// If a directive in the text is not valid.
#[must_use]
pub fn manifest(name: &str, text: &str) -> Value {
    let capabilities: Vec<&str> = word(text, "capabilities").map(|all| all.split(", ").collect()).unwrap_or_default();
    let result = word(text, "result").map_or(json!({"type": "null"}), |text| text.parse().expect("a schema"));
    let operation = |name: &str, result: Value| {
        json!({
            "name": name, "effect": "write", "arguments": {"type": "object"}, "result": result, "input": true,
            "output": true,
        })
    };
    json!({
        "manifest": 1, "name": name, "version": "0.1.0", "wit": "0.1", "capabilities": capabilities,
        "types": [{
            "slug": name, "version": 1,
            "schema": {
                "type": "object", "additionalProperties": false, "x-sql": {"database": "/note"},
                "properties": {
                    "note": {"type": "string"},
                    "token": {"type": "string", "writeOnly": true, "format": "password", "x-secret": {"audience": []}},
                },
            },
            "operations": [operation("go", result), operation("well", json!({"type": "null"}))],
        }],
    })
}

/// Returns the core module: the code of the file, and the parts of the prelude that it lacks.
fn module(text: &str, manifest: &[u8]) -> String {
    let mut module = format!("(module\n{text}\n{ANSWERS}\n");
    for (beginning, definition) in PRELUDE {
        if !text.contains(beginning) {
            module.push_str(definition);
            module.push('\n');
        }
    }
    for line in text.lines() {
        if let Some((count, code)) = line.strip_prefix(";; times ").and_then(|line| line.split_once(": ")) {
            module.push_str(&code.repeat(count.parse().expect("a number")));
            module.push('\n');
        }
    }
    let number = |number: usize| bytes(&u32::try_from(number).expect("an address of 32 bits").to_le_bytes());
    // The memory grows with the manifest, whose size a test chooses.
    let pages = (MANIFEST_AT + manifest.len()) >> 16;
    if pages > 0 {
        module = module.replace("(memory $memory 2)", &format!("(memory $memory {})", pages + 2));
        module = module.replace("(mut i32) (i32.const 65536)", &format!("(mut i32) (i32.const {})", (pages + 1) << 16));
    }
    module.push_str(&format!(
        "(data (i32.const 32) \"{}{}\")\n(data (i32.const {MANIFEST_AT}) \"{}\")\n",
        number(MANIFEST_AT),
        number(manifest.len()),
        bytes(manifest),
    ));
    module.push_str("(export \"memory\" (memory $memory))\n(export \"cabi_realloc\" (func $realloc))\n");
    for (export, function) in [
        ("describe", "$describe"),
        ("validate", "$validate"),
        ("migrate", "$migrate"),
        ("check", "$check"),
        ("invoke", "$dispatch"),
        ("[method]parts.next", "$next"),
    ] {
        module.push_str(&format!("(export \"{EXPORTS}#{export}\" (func {function}))\n"));
    }
    if text.contains("(func $post") {
        module.push_str(&format!("(export \"cabi_post_{EXPORTS}#invoke\" (func $post))\n"));
    }
    if text.contains("(func $destructor") {
        module.push_str(&format!("(export \"{EXPORTS}#[dtor]parts\" (func $destructor))\n"));
    }
    module.push(')');
    module
}

/// Returns the value of a directive.
fn word<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(";; ")?.strip_prefix(name)?.strip_prefix(": "))
}

fn bytes(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}
