//! A bundle that violates the rules for bundles. Each operation is one attack; the test with the
//! same name shows what stops it.

mod random_calls;

use blockyard_sdk::prelude::*;
use blockyard_sdk::sql::{Connection, Target};
use blockyard_sdk::{clock, log};

/// Connection settings and secrets that the attacks abuse.
#[derive(Block)]
#[block(
    type = "misbehave",
    version = 1,
    sql(database = "/path"),
    sql(host = "/host", port = "/port", database = "/database", username = "/username", tls = "/options/sslmode")
)]
pub struct Misbehave {
    /// Path of a SQLite database.
    path: Option<String>,
    /// Host of a database server.
    host: Option<String>,
    /// Port of the database server.
    port: Option<u16>,
    /// Name of a database on the server.
    database: Option<String>,
    /// User name on the server.
    username: Option<String>,
    /// Options of the connection.
    #[serde(default)]
    #[allow(dead_code, reason = "the host reads it")]
    options: std::collections::BTreeMap<String, String>,
    /// A label that is not part of the connection.
    #[allow(dead_code, reason = "a field beside those that name a database")]
    label: Option<String>,
    /// Secret for databases.
    #[block(audience = "sql")]
    password: Option<Secret<String>>,
    /// Secret for an HTTP API.
    #[block(audience = "https://api.example.com")]
    token: Option<Secret<String>>,
}

#[operations]
impl Misbehave {
    /// Does nothing.
    #[operation(read)]
    fn nothing(&self) -> Result<Option<bool>> {
        Ok(None)
    }

    /// Loops without end.
    #[operation(read)]
    fn spin(&self) -> Result<u64> {
        let mut sum = 0u64;
        loop {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
    }

    /// Calls itself without end.
    #[operation(read)]
    fn recurse(&self) -> Result<u64> {
        fn deeper(depth: u64) -> u64 {
            std::hint::black_box(if depth == u64::MAX { 0 } else { deeper(depth + 1) + 1 })
        }
        Ok(deeper(std::hint::black_box(0)))
    }

    /// Allocates memory without end.
    #[operation(read)]
    fn allocate(&self) -> Result<usize> {
        let mut held: Vec<Vec<u8>> = Vec::new();
        loop {
            held.push(std::hint::black_box(vec![1; 16 << 20]));
        }
    }

    /// Panics with a message.
    #[operation(read)]
    fn panic(&self) -> Result<u64> {
        panic!("the zebra has left the zoo")
    }

    /// Sleeps for a minute, without end.
    #[operation(read)]
    fn sleep(&self) -> Result<u64> {
        loop {
            clock::sleep(std::time::Duration::from_secs(60));
        }
    }

    /// Creates a million handles.
    #[operation(read)]
    fn create_handles(&self) -> Result<usize> {
        let mut held = Vec::new();
        for _ in 0..1_000_000 {
            held.push(Body::from_bytes("text/plain", b"x"));
        }
        Ok(held.len())
    }

    /// Writes 20,000 long lines to the log.
    #[operation(read)]
    fn flood_log(&self) -> Result<u64> {
        for number in 0..20_000 {
            log::warn(&format!("line {number}\n\x1b[2J{}", "x".repeat(10_000)));
        }
        Ok(20_000)
    }

    /// Returns a result that does not match its schema.
    #[operation(read)]
    fn return_invalid_result(&self) -> Result<InvalidResult> {
        Ok(InvalidResult)
    }

    /// Opens a database that the block does not name.
    #[operation(read)]
    fn open_other_database(
        &self,
        /// Path of the database.
        path: String,
    ) -> Result<u64> {
        Connection::open(&sqlite(path), None)?;
        Ok(0)
    }

    /// Creates a table in an operation with the effect `read`.
    #[operation(read)]
    fn create_table_in_read(&self) -> Result<u64> {
        let connection = Connection::open(&sqlite(self.path.clone().unwrap_or_default()), None)?;
        Ok(connection.execute("create table scribbled (a integer)", &[])?.rows_affected)
    }

    /// Inserts rows into a table in an operation with the effect `read`.
    #[operation(read)]
    fn insert_in_read(&self) -> Result<u64> {
        let connection = Connection::open(&sqlite(self.path.clone().unwrap_or_default()), None)?;
        let rows = [vec![blockyard_sdk::sql::Value::Integer(1)]];
        connection.begin()?.insert(&["smuggled".to_owned()], &["a".to_owned()], &rows)
    }

    /// Runs statements in a transaction of an operation with the effect `read`. Returns the outcome
    /// of each.
    #[operation(read)]
    fn query_in_read_transaction(
        &self,
        /// SQL dialect.
        dialect: String,
        /// Statements.
        statements: Vec<String>,
        /// Returns failures as part of the result instead of ending the operation.
        #[serde(default)]
        continue_on_error: bool,
    ) -> Result<Vec<String>> {
        let target = if dialect == "sqlite" {
            sqlite(self.path.clone().unwrap_or_default())
        } else {
            self.server(dialect, self.host.clone(), "/")
        };
        let password = self.password.as_ref().filter(|_| target.host.is_some());
        let transaction = Connection::open(&target, password)?.begin()?;
        let mut outcomes = Vec::new();
        for statement in &statements {
            match transaction.query(statement, &[]).and_then(|rows| rows.objects(usize::MAX)) {
                Ok(rows) => outcomes.push(format!("{} rows", rows.len())),
                Err(problem) if continue_on_error => outcomes.push(problem.to_string()),
                Err(problem) => return Err(problem),
            }
        }
        transaction.commit()?;
        Ok(outcomes)
    }

    /// Sends the password to another server.
    #[operation(read)]
    fn send_password_to_host(
        &self,
        /// Host of the server.
        host: String,
        /// TLS mode of the connection.
        #[serde(default)]
        sslmode: String,
    ) -> Result<u64> {
        Connection::open(&self.server("postgres".to_owned(), Some(host), &sslmode), self.password.as_ref())?;
        Ok(0)
    }

    /// Opens connections that differ in an option that a bundle may choose, and holds them.
    #[operation(read)]
    fn open_connections(
        &self,
        /// Number of connections.
        count: u32,
    ) -> Result<u32> {
        let mut held = Vec::new();
        for number in 0..count {
            let mut target = self.server("postgres".to_owned(), self.host.clone(), "/");
            target.options.push(("application_name".to_owned(), format!("connection-{number}")));
            match Connection::open(&target, self.password.as_ref()) {
                Ok(connection) => held.push(connection),
                Err(problem) if problem.code() == "unavailable" => break,
                Err(problem) => return Err(problem),
            }
        }
        Ok(u32::try_from(held.len()).unwrap_or(u32::MAX))
    }

    /// Uses a secret outside its audience.
    #[operation(read)]
    fn use_secret_outside_audience(&self) -> Result<u64> {
        Connection::open(&sqlite(self.path.clone().unwrap_or_default()), self.token.as_ref())?;
        Ok(0)
    }

    /// Returns an error with the code of a denial by the host, although the host denied nothing.
    #[operation(read)]
    fn return_error_of_host(&self) -> Result<u64> {
        Err(Problem::new("not-granted", "it was the host"))
    }

    /// Calls functions of the host in random order with random arguments.
    #[operation(write)]
    fn call_at_random(
        &self,
        /// Seed of the random sequence.
        seed: u64,
        /// Number of calls.
        calls: u32,
    ) -> Result<u32> {
        let mut random_calls = random_calls::RandomCalls::new(self, seed);
        (0..calls).for_each(|_| random_calls.step());
        Ok(calls)
    }

    /// Returns and logs everything that it knows about its secret.
    #[operation(read)]
    fn log_secret(&self) -> Result<Vec<String>> {
        let handle = self.password.as_ref().map(Secret::handle).transpose()?;
        let pointer = handle.map(|handle| handle.pointer()).unwrap_or_default();
        log::warn(&format!("the password is {:?} at {pointer}", self.password));
        Ok(vec![format!("{:?}", self.password), pointer])
    }
}

impl Misbehave {
    /// Returns the server of the block with another host; `/` as `sslmode` omits the option.
    fn server(&self, dialect: String, host: Option<String>, sslmode: &str) -> Target {
        let mut options = Vec::new();
        if !matches!(sslmode, "" | "/") {
            options.push(("sslmode".to_owned(), sslmode.to_owned()));
        }
        Target {
            dialect,
            host,
            port: self.port,
            database: self.database.clone().unwrap_or_default(),
            username: self.username.clone(),
            options,
        }
    }
}

/// A result whose schema is `integer` and whose value is a string.
pub struct InvalidResult;

impl blockyard_sdk::OperationResult for InvalidResult {
    const STREAMED: bool = false;

    fn schema() -> Value {
        json!({"type": "integer"})
    }

    fn into_reply(self) -> Result<Reply> {
        blockyard_sdk::OperationResult::into_reply("not a number")
    }
}

fn sqlite(path: String) -> Target {
    Target { dialect: "sqlite".to_owned(), host: None, port: None, database: path, username: None, options: Vec::new() }
}

bundle! {
    name: "misbehave",
    description: "What a bundle must not do",
    types: [Misbehave],
    capabilities: ["sql sqlite", "sql postgres", "sql mysql", "clock", "random", "crypto", "http http://127.0.0.1:9"],
}
