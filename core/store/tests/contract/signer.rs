//! Keys that sign the releases of registries.

use blockyard_store::{NewSigner, StoreError};

use crate::fixture::{TestStore, ZOO, line, zoo};

on_both!(a_key_is_pinned_with_the_installation, another_key_needs_the_decision_of_the_user);

const REGISTRY: &str = "file:///srv/registry/";

async fn install(yard: &TestStore, version: &str, key: &str, replaces: Option<&str>) -> Result<(), StoreError> {
    let signer = NewSigner { registry: REGISTRY, key, replaces };
    let reviewed = [ZOO, b"1.1.0", b"1.2.0", b"1.3.0"];
    yard.install_signed(&zoo(version), version.as_bytes(), &[], &reviewed, Some(signer)).await
}

async fn pinned(yard: &TestStore, registry: &str, bundle: &str) -> Option<String> {
    yard.store.signer(registry, bundle).await.unwrap()
}

async fn a_key_is_pinned_with_the_installation(yard: &TestStore) {
    // The bundle of the fixture is unsigned.
    assert_eq!(pinned(yard, REGISTRY, "zoo").await, None);
    assert!(yard.store.registry_signers(REGISTRY).await.unwrap().is_empty());
    install(yard, "1.1.0", "RW-one", None).await.unwrap();
    assert_eq!(pinned(yard, REGISTRY, "zoo").await.as_deref(), Some("RW-one"));
    // The pin applies to this bundle and this registry; the registry counts as signed.
    assert_eq!(pinned(yard, REGISTRY, "aviary").await, None);
    assert_eq!(pinned(yard, "file:///srv/other/", "zoo").await, None);
    assert_eq!(yard.store.registry_signers(REGISTRY).await.unwrap(), ["RW-one"]);
    assert!(yard.store.registry_signers("file:///srv/other/").await.unwrap().is_empty());
    install(yard, "1.2.0", "RW-one", None).await.unwrap();
    assert_eq!(pinned(yard, REGISTRY, "zoo").await.as_deref(), Some("RW-one"));
}

async fn another_key_needs_the_decision_of_the_user(yard: &TestStore) {
    install(yard, "1.1.0", "RW-one", None).await.unwrap();
    for replaces in [None, Some("RW-two"), Some("RW-three")] {
        let refused = install(yard, "1.2.0", "RW-two", replaces).await;
        assert!(matches!(refused, Err(StoreError::SignerMoved(bundle)) if bundle == "zoo"), "{replaces:?}");
    }
    assert_eq!(pinned(yard, REGISTRY, "zoo").await.as_deref(), Some("RW-one"));
    let versions = yard.store.bundle_versions().await.unwrap();
    assert!(!versions.iter().any(|(_, _, version)| version == "1.2.0"), "nothing was installed");
    install(yard, "1.2.0", "RW-two", Some("RW-one")).await.unwrap();
    assert_eq!(pinned(yard, REGISTRY, "zoo").await.as_deref(), Some("RW-two"));
    // The key of bytes that are already installed is replaced by the same rule, with a line of its own.
    let three = |replaces| NewSigner { registry: REGISTRY, key: "RW-three", replaces };
    let refused = yard.store.pin_signer("zoo", &three(Some("RW-one")), line("pin", "zoo")).await;
    assert!(matches!(refused, Err(StoreError::SignerMoved(_))));
    yard.store.pin_signer("zoo", &three(Some("RW-two")), line("pin", "zoo")).await.unwrap();
    assert_eq!(pinned(yard, REGISTRY, "zoo").await.as_deref(), Some("RW-three"));
    assert_eq!(yard.trail().await.last().map(String::as_str), Some("pin zoo"));
}
