//! The registry of this repository is generated from the manifests of its bundles.

use std::fmt::Write as _;

use blockyard_tests::{TestYard, bundle, plugins};
use expect_test::expect_file;
use serde_json::Value;

const HEADER: &str = r#"# Generated from the manifests of the bundles. To update: cargo xtask generate
version = 1
name = "blockyard"
# The bundles of this repository are built from source, so there is nothing to sign.
unsigned = true
"#;

#[test]
fn registry_is_generated_from_the_manifests() {
    let yard = TestYard::empty();
    yard.ok(&["init", "--key", "file"]);
    let mut registry = HEADER.to_owned();
    for name in plugins() {
        yard.ok(&["install", &bundle(&name), "--yes"]);
        let bundles = yard.json(&["bundles"]);
        let bundle = bundles["bundles"].as_array().expect("bundles").iter().find(|bundle| bundle["name"] == *name);
        let bundle = bundle.unwrap_or_else(|| panic!("the bundle in `plugins/{name}` has another name"));
        registry.push_str(&entry(&name, bundle));
    }
    expect_file!["../../registry.toml"].assert_eq(&registry);
}

/// Returns the entry of a bundle, with one release that is built from source.
fn entry(name: &str, bundle: &Value) -> String {
    let text = |key: &str| toml::Value::from(bundle[key].as_str().expect("a string")).to_string();
    let types = strings(&bundle["types"]).join(", ");
    let mut entry = format!("\n[[bundle]]\nname = \"{name}\"\ndescription = {}\n", text("description"));
    let license = bundle["license"].as_str().expect("the bundles of this repository have a license");
    write!(entry, "license = \"{license}\"\ntypes = [{types}]\n\n[[bundle.release]]\n").expect("a string grows");
    write!(entry, "version = {}\nwit = \"0.1\"\nsource = {{ path = \"plugins/{name}\" }}\n", text("version"))
        .expect("a string grows");
    entry.push_str("capabilities = [\n");
    for capability in strings(&bundle["capabilities"]) {
        writeln!(entry, "    {capability},").expect("a string grows");
    }
    entry.push_str("]\n");
    entry
}

/// Returns the strings of a list as TOML.
fn strings(list: &Value) -> Vec<String> {
    let list = list.as_array().expect("a list").iter();
    list.map(|text| toml::Value::from(text.as_str().expect("a string")).to_string()).collect()
}
