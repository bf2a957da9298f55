//! A yard that another program changed, and secrets that appear nowhere.

use std::path::Path;

use expect_test::expect;
use serde_json::json;

use crate::fixture::{self, TestYard, document, install_zoo, rejected, secret};

on_both!(a_secret_is_masked_everywhere_but_in_a_reveal, each_reveal_is_recorded_first);

async fn a_secret_is_masked_everywhere_but_in_a_reveal(yard: &TestYard) {
    const CANARY: &str = "badge-canary-4711";
    yard.create("zoo-keeper/ada", json!({"name": "Ada", "badge": CANARY})).await;
    let view = yard.yard.show(&"zoo-keeper/ada".parse().unwrap()).await.unwrap();
    assert_eq!(view.config, json!({"name": "Ada", "badge": "********"}));
    let block = yard.yard.block("zoo-keeper/ada").await.unwrap();
    let history = yard.yard.history(&"zoo-keeper/ada".parse().unwrap()).await.unwrap();
    let wrong = document(json!({"badge": CANARY, "nam": CANARY}));
    let refused = rejected(yard.change("zoo-keeper/ada", wrong).await);
    let lines = yard.yard.audit(&blockyard::AuditFilter::default()).await.unwrap();
    let exported = yard.export().await;
    let patch = secret("badge", CANARY);
    let shown = format!("{view:?} {block:?} {history:?} {refused} {lines:?} {exported} {patch:?}");
    assert!(!shown.contains(CANARY), "{shown}");
    yard.no_file_contains(CANARY);
    assert_eq!(yard.reveal("zoo-keeper/ada", "badge").await, CANARY);
}

async fn each_reveal_is_recorded_first(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada", "badge": "badge-secret"})).await;
    yard.reveal("zoo-keeper/ada", "badge").await;
    let lines = yard.yard.audit(&blockyard::AuditFilter::default()).await.unwrap();
    let line = format!("{} {} {} {}", lines[0].actor, lines[0].action, lines[0].subject, lines[0].detail);
    expect![[r#"ada@zoo reveal zoo-keeper/ada {"field":"badge","revision":1}"#]].assert_eq(&line);
    let none = yard.yard.reveal(&"zoo-keeper/ada".parse().unwrap(), "name").await;
    expect![[r#"
        not-found: block `zoo-keeper/ada` has no secret `name`
          hint: it has `badge`
    "#]]
    .assert_eq(&rejected(none));
}

/// Replaces bytes in the file of a closed yard, as a program that does not know the key can.
fn replace(file: &Path, before: &str, after: &str) {
    assert_eq!(before.len(), after.len(), "the file keeps its layout");
    let mut bytes = std::fs::read(file).unwrap();
    let at = bytes.windows(before.len()).position(|window| window == before.as_bytes()).expect("the text");
    bytes[at..at + after.len()].copy_from_slice(after.as_bytes());
    std::fs::write(file, bytes).unwrap();
}

/// Replaces all occurrences of a text in the file of a closed yard.
fn replace_all(file: &Path, before: &str, after: &str) {
    assert_eq!(before.len(), after.len(), "the file keeps its layout");
    let mut bytes = std::fs::read(file).unwrap();
    let mut count = 0;
    while let Some(at) = bytes.windows(before.len()).position(|window| window == before.as_bytes()) {
        bytes[at..at + after.len()].copy_from_slice(after.as_bytes());
        count += 1;
    }
    assert!(count > 0, "the file contains the text");
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn a_changed_author_origin_or_reason_is_rejected() {
    for (before, after) in
        [("ada@zoo-of-seals", "eve@zoo-of-seals"), ("rollback:1", "rollback:2"), ("approved by Ida", "approved by Eve")]
    {
        fixture::in_folder(async |folder| {
            let url = format!("sqlite:{}", folder.join("yard.db").display());
            let config = blockyard::YardConfig { actor: "ada@zoo-of-seals".to_owned(), ..fixture::config(folder) };
            let yard = blockyard::Yard::init(&url, blockyard::NewKey::File(None), config.clone()).await.unwrap();
            install_zoo(&yard).await;
            let lion = "zoo-cage/lion".parse().unwrap();
            yard.create(&lion, document(json!({"animal": "lion"}))).await.unwrap();
            yard.set(&lion, document(json!({"capacity": 1})), None).await.unwrap();
            let yard_of_ida = yard.with_reason(Some(blockyard::Reason::new("approved by Ida").unwrap()));
            yard_of_ida.rollback(&lion, blockyard::Revision::FIRST).await.unwrap();
            yard.close().await;
            replace_all(&folder.join("yard.db"), before, after);

            let yard = blockyard::Yard::open_with(&url, config).await.unwrap();
            let refused = rejected(yard.history(&lion).await);
            assert!(refused.contains("block `zoo-cage/lion@3` was modified by a program other than"), "{refused}");
            assert!(rejected(yard.block("zoo-cage/lion").await).starts_with("denied: "));
            yard.close().await;
        });
    }
}

#[test]
fn a_changed_configuration_is_rejected_before_it_is_used() {
    fixture::in_folder(async |folder| {
        let url = format!("sqlite:{}", folder.join("yard.db").display());
        let yard = blockyard::Yard::init(&url, blockyard::NewKey::File(None), fixture::config(folder)).await.unwrap();
        install_zoo(&yard).await;
        let config = document(json!({"animal": "lion"}));
        yard.create(&"zoo-cage/lion".parse().unwrap(), config).await.unwrap();
        yard.create(&"zoo-cage/cat".parse().unwrap(), document(json!({"animal": "cat"}))).await.unwrap();
        yard.close().await;
        replace(&folder.join("yard.db"), r#"{"animal":"lion"}"#, r#"{"animal":"newt"}"#);

        let yard = blockyard::Yard::open_with(&url, fixture::config(folder)).await.unwrap();
        let opened = rejected(yard.block("zoo-cage/lion").await);
        assert!(opened.starts_with("denied: "), "{opened}");
        assert!(opened.contains("block `zoo-cage/lion@1` was modified by a program other than Blockyard"), "{opened}");
        let lion = "zoo-cage/lion".parse().unwrap();
        let saved = rejected(yard.set(&lion, document(json!({"capacity": 1})), None).await);
        assert!(saved.contains("was modified by a program other than Blockyard"), "{saved}");
        assert!(rejected(yard.history(&lion).await).contains("was modified by a program other than Blockyard"));
        // Other blocks of the yard are still usable.
        yard.block("zoo-cage/cat").await.unwrap();
        yard.close().await;
    });
}
