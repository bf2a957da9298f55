//! Verifying the bundles of a yard.

use blockyard::model::BundleName;
use blockyard::{Agreement, Content, Registry, Request, SignatureState, SigningKey, Verification};
use semver::VersionReq;
use serde_json::json;

use crate::fixture::{TestYard, component, zoo};

on_both!(
    an_untouched_yard_passes,
    a_signature_is_kept_with_the_bundle,
    uninstalled_versions_are_verified_until_they_are_dropped,
);

async fn verify(yard: &TestYard) -> Verification {
    let mut seen = Vec::new();
    let found = yard.yard.verify(&mut |what| seen.push(what.to_owned())).await.unwrap();
    assert_eq!(seen.len(), found.bundles.len());
    assert_eq!(found.passed, found.error().is_none());
    found
}

/// Installs a signed version of `zoo` from a registry.
async fn install_signed(yard: &TestYard, version: &str, key: &SigningKey) {
    let mut manifest = zoo();
    manifest["version"] = json!(version);
    let folder = yard.path("acme");
    blockyard::publish(&folder, "acme", &component(&manifest, ""), key, &|_| ()).unwrap();
    let (name, registries) = (BundleName::new("zoo").unwrap(), [Registry::read(&folder).unwrap()]);
    let request = Request { name: &name, requirement: &VersionReq::STAR, accepted_key: None };
    let found = yard.yard.find(&request, &registries, &mut |_| ()).await.unwrap();
    let Content::Component(bytes) = found.content else { panic!("it is a file") };
    let staged = yard.yard.stage_release(bytes, found.release).await.unwrap();
    yard.yard.install(staged, &Agreement::Everything).await.unwrap();
}

async fn an_untouched_yard_passes(yard: &TestYard) {
    let found = verify(yard).await;
    assert!(found.passed);
    assert_eq!((found.bundles.len(), found.bundles[0].signature), (1, SignatureState::Unsigned));
    // A narrower grant than the requested one is within the manifest.
    let mut manifest = zoo();
    manifest["version"] = json!("1.1.0");
    manifest["capabilities"] = json!(["reveal", "http {config.url}"]);
    let staged = yard.yard.stage(component(&manifest, ""), crate::fixture::source()).await.unwrap();
    yard.yard.install(staged, &Agreement::Everything).await.unwrap();
    let zoo = BundleName::new("zoo").unwrap();
    yard.yard.grant(&zoo, &"http https://a.example".parse().unwrap()).await.unwrap();
    assert!(verify(yard).await.passed);
}

async fn a_signature_is_kept_with_the_bundle(yard: &TestYard) {
    let (key, _) = SigningKey::generate().unwrap();
    install_signed(yard, "1.1.0", &key).await;
    let found = verify(yard).await;
    assert!(found.passed);
    assert_eq!(found.bundles[1].signature, SignatureState::Valid);
    assert_eq!(found.bundles[1].signer.as_deref(), Some(key.public().as_str()));
    let listed = yard.yard.bundles().await.unwrap();
    assert_eq!(listed[1].signer.as_deref(), Some(key.public().as_str()));
    assert_eq!(listed[0].signer, None);
}

async fn uninstalled_versions_are_verified_until_they_are_dropped(yard: &TestYard) {
    let plan = yard.yard.plan_uninstall(&BundleName::new("zoo").unwrap(), None).await.unwrap();
    yard.yard.uninstall(plan).await.unwrap();
    let found = verify(yard).await;
    assert!(found.passed && !found.bundles[0].installed);
    yard.yard.gc().await.unwrap();
    assert!(verify(yard).await.bundles.is_empty());
}
