//! Files of other programs (pyarrow, pandas, Polars, fastparquet, public data sets), compared with
//! the values that pyarrow and Python read from them.

use blockyard_tests::environment::program;
use blockyard_tests::{TestYard, optional};
use serde_json::Value;

const BLOCK: &str = "sql-database/flights";
/// Script that creates the files and prints the expected values.
const WITNESS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/witness/files.py");

#[test]
fn files_of_other_programs_are_read_identically() {
    let Some(packages) = optional("BLOCKYARD_TEST_PYARROW") else { return };
    let yard = TestYard::with_sqlite();
    let folder = yard.path("corpus");
    std::fs::create_dir(&folder).expect("a folder");
    let created = program("python3").arg(WITNESS).arg(&folder).env("PYTHONPATH", packages).output().expect("python3");
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    let mut wrong = Vec::new();
    let lines = String::from_utf8(created.stdout).expect("text");
    for (number, line) in lines.lines().enumerate() {
        let file: Value = serde_json::from_str(line).expect("JSON");
        if let Err(reason) = check(&yard, &format!("f{number}"), &file) {
            wrong.push(format!("{}: {reason}", file["file"]));
        }
    }
    assert!(lines.lines().count() > 50, "{lines}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Loads a file and compares the rows in the database with the expected ones.
fn check(yard: &TestYard, table: &str, file: &Value) -> Result<(), String> {
    let text = |key: &str| file[key].as_str().expect("a text");
    let loaded = yard.run(&[
        "call",
        BLOCK,
        "load",
        "--table",
        table,
        "--format",
        text("format"),
        "--in",
        text("file"),
        "--json",
    ]);
    if let Some(refused) = file["refused"].as_str() {
        return if loaded.code == 1 && loaded.stderr.contains(refused) { Ok(()) } else { Err(loaded.stderr) };
    }
    if loaded.code != 0 {
        return Err(loaded.stderr);
    }
    let statement = format!("select * from {table} order by rowid");
    let found: Vec<Vec<Value>> = if text("format") == "csv" {
        csv_rows(yard, table, &statement)
    } else {
        let out = yard.ok(&["call", BLOCK, "unload", "--statement", &statement, "--format", "ndjson", "--out", "-"]);
        out.lines().map(|line| members(line).into_iter().map(|(_, value)| value).collect()).collect()
    };
    let expected = file["rows"].as_array().expect("rows");
    if found.len() != expected.len() {
        return Err(format!("{} rows, not {}", found.len(), expected.len()));
    }
    for (row, (found, expected)) in found.iter().zip(expected).enumerate() {
        let expected = expected.as_array().expect("a row");
        for (column, (found, expected)) in found.iter().zip(expected).enumerate() {
            if !same(found, expected) {
                return Err(format!("row {} column {}: {found}, not {expected}", row + 1, column + 1));
            }
        }
        if found.len() != expected.len() {
            return Err(format!("{} columns, not {}", found.len(), expected.len()));
        }
    }
    Ok(())
}

/// Compares values. Lists and records are strings in SQLite; numbers are compared by value.
fn same(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::String(text), Value::Array(_) | Value::Object(_)) => {
            serde_json::from_str::<Value>(text).is_ok_and(|value| same(&value, expected))
        }
        (Value::Array(found), Value::Array(expected)) => {
            found.len() == expected.len() && found.iter().zip(expected).all(|(found, expected)| same(found, expected))
        }
        (Value::Object(found), Value::Object(expected)) => {
            found.len() == expected.len()
                && found.iter().all(|(name, value)| expected.get(name).is_some_and(|expected| same(value, expected)))
        }
        (Value::Number(found), Value::Number(expected)) => found == expected || found.as_f64() == expected.as_f64(),
        // Doubles in a file that writes integral values without a decimal point.
        (Value::String(found), Value::String(expected)) => found == expected || *found == format!("{expected}.0"),
        _ => found == expected,
    }
}

/// Returns the members of a JSON object in order.
fn members(line: &str) -> Vec<(String, Value)> {
    struct Members(Vec<(String, Value)>);
    impl<'de> serde::Deserialize<'de> for Members {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Members;
                fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    formatter.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut access: A) -> Result<Members, A::Error> {
                    let mut members = Vec::new();
                    while let Some(member) = access.next_entry()? {
                        members.push(member);
                    }
                    Ok(Members(members))
                }
            }
            deserializer.deserialize_map(Visitor)
        }
    }
    serde_json::from_str::<Members>(line).expect("a row").0
}

/// Returns the fields of a table as Python reads them from an unloaded CSV file, which equals the
/// loaded file.
fn csv_rows(yard: &TestYard, table: &str, statement: &str) -> Vec<Vec<Value>> {
    let out = yard.path(&format!("{table}.csv")).display().to_string();
    yard.ok(&["call", BLOCK, "unload", "--statement", statement, "--format", "csv", "--out", &out]);
    let python = format!(
        "import csv, json\nfor line in list(csv.reader(open({out:?}, newline=''), strict=True))[1:]:\n  print(json.dumps([field or None for field in line]))"
    );
    let read = program("python3").args(["-c", &python]).output().expect("python3");
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let lines = String::from_utf8(read.stdout).expect("text");
    lines.lines().map(|line| serde_json::from_str(line).expect("a row")).collect()
}
