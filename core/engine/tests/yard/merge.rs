//! Fields that a save leaves unchanged: the same rule for all forms of a change and for block
//! files.

use expect_test::expect;
use serde_json::json;

use crate::fixture::{TestYard, document, rejected, secret, setting, unset};

on_both!(
    a_document_keeps_unnamed_fields,
    a_change_keeps_the_unnamed_fields_of_an_object,
    the_library_merges_like_the_command_line,
    fields_are_removed_by_name,
    another_variant_removes_the_secret_of_the_previous_one,
    lists_are_replaced,
    a_file_without_a_table_keeps_its_secret,
    a_mistyped_nested_secret_is_not_stored,
    a_change_that_changes_nothing_saves_nothing,
    every_variant_replaces_the_fields_of_the_previous_one,
    keys_with_special_characters_hold_their_secrets,
    texts_of_all_kinds_survive,
);

async fn with_cage(yard: &TestYard) {
    let config = json!({
        "animal": "lion", "place": {"house": "cats", "code": "code-secret"}, "doors": {"north": "north-secret"},
        "lock": {"how": "key", "pattern": "pattern-secret"}, "spares": ["spare-secret"],
        "notes": {"a": 1, "b": {"c": 2}},
    });
    yard.create("zoo-cage/lion", config).await;
}

async fn assert_secrets_are_kept(yard: &TestYard) {
    for (field, secret) in [
        ("place.code", "code-secret"),
        ("doors.north", "north-secret"),
        ("lock.pattern", "pattern-secret"),
        ("spares.0", "spare-secret"),
    ] {
        assert_eq!(yard.reveal("zoo-cage/lion", field).await, secret);
    }
}

async fn a_document_keeps_unnamed_fields(yard: &TestYard) {
    with_cage(yard).await;
    let changes = json!({"place": {"house": "dogs"}, "lock": {"how": "key"}, "doors": {}, "notes": {"b": {"d": 3}}});
    yard.set("zoo-cage/lion", changes).await;
    assert_secrets_are_kept(yard).await;
    let config = yard.config("zoo-cage/lion").await;
    assert_eq!(config["place"]["house"], json!("dogs"));
    assert_eq!(config["notes"], json!({"a": 1, "b": {"c": 2, "d": 3}}));
    // A configuration as it is shown is rejected, with a hint that works.
    let refused = rejected(yard.change("zoo-cage/lion", document(config)).await);
    assert!(refused.contains("omit the field to keep the stored secret"), "{refused}");
    yard.set("zoo-cage/lion", json!({"place": {"house": "birds"}})).await;
    assert_secrets_are_kept(yard).await;
}

async fn a_change_keeps_the_unnamed_fields_of_an_object(yard: &TestYard) {
    with_cage(yard).await;
    yard.change("zoo-cage/lion", setting("place", json!({"house": "dogs"}))).await.unwrap();
    assert_secrets_are_kept(yard).await;
    let place = json!({"code": "code-secret", "house": "birds"});
    yard.change("zoo-cage/lion", setting("place", place)).await.unwrap();
    yard.change("zoo-cage/lion", setting("notes", json!({"z": 1}))).await.unwrap();
    assert_secrets_are_kept(yard).await;
    assert_eq!(yard.config("zoo-cage/lion").await["notes"], json!({"a": 1, "b": {"c": 2}, "z": 1}));
}

async fn the_library_merges_like_the_command_line(yard: &TestYard) {
    with_cage(yard).await;
    let patch = blockyard::Patch::setting([("place", json!({"house": "dogs"}))]);
    yard.change("zoo-cage/lion", patch).await.unwrap();
    assert_secrets_are_kept(yard).await;
    assert_eq!(yard.config("zoo-cage/lion").await["place"]["house"], json!("dogs"));
}

async fn fields_are_removed_by_name(yard: &TestYard) {
    with_cage(yard).await;
    yard.set("zoo-cage/lion", json!({"place": {"code": null}})).await;
    assert_eq!(yard.config("zoo-cage/lion").await["place"], json!({"house": "cats", "code": null}));
    yard.change("zoo-cage/lion", unset(&["doors.north", "notes.b"])).await.unwrap();
    let config = yard.config("zoo-cage/lion").await;
    assert_eq!((&config["doors"], &config["notes"]), (&json!({}), &json!({"a": 1})));
    yard.set("zoo-cage/lion", json!({"place": null})).await;
    assert_eq!(yard.config("zoo-cage/lion").await["place"], json!(null));
    // If the schema does not permit null, null does not remove the value.
    let refused = rejected(yard.change("zoo-cage/lion", document(json!({"animal": null}))).await);
    assert!(refused.starts_with("invalid: ") && refused.contains("/animal"), "{refused}");
}

async fn another_variant_removes_the_secret_of_the_previous_one(yard: &TestYard) {
    with_cage(yard).await;
    yard.set("zoo-cage/lion", json!({"lock": {"how": "open"}})).await;
    assert_eq!(yard.config("zoo-cage/lion").await["lock"], json!({"how": "open"}));
    assert_eq!(yard.reveal("zoo-cage/lion@1", "lock.pattern").await, "pattern-secret");
}

async fn lists_are_replaced(yard: &TestYard) {
    with_cage(yard).await;
    yard.set("zoo-cage/lion", json!({"spares": ["first-secret", "second-secret"], "tags": ["a", "b"]})).await;
    assert_eq!(yard.reveal("zoo-cage/lion", "spares.1").await, "second-secret");
    yard.set("zoo-cage/lion", json!({"tags": ["c"]})).await;
    assert_eq!(yard.config("zoo-cage/lion").await["tags"], json!(["c"]));
    assert_eq!(yard.reveal("zoo-cage/lion", "spares.0").await, "first-secret");
    yard.set("zoo-cage/lion", json!({"spares": []})).await;
    assert_eq!(yard.config("zoo-cage/lion").await["spares"], json!([]));
}

async fn a_file_without_a_table_keeps_its_secret(yard: &TestYard) {
    with_cage(yard).await;
    yard.apply("[blocks.\"zoo-cage/lion\"]\nanimal = \"lion\"\n").await;
    assert_secrets_are_kept(yard).await;
    // Fields without secrets are those of the file.
    assert_eq!(yard.config("zoo-cage/lion").await["notes"], json!(null));
    let place = "[blocks.\"zoo-cage/lion\"]\nanimal = \"lion\"\n[blocks.\"zoo-cage/lion\".place]\nhouse = \"dogs\"\n";
    yard.apply(place).await;
    assert_secrets_are_kept(yard).await;
    assert_eq!(yard.config("zoo-cage/lion").await["place"]["house"], json!("dogs"));
}

async fn a_mistyped_nested_secret_is_not_stored(yard: &TestYard) {
    let canary = "mistyped-canary-4711";
    for config in [
        json!({"animal": "lion", "place": {"house": "h", "cod": canary}}),
        json!({"animal": "lion", "lock": {"how": "key", "pattern": "p", "word": canary}}),
        json!({"animal": "lion", "lock": {"how": "open", "pattern": canary}}),
    ] {
        let refused = rejected(yard.try_create("zoo-cage/lion", config).await);
        assert!(refused.starts_with("invalid: ") && refused.contains("unknown field"), "{refused}");
        assert!(!refused.contains(canary), "{refused}");
    }
    yard.no_file_contains(canary);
}

async fn a_change_that_changes_nothing_saves_nothing(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada", "badge": "badge-secret"})).await;
    assert_eq!(yard.set("zoo-keeper/ada", json!({"name": "Ada"})).await, None);
    assert_eq!(yard.change("zoo-keeper/ada", secret("badge", "badge-secret")).await.unwrap(), None);
    let required = rejected(yard.change("zoo-keeper/ada", unset(&["name"])).await);
    expect![[r#"
        invalid: block `zoo-keeper/ada` is not valid
          /name: is missing, and it is required
    "#]]
    .assert_eq(&required);
    assert!(rejected(yard.change("zoo-keeper/ada", unset(&["nickname"])).await).starts_with("not-found: "));
    assert_eq!(yard.newest("zoo-keeper/ada").await, 1);
}

async fn every_variant_replaces_the_fields_of_the_previous_one(yard: &TestYard) {
    yard.create("zoo-keeper/ada", json!({"name": "Ada"})).await;
    yard.create("zoo-cage/cat", json!({"animal": "cat"})).await;
    let guarded = json!({"how": "guarded", "by": {"$block": "zoo-keeper/ada"}, "word": "word-secret"});
    let key = json!({"how": "key", "pattern": "pattern-secret"});
    let masked_guarded = json!({"how": "guarded", "by": {"$block": "zoo-keeper/ada"}, "word": "********"});
    let masked_key = json!({"how": "key", "pattern": "********"});
    for (lock, shown, own) in [
        (key.clone(), &masked_key, "lock.pattern"),
        (guarded.clone(), &masked_guarded, "lock.word"),
        (json!({"how": "open"}), &json!({"how": "open"}), ""),
        (key, &masked_key, "lock.pattern"),
        (json!(null), &json!(null), ""),
        (guarded, &masked_guarded, "lock.word"),
    ] {
        yard.set("zoo-cage/cat", json!({ "lock": lock })).await;
        assert_eq!(yard.config("zoo-cage/cat").await["lock"], *shown);
        for (field, value) in [("lock.pattern", "pattern-secret"), ("lock.word", "word-secret")] {
            if field == own {
                assert_eq!(yard.reveal("zoo-cage/cat", field).await, value);
            } else {
                let none = rejected(yard.yard.reveal(&"zoo-cage/cat".parse().unwrap(), field).await);
                let words = format!("not-found: block `zoo-cage/cat` has no secret `{field}`\n");
                assert!(none.starts_with(&words), "{none}");
            }
        }
    }
}

async fn keys_with_special_characters_hold_their_secrets(yard: &TestYard) {
    let keys = ["", "a/b", "c~d", "e.f", "~1", "x\u{1}", "n\u{0}ul"];
    let doors: serde_json::Map<String, serde_json::Value> =
        keys.iter().enumerate().map(|(number, key)| ((*key).to_owned(), json!(format!("secret-{number}")))).collect();
    yard.create("zoo-cage/doors", json!({"animal": "cat", "doors": doors})).await;
    for (number, key) in keys.iter().enumerate() {
        assert_eq!(yard.reveal("zoo-cage/doors", &format!("doors.{key}")).await, format!("secret-{number}"), "{key:?}");
    }
    // The hint for a wrong name suggests the form that is accepted.
    let hint = rejected(yard.yard.reveal(&"zoo-cage/doors".parse().unwrap(), "doors.x").await);
    assert!(hint.contains("`doors.e.f`"), "{hint}");
    yard.change("zoo-cage/doors", secret("doors.a/b", "secret-8")).await.unwrap();
    yard.change("zoo-cage/doors", unset(&["doors.c~d"])).await.unwrap();
    assert_eq!(yard.reveal("zoo-cage/doors", "doors.a/b").await, "secret-8");
    assert_eq!(yard.reveal("zoo-cage/doors", "doors.~1").await, "secret-4");
    let both = ("zoo-cage/doors@1".parse().unwrap(), "zoo-cage/doors".parse().unwrap());
    let diff = yard.yard.diff(&both.0, &both.1).await.unwrap();
    assert_eq!(
        serde_json::to_value(diff.changes).unwrap(),
        json!([
            {"field": "doors.a/b", "change": "changed", "secret": true},
            {"field": "doors.c~d", "change": "removed", "secret": true},
        ])
    );
}

async fn texts_of_all_kinds_survive(yard: &TestYard) {
    let texts =
        ["\u{0}", "\u{1b}[31mred\u{7}", "a\tb\r\nc", "\u{202e}right\u{2028}", "e\u{301}🦓\u{fffd}", "'\"`\\", ""];
    let notes: serde_json::Map<String, serde_json::Value> =
        texts.iter().map(|text| ((*text).to_owned(), json!(text))).collect();
    let config = json!({"animal": "\u{1b}[31m", "tags": texts, "notes": notes});
    yard.create("zoo-cage/texts", config.clone()).await;
    assert_eq!(yard.config("zoo-cage/texts").await, config);
}
