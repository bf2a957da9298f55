//! Transactions that MySQL ends by itself: which changes stay, and which errors may be retried.

use blockyard_call::Problem;

use super::{
    Access, Claimed, End, Server, Slot, Statement, begin, end, execute, fetch, insert, many, rows, run, value,
};
use crate::bindings::blockyard::bundle::sql::{Execution, Value};

const CHANGES_STAY: &str =
    "the server committed the transaction at this statement, so the changes before the error stay";

fn step_of(text: &str) -> Statement {
    Statement { in_transaction: true, ..super::statement(text, &[], Access::ReadWrite) }
}

/// Runs a statement in the open transaction.
async fn step(slot: &Slot, text: &str) -> Result<Execution, Problem> {
    execute(Claimed::of(slot)?, step_of(text)).await
}

async fn begun(slot: &Slot) {
    begin(&mut Claimed::of(slot).unwrap(), Access::ReadWrite).await.unwrap();
}

async fn ended(slot: &Slot, how: End) -> Result<(), Problem> {
    end(&mut Claimed::of(slot).unwrap(), how).await
}

async fn failed(slot: &Slot, text: &str) -> Problem {
    step(slot, text).await.map(drop).expect_err(text)
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Opens two connections to a new database with the InnoDB tables `t` and `u` and the MyISAM table `m`.
async fn two(server: &Server, database: &str) -> (Slot, Slot) {
    let slots = (server.open(Access::ReadWrite).await, server.open(Access::ReadWrite).await);
    run(&slots.0, &format!("drop database if exists {database}")).await;
    run(&slots.0, &format!("create database {database}")).await;
    for slot in [&slots.0, &slots.1] {
        run(slot, &format!("use {database}")).await;
        run(slot, "set lock_wait_timeout = 1, innodb_lock_wait_timeout = 1").await;
    }
    for table in ["t (a int primary key)", "u (a int primary key)", "m (a int primary key) engine = myisam"] {
        run(&slots.0, &format!("create table {table}")).await;
    }
    run(&slots.0, "insert into t values (1), (2)").await;
    slots
}

/// Returns the values of the column `a`, as text.
async fn list(slot: &Slot, table: &str) -> String {
    match value(slot, &format!("select group_concat(a order by a) from {table}")).await {
        Value::Text(text) => text,
        _ => String::new(),
    }
}

#[test]
fn an_error_is_not_retried_if_changes_stay() {
    let Some(server) = Server::mysql() else { return };
    server.runtime.block_on(async {
        let (slot, other) = two(&server, "test_retries").await;
        begun(&other).await;
        step(&other, "insert into t values (5)").await.unwrap();

        // Nothing stays.
        begun(&slot).await;
        step(&slot, "insert into u values (1)").await.unwrap();
        let problem = failed(&slot, "insert into t values (5)").await;
        assert!(problem.code == "conflict" && problem.retryable, "{problem:?}");
        ended(&slot, End::Rollback).await.unwrap();
        assert_eq!(list(&slot, "u").await, "");

        // The server has committed.
        begun(&slot).await;
        step(&slot, "create table v (a int)").await.unwrap();
        let problem = failed(&slot, "insert into t values (5)").await;
        assert!(problem.message.contains("so the changes up to there stay"), "{problem:?}");
        assert!(problem.code == "conflict" && !problem.retryable, "{problem:?}");
        ended(&slot, End::Rollback).await.unwrap();

        // The table has no transactions.
        begun(&slot).await;
        step(&slot, "insert into m values (1)").await.unwrap();
        let problem = failed(&slot, "insert into t values (5)").await;
        assert!(problem.message.contains("cannot roll back stay"), "{problem:?}");
        assert!(problem.code == "conflict" && !problem.retryable, "{problem:?}");
        ended(&slot, End::Rollback).await.unwrap();
        ended(&other, End::Rollback).await.unwrap();
    });
}

#[test]
fn a_statement_that_waits_for_a_table_lock_has_committed() {
    let Some(server) = Server::mysql() else { return };
    server.runtime.block_on(async {
        let (slot, other) = two(&server, "test_waits").await;
        begun(&other).await;
        step(&other, "insert into t values (5)").await.unwrap();
        begun(&slot).await;
        step(&slot, "insert into u values (1)").await.unwrap();
        let problem = failed(&slot, "alter table t add b int").await;
        assert!(problem.message.contains(CHANGES_STAY) && !problem.retryable, "{problem:?}");
        ended(&slot, End::Rollback).await.unwrap();
        assert_eq!(list(&slot, "u").await, "1");
        ended(&other, End::Rollback).await.unwrap();
    });
}

#[test]
fn a_deadlock_rolls_back() {
    let Some(server) = Server::mysql() else { return };
    server.runtime.block_on(async {
        let (slot, other) = two(&server, "test_deadlocks").await;
        for (slot, a) in [(&slot, 1), (&other, 2)] {
            run(slot, "set innodb_lock_wait_timeout = 20").await;
            begun(slot).await;
            step(slot, &format!("insert into u values ({a})")).await.unwrap();
            step(slot, &format!("delete from t where a = {a}")).await.unwrap();
        }
        let both = futures_util::future::join(
            step(&slot, "delete from t where a = 2"),
            step(&other, "delete from t where a = 1"),
        );
        let (victim, problem) = match both.await {
            (Err(problem), Ok(_)) => (&slot, problem),
            (Ok(_), Err(problem)) => (&other, problem),
            both => panic!("{both:?}"),
        };
        assert!(problem.retryable && !problem.message.contains("stay"), "{problem:?}");
        // The statements that follow are in a transaction.
        step(victim, "insert into u values (9)").await.unwrap();
        for slot in [&slot, &other] {
            ended(slot, End::Rollback).await.unwrap();
        }
        assert_eq!((list(&slot, "u").await, list(&slot, "t").await), (String::new(), "1,2".to_owned()));
    });
}

#[test]
fn a_transaction_is_open_unless_tables_are_locked() {
    let Some(server) = Server::mysql() else { return };
    server.runtime.block_on(async {
        let (slot, _other) = two(&server, "test_locks").await;
        begun(&slot).await;
        step(&slot, "flush tables").await.unwrap();
        step(&slot, "insert into u values (1)").await.unwrap();
        ended(&slot, End::Rollback).await.unwrap();
        assert_eq!(list(&slot, "u").await, "");

        begun(&slot).await;
        let problem = failed(&slot, "lock tables missing write").await;
        assert!(problem.message.contains(CHANGES_STAY), "{problem:?}");
        step(&slot, "insert into u values (2)").await.unwrap();
        ended(&slot, End::Rollback).await.unwrap();
        assert_eq!(list(&slot, "u").await, "");

        for lock in ["# a\nlock tables t write", "flush tables t with read lock", "flush tables t for export"] {
            begun(&slot).await;
            step(&slot, lock).await.unwrap();
            let problem = failed(&slot, "insert into u values (3)").await;
            assert!(problem.message.contains("was not locked"), "{lock}: {problem:?}");
            step(&slot, "unlock tables").await.unwrap();
            step(&slot, "insert into u values (4)").await.unwrap();
            ended(&slot, End::Rollback).await.unwrap();
            assert_eq!(list(&slot, "u").await, "", "{lock}");
        }

        // A `lock tables` that fails releases the earlier locks.
        begun(&slot).await;
        step(&slot, "lock tables t write").await.unwrap();
        failed(&slot, "lock tables missing write").await;
        step(&slot, "insert into u values (5)").await.unwrap();
        ended(&slot, End::Rollback).await.unwrap();
        assert_eq!(list(&slot, "u").await, "");
    });
}

#[test]
fn an_insert_restores_the_sql_mode() {
    let Some(server) = Server::mysql() else { return };
    server.runtime.block_on(async {
        let (slot, _other) = two(&server, "test_modes").await;
        run(&slot, "create table n (a int auto_increment primary key)").await;
        let mode = "select @@session.sql_mode";
        let before = format!("{:?}", value(&slot, mode).await);
        let (table, columns) = (names(&["n"]), names(&["a"]));
        insert(&slot, &table, &columns, vec![vec![Value::Integer(0)]]).await.unwrap();
        assert_eq!(format!("{:?}", value(&slot, mode).await), before);
        let twice = vec![vec![Value::Integer(7)], vec![Value::Integer(7)]];
        let problem = insert(&slot, &table, &columns, twice).await.unwrap_err();
        assert!(problem.details.is_some_and(|details| details.contains("\"row\":2")));
        assert_eq!(format!("{:?}", value(&slot, mode).await), before);
        run(&slot, "insert into n values (0)").await;
        assert!(matches!(value(&slot, "select count(*) from n where a = 0").await, Value::Integer(1)));
    });
}

#[test]
fn the_error_of_an_insert_names_the_changes_that_stay() {
    let Some(server) = Server::mysql() else { return };
    server.runtime.block_on(async {
        let (slot, _other) = two(&server, "test_inserts").await;
        let columns = names(&["a"]);
        let rows = |values: &[i64]| values.iter().map(|value| vec![Value::Integer(*value)]).collect::<Vec<_>>();
        let has_row = |problem: &Problem| problem.details.as_ref().is_some_and(|text| text.contains("\"row\":2"));

        let problem = insert(&slot, &names(&["t"]), &columns, rows(&[3, 1])).await.unwrap_err();
        assert!(has_row(&problem) && !problem.message.contains("stay"), "{problem:?}");

        begun(&slot).await;
        step(&slot, "create table v (a int)").await.unwrap();
        let claimed = Claimed::of(&slot).unwrap();
        let problem = many::insert(claimed, &names(&["t"]), &columns, rows(&[3, 1])).await.unwrap_err();
        assert!(has_row(&problem) && problem.message.contains("the changes up to there stay"), "{problem:?}");
        ended(&slot, End::Rollback).await.unwrap();
        assert_eq!(list(&slot, "t").await, "1,2");

        let problem = insert(&slot, &names(&["m"]), &columns, rows(&[3, 3])).await.unwrap_err();
        assert!(problem.message.contains("cannot roll back stay"), "{problem:?}");

        // Tables are locked, so the rows are committed.
        begun(&slot).await;
        step(&slot, "lock tables t write").await.unwrap();
        many::insert(Claimed::of(&slot).unwrap(), &names(&["t"]), &columns, rows(&[4])).await.unwrap();
        let problem = failed(&slot, "insert into t values (4)").await;
        assert!(problem.message.contains("at statement 2, so the changes up to there stay"), "{problem:?}");
        ended(&slot, End::Rollback).await.unwrap();
        run(&slot, "unlock tables").await;
    });
}

/// Runs a query in the open transaction, and drops its rows before the last one.
async fn unread(slot: &Slot, text: &str) {
    let mut rows = rows::start(Claimed::of(slot).unwrap(), step_of(text)).await.unwrap();
    rows.next(1).await.unwrap();
    drop(rows);
    // The task that read the rows releases the connection asynchronously.
    while Claimed::of(slot).is_err() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn an_error_after_unread_rows_names_the_changes_that_stay() {
    const MANY: &str = "select a.a from n a, n b, n c, n d, n e, n f";
    let Some(server) = Server::mysql() else { return };
    server.runtime.block_on(async {
        let (first, second) = two(&server, "test_unread").await;
        run(&first, "create table n (a int)").await;
        run(&first, "insert into n values (1), (2), (3), (4), (5), (6), (7), (8), (9), (10)").await;
        run(&first, &format!("create procedure p() begin commit; {MANY}; end")).await;

        begun(&first).await;
        step(&first, "create table v (a int)").await.unwrap();
        unread(&first, MANY).await;
        let problem = failed(&first, "insert into u values (1)").await;
        assert!(problem.message.contains("was closed after a failure; the server committed"), "{problem:?}");
        assert!(!problem.retryable, "{problem:?}");
        assert!(!ended(&first, End::Commit).await.unwrap_err().retryable);

        begun(&second).await;
        step(&second, "insert into u values (1)").await.unwrap();
        unread(&second, MANY).await;
        let problem = failed(&second, "insert into u values (1)").await;
        assert!(problem.retryable && !problem.message.contains("stay"), "{problem:?}");

        // The procedure may have committed.
        let third = server.open(Access::ReadWrite).await;
        run(&third, "use test_unread").await;
        begun(&third).await;
        unread(&third, "call p()").await;
        assert!(!failed(&third, "insert into u values (1)").await.retryable);
    });
}

#[test]
fn a_null_is_not_replaced_in_a_temporary_table() {
    let Some(server) = Server::mysql() else { return };
    server.runtime.block_on(async {
        let (slot, _other) = two(&server, "test_temporary").await;
        run(&slot, "create temporary table w (a int, `at``x` timestamp(6) not null)").await;
        let columns = names(&["a", "at`x"]);
        let null = vec![vec![Value::Integer(1), Value::Null]];
        let problem = insert(&slot, &names(&["w"]), &columns, null).await.unwrap_err();
        assert!(problem.message.contains("stores the current time in place of null"), "{problem:?}");
        let other_null = vec![vec![Value::Null, Value::Text("2013-02-08 11:00:00".to_owned())]];
        insert(&slot, &names(&["test_temporary", "w"]), &columns, other_null).await.unwrap();
        assert_eq!(fetch(&slot, "select a from w", &[]).await.unwrap().len(), 1);
    });
}
