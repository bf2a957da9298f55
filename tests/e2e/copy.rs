//! `copy`: blocks like other blocks.

use blockyard_tests::{TestYard, on_both};
use serde_json::{Value, json};

on_both!(
    copy_has_the_fields_and_secrets_of_the_original,
    copy_is_changed_and_validated_like_a_new_block,
    original_must_exist_and_have_the_type,
);

fn with_cage(yard: &TestYard) {
    yard.keeper("ada", "badge");
    yard.create(
        "zoo-cage/lion",
        &json!({
            "animal": "lion", "keeper": {"$block": "zoo-keeper/ada"}, "place": {"house": "cats", "code": "first"},
            "doors": {"to/the~south": "door"},
        }),
    );
    yard.ok_with_input(&["set", "zoo-cage/lion", "--secret", "place.code=-"], "second");
}

fn copy_has_the_fields_and_secrets_of_the_original(yard: &TestYard) {
    with_cage(yard);
    let created = yard.json(&["copy", "zoo-cage/lion", "zoo-cage/tiger"]);
    assert_eq!(created, json!({ "address": "zoo-cage/tiger", "revision": 1, "original": "zoo-cage/lion" }));
    assert_eq!(yard.config("zoo-cage/tiger"), yard.config("zoo-cage/lion"));
    assert_eq!(yard.reveal("zoo-cage/tiger", "place.code"), "second");
    assert_eq!(yard.reveal("zoo-cage/tiger", "doors.to/the~south"), "door");
    yard.ok(&["copy", "zoo-cage/lion@1", "zoo-cage/puma"]);
    assert_eq!(yard.reveal("zoo-cage/puma", "place.code"), "first");
    // The copy is independent, and its secrets are sealed with a key of its own.
    yard.ok(&["purge", "zoo-cage/lion", "--yes"]);
    assert_eq!(yard.reveal("zoo-cage/tiger", "place.code"), "second");
    let refused = yard.fails(4, &["copy", "zoo-cage/lion", "zoo-cage/lynx"]);
    assert!(refused.contains("destroyed") || refused.contains("purge"), "{refused}");
    let audit = yard.json(&["audit", "--block", "zoo-cage/tiger"]);
    let lines: Vec<&Value> = audit["audit"].as_array().expect("lines").iter().collect();
    let created = lines.iter().find(|line| line["action"] == "create").expect("a line");
    assert_eq!(created["detail"]["copied_from"], "zoo-cage/lion@2");
    // The reference is used by both.
    let refused = yard.fails(6, &["delete", "zoo-keeper/ada"]);
    assert!(refused.contains("zoo-cage/tiger"), "{refused}");
}

fn copy_is_changed_and_validated_like_a_new_block(yard: &TestYard) {
    with_cage(yard);
    let copy = ["copy", "zoo-cage/lion", "zoo-cage/tiger"];
    let refused = yard.fails(4, &[&copy[..], &["--set", "animl=tiger"]].concat());
    assert!(refused.contains("did you mean `animal`?"), "{refused}");
    let refused = yard.fails(4, &[&copy[..], &["--unset", "animal"]].concat());
    assert!(refused.contains("animal"), "{refused}");
    assert_eq!(yard.addresses(&["--type", "zoo-cage"]), ["zoo-cage/lion"]);
    let changes = ["--set", "animal=tiger", "--secret", "place.code=-", "--unset", "keeper"];
    yard.ok_with_input(&[&copy[..], &changes].concat(), "third");
    let config = yard.config("zoo-cage/tiger");
    assert_eq!((&config["animal"], &config["keeper"]), (&json!("tiger"), &Value::Null));
    assert_eq!(yard.reveal("zoo-cage/tiger", "place.code"), "third");
    assert_eq!(yard.config("zoo-cage/lion")["animal"], "lion");
}

fn original_must_exist_and_have_the_type(yard: &TestYard) {
    with_cage(yard);
    let refused = yard.fails(6, &["copy", "zoo-cage/lion", "zoo-cage/lion"]);
    assert!(refused.contains("already exists"), "{refused}");
    let refused = yard.fails(2, &["copy", "zoo-cage/lion", "zoo-keeper/lion"]);
    assert!(refused.contains("a copy keeps its type: `zoo-cage/lion`"), "{refused}");
    assert!(yard.fails(3, &["copy", "zoo-cage/lio", "zoo-cage/b"]).contains("did you mean `zoo-cage/lion`?"));
    yard.ok(&["delete", "zoo-cage/lion"]);
    assert!(yard.fails(3, &["copy", "zoo-cage/lion", "zoo-cage/b"]).contains("deleted"));
}
