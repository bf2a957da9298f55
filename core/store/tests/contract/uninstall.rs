//! Uninstalled versions of bundles, and the bytes that they leave.

use std::collections::BTreeSet;

use blockyard_model::Digest;
use blockyard_store::{AuditLine, BundleRecord, Store, StoreError, Uninstall};
use expect_test::expect;

use crate::fixture::{TestStore, ZOO, at, create_in, line, manifest, rejected, zoo};

on_both!(
    an_uninstalled_version_is_not_listed_and_keeps_its_bytes,
    a_version_in_use_is_not_uninstalled,
    only_the_named_grants_are_removed,
    an_unexpected_version_prevents_the_uninstallation,
    a_block_is_not_created_with_an_uninstalled_version,
    a_block_is_created_or_its_bundle_uninstalled,
    an_uninstalled_version_is_installed_again,
    only_bytes_that_no_revision_names_are_dropped,
    blocks_are_counted_by_bundle,
    a_signature_is_stored_with_its_bytes,
    installing_replaces_damaged_bytes,
);

const SECOND: &[u8] = b"\0asm zoo 2";

fn digests(versions: &[&[u8]]) -> BTreeSet<Digest> {
    versions.iter().map(|bytes| Digest::of(bytes)).collect()
}

/// Uninstalls versions of `zoo`, given by their bytes. Removes the grants of these capabilities.
async fn uninstall_in(
    store: &Store,
    versions: &[&[u8]],
    remaining: &[&[u8]],
    revoke: &[&str],
) -> Result<(), StoreError> {
    let (versions, remaining) = (digests(versions), digests(remaining));
    let uninstall = Uninstall { bundle: "zoo", versions: &versions, remaining: &remaining };
    let revoked = |capability: &str| revoke.contains(&capability).then(|| line("revoke", "zoo"));
    store.uninstall(&uninstall, line("uninstall", "zoo"), &revoked).await
}

/// Uninstalls the only installed version.
async fn uninstall(yard: &TestStore) -> Result<(), StoreError> {
    uninstall_in(&yard.store, &[ZOO], &[], &[]).await
}

async fn gc(yard: &TestStore) -> Vec<String> {
    let audit = |dropped: &[BundleRecord]| AuditLine { detail: dropped.len().to_string(), ..line("gc", "yard-1") };
    let dropped = yard.store.drop_unused_bundles(&audit).await.unwrap();
    dropped.into_iter().map(|bundle| format!("{} {}: {} bytes", bundle.name, bundle.version, bundle.size)).collect()
}

async fn versions(yard: &TestStore) -> Vec<String> {
    let records: Vec<String> = yard.store.bundles().await.unwrap().into_iter().map(|bundle| bundle.version).collect();
    let versions: Vec<String> =
        yard.store.bundle_versions().await.unwrap().into_iter().map(|(_, _, version)| version).collect();
    assert_eq!(records, versions);
    versions
}

async fn an_uninstalled_version_is_not_listed_and_keeps_its_bytes(yard: &TestStore) {
    yard.create("zoo/leo", "{}", &[]).await.unwrap();
    yard.delete("zoo/leo").await.unwrap();
    yard.install(&zoo("2.0.0"), SECOND, &[], &[ZOO]).await.unwrap();
    uninstall_in(&yard.store, &[ZOO], &[SECOND], &[]).await.unwrap();
    assert_eq!(versions(yard).await, ["2.0.0"]);
    assert_eq!(yard.store.bundle_bytes(&Digest::of(ZOO)).await.unwrap().as_deref(), Some(ZOO));
    let record = yard.store.bundle(&Digest::of(ZOO)).await.unwrap().unwrap();
    assert_eq!(record.uninstalled_at, Some(crate::fixture::NOW));
    let uninstalled = yard.store.uninstalled_bundles().await.unwrap();
    assert_eq!(uninstalled.iter().map(|bundle| bundle.digest).collect::<Vec<_>>(), [Digest::of(ZOO)]);
    // The block has its revisions, and can be restored.
    assert_eq!(yard.store.history(&at("zoo/leo")).await.unwrap()[0].bundle_version, "1.0.0");
    yard.restore("zoo/leo").await.unwrap();
    // Its types still belong to the bundle.
    let taken = yard.install(&manifest("aviary", "0.1.0", &["zoo"]), b"aviary", &[], &[]).await;
    assert!(matches!(taken, Err(StoreError::SlugTaken { .. })), "{taken:?}");
    assert_eq!(yard.trail().await.last().map(String::as_str), Some("restore zoo/leo"));
}

async fn a_version_in_use_is_not_uninstalled(yard: &TestStore) {
    for name in ["zoo/mia", "zoo/leo", "zoo/old"] {
        yard.create(name, "{}", &[]).await.unwrap();
    }
    yard.delete("zoo/old").await.unwrap();
    let refused = uninstall(yard).await;
    expect!["bundle `zoo` is in use by `zoo/leo` (1.0.0), `zoo/mia` (1.0.0)"].assert_eq(&rejected(refused));
    assert_eq!(versions(yard).await, ["1.0.0"]);
    let users = yard.store.bundle_users("zoo").await.unwrap();
    assert_eq!(users.iter().map(|user| user.address.to_string()).collect::<Vec<_>>(), ["zoo/leo", "zoo/mia"]);
    for name in ["zoo/mia", "zoo/leo"] {
        yard.delete(name).await.unwrap();
    }
    uninstall(yard).await.unwrap();
    assert!(versions(yard).await.is_empty());
    assert_eq!(yard.trail().await.last().map(String::as_str), Some("uninstall zoo"));
}

async fn only_the_named_grants_are_removed(yard: &TestStore) {
    let random = "random".parse().unwrap();
    yard.store.grant("zoo", &random, line("grant", "zoo")).await.unwrap();
    uninstall_in(&yard.store, &[ZOO], &[], &["log"]).await.unwrap();
    assert_eq!(yard.store.grants("zoo").await.unwrap(), [random].into());
    assert_eq!(yard.trail().await, ["install zoo", "grant zoo", "uninstall zoo", "revoke zoo"]);
}

async fn an_unexpected_version_prevents_the_uninstallation(yard: &TestStore) {
    yard.install(&zoo("2.0.0"), SECOND, &[], &[ZOO]).await.unwrap();
    for (versions, remaining) in [(&[ZOO][..], &[][..]), (&[ZOO, SECOND, b"three"], &[]), (&[SECOND], &[])] {
        let refused = uninstall_in(&yard.store, versions, remaining, &["log"]).await;
        assert!(matches!(refused, Err(StoreError::VersionsMoved(_))), "{refused:?}");
    }
    // Two installations in the same millisecond have no order.
    let mut installed = versions(yard).await;
    installed.sort();
    assert_eq!(installed, ["1.0.0", "2.0.0"]);
    assert_eq!(yard.store.grants("zoo").await.unwrap().len(), 1);
}

async fn a_block_is_not_created_with_an_uninstalled_version(yard: &TestStore) {
    uninstall(yard).await.unwrap();
    expect!["the bundle of block `zoo/leo` was uninstalled at the same time"]
        .assert_eq(&rejected(yard.create("zoo/leo", "{}", &[]).await));
    gc(yard).await;
    let refused = yard.create("zoo/leo", "{}", &[]).await;
    assert!(matches!(refused, Err(StoreError::BundleUninstalled(_))), "{refused:?}");
}

async fn a_block_is_created_or_its_bundle_uninstalled(yard: &TestStore) {
    for round in 0..5 {
        let name = format!("zoo/r{round}");
        let (creator, remover, wanted) = (yard.open_again().await, yard.open_again().await, name.clone());
        let (created, uninstalled) = tokio::join!(
            tokio::spawn(async move { create_in(&creator, &wanted, "{}", &[]).await }),
            tokio::spawn(async move { uninstall_in(&remover, &[ZOO], &[], &[]).await }),
        );
        match (created.unwrap(), uninstalled.unwrap()) {
            (Ok(()), Err(StoreError::BundleInUse { .. })) => yard.delete(&name).await.unwrap(),
            (Err(StoreError::BundleUninstalled(_)), Ok(())) => {
                yard.install(&zoo("1.0.0"), ZOO, &[], &[]).await.unwrap();
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn an_uninstalled_version_is_installed_again(yard: &TestStore) {
    yard.install(&zoo("2.0.0"), SECOND, &[], &[ZOO]).await.unwrap();
    uninstall_in(&yard.store, &[ZOO, SECOND], &[], &["log"]).await.unwrap();
    // An uninstalled version need not be reviewed.
    yard.install(&zoo("1.0.0"), ZOO, &["log"], &[]).await.unwrap();
    assert_eq!(versions(yard).await, ["1.0.0"]);
    assert_eq!(yard.store.grants("zoo").await.unwrap().len(), 1);
    yard.create("zoo/leo", "{}", &[]).await.unwrap();
    assert_eq!(gc(yard).await, ["zoo 2.0.0: 10 bytes"]);
    assert_eq!(yard.store.bundle_bytes(&Digest::of(ZOO)).await.unwrap().as_deref(), Some(ZOO));
}

async fn only_bytes_that_no_revision_names_are_dropped(yard: &TestStore) {
    assert!(gc(yard).await.is_empty(), "installed versions are never dropped");
    yard.create("zoo/leo", "{}", &[]).await.unwrap();
    yard.delete("zoo/leo").await.unwrap();
    yard.install(&zoo("2.0.0"), SECOND, &[], &[ZOO]).await.unwrap();
    uninstall_in(&yard.store, &[ZOO, SECOND], &[], &[]).await.unwrap();
    assert_eq!(gc(yard).await, ["zoo 2.0.0: 10 bytes"]);
    assert_eq!(yard.store.bundle_bytes(&Digest::of(SECOND)).await.unwrap(), None);
    assert!(yard.store.bundle(&Digest::of(SECOND)).await.unwrap().is_none());
    // The revision of a deleted block names the other version.
    assert_eq!(yard.store.bundle_bytes(&Digest::of(ZOO)).await.unwrap().as_deref(), Some(ZOO));
    assert!(gc(yard).await.is_empty());
    let trail = yard.trail().await;
    assert_eq!(trail.iter().filter(|line| *line == "gc yard-1").count(), 1, "{trail:?}");
    assert!(yard.store.integrity().await.unwrap().is_empty());
}

async fn blocks_are_counted_by_bundle(yard: &TestStore) {
    assert!(yard.store.blocks_by_bundle().await.unwrap().is_empty());
    for name in ["zoo/leo", "zoo/mia", "zoo/old"] {
        yard.create(name, "{}", &[]).await.unwrap();
    }
    yard.delete("zoo/old").await.unwrap();
    assert_eq!(yard.store.blocks_by_bundle().await.unwrap(), [(Digest::of(ZOO), 2)]);
}

async fn a_signature_is_stored_with_its_bytes(yard: &TestStore) {
    let signature = async |bytes: &[u8]| yard.store.bundle(&Digest::of(bytes)).await.unwrap().unwrap().signature;
    assert_eq!(signature(ZOO).await, None);
    let signer = blockyard_store::NewSigner { registry: "file:///srv/registry/", key: "RW-one", replaces: None };
    yard.install_signed(&zoo("2.0.0"), SECOND, &[], &[ZOO], Some(signer)).await.unwrap();
    assert_eq!(signature(SECOND).await.as_deref(), Some("signature"));
}

async fn installing_replaces_damaged_bytes(yard: &TestStore) {
    assert_eq!(yard.bypass("UPDATE bundle_bytes SET bytes = digest").await, Ok(1));
    yard.install(&zoo("1.0.0"), ZOO, &[], &[ZOO]).await.unwrap();
    assert_eq!(yard.store.bundle_bytes(&Digest::of(ZOO)).await.unwrap().as_deref(), Some(ZOO));
}
