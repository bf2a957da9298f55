//! The dependencies of the workspace conform to `deny.toml`: licenses, banned and duplicate crates,
//! sources. Advisories of RustSec are left to `cargo deny`, because they change independently of
//! this repository.

use std::collections::{BTreeMap, BTreeSet};

use blockyard_tests::environment::cargo;
use blockyard_tests::root;
use semver::{Version, VersionReq};
use serde_json::Value;
use spdx::{Expression, ParseMode};
use toml::Table;

use crate::architecture::crates;

/// Returns all packages of `Cargo.lock`, for every target and feature.
fn packages() -> Vec<Value> {
    let output = cargo()
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
fn each_rule_is_enforced_here_or_by_cargo_deny() {
    let enforced_here = [
        "graph.all-features",
        "advisories.ignore",
        "licenses.allow",
        "licenses.unused-allowed-license",
        "bans.multiple-versions",
        "bans.skip",
        "bans.wildcards",
        "bans.deny",
        "sources.unknown-registry",
        "sources.unknown-git",
        "sources.allow-registry",
    ];
    // The license of each crate is read from its manifest here, not guessed from its files.
    let cargo_deny = ["advisories.unmaintained", "advisories.yanked", "licenses.confidence-threshold"];
    let rules = rules();
    for (section, keys) in &rules {
        for key in keys.as_table().expect("a section").keys() {
            let rule = format!("{section}.{key}");
            assert!(enforced_here.contains(&&*rule) || cargo_deny.contains(&&*rule), "no test enforces `{rule}`");
        }
    }
    // The tests below are only as strict as these values.
    assert_eq!(rules["graph"]["all-features"].as_bool(), Some(true));
    for (section, key) in [
        ("licenses", "unused-allowed-license"),
        ("bans", "multiple-versions"),
        ("sources", "unknown-registry"),
        ("sources", "unknown-git"),
    ] {
        assert_eq!(rules[section][key].as_str(), Some("deny"), "`{section}.{key}`");
    }
}

#[test]
fn each_license_is_allowed() {
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
fn no_crate_is_banned_or_from_an_unknown_source() {
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
fn duplicate_crates_are_listed_exceptions() {
    let rules = rules();
    let skip = rules["bans"]["skip"].as_array().expect("a list");
    let mut skipped = Vec::new();
    for skip in skip {
        let reason = skip["reason"].as_str().unwrap_or_default();
        assert!(!reason.is_empty(), "{skip} has no reason");
        let (name, version) = skip["crate"].as_str().and_then(|text| text.split_once(':')).expect("NAME:VERSION");
        let version: VersionReq = version.parse().expect("a version requirement");
        skipped.push((name, version, 0));
    }
    let mut versions: BTreeMap<String, Vec<Version>> = BTreeMap::new();
    for package in packages() {
        let (name, version) = (text(&package, "name"), text(&package, "version"));
        let version: Version = version.parse().expect("a version");
        let skip = skipped.iter_mut().find(|(skip, needed, _)| *skip == name && needed.matches(&version));
        match skip {
            Some((_, _, count)) => *count += 1,
            None => versions.entry(name.to_owned()).or_default().push(version),
        }
    }
    for (name, versions) in &versions {
        assert!(versions.len() == 1, "`{name}` has several versions: {versions:?}; see `skip` in deny.toml");
    }
    for (name, version, count) in &skipped {
        let twice = *count > 0 && versions.contains_key(*name);
        assert!(twice, "`{name}` {version} in `skip` of deny.toml is not a second version of a dependency");
    }
}

#[test]
fn no_requirement_is_a_wildcard() {
    for package in crates() {
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            // Crates of this repository are found by their path.
            let is_wildcard = text(dependency, "req") == "*" && dependency["path"].is_null();
            assert!(!is_wildcard, "`{}` accepts every version of `{}`", package["name"], dependency["name"]);
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
