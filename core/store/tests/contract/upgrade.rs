//! Upgrades: all blocks of a bundle move to a new version, or nothing changes.

use std::collections::BTreeSet;

use blockyard_model::{Address, BundleName, Digest, Manifest};
use blockyard_store::{BlockUpgrade, NewBundle, NewRevision, StoreError, Uninstall, Upgrade};

use crate::fixture::{TestStore, ZOO, at, draft, line, references_of, rejected, revision, zoo};

on_both!(
    all_blocks_move_with_the_installation,
    a_moved_block_leaves_everything_as_it_was,
    a_block_that_is_left_out_is_a_conflict,
    a_deleted_block_is_a_conflict,
    references_are_stored_with_the_new_revision,
    a_second_installation_is_a_conflict,
    an_uninstalled_version_is_a_conflict,
);

/// Bytes of version 2.0.0.
const SECOND: &[u8] = b"\0asm zoo 2";

/// Installs version 2.0.0, and moves blocks from the given revisions to it. `references` are those of
/// the first block.
async fn upgrade(
    yard: &TestStore,
    blocks: &[(&str, u64)],
    references: &[(&str, &str)],
    kept: &[&str],
) -> Result<(), StoreError> {
    upgrade_to_second(yard, true, blocks, references, kept).await
}

/// Like [`upgrade`], but installs version 2.0.0 only on request.
async fn upgrade_to_second(
    yard: &TestStore,
    installs: bool,
    blocks: &[(&str, u64)],
    references: &[(&str, &str)],
    kept: &[&str],
) -> Result<(), StoreError> {
    let text = zoo("2.0.0");
    let manifest = Manifest::parse(&text).unwrap();
    let (grants, reviewed) = (BTreeSet::new(), BTreeSet::from([Digest::of(ZOO)]));
    let bundle = NewBundle {
        digest: Digest::of(SECOND),
        manifest: &manifest,
        manifest_text: &text,
        bytes: SECOND,
        source: "file /tmp/zoo.wasm",
        grants: &grants,
        reviewed: &reviewed,
        signer: None,
        signature: None,
    };
    let addresses: Vec<Address> = blocks.iter().map(|(address, _)| at(address)).collect();
    let references = references_of(references);
    let revisions = addresses.iter().zip(blocks).enumerate().map(|(number, (address, (text, from)))| BlockUpgrade {
        revision: NewRevision {
            bundle: Digest::of(SECOND),
            ..draft(address, r#"{"new":1}"#, if number == 0 { &references } else { &[] })
        },
        from: revision(*from),
        purges: 0,
        line: line("upgrade", text),
    });
    let revisions: Vec<BlockUpgrade<'_>> = revisions.collect();
    let kept: BTreeSet<Address> = kept.iter().map(|address| at(address)).collect();
    let name = BundleName::new("zoo").unwrap();
    let bundle = installs.then_some(&bundle);
    let upgrade = Upgrade { name: &name, digest: Digest::of(SECOND), bundle, blocks: &revisions, kept: &kept };
    yard.store.upgrade_blocks(&upgrade, line("upgrade", "zoo")).await
}

/// Returns the newest revision and the bundle's bytes of a block.
async fn state(yard: &TestStore, address: &str) -> (u64, &'static [u8]) {
    let record = yard.read(address).await;
    (record.newest.number(), if record.bundle == Digest::of(SECOND) { SECOND } else { ZOO })
}

/// Checks that version 2.0.0 is not installed, and that the audit trail has no line about it.
async fn nothing_changed(yard: &TestStore) {
    assert!(yard.store.bundle(&Digest::of(SECOND)).await.unwrap().is_none());
    assert!(yard.store.bundle_bytes(&Digest::of(SECOND)).await.unwrap().is_none());
    assert!(!yard.trail().await.iter().any(|line| line.starts_with("upgrade")));
}

async fn all_blocks_move_with_the_installation(yard: &TestStore) {
    yard.create("zoo/a", "{}", &[]).await.unwrap();
    yard.create("zoo-keeper/b", "{}", &[]).await.unwrap();
    upgrade(yard, &[("zoo/a", 1), ("zoo-keeper/b", 1)], &[], &[]).await.unwrap();
    assert_eq!((state(yard, "zoo/a").await, state(yard, "zoo-keeper/b").await), ((2, SECOND), (2, SECOND)));
    assert_eq!(yard.store.bundle_bytes(&Digest::of(SECOND)).await.unwrap().as_deref(), Some(SECOND));
    let trail = yard.trail().await;
    assert_eq!(trail[trail.len() - 3..], ["upgrade zoo/a", "upgrade zoo-keeper/b", "upgrade zoo"]);
    assert_eq!(yard.store.check_audit().await.unwrap().broken, None);
    // The old revision keeps its version.
    let old = yard.store.block(&at("zoo/a"), Some(revision(1))).await.unwrap().unwrap();
    assert_eq!((old.bundle, old.config_text.as_str()), (Digest::of(ZOO), "{}"));
}

async fn a_moved_block_leaves_everything_as_it_was(yard: &TestStore) {
    yard.create("zoo/a", "{}", &[]).await.unwrap();
    yard.create("zoo/b", "{}", &[]).await.unwrap();
    yard.save(&yard.read("zoo/b").await, r#"{"other":1}"#, &[]).await.unwrap();
    let refused = rejected(upgrade(yard, &[("zoo/a", 1), ("zoo/b", 1)], &[], &[]).await);
    assert_eq!(refused, "block `zoo/b` was changed in the meantime and is now at revision 2");
    assert_eq!((state(yard, "zoo/a").await, state(yard, "zoo/b").await), ((1, ZOO), (2, ZOO)));
    nothing_changed(yard).await;
}

async fn a_block_that_is_left_out_is_a_conflict(yard: &TestStore) {
    yard.create("zoo/a", "{}", &[]).await.unwrap();
    yard.create("zoo/late", "{}", &[]).await.unwrap();
    let refused = rejected(upgrade(yard, &[("zoo/a", 1)], &[], &[]).await);
    assert_eq!(refused, "block `zoo/late` was changed in the meantime and is now at revision 1");
    nothing_changed(yard).await;
    // Unless it is to keep its version.
    upgrade(yard, &[("zoo/a", 1)], &[], &["zoo/late"]).await.unwrap();
    assert_eq!((state(yard, "zoo/a").await, state(yard, "zoo/late").await), ((2, SECOND), (1, ZOO)));
}

async fn a_deleted_block_is_a_conflict(yard: &TestStore) {
    yard.create("zoo/a", "{}", &[]).await.unwrap();
    yard.delete("zoo/a").await.unwrap();
    assert_eq!(rejected(upgrade(yard, &[("zoo/a", 1)], &[], &[]).await), "block `zoo/a` not found");
    nothing_changed(yard).await;
    // A deleted block does not have to be moved.
    upgrade(yard, &[], &[], &[]).await.unwrap();
    yard.restore("zoo/a").await.unwrap();
    assert_eq!(state(yard, "zoo/a").await, (1, ZOO));
}

async fn references_are_stored_with_the_new_revision(yard: &TestStore) {
    yard.create("zoo-keeper/b", "{}", &[]).await.unwrap();
    yard.create("zoo/a", "{}", &[("/keeper", "zoo-keeper/b")]).await.unwrap();
    upgrade(yard, &[("zoo/a", 1), ("zoo-keeper/b", 1)], &[("/head", "zoo-keeper/b")], &[]).await.unwrap();
    let users = yard.store.users_of(&at("zoo-keeper/b")).await.unwrap();
    assert_eq!(users.len(), 1);
    assert_eq!((users[0].0.to_string(), users[0].1.as_str()), ("zoo/a".to_owned(), "/head"));
}

async fn a_second_installation_is_a_conflict(yard: &TestStore) {
    yard.create("zoo/a", "{}", &[]).await.unwrap();
    yard.install(&zoo("1.5.0"), b"zoo 1.5", &[], &[ZOO]).await.unwrap();
    let refused = rejected(upgrade(yard, &[("zoo/a", 1)], &[], &[]).await);
    assert_eq!(refused, "another version of bundle `zoo` was installed at the same time");
    assert_eq!(state(yard, "zoo/a").await, (1, ZOO));
    nothing_changed(yard).await;
}

async fn an_uninstalled_version_is_a_conflict(yard: &TestStore) {
    yard.create("zoo/a", "{}", &[]).await.unwrap();
    yard.install(&zoo("2.0.0"), SECOND, &[], &[ZOO]).await.unwrap();
    let (versions, remaining) = (BTreeSet::from([Digest::of(SECOND)]), BTreeSet::from([Digest::of(ZOO)]));
    let uninstall = Uninstall { bundle: "zoo", versions: &versions, remaining: &remaining };
    yard.store.uninstall(&uninstall, line("uninstall", "zoo"), &|_| None).await.unwrap();
    let refused = upgrade_to_second(yard, false, &[("zoo/a", 1)], &[], &[]).await;
    assert!(matches!(refused, Err(StoreError::BundleUninstalled(_))), "{refused:?}");
    assert_eq!(state(yard, "zoo/a").await, (1, ZOO));
}
