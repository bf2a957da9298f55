//! `unload` followed by `load` must not change any value, as compared by the database itself.
//! Covers every dialect, format and type, with the limits of their ranges and random values.

use blockyard_tests::environment::program;
use blockyard_tests::{TestYard, optional};
use serde_json::Value;

use crate::sql_operations::each;

const FORMATS: [&str; 4] = ["csv", "ndjson", "arrow", "parquet"];
/// Number of random rows, in addition to those with the limits of the ranges. `PROPTEST_CASES` can
/// raise it.
const ROWS: u64 = 60;
/// Maximum number of rows, because a single statement fills the table.
const MAX_ROWS: u64 = 5_000;

/// A column: its type, and literals in the dialect's syntax.
struct Column {
    kind: &'static str,
    values: &'static [&'static str],
    /// Returns a literal for a random number.
    random_value: fn(u64) -> String,
}

const fn column(kind: &'static str, values: &'static [&'static str], random_value: fn(u64) -> String) -> Column {
    Column { kind, values, random_value }
}

/// Returns a string literal of characters with a special meaning in a format or a database.
fn text(seed: u64) -> String {
    const LETTERS: [&str; 14] = ["a", "\"", "''", ",", "\n", "\r", "\r\n", " ", "ü", "\t", "\\\\", "{", "1", "🦉"];
    let letters: String = (0..seed % 7).map(|at| LETTERS[(seed >> (at * 5)) as usize % LETTERS.len()]).collect();
    format!("'{letters}'")
}

fn postgres_text(seed: u64) -> String {
    text(seed).replace("\\\\", "\\")
}

fn hex(seed: u64) -> String {
    format!("{:016x}", seed)[..(seed % 9 * 2) as usize].to_owned()
}

fn double(seed: u64) -> String {
    let double = f64::from_bits(seed);
    if double.is_finite() { format!("{double:e}") } else { "0.1".to_owned() }
}

fn single(seed: u64) -> String {
    let single = f32::from_bits(seed as u32);
    if single.is_finite() && single.abs() > 1e-37 { format!("{single:e}") } else { "0.1".to_owned() }
}

fn decimal(seed: u64) -> String {
    format!("{}.{:010}", seed as i64, seed >> 40)
}

fn day(seed: u64) -> String {
    format!("'{:04}-{:02}-{:02}'", 1 + seed % 9_999, 1 + seed / 7 % 12, 1 + seed / 11 % 28)
}

fn clock(seed: u64) -> String {
    format!("{:02}:{:02}:{:02}.{:06}", seed % 24, seed / 3 % 60, seed / 5 % 60, seed / 7 % 1_000_000)
}

fn time(seed: u64) -> String {
    format!("'{}'", clock(seed))
}

fn moment(seed: u64) -> String {
    format!("'{} {}'", day(seed).trim_matches('\''), clock(seed))
}

const POSTGRES: &[Column] = &[
    column("smallint", &["-32768", "32767", "0"], |seed| (seed as i16).to_string()),
    column("integer", &["-2147483648", "2147483647"], |seed| (seed as i32).to_string()),
    column("bigint", &["'-9223372036854775808'", "9223372036854775807"], |seed| (seed as i64 / 2).to_string()),
    column("numeric", &["0.00", "1.50", "'123456789012345678901234567890.123456789012345678901234567890'"], decimal),
    column("numeric(38,10)", &["-0.0000000001", "9999999999999999999999999999.9999999999"], decimal),
    column("real", &["0.1", "-3.4028235e38", "1.17549435e-38", "16777216"], single),
    column(
        "double precision",
        &["0.1", "0.30000000000000004", "-1.7976931348623157e308", "5e-324", "1e16", "1e15"],
        double,
    ),
    column("text", &["''", "'null'", "'NaN'", "' '", "'007'", "'1.10'", "'\"'"], postgres_text),
    column("varchar(40)", &["''", "'true'", "E'\\ufeff'"], postgres_text),
    column("bytea", &["''", "'\\x00ff'"], |seed| format!("'\\x{}'", hex(seed))),
    column("boolean", &["true", "false"], |seed| (seed % 2 == 0).to_string()),
    column("date", &["'0001-01-01'", "'9999-12-31'", "'15000-12-31'", "'0044-03-15 BC'", "'4713-01-01 BC'"], day),
    column("time", &["'00:00:00'", "'23:59:59.999999'"], time),
    column("timestamp", &["'0001-01-01 00:00:00'", "'9999-12-31 23:59:59.999999'", "'1969-12-31 23:59:59.5'"], moment),
    column("timestamptz", &["'0001-01-01 00:00:00Z'", "'2013-02-08 12:00:00+01:30'"], |seed| {
        format!("{}Z'", moment(seed).trim_end_matches('\''))
    }),
    column("uuid", &["'00000000-0000-0000-0000-000000000000'"], |seed| {
        format!("'{:08x}-0000-4000-8000-{:012x}'", seed as u32, seed >> 20)
    }),
    column("jsonb", &["'{\"a\": [1, null, \"x\"]}'", "'[]'", "'\"text\"'", "'12345678901234567890.10'"], |seed| {
        format!("'{{\"n\": {seed}}}'")
    }),
    column("integer[]", &["'{}'", "'{1,null,-2}'"], |seed| format!("'{{{}}}'", seed as i32)),
    column("interval", &["'1 year 2 mons 3 days 04:05:06.5'", "'-1 days'"], |seed| {
        format!("'{} seconds'", seed % 100_000)
    }),
];

const MYSQL: &[Column] = &[
    column("tinyint", &["-128", "127"], |seed| (seed as i8).to_string()),
    column("tinyint(1)", &["0", "1"], |seed| (seed % 2).to_string()),
    column("int unsigned", &["0", "4294967295"], |seed| (seed as u32).to_string()),
    column("bigint", &["-9223372036854775808", "9223372036854775807"], |seed| (seed as i64).to_string()),
    column("bigint unsigned", &["0", "18446744073709551615"], |seed| seed.to_string()),
    column("decimal(40,10)", &["-0.0000000001", "999999999999999999999999999999.9999999999"], decimal),
    column("double", &["0.1", "0.30000000000000004", "-1.7976931348623157e308", "2.2250738585072014e-308"], double),
    column("varchar(40)", &["''", "'null'", "'NaN'", "'007'", "' x '"], text),
    column("longtext", &["''", "'true'", "'\"'"], text),
    column("longblob", &["''", "x'00ff'"], |seed| format!("x'{}'", hex(seed))),
    column("varbinary(20)", &["''", "x'00'"], |seed| format!("x'{}'", hex(seed))),
    column("date", &["'0001-01-01'", "'9999-12-31'"], day),
    column("time(6)", &["'00:00:00'", "'23:59:59.999999'"], time),
    column("datetime(6)", &["'0001-01-01 00:00:00'", "'9999-12-31 23:59:59.999999'"], moment),
    column("timestamp(6) null", &["'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'"], |seed| {
        format!("'20{:02}-01-02 {}'", seed % 30, clock(seed))
    }),
    column("json", &["'{\"a\": [1, null, \"x\"]}'", "'[]'", "'12345678901234567890.10'"], |seed| {
        format!("'{{\"n\": {seed}}}'")
    }),
];

const SQLITE: &[Column] = &[
    column("integer", &["-9223372036854775808", "9223372036854775807", "0"], |seed| (seed as i64).to_string()),
    column("real", &["0.1", "0.30000000000000004", "-1.7976931348623157e308", "5e-324", "9e999", "2.0"], double),
    column("text", &["''", "'null'", "'NaN'", "'007'", "'1.10'", "'9e999'", "'\"'"], text),
    column("blob", &["x''", "x'00ff'"], |seed| format!("x'{}'", hex(seed))),
    column("date", &["'0001-01-01'", "'-0043-03-15'", "'+15000-12-31'"], day),
    column("timestamp", &["'2013-02-08T11:00:00Z'", "'2013-02-08 11:00'"], moment),
];

/// Returns the next pseudo-random number. The sequence is the same in every run.
fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// Creates the table `source` with a column `c0`, `c1`, … of each type, and fills it.
fn fill(yard: &TestYard, block: &str, columns: &[Column]) {
    let definition: Vec<String> =
        columns.iter().enumerate().map(|(at, column)| format!("c{at} {}", column.kind)).collect();
    yard.ok(&["execute", block, &format!("create table source (id integer primary key, {})", definition.join(", "))]);
    let ends = columns.iter().map(|column| column.values.len()).max().unwrap_or(0) as u64;
    let requested = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let count = requested.unwrap_or(ROWS).clamp(ROWS, MAX_ROWS);
    let mut seed = 0x9e37_79b9_7f4a_7c15;
    let rows: Vec<String> = (0..count + ends)
        .map(|row| {
            let values = columns.iter().map(|column| {
                let random_value = next(&mut seed);
                match column.values.get(row as usize) {
                    Some(value) => (*value).to_owned(),
                    None if random_value.is_multiple_of(5) => "null".to_owned(),
                    None => (column.random_value)(next(&mut seed)),
                }
            });
            format!("({row}, {})", values.collect::<Vec<_>>().join(", "))
        })
        .collect();
    let file = yard.path("fill.sql");
    std::fs::write(&file, format!("insert into source values {}", rows.join(",\n"))).expect("a file");
    yard.ok(&["call", block, "script", "--script", &format!("@{}", file.display())]);
}

/// Returns a statement that selects the rows of `target` that the server considers different from
/// those of `source`.
fn differences(dialect: &str, columns: &[Column]) -> String {
    let differ = columns.iter().enumerate().map(|(at, column)| {
        let (ours, theirs) = (format!("s.c{at}"), format!("t.c{at}"));
        let condition = match dialect {
            // Compares as text, so that numbers keep their scale and NaN equals itself.
            "postgres" => format!("{ours}::text is distinct from {theirs}::text"),
            "mysql" if column.kind == "json" => format!("not (binary {ours} <=> binary {theirs})"),
            "mysql" if column.kind.contains("text") || column.kind.contains("char") => {
                format!("not (cast({ours} as binary) <=> cast({theirs} as binary))")
            }
            "mysql" => format!("not ({ours} <=> {theirs})"),
            _ => format!("({ours} is not {theirs} or typeof({ours}) <> typeof({theirs}))"),
        };
        format!("case when {condition} then '{} ' else '' end", column.kind)
    });
    let differ: Vec<String> = differ.collect();
    let both = match dialect {
        "mysql" => format!("concat({})", differ.join(", ")),
        _ => differ.join(" || "),
    };
    format!(
        "select id, d from (select s.id, {both} as d from source s left join target t on t.id = s.id) x where d <> '' order by id"
    )
}

#[test]
fn unloaded_files_load_identically() {
    each("file_round", |dialect, yard, block| {
        let columns = match dialect {
            "postgres" => POSTGRES,
            "mysql" => MYSQL,
            _ => SQLITE,
        };
        fill(yard, block, columns);
        let names: Vec<String> =
            columns.iter().enumerate().map(|(at, column)| format!("c{at} {}", column.kind)).collect();
        let definition = format!("create table target (id integer primary key, {})", names.join(", "));
        let compared = differences(dialect, columns);
        let read = |path: &str| std::fs::read_to_string(path).expect("a file");
        let unload = |table: &str, format: &str| {
            let out = yard.path(&format!("{table}.{format}")).display().to_string();
            let statement = format!("select * from {table} order by id");
            yard.ok(&["call", block, "unload", "--statement", &statement, "--format", format, "--out", &out]);
            out
        };
        let written = read(&unload("source", "csv"));
        for format in FORMATS {
            let out = unload("source", format);
            yard.ok(&["execute", block, &definition]);
            yard.ok(&[
                "call", block, "load", "--table", "target", "--mode", "append", "--format", format, "--in", &out,
            ]);
            let different = yard.json(&["call", block, "fetch-all", "--statement", &compared]);
            assert_eq!(different, Value::Array(Vec::new()), "{dialect} {format}");
            yard.ok(&["execute", block, "drop table target"]);
            // Loading into a table that is created for the file, and unloading it, must reproduce
            // the file.
            yard.ok(&[
                "call", block, "load", "--table", "target", "--mode", "create", "--format", format, "--in", &out,
            ]);
            let again = read(&unload("target", "csv"));
            // In a created table of MySQL, all values of a decimal column have the same scale. In
            // PostgreSQL, a list of the server becomes a JSON document, which is formatted with
            // spaces.
            if dialect != "mysql" {
                let plain = |text: &str| if dialect == "postgres" { text.replace(' ', "") } else { text.to_owned() };
                assert_eq!(plain(&again), plain(&written), "{dialect} {format}");
            }
            yard.ok(&["execute", block, "drop table target"]);
        }
    });
}

#[test]
fn parquet_and_arrow_preserve_server_types() {
    let Some(packages) = optional("BLOCKYARD_TEST_PYARROW") else { return };
    let schema = |file: &str| {
        let python = format!("import pyarrow.parquet as q; print([str(t) for t in q.read_schema({file:?}).types])");
        let output = program("python3").args(["-c", &python]).env("PYTHONPATH", &packages).output();
        let output = output.expect("python3");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    let check = |yard: &TestYard, block: &str, statement: &str, expected: &str| {
        let out = yard.path("types.parquet").display().to_string();
        yard.ok(&["call", block, "unload", "--statement", statement, "--format", "parquet", "--out", &out]);
        assert_eq!(schema(&out), expected, "{statement}");
        // `unload` and `query` produce the same types.
        let other = yard.path("types2.parquet").display().to_string();
        yard.ok(&["query", block, statement, "--format", "parquet", "--out", &other]);
        assert_eq!(schema(&other), expected, "query: {statement}");
    };
    if let Some(server) = crate::postgres::server("file_types") {
        let pg = "sql-database/pg";
        check(
            &server.yard,
            pg,
            "select 1::int a, now() c, 0.5::float8 d, 1::bool e where false",
            "['int32', 'timestamp[us, tz=UTC]', 'double', 'bool']",
        );
        check(
            &server.yard,
            pg,
            "select g, case when g > 66000 then g end v from generate_series(1, 70000) g",
            "['int32', 'int32']",
        );
    }
    let yard = TestYard::with_sqlite();
    yard.ok(&["execute", "sql-database/flights", "create table pr (x real, n integer)"]);
    yard.ok(&["execute", "sql-database/flights", "insert into pr values (1, 1), (2.5, null)"]);
    check(&yard, "sql-database/flights", "select * from pr", "['double', 'int64']");
    check(&yard, "sql-database/flights", "select * from pr where false", "['double', 'int64']");
    for format in ["arrow", "parquet", "ndjson"] {
        let statement =
            ["call", "sql-database/flights", "unload", "--statement", "select 1 as a, 2 as a", "--out", "-"];
        let refused = yard.fails(1, &[&statement[..], &["--format", format]].concat());
        assert!(refused.contains("two columns are named `a`") && refused.contains("`as`"), "{format}: {refused}");
    }
}
