//! Creating and opening a yard, and the yard's own record.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use crate::database::{Database, Row, Transaction, params};
use crate::location::PostgresLocation;
use crate::sqlite::SqliteFile;
use crate::{Millis, StoreError, YardLocation, migrations};

/// Marks a SQLite file as a yard: "blky"
/// (<https://www.sqlite.org/pragma.html#pragma_application_id>).
const APPLICATION_ID: i64 = 0x626c_6b79;

/// Time that a writer of a SQLite yard waits for another writer before it fails.
const BUSY_TIMEOUT: Duration = Duration::from_secs(60);
/// Interval at which a busy database is opened again.
const BUSY_INTERVAL: Duration = Duration::from_millis(20);

/// Maximum number of connections of one process to a SQLite yard: readers beside one writer.
const MAX_CONNECTIONS: u32 = 8;

/// Number of attempts to migrate a yard's format while another process does the same, with a short
/// delay between them.
const MIGRATION_TRIES: u32 = 50;

/// An open yard.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) database: Database,
    location: YardLocation,
    yard: YardRecord,
    format: i64,
    in_memory: bool,
}

/// Identity of a yard and its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YardRecord {
    /// Random id of the yard. Every sealed value is bound to it.
    pub id: String,
    /// Key that wraps the data keys.
    pub key: KeyRecord,
    /// Key that a running rotation moves the data keys to.
    pub next_key: Option<KeyRecord>,
}

/// Stored description of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Key id.
    pub id: String,
    /// Location of the key outside the yard, in the vault's text form.
    pub location: String,
    /// Record that only this key can open.
    pub canary: Vec<u8>,
}

impl Store {
    /// Creates a yard: its tables and its record, atomically. A SQLite file is created with mode
    /// 0600.
    ///
    /// # Errors
    /// Returns [`StoreError::YardExists`] if the location already contains a yard, or the database
    /// error.
    pub async fn create(location: YardLocation, yard: YardRecord, now: Millis) -> Result<Self, StoreError> {
        match &location {
            YardLocation::Sqlite(path) => create_file(path, &location, &yard, now).await?,
            YardLocation::Postgres(postgres) => create_schema(postgres, &location, &yard, now).await?,
        }
        Self::open(location).await
    }

    /// Opens an existing yard. Its format may be an older one. [`upgrade`](Self::upgrade) migrates
    /// it; callers run it after they have checked the key.
    ///
    /// # Errors
    /// [`StoreError::NoYard`], [`StoreError::NotAYard`], [`StoreError::Corrupt`],
    /// [`StoreError::Newer`], [`StoreError::Unreachable`].
    pub async fn open(location: YardLocation) -> Result<Self, StoreError> {
        let database = match &location {
            YardLocation::Sqlite(path) => open_file(path, &location).await?,
            YardLocation::Postgres(postgres) => open_schema(postgres, &location).await?,
        };
        let read = async {
            let format = known_format(&database, &location).await?;
            Ok((record(&database, &location, format).await?, format))
        };
        match read.await {
            Ok((yard, format)) => Ok(Self { database, location, yard, format, in_memory: false }),
            Err(error) => {
                database.close().await;
                Err(error)
            }
        }
    }

    /// Creates an empty yard in memory. It ends with the returned value, and writes nothing to
    /// `location`, which messages show.
    ///
    /// # Errors
    /// Returns the database error.
    pub async fn in_memory(location: YardLocation, yard: YardRecord, now: Millis) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new().filename(":memory:").create_if_missing(true).foreign_keys(true);
        // Each connection to `:memory:` has a separate database, which ends with the connection.
        let pool = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        let pool = pool.connect_with(options).await.map_err(|error| StoreError::classify(error, &location))?;
        let database = initialized(pool, &location, &yard, now).await?;
        let format = newest_format(&database);
        Ok(Self { database, location, yard, format, in_memory: true })
    }

    /// Returns `true` if the yard is in memory only.
    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        self.in_memory
    }

    /// Migrates the yard to the newest format. Runs no query if it already has that format.
    ///
    /// # Errors
    /// Returns the database error if a migration fails.
    pub async fn upgrade(&self) -> Result<(), StoreError> {
        if self.format == newest_format(&self.database) {
            return Ok(());
        }
        let mut tries = 0;
        loop {
            let done = match &self.database {
                Database::Sqlite(file) => migrations::SQLITE.run(&file.pool).await,
                Database::Postgres(pool) => migrations::POSTGRES.run(pool).await,
            };
            match done {
                Ok(()) => return Ok(()),
                Err(error) if tries == MIGRATION_TRIES => return Err(migration_failed(error, &self.location)),
                // Another process may be migrating the yard at the same time.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
            if known_format(&self.database, &self.location).await? == newest_format(&self.database) {
                return Ok(());
            }
            tries += 1;
        }
    }

    /// Checks whether the location contains a yard, without opening it. For SQLite, any existing
    /// file counts.
    ///
    /// # Errors
    /// Returns [`StoreError::Unreachable`] if the server does not respond.
    pub async fn exists(location: &YardLocation) -> Result<bool, StoreError> {
        match location {
            YardLocation::Sqlite(path) => Ok(path.exists()),
            YardLocation::Postgres(postgres) => {
                let pool = connect_postgres(postgres, location).await?;
                let found = has_yard(&pool, postgres).await.map_err(|error| StoreError::classify(error, location));
                pool.close().await;
                found
            }
        }
    }

    /// Returns the yard's record as it was read on opening. A rotation changes its keys afterwards.
    #[must_use]
    pub fn yard(&self) -> &YardRecord {
        &self.yard
    }

    /// Reads the yard's record from the database.
    ///
    /// # Errors
    /// Returns the database error if the query fails.
    pub async fn read_yard(&self) -> Result<YardRecord, StoreError> {
        record(&self.database, &self.location, newest_format(&self.database)).await
    }

    /// Returns the location of the yard.
    #[must_use]
    pub fn location(&self) -> &YardLocation {
        &self.location
    }

    /// Closes all connections. SQLite then writes the write-ahead log back into the database file.
    pub async fn close(&self) {
        self.database.close().await;
    }

    /// Checks the integrity of the database's own structures and returns the problems. PostgreSQL
    /// offers clients no such check, so its list is always empty.
    ///
    /// # Errors
    /// Returns the database error if the check cannot run.
    pub async fn integrity(&self) -> Result<Vec<String>, StoreError> {
        let rows = match &self.database {
            Database::Sqlite(_) => self.database.fetch("PRAGMA integrity_check", &[]).await,
            Database::Postgres(_) => Ok(Vec::new()),
        };
        let rows = rows.map_err(|error| self.classify(error))?;
        Ok(rows.iter().map(|row| row.text(0).to_owned()).filter(|line| line != "ok").collect())
    }

    pub(crate) async fn begin(&self) -> Result<Transaction, StoreError> {
        self.database.begin().await.map_err(|error| self.classify(error))
    }

    pub(crate) async fn commit(&self, transaction: Transaction) -> Result<(), StoreError> {
        transaction.commit().await.map_err(|error| match self.classify(error) {
            // The COMMIT was sent and only its response was lost, so the server may have executed
            // it.
            StoreError::Unreachable(yard, cause) => StoreError::CommitUnknown(yard, cause),
            other => other,
        })
    }

    pub(crate) fn classify(&self, error: sqlx::Error) -> StoreError {
        StoreError::classify(error, &self.location)
    }

    /// Error for a row with content that this crate never writes: another program changed the
    /// database.
    pub(crate) fn broken(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
        StoreError::Corrupt(self.location.to_string(), sqlx::Error::Decode(error.into()))
    }
}

/// Reads the yard's record in the given format: the first format has no columns for rotation.
async fn record(database: &Database, location: &YardLocation, format: i64) -> Result<YardRecord, StoreError> {
    let sql = if format >= WITH_ROTATION {
        "SELECT id, key_id, key_location, canary, next_key_id, next_key_location, next_canary FROM yard"
    } else {
        "SELECT id, key_id, key_location, canary, NULL, NULL, NULL FROM yard"
    };
    let row = database
        .first(sql, &[])
        .await
        .map_err(|error| StoreError::classify(error, location))?
        .ok_or_else(|| StoreError::NotAYard(location.to_string()))?;
    let key = |first: usize, row: &Row| {
        Some(KeyRecord {
            id: row.maybe_text(first)?.to_owned(),
            location: row.maybe_text(first + 1)?.to_owned(),
            canary: row.maybe_bytes(first + 2)?.to_owned(),
        })
    };
    Ok(YardRecord {
        id: row.text(0).to_owned(),
        key: key(1, &row).ok_or_else(|| StoreError::NotAYard(location.to_string()))?,
        next_key: key(4, &row),
    })
}

/// First format that supports key rotation.
const WITH_ROTATION: i64 = 2;

/// Statement that inserts the record of a new yard.
const INSERT_YARD: &str =
    "INSERT INTO yard (\"only\", id, key_id, key_location, canary, created_at) VALUES (1, $1, $2, $3, $4, $5)";

// --- SQLite

/// Creates the file under a temporary name and links it when it is complete. Concurrent creators
/// therefore never see a partial yard, and a killed process leaves none.
async fn create_file(path: &Path, location: &YardLocation, yard: &YardRecord, now: Millis) -> Result<(), StoreError> {
    let exists = || StoreError::YardExists(location.to_string());
    if path.exists() {
        return Err(exists());
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".new-{}", yard.id));
    let draft = PathBuf::from(name);
    make_private_file(&draft).map_err(|error| StoreError::classify(sqlx::Error::Io(error), location))?;
    let made = fill(&draft, location, yard, now).await.and_then(|()| {
        std::fs::hard_link(&draft, path).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => exists(),
            _ => StoreError::classify(sqlx::Error::Io(error), location),
        })
    });
    let _ = std::fs::remove_file(&draft);
    made
}

async fn fill(path: &Path, location: &YardLocation, yard: &YardRecord, now: Millis) -> Result<(), StoreError> {
    // Rollback journal instead of a write-ahead log: everything that is committed must be in this
    // one file before it is linked.
    let pool = connect_sqlite(path, SqliteJournalMode::Delete).await;
    let pool = pool.map_err(|error| StoreError::classify(error, location))?;
    initialized(pool, location, yard, now).await?.close().await;
    Ok(())
}

/// Creates the tables and the record of a yard in an empty database.
async fn initialized(
    pool: SqlitePool,
    location: &YardLocation,
    yard: &YardRecord,
    now: Millis,
) -> Result<Database, StoreError> {
    let classify = |error| StoreError::classify(error, location);
    let mut connection = pool.acquire().await.map_err(classify)?;
    sqlx::query(AssertSqlSafe(format!("PRAGMA application_id = {APPLICATION_ID}")))
        .execute(&mut *connection)
        .await
        .map_err(classify)?;
    migrations::SQLITE.run(&mut *connection).await.map_err(|error| migration_failed(error, location))?;
    let database = Database::Sqlite(SqliteFile::new(pool, connection));
    let key = &yard.key;
    database
        .execute(INSERT_YARD, params![&yard.id, &key.id, &key.location, &key.canary, now])
        .await
        .map_err(classify)?;
    Ok(database)
}

async fn open_file(path: &Path, location: &YardLocation) -> Result<Database, StoreError> {
    if !path.exists() {
        return Err(StoreError::NoYard(location.to_string()));
    }
    if !path.is_file() {
        return Err(StoreError::NotAYard(location.to_string()));
    }
    let classify = |error| StoreError::classify(error, location);
    // Checked before opening, because opening would switch another application's database to WAL
    // mode.
    if !is_marked(path).map_err(|error| classify(sqlx::Error::Io(error)))? {
        return Err(StoreError::NotAYard(location.to_string()));
    }
    let pool = connect_sqlite(path, SqliteJournalMode::Wal).await.map_err(classify)?;
    let mut connection = pool.acquire().await.map_err(classify)?;
    let application: i64 =
        sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *connection).await.map_err(classify)?;
    if application != APPLICATION_ID {
        return Err(StoreError::NotAYard(location.to_string()));
    }
    Ok(Database::Sqlite(SqliteFile::new(pool, connection)))
}

/// Checks the file header for the application id at offset 68
/// (<https://www.sqlite.org/fileformat.html#the_database_header>).
fn is_marked(path: &Path) -> std::io::Result<bool> {
    use std::io::Read as _;
    let mut header = Vec::new();
    std::fs::File::open(path)?.take(72).read_to_end(&mut header)?;
    let id = u32::try_from(APPLICATION_ID).expect("an id has 32 bits").to_be_bytes();
    Ok(header.starts_with(b"SQLite format 3\0") && header.get(68..72) == Some(&id))
}

async fn connect_sqlite(path: &Path, journal_mode: SqliteJournalMode) -> Result<SqlitePool, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(journal_mode)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        // Overwrites deleted and replaced content (wrapped keys, sealed secrets) with zeros.
        .pragma("secure_delete", "ON")
        .busy_timeout(BUSY_TIMEOUT);
    let started = Instant::now();
    loop {
        let pool = SqlitePoolOptions::new().max_connections(MAX_CONNECTIONS).connect_with(options.clone()).await;
        match pool {
            // A change of the journal mode does not wait for another connection that changes it, too:
            // the processes that open a new yard at the same time.
            Err(error) if is_busy(&error) && started.elapsed() < BUSY_TIMEOUT => {
                tokio::time::sleep(BUSY_INTERVAL).await
            }
            pool => return pool,
        }
    }
}

/// Returns whether an error is `SQLITE_BUSY` (<https://www.sqlite.org/rescode.html#busy>).
fn is_busy(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "5")
}

fn make_private_file(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path).map(drop)
}

// --- PostgreSQL

/// Creates the schema, its tables and the yard's record. An advisory lock serializes concurrent
/// creators.
async fn create_schema(
    postgres: &PostgresLocation,
    location: &YardLocation,
    yard: &YardRecord,
    now: Millis,
) -> Result<(), StoreError> {
    let classify = |error| StoreError::classify(error, location);
    let pool = connect_postgres(postgres, location).await?;
    let schema = &postgres.schema;
    let made = async {
        let mut maker = pool.acquire().await.map_err(classify)?;
        maker
            .execute(AssertSqlSafe(format!("SELECT pg_advisory_lock(hashtext('blockyard init {schema}'))")))
            .await
            .map_err(classify)?;
        if has_yard(&pool, postgres).await.map_err(classify)? {
            return Err(StoreError::YardExists(location.to_string()));
        }
        maker.execute(AssertSqlSafe(format!("CREATE SCHEMA IF NOT EXISTS {schema}"))).await.map_err(classify)?;
        migrations::POSTGRES.run(&pool).await.map_err(|error| migration_failed(error, location))?;
        let key = &yard.key;
        Database::Postgres(pool.clone())
            .execute(INSERT_YARD, params![&yard.id, &key.id, &key.location, &key.canary, now])
            .await
            .map_err(classify)?;
        // Closing the connection releases the advisory lock.
        maker.close().await.map_err(classify)
    }
    .await;
    pool.close().await;
    made
}

async fn open_schema(postgres: &PostgresLocation, location: &YardLocation) -> Result<Database, StoreError> {
    let pool = connect_postgres(postgres, location).await?;
    match has_yard(&pool, postgres).await {
        Ok(true) => Ok(Database::Postgres(pool)),
        other => {
            pool.close().await;
            match other {
                Ok(_) => Err(StoreError::NoYard(location.to_string())),
                Err(error) => Err(StoreError::classify(error, location)),
            }
        }
    }
}

/// Checks whether the schema contains a completely created yard.
async fn has_yard(pool: &PgPool, postgres: &PostgresLocation) -> Result<bool, sqlx::Error> {
    let table: Option<String> = sqlx::query_scalar("SELECT to_regclass($1)::text")
        .bind(format!("{}.yard", postgres.schema))
        .fetch_one(pool)
        .await?;
    if table.is_none() {
        return Ok(false);
    }
    let made: Option<i64> = sqlx::query_scalar("SELECT \"only\" FROM yard").fetch_optional(pool).await?;
    Ok(made.is_some())
}

async fn connect_postgres(postgres: &PostgresLocation, location: &YardLocation) -> Result<PgPool, StoreError> {
    let options = postgres.options.clone().options([
        ("search_path", postgres.schema.clone()),
        ("statement_timeout", postgres.statement_timeout.as_millis().to_string()),
        // Ends the transaction of a client that died, so that it does not hold its locks forever.
        ("idle_in_transaction_session_timeout", postgres.statement_timeout.as_millis().to_string()),
    ]);
    let connected = PgPoolOptions::new()
        .max_connections(postgres.max_connections)
        .acquire_timeout(postgres.connect_timeout)
        .connect_with(options.clone())
        .await;
    match connected {
        // The pool retries until its timeout and does not report why: connect once more to get the
        // cause.
        Err(sqlx::Error::PoolTimedOut) => {
            let once = tokio::time::timeout(postgres.connect_timeout, PgConnection::connect_with(&options)).await;
            let error = once.ok().and_then(Result::err).unwrap_or(sqlx::Error::PoolTimedOut);
            Err(StoreError::classify(error, location))
        }
        other => other.map_err(|error| StoreError::classify(error, location)),
    }
}

// --- Formats

/// Returns the newest format that this version supports.
fn newest_format(database: &Database) -> i64 {
    let formats = match database {
        Database::Sqlite(_) => &migrations::SQLITE,
        Database::Postgres(_) => &migrations::POSTGRES,
    };
    formats.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Returns the format of a yard; fails if a later version wrote it.
async fn known_format(database: &Database, location: &YardLocation) -> Result<i64, StoreError> {
    let format = format(database, location).await?;
    if format > newest_format(database) { Err(newer(database, location, format).await) } else { Ok(format) }
}

async fn format(database: &Database, location: &YardLocation) -> Result<i64, StoreError> {
    let row = database
        .first("SELECT max(version) FROM _sqlx_migrations WHERE success", &[])
        .await
        .map_err(|error| StoreError::classify(error, location))?;
    row.and_then(|row| row.maybe_integer(0)).ok_or_else(|| StoreError::NotAYard(location.to_string()))
}

async fn newer(database: &Database, location: &YardLocation, format: i64) -> StoreError {
    let needs = database.first("SELECT needs FROM yard", &[]).await;
    let needs = needs.ok().flatten().map_or_else(|| "a later version".to_owned(), |row| row.text(0).to_owned());
    StoreError::Newer { yard: location.to_string(), format, needs }
}

fn migration_failed(error: MigrateError, location: &YardLocation) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            StoreError::classify(error, location)
        }
        other => StoreError::Database(sqlx::Error::Migrate(Box::new(other))),
    }
}
