//! Contract of each standard interface, checked with every type of this repository's bundles that
//! implements it.

use std::collections::BTreeSet;

use blockyard_tests::http_proxy::Fault;
use blockyard_tests::web::{Answer, Web};
use blockyard_tests::{TestYard, bundle, plugins};
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::{gcp_secret, mysql, postgres};

/// Each interface with the types that its test covers.
const TESTED: [(&str, &[&str]); 6] = [
    ("credentials", &["gcp-credentials"]),
    ("database", &["bigquery-warehouse", "sql-database"]),
    ("job", &["bigquery-warehouse"]),
    (
        "notification",
        &[
            "discord-webhook",
            "email",
            "mattermost-webhook",
            "ms-teams-webhook",
            "opsgenie",
            "pagerduty",
            "slack-webhook",
            "twilio-sms",
            "webhook",
        ],
    ),
    ("object-storage", &["gcs-bucket"]),
    ("secret-store", &["gcp-secret"]),
];

#[test]
fn every_implemented_interface_is_tested() {
    let yard = TestYard::new();
    for name in plugins() {
        yard.ok(&["install", &bundle(&name), "--yes"]);
    }
    let types = yard.json(&["types"]);
    let mut claims = BTreeSet::new();
    for described in types["types"].as_array().expect("types") {
        let slug = described["slug"].as_str().expect("a slug");
        for interface in described["interfaces"].as_array().expect("interfaces") {
            claims.insert((interface.as_str().expect("a name").to_owned(), slug.to_owned()));
        }
    }
    let tested = TESTED
        .iter()
        .flat_map(|(interface, types)| types.iter().map(|slug| ((*interface).to_owned(), (*slug).to_owned())));
    assert_eq!(claims, tested.collect());
    let known = std::fs::read_dir(blockyard_tests::root().join("schemas/interfaces")).expect("the interfaces");
    assert_eq!(known.count(), TESTED.len(), "no type implements one of the interfaces");
}

/// Checks the contract of `database` with the empty table `birds (id, name)`.
fn check_database(yard: &TestYard, block: &str) {
    let call = |operation: &str, arguments: Value| {
        yard.run(&["call", block, operation, "--args", &arguments.to_string(), "--json"])
    };
    let answer = |operation: &str, arguments: Value| -> Value {
        let output = call(operation, arguments);
        assert_eq!(output.code, 0, "{block} {operation}: {}", output.stderr);
        serde_json::from_str(&output.stdout).expect("JSON")
    };
    let insert = "insert into birds (id, name) values (:id, :name)";
    let done = answer("execute", json!({"statement": insert, "parameters": {"id": 1, "name": "owl :x 'y'"}}));
    assert_eq!(done["rows_affected"], 1, "{block}");
    let many = json!({"statement": insert, "parameters": [{"id": 2, "name": "heron"}, {"id": 3, "name": null}]});
    assert_eq!(answer("execute-many", many)["rows_affected"], 2, "{block}");
    let wrong = json!({"statement": insert, "parameters": [{"id": 4, "name": "kite"}, {"id": "none", "name": "rook"}]});
    assert_eq!(call("execute-many", wrong).code, 1, "{block}: all or nothing");
    let all = "select id, name from birds order by id";
    let rows = json!([{"id": 1, "name": "owl :x 'y'"}, {"id": 2, "name": "heron"}, {"id": 3, "name": null}]);
    assert_eq!(answer("fetch-all", json!({"statement": all})), rows, "{block}");
    assert_eq!(answer("fetch-many", json!({"statement": all, "size": 2})).as_array().map(Vec::len), Some(2), "{block}");
    let one = json!({"statement": "select name from birds where id = :id", "parameters": {"id": 2}});
    assert_eq!(answer("fetch-one", one), json!({"name": "heron"}), "{block}");
    let none = json!({"statement": "select name from birds where id = :id", "parameters": {"id": 9}});
    assert_eq!(answer("fetch-one", none), Value::Null, "{block}");
    assert_eq!(yard.json(&["query", block, all]), rows, "{block}: as Arrow");
    // Read operations must not write, and mistakes are reported.
    for (operation, statement) in [("query", "delete from birds where id = 1"), ("fetch-all", "drop table birds")] {
        assert_ne!(call(operation, json!({"statement": statement})).code, 0, "{block}: {statement}");
    }
    assert_ne!(call("fetch-all", json!({"statement": "selec 1"})).code, 0, "{block}");
    let missing = call("fetch-all", json!({"statement": "select :a"}));
    assert!(missing.code == 1 && missing.stderr.contains("`:a`"), "{block}: {}", missing.stderr);
    let unknown = call("fetch-all", json!({"statement": "select 1", "parameters": {"b": 1}}));
    assert!(unknown.code == 1 && unknown.stderr.contains("`:b`"), "{block}: {}", unknown.stderr);
    assert_eq!(answer("fetch-all", json!({"statement": all})), rows, "{block}: nothing changed");
}

#[test]
fn databases() {
    let birds = "create table birds (id integer, name varchar(40))";
    let sqlite = TestYard::with_sqlite();
    // SQLite stores text in integer columns unless the table is strict.
    sqlite.ok(&["execute", "sql-database/flights", "create table birds (id integer, name text) strict"]);
    check_database(&sqlite, "sql-database/flights");
    if let Some(server) = postgres::server("contract") {
        server.yard.ok(&["execute", "sql-database/pg", birds]);
        check_database(&server.yard, "sql-database/pg");
    }
    if let Some(server) = mysql::server("contract") {
        server.yard.ok(&["execute", "sql-database/my", birds]);
        check_database(&server.yard, "sql-database/my");
    }
    if let Some(cloud) = Cloud::with_warehouse(|_| Fault::Pass) {
        let columns = r#"[{"name": "id", "type": "INT64"}, {"name": "name", "type": "STRING"}]"#;
        cloud.warehouse(&["create-table", "--table", "birds", "--columns", columns]);
        check_database(&cloud.yard, "bigquery-warehouse/w");
    }
}

#[test]
fn jobs() {
    let Some(cloud) = Cloud::with_warehouse(|_| Fault::Pass) else { return };
    cloud.warehouse(&["create-table", "--table", "birds", "--columns", r#"[{"name": "id", "type": "INT64"}]"#]);
    let done = cloud.warehouse(&["execute", "--statement", "insert into birds (id) values (1)"]);
    let id = done["job_id"].as_str().expect("a name");
    for operation in ["job-status", "job-wait", "job-cancel"] {
        let job = cloud.warehouse(&[operation, "--job_id", id]);
        assert!(
            job["job_id"] == id && ["PENDING", "RUNNING", "DONE"].contains(&job["state"].as_str().expect("a state")),
            "{job}"
        );
        assert!(job["error"].is_null(), "{job}");
        let missing = cloud.yard.run(&["call", "bigquery-warehouse/w", operation, "--job_id", "nobody", "--json"]);
        assert!(missing.code == 1 && missing.stderr.contains("not-found"), "{operation}: {}", missing.stderr);
    }
    let waits = cloud.warehouse(&["job-wait", "--job_id", id, "--timeout_seconds", "5"]);
    assert_eq!(waits["state"], "DONE");
}

#[test]
fn object_storages() {
    let Some(cloud) = Cloud::start() else { return };
    let (yard, block) = (&cloud.yard, "gcs-bucket/zoo");
    let call = |arguments: &[&str]| yard.json(&[&["call", block], arguments].concat());
    for (path, text) in [("a", "lions"), ("b/1", "tigers"), ("b/2", "")] {
        let created: Value =
            serde_json::from_str(&yard.ok_with_input(
                &["call", block, "put", "--path", path, "--content_type", "text/plain", "--in", "-"],
                text,
            ))
            .expect("JSON");
        assert_eq!((&created["path"], &created["size"]), (&json!(path), &json!(text.len())));
        let stat = call(&["stat", "--path", path]);
        assert_eq!((&stat["size"], &stat["content_type"]), (&json!(text.len()), &json!("text/plain")));
        assert_eq!(yard.ok(&["call", block, "get", "--path", path, "--out", "-"]), text);
    }
    assert_eq!(yard.ok(&["call", block, "get", "--path", "a", "--offset", "1", "--length", "2", "--out", "-"]), "io");
    let paths = |page: &Value| -> Vec<String> {
        let objects = page["objects"].as_array().expect("objects").iter();
        objects.map(|object| object["path"].as_str().expect("a path").to_owned()).collect()
    };
    assert_eq!(paths(&call(&["list"])), ["a", "b/1", "b/2"]);
    let top = call(&["list", "--delimiter", "/"]);
    assert_eq!((paths(&top), &top["prefixes"]), (vec!["a".to_owned()], &json!(["b/"])));
    let first = call(&["list", "--prefix", "b/", "--page_size", "1"]);
    let token = first["next_page_token"].as_str().expect("a second page");
    let second = call(&["list", "--prefix", "b/", "--page_size", "1", "--page_token", token]);
    assert_eq!((paths(&first), paths(&second)), (vec!["b/1".to_owned()], vec!["b/2".to_owned()]));
    assert_eq!(call(&["copy", "--from", "a", "--to", "c"])["path"], "c");
    yard.ok(&["call", block, "delete", "--path", "a", "--yes"]);
    for operation in ["stat", "get"] {
        let out: &[&str] = if operation == "get" { &["--out", "-"] } else { &[] };
        let missing = yard.run(&[&["call", block, operation, "--path", "a", "--json"], out].concat());
        assert!(missing.code == 1 && missing.stderr.contains("not-found"), "{operation}: {}", missing.stderr);
    }
    assert_eq!(yard.ok(&["call", block, "get", "--path", "c", "--out", "-"]), "lions");
    for path in ["../a", "/a", ""] {
        assert_eq!(yard.run(&["call", block, "stat", "--path", path]).code, 1, "{path}");
    }
}

#[test]
fn secret_stores() {
    let Some((cloud, _manager, _)) = gcp_secret::start() else { return };
    let yard = &cloud.yard;
    yard.ok_with_input(&["call", "gcp-secret/db", "write", "--in", "-"], "correct horse");
    assert_eq!(yard.ok(&["call", "gcp-secret/db", "read", "--out", "-"]), "correct horse");
    yard.ok(&["install", &bundle("zoo"), "--yes"]);
    yard.ok(&["create", "zoo-keeper/ada", "--set", "name=Ada", "--secret", "badge=block:gcp-secret/db"]);
    assert_eq!(yard.reveal("zoo-keeper/ada", "badge"), "correct horse");
    assert_eq!(yard.any_file_contains("correct horse"), None);
}

#[test]
fn credentials() {
    let Some(cloud) = Cloud::start() else { return };
    let described = cloud.yard.ok(&["call", "gcp-credentials/prod", "describe"]);
    let described: Value = serde_json::from_str(&described).expect("JSON");
    assert_eq!((&described["account"], &described["project"]), (&json!(crate::cloud::ACCOUNT), &json!("demo")));
    assert!(!described.to_string().contains("PRIVATE KEY"), "{described}");
}

#[test]
fn notifications() {
    let web = Web::start(|_| Answer::text("ok"));
    let yard = TestYard::new();
    yard.ok(&["install", &bundle("http"), "--yes"]);
    yard.ok(&["grant", "http", &format!("http {}", web.url())]);
    yard.ok(&["create", "webhook/team", "--set", &format!("url={}/hook", web.url())]);
    yard.ok(&["call", "webhook/team", "notify", "--body", "the load is done"]);
    yard.ok(&["call", "webhook/team", "notify", "--subject", "load", "--body", "done"]);
    let sent: Vec<String> =
        web.requests().iter().map(|request| String::from_utf8_lossy(&request.body).into_owned()).collect();
    assert!(sent[0].contains("the load is done") && sent[1].contains("load") && sent[1].contains("done"), "{sent:?}");
    assert_eq!(yard.run(&["call", "webhook/team", "notify", "--subject", "no body"]).code, 4);
}
