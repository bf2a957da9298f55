//! The dependencies of the workspace conform to `deny.toml`: licenses, banned crates, sources.
//! Advisories of RustSec are left to `cargo deny`, because they change independently of this
//! repository.

use std::collections::BTreeSet;
use std::process::Command;

use blockyard_tests::root;
use serde_json::Value;
use spdx::{Expression, ParseMode};
use toml::Table;

/// Returns all packages of `Cargo.lock`, for every target and feature.
fn packages() -> Vec<Value> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--all-features"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo's metadata");
    let packages = metadata["packages"].as_array().expect("packages").clone();
    assert!(packages.len() > 300, "cargo lists only {} packages", packages.len());
    packages
}

fn rules() -> Table {
    std::fs::read_to_string(root().join("deny.toml")).expect("deny.toml").parse().expect("TOML")
}

fn texts<'a>(table: &'a Table, section: &str, key: &str) -> Vec<&'a str> {
    let list = table[section][key].as_array().expect("a list");
    list.iter().map(|text| text.as_str().expect("a text")).collect()
}

fn text<'a>(package: &'a Value, key: &str) -> &'a str {
    package[key].as_str().unwrap_or_default()
}

#[test]
fn each_licence_is_one_that_was_agreed_to() {
    let rules = rules();
    let allowed: BTreeSet<&str> = texts(&rules, "licenses", "allow").into_iter().collect();
    let mut needed = BTreeSet::new();
    for package in packages() {
        let (name, license) = (text(&package, "name"), text(&package, "license"));
        let expression = Expression::parse_mode(license, ParseMode::LAX)
            .unwrap_or_else(|error| panic!("`{name}` has the license `{license}`: {error}"));
        let fits = expression.evaluate(|requirement| {
            let known = allowed.get(requirement.to_string().as_str());
            needed.extend(known);
            known.is_some()
        });
        assert!(fits, "`{name}` has the license `{license}`, which deny.toml does not allow");
    }
    assert_eq!(needed, allowed, "deny.toml allows licenses that no package has");
}

#[test]
fn no_crate_is_there_that_was_refused_or_comes_from_elsewhere() {
    let rules = rules();
    let refused: Vec<(&str, &str)> = rules["bans"]["deny"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|ban| (ban["crate"].as_str().expect("a name"), ban["reason"].as_str().expect("a reason")))
        .collect();
    let registries = texts(&rules, "sources", "allow-registry");
    for package in packages() {
        let name = text(&package, "name");
        if let Some((_, reason)) = refused.iter().find(|(refused, _)| *refused == name) {
            panic!("`{name}` is banned: {reason}");
        }
        // A package without a source is in this repository.
        if let Some(source) = package["source"].as_str() {
            let from = source.strip_prefix("registry+").unwrap_or(source);
            assert!(registries.contains(&from), "`{name}` comes from {source}");
        }
    }
}

#[test]
fn ignored_advisories_have_a_reason() {
    let rules = rules();
    for ignored in rules["advisories"]["ignore"].as_array().expect("a list") {
        let reason = ignored.get("reason").and_then(toml::Value::as_str).unwrap_or_default();
        assert!(reason.len() > 20, "{ignored} has no reason");
    }
}
