//! Operations of `sql-database` that behave the same in every dialect: scripts, tables, columns.

use blockyard_tests::TestYard;
use serde_json::{Value, json};

use crate::{mysql, postgres};

/// Runs a test on an empty database of each available kind.
pub(crate) fn each(name: &str, test: impl Fn(&str, &TestYard, &str)) {
    test("sqlite", &TestYard::with_sqlite(), "sql-database/flights");
    if let Some(server) = postgres::server(name) {
        test("postgres", &server.yard, "sql-database/pg");
    }
    if let Some(server) = mysql::server(name) {
        test("mysql", &server.yard, "sql-database/my");
    }
}

pub(crate) fn count_of(yard: &TestYard, block: &str) -> Value {
    yard.json(&["call", block, "fetch-one", "--statement", "select count(*) as n from birds"])["n"].clone()
}

#[test]
fn script_is_atomic() {
    each("script", |dialect, yard, block| {
        let script = |text: &str| yard.run(&["call", block, "script", "--script", text, "--json"]);
        let created = script(
            "create table birds (id integer primary key, name varchar(40) not null);\n\
             -- two of them; no more\n\
             insert into birds values (1, 'owl; barn'), (2, 'heron');",
        );
        assert_eq!(created.code, 0, "{dialect}: {}", created.stderr);
        let created: Value = serde_json::from_str(&created.stdout).expect("JSON");
        assert_eq!(created["statements"], 2, "{dialect}");
        assert_eq!(count_of(yard, block), 2, "{dialect}");

        let failed = script(
            "insert into birds values (3, 'kite'); delete from birds where id = 1; insert into birds values (3, 'rook')",
        );
        assert_eq!(failed.code, 1, "{dialect}: {}", failed.stdout);
        assert!(failed.stderr.contains("statement 3 of 3: "), "{dialect}: {}", failed.stderr);
        assert_eq!(count_of(yard, block), 2, "{dialect}");

        let refused = script("insert into birds values (4, 'crow'); commit; select 1");
        assert_eq!(refused.code, 1, "{dialect}");
        assert!(refused.stderr.contains("statement 2 of the script is `commit`"), "{dialect}: {}", refused.stderr);
        assert_eq!(count_of(yard, block), 2, "{dialect}");
    });
}

#[test]
fn tables_and_their_columns_are_described() {
    each("tables", |dialect, yard, block| {
        let created = "create table birds (id integer primary key, name varchar(40) not null, weight numeric(6, 2), seen integer default 7); \
                    create view owls as select * from birds where name = 'owl'";
        yard.ok(&["call", block, "script", "--script", created]);
        let tables = yard.json(&["call", block, "tables"]);
        let named: Vec<(&str, &str)> = tables
            .as_array()
            .expect("tables")
            .iter()
            .map(|table| (table["name"].as_str().expect("a name"), table["kind"].as_str().expect("a kind")))
            .collect();
        assert_eq!(named, [("birds", "table"), ("owls", "view")], "{dialect}");

        let columns = yard.json(&["call", block, "describe-table", "--table", "birds"]);
        let facts: Vec<Value> = columns
            .as_array()
            .expect("columns")
            .iter()
            .map(|column| json!([column["name"], column["nullable"], column["primary_key"], column["default"]]))
            .collect();
        let expected = [
            json!(["id", false, true, null]),
            json!(["name", false, false, null]),
            json!(["weight", true, false, null]),
            json!(["seen", true, false, "7"]),
        ];
        assert_eq!(facts, expected, "{dialect}");
        let types: Vec<&str> =
            columns.as_array().expect("columns").iter().filter_map(|c| c["type_name"].as_str()).collect();
        let expected = match dialect {
            "sqlite" => ["integer", "varchar(40)", "numeric(6, 2)", "integer"],
            "postgres" => ["integer", "character varying(40)", "numeric(6,2)", "integer"],
            _ => ["int(11)", "varchar(40)", "decimal(6,2)", "int(11)"],
        };
        let lower: Vec<String> = types.iter().map(|name| name.to_lowercase()).collect();
        assert_eq!(lower, expected, "{dialect}");

        let missing = yard.fails(1, &["call", block, "describe-table", "--table", "fish"]);
        assert!(missing.contains("table or view `fish` does not exist"), "{dialect}: {missing}");
        // Names are passed as values, regardless of their content.
        let refused = yard.fails(1, &["call", block, "describe-table", "--table", "x'; drop table birds; --"]);
        assert!(refused.contains("table or view `x'"), "{dialect}: {refused}");
        assert_eq!(count_of(yard, block), 0, "{dialect}");
    });
    // Specific to SQLite: nullable primary keys and generated columns.
    let yard = TestYard::with_sqlite();
    let created = "create table t (code text primary key, n integer, twice integer generated always as (n * 2))";
    yard.ok(&["call", "sql-database/flights", "script", "--script", created]);
    let columns = yard.json(&["call", "sql-database/flights", "describe-table", "--table", "t"]);
    let facts: Vec<Value> =
        columns.as_array().expect("columns").iter().map(|c| json!([c["name"], c["nullable"]])).collect();
    assert_eq!(facts, [json!(["code", true]), json!(["n", true]), json!(["twice", true])]);
    let refused = yard.fails(1, &["call", "sql-database/flights", "tables", "--schema", "main"]);
    assert!(refused.contains("have no schemas"), "{refused}");
}
