//! `bigquery-warehouse` against a server of the harness that follows the REST reference of BigQuery
//! (version 2), for behavior that bqemulator lacks: bytes processed, jobs that take time,
//! destination tables, pages, scripts, and errors of single rows.

use std::sync::{Arc, Mutex};

use blockyard_tests::web::{Answer, RecordedRequest, Web};
use serde_json::{Value, json};

use crate::cloud::Cloud;

/// Number of bytes that every query processes.
const BYTES: u64 = 5_000_000;

/// State of the server.
#[derive(Default)]
struct Known {
    /// Requests of the jobs, in order of creation.
    jobs: Vec<Value>,
    /// Number of status requests.
    looks: usize,
    /// Whether cancellation of a job was requested.
    cancelled: bool,
}

fn error(status: u16, reason: &str, message: &str) -> Answer {
    let body =
        json!({"error": {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}});
    Answer { status, ..Answer::json(&body) }
}

fn job(request: &Value, state: &str, more: Value) -> Value {
    let mut job = json!({
        "kind": "bigquery#job", "jobReference": request["jobReference"], "configuration": request["configuration"],
        "status": {"state": state}, "statistics": {},
    });
    for (part, value) in more.as_object().into_iter().flatten() {
        job[part] = value.clone();
    }
    job
}

fn statement(request: &Value) -> &str {
    request["configuration"]["query"]["query"].as_str().unwrap_or_default()
}

/// Handles `jobs.insert`.
fn insert(request: &Value, known: &mut Known) -> Answer {
    let text = statement(request).to_lowercase();
    let kind = match text.split_whitespace().next() {
        Some("begin") => "SCRIPT",
        Some("select") => "SELECT",
        Some(word) => {
            return error(400, "invalidQuery", &format!("Syntax error: Unexpected identifier \"{word}\" at [1:1]"));
        }
        None => "",
    };
    let statistics = json!({"totalBytesProcessed": BYTES.to_string(), "query": {"statementType": kind, "totalBytesProcessed": BYTES.to_string()}});
    if request["configuration"]["dryRun"] == true {
        assert!(request["jobReference"]["jobId"].is_null(), "a dry run has no job ID");
        return Answer::json(&job(request, "DONE", json!({"statistics": statistics})));
    }
    let id = &request["jobReference"]["jobId"];
    if known.jobs.iter().any(|job| job["jobReference"]["jobId"] == *id) {
        return error(409, "duplicate", &format!("Already Exists: Job demo:EU.{id}"));
    }
    let first = known.jobs.is_empty();
    known.jobs.push(request.clone());
    let source = &request["configuration"]["load"]["sourceUris"][0];
    if (text.contains("moody") || source.as_str().is_some_and(|uri| uri.contains("moody"))) && first {
        let wrong = json!({"reason": "backendError", "message": "Error encountered during execution. Retrying may solve the problem."});
        return Answer::json(&job(
            request,
            "DONE",
            json!({"statistics": statistics, "status": {"state": "DONE", "errorResult": wrong, "errors": [wrong]}}),
        ));
    }
    Answer::json(&job(request, "RUNNING", json!({"statistics": statistics})))
}

/// Handles `jobs.getQueryResults`: incomplete at first, then two pages.
fn results(target: &str, known: &mut Known) -> Answer {
    assert!(target.contains("formatOptions.useInt64Timestamp=true") && target.contains("location=EU"), "{target}");
    known.looks += 1;
    if known.looks == 1 {
        return Answer::json(&json!({"jobComplete": false}));
    }
    if statement(known.jobs.last().expect("a job")).contains("nocolumn") {
        return error(400, "invalidQuery", "Unrecognized name: nocolumn at [1:8]");
    }
    let schema = json!({"fields": [
        {"name": "n", "type": "BIGNUMERIC"}, {"name": "g", "type": "GEOGRAPHY"}, {"name": "r", "type": "RANGE", "rangeElementType": {"type": "DATE"}},
    ]});
    let row = |n: &str| json!({"f": [{"v": n}, {"v": "POINT(1 2)"}, {"v": "[2020-01-01, UNBOUNDED)"}]});
    let mut page = json!({"jobComplete": true, "schema": schema, "totalRows": "2"});
    if target.contains("pageToken=second") {
        page["rows"] = json!([row("0.00000000000000000000000000000000000001")]);
    } else {
        page["rows"] = json!([row("12345678901234567890123456789012345678")]);
        page["pageToken"] = "second".into();
    }
    Answer::json(&page)
}

/// Handles `tabledata.insertAll`: values of column `a` must be integers.
fn insert_all(request: &Value) -> Answer {
    let rows = request["rows"].as_array().expect("rows");
    let names: std::collections::BTreeSet<&str> =
        rows.iter().map(|row| row["insertId"].as_str().expect("a name")).collect();
    assert_eq!(names.len(), rows.len());
    let is_invalid = |row: &Value| !row["json"]["a"].is_i64();
    let any = rows.iter().any(is_invalid);
    let errors: Vec<Value> = rows
        .iter()
        .enumerate()
        .filter_map(|(index, row)| match (is_invalid(row), any && request["skipInvalidRows"] != true) {
            (true, _) => Some(json!({"index": index, "errors": [{"reason": "invalid", "location": "a", "message": format!("Cannot convert value to integer (bad value): {}", row["json"]["a"])}]})),
            (false, true) => Some(json!({"index": index, "errors": [{"reason": "stopped", "location": "", "message": ""}]})),
            (false, false) => None,
        })
        .collect();
    Answer::json(&if errors.is_empty() { json!({}) } else { json!({ "insertErrors": errors }) })
}

fn answer(request: &RecordedRequest, known: &mut Known) -> Answer {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    if path == "/upload/bigquery/v2/projects/demo/jobs" {
        known.jobs.push(body);
        return Answer::default().header("location", &format!("http://{}/session", request.header("host")));
    }
    if path == "/session" {
        return Answer::json(&job(known.jobs.last().expect("a job"), "RUNNING", json!({})));
    }
    let Some(rest) = path.strip_prefix("/bigquery/v2/projects/demo") else { return error(404, "notFound", path) };
    match (request.method.as_str(), rest) {
        ("POST", "/jobs") => insert(&body, known),
        ("GET", "/jobs") => {
            assert!(query.contains("parentJobId=blockyard_"), "{query}");
            let child = |rows: &str| json!({"statistics": {"query": {"numDmlAffectedRows": rows}}});
            Answer::json(&json!({"jobs": [child("3"), {"statistics": {}}, child("4")]}))
        }
        ("POST", cancel) if cancel.ends_with("/cancel") => {
            known.cancelled = true;
            let submitted = known.jobs.last().expect("a job");
            Answer::json(&json!({"kind": "bigquery#jobCancelResponse", "job": job(submitted, "RUNNING", json!({}))}))
        }
        ("GET", one) if one.starts_with("/jobs/") => {
            known.looks += 1;
            let submitted = known.jobs.last().expect("a job");
            let query =
                json!({"statementType": if statement(submitted).starts_with("BEGIN") { "SCRIPT" } else { "SELECT" }});
            let state = if known.looks < 2 && !known.cancelled { "RUNNING" } else { "DONE" };
            let mut found = job(submitted, state, json!({"statistics": {"query": query}}));
            if known.cancelled {
                let stopped =
                    json!({"reason": "stopped", "message": "Job execution was cancelled: User requested cancellation"});
                found["status"]["errorResult"] = stopped;
            }
            if statement(submitted).contains("nocolumn") {
                let wrong = json!({"reason": "invalidQuery", "message": "Unrecognized name: nocolumn at [1:8]", "location": "query"});
                found["status"] = json!({"state": "DONE", "errorResult": wrong, "errors": [wrong]});
            }
            Answer::json(&found)
        }
        ("GET", results_of) if results_of.starts_with("/queries/") => results(&request.target, known),
        ("POST", all) if all.ends_with("/tables/t/insertAll") => insert_all(&body),
        ("GET", "/datasets/d") => Answer::json(&json!({"datasetReference": {"projectId": "demo", "datasetId": "d"}})),
        ("POST", "/datasets/d/tables") => Answer::json(&body),
        _ => error(404, "notFound", &format!("Not found: {path}")),
    }
}

/// Starts the server and creates `bigquery-warehouse/w` on it, with the location EU and a label.
fn start() -> Option<(Cloud, Web, Arc<Mutex<Known>>)> {
    let cloud = Cloud::start()?;
    let (tokens, known) = (cloud.http_proxy.tokens(), Arc::new(Mutex::new(Known::default())));
    let shared = known.clone();
    let server = Web::start(move |request| {
        let token = request.header("authorization").trim_start_matches("Bearer ").to_owned();
        if !tokens.lock().expect("no panic").contains(&token) {
            return error(401, "authError", "Invalid Credentials");
        }
        answer(request, &mut shared.lock().expect("one at a time"))
    });
    cloud.yard.ok(&["grant", "gcp", &format!("http {}", server.url())]);
    cloud.credentials("warehouse", &cloud.key, &server.url());
    cloud.yard.ok(&[
        "create",
        "bigquery-warehouse/w",
        "--set",
        "credentials=gcp-credentials/warehouse",
        "--set",
        "dataset=d",
        "--set",
        "location=EU",
        "--set",
        "labels.team=zoo",
    ]);
    Some((cloud, server, known))
}

#[test]
fn a_query_waits_for_its_job_and_reads_all_pages() {
    let Some((cloud, _server, known)) = start() else { return };
    let rows = cloud.yard.json(&["query", "bigquery-warehouse/w", "select n, g, r from t"]);
    assert_eq!(
        rows,
        json!([
            {"n": "12345678901234567890123456789012345678.00000000000000000000000000000000000000", "g": "POINT(1 2)", "r": "[2020-01-01, UNBOUNDED)"},
            {"n": "0.00000000000000000000000000000000000001", "g": "POINT(1 2)", "r": "[2020-01-01, UNBOUNDED)"},
        ])
    );
    let known = known.lock().expect("no panic");
    let submitted = &known.jobs[0];
    assert_eq!(known.jobs.len(), 1, "the dry run created a job");
    assert!(submitted["jobReference"]["jobId"].as_str().is_some_and(|id| id.starts_with("blockyard_")), "{submitted}");
    assert_eq!(submitted["jobReference"]["location"], "EU");
    assert_eq!(submitted["configuration"]["labels"], json!({"team": "zoo"}));
    assert_eq!(submitted["configuration"]["query"]["defaultDataset"], json!({"projectId": "demo", "datasetId": "d"}));
}

#[test]
fn query_over_the_byte_limit_does_not_run() {
    let Some((cloud, _server, known)) = start() else { return };
    let dry = cloud.warehouse(&["dry-run", "--statement", "select 1"]);
    assert_eq!((&dry["bytes_processed"], &dry["statement_type"]), (&json!(BYTES), &json!("SELECT")));
    let query = ["call", "bigquery-warehouse/w", "query", "--statement", "select 1", "--out", "-", "--maximum_bytes"];
    let refused = cloud.yard.fails(1, &[&query[..], &["4999999"]].concat());
    assert!(refused.contains("the query would read 5000000 bytes, more than the limit of 4999999"), "{refused}");
    cloud.yard.ok(&["set", "bigquery-warehouse/w", "--set", "maximum_bytes=1000"]);
    let refused = cloud.yard.fails(1, &[&query[..], &["6000000"]].concat());
    assert!(refused.contains("more than the limit of 1000"), "the lower limit applies: {refused}");
    assert!(known.lock().expect("no panic").jobs.is_empty(), "nothing ran");
    cloud.yard.ok(&["set", "bigquery-warehouse/w", "--set", "maximum_bytes=6000000"]);
    cloud.yard.json(&["query", "bigquery-warehouse/w", "select 1"]);
    let known = known.lock().expect("no panic");
    // The limit is also sent to the server, because a table can grow after the dry run.
    assert_eq!(known.jobs[0]["configuration"]["query"]["maximumBytesBilled"], "6000000");
}

#[test]
fn job_is_restarted_after_a_transient_failure() {
    let Some((cloud, _server, known)) = start() else { return };
    assert_eq!(cloud.yard.json(&["query", "bigquery-warehouse/w", "select 1 from moody"])[0]["g"], "POINT(1 2)");
    let known = known.lock().expect("no panic");
    let ids: Vec<&Value> = known.jobs.iter().map(|job| &job["jobReference"]["jobId"]).collect();
    assert!(ids.len() == 2 && ids[0] != ids[1], "{ids:?}");
}

#[test]
fn failed_script_is_not_restarted() {
    let Some((cloud, _server, known)) = start() else { return };
    let script = "begin insert t values (1); insert moody values (2); end";
    let failed = cloud.yard.fails(1, &["call", "bigquery-warehouse/w", "execute", "--statement", script]);
    assert!(failed.contains("Error encountered during execution"), "{failed}");
    assert_eq!(known.lock().expect("no panic").jobs.len(), 1);
}

#[test]
fn repeated_call_with_a_job_id_starts_no_second_job() {
    let Some((cloud, _server, known)) = start() else { return };
    let call = |statement| ["query-into", "--statement", statement, "--table", "t", "--job_id", "nightly"];
    for _ in 0..2 {
        assert_eq!(cloud.warehouse(&call("select 1"))["job_id"], "nightly");
    }
    assert_eq!(known.lock().expect("no panic").jobs.len(), 1);
    let other = [&["call", "bigquery-warehouse/w"][..], &call("select 2")].concat();
    let refused = cloud.yard.run(&other).stderr;
    assert!(refused.contains("job `nightly` exists, but has another statement"), "{refused}");
    assert_eq!(known.lock().expect("no panic").jobs.len(), 1);
}

#[test]
fn query_errors_have_a_position() {
    let Some((cloud, _server, _)) = start() else { return };
    for statement in ["select nocolumn", "selec 1"] {
        let refused = cloud.yard.run(&["query", "bigquery-warehouse/w", statement, "--json"]);
        let error: Value = serde_json::from_str(&refused.stderr).expect("JSON");
        assert_eq!(error["error"]["details"]["details"]["position"]["line"], 1, "{error}");
    }
}

#[test]
fn query_result_is_saved_as_a_table() {
    let Some((cloud, _server, known)) = start() else { return };
    let done = cloud.warehouse(&["query-into", "--statement", "select 1", "--table", "kept", "--write", "truncate"]);
    assert_eq!(done["state"], "DONE");
    let known = known.lock().expect("no panic");
    let query = &known.jobs[0]["configuration"]["query"];
    assert_eq!(query["destinationTable"], json!({"projectId": "demo", "datasetId": "d", "tableId": "kept"}));
    assert_eq!(
        (&query["writeDisposition"], &query["createDisposition"]),
        (&json!("WRITE_TRUNCATE"), &json!("CREATE_IF_NEEDED"))
    );
}

#[test]
fn parameter_sets_run_in_one_transaction() {
    let Some((cloud, _server, known)) = start() else { return };
    let many = json!({"statement": "update t set a = :a where b = :b", "parameters": [{"a": 1, "b": "2013-01-01"}, {"a": 2, "b": null}], "types": {"b": "DATE"}});
    assert_eq!(cloud.warehouse(&["execute-many", "--args", &many.to_string()])["rows_affected"], 7);
    let query = known.lock().expect("no panic").jobs[0]["configuration"]["query"].clone();
    assert_eq!(
        query["query"],
        "BEGIN TRANSACTION;\nupdate t set a = @a_0 where b = @b_0;\nupdate t set a = @a_1 where b = @b_1;\nCOMMIT TRANSACTION;"
    );
    let names: Vec<&str> = query["queryParameters"]
        .as_array()
        .expect("parameters")
        .iter()
        .map(|p| p["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(names, ["a_0", "b_0", "a_1", "b_1"]);
    let wrong = json!({"statement": "update t set a = :a", "parameters": [{"a": 1}, {}]});
    let refused = cloud.yard.fails(1, &["call", "bigquery-warehouse/w", "execute-many", "--args", &wrong.to_string()]);
    assert!(
        refused.contains("set 2 of the parameters: the statement has parameters without a value: `:a`"),
        "{refused}"
    );
    let much = json!({"statement": "update t set a = :a", "parameters": vec![json!({"a": 1}); 10_001]});
    let much = cloud.write("much.json", much.to_string().as_bytes());
    let refused = cloud
        .yard
        .fails(1, &["call", "bigquery-warehouse/w", "execute-many", "--args", &format!("@{}", much.display())]);
    assert!(refused.contains("10001 parameter values exceed the BigQuery limit of 10000"), "{refused}");
}

#[test]
fn rejected_rows_are_reported_individually() {
    let Some((cloud, _server, _)) = start() else { return };
    let rows: Vec<Value> =
        (0..1_000).map(|id| json!({"a": if [7, 8, 600].contains(&id) { json!("x") } else { json!(id) }})).collect();
    let arguments = |more: Value| {
        let mut arguments = json!({"table": "t", "rows": rows});
        arguments.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let file = cloud.write("rows.json", arguments.to_string().as_bytes());
        format!("@{}", file.display())
    };
    let refused =
        cloud.yard.run(&["call", "bigquery-warehouse/w", "insert-rows", "--args", &arguments(json!({})), "--json"]);
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    let error: Value = serde_json::from_str(&refused.stderr).expect(&refused.stderr);
    let message = error["error"]["message"].as_str().expect("a message");
    assert!(
        message.contains(
            "2 of 500 rows do not match table `d.t`, and nothing was inserted; row 8, column `a`: Cannot convert"
        ),
        "{message}"
    );
    assert_eq!(error["error"]["details"]["details"]["rows"].as_array().map(Vec::len), Some(2), "{error}");
    let done = cloud.warehouse(&["insert-rows", "--args", &arguments(json!({"skip_invalid": true}))]);
    assert_eq!(done["inserted"], 997);
    let refused: Vec<&Value> = done["refused"].as_array().expect("rows").iter().map(|row| &row["row"]).collect();
    assert_eq!(refused, [8, 9, 601]);
}

/// Adds the job `j`, as if another client had created it.
fn has_job(known: &Mutex<Known>) {
    let reference = json!({"projectId": "demo", "jobId": "j", "location": "EU"});
    known.lock().expect("no panic").jobs.push(json!({ "jobReference": reference }));
}

#[test]
fn job_can_be_awaited_and_cancelled() {
    let Some((cloud, _server, known)) = start() else { return };
    has_job(&known);
    let status = || cloud.warehouse(&["job-status", "--job_id", "j"])["state"].clone();
    assert_eq!(status(), "RUNNING");
    known.lock().expect("no panic").looks = 0;
    let late =
        cloud.yard.fails(1, &["call", "bigquery-warehouse/w", "job-wait", "--job_id", "j", "--timeout_seconds", "0"]);
    assert!(late.contains("job `j` did not finish within 0 seconds and is still running"), "{late}");
    known.lock().expect("no panic").looks = 0;
    assert_eq!(cloud.warehouse(&["job-wait", "--job_id", "j"])["state"], "DONE");
    assert_eq!(cloud.warehouse(&["job-cancel", "--job_id", "j"])["state"], "RUNNING");
}

#[test]
fn running_job_is_cancelled() {
    let Some((cloud, _server, known)) = start() else { return };
    has_job(&known);
    assert_eq!(cloud.warehouse(&["job-status", "--job_id", "j"])["state"], "RUNNING");
    cloud.warehouse(&["job-cancel", "--job_id", "j"]);
    let ended = cloud.yard.fails(1, &["call", "bigquery-warehouse/w", "job-wait", "--job_id", "j"]);
    assert!(ended.contains("User requested cancellation"), "{ended}");
}

#[test]
fn load_jobs_set_source_format_and_location() {
    let Some((cloud, _server, known)) = start() else { return };
    let csv = cloud.write("t.csv", b"a\n1\n");
    let csv = csv.to_str().expect("a path");
    let columns = r#"[{"name": "a", "type": "INT64"}]"#;
    let loaded = cloud.warehouse(&["load", "--table", "t", "--format", "csv", "--columns", columns, "--in", csv]);
    assert_eq!(loaded["state"], "DONE");
    for (file, format) in
        [("t.avro", "AVRO"), ("t.orc", "ORC"), ("part-*.parquet", "PARQUET"), ("t.ndjson", "NEWLINE_DELIMITED_JSON")]
    {
        let uris = json!([format!("gs://zoo/{file}")]).to_string();
        cloud.warehouse(&["load-uri", "--table", "t", "--uris", &uris, "--autodetect", "false"]);
        let job = known.lock().expect("no panic").jobs.last().expect("a job").clone();
        let load = &job["configuration"]["load"];
        assert_eq!(
            (&load["sourceFormat"], &load["sourceUris"]),
            (&json!(format), &json!([format!("gs://zoo/{file}")]))
        );
    }
    let known = known.lock().expect("no panic");
    assert_eq!(known.jobs.len(), 5);
    for job in &known.jobs {
        assert_eq!(
            (&job["jobReference"]["location"], &job["configuration"]["labels"]),
            (&json!("EU"), &json!({"team": "zoo"}))
        );
    }
    let load = &known.jobs[0]["configuration"]["load"];
    assert_eq!(load["schema"], json!({"fields": [{"name": "a", "type": "INT64"}]}), "{load}");
}

#[test]
fn load_is_restarted_after_a_transient_failure() {
    let Some((cloud, _server, known)) = start() else { return };
    let load = ["load-uri", "--table", "t", "--uris", r#"["gs://zoo/moody.avro"]"#];
    assert_eq!(cloud.warehouse(&load)["state"], "DONE");
    let known = known.lock().expect("no panic");
    let ids: Vec<&Value> = known.jobs.iter().map(|job| &job["jobReference"]["jobId"]).collect();
    assert!(ids.len() == 2 && ids[0] != ids[1], "{ids:?}");
}

#[test]
fn table_has_an_expiration_time() {
    let Some((cloud, _server, _)) = start() else { return };
    let columns = r#"[{"name": "a", "type": "INT64"}]"#;
    let create = ["create-table", "--table", "t", "--columns", columns, "--expires_after", "3600"];
    let expires = cloud.warehouse(&create)["expires"].as_u64().expect("the expiry time");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    assert!(u128::from(expires).abs_diff(now + 3_600_000) < 600_000, "{expires} is an hour after {now}");
}
