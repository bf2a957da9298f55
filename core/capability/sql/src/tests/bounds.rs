//! The resources that statements use in SQLite are limited per call: memory, temporary files, and
//! databases in memory.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use blockyard_call::{Problem, limits};

use super::{Access, Claimed, Server, Slot, execute, rows, run, statement, value};
use crate::bindings::blockyard::bundle::sql::Value;
use crate::sqlite::budget::{self, Budget};

/// Ensures that only one test at a time measures the memory of SQLite, which is per process.
static MEASURED: Mutex<()> = Mutex::new(());

/// Returns the peak memory of SQLite in the process since the last call of this function, in bytes.
#[allow(unsafe_code, reason = "SQLite reports its own memory usage")]
fn high_water() -> i64 {
    // SAFETY: the function takes no pointers.
    unsafe { rusqlite::ffi::sqlite3_memory_highwater(1) }
}

async fn read(slot: &Slot, text: &str, access: Access) -> Result<u64, Problem> {
    let mut rows = rows::start(Claimed::of(slot)?, statement(text, &[], access)).await?;
    let mut count = 0;
    let read = async {
        loop {
            match rows.next(1000).await?.len() {
                0 => return Ok(count),
                some => count += some as u64,
            }
        }
    };
    let read = read.await;
    while Claimed::of(slot).is_err() {
        tokio::task::yield_now().await;
    }
    read
}

/// Returns a query for a row of many long values, each the result of an expression.
fn wide(value: &str, columns: usize) -> String {
    let columns: Vec<String> = (0..columns).map(|number| format!("{value} as c{number}")).collect();
    format!("select {}", columns.join(", "))
}

#[test]
fn statements_stop_at_the_memory_limit() {
    let _alone = MEASURED.lock();
    let many = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 200000)";
    let few = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 2000)";
    let long = 60 << 20;
    let statements = [
        "select length(hex(zeroblob(400000000)))".to_owned(),
        "select length(zeroblob(2000000000))".to_owned(),
        wide("randomblob(60000000)", 2000),
        wide("hex(randomblob(30000000))", 500),
        wide("printf('%.*c', 60000000, 'x')", 300),
        wide("replace(hex(zeroblob(3000000)), '00', 'xxxxxxxxxxxx')", 300),
        wide("upper(printf('%.*c', 60000000, 'x'))", 300),
        wide("quote(randomblob(30000000))", 300),
        format!("select length(printf('%.*c', {long}, 'x') || printf('%.*c', {long}, 'x'))"),
        format!("{many} select length(group_concat(printf('%.*c', 1000, 'x'))) from n"),
        format!("{many} select length(json_group_array(printf('%.*c', 1000, 'x'))) from n"),
        format!("{many} select length(json_group_object(i, printf('%.*c', 1000, 'x'))) from n"),
        format!("{many} select length(string_agg(randomblob(1000), ',')) from n"),
        "with recursive d(s) as (select 'x' union all select s || s from d) select max(length(s)) from d".to_owned(),
        format!(
            "{few} select sum(length(b)) over (order by i rows between unbounded preceding and current row) \
             from (select i, randomblob(1000000) b from n)"
        ),
        format!("{few} select count(*) from (select i, group_concat(randomblob(1000000)) over (order by i) g from n)"),
        format!(
            "{few} select first_value(b) over (order by i rows between 900000 preceding and 900000 following) \
             from (select i, randomblob(1000000) b from n)"
        ),
        format!("select 1 where 1 in ({})", vec!["1234567890"; 1_000_000].join(",")),
        format!("select {}", vec!["'x'"; 3_000_000].join("||")),
        format!("select json_extract(printf('%.*c', {long}, '['), '$')"),
        format!("select length(json_array({}))", vec!["hex(zeroblob(20000000))"; 100].join(",")),
    ];
    let server = Server::sqlite();
    server.runtime.block_on(async {
        run(&server.open(Access::ReadWrite).await, "create table t (i integer)").await;
        let before = high_water();
        for text in statements {
            let begun = Instant::now();
            let budget = Arc::<Budget>::default();
            let slot = server.try_open("test/test@1", Access::ReadOnly, &budget).await.unwrap();
            high_water();
            let done = tokio::time::timeout(Duration::from_secs(100), read(&slot, &text, Access::ReadOnly)).await;
            let begin = text.get(..160).unwrap_or(&text);
            let done = done.unwrap_or_else(|_| panic!("{begin} does not end"));
            let most = high_water();
            let limit = i64::try_from(limits::SQLITE_MEMORY_BYTES).unwrap();
            assert!(most - before.min(most) < limit + (48 << 20), "{begin}: {} MiB", most >> 20);
            if let Err(problem) = done {
                assert!(matches!(problem.code.as_str(), "invalid" | "unavailable"), "{begin}: {problem:?}");
            }
            // The memory of the call is released.
            let answered = value(&slot, "select 7").await;
            assert!(matches!(answered, Value::Integer(7)), "{begin}");
            drop(slot);
            until(|| budget.memory() == 0, begin).await;
            assert!(begun.elapsed() < Duration::from_secs(120), "{begin}: {:?}", begun.elapsed());
        }
    });
}

async fn until(done: impl Fn() -> bool, what: &str) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}: not released");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn connections_of_a_call_share_its_memory_limit() {
    let _alone = MEASURED.lock();
    let server = Server::sqlite();
    server.runtime.block_on(async {
        let budget = Arc::<Budget>::default();
        run(&server.open(Access::ReadWrite).await, "create table t (i integer)").await;
        let mut held = Vec::new();
        let mut refused = 0;
        for number in 0..6 {
            let slot = server.try_open("test/test@1", Access::ReadOnly, &budget).await.unwrap();
            // A row that has not been read stays in memory.
            let rows = rows::start(
                Claimed::of(&slot).unwrap(),
                statement("select randomblob(50000000)", &[], Access::ReadOnly),
            )
            .await;
            refused += usize::from(rows.is_err());
            held.push((slot, rows.ok()));
            assert!(budget.memory() <= i64::try_from(limits::SQLITE_MEMORY_BYTES).unwrap(), "{number}");
        }
        assert!(refused >= 3, "{refused} of 6 were refused");
        // Another call is not affected.
        let other = server.try_open("test/other@1", Access::ReadOnly, &Arc::default()).await.unwrap();
        assert_eq!(read(&other, "select randomblob(50000000)", Access::ReadOnly).await.unwrap(), 1);
    });
}

#[test]
fn the_memory_of_sqlite_is_counted() {
    assert!(budget::install());
}

#[test]
fn temporary_files_stop_at_the_size_limit() {
    let _alone = MEASURED.lock();
    let server = Server::sqlite();
    server.runtime.block_on(async {
        let budget = Arc::<Budget>::default();
        let slot = server.try_open("test/test@1", Access::ReadWrite, &budget).await.unwrap();
        run(&slot, "create table t (i integer)").await;
        let rows = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000)";
        for text in [
            format!("create temp table z as {rows} select randomblob(1000000) b from n"),
            format!("{rows} select randomblob(1000000) b from n order by b"),
            format!("{rows} select count(*) from (select distinct randomblob(1000000) b from n)"),
        ] {
            let done = execute(Claimed::of(&slot).unwrap(), statement(&text, &[], Access::ReadWrite)).await;
            let refused = done.expect_err(&text);
            assert!(matches!(refused.code.as_str(), "unavailable" | "invalid"), "{text}: {refused:?}");
            assert!(budget.temporary() <= i64::try_from(limits::SQLITE_TEMPORARY_BYTES).unwrap(), "{text}");
        }
        // A smaller result is sorted on disk, in another call: the temporary table counts toward
        // the first one.
        let other = server.try_open("test/test@1", Access::ReadOnly, &Arc::default()).await.unwrap();
        let sorted = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 30000) \
                      select count(*) from (select randomblob(10000) b from n order by b)";
        assert_eq!(read(&other, sorted, Access::ReadOnly).await.unwrap(), 1);
        drop(slot);
        until(|| budget.temporary() == 0, "temporary files").await;
    });
}

#[test]
fn resource_settings_cannot_be_changed() {
    let server = Server::sqlite();
    server.runtime.block_on(async {
        let slot = server.open(Access::ReadWrite).await;
        run(&slot, "create table t (i integer)").await;
        run(&slot, "create index by_i on t (i)").await;
        for access in [Access::ReadOnly, Access::ReadWrite] {
            let slot = server.open(access).await;
            for text in [
                "pragma temp_store = memory",
                "pragma temp_store = 2",
                "PRAGMA main.cache_size = -1000000",
                "pragma cache_size(1000000)",
                "pragma mmap_size = 1000000000",
                "pragma journal_size_limit = 1",
                "pragma max_page_count = 4294967294",
                "pragma hard_heap_limit = 1",
                "pragma soft_heap_limit = 1",
                "pragma busy_timeout = 1000000",
                "pragma threads = 8",
                "pragma writable_schema = on",
                "pragma trusted_schema = on",
                "pragma wal_autocheckpoint = 0",
                "attach ':memory:' as m",
                "attach '' as m",
                "detach main",
            ] {
                let done = execute(Claimed::of(&slot).unwrap(), statement(text, &[], access)).await;
                assert_eq!(done.expect_err(text).code, "not-granted", "{access:?} {text}");
            }
        }
        let slot = server.open(Access::ReadOnly).await;
        for text in [
            "create temp table z (a)",
            "create temporary view v as select 1",
            "create temp trigger r after insert on t begin select 1; end",
            "analyze",
            "vacuum",
            "reindex",
            "explain insert into t values (1)",
            "pragma user_version = 7",
            "pragma journal_mode = wal",
            "pragma optimize",
            "pragma wal_checkpoint",
        ] {
            let done = execute(Claimed::of(&slot).unwrap(), statement(text, &[], Access::ReadOnly)).await;
            assert_eq!(done.expect_err(text).code, "effect", "{text}");
        }
        for text in [
            "pragma table_info(t)",
            "select * from pragma_table_info('t')",
            "pragma integrity_check",
            "pragma journal_mode",
            "explain select 1",
            "explain query plan select * from t",
            "select * from json_each('[1, 2]')",
            "with x as materialized (select 1 as a) select * from x order by a",
        ] {
            read(&slot, text, Access::ReadOnly).await.unwrap_or_else(|problem| panic!("{text}: {problem:?}"));
        }
        let slot = server.open(Access::ReadWrite).await;
        for text in [
            "vacuum",
            "analyze",
            "reindex",
            "pragma user_version = 7",
            "pragma foreign_keys = off",
            "pragma page_size = 8192",
        ] {
            execute(Claimed::of(&slot).unwrap(), statement(text, &[], Access::ReadWrite))
                .await
                .unwrap_or_else(|problem| panic!("{text}: {problem:?}"));
        }
    });
}

#[test]
fn the_size_of_a_memory_database_is_bounded() {
    let _alone = MEASURED.lock();
    let server = Server::memory();
    server.runtime.block_on(async {
        let slot = server.open(Access::ReadWrite).await;
        run(&slot, "create table t (b blob)").await;
        let filled = async {
            for _ in 0..100 {
                execute(
                    Claimed::of(&slot)?,
                    statement("insert into t values (randomblob(1000000))", &[], Access::ReadWrite),
                )
                .await?;
            }
            Ok::<_, Problem>(())
        };
        assert_eq!(filled.await.expect_err("100 MB").code, "unavailable");
        let larger =
            execute(Claimed::of(&slot).unwrap(), statement("pragma page_size = 65536", &[], Access::ReadWrite)).await;
        assert_eq!(larger.expect_err("larger pages").code, "not-granted");
    });
}

/// SQLite expands `zeroblob`, and converts UTF-16, when a value is read.
#[test]
fn a_value_that_has_no_memory_is_an_error() {
    let _alone = MEASURED.lock();
    let server = Server::memory();
    server.runtime.block_on(async {
        let slot = server.open(Access::ReadWrite).await;
        run(&slot, "pragma encoding = 'UTF-16'").await;
        run(&slot, "create table t (a text)").await;
        for text in [wide("zeroblob(60000000)", 4), wide("printf('%.*c', 30000000, 'x')", 4)] {
            let problem = read(&slot, &text, Access::ReadOnly).await.expect_err(&text);
            assert_eq!(
                (problem.code.as_str(), problem.details.as_deref()),
                ("invalid", Some(r#"{"sqlite":7}"#)),
                "{text}"
            );
            assert!(matches!(value(&slot, "select 7").await, Value::Integer(7)), "{text}");
        }
    });
}
