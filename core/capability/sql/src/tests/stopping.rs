//! A statement is canceled when its caller stops waiting, on the server as well, as the server's
//! list of running statements shows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use blockyard_model::capability::Dialect;

use super::{Access, Claimed, Server, begin, execute, fetch, rows, run, statement, value};
use crate::bindings::blockyard::bundle::sql::Value;
use crate::connection::Slot;
use crate::pool::Pooled;

/// Maximum time for a server to notice. It usually takes seconds, and longer on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Statements that take a minute, each with a query that counts its executions on the server.
const SLOW: [(&str, &str); 2] = [
    (
        "select pg_sleep(60) /* MARK */",
        "select count(*) from pg_stat_activity where state = 'active' and query like 'select pg_sleep(60) /* MARK%'",
    ),
    (
        "select sleep(60) /* MARK */",
        "select count(*) from information_schema.processlist where info like 'select sleep(60) /* MARK%'",
    ),
];

async fn until(watcher: &Slot, question: &str, expected: i64) {
    let started = Instant::now();
    loop {
        let seen = value(watcher, question).await;
        if matches!(seen, Value::Integer(seen) if seen == expected) {
            return;
        }
        assert!(started.elapsed() < TIMEOUT, "{question}: {seen:?} instead of {expected}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the connection is closed, because its statement was canceled.
async fn until_closed(slot: &Slot) {
    let started = Instant::now();
    while !slot.try_lock().is_ok_and(|slot| slot.as_ref().is_none_or(Pooled::is_closed)) {
        assert!(started.elapsed() < TIMEOUT, "the connection is not closed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Starts a statement, waits until it runs on the server, drops it, and waits until it has stopped.
fn stops(server: &Server, slow: (&str, &str), mark: &str, reading: bool) {
    let (text, question) = (slow.0.replace("MARK", mark), slow.1.replace("MARK", mark));
    server.runtime.block_on(async {
        let watcher = server.open(Access::ReadWrite).await;
        let slot = server.open(Access::ReadOnly).await;
        let of_task = slot.clone();
        let task = tokio::spawn(async move {
            let slow = statement(&text, &[], Access::ReadOnly);
            if reading {
                let _ = rows::start(Claimed::of(&of_task).unwrap(), slow).await.map(drop);
            } else {
                let _ = execute(Claimed::of(&of_task).unwrap(), slow).await;
            }
        });
        until(&watcher, &question, 1).await;
        task.abort();
        let _ = task.await;
        until(&watcher, &question, 0).await;
        until_closed(&slot).await;
    });
}

#[test]
fn a_dropped_query_is_canceled_in_postgres() {
    let Some(server) = Server::postgres() else { return };
    stops(&server, SLOW[0], "query", true);
}

#[test]
fn a_dropped_statement_is_canceled_in_postgres() {
    let Some(server) = Server::postgres() else { return };
    stops(&server, SLOW[0], "statement", false);
}

#[test]
fn a_dropped_query_is_canceled_in_mysql() {
    let Some(server) = Server::mysql() else { return };
    stops(&server, SLOW[1], "query", true);
}

#[test]
fn a_dropped_statement_is_canceled_in_mysql() {
    let Some(server) = Server::mysql() else { return };
    stops(&server, SLOW[1], "statement", false);
}

#[test]
fn unread_rows_cancel_the_query() {
    let statements = [
        ("sqlite", "with recursive n(i) as (select 1 union all select i + 1 from n) select i from n", ""),
        (
            "postgres",
            "with recursive n(i) as (select 1 union all select i + 1 from n) select i, repeat('unread', 100) from n",
            "select count(*) from pg_stat_activity where state = 'active' and query like 'with recursive n(i)%unread%'",
        ),
        (
            "mysql",
            "with recursive n(i) as (select 1 union all select i + 1 from n) select /* unread */ a.i from n a limit 1000000000",
            "select count(*) from information_schema.processlist where info like 'with recursive n(i)%unread%'",
        ),
    ];
    for server in Server::all() {
        let (_, text, question) = *statements.iter().find(|(name, ..)| *name == server.dialect.as_str()).unwrap();
        server.runtime.block_on(async {
            let slot = server.open(Access::ReadWrite).await;
            if server.dialect == Dialect::Mysql {
                run(&slot, "set max_recursive_iterations = 100000").await;
            }
            let mut rows =
                rows::start(Claimed::of(&slot).unwrap(), statement(text, &[], Access::ReadWrite)).await.unwrap();
            assert!(!rows.next(10).await.unwrap().is_empty());
            drop(rows);
            until_closed(&slot).await;
            if !question.is_empty() {
                let watcher = server.open(Access::ReadWrite).await;
                until(&watcher, question, 0).await;
            }
        });
    }
}

#[test]
fn a_running_statement_is_interrupted_in_sqlite() {
    let server = Server::sqlite();
    server.runtime.block_on(async {
        let slot = server.open(Access::ReadWrite).await;
        run(&slot, "create table t (i)").await;
        let endless = "with recursive n(i) as (select 1 union all select i + 1 from n)";
        for text in [
            // Holds the lock on the file while it runs.
            format!("insert into t {endless} select max(i) from n"),
            format!("{endless} select max(i) from n"),
        ] {
            let busy = server.open(Access::ReadWrite).await;
            let waited = tokio::time::timeout(Duration::from_millis(300), async {
                let endless = statement(&text, &[], Access::ReadWrite);
                if text.starts_with("insert") {
                    execute(Claimed::of(&busy).unwrap(), endless).await.map(drop)
                } else {
                    rows::start(Claimed::of(&busy).unwrap(), endless).await.map(drop)
                }
            });
            assert!(waited.await.is_err(), "the statement must not end");
            // Its thread has ended once another connection can write.
            run(&slot, "insert into t values (0)").await;
        }
        assert!(matches!(value(&slot, "select count(*) from t").await, Value::Integer(2)));
    });
}

#[test]
fn a_statement_of_sqlite_waits_for_a_lock_until_it_is_dropped() {
    let server = Server::sqlite();
    let other = rusqlite::Connection::open(&server.target.database).unwrap();
    other.execute_batch("create table t (i); begin immediate").unwrap();
    server.runtime.block_on(async {
        let insert = statement("insert into t values (1)", &[], Access::ReadWrite);
        let budget = Arc::default();
        let slot = server.try_open("test/test@1", Access::ReadWrite, &budget).await.unwrap();
        let waiting = execute(Claimed::of(&slot).unwrap(), insert);
        assert!(tokio::time::timeout(Duration::from_millis(300), waiting).await.is_err(), "the file is locked");
        let dropped = Instant::now();
        // The thread of the session counts toward the budget until it ends.
        while Arc::strong_count(&budget) > 1 {
            assert!(dropped.elapsed() < Duration::from_secs(5), "the statement still waits");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let slot = server.open(Access::ReadWrite).await;
        let waiting = tokio::spawn(async move { run(&slot, "insert into t values (2)").await.rows_affected });
        tokio::time::sleep(Duration::from_millis(100)).await;
        other.execute_batch("commit").unwrap();
        assert_eq!(waiting.await.unwrap(), 1);
        let slot = server.open(Access::ReadWrite).await;
        assert!(matches!(value(&slot, "select sum(i) from t").await, Value::Integer(2)));
    });
}

#[test]
fn a_dropped_transaction_is_rolled_back() {
    for server in Server::all() {
        server.runtime.block_on(async {
            let table = if server.dialect == Dialect::Mysql { "test.dropped" } else { "dropped" };
            let watcher = server.open(Access::ReadWrite).await;
            if server.dialect == Dialect::Mysql {
                run(&watcher, "create database if not exists test").await;
            }
            run(&watcher, &format!("drop table if exists {table}")).await;
            run(&watcher, &format!("create table {table} (i integer)")).await;
            for trapped in [false, true] {
                let slot = server.open(Access::ReadWrite).await;
                begin(&mut Claimed::of(&slot).unwrap(), Access::ReadWrite).await.unwrap();
                let mut insert = statement(&format!("insert into {table} values (1)"), &[], Access::ReadWrite);
                insert.in_transaction = true;
                execute(Claimed::of(&slot).unwrap(), insert).await.unwrap();
                if trapped {
                    // Simulates a call that ends together with the handles of its guest.
                    let transaction =
                        crate::Transaction { slot: slot.clone(), access: Access::ReadWrite, finished: false };
                    drop(transaction);
                    assert!(slot.lock().await.is_none());
                }
                drop(slot);
                // Waits for a lock that the transaction would still hold.
                run(&watcher, &format!("delete from {table} where i = 2")).await;
                let count = fetch(&watcher, &format!("select count(*) from {table}"), &[]).await.unwrap();
                assert!(matches!(count[0][0], Value::Integer(0)), "{count:?}");
            }
            run(&watcher, &format!("drop table {table}")).await;
        });
    }
}
