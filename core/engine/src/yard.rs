//! Opens and creates yards.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use blockyard_host::{Bundle, LoadBytes, Sandbox, SandboxConfig};
use blockyard_model::{Digest, Manifest, Reason};
use blockyard_store::{BundleRecord, KeyRecord, Store, StoreError, YardLocation, YardRecord};
use blockyard_vault::{Key, KeyLocation};

use crate::audit_writer::AuditWriter;
use crate::grant_cache::GrantCache;
use crate::key_source::{KeySource, NewKey};
use crate::keys::{self, Keys};
use crate::time::now;
use crate::use_record::UseRecord;
use crate::yard_config::YardConfig;
use crate::yard_files::files_of;
use crate::{Error, ErrorKind, Project, Trust};

/// An open yard. Cloning is cheap.
#[derive(Clone)]
pub struct Yard {
    inner: Arc<Inner>,
    /// Reason of the changes that are made through this handle.
    reason: Option<Arc<Reason>>,
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
    uses: UseRecord,
}

/// Location and key of a yard.
#[derive(Debug, Clone, serde::Serialize)]
pub struct YardInfo {
    /// URL of the yard, without a password, as accepted by `--yard`.
    pub yard: String,
    /// ID of the yard.
    pub id: String,
    /// Location of the key: `keyring:…`, `file:…` or `env:NAME`.
    pub key: String,
    /// ID of the key.
    pub key_id: String,
}

impl Yard {
    /// Opens an existing yard.
    ///
    /// Secret sources of the form `env:` and `file:` are refused, because everyone with write
    /// access to the yard can add them. A program permits the sources that it needs with
    /// [`open_with`](Self::open_with):
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
    /// Returns an error with a hint if the yard does not exist or is damaged, or if its key is
    /// missing or wrong.
    pub async fn open(url: &str, key: KeySource) -> Result<Self, Error> {
        Self::open_with(url, YardConfig { key, ..YardConfig::default() }).await
    }

    /// Opens an existing yard with the given configuration.
    ///
    /// # Errors
    /// Same as [`open`](Self::open).
    pub async fn open_with(url: &str, config: YardConfig) -> Result<Self, Error> {
        // Must precede the first use of SQLite, whose memory is accounted per call from then on.
        blockyard_host::count_sqlite_memory();
        let store = open_store(url, &config).await?;
        match Keys::open(store.location(), store.yard(), &config).await {
            Ok(keys) => {
                // Upgraded only after the key was verified, so that a caller without the key does
                // not modify the yard.
                store.upgrade().await?;
                let yard = Self::assemble(store, keys, config);
                // During a rotation, new data keys are wrapped by the new key. If it is not
                // available on this machine, the old key is sufficient until a block requires the
                // new one.
                if yard.store().yard().next_key.is_some() {
                    let _ = yard.load_keys().await;
                }
                Ok(yard)
            }
            Err(error) => {
                store.close().await;
                Err(error)
            }
        }
    }

    /// Creates a yard and its key.
    ///
    /// # Errors
    /// Returns an error if the yard already exists, if it cannot be written, or if the key cannot
    /// be stored.
    pub async fn init(url: &str, new_key: NewKey, config: YardConfig) -> Result<Self, Error> {
        blockyard_host::count_sqlite_memory();
        let location: YardLocation = url.parse()?;
        if Store::exists(&location).await? {
            return Err(StoreError::YardExists(location.to_string()).into());
        }
        // Checked before anything is created: trust decisions that another user could modify are an
        // error.
        config.trust.as_ref().map(Trust::check).transpose()?;
        let id = random_id();
        let (key, key_location) = keys::make(&location, &id, new_key, &config).await?;
        let record = YardRecord {
            key: KeyRecord { canary: key.canary(&id), id: key.id().to_string(), location: key_location.to_string() },
            next_key: None,
            id,
        };
        let store = Store::create(location, record, now()).await?;
        if let (Some(trust), Some(path)) = (&config.trust, store.location().file()) {
            // The yard is usable even if this fails; operations that need the record report the
            // problem.
            let _ = trust.record_created(path, &store.yard().id);
        }
        Ok(Self::assemble(store, Keys::of(key), config))
    }

    /// Creates an empty yard in memory, with a temporary key. Bundles that are staged in it can be
    /// installed in the yard that is created at `url` later, so that nothing is created if staging
    /// fails. Data that is saved in it ends with it.
    ///
    /// # Errors
    /// Returns an error if the URL is not valid.
    pub async fn in_memory(url: &str, config: YardConfig) -> Result<Self, Error> {
        blockyard_host::count_sqlite_memory();
        let id = random_id();
        let key = Key::generate();
        let record = KeyRecord { canary: key.canary(&id), id: key.id().to_string(), location: String::new() };
        let record = YardRecord { key: record, next_key: None, id };
        let store = Store::in_memory(url.parse()?, record, now()).await?;
        Ok(Self::assemble(store, Keys::of(key), config))
    }

    /// Returns `true` if the yard is in memory only.
    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        self.store().is_in_memory()
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
                uses: UseRecord::default(),
            }),
            reason: None,
        }
    }

    /// Returns a handle to the same yard whose changes of blocks have a reason. The reason is stored
    /// with each revision that is saved through the handle, and in the line of each change in the
    /// audit trail.
    ///
    /// Everyone who can read the yard can read reasons. A change whose reason contains a secret of
    /// the changed block is rejected.
    ///
    /// ```
    /// # async fn example(yard: blockyard::Yard) -> Result<(), blockyard::Error> {
    /// use blockyard::{Patch, Reason};
    /// let yard = yard.with_reason(Some(Reason::new("moved to the new server")?));
    /// yard.set(&"sql-database/flights".parse()?, Patch::setting([("host", "db2.example")]), None).await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_reason(&self, reason: Option<Reason>) -> Self {
        Self { inner: self.inner.clone(), reason: reason.map(Arc::new) }
    }

    pub(crate) fn reason(&self) -> Option<&Reason> {
        self.reason.as_deref()
    }

    /// Returns the URL of a yard for display: without its password. The yard need not exist.
    ///
    /// # Errors
    /// Returns an error if the URL is not valid. The error does not contain the password.
    pub fn shown_url(url: &str) -> Result<String, Error> {
        Ok(url.parse::<YardLocation>()?.to_string())
    }

    /// Returns the location and the key of the yard.
    #[must_use]
    pub fn info(&self) -> YardInfo {
        let record = self.store().yard();
        YardInfo {
            yard: self.store().location().to_string(),
            id: record.id.clone(),
            key: match keys::key_location(self.store().location(), self.config(), &record.key) {
                Ok(key_location) => key_location.to_string(),
                Err(_) => record.key.location.clone(),
            },
            key_id: record.key.id.clone(),
        }
    }

    /// Writes pending audit lines and closes the yard. A yard that is dropped without being closed
    /// loses at most the last audit lines of calls.
    pub async fn close(&self) {
        self.inner.audit.finish().await;
        self.inner.store.close().await;
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Returns the yard's ID, which is part of the additional data of every sealed value.
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

    pub(crate) fn use_record(&self) -> &UseRecord {
        &self.inner.uses
    }

    pub(crate) fn audit_writer(&self) -> &AuditWriter {
        &self.inner.audit
    }

    /// Returns the sandbox. It is created on first use, because listing commands do not need it.
    pub(crate) fn sandbox(&self) -> Result<&Sandbox, Error> {
        if let Some(sandbox) = self.inner.sandbox.get() {
            return Ok(sandbox);
        }
        let YardConfig { cache, isolated, .. } = &self.inner.config;
        let config = SandboxConfig { cache: cache.clone(), protected: self.own_files(), isolated: *isolated };
        let sandbox = Sandbox::new(&config)?;
        Ok(self.inner.sandbox.get_or_init(|| sandbox))
    }

    /// Returns the files of the yard, which bundles must not access.
    fn own_files(&self) -> Vec<PathBuf> {
        let mut files = self.store().location().file().map(files_of).unwrap_or_default();
        // A key file given by the program may differ from the recorded location.
        if let KeySource::File(key) = &self.config().key {
            files.push(key.clone());
        }
        let yard = self.store().yard();
        for record in [Some(&yard.key), yard.next_key.as_ref()].into_iter().flatten() {
            if let Ok(KeyLocation::File(key)) = keys::key_location(self.store().location(), self.config(), record) {
                files.push(key);
            }
        }
        files
    }

    /// Returns the manifest of an installed bundle, without compiling its code.
    pub(crate) async fn manifest(&self, digest: &Digest) -> Result<Arc<Manifest>, Error> {
        match self.known_manifest(digest) {
            Some(manifest) => Ok(manifest),
            None => self.manifest_of(&self.store().bundle(digest).await?.ok_or_else(|| lost(digest))?),
        }
    }

    /// Returns the manifest of an installed bundle. It is parsed once.
    pub(crate) fn manifest_of(&self, record: &BundleRecord) -> Result<Arc<Manifest>, Error> {
        if let Some(manifest) = self.known_manifest(&record.digest) {
            return Ok(manifest);
        }
        let manifest = Manifest::parse_installed(&record.manifest).map_err(|error| {
            Error::new(ErrorKind::Invalid, format!("the manifest of bundle `{}` in the yard is damaged", record.name))
                .because(error)
        })?;
        let manifest = Arc::new(manifest);
        self.inner.manifests.lock().expect(LOCK_NOT_POISONED).insert(record.digest, manifest.clone());
        Ok(manifest)
    }

    fn known_manifest(&self, digest: &Digest) -> Option<Arc<Manifest>> {
        self.inner.manifests.lock().expect(LOCK_NOT_POISONED).get(digest).cloned()
    }

    /// Returns an installed bundle, cached in memory. Its code is compiled on first use, or loaded
    /// from the compile cache.
    pub(crate) async fn bundle(&self, digest: &Digest) -> Result<Bundle, Error> {
        let known = self.inner.bundles.lock().expect(LOCK_NOT_POISONED).get(digest).cloned();
        if let Some(bundle) = known {
            return Ok(bundle);
        }
        let manifest = self.manifest(digest).await?;
        let (store, digest, name) = (self.store().clone(), *digest, manifest.name.clone());
        let load: LoadBytes = Box::new(move || {
            let (store, name) = (store.clone(), name.clone());
            Box::pin(async move { Ok(bundle_bytes(&store, &digest, name.as_str()).await?) })
        });
        let bundle = Bundle::stored(load, digest, manifest);
        self.inner.bundles.lock().expect(LOCK_NOT_POISONED).insert(digest, bundle.clone());
        Ok(bundle)
    }
}

/// Returns the bytes of an installed bundle, and verifies their digest.
pub(crate) async fn bundle_bytes(store: &Store, digest: &Digest, name: &str) -> Result<Vec<u8>, Error> {
    let bytes = store.bundle_bytes(digest).await?.ok_or_else(|| lost(digest))?;
    if Digest::of(&bytes) != *digest {
        return Err(Error::new(
            ErrorKind::Denied,
            format!("the bytes of bundle `{name}` in the yard do not match its digest"),
        )
        .hint("restore the yard's file from a backup, or install the bundle again"));
    }
    Ok(bytes)
}

const LOCK_NOT_POISONED: &str = "nothing panics while it holds this lock";

fn lost(digest: &Digest) -> Error {
    Error::new(ErrorKind::Invalid, format!("bundle {digest} is missing from the yard"))
        .hint("restore the yard's file from a backup")
}

/// Opens a yard's database if the project's trust permits it. The key is not loaded yet.
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
    Error::new(ErrorKind::Denied, message).because("this program does not record trust decisions")
}

impl std::fmt::Debug for Yard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Yard({})", self.store().location())
    }
}

fn random_id() -> String {
    // Key IDs are random as well, and suitable as unique IDs.
    Key::generate().id().to_string()
}
