//! The two WebAssembly engines of a process: one for calls, one for pure calls, which must give the
//! same result on every machine ([`crate::pure`]).

use std::path::PathBuf;
use std::sync::Arc;

use blockyard_call::limits;
use blockyard_http::HttpClients;
use blockyard_sql::Pools;
use tokio::sync::Semaphore;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::cache::CompiledCode;
use crate::error::HostError;
use crate::ticker::Ticker;

/// Configuration of a [`Sandbox`]. This crate does not read the environment.
#[derive(Debug, Clone, Default)]
pub struct SandboxConfig {
    /// Folder for the cache of compiled code. It is created with mode 0700 and can be deleted at
    /// any time. `None` disables the on-disk cache.
    pub cache: Option<PathBuf>,
    /// Files that no bundle can access, even if a block's configuration names them: the yard's
    /// files.
    pub protected: Vec<PathBuf>,
    /// Bundles reach no server and no file, whatever is granted: each attempt is a problem. For tests of bundles.
    pub isolated: bool,
}

/// Runs bundles. A process needs only one; clones share it.
#[derive(Clone)]
pub struct Sandbox {
    /// Engine for calls.
    pub(crate) engine: Engine,
    /// Engine for `describe`, `validate` and `migrate`.
    pub(crate) pure_engine: Engine,
    pub(crate) ticker: Arc<Ticker>,
    pub(crate) cache: Option<Arc<CompiledCode>>,
    pub(crate) pools: Arc<Pools>,
    pub(crate) http: Arc<HttpClients>,
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) pure_permits: Arc<Semaphore>,
    pub(crate) compiling: Arc<Semaphore>,
}

impl Sandbox {
    /// Creates the engines and starts the ticker thread, which stops when the last clone is
    /// dropped.
    ///
    /// # Errors
    /// Returns [`HostError::Engine`] if the machine does not support the engine, the thread cannot
    /// be started, or the cache folder belongs to another user.
    pub fn new(config: &SandboxConfig) -> Result<Self, HostError> {
        // The pooling allocator instantiates within microseconds, but reserves much address space.
        // If there is not enough, instances are allocated on demand.
        let engine = calling_engine(true).or_else(|_| calling_engine(false)).map_err(HostError::Engine)?;
        let pure_engine = pure_engine().map_err(HostError::Engine)?;
        let ticker = Ticker::start(&engine).map_err(|error| HostError::Engine(error.into()))?;
        let cache = match &config.cache {
            Some(folder) => CompiledCode::open(folder).map_err(|error| HostError::Engine(error.into()))?,
            None => None,
        };
        Ok(Self {
            engine,
            pure_engine,
            ticker: Arc::new(ticker),
            cache: cache.map(Arc::new),
            pools: Arc::new(if config.isolated { Pools::isolated() } else { Pools::new(config.protected.clone()) }),
            http: Arc::new(if config.isolated { HttpClients::isolated() } else { HttpClients::default() }),
            permits: Arc::new(Semaphore::new(limits::CONCURRENT_CALLS)),
            pure_permits: Arc::new(Semaphore::new(limits::CONCURRENT_CALLS)),
            compiling: Arc::new(Semaphore::new(limits::CONCURRENT_COMPILATIONS)),
        })
    }
}

fn calling_engine(pooling: bool) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config.wasm_component_model(true);
    config.epoch_interruption(true);
    config.max_wasm_stack(limits::STACK_BYTES);
    if pooling {
        let calls = u32::try_from(limits::CONCURRENT_CALLS).unwrap_or(u32::MAX);
        let mut pool = PoolingAllocationConfig::default();
        let count = |limit: usize| u32::try_from(limit).unwrap_or(u32::MAX);
        // The pool has room for the maximum of every concurrent call, so that no bundle can exhaust
        // it for others. This reserves address space (8 TiB), not memory.
        pool.total_component_instances(calls)
            .total_core_instances(count(limits::CORE_INSTANCES) * calls)
            .total_memories(count(limits::MEMORIES) * calls)
            .total_tables(count(limits::TABLES) * calls)
            .total_stacks(2 * calls)
            .max_memory_size(limits::MEMORY_BYTES)
            .table_elements(limits::TABLE_ELEMENTS)
            .max_core_instances_per_component(count(limits::CORE_INSTANCES))
            .max_tables_per_component(count(limits::TABLES))
            .max_tables_per_module(count(limits::TABLES))
            .max_memories_per_component(count(limits::MEMORIES))
            .max_memories_per_module(count(limits::MEMORIES));
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    } else {
        limit_reservations(&mut config);
    }
    Engine::new(&config)
}

/// Creates the deterministic engine: its results depend only on the component and the arguments.
fn pure_engine() -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config.wasm_component_model(true);
    config.max_wasm_stack(limits::STACK_BYTES);
    // Fuel instead of time, so that slow and fast machines give the same result.
    config.consume_fuel(true);
    config.cranelift_nan_canonicalization(true);
    config.relaxed_simd_deterministic(true);
    // A pure call takes microseconds, so compile time dominates.
    config.cranelift_opt_level(OptLevel::None);
    limit_reservations(&mut config);
    Engine::new(&config)
}

/// Reserves only [`limits::MEMORY_BYTES`] of address space per linear memory, not 4 GiB. Compiled
/// code must then check bounds explicitly, which is slower.
fn limit_reservations(config: &mut Config) {
    config.memory_reservation(limits::MEMORY_BYTES as u64);
    config.memory_guard_size(64 << 10);
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sandbox")
    }
}
