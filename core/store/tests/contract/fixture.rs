//! A new yard for each case, and short forms of the store's calls.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};

use blockyard_model::{Address, Capability, Digest, Manifest, Pointer, Purpose, Reference, Revision};
use blockyard_store::{
    AuditLine, BlockRecord, KeyRecord, NewBundle, NewRevision, NewSigner, Store, StoreError, WrappedKey, YardLocation,
    YardRecord,
};
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use url::Url;

/// Time of all changes that do not choose one.
pub(crate) const NOW: i64 = 1_700_000_000_000;

/// Component file of the installed bundle `zoo`. The store does not interpret the bytes.
pub(crate) const ZOO: &[u8] = b"\0asm zoo 1";

/// Id of the key of a new yard.
pub(crate) const KEY: &str = "key-1";

/// A yard with the bundle `zoo`, which defines the types `zoo` and `zoo-keeper`.
pub(crate) struct TestStore {
    pub(crate) store: Store,
    url: String,
}

/// Runs a case on a SQLite file in a new folder.
pub(crate) fn on_sqlite(case: impl AsyncFnOnce(&TestStore)) {
    let folder = TempDir::new().unwrap();
    let url = format!("sqlite:{}", folder.path().join("yard.db").display());
    runtime().block_on(run(url, case));
}

/// Runs a case on a new database of the PostgreSQL server.
pub(crate) fn on_postgres(case: impl AsyncFnOnce(&TestStore)) {
    let Ok(port) = std::env::var("BLOCKYARD_TEST_POSTGRES_PORT") else {
        assert!(std::env::var_os("CI").is_none(), "BLOCKYARD_TEST_POSTGRES_PORT is not set, as required in CI");
        let name = std::thread::current().name().unwrap_or("a case on PostgreSQL").to_owned();
        // Not `eprintln!`: the test harness hides what a successful test prints.
        let _ = writeln!(std::io::stderr(), "SKIPPED {name}: BLOCKYARD_TEST_POSTGRES_PORT is not set");
        return;
    };
    let mut server = Url::parse(&format!("postgres://postgres@127.0.0.1:{port}/postgres")).unwrap();
    let password = std::env::var("BLOCKYARD_TEST_POSTGRES_PASSWORD").ok();
    server.set_password(password.as_deref()).unwrap();
    let database = PostgresDatabase::create(server);
    database.runtime.block_on(run(database.url(), case));
}

async fn run(url: String, case: impl AsyncFnOnce(&TestStore)) {
    let store = Store::create(url.parse().unwrap(), record(), NOW).await.unwrap();
    let yard = TestStore { store, url };
    yard.install(&zoo("1.0.0"), ZOO, &["log"], &[]).await.unwrap();
    case(&yard).await;
    yard.store.close().await;
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A database of the server. It is dropped together with the value, also if the case fails.
struct PostgresDatabase {
    runtime: Runtime,
    server: Url,
    name: String,
}

impl PostgresDatabase {
    fn create(server: Url) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let name = format!("contract_{}_{}", std::process::id(), COUNTER.fetch_add(1, Ordering::SeqCst));
        let database = Self { runtime: runtime(), server, name };
        let create = format!("CREATE DATABASE {} TEMPLATE template0", database.name);
        // A locale that ignores punctuation and compares numbers by their value, so that a statement
        // without an explicit order fails a test. Servers before version 15, or without ICU, lack it.
        let locale = "LOCALE_PROVIDER icu ICU_LOCALE 'en-US-u-ka-shifted-kn-true'";
        if database.on_server(&format!("{create} {locale}")).is_err() {
            database.on_server(&create).unwrap();
        }
        database
    }

    fn url(&self) -> String {
        let mut url = self.server.clone();
        url.set_path(&self.name);
        url.into()
    }

    fn on_server(&self, statement: &str) -> Result<(), sqlx::Error> {
        self.runtime.block_on(async {
            let mut server = PgConnection::connect(self.server.as_str()).await?;
            server.execute(AssertSqlSafe(statement.to_owned())).await?;
            server.close().await
        })
    }
}

impl Drop for PostgresDatabase {
    fn drop(&mut self) {
        let _ = self.on_server(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}

impl TestStore {
    /// Returns another connection to the yard `of`.
    pub(crate) fn of(store: Store, yard: &Self) -> Self {
        Self { store, url: yard.url.clone() }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn location(&self) -> YardLocation {
        self.url.parse().unwrap()
    }

    /// Opens the yard a second time, as another process does.
    pub(crate) async fn open_again(&self) -> Store {
        Store::open(self.location()).await.unwrap()
    }

    /// Runs a statement that bypasses the store, as an attacker with access to the database does.
    /// Returns the number of changed rows, or the message of the database.
    pub(crate) async fn bypass(&self, statement: &str) -> Result<u64, String> {
        let statement = AssertSqlSafe(statement.to_owned());
        let done = match self.location() {
            YardLocation::Sqlite(path) => {
                let mut file = SqliteConnection::connect(&path.display().to_string()).await.unwrap();
                let done = file.execute(statement).await.map(|done| done.rows_affected());
                file.close().await.unwrap();
                done
            }
            YardLocation::Postgres(_) => {
                let mut server = PgConnection::connect(&self.url).await.unwrap();
                server.execute("SET search_path = blockyard").await.unwrap();
                let done = server.execute(statement).await.map(|done| done.rows_affected());
                server.close().await.unwrap();
                done
            }
        };
        done.map_err(|error| error.as_database_error().map_or_else(|| error.to_string(), |e| e.message().to_owned()))
    }

    /// Disables the triggers of a table, as an attacker with access to the database does.
    pub(crate) async fn unguard(&self, table: &str, sqlite_triggers: &[&str]) {
        match self.location() {
            YardLocation::Sqlite(_) => {
                for trigger in sqlite_triggers {
                    self.bypass(&format!("DROP TRIGGER {trigger}")).await.unwrap();
                }
            }
            YardLocation::Postgres(_) => {
                self.bypass(&format!("ALTER TABLE {table} DISABLE TRIGGER USER")).await.unwrap();
            }
        }
    }

    pub(crate) async fn install(
        &self,
        manifest: &str,
        bytes: &[u8],
        grants: &[&str],
        reviewed: &[&[u8]],
    ) -> Result<(), StoreError> {
        self.install_signed(manifest, bytes, grants, reviewed, None).await
    }

    pub(crate) async fn install_signed(
        &self,
        manifest: &str,
        bytes: &[u8],
        grants: &[&str],
        reviewed: &[&[u8]],
        signer: Option<NewSigner<'_>>,
    ) -> Result<(), StoreError> {
        let parsed = Manifest::parse(manifest).unwrap();
        let grants: BTreeSet<Capability> = grants.iter().map(|text| text.parse().unwrap()).collect();
        let reviewed: BTreeSet<Digest> = reviewed.iter().map(|bytes| Digest::of(bytes)).collect();
        let bundle = NewBundle {
            digest: Digest::of(bytes),
            manifest: &parsed,
            manifest_text: manifest,
            bytes,
            source: "file /tmp/zoo.wasm",
            grants: &grants,
            reviewed: &reviewed,
            signer,
            signature: signer.map(|_| "signature"),
        };
        self.store.install(&bundle, line("install", parsed.name.as_str())).await
    }

    /// Creates a block without secrets.
    pub(crate) async fn create(
        &self,
        address: &str,
        config: &str,
        references: &[(&str, &str)],
    ) -> Result<(), StoreError> {
        create_in(&self.store, address, config, references).await
    }

    /// Saves the next revision of the block that `from` was read from.
    pub(crate) async fn save(
        &self,
        from: &BlockRecord,
        config: &str,
        references: &[(&str, &str)],
    ) -> Result<Revision, StoreError> {
        save_in(&self.store, from, config, references).await
    }

    /// Reads the newest revision of a block, which must exist.
    pub(crate) async fn read(&self, address: &str) -> BlockRecord {
        self.store.block(&at(address), None).await.unwrap().unwrap()
    }

    pub(crate) async fn delete(&self, address: &str) -> Result<(), StoreError> {
        self.store.delete_block(&at(address), None, line("delete", address)).await
    }

    pub(crate) async fn restore(&self, address: &str) -> Result<(), StoreError> {
        self.store.restore_block(&at(address), line("restore", address)).await
    }

    /// Returns the actions and subjects of the audit trail, oldest first.
    pub(crate) async fn trail(&self) -> Vec<String> {
        let lines = self.store.audit(&blockyard_store::AuditFilter::default()).await.unwrap();
        lines.iter().rev().map(|line| format!("{} {}", line.action, line.subject)).collect()
    }
}

pub(crate) async fn create_in(
    store: &Store,
    address: &str,
    config: &str,
    references: &[(&str, &str)],
) -> Result<(), StoreError> {
    let (address, references) = (at(address), references_of(references));
    let new = draft(&address, config, &references);
    let key = WrappedKey { data_key: b"wrapped data key", key_id: KEY };
    store.create_block(&new, &key, None, line("create", &address.to_string())).await
}

pub(crate) async fn save_in(
    store: &Store,
    from: &BlockRecord,
    config: &str,
    references: &[(&str, &str)],
) -> Result<Revision, StoreError> {
    let references = references_of(references);
    let new = draft(&from.address, config, &references);
    store.save_revision(&new, from, line("set", &from.address.to_string())).await
}

/// Returns a revision without secrets, validated by the installed bundle `zoo`.
pub(crate) fn draft<'a>(address: &'a Address, config: &'a str, references: &'a [Reference]) -> NewRevision<'a> {
    NewRevision {
        address,
        bundle: Digest::of(ZOO),
        checksum: Digest::of(b"checksum"),
        config,
        seal: b"seal",
        secrets: &[],
        references,
        author: "keeper@zoo",
        origin: "set",
        reason: None,
    }
}

/// Returns references from pairs of a pointer and the address of a target.
pub(crate) fn references_of(pairs: &[(&str, &str)]) -> Vec<Reference> {
    pairs
        .iter()
        .map(|(pointer, target)| Reference {
            pointer: Pointer::new(*pointer),
            permitted: Vec::new(),
            target: at(target),
            purpose: Purpose::Configuration,
        })
        .collect()
}

pub(crate) fn at(address: &str) -> Address {
    address.parse().unwrap()
}

pub(crate) fn revision(number: u64) -> Revision {
    Revision::new(number).unwrap()
}

pub(crate) fn line(action: &str, subject: &str) -> AuditLine {
    AuditLine {
        at: NOW,
        actor: "keeper@zoo".to_owned(),
        action: action.to_owned(),
        subject: subject.to_owned(),
        detail: "{}".to_owned(),
    }
}

/// Returns the record of a new yard.
pub(crate) fn record() -> YardRecord {
    YardRecord { id: "yard-1".to_owned(), key: key(KEY), next_key: None }
}

pub(crate) fn key(id: &str) -> KeyRecord {
    KeyRecord { id: id.to_owned(), location: format!("file /keys/{id}"), canary: format!("canary of {id}").into() }
}

/// Returns the manifest of a version of the bundle `zoo`.
pub(crate) fn zoo(version: &str) -> String {
    manifest("zoo", version, &["zoo", "zoo-keeper"])
}

pub(crate) fn manifest(name: &str, version: &str, types: &[&str]) -> String {
    let types: Vec<_> = types
        .iter()
        .map(|slug| {
            serde_json::json!({
                "slug": slug, "version": 1,
                "schema": {"type": "object", "additionalProperties": false, "properties": {}},
            })
        })
        .collect();
    serde_json::json!({
        "manifest": 1, "name": name, "version": version, "wit": "0.1", "capabilities": ["log"], "types": types,
    })
    .to_string()
}

/// Returns the message of an error.
pub(crate) fn rejected<T>(result: Result<T, StoreError>) -> String {
    match result {
        Ok(_) => "no error".to_owned(),
        Err(error) => error.to_string(),
    }
}
