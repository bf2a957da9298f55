//! Columns whose types round, truncate, wrap or rename values: `load` keeps a value exactly, or names its row in an
//! error.

use blockyard_tests::environment::program;
use blockyard_tests::{CommandOutput, TestYard, optional};
use serde_json::json;

use crate::sql_operations::each;

fn load(yard: &TestYard, block: &str, table: &str, format: &str, text: &str) -> CommandOutput {
    let file = yard.path(&format!("{table}.{format}"));
    std::fs::write(&file, text).expect("a file");
    let path = file.display().to_string();
    yard.run(&["call", block, "load", "--table", table, "--format", format, "--in", &path, "--json"])
}

fn loaded(yard: &TestYard, block: &str, table: &str, format: &str, text: &str) {
    let output = load(yard, block, table, format, text);
    assert_eq!(output.code, 0, "{table} {text}: {}", output.stderr);
}

fn refused(yard: &TestYard, block: &str, table: &str, format: &str, text: &str, expected: &str) {
    let output = load(yard, block, table, format, text);
    assert_eq!(output.code, 1, "{table} {text}: {}", output.stdout);
    assert!(output.stderr.contains(expected), "{table} {text}: `{expected}` is missing in {}", output.stderr);
}

/// A CSV file with one row and one column `v`.
fn csv(value: &str) -> String {
    format!("v\n\"{}\"\n", value.replace('"', "\"\""))
}

/// The values of the column `t`.
fn texts(yard: &TestYard, block: &str, statement: &str) -> Vec<String> {
    let rows = yard.json(&["call", block, "fetch-all", "--statement", statement]);
    let values = rows.as_array().expect("rows").iter().map(|row| &row["t"]);
    values.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).collect()
}

#[test]
fn postgres_types_preserve_values_or_reject_them() {
    each("type_values", |dialect, yard, block| {
        if dialect != "postgres" {
            return;
        }
        let mut script = [
            "create domain price as numeric(5,2)",
            "create domain low_price as price check (value < 100)",
            "create domain moment as timestamp(3)",
            "create domain code as char(5)",
            "create domain prices as numeric(5,2)[]",
            "create type offer as (price numeric(5,2), note text)",
            "create type offer_of_domain as (price price)",
        ]
        .join(";\n");
        // A type, a value that it keeps, the text of it, and values that it would change.
        let types: &[(&str, &str, &str, &[&str])] = &[
            ("price", "1.50", "1.50", &["1.005"]),
            ("low_price", "1.5", "1.50", &["1.005"]),
            ("moment", "2013-02-08T11:00:00.5", "2013-02-08 11:00:00.5", &["2013-02-08T11:00:00.1234"]),
            ("code", "ab", "ab", &["ab "]),
            ("char(5)", "ab", "ab", &["ab ", "abcdef"]),
            ("numeric(5,2)[]", "[1.5,null]", "{1.50,NULL}", &["[1.005]", "[[1],[1.005]]", "{1.005}"]),
            ("price[]", "[[1],[2]]", "{{1.00},{2.00}}", &["[1.005]", "[0:0]={1.005}"]),
            ("prices", "{1,2}", "{1.00,2.00}", &["[1.005]", "{1.005}"]),
            ("double precision[]", "[0.1]", "{0.1}", &["[9007199254740993]", "{0.1234567890123456789}"]),
            ("real[]", "[0.1]", "{0.1}", &["[16777217]", "[0.123456789123]", "{16777217}"]),
            (
                "timestamp(0)[]",
                "[\"2013-02-08T11:00:00\"]",
                "{\"2013-02-08 11:00:00\"}",
                &["[\"2013-02-08T11:00:00.7\"]", "{\"2013-02-08 11:00:00.7\"}"],
            ),
            ("varchar(3)[]", "[\"abc\"]", "{abc}", &["[\"abc  \"]", "{\"abc  \"}"]),
            ("bytea[]", "[\"3q0=\"]", "{\"\\\\xdead\"}", &["{3q0=}", "[{\"$bytes\": \"3q0=\"}]"]),
            ("jsonb[]", "[{\"a\": 1},\"x\",1]", "{\"{\\\"a\\\": 1}\",\"\\\"x\\\"\",1}", &["[\"x\""]),
            ("interval", "1 year 2 mons 3 days 04:05:06.5", "1 year 2 mons 3 days 04:05:06.5", &["0.0000001 s"]),
            ("interval(0)", "00:00:02", "00:00:02", &["00:00:01.5"]),
            ("interval year to month", "1 year 2 mons", "1 year 2 mons", &["1 year 2 mons 3 days"]),
            ("interval minute", "00:01:00", "00:01:00", &["00:01:59"]),
            ("timetz", "12:00:00.5+00", "12:00:00.5+00", &["12:00:00.1234567+00", "now", "12:00:00"]),
            ("timetz(0)", "12:00:00+00", "12:00:00+00", &["12:00:00.7+00"]),
            ("money", "1.50", "$1.50", &["1.005", "1,5"]),
            ("xid", "7", "7", &["4294967296", "-1"]),
            ("tsrange", "[2013-02-08 11:00:00,)", "[\"2013-02-08 11:00:00\",)", &["[2013-02-08 11:00:00+05,)"]),
            ("daterange", "[2013-02-08,)", "[2013-02-08,)", &["[\"2013-02-08 11:00:00\",)"]),
            ("offer", "(1.50,\"a b\")", "(1.50,\"a b\")", &["(1.005,)"]),
            ("offer_of_domain", "()", "()", &["(1.5)"]),
            ("point", "(0.1,2)", "(0.1,2)", &["(9007199254740993,2)"]),
        ];
        for (at, (kind, ..)) in types.iter().enumerate() {
            script.push_str(&format!(";\ncreate table t{at} (v {kind})"));
        }
        yard.ok(&["call", block, "script", "--script", &script]);
        for (at, (kind, value, text, wrong)) in types.iter().enumerate() {
            let table = format!("t{at}");
            for wrong in *wrong {
                refused(yard, block, &table, "csv", &csv(wrong), "row 1: column `v`: ");
            }
            let line = format!("{}\n", json!({ "v": wrong[0] }));
            refused(yard, block, &table, "ndjson", &line, "row 1: column `v`: ");
            loaded(yard, block, &table, "csv", &csv(value));
            loaded(yard, block, &table, "ndjson", &format!("{}\n", json!({ "v": value })));
            let read = texts(yard, block, &format!("select cast(v as text) as t from {table}"));
            assert_eq!(read, [*text, *text], "{kind}");
        }
        // Lists of JSON keep the digits of their numbers.
        yard.ok(&["execute", block, "create table digits (v numeric[])"]);
        loaded(yard, block, "digits", "ndjson", "{\"v\":[12345678901234567890.10,null,\"1.5\"]}\n");
        let read = texts(yard, block, "select cast(v as text) as t from digits");
        assert_eq!(read, ["{12345678901234567890.10,NULL,1.5}"]);
    });
}

#[test]
fn mysql_enum_and_set_members_match_exactly() {
    each("type_members", |dialect, yard, block| {
        if dialect != "mysql" {
            return;
        }
        yard.ok(&["execute", block, "create table letters (e enum('a','it''s','10'), s set('x','y'))"]);
        for (column, wrong) in [("e", "1"), ("e", "3"), ("e", "A"), ("e", "a "), ("s", "3"), ("s", "x,x"), ("s", "X")] {
            let expected = format!("row 1: column `{column}`: ");
            refused(yard, block, "letters", "csv", &format!("{column}\n\"{wrong}\"\n"), &expected);
            refused(yard, block, "letters", "ndjson", &format!("{}\n", json!({ column: wrong })), &expected);
        }
        refused(yard, block, "letters", "ndjson", "{\"e\":1}\n", "`1` is not a member of the column's type");
        loaded(yard, block, "letters", "csv", "e,s\n10,\"x,y\"\nit's,\"\"\na,\n");
        loaded(yard, block, "letters", "ndjson", "{\"e\":10,\"s\":\"y\"}\n");
        let query = "select concat(e, ' ', coalesce(s, 'null')) as t from letters order by 1";
        assert_eq!(texts(yard, block, query), ["10 x,y", "10 y", "a null", "it's "]);

        yard.ok(&["execute", block, "create table moments (id integer, at timestamp not null, other timestamp null)"]);
        let expected = "row 2: column `at`: the column is `not null`";
        refused(yard, block, "moments", "csv", "id,at\n1,2013-02-08T11:00:00Z\n2,\n", expected);
        refused(yard, block, "moments", "ndjson", "{\"id\":1,\"at\":\"2013-02-08T11:00:00Z\"}\n{\"id\":2}\n", expected);
        loaded(yard, block, "moments", "csv", "at,other\n2013-02-08T11:00:00Z,\n");
        assert_eq!(texts(yard, block, "select count(*) as t from moments where other is null"), ["1"]);
    });
}

#[test]
fn json_member_names_are_not_dropped() {
    each("type_json_names", |dialect, yard, block| {
        if dialect != "postgres" {
            return; // SQLite and MariaDB store the text.
        }
        yard.ok(&["execute", block, "create domain document as jsonb"]);
        yard.ok(&["execute", block, "create table documents (b jsonb, d document, t json)"]);
        for column in ["b", "d"] {
            let expected = format!("row 1: column `{column}`: an object has the duplicate name `a`");
            for value in ["{\"a\":1,\"a\":2}", "[{\"x\":{\"a\":1,\"a\":1}}]"] {
                let file = csv(value).replacen('v', column, 1);
                refused(yard, block, "documents", "csv", &file, &expected);
            }
            let file = csv("{\"a\":-0}").replacen('v', column, 1);
            refused(yard, block, "documents", "csv", &file, "the column stores `-0` as `0`");
        }
        loaded(yard, block, "documents", "csv", &csv("{\"a\":1,\"a\":-0}").replacen('v', "t", 1));
        loaded(yard, block, "documents", "csv", &csv("{\"a\":{\"a\":-1}}").replacen('v', "b", 1));
        let query = "select coalesce(cast(b as text), cast(t as text)) as t from documents order by b is null";
        assert_eq!(texts(yard, block, query), ["{\"a\": {\"a\": -1}}", "{\"a\":1,\"a\":-0}"]);
    });
}

/// Writes a file with pyarrow; `None` if it is not installed. `script` has the modules `pa` and `pq`, and `path`.
fn with_pyarrow(yard: &TestYard, name: &str, script: &str) -> Option<String> {
    let packages = optional("BLOCKYARD_TEST_PYARROW")?;
    let path = yard.path(name).display().to_string();
    let python = format!("import pyarrow as pa, pyarrow.parquet as pq\npath = {path:?}\n{script}");
    let output = program("python3").args(["-c", &python]).env("PYTHONPATH", &packages).output();
    let output = output.expect("python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(path)
}

/// Loads a Parquet file with one column `v`, which `values` creates.
fn load_parquet(yard: &TestYard, block: &str, table: &str, values: &str) -> Option<CommandOutput> {
    let script = format!("pq.write_table(pa.table({{'v': {values}}}), path)");
    let path = with_pyarrow(yard, &format!("{table}.parquet"), &script)?;
    Some(yard.run(&["call", block, "load", "--table", table, "--format", "parquet", "--in", &path, "--json"]))
}

#[test]
fn times_outside_of_a_day_are_rejected() {
    let yard = TestYard::with_sqlite();
    let block = "sql-database/flights";
    for values in [
        "pa.array([0, -1], pa.time64('us'))",
        "pa.array([0, 86_400_001_000], pa.time64('us'))",
        "pa.array([[], [86_400_000_001]], pa.list_(pa.time64('us')))",
    ] {
        let Some(output) = load_parquet(&yard, block, "wrong", values) else { return };
        assert!(
            output.code == 1 && output.stderr.contains("row 2: column `v`: the time is "),
            "{values}: {}",
            output.stderr
        );
    }
    let values = "pa.array([0, 86_399_500_000], pa.time64('us'))";
    let Some(output) = load_parquet(&yard, block, "times", values) else { return };
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_eq!(texts(&yard, block, "select v as t from times order by v"), ["00:00:00", "23:59:59.500000"]);
}

#[test]
fn sqlite_does_not_convert_strings_to_numbers() {
    let yard = TestYard::with_sqlite();
    let block = "sql-database/flights";
    let statement = "create table codes (s string, d date, j json, a any, n numeric, t text)";
    yard.ok(&["execute", block, statement]);
    for value in ["00501", "1e5", " +5", "1.10"] {
        for column in ["s", "d", "j", "a"] {
            let file = csv(value).replacen('v', column, 1);
            refused(&yard, block, "codes", "csv", &file, &format!("row 1: column `{column}`: SQLite converts"));
        }
        for column in ["s", "d", "j", "a", "n"] {
            let line = format!("{}\n", json!({ column: value }));
            refused(&yard, block, "codes", "ndjson", &line, &format!("row 1: column `{column}`: SQLite converts"));
        }
        loaded(&yard, block, "codes", "ndjson", &format!("{}\n", json!({ "t": value })));
    }
    assert_eq!(texts(&yard, block, "select t from codes order by rowid"), ["00501", "1e5", " +5", "1.10"]);
    // Texts that stay the same, and numbers.
    yard.ok(&["execute", block, "delete from codes"]);
    loaded(&yard, block, "codes", "csv", "s,d,n\nabc,2013-02-08,00501\n");
    loaded(&yard, block, "codes", "ndjson", "{\"s\":501,\"d\":\"501\",\"n\":1e5}\n");
    let query = "select s || ' ' || d || ' ' || n as t from codes order by rowid";
    assert_eq!(texts(&yard, block, query), ["abc 2013-02-08 501", "501 501 100000"]);
}

#[test]
fn scale_can_exceed_the_precision() {
    each("type_scales", |dialect, yard, block| {
        if dialect != "postgres" {
            return;
        }
        yard.ok(&["execute", block, "create table small (v numeric(2,5))"]);
        for wrong in ["0.001", "0.000123", "1"] {
            refused(yard, block, "small", "csv", &csv(wrong), "row 1: column `v`: ");
        }
        loaded(yard, block, "small", "csv", "v\n0.00012\n-0.00099\n0\n");
        let query = "select cast(v as text) as t from small order by v";
        assert_eq!(texts(yard, block, query), ["-0.00099", "0.00000", "0.00012"]);
    });
}

#[test]
fn mysql_types_round_trip() {
    each("type_round", |dialect, yard, block| {
        if dialect != "mysql" {
            return;
        }
        yard.ok(&[
            "execute",
            block,
            "create table kinds (b bit(64), f float(7,2), d double(10,2), p point, g geometry)",
        ]);
        yard.ok(&[
            "execute",
            block,
            "insert into kinds values (18446744073709551615, 1.05, 99999999.99, point(1, 2), \
             st_geomfromtext('LINESTRING(0 0,1 1)')), (5, 99999.99, 0.1, null, null)",
        ]);
        let query = "select concat_ws(' ', hex(b), f, d, st_astext(p), st_astext(g)) as t from kinds order by b";
        let before = texts(yard, block, query);
        let row = "FFFFFFFFFFFFFFFF 1.05 99999999.99 POINT(1 2) LINESTRING(0 0,1 1)";
        assert_eq!(before, ["5 99999.99 0.10", row]);
        for format in ["csv", "ndjson", "arrow", "parquet"] {
            let out = yard.path(&format!("kinds.{format}")).display().to_string();
            let statement = "select * from kinds";
            yard.ok(&["call", block, "unload", "--statement", statement, "--format", format, "--out", &out]);
            yard.ok(&["execute", block, "delete from kinds"]);
            yard.ok(&["call", block, "load", "--table", "kinds", "--format", format, "--in", &out]);
            assert_eq!(texts(yard, block, query), before, "{format}");
        }
        refused(yard, block, "kinds", "csv", "f\n1.055\n", "row 1: column `f`: ");
        yard.ok(&["execute", block, "create table wide (f float(10,2))"]);
        refused(yard, block, "wide", "csv", "f\n16777217.25\n", "row 1: column `f`: ");
    });
}

#[test]
fn file_decimals_preserve_their_scale() {
    each("type_decimals", |dialect, yard, block| {
        if dialect != "mysql" {
            return;
        }
        let digits = "12345678901234567890123456789012345678";
        let values = format!("pa.array([__import__('decimal').Decimal('{digits}')], pa.decimal128(38, 0))");
        let Some(output) = load_parquet(yard, block, "whole", &values) else { return };
        assert_eq!(output.code, 0, "{}", output.stderr);
        assert_eq!(texts(yard, block, "select cast(v as char) as t from whole"), [digits]);
        let values = "pa.array([__import__('decimal').Decimal('1.10')], pa.decimal128(5, 2))";
        let Some(output) = load_parquet(yard, block, "places", values) else { return };
        assert_eq!(output.code, 0, "{}", output.stderr);
        assert_eq!(texts(yard, block, "select cast(v as char) as t from places"), ["1.10"]);
    });
}

#[test]
fn timestamps_beyond_the_range_of_mysql_have_a_type() {
    each("type_ranges", |dialect, yard, block| {
        if dialect != "mysql" {
            return;
        }
        for moment in ["1960-01-01T00:00:00Z", "2150-01-01T00:00:00Z"] {
            let file = format!("v\n{moment}\n");
            refused(yard, block, "moments", "csv", &file, "row 1: column `v`: ");
            refused(yard, block, "moments", "csv", &file, "`datetime(6)` keeps it");
        }
        yard.ok(&["execute", block, "create table moments (v datetime(6))"]);
        loaded(yard, block, "moments", "csv", "v\n1960-01-01T00:00:00Z\n2150-01-01T00:00:00Z\n");
        let query = "select cast(v as char) as t from moments order by v";
        assert_eq!(texts(yard, block, query), ["1960-01-01 00:00:00.000000", "2150-01-01 00:00:00.000000"]);
    });
}
