//! History, differences and rollback.

use blockyard::Revision;
use expect_test::expect;
use serde_json::{Value, json};

use crate::fixture::{TestYard, at, rejected, secret, sourced, unset};

on_both!(
    history_lists_every_revision_and_its_changes,
    history_names_the_action_of_each_revision,
    a_rollback_is_a_new_revision_equal_to_the_old,
    a_difference_between_secrets_shows_no_value,
    only_blocks_of_one_type_are_compared,
);

async fn history(yard: &TestYard, address: &str) -> Value {
    serde_json::to_value(yard.yard.history(&at(address)).await.unwrap()).unwrap()
}

async fn diff(yard: &TestYard, before: &str, after: &str) -> Value {
    let diff = yard.yard.diff(&before.parse().unwrap(), &after.parse().unwrap()).await.unwrap();
    serde_json::to_value(diff).unwrap()
}

async fn full_cage(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada", "badge": "badge-secret"})).await;
    let config = json!({
        "animal": "cat", "keeper": {"$block": "zoo-keeper/ada"},
        "spares": ["spare-secret-0", "spare-secret-1"], "doors": {"back": "back-secret", "front": "front-secret"},
        "place": {"house": "north", "code": "code-secret"}, "lock": {"how": "key", "pattern": "pattern-secret"},
    });
    yard.create("zoo-cage/cat", config).await;
}

async fn history_lists_every_revision_and_its_changes(yard: &TestYard) {
    full_cage(yard).await;
    yard.set("zoo-cage/cat", json!({"place": {"house": "south"}, "capacity": 1})).await;
    yard.change("zoo-cage/cat", secret("spares.1", "spare-secret-2")).await.unwrap();
    let patch = blockyard::Patch { secrets: sourced("place.code", "env:CODE").secrets, ..unset(&["lock"]) };
    yard.change("zoo-cage/cat", patch).await.unwrap();
    yard.yard.delete(&at("zoo-cage/cat")).await.unwrap();
    let history = history(yard, "zoo-cage/cat").await;
    let changed: Vec<Value> =
        history.as_array().unwrap().iter().map(|revision| json!([revision["revision"], revision["changed"]])).collect();
    assert_eq!(
        json!(changed),
        json!([
            [4, ["lock", "place.code (secret)"]],
            [3, ["spares.1 (secret)"]],
            [2, ["capacity", "place.house"]],
            [1, []],
        ])
    );
    assert!(!history.to_string().contains("-secret"), "{history}");
}

async fn history_names_the_action_of_each_revision(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada"})).await;
    yard.set("zoo-keeper/ada", json!({"name": "Ida"})).await;
    yard.yard.rollback(&at("zoo-keeper/ada"), Revision::FIRST).await.unwrap();
    yard.apply("[blocks.\"zoo-keeper/ada\"]\nname = \"Eva\"\n").await;
    let history = history(yard, "zoo-keeper/ada").await;
    let actions: Vec<Value> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|revision| json!([revision["revision"], revision["action"], revision["rollback_of"], revision["author"]]))
        .collect();
    assert_eq!(
        json!(actions),
        json!([
            [4, "apply", null, "ada@zoo"],
            [3, "rollback", 1, "ada@zoo"],
            [2, "set", null, "ada@zoo"],
            [1, "create", null, "ada@zoo"],
        ])
    );
}

async fn a_rollback_is_a_new_revision_equal_to_the_old(yard: &TestYard) {
    full_cage(yard).await;
    let first = yard.config("zoo-cage/cat").await;
    let patch =
        blockyard::Patch { set: blockyard::Patch::setting([("animal", "dog")]).set, ..unset(&["lock", "spares.0"]) };
    yard.change("zoo-cage/cat", patch).await.unwrap();
    let rollback = async || yard.yard.rollback(&at("zoo-cage/cat"), Revision::FIRST).await.unwrap();
    assert_eq!(rollback().await.map(Revision::number), Some(3));
    assert_eq!(yard.config("zoo-cage/cat").await, first);
    assert_eq!(yard.reveal("zoo-cage/cat", "spares.0").await, "spare-secret-0");
    assert_eq!(yard.reveal("zoo-cage/cat", "lock.pattern").await, "pattern-secret");
    assert_eq!(diff(yard, "zoo-cage/cat@1", "zoo-cage/cat").await["changes"], json!([]));
    assert_eq!(yard.config("zoo-cage/cat@2").await["animal"], json!("dog"));
    // The newest revision already is equal.
    assert_eq!(rollback().await, None);
    let missing = rejected(yard.yard.rollback(&at("zoo-cage/cat"), Revision::new(9).unwrap()).await);
    expect![[r#"
        not-found: block `zoo-cage/cat` has no revision 9; its newest is 3
    "#]]
    .assert_eq(&missing);
}

async fn a_difference_between_secrets_shows_no_value(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada", "badge": "badge-secret-1"})).await;
    let patch =
        blockyard::Patch { set: blockyard::Patch::setting([("name", "Eve")]).set, ..secret("badge", "badge-secret-2") };
    yard.change("zoo-keeper/ada", patch).await.unwrap();
    yard.change("zoo-keeper/ada", sourced("badge", "env:BADGE")).await.unwrap();
    assert_eq!(
        diff(yard, "zoo-keeper/ada@2", "zoo-keeper/ada@1").await,
        json!({ "before": "zoo-keeper/ada@2", "after": "zoo-keeper/ada@1", "changes": [
            {"field": "badge", "change": "changed", "secret": true},
            {"field": "name", "change": "changed", "secret": false, "before": "Eve", "after": "Ada"},
        ]})
    );
    let changes = diff(yard, "zoo-keeper/ada@2", "zoo-keeper/ada@3").await["changes"].clone();
    assert!(changes.to_string().contains("env:BADGE") && !changes.to_string().contains("-secret"), "{changes}");
}

async fn only_blocks_of_one_type_are_compared(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada", "badge": "the-same-secret"})).await;
    yard.create("zoo-keeper/bob", json!({"name": "Bob", "badge": "the-same-secret"})).await;
    yard.create("zoo-cage/cat", json!({"animal": "cat"})).await;
    // Equal secrets are equal, although each is sealed differently.
    assert_eq!(
        diff(yard, "zoo-keeper/ada", "zoo-keeper/bob").await["changes"],
        json!([{"field": "name", "change": "changed", "secret": false, "before": "Ada", "after": "Bob"}])
    );
    let types = yard.yard.diff(&"zoo-keeper/ada".parse().unwrap(), &"zoo-cage/cat".parse().unwrap()).await;
    expect![[r#"
        usage: `zoo-keeper/ada` and `zoo-cage/cat` are of different types, `zoo-keeper` and `zoo-cage`
          hint: compare two revisions of one block, or two blocks of one type
    "#]]
    .assert_eq(&rejected(types));
}
