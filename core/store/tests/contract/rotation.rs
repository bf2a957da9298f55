//! Rotation of the yard's key, in batches.

use blockyard_store::{KeyUse, Rewrap, WrappedKey};
use expect_test::expect;

use crate::fixture::{KEY, TestStore, at, draft, key, line, record, rejected};

on_both!(
    a_rotation_moves_all_data_keys_in_batches,
    both_keys_are_accepted_during_a_rotation,
    one_rotation_runs_at_a_time,
    a_data_key_that_changed_is_left_for_the_next_batch,
    a_batch_after_the_end_changes_nothing,
);

const NEXT: &str = "key-2";

async fn begin(yard: &TestStore) {
    yard.store.begin_rotation(KEY, &key(NEXT), line("begin-rotation", "yard")).await.unwrap();
}

async fn finish(yard: &TestStore) -> bool {
    yard.store.finish_rotation(NEXT, line("finish-rotation", "yard")).await.unwrap()
}

async fn create_three(yard: &TestStore) {
    for name in ["zoo/a", "zoo/b", "zoo/c"] {
        yard.create(name, "{}", &[]).await.unwrap();
    }
}

/// Returns the next batch, each data key with `" moved"` appended.
async fn batch(yard: &TestStore, limit: u32) -> Vec<Rewrap> {
    let keys = yard.store.keys_to_move(NEXT, limit).await.unwrap();
    let moved = |before: &[u8]| [before, b" moved"].concat();
    keys.into_iter().map(|(address, _, before)| Rewrap { address, after: moved(&before), before }).collect()
}

async fn usage(yard: &TestStore) -> String {
    let used = yard.store.key_use().await.unwrap();
    used.iter().map(|KeyUse { key_id, blocks }| format!("{key_id}: {blocks}")).collect::<Vec<_>>().join(", ")
}

async fn a_rotation_moves_all_data_keys_in_batches(yard: &TestStore) {
    create_three(yard).await;
    yard.delete("zoo/c").await.unwrap();
    begin(yard).await;
    let first = batch(yard, 2).await;
    assert_eq!(first.iter().map(|moved| &moved.address).collect::<Vec<_>>(), [&at("zoo/a"), &at("zoo/b")]);
    assert!(yard.store.move_keys(&first, NEXT).await.unwrap());
    assert_eq!(usage(yard).await, "key-1: 1, key-2: 2");
    assert!(!finish(yard).await, "a data key remains");

    let second = batch(yard, 2).await;
    assert_eq!(second.len(), 1, "the key of a deleted block is moved, too");
    assert!(yard.store.move_keys(&second, NEXT).await.unwrap());
    assert!(batch(yard, 2).await.is_empty());
    assert!(finish(yard).await);
    assert_eq!(usage(yard).await, "key-2: 3");
    assert_eq!(yard.read("zoo/c").await.data_key.as_deref(), Some(b"wrapped data key moved".as_slice()));

    let after = yard.store.read_yard().await.unwrap();
    assert_eq!((after.key, after.next_key), (key(NEXT), None));
    // The record that was read on opening does not change.
    assert_eq!(*yard.store.yard(), record());
    assert_eq!(yard.trail().await[5..], ["begin-rotation yard", "finish-rotation yard"]);
}

async fn both_keys_are_accepted_during_a_rotation(yard: &TestStore) {
    begin(yard).await;
    assert_eq!(yard.store.read_yard().await.unwrap().next_key, Some(key(NEXT)));
    let save = async |name: &str, key_id: &str| {
        let address = at(name);
        let key = WrappedKey { data_key: b"k", key_id };
        yard.store.create_block(&draft(&address, "{}", &[]), &key, None, line("create", name)).await
    };
    save("zoo/old", KEY).await.unwrap();
    save("zoo/new", NEXT).await.unwrap();
    let moved = batch(yard, 10).await;
    assert_eq!(moved.len(), 1);
    assert!(yard.store.move_keys(&moved, NEXT).await.unwrap());
    assert!(finish(yard).await);
    expect!["the yard's key was changed in the meantime"].assert_eq(&rejected(save("zoo/late", KEY).await));
    save("zoo/newer", NEXT).await.unwrap();
}

async fn one_rotation_runs_at_a_time(yard: &TestStore) {
    begin(yard).await;
    let moved = expect!["the yard's key was changed in the meantime"];
    for (from, to) in [(KEY, "key-3"), (KEY, NEXT), ("key-0", "key-3")] {
        moved.assert_eq(&rejected(yard.store.begin_rotation(from, &key(to), line("begin-rotation", "yard")).await));
    }
    assert!(finish(yard).await);
    moved.assert_eq(&rejected(yard.store.begin_rotation(KEY, &key("key-3"), line("begin-rotation", "yard")).await));
    yard.store.begin_rotation(NEXT, &key("key-3"), line("begin-rotation", "yard")).await.unwrap();
}

async fn a_data_key_that_changed_is_left_for_the_next_batch(yard: &TestStore) {
    create_three(yard).await;
    begin(yard).await;
    let old = batch(yard, 10).await;
    let newest = yard.read("zoo/b").await;
    let key = WrappedKey { data_key: b"purged", key_id: KEY };
    yard.store.purge_block(&newest, &key, &[], line("purge", "zoo/b")).await.unwrap();
    assert!(yard.store.move_keys(&old, NEXT).await.unwrap());
    assert_eq!(yard.read("zoo/b").await.data_key.as_deref(), Some(b"purged".as_slice()));
    assert!(!finish(yard).await);
    let rest = batch(yard, 10).await;
    assert!(yard.store.move_keys(&rest, NEXT).await.unwrap());
    assert_eq!(yard.read("zoo/b").await.data_key.as_deref(), Some(b"purged moved".as_slice()));
    assert!(finish(yard).await);
}

async fn a_batch_after_the_end_changes_nothing(yard: &TestStore) {
    create_three(yard).await;
    begin(yard).await;
    let old = batch(yard, 10).await;
    assert!(yard.store.move_keys(&old, NEXT).await.unwrap());
    assert!(finish(yard).await);
    // Another process finished the rotation: that is a success, too.
    assert!(finish(yard).await);
    assert!(!yard.store.move_keys(&old, NEXT).await.unwrap());
    assert_eq!(yard.read("zoo/a").await.data_key.as_deref(), Some(b"wrapped data key moved".as_slice()));
    assert_eq!(yard.trail().await.iter().filter(|line| line.starts_with("finish")).count(), 1);
}
