//! Harness of the end-to-end tests: a separate yard per test, the built binary, real servers.
//!
//! `cargo xtask test` builds the binary and the bundles, starts the servers, and passes their
//! locations in environment variables.

pub mod attack;
pub mod environment;
pub mod http_proxy;
pub mod oci;
mod port;
pub mod proxy;
mod server;
pub mod web;

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

pub use self::port::free_port;

/// Variable with the path of the built binary.
const BINARY: &str = "BLOCKYARD_TEST_BINARY";

/// A yard in a separate temporary folder. On PostgreSQL it uses a separate schema, which is dropped
/// together with the value.
pub struct TestYard {
    folder: TempDir,
    backend: Backend,
    schema: String,
}

/// Storage of a yard. Tests that involve the yard run on both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// A SQLite file.
    Sqlite,
    /// A schema of the server that `cargo xtask test` starts.
    Postgres,
}

/// Runs each test function on a yard of each backend: `on_both!(name, other);` defines the tests
/// `sqlite::name` and `postgres::name` for each `fn name(yard: &TestYard)`.
#[macro_export]
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[test] fn $name() { super::$name(&$crate::TestYard::on($crate::Backend::Sqlite)); })*
        }
        mod postgres {
            $(#[test] fn $name() {
                if $crate::available("BLOCKYARD_TEST_POSTGRES_PORT") {
                    super::$name(&$crate::TestYard::on($crate::Backend::Postgres));
                }
            })*
        }
    };
}

/// Result of a command.
#[derive(Debug)]
#[must_use = "check `code`, or run the command with `TestYard::ok` or `TestYard::fails`"]
pub struct CommandOutput {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl TestYard {
    /// Creates a folder without a yard.
    ///
    /// # Panics
    /// If the temporary folder cannot be created.
    #[must_use]
    pub fn empty() -> Self {
        Self::empty_on(Backend::Sqlite)
    }

    /// Creates a folder without a yard, prepared for a yard of the given backend.
    ///
    /// # Panics
    /// If the temporary folder cannot be created.
    #[must_use]
    pub fn empty_on(backend: Backend) -> Self {
        let folder = tempfile::Builder::new().prefix("blockyard-").tempdir().expect("a temporary folder");
        let name = folder.path().file_name().expect("a name").to_string_lossy().into_owned();
        // The folder's random name in hexadecimal digits is valid as part of a schema name.
        let schema = format!("y_{}", hex::encode(&name));
        Self { folder, backend, schema: schema[..schema.len().min(60)].to_owned() }
    }

    /// Creates a yard of the given backend, with its key in a file and the bundles `sql` and `zoo`.
    #[must_use]
    pub fn on(backend: Backend) -> Self {
        let yard = Self::empty_on(backend);
        yard.ok(&["init", "--key", "file"]);
        yard.ok(&["install", &bundle("sql"), &bundle("zoo"), "--yes"]);
        yard
    }

    /// Returns the backend of the yard.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Returns the yard's URL.
    ///
    /// # Panics
    /// On PostgreSQL, if the tests are not run by `cargo xtask test`.
    #[must_use]
    pub fn url(&self) -> String {
        match self.backend {
            Backend::Sqlite => format!("sqlite:{}", self.path("yard.db").display()),
            Backend::Postgres => {
                let port = std::env::var("BLOCKYARD_TEST_POSTGRES_PORT").expect("the server's port");
                format!("postgres://postgres@127.0.0.1:{port}/postgres?schema={}", self.schema)
            }
        }
    }

    /// Returns the path of the yard's key file.
    ///
    /// # Panics
    /// On PostgreSQL, if the key file is missing.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        match self.backend {
            Backend::Sqlite => self.path("yard.key"),
            Backend::Postgres => {
                let folder =
                    std::fs::read_dir(self.path(".local/share/blockyard/keys")).expect("the folder of the keys");
                let mut files: Vec<PathBuf> = folder.flatten().map(|entry| entry.path()).collect();
                files.sort();
                files.remove(0)
            }
        }
    }

    /// Runs a statement on the yard's database as its superuser, bypassing Blockyard, as an
    /// attacker with access to the database would. Returns the output of `sqlite3` or `psql`: one
    /// row per line, columns separated by `|`. Returns `None` if the statement fails.
    ///
    /// # Panics
    /// If the database's shell is not installed.
    #[must_use]
    pub fn sql(&self, statement: &str) -> Option<String> {
        let mut shell = match self.backend {
            Backend::Sqlite => {
                let mut shell = self.program("sqlite3");
                shell.arg("-bail").arg(self.path("yard.db")).arg(statement);
                shell
            }
            Backend::Postgres => {
                let mut shell = psql(&self.schema);
                shell.args(["-At", "-v", "ON_ERROR_STOP=1", "-c", statement]);
                shell
            }
        };
        let output = run_command(&mut shell, None);
        (output.code == 0).then_some(output.stdout)
    }

    /// Runs a file of statements on PostgreSQL as its superuser.
    ///
    /// # Panics
    /// If one of them fails.
    pub fn sql_file(&self, path: &Path) {
        let mut shell = psql(&self.schema);
        shell.args(["-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(path);
        let output = run_command(&mut shell, None);
        assert_eq!(output.code, 0, "{}", output.stderr);
    }

    /// Returns the name of the yard's schema in PostgreSQL.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// Creates a yard with the bundle `sql`.
    #[must_use]
    pub fn new() -> Self {
        let yard = Self::empty();
        yard.ok(&["init", "--key", "file"]);
        yard.ok(&["install", &bundle("sql"), "--yes"]);
        yard
    }

    /// Creates a yard with `sql-database/flights` on an empty SQLite file.
    #[must_use]
    pub fn with_sqlite() -> Self {
        let yard = Self::new();
        let database = format!("database={}", yard.path("flights.db").display());
        yard.ok(&["create", "sql-database/flights", "--set", "dialect=sqlite", "--set", &database]);
        yard
    }

    /// Returns a path in the yard's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns a command that runs the binary on this yard, isolated from the machine's
    /// configuration, keyring and environment.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(binary());
        command.args(arguments);
        command
    }

    /// Returns a command that runs another program in the environment and the folder of this yard.
    #[must_use]
    pub fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = environment::program(program);
        command
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .env("HOME", self.folder.path())
            .env("XDG_CACHE_HOME", std::env::temp_dir().join("blockyard-test-cache"))
            .env("BLOCKYARD_YARD", self.url())
            .env("PGPASSWORD", std::env::var("BLOCKYARD_TEST_POSTGRES_PASSWORD").unwrap_or_default());
        command
    }

    /// Writes the user's configuration file.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn configure(&self, text: &str) {
        let folder = self.path(".config/blockyard");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("config.toml"), text).expect("a file");
    }

    /// Allows all environment variables, and the files in the yard's folder, as sources of secrets.
    /// Yards in PostgreSQL require it, because other users can write to them.
    ///
    /// # Panics
    /// If the configuration cannot be written.
    pub fn permit_sources(&self) {
        let folder = self.folder.path().canonicalize().expect("the folder");
        self.configure(&format!("[sources]\nallow = [\"env:*\", \"file:{}/*\"]\n", folder.display()));
    }

    /// Runs a command.
    pub fn run(&self, arguments: &[&str]) -> CommandOutput {
        run_command(&mut self.command(arguments), None)
    }

    /// Runs a command with `input` as its standard input.
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> CommandOutput {
        run_command(&mut self.command(arguments), Some(input))
    }

    /// Runs a command that must succeed. Returns its standard output.
    ///
    /// # Panics
    /// If it fails.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.code, 0, "{arguments:?}: {}{}", output.stdout, output.stderr);
        output.stdout
    }

    /// Runs a command that must fail with this exit code and print nothing to standard output.
    /// Returns its standard error, with the folder's path and the yard's URL replaced.
    ///
    /// # Panics
    /// If the exit code differs or there is output.
    pub fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.code, code, "{arguments:?}: {}{}", output.stdout, output.stderr);
        assert_eq!(output.stdout, "", "{arguments:?} printed data and failed");
        self.without_locations(&output.stderr)
    }

    /// Runs a command with `--json`. Returns the JSON document that it prints.
    ///
    /// # Panics
    /// If the command fails or prints anything else.
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        serde_json::from_str(&self.ok(&arguments)).expect("one JSON document")
    }

    /// Creates a block from a document, which may contain secrets as plain values.
    ///
    /// # Panics
    /// If the document is rejected.
    pub fn create(&self, address: &str, config: &serde_json::Value) {
        let created = self.run_with_input(&["create", address, "--json-config", "-"], &config.to_string());
        assert_eq!(created.code, 0, "{address}: {}", created.stderr);
    }

    /// Returns the configuration of a block as `show` prints it, with asterisks instead of secrets.
    ///
    /// # Panics
    /// If the block does not exist.
    pub fn config(&self, address: &str) -> serde_json::Value {
        self.json(&["show", address])["config"].clone()
    }

    /// Returns the addresses that `list` prints with these arguments.
    ///
    /// # Panics
    /// If the command fails.
    pub fn addresses(&self, arguments: &[&str]) -> Vec<String> {
        let arguments: Vec<&str> = ["list"].iter().chain(arguments).copied().collect();
        let listed = self.json(&arguments);
        let blocks = listed["blocks"].as_array().expect("a list of blocks");
        blocks.iter().map(|block| block["address"].as_str().expect("an address").to_owned()).collect()
    }

    /// Like [`fails`](Self::fails), with `input` as standard input.
    ///
    /// # Panics
    /// If the exit code differs or there is output.
    pub fn fails_with_input(&self, code: i32, arguments: &[&str], input: &str) -> String {
        let output = self.run_with_input(arguments, input);
        assert_eq!(output.code, code, "{arguments:?}: {}{}", output.stdout, output.stderr);
        assert_eq!(output.stdout, "", "{arguments:?} printed data and failed");
        self.without_locations(&output.stderr)
    }

    /// Runs a command that must succeed, with `input` as its standard input. Returns its standard
    /// output.
    ///
    /// # Panics
    /// If it fails.
    pub fn ok_with_input(&self, arguments: &[&str], input: &str) -> String {
        let output = self.run_with_input(arguments, input);
        assert_eq!(output.code, 0, "{arguments:?}: {}{}", output.stdout, output.stderr);
        output.stdout
    }

    /// Creates `zoo-keeper/NAME` with this badge, which is a secret.
    pub fn keeper(&self, name: &str, badge: &str) {
        let (address, field) = (format!("zoo-keeper/{name}"), format!("name={name}"));
        self.ok_with_input(&["create", &address, "--set", &field, "--secret", "badge=-"], badge);
    }

    /// Returns the plaintext of a secret.
    #[must_use]
    pub fn reveal(&self, address: &str, field: &str) -> String {
        self.ok(&["reveal", address, field, "--yes"])
    }

    /// Checks whether the shell that [`sql`](Self::sql) requires is installed. If not, prints that
    /// the test is skipped.
    #[must_use]
    pub fn has_shell(&self) -> bool {
        self.backend == Backend::Postgres || available("BLOCKYARD_TEST_SQLITE3")
    }

    /// Removes or disables the triggers that prevent changes to a table, as an attacker with access
    /// to the database would.
    ///
    /// # Panics
    /// If the database's shell is not installed.
    pub fn disable_triggers(&self, table: &str) {
        let statement = match self.backend {
            Backend::Sqlite => {
                let guards = format!("select name from sqlite_master where type = 'trigger' and tbl_name = '{table}'");
                let guards = self.sql(&guards).expect("the triggers");
                guards.lines().map(|name| format!("drop trigger {name};")).collect()
            }
            Backend::Postgres => format!("alter table {table} disable trigger user"),
        };
        self.sql(&statement).expect("the triggers are removed");
    }

    /// Replaces the folder's path and the yard's URL in a text.
    #[must_use]
    pub fn without_locations(&self, text: &str) -> String {
        text.replace(&self.url(), "YARD").replace(&self.folder.path().display().to_string(), "FOLDER")
    }

    /// Returns the path of a file in the yard's folder that contains this text, if there is one.
    ///
    /// # Panics
    /// If a file cannot be read.
    #[must_use]
    pub fn any_file_contains(&self, needle: &str) -> Option<PathBuf> {
        fn search(folder: &Path, needle: &[u8]) -> Option<PathBuf> {
            for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
                let path = entry.path();
                if path.is_dir() {
                    if let Some(found) = search(&path, needle) {
                        return Some(found);
                    }
                } else {
                    let bytes = std::fs::read(&path).expect("a file");
                    if bytes.windows(needle.len()).any(|window| window == needle) {
                        return Some(path);
                    }
                }
            }
            None
        }
        search(self.folder.path(), needle.as_bytes())
    }
}

impl Drop for TestYard {
    fn drop(&mut self) {
        if self.backend == Backend::Postgres {
            let drop = format!("drop schema if exists {} cascade", self.schema);
            let _ = run_command(psql("public").args(["-q", "-c", &drop]), None);
        }
    }
}

/// Returns a command that runs `psql` on the test server.
fn psql(schema: &str) -> Command {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let mut shell = environment::program("psql");
    shell
        .args(["-X", "-h", "127.0.0.1", "-U", "postgres", "-p", &variable("BLOCKYARD_TEST_POSTGRES_PORT"), "postgres"])
        .env("PGPASSWORD", variable("BLOCKYARD_TEST_POSTGRES_PASSWORD"))
        .env("PGOPTIONS", format!("-c search_path={schema} -c client_min_messages=warning"));
    shell
}

impl Default for TestYard {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs a command until it exits.
///
/// # Panics
/// If it cannot be started.
pub fn run_command(command: &mut Command, input: Option<&str>) -> CommandOutput {
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program runs");
    if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
        // A program may exit or close its standard input before it has read everything.
        let _ = stdin.write_all(text.as_bytes());
    }
    let Output { status, stdout, stderr } = child.wait_with_output().expect("the program ends");
    CommandOutput {
        code: status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// Returns the path of the built binary. Without it, the tests end as [`required`] describes.
#[must_use]
pub fn binary() -> String {
    required(BINARY)
}

/// Returns the path of a built bundle, e.g. `sql` or `misbehave`. Without it, the tests end as
/// [`required`] describes.
#[must_use]
pub fn bundle(name: &str) -> String {
    required(&format!("BLOCKYARD_TEST_BUNDLE_{}", name.to_uppercase()))
}

/// Returns the names of the bundles of this repository.
///
/// # Panics
/// If the folder `plugins` cannot be read.
#[must_use]
pub fn plugins() -> Vec<String> {
    let folders = std::fs::read_dir(root().join("plugins")).expect("the bundles").flatten();
    let crates = folders.filter(|folder| folder.path().join("Cargo.toml").is_file());
    let mut names: Vec<String> = crates.map(|folder| folder.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Returns the value of an environment variable that `cargo xtask test` sets. Without
/// `BLOCKYARD_TEST_BINARY`, no test of this process can run: prints one message and ends the process,
/// instead of failing each test. This is a failure only in CI, so that a plain
/// `cargo test --workspace` succeeds.
///
/// # Panics
/// If another variable is not set.
#[must_use]
pub fn required(variable: &str) -> String {
    if let Ok(value) = std::env::var(variable) {
        return value;
    }
    assert!(std::env::var_os(BINARY).is_none(), "{variable} is not set; run `cargo xtask test`, which sets it");
    // Held until the process ends: the other tests wait here instead of printing the message again.
    static FIRST: Mutex<()> = Mutex::new(());
    let _first = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
    report(&format!(
        "SKIPPED the end-to-end tests: {BINARY} is not set; run `cargo xtask test`, which builds the binary and the \
         bundles, starts the servers and runs all tests"
    ));
    std::process::exit(i32::from(in_ci()))
}

/// Returns the value of the environment variable of an optional program or server. If it is not set,
/// prints that the test is skipped; `cargo xtask test` lists the skipped suites at the end.
///
/// # Panics
/// In CI, if the variable is not set.
#[must_use]
pub fn optional(variable: &str) -> Option<String> {
    let value = std::env::var(variable).ok();
    if value.is_none() {
        assert!(!in_ci(), "{variable} is not set, as required in CI");
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        report(&format!("SKIPPED {test}: {variable} is not set"));
    }
    value
}

/// Checks whether an optional program or server is available, as [`optional`] does.
#[must_use]
pub fn available(variable: &str) -> bool {
    optional(variable).is_some()
}

fn in_ci() -> bool {
    std::env::var_os("CI").is_some()
}

/// Prints a line to standard error. `eprintln!` would be hidden, because the harness of Rust
/// captures the output of successful tests.
fn report(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Percent-encodes a text as one segment of a path (RFC 3986, section 2.1).
#[must_use]
pub fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Returns the root of the repository.
///
/// # Panics
/// Never: this crate is a folder of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a folder of the repository").to_owned()
}
