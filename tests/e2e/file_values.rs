//! Values in files: each is stored exactly, or an error names its row. The databases confirm what
//! they store.

use blockyard_tests::environment::program;
use blockyard_tests::{CommandOutput, TestYard};
use serde_json::{Value, json};

use crate::sql_operations::each;

/// Loads a text into `table`.
fn load(yard: &TestYard, block: &str, table: &str, format: &str, text: &[u8], more: &[&str]) -> CommandOutput {
    let file = yard.path(&format!("{table}.{format}"));
    std::fs::write(&file, text).expect("a file");
    let path = file.display().to_string();
    yard.run(&[&["call", block, "load", "--table", table, "--format", format, "--in", &path, "--json"], more].concat())
}

fn loaded(yard: &TestYard, block: &str, table: &str, format: &str, text: &str, more: &[&str]) -> u64 {
    let output = load(yard, block, table, format, text.as_bytes(), more);
    assert_eq!(output.code, 0, "{block} {table}: {}", output.stderr);
    let answer: Value = serde_json::from_str(&output.stdout).expect("JSON");
    answer["rows"].as_u64().expect("a number")
}

fn refused(yard: &TestYard, block: &str, table: &str, format: &str, text: &[u8], expected: &[&str]) {
    refused_with(yard, block, table, format, text, &[], expected);
}

fn refused_with(
    yard: &TestYard,
    block: &str,
    table: &str,
    format: &str,
    text: &[u8],
    more: &[&str],
    expected: &[&str],
) {
    let output = load(yard, block, table, format, text, more);
    assert_eq!(output.code, 1, "{block} {table}: {}", output.stdout);
    for words in expected {
        assert!(output.stderr.contains(words), "{block} {table}: `{words}` is missing in {}", output.stderr);
    }
}

fn all(yard: &TestYard, block: &str, statement: &str) -> Value {
    yard.json(&["call", block, "fetch-all", "--statement", statement])
}

/// Returns one column of a query, as strings.
fn texts(yard: &TestYard, block: &str, statement: &str) -> Vec<String> {
    let rows = all(yard, block, statement);
    let values = rows.as_array().expect("rows").iter().flat_map(|row| row.as_object().expect("a row").values());
    values.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).collect()
}

const SQLITE: &str = "sql-database/flights";

#[test]
fn malformed_quoting_loads_nothing() {
    let yard = TestYard::with_sqlite();
    let mut long = "id,name\n".to_owned();
    (1..=5_200).for_each(|id| long.push_str(&format!("{id},owl\n")));
    let late = format!("{long}5201,\"Owl\n5202,Heron\n");
    for (csv, expected) in [
        ("id,name\n1,\"Owl\n2,Heron\n3,Swan\n", "line 2 of the CSV opens a quote that is never closed"),
        (late.as_str(), "line 5202 of the CSV opens a quote that is never closed"),
        ("id,name\n1,\"Owl\" x\n", "line 2 of the CSV has text after a closing quote"),
        ("id,name\n1,\"a\nb\"\n2,\"Owl\"x\n", "line 4 of the CSV has text after a closing quote"),
        ("id,name\n1,Owl \"x\"\n", "line 2 of the CSV has a quote inside of a field"),
        ("id,\"name\n1,Owl\n", "line 1 of the CSV opens a quote that is never closed"),
    ] {
        refused(&yard, SQLITE, "u", "csv", csv.as_bytes(), &[expected]);
        assert_eq!(yard.json(&["call", SQLITE, "tables"]), json!([]), "{expected}");
    }
    let latin = [long.as_bytes(), b"5201,B\xe4r\n"].concat();
    refused(&yard, SQLITE, "u", "csv", &latin, &["line 5202 of the CSV is not UTF-8", "iconv"]);
    assert_eq!(yard.json(&["call", SQLITE, "tables"]), json!([]));
}

#[test]
fn csv_round_trips() {
    let yard = TestYard::with_sqlite();
    // All three line endings, a byte order mark, a last line without a line ending, quotes and line
    // breaks in fields.
    for (table, csv) in [
        ("n", "a,b\n1,\"x\"\"y\"\n2,z"),
        ("rn", "a,b\r\n1,\"x\"\"y\"\r\n2,z\r\n"),
        ("r", "a,b\r1,\"x\"\"y\"\r2,z"),
        ("mark", "\u{feff}a,b\n1,\"x\"\"y\"\n\n2,z\n"),
        ("quoted", "\u{feff}\"a\",\"b\"\n\"1\",\"x\"\"y\"\n\"2\",\"z\"\n"),
    ] {
        assert_eq!(loaded(&yard, SQLITE, table, "csv", csv, &[]), 2, "{table}");
        let statement = format!("select a, b from {table} order by a");
        assert_eq!(all(&yard, SQLITE, &statement), json!([{"a": 1, "b": "x\"y"}, {"a": 2, "b": "z"}]), "{table}");
    }
    assert_eq!(loaded(&yard, SQLITE, "tabs", "csv", "a\tb\n1\tx,y\n", &["--delimiter", "\\t"]), 1);
    assert_eq!(all(&yard, SQLITE, "select * from tabs"), json!([{"a": 1, "b": "x,y"}]));
    assert_eq!(loaded(&yard, SQLITE, "header", "csv", "a,b\n", &[]), 0);
    // A gzip file is decompressed before it is read.
    let file = yard.path("packed.csv.gz");
    let path = file.display().to_string();
    let python = format!("import gzip; gzip.open({path:?}, 'wb').write(b'a,b\\n1,x\\n')");
    assert!(program("python3").args(["-c", &python]).status().is_ok_and(|s| s.success()));
    yard.ok(&["call", SQLITE, "load", "--table", "packed", "--format", "csv", "--in", &path]);
    assert_eq!(all(&yard, SQLITE, "select * from packed"), json!([{"a": 1, "b": "x"}]));
}

#[test]
fn null_and_empty_string_are_distinct() {
    each("file_empty", |dialect, yard, block| {
        // With a single column, an empty line is a row.
        assert_eq!(loaded(yard, block, "one", "csv", "name\nOwl\n\nHeron\n", &[]), 3, "{dialect}");
        let nulls = "select count(*) as n from one where name is null";
        assert_eq!(texts(yard, block, nulls), ["1"], "{dialect}");
        let csv = "id,name\n1,\n2,\"\"\n3,x\n\"\",y\n";
        for (table, more, nulls, empty) in [
            ("e1", &[][..], 1, 1),
            ("e2", &["--empty", "quoted"], 1, 1),
            ("e3", &["--empty", "nulls"], 2, 0),
            ("e4", &["--empty", "texts"], 0, 2),
        ] {
            assert_eq!(loaded(yard, block, table, "csv", csv, more), 4, "{dialect}");
            let counted = format!(
                "select count(case when name is null then 1 end) as a, count(case when name = '' then 1 end) as b, \
                 count(case when id is null then 1 end) as c from {table}"
            );
            assert_eq!(all(yard, block, &counted), json!([{"a": nulls, "b": empty, "c": 1}]), "{dialect} {table}");
        }
        // Unloading preserves the difference.
        let out = yard.path("out.csv").display().to_string();
        yard.ok(&[
            "call",
            block,
            "unload",
            "--statement",
            "select name from e1 order by id",
            "--format",
            "csv",
            "--out",
            &out,
        ]);
        let written = std::fs::read_to_string(&out).expect("the file");
        let mut lines: Vec<&str> = written.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["", "\"\"", "name", "x", "y"], "{dialect}");
    });
}

#[test]
fn strings_become_numbers_only_if_they_round_trip() {
    each("file_texts", |dialect, yard, block| {
        for (table, values) in [
            ("codes", &["557E90", "314659", "12E12"][..]),
            ("versions", &["1.1", "1.10"]),
            ("zips", &["00501", "10001"]),
            ("signs", &["+1", "-2"]),
            ("groups", &["1_000", "2_000"]),
            ("hashes", &["1e5", "7e10"]),
            ("halves", &[".5", "5."]),
            ("spaces", &[" 1", "2"]),
            ("hex", &["0x10", "0x11"]),
            ("whole", &["1", "1.0"]),
            ("ids", &["100000000000000000000000", "12345678901234567000"]),
        ] {
            let csv = values.iter().fold("id,v\n".to_owned(), |csv, value| format!("{csv}{},{value}\n", csv.len()));
            loaded(yard, block, table, "csv", &csv, &[]);
            assert_eq!(texts(yard, block, &format!("select v from {table} order by id")), values, "{dialect} {table}");
        }
        // Measured values become numbers, which compare as numbers.
        loaded(yard, block, "ds", "csv", "city,dist\nA,10.5\nB,9.25\nC,0.30000000000000004\n", &[]);
        assert_eq!(texts(yard, block, "select city from ds where dist > 5 order by city"), ["A", "B"], "{dialect}");
        assert_eq!(texts(yard, block, "select dist from ds where city = 'C'"), ["0.30000000000000004"], "{dialect}");
        loaded(yard, block, "prices", "csv", "p\n1.50\n12.00\n", &[]);
        assert_eq!(texts(yard, block, "select count(*) as n from prices where p > 2"), ["1"], "{dialect}");
        // A later value in another form is an error that names its row.
        let mut csv = "id,p\n".to_owned();
        (1..=5_000).for_each(|id| csv.push_str(&format!("{id},{id}.5\n")));
        refused(
            yard,
            block,
            "late",
            "csv",
            format!("{csv}5001,9007199254740993\n").as_bytes(),
            &["row 5001: column `p` has `9007199254740993`", "nothing was loaded"],
        );
        refused(
            yard,
            block,
            "late",
            "csv",
            format!("{csv}5001,1.10\n").as_bytes(),
            &["row 5001: column `p` has `1.10`"],
        );
    });
}

#[test]
fn json_numbers_preserve_all_digits() {
    each("file_digits", |dialect, yard, block| {
        for (table, lines, expected) in [
            ("b1", "{\"id\":12345678901234567890123}\n", &["12345678901234567890123"][..]),
            ("b2", "{\"id\":9007199254740993}\n{\"id\":0.5}\n", &["9007199254740993", "0.5"]),
            ("b3", "{\"id\":0.1234567890123456789}\n", &["0.1234567890123456789"]),
            ("b4", "{\"id\":18446744073709551615}\n", &["18446744073709551615"]),
            ("b5", "{\"id\":0.30000000000000004}\n", &["0.30000000000000004"]),
            ("b6", "{\"id\":1.5e3}\n", &["1500.0"]),
        ] {
            loaded(yard, block, table, "ndjson", lines, &[]);
            let mut read = texts(yard, block, &format!("select id from {table}"));
            if dialect == "mysql" {
                // In MySQL, all values of a decimal column have the same scale.
                for text in &mut read {
                    if text.contains('.') && table != "b6" {
                        *text = text.trim_end_matches('0').trim_end_matches('.').to_owned();
                    }
                }
            }
            assert_eq!(read, expected, "{dialect} {table}");
        }
        // Also inside of lists and objects.
        loaded(yard, block, "nested", "ndjson", "{\"doc\":{\"id\":12345678901234567890123}}\n", &[]);
        let text = if dialect == "postgres" { "cast(doc as text)" } else { "doc" };
        let read = yard.json(&["call", block, "fetch-all", "--statement", &format!("select {text} as d from nested")]);
        assert!(read.to_string().contains("12345678901234567890123"), "{dialect}: {read}");
        // A column of an existing table stores every digit, or the error names the row.
        yard.ok(&["execute", block, "create table own (f double precision, i integer)"]);
        for (lines, row) in [
            ("{\"f\":0.5}\n{\"f\":9007199254740993}\n", "row 2: column `f`"),
            ("{\"f\":0.5}\n{\"f\":0.1234567890123456789}\n", "row 2: column `f`"),
            ("{\"f\":1e400}\n", "row 1: column `f`"),
        ] {
            refused(yard, block, "own", "ndjson", lines.as_bytes(), &[row]);
        }
        assert_eq!(texts(yard, block, "select count(*) as n from own"), ["0"], "{dialect}");
    });
}

#[test]
fn bytes_are_base64_in_both_directions() {
    each("file_bytes", |dialect, yard, block| {
        let kind = if dialect == "postgres" { "bytea" } else { "blob" };
        yard.ok(&["execute", block, &format!("create table bb (id integer, b {kind})")]);
        let bytes = if dialect == "postgres" { "decode('dead', 'hex')" } else { "x'dead'" };
        yard.ok(&["execute", block, &format!("insert into bb values (1, {bytes})")]);
        let hex = match dialect {
            "postgres" => "encode(b, 'hex')",
            _ => "lower(hex(b))",
        };
        for format in ["csv", "ndjson", "arrow", "parquet"] {
            let out = yard.path(&format!("bb.{format}")).display().to_string();
            yard.ok(&[
                "call",
                block,
                "unload",
                "--statement",
                "select * from bb where id = 1",
                "--format",
                format,
                "--out",
                &out,
            ]);
            yard.ok(&["execute", block, "delete from bb"]);
            yard.ok(&["call", block, "load", "--table", "bb", "--mode", "append", "--format", format, "--in", &out]);
            assert_eq!(texts(yard, block, &format!("select {hex} as h from bb")), ["dead"], "{dialect} {format}");
        }
        loaded(yard, block, "bb", "csv", "id,b\n2,3q0\n3,\\xdead\n", &[]);
        assert_eq!(texts(yard, block, &format!("select distinct {hex} as h from bb")), ["dead"], "{dialect}");
        for text in ["hello world", "3q0=x", "3q1="] {
            refused(
                yard,
                block,
                "bb",
                "csv",
                format!("id,b\n4,3q0=\n5,{text}\n").as_bytes(),
                &["row 2: column `b`", "base64"],
            );
        }
        assert_eq!(texts(yard, block, "select count(*) as n from bb"), ["3"], "{dialect}");
    });
}

#[test]
fn nan_and_infinities_are_never_null() {
    each("file_nan", |dialect, yard, block| {
        yard.ok(&["execute", block, "create table nn (id integer, x double precision)"]);
        let rows = "{\"id\":1,\"x\":0.5}\n{\"id\":2,\"x\":\"NaN\"}\n{\"id\":3,\"x\":\"-Infinity\"}\n";
        let csv = "id,x\n1,0.5\n2,NaN\n3,-Infinity\n";
        for (format, text) in [("ndjson", rows), ("csv", csv)] {
            if dialect == "postgres" {
                loaded(yard, block, "nn", format, text, &[]);
                let query = "select cast(x as text) as t from nn order by id";
                assert_eq!(texts(yard, block, query), ["0.5", "NaN", "-Infinity"], "{format}");
                // Loading into a created table and unloading it must reproduce the text.
                loaded(yard, block, &format!("made_{format}"), format, text, &[]);
                let out = yard.path("nn.out").display().to_string();
                let statement = format!("select * from made_{format} order by id");
                yard.ok(&["call", block, "unload", "--statement", &statement, "--format", format, "--out", &out]);
                assert_eq!(std::fs::read_to_string(&out).expect("the file"), text);
            } else {
                refused(yard, block, "nn", format, text.as_bytes(), &["row 2: column `x`", "does not support `NaN`"]);
            }
            yard.ok(&["execute", block, "delete from nn"]);
        }
    });
}

#[test]
fn mixed_strings_and_numbers_keep_their_types() {
    let yard = TestYard::with_sqlite();
    loaded(&yard, SQLITE, "mx", "ndjson", "{\"v\":\"abc\"}\n{\"v\":5}\n{\"v\":[1.10]}\n{\"v\":\"5\"}\n", &[]);
    let rows = all(&yard, SQLITE, "select v, length(v) as n, typeof(v) as t from mx");
    assert_eq!(
        rows,
        json!([
            {"v": "abc", "n": 3, "t": "text"},
            {"v": 5, "n": 1, "t": "integer"},
            {"v": "[1.10]", "n": 6, "t": "text"},
            {"v": "5", "n": 1, "t": "text"},
        ])
    );
}

#[test]
fn no_column_overwrites_another() {
    each("file_names", |dialect, yard, block| {
        // A database that ignores case has a single column for both names.
        yard.ok(&["execute", block, "create table own (a integer)"]);
        for (format, text) in [("csv", "a,A\n1,2\n"), ("ndjson", "{\"a\":1,\"A\":2}\n")] {
            for table in ["own", "made"] {
                let expected: &[&str] = match dialect {
                    "postgres" if table == "made" => {
                        loaded(yard, block, table, format, text, &[]);
                        assert_eq!(all(yard, block, "select a, \"A\" from made"), json!([{"a": 1, "A": 2}]));
                        yard.ok(&["execute", block, "drop table made"]);
                        continue;
                    }
                    "postgres" => &["table `own` has no column `A`"],
                    _ => &["columns `a` and `A` differ only in case", "rename one of them"],
                };
                refused(yard, block, table, format, text.as_bytes(), expected);
            }
        }
        // Words other than `true` and `false` remain strings.
        loaded(yard, block, "words", "csv", "v\nTrue\nFalse\n", &[]);
        assert_eq!(texts(yard, block, "select v from words order by v"), ["False", "True"], "{dialect}");
    });
    let yard = TestYard::with_sqlite();
    refused(&yard, SQLITE, "m", "ndjson", b"{\"v\":1}\n{\"v\":true}\n", &["row 2: column `v` has `true`"]);
    loaded(&yard, SQLITE, "zeros", "csv", "v\n-0.0\n0.5\n", &[]);
    assert_eq!(texts(&yard, SQLITE, "select v from zeros"), ["-0.0", "0.5"]);
}

#[test]
fn duplicate_names_and_malformed_json_are_rejected() {
    let yard = TestYard::with_sqlite();
    for (lines, expected) in [
        ("{\"a\":1}\n{\"a\":1,\"a\":2}\n", "row 2: an object has the duplicate name `a`"),
        ("{\"a\":{\"b\":1,\"b\":2}}\n", "row 1: an object has the duplicate name `b`"),
        ("[{\"a\":1}]\n", "jq -c '.[]'"),
        ("{\"a\":1}\n{\"a\":2", "row 2"),
        ("{\"a\":1}\n{\"b\":2}\n{\"c\":NaN}\n", "row 3"),
    ] {
        refused(&yard, SQLITE, "j", "ndjson", lines.as_bytes(), &[expected]);
    }
    let deep = format!("{{\"a\":{}{}}}\n", "[".repeat(50_000), "]".repeat(50_000));
    refused(&yard, SQLITE, "j", "ndjson", deep.as_bytes(), &["row 1: ", "lists and objects"]);
    // A column that the table already has may appear in a later row.
    yard.ok(&["execute", SQLITE, "create table late (a integer, b text)"]);
    let mut lines: String = (1..=6_000).map(|a| format!("{{\"a\":{a}}}\n")).collect();
    lines.push_str("{\"a\":6001,\"b\":\"x\"}\n");
    assert_eq!(loaded(&yard, SQLITE, "late", "ndjson", &lines, &[]), 6_001);
    assert_eq!(texts(&yard, SQLITE, "select b from late where a = 6001"), ["x"]);
    lines.push_str("{\"a\":6002,\"c\":\"x\"}\n");
    refused(&yard, SQLITE, "late", "ndjson", lines.as_bytes(), &["row 6002 has the column `c`"]);
}

#[test]
fn values_that_do_not_fit_their_column_are_rejected() {
    each("file_narrow", |dialect, yard, block| {
        if dialect == "sqlite" {
            return;
        }
        let (float, moment) = if dialect == "postgres" { ("real", "timestamp(0)") } else { ("float", "datetime") };
        let statement = format!(
            "create table narrow (id integer, i smallint, d numeric(6,2), f {float}, t varchar(3), at {moment}, day date)"
        );
        yard.ok(&["execute", block, &statement]);
        let header = "id,i,d,f,t,at,day\n";
        let good = "1,-32768,1234.5,0.1,abc,2013-02-08T11:00:00,2013-02-08\n";
        for (bad, column) in [
            ("2,32768,,,,,\n", "`i`"),
            ("2,1.5,,,,,\n", "`i`"),
            ("2,,1.234,,,,\n", "`d`"),
            ("2,,12345.6,,,,\n", "`d`"),
            ("2,,,16777217,,,\n", "`f`"),
            ("2,,,,abc ,,\n", "`t`"),
            ("2,,,,,2013-02-08T11:00:00.5,\n", "`at`"),
            ("2,,,,,2013-02-08T23:59:60,\n", "`at`"),
            ("2,,,,,,2013-02-30\n", "`day`"),
            ("2,,,,,,2013-02-08T11:00:00\n", "`day`"),
        ] {
            let csv = format!("{header}{good}{bad}");
            refused(yard, block, "narrow", "csv", csv.as_bytes(), &["row 2: column ", column]);
        }
        loaded(yard, block, "narrow", "csv", &format!("{header}{good}"), &[]);
        let read = all(yard, block, "select i, d, t, day from narrow");
        assert_eq!(read, json!([{"i": -32768, "d": "1234.50", "t": "abc", "day": "2013-02-08"}]), "{dialect}");
        if dialect == "postgres" {
            yard.ok(&["execute", block, "create table zones (z timestamptz, n timestamp)"]);
            refused(yard, block, "zones", "csv", b"z\n2013-02-08T11:00:00\n", &["row 1: column `z`", "has no zone"]);
            refused(
                yard,
                block,
                "zones",
                "csv",
                b"n\n2013-02-08T11:00:00+01:00\n",
                &["row 1: column `n`", "has a zone"],
            );
        }
    });
    // SQLite converts text to numbers in numeric columns, but never to a different number.
    let yard = TestYard::with_sqlite();
    yard.ok(&["execute", SQLITE, "create table m (x numeric, r real)"]);
    loaded(&yard, SQLITE, "m", "csv", "x,r\n9007199254740993,0.5\nabc,1\n", &[]);
    assert_eq!(texts(&yard, SQLITE, "select printf('%d', x) from m where r = 0.5"), ["9007199254740993"]);
    refused(&yard, SQLITE, "m", "csv", b"x\n12345678901234567890\n", &["row 1: column `x`", "more digits"]);
    refused(&yard, SQLITE, "m", "csv", b"r\n9007199254740993\n", &["row 1: column `r`", "more digits"]);
}

#[test]
fn dates_beyond_year_9999_round_trip() {
    each("file_days", |dialect, yard, block| {
        let csv = "id,day\n1,-0043-03-15\n2,+15000-12-31\n3,2013-02-08\n";
        if dialect == "mysql" {
            refused(
                yard,
                block,
                "days",
                "csv",
                csv.as_bytes(),
                &["row 1: column `day`", "does not support the year -43"],
            );
            return;
        }
        loaded(yard, block, "days", "csv", csv, &[]);
        if dialect == "postgres" {
            let query = "select cast(day as text) as t from days order by id";
            assert_eq!(texts(yard, block, query), ["0044-03-15 BC", "15000-12-31", "2013-02-08"]);
        }
        let out = yard.path("days.out").display().to_string();
        yard.ok(&[
            "call",
            block,
            "unload",
            "--statement",
            "select * from days order by id",
            "--format",
            "csv",
            "--out",
            &out,
        ]);
        assert_eq!(std::fs::read_to_string(&out).expect("the file"), csv, "{dialect}");
    });
}

#[test]
fn strings_and_bytes_of_a_column_are_distinct() {
    let yard = TestYard::with_sqlite();
    yard.ok(&["execute", SQLITE, "create table mixed (b blob, t text, n)"]);
    yard.ok(&[
        "execute",
        SQLITE,
        "insert into mixed values (x'00', 'a', 'a'), ('abc', 'b', 'b'), (x'01', x'02', x'03')",
    ]);
    let unload = |column: &str, format: &str| {
        let statement = format!("select {column} from mixed");
        yard.run(&["call", SQLITE, "unload", "--statement", &statement, "--format", format, "--out", "out"])
    };
    for (column, row) in [("b", "row 2"), ("t", "row 3"), ("n", "row 3")] {
        for format in ["csv", "ndjson"] {
            let output = unload(column, format);
            assert!(
                output.code == 1 && output.stderr.contains(row) && output.stderr.contains("cast("),
                "{column}: {}",
                output.stderr
            );
        }
    }
    assert_eq!(unload("cast(b as blob) as b", "csv").code, 0);
}

#[test]
fn server_types_are_not_misinterpreted() {
    each("file_server_types", |dialect, yard, block| match dialect {
        "mysql" => {
            yard.ok(&["execute", block, "create table odd (id integer, b bit(8), e enum('2','1','0'), y year)"]);
            let csv = "id,b,e,y\n1,5,2,0\n2,49,1,1999\n";
            loaded(yard, block, "odd", "csv", csv, &["--mode", "append"]);
            let json = "{\"id\":3,\"b\":5,\"e\":2,\"y\":2001}\n";
            loaded(yard, block, "odd", "ndjson", json, &["--mode", "append"]);
            let query = "select concat(b + 0, ' ', e, ' ', y) as t from odd order by id";
            assert_eq!(texts(yard, block, query), ["5 2 0000", "49 1 1999", "5 2 2001"]);
            for wrong in ["5", "99", "2156"] {
                let csv = format!("id,y\n4,{wrong}\n");
                refused_with(yard, block, "odd", "csv", csv.as_bytes(), &["--mode", "append"], &["row 1", "`y`"]);
            }
        }
        "postgres" => {
            yard.ok(&["execute", block, "create table late (day date, at timestamp)"]);
            let csv = "day,at\n+5874897-12-31,\n,+294246-12-31T00:00:00\n";
            loaded(yard, block, "late", "csv", csv, &["--mode", "append"]);
            // The range of microseconds since 1970 in 64 bits ends a few years before that of
            // PostgreSQL's timestamps.
            let out_of_range = "day,at\n,+294276-12-31T00:00:00\n";
            refused_with(
                yard,
                block,
                "late",
                "csv",
                out_of_range.as_bytes(),
                &["--mode", "append"],
                &["row 1", "`at`"],
            );
            let query = "select coalesce(cast(day as text), cast(at as text)) as t from late";
            assert_eq!(texts(yard, block, query), ["5874897-12-31", "294246-12-31 00:00:00"]);
        }
        _ => {}
    });
}

#[test]
fn json_null_is_distinct_from_sql_null() {
    each("file_json_null", |dialect, yard, block| {
        if dialect != "postgres" {
            return; // The others store JSON as text.
        }
        yard.ok(&["execute", block, "create table documents (id integer, doc json)"]);
        yard.ok(&["execute", block, "insert into documents values (1, null), (2, 'null'), (3, '[null]')"]);
        let out = yard.path("documents.out").display().to_string();
        let unload = |format: &str| {
            let statement = "select * from documents order by id";
            yard.run(&["call", block, "unload", "--statement", statement, "--format", format, "--out", &out])
        };
        let output = unload("ndjson");
        assert!(output.code == 1 && output.stderr.contains("row 2: column `doc`"), "{}", output.stderr);
        for format in ["csv", "parquet", "arrow"] {
            assert_eq!(unload(format).code, 0, "{format}");
            yard.ok(&["execute", block, "delete from documents"]);
            yard.ok(&[
                "call",
                block,
                "load",
                "--table",
                "documents",
                "--mode",
                "append",
                "--format",
                format,
                "--in",
                &out,
            ]);
            let query = "select id as t from documents where doc is null order by id";
            assert_eq!(texts(yard, block, query), ["1"], "{format}");
            assert_eq!(texts(yard, block, "select count(*) as t from documents"), ["3"], "{format}");
        }
    });
}

#[test]
fn arrays_preserve_their_subscripts() {
    each("file_subscripts", |dialect, yard, block| {
        if dialect != "postgres" {
            return;
        }
        yard.ok(&["execute", block, "create table lists (id integer, a integer[], t text[], d date[], b bytea[])"]);
        let rows = [
            "(1, '[0:1]={1,2}', '[2:3]={\"a b\",\"q\\\"q\"}', '[5:5]={2020-01-01}', '[-1:0]={NULL,\\\\x00ff}')",
            "(2, '[1:2][0:1]={{1,2},{3,4}}', '[10:11]={x,NULL}', '[0:0]={2020-01-02}', '{}')",
            "(3, '{1,2}', '{a}', '{15000-12-31}', '{\\\\x00}')",
            "(4, null, '[3:3]={\"[0:1]={1}\"}', '{{2020-01-01},{2020-01-02}}', null)",
        ];
        yard.ok(&["execute", block, &format!("insert into lists values {}", rows.join(", "))]);
        let query = "select concat_ws(' ', id, a, t, d, b) as t from lists order by id";
        let before = texts(yard, block, query);
        assert!(before[0].starts_with("1 [0:1]={1,2} "), "{before:?}");
        let statement = ["--statement", "select * from lists order by id"];
        for format in ["csv", "ndjson", "parquet", "arrow"] {
            let out = yard.path(&format!("lists.{format}")).display().to_string();
            yard.ok(&[&["call", block, "unload", "--format", format, "--out", &out], &statement[..]].concat());
            yard.ok(&["execute", block, "truncate lists"]);
            yard.ok(&["call", block, "load", "--table", "lists", "--mode", "append", "--format", format, "--in", &out]);
            assert_eq!(texts(yard, block, query), before, "{format}");
        }
        yard.ok(&["execute", block, "truncate lists"]);
        yard.ok(&["execute", block, "insert into lists (id, a) values (5, :a)", "--param", "a=[0:1]={1,2}"]);
        assert_eq!(texts(yard, block, query), ["5 [0:1]={1,2}"]);
    });
}

#[test]
fn format_errors_suggest_a_correction() {
    let yard = TestYard::with_sqlite();
    for (format, bytes, expected) in [
        ("csv", &b"\xff\xfea\0,\0b\0"[..], &["UTF-16", "iconv"][..]),
        ("csv", b"PK\x03\x04 and so on", &[".xlsx", "CSV"]),
        ("csv", b"PAR1 and so on", &["--format parquet"]),
        ("ndjson", b"ARROW1\0\0", &["--format arrow"]),
        ("csv", b",name\n0,Owl\n", &["column 1 has no name", "index=False"]),
        ("csv", b"id,,b\n1,2,3\n", &["column 2 has no name"]),
        ("csv", b"id,id\n1,2\n", &["two columns are named `id`"]),
        ("parquet", b"PARE and so on PARE", &["encrypted"]),
        ("parquet", b"ARROW1\0\0 and so on", &["--format arrow"]),
        ("arrow", b"PAR1 and so on", &["--format parquet"]),
        ("arrow", b"FEA1 and so on", &["Feather version 1"]),
    ] {
        refused(&yard, SQLITE, "r", format, bytes, expected);
    }
    refused_with(&yard, SQLITE, "main.t", "csv", b"a\n1\n", &[], &["--table t"]);
    yard.ok(&["execute", SQLITE, "create table t (a integer, b text)"]);
    refused(&yard, SQLITE, "t", "csv", b"a,c\n1,2\n", &["table `t` has no column `c`", "the table has `a`, `b`"]);
    refused_with(&yard, SQLITE, "t", "parquet", b"PAR1", &["--delimiter", ";"], &["applies to CSV only"]);
    refused_with(&yard, SQLITE, "t", "csv", b"a\n1\n", &["--delimiter", "ab"], &["is not a delimiter"]);
    // Columns that are missing in the file get the default of the table.
    assert_eq!(loaded(&yard, SQLITE, "t", "csv", "a\n1\n", &["--mode", "append"]), 1);
    if let Some(server) = crate::postgres::server("file_refusals") {
        refused(&server.yard, "sql-database/pg", "public.tt2", "csv", b"a\n1\n", &["--schema public --table tt2"]);
        assert_eq!(server.yard.json(&["call", "sql-database/pg", "tables"]), json!([]));
    }
}
