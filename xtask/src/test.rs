//! `cargo xtask test`: runs all tests with real servers.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::cloud::{self, BigQuery};
use crate::dist;
use crate::mariadb::{self, Mariadb};
use crate::postgres::{PASSWORD, Postgres};
use crate::setup::{self, Need};
use crate::{Result, lint};

/// Test suites with requirements beyond Rust.
const SUITES: [(&str, &[Need]); 8] = [
    ("File systems mounted by tests (full and read-only disks)", &[Need { program: "unshare", package: "util-linux" }]),
    (
        "Shells that complete words",
        &[Need { program: "zsh", package: "zsh" }, Need { program: "fish", package: "fish" }],
    ),
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
    (
        "An OCI registry without referrers (docker-registry)",
        &[Need { program: "docker-registry", package: "docker-registry" }],
    ),
];

/// Requirement of the tests that mount file systems.
const MOUNTS: &str = "permission to mount (user namespaces)";

/// Programs that download the packages of [`cloud`].
const PYTHON: [Need; 2] =
    [Need { program: "python3", package: "python3" }, Need { program: setup::PIP, package: "python3-pip" }];

/// Programs that the tests use, as far as they could be installed.
struct Installed {
    /// Suites of [`SUITES`] whose programs are all installed.
    suites: Vec<&'static str>,
    /// Suites that cannot run, each with the reason.
    skipped: Vec<String>,
    /// fake-gcs-server.
    storage: Option<PathBuf>,
    /// Folder of bqemulator and Google's clients.
    python: Option<PathBuf>,
    /// Folder of the programs that write test files.
    files: Option<PathBuf>,
}

impl Installed {
    /// Installs what is missing. In CI, a suite that cannot run is an error.
    fn install() -> Result<Self> {
        let all: Vec<Need> = SUITES.iter().flat_map(|(_, needs)| *needs).chain(&PYTHON).copied().collect();
        // At once, because Debian's lists of packages take longer to download than most packages.
        setup::programs(&all);
        let (mut suites, mut skipped) = (Vec::new(), Vec::new());
        for (suite, needs) in SUITES {
            let mut missing = setup::missing(needs);
            if suite.contains("File systems") && !setup::may_mount() {
                missing.push(MOUNTS);
            }
            if missing.is_empty() {
                suites.push(suite);
            } else {
                skipped.push(format!("{suite}: no {}", missing.join(", ")));
            }
        }
        let mut found = |suite: &str, folder: Result<PathBuf>| {
            folder.map_err(|reason| skipped.push(format!("{suite}: {reason}"))).ok()
        };
        let storage = found("Cloud Storage (fake-gcs-server)", cloud::fake_gcs_server());
        let python = found("BigQuery (bqemulator) and Google's clients", cloud::python_packages());
        let files = found("Files of other programs (pyarrow, pandas, Polars, fastparquet)", cloud::file_packages());
        if !skipped.is_empty() && in_ci() {
            return Err(format!("cannot run all suites, as required in CI: {}", skipped.join("; ")));
        }
        Ok(Self { suites, skipped, storage, python, files })
    }

    fn has(&self, word: &str) -> bool {
        self.suites.iter().any(|suite| suite.contains(word))
    }
}

fn in_ci() -> bool {
    std::env::var_os("CI").is_some()
}

/// Checks the source code, unless only some tests run, and builds the binary. Returns its path.
fn build(names: &[String]) -> Result<PathBuf> {
    // The license check covers all platforms, but uses only downloaded crates.
    crate::run(setup::cargo().args(["fetch", "--locked"]))?;
    if names.is_empty() {
        lint::run()?;
    }
    setup::binary()
}

/// Tests that compare a generated file with the source code, and update the file on request.
const GENERATED: [&str; 2] = ["reference::", "registry::registry_is_generated"];

/// Updates the generated files.
pub(crate) fn generate() -> Result {
    run_tests(None, &GENERATED.map(str::to_owned), &[("UPDATE_EXPECT", "1")])
}

/// Runs the tests. `long` is the number of minutes to run each fuzz target, one second if `None`.
/// `names` selects the tests whose path contains one of them; all if it is empty.
pub(crate) fn run(long: Option<String>, names: &[String]) -> Result {
    run_tests(long, names, &[])
}

/// Runs the tests with additional environment variables.
fn run_tests(long: Option<String>, names: &[String], variables: &[(&str, &str)]) -> Result {
    if let Some(minutes) = long.as_ref().filter(|minutes| minutes.parse::<u32>().is_err()) {
        return Err(format!("`--long` requires a number of minutes, not `{minutes}`"));
    }
    let started = Instant::now();
    // Before any other use of the toolchain, because rustup does not lock it.
    let toolchain = setup::toolchain()?;
    // Reported before minutes of compilation. Other suites are known only after their installation,
    // which is not faster.
    if in_ci() && setup::find("unshare").is_some() && !setup::may_mount() {
        return Err(format!("cannot run all suites, as required in CI: no {MOUNTS}"));
    }
    let prepare = || {
        let (installed, ()) = crate::run_concurrently(Installed::install, || setup::modules(&toolchain))?;
        Ok(installed)
    };
    // Downloads wait for the network, and the last step of each bundle uses one processor.
    let (installed, binary) = crate::run_concurrently(prepare, || build(names))?;
    let bundles = setup::bundles()?;
    let plugins: Vec<_> = bundles.iter().filter(|(name, _)| setup::is_plugin(name)).cloned().collect();
    // Tests never use the key of the releases.
    let archive = dist::archive(&binary, &binary, &plugins, &dist::SigningKey::Local)?;

    let mut tests = setup::cargo();
    tests.args(["test", "--workspace", "--no-fail-fast"]).envs(variables.iter().copied());
    if !names.is_empty() {
        // Doc tests cannot be selected by name.
        tests.args(["--lib", "--bins", "--tests", "--"]).args(names);
    }
    // The libraries for PostgreSQL read them: the settings of the user must not affect a test.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
        tests.env_remove(name);
    }
    tests.env("BLOCKYARD_TEST_BINARY", alone(&binary)?);
    tests.env("BLOCKYARD_TEST_ARCHIVE", archive);
    tests.env("BLOCKYARD_TEST_ETL", setup::built("flights-etl"));
    for (name, file) in bundles {
        tests.env(format!("BLOCKYARD_TEST_BUNDLE_{}", name.to_uppercase()), file);
    }
    if let Some(minutes) = long {
        tests.env("BLOCKYARD_TEST_LONG", minutes).env("PROPTEST_CASES", "100000");
    }
    if installed.has("witness") {
        tests.env("BLOCKYARD_TEST_SQLITE3", "1");
    }
    if installed.has("File systems") {
        tests.env("BLOCKYARD_TEST_MOUNTS", "1");
    }
    if installed.has("Shells") {
        tests.env("BLOCKYARD_TEST_SHELLS", "1");
    }
    if installed.has("faketime") {
        tests.env("BLOCKYARD_TEST_FAKETIME", "1");
    }
    if installed.has("keyring") {
        tests.env("BLOCKYARD_TEST_KEYRING", "1");
    }
    if installed.has("docker-registry") {
        tests.env("BLOCKYARD_TEST_DOCKER_REGISTRY", "1");
    }
    if let Some(program) = &installed.storage {
        tests.env("BLOCKYARD_TEST_FAKE_GCS", program);
    }
    // The server stops when this goes out of scope, also if the tests fail.
    let postgres = if installed.has("PostgreSQL") { Some(Postgres::start()?) } else { None };
    if let Some(postgres) = &postgres {
        tests.env("BLOCKYARD_TEST_POSTGRES_PORT", postgres.port.to_string());
        tests.env("BLOCKYARD_TEST_POSTGRES_PASSWORD", PASSWORD);
        tests.env("BLOCKYARD_TEST_POSTGRES_CERTIFICATE", postgres.certificate());
    }
    let mariadb = if installed.has("MariaDB") { Some(Mariadb::start()?) } else { None };
    if let Some(mariadb) = &mariadb {
        tests.env("BLOCKYARD_TEST_MARIADB_PORT", mariadb.port.to_string());
        tests.env("BLOCKYARD_TEST_MARIADB_PASSWORD", mariadb::PASSWORD);
        tests.env("BLOCKYARD_TEST_MARIADB_CERTIFICATE", mariadb.certificate());
    }
    let bigquery = installed.python.as_deref().map(BigQuery::start).transpose()?;
    if let (Some(bigquery), Some(packages)) = (&bigquery, &installed.python) {
        tests.env("BLOCKYARD_TEST_BIGQUERY_PORT", bigquery.port.to_string());
        tests.env("BLOCKYARD_TEST_BIGQUERY_BUCKETS", bigquery.buckets());
        tests.env("BLOCKYARD_TEST_PYTHON", packages);
    }
    if let Some(packages) = &installed.files {
        tests.env("BLOCKYARD_TEST_PYARROW", packages);
    }
    let outcome = crate::run(&mut tests);
    drop(bigquery);
    drop(mariadb);
    drop(postgres);
    for suite in &installed.skipped {
        println!("SKIPPED {suite}");
    }
    println!("{} seconds", started.elapsed().as_secs());
    outcome
}

/// Links the binary into a folder that has no registry beside it, so that the tests do not depend on
/// an earlier `cargo xtask bundles`.
fn alone(binary: &Path) -> Result<PathBuf> {
    let folder = setup::target().join("alone/bin");
    let failed = |error: std::io::Error| format!("`{}`: {error}", folder.display());
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let link = folder.join(binary.file_name().unwrap_or_default());
    let _ = std::fs::remove_file(&link);
    std::fs::hard_link(binary, &link).map_err(failed)?;
    Ok(link)
}
