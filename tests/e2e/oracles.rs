//! A caller who may use a block but not see its secrets: right and wrong guesses must get the same
//! response, and regular input that contains a short secret is permitted.

use blockyard_tests::web::{Answer, Web};
use blockyard_tests::{TestYard, bundle};
use serde_json::{Value, json};

use crate::postgres::{password, server};

#[test]
fn database_errors_do_not_confirm_guesses() {
    let Some(server) = server("guesses") else { return };
    let yard = &server.yard;
    yard.ok(&["execute", "sql-database/pg", "create table guessed (a text unique)"]);
    let wrong = password().replace('a', "b").replace('e', "f");
    assert_ne!(wrong, password());
    let cast = "select cast(cast(:x as text) as integer) as n";
    let twice = "insert into guessed values (:x), (:x)";
    let long = "x".repeat(300_000);
    let mut answers = Vec::new();
    for guess in [password(), wrong.clone()] {
        let mut answered = Vec::new();
        let long = format!("/*{long}*/ select '{guess}'::integer as n");
        for (operation, statement) in [("fetch-all", cast), ("execute", twice), ("fetch-all", &long)] {
            let parameters = if statement.contains(":x") { json!({"x": guess}) } else { json!({}) };
            let arguments = json!({"statement": statement, "parameters": parameters}).to_string();
            let output = yard.run_with_input(&["call", "sql-database/pg", operation, "--args", "-"], &arguments);
            assert_eq!(output.code, 1, "{operation}: {}", output.stdout);
            assert!(!output.stderr.contains("holds a secret"), "{operation}: {}", output.stderr);
            answered.push(output.stderr.replace(&guess, "GUESS"));
        }
        let csv = format!("a\n{guess}\n{guess}\n");
        std::fs::write(yard.path("guesses.csv"), csv).expect("a file");
        let load = ["load", "--table", "guessed", "--mode", "append", "--format", "csv", "--in", "guesses.csv"];
        let output = yard.run(&[&["call", "sql-database/pg"][..], &load].concat());
        assert_eq!(output.code, 1, "{}", output.stdout);
        answered.push(output.stderr.replace(&guess, "GUESS"));
        answers.push(answered);
    }
    assert_eq!(answers[0], answers[1], "a right and a wrong guess must get the same response");
}

#[test]
fn short_secret_within_a_word_is_not_a_guess() {
    let web = Web::start(|request| match request.target.as_str() {
        "/data/latest.csv" => Answer::text("a,b\n1,2\n"),
        "/data/echo-latest" => Answer::text(request.target.clone()),
        _ => Answer::status(404),
    });
    let yard = TestYard::new();
    yard.ok(&["install", &bundle("http"), "--yes"]);
    yard.ok(&["grant", "http", &format!("http {}", web.url())]);
    let base = format!("base_url={}/data/", web.url());
    let created = yard.run_with_input(&["create", "http-endpoint/t", "--set", &base, "--secret", "token=-"], "test");
    assert_eq!(created.code, 0, "{}", created.stderr);
    let get = |path: &str| yard.run(&["call", "http-endpoint/t", "get", "--path", path, "--out", "-"]);
    let output = get("latest.csv");
    assert_eq!((output.code, output.stdout.as_str()), (0, "a,b\n1,2\n"), "{}", output.stderr);
    // A path segment that equals the secret is treated as a guess, and the request is not sent.
    let output = get("test");
    assert!(output.code == 7 && output.stderr.contains("arguments contain the value of a secret"), "{}", output.stderr);
    assert!(!web.requests().iter().any(|request| request.target == "/data/test"));
}

#[test]
fn echo_of_an_argument_outside_of_the_body_ends_the_call() {
    let elsewhere = "http://127.0.0.1:1/latest";
    let web = Web::start(move |request| match request.target.split('/').next_back() {
        Some("etag-latest" | "etag") => Answer::text("a").header("etag", "\"latest\""),
        Some("file-latest" | "file") => Answer::text("a").header("content-disposition", "attachment; filename=latest"),
        Some("type-latest" | "type") => Answer::text("a").header("content-type", "text/latest"),
        Some("moved-latest" | "moved") => Answer::redirect(302, elsewhere),
        _ => Answer::status(404),
    });
    let yard = TestYard::new();
    yard.ok(&["install", &bundle("http"), "--yes"]);
    yard.ok(&["grant", "http", &format!("http {}", web.url())]);
    let base = format!("base_url={}/data/", web.url());
    let made = yard.run_with_input(&["create", "http-endpoint/t", "--set", &base, "--secret", "token=-"], "test");
    assert_eq!(made.code, 0, "{}", made.stderr);
    let get = |path: &str| yard.run(&["call", "http-endpoint/t", "get", "--path", path, "--out", "-"]);
    for (path, code) in [("etag", 0), ("file", 0), ("type", 0), ("moved", 1)] {
        let ran = get(path);
        assert_eq!(ran.code, code, "{path}: the arguments do not contain the secret: {}", ran.stderr);
        let ran = get(&format!("{path}-latest"));
        let reason = "a response holds the value of a secret of the block that the arguments contain";
        assert!(ran.code == 7 && ran.stderr.contains(reason), "{path}: {}", ran.stderr);
    }
}

#[test]
fn failure_after_the_result_has_an_audit_line() {
    let yard = TestYard::with_sqlite();
    yard.ok(&["execute", "sql-database/flights", "create table numbers (n integer)"]);
    let fill = "insert into numbers with recursive c(n) as (select 1 union all select n + 1 from c where n < 50000) \
                select n from c";
    yard.ok(&["execute", "sql-database/flights", fill]);
    // The last row overflows.
    let statement = "select case when n < 50000 then n else abs(-9223372036854775807 - 1) end as v from numbers";
    let output = yard.run(&["query", "sql-database/flights", statement, "--format", "ndjson", "--out", "out"]);
    assert_eq!(output.code, 1, "{}", output.stderr);
    let audit = yard.json(&["audit"])["audit"].clone();
    let lines: Vec<&Value> = audit.as_array().expect("lines").iter().collect();
    let failed = lines.iter().find(|line| line["action"] == "call-failed").unwrap_or_else(|| panic!("{audit}"));
    assert_eq!(failed["detail"]["operation"], "query", "{failed}");
    assert_eq!(failed["detail"]["outcome"], "remote", "{failed}");
}

#[test]
fn source_outside_of_a_secret_field_is_rejected() {
    let yard = TestYard::new();
    yard.ok(&["install", &bundle("zoo"), "--yes"]);
    let config = json!({"animal": "lion", "notes": {"a": {"$source": "env:HOME"}}}).to_string();
    let output = yard.run_with_input(&["create", "zoo-cage/lion", "--json-config", "-"], &config);
    assert_eq!(output.code, 4, "{}", output.stderr);
    assert!(output.stderr.contains("/notes/a: `$source` is permitted in a secret field only"), "{}", output.stderr);
}

#[test]
fn secret_is_added_to_a_list() {
    let yard = TestYard::new();
    yard.ok(&["install", &bundle("zoo"), "--yes"]);
    let created = yard.run_with_input(
        &["create", "zoo-cage/lion", "--json-config", "-"],
        &json!({"animal": "lion", "spares": ["first"]}).to_string(),
    );
    assert_eq!(created.code, 0, "{}", created.stderr);
    let added = yard.run_with_input(&["set", "zoo-cage/lion", "--secret", "spares.1=-"], "second");
    assert_eq!(added.code, 0, "{}", added.stderr);
    assert_eq!(yard.ok(&["reveal", "zoo-cage/lion", "spares.1", "--yes"]).trim(), "second");
    let out_of_range = yard.run_with_input(&["set", "zoo-cage/lion", "--secret", "spares.7=-"], "eighth");
    assert_ne!(out_of_range.code, 0);
}
