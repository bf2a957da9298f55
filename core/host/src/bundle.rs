//! A loaded bundle: the component's bytes, the manifest, and the code for each of the two engines,
//! which is compiled on first use.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use blockyard_model::{Capability, Digest, Manifest};
use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use crate::bindings::BundleRevealPre as BundlePre;
use crate::capability::{CallState, Condition, INTERFACES, Interface};
use crate::compile::examine;
use crate::error::HostError;
use crate::pure::Pure;
use crate::sandbox::Sandbox;

/// Prefix of all interfaces that a bundle can import.
const PACKAGE: &str = "blockyard:bundle/";

/// A bundle. Cheap to clone.
#[derive(Clone)]
pub struct Bundle {
    inner: Arc<Inner>,
}

/// Loads the bytes of a component from the yard, and verifies their digest.
pub type LoadBytes =
    Box<dyn Fn() -> BoxFuture<'static, Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>>> + Send + Sync>;

/// Source of a component's bytes.
enum Bytes {
    InMemory(Arc<Vec<u8>>),
    Stored(LoadBytes),
}

impl Bytes {
    async fn load(&self) -> Result<Arc<Vec<u8>>, HostError> {
        match self {
            Self::InMemory(bytes) => Ok(bytes.clone()),
            Self::Stored(load) => load().await.map(Arc::new).map_err(HostError::Bytes),
        }
    }
}

struct Inner {
    digest: Digest,
    bytes: Bytes,
    manifest: Arc<Manifest>,
    /// The manifest as returned by `describe`; `None` for an installed bundle, for which only the
    /// parsed manifest is available.
    manifest_text: Option<String>,
    /// The component linked for `describe`, `validate` and `migrate`.
    pure: OnceCell<Pure>,
    /// The component compiled for calls.
    calling: OnceCell<Calling>,
    /// The component linked for calls, once per set of grants.
    linked: Mutex<BTreeMap<BTreeSet<Capability>, BundlePre<CallState>>>,
}

/// A component compiled for calls.
struct Calling {
    component: Component,
    imports: Vec<&'static Interface>,
}

impl Bundle {
    /// Returns the parsed manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    /// Returns the manifest as returned by `describe`; empty for a bundle created by
    /// [`installed`](Self::installed).
    #[must_use]
    pub fn manifest_text(&self) -> &str {
        self.inner.manifest_text.as_deref().unwrap_or_default()
    }

    /// Returns the SHA-256 digest of the component's bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.inner.digest
    }

    /// Creates a bundle whose manifest was validated when it was installed. Runs no guest code; the
    /// component is compiled on first use.
    #[must_use]
    pub fn installed(bytes: Arc<Vec<u8>>, digest: Digest, manifest: Arc<Manifest>) -> Self {
        Self::new(Bytes::InMemory(bytes), digest, manifest, None)
    }

    /// Creates a bundle like [`installed`](Self::installed). Its bytes are loaded only if its
    /// compiled code is not cached.
    #[must_use]
    pub fn stored(bytes: LoadBytes, digest: Digest, manifest: Arc<Manifest>) -> Self {
        Self::new(Bytes::Stored(bytes), digest, manifest, None)
    }

    pub(crate) fn name(&self) -> String {
        self.inner.manifest.name.to_string()
    }

    fn new(bytes: Bytes, digest: Digest, manifest: Arc<Manifest>, manifest_text: Option<String>) -> Self {
        let (pure, calling, linked) = (OnceCell::new(), OnceCell::new(), Mutex::default());
        Self { inner: Arc::new(Inner { digest, bytes, manifest, manifest_text, pure, calling, linked }) }
    }

    /// Returns the component linked for pure calls.
    pub(crate) async fn pure(&self, sandbox: &Sandbox) -> Result<Pure, HostError> {
        let Inner { bytes, digest, pure, .. } = &*self.inner;
        let pure = pure.get_or_try_init(async || {
            let component = sandbox.compile(&sandbox.pure_engine, async || bytes.load().await, *digest).await?;
            sandbox.link_pure(&component)
        });
        pure.await.cloned()
    }

    async fn calling(&self, sandbox: &Sandbox) -> Result<&Calling, HostError> {
        let Inner { bytes, digest, calling, .. } = &*self.inner;
        calling
            .get_or_try_init(async || {
                let component = sandbox.compile(&sandbox.engine, async || bytes.load().await, *digest).await?;
                Ok(Calling { imports: imports(&sandbox.engine, &component)?, component })
            })
            .await
    }

    /// Returns the component linked with the granted capabilities only.
    ///
    /// # Errors
    /// Returns [`HostError::NotGranted`] if the component imports a requested capability that is
    /// not granted, or another [`HostError`] if it cannot be compiled or linked.
    pub(crate) async fn linked(
        &self,
        sandbox: &Sandbox,
        grants: &BTreeSet<Capability>,
    ) -> Result<BundlePre<CallState>, HostError> {
        let Calling { component, imports } = self.calling(sandbox).await?;
        let mut linked = self.inner.linked.lock().expect("nothing panics while it holds this lock");
        if let Some(pre) = linked.get(grants) {
            return Ok(pre.clone());
        }
        let granted: BTreeSet<&str> = grants.iter().map(Capability::interface).collect();
        let missing: Vec<Capability> = self
            .inner
            .manifest
            .capabilities
            .iter()
            .filter(|wanted| imports.iter().any(|import| import.name == wanted.interface()))
            .filter(|wanted| !granted.contains(wanted.interface()))
            .cloned()
            .collect();
        if !missing.is_empty() {
            return Err(HostError::NotGranted { bundle: self.name(), missing });
        }
        let linker = linker(sandbox, &granted).map_err(HostError::Engine)?;
        let pre = linker
            .instantiate_pre(component)
            .and_then(BundlePre::new)
            .map_err(|error| HostError::NotABundle(format!("{error:#}")))?;
        linked.insert(grants.clone(), pre.clone());
        Ok(pre)
    }
}

impl Sandbox {
    /// Loads an untrusted component: checks the file, compiles it, and calls `describe` for its
    /// manifest.
    ///
    /// # Errors
    /// Returns the [`HostError`] of the first check that fails.
    pub async fn load(&self, bytes: Arc<Vec<u8>>) -> Result<Bundle, HostError> {
        examine(&bytes)?;
        let digest = Digest::of(&bytes);
        let component = self.compile(&self.pure_engine, async || Ok(bytes.clone()), digest).await?;
        let imports = imports(&self.pure_engine, &component)?;
        let pure = self.link_pure(&component)?;
        let manifest_text = self.describe(&pure).await?;
        let manifest = Manifest::parse(&manifest_text)?;
        let declared: BTreeSet<&str> = manifest.capabilities.iter().map(Capability::interface).collect();
        let undeclared = imports
            .iter()
            .filter(|interface| interface.condition == Condition::Granted && !declared.contains(interface.name));
        if let Some(first) = undeclared.map(|interface| interface.name).min() {
            return Err(HostError::Undeclared(first.to_owned()));
        }
        let bundle = Bundle::new(Bytes::InMemory(bytes), digest, Arc::new(manifest), Some(manifest_text));
        // Cannot fail: the bundle was just created, so the cell is empty.
        let _ = bundle.inner.pure.set(pure);
        Ok(bundle)
    }
}

/// Links the granted interfaces, and those that need no grant.
fn linker(sandbox: &Sandbox, granted: &BTreeSet<&str>) -> wasmtime::Result<Linker<CallState>> {
    let mut linker = Linker::<CallState>::new(&sandbox.engine);
    for interface in &INTERFACES {
        if interface.condition == Condition::Always || granted.contains(interface.name) {
            (interface.add_to_linker)(&mut linker)?;
        }
    }
    Ok(linker)
}

/// Returns the interfaces that the component imports.
///
/// # Errors
/// Returns [`HostError::UnknownImport`] for an interface that this version of Blockyard does not
/// provide.
fn imports(engine: &Engine, component: &Component) -> Result<Vec<&'static Interface>, HostError> {
    component
        .component_type()
        .imports(engine)
        .map(|(name, _)| {
            let interface = name.strip_prefix(PACKAGE).map(|rest| rest.split('@').next().unwrap_or(rest));
            interface.and_then(Interface::named).ok_or_else(|| HostError::UnknownImport(name.to_owned()))
        })
        .collect()
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bundle({} {})", self.manifest().name, self.manifest().version)
    }
}
