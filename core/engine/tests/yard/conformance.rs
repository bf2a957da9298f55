//! Conformance tests of bundles: what they find, and what they accept.

use blockyard::{ConformanceResult, ConformanceStatus, UpgradeCase, conformance, inspect};
use serde_json::json;

use crate::attack::{attack, build};
use crate::fixture::{component, in_folder, zoo};

/// Tests a component. Returns the results whose name ends in one of these.
fn results(bytes: &[u8], upgrades: &[UpgradeCase], names: &[&str]) -> Vec<ConformanceResult> {
    let mut found = Vec::new();
    in_folder(async |_| found = conformance(bytes, upgrades).await.unwrap());
    found.retain(|result| names.iter().any(|name| result.name.ends_with(name)));
    assert_eq!(found.len(), names.len(), "{found:#?}");
    found
}

#[track_caller]
fn is(result: &ConformanceResult, status: ConformanceStatus, reason: &str) {
    let reasons = result.reasons.join("; ");
    assert!(result.status == status && reasons.contains(reason), "{result:?}");
}

#[test]
fn an_operation_that_crashes_is_found() {
    let found = results(&attack("trap"), &[], &["`go` without a network", "`well` without a network", ": limits"]);
    is(&found[0], ConformanceStatus::Failed, "bundle `trap` crashed");
    is(&found[1], ConformanceStatus::Ok, "");
    is(&found[2], ConformanceStatus::Ok, "");
}

#[test]
fn exceeded_limits_are_found() {
    let found = results(&attack("deep-recursion"), &[], &["`go` without a network", ": limits"]);
    is(&found[0], ConformanceStatus::Failed, "its stack exceeds 512 KiB");
    is(&found[1], ConformanceStatus::Failed, "its stack exceeds 512 KiB");
    let found = results(&attack("loop-in-validate"), &[], &["`validate`", "calls of a sample block"]);
    is(&found[0], ConformanceStatus::Failed, "units of fuel");
    is(&found[1], ConformanceStatus::Skipped, "the sample block is not valid");
}

#[test]
fn differences_of_manifest_and_code_are_found() {
    let found = results(&attack("describe-differs-from-manifest"), &[], &["manifest equals `describe`"]);
    is(&found[0], ConformanceStatus::Failed, "differs from the one that `describe` returns");
    let unused = build("made", ";; capabilities: clock\n");
    let found = results(&unused, &[], &["requested capabilities are used", "made: schemas"]);
    is(&found[0], ConformanceStatus::Failed, "requests `clock`, but its code does not use `clock`");
    is(&found[1], ConformanceStatus::Failed, "operation `go` has no description");
}

#[test]
fn a_bundle_without_findings_passes() {
    let mut found = Vec::new();
    let bytes = component(&zoo(), "");
    in_folder(async |_| found = conformance(&bytes, &[]).await.unwrap());
    let crashed = found.iter().filter(|result| result.reasons.iter().any(|reason| reason.contains("crashed")));
    assert_eq!(crashed.collect::<Vec<_>>(), Vec::<&ConformanceResult>::new());
    assert!(found.iter().any(|result| result.name == "`describe` is deterministic"), "{found:#?}");
    assert_eq!(inspect(&bytes).unwrap().name, "zoo");
}

#[test]
fn cases_without_an_older_version_are_found() {
    let case = |name: &str, slug: &str| {
        let text = json!({"type": slug, "version": 1, "config": {}}).to_string();
        UpgradeCase::parse(name, &text).unwrap()
    };
    let cases = [case("other.json", "other"), case("same.json", "trap")];
    let found = results(&attack("trap"), &cases, &["migrate other.json", "migrate same.json"]);
    is(&found[0], ConformanceStatus::Failed, "the bundle has no block type `other`");
    is(&found[1], ConformanceStatus::Failed, "version 1 is not older than the version of the type, 1");
}

#[test]
fn a_file_that_is_no_bundle_is_an_error() {
    in_folder(async |_| assert!(conformance(b"text", &[]).await.is_err()));
}
