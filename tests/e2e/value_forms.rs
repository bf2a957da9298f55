//! Forms of values at the border of each driver: parameters, results, and the settings of a server that
//! change values. Each value is kept exactly, or the error names it.

use blockyard_tests::TestYard;
use serde_json::{Value, json};

use crate::sql_operations::each;
use crate::{mysql, postgres};

fn all(yard: &TestYard, block: &str, statement: &str, parameters: &str) -> Value {
    yard.json(&["call", block, "fetch-all", "--statement", statement, "--parameters", parameters])
}

fn refused(yard: &TestYard, block: &str, statement: &str, parameters: &str, expected: &str) {
    let message = yard.fails(1, &["call", block, "fetch-all", "--statement", statement, "--parameters", parameters]);
    assert!(message.contains(expected), "{block} {statement} {parameters}: {message}");
}

#[test]
fn list_elements_preserve_all_digits() {
    let Some(server) = postgres::server("forms_lists") else { return };
    let (yard, block) = (&server.yard, "sql-database/pg");
    for (kind, list, expected) in [
        ("float8", "[9007199254740993]", "`double precision` can hold with all digits"),
        ("float8", "[0.5, 0.1234567890123456789]", "`double precision` can hold with all digits"),
        ("float8", "[\"9007199254740993\"]", "`double precision` can hold with all digits"),
        ("real", "[16777217]", "`real` can hold with all digits"),
        ("real", "[[0.5], [0.123456789123]]", "`real` can hold with all digits"),
        ("time", "[\"11:00:00.1234567\"]", "a time of day with at most six digits"),
        ("date", "[20130208]", "an element of the array is not a date"),
        ("bytea", "[12]", "an element of the array is not base64"),
    ] {
        refused(yard, block, &format!("select :a::{kind}[] as a"), &format!("{{\"a\": {list}}}"), expected);
    }
    let cases = [
        ("float8", "[9007199254740992, 0.1, null]", "[9007199254740992, 0.1, null]"),
        ("real", "[0.1, 1.5]", "[0.1, 1.5]"),
        ("date", "[\"2013-02-08\"]", "[\"2013-02-08\"]"),
        ("time", "[\"11:00\"]", "[\"11:00:00\"]"),
    ];
    for (kind, list, expected) in cases {
        let read = all(yard, block, &format!("select :a::{kind}[] as a"), &format!("{{\"a\": {list}}}"));
        let expected: Value = serde_json::from_str(expected).expect("JSON");
        let numbers = |value: &Value| value.as_array().expect("a list").iter().map(Value::as_f64).collect::<Vec<_>>();
        if matches!(kind, "float8" | "real") {
            assert_eq!(numbers(&read[0]["a"]), numbers(&expected), "{kind}");
        } else {
            assert_eq!(read, json!([{"a": expected}]), "{kind}");
        }
    }
    // The way that the error names.
    let cast = "select cast(cast(:a as numeric[]) as double precision[]) as a";
    assert_eq!(all(yard, block, cast, "{\"a\": [0.5]}"), json!([{"a": [0.5]}]));
}

#[test]
fn bytes_in_lists_are_preserved_or_rejected() {
    each("forms_bytes", |dialect, yard, block| {
        // The file of a SQLite database is made by the first statement that writes.
        yard.ok(&["execute", block, "create table made (id integer)"]);
        let list = "{\"a\": [{\"$bytes\": \"3q0=\"}]}";
        if dialect == "postgres" {
            assert_eq!(all(yard, block, "select :a::bytea[] as a", list), json!([{"a": ["3q0="]}]));
            yard.ok(&["execute", block, "create table kept (l bytea[])"]);
            let sets = format!(
                "{{\"statement\": \"insert into kept values (:a)\", \"parameters\": [{}]}}",
                [list; 6].join(", ")
            );
            yard.ok(&["call", block, "execute-many", "--args", &sets]);
            let query = "select count(*) as n from kept where l = array['\\xdead'::bytea]";
            assert_eq!(all(yard, block, query, "[]"), json!([{"n": 6}]));
            refused(yard, block, "select :a::text[] as a", list, "has the member `$bytes`");
            refused(yard, block, "select :a::jsonb as a", list, "a list cannot contain bytes here");
            let wrong = "{\"a\": [{\"$bytes\": \"*\"}]}";
            refused(yard, block, "select :a::bytea[] as a", wrong, "an object with only the member `$bytes`");
            return;
        }
        let length = if dialect == "sqlite" { "json_array_length" } else { "json_length" };
        refused(yard, block, &format!("select {length}(:a) as a"), list, "a list cannot contain bytes here");
        let sets = format!("{{\"statement\": \"select {length}(:a)\", \"parameters\": [{{\"a\": \"[]\"}}, {list}]}}");
        let message = yard.fails(1, &["call", block, "execute-many", "--args", &sets]);
        assert!(message.contains("set 2 of the parameters: parameter 1: "), "{dialect}: {message}");
        // As a string it is JSON.
        let text = "{\"a\": \"[{\\\"$bytes\\\": \\\"3q0=\\\"}]\"}";
        assert_eq!(all(yard, block, "select :a as a", text), json!([{"a": "[{\"$bytes\": \"3q0=\"}]"}]), "{dialect}");
    });
}

/// Runs a script that fails, and gives its error.
fn failing(yard: &TestYard, block: &str, script: &str) -> String {
    yard.fails(1, &["call", block, "script", "--script", script])
}

#[test]
fn error_names_changes_committed_by_mysql() {
    let Some(server) = mysql::server("forms_commits") else { return };
    let (yard, block) = (&server.yard, "sql-database/my");
    let ids_from = |least: i32| {
        let rows = all(yard, block, &format!("select a from t where a > {least} order by a"), "[]");
        rows.as_array().expect("rows").iter().map(|row| row["a"].as_i64().expect("a number")).collect::<Vec<_>>()
    };
    yard.ok(&["execute", block, "create table t (a int primary key)"]);
    yard.ok(&["execute", block, "create procedure p() begin commit; end"]);
    let failed = "begin insert into t values (31); commit; signal sqlstate '45000' set message_text = 'no'; end";
    yard.ok(&["execute", block, &format!("create procedure q() {failed}")]);

    // What follows the implicit commit is one transaction.
    let script =
        "insert into t values (1); create table other (a int); insert into t values (2); insert into t values (2)";
    let message = failing(yard, block, script);
    assert!(message.contains("statement 4 of 4: Duplicate entry"), "{message}");
    assert!(
        message.contains("the server committed the transaction at statement 2, so the changes up to there stay"),
        "{message}"
    );
    assert_eq!(ids_from(0), [1]);

    let message = failing(yard, block, "insert into t values (11); call p(); insert into t values (11)");
    assert!(message.contains("the server committed the transaction at statement 2"), "{message}");
    assert_eq!(ids_from(10), [11]);

    let script = "insert into t values (21); lock tables t write; insert into t values (22); insert into t values (22)";
    let message = failing(yard, block, script);
    assert!(message.contains("the server committed the transaction at statement 3"), "{message}");
    assert_eq!(ids_from(20), [21, 22]);

    let message = failing(yard, block, "call q()");
    assert!(message.contains("the server committed the transaction at this statement"), "{message}");
    assert_eq!(ids_from(30), [31]);

    let sets = r#"{"statement": "call r(:a)", "parameters": [{"a": 41}, {"a": 41}]}"#;
    yard.ok(&["execute", block, "create procedure r(x int) begin insert into t values (x); commit; end"]);
    let message = yard.fails(1, &["call", block, "execute-many", "--args", sets]);
    assert!(message.contains("set 2 of the parameters: Duplicate entry"), "{message}");
    assert!(message.contains("the server committed the transaction at set 1"), "{message}");
    assert_eq!(ids_from(40), [41]);

    // Also if the host refuses a later statement.
    let message = failing(yard, block, "insert into t values (61); call p(); insert into t /*! values */ values (62)");
    assert!(
        message.contains("would execute") && message.contains("committed the transaction at statement 2"),
        "{message}"
    );
    assert_eq!(ids_from(60), [61]);

    // Without such a statement, nothing stays and nothing is said about it.
    let message = failing(yard, block, "insert into t values (51); insert into t values (51)");
    assert!(message.contains("statement 2 of 2: Duplicate entry") && !message.contains("stay"), "{message}");
    assert_eq!(ids_from(50), [61]);
}

#[test]
fn error_names_changes_that_mysql_cannot_roll_back() {
    let Some(server) = mysql::server("forms_engines") else { return };
    let (yard, block) = (&server.yard, "sql-database/my");
    yard.ok(&["execute", block, "create table t (a int primary key) engine = myisam"]);
    let message = failing(yard, block, "insert into t values (1); insert into t values (1)");
    assert!(message.contains("changes that the server cannot roll back stay"), "{message}");
    let sets = r#"{"statement": "insert into t values (:a)", "parameters": [{"a": 2}, {"a": 2}]}"#;
    let message = yard.fails(1, &["call", block, "execute-many", "--args", sets]);
    assert!(message.contains("set 2 of the parameters: ") && message.contains("cannot roll back stay"), "{message}");
    assert_eq!(all(yard, block, "select count(*) as n from t", "[]"), json!([{"n": 2}]));
}

#[test]
fn mysql_strict_mode_covers_all_engines() {
    let Some(server) = mysql::server("forms_strict") else { return };
    let (yard, block) = (&server.yard, "sql-database/my");
    let mode = all(yard, block, "select @@sql_mode as mode", "[]");
    assert!(mode[0]["mode"].as_str().is_some_and(|mode| mode.contains("STRICT_ALL_TABLES")), "{mode}");
    // In the second row of such a table the mode of the server itself makes 0 of -1.
    yard.ok(&["execute", block, "create table t (a int unsigned) engine = myisam"]);
    let message = yard.fails(1, &["execute", block, "insert into t values (30), (-1)"]);
    assert!(message.contains("Out of range value for column 'a' at row 2"), "{message}");
    assert_eq!(all(yard, block, "select count(*) as n from t where a = 0", "[]"), json!([{"n": 0}]));
}

#[test]
fn load_preserves_zeros_and_nulls_in_mysql() {
    let Some(server) = mysql::server("forms_zeros") else { return };
    let (yard, block) = (&server.yard, "sql-database/my");
    yard.ok(&["execute", block, "create table t (id int auto_increment primary key, n int, at timestamp not null)"]);
    let load = |text: &str| {
        let file = yard.path("rows.csv");
        std::fs::write(&file, text).expect("a file");
        let path = file.display().to_string();
        yard.run(&["call", block, "load", "--table", "t", "--mode", "append", "--format", "csv", "--in", &path])
    };
    let loaded = load("id,n,at\n0,,2013-02-08T11:00:00Z\n-1,5,2013-02-08T11:00:00Z\n");
    assert_eq!(loaded.code, 0, "{}", loaded.stderr);
    let query = "select id, n from t order by id";
    assert_eq!(all(yard, block, query, "[]"), json!([{"id": -1, "n": 5}, {"id": 0, "n": null}]));
    let refused = load("id,n,at\n7,1,2013-02-08T11:00:00Z\n8,,\n");
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert!(refused.stderr.contains("row 2: column `at`"), "{}", refused.stderr);
    assert_eq!(all(yard, block, "select count(*) as n from t", "[]"), json!([{"n": 2}]));
}

#[test]
fn multiranges_are_loaded_and_unloaded() {
    let Some(server) = postgres::server("forms_multiranges") else { return };
    let (yard, block) = (&server.yard, "sql-database/pg");
    yard.ok(&["execute", block, "create table m (id integer, m int4multirange, l int4multirange[], d numeric)"]);
    let row =
        "(1, '{[1,3),[5,7)}', array['{[1,3)}'::int4multirange, null], 1.50), (2, null, null, null), (3, '{}', '{}', 0)";
    yard.ok(&["execute", block, &format!("insert into m values {row}")]);
    let query = "select concat_ws(' ', id, m, l, d) as t from m order by id";
    let before = all(yard, block, query, "[]");
    for format in ["csv", "ndjson", "parquet"] {
        let out = yard.path(&format!("m.{format}")).display().to_string();
        let statement = "select * from m order by id";
        yard.ok(&["call", block, "unload", "--statement", statement, "--format", format, "--out", &out]);
        yard.ok(&["execute", block, "truncate m"]);
        yard.ok(&["call", block, "load", "--table", "m", "--mode", "append", "--format", format, "--in", &out]);
        assert_eq!(all(yard, block, query, "[]"), before, "{format}");
    }
    // The row is named, with and without `COPY`.
    let file = yard.path("wrong.csv");
    std::fs::write(&file, "id,m\n4,\"{[1,3)}\"\n5,\"{[1,x)}\"\n").expect("a file");
    let path = file.display().to_string();
    let load =
        || yard.run(&["call", block, "load", "--table", "m", "--mode", "append", "--format", "csv", "--in", &path]);
    for attempt in ["copied", "inserted"] {
        if attempt == "inserted" {
            yard.ok(&["execute", block, "create rule noted as on insert to m do also notify noted"]);
        }
        let refused = load();
        assert_eq!(refused.code, 1, "{attempt}: {}", refused.stdout);
        assert!(refused.stderr.contains("row 2"), "{attempt}: {}", refused.stderr);
    }
    assert_eq!(all(yard, block, query, "[]"), before);
}

#[test]
fn postgres_settings_do_not_affect_values() {
    let Some(server) = postgres::server("forms_settings") else { return };
    let (yard, block) = (&server.yard, "sql-database/pg");
    let settings = [
        ("array_nulls", "off"),
        ("bytea_output", "escape"),
        ("intervalstyle", "iso_8601"),
        ("standard_conforming_strings", "off"),
        ("xmlbinary", "hex"),
        ("xmloption", "document"),
    ];
    for (name, value) in settings {
        yard.ok(&["execute", block, &format!("alter database {} set {name} = {value}", server.database())]);
    }
    // Each command is a new connection.
    let read = all(yard, block, "select :a::text[] as a, :b::bytea[] as b", r#"{"a": ["a", null], "b": ["3q0="]}"#);
    assert_eq!(read, json!([{"a": ["a", null], "b": ["3q0="]}]));
    let read = all(yard, block, "select interval '1 day 02:00:00' as i, length('\\') as n", "[]");
    assert_eq!(read, json!([{"i": "1 day 02:00:00", "n": 1}]));
    for (name, value) in settings {
        let read = all(yard, block, &format!("select current_setting('{name}') as s"), "[]");
        assert_ne!(read, json!([{"s": value}]), "{name}");
    }
}

#[test]
fn integers_of_any_size_are_json_numbers() {
    let Some(server) = mysql::server("forms_integers") else { return };
    let (yard, block) = (&server.yard, "sql-database/my");
    yard.ok(&["execute", block, "create table t (id integer primary key, a bigint unsigned, b bit(64))"]);
    yard.ok(&["execute", block, "insert into t values (1, 18446744073709551615, b'1'), (2, 5, 18446744073709551615)"]);
    let query = "select * from t order by id";
    let expected = json!([{"id": 1, "a": u64::MAX, "b": 1}, {"id": 2, "a": 5, "b": u64::MAX}]);
    assert_eq!(all(yard, block, query, "[]"), expected);
    assert_eq!(yard.json(&["call", block, "fetch-one", "--statement", query]), expected[0]);
    let out = yard.path("t.ndjson").display().to_string();
    for (format, lines) in [
        ("ndjson", "{\"id\":1,\"a\":18446744073709551615,\"b\":1}\n{\"id\":2,\"a\":5,\"b\":18446744073709551615}\n"),
        ("csv", "id,a,b\n1,18446744073709551615,1\n2,5,18446744073709551615\n"),
    ] {
        yard.ok(&["call", block, "unload", "--statement", query, "--format", format, "--out", &out]);
        assert_eq!(std::fs::read_to_string(&out).expect("the file"), lines, "{format}");
    }
    // The number is read back, also as a parameter.
    let ndjson = yard.path("one.ndjson");
    std::fs::write(&ndjson, "{\"id\":3,\"a\":18446744073709551615}\n").expect("a file");
    let path = ndjson.display().to_string();
    yard.ok(&["call", block, "load", "--table", "t", "--mode", "append", "--format", "ndjson", "--in", &path]);
    let query = "select id from t where a = :a order by id";
    assert_eq!(all(yard, block, query, "{\"a\": 18446744073709551615}"), json!([{"id": 1}, {"id": 3}]));
}
