//! Tombstones and restored blocks.

use expect_test::expect;
use serde_json::json;

use crate::fixture::{NOW, TestStore, at, rejected};

on_both!(
    a_deleted_block_keeps_its_name_and_its_revisions,
    a_restored_block_is_as_before,
    a_block_is_deleted_once_and_restored_once,
    a_deleted_block_is_not_saved,
    a_block_in_use_is_not_deleted,
    a_block_without_its_dependencies_is_not_restored,
);

async fn a_deleted_block_keeps_its_name_and_its_revisions(yard: &TestStore) {
    yard.create("zoo/leo", r#"{"n":1}"#, &[]).await.unwrap();
    yard.delete("zoo/leo").await.unwrap();
    let tombstone = yard.read("zoo/leo").await;
    assert_eq!((tombstone.deleted_at, tombstone.config), (Some(NOW), json!({"n": 1})));
    assert_eq!(yard.store.history(&at("zoo/leo")).await.unwrap().len(), 1);
    expect!["the name `zoo/leo` belongs to a deleted block and cannot be reused"]
        .assert_eq(&rejected(yard.create("zoo/leo", r#"{"n":2}"#, &[]).await));
    assert_eq!(yard.trail().await, ["install zoo", "create zoo/leo", "delete zoo/leo"]);
}

async fn a_restored_block_is_as_before(yard: &TestStore) {
    yard.create("zoo/leo", r#"{"n":1}"#, &[]).await.unwrap();
    let before = yard.read("zoo/leo").await;
    yard.delete("zoo/leo").await.unwrap();
    yard.restore("zoo/leo").await.unwrap();
    let after = yard.read("zoo/leo").await;
    assert_eq!((after.deleted_at, &after.config_text), (None, &before.config_text));
    yard.save(&after, r#"{"n":2}"#, &[]).await.unwrap();
    assert_eq!(
        yard.trail().await,
        ["install zoo", "create zoo/leo", "delete zoo/leo", "restore zoo/leo", "set zoo/leo"]
    );
}

async fn a_block_is_deleted_once_and_restored_once(yard: &TestStore) {
    expect!["block `zoo/leo` not found"].assert_eq(&rejected(yard.delete("zoo/leo").await));
    expect!["block `zoo/leo` not found"].assert_eq(&rejected(yard.restore("zoo/leo").await));
    yard.create("zoo/leo", "{}", &[]).await.unwrap();
    expect!["block `zoo/leo` is not deleted"].assert_eq(&rejected(yard.restore("zoo/leo").await));
    yard.delete("zoo/leo").await.unwrap();
    expect!["block `zoo/leo` is already deleted"].assert_eq(&rejected(yard.delete("zoo/leo").await));
    // Rejected changes leave no line in the audit trail.
    assert_eq!(yard.trail().await, ["install zoo", "create zoo/leo", "delete zoo/leo"]);
}

async fn a_deleted_block_is_not_saved(yard: &TestStore) {
    yard.create("zoo/leo", "{}", &[]).await.unwrap();
    let from = yard.read("zoo/leo").await;
    yard.delete("zoo/leo").await.unwrap();
    expect!["block `zoo/leo` not found"].assert_eq(&rejected(yard.save(&from, r#"{"n":2}"#, &[]).await));
    assert_eq!(yard.store.history(&at("zoo/leo")).await.unwrap().len(), 1);
}

async fn a_block_in_use_is_not_deleted(yard: &TestStore) {
    yard.create("zoo-keeper/mia", "{}", &[]).await.unwrap();
    yard.create("zoo/leo", "{}", &[("/keeper", "zoo-keeper/mia"), ("/deputies/0", "zoo-keeper/mia")]).await.unwrap();
    expect!["block `zoo-keeper/mia` is in use: `zoo/leo` (`deputies.0`), `zoo/leo` (`keeper`) depend on it"]
        .assert_eq(&rejected(yard.delete("zoo-keeper/mia").await));
    // Only the newest revision counts.
    let from = yard.read("zoo/leo").await;
    yard.save(&from, "{}", &[]).await.unwrap();
    yard.delete("zoo-keeper/mia").await.unwrap();
}

async fn a_block_without_its_dependencies_is_not_restored(yard: &TestStore) {
    yard.create("zoo-keeper/mia", "{}", &[]).await.unwrap();
    yard.create("zoo/leo", "{}", &[("/keeper", "zoo-keeper/mia")]).await.unwrap();
    yard.delete("zoo/leo").await.unwrap();
    // A deleted block does not protect the blocks that it depends on.
    yard.delete("zoo-keeper/mia").await.unwrap();
    expect!["block `zoo-keeper/mia`, which the block depends on, no longer exists"]
        .assert_eq(&rejected(yard.restore("zoo/leo").await));
    yard.restore("zoo-keeper/mia").await.unwrap();
    yard.restore("zoo/leo").await.unwrap();
}
