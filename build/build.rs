//! Packs the sources of the SDK into the library, so that a new crate needs no other checkout. Each
//! `Cargo.toml` is written with the values that it inherits from this workspace.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use toml::{Table, Value};

/// Crates of the SDK: the folder in the repository, and the folder in the unpacked SDK.
const CRATES: [(&str, &str); 2] = [("sdk/rust", "rust"), ("sdk/macros", "macros")];

/// What a published crate contains. The rest of a crate's folder is for development only.
const CONTENTS: [&str; 2] = ["src", "wit"];

fn main() {
    let repository = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("set by cargo")).join("..");
    let out = PathBuf::from(env::var("OUT_DIR").expect("set by cargo"));
    let manifest = repository.join("Cargo.toml");
    println!("cargo::rerun-if-changed={}", manifest.display());
    let workspace = read(&manifest)["workspace"].clone();

    let license = repository.join("LICENSE");
    println!("cargo::rerun-if-changed={}", license.display());
    let mut files = vec![("LICENSE".to_owned(), license)];
    for (source, unpacked) in CRATES {
        let source = repository.join(source);
        let written = out.join(format!("{unpacked}.toml"));
        let manifest = source.join("Cargo.toml");
        println!("cargo::rerun-if-changed={}", manifest.display());
        fs::write(&written, standalone(read(&manifest), &workspace).to_string()).expect("OUT_DIR can be written");
        files.push((format!("{unpacked}/Cargo.toml"), written));
        for folder in CONTENTS {
            add(&source.join(folder), &format!("{unpacked}/{folder}"), &mut files);
        }
    }
    files.sort();
    let mut list = String::from("[\n");
    for (name, path) in &files {
        writeln!(list, "    ({name:?}, include_bytes!({path:?})),").expect("a string can be written");
    }
    list.push(']');
    fs::write(out.join("sdk.rs"), list).expect("OUT_DIR can be written");
}

fn read(manifest: &Path) -> Table {
    let text = fs::read_to_string(manifest).expect("a Cargo.toml of this repository");
    text.parse().expect("a Cargo.toml is TOML")
}

/// Adds the files of a folder, if it exists.
fn add(folder: &Path, name: &str, files: &mut Vec<(String, PathBuf)>) {
    println!("cargo::rerun-if-changed={}", folder.display());
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("a file of this repository").path();
        let name = format!("{name}/{}", path.file_name().expect("an entry has a name").to_str().expect("UTF-8"));
        if path.is_dir() { add(&path, &name, files) } else { files.push((name, path)) }
    }
}

/// Replaces what a `Cargo.toml` inherits by what the workspace says, and drops what is only needed
/// for the development of the crate.
fn standalone(mut manifest: Table, workspace: &Value) -> Table {
    manifest.remove("lints");
    manifest.remove("dev-dependencies");
    let package = manifest["package"].as_table_mut().expect("a package");
    for (key, value) in package.iter_mut().filter(|(_, value)| inherits(value)) {
        *value = workspace["package"][key.as_str()].clone();
    }
    inherit(manifest.get_mut("dependencies"), workspace);
    for (_, target) in manifest.get_mut("target").and_then(Value::as_table_mut).into_iter().flatten() {
        inherit(target.get_mut("dependencies"), workspace);
    }
    // The crate is not part of the workspace of a folder above it.
    manifest.insert("workspace".to_owned(), Table::new().into());
    manifest
}

/// Replaces the dependencies that a table inherits.
fn inherit(dependencies: Option<&mut Value>, workspace: &Value) {
    let dependencies = dependencies.and_then(Value::as_table_mut).into_iter().flatten();
    for (name, own) in dependencies.filter(|(_, value)| inherits(value)) {
        *own = Value::Table(inherited(own, &workspace["dependencies"][name.as_str()]));
    }
}

fn inherits(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool).unwrap_or(false)
}

/// Returns a dependency of the workspace with what a crate adds to it.
fn inherited(own: &Value, shared: &Value) -> Table {
    let mut merged = match shared {
        Value::Table(table) => table.clone(),
        version => Table::from_iter([("version".to_owned(), version.clone())]),
    };
    if let Some(path) = merged.get("path").and_then(Value::as_str) {
        let (_, unpacked) = CRATES.iter().find(|(source, _)| *source == path).expect("the SDK needs only its crates");
        merged.insert("path".to_owned(), format!("../{unpacked}").into());
    }
    for (key, value) in own.as_table().into_iter().flatten().filter(|(key, _)| *key != "workspace") {
        match (merged.get_mut(key).and_then(Value::as_array_mut), value) {
            (Some(features), Value::Array(more)) => features.extend(more.iter().cloned()),
            _ => drop(merged.insert(key.clone(), value.clone())),
        }
    }
    merged
}
