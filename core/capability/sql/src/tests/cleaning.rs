//! Changes that one call makes to its session are not visible to the next call.

use std::time::{Duration, Instant};

use super::{Access, Server, fetch, run, value};
use crate::bindings::blockyard::bundle::sql::Value;

fn is_text(value: &Value, expected: &str) -> bool {
    matches!(value, Value::Text(text) if text == expected)
}

#[test]
fn a_postgres_session_is_reset_before_reuse() {
    let Some(server) = Server::postgres() else { return };
    server.runtime.block_on(async {
        let slot = server.open(Access::ReadWrite).await;
        let process = value(&slot, "select pg_backend_pid()").await;
        let settings = "select current_user || ' ' || current_setting('search_path') || ' ' || \
                        current_setting('client_connection_check_interval') || ' ' || current_setting('statement_timeout')";
        let before = value(&slot, settings).await;
        for text in [
            "create temporary table left_behind (i int)",
            "set role pg_read_all_data",
            "set search_path = nowhere",
            "set statement_timeout = 0",
            "select pg_advisory_lock(4711)",
            "select set_config('blockyard.note', 'mine', false)",
            "listen gossip",
            "do $$ begin execute 'prepare left_too as select 1'; end $$",
        ] {
            run(&slot, text).await;
        }
        drop(slot);
        // The connection is returned to the pool asynchronously, and new ones are opened meanwhile.
        let begun = Instant::now();
        let slot = loop {
            let slot = server.open(Access::ReadWrite).await;
            if format!("{:?}", value(&slot, "select pg_backend_pid()").await) == format!("{process:?}") {
                break slot;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "the connection is not returned to the pool");
        };
        assert_eq!(format!("{:?}", value(&slot, settings).await), format!("{before:?}"));
        for nothing in [
            "select count(*) from pg_locks where locktype = 'advisory' and objid = 4711",
            "select count(*) from pg_listening_channels()",
            "select count(*) from pg_prepared_statements where name = 'left_too'",
            "select length(coalesce(current_setting('blockyard.note', true), ''))",
        ] {
            let seen = value(&slot, nothing).await;
            assert!(matches!(seen, Value::Integer(0)), "{nothing}: {seen:?}");
        }
        assert!(fetch(&slot, "select * from left_behind", &[]).await.is_err());
        // The driver's cache of prepared statements has been cleared as well.
        assert!(fetch(&slot, "select pg_backend_pid()", &[]).await.is_ok());
    });
}

#[test]
fn a_mysql_session_is_not_reused() {
    let Some(server) = Server::mysql() else { return };
    server.runtime.block_on(async {
        let slot = server.open(Access::ReadWrite).await;
        let number = value(&slot, "select connection_id()").await;
        for text in
            ["set @note = 'mine'", "set sql_mode = 'ANSI_QUOTES'", "do get_lock('left', 0)", "set time_zone = '+05:00'"]
        {
            run(&slot, text).await;
        }
        drop(slot);
        let slot = server.open(Access::ReadWrite).await;
        assert_ne!(format!("{:?}", value(&slot, "select connection_id()").await), format!("{number:?}"));
        assert!(is_text(&value(&slot, "select if(@note is null, @@time_zone, 'seen')").await, "+00:00"));
        let begun = Instant::now();
        while !matches!(value(&slot, "select is_free_lock('left')").await, Value::Integer(1)) {
            assert!(begun.elapsed() < Duration::from_secs(30), "the lock is not released");
        }
    });
}

#[test]
fn a_sqlite_connection_is_not_reused() {
    let server = Server::sqlite();
    server.runtime.block_on(async {
        let slot = server.open(Access::ReadWrite).await;
        let before = value(&slot, "pragma foreign_keys").await;
        for text in
            ["pragma foreign_keys = off", "create temporary table left_behind (i)", "pragma case_sensitive_like = on"]
        {
            run(&slot, text).await;
        }
        drop(slot);
        let slot = server.open(Access::ReadWrite).await;
        assert_eq!(format!("{:?}", value(&slot, "pragma foreign_keys").await), format!("{before:?}"));
        assert!(matches!(value(&slot, "select 'a' like 'A'").await, Value::Integer(1)));
        assert!(fetch(&slot, "select * from left_behind", &[]).await.is_err());
    });
}
