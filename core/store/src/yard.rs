//! Opening a yard, and the record that says which one it is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row as _, Sqlite, SqlitePool, Transaction};

use crate::{Millis, StoreError};

/// Marks a SQLite file as a yard: "blky" (https://www.sqlite.org/pragma.html#pragma_application_id).
const APPLICATION_ID: i64 = 0x626c_6b79;

/// How long a writer waits for another one before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections of one process: readers beside one writer.
const MAX_CONNECTIONS: u32 = 8;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// An open yard.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) pool: SqlitePool,
    path: PathBuf,
    yard: YardRecord,
}

/// Which yard it is, and which key it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YardRecord {
    /// A random name; part of what every sealed value is bound to.
    pub id: String,
    /// The id of the key that wraps the data keys.
    pub key_id: String,
    /// Where that key is kept, in the vault's words.
    pub key_location: String,
    /// What only that key opens.
    pub canary: Vec<u8>,
}

impl Store {
    /// Makes a new yard: the file is made with mode 0600 and holds the schema and the yard's record.
    ///
    /// # Errors
    /// [`StoreError::YardExists`] where the file exists; otherwise what the database says.
    pub async fn create(path: &Path, yard: YardRecord, now: Millis) -> Result<Self, StoreError> {
        // It is made under another name and appears whole: two that make it at once do not meet in
        // the middle, and one that is killed leaves no half yard.
        let exists = || StoreError::YardExists(path.to_owned());
        if path.exists() {
            return Err(exists());
        }
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".new-{}", yard.id));
        let draft = PathBuf::from(name);
        make_private_file(&draft).map_err(|error| StoreError::Database(sqlx::Error::Io(error)))?;
        let made = match Self::fill(&draft, yard, now).await {
            Ok(store) => {
                store.close().await;
                std::fs::hard_link(&draft, path).map_err(|error| match error.kind() {
                    std::io::ErrorKind::AlreadyExists => exists(),
                    _ => StoreError::Database(sqlx::Error::Io(error)),
                })
            }
            Err(error) => Err(error),
        };
        let _ = std::fs::remove_file(&draft);
        made?;
        Self::open(path).await
    }

    async fn fill(path: &Path, yard: YardRecord, now: Millis) -> Result<Self, StoreError> {
        let sort = |error| StoreError::sort(error, path);
        // Not a write-ahead log yet: what is committed must be in this one file before it is linked.
        let pool = connect(path, SqliteJournalMode::Delete).await?;
        sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA application_id = {APPLICATION_ID}")))
            .execute(&pool)
            .await
            .map_err(sort)?;
        migrate(&pool, path).await?;
        sqlx::query("INSERT INTO yard (only, id, key_id, key_location, canary, created_at) VALUES (1, ?, ?, ?, ?, ?)")
            .bind(&yard.id)
            .bind(&yard.key_id)
            .bind(&yard.key_location)
            .bind(&yard.canary)
            .bind(now)
            .execute(&pool)
            .await
            .map_err(sort)?;
        Ok(Self { pool, path: path.to_owned(), yard })
    }

    /// Opens a yard that exists, and brings its format up to date.
    ///
    /// # Errors
    /// [`StoreError::NoYard`], [`StoreError::NotAYard`], [`StoreError::Corrupt`], [`StoreError::Newer`].
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::NoYard(path.to_owned()));
        }
        if !path.is_file() {
            return Err(StoreError::NotAYard(path.to_owned()));
        }
        let sort = |error| StoreError::sort(error, path);
        let pool = connect(path, SqliteJournalMode::Wal).await?;
        let application: i64 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&pool).await.map_err(sort)?;
        if application != APPLICATION_ID {
            return Err(StoreError::NotAYard(path.to_owned()));
        }
        migrate(&pool, path).await?;
        let row = sqlx::query("SELECT id, key_id, key_location, canary FROM yard")
            .fetch_optional(&pool)
            .await
            .map_err(sort)?
            .ok_or_else(|| StoreError::NotAYard(path.to_owned()))?;
        let yard = YardRecord { id: row.get(0), key_id: row.get(1), key_location: row.get(2), canary: row.get(3) };
        Ok(Self { pool, path: path.to_owned(), yard })
    }

    /// Which yard it is.
    #[must_use]
    pub fn yard(&self) -> &YardRecord {
        &self.yard
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Closes all connections; what was written is checkpointed into the one file.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// A transaction that may write. It takes the write lock at once, so that it never has to
    /// give up in the middle because another writer was faster.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(|error| self.sort(error))
    }

    pub(crate) fn sort(&self, error: sqlx::Error) -> StoreError {
        StoreError::sort(error, &self.path)
    }
}

async fn connect(path: &Path, journal_mode: SqliteJournalMode) -> Result<SqlitePool, StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(journal_mode)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT);
    SqlitePoolOptions::new()
        .max_connections(MAX_CONNECTIONS)
        .connect_with(options)
        .await
        .map_err(|error| StoreError::sort(error, path))
}

async fn migrate(pool: &SqlitePool, path: &Path) -> Result<(), StoreError> {
    MIGRATIONS.run(pool).await.map_err(|error| match error {
        MigrateError::VersionMissing(version) => StoreError::Newer { path: path.to_owned(), format: version },
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => StoreError::sort(error, path),
        other => StoreError::Database(sqlx::Error::Migrate(Box::new(other))),
    })
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
