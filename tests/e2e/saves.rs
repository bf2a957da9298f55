//! Fields that a save leaves unchanged: the same rule for all forms of `set` and for `apply`.

use blockyard_tests::{Backend, TestYard, on_both};
use serde_json::{Value, json};

on_both!(
    a_save_by_json_keeps_what_it_does_not_name,
    a_save_of_an_object_keeps_what_it_does_not_name,
    taking_away_is_said,
    another_variant_leaves_its_secret_behind,
    lists_are_replaced,
    a_file_that_leaves_a_table_out_keeps_its_secret,
    a_mistyped_nested_secret_is_not_stored,
    a_rollback_says_that_it_is_one,
);

fn with_cage(yard: &TestYard) {
    yard.create(
        "zoo-cage/lion",
        &json!({
            "animal": "lion", "place": {"house": "cats", "code": "code-secret"}, "doors": {"north": "north-secret"},
            "lock": {"how": "key", "pattern": "pattern-secret"}, "spares": ["spare-secret"],
            "notes": {"a": 1, "b": {"c": 2}},
        }),
    );
}

fn set(yard: &TestYard, document: &Value) {
    yard.ok_with_input(&["set", "zoo-cage/lion", "--json-config", "-"], &document.to_string());
}

fn secrets_are_there(yard: &TestYard) {
    for (field, secret) in [
        ("place.code", "code-secret"),
        ("doors.north", "north-secret"),
        ("lock.pattern", "pattern-secret"),
        ("spares.0", "spare-secret"),
    ] {
        assert_eq!(yard.reveal("zoo-cage/lion", field), secret);
    }
}

fn a_save_by_json_keeps_what_it_does_not_name(yard: &TestYard) {
    with_cage(yard);
    set(yard, &json!({"place": {"house": "dogs"}, "lock": {"how": "key"}, "doors": {}, "notes": {"b": {"d": 3}}}));
    secrets_are_there(yard);
    let config = yard.config("zoo-cage/lion");
    assert_eq!(config["place"]["house"], json!("dogs"));
    assert_eq!(config["notes"], json!({"a": 1, "b": {"c": 2, "d": 3}}));
    // The output of `show` is rejected, with a hint that works.
    let shown = yard.config("zoo-cage/lion").to_string();
    let refused = yard.fails_with_input(4, &["set", "zoo-cage/lion", "--json-config", "-"], &shown);
    assert!(refused.contains("omit the field to keep the stored secret"), "{refused}");
    set(yard, &json!({"place": {"house": "birds"}}));
    secrets_are_there(yard);
}

fn a_save_of_an_object_keeps_what_it_does_not_name(yard: &TestYard) {
    with_cage(yard);
    yard.ok(&["set", "zoo-cage/lion", "--set", r#"place={"house": "dogs"}"#]);
    secrets_are_there(yard);
    let file = yard.path("place.json");
    std::fs::write(&file, r#"{"code": "code-secret", "house": "birds"}"#).expect("a file");
    yard.ok(&["set", "zoo-cage/lion", "--set", &format!("place=@{}", file.display())]);
    yard.ok(&["set", "zoo-cage/lion", "--set", r#"notes={"z": 1}"#]);
    secrets_are_there(yard);
    assert_eq!(yard.config("zoo-cage/lion")["notes"], json!({"a": 1, "b": {"c": 2}, "z": 1}));
}

#[test]
fn the_program_interface_has_the_same_rule() {
    let yard = &TestYard::on(Backend::Sqlite);
    with_cage(yard);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let key = blockyard::KeySource::File(yard.key_file());
        let opened = blockyard::Yard::open(&yard.url(), key).await.expect("the yard");
        let address = "zoo-cage/lion".parse().expect("an address");
        let patch = blockyard::Patch::setting([("place", json!({"house": "dogs"}))]);
        opened.set(&address, patch, None).await.expect("saved");
        opened.close().await;
    });
    secrets_are_there(yard);
    assert_eq!(yard.config("zoo-cage/lion")["place"]["house"], json!("dogs"));
}

fn taking_away_is_said(yard: &TestYard) {
    with_cage(yard);
    set(yard, &json!({"place": {"code": null}}));
    assert_eq!(yard.config("zoo-cage/lion")["place"], json!({"house": "cats", "code": null}));
    yard.ok(&["set", "zoo-cage/lion", "--unset", "doors.north", "--unset", "notes.b"]);
    let config = yard.config("zoo-cage/lion");
    assert_eq!((&config["doors"], &config["notes"]), (&json!({}), &json!({"a": 1})));
    set(yard, &json!({"place": null}));
    assert_eq!(yard.config("zoo-cage/lion")["place"], json!(null));
    // If the schema does not permit null, null does not remove the value.
    let refused = yard.fails_with_input(4, &["set", "zoo-cage/lion", "--json-config", "-"], r#"{"animal": null}"#);
    assert!(refused.contains("/animal"), "{refused}");
}

fn another_variant_leaves_its_secret_behind(yard: &TestYard) {
    with_cage(yard);
    set(yard, &json!({"lock": {"how": "open"}}));
    assert_eq!(yard.config("zoo-cage/lion")["lock"], json!({"how": "open"}));
    assert_eq!(yard.reveal("zoo-cage/lion@1", "lock.pattern"), "pattern-secret");
}

fn lists_are_replaced(yard: &TestYard) {
    with_cage(yard);
    set(yard, &json!({"spares": ["first-secret", "second-secret"], "tags": ["a", "b"]}));
    assert_eq!(yard.reveal("zoo-cage/lion", "spares.1"), "second-secret");
    set(yard, &json!({"tags": ["c"]}));
    assert_eq!(yard.config("zoo-cage/lion")["tags"], json!(["c"]));
    assert_eq!(yard.reveal("zoo-cage/lion", "spares.0"), "first-secret");
    set(yard, &json!({"spares": []}));
    assert_eq!(yard.config("zoo-cage/lion")["spares"], json!([]));
}

fn a_file_that_leaves_a_table_out_keeps_its_secret(yard: &TestYard) {
    with_cage(yard);
    let apply = |text: &str| yard.ok_with_input(&["apply", "-"], text);
    apply("version = 1\n[blocks.\"zoo-cage/lion\"]\nanimal = \"lion\"\n");
    secrets_are_there(yard);
    // Fields without secrets are those of the file.
    assert_eq!(yard.config("zoo-cage/lion")["notes"], json!(null));
    apply(
        "version = 1\n[blocks.\"zoo-cage/lion\"]\nanimal = \"lion\"\n[blocks.\"zoo-cage/lion\".place]\nhouse = \"dogs\"\n",
    );
    secrets_are_there(yard);
    assert_eq!(yard.config("zoo-cage/lion")["place"]["house"], json!("dogs"));
}

fn a_mistyped_nested_secret_is_not_stored(yard: &TestYard) {
    let canary = "mistyped-canary-4711";
    for document in [
        json!({"animal": "lion", "place": {"house": "h", "cod": canary}}),
        json!({"animal": "lion", "lock": {"how": "key", "pattern": "p", "word": canary}}),
        json!({"animal": "lion", "lock": {"how": "open", "pattern": canary}}),
    ] {
        let refused =
            yard.fails_with_input(4, &["create", "zoo-cage/lion", "--json-config", "-"], &document.to_string());
        assert!(refused.contains("unknown field") && !refused.contains(canary), "{refused}");
    }
    assert_eq!(yard.any_file_contains(canary), None);
}

fn a_rollback_says_that_it_is_one(yard: &TestYard) {
    yard.keeper("ada", "badge");
    yard.ok(&["set", "zoo-keeper/ada", "--set", "name=Ida"]);
    yard.ok(&["rollback", "zoo-keeper/ada@1"]);
    let file = "version = 1\n[blocks.\"zoo-keeper/ada\"]\nname = \"Eva\"\n";
    yard.ok_with_input(&["apply", "-"], file);
    let history = yard.json(&["history", "zoo-keeper/ada"]);
    let told: Vec<Value> = history["revisions"]
        .as_array()
        .expect("revisions")
        .iter()
        .map(|revision| json!([revision["revision"], revision["action"], revision["rollback_of"]]))
        .collect();
    assert_eq!(json!(told), json!([[4, "apply", null], [3, "rollback", 1], [2, "set", null], [1, "create", null]]));
    assert!(yard.ok(&["history", "zoo-keeper/ada"]).contains("rollback to 1"));
    let audit = yard.json(&["audit", "--block", "zoo-keeper/ada"]);
    let line = audit["audit"].as_array().expect("lines").iter().find(|line| line["action"] == "rollback");
    assert_eq!(line.expect("its line")["detail"]["from"], json!(1));
}
