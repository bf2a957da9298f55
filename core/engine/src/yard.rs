//! Opening and making yards.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use blockyard_host::{Bundle, Sandbox, SandboxConfig};
use blockyard_model::Digest;
use blockyard_store::{Store, StoreError, YardRecord};
use blockyard_vault::{Key, KeyLocation};

use crate::audit::{AuditWriter, now};
use crate::key::{self, KeySource, NewKey};
use crate::{Error, ErrorKind};

/// What a program says about itself and its machine when it opens a yard.
#[derive(Debug, Clone, Default)]
pub struct YardConfig {
    /// Which key.
    pub key: KeySource,
    /// Where compiled code is kept between processes; none keeps it in memory only.
    pub cache: Option<PathBuf>,
    /// Who acts, for the audit trail: user and host. Empty means unknown.
    pub actor: String,
}

/// An open yard. Cheap to clone.
#[derive(Clone)]
pub struct Yard {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    key: Key,
    config: YardConfig,
    sandbox: OnceLock<Sandbox>,
    bundles: Mutex<HashMap<Digest, Bundle>>,
    audit: AuditWriter,
}

/// Where a yard and its key are.
#[derive(Debug, Clone, serde::Serialize)]
pub struct YardInfo {
    /// The yard's address, for `--yard`.
    pub yard: String,
    /// Its id.
    pub id: String,
    /// Where its key is kept: `keyring:…`, `file:…` or `env`.
    pub key: String,
    /// The id of the key.
    pub key_id: String,
}

impl Yard {
    /// Opens a yard that exists.
    ///
    /// # Errors
    /// There is none; it is damaged; its key is missing or wrong. Each says what to do.
    pub async fn open(url: &str, key: KeySource) -> Result<Self, Error> {
        Self::open_with(url, YardConfig { key, ..YardConfig::default() }).await
    }

    /// Opens a yard that exists, with all that can be said about how.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_with(url: &str, config: YardConfig) -> Result<Self, Error> {
        let store = Store::open(&path(url)?).await?;
        let key = key::open(store.path(), store.yard(), &config.key).await?;
        Ok(Self::assemble(store, key, config))
    }

    /// Makes a yard and its key.
    ///
    /// # Errors
    /// There is one already; it cannot be written; the key cannot be put in its place.
    pub async fn init(url: &str, new_key: NewKey, config: YardConfig) -> Result<Self, Error> {
        let path = path(url)?;
        if path.exists() {
            return Err(StoreError::YardExists(path).into());
        }
        let id = random_id();
        let (key, location) = key::make(&path, &id, new_key).await?;

        let record = YardRecord {
            canary: key.canary(&id),
            key_id: key.id().to_string(),
            key_location: location.to_string(),
            id,
        };
        let store = Store::create(&path, record, now()).await?;
        Ok(Self::assemble(store, key, config))
    }

    fn assemble(store: Store, key: Key, mut config: YardConfig) -> Self {
        if config.actor.is_empty() {
            "unknown".clone_into(&mut config.actor);
        }
        Self {
            inner: Arc::new(Inner {
                audit: AuditWriter::start(store.clone()),
                store,
                key,
                config,
                sandbox: OnceLock::new(),
                bundles: Mutex::default(),
            }),
        }
    }

    /// Where the yard and its key are.
    #[must_use]
    pub fn info(&self) -> YardInfo {
        let record = self.store().yard();
        YardInfo {
            yard: format!("sqlite:{}", self.store().path().display()),
            id: record.id.clone(),
            key: match record.key_location.parse() {
                Ok(KeyLocation::File(path)) => KeyLocation::File(key::beside(self.store().path(), &path)).to_string(),
                _ => record.key_location.clone(),
            },
            key_id: record.key_id.clone(),
        }
    }

    /// Writes what is left to write, and closes the yard's file. A yard that is dropped without
    /// this loses nothing but the last lines about calls in the audit trail.
    pub async fn close(&self) {
        self.inner.audit.finish().await;
        self.inner.store.close().await;
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    pub(crate) fn key(&self) -> &Key {
        &self.inner.key
    }

    pub(crate) fn actor(&self) -> &str {
        &self.inner.config.actor
    }

    pub(crate) fn audit_writer(&self) -> &AuditWriter {
        &self.inner.audit
    }

    /// The sandbox, set up when it is first needed: a command that only lists needs none.
    pub(crate) fn sandbox(&self) -> Result<&Sandbox, Error> {
        if let Some(sandbox) = self.inner.sandbox.get() {
            return Ok(sandbox);
        }
        let sandbox =
            Sandbox::new(&SandboxConfig { cache: self.inner.config.cache.clone(), protected: self.own_files() })?;
        Ok(self.inner.sandbox.get_or_init(|| sandbox))
    }

    /// The files of the yard, which are not for bundles.
    fn own_files(&self) -> Vec<PathBuf> {
        let path = self.store().path();
        let beside = |ending: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        };
        let mut files = vec![path.to_owned(), beside("-wal"), beside("-shm")];
        if let Ok(KeyLocation::File(key)) = self.store().yard().key_location.parse() {
            files.push(key::beside(path, &key));
        }
        files
    }

    /// An installed bundle, compiled; from memory, the compile cache, or its bytes in the yard.
    pub(crate) async fn bundle(&self, digest: &Digest) -> Result<Bundle, Error> {
        let known = self.inner.bundles.lock().expect("nothing panics while it holds this lock").get(digest).cloned();
        if let Some(bundle) = known {
            return Ok(bundle);
        }
        let gone = || {
            Error::new(ErrorKind::Invalid, format!("the yard has lost the bundle {digest}"))
                .hint("restore the yard's file from a backup")
        };
        let record = self.store().bundle(digest).await?.ok_or_else(gone)?;
        let bytes = self.store().bundle_bytes(digest).await?.ok_or_else(gone)?;
        if Digest::of(&bytes) != *digest {
            return Err(Error::new(
                ErrorKind::Denied,
                format!("the bytes of bundle `{}` in the yard are not those that were installed", record.name),
            )
            .hint("restore the yard's file from a backup, or install the bundle again"));
        }
        let bundle = self.sandbox()?.load_installed(Arc::new(bytes), *digest, record.manifest).await?;
        self.inner.bundles.lock().expect("nothing panics while it holds this lock").insert(*digest, bundle.clone());
        Ok(bundle)
    }
}

impl std::fmt::Debug for Yard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Yard({})", self.store().path().display())
    }
}

/// The file of a yard's address.
fn path(url: &str) -> Result<PathBuf, Error> {
    match url.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => Ok(Path::new(path.strip_prefix("//").unwrap_or(path)).to_owned()),
        Some(("postgres" | "postgresql", _)) => {
            Err(Error::new(ErrorKind::Usage, "this version of Blockyard keeps yards in SQLite files only")
                .hint("name a file: `--yard sqlite:PATH`"))
        }
        _ => Err(Error::new(ErrorKind::Usage, format!("`{url}` is not the address of a yard"))
            .hint("the form is `sqlite:PATH`")),
    }
}

fn random_id() -> String {
    // The id of a key is random too, and made for telling things apart.
    Key::generate().id().to_string()
}
