//! Review of the permissions of a bundle, and agreement to wider ones.

use blockyard::model::BundleName;
use blockyard::{Agreement, BundleSource, Content, Error, Given, Installed, Registry, Request, SigningKey, Staged};
use expect_test::expect;
use semver::VersionReq;
use serde_json::{Value, json};

use crate::fixture::{TestYard, component, document, install_zoo, rejected, source, zoo};

on_both!(
    a_review_lists_everything_that_is_granted,
    the_same_bytes_change_nothing,
    a_newer_version_without_wider_permissions_needs_yes_only,
    wider_permissions_need_a_separate_agreement,
    a_narrower_grant_replaces_the_requested_one,
    revoked_capabilities_stay_revoked,
    of_two_files_with_one_version_the_last_one_is_used,
    a_review_covers_the_versions_that_it_compared,
    a_type_of_another_bundle_is_rejected,
    a_file_that_is_not_the_listed_bundle_is_rejected,
    a_manifest_that_the_code_does_not_return_is_rejected,
    new_blocks_use_the_newest_version_and_existing_ones_keep_theirs,
);

/// Returns the manifest of a version of `zoo` with these capabilities.
fn version(version: &str, capabilities: &[&str]) -> Value {
    let mut manifest = zoo();
    manifest["version"] = json!(version);
    manifest["capabilities"] = json!(capabilities);
    manifest
}

async fn stage(yard: &TestYard, manifest: &Value) -> Staged {
    yard.yard.stage(component(manifest, ""), source()).await.unwrap()
}

async fn install(yard: &TestYard, manifest: &Value, given: Given) -> Result<Installed, Error> {
    let staged = stage(yard, manifest).await;
    yard.yard.install(staged, &Agreement::Given(given)).await
}

fn yes() -> Given {
    Given { yes: true, ..Given::default() }
}

async fn granted(yard: &TestYard) -> Vec<String> {
    let grants = yard.yard.grants(Some(&BundleName::new("zoo").unwrap())).await.unwrap();
    let grants = serde_json::to_value(grants).unwrap();
    let granted = grants.as_array().unwrap().iter().filter(|grant| grant["granted"] == json!(true));
    granted.map(|grant| grant["capability"].as_str().unwrap().to_owned()).collect()
}

fn lines(staged: &Staged) -> String {
    staged.review().lines.iter().map(|line| format!("{} {:?}\n", line.text, line.needs)).collect()
}

/// Returns what an installation lacks, which must be the reason of its failure: the general agreement,
/// and the agreement to each wider change.
fn lacks(installed: Result<Installed, Error>) -> (Value, Vec<Value>) {
    let error = installed.expect_err("an error");
    let code = error.as_code().expect("a code");
    assert_eq!((error.kind().as_str(), code.as_str()), ("usage", "consent-needed"));
    let fields = code.fields().unwrap();
    let open = fields["open"].as_array().unwrap().iter().map(|change| change["need"].clone()).collect();
    (fields["agreement"].clone(), open)
}

async fn a_review_lists_everything_that_is_granted(yard: &TestYard) {
    let mut manifest = version("1.0.0", &["log", "sql postgres"]);
    manifest["name"] = json!("aviary");
    manifest["types"] = json!([{
        "slug": "aviary", "version": 1,
        "schema": {"type": "object", "additionalProperties": false, "properties": {}},
        "operations": [
            {"name": "look", "effect": "read", "arguments": {"type": "object"}, "result": {}},
            {"name": "open", "effect": "destructive", "arguments": {"type": "object"}, "result": {}},
        ],
    }]);
    let staged = stage(yard, &manifest).await;
    expect![[r#"
        source: file /bundles/zoo.wasm None
        signer: unsigned None
        capability `sql postgres`: open the PostgreSQL databases that its blocks name None
        capability `log`: write to the log None
        block type `aviary`: read `look`; destructive `open` None
    "#]]
    .assert_eq(&lines(&staged));
    assert!(!staged.review().is_wider() && !staged.review().replaces);
    let installed = yard.yard.install(staged, &Agreement::Given(yes())).await.unwrap();
    assert_eq!((installed.name.as_str(), installed.changed), ("aviary", true));
    assert_eq!(installed.types, ["aviary"]);
}

async fn the_same_bytes_change_nothing(yard: &TestYard) {
    let staged = stage(yard, &zoo()).await;
    assert!(staged.is_installed());
    // Nothing changes, so no agreement is needed.
    let again = yard.yard.install(staged, &Agreement::Given(Given::default())).await.unwrap();
    assert!(!again.changed);
    assert_eq!(yard.yard.bundles().await.unwrap().len(), 1);
}

async fn a_newer_version_without_wider_permissions_needs_yes_only(yard: &TestYard) {
    let newer = version("1.1.0", &["reveal"]);
    let staged = stage(yard, &newer).await;
    assert!(!staged.review().is_wider());
    expect![[r#"
        version: 1.0.0 → 1.1.0 None
        source: file /bundles/zoo.wasm → file /bundles/zoo.wasm None
        signer: unsigned → unsigned None
    "#]]
    .assert_eq(&lines(&staged));
    let refused = rejected(yard.yard.install(staged, &Agreement::Given(Given::default())).await);
    expect![[r#"
        usage: bundle `zoo` 1.1.0 was not installed: no one agreed to it
          code: consent-needed agreement=true bundle="zoo" open=[] version="1.1.0"
    "#]]
    .assert_eq(&refused);
    install(yard, &newer, yes()).await.unwrap();
}

async fn wider_permissions_need_a_separate_agreement(yard: &TestYard) {
    let mut wider = version("1.1.0", &["reveal", "random"]);
    wider["types"][0]["operations"][0]["effect"] = json!("write");
    let staged = stage(yard, &wider).await;
    assert!(staged.review().is_wider());
    let refused = rejected(install(yard, &wider, yes()).await);
    assert!(refused.contains("it gets wider permissions than the installed version"), "{refused}");
    assert_eq!(granted(yard).await, ["reveal"]);
    // Each kind of change requires its own agreement.
    let random = || vec!["random".parse().unwrap()];
    let lacking = async |given| lacks(install(yard, &wider, given).await);
    assert_eq!(lacking(Given { grants: random(), ..yes() }).await, (json!(false), vec![json!("replace")]));
    assert_eq!(lacking(Given { replace: true, ..yes() }).await, (json!(false), vec![json!({"grant": "random"})]));
    assert_eq!(lacking(Given { yes: false, grants: random(), replace: true }).await, (json!(true), vec![]));
    assert_eq!(yard.yard.bundles().await.unwrap().len(), 1);
    install(yard, &wider, Given { yes: true, grants: random(), replace: true }).await.unwrap();
    assert_eq!(granted(yard).await, ["random", "reveal"]);
    let line = yard.yard.audit(&blockyard::AuditFilter::default()).await.unwrap().remove(0);
    let detail: Value = serde_json::from_str(&line.detail).unwrap();
    assert_eq!((line.action.as_str(), &detail["granted"]), ("install", &json!(["random"])));
    assert_eq!(detail["wider"].as_array().unwrap().len(), 2, "{detail}");
}

async fn a_narrower_grant_replaces_the_requested_one(yard: &TestYard) {
    let wider = version("1.1.0", &["reveal", "http https://*.zoo.example"]);
    let narrow = vec!["http https://api.zoo.example".parse().unwrap()];
    install(yard, &wider, Given { grants: narrow, ..yes() }).await.unwrap();
    let bundle = BundleName::new("zoo").unwrap();
    let grants = serde_json::to_value(yard.yard.grants(Some(&bundle)).await.unwrap()).unwrap().to_string();
    assert!(grants.contains("http https://api.zoo.example"), "{grants}");
    assert!(!granted(yard).await.contains(&"http https://*.zoo.example".to_owned()));
}

async fn revoked_capabilities_stay_revoked(yard: &TestYard) {
    let (bundle, reveal) = (BundleName::new("zoo").unwrap(), "reveal".parse().unwrap());
    assert!(yard.yard.revoke(&bundle, &reveal).await.unwrap());
    install_zoo(&yard.yard).await;
    assert!(granted(yard).await.is_empty());
    // Neither does a newer version get it back.
    install(yard, &version("1.1.0", &["reveal"]), yes()).await.unwrap();
    assert!(granted(yard).await.is_empty());
    assert!(yard.yard.grant(&bundle, &reveal).await.unwrap());
    assert!(!yard.yard.grant(&bundle, &reveal).await.unwrap());
    assert_eq!(granted(yard).await, ["reveal"]);
}

async fn of_two_files_with_one_version_the_last_one_is_used(yard: &TestYard) {
    let first = version("1.1.0", &["reveal"]);
    let mut second = first.clone();
    second["types"][0]["operations"].as_array_mut().unwrap().pop();
    install(yard, &first, yes()).await.unwrap();
    let installed = install(yard, &second, yes()).await.unwrap().sha256;
    yard.create("zoo-keeper/second", json!({"name": "Second"})).await;
    // Returning to the first file is an installation like any other, and permits no more than before.
    assert_eq!(lacks(install(yard, &first, Given::default()).await), (json!(true), vec![]));
    assert!(install(yard, &first, yes()).await.unwrap().changed);
    assert!(!install(yard, &first, Given::default()).await.unwrap().changed);
    yard.create("zoo-keeper/first", json!({"name": "First"})).await;
    let used = async |address: &str| yard.yard.show(&address.parse().unwrap()).await.unwrap().bundle_sha256;
    assert_eq!(used("zoo-keeper/second").await, installed);
    assert_ne!(used("zoo-keeper/first").await, installed);
}

async fn a_review_covers_the_versions_that_it_compared(yard: &TestYard) {
    let early = stage(yard, &version("1.2.0", &["reveal"])).await;
    install(yard, &version("1.1.0", &["reveal"]), yes()).await.unwrap();
    expect![[r#"
        conflict: another version of bundle `zoo` was installed at the same time
          hint: install it again and review the new differences
    "#]]
    .assert_eq(&rejected(yard.yard.install(early, &Agreement::Everything).await));
}

async fn a_type_of_another_bundle_is_rejected(yard: &TestYard) {
    let mut manifest = zoo();
    manifest["name"] = json!("circus");
    expect![[r#"
        conflict: block type `zoo-keeper` of bundle `circus` already belongs to bundle `zoo`
          hint: the bundles cannot be installed in the same yard; `zoo` is installed
    "#]]
    .assert_eq(&rejected(install(yard, &manifest, yes()).await));
}

async fn a_file_that_is_not_the_listed_bundle_is_rejected(yard: &TestYard) {
    let registry = yard.path("registry");
    let (key, _) = SigningKey::generate().unwrap();
    blockyard::publish(&registry, "zoos", &component(&zoo(), ""), &key, &|_| ()).unwrap();
    let index = std::fs::read_to_string(registry.join("registry.toml")).unwrap();
    let index = index.replace(&format!("key = \"{}\"", key.public()), "unsigned = true");
    std::fs::write(registry.join("registry.toml"), index.replace("name = \"zoo\"", "name = \"circus\"")).unwrap();
    let registries = [Registry::read(&registry).unwrap()];
    let name = BundleName::new("circus").unwrap();
    let request = Request { name: &name, requirement: &VersionReq::STAR, accepted_key: None };
    let found = yard.yard.find(&request, &registries, &mut |_| ()).await.unwrap();
    let Content::Component(bytes) = found.content else { panic!("it is a file") };
    expect![[r#"
        denied: the registry lists bundle `circus` 1.0.0, but the file contains bundle `zoo` 1.0.0
          hint: report this to the registry's owner
    "#]]
    .assert_eq(&rejected(yard.yard.stage_release(bytes, found.release).await));
}

async fn a_manifest_that_the_code_does_not_return_is_rejected(yard: &TestYard) {
    let (error_report, embedded) = (zoo().to_string(), version("1.0.0", &[]).to_string());
    let mut component = crate::attack::with_manifest("zoo", "", error_report.as_bytes());
    crate::attack::embed(&mut component, embedded.as_bytes());
    let staged = yard.yard.stage(component, BundleSource::file(std::path::Path::new("/bundles/zoo.wasm"))).await;
    expect![[r#"
        invalid: the description that bundle `zoo` returns differs from its embedded manifest
          hint: report it to the author of the bundle, who must build it again
    "#]]
    .assert_eq(&rejected(staged));
}

async fn new_blocks_use_the_newest_version_and_existing_ones_keep_theirs(yard: &TestYard) {
    yard.create("zoo-keeper/old", json!({"name": "Old"})).await;
    let mut newer = version("1.1.0", &["reveal"]);
    newer["types"][0]["schema"]["properties"]["age"] = json!({"type": "integer"});
    install(yard, &newer, yes()).await.unwrap();
    yard.create("zoo-keeper/new", json!({"name": "New", "age": 7})).await;
    let refused = rejected(yard.change("zoo-keeper/old", document(json!({"age": 7}))).await);
    assert!(refused.contains("/age: unknown field `age`"), "{refused}");
    let versions: Vec<String> = yard
        .yard
        .list(blockyard::BlockFilter::default(), None)
        .await
        .unwrap()
        .into_iter()
        .map(|block| format!("{} {}", block.address, block.bundle.unwrap()))
        .collect();
    assert!(versions[0].starts_with("zoo-keeper/new ") && versions[0].contains("1.1.0"), "{versions:?}");
    assert!(versions[1].starts_with("zoo-keeper/old ") && versions[1].contains("1.0.0"), "{versions:?}");
}
