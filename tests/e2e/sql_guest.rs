//! A malicious bundle and a database: writes in a read operation, passwords sent to another host,
//! the number of connections. The outcome is checked from outside.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use blockyard_tests::environment::program;
use blockyard_tests::{TestYard, available, bundle, run_command};
use serde_json::{Value, json};

fn yard() -> TestYard {
    let yard = TestYard::new();
    yard.ok(&["install", &bundle("misbehave"), "--yes"]);
    yard
}

fn create(yard: &TestYard, config: &Value, password: &str) {
    std::fs::write(yard.path("password"), password).expect("a file");
    std::fs::write(yard.path("config.json"), config.to_string()).expect("a file");
    let file = yard.path("config.json").display().to_string();
    let password = format!("password=@{}", yard.path("password").display());
    yard.ok(&["create", "misbehave/m", "--json-config", &file, "--secret", &password]);
}

fn postgres(name: &str) -> String {
    std::env::var(format!("BLOCKYARD_TEST_POSTGRES_{name}")).expect("the server")
}

fn witness(database: &str, statement: &str) -> String {
    let mut psql = program("psql");
    psql.args(["-X", "-A", "-t", "-h", "127.0.0.1", "-p", &postgres("PORT"), "-U", "postgres"])
        .args(["-d", database, "-c", statement])
        .env("PGPASSWORD", postgres("PASSWORD"));
    let read = run_command(&mut psql, None);
    assert_eq!(read.code, 0, "{statement}: {}", read.stderr);
    read.stdout
}

fn query_in_read_transaction(yard: &TestYard, dialect: &str, statements: &[&str]) -> blockyard_tests::CommandOutput {
    let arguments = json!({"dialect": dialect, "statements": statements, "continue_on_error": true}).to_string();
    yard.run(&["call", "misbehave/m", "query-in-read-transaction", "--args", &arguments])
}

#[test]
fn postgres_read_transaction_of_a_guest_cannot_write() {
    if !available("BLOCKYARD_TEST_POSTGRES_PORT") {
        return;
    }
    let yard = yard();
    witness("postgres", "drop database if exists test_sneak");
    witness("postgres", "create database test_sneak");
    witness("test_sneak", "create table t (a int); insert into t values (1)");
    create(
        &yard,
        &json!({"host": "127.0.0.1", "port": postgres("PORT").parse::<u16>().expect("a port"),
                "database": "test_sneak", "username": "postgres"}),
        &postgres("PASSWORD"),
    );
    let insert = "--\rINSERT INTO t VALUES (42) /*\nselect 1 */";
    for statements in [
        vec!["--\rCOMMIT /*\nselect 1 */", insert],
        vec!["--\rCOMMIT AND CHAIN /*\nselect 1 */", "--\rSET TRANSACTION READ WRITE /*\nselect 1 */", insert],
        vec!["--\rROLLBACK /*\nselect 1 */", "--\rCREATE TABLE pwned (a int) /*\nselect 1 */"],
        vec!["select set_config('default_transaction_read_only', 'off', false)", "--\rCOMMIT /*\nselect 1 */", insert],
        vec!["select set_config('transaction_read_only', 'off', true)", insert],
        vec!["--\rDISCARD ALL /*\nselect 1 */", insert],
        vec!["--\rRESET ALL /*\nselect 1 */", insert],
        vec!["--\rSET default_transaction_read_only = off /*\nselect 1 */", insert],
        vec!["--\rDO $$ begin commit; insert into t values (7); end $$ /*\nselect 1 */"],
        vec!["--\rPREPARE TRANSACTION 'x' /*\nselect 1 */", insert],
        vec!["select lo_create(4713)", "--\rCOMMIT /*\nselect 1 */"],
        vec![";commit", insert],
        vec!["/* /* */ -- */ */ ;;COMMIT", insert],
    ] {
        let output = query_in_read_transaction(&yard, "postgres", &statements);
        assert!(
            matches!(output.code, 0 | 1 | 5 | 7),
            "{statements:?}: {} {}{}",
            output.code,
            output.stdout,
            output.stderr
        );
    }
    // A statement that fails is not treated as an attempt to write.
    let failed = query_in_read_transaction(&yard, "postgres", &["select nope", "select 1"]);
    assert!(failed.code == 1 && failed.stderr.contains("aborted"), "{} {}", failed.code, failed.stderr);
    // Committing through the host persists nothing either: the large object is rolled back.
    let output = query_in_read_transaction(&yard, "postgres", &["select lo_create(4714)"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_eq!(witness("test_sneak", "select count(*), max(a) from t"), "1|1\n");
    assert_eq!(witness("test_sneak", "select count(*) from pg_class where relname = 'pwned'"), "0\n");
    assert_eq!(witness("test_sneak", "select count(*) from pg_largeobject_metadata"), "0\n");
    assert_eq!(witness("test_sneak", "select count(*) from pg_prepared_xacts"), "0\n");
}

#[test]
fn sqlite_read_transaction_of_a_guest_cannot_write() {
    let yard = yard();
    let path = yard.path("named.db").display().to_string();
    let mut sqlite = program("sqlite3");
    sqlite.args([&path, "create table t (a); insert into t values (1)"]);
    if !available("BLOCKYARD_TEST_SQLITE3") {
        return;
    }
    assert_eq!(run_command(&mut sqlite, None).code, 0);
    create(&yard, &json!({"path": path}), "unused-secret-7431");
    let before = std::fs::read(&path).expect("the file");
    for statements in [
        vec!["/* /* */ commit", "insert into t values (2)"],
        vec![";commit", "insert into t values (2)"],
        vec!["\u{feff}commit", "create temp table z (a)", "insert into z values (1)"],
        vec!["pragma query_only = off", "pragma writable_schema = on", "update t set a = 2"],
        vec!["create temp table z as select zeroblob(1000000)", "create temp view v as select 1"],
        vec!["pragma temp_store = memory", "pragma cache_size = -1000000", "pragma mmap_size = 1000000000"],
    ] {
        let output = query_in_read_transaction(&yard, "sqlite", &statements);
        assert!(matches!(output.code, 0 | 5 | 7), "{statements:?}: {} {}{}", output.code, output.stdout, output.stderr);
        assert!(!output.stdout.contains("rows"), "{statements:?}: a statement was executed: {}", output.stdout);
    }
    assert_eq!(std::fs::read(&path).expect("the file"), before);
}

/// Starts a server that requests a cleartext password, as PostgreSQL may. Returns its port and the
/// received bytes.
fn password_server() -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let received = Arc::new(Mutex::new(Vec::new()));
    let recorder = received.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let recorder = recorder.clone();
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut bytes) {
                    recorder.lock().expect("not poisoned").extend_from_slice(&bytes[..read]);
                    // Rejects TLS, then requests a cleartext password.
                    let is_tls = bytes[..read].starts_with(&[0, 0, 0, 8, 4, 210, 22, 47]);
                    let answer: &[u8] = if is_tls { b"N" } else { &[b'R', 0, 0, 0, 8, 0, 0, 0, 3] };
                    if stream.write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (port, received)
}

#[test]
fn password_is_sent_only_to_the_host_of_its_block() {
    let yard = yard();
    let (port, received) = password_server();
    let secret = "pw-secret-of-the-database";
    create(
        &yard,
        &json!({"host": "10.255.255.1", "port": port, "database": "zoo", "username": "127.0.0.1",
                "label": "localhost", "path": "/127.0.0.1"}),
        secret,
    );
    for host in ["127.0.0.1", "localhost", "zoo"] {
        let arguments = json!({"host": host}).to_string();
        let output = yard.run(&["call", "misbehave/m", "send-password-to-host", "--args", &arguments]);
        assert_eq!(output.code, 5, "{host}: {}", output.stderr);
        assert!(
            output.stderr.contains(&format!("the block's configuration does not name the host `{host}`")),
            "{}",
            output.stderr
        );
    }
    assert!(received.lock().expect("not poisoned").is_empty(), "the server received data");
}

#[test]
fn bundle_cannot_weaken_the_tls_of_a_block() {
    let yard = yard();
    let (port, received) = password_server();
    let secret = "pw-secret-of-the-database";
    create(
        &yard,
        &json!({"host": "127.0.0.1", "port": port, "database": "zoo", "username": "ada",
                "options": {"sslmode": "verify-full"}}),
        secret,
    );
    let received = || String::from_utf8_lossy(&received.lock().expect("not poisoned")).into_owned();
    for sslmode in ["disable", "prefer", "require", "verify-ca"] {
        let arguments = json!({"host": "127.0.0.1", "sslmode": sslmode}).to_string();
        let output = yard.run(&["call", "misbehave/m", "send-password-to-host", "--args", &arguments]);
        assert_ne!(output.code, 0, "{sslmode}: {}", output.stdout);
        assert!(!received().contains(secret), "{sslmode}: the password was sent without TLS");
    }
    // If the block itself permits it, the server receives the password, which proves that the test
    // works.
    yard.ok(&["set", "misbehave/m", "--unset", "options.sslmode"]);
    let _ = yard.run(&[
        "call",
        "misbehave/m",
        "send-password-to-host",
        "--args",
        r#"{"host": "127.0.0.1", "sslmode": "disable"}"#,
    ]);
    assert!(received().contains(secret), "{:?}", received());
}

#[test]
fn connections_are_limited_per_block() {
    if !available("BLOCKYARD_TEST_POSTGRES_PORT") {
        return;
    }
    let yard = yard();
    create(
        &yard,
        &json!({"host": "127.0.0.1", "port": postgres("PORT").parse::<u16>().expect("a port"),
                "database": "postgres", "username": "postgres"}),
        &postgres("PASSWORD"),
    );
    assert_eq!(yard.ok(&["call", "misbehave/m", "open-connections", "--args", r#"{"count": 120}"#]), "8\n");
}

#[test]
fn type_without_a_database_cannot_connect() {
    let yard = TestYard::new();
    let text = std::fs::read_to_string(blockyard_tests::attack::folder().join("transaction-left-open.wat"));
    let text = text.expect("the attack");
    let mut manifest = blockyard_tests::attack::manifest("unnamed", &text);
    manifest["types"][0]["schema"].as_object_mut().expect("a schema").remove("x-sql");
    let manifest = manifest.to_string();
    let mut component = blockyard_tests::attack::with_manifest("unnamed", &text, manifest.as_bytes());
    blockyard_tests::attack::embed(&mut component, manifest.as_bytes());
    std::fs::write(yard.path("unnamed.wasm"), component).expect("a file");
    yard.ok(&["install", &yard.path("unnamed.wasm").display().to_string(), "--yes"]);
    let note = format!("note={}", yard.path("named.db").display());
    yard.ok(&["create", "unnamed/u", "--set", &note]);
    // The attack traps if the host opens no connection.
    let output = yard.run(&["call", "unnamed/u", "go"]);
    assert_ne!(output.code, 0, "{}", output.stdout);
    assert!(!yard.path("named.db").exists());
}

/// Also in the binary, SQLite's memory accounting is set up before the yard itself uses SQLite.
#[test]
fn sqlite_statement_memory_is_limited() {
    let yard = TestYard::with_sqlite();
    yard.ok(&["execute", "sql-database/flights", "create table t (a)"]);
    for (statement, why) in [
        ("select length(hex(zeroblob(400000000))) as n", "longer than 64 MiB"),
        ("select randomblob(60000000) as a, randomblob(60000000) as b, randomblob(60000000) as c", "128 MiB of memory"),
        (
            "select hex(zeroblob(30000000)) as a, hex(zeroblob(30000000)) as b, zeroblob(30000000) || 'x' as c",
            "128 MiB of memory",
        ),
        ("pragma temp_store = memory", "the pragma `temp_store` is not available"),
        ("create temp table z as select zeroblob(1000000) as b", "only reads"),
    ] {
        let output = yard.run(&["query", "sql-database/flights", statement]);
        assert!(output.code != 0 && output.stderr.contains(why), "{statement}: {} {}", output.code, output.stderr);
    }
    // A database in memory is shared by all calls of a process; each command is a separate process.
    yard.create("sql-database/memory", &json!({"dialect": "sqlite", "database": ":memory:"}));
    yard.ok(&["execute", "sql-database/memory", "create table t (a)"]);
}
