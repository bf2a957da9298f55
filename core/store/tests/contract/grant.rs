//! Capabilities that are granted to bundles.

use blockyard_model::Capability;

use crate::fixture::{TestStore, line, manifest};

on_both!(
    the_grants_of_an_installation_apply_to_its_bundle_only,
    a_grant_is_added_once_and_revoked_once,
    a_grant_is_kept_as_text,
    an_unknown_capability_grants_nothing,
);

async fn granted(yard: &TestStore, bundle: &str) -> String {
    let grants = yard.store.grants(bundle).await.unwrap();
    grants.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn capability(text: &str) -> Capability {
    text.parse().unwrap()
}

async fn the_grants_of_an_installation_apply_to_its_bundle_only(yard: &TestStore) {
    yard.install(&manifest("aviary", "0.1.0", &["aviary"]), b"aviary", &["random", "clock"], &[]).await.unwrap();
    assert_eq!(granted(yard, "zoo").await, "log");
    assert_eq!(granted(yard, "aviary").await, "clock, random");
    assert_eq!(granted(yard, "missing").await, "");
}

async fn a_grant_is_added_once_and_revoked_once(yard: &TestStore) {
    let random = capability("random");
    assert!(yard.store.grant("zoo", &random, line("grant", "zoo")).await.unwrap());
    assert!(!yard.store.grant("zoo", &random, line("grant", "zoo")).await.unwrap());
    assert_eq!(granted(yard, "zoo").await, "log, random");
    assert!(yard.store.revoke("zoo", &random, line("revoke", "zoo")).await.unwrap());
    assert!(!yard.store.revoke("zoo", &random, line("revoke", "zoo")).await.unwrap());
    assert_eq!(granted(yard, "zoo").await, "log");
    // Only changes are recorded.
    assert_eq!(yard.trail().await, ["install zoo", "grant zoo", "revoke zoo"]);
}

async fn a_grant_is_kept_as_text(yard: &TestStore) {
    for text in ["http https://*.zoo.example", "http https://vault.example at 10.0.0.0/8", "sql postgres", "reveal"] {
        assert!(yard.store.grant("zoo", &capability(text), line("grant", "zoo")).await.unwrap());
        assert!(yard.store.grants("zoo").await.unwrap().contains(&capability(text)), "{text}");
    }
}

async fn an_unknown_capability_grants_nothing(yard: &TestStore) {
    let insert = "INSERT INTO grants (bundle, capability, granted_at) VALUES ('zoo', 'teleport everywhere', 0)";
    yard.bypass(insert).await.unwrap();
    assert_eq!(granted(yard, "zoo").await, "log");
}
