//! Sets of blocks.

use blockyard_model::SetName;
use blockyard_store::{NewRevision, StoreError, WrappedKey};
use expect_test::expect;

use crate::fixture::{KEY, TestStore, at, draft, line, rejected, revision};

on_both!(
    a_set_contains_the_blocks_that_its_file_created,
    the_set_of_a_block_is_replaced,
    a_deletion_may_require_a_revision,
);

fn set(name: &str) -> SetName {
    name.parse().unwrap()
}

async fn create(yard: &TestStore, name: &str, origin: &str, set: Option<&str>) {
    let address = at(name);
    let new = NewRevision { origin, ..draft(&address, "{}", &[]) };
    let key = WrappedKey { data_key: b"wrapped", key_id: KEY };
    yard.store.create_block(&new, &key, set, line("create", name)).await.unwrap();
}

async fn blocks(yard: &TestStore, name: &str) -> Vec<String> {
    let found = yard.store.blocks_of_set(&set(name), &format!("apply:{name}")).await.unwrap();
    found.iter().map(ToString::to_string).collect()
}

async fn a_set_contains_the_blocks_that_its_file_created(yard: &TestStore) {
    create(yard, "zoo/b", "apply:north", Some("north")).await;
    create(yard, "zoo/a-2", "apply:north", Some("north")).await;
    create(yard, "zoo/a1", "apply:north", Some("north")).await;
    create(yard, "zoo/by-hand", "create", None).await;
    create(yard, "zoo/other", "apply:south", Some("south")).await;
    yard.store.assign_set(&at("zoo/by-hand"), Some(&set("north")), line("assign-set", "zoo/by-hand")).await.unwrap();
    assert_eq!(blocks(yard, "north").await, ["zoo/a-2", "zoo/a1", "zoo/b"]);
    assert_eq!(yard.read("zoo/by-hand").await.set.as_deref(), Some("north"));
    // Only the first revision counts.
    yard.save(&yard.read("zoo/b").await, r#"{"n":1}"#, &[]).await.unwrap();
    yard.delete("zoo/a1").await.unwrap();
    assert_eq!(blocks(yard, "north").await, ["zoo/a-2", "zoo/b"]);
    assert!(blocks(yard, "west").await.is_empty());
}

async fn the_set_of_a_block_is_replaced(yard: &TestStore) {
    create(yard, "zoo/a", "apply:north", Some("north")).await;
    for (name, found) in [(Some(set("south")), 0), (Some(set("north")), 1), (None, 0)] {
        yard.store.assign_set(&at("zoo/a"), name.as_ref(), line("assign-set", "zoo/a")).await.unwrap();
        let read = yard.read("zoo/a").await;
        assert_eq!((read.set.as_deref(), read.newest), (name.as_ref().map(SetName::as_str), revision(1)));
        assert_eq!(blocks(yard, "north").await.len(), found);
    }
    assert_eq!(yard.trail().await[2..], ["assign-set zoo/a", "assign-set zoo/a", "assign-set zoo/a"]);
    yard.delete("zoo/a").await.unwrap();
    let deleted = yard.store.assign_set(&at("zoo/a"), None, line("assign-set", "zoo/a")).await;
    assert!(matches!(deleted, Err(StoreError::NoBlock(_))), "{deleted:?}");
}

async fn a_deletion_may_require_a_revision(yard: &TestStore) {
    yard.create("zoo/a", "{}", &[]).await.unwrap();
    yard.save(&yard.read("zoo/a").await, r#"{"n":1}"#, &[]).await.unwrap();
    let delete =
        async |number| yard.store.delete_block(&at("zoo/a"), Some(revision(number)), line("delete", "zoo/a")).await;
    let moved = delete(1).await;
    assert!(matches!(moved, Err(StoreError::Moved { newest, .. }) if newest == revision(2)), "{moved:?}");
    assert_eq!(yard.read("zoo/a").await.deleted_at, None);
    delete(2).await.unwrap();
    expect!["block `zoo/a` is already deleted"].assert_eq(&rejected(delete(2).await));
}
