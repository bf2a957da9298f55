//! The state of one call: what its store holds. It is made for the call and dropped after it;
//! with it go all handles, so nothing outlives the call.

use std::collections::BTreeMap;
use std::sync::Arc;

use blockyard_model::{Capability, Effect, Manifest, Pointer, SafeRequest, SecretValue};
use serde_json::Value;
use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;

use crate::bindings::blockyard::bundle::types;
use crate::call::CallSecret;
use crate::capability::http::Http;
use crate::capability::log::Log;
use crate::capability::reveal::RevealHook;
use crate::capability::sql::Pools;
use crate::limits;
use crate::problem::Fault;
use crate::redact::Redactor;
use crate::trace;

pub(crate) struct CallState {
    pub(crate) table: ResourceTable,
    pub(crate) memory: MemoryLimiter,
    /// The bundle's name, for messages.
    pub(crate) bundle: String,
    /// What the operation may do to the outside world.
    pub(crate) effect: Effect,
    /// The block's configuration: a bundle reaches only what it names.
    pub(crate) config: Value,
    /// Which state of which block this is; pools are kept for it.
    pub(crate) block: String,
    pub(crate) secrets: BTreeMap<Pointer, CallSecret>,
    pub(crate) redactor: Arc<Redactor>,
    pub(crate) grants: Arc<std::collections::BTreeSet<Capability>>,
    pub(crate) pools: Arc<Pools>,
    pub(crate) http: Arc<Http>,
    /// What the bundle asks for; none while it describes itself.
    pub(crate) manifest: Option<Arc<Manifest>>,
    /// Requests that an operation which reads may send besides GET and HEAD.
    pub(crate) safe: Vec<SafeRequest>,
    pub(crate) reveal: RevealHook,
    pub(crate) log: Log,
    /// The panic's own message, from the SDK's hook.
    pub(crate) panic: Option<String>,
    /// Whether the host told the guest that it was held back.
    pub(crate) held_back: bool,
    /// Bytes of bodies that the guest made and the host holds.
    body_bytes: usize,
}

impl CallState {
    pub(crate) fn new(
        effect: Effect,
        config: Value,
        block: String,
        secrets: BTreeMap<Pointer, CallSecret>,
        grants: Arc<std::collections::BTreeSet<Capability>>,
        pools: Arc<Pools>,
    ) -> Self {
        let redactor = Arc::new(Redactor::new(secrets.values().map(|secret| &secret.value)));
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits::HANDLES);
        Self {
            table,
            memory: MemoryLimiter::default(),
            effect,
            config,
            block,
            secrets,
            redactor,
            grants,
            pools,
            http: Arc::default(),
            manifest: None,
            safe: Vec::new(),
            reveal: RevealHook::none(),
            log: Log::default(),
            panic: None,
            bundle: String::new(),
            held_back: false,
            body_bytes: 0,
        }
    }

    /// From now on this, too, is a secret of the call: a token, a header that has a secret in it.
    pub(crate) fn also_hide(&mut self, secret: &SecretValue) {
        if !self.redactor.knows(secret) {
            self.redactor = Arc::new(self.redactor.with(secret));
        }
    }

    /// Counts bytes that the guest lets the host hold; they are bounded like its own memory.
    pub(crate) fn hold_body_bytes(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.body_bytes = self.body_bytes.saturating_add(bytes);
        if self.body_bytes > limits::MEMORY_BYTES {
            self.memory.exceeded =
                Some(format!("its bodies have more than {} MiB of memory", limits::MEMORY_BYTES >> 20));
            return Err(wasmtime::Error::msg("the bodies of this call are larger than its memory may be"));
        }
        Ok(())
    }

    pub(crate) fn release_body_bytes(&mut self, bytes: usize) {
        self.body_bytes = self.body_bytes.saturating_sub(bytes);
    }
}

impl types::Host for CallState {
    fn convert_problem(&mut self, fault: Fault) -> wasmtime::Result<types::Problem> {
        match fault {
            Fault::Problem(problem) => {
                trace::failed(&problem.code);
                self.held_back |= problem.is_the_hosts();
                Ok(self.redactor.problem(problem).into())
            }
            Fault::Trap(error) => Err(error),
        }
    }
}

/// Counts the bytes of all linear memories of a call together, and the elements of all tables.
#[derive(Default)]
pub(crate) struct MemoryLimiter {
    bytes: usize,
    elements: usize,
    /// A limit was hit, in words: the trap that follows is reported as that.
    pub(crate) exceeded: Option<String>,
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let bytes = self.bytes.saturating_add(desired.saturating_sub(current));
        let allowed = bytes <= limits::MEMORY_BYTES;
        if allowed {
            self.bytes = bytes;
        } else {
            self.exceeded = Some(format!("it asked for more than {} MiB of memory", limits::MEMORY_BYTES >> 20));
        }
        Ok(allowed)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let elements = self.elements.saturating_add(desired.saturating_sub(current));
        let allowed = desired <= limits::TABLE_ELEMENTS && elements <= limits::ALL_TABLE_ELEMENTS;
        if allowed {
            self.elements = elements;
        } else {
            self.exceeded = Some(format!(
                "its tables have more than {} elements, or {} in one",
                limits::ALL_TABLE_ELEMENTS,
                limits::TABLE_ELEMENTS
            ));
        }
        Ok(allowed)
    }

    fn instances(&self) -> usize {
        limits::CORE_INSTANCES
    }

    fn tables(&self) -> usize {
        limits::TABLES
    }

    fn memories(&self) -> usize {
        limits::MEMORIES
    }
}
