//! Destroyed secrets.

use expect_test::expect;
use serde_json::json;

use crate::fixture::{TestYard, at, document, rejected, secret, unset};

on_both!(
    a_purge_destroys_the_secrets_of_all_revisions,
    a_purged_block_takes_new_secrets,
    a_rollback_to_destroyed_secrets_is_rejected,
    a_deleted_block_is_purged,
    a_purge_leaves_other_blocks_unchanged,
    a_purged_block_is_exported_and_planned,
    a_rollback_does_not_restore_a_destroyed_secret,
);

async fn a_purge_destroys_the_secrets_of_all_revisions(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada", "badge": "badge-secret-1"})).await;
    yard.change("zoo-keeper/ada", secret("badge", "badge-secret-2")).await.unwrap();
    assert_eq!(yard.yard.purge(&at("zoo-keeper/ada")).await.unwrap(), 2);
    for address in ["zoo-keeper/ada@1", "zoo-keeper/ada"] {
        let view = yard.yard.show(&address.parse().unwrap()).await.unwrap();
        assert_eq!(
            (view.config, view.destroyed),
            (json!({"name": "Ada", "badge": "********"}), vec!["badge".to_owned()])
        );
        let revealed = rejected(yard.yard.reveal(&address.parse().unwrap(), "badge").await);
        assert!(revealed.contains("code: secret-destroyed "), "{revealed}");
    }
    let lines = yard.yard.audit(&blockyard::AuditFilter::default()).await.unwrap();
    assert_eq!(lines[0].action, "purge");
}

async fn a_purged_block_takes_new_secrets(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada", "badge": "badge-secret-1"})).await;
    yard.yard.delete(&at("zoo-keeper/ada")).await.unwrap();
    yard.yard.purge(&at("zoo-keeper/ada")).await.unwrap();
    yard.yard.restore(&at("zoo-keeper/ada")).await.unwrap();
    let kept = rejected(yard.change("zoo-keeper/ada", document(json!({"name": "Eve"}))).await);
    assert!(kept.starts_with("invalid: "), "{kept}");
    assert!(kept.contains("/badge: ") && kept.contains("destroyed by a purge"), "{kept}");
    yard.change("zoo-keeper/ada", secret("badge", "badge-secret-2")).await.unwrap();
    assert_eq!(yard.reveal("zoo-keeper/ada", "badge").await, "badge-secret-2");
}

async fn a_rollback_to_destroyed_secrets_is_rejected(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada", "badge": "badge-secret"})).await;
    yard.change("zoo-keeper/ada", unset(&["badge"])).await.unwrap();
    yard.yard.purge(&at("zoo-keeper/ada")).await.unwrap();
    let refused = rejected(yard.yard.rollback(&at("zoo-keeper/ada"), blockyard::Revision::FIRST).await);
    assert!(refused.starts_with("invalid: "), "{refused}");
    assert!(refused.contains("/badge: ") && refused.contains("destroyed by a purge"), "{refused}");
    assert_eq!(yard.newest("zoo-keeper/ada").await, 2);
    expect!["********"].assert_eq(yard.config("zoo-keeper/ada@1").await["badge"].as_str().unwrap());
}

/// Creates a keeper with three revisions, each with another badge.
async fn with_ada(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "ada", "badge": "first badge"})).await;
    for badge in ["second badge", "third badge"] {
        yard.change("zoo-keeper/ada", secret("badge", badge)).await.unwrap();
    }
}

async fn purge(yard: &TestYard, address: &str) -> u64 {
    yard.yard.purge(&at(address)).await.unwrap()
}

/// Checks that the badge of Ada was destroyed.
async fn ada_has_no_badge(yard: &TestYard) {
    let told = rejected(yard.yard.reveal(&"zoo-keeper/ada".parse().unwrap(), "badge").await);
    assert!(
        told.starts_with("denied: the secret `badge` of block `zoo-keeper/ada` was destroyed by a purge"),
        "{told}"
    );
}

async fn a_deleted_block_is_purged(yard: &TestYard) {
    with_ada(yard).await;
    yard.yard.delete(&at("zoo-keeper/ada")).await.unwrap();
    assert_eq!(purge(yard, "zoo-keeper/ada").await, 3);
    let filter = blockyard::BlockFilter { deleted: true, ..blockyard::BlockFilter::default() };
    assert_eq!(yard.yard.list(filter, None).await.unwrap()[0].address, "zoo-keeper/ada");
    yard.yard.restore(&at("zoo-keeper/ada")).await.unwrap();
    ada_has_no_badge(yard).await;
    assert!(rejected(yard.yard.purge(&at("zoo-keeper/none")).await).starts_with("not-found: "));
}

async fn a_purge_leaves_other_blocks_unchanged(yard: &TestYard) {
    with_ada(yard).await;
    let lion = json!({"animal": "lion", "keeper": {"$block": "zoo-keeper/ada"}, "spares": ["spare"], "inside": null});
    yard.create("zoo-cage/lion", lion).await;
    yard.create("zoo-safe/box", json!({"content": "content-secret"})).await;
    yard.create("zoo-keeper/bob", json!({"name": "Bob", "badge": {"$source": "block:zoo-safe/box"}})).await;
    purge(yard, "zoo-keeper/ada").await;
    assert_eq!(yard.reveal("zoo-cage/lion", "spares.0").await, "spare");
    // A call of the cage needs all secrets of its keeper, and the error names the destroyed one.
    let call = async |address: &str, operation: &str| {
        let told = rejected(yard.yard.block(address).await.unwrap().call(operation, json!({})).await);
        assert!(told.starts_with("denied: "), "{told}");
        told
    };
    let error_report = call("zoo-cage/lion", "look").await;
    assert!(
        error_report.contains("the secret `badge` of block `zoo-keeper/ada` was destroyed by a purge"),
        "{error_report}"
    );
    purge(yard, "zoo-safe/box").await;
    let error_report = call("zoo-keeper/bob", "introduce").await;
    let unreadable = "the secret `badge` of block `zoo-keeper/bob` cannot be read from `block:zoo-safe/box`";
    assert!(error_report.contains(unreadable), "{error_report}");
    assert!(
        error_report.contains("the secret `content` of block `zoo-safe/box` was destroyed by a purge"),
        "{error_report}"
    );
}

async fn a_purged_block_is_exported_and_planned(yard: &TestYard) {
    with_ada(yard).await;
    yard.create("zoo-keeper/bob", json!({"name": "bob", "badge": "bob's badge"})).await;
    purge(yard, "zoo-keeper/ada").await;
    let plan = yard.yard.plan(&blockyard::BlockFile::parse(&yard.export().await).unwrap()).await.unwrap();
    assert!(!plan.changes_anything());
    yard.yard.apply(plan, &mut |_| ()).await.unwrap();
    ada_has_no_badge(yard).await;
}

async fn a_rollback_does_not_restore_a_destroyed_secret(yard: &TestYard) {
    with_ada(yard).await;
    purge(yard, "zoo-keeper/ada").await;
    yard.change("zoo-keeper/ada", secret("badge", "new badge")).await.unwrap();
    let refused = rejected(yard.yard.rollback(&at("zoo-keeper/ada"), blockyard::Revision::FIRST).await);
    assert!(refused.starts_with("invalid: "), "{refused}");
    assert!(refused.contains("/badge: ") && refused.contains("destroyed by a purge"), "{refused}");
    assert_eq!(yard.reveal("zoo-keeper/ada", "badge").await, "new badge");
}
