//! Installed bundles, addressed by their digest.

use blockyard_model::Digest;
use expect_test::expect;

use crate::fixture::{NOW, TestStore, ZOO, manifest, rejected, zoo};

on_both!(
    a_bundle_is_read_as_it_was_installed,
    a_bundle_that_is_not_installed_is_none,
    bytes_survive_exactly,
    versions_are_installed_side_by_side,
    bundles_are_listed_in_the_order_of_their_bytes,
    the_same_bytes_are_installed_once,
    an_approval_covers_the_versions_that_it_names,
    a_type_belongs_to_one_bundle,
);

async fn a_bundle_is_read_as_it_was_installed(yard: &TestStore) {
    let read = yard.store.bundle(&Digest::of(ZOO)).await.unwrap().unwrap();
    assert_eq!((read.digest, read.name.as_str(), read.version.as_str()), (Digest::of(ZOO), "zoo", "1.0.0"));
    assert_eq!((read.manifest, read.source.as_str()), (zoo("1.0.0"), "file /tmp/zoo.wasm"));
    assert_eq!((read.size, read.installed_at), (ZOO.len() as u64, NOW));
    assert_eq!(yard.store.bundle_bytes(&Digest::of(ZOO)).await.unwrap().as_deref(), Some(ZOO));
}

async fn a_bundle_that_is_not_installed_is_none(yard: &TestStore) {
    let other = Digest::of(b"another file");
    assert!(yard.store.bundle(&other).await.unwrap().is_none());
    assert_eq!(yard.store.bundle_bytes(&other).await.unwrap(), None);
}

async fn bytes_survive_exactly(yard: &TestStore) {
    let files = [Vec::new(), (0..=255).collect::<Vec<u8>>(), vec![0xab; 10 << 20]];
    for (number, bytes) in files.iter().enumerate() {
        let name = format!("file-{number}");
        yard.install(&manifest(&name, "1.0.0", &[&name]), bytes, &[], &[]).await.unwrap();
        let read = yard.store.bundle_bytes(&Digest::of(bytes)).await.unwrap().unwrap();
        assert!(read == *bytes, "{name} has changed");
    }
}

async fn versions_are_installed_side_by_side(yard: &TestStore) {
    yard.install(&zoo("2.0.0"), b"zoo 2", &[], &[ZOO]).await.unwrap();
    yard.install(&manifest("aviary", "0.1.0", &["aviary"]), b"aviary", &[], &[]).await.unwrap();
    let versions = yard.store.bundle_versions().await.unwrap();
    let mut shown: Vec<String> = versions.iter().map(|(_, name, version)| format!("{name} {version}")).collect();
    // Versions that were installed at the same time are ordered by digest.
    shown.sort();
    assert_eq!(shown, ["aviary 0.1.0", "zoo 1.0.0", "zoo 2.0.0"]);
    let records = yard.store.bundles().await.unwrap();
    let digests: Vec<Digest> = records.iter().map(|record| record.digest).collect();
    assert_eq!(digests, versions.iter().map(|(digest, _, _)| *digest).collect::<Vec<_>>());
    assert_eq!(yard.trail().await, ["install zoo", "install zoo", "install aviary"]);
}

async fn bundles_are_listed_in_the_order_of_their_bytes(yard: &TestStore) {
    // A locale would order these names differently.
    for name in ["a2", "a-b", "a10"] {
        yard.install(&manifest(name, "1.0.0", &[name]), name.as_bytes(), &[], &[]).await.unwrap();
    }
    let sorted = ["a-b", "a10", "a2", "zoo"];
    let versions = yard.store.bundle_versions().await.unwrap();
    assert_eq!(versions.iter().map(|(_, name, _)| name.as_str()).collect::<Vec<_>>(), sorted);
    let records = yard.store.bundles().await.unwrap();
    assert_eq!(records.iter().map(|record| record.name.as_str()).collect::<Vec<_>>(), sorted);
}

async fn the_same_bytes_are_installed_once(yard: &TestStore) {
    yard.install(&zoo("1.0.0"), ZOO, &["log"], &[]).await.unwrap();
    assert_eq!(yard.store.bundles().await.unwrap().len(), 1);
    assert_eq!(yard.trail().await, ["install zoo", "install zoo"]);
}

async fn an_approval_covers_the_versions_that_it_names(yard: &TestStore) {
    expect!["another version of bundle `zoo` was installed at the same time"]
        .assert_eq(&rejected(yard.install(&zoo("2.0.0"), b"zoo 2", &["random"], &[]).await));
    assert_eq!(yard.store.bundles().await.unwrap().len(), 1);
    assert!(!yard.store.grants("zoo").await.unwrap().contains(&"random".parse().unwrap()));
    yard.install(&zoo("2.0.0"), b"zoo 2", &["random"], &[ZOO]).await.unwrap();
}

async fn a_type_belongs_to_one_bundle(yard: &TestStore) {
    let other = manifest("circus", "1.0.0", &["circus", "zoo-keeper"]);
    expect!["block type `zoo-keeper` of bundle `circus` already belongs to bundle `zoo`"]
        .assert_eq(&rejected(yard.install(&other, b"circus", &["log"], &[]).await));
    // Nothing of the bundle was installed: neither its other type, nor its grants.
    assert_eq!(yard.store.bundles().await.unwrap().len(), 1);
    assert!(yard.store.grants("circus").await.unwrap().is_empty());
    yard.install(&manifest("tent", "1.0.0", &["circus"]), b"tent", &[], &[]).await.unwrap();
}
