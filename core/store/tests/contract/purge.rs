//! Destroyed secrets.

use std::path::Path;

use blockyard_model::{Pointer, Revision};
use blockyard_store::{NewRevision, StoreError, WrappedKey};
use expect_test::expect;

use crate::fixture::{KEY, TestStore, at, draft, line, rejected, revision};

on_both!(
    a_purge_destroys_the_secrets_of_all_revisions,
    a_purge_is_counted_and_invalidates_earlier_reads,
    a_purge_requires_a_key_of_the_yard,
    a_deleted_block_is_purged,
);

/// The sealed secret of the block.
const CANARY: &[u8] = b"badge-canary-4711";

const NEW_KEY: WrappedKey<'_> = WrappedKey { data_key: b"another data key", key_id: KEY };

async fn with_secret(yard: &TestStore) {
    let secrets = [(Pointer::new("/badge"), CANARY.to_vec())];
    let address = at("zoo/leo");
    let new = || NewRevision { secrets: &secrets, ..draft(&address, r#"{"n":1}"#, &[]) };
    let key = WrappedKey { data_key: b"data key", key_id: KEY };
    yard.store.create_block(&new(), &key, None, line("create", "zoo/leo")).await.unwrap();
    let from = yard.read("zoo/leo").await;
    yard.store.save_revision(&new(), &from, line("set", "zoo/leo")).await.unwrap();
}

async fn purge(yard: &TestStore) -> Result<(), StoreError> {
    let newest = yard.read("zoo/leo").await;
    let seals = [(Revision::FIRST, b"seal 1".to_vec()), (revision(2), b"seal 2".to_vec())];
    yard.store.purge_block(&newest, &NEW_KEY, &seals, line("purge", "zoo/leo")).await
}

async fn a_purge_destroys_the_secrets_of_all_revisions(yard: &TestStore) {
    with_secret(yard).await;
    yard.create("zoo/mia", "{}", &[]).await.unwrap();
    if let Some(file) = yard.location().file() {
        // Moves the secret from the write-ahead log to the file.
        yard.bypass("PRAGMA wal_checkpoint(TRUNCATE)").await.unwrap();
        assert!(std::fs::read(file).unwrap().windows(CANARY.len()).any(|window| window == CANARY));
    }
    purge(yard).await.unwrap();
    let history = yard.store.history(&at("zoo/leo")).await.unwrap();
    for entry in &history {
        let seal = format!("seal {}", entry.record.revision);
        assert_eq!((entry.record.secrets.len(), entry.record.seal.as_slice()), (0, seal.as_bytes()));
        assert_eq!(entry.record.data_key.as_deref(), Some(NEW_KEY.data_key));
        assert_eq!(entry.record.config_text, r#"{"n":1}"#);
    }
    assert_eq!(history.len(), 2);
    // Another block keeps its key.
    assert_eq!(yard.read("zoo/mia").await.data_key.as_deref(), Some(b"wrapped data key".as_slice()));
    if let Some(file) = yard.location().file() {
        assert!(!any_contains(file, CANARY), "a file still contains the secret");
    }
}

/// Checks whether the file of a yard, or one of its journals, contains these bytes.
fn any_contains(file: &Path, needle: &[u8]) -> bool {
    ["", "-wal", "-shm"].iter().any(|suffix| {
        let path = format!("{}{suffix}", file.display());
        std::fs::read(path).is_ok_and(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
    })
}

async fn a_purge_is_counted_and_invalidates_earlier_reads(yard: &TestStore) {
    with_secret(yard).await;
    let before = yard.read("zoo/leo").await;
    purge(yard).await.unwrap();
    assert_eq!((before.purges, yard.read("zoo/leo").await.purges), (0, 1));

    // `before` has the newest revision, but was sealed with the data key from before the purge.
    let moved = expect!["block `zoo/leo` was changed in the meantime and is now at revision 2"];
    moved.assert_eq(&rejected(yard.save(&before, "{}", &[]).await));
    let again = yard.store.purge_block(&before, &NEW_KEY, &[], line("purge", "zoo/leo")).await;
    moved.assert_eq(&rejected(again));
    purge(yard).await.unwrap();
    let after = yard.read("zoo/leo").await;
    assert_eq!(after.purges, 2);
    yard.save(&after, "{}", &[]).await.unwrap();
    assert_eq!(
        yard.trail().await,
        ["install zoo", "create zoo/leo", "set zoo/leo", "purge zoo/leo", "purge zoo/leo", "set zoo/leo"]
    );
}

async fn a_purge_requires_a_key_of_the_yard(yard: &TestStore) {
    with_secret(yard).await;
    let newest = yard.read("zoo/leo").await;
    let key = WrappedKey { data_key: b"another data key", key_id: "another-key" };
    let purged = yard.store.purge_block(&newest, &key, &[], line("purge", "zoo/leo")).await;
    expect!["the yard's key was changed in the meantime"].assert_eq(&rejected(purged));
    assert_eq!(yard.read("zoo/leo").await.secrets.len(), 1);
}

async fn a_deleted_block_is_purged(yard: &TestStore) {
    with_secret(yard).await;
    yard.delete("zoo/leo").await.unwrap();
    purge(yard).await.unwrap();
    let purged = yard.read("zoo/leo").await;
    assert_eq!((purged.purges, purged.secrets.len()), (1, 0));
    assert!(purged.deleted_at.is_some());
}
