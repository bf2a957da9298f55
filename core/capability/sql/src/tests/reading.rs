//! An operation with the effect `read` writes nothing, regardless of how its statements are
//! written: random statements run on real databases in a read-only transaction, and a table stays
//! unchanged. The host's scanner and the database agree on the first word of a statement.

use blockyard_call::Problem;
use blockyard_model::capability::Dialect;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{Access, Claimed, End, Server, Slot, begin, end, execute, fetch, rows, run, statement, value};
use crate::bindings::blockyard::bundle::sql::Value;
use crate::statement::{LEFT_TRANSACTION, Statement};
use crate::word::first_word;

/// Fragments of statements: delimiters of comments, strings and identifiers of the various servers,
/// control characters, and words that write or end a transaction.
const FRAGMENTS: [&str; 58] = [
    "--",
    "-- ",
    "--\r",
    "--\n",
    "--\x7f",
    "--\x01",
    "\r",
    "\n",
    "\r\n",
    "\t",
    "\x0b",
    "\x0c",
    " ",
    "/*",
    "*/",
    "/*/",
    "/* /* */",
    "/*!",
    "/*!50000 ",
    "/*M! ",
    "*/ */",
    "#",
    "# ",
    "'",
    "''",
    "\\'",
    "\"",
    "`",
    "[",
    "]",
    "$$",
    "$a$",
    "E'",
    "e'\\'",
    "U&'",
    ";",
    ";;",
    "(",
    ")",
    "select 1",
    "select 1 ",
    "select ",
    "1",
    "commit",
    "COMMIT ",
    "rollback",
    "commit and chain",
    "begin",
    "end",
    "abort",
    "savepoint a",
    "insert into canary values (666)",
    "delete from canary",
    "set transaction read write",
    "with x as (select 1) select * from x",
    "\u{a0}",
    "\u{feff}",
    "into outfile '/tmp/blockyard-canary'",
];

/// Known attempts to write in a read-only transaction.
const TRIED: [&str; 16] = [
    "--\rCOMMIT /*\nselect 1 */",
    "--\rROLLBACK /*\nselect 1 */",
    "--\rCOMMIT AND CHAIN /*\nselect 1 */",
    "--\rINSERT INTO canary VALUES (42) /*\nselect 1 */",
    "--\rDROP TABLE canary /*\nselect 1 */",
    "--\rSET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE /*\nselect 1 */",
    "--\rDISCARD ALL /*\nselect 1 */",
    ";commit",
    "; ; commit",
    "/* /* */ commit",
    "/* /* */ commit -- */ select 1",
    "select set_config('default_transaction_read_only', 'off', false)",
    "select set_config('transaction_read_only', 'off', true)",
    "\u{feff}commit",
    "select 1 --\x7f'\n into outfile '/tmp/blockyard-canary' -- '",
    "select 1 --'\n into outfile '/tmp/blockyard-canary' -- '",
];

/// Statements that every server runs. Without them, a database that refuses every statement would
/// pass the test.
const HARMLESS: [&str; 4] =
    ["select 1", "/* a */ select 1 /* b */", "-- a\nselect 1", "with x as (select 1) select * from x"];

fn within(text: &str) -> Statement {
    Statement { in_transaction: true, ..statement(text, &[], Access::ReadOnly) }
}

/// Runs the statement in the way that a guest would, with `query` or with `execute`.
async fn attempt(slot: &Slot, text: &str, reading: bool) -> Result<(), Problem> {
    if !reading {
        return execute(Claimed::of(slot)?, within(text)).await.map(drop);
    }
    let mut rows = rows::start(Claimed::of(slot)?, within(text)).await?;
    let read = async {
        while !rows.next(1000).await?.is_empty() {}
        Ok(())
    };
    let read = read.await;
    while Claimed::of(slot).is_err() {
        tokio::task::yield_now().await;
    }
    read
}

/// Creates the canary table, and returns a connection that observes it from outside.
async fn canary(server: &Server) -> (Slot, &'static str) {
    let watcher = server.open(Access::ReadWrite).await;
    let table = if server.dialect == Dialect::Mysql { "canaries.canary" } else { "canary" };
    if server.dialect == Dialect::Mysql {
        run(&watcher, "create database if not exists canaries").await;
    }
    run(&watcher, &format!("drop table if exists {table}")).await;
    run(&watcher, &format!("create table {table} (a integer)")).await;
    run(&watcher, &format!("insert into {table} values (1)")).await;
    (watcher, table)
}

async fn unchanged(watcher: &Slot, table: &str, text: &str) {
    let seen = fetch(watcher, &format!("select a from {table}"), &[]).await;
    let alive = seen.as_ref().is_ok_and(|rows| rows.len() == 1 && matches!(rows[0][0], Value::Integer(1)));
    assert!(alive, "{text:?} changed the canary: {seen:?}");
    assert!(!std::path::Path::new("/tmp/blockyard-canary").exists(), "{text:?} wrote a file");
}

/// Runs the statement in a transaction, followed by a plain write that nothing else would prevent
/// and that must not succeed.
async fn survives(server: &Server, watcher: &Slot, table: &str, text: &str) {
    let write = format!("insert into {table} values (777)");
    for reading in [true, false] {
        let slot = server.open(Access::ReadOnly).await;
        begin(&mut Claimed::of(&slot).unwrap(), Access::ReadOnly).await.unwrap();
        let attempted = attempt(&slot, text, reading).await;
        // A statement that passes must not have changed the session so that the next one can write.
        for after in [write.as_str(), "--\rINSERT INTO canary VALUES (42) /*\nselect 1 */"] {
            assert!(attempt(&slot, after, reading).await.is_err(), "{text:?}, then {after:?} was run");
        }
        if attempted.as_ref().is_err_and(|problem| problem.code == LEFT_TRANSACTION) {
            assert!(slot.lock().await.is_some());
            assert!(attempt(&slot, "select 1", reading).await.is_err(), "{text:?}: the connection is reused");
        }
        if let Ok(mut claimed) = Claimed::of(&slot) {
            let _ = end(&mut claimed, End::Commit).await;
        }
        drop(slot);
        unchanged(watcher, table, text).await;
    }
}

fn random_statements_write_nothing(server: Option<Server>, cases: u32) {
    let Some(server) = server else { return };
    server.runtime.block_on(async {
        let (watcher, table) = canary(&server).await;
        for text in HARMLESS {
            let slot = server.open(Access::ReadOnly).await;
            begin(&mut Claimed::of(&slot).unwrap(), Access::ReadOnly).await.unwrap();
            attempt(&slot, text, true).await.unwrap_or_else(|problem| panic!("{text:?}: {problem:?}"));
        }
        for text in TRIED {
            survives(&server, &watcher, table, text).await;
        }
        drop(watcher);
    });
    let fragments =
        prop::collection::vec(prop::sample::select(&FRAGMENTS[..]), 1..9).prop_map(|fragments| fragments.concat());
    // Half of the statements start with one that runs.
    let fragments = prop_oneof![fragments.clone(), fragments.prop_map(|fragments| format!("select 1 {fragments}"))];
    let (watcher, table) = server.runtime.block_on(canary(&server));
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let checked = runner.run(&fragments, |text| {
        server.runtime.block_on(async {
            let slot = server.open(Access::ReadOnly).await;
            begin(&mut Claimed::of(&slot).unwrap(), Access::ReadOnly).await.unwrap();
            let _ = attempt(&slot, &text, true).await;
            let _ = attempt(&slot, &format!("insert into {table} values (777)"), false).await;
            if let Ok(mut claimed) = Claimed::of(&slot) {
                let _ = end(&mut claimed, End::Commit).await;
            }
            drop(slot);
            unchanged(&watcher, table, &text).await;
        });
        Ok(())
    });
    checked.unwrap();
    server.runtime.block_on(run(&watcher, &format!("drop table {table}")));
    server.runtime.block_on(async { drop(watcher) });
}

#[test]
fn in_postgres_random_statements_write_nothing() {
    random_statements_write_nothing(Server::postgres(), 400);
}

#[test]
fn in_mysql_random_statements_write_nothing() {
    random_statements_write_nothing(Server::mysql(), 200);
}

#[test]
fn in_sqlite_random_statements_write_nothing() {
    random_statements_write_nothing(Some(Server::sqlite()), 400);
}

/// Compares the scanner with the database. After the same white space and comments, the database
/// runs `select 7` only if the scanner finds `select` as the first word.
fn the_scanner_agrees(server: Option<Server>, cases: u32) {
    let Some(server) = server else { return };
    const SPACE: [&str; 22] = [
        "--",
        "-- ",
        "--\r",
        "--\n",
        "--a\r",
        "\r",
        "\n",
        "\r\n",
        "\t",
        "\x0c",
        " ",
        "/*",
        "*/",
        "/**/",
        "/* /* */ */",
        "/* /* */",
        "/*/",
        "a",
        "select 7",
        "--\rselect 7\n",
        ";",
        "*/ -- \n",
    ];
    let slot = server.runtime.block_on(server.open(Access::ReadOnly));
    let leads = prop::collection::vec(prop::sample::select(&SPACE[..]), 0..7).prop_map(|fragments| fragments.concat());
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let dialect = server.dialect;
    let checked = runner.run(&leads, |lead| {
        let text = format!("{lead}\nselect 7");
        let word = first_word(&text, dialect);
        let rows = server.runtime.block_on(async {
            let mut rows = match rows::start(Claimed::of(&slot).unwrap(), statement(&text, &[], Access::ReadOnly)).await
            {
                Ok(rows) => rows,
                Err(problem) => return Err(problem),
            };
            let mut all = Vec::new();
            loop {
                let some = rows.next(10).await?;
                if some.is_empty() {
                    break;
                }
                all.extend(some);
            }
            while Claimed::of(&slot).is_err() {
                tokio::task::yield_now().await;
            }
            Ok(all)
        });
        // If the database runs the text as a `select`, the scanner finds that word.
        if rows.is_ok() {
            prop_assert_eq!(word, "select", "{:?}", text);
        }
        Ok(())
    });
    checked.unwrap();
    server.runtime.block_on(async { drop(slot) });
}

#[test]
fn in_postgres_the_scanner_finds_the_first_word() {
    the_scanner_agrees(Server::postgres(), 500);
}

#[test]
fn in_sqlite_the_scanner_finds_the_first_word() {
    the_scanner_agrees(Some(Server::sqlite()), 500);
}

/// Without the scanner, the databases themselves refuse statements that end a transaction.
#[test]
fn statements_that_end_the_transaction_are_detected() {
    for server in Server::all() {
        server.runtime.block_on(async {
            let slot = server.open(Access::ReadOnly).await;
            begin(&mut Claimed::of(&slot).unwrap(), Access::ReadOnly).await.unwrap();
            for word in ["commit", "rollback"] {
                let mut claimed = Claimed::of(&slot).unwrap();
                let refused = super::unscanned(claimed.start().unwrap(), word).await.unwrap_err();
                claimed.finish();
                assert!(matches!(refused.code.as_str(), "effect" | "invalid"), "{word}: {refused:?}");
            }
            // The transaction is still the same.
            drop(Claimed::of(&slot).unwrap());
            attempt(&slot, "select 1", true).await.unwrap();
        });
    }
}

/// A commit that was not refused is detected before anything else runs.
#[test]
fn an_ended_transaction_is_detected() {
    for server in Server::all().into_iter().filter(|server| server.dialect != Dialect::Sqlite) {
        server.runtime.block_on(async {
            for access in [Access::ReadOnly, Access::ReadWrite] {
                // In MySQL, data definition statements end transactions that write, so these are
                // not checked.
                if server.dialect == Dialect::Mysql && access == Access::ReadWrite {
                    continue;
                }
                for text in ["commit", "commit and chain", "rollback"] {
                    let slot = server.open(access).await;
                    begin(&mut Claimed::of(&slot).unwrap(), access).await.unwrap();
                    let mut claimed = Claimed::of(&slot).unwrap();
                    let detected = super::execute_unscanned(claimed.start().unwrap(), text).await.unwrap_err();
                    claimed.finish();
                    assert_eq!(detected.code, LEFT_TRANSACTION, "{text}");
                    drop(claimed);
                    assert!(attempt(&slot, "select 1", true).await.is_err(), "{text}: the connection is reused");
                }
            }
        });
    }
}

/// An error of SQLite that rolls back ends the guest's transaction, and later statements do not run
/// outside of it.
#[test]
fn a_rollback_by_sqlite_closes_the_connection() {
    let server = Server::sqlite();
    server.runtime.block_on(async {
        let slot = server.open(Access::ReadWrite).await;
        run(&slot, "create table t (a integer unique)").await;
        run(&slot, "insert into t values (1)").await;
        begin(&mut Claimed::of(&slot).unwrap(), Access::ReadWrite).await.unwrap();
        let write = |text: &str| Statement { in_transaction: true, ..statement(text, &[], Access::ReadWrite) };
        execute(Claimed::of(&slot).unwrap(), write("insert into t values (2)")).await.unwrap();
        let refused = execute(Claimed::of(&slot).unwrap(), write("insert or rollback into t values (1)")).await;
        assert_eq!(refused.unwrap_err().code, "conflict");
        let after = execute(Claimed::of(&slot).unwrap(), write("insert into t values (3)")).await;
        assert_eq!(after.unwrap_err().code, "unavailable");
        let slot = server.open(Access::ReadWrite).await;
        assert!(matches!(value(&slot, "select count(*) from t").await, Value::Integer(1)));
    });
}

/// Another program has written names that are not UTF-8 to the file.
#[test]
fn in_sqlite_a_name_that_is_not_utf_8_is_an_error() {
    let server = Server::sqlite();
    let other = rusqlite::Connection::open(&server.target.database).unwrap();
    let written = "create table names (a integer, caf_ integer);
        create table types (a caf_);
        insert into names values (7, 8);
        insert into types values (7);
        pragma writable_schema = on;
        update sqlite_schema set sql = replace(sql, '_', cast(x'e9' as text))";
    other.execute_batch(written).unwrap();
    drop(other);
    server.runtime.block_on(async {
        let slot = server.open(Access::ReadWrite).await;
        for (text, message) in [
            ("select * from names", "the database has a name that is not UTF-8"),
            ("select a from types", "the name or the type of a column is not UTF-8"),
        ] {
            let problem = fetch(&slot, text, &[]).await.unwrap_err();
            assert_eq!((problem.code.as_str(), problem.message.as_str()), ("failed", message), "{text}");
        }
        assert!(matches!(value(&slot, "select a from names").await, Value::Integer(7)));
        assert!(matches!(value(&slot, "select a + 0 from types").await, Value::Integer(7)));
    });
}

/// A transaction with an error is not committed. PostgreSQL itself would answer `COMMIT` with a
/// rollback and no error.
#[test]
fn a_commit_after_an_error_fails() {
    let Some(server) = Server::postgres() else { return };
    server.runtime.block_on(async {
        let slot = server.open(Access::ReadWrite).await;
        begin(&mut Claimed::of(&slot).unwrap(), Access::ReadWrite).await.unwrap();
        let write = |text: &str| Statement { in_transaction: true, ..statement(text, &[], Access::ReadWrite) };
        assert!(execute(Claimed::of(&slot).unwrap(), write("select 1 / 0")).await.is_err());
        let committed = end(&mut Claimed::of(&slot).unwrap(), End::Commit).await;
        assert!(committed.is_err());
        // An isolation level can be chosen at the beginning of a transaction that writes.
        let slot = server.open(Access::ReadWrite).await;
        begin(&mut Claimed::of(&slot).unwrap(), Access::ReadWrite).await.unwrap();
        execute(Claimed::of(&slot).unwrap(), write("set transaction isolation level serializable")).await.unwrap();
        end(&mut Claimed::of(&slot).unwrap(), End::Commit).await.unwrap();
    });
}

/// The session itself is read-only, not only the transaction of the host.
#[test]
fn a_read_session_is_read_only_by_default() {
    for server in Server::all() {
        let question = match server.dialect {
            Dialect::Postgres => "show default_transaction_read_only",
            Dialect::Mysql => "select concat('o', if(@@session.tx_read_only, 'n', 'ff'))",
            Dialect::Sqlite => continue,
        };
        server.runtime.block_on(async {
            for (access, expected) in [(Access::ReadOnly, "on"), (Access::ReadWrite, "off")] {
                let slot = server.open(access).await;
                let seen = value(&slot, question).await;
                assert!(matches!(&seen, Value::Text(seen) if seen == expected), "{access:?}: {seen:?}");
            }
        });
    }
}
