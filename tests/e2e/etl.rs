//! The example `examples/etl`: loads flights from the web into the warehouse through named blocks,
//! once from the shell and once from Rust.

use blockyard_tests::http_proxy::Fault;
use blockyard_tests::web::{Answer, Web};
use blockyard_tests::{TestYard, binary, bundle, required, root, run_command};
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::postgres;

const COLUMNS: &str = r#"[
    {"name": "day", "type": "DATE"}, {"name": "carrier", "type": "STRING"}, {"name": "flight", "type": "INT64"},
    {"name": "aircraft", "type": "STRING"}, {"name": "origin", "type": "STRING"},
    {"name": "destination", "type": "STRING"}, {"name": "scheduled", "type": "TIMESTAMP"},
    {"name": "departed", "type": "TIMESTAMP"}, {"name": "scheduled_local", "type": "DATETIME"},
    {"name": "departure_delay", "type": "INT64"}, {"name": "arrival_delay", "type": "INT64"},
    {"name": "cancelled", "type": "BOOL"}, {"name": "diverted", "type": "BOOL"}
]"#;

/// Runs a program as a user of this yard.
fn run(yard: &TestYard, program: &str, arguments: &[&str]) -> String {
    let mut command = yard.program(program);
    command.args(arguments);
    let own = std::path::Path::new(&binary()).parent().expect("a folder").to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(own).chain(std::env::split_paths(&path))).expect("a path");
    let result = run_command(command.env("PATH", path), None);
    assert_eq!(result.code, 0, "{program}: {}{}", result.stdout, result.stderr);
    result.stdout
}

#[test]
fn flights_are_loaded_from_the_web_into_the_warehouse() {
    let Some(cloud) = Cloud::with_warehouse(|_| Fault::Pass) else { return };
    let Some(server) = postgres::server("etl") else { return };
    let flights = std::fs::read(root().join("examples/data/flights.csv")).expect("the flights");
    let web = Web::start(move |request| match (request.method.as_str(), request.target.as_str()) {
        ("GET", "/data/2013/2/flights.csv") => Answer::text(flights.clone()).header("content-type", "text/csv"),
        ("POST", "/hooks/team") => Answer::text("ok"),
        _ => Answer::status(404),
    });
    let yard = &cloud.yard;
    for name in ["sql", "http"] {
        yard.ok(&["install", &bundle(name), "--yes"]);
    }
    yard.ok(&["grant", "http", &format!("http {}", web.url())]);
    assert_eq!(postgres::create(yard, "staging", server.database(), &postgres::password()), 0);
    let credentials = "credentials=gcp-credentials/prod";
    for (address, fields) in [
        ("http-endpoint/flights", vec![format!("base_url={}/data", web.url())]),
        ("webhook/team", vec![format!("url={}/hooks/team", web.url())]),
        ("gcs-bucket/lake", vec![credentials.to_owned(), format!("bucket={}", cloud.bucket), "prefix=lake".to_owned()]),
        ("bigquery-warehouse/flights", vec![credentials.to_owned(), "dataset=flights".to_owned()]),
    ] {
        let fields: Vec<&str> = fields.iter().flat_map(|field| ["--set", field.as_str()]).collect();
        yard.ok(&[&["create", address][..], &fields].concat());
    }
    yard.ok(&["call", "bigquery-warehouse/flights", "create-table", "--table", "departures", "--columns", COLUMNS]);

    let script = root().join("examples/etl/flights.sh");
    run(yard, &script.display().to_string(), &["2013", "2", "UA"]);
    let program = required("BLOCKYARD_TEST_ETL");
    let output = run(yard, &program, &["2013", "2", "DL"]);
    assert!(output.starts_with("4276 flights fetched, "), "{output}");

    let answer = yard.json(&[
        "query",
        "bigquery-warehouse/flights",
        "select carrier, count(*) as flights, sum(cast(cancelled as int64)) as cancelled, min(scheduled) as first, \
         min(scheduled_local) as first_local, sum(arrival_delay) as late from departures group by carrier order by carrier",
    ]);
    // Expected values, counted in the file.
    let text = std::fs::read_to_string(root().join("examples/data/flights.csv")).expect("the flights");
    let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split(',').collect()).collect();
    for (row, carrier) in answer.as_array().expect("rows").iter().zip(["DL", "UA"]) {
        let own: Vec<&Vec<&str>> = rows.iter().filter(|row| row[9] == carrier).collect();
        let late: i64 = own.iter().filter_map(|row| row[8].parse::<i64>().ok()).sum();
        let cancelled = own.iter().filter(|row| row[3].is_empty()).count();
        assert_eq!(
            (&row["carrier"], &row["flights"], &row["cancelled"], &row["late"]),
            (&json!(carrier), &json!(own.len()), &json!(cancelled), &json!(late)),
            "{row}"
        );
        // 05:00 in New York is 10:00 UTC in winter.
        let (first, local) = (row["first"].as_str().expect("a time"), row["first_local"].as_str().expect("a time"));
        assert!(first.starts_with("2013-02-06T1") && local.starts_with("2013-02-06T0"), "{row}");
    }
    let ids = cloud.witness(&["query", "select count(*) as n from flights.departures where departed is null"], b"");
    let missing: Value = serde_json::from_slice(&ids).expect("JSON");
    let without_value = rows.iter().filter(|row| (row[9] == "UA" || row[9] == "DL") && row[5].is_empty()).count();
    assert_eq!(missing["n"], without_value);
    // Google's client for Cloud Storage reads a Parquet file.
    let parquet = cloud.witness(&["read", "lake/2013/2/UA.parquet"], b"");
    assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"));
    let messages: Vec<Value> = web
        .requests()
        .iter()
        .filter(|request| request.method == "POST")
        .map(|request| serde_json::from_slice(&request.body).expect("JSON"))
        .collect();
    assert_eq!(messages, [json!({"text": "flights 2013-2 UA\nloaded"})]);
}

#[test]
fn script_and_program_contain_names_and_parameters_only() {
    for file in ["examples/etl/flights.sh", "examples/etl/src/main.rs"] {
        let text = std::fs::read_to_string(root().join(file)).expect("the example");
        for word in ["http://", "https://", "gs://", "postgres", "127.0.0.1", "password", "project", "googleapis"] {
            assert!(!text.to_lowercase().contains(word), "{file} contains `{word}`");
        }
        assert!(text.lines().count() < 80, "{file} is too long");
    }
}
