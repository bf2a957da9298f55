//! Loading files into tables and unloading them, with every dialect; compared with the Parquet
//! files of DuckDB if it is installed.

use blockyard_tests::environment::program;
use blockyard_tests::{TestYard, optional};
use serde_json::{Value, json};

use crate::sql_operations::{count_of, each};

const CSV: &str = "id,name,weight,born,seen,tame,code\n\
    1,\"Owl, barn\",0.35,2013-02-08,2013-02-08T11:00:00Z,true,007\n\
    2,\"Heron \"\"Grey\"\"\",1.5,,2013-02-08T12:30:00.5+01:00,false,012\n\
    3,,,2012-12-31,,,\n";

fn load(yard: &TestYard, block: &str, name: &str, bytes: &[u8], more: &[&str]) -> blockyard_tests::CommandOutput {
    let file = yard.path(name);
    std::fs::write(&file, bytes).expect("a file");
    let format = file.extension().and_then(|ending| ending.to_str()).expect("an ending").to_owned();
    let path = file.display().to_string();
    yard.run(
        &[&["call", block, "load", "--table", "birds", "--format", &format, "--in", &path, "--json"], more].concat(),
    )
}

fn loaded(yard: &TestYard, block: &str, name: &str, bytes: &[u8], more: &[&str]) -> Value {
    let result = load(yard, block, name, bytes, more);
    assert_eq!(result.code, 0, "{block} {name}: {}", result.stderr);
    serde_json::from_str(&result.stdout).expect("JSON")
}

fn all(yard: &TestYard, block: &str) -> Value {
    yard.json(&["call", block, "fetch-all", "--statement", "select * from birds order by id"])
}

#[test]
fn csv_creates_a_table_and_appends_rows() {
    each("load", |dialect, yard, block| {
        let created = loaded(yard, block, "birds.csv", CSV.as_bytes(), &[]);
        assert_eq!((&created["rows"], &created["created"]), (&json!(3), &json!(true)), "{dialect}");
        let rows = all(yard, block);
        assert_eq!(rows[0]["name"], "Owl, barn", "{dialect}");
        assert_eq!(rows[1]["name"], "Heron \"Grey\"", "{dialect}");
        assert_eq!((&rows[0]["code"], &rows[0]["id"]), (&json!("007"), &json!(1)), "{dialect}: {rows}");
        assert_eq!((&rows[1]["weight"], &rows[2]["weight"]), (&json!(1.5), &Value::Null), "{dialect}");
        // SQLite has no boolean type.
        let tame = if dialect == "sqlite" { json!(1) } else { json!(true) };
        assert_eq!((&rows[0]["born"], &rows[0]["tame"]), (&json!("2013-02-08"), &tame), "{dialect}");
        let seen = rows[1]["seen"].as_str().expect("a time");
        assert!(seen.starts_with("2013-02-08T1") && seen.contains("30:00.5"), "{dialect}: {seen}");
        // Loads the file a second time, and with a mode that requires that the table does not
        // exist.
        let more = loaded(yard, block, "birds.csv", CSV.as_bytes(), &["--mode", "append"]);
        assert_eq!((&more["rows"], &more["created"]), (&json!(3), &json!(false)), "{dialect}");
        assert_eq!(count_of(yard, block), 6, "{dialect}");
        let refused = load(yard, block, "birds.csv", CSV.as_bytes(), &["--mode", "create"]);
        assert!(refused.code == 1 && refused.stderr.contains("table `birds` already exists"), "{}", refused.stderr);
        yard.ok(&["execute", block, "drop table birds"]);
        let refused = load(yard, block, "birds.csv", CSV.as_bytes(), &["--mode", "append"]);
        assert!(refused.code == 1 && refused.stderr.contains("table `birds` does not exist"), "{}", refused.stderr);
    });
}

#[test]
fn invalid_row_is_reported_and_the_load_rolled_back() {
    each("bad", |dialect, yard, block| {
        yard.ok(&["execute", block, "create table birds (id integer primary key, name varchar(10) not null)"]);
        let mut csv = "id,name\n".to_owned();
        for id in 1..=1_000 {
            csv.push_str(&if id == 777 { format!("{id},\n") } else { format!("{id},owl\n") });
        }
        let refused = load(yard, block, "birds.csv", csv.as_bytes(), &[]);
        assert_eq!(refused.code, 1, "{dialect}");
        assert!(
            refused.stderr.contains("row 777: ") && refused.stderr.contains("nothing was loaded"),
            "{dialect}: {}",
            refused.stderr
        );
        assert_eq!(count_of(yard, block), 0, "{dialect}");
        // A column that the table does not have.
        let refused = load(yard, block, "birds.csv", b"id,name,wings\n1,owl,2\n", &[]);
        assert!(refused.code == 1 && refused.stderr.contains("wings"), "{dialect}: {}", refused.stderr);
        assert_eq!(count_of(yard, block), 0, "{dialect}");
        // An error late in the file, with a table that was created for it.
        yard.ok(&["execute", block, "drop table birds"]);
        (1_001..=5_500).for_each(|id| csv.push_str(&format!("{id},owl\n")));
        let broken = csv.replace("5200,owl", "5200,owl,more");
        let refused = load(yard, block, "birds.csv", broken.as_bytes(), &[]);
        assert!(refused.code == 1 && refused.stderr.contains("after 5000 rows"), "{dialect}: {}", refused.stderr);
        assert!(!yard.ok(&["call", block, "tables"]).contains("birds"), "{dialect}: the created table must be dropped");
    });
}

#[test]
fn files_round_trip() {
    each("round", |dialect, yard, block| {
        loaded(yard, block, "birds.csv", CSV.as_bytes(), &[]);
        let before = all(yard, block);
        for format in ["csv", "ndjson", "arrow", "parquet"] {
            let file = yard.path(&format!("out.{format}"));
            let to = file.display().to_string();
            let statement = "select * from birds order by id";
            yard.ok(&["call", block, "unload", "--statement", statement, "--format", format, "--out", &to]);
            let bytes = std::fs::read(&file).expect("the file");
            yard.ok(&["execute", block, "drop table birds"]);
            let created = loaded(yard, block, &format!("birds.{format}"), &bytes, &["--mode", "create"]);
            assert_eq!(created["rows"], 3, "{dialect} {format}");
            let after = all(yard, block);
            for (before, after) in before.as_array().expect("rows").iter().zip(after.as_array().expect("rows")) {
                for (name, value) in before.as_object().expect("a row") {
                    // SQLite has no boolean type: a boolean is read back as a number.
                    let same = *value == after[name] || dialect == "sqlite" && name == "tame";
                    assert!(same, "{dialect} {format} {name}: {value} {}", after[name]);
                }
            }
        }
    });
}

#[test]
fn parquet_is_interoperable_with_other_programs() {
    let Some(packages) = optional("BLOCKYARD_TEST_PYTHON") else { return };
    let yard = TestYard::with_sqlite();
    let duckdb = |script: &str| {
        let python = format!("import duckdb; print(duckdb.sql({script:?}))");
        let result = program("python3").args(["-c", &python]).env("PYTHONPATH", &packages).output().expect("python3");
        assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
        String::from_utf8(result.stdout).expect("text")
    };
    let theirs = yard.path("theirs.parquet");
    duckdb(&format!(
        "copy (select i as id, 'bird ' || i as name, (i / 4)::decimal(10, 2) as weight, date '2013-02-08' as born, \
         timestamptz '2013-02-08 11:00:00+00' as seen, time '12:30:00' as at from range(2500) t(i)) to '{}' (format parquet)",
        theirs.display()
    ));
    let bytes = std::fs::read(&theirs).expect("the file");
    assert_eq!(loaded(&yard, "sql-database/flights", "birds.parquet", &bytes, &[])["rows"], 2500);
    let row =
        yard.json(&["call", "sql-database/flights", "fetch-one", "--statement", "select * from birds where id = 2499"]);
    assert_eq!(
        (&row["name"], &row["born"], &row["weight"]),
        (&json!("bird 2499"), &json!("2013-02-08"), &json!("624.75")),
        "{row}"
    );
    let ours = yard.path("ours.parquet");
    let to = ours.display().to_string();
    let statement = "select id, name, born from birds where id < 2000";
    yard.ok(&["call", "sql-database/flights", "unload", "--statement", statement, "--format", "parquet", "--out", &to]);
    let output = duckdb(&format!("select count(*) as n, max(name) as m, min(born) as b from '{}'", ours.display()));
    assert!(output.contains("2000") && output.contains("bird 999") && output.contains("2013-02-08"), "{output}");
}

#[test]
fn wrong_file_format_is_reported() {
    let yard = TestYard::with_sqlite();
    let block = "sql-database/flights";
    for (name, bytes, wrong) in [
        ("a.parquet", &b"no such thing"[..], "not a Parquet file"),
        ("a.arrow", b"no such thing", "not an Arrow file or stream"),
        ("a.ndjson", b"{\"a\": 1}\n[2]\n", "row 2"),
        ("a.ndjson", b"{\"a\": 1}\n{\"a\": 2, \"b\"", "row 2"),
        ("a.csv", b"", "the file has no columns"),
        ("a.csv", b"a,a\n1,2\n", "two columns are named `a`"),
        ("a.csv", b"a,b\n1,2\n3\n", "line 3 of the CSV has 1 field, but the first line has 2 fields"),
    ] {
        let refused = load(&yard, block, name, bytes, &[]);
        assert!(refused.code == 1 && refused.stderr.contains(wrong), "{name}: {}", refused.stderr);
    }
    assert_eq!(yard.json(&["call", block, "tables"]), json!([]));
}

#[test]
fn loads_preserve_digits_and_column_types() {
    each("exact", |dialect, yard, block| {
        let csv = "id,big,exact\n1,12345678901234567890,12345678.1234567890123\n2,1,0.5\n";
        loaded(yard, block, "birds.csv", csv.as_bytes(), &[]);
        let rows = all(yard, block);
        assert_eq!(rows[0]["big"].as_str().map(|text| &text[..20]), Some("12345678901234567890"), "{dialect}: {rows}");
        assert!(
            rows[0]["exact"].as_str().is_some_and(|text| text.starts_with("12345678.1234567890123")),
            "{dialect}: {rows}"
        );
        yard.ok(&["execute", block, "drop table birds"]);
        // A value that does not fit the type inferred from the first rows is an error that names
        // its row, even if the database would accept it.
        let mut csv = "id,code\n".to_owned();
        (1..=6_000).for_each(|id| csv.push_str(&format!("{id},{id}\n")));
        csv.push_str("6001,0012\n");
        let refused = load(yard, block, "birds.csv", csv.as_bytes(), &[]);
        assert!(
            refused.stderr.contains(
                "row 6001: column `code` has `0012`, but the first rows, which define the table, have integers"
            ),
            "{dialect}: {}",
            refused.stderr
        );
        assert!(!yard.ok(&["call", block, "tables"]).contains("birds"), "{dialect}");
        // Strings and numbers in JSON keep their types.
        let mixed = "{\"id\": 1, \"a\": {\"x\": 1}}\n{\"id\": 2, \"a\": \"1\"}\n{\"id\": 3, \"a\": 1}\n";
        loaded(yard, block, "birds.ndjson", mixed.as_bytes(), &[]);
        let rows = all(yard, block);
        let values: Vec<Value> = rows.as_array().expect("rows").iter().map(|row| row["a"].clone()).collect();
        let expected = match dialect {
            "postgres" => [json!({"x": 1}), json!("1"), json!(1)],
            // A column without a type stores values of any type; lists and objects are stored as
            // JSON text.
            "sqlite" => [json!("{\"x\": 1}"), json!("1"), json!(1)],
            // MariaDB stores JSON as text.
            _ => [json!("{\"x\": 1}"), json!("\"1\""), json!("1")],
        };
        assert_eq!(values, expected, "{dialect}: {rows}");
        yard.ok(&["execute", block, "drop table birds"]);
        // In a text column, words are not converted.
        yard.ok(&["execute", block, "create table birds (id integer, tame varchar(40), seen varchar(40))"]);
        let words = "id,tame,seen\n1,true,2013-02-08T12:00:00+01:00\n";
        loaded(yard, block, "birds.csv", words.as_bytes(), &[]);
        let row = all(yard, block)[0].clone();
        assert_eq!((&row["tame"], &row["seen"]), (&json!("true"), &json!("2013-02-08T12:00:00+01:00")), "{dialect}");
        if dialect == "mysql" {
            yard.ok(&["execute", block, "alter table birds engine = MyISAM"]);
            let refused = load(yard, block, "birds.csv", words.as_bytes(), &[]);
            assert!(
                refused.stderr.contains("uses the storage engine MyISAM, which does not support transactions"),
                "{}",
                refused.stderr
            );
        }
    });
}

#[test]
fn large_values_load_and_unsupported_types_are_reported() {
    let yard = TestYard::with_sqlite();
    let block = "sql-database/flights";
    let long = "x".repeat(400_000);
    let csv: String =
        std::iter::once("id,text\n".to_owned()).chain((0..400).map(|id| format!("{id},{long}\n"))).collect();
    assert_eq!(loaded(&yard, block, "birds.csv", csv.as_bytes(), &[])["rows"], 400);
    let refused = yard.fails(
        1,
        &["call", block, "unload", "--statement", "select 1 as a, 2 as a", "--format", "ndjson", "--out", "-"],
    );
    assert!(refused.contains("two columns are named `a`"), "{refused}");
    let Some(packages) = optional("BLOCKYARD_TEST_PYTHON") else { return };
    let file = yard.path("odd.parquet");
    let python = format!(
        "import duckdb; duckdb.sql(\"copy (select interval 1 day as v) to '{}' (format parquet)\")",
        file.display()
    );
    let created = program("python3").args(["-c", &python]).env("PYTHONPATH", &packages).status();
    assert!(created.is_ok_and(|status| status.success()));
    let bytes = std::fs::read(&file).expect("the file");
    let refused = load(&yard, block, "odd.parquet", &bytes, &[]);
    assert!(refused.code == 1 && refused.stderr.contains("intervals"), "{}", refused.stderr);
}

#[test]
fn positional_parameters_are_bound_in_order() {
    each("positional", |dialect, yard, block| {
        yard.ok(&["execute", block, "create table birds (id integer, name varchar(20))"]);
        let many = json!({"statement": "insert into birds values (?, ?)", "parameters": [[1, "owl"], [2, "who?"]]});
        yard.ok(&["call", block, "execute-many", "--args", &many.to_string()]);
        let arguments = json!({"statement": "select id from birds where name = ? and id > ? and name <> 'x?'", "parameters": ["who?", 1]});
        assert_eq!(
            yard.json(&["call", block, "fetch-one", "--args", &arguments.to_string()]),
            json!({"id": 2}),
            "{dialect}"
        );
        let flags =
            ["call", block, "fetch-one", "--statement", "select id from birds where id = ?", "--parameters", "[1]"];
        assert_eq!(yard.json(&flags), json!({"id": 1}), "{dialect}");
        let few = json!({"statement": "select ?, ?", "parameters": [1]});
        let refused = yard.fails(1, &["call", block, "fetch-one", "--args", &few.to_string()]);
        assert!(
            refused.contains("positional parameters (`?`) is 2, but the number of values is 1"),
            "{dialect}: {refused}"
        );
        let mixed =
            json!({"statement": "insert into birds values (?, :name)", "parameters": [[3, "x"], {"name": "y"}]});
        assert_eq!(yard.run(&["call", block, "execute-many", "--args", &mixed.to_string()]).code, 1, "{dialect}");
        assert_eq!(count_of(yard, block), 2, "{dialect}");
    });
}
