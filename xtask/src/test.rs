//! `cargo xtask test`: runs all tests with real servers.

use std::time::Instant;

use crate::Result;
use crate::cloud::{self, BigQuery};
use crate::mariadb::{self, Mariadb};
use crate::postgres::{PASSWORD, Postgres};
use crate::setup::{self, Need};

/// Test suites with requirements beyond Rust.
const SUITES: [(&str, &[Need]); 6] = [
    ("File systems mounted by tests (full and read-only disks)", &[Need { program: "unshare", package: "util-linux" }]),
    ("A simulated clock (faketime)", &[Need { program: "faketime", package: "faketime" }]),
    ("The SQLite shell as a witness", &[Need { program: "sqlite3", package: "sqlite3" }]),
    (
        "PostgreSQL",
        &[
            Need { program: "initdb", package: "postgresql" },
            Need { program: "postgres", package: "postgresql" },
            Need { program: "psql", package: "postgresql-client" },
            Need { program: "pg_dump", package: "postgresql-client" },
            Need { program: "openssl", package: "openssl" },
        ],
    ),
    (
        "MariaDB",
        &[
            Need { program: "mariadb-install-db", package: "mariadb-server" },
            Need { program: "mariadbd", package: "mariadb-server" },
            Need { program: "mariadb", package: "mariadb-client" },
            Need { program: "openssl", package: "openssl" },
        ],
    ),
    (
        "Secret Service (the keyring)",
        &[
            Need { program: "gnome-keyring-daemon", package: "gnome-keyring" },
            Need { program: "dbus-run-session", package: "dbus" },
            Need { program: "secret-tool", package: "libsecret-tools" },
        ],
    ),
];

/// Runs the tests. `long` is the number of minutes to run each fuzz target, one second if `None`.
/// `names` selects the tests whose path contains one of them; all if it is empty.
pub(crate) fn run(long: Option<String>, names: &[String]) -> Result {
    if let Some(minutes) = long.as_ref().filter(|minutes| minutes.parse::<u32>().is_err()) {
        return Err(format!("`--long` requires a number of minutes, not `{minutes}`"));
    }
    let begun = Instant::now();
    setup::toolchain()?;
    let mut skipped = Vec::new();
    let mut available = Vec::new();
    for (suite, needs) in SUITES {
        let mut missing = setup::programs(needs);
        if suite.contains("File systems") && !setup::may_mount() {
            missing.push("permission to mount (user namespaces)");
        }
        if missing.is_empty() {
            available.push(suite);
        } else {
            skipped.push(format!("{suite}: no {}", missing.join(", ")));
        }
    }
    let storage = cloud::fake_gcs_server();
    if let Err(reason) = &storage {
        skipped.push(format!("Cloud Storage (fake-gcs-server): {reason}"));
    }
    let python = cloud::python_packages();
    if let Err(reason) = &python {
        skipped.push(format!("BigQuery (bqemulator) and Google's clients: {reason}"));
    }
    let files = cloud::file_packages();
    if let Err(reason) = &files {
        skipped.push(format!("Files of other programs (pyarrow, pandas, Polars, fastparquet): {reason}"));
    }
    if !skipped.is_empty() && std::env::var_os("CI").is_some() {
        return Err(format!("cannot run all suites, as required in CI: {}", skipped.join("; ")));
    }

    // The license check covers all platforms, but uses only downloaded crates.
    crate::run(setup::cargo().args(["fetch", "--locked"]))?;
    println!("setup: checking the formatting");
    crate::run(setup::cargo().args(["fmt", "--all", "--check"]))?;
    let binary = setup::binary()?;
    let bundles = setup::bundles()?;

    let mut tests = setup::cargo();
    tests.args(["test", "--workspace", "--no-fail-fast"]);
    if !names.is_empty() {
        // Doc tests cannot be selected by name.
        tests.args(["--lib", "--bins", "--tests", "--"]).args(names);
    }
    tests.env("BLOCKYARD_TEST_BINARY", binary);
    tests.env("BLOCKYARD_TEST_ETL", setup::built("flights-etl"));
    for (name, file) in bundles {
        tests.env(format!("BLOCKYARD_TEST_BUNDLE_{}", name.to_uppercase()), file);
    }
    if let Some(minutes) = long {
        tests.env("BLOCKYARD_TEST_LONG", minutes).env("PROPTEST_CASES", "100000");
    }
    let has = |word: &str| available.iter().any(|suite| suite.contains(word));
    if has("witness") {
        tests.env("BLOCKYARD_TEST_SQLITE3", "1");
    }
    if has("File systems") {
        tests.env("BLOCKYARD_TEST_MOUNTS", "1");
    }
    if has("faketime") {
        tests.env("BLOCKYARD_TEST_FAKETIME", "1");
    }
    if has("keyring") {
        tests.env("BLOCKYARD_TEST_KEYRING", "1");
    }
    if let Ok(program) = storage {
        tests.env("BLOCKYARD_TEST_FAKE_GCS", program);
    }
    // The server stops when this goes out of scope, also if the tests fail.
    let postgres = if has("PostgreSQL") { Some(Postgres::start()?) } else { None };
    if let Some(postgres) = &postgres {
        tests.env("BLOCKYARD_TEST_POSTGRES_PORT", postgres.port.to_string());
        tests.env("BLOCKYARD_TEST_POSTGRES_PASSWORD", PASSWORD);
        tests.env("BLOCKYARD_TEST_POSTGRES_CERTIFICATE", postgres.certificate());
    }
    let mariadb = if has("MariaDB") { Some(Mariadb::start()?) } else { None };
    if let Some(mariadb) = &mariadb {
        tests.env("BLOCKYARD_TEST_MARIADB_PORT", mariadb.port.to_string());
        tests.env("BLOCKYARD_TEST_MARIADB_PASSWORD", mariadb::PASSWORD);
        tests.env("BLOCKYARD_TEST_MARIADB_CERTIFICATE", mariadb.certificate());
    }
    let bigquery = python.ok().map(|packages| Ok::<_, String>((BigQuery::start(&packages)?, packages))).transpose()?;
    if let Some((bigquery, packages)) = &bigquery {
        tests.env("BLOCKYARD_TEST_BIGQUERY_PORT", bigquery.port.to_string());
        tests.env("BLOCKYARD_TEST_BIGQUERY_BUCKETS", bigquery.buckets());
        tests.env("BLOCKYARD_TEST_PYTHON", packages);
    }
    if let Ok(packages) = files {
        tests.env("BLOCKYARD_TEST_PYARROW", packages);
    }
    let outcome = crate::run(&mut tests);
    drop(bigquery);
    drop(mariadb);
    drop(postgres);
    for suite in &skipped {
        println!("SKIPPED {suite}");
    }
    println!("{} seconds", begun.elapsed().as_secs());
    outcome
}
