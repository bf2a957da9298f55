//! A bundle in memory: its compiled component, its manifest, and what it imports.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use blockyard_model::{Capability, Digest, Manifest};
use wasmtime::Store;
use wasmtime::component::{Component, HasSelf, Linker};

use crate::bindings::blockyard::bundle as interfaces;
use crate::bindings::{BundleReveal as Exports, BundleRevealPre as BundlePre};
use crate::sandbox::Sandbox;
use crate::state::CallState;
use crate::{HostError, limits};

/// The prefix of everything that a bundle may import.
const PACKAGE: &str = "blockyard:bundle/";

/// The interfaces that this host has.
const PROVIDED: [&str; 10] =
    ["types", "streams", "secrets", "reveal", "crypto", "http", "sql", "log", "clock", "random"];

/// A compiled bundle. Cheap to clone.
#[derive(Clone)]
pub struct Bundle {
    inner: Arc<Inner>,
}

struct Inner {
    digest: Digest,
    component: Component,
    manifest: Arc<Manifest>,
    /// As the bundle wrote it; none where it was installed before and only its parsed form is at hand.
    manifest_text: Option<String>,
    /// The interfaces that it imports, without package and version.
    imports: BTreeSet<String>,
    /// Linked once per set of grants.
    linked: Mutex<BTreeMap<BTreeSet<Capability>, BundlePre<CallState>>>,
}

impl Bundle {
    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    /// The manifest as the bundle wrote it; empty for one that was installed before.
    #[must_use]
    pub fn manifest_text(&self) -> &str {
        self.inner.manifest_text.as_deref().unwrap_or_default()
    }

    /// sha256 of the component's bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.inner.digest
    }

    pub(crate) fn component(&self) -> &Component {
        &self.inner.component
    }

    pub(crate) fn shared_manifest(&self) -> Arc<Manifest> {
        self.inner.manifest.clone()
    }

    pub(crate) fn name(&self) -> String {
        self.inner.manifest.name.to_string()
    }

    /// The component linked with what is granted, and nothing else.
    pub(crate) fn linked(
        &self,
        sandbox: &Sandbox,
        grants: &BTreeSet<Capability>,
    ) -> Result<BundlePre<CallState>, HostError> {
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
            .filter(|wanted| self.inner.imports.contains(wanted.interface()) && !granted.contains(wanted.interface()))
            .cloned()
            .collect();
        if !missing.is_empty() {
            return Err(HostError::NotGranted { bundle: self.name(), missing });
        }
        let linker = linker(sandbox, &granted).map_err(HostError::Engine)?;
        let pre = linker
            .instantiate_pre(&self.inner.component)
            .and_then(BundlePre::new)
            .map_err(|error| HostError::NotABundle(format!("{error:#}")))?;
        linked.insert(grants.clone(), pre.clone());
        Ok(pre)
    }
}

impl Sandbox {
    /// Compiles a component and asks it to describe itself, with nothing linked. The bytes are
    /// guest-controlled. Compiling takes the processor for tens of milliseconds: it runs on a
    /// blocking thread.
    ///
    /// # Errors
    /// Each thing that makes it no bundle is its own [`HostError`].
    pub async fn load(&self, bytes: Arc<Vec<u8>>) -> Result<Bundle, HostError> {
        let component = self.compile(bytes.clone()).await?;
        let imports = imports(self, &component)?;
        let manifest_text = self.describe(&component).await?;
        let manifest = Manifest::parse(&manifest_text)?;
        let declared: BTreeSet<&str> = manifest.capabilities.iter().map(Capability::interface).collect();
        if let Some(undeclared) =
            imports.iter().find(|import| !always_linked(import) && !declared.contains(import.as_str()))
        {
            return Err(HostError::Undeclared(undeclared.clone()));
        }
        Ok(Bundle {
            inner: Arc::new(Inner {
                digest: Digest::of(&bytes),
                component,
                manifest: Arc::new(manifest),
                manifest_text: Some(manifest_text),
                imports,
                linked: Mutex::default(),
            }),
        })
    }

    /// As [`load`](Self::load), for a bundle whose manifest was checked when it was installed:
    /// no guest code runs.
    ///
    /// # Errors
    /// [`HostError`] where the bytes do not compile or the manifest is not valid.
    pub async fn load_installed(
        &self,
        bytes: Arc<Vec<u8>>,
        digest: Digest,
        manifest: Arc<Manifest>,
    ) -> Result<Bundle, HostError> {
        let component = self.compile(bytes).await?;
        Ok(Bundle {
            inner: Arc::new(Inner {
                digest,
                imports: imports(self, &component)?,
                component,
                manifest,
                manifest_text: None,
                linked: Mutex::default(),
            }),
        })
    }

    async fn compile(&self, bytes: Arc<Vec<u8>>) -> Result<Component, HostError> {
        if bytes.len() > limits::COMPONENT_BYTES {
            return Err(HostError::TooLarge { bytes: bytes.len(), limit: limits::COMPONENT_BYTES });
        }
        if !is_component(&bytes) {
            return Err(HostError::NotAComponent(what_it_is(&bytes).to_owned()));
        }
        let engine = self.engine.clone();
        tokio::task::spawn_blocking(move || Component::from_binary(&engine, &bytes))
            .await
            .map_err(|_| HostError::NotAComponent("the compiler gave up on it".to_owned()))?
            .map_err(|error| HostError::NotAComponent(format!("not a valid component: {error:#}")))
    }

    /// Asks a component for its manifest. Every import is a trap.
    async fn describe(&self, component: &Component) -> Result<String, HostError> {
        let pre = self.pure(component)?;
        let mut store = self.pure_store();
        let described = async {
            let exports: Exports = pre.instantiate_async(&mut store).await?;
            exports.blockyard_bundle_block_types().call_describe(&mut store).await
        };
        let text = tokio::time::timeout(limits::CONNECT_TIME, described)
            .await
            .map_err(|_| HostError::Deadline(limits::CONNECT_TIME))?
            .map_err(|error| HostError::NotABundle(format!("it does not describe itself: {error:#}")))?;
        if text.len() > limits::MANIFEST_BYTES {
            return Err(HostError::NotABundle(format!(
                "its manifest has {} bytes; the limit is {}",
                text.len(),
                limits::MANIFEST_BYTES
            )));
        }
        Ok(text)
    }

    /// A component linked for the exports that are pure. Everything is linked, so that the types of
    /// handles agree, and nothing can be reached: its state has no grants and no secrets, `clock`
    /// and `random` trap. The log is for the message of a panic.
    pub(crate) fn pure(&self, component: &Component) -> Result<BundlePre<CallState>, HostError> {
        linker(self, &BTreeSet::from(PROVIDED))
            .map_err(HostError::Engine)?
            .instantiate_pre(component)
            .and_then(BundlePre::new)
            .map_err(|error| HostError::NotABundle(format!("{error:#}")))
    }

    pub(crate) fn pure_store(&self) -> Store<CallState> {
        self.store(CallState::pure(self.pools.clone()), limits::PURE_CPU_TICKS)
    }
}

/// Links the granted interfaces; `types` and `streams` reach nothing and are always there.
fn linker(sandbox: &Sandbox, granted: &BTreeSet<&str>) -> wasmtime::Result<Linker<CallState>> {
    type State = HasSelf<CallState>;
    let mut linker = Linker::<CallState>::new(&sandbox.engine);
    interfaces::types::add_to_linker::<_, State>(&mut linker, |state| state)?;
    interfaces::streams::add_to_linker::<_, State>(&mut linker, |state| state)?;
    if granted.contains("secrets") {
        interfaces::secrets::add_to_linker::<_, State>(&mut linker, |state| state)?;
    }
    if granted.contains("reveal") {
        interfaces::reveal::add_to_linker::<_, State>(&mut linker, |state| state)?;
    }
    if granted.contains("crypto") {
        interfaces::crypto::add_to_linker::<_, State>(&mut linker, |state| state)?;
    }
    if granted.contains("http") {
        interfaces::http::add_to_linker::<_, State>(&mut linker, |state| state)?;
    }
    if granted.contains("sql") {
        interfaces::sql::add_to_linker::<_, State>(&mut linker, |state| state)?;
    }
    if granted.contains("log") {
        interfaces::log::add_to_linker::<_, State>(&mut linker, |state| state)?;
    }
    if granted.contains("clock") {
        interfaces::clock::add_to_linker::<_, State>(&mut linker, |state| state)?;
    }
    if granted.contains("random") {
        interfaces::random::add_to_linker::<_, State>(&mut linker, |state| state)?;
    }
    Ok(linker)
}

fn always_linked(interface: &str) -> bool {
    matches!(interface, "types" | "streams")
}

/// The interfaces that the component imports. What this Blockyard does not provide is an error.
fn imports(sandbox: &Sandbox, component: &Component) -> Result<BTreeSet<String>, HostError> {
    component
        .component_type()
        .imports(&sandbox.engine)
        .map(|(name, _)| {
            let interface = name
                .strip_prefix(PACKAGE)
                .map(|rest| rest.split('@').next().unwrap_or(rest))
                .filter(|interface| PROVIDED.contains(interface));
            interface.map(str::to_owned).ok_or_else(|| HostError::UnknownImport(name.to_owned()))
        })
        .collect()
}

/// The preamble of a component: magic, version 13, layer 1
/// (https://github.com/WebAssembly/component-model/blob/main/design/mvp/Binary.md).
fn is_component(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0asm") && bytes.get(6..8) == Some(&[1, 0])
}

fn what_it_is(bytes: &[u8]) -> &'static str {
    if bytes.starts_with(b"\0asm") {
        "a core WebAssembly module, not a component; `blockyard build` makes the component"
    } else if bytes.is_empty() {
        "the file is empty"
    } else {
        "not a WebAssembly component"
    }
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bundle({} {})", self.manifest().name, self.manifest().version)
    }
}
