//! Blocks: names, revisions and lists.

use blockyard_tests::{TestYard, bundle};
use expect_test::expect;
use serde_json::json;

#[test]
fn reinstalling_the_same_bundle_reports_no_change() {
    let yard = TestYard::new();
    let again = yard.json(&["install", &bundle("sql"), "--yes"]);
    assert_eq!(again["installed"][0]["changed"], json!(false));
    assert_eq!(yard.json(&["bundles"])["bundles"].as_array().map(Vec::len), Some(1));
    assert!(yard.ok(&["install", &bundle("sql")]).starts_with("already installed, nothing changed"));
}

#[test]
fn set_adds_a_revision_and_preserves_other_fields() {
    let yard = TestYard::new();
    let created = yard.run_with_input(
        &[
            "create",
            "sql-database/w",
            "--set",
            "dialect=postgres",
            "--set",
            "host=h",
            "--set",
            "database=d",
            "--set",
            "username=u",
            "--secret",
            "password=-",
            "--set",
            "options.sslmode=require",
        ],
        "s3cret-value\n",
    );
    assert_eq!(created.code, 0, "{}", created.stderr);
    yard.ok(&["set", "sql-database/w", "--set", "port=5433"]);
    let shown = yard.json(&["show", "sql-database/w"]);
    assert_eq!(shown["revision"], json!(2));
    assert_eq!(
        shown["config"],
        json!({"dialect": "postgres", "host": "h", "database": "d", "username": "u", "port": 5433,
               "password": "********", "options": {"sslmode": "require"}})
    );
    assert_eq!(yard.json(&["show", "sql-database/w@1"])["config"]["port"], json!(null));
    yard.ok(&["set", "sql-database/w", "--unset", "port", "--unset", "options.sslmode"]);
    assert_eq!(yard.json(&["show", "sql-database/w"])["config"]["options"], json!({}));
    assert!(yard.ok(&["set", "sql-database/w", "--set", "host=h"]).contains("nothing was saved"));

    let history = yard.json(&["history", "sql-database/w"]);
    let changed: Vec<_> =
        history["revisions"].as_array().expect("revisions").iter().map(|r| r["changed"].clone()).collect();
    assert_eq!(changed, [json!(["options.sslmode", "port"]), json!(["port"]), json!([])]);
}

#[test]
fn diff_shows_a_secret_as_changed_only() {
    let yard = TestYard::new();
    let flags = ["--set", "dialect=postgres", "--set", "host=h", "--set", "database=d", "--set", "username=u"];
    let create: Vec<&str> = ["create", "sql-database/w", "--secret", "password=-"].into_iter().chain(flags).collect();
    assert_eq!(yard.run_with_input(&create, "first-secret").code, 0);
    assert_eq!(yard.run_with_input(&["set", "sql-database/w", "--secret", "password=-"], "second-secret").code, 0);
    let history = yard.ok(&["history", "sql-database/w", "--json"]);
    assert!(history.contains("password (secret)"), "{history}");
    assert!(!history.contains("-secret"), "{history}");
}

#[test]
fn outdated_if_revision_is_rejected() {
    let yard = TestYard::with_sqlite();
    yard.ok(&["set", "sql-database/flights", "--set", "database=/tmp/2.db", "--if-revision", "1"]);
    let refused = yard.fails(6, &["set", "sql-database/flights", "--set", "database=/tmp/3.db", "--if-revision", "1"]);
    expect![[r#"
        error: block `sql-database/flights` was changed in the meantime and is now at revision 2
          hint: review it with `blockyard show sql-database/flights`, and try again
    "#]]
    .assert_eq(&refused);
    assert_eq!(yard.json(&["show", "sql-database/flights"])["revision"], json!(2));
}

#[test]
fn twenty_concurrent_writers_lose_no_update() {
    let yard = TestYard::with_sqlite();
    let mut writers: Vec<_> = (0..20)
        .map(|number| {
            let database = format!("database=/tmp/{number}.db");
            let mut command = yard.command(&["set", "sql-database/flights", "--set", &database]);
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().expect("it runs")
        })
        .collect();
    for writer in writers.drain(..) {
        let output = writer.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(yard.json(&["show", "sql-database/flights"])["newest"], json!(21));
}

#[test]
fn lists_are_filtered_and_paginated_in_a_stable_order() {
    let yard = TestYard::new();
    for name in ["c", "a", "b"] {
        yard.ok(&["create", &format!("sql-database/{name}"), "--set", "dialect=sqlite", "--set", "database=/tmp/x.db"]);
    }
    let addresses = |arguments: &[&str]| -> Vec<String> {
        let listed = yard.json(arguments);
        let blocks = listed["blocks"].as_array().expect("blocks").clone();
        blocks.iter().map(|block| block["address"].as_str().expect("an address").to_owned()).collect()
    };
    assert_eq!(addresses(&["list"]), ["sql-database/a", "sql-database/b", "sql-database/c"]);
    assert_eq!(addresses(&["list", "--limit", "2"]), ["sql-database/a", "sql-database/b"]);
    assert_eq!(addresses(&["list", "--after", "sql-database/b"]), ["sql-database/c"]);
    assert_eq!(addresses(&["list", "--interface", "database", "e/b"]), ["sql-database/b"]);
    assert_eq!(addresses(&["list", "nothing-like-this"]), [""; 0]);
}

#[test]
fn create_check_does_not_save() {
    let yard = TestYard::new();
    yard.ok(&["create", "sql-database/a", "--set", "dialect=sqlite", "--set", "database=/tmp/x.db", "--check"]);
    yard.fails(3, &["show", "sql-database/a"]);
}

#[test]
fn values_come_from_files_and_documents() {
    let yard = TestYard::new();
    std::fs::write(yard.path("host"), "db.example.com").expect("a file");
    std::fs::write(yard.path("config.json"), r#"{"dialect": "postgres", "database": "d", "username": "u", "port": 1}"#)
        .expect("a file");
    std::fs::write(yard.path("options.json"), r#"{"sslmode": "disable"}"#).expect("a file");
    yard.ok(&[
        "create",
        "sql-database/w",
        "--json-config",
        "config.json",
        "--set",
        "host=@host",
        "--set",
        "options=@options.json",
    ]);
    let config = yard.json(&["show", "sql-database/w"])["config"].clone();
    assert_eq!(
        config,
        json!({"dialect": "postgres", "database": "d", "username": "u", "port": 1, "host": "db.example.com", "options": {"sslmode": "disable"}})
    );
}

#[test]
fn every_json_document_is_valid_on_an_empty_yard() {
    let yard = TestYard::empty();
    yard.ok(&["init", "--key", "file", "--json"]);
    for arguments in [
        &["bundles"][..],
        &["types"],
        &["list"],
        &["list", "--deleted"],
        &["list", "--count"],
        &["grants"],
        &["audit"],
        &["export"],
        &["key", "status"],
        &["doctor"],
    ] {
        yard.json(arguments);
    }
}

#[test]
fn reinstallation_does_not_restore_revoked_grants() {
    let yard = TestYard::new();
    yard.ok(&["revoke", "sql", "sql postgres"]);
    yard.ok(&["install", &bundle("sql"), "--yes"]);
    let grants = yard.json(&["grants", "sql"]);
    let postgres =
        grants["grants"].as_array().expect("grants").iter().find(|grant| grant["capability"] == "sql postgres");
    assert_eq!(postgres.expect("the requested capability")["granted"], json!(false));
}

#[test]
fn concurrent_first_uses_create_one_yard() {
    let yard = TestYard::empty();
    let mut makers: Vec<_> = (0..10)
        .map(|_| {
            let mut command = yard.command(&["install", &bundle("sql"), "--yes"]);
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().expect("it runs")
        })
        .collect();
    for maker in makers.drain(..) {
        let output = maker.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(yard.json(&["bundles"])["bundles"].as_array().map(Vec::len), Some(1));
    let names: Vec<String> = std::fs::read_dir(yard.path(""))
        .expect("the folder")
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    assert!(!names.iter().any(|name| name.contains(".new-")), "{names:?}");
}
