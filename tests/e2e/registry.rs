//! The registry of this repository describes its bundles as they are.

use std::collections::BTreeSet;

use blockyard_tests::{TestYard, bundle, plugins, root};
use toml::Table;

/// Returns the strings of a list, in JSON or TOML.
fn words(list: &impl serde::Serialize) -> BTreeSet<String> {
    serde_json::from_value(serde_json::to_value(list).expect("a value")).expect("a list of strings")
}

#[test]
fn registry_describes_each_bundle() {
    let text = std::fs::read_to_string(root().join("registry.toml")).expect("the registry");
    let registry: Table = text.parse().expect("TOML");
    let entries = registry["bundle"].as_array().expect("entries");
    let listed: Vec<&str> = entries.iter().map(|entry| entry["name"].as_str().expect("a name")).collect();
    assert_eq!(listed, plugins(), "registry.toml must list the folders of `plugins`, in alphabetical order");
    let yard = TestYard::empty();
    yard.ok(&["init", "--key", "file"]);
    for (entry, name) in entries.iter().zip(listed) {
        yard.ok(&["install", &bundle(name), "--yes"]);
        let bundles = yard.json(&["bundles"]);
        let bundle = bundles["bundles"].as_array().expect("bundles").iter().find(|bundle| bundle["name"] == name);
        let bundle = bundle.unwrap_or_else(|| panic!("the bundle in `plugins/{name}` has another name"));
        let release = &entry["release"][0];
        assert_eq!(entry["description"].as_str(), bundle["description"].as_str(), "`description` of `{name}`");
        assert_eq!(words(&entry["types"]), words(&bundle["types"]), "`types` of `{name}` in registry.toml");
        let requested = words(&bundle["capabilities"]);
        assert_eq!(words(&release["capabilities"]), requested, "`capabilities` of `{name}` in registry.toml");
        assert_eq!(release["version"].as_str(), bundle["version"].as_str(), "the newest release of `{name}`");
        assert_eq!(release["source"]["path"].as_str(), Some(&*format!("plugins/{name}")), "the source of `{name}`");
    }
}
