//! Destroyed secrets.

use expect_test::expect;
use serde_json::json;

use crate::fixture::{TestYard, at, document, rejected, secret, unset};

on_both!(
    a_purge_destroys_the_secrets_of_all_revisions,
    a_purged_block_takes_new_secrets,
    a_rollback_to_destroyed_secrets_is_rejected,
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
