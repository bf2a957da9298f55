//! The number, lifetime and reuse of connections, which are counted per block revision and server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use blockyard_call::{Problem, limits};
use blockyard_model::TlsMode;
use blockyard_model::capability::Dialect;

use super::{Access, Claimed, Server, Slot, execute, fetch, run, statement, value};
use crate::bindings::blockyard::bundle::sql::Value;
use crate::pool::{Pools, Request};
use crate::target::Permitted;

async fn open(server: &Server, block: &str, target: Permitted, access: Access) -> Result<Slot, Problem> {
    let (password, budget) = (server.password.as_ref(), &Arc::default());
    let pooled = server.pools.open(Request { block, target, password, access, budget }).await?;
    Ok(Arc::new(tokio::sync::Mutex::new(Some(pooled))))
}

#[test]
fn the_connection_limit_is_per_block_and_server() {
    let Some(server) = Server::postgres() else { return };
    let choices = |number: usize| Permitted {
        tls: if number.is_multiple_of(2) { TlsMode::Prefer } else { TlsMode::Disable },
        database: if number.is_multiple_of(3) { "template1" } else { "postgres" }.to_owned(),
        ..server.target.clone()
    };
    server.runtime.block_on(async {
        let mut held = Vec::new();
        for number in 0..limits::POOL_CONNECTIONS {
            let access = if number % 4 < 2 { Access::ReadOnly } else { Access::ReadWrite };
            held.push(open(&server, "many/many@1", choices(number), access).await.unwrap());
        }
        let refused = open(&server, "many/many@1", choices(1), Access::ReadOnly).await.map(drop).unwrap_err();
        assert!(refused.code == "unavailable" && refused.message.contains("8 connections"), "{refused:?}");
        // Another revision has a separate limit.
        let other = open(&server, "many/many@2", choices(1), Access::ReadOnly).await.unwrap();
        held.clear();
        // Idle connections count as well: one is closed to make room for a connection with other
        // options.
        let started = Instant::now();
        while server.pools.counts().1 < limits::POOL_CONNECTIONS {
            assert!(started.elapsed() < Duration::from_secs(30), "the connections are not returned to the pool");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let fresh = Permitted { tls: TlsMode::Disable, database: "template1".to_owned(), ..server.target.clone() };
        let _fresh = open(&server, "many/many@1", fresh, Access::ReadWrite).await.unwrap();
        assert!(server.pools.counts().1 < limits::POOL_CONNECTIONS);
        let named =
            "select count(*) from pg_stat_activity where pid = pg_backend_pid() and application_name = 'blockyard'";
        assert!(matches!(value(&other, named).await, Value::Integer(1)));
    });
}

#[test]
fn pools_of_failed_connections_are_removed() {
    let Some(server) = Server::postgres() else { return };
    server.runtime.block_on(async {
        for number in 0..20 {
            let target = Permitted { username: Some(format!("nobody-{number}")), ..server.target.clone() };
            assert!(open(&server, &format!("none/none@{number}"), target, Access::ReadOnly).await.is_err());
        }
        assert_eq!(server.pools.counts(), (0, 0));
    });
    let files = Server::sqlite();
    files.runtime.block_on(async {
        for number in 0..20 {
            let slot =
                files.try_open(&format!("file/file@{number}"), Access::ReadWrite, &Arc::default()).await.unwrap();
            run(&slot, "create table if not exists t (i)").await;
        }
        let started = Instant::now();
        while files.pools.counts() != (0, 0) {
            assert!(started.elapsed() < Duration::from_secs(30), "{:?}", files.pools.counts());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn read_and_write_connections_are_not_shared() {
    let Some(server) = Server::postgres() else { return };
    server.runtime.block_on(async {
        let reading = server.open(Access::ReadOnly).await;
        let process = format!("{:?}", value(&reading, "select pg_backend_pid()").await);
        drop(reading);
        for _ in 0..20 {
            let writing = server.open(Access::ReadWrite).await;
            assert_ne!(format!("{:?}", value(&writing, "select pg_backend_pid()").await), process);
            drop(writing);
        }
    });
}

#[test]
fn concurrent_first_calls_share_one_memory_database() {
    let server = Server::memory();
    server.runtime.block_on(async {
        let server = &server;
        let calls = (0..8).map(async |number| {
            // Calls that read and calls that write use the same database.
            let access = if number % 2 == 0 { Access::ReadWrite } else { Access::ReadOnly };
            let slot = server.try_open("memory/memory@1", access, &Arc::default()).await.unwrap();
            if access == Access::ReadWrite {
                run(&slot, "create table if not exists t (i)").await;
                run(&slot, "insert into t values (1)").await;
            } else {
                let written = execute(Claimed::of(&slot).unwrap(), statement("create table u (i)", &[], access)).await;
                assert_eq!(written.expect_err("it only reads").code, "effect");
            }
        });
        futures_util::future::join_all(calls).await;
        let slot = server.try_open("memory/memory@1", Access::ReadOnly, &Arc::default()).await.unwrap();
        assert!(matches!(value(&slot, "select count(*) from t").await, Value::Integer(4)));
        // Another revision has a separate database.
        let other = server.try_open("memory/memory@2", Access::ReadOnly, &Arc::default()).await.unwrap();
        assert!(fetch(&other, "select * from t", &[]).await.is_err());
    });
}

#[test]
fn the_number_of_memory_databases_is_bounded() {
    let server = Server::memory();
    server.runtime.block_on(async {
        for number in 0..limits::SQLITE_MEMORY_DATABASES + 4 {
            let block = format!("memory/memory@{number}");
            drop(server.try_open(&block, Access::ReadWrite, &Arc::default()).await.unwrap());
        }
        let started = Instant::now();
        while server.pools.counts() != (limits::SQLITE_MEMORY_DATABASES, limits::SQLITE_MEMORY_DATABASES) {
            assert!(started.elapsed() < Duration::from_secs(30), "{:?}", server.pools.counts());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

/// The yard's files are refused for each connection, also by names that do not exist yet, and by
/// links that have changed since the last connection.
#[cfg(unix)]
#[test]
fn yard_files_are_rejected_for_each_connection() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("yard.db"), "").unwrap();
    let mut server = Server::sqlite();
    server.pools = Pools::new(["yard.db", "yard.db-journal", "yard.db-wal", "key"].map(path).to_vec());
    let target = |name: &str| Permitted {
        dialect: Dialect::Sqlite,
        database: path(name).display().to_string(),
        ..server.target.clone()
    };
    let link = |to: &str| {
        let _ = std::fs::remove_file(path("link.db"));
        std::os::unix::fs::symlink(path(to), path("link.db")).unwrap();
    };
    std::os::unix::fs::symlink(folder.path(), path("folder")).unwrap();
    server.runtime.block_on(async {
        let opened = async |name: &str| open(&server, "file/file@1", target(name), Access::ReadWrite).await.map(drop);
        link("own.db");
        opened("link.db").await.unwrap();
        for protected in ["yard.db", "yard.db-journal", "yard.db-wal", "key"] {
            link(protected);
            for name in ["link.db", protected, &format!("folder/{protected}"), &format!("folder/../{protected}")] {
                let name = if name.contains("..") { format!("./{protected}") } else { name.to_owned() };
                assert_eq!(opened(&name).await.expect_err(&name).code, "not-granted", "{name}");
            }
            assert!(protected == "yard.db" || !path(protected).exists(), "{protected} was created");
        }
        link("own.db");
        opened("link.db").await.unwrap();
    });
}
