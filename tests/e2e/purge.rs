//! `purge` destroys the secrets of every revision and retains everything else.

use blockyard_tests::{Backend, TestYard, on_both};
use serde_json::{Value, json};

on_both!(
    purge_removes_secrets_of_every_revision_only,
    purged_secrets_are_not_in_the_database,
    secret_can_be_set_after_a_purge,
    second_purge_destroys_nothing,
    purge_requires_confirmation,
);

const ADA: &str = "zoo-keeper/ada";

/// Creates a keeper with three revisions, each with another badge.
fn with_ada(yard: &TestYard) {
    yard.keeper("ada", "first badge");
    for badge in ["second badge", "third badge"] {
        yard.ok_with_input(&["set", ADA, "--secret", "badge=-"], badge);
    }
}

fn destroyed(output: &str) -> bool {
    output.contains("the secret `badge` of block `zoo-keeper/ada` was destroyed by a purge")
}

fn purge_removes_secrets_of_every_revision_only(yard: &TestYard) {
    with_ada(yard);
    let numbers = |history: &Value| -> Vec<Value> {
        history["revisions"]
            .as_array()
            .expect("revisions")
            .iter()
            .map(|r| json!([r["revision"], r["saved_at"]]))
            .collect()
    };
    let history = numbers(&yard.json(&["history", ADA]));
    let mut shown = yard.json(&["show", "zoo-keeper/ada@2"]);
    let done = yard.json(&["purge", ADA, "--yes"]);
    assert_eq!(done, json!({"address": ADA, "secrets_destroyed": 3}));
    for revision in 1..=3 {
        assert!(destroyed(&yard.fails(5, &["reveal", &format!("{ADA}@{revision}"), "badge", "--yes"])));
    }
    let refused = yard.fails(5, &["call", ADA, "introduce"]);
    assert!(destroyed(&refused), "{refused}");
    assert!(refused.contains("set a new value with `blockyard set zoo-keeper/ada --secret badge`"), "{refused}");
    assert!(destroyed(&yard.fails(5, &["check", ADA])));
    assert_eq!(numbers(&yard.json(&["history", ADA])), history);
    // Everything is unchanged, except for the list of destroyed secrets.
    shown["destroyed"] = json!(["badge"]);
    assert_eq!(yard.json(&["show", "zoo-keeper/ada@2"]), shown);
    assert_eq!(yard.run(&["doctor"]).code, 0);
    // Calls that were rejected after the purge have audit lines as well.
    let audit = yard.json(&["audit", "--block", ADA]);
    let lines = audit["audit"].as_array().expect("lines");
    let purge = lines.iter().find(|line| line["action"] == "purge").expect("a line of the purge");
    assert_eq!(purge["detail"]["secrets"], json!(3));
    assert_eq!((&lines[0]["action"], &lines[0]["detail"]["outcome"]), (&json!("check"), &json!("denied")));
}

fn purged_secrets_are_not_in_the_database(yard: &TestYard) {
    if !yard.has_shell() {
        return;
    }
    with_ada(yard);
    let (secrets, keys) = match yard.backend() {
        Backend::Sqlite => ("select lower(hex(sealed)) from secrets", "select lower(hex(data_key)) from blocks"),
        Backend::Postgres => {
            ("select encode(sealed, 'hex') from secrets", "select encode(data_key, 'hex') from blocks")
        }
    };
    let before = yard.sql(secrets).expect("secrets") + &yard.sql(keys).expect("a key");
    let before: Vec<&str> = before.lines().collect();
    assert_eq!(before.len(), 4);
    let stored_hex = || match yard.backend() {
        Backend::Sqlite => ["yard.db", "yard.db-wal"]
            .iter()
            .filter_map(|name| std::fs::read(yard.path(name)).ok())
            .flatten()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .filter_map(|digit| char::from_digit(digit.into(), 16))
            .collect::<String>(),
        Backend::Postgres => ["blocks", "revisions", "secrets", "audit"]
            .iter()
            .map(|table| yard.sql(&format!("select t::text from {table} t")).expect("its rows"))
            .collect(),
    };
    let stored = stored_hex();
    assert!(before.iter().all(|hex| stored.contains(hex)), "the search finds secrets and keys");
    yard.ok(&["purge", ADA, "--yes"]);
    let stored = stored_hex();
    assert!(!before.iter().any(|hex| stored.contains(hex)), "destroyed values are still stored");
}

fn secret_can_be_set_after_a_purge(yard: &TestYard) {
    with_ada(yard);
    yard.ok(&["purge", ADA, "--yes"]);
    assert_eq!(yard.json(&["show", ADA])["destroyed"], json!(["badge"]));
    assert!(yard.ok(&["show", ADA]).contains("destroyed by a purge"));
    let refused = yard.fails(4, &["set", ADA, "--set", "name=Ida"]);
    assert!(refused.contains("/badge: has no secret behind it: it was destroyed by a purge"), "{refused}");
    yard.ok_with_input(&["set", ADA, "--secret", "badge=-"], "new badge");
    assert_eq!(yard.reveal(ADA, "badge"), "new badge");
    yard.ok(&["call", ADA, "introduce"]);
    assert!(destroyed(&yard.fails(5, &["reveal", "zoo-keeper/ada@3", "badge", "--yes"])));
    yard.ok(&["set", ADA, "--set", "name=Ida"]);
    assert_eq!(yard.reveal(ADA, "badge"), "new badge");
    // The secret can also be removed.
    yard.ok(&["purge", ADA, "--yes"]);
    yard.ok(&["set", ADA, "--unset", "badge"]);
    assert_eq!(yard.ok(&["call", ADA, "introduce"]), "\"Ida\"\n");
}

fn second_purge_destroys_nothing(yard: &TestYard) {
    with_ada(yard);
    yard.ok(&["purge", ADA, "--yes"]);
    assert_eq!(yard.ok(&["purge", ADA, "--yes"]), "destroyed 0 secret values of zoo-keeper/ada\n");
    yard.ok_with_input(&["set", ADA, "--secret", "badge=-"], "new badge");
    assert_eq!(yard.ok(&["purge", ADA, "--yes"]), "destroyed 1 secret value of zoo-keeper/ada\n");
    assert!(destroyed(&yard.fails(5, &["reveal", ADA, "badge", "--yes"])));
}

fn purge_requires_confirmation(yard: &TestYard) {
    with_ada(yard);
    let refused = yard.fails_with_input(2, &["purge", ADA], "y\n");
    assert!(refused.contains("purging `zoo-keeper/ada` destroys its secrets and was not confirmed"), "{refused}");
    assert_eq!(yard.reveal(ADA, "badge"), "third badge");
}
