//! Uninstalling bundles, and dropping the bytes that no revision names.

use blockyard::model::BundleName;
use blockyard::{Agreement, BundleSource, Error, Given, Uninstallation};
use expect_test::expect;
use semver::Version;
use serde_json::{Value, json};

use crate::fixture::{TestYard, at, component, rejected, source, zoo};

on_both!(
    a_version_in_use_is_not_uninstalled,
    an_uninstalled_version_opens_old_revisions,
    types_of_an_uninstalled_bundle_are_found,
    a_restored_block_without_grants_explains_itself,
    new_blocks_use_the_remaining_versions,
    grants_end_with_the_last_version_that_requests_them,
    a_bundle_is_installed_again_as_a_new_one,
    another_source_needs_agreement_while_blocks_remain,
    a_bundle_or_version_that_is_not_installed_is_reported,
    gc_reports_what_it_drops,
    a_plan_applies_to_the_versions_that_it_names,
);

fn name() -> BundleName {
    BundleName::new("zoo").unwrap()
}

/// Installs a version of `zoo` with these capabilities.
async fn install(yard: &TestYard, version: &str, capabilities: &[&str]) {
    let mut manifest: Value = zoo();
    manifest["version"] = json!(version);
    manifest["capabilities"] = json!(capabilities);
    let staged = yard.yard.stage(component(&manifest, ""), source()).await.unwrap();
    yard.yard.install(staged, &Agreement::Everything).await.unwrap();
}

async fn uninstall(yard: &TestYard, version: Option<&str>) -> Result<Uninstallation, Error> {
    let version = version.map(|text| text.parse::<Version>().unwrap());
    let plan = yard.yard.plan_uninstall(&name(), version.as_ref()).await?;
    yard.yard.uninstall(plan).await
}

/// Returns names and versions of the installed bundles.
async fn installed(yard: &TestYard) -> Vec<String> {
    let bundles = yard.yard.bundles().await.unwrap();
    bundles.into_iter().map(|bundle| format!("{} {}", bundle.name, bundle.version)).collect()
}

async fn trail(yard: &TestYard) -> Vec<(String, String)> {
    let lines = yard.yard.audit(&blockyard::AuditFilter::default()).await.unwrap();
    lines.into_iter().rev().map(|line| (line.action, line.detail)).collect()
}

async fn a_version_in_use_is_not_uninstalled(yard: &TestYard) {
    yard.create("zoo-keeper/bob", json!({"name": "Bob"})).await;
    yard.create("zoo-keeper/ada", json!({"name": "Ada"})).await;
    expect![[r#"
        conflict: bundle `zoo` is in use by `zoo-keeper/ada` (1.0.0), `zoo-keeper/bob` (1.0.0)
          code: bundle-in-use bundle="zoo" used_by=[{"address":"zoo-keeper/ada","version":"1.0.0"},{"address":"zoo-keeper/bob","version":"1.0.0"}]
    "#]]
    .assert_eq(&rejected(uninstall(yard, None).await));
    assert_eq!(installed(yard).await, ["zoo 1.0.0"]);
    // The block was created after the plan.
    yard.yard.delete(&at("zoo-keeper/bob")).await.unwrap();
    yard.yard.delete(&at("zoo-keeper/ada")).await.unwrap();
    let plan = yard.yard.plan_uninstall(&name(), None).await.unwrap();
    yard.create("zoo-keeper/eve", json!({"name": "Eve"})).await;
    let refused = yard.yard.uninstall(plan).await.unwrap_err();
    assert_eq!(refused.as_code().unwrap().as_str(), "bundle-in-use");
}

async fn an_uninstalled_version_opens_old_revisions(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada", "badge": "badge-secret"})).await;
    yard.yard.delete(&at("zoo-keeper/ada")).await.unwrap();
    uninstall(yard, None).await.unwrap();
    assert!(installed(yard).await.is_empty());
    assert!(yard.yard.gc().await.unwrap().is_empty(), "the revision names it");
    yard.yard.restore(&at("zoo-keeper/ada")).await.unwrap();
    assert_eq!(yard.reveal("zoo-keeper/ada", "badge").await, "badge-secret");
    let view = yard.yard.show(&"zoo-keeper/ada".parse().unwrap()).await.unwrap();
    assert_eq!(json!(view.bundle), json!({"name": "zoo", "version": "1.0.0", "uninstalled": true}));
    assert_eq!(view.bundle.unwrap().to_string(), "bundle `zoo` 1.0.0, which is uninstalled");
    // A program that opens the yard later reads the code from the yard.
    let again = yard.open_with(blockyard::KeySource::Default).await.unwrap();
    let block = again.block("zoo-keeper/ada").await.unwrap();
    assert_eq!(block.call("show-badge", json!({})).await.unwrap().result, Value::Null);
    again.close().await;
    assert_eq!(yard.set("zoo-keeper/ada", json!({"name": "Eve"})).await, Some(2));
    let created = yard.try_create("zoo-keeper/bob", json!({"name": "Bob"})).await;
    assert_eq!(created.unwrap_err().as_code().unwrap().as_str(), "bundle-uninstalled");
}

/// Commands that read find the type, others name the bundle.
async fn types_of_an_uninstalled_bundle_are_found(yard: &TestYard) {
    let slug = |text: &str| text.parse::<blockyard::TypeSlug>().unwrap();
    yard.create("zoo-keeper/ada", json!({"name": "Ada"})).await;
    yard.yard.delete(&at("zoo-keeper/ada")).await.unwrap();
    uninstall(yard, None).await.unwrap();
    yard.yard.restore(&at("zoo-keeper/ada")).await.unwrap();
    let view = yard.yard.block_type(&slug("zoo-keeper")).await.unwrap();
    assert_eq!((view.bundle.as_str(), view.bundle_version.as_str(), view.uninstalled), ("zoo", "1.0.0", true));
    expect![[r#"
        not-found: no installed bundle has a block type `zoo-keper`
          hint: did you mean `zoo-keeper`?
          code: unknown-type any_installed=false type="zoo-keper"
    "#]]
    .assert_eq(&rejected(yard.yard.block_type(&slug("zoo-keper")).await));
    let expected = expect![[r#"
        not-found: block type `zoo-keeper` is defined by version 1.0.0 of bundle `zoo`, which is uninstalled
          code: bundle-uninstalled bundle="zoo" version="1.0.0"
    "#]];
    expected.assert_eq(&rejected(yard.try_create("zoo-keeper/bob", json!({"name": "Bob"})).await));
    expected.assert_eq(&rejected(yard.yard.schema_of_type(&slug("zoo-keeper")).await));
    // The newest installed version no longer defines the type, and the block stays on the old one.
    let mut manifest = zoo();
    manifest["version"] = json!("2.0.0");
    let types = manifest["types"].as_array_mut().unwrap();
    types.retain(|described| described["slug"] == "zoo-keeper");
    install(yard, "1.0.0", &["reveal"]).await;
    let staged = yard.yard.stage(component(&manifest, ""), source()).await.unwrap();
    yard.yard.install(staged, &Agreement::Everything).await.unwrap();
    let view = yard.yard.block_type(&slug("zoo-cage")).await.unwrap();
    assert_eq!((view.bundle_version.as_str(), view.uninstalled), ("1.0.0", false));
    let refused = yard.try_create("zoo-cage/c", json!({"animal": "newt"})).await.unwrap_err();
    assert_eq!(refused.to_string(), "the newest installed version of bundle `zoo` has no block type `zoo-cage`");
}

async fn a_restored_block_without_grants_explains_itself(yard: &TestYard) {
    let mut manifest = zoo();
    manifest["version"] = json!("1.1.0");
    manifest["capabilities"] = json!(["clock"]);
    let code = r#"(import "blockyard:bundle/clock@0.1.0" "now" (func $now (result i64)))"#;
    let staged = yard.yard.stage(component(&manifest, code), source()).await.unwrap();
    yard.yard.install(staged, &Agreement::Everything).await.unwrap();
    yard.create("zoo-keeper/ada", json!({"name": "Ada"})).await;
    yard.yard.delete(&at("zoo-keeper/ada")).await.unwrap();
    uninstall(yard, None).await.unwrap();
    yard.yard.restore(&at("zoo-keeper/ada")).await.unwrap();
    let called = yard.yard.block("zoo-keeper/ada").await.unwrap().call("show-badge", json!({})).await;
    let error = called.err().unwrap();
    assert_eq!(error.as_code().unwrap().as_str(), "bundle-uninstalled");
    let hint = "version 1.1.0 of bundle `zoo` is uninstalled, which ended its grants";
    assert_eq!(error.hints(), [hint]);
}

async fn new_blocks_use_the_remaining_versions(yard: &TestYard) {
    install(yard, "1.1.0", &["reveal"]).await;
    let done = uninstall(yard, Some("1.1.0")).await.unwrap();
    assert_eq!((done.versions[0].version.as_str(), done.remaining[0].version.as_str()), ("1.1.0", "1.0.0"));
    yard.create("zoo-keeper/ada", json!({"name": "Ada"})).await;
    let view = yard.yard.show(&"zoo-keeper/ada".parse().unwrap()).await.unwrap();
    assert_eq!(json!(view.bundle), json!({"name": "zoo", "version": "1.0.0"}));
    assert_eq!(yard.yard.types(None).await.unwrap()[0].bundle_version, "1.0.0");
    // Only this version has no users.
    install(yard, "1.2.0", &["reveal"]).await;
    assert!(uninstall(yard, Some("1.0.0")).await.is_err());
    uninstall(yard, Some("1.2.0")).await.unwrap();
}

async fn grants_end_with_the_last_version_that_requests_them(yard: &TestYard) {
    install(yard, "1.1.0", &["reveal", "clock", "http {config.url}"]).await;
    yard.yard.grant(&name(), &"http https://a.example".parse().unwrap()).await.unwrap();
    let granted = async || {
        let grants = yard.yard.grants(None).await.unwrap();
        grants.into_iter().filter(|grant| grant.granted).map(|grant| grant.capability).collect::<Vec<_>>()
    };
    assert!(granted().await.contains(&"http https://a.example".to_owned()));
    let done = uninstall(yard, Some("1.1.0")).await.unwrap();
    assert_eq!(done.revoked, ["http https://a.example", "http {config.url}", "clock"]);
    assert_eq!(granted().await, ["reveal"]);
    let done = uninstall(yard, None).await.unwrap();
    assert_eq!(done.revoked, ["reveal"]);
    let trail = trail(yard).await;
    let (action, detail) = &trail[trail.len() - 1];
    assert_eq!((action.as_str(), detail.as_str()), ("revoke", r#"{"by":"uninstall","capability":"reveal"}"#));
    let (action, detail) = &trail[trail.len() - 2];
    assert!(action == "uninstall" && detail.contains("\"version\":\"1.0.0\""), "{detail}");
}

async fn a_bundle_is_installed_again_as_a_new_one(yard: &TestYard) {
    uninstall(yard, None).await.unwrap();
    let staged = yard.yard.stage(component(&zoo(), ""), source()).await.unwrap();
    assert!(!staged.is_installed() && !staged.review().replaces);
    let refused = yard.yard.install(staged, &Agreement::Given(Given::default())).await.unwrap_err();
    assert_eq!(refused.as_code().unwrap().as_str(), "consent-needed");
    let staged = yard.yard.stage(component(&zoo(), ""), source()).await.unwrap();
    let done = yard.yard.install(staged, &Agreement::Given(Given { yes: true, ..Given::default() })).await.unwrap();
    assert!(done.changed);
    assert_eq!(done.grants, ["reveal"]);
    yard.create("zoo-keeper/ada", json!({"name": "Ada"})).await;
    assert_eq!(installed(yard).await, ["zoo 1.0.0"]);
}

/// A bundle of another author would get the blocks of the uninstalled one.
async fn another_source_needs_agreement_while_blocks_remain(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada", "badge": "badge-secret"})).await;
    yard.yard.delete(&at("zoo-keeper/ada")).await.unwrap();
    uninstall(yard, None).await.unwrap();
    let url = "https://eve.example/".parse().unwrap();
    let other = || BundleSource::registry(&url, "eve: zoo 1.0.0", None);
    let yes = || Given { yes: true, ..Given::default() };
    let staged = yard.yard.stage(component(&zoo(), ""), other()).await.unwrap();
    assert!(staged.review().is_wider());
    let refused = yard.yard.install(staged, &Agreement::Given(yes())).await.unwrap_err();
    let fields = refused.as_code().unwrap().fields().unwrap();
    assert_eq!(fields["open"][0]["need"], json!("replace"), "{fields}");
    let staged = yard.yard.stage(component(&zoo(), ""), other()).await.unwrap();
    let given = Given { replace: true, ..yes() };
    assert!(yard.yard.install(staged, &Agreement::Given(given)).await.unwrap().changed);
}

async fn a_bundle_or_version_that_is_not_installed_is_reported(yard: &TestYard) {
    expect![[r#"
        not-found: version 9.0.0 of bundle `zoo` is not installed
          hint: installed: `1.0.0`
    "#]]
    .assert_eq(&rejected(uninstall(yard, Some("9.0.0")).await));
    let zo = BundleName::new("zo").unwrap();
    expect![[r#"
        not-found: bundle `zo` is not installed
          hint: did you mean `zoo`?
          code: not-installed bundle="zo"
    "#]]
    .assert_eq(&rejected(yard.yard.plan_uninstall(&zo, None).await));
    uninstall(yard, None).await.unwrap();
    let again = rejected(uninstall(yard, None).await);
    let capability = "reveal".parse().unwrap();
    let granted = rejected(yard.yard.grant(&BundleName::new("zoo").unwrap(), &capability).await);
    assert_eq!(granted, again);
    expect![[r#"
        not-found: bundle `zoo` is not installed
          caused by: its version 1.0.0 is uninstalled; only blocks that use it can be read
          code: bundle-uninstalled bundle="zoo" version="1.0.0"
    "#]]
    .assert_eq(&again);
}

async fn gc_reports_what_it_drops(yard: &TestYard) {
    install(yard, "1.1.0", &["reveal"]).await;
    let sizes: Vec<u64> = yard.yard.bundles().await.unwrap().iter().map(|bundle| bundle.size).collect();
    assert!(yard.yard.gc().await.unwrap().is_empty());
    yard.create("zoo-keeper/ada", json!({"name": "Ada"})).await;
    uninstall(yard, Some("1.0.0")).await.unwrap();
    let dropped = yard.yard.gc().await.unwrap();
    assert_eq!(dropped.len(), 1);
    assert_eq!((dropped[0].version.as_str(), dropped[0].bytes), ("1.0.0", sizes[0]));
    let (action, detail) = trail(yard).await.pop().unwrap();
    assert!(action == "gc" && detail.contains(&dropped[0].sha256), "{action} {detail}");
    // The dropped version can be installed again.
    install(yard, "1.0.0", &["reveal"]).await;
    assert_eq!(installed(yard).await, ["zoo 1.1.0", "zoo 1.0.0"]);
}

async fn a_plan_applies_to_the_versions_that_it_names(yard: &TestYard) {
    let plan = yard.yard.plan_uninstall(&name(), None).await.unwrap();
    install(yard, "1.1.0", &["reveal"]).await;
    expect![[r#"
        conflict: the installed versions of bundle `zoo` were changed at the same time
          hint: try again
    "#]]
    .assert_eq(&rejected(yard.yard.uninstall(plan).await));
}
