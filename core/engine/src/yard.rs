//! Opening and making yards.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use blockyard_host::{Bundle, Sandbox, SandboxConfig};
use blockyard_model::{Digest, Manifest, SourcePattern};
use blockyard_store::{KeyRecord, Store, StoreError, YardLocation, YardRecord};
use blockyard_vault::{Key, KeyLocation};

use crate::audit::{AuditWriter, now};
use crate::grant::GrantCache;
use crate::key::{self, KeySource, Keys, NewKey};
use crate::secret_source::DATABASE_FILES;
use crate::{Error, ErrorKind, Project, Trust};

/// What a program says about itself and its machine when it opens a yard.
#[derive(Debug, Clone, Default)]
pub struct YardConfig {
    /// Which key.
    pub key: KeySource,
    /// This machine's folder for the key files of yards on servers; those of SQLite yards are beside
    /// the yard.
    pub keys: Option<PathBuf>,
    /// Where compiled code is kept between processes; none keeps it in memory only.
    pub cache: Option<PathBuf>,
    /// Who acts, for the audit trail: user and host. Empty means unknown.
    pub actor: String,
    /// The decisions of this user on this machine. A SQLite yard that is made with it is recorded there as this
    /// user's own. `None`: no yard counts as this user's own.
    pub trust: Option<Trust>,
    /// Variables and files that blocks of any yard may name as sources of secrets. Other `env:` and `file:`
    /// sources are read only from a SQLite yard that is this user's own by `trust`, and that no other user can
    /// write.
    pub sources: Vec<SourcePattern>,
    /// The project file that names the yard. A yard inside the project's folder is opened only if `trust` has it.
    pub project: Option<Project>,
}

/// An open yard. Cheap to clone.
#[derive(Clone)]
pub struct Yard {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    keys: Keys,
    config: YardConfig,
    sandbox: OnceLock<Sandbox>,
    manifests: Mutex<HashMap<Digest, Arc<Manifest>>>,
    bundles: Mutex<HashMap<Digest, Bundle>>,
    audit: AuditWriter,
    grants: GrantCache,
}

/// Where the yard and its key are.
#[derive(Debug, Clone, serde::Serialize)]
pub struct YardInfo {
    /// The yard's address, for `--yard`, without a password.
    pub yard: String,
    /// Its id.
    pub id: String,
    /// Where its key is kept: `keyring:…`, `file:…` or `env:NAME`.
    pub key: String,
    /// The id of the key.
    pub key_id: String,
}

impl Yard {
    /// Opens a yard that exists.
    ///
    /// `env:` and `file:` sources of secrets are refused, because everyone who can write the yard chooses them. A program
    /// permits those that it needs, with [`open_with`](Self::open_with):
    ///
    /// ```
    /// use blockyard::YardConfig;
    /// let config = YardConfig {
    ///     sources: vec!["env:WAREHOUSE_*".parse()?, "file:/run/secrets/*".parse()?],
    ///     ..YardConfig::default()
    /// };
    /// # Ok::<(), blockyard::model::SourcePatternError>(())
    /// ```
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
        // Before SQLite is first used: its memory is counted per call from then on.
        blockyard_host::count_sqlite_memory();
        let store = open_store(url, &config).await?;
        match Keys::open(store.location(), store.yard(), &config).await {
            Ok(keys) => {
                // Whoever cannot open the yard leaves it as it is.
                store.upgrade().await?;
                let yard = Self::assemble(store, keys, config);
                // A rotation is under way: what is new belongs to the key that it moves to. Where that
                // one is not to be had here, the old one does until it is needed.
                if yard.store().yard().next_key.is_some() {
                    let _ = yard.learn_keys().await;
                }
                Ok(yard)
            }
            Err(error) => {
                store.close().await;
                Err(error)
            }
        }
    }

    /// Makes a yard and its key.
    ///
    /// # Errors
    /// There is one already; it cannot be written; the key cannot be put in its place.
    pub async fn init(url: &str, new_key: NewKey, config: YardConfig) -> Result<Self, Error> {
        blockyard_host::count_sqlite_memory();
        let location: YardLocation = url.parse()?;
        if Store::exists(&location).await? {
            return Err(StoreError::YardExists(location.to_string()).into());
        }
        // Before anything is made: decisions that another user could make are an error.
        config.trust.as_ref().map(Trust::check).transpose()?;
        let id = random_id();
        let (key, place) = key::make(&location, &id, new_key, &config).await?;
        let record = YardRecord {
            key: KeyRecord { canary: key.canary(&id), id: key.id().to_string(), location: place.to_string() },
            next_key: None,
            id,
        };
        let store = Store::create(location, record, now()).await?;
        if let (Some(trust), Some(path)) = (&config.trust, store.location().file()) {
            // Where nothing can be recorded the yard can be used all the same: what needs the record says so.
            let _ = trust.record_made(path, &store.yard().id);
        }
        Ok(Self::assemble(store, Keys::of(key), config))
    }

    fn assemble(store: Store, keys: Keys, mut config: YardConfig) -> Self {
        if config.actor.is_empty() {
            "unknown".clone_into(&mut config.actor);
        }
        Self {
            inner: Arc::new(Inner {
                audit: AuditWriter::start(store.clone()),
                store,
                keys,
                config,
                sandbox: OnceLock::new(),
                manifests: Mutex::default(),
                bundles: Mutex::default(),
                grants: GrantCache::default(),
            }),
        }
    }

    /// Where the yard and its key are.
    #[must_use]
    pub fn info(&self) -> YardInfo {
        let record = self.store().yard();
        YardInfo {
            yard: self.store().location().to_string(),
            id: record.id.clone(),
            key: match key::place(self.store().location(), self.config(), &record.key) {
                Ok(place) => place.to_string(),
                Err(_) => record.key.location.clone(),
            },
            key_id: record.key.id.clone(),
        }
    }

    /// Writes what is left to write, and closes the yard. A yard that is dropped without this loses
    /// nothing but the last lines about calls in the audit trail.
    pub async fn close(&self) {
        self.inner.audit.finish().await;
        self.inner.store.close().await;
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The yard's id: part of what every sealed value is bound to.
    pub(crate) fn id(&self) -> &str {
        &self.store().yard().id
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.inner.keys
    }

    pub(crate) fn config(&self) -> &YardConfig {
        &self.inner.config
    }

    pub(crate) fn actor(&self) -> &str {
        &self.inner.config.actor
    }

    pub(crate) fn grant_cache(&self) -> &GrantCache {
        &self.inner.grants
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
        let mut files = Vec::new();
        if let Some(path) = self.store().location().file() {
            for ending in DATABASE_FILES {
                let mut name = path.as_os_str().to_owned();
                name.push(ending);
                files.push(PathBuf::from(name));
            }
        }
        // A key that the program gives need not be where the yard says that its key is.
        if let KeySource::File(key) = &self.config().key {
            files.push(key.clone());
        }
        let yard = self.store().yard();
        for record in [Some(&yard.key), yard.next_key.as_ref()].into_iter().flatten() {
            if let Ok(KeyLocation::File(key)) = key::place(self.store().location(), self.config(), record) {
                files.push(key);
            }
        }
        if let KeySource::File(key) = &self.config().key {
            files.push(key.clone());
        }
        files
    }

    /// The manifest of an installed bundle, without its code.
    pub(crate) async fn manifest(&self, digest: &Digest) -> Result<Arc<Manifest>, Error> {
        let known = self.inner.manifests.lock().expect(UNPOISONED).get(digest).cloned();
        if let Some(manifest) = known {
            return Ok(manifest);
        }
        let record = self.store().bundle(digest).await?.ok_or_else(|| lost(digest))?;
        let manifest = Manifest::parse(&record.manifest).map_err(|error| {
            Error::new(ErrorKind::Invalid, format!("the manifest of bundle `{}` in the yard is damaged", record.name))
                .because(error)
        })?;
        let manifest = Arc::new(manifest);
        self.inner.manifests.lock().expect(UNPOISONED).insert(*digest, manifest.clone());
        Ok(manifest)
    }

    /// An installed bundle, compiled; from memory, the compile cache, or its bytes in the yard.
    pub(crate) async fn bundle(&self, digest: &Digest) -> Result<Bundle, Error> {
        let known = self.inner.bundles.lock().expect(UNPOISONED).get(digest).cloned();
        if let Some(bundle) = known {
            return Ok(bundle);
        }
        let manifest = self.manifest(digest).await?;
        let bytes = self.bundle_bytes(digest, manifest.name.as_str()).await?;
        let bundle = Bundle::installed(Arc::new(bytes), *digest, manifest);
        self.inner.bundles.lock().expect(UNPOISONED).insert(*digest, bundle.clone());
        Ok(bundle)
    }

    /// The bytes of an installed bundle, which are those that were installed.
    pub(crate) async fn bundle_bytes(&self, digest: &Digest, name: &str) -> Result<Vec<u8>, Error> {
        let bytes = self.store().bundle_bytes(digest).await?.ok_or_else(|| lost(digest))?;
        if Digest::of(&bytes) != *digest {
            return Err(Error::new(
                ErrorKind::Denied,
                format!("the bytes of bundle `{name}` in the yard are not those that were installed"),
            )
            .hint("restore the yard's file from a backup, or install the bundle again"));
        }
        Ok(bytes)
    }
}

const UNPOISONED: &str = "nothing panics while it holds this lock";

fn lost(digest: &Digest) -> Error {
    Error::new(ErrorKind::Invalid, format!("the yard has lost the bundle {digest}"))
        .hint("restore the yard's file from a backup")
}

/// Opens the rows of a yard, if it may be opened: before its key is looked for where it says.
pub(crate) async fn open_store(url: &str, config: &YardConfig) -> Result<Store, Error> {
    let store = Store::open(url.parse()?).await?;
    let permitted = match (&config.project, store.location().file()) {
        (Some(project), Some(path)) if project.yard_file()?.is_some() => {
            let trust = config.trust.as_ref().ok_or_else(|| untrusted(project));
            trust.and_then(|trust| trust.permit_yard(project, path, &store.yard().id))
        }
        _ => Ok(()),
    };
    match permitted {
        Ok(()) => Ok(store),
        Err(error) => {
            store.close().await;
            Err(error)
        }
    }
}

fn untrusted(project: &Project) -> Error {
    let message = format!("the yard of the project `{}` is not trusted", project.path().display());
    Error::new(ErrorKind::Denied, message).because("this program keeps no record of what its user trusts")
}

impl std::fmt::Debug for Yard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Yard({})", self.store().location())
    }
}

fn random_id() -> String {
    // The id of a key is random too, and made for telling things apart.
    Key::generate().id().to_string()
}
