//! Saving and reading revisions.

use blockyard_model::{Digest, Pointer, Revision};
use blockyard_store::WrappedKey;
use expect_test::expect;
use serde_json::json;

use crate::fixture::{KEY, NOW, TestStore, ZOO, at, draft, line, rejected, revision};

on_both!(
    a_saved_revision_is_read_as_it_was_saved,
    text_survives_byte_for_byte,
    sealed_bytes_survive_byte_for_byte,
    a_large_configuration_survives,
    numbers_are_read_with_the_same_value,
    revisions_are_numbered_without_gaps_and_remain,
    missing_items_are_none,
    a_save_from_an_old_revision_is_rejected,
    a_name_is_taken_only_once,
    a_block_requires_a_key_of_the_yard,
);

async fn a_saved_revision_is_read_as_it_was_saved(yard: &TestStore) {
    let secrets = [(Pointer::new("/badge"), b"sealed".to_vec())];
    let address = at("zoo-keeper/mia");
    let new = blockyard_store::NewRevision {
        secrets: &secrets,
        origin: "copy:zoo-keeper/leo@1",
        reason: Some("für 👩‍🚒"),
        ..draft(&address, r#"{"name":"Mia"}"#, &[])
    };
    let key = WrappedKey { data_key: b"wrapped", key_id: KEY };
    yard.store.create_block(&new, &key, None, line("create", "zoo-keeper/mia")).await.unwrap();

    let read = yard.read("zoo-keeper/mia").await;
    assert_eq!(read.address, address);
    assert_eq!((read.revision, read.newest), (Revision::FIRST, Revision::FIRST));
    assert_eq!((read.bundle, read.checksum), (Digest::of(ZOO), Digest::of(b"checksum")));
    assert_eq!((read.config, read.config_text.as_str()), (json!({"name": "Mia"}), r#"{"name":"Mia"}"#));
    assert_eq!((read.seal.as_slice(), read.secrets), (b"seal".as_slice(), secrets.to_vec()));
    assert_eq!((read.data_key.as_deref(), read.key_id.as_str()), (Some(b"wrapped".as_slice()), KEY));
    assert_eq!((read.purges, read.deleted_at), (0, None));
    assert_eq!((read.author.as_str(), read.created_at), ("keeper@zoo", NOW));
    assert_eq!((read.origin.as_deref(), read.reason.as_deref()), (Some("copy:zoo-keeper/leo@1"), Some("für 👩‍🚒")));
    let history = yard.store.history(&address).await.unwrap();
    assert_eq!(history[0].record.reason, read.reason);
}

async fn text_survives_byte_for_byte(yard: &TestStore) {
    // The seal covers the stored text: neither spacing nor the order of the keys may change.
    let texts = [
        "{}",
        r#"{ "b" : 1,  "a":2 }"#,
        r#"{"a":"","":"x"}"#,
        "{\"a\":\"grüße 👩‍🚒 \u{202e}\u{feff} e\u{301}\"}",
        r#"{"a":"\u0000 \ud83d\ude00 \\ ' \" $1 %s"}"#,
        "{\"a\":\n\t1}\r\n",
    ];
    for (number, text) in texts.iter().enumerate() {
        let name = format!("zoo/text-{number}");
        yard.create(&name, text, &[]).await.unwrap();
        assert_eq!(yard.read(&name).await.config_text, *text);
    }
}

async fn sealed_bytes_survive_byte_for_byte(yard: &TestStore) {
    let every_byte: Vec<u8> = (0..=255).collect();
    // A pointer contains what the name of a field contains, including NUL and escapes.
    let secrets = [
        (Pointer::new("/a"), every_byte.clone()),
        (Pointer::new("/b"), Vec::new()),
        (Pointer::new("/c~0d~1e/ü\0ü"), vec![0; 100_000]),
    ];
    let address = at("zoo/sealed");
    let new =
        blockyard_store::NewRevision { secrets: &secrets, seal: &every_byte, ..draft(&address, r#"{"a":1}"#, &[]) };
    let key = WrappedKey { data_key: &every_byte, key_id: KEY };
    yard.store.create_block(&new, &key, None, line("create", "zoo/sealed")).await.unwrap();

    let mut read = yard.read("zoo/sealed").await;
    read.secrets.sort();
    assert_eq!(read.secrets, secrets);
    assert_eq!((read.seal, read.data_key), (every_byte.clone(), Some(every_byte)));
}

async fn a_large_configuration_survives(yard: &TestStore) {
    let text = json!({"note": "ä".repeat(1 << 20)}).to_string();
    yard.create("zoo/large", &text, &[]).await.unwrap();
    assert!(yard.read("zoo/large").await.config_text == text);
}

async fn numbers_are_read_with_the_same_value(yard: &TestStore) {
    yard.create("zoo/numbers", r#"{"a":0.1,"b":18446744073709551616,"c":-0.0,"d":1e400}"#, &[]).await.unwrap();
    let config = yard.read("zoo/numbers").await.config;
    let numbers: Vec<String> = config.as_object().unwrap().values().map(ToString::to_string).collect();
    expect![[r#"["0.1", "18446744073709551616", "-0.0", "1e+400"]"#]].assert_eq(&format!("{numbers:?}"));
}

async fn revisions_are_numbered_without_gaps_and_remain(yard: &TestStore) {
    yard.create("zoo/leo", r#"{"n":1}"#, &[]).await.unwrap();
    for number in 2..=4 {
        let from = yard.read("zoo/leo").await;
        let saved = yard.save(&from, &format!(r#"{{"n":{number}}}"#), &[]).await.unwrap();
        assert_eq!(saved, revision(number));
    }
    let history = yard.store.history(&at("zoo/leo")).await.unwrap();
    let seen: Vec<String> = history
        .iter()
        .map(|entry| format!("{} {} {}", entry.record.revision.number(), entry.record.config, entry.bundle_version))
        .collect();
    expect![[r#"["4 {\"n\":4} 1.0.0", "3 {\"n\":3} 1.0.0", "2 {\"n\":2} 1.0.0", "1 {\"n\":1} 1.0.0"]"#]]
        .assert_eq(&format!("{seen:?}"));

    let second = yard.store.block(&at("zoo/leo"), Some(revision(2))).await.unwrap().unwrap();
    assert_eq!((second.revision, second.newest, second.config), (revision(2), revision(4), json!({"n": 2})));
}

async fn missing_items_are_none(yard: &TestStore) {
    yard.create("zoo/leo", "{}", &[]).await.unwrap();
    let missing = at("zoo/missing");
    assert!(yard.store.block(&missing, None).await.unwrap().is_none());
    assert!(yard.store.block(&at("zoo/leo"), Some(revision(2))).await.unwrap().is_none());
    assert!(yard.store.block_with_dependencies(&missing, None).await.unwrap().is_none());
    assert!(yard.store.block_with_dependencies(&at("zoo/leo"), Some(revision(2))).await.unwrap().is_none());
    assert!(yard.store.history(&missing).await.unwrap().is_empty());
}

async fn a_save_from_an_old_revision_is_rejected(yard: &TestStore) {
    yard.create("zoo/leo", r#"{"n":1}"#, &[]).await.unwrap();
    let old = yard.read("zoo/leo").await;
    yard.save(&old, r#"{"n":2}"#, &[]).await.unwrap();
    expect!["block `zoo/leo` was changed in the meantime and is now at revision 2"]
        .assert_eq(&rejected(yard.save(&old, r#"{"n":3}"#, &[]).await));
    // Nothing of the rejected save remains.
    assert_eq!(yard.read("zoo/leo").await.config, json!({"n": 2}));
    assert_eq!(yard.trail().await, ["install zoo", "create zoo/leo", "set zoo/leo"]);
}

async fn a_name_is_taken_only_once(yard: &TestStore) {
    yard.create("zoo/leo", r#"{"n":1}"#, &[]).await.unwrap();
    expect!["block `zoo/leo` already exists"].assert_eq(&rejected(yard.create("zoo/leo", r#"{"n":2}"#, &[]).await));
    assert_eq!(yard.read("zoo/leo").await.config, json!({"n": 1}));
    // The same name is free in another type, and names are case-sensitive by their rule.
    yard.create("zoo-keeper/leo", "{}", &[]).await.unwrap();
    assert_eq!(yard.trail().await, ["install zoo", "create zoo/leo", "create zoo-keeper/leo"]);
}

async fn a_block_requires_a_key_of_the_yard(yard: &TestStore) {
    let address = at("zoo/leo");
    let key = WrappedKey { data_key: b"wrapped", key_id: "another-key" };
    let saved = yard.store.create_block(&draft(&address, "{}", &[]), &key, None, line("create", "zoo/leo")).await;
    expect!["the yard's key was changed in the meantime"].assert_eq(&rejected(saved));
    assert!(yard.store.block(&address, None).await.unwrap().is_none());
}
