//! Finds the crates that declare foreign imports of a module, in the sources of the dependencies of a crate.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::TARGET;

/// Maximum size in bytes of a source file that is searched. Larger ones are tables.
const SOURCE_BYTES: u64 = 4 << 20;

/// A crate that brings an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportingCrate {
    /// Module and name of the import.
    pub import: String,
    /// Crates from the built one to the one that declares the import, each with its version.
    pub path: Vec<String>,
}

/// Names the crates that declare imports, each given as `MODULE NAME`. An import that no source declares is left
/// out.
#[must_use]
pub fn importing_crates(folder: &Path, imports: &[String]) -> Vec<ImportingCrate> {
    let Some(graph) = Graph::read(folder) else { return Vec::new() };
    let find = |import: &String| {
        let (module, name) = import.split_once(' ')?;
        let package = graph.order.iter().find(|id| graph.declares(id, module, name))?;
        Some(ImportingCrate { import: import.clone(), path: graph.path(package) })
    };
    imports.iter().filter_map(find).collect()
}

struct Package {
    name: String,
    version: String,
    folder: PathBuf,
}

/// The dependencies of a crate for WebAssembly.
struct Graph {
    packages: BTreeMap<String, Package>,
    /// The package that depends on a package, on a shortest path from the built crate.
    users: BTreeMap<String, String>,
    /// IDs of the packages, by their distance from the built crate.
    order: Vec<String>,
}

impl Graph {
    /// Asks cargo for the graph. `None` if cargo fails.
    fn read(folder: &Path) -> Option<Self> {
        let output = Command::new("cargo")
            .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", TARGET])
            .current_dir(folder)
            .stdin(Stdio::null())
            .output()
            .ok()?;
        let metadata: Value = serde_json::from_slice(&output.stdout).ok()?;
        let packages: BTreeMap<String, Package> = list(&metadata["packages"]).filter_map(package).collect();
        let root = metadata["resolve"]["root"].as_str().map(str::to_owned).or_else(|| {
            let folder = folder.canonicalize().ok()?;
            packages.iter().find(|(_, package)| package.folder == folder).map(|(id, _)| id.clone())
        })?;
        let nodes: BTreeMap<&str, &Value> =
            list(&metadata["resolve"]["nodes"]).filter_map(|node| Some((node["id"].as_str()?, node))).collect();
        let (mut users, mut order) = (BTreeMap::new(), Vec::new());
        let (mut seen, mut waiting) = (BTreeSet::from([root.clone()]), VecDeque::from([root]));
        while let Some(id) = waiting.pop_front() {
            for dependency in nodes.get(id.as_str()).into_iter().flat_map(|node| list(&node["deps"])) {
                // Build scripts and tests are not part of the module.
                let is_linked = list(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null());
                let Some(other) = dependency["pkg"].as_str().filter(|_| is_linked) else { continue };
                if seen.insert(other.to_owned()) {
                    users.insert(other.to_owned(), id.clone());
                    waiting.push_back(other.to_owned());
                }
            }
            order.push(id);
        }
        Some(Self { packages, users, order })
    }

    /// Checks whether a package declares an import.
    fn declares(&self, id: &str, module: &str, name: &str) -> bool {
        let Some(package) = self.packages.get(id) else { return false };
        // Its macros generate the names of its imports.
        if module.starts_with("__wbindgen") {
            return package.name == "wasm-bindgen";
        }
        declares_in(&package.folder, name)
    }

    /// Returns the names of the packages from the built crate to this one.
    fn path(&self, id: &str) -> Vec<String> {
        let ids = std::iter::successors(Some(id), |id| self.users.get(*id).map(String::as_str));
        let name = |id: &str| self.packages.get(id).map(|package| format!("{} {}", package.name, package.version));
        let mut path: Vec<String> = ids.filter_map(name).collect();
        path.reverse();
        path
    }
}

fn package(package: &Value) -> Option<(String, Package)> {
    let text = |field: &str| package[field].as_str().map(str::to_owned);
    let manifest = PathBuf::from(text("manifest_path")?);
    let folder = manifest.parent()?.to_owned();
    Some((text("id")?, Package { name: text("name")?, version: text("version")?, folder }))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Searches the Rust sources of a folder for a declaration of a foreign function.
fn declares_in(folder: &Path, name: &str) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| {
        let (path, file_name) = (entry.path(), entry.file_name());
        let Ok(kind) = entry.file_type() else { return false };
        if kind.is_dir() {
            let skipped = ["target", "tests", "benches", "examples", ".git"];
            return !skipped.iter().any(|skipped| file_name == *skipped) && declares_in(&path, name);
        }
        let is_source = kind.is_file() && path.extension().is_some_and(|extension| extension == "rs");
        is_source
            && entry.metadata().is_ok_and(|file| file.len() <= SOURCE_BYTES)
            && std::fs::read_to_string(&path).is_ok_and(|text| is_declared(&text, name))
    })
}

/// Checks whether a source declares a function in an `extern` block: without a body, and with this name or this
/// `link_name`.
fn is_declared(text: &str, name: &str) -> bool {
    if !text.contains("extern") {
        return false;
    }
    if text.contains(&format!("link_name = \"{name}\"")) {
        return true;
    }
    text.match_indices(&format!("fn {name}")).any(|(at, found)| {
        let rest = &text[at + found.len()..];
        let ends = rest.find([';', '{']);
        rest.starts_with('(') && ends.is_some_and(|end| rest[end..].starts_with(';'))
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir_all, write};

    use super::*;

    #[test]
    fn only_declarations_count() {
        let declared = "unsafe extern \"C\" { fn random_get(a: *mut u8) -> i32; }";
        assert!(is_declared(declared, "random_get"));
        assert!(!is_declared(declared, "random"));
        assert!(!is_declared("extern crate a; fn random_get() -> i32 { 1; }", "random_get"));
        assert!(is_declared("extern \"C\" { #[link_name = \"now\"] fn clock(); }", "now"));
        assert!(!is_declared("fn random_get();", "random_get"));
    }

    /// Writes a crate with these dependencies, which are in the folders beside it.
    fn crate_of(parent: &Path, name: &str, dependencies: &[&str], source: &str) {
        let folder = parent.join(name);
        create_dir_all(folder.join("src")).expect("a folder");
        let dependencies: String =
            dependencies.iter().map(|name| format!("{name} = {{ path = \"../{name}\" }}\n")).collect();
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n{dependencies}"
        );
        write(folder.join("Cargo.toml"), manifest).expect("a file");
        write(folder.join("src/lib.rs"), source).expect("a file");
    }

    #[test]
    fn the_path_to_a_crate_is_named() {
        let parent = tempfile::tempdir().expect("a folder");
        let parent = parent.path();
        let declaration = "unsafe extern \"C\" { pub fn random_get(a: *mut u8) -> i32; }";
        crate_of(parent, "chance", &[], declaration);
        crate_of(parent, "wasm-bindgen", &[], "");
        crate_of(parent, "dice", &["chance", "wasm-bindgen"], "");
        crate_of(parent, "acme", &["dice"], "");
        let imports = ["wasi_snapshot_preview1 random_get", "__wbindgen_placeholder__ __wbg_a", "env missing"];
        let found = importing_crates(&parent.join("acme"), &imports.map(str::to_owned));
        let paths: Vec<String> =
            found.iter().map(|found| format!("{}: {}", found.import, found.path.join(", "))).collect();
        assert_eq!(
            paths,
            [
                "wasi_snapshot_preview1 random_get: acme 0.1.0, dice 0.1.0, chance 0.1.0",
                "__wbindgen_placeholder__ __wbg_a: acme 0.1.0, dice 0.1.0, wasm-bindgen 0.1.0",
            ]
        );
    }
}
