//! `sql-database` on a SQLite file, compared with the results of the `sqlite3` shell.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use blockyard_tests::environment::program;
use blockyard_tests::{TestYard, available, run_command};
use serde_json::{Value, json};

fn with_table() -> TestYard {
    let yard = TestYard::with_sqlite();
    yard.ok(&["execute", "sql-database/flights", "create table t (a integer, b text, c real, d blob, e)"]);
    yard.ok(&[
        "call",
        "sql-database/flights",
        "execute-many",
        "--args",
        r#"{"statement": "insert into t values (:a, :b, :c, :d, :e)", "parameters": [
            {"a": 9223372036854775807, "b": "one", "c": 1.5, "d": null, "e": 1},
            {"a": null, "b": "two 'quoted'\nline", "c": 2, "d": "x", "e": 2.5},
            {"a": -1, "b": "", "c": null, "d": null, "e": null}]}"#,
    ]);
    yard
}

#[test]
fn sqlite_shell_reads_written_values() {
    let yard = with_table();
    if !available("BLOCKYARD_TEST_SQLITE3") {
        return;
    }
    let mut witness = program("sqlite3");
    witness.arg(yard.path("flights.db")).arg("select a, b, c, typeof(c), quote(d), e from t order by rowid");
    let read = run_command(&mut witness, None);
    assert_eq!(
        read.stdout,
        "9223372036854775807|one|1.5|real|NULL|1\n|two 'quoted'\nline|2.0|real|'x'|2.5\n-1|||null|NULL|\n"
    );
}

#[test]
fn rows_are_printed_in_every_format() {
    let yard = with_table();
    let select = "select a, b, c, e from t order by rowid";
    let query = |format: &str| yard.ok(&["query", "sql-database/flights", select, "--format", format]);
    let rows: Value = serde_json::from_str(&query("json")).expect("JSON");
    let expected = json!([
        {"a": 9_223_372_036_854_775_807i64, "b": "one", "c": 1.5, "e": 1.0},
        {"a": null, "b": "two 'quoted'\nline", "c": 2.0, "e": 2.5},
        {"a": -1, "b": "", "c": null, "e": null},
    ]);
    assert_eq!(rows, expected);
    let lines: Vec<Value> = query("ndjson").lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(Value::from(lines), expected);
    assert_eq!(query("csv"), "a,b,c,e\n9223372036854775807,one,1.5,1.0\n,\"two 'quoted'\nline\",2.0,2.5\n-1,\"\",,\n");
    assert!(query("table").contains("two 'quoted'\\nline"));
    for (file, magic) in [("rows.parquet", b"PAR1".as_slice()), ("rows.arrow", b"\xff\xff\xff\xff")] {
        yard.ok(&["query", "sql-database/flights", select, "--out", file]);
        let bytes = std::fs::read(yard.path(file)).expect("the file");
        assert!(bytes.starts_with(magic), "{file}");
    }
}

#[test]
fn all_operations_of_the_database_interface() {
    let yard = with_table();
    let call = |operation: &str, more: &[&str]| -> Value {
        let arguments: Vec<&str> = ["call", "sql-database/flights", operation].iter().chain(more).copied().collect();
        serde_json::from_str(&yard.ok(&arguments)).expect("JSON")
    };
    let select = "select a from t where b = :b";
    assert_eq!(call("fetch-one", &["--statement", select, "--parameters", r#"{"b": "one"}"#]), json!({"a": i64::MAX}));
    assert_eq!(call("fetch-one", &["--statement", select, "--parameters", r#"{"b": "none"}"#]), json!(null));
    assert_eq!(
        call("fetch-many", &["--statement", "select a from t order by rowid", "--size", "2"]),
        json!([{"a": i64::MAX}, {"a": null}])
    );
    assert_eq!(call("fetch-all", &["--statement", "select count(*) as n from t"]), json!([{"n": 3}]));
    assert_eq!(call("execute", &["--statement", "delete from t where a < 0"])["rows_affected"], json!(1));
    let help = yard.ok(&["call", "sql-database/flights", "fetch-many", "--help"]);
    assert!(help.contains("--size") && help.contains("Maximum number of rows"), "{help}");
}

#[test]
fn execute_many_is_atomic() {
    let yard = with_table();
    yard.ok(&["execute", "sql-database/flights", "create table u (a integer primary key)"]);
    let refused = yard.fails(
        1,
        &[
            "call",
            "sql-database/flights",
            "execute-many",
            "--args",
            r#"{"statement": "insert into u values (:a)", "parameters": [{"a": 1}, {"a": 1}]}"#,
        ],
    );
    assert!(refused.contains("set 2 of the parameters: UNIQUE constraint failed"), "{refused}");
    assert!(
        yard.ok(&["query", "sql-database/flights", "select count(*) as n from u", "--format", "csv"])
            .ends_with("\n0\n")
    );
}

#[test]
fn one_hundred_thousand_rows_are_streamed() {
    let yard = TestYard::with_sqlite();
    yard.ok(&["execute", "sql-database/flights", "create table n as with recursive n(i) as (select 1 union all select i + 1 from n where i < 100000) select i, 'row ' || i as name from n"]);
    yard.ok(&["query", "sql-database/flights", "select * from n", "--out", "n.csv"]);
    let csv = std::fs::read_to_string(yard.path("n.csv")).expect("the file");
    assert_eq!(csv.lines().count(), 100_001);
    assert!(csv.ends_with("100000,row 100000\n"));
}

#[test]
fn query_that_fails_midway_leaves_no_file() {
    let yard = TestYard::with_sqlite();
    yard.ok(&["execute", "sql-database/flights", "create table n as with recursive n(i) as (select 1 union all select i + 1 from n where i < 50000) select i from n"]);
    // The smallest integer has no absolute value: an error in row 40,000.
    let failing = "select abs(case when i = 40000 then -9223372036854775808 else i end) as x from n";
    let refused = yard.fails(1, &["query", "sql-database/flights", failing, "--out", "n.csv"]);
    assert!(refused.contains("integer overflow"), "{refused}");
    assert!(!yard.path("n.csv").exists());
    let left: Vec<_> =
        std::fs::read_dir(yard.path(".")).expect("the folder").flatten().map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".blockyard-")), "{left:?}");
}

#[test]
fn closed_pipe_is_not_an_error() {
    let yard = TestYard::with_sqlite();
    yard.ok(&["execute", "sql-database/flights", "create table n as with recursive n(i) as (select 1 union all select i + 1 from n where i < 100000) select i from n"]);
    let mut command = yard.command(&["query", "sql-database/flights", "select * from n", "--format", "csv"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut first = String::new();
    let mut reader = BufReader::new(child.stdout.take().expect("a pipe"));
    reader.read_line(&mut first).expect("a line");
    drop(reader);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((first.as_str(), String::from_utf8_lossy(&output.stderr).as_ref()), ("i\n", ""));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn read_cannot_write_and_statements_cannot_open_other_files() {
    let yard = with_table();
    for statement in
        ["delete from t", "insert into t (a) values (1) returning a", "drop table t", "pragma user_version = 7"]
    {
        let refused = yard.fails(5, &["query", "sql-database/flights", statement]);
        assert!(refused.contains("only reads"), "{statement}: {refused}");
    }
    for statement in [
        "attach 'other.db' as o",
        "attach 'oth' || 'er.db' as o",
        "vacuum into 'other.db'",
        "pragma hard_heap_limit = 1000",
    ] {
        for command in ["execute", "query"] {
            let refused = yard.fails(5, &[command, "sql-database/flights", statement]);
            let reasons =
                ["more than the block's database file", "only reads", "the host controls the settings of connections"];
            assert!(reasons.iter().any(|reason| refused.contains(reason)), "{statement}: {refused}");
        }
    }
    yard.fails(5, &["execute", "sql-database/flights", "attach :file as o", "--param", "file=other.db"]);
    assert!(!yard.path("other.db").exists());
    yard.ok(&["execute", "sql-database/flights", "vacuum"]);
}

#[test]
fn check_lists_its_steps() {
    let yard = with_table();
    let check = yard.json(&["check", "sql-database/flights"]);
    let steps: Vec<&str> =
        check["steps"].as_array().expect("steps").iter().filter_map(|step| step["name"].as_str()).collect();
    assert_eq!(steps, ["connect", "query"]);
    assert_eq!(check["passed"], json!(true));
    std::fs::remove_file(yard.path("flights.db")).expect("gone");
    let result = yard.run(&["check", "sql-database/flights"]);
    assert_eq!(result.code, 1);
    assert!(result.stdout.starts_with("failed   connect"), "{}", result.stdout);
}

#[test]
fn multiple_statements_and_transaction_control_are_rejected() {
    let yard = with_table();
    for statement in ["select 1; select 2", "delete from t; delete from t;", "drop table t; /* and */ drop table t"] {
        let refused = yard.fails(1, &["execute", "sql-database/flights", statement]);
        assert!(refused.contains("more than one statement"), "{statement}: {refused}");
    }
    for statement in ["begin", "  -- why\n commit", "savepoint s"] {
        let refused = yard.fails(1, &["execute", "sql-database/flights", statement]);
        assert!(refused.contains("the host begins and ends transactions"), "{statement}: {refused}");
    }
    assert!(
        yard.ok(&["query", "sql-database/flights", "select count(*) as n from t; -- that is all", "--format", "csv"])
            .ends_with("\n3\n")
    );
}

#[test]
fn bundles_cannot_open_the_files_of_the_yard() {
    let yard = with_table();
    std::os::unix::fs::symlink(yard.path("yard.db"), yard.path("link.db")).expect("a link");
    std::fs::hard_link(yard.path("yard.db"), yard.path("hard.db")).expect("a link");
    for (number, name) in ["yard.db", "link.db", "hard.db", "yard.key"].iter().enumerate() {
        let address = format!("sql-database/own{number}");
        let database = format!("database={}", yard.path(name).display());
        yard.ok(&["create", &address, "--set", "dialect=sqlite", "--set", &database]);
        let refused = yard.fails(5, &["execute", &address, "drop table audit"]);
        assert!(refused.contains("belongs to Blockyard itself"), "{name}: {refused}");
    }
    assert!(yard.json(&["audit"])["audit"].as_array().is_some_and(|lines| lines.len() > 4));
}

#[test]
fn lossy_numbers_remain_text() {
    let yard = with_table();
    for number in ["12345678901234567890.12", "1.10", "1e3", "0.1234567890123456789"] {
        let parameter = format!("n={number}");
        let read =
            yard.ok(&["query", "sql-database/flights", "select :n as n", "--param", &parameter, "--format", "csv"]);
        assert_eq!(read, format!("n\n{number}\n"));
    }
    assert_eq!(
        yard.ok(&["query", "sql-database/flights", "select :n + 1 as n", "--param", "n=41", "--format", "csv"]),
        "n\n42\n"
    );
}

#[test]
fn output_replaces_files_but_not_pipes() {
    let yard = with_table();
    std::fs::write(yard.path("old.csv"), "old").expect("a file");
    std::os::unix::fs::symlink(yard.path("old.csv"), yard.path("link.csv")).expect("a link");
    yard.ok(&["query", "sql-database/flights", "select 1 as a", "--out", "link.csv"]);
    assert!(yard.path("link.csv").is_symlink());
    assert_eq!(std::fs::read_to_string(yard.path("old.csv")).expect("the file"), "a\n1\n");
    yard.ok(&["query", "sql-database/flights", "select 1 as a", "--out", "/dev/null", "--format", "csv"]);
    assert!(!std::path::Path::new("/dev/null").is_file());
    let refused = yard.fails(2, &["query", "sql-database/flights", "select 1 as a", "--out", "rows.xlsx"]);
    assert!(refused.contains("cannot determine the row format from the extension of `rows.xlsx`"), "{refused}");
}
