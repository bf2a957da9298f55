//! The graph of references between blocks.

use blockyard_model::{Address, Purpose};
use expect_test::expect;

use crate::fixture::{TestStore, at, draft, line, references_of, rejected, revision};

on_both!(
    a_block_is_read_with_its_dependencies,
    an_old_revision_is_read_with_the_newest_dependencies,
    a_source_of_a_secret_is_not_a_dependency,
    references_are_listed_in_both_directions,
    references_are_listed_in_the_order_of_their_bytes,
    a_reference_to_a_missing_block_is_rejected,
    a_cycle_is_rejected,
    a_long_cycle_is_found,
);

fn names(addresses: &[Address]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Creates `zoo/a` … such that each depends on the previous one.
async fn chain(yard: &TestStore, letters: &str) {
    let mut before: Option<String> = None;
    for letter in letters.chars() {
        let name = format!("zoo/{letter}");
        let references: Vec<(&str, &str)> = before.iter().map(|before| ("/next", before.as_str())).collect();
        yard.create(&name, "{}", &references).await.unwrap();
        before = Some(name);
    }
}

async fn dependencies(yard: &TestStore, address: &str, number: Option<u64>) -> String {
    let (own, parts) = yard.store.block_with_dependencies(&at(address), number.map(revision)).await.unwrap().unwrap();
    assert_eq!(own.address, at(address));
    let mut parts: Vec<String> = parts.iter().map(|part| format!("{}@{}", part.address, part.revision)).collect();
    parts.sort();
    format!("{}@{} <- {}", own.address, own.revision, parts.join(" "))
}

async fn a_block_is_read_with_its_dependencies(yard: &TestStore) {
    chain(yard, "abc").await;
    yard.create("zoo/d", "{}", &[("/x", "zoo/c"), ("/y", "zoo/a"), ("/z", "zoo/c")]).await.unwrap();
    expect!["zoo/d@1 <- zoo/a@1 zoo/b@1 zoo/c@1"].assert_eq(&dependencies(yard, "zoo/d", None).await);
    expect!["zoo/a@1 <- "].assert_eq(&dependencies(yard, "zoo/a", None).await);
}

async fn an_old_revision_is_read_with_the_newest_dependencies(yard: &TestStore) {
    chain(yard, "ab").await;
    let a = yard.read("zoo/a").await;
    yard.save(&a, r#"{"n":2}"#, &[]).await.unwrap();
    let b = yard.read("zoo/b").await;
    yard.save(&b, "{}", &[]).await.unwrap();
    expect!["zoo/b@1 <- zoo/a@2"].assert_eq(&dependencies(yard, "zoo/b", Some(1)).await);
    expect!["zoo/b@2 <- "].assert_eq(&dependencies(yard, "zoo/b", None).await);
}

async fn a_source_of_a_secret_is_not_a_dependency(yard: &TestStore) {
    chain(yard, "a").await;
    let address = at("zoo/b");
    let mut references = references_of(&[("/token", "zoo/a")]);
    references[0].purpose = Purpose::Secret;
    let key = blockyard_store::WrappedKey { data_key: b"k", key_id: crate::fixture::KEY };
    let new = draft(&address, "{}", &references);
    yard.store.create_block(&new, &key, None, line("create", "zoo/b")).await.unwrap();
    expect!["zoo/b@1 <- "].assert_eq(&dependencies(yard, "zoo/b", None).await);
    // It is in use, however.
    expect!["block `zoo/a` is in use: `zoo/b` (`token`) depends on it"]
        .assert_eq(&rejected(yard.delete("zoo/a").await));
}

async fn references_are_listed_in_both_directions(yard: &TestStore) {
    chain(yard, "abc").await;
    yard.create("zoo/d", "{}", &[("/x\0~1", "zoo/b"), ("/y", "zoo/a")]).await.unwrap();
    let users = yard.store.users_of(&at("zoo/b")).await.unwrap();
    let users: Vec<String> = users.iter().map(|(user, pointer)| format!("{user} {}", pointer.as_str())).collect();
    assert_eq!(users, ["zoo/c /next", "zoo/d /x\0~1"]);
    assert_eq!(names(&yard.store.targets_of(&at("zoo/d")).await.unwrap()), "zoo/a zoo/b");
    assert!(yard.store.targets_of(&at("zoo/a")).await.unwrap().is_empty());
    assert!(yard.store.users_of(&at("zoo/missing")).await.unwrap().is_empty());

    // A deleted block uses no other block.
    yard.delete("zoo/d").await.unwrap();
    assert_eq!(yard.store.users_of(&at("zoo/b")).await.unwrap().len(), 1);
}

async fn references_are_listed_in_the_order_of_their_bytes(yard: &TestStore) {
    chain(yard, "a").await;
    // A locale would order each of these lists differently.
    let fields = ["/x2", "/x-b", "/x10", "/x", "/B"];
    for name in ["zoo/b2", "zoo/b-b", "zoo/b10"] {
        yard.create(name, "{}", &fields.map(|field| (field, "zoo/a"))).await.unwrap();
    }
    let users = yard.store.users_of(&at("zoo/a")).await.unwrap();
    let users: Vec<String> = users.iter().map(|(user, pointer)| format!("{user} {}", pointer.as_str())).collect();
    let sorted = |name: &str| ["/B", "/x", "/x-b", "/x10", "/x2"].map(|field| format!("{name} {field}"));
    assert_eq!(users, ["zoo/b-b", "zoo/b10", "zoo/b2"].map(sorted).concat());
}

async fn a_reference_to_a_missing_block_is_rejected(yard: &TestStore) {
    chain(yard, "a").await;
    let gone = expect!["block `zoo/missing`, which the block depends on, no longer exists"];
    gone.assert_eq(&rejected(yard.create("zoo/b", "{}", &[("/x", "zoo/a"), ("/y", "zoo/missing")]).await));
    let a = yard.read("zoo/a").await;
    gone.assert_eq(&rejected(yard.save(&a, "{}", &[("/y", "zoo/missing")]).await));
    yard.create("zoo/c", "{}", &[]).await.unwrap();
    yard.delete("zoo/c").await.unwrap();
    expect!["block `zoo/c`, which the block depends on, no longer exists"]
        .assert_eq(&rejected(yard.create("zoo/b", "{}", &[("/x", "zoo/c")]).await));
    assert!(yard.store.block(&at("zoo/b"), None).await.unwrap().is_none());
}

async fn a_cycle_is_rejected(yard: &TestStore) {
    chain(yard, "abc").await;
    let a = yard.read("zoo/a").await;
    expect!["the references between the blocks would form a cycle: `zoo/a` → `zoo/c` → `zoo/b` → `zoo/a`"]
        .assert_eq(&rejected(yard.save(&a, "{}", &[("/x", "zoo/c")]).await));
    expect!["the references between the blocks would form a cycle: `zoo/a` → `zoo/a`"]
        .assert_eq(&rejected(yard.save(&a, "{}", &[("/x", "zoo/a")]).await));
    assert_eq!(yard.read("zoo/a").await.newest, revision(1));
    // The same two blocks in the other direction form no cycle.
    let c = yard.read("zoo/c").await;
    yard.save(&c, "{}", &[("/x", "zoo/a"), ("/y", "zoo/b")]).await.unwrap();
}

async fn a_long_cycle_is_found(yard: &TestStore) {
    chain(yard, "abcdefghij").await;
    let found = yard.store.find_cycle(&at("zoo/a"), &[&at("zoo/missing"), &at("zoo/j")]).await.unwrap();
    assert_eq!(names(&found.unwrap()), "zoo/a zoo/j zoo/i zoo/h zoo/g zoo/f zoo/e zoo/d zoo/c zoo/b zoo/a");
    assert_eq!(yard.store.find_cycle(&at("zoo/j"), &[&at("zoo/a")]).await.unwrap(), None);
    assert_eq!(yard.store.find_cycle(&at("zoo/missing"), &[&at("zoo/a")]).await.unwrap(), None);
}
