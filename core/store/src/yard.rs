//! Making and opening a yard, and the record that says which one it is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use crate::database::{Database, Row, Transaction, params};
use crate::location::PostgresLocation;
use crate::sqlite::SqliteFile;
use crate::{Millis, StoreError, YardLocation};

/// Marks a SQLite file as a yard: "blky" (https://www.sqlite.org/pragma.html#pragma_application_id).
const APPLICATION_ID: i64 = 0x626c_6b79;

/// How long a writer of a SQLite yard waits for another one before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(60);

/// Connections of one process to a SQLite yard: readers beside one writer.
const MAX_CONNECTIONS: u32 = 8;

/// How often bringing a yard's format up to date is tried, with a short wait in between, while
/// another process does the same.
const MIGRATION_TRIES: u32 = 50;

static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// An open yard.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) database: Database,
    location: YardLocation,
    yard: YardRecord,
    format: i64,
}

/// Which yard it is, and which key it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YardRecord {
    /// A random name; part of what every sealed value is bound to.
    pub id: String,
    /// The key that wraps the data keys.
    pub key: KeyRecord,
    /// The key that a rotation moves them to, while one is under way.
    pub next_key: Option<KeyRecord>,
}

/// What a yard knows of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The key's id.
    pub id: String,
    /// Where it is kept, in the vault's words.
    pub location: String,
    /// What only that key opens.
    pub canary: Vec<u8>,
}

impl Store {
    /// Makes a new yard: its tables and its record, all or nothing. A SQLite file is made with mode
    /// 0600.
    ///
    /// # Errors
    /// [`StoreError::YardExists`] where there is one; otherwise what the database says.
    pub async fn create(location: YardLocation, yard: YardRecord, now: Millis) -> Result<Self, StoreError> {
        match &location {
            YardLocation::Sqlite(path) => create_file(path, &location, &yard, now).await?,
            YardLocation::Postgres(postgres) => create_schema(postgres, &location, &yard, now).await?,
        }
        Self::open(location).await
    }

    /// Opens a yard that exists. Its format may be an older one: [`upgrade`](Self::upgrade) brings it
    /// up to date, once whoever opens it has shown its key.
    ///
    /// # Errors
    /// [`StoreError::NoYard`], [`StoreError::NotAYard`], [`StoreError::Corrupt`], [`StoreError::Newer`],
    /// [`StoreError::Unreachable`].
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
            Ok((yard, format)) => Ok(Self { database, location, yard, format }),
            Err(error) => {
                database.close().await;
                Err(error)
            }
        }
    }

    /// Brings the format up to date, where it is older. The common case costs nothing.
    ///
    /// # Errors
    /// What the database says.
    pub async fn upgrade(&self) -> Result<(), StoreError> {
        if self.format == newest_format(&self.database) {
            return Ok(());
        }
        let mut tries = 0;
        loop {
            let done = match &self.database {
                Database::Sqlite(file) => SQLITE_MIGRATIONS.run(&file.pool).await,
                Database::Postgres(pool) => POSTGRES_MIGRATIONS.run(pool).await,
            };
            match done {
                Ok(()) => return Ok(()),
                Err(error) if tries == MIGRATION_TRIES => return Err(migration_failed(error, &self.location)),
                // Another process may be doing the same at this moment.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
            if known_format(&self.database, &self.location).await? == newest_format(&self.database) {
                return Ok(());
            }
            tries += 1;
        }
    }

    /// Whether there is a yard, without opening it.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`].
    pub async fn exists(location: &YardLocation) -> Result<bool, StoreError> {
        match location {
            YardLocation::Sqlite(path) => Ok(path.exists()),
            YardLocation::Postgres(postgres) => {
                let pool = connect_postgres(postgres, location).await?;
                let found = has_yard(&pool, postgres).await.map_err(|error| StoreError::sort(error, location));
                pool.close().await;
                found
            }
        }
    }

    /// Which yard it is, as it was when it was opened. A rotation changes its keys.
    #[must_use]
    pub fn yard(&self) -> &YardRecord {
        &self.yard
    }

    /// Which yard it is, read anew.
    ///
    /// # Errors
    /// What the database says.
    pub async fn read_yard(&self) -> Result<YardRecord, StoreError> {
        record(&self.database, &self.location, newest_format(&self.database)).await
    }

    /// Where it is.
    #[must_use]
    pub fn location(&self) -> &YardLocation {
        &self.location
    }

    /// Closes all connections; what was written to a SQLite yard is checkpointed into the one file.
    pub async fn close(&self) {
        self.database.close().await;
    }

    /// Whether the database's own structures are whole. Gives what is wrong; PostgreSQL has no such
    /// check for clients, and nothing to say.
    ///
    /// # Errors
    /// What the database says.
    pub async fn integrity(&self) -> Result<Vec<String>, StoreError> {
        let rows = match &self.database {
            Database::Sqlite(_) => self.database.fetch("PRAGMA integrity_check", &[]).await,
            Database::Postgres(_) => Ok(Vec::new()),
        };
        let rows = rows.map_err(|error| self.sort(error))?;
        Ok(rows.iter().map(|row| row.text(0).to_owned()).filter(|line| line != "ok").collect())
    }

    pub(crate) async fn begin(&self) -> Result<Transaction, StoreError> {
        self.database.begin().await.map_err(|error| self.sort(error))
    }

    pub(crate) async fn commit(&self, transaction: Transaction) -> Result<(), StoreError> {
        transaction.commit().await.map_err(|error| match self.sort(error) {
            // The answer to COMMIT was lost, not the question.
            StoreError::Unreachable(place, cause) => StoreError::Unsure(place, cause),
            other => other,
        })
    }

    pub(crate) fn sort(&self, error: sqlx::Error) -> StoreError {
        StoreError::sort(error, &self.location)
    }

    /// A row that holds what this crate never writes: somebody else was at the database.
    pub(crate) fn broken(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
        StoreError::Corrupt(self.location.to_string(), sqlx::Error::Decode(error.into()))
    }
}

/// The yard's record, as its format has it: the first one knows no rotation.
async fn record(database: &Database, location: &YardLocation, format: i64) -> Result<YardRecord, StoreError> {
    let sql = if format >= WITH_ROTATION {
        "SELECT id, key_id, key_location, canary, next_key_id, next_key_location, next_canary FROM yard"
    } else {
        "SELECT id, key_id, key_location, canary, NULL, NULL, NULL FROM yard"
    };
    let row = database
        .first(sql, &[])
        .await
        .map_err(|error| StoreError::sort(error, location))?
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

/// The first format that can be moved from one key to another.
const WITH_ROTATION: i64 = 2;

/// The statement that writes the record of a new yard.
const INSERT_YARD: &str =
    "INSERT INTO yard (\"only\", id, key_id, key_location, canary, created_at) VALUES (1, $1, $2, $3, $4, $5)";

// --- SQLite

/// The file is made under another name and appears whole: two that make it at once do not meet in
/// the middle, and one that is killed leaves no half yard.
async fn create_file(path: &Path, location: &YardLocation, yard: &YardRecord, now: Millis) -> Result<(), StoreError> {
    let exists = || StoreError::YardExists(location.to_string());
    if path.exists() {
        return Err(exists());
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".new-{}", yard.id));
    let draft = PathBuf::from(name);
    make_private_file(&draft).map_err(|error| StoreError::sort(sqlx::Error::Io(error), location))?;
    let made = fill(&draft, location, yard, now).await.and_then(|()| {
        std::fs::hard_link(&draft, path).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => exists(),
            _ => StoreError::sort(sqlx::Error::Io(error), location),
        })
    });
    let _ = std::fs::remove_file(&draft);
    made
}

async fn fill(path: &Path, location: &YardLocation, yard: &YardRecord, now: Millis) -> Result<(), StoreError> {
    let sort = |error| StoreError::sort(error, location);
    // Not a write-ahead log yet: what is committed must be in this one file before it is linked.
    let pool = connect_sqlite(path, SqliteJournalMode::Delete).await.map_err(sort)?;
    let mut connection = pool.acquire().await.map_err(sort)?;
    sqlx::query(AssertSqlSafe(format!("PRAGMA application_id = {APPLICATION_ID}")))
        .execute(&mut *connection)
        .await
        .map_err(sort)?;
    SQLITE_MIGRATIONS.run(&mut *connection).await.map_err(|error| migration_failed(error, location))?;
    let database = Database::Sqlite(SqliteFile::new(pool, connection));
    let key = &yard.key;
    database.execute(INSERT_YARD, params![&yard.id, &key.id, &key.location, &key.canary, now]).await.map_err(sort)?;
    database.close().await;
    Ok(())
}

async fn open_file(path: &Path, location: &YardLocation) -> Result<Database, StoreError> {
    if !path.exists() {
        return Err(StoreError::NoYard(location.to_string()));
    }
    if !path.is_file() {
        return Err(StoreError::NotAYard(location.to_string()));
    }
    let sort = |error| StoreError::sort(error, location);
    // Looked at before it is opened: opening makes a database of somebody else's one with a write-ahead log.
    if !is_marked(path).map_err(|error| sort(sqlx::Error::Io(error)))? {
        return Err(StoreError::NotAYard(location.to_string()));
    }
    let pool = connect_sqlite(path, SqliteJournalMode::Wal).await.map_err(sort)?;
    let mut connection = pool.acquire().await.map_err(sort)?;
    let application: i64 =
        sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *connection).await.map_err(sort)?;
    if application != APPLICATION_ID {
        return Err(StoreError::NotAYard(location.to_string()));
    }
    Ok(Database::Sqlite(SqliteFile::new(pool, connection)))
}

/// Whether a file's header says that it is a yard: the application id stands at offset 68
/// (https://www.sqlite.org/fileformat.html#the_database_header).
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
        // What is deleted or replaced is overwritten with zeros: wrapped keys, sealed secrets.
        .pragma("secure_delete", "ON")
        .busy_timeout(BUSY_TIMEOUT);
    SqlitePoolOptions::new().max_connections(MAX_CONNECTIONS).connect_with(options).await
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

/// The schema, its tables and the record. Who makes a yard holds an advisory lock, so that two that
/// make it at once do so one after the other.
async fn create_schema(
    postgres: &PostgresLocation,
    location: &YardLocation,
    yard: &YardRecord,
    now: Millis,
) -> Result<(), StoreError> {
    let sort = |error| StoreError::sort(error, location);
    let pool = connect_postgres(postgres, location).await?;
    let schema = &postgres.schema;
    let made = async {
        let mut maker = pool.acquire().await.map_err(sort)?;
        maker
            .execute(AssertSqlSafe(format!("SELECT pg_advisory_lock(hashtext('blockyard init {schema}'))")))
            .await
            .map_err(sort)?;
        if has_yard(&pool, postgres).await.map_err(sort)? {
            return Err(StoreError::YardExists(location.to_string()));
        }
        maker.execute(AssertSqlSafe(format!("CREATE SCHEMA IF NOT EXISTS {schema}"))).await.map_err(sort)?;
        POSTGRES_MIGRATIONS.run(&pool).await.map_err(|error| migration_failed(error, location))?;
        let key = &yard.key;
        Database::Postgres(pool.clone())
            .execute(INSERT_YARD, params![&yard.id, &key.id, &key.location, &key.canary, now])
            .await
            .map_err(sort)?;
        // The lock goes with its connection.
        maker.close().await.map_err(sort)
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
                Err(error) => Err(StoreError::sort(error, location)),
            }
        }
    }
}

/// Whether the schema has a yard that was made to its end.
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
        // A client that died in a transaction must not hold its locks for ever.
        ("idle_in_transaction_session_timeout", postgres.statement_timeout.as_millis().to_string()),
    ]);
    let connected = PgPoolOptions::new()
        .max_connections(postgres.max_connections)
        .acquire_timeout(postgres.connect_timeout)
        .connect_with(options.clone())
        .await;
    match connected {
        // The pool tries again and again, and says only that it did: ask once more for the reason.
        Err(sqlx::Error::PoolTimedOut) => {
            let once = tokio::time::timeout(postgres.connect_timeout, PgConnection::connect_with(&options)).await;
            let error = once.ok().and_then(Result::err).unwrap_or(sqlx::Error::PoolTimedOut);
            Err(StoreError::sort(error, location))
        }
        other => other.map_err(|error| StoreError::sort(error, location)),
    }
}

// --- Formats

/// The newest format that this version knows.
fn newest_format(database: &Database) -> i64 {
    let migrations = match database {
        Database::Sqlite(_) => &SQLITE_MIGRATIONS,
        Database::Postgres(_) => &POSTGRES_MIGRATIONS,
    };
    migrations.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// The format of a yard; a later version's is an error.
async fn known_format(database: &Database, location: &YardLocation) -> Result<i64, StoreError> {
    let format = format(database, location).await?;
    if format > newest_format(database) { Err(newer(database, location, format).await) } else { Ok(format) }
}

async fn format(database: &Database, location: &YardLocation) -> Result<i64, StoreError> {
    let row = database
        .first("SELECT max(version) FROM _sqlx_migrations WHERE success", &[])
        .await
        .map_err(|error| StoreError::sort(error, location))?;
    row.and_then(|row| row.maybe_integer(0)).ok_or_else(|| StoreError::NotAYard(location.to_string()))
}

async fn newer(database: &Database, location: &YardLocation, format: i64) -> StoreError {
    let needs = database.first("SELECT needs FROM yard", &[]).await;
    let needs = needs.ok().flatten().map_or_else(|| "a later version".to_owned(), |row| row.text(0).to_owned());
    StoreError::Newer { place: location.to_string(), format, needs }
}

fn migration_failed(error: MigrateError, location: &YardLocation) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => StoreError::sort(error, location),
        other => StoreError::Database(sqlx::Error::Migrate(Box::new(other))),
    }
}
