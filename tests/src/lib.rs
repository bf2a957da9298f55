//! The harness of the end-to-end tests: a yard of its own per test, the built binary, real servers.
//!
//! `cargo xtask test` builds the binary and the bundles, starts the servers, and says by
//! environment variables where they are.

#![allow(clippy::print_stderr, reason = "a skipped suite is named")]

pub mod attack;
pub mod collector;
pub mod gate;
pub mod proxy;
pub mod web;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A yard of its own, in a folder of its own. On PostgreSQL it has a schema of its own, which goes
/// with it.
pub struct TestYard {
    folder: TempDir,
    backend: Backend,
    schema: String,
}

/// Where a yard is kept. What touches the yard is tested on both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// A SQLite file.
    Sqlite,
    /// A schema of the server that `cargo xtask test` starts.
    Postgres,
}

/// Runs each test function on a yard of either kind: `on_both!(name, other);` makes of each
/// `fn name(yard: &TestYard)` the tests `sqlite::name` and `postgres::name`.
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

/// What a command gave.
#[derive(Debug)]
pub struct Ran {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl TestYard {
    /// A folder without a yard.
    ///
    /// # Panics
    /// Where there is no place for temporary files.
    #[must_use]
    pub fn empty() -> Self {
        Self::empty_on(Backend::Sqlite)
    }

    /// A folder without a yard, for one of this kind.
    ///
    /// # Panics
    /// Where there is no place for temporary files.
    #[must_use]
    pub fn empty_on(backend: Backend) -> Self {
        let folder = tempfile::Builder::new().prefix("blockyard-").tempdir().expect("a temporary folder");
        let name = folder.path().file_name().expect("a name").to_string_lossy().into_owned();
        // The folder's random name, in the letters that a schema's name has.
        let schema = format!("y_{}", name.bytes().map(|byte| format!("{byte:02x}")).collect::<String>());
        Self { folder, backend, schema: schema[..schema.len().min(60)].to_owned() }
    }

    /// A yard of this kind, with its key in a file and the bundles `sql` and `zoo`.
    #[must_use]
    pub fn on(backend: Backend) -> Self {
        let yard = Self::empty_on(backend);
        yard.ok(&["init", "--key", "file"]);
        yard.ok(&["install", &bundle("sql"), &bundle("zoo"), "--yes"]);
        yard
    }

    /// Where it is kept.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// The yard's address.
    ///
    /// # Panics
    /// On PostgreSQL, where the tests are not run by `cargo xtask test`.
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

    /// The yard's key file.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        match self.backend {
            Backend::Sqlite => self.path("yard.key"),
            Backend::Postgres => {
                let folder = std::fs::read_dir(self.path(".local/share/blockyard/keys")).expect("the folder for keys");
                let mut files: Vec<PathBuf> = folder.flatten().map(|entry| entry.path()).collect();
                files.sort();
                files.remove(0)
            }
        }
    }

    /// Runs a statement on the yard's own database as its superuser, past Blockyard: what somebody
    /// could do who has the database. Gives what `sqlite3` or `psql` print, a row a line, columns
    /// between bars; none where the statement was refused.
    ///
    /// # Panics
    /// Where the database's shell is not there.
    #[must_use]
    pub fn sql(&self, statement: &str) -> Option<String> {
        let mut shell = match self.backend {
            Backend::Sqlite => {
                let mut shell = Command::new("sqlite3");
                shell.arg("-bail").arg(self.path("yard.db")).arg(statement);
                shell
            }
            Backend::Postgres => {
                let mut shell = psql(&self.schema);
                shell.args(["-At", "-v", "ON_ERROR_STOP=1", "-c", statement]);
                shell
            }
        };
        let ran = ran(&mut shell, None);
        (ran.code == 0).then_some(ran.stdout)
    }

    /// Runs a file of statements on PostgreSQL as its superuser.
    ///
    /// # Panics
    /// Where one of them fails.
    pub fn sql_file(&self, path: &Path) {
        let mut shell = psql(&self.schema);
        shell.args(["-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(path);
        let ran = ran(&mut shell, None);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }

    /// The schema of a yard in PostgreSQL.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// A yard with the bundle `sql`.
    #[must_use]
    pub fn new() -> Self {
        let yard = Self::empty();
        yard.ok(&["init", "--key", "file"]);
        yard.ok(&["install", &bundle("sql"), "--yes"]);
        yard
    }

    /// A yard with `sql-database/flights` on an empty SQLite file.
    #[must_use]
    pub fn with_sqlite() -> Self {
        let yard = Self::new();
        let database = format!("database={}", yard.path("flights.db").display());
        yard.ok(&["create", "sql-database/flights", "--set", "dialect=sqlite", "--set", &database]);
        yard
    }

    /// A path in the yard's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The binary with the surroundings of this yard and nothing of the machine's.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("BLOCKYARD_") {
                command.env_remove(name);
            }
        }
        command
            .env("HOME", self.folder.path())
            .env("XDG_CACHE_HOME", std::env::temp_dir().join("blockyard-test-cache"))
            .env("BLOCKYARD_YARD", self.url())
            .env("PGPASSWORD", std::env::var("BLOCKYARD_TEST_POSTGRES_PASSWORD").unwrap_or_default())
            .env_remove("DBUS_SESSION_BUS_ADDRESS")
            .env_remove("XDG_DATA_HOME")
            .env_remove("XDG_CONFIG_HOME");
        command
    }

    /// Writes the user's configuration file.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn configure(&self, text: &str) {
        let folder = self.path(".config/blockyard");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("config.toml"), text).expect("a file");
    }

    /// Permits all variables, and the files in the yard's folder, as sources of secrets. Yards in PostgreSQL need
    /// it, because others can write them.
    ///
    /// # Panics
    /// Where the configuration cannot be written.
    pub fn permit_sources(&self) {
        let folder = self.folder.path().canonicalize().expect("the folder");
        self.configure(&format!("[sources]\nallow = [\"env:*\", \"file:{}/*\"]\n", folder.display()));
    }

    /// Runs a command.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Ran {
        ran(&mut self.command(arguments), None)
    }

    /// Runs a command that reads a text.
    #[must_use]
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Ran {
        ran(&mut self.command(arguments), Some(input))
    }

    /// Runs a command that must succeed; gives its standard output.
    ///
    /// # Panics
    /// Where it fails.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        ran.stdout
    }

    /// Runs a command that must fail with this exit code; gives its standard error, with the
    /// folder's path replaced.
    ///
    /// # Panics
    /// Where it ends otherwise.
    pub fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.stdout, "", "{arguments:?} printed data and failed");
        self.anonymous(&ran.stderr)
    }

    /// Runs a command with `--json`; gives its document.
    ///
    /// # Panics
    /// Where it fails, or prints something else.
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        serde_json::from_str(&self.ok(&arguments)).expect("one JSON document")
    }

    /// Makes a block from a document, which may have secrets in place.
    ///
    /// # Panics
    /// Where it is refused.
    pub fn create(&self, address: &str, config: &serde_json::Value) {
        let made = self.run_with_input(&["create", address, "--json-config", "-"], &config.to_string());
        assert_eq!(made.code, 0, "{address}: {}", made.stderr);
    }

    /// The configuration of a block as `show` has it, secrets as asterisks.
    ///
    /// # Panics
    /// Where there is no such block.
    pub fn config(&self, address: &str) -> serde_json::Value {
        self.json(&["show", address])["config"].clone()
    }

    /// The addresses that `list` gives with these arguments.
    ///
    /// # Panics
    /// Where it fails.
    pub fn addresses(&self, arguments: &[&str]) -> Vec<String> {
        let arguments: Vec<&str> = ["list"].iter().chain(arguments).copied().collect();
        let listed = self.json(&arguments);
        let blocks = listed["blocks"].as_array().expect("a list of blocks");
        blocks.iter().map(|block| block["address"].as_str().expect("an address").to_owned()).collect()
    }

    /// As [`fails`](Self::fails), of a command that reads a text.
    ///
    /// # Panics
    /// Where it ends otherwise.
    pub fn fails_with_input(&self, code: i32, arguments: &[&str], input: &str) -> String {
        let ran = self.run_with_input(arguments, input);
        assert_eq!(ran.code, code, "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.stdout, "", "{arguments:?} printed data and failed");
        self.anonymous(&ran.stderr)
    }

    /// Runs a command that reads a text and must succeed; gives its standard output.
    ///
    /// # Panics
    /// Where it fails.
    pub fn ok_with_input(&self, arguments: &[&str], input: &str) -> String {
        let ran = self.run_with_input(arguments, input);
        assert_eq!(ran.code, 0, "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        ran.stdout
    }

    /// Makes `zoo-keeper/NAME` with this badge, a secret.
    pub fn keeper(&self, name: &str, badge: &str) {
        let (address, field) = (format!("zoo-keeper/{name}"), format!("name={name}"));
        self.ok_with_input(&["create", &address, "--set", &field, "--secret", "badge=-"], badge);
    }

    /// The plain text of a secret.
    #[must_use]
    pub fn reveal(&self, address: &str, field: &str) -> String {
        self.ok(&["reveal", address, field, "--yes"])
    }

    /// Whether [`sql`](Self::sql) has its shell on this machine; where it has not, the test says that
    /// it is skipped.
    #[must_use]
    pub fn has_shell(&self) -> bool {
        self.backend == Backend::Postgres || available("BLOCKYARD_TEST_SQLITE3")
    }

    /// Takes from a table what keeps it from being changed, as somebody would who has the database.
    ///
    /// # Panics
    /// Where the database's shell is not there.
    pub fn unguard(&self, table: &str) {
        let statement = match self.backend {
            Backend::Sqlite => {
                let guards = format!("select name from sqlite_master where type = 'trigger' and tbl_name = '{table}'");
                let guards = self.sql(&guards).expect("the triggers");
                guards.lines().map(|name| format!("drop trigger {name};")).collect()
            }
            Backend::Postgres => format!("alter table {table} disable trigger user"),
        };
        self.sql(&statement).expect("the triggers are gone");
    }

    /// A text without the folder's path and the server's address.
    #[must_use]
    pub fn anonymous(&self, text: &str) -> String {
        text.replace(&self.url(), "YARD").replace(&self.folder.path().display().to_string(), "FOLDER")
    }

    /// Whether any file of the folder has these bytes.
    ///
    /// # Panics
    /// Where a file cannot be read.
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
            let _ = ran(psql("public").args(["-q", "-c", &drop]), None);
        }
    }
}

/// PostgreSQL's own shell on the server of the tests.
fn psql(schema: &str) -> Command {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let mut shell = Command::new("psql");
    shell
        .args(["-h", "127.0.0.1", "-U", "postgres", "-p", &variable("BLOCKYARD_TEST_POSTGRES_PORT"), "postgres"])
        .env("PGPASSWORD", variable("BLOCKYARD_TEST_POSTGRES_PASSWORD"))
        .env("PGOPTIONS", format!("-c search_path={schema} -c client_min_messages=warning"));
    shell
}

impl Default for TestYard {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs a command to its end.
///
/// # Panics
/// Where it cannot be run.
pub fn ran(command: &mut Command, input: Option<&str>) -> Ran {
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program runs");
    if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
        // A program that does not read to the end closes its side; that is its right.
        let _ = stdin.write_all(text.as_bytes());
    }
    let Output { status, stdout, stderr } = child.wait_with_output().expect("the program ends");
    Ran {
        code: status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// The built binary.
///
/// # Panics
/// Where the tests are not run by `cargo xtask test`.
#[must_use]
pub fn binary() -> String {
    std::env::var("BLOCKYARD_TEST_BINARY").expect("these tests are run by `cargo xtask test`")
}

/// A built bundle: `sql` or `misbehave`.
///
/// # Panics
/// Where the tests are not run by `cargo xtask test`.
#[must_use]
pub fn bundle(name: &str) -> String {
    std::env::var(format!("BLOCKYARD_TEST_BUNDLE_{}", name.to_uppercase()))
        .expect("these tests are run by `cargo xtask test`")
}

/// Whether something of the machine is there; where it is not, the test says that it is skipped,
/// and `cargo xtask test` names the suite at its end (in CI it is an error there).
#[must_use]
pub fn available(variable: &str) -> bool {
    let there = std::env::var_os(variable).is_some();
    if !there {
        eprintln!("SKIPPED: {variable} is not set");
    }
    there
}

/// A text as one part of a path (RFC 3986, section 2.1).
#[must_use]
pub fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The root of the repository.
///
/// # Panics
/// Never: the tests are a folder of it.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a folder of the repository").to_owned()
}
