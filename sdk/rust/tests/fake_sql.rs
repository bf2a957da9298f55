//! SQLite databases of the fake host: values, statements and errors are those of the real host.

use std::panic::{AssertUnwindSafe, catch_unwind};

use blockyard_sdk::fake::Host;
use blockyard_sdk::prelude::*;
use blockyard_sdk::sql::{Connection, Target, Timestamp, Value as Sql, to_json};

/// Path of the database of each test. No file is created.
const PATH: &str = "/data/zoo.db";

/// A SQLite database.
#[derive(Block)]
#[block(type = "zoo", version = 1, title = "Zoo", sql(database = "/database"))]
struct Zoo {
    /// Path of the file.
    database: String,
}

#[operations]
impl Zoo {
    /// Returns the rows of a query.
    #[operation(read)]
    fn query(
        &self,
        /// SQL statement.
        statement: String,
    ) -> Result<Streamed<Vec<String>>> {
        let rows = self.open()?.query(&statement, &[])?;
        let result = rows.columns().into_iter().map(|column| column.name).collect();
        Ok(Streamed { result, body: rows.into_arrow() })
    }

    /// Runs a statement.
    #[operation(write)]
    fn execute(
        &self,
        /// SQL statement.
        statement: String,
    ) -> Result<u64> {
        Ok(self.open()?.execute(&statement, &[])?.rows_affected)
    }
}

impl Zoo {
    fn open(&self) -> Result<Connection> {
        Connection::open(&target(&self.database), None)
    }
}

fn target(path: &str) -> Target {
    let (dialect, database) = ("sqlite".to_owned(), path.to_owned());
    Target { dialect, host: None, port: None, database, username: None, options: Vec::new() }
}

/// Runs a test with a connection to a database with this script.
fn with<R>(script: &str, test: impl FnOnce(&Connection) -> R) -> R {
    Host::new().database(PATH, script).run(|| test(&Connection::open(&target(PATH), None).expect("a connection")))
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn values_have_the_types_of_the_host() {
    with("create table t (i INTEGER, r real, s varchar(9), b blob, n)", |connection| {
        let bytes = Sql::Bytes(vec![0, 255]);
        let row = [Sql::Integer(i64::MIN), Sql::Float(0.5), Sql::Text("ü".to_owned()), bytes, Sql::Null];
        let done = connection.execute("insert into t values (?, ?, ?, ?, ?)", &row).expect("inserted");
        assert_eq!((done.rows_affected, done.last_insert_id), (1, Some(1)));
        let rows = connection.query("select *, 1.0 as e, true as t from t", &[]).expect("rows");
        let described = rows.columns().into_iter().map(|column| (column.name, column.type_name));
        let expected =
            [("i", "integer"), ("r", "real"), ("s", "varchar(9)"), ("b", "blob"), ("n", ""), ("e", ""), ("t", "")];
        assert_eq!(described.collect::<Vec<_>>(), expected.map(|(name, kind)| (name.to_owned(), kind.to_owned())));
        let values: Vec<Value> = rows.next(9).expect("a row").remove(0).into_iter().map(to_json).collect();
        assert_eq!(json!(values), json!([i64::MIN, 0.5, "ü", "AP8=", null, 1.0, 1]), "booleans are integers");
        assert!(rows.next(9).expect("the end").is_empty());
    });
}

#[test]
fn parameters_that_sqlite_would_change_are_refused() {
    with("", |connection| {
        let refused = |value: Sql| {
            let problem = connection.query("select ?", &[value]).expect_err("refused");
            (problem.code().to_owned(), problem.message().to_owned())
        };
        let timestamp = Sql::Timestamp(Timestamp { micros: 0, offset_minutes: None });
        for (value, reason) in [
            (Sql::Float(f64::NAN), "SQLite has no `NaN`; pass it as a string, or null"),
            (timestamp, "SQLite has no date types; pass it as a string"),
            (
                Sql::Decimal("18446744073709551615".to_owned()),
                "SQLite cannot store all digits of this number; pass it as a string, to a column of type `text`",
            ),
        ] {
            assert_eq!(refused(value), ("invalid".to_owned(), format!("parameter 1: {reason}")));
        }
    });
}

#[test]
fn statements_that_the_host_rejects_fail() {
    with("create table t (n integer primary key)", |connection| {
        let two = [Sql::Integer(1), Sql::Integer(2)];
        for (statement, parameters, code, message) in [
            ("select 1; select 2", &[][..], "invalid", "there is more than one statement"),
            (" -- nothing", &[], "invalid", "the statement is empty"),
            ("select ?", &two, "invalid", "the statement takes 1 parameters; 2 were given"),
            ("/**/ COMMIT", &[], "invalid", "`commit` is not supported: the host begins and ends transactions"),
            ("select * from u", &[], "invalid", "no such table: u"),
            ("sel", &[], "invalid", "near \"sel\": syntax error"),
            ("select '\0'", &[], "invalid", "the statement contains a NUL character at byte 9"),
            ("insert into t values (1), (1)", &[], "conflict", "UNIQUE constraint failed: t.n"),
            (
                "attach '/etc/x.db' as x",
                &[],
                "not-granted",
                "the statement accesses more than the block's database file",
            ),
        ] {
            let problem = connection.execute(statement, parameters).expect_err(statement);
            assert_eq!((problem.code(), problem.message()), (code, message), "{statement}");
            assert!(connection.query(statement, parameters).is_err(), "{statement}");
        }
    });
}

#[test]
fn targets_that_the_host_rejects_fail() {
    let host = Host::new();
    let options = vec![("sslmode".to_owned(), "require".to_owned())];
    for (target, message) in [
        (Target { dialect: "postgres".to_owned(), ..target("zoo") }, "the fake host has no database for `postgres`"),
        (target("zoo.db"), "`zoo.db` is a relative path, which depends on the current folder"),
        (Target { host: Some("a".to_owned()), ..target(PATH) }, "a SQLite file has no host, port or user"),
        (Target { options, ..target(PATH) }, "unknown option `sslmode` for SQLite"),
    ] {
        let problem = host.run(|| Connection::open(&target, None)).expect_err(message);
        assert_eq!(problem.message(), message);
    }
}

#[test]
fn a_transaction_is_committed_or_rolled_back() {
    with("create table t (n integer)", |connection| {
        let count = || {
            let rows = connection.query("select count(*) from t", &[]).expect("rows").next(1).expect("a row");
            to_json(rows[0][0].clone())
        };
        let transaction = connection.begin().expect("a transaction");
        assert!(connection.begin().is_err(), "a transaction is open");
        transaction.execute("insert into t values (1)", &[]).expect("inserted");
        let other = Connection::open(&target(PATH), None).expect("a connection");
        let locked = other.execute("insert into t values (2)", &[]).expect_err("locked");
        assert_eq!((locked.code(), locked.is_retryable()), ("unavailable", true));
        drop(transaction);
        assert_eq!(count(), 0);
        let transaction = connection.begin().expect("a transaction");
        transaction.execute("insert into t values (1)", &[]).expect("inserted");
        transaction.commit().expect("committed");
        assert_eq!(count(), 1);
    });
}

#[test]
fn many_rows_are_inserted_or_none() {
    with("create table t (n integer unique, r real)", |connection| {
        let sets = [1, 2, 1].map(|n| vec![Sql::Integer(n), Sql::Null]);
        let problem = connection.execute_many("insert into t values (?, ?)", &sets).expect_err("not unique");
        assert_eq!(problem.message(), "set 3 of the parameters: UNIQUE constraint failed: t.n");
        assert_eq!(connection.execute_many("insert into t values (?, ?)", &sets[..2]).expect("done").rows_affected, 2);
        let transaction = connection.begin().expect("a transaction");
        let (table, columns) = (strings(&["main", "t"]), strings(&["r", "n"]));
        let row = |real: Sql, n: i64| vec![real, Sql::Integer(n)];
        let rows = [row(Sql::Float(0.5), 3), row(Sql::Integer(4), 4)];
        assert_eq!(transaction.insert(&table, &columns, &rows).expect("inserted"), 2);
        let problem = transaction.insert(&table, &columns, &[row(Sql::Null, 5), row(Sql::Null, 1)]);
        let problem = problem.expect_err("not unique");
        assert_eq!((problem.code(), &problem.details()["row"]), ("conflict", &json!(2)));
        let lossy = [row(Sql::Integer(9_007_199_254_740_993), 6)];
        let problem = transaction.insert(&table, &columns, &lossy).expect_err("digits would be lost");
        assert!(problem.message().starts_with("column \"r\": the column's type cannot hold all digits"), "{problem}");
        for (table, columns) in [(&[][..], &["n"][..]), (&["a", "b", "c"], &["n"]), (&["t"], &[]), (&["t"], &[""])] {
            assert!(transaction.insert(&strings(table), &strings(columns), &[]).is_err(), "{table:?} {columns:?}");
        }
    });
}

#[test]
fn a_connection_is_busy_until_its_rows_are_read() {
    with("create table t (n integer); insert into t values (1), (2), (3)", |connection| {
        let rows = connection.query("select n from t order by n", &[]).expect("rows");
        assert_eq!(rows.next(2).expect("rows").len(), 2);
        let busy = connection.query("select 1", &[]).expect_err("a row is left");
        assert_eq!(busy.message(), "the connection is busy with the rows of another statement");
        assert_eq!(rows.next(2).expect("rows").len(), 1);
        let late = rows.into_arrow().read(1).expect_err("rows were read");
        assert_eq!(late.message, "rows that were read as values cannot be converted to an Arrow stream");
        drop(connection.query("select n from t", &[]).expect("rows"));
        connection.execute("delete from t", &[]).expect("the rows were dropped");
    });
}

#[test]
fn a_read_cannot_write() {
    let host = Host::new().database(PATH, "create table t (n integer); insert into t values (7)");
    let zoo = host.block::<Zoo>(json!({ "database": PATH }));
    let query = |statement: &str| zoo.call("query", json!({ "statement": statement }));
    let problem = query("delete from t returning n").expect_err("writes");
    let message = "the operation only reads, and the statement writes";
    assert_eq!((problem.code(), problem.message()), ("effect", message));
    let reply = query("select n, 'x' as s from t").expect("rows");
    let table = reply.rows().expect("rows");
    assert_eq!(table.rows.len(), 1);
    assert_eq!(reply.media_type().as_deref(), Some("application/vnd.apache.arrow.stream"));
    assert!(reply.output().expect_err("not encoded").message().contains("does not encode rows as Arrow"));
    let written = zoo.call("execute", json!({ "statement": "update t set n = 8" })).expect("written");
    assert_eq!(written.result(), 1);
    assert_eq!(json!(host.rows(PATH, "select n from t").expect("rows")), json!([{ "n": 8 }]));
    let absent = host.block::<Zoo>(json!({ "database": "/data/other.db" }));
    let problem = absent.call("query", json!({ "statement": "select 1" })).expect_err("no file");
    assert_eq!((problem.code(), problem.message()), ("not-found", "database file `/data/other.db` does not exist"));
}

#[test]
fn a_wrong_script_fails_the_test() {
    let panic = catch_unwind(AssertUnwindSafe(|| Host::new().database(PATH, "create tabel t (n)")));
    let message = *panic.expect_err("a panic").downcast::<String>().expect("a message");
    assert_eq!(message, "the script of the database `/data/zoo.db`: near \"tabel\": syntax error");
}
