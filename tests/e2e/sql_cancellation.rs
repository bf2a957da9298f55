//! Interrupting a command (Ctrl-C) also stops its query, according to the database's list of
//! running queries.

use std::process::Stdio;
use std::time::{Duration, Instant};

use blockyard_tests::environment::program;
use blockyard_tests::{TestYard, available, run_command};

/// Time limit for a server to stop a query. It normally takes seconds, but the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Runs a slow query, interrupts it once it runs on the server, and waits until it no longer runs.
fn stops(
    dialect: &str,
    name: &str,
    database: &str,
    username: &str,
    slow: &str,
    signal: &str,
    running: &dyn Fn() -> bool,
) {
    let variable = |suffix: &str| std::env::var(format!("BLOCKYARD_TEST_{name}_{suffix}")).expect("the server");
    let yard = TestYard::new();
    let config = serde_json::json!({
        "dialect": dialect, "host": "127.0.0.1", "port": variable("PORT").parse::<u16>().expect("a port"),
        "database": database, "username": username, "password": variable("PASSWORD"),
    });
    yard.create("sql-database/slow", &config);
    let mut query = yard.command(&["query", "sql-database/slow", slow]);
    let mut child = query.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    wait_until(running, true);
    let sent = program("kill").args([signal, &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    let ended = child.wait().expect("it ends");
    assert!(!ended.success());
    wait_until(running, false);
}

fn wait_until(running: &dyn Fn() -> bool, expected: bool) {
    let started = Instant::now();
    while running() != expected {
        assert!(started.elapsed() < TIMEOUT, "query running: {}", !expected);
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn postgres_runs(mark: &str) -> bool {
    let variable = |suffix: &str| std::env::var(format!("BLOCKYARD_TEST_POSTGRES_{suffix}")).expect("the server");
    let question = format!(
        "select count(*) from pg_stat_activity where state = 'active' and query like 'select pg_sleep(60), ''{mark}%'"
    );
    let mut psql = program("psql");
    psql.args([
        "-X",
        "-A",
        "-t",
        "-h",
        "127.0.0.1",
        "-U",
        "postgres",
        "-p",
        &variable("PORT"),
        "-c",
        &question,
        "postgres",
    ])
    .env("PGPASSWORD", variable("PASSWORD"));
    run_command(&mut psql, None).stdout == "1\n"
}

#[test]
fn interrupted_query_is_canceled_in_postgres() {
    if available("BLOCKYARD_TEST_POSTGRES_PORT") {
        let slow = "select pg_sleep(60), 'interrupted'";
        stops("postgres", "POSTGRES", "postgres", "postgres", slow, "-INT", &|| postgres_runs("interrupted"));
    }
}

#[test]
fn killed_process_leaves_no_query_in_postgres() {
    if available("BLOCKYARD_TEST_POSTGRES_PORT") {
        let slow = "select pg_sleep(60), 'killed'";
        stops("postgres", "POSTGRES", "postgres", "postgres", slow, "-KILL", &|| postgres_runs("killed"));
    }
}

#[test]
fn interrupted_query_is_canceled_in_mariadb() {
    if !available("BLOCKYARD_TEST_MARIADB_PORT") {
        return;
    }
    let variable = |suffix: &str| std::env::var(format!("BLOCKYARD_TEST_MARIADB_{suffix}")).expect("the server");
    let runs = || {
        let question =
            "select count(*) from information_schema.processlist where info like 'select sleep(60), ''interrupted%'";
        let mut shell = program("mariadb");
        shell
            .args(["--no-defaults", "--host=127.0.0.1", "--user=blockyard", "--batch", "--skip-column-names"])
            .args([&format!("--port={}", variable("PORT")), "--execute", question])
            .env("MYSQL_PWD", variable("PASSWORD"));
        run_command(&mut shell, None).stdout == "1\n"
    };
    let slow = "select sleep(60), 'interrupted'";
    stops("mysql", "MARIADB", "mysql", "blockyard", slow, "-INT", &runs);
}
