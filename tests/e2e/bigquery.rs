//! `bigquery-warehouse` against bqemulator, which executes queries, and Google's Python client.

use std::sync::atomic::{AtomicUsize, Ordering};

use blockyard_tests::http_proxy::Fault;
use serde_json::{Value, json};

use crate::cloud::Cloud;

const COLUMNS: &str = r#"[{"name": "id", "type": "INT64", "mode": "REQUIRED"}, {"name": "name", "type": "STRING"}, {"name": "born", "type": "DATE"}]"#;

fn start() -> Option<Cloud> {
    Cloud::with_warehouse(|_| Fault::Pass)
}

/// Starts the emulator with the table `zoo.animals`.
fn with_animals() -> Option<Cloud> {
    let cloud = start()?;
    cloud.warehouse(&["create-table", "--table", "animals", "--columns", COLUMNS]);
    Some(cloud)
}

fn query(cloud: &Cloud, statement: &str) -> Value {
    cloud.yard.json(&["query", "bigquery-warehouse/w", statement])
}

#[test]
fn query_returns_typed_rows() {
    let Some(cloud) = start() else { return };
    let statement = "select 1 as whole, 1.5 as f, cast('nan' as float64) as nan, true as yes, 'a' as s, \
        date '2013-02-08' as d, time '12:30:00.5' as t, datetime '2013-02-08 11:00:00' as dt, \
        timestamp '2013-02-08 11:00:00.123456+00' as ts, numeric '12345.678' as n, \
        json '{\"a\": [1]}' as j, b'abc' as b, cast(null as string) as missing, \
        [struct(1 as a, ['p', 'q'] as tags)] as legs, interval 1 day as i";
    let row = json!({
        "whole": 1, "f": 1.5, "nan": "NaN", "yes": true, "s": "a", "d": "2013-02-08", "t": "12:30:00.500000",
        "dt": "2013-02-08T11:00:00", "ts": "2013-02-08T11:00:00.123456Z",
        "n": "12345.678", "j": {"a": [1]}, "b": "YWJj", "missing": null,
        "legs": [{"a": 1, "tags": ["p", "q"]}], "i": "0-0 1 0:0:0",
    });
    assert_eq!(cloud.warehouse(&["fetch-one", "--statement", statement]), row);
    // The same query as Arrow, converted to JSON: exact numbers remain strings.
    let rows = query(&cloud, statement);
    assert_eq!((&rows[0]["n"], &rows[0]["whole"]), (&json!("12345.678000000"), &json!(1)), "{rows}");
    for same in ["d", "ts", "s", "yes", "legs", "missing", "i"] {
        assert_eq!(rows[0][same], row[same], "{same}");
    }
    let nested = cloud.yard.fails(2, &["query", "bigquery-warehouse/w", "select [1] as l", "--format", "csv"]);
    assert!(nested.contains("column `l` contains lists or records, which CSV cannot represent"), "{nested}");
    let schema = cloud.yard.json(&["type", "bigquery-warehouse"]);
    assert_eq!(schema["interfaces"], json!(["database", "job"]));
}

#[test]
fn parameters_are_typed() {
    let Some(cloud) = start() else { return };
    let row = cloud.warehouse(&[
        "fetch-one",
        "--args",
        r#"{"statement": "select :a + 1 as a, @b as b, :d = date '2013-02-08' as same, :x in unnest(:list) as there",
            "parameters": {"a": 1, "b": "it's :x", "d": "2013-02-08", "list": ["x", "y"], "x": "y"}, "types": {"d": "DATE"}}"#,
    ]);
    assert_eq!(row, json!({"a": 2, "b": "it's :x", "same": true, "there": true}));
    let rows = cloud.yard.json(&["query", "bigquery-warehouse/w", "select :n * 2 as n", "--param", "n=21"]);
    assert_eq!(rows, json!([{"n": 42}]));
    let refused = cloud.yard.fails(1, &["query", "bigquery-warehouse/w", "select :n", "--param", "m=1"]);
    assert!(refused.contains("parameters without a value: `:n`"), "{refused}");
}

#[test]
fn tables_are_created_described_and_listed() {
    let Some(cloud) = start() else { return };
    let missing = cloud.yard.fails(1, &["call", "bigquery-warehouse/w", "tables"]);
    assert!(missing.contains("dataset `zoo` was not found"), "{missing}");
    let created = cloud.warehouse(&[
        "create-table",
        "--table",
        "animals",
        "--columns",
        COLUMNS,
        "--partition_by",
        "born",
        "--cluster_by",
        r#"["name"]"#,
    ]);
    assert_eq!(created["name"], format!("{}.zoo.animals", cloud.project));
    let described = cloud.warehouse(&["describe-table", "--table", "zoo.animals"]);
    assert_eq!(
        (&described["partitioned_by"], &described["clustered_by"], &described["rows"]),
        (&json!("born"), &json!(["name"]), &json!(0))
    );
    assert_eq!(described["columns"][0], json!({"name": "id", "type": "INT64", "mode": "REQUIRED"}));
    assert_eq!(cloud.warehouse(&["tables"]), json!([{"dataset": "zoo", "name": "animals", "type": "TABLE"}]));
    let again = ["call", "bigquery-warehouse/w", "create-table", "--table", "animals", "--columns", COLUMNS];
    let refused = cloud.yard.fails(1, &again);
    assert!(refused.contains("table `zoo.animals` already exists"), "{refused}");
    cloud.yard.ok(&[&again[..], &["--if_absent", "true"]].concat());
    for (name, wrong) in [("../x", "is not a valid table name"), ("nobody", "table `zoo.nobody` was not found")] {
        let refused = cloud.yard.fails(1, &["call", "bigquery-warehouse/w", "describe-table", "--table", name]);
        assert!(refused.contains(wrong), "{refused}");
    }
}

#[test]
fn query_operation_rejects_statements_that_write() {
    let Some(cloud) = with_animals() else { return };
    let insert = "insert into animals (id, name) values (:id, :name)";
    let done = cloud.yard.json(&["execute", "bigquery-warehouse/w", insert, "--param", "id=1", "--param", "name=Lion"]);
    assert_eq!(done["rows_affected"], 1);
    let many = json!({"statement": insert, "parameters": [{"id": 2, "name": "Ape"}, {"id": 3, "name": null}]});
    assert_eq!(cloud.warehouse(&["execute-many", "--args", &many.to_string()])["rows_affected"], 2);
    assert_eq!(
        cloud.warehouse(&["fetch-all", "--statement", "select id, name from animals order by id"]),
        json!([{"id": 1, "name": "Lion"}, {"id": 2, "name": "Ape"}, {"id": 3, "name": null}])
    );
    let two = cloud.warehouse(&["fetch-many", "--statement", "select id from animals order by id", "--size", "2"]);
    assert_eq!(two, json!([{"id": 1}, {"id": 2}]));
    // BigQuery accepts any statement in a POST, so the bundle determines its type with a dry run
    // first.
    for statement in ["delete from animals where true", "drop table animals", "create table zoo.more (a int64)"] {
        let refused = cloud.yard.fails(1, &["query", "bigquery-warehouse/w", statement]);
        assert!(refused.contains("this operation is read-only, but the statement is a"), "{statement}: {refused}");
    }
    assert_eq!(query(&cloud, "select count(*) as n from animals"), json!([{"n": 3}]));
    let wrong = cloud.yard.fails(1, &["query", "bigquery-warehouse/w", "selec 1"]);
    assert!(wrong.contains("Syntax error"), "{wrong}");
    let witness = cloud.witness(&["query", "select name from zoo.animals where id = 1"], b"");
    assert_eq!(String::from_utf8_lossy(&witness), "{\"name\": \"Lion\"}\n");
}

#[test]
fn bodies_and_objects_are_loaded_and_tables_extracted() {
    let Some(cloud) = with_animals() else { return };
    let csv = cloud.write("animals.csv", b"id,name,born\n1,Lion,2013-02-08\n2,\"Ape,\nold\",\n");
    let csv = csv.to_str().expect("a path");
    let load = ["load", "--table", "animals", "--format", "csv", "--in", csv];
    let job = cloud.warehouse(&load);
    assert_eq!((&job["state"], &job["rows"]), (&json!("DONE"), &json!(2)));
    let names = || cloud.warehouse(&["fetch-all", "--statement", "select id, name, born from animals order by id"]);
    let both = json!([
        {"id": 1, "name": "Lion", "born": "2013-02-08"}, {"id": 2, "name": "Ape,\nold", "born": null},
    ]);
    assert_eq!(names(), both);
    // The table is not empty: the load is rejected, or replaces the rows.
    let refused = cloud.yard.fails(1, &[&["call", "bigquery-warehouse/w"], &load[..], &["--write", "empty"]].concat());
    assert!(refused.contains("not empty"), "{refused}");
    cloud.warehouse(&[&load[..], &["--write", "truncate"]].concat());
    assert_eq!(names(), both);

    // From Cloud Storage: a Parquet file written from rows of the warehouse.
    let parquet = cloud.folder.path().join("animals.parquet");
    let to = parquet.to_str().expect("a path");
    cloud.yard.ok(&["query", "bigquery-warehouse/w", "select * from animals", "--out", to]);
    cloud.yard.ok(&["cp", to, "gcs-bucket/zoo:animals.parquet"]);
    let uris = format!(r#"["gs://{}/data/animals.parquet"]"#, cloud.bucket);
    let job = cloud.warehouse(&["load-uri", "--table", "animals", "--uris", &uris]);
    assert_eq!((&job["state"], &job["error"]), (&json!("DONE"), &Value::Null), "{job}");
    assert_eq!(cloud.warehouse(&["fetch-one", "--statement", "select count(*) as n from animals"]), json!({"n": 4}));
    let missing = format!(r#"["gs://{}/nothing.csv"]"#, cloud.bucket);
    let refused =
        cloud.yard.fails(1, &["call", "bigquery-warehouse/w", "load-uri", "--table", "animals", "--uris", &missing]);
    assert!(refused.contains("nothing.csv"), "{refused}");

    let out = format!(r#"["gs://{}/data/out.csv"]"#, cloud.bucket);
    cloud.warehouse(&["extract", "--table", "animals", "--uris", &out]);
    let written = String::from_utf8(cloud.stored("data/out.csv").expect("on the disk")).expect("text");
    assert!(written.starts_with("id,name,born\n") && written.contains("1,Lion,2013-02-08"), "{written}");
}

#[test]
fn invalid_rows_are_reported() {
    let Some(cloud) = with_animals() else { return };
    let mut text = "id,name,born\n".to_owned();
    for id in 0..1_000 {
        let born = if [10, 500, 999].contains(&id) { "yesterday" } else { "2013-02-08" };
        text.push_str(&format!("{id},Ape,{born}\n"));
    }
    let csv = cloud.write("animals.csv", text.as_bytes());
    let load = [
        "call",
        "bigquery-warehouse/w",
        "load",
        "--table",
        "animals",
        "--format",
        "csv",
        "--in",
        csv.to_str().expect("a path"),
    ];
    let refused = cloud.yard.fails(1, &load);
    assert!(refused.contains("yesterday"), "{refused}");
    assert_eq!(query(&cloud, "select count(*) as n from animals"), json!([{"n": 0}]), "no partial writes");
    // A file with an unknown column.
    let other = cloud.write("other.csv", b"id,name,born,legs\n1,Lion,2013-02-08,4\n");
    let load = [&load[..load.len() - 1], &[other.to_str().expect("a path")]].concat();
    let refused = cloud.yard.fails(1, &load);
    assert!(refused.contains("Error while reading data"), "{refused}");
    assert_eq!(query(&cloud, "select count(*) as n from animals"), json!([{"n": 0}]), "no partial writes");
}

#[test]
fn inserted_rows_are_visible_immediately() {
    let Some(cloud) = with_animals() else { return };
    let rows = r#"[{"id": 1, "name": "Lion", "born": "2013-02-08"}, {"id": 2}]"#;
    assert_eq!(cloud.warehouse(&["insert-rows", "--table", "animals", "--rows", rows]), json!({"inserted": 2}));
    cloud.witness(&["insert", &format!("{}.zoo.animals", cloud.project)], br#"[{"id": 3, "name": "Bear"}]"#);
    let rows = query(&cloud, "select id, name from animals order by id");
    assert_eq!(rows, json!([{"id": 1, "name": "Lion"}, {"id": 2, "name": null}, {"id": 3, "name": "Bear"}]));
}

#[test]
fn jobs_are_found_by_id() {
    let Some(cloud) = with_animals() else { return };
    let done = cloud.warehouse(&["execute", "--statement", "insert into animals (id) values (1)"]);
    let id = done["job_id"].as_str().expect("a name");
    for operation in ["job-status", "job-wait", "job-cancel"] {
        let job = cloud.warehouse(&[operation, "--job_id", id]);
        assert_eq!((&job["job_id"], &job["state"]), (&json!(id), &json!("DONE")), "{operation}");
    }
    let refused = cloud.yard.fails(1, &["call", "bigquery-warehouse/w", "job-status", "--job_id", "nobody"]);
    assert!(refused.contains("job `nobody` was not found"), "{refused}");
}

#[test]
fn transient_errors_are_retried_without_duplicate_jobs() {
    let attempt = AtomicUsize::new(0);
    let Some(cloud) = Cloud::with_warehouse(move |request| {
        let busy = |status, reason| {
            Fault::Answer(status, json!({"error": {"message": reason, "errors": [{"reason": reason}]}}).to_string())
        };
        if request.method != "POST" || !request.uri.path().ends_with("/jobs") {
            return Fault::Pass;
        }
        match attempt.fetch_add(1, Ordering::SeqCst) {
            0 => busy(403, "rateLimitExceeded"),
            1 => busy(503, "backendError"),
            2 => Fault::CutAnswer,
            // The emulator accepts a duplicate job ID; BigQuery does not.
            3 => busy(409, "duplicate"),
            4 => busy(403, "accessDenied"),
            5 => busy(403, "quotaExceeded"),
            _ => Fault::Pass,
        }
    }) else {
        return;
    };
    cloud.warehouse(&["create-table", "--table", "animals", "--columns", COLUMNS]);
    let insert = ["execute", "bigquery-warehouse/w", "insert into animals (id) values (1)"];
    assert_eq!(cloud.yard.json(&insert)["rows_affected"], 1);
    let denied = cloud.yard.fails(1, &insert);
    assert!(denied.contains("permission denied for the job: accessDenied"), "{denied}");
    let quota = cloud.yard.fails(1, &insert);
    assert!(quota.contains("rate limit or quota exceeded for the job: quotaExceeded"), "{quota}");
    assert_eq!(query(&cloud, "select count(*) as n from animals"), json!([{"n": 1}]));
}

#[test]
fn interrupted_load_resumes_at_its_offset() {
    let cut = AtomicUsize::new(0);
    let Some(cloud) = Cloud::with_warehouse(move |request| {
        let chunk = request.method == "PUT"
            && request.headers.get("content-range").is_some_and(|range| !range.as_bytes().starts_with(b"bytes */"));
        // The second chunk is interrupted twice: before and after it reaches the server.
        match chunk.then(|| cut.fetch_add(1, Ordering::SeqCst)) {
            Some(1) => Fault::CutRequest,
            Some(2) => Fault::CutAnswer,
            _ => Fault::Pass,
        }
    }) else {
        return;
    };
    cloud.warehouse(&["create-table", "--table", "animals", "--columns", COLUMNS]);
    let mut text = "id,name,born\n".to_owned();
    let mut rows = 0;
    while text.len() < 40 << 20 {
        text.push_str(&format!("{rows},{},\n", "x".repeat(100)));
        rows += 1;
    }
    let csv = cloud.write("animals.csv", text.as_bytes());
    let load = ["load", "--table", "animals", "--format", "csv", "--in", csv.to_str().expect("a path")];
    assert_eq!(cloud.warehouse(&load)["rows"], rows);
    let sum = cloud.warehouse(&[
        "fetch-one",
        "--statement",
        "select count(distinct id) as n, max(length(name)) as l from animals",
    ]);
    assert_eq!(sum, json!({"n": rows, "l": 100}));
}

#[test]
fn check_reports_each_step() {
    let Some(cloud) = start() else { return };
    let missing = cloud.yard.run(&["check", "bigquery-warehouse/w"]);
    assert!(missing.code == 1 && missing.stdout.contains("passed   authenticate"), "{}", missing.stdout);
    assert!(missing.stdout.contains("dataset `zoo` was not found"), "{}", missing.stdout);
    cloud.warehouse(&["create-table", "--table", "animals", "--columns", COLUMNS]);
    assert!(cloud.yard.ok(&["check", "bigquery-warehouse/w"]).contains("dataset in US"));
    let refused = cloud.yard.fails(
        4,
        &[
            "create",
            "bigquery-warehouse/bad",
            "--set",
            "credentials=gcp-credentials/prod",
            "--set",
            "dataset=a.b",
            "--set",
            "project=a/b",
            "--set",
            "labels.Team=x",
        ],
    );
    for wrong in ["/dataset: is not a valid", "/project: is not a valid", "/labels/Team: is not a valid"] {
        assert!(refused.contains(wrong), "{refused}");
    }
}
