//! Secrets in external sources.

use expect_test::expect;
use serde_json::json;

use crate::fixture::{TestYard, at, rejected};

on_both!(a_file_must_be_text_of_at_most_a_mebibyte, a_source_block_must_be_a_secret_store);

async fn a_file_must_be_text_of_at_most_a_mebibyte(yard: &TestYard) {
    let door = yard.path("door");
    let source = format!("file:{}", door.display());
    yard.create("zoo-safe/box", json!({"content": { "$source": source }})).await;
    let refused = async || rejected(yard.yard.reveal(&"zoo-safe/box".parse().unwrap(), "content").await);
    let mebibyte = "k".repeat(1 << 20);
    std::fs::write(&door, &mebibyte).unwrap();
    assert!(yard.reveal("zoo-safe/box", "content").await == mebibyte);
    std::fs::write(&door, mebibyte + "k").unwrap();
    let large = refused().await;
    assert!(large.starts_with("denied: ") && large.contains("the secret is larger than 1048576 bytes"), "{large}");
    std::fs::write(&door, b"\xff\xfe").unwrap();
    assert!(refused().await.contains("the file is not UTF-8"));
    std::fs::remove_file(&door).unwrap();
    assert!(refused().await.contains("No such file"));
    std::fs::create_dir(&door).unwrap();
    assert!(refused().await.starts_with("denied: "));
}

async fn a_source_block_must_be_a_secret_store(yard: &TestYard) {
    yard.create("zoo-keeper/bob", json!({"name": "Bob", "badge": "badge-secret"})).await;
    yard.create("zoo-safe/gone", json!({"content": "content-secret"})).await;
    yard.yard.delete(&at("zoo-safe/gone")).await.unwrap();
    let create = async |target: &str| {
        let badge = json!({ "$source": format!("block:{target}") });
        rejected(yard.try_create("zoo-keeper/ada", json!({"name": "Ada", "badge": badge})).await)
    };
    expect![[r#"
        invalid: block `zoo-keeper/ada` is not valid
          /badge: requires a block that implements `secret-store`; `zoo-keeper/bob` is a block of type `zoo-keeper`
    "#]]
    .assert_eq(&create("zoo-keeper/bob").await);
    for (target, problem) in [
        ("zoo-safe/none", "block `zoo-safe/none` not found"),
        ("zoo-safe/gone", "block `zoo-safe/gone` is deleted; restore `zoo-safe/gone` first"),
        ("vault/none", "no installed bundle has a block type `vault`"),
    ] {
        let error_report = create(target).await;
        let expected = format!("/badge: requires a block that implements `secret-store`; {problem}");
        assert!(error_report.contains(&expected), "{error_report}");
    }
    assert_eq!(yard.addresses().await, ["zoo-keeper/bob"]);
}
