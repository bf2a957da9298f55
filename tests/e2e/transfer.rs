//! `transfer`: rows between databases of every dialect.

use blockyard_tests::{TestYard, bundle};
use serde_json::{Value, json};

use crate::sql_operations::{count_of, each};

const BIRDS: &str = "id,name,weight,born\n1,\"Owl, barn\",0.35,2013-02-08\n2,,1.5,\n3,\"\",,2012-12-31\n";

/// Creates the table `birds` in a block, and the block `sql-database/other` with an empty database.
fn prepare(yard: &TestYard, block: &str) {
    let load = ["call", block, "load", "--table", "birds", "--format", "csv", "--in", "-"];
    yard.ok_with_input(&load, BIRDS);
    let database = format!("database={}", yard.path("other.db").display());
    yard.ok(&["create", "sql-database/other", "--set", "dialect=sqlite", "--set", &database]);
}

fn all(yard: &TestYard, block: &str) -> Value {
    yard.json(&["call", block, "fetch-all", "--statement", "select id, name, weight from birds order by id"])
}

#[test]
fn rows_arrive_unchanged_in_both_directions() {
    each("transfer", |dialect, yard, block| {
        prepare(yard, block);
        let to_other = ["transfer", block, "select * from birds", "sql-database/other", "--table", "birds"];
        let result = yard.json(&to_other);
        assert_eq!((&result["rows"], &result["created"]), (&json!(3), &json!(true)), "{dialect}");
        assert_eq!(all(yard, "sql-database/other"), all(yard, block), "{dialect}");
        let text = yard.ok(&[&to_other[..], &["--mode", "append"]].concat());
        assert_eq!(text, "transferred 3 rows to table `birds` of `sql-database/other`\n", "{dialect}");
        let back = ["transfer", "sql-database/other", "select * from birds where id > :least", block];
        yard.ok(&[&back[..], &["--param", "least=1", "--table", "birds"]].concat());
        assert_eq!(count_of(yard, block), 7, "{dialect}");
    });
}

#[test]
fn failed_transfer_changes_nothing() {
    each("transfer_failed", |dialect, yard, block| {
        prepare(yard, block);
        let to = ["sql-database/other", "--table", "birds"];
        let transfer = |statement: &str, more: &[&str]| {
            let output = yard.run(&[&["transfer", block, statement], &to[..], more].concat());
            (output.code, output.stderr)
        };
        let (code, error) = transfer("select * from bird", &[]);
        assert!(code == 1 && error.contains("bird"), "{dialect}: {code} {error}");
        let (code, error) = transfer("select * from birds", &["--mode", "append"]);
        assert!(code == 1 && error.contains("table `birds` does not exist"), "{dialect}: {code} {error}");
        let (code, error) = transfer("drop table birds", &[]);
        assert!(code != 0, "{dialect}: {error}");
        assert_eq!(count_of(yard, block), 3, "{dialect}");
        yard.ok(&["execute", "sql-database/other", "create table birds (id integer primary key, name text not null)"]);
        let (code, error) = transfer("select id, name from birds order by id", &[]);
        assert!(code == 1 && error.contains("name"), "{dialect}: {code} {error}");
        assert_eq!(count_of(yard, "sql-database/other"), 0, "{dialect}");
    });
}

#[test]
fn source_and_target_are_checked() {
    let yard = TestYard::with_sqlite();
    yard.ok(&["install", &bundle("zoo"), "--yes"]);
    yard.keeper("ada", "badge");
    let from = ["transfer", "sql-database/flights", "select 1 as one"];
    let refused = yard.fails(3, &[&from[..], &["zoo-keeper/ada", "--table", "t"]].concat());
    assert!(refused.contains("type `zoo-keeper` has no operation `load`"), "{refused}");
    let refused = yard.fails(2, &["transfer", "zoo-keeper/ada", "select 1", "sql-database/flights", "--table", "t"]);
    assert!(refused.contains("database"), "{refused}");
    let refused = yard.fails(2, &[&from[..], &["sql-database/flights"]].concat());
    assert!(refused.contains("--table"), "{refused}");
}
