//! The operations of `sql-database` on SQLite, on the fake host. `tests/e2e` has those of servers.

use blockyard_sdk::StepStatus;
use blockyard_sdk::fake::{BlockUnderTest, Host};

use super::*;

const PATH: &str = "/data/flights.db";

fn database(host: &Host) -> BlockUnderTest<'_, SqlDatabase> {
    host.block(json!({ "dialect": "sqlite", "database": PATH }))
}

/// Returns a host whose database has a table of flights.
fn flights() -> Host {
    let script = "create table flights (id integer primary key, carrier text not null, delay real);
                  insert into flights values (1, 'UA', 2.5), (2, 'AA', null)";
    Host::new().database(PATH, script)
}

#[test]
fn a_file_is_loaded_and_queried() {
    let host = Host::new();
    let block = database(&host);
    let file = "id,carrier,delay\n1,UA,2.5\n2,\"\",\n";
    let load =
        |arguments: Value| block.call_with_input("load", arguments, Body::from_bytes("text/csv", file.as_bytes()));
    let loaded = load(json!({ "table": "flights", "format": "csv" })).expect("loaded");
    assert_eq!(loaded.result(), &json!({ "rows": 2, "columns": ["id", "carrier", "delay"], "created": true }));
    let rows = block.call("fetch-all", json!({ "statement": "select * from flights order by id" })).expect("rows");
    let expected = json!([
        { "id": 1, "carrier": "UA", "delay": 2.5 },
        { "id": 2, "carrier": "", "delay": null },
    ]);
    assert_eq!(rows.result(), &expected);
    let appended = load(json!({ "table": "flights", "format": "csv", "mode": "append" })).expect("loaded");
    assert_eq!(appended.result()["created"], false);
    assert_eq!(json!(host.rows(PATH, "select count(*) as n from flights").expect("rows")), json!([{ "n": 4 }]));
    let exists = load(json!({ "table": "flights", "format": "csv", "mode": "create" })).expect_err("exists");
    assert_eq!((exists.code(), exists.message()), ("conflict", "table `flights` already exists"));
    let absent = load(json!({ "table": "flight", "format": "csv", "mode": "append" })).expect_err("absent");
    assert_eq!((absent.code(), absent.message()), ("not-found", "table `flight` does not exist"));
}

#[test]
fn a_load_with_an_invalid_row_changes_nothing() {
    let host = flights();
    let input = Body::from_bytes("text/csv", b"id,carrier,delay\n3,UA,1\n1,UA,2\n");
    let problem = database(&host).call_with_input("load", json!({ "table": "flights", "format": "csv" }), input);
    let problem = problem.expect_err("not unique");
    assert!(problem.message().contains("UNIQUE constraint failed: flights.id"), "{problem}");
    assert_eq!(json!(host.rows(PATH, "select max(id) as id from flights").expect("rows")), json!([{ "id": 2 }]));
}

#[test]
fn a_query_passes_its_rows_on() {
    let host = flights();
    let statement = "select id, carrier, delay * 2 as twice from flights where id = :id";
    let reply = database(&host).call("query", json!({ "statement": statement, "parameters": { "id": 1 } }));
    let reply = reply.expect("rows");
    let columns = json!([
        { "name": "id", "type_name": "integer" },
        { "name": "carrier", "type_name": "text" },
        { "name": "twice", "type_name": "" },
    ]);
    assert_eq!(reply.result(), &json!({ "columns": columns }));
    let rows: Vec<Vec<Value>> =
        reply.rows().expect("rows").rows.into_iter().map(|row| row.into_iter().map(sql::to_json).collect()).collect();
    assert_eq!(json!(rows), json!([[1, "UA", 5.0]]));
}

#[test]
fn a_query_cannot_write() {
    let host = flights();
    let delete = json!({ "statement": "delete from flights returning id" });
    let problem = database(&host).call("fetch-all", delete.clone()).expect_err("a read");
    assert_eq!(problem.code(), "effect");
    assert_eq!(database(&host).call("execute", delete).expect("deleted").result()["rows_affected"], 2);
}

#[test]
fn sets_of_parameters_are_executed_together() {
    let host = flights();
    let sets = |sets: Value| {
        let statement = "insert into flights values (:id, :carrier, null)";
        database(&host).call("execute-many", json!({ "statement": statement, "parameters": sets }))
    };
    let one = |id: u32, carrier: &str| json!({ "id": id, "carrier": carrier });
    let problem = sets(json!([one(3, "UA"), one(1, "UA")])).expect_err("not unique");
    assert_eq!(problem.code(), "conflict");
    assert_eq!(problem.message(), "set 2 of the parameters: UNIQUE constraint failed: flights.id");
    let done = sets(json!([one(3, "UA"), one(4, "AA")])).expect("inserted");
    assert_eq!(done.result(), &json!({ "rows_affected": 2, "last_insert_id": 4 }));
}

#[test]
fn a_script_is_one_transaction() {
    let host = flights();
    let script = |text: &str| database(&host).call("script", json!({ "script": text }));
    let problem = script("delete from flights; delete from flight").expect_err("no such table");
    assert_eq!(problem.message(), "statement 2 of 2: no such table: flight");
    assert_eq!(problem.details()["statement"], 2);
    let done = script("update flights set delay = 0; create index i on flights (carrier);").expect("done");
    assert_eq!(done.result(), &json!({ "statements": 2, "rows_affected": 2 }));
    assert!(script("begin; select 1").expect_err("a transaction").message().contains("`begin`"));
}

#[test]
fn rows_are_unloaded_as_a_file() {
    let host = flights();
    let statement = "select * from flights order by id";
    let reply = database(&host).call("unload", json!({ "statement": statement, "format": "csv" })).expect("a file");
    let file = String::from_utf8(reply.output().expect("bytes")).expect("text");
    assert_eq!(file.replace("\r\n", "\n"), "id,carrier,delay\n1,UA,2.5\n2,AA,\n");
}

#[test]
fn the_catalog_lists_tables_and_columns() {
    let host = flights();
    let block = database(&host);
    let tables = block.call("tables", json!({})).expect("tables");
    assert_eq!(tables.result()[0]["name"], "flights", "{:?}", tables.result());
    let columns = block.call("describe-table", json!({ "table": "flights" })).expect("columns");
    let names: Vec<&Value> =
        columns.result().as_array().expect("a list").iter().map(|column| &column["name"]).collect();
    assert_eq!(json!(names), json!(["id", "carrier", "delay"]));
    let problem = block.call("describe-table", json!({ "table": "flight" })).expect_err("absent");
    assert_eq!(problem.code(), "not-found");
}

#[test]
fn a_check_needs_the_file() {
    let host = flights();
    let failed = |block: &BlockUnderTest<'_, SqlDatabase>| {
        let steps = block.check().expect("steps");
        steps.into_iter().find(|step| step.status == StepStatus::Failed).map(|step| step.name)
    };
    assert_eq!(failed(&database(&host)), None);
    let other = host.block(json!({ "dialect": "sqlite", "database": "/data/other.db" }));
    assert_eq!(failed(&other).as_deref(), Some("connect"));
    let server = host.block::<SqlDatabase>(json!({ "dialect": "sqlite", "database": PATH, "host": "db.example.com" }));
    assert_eq!(server.validate()[0].pointer, "/host");
}
