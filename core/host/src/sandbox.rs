//! The two engines that all bundles of a process run in: one for calls, one for questions whose
//! answers must be the same everywhere ([`crate::pure`]).

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Semaphore;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::cache::CompiledCode;
use crate::capability::http::Http;
use crate::capability::sql::Pools;
use crate::ticker::Ticker;
use crate::{HostError, limits};

/// How a sandbox is set up. The caller reads the environment; this crate does not.
#[derive(Debug, Clone, Default)]
pub struct SandboxConfig {
    /// Where compiled code is kept between processes; none keeps it in memory only. The folder is
    /// made with mode 0700, and is safe to delete at any time.
    pub cache: Option<PathBuf>,
    /// Files that no bundle reaches, whatever a block's configuration names: the yard's own.
    pub protected: Vec<PathBuf>,
}

/// Runs bundles. One per process is enough; cloning shares it.
#[derive(Clone)]
pub struct Sandbox {
    /// For calls.
    pub(crate) engine: Engine,
    /// For `describe`, `validate` and `migrate`.
    pub(crate) pure_engine: Engine,
    pub(crate) ticker: Arc<Ticker>,
    pub(crate) cache: Option<Arc<CompiledCode>>,
    pub(crate) pools: Arc<Pools>,
    pub(crate) http: Arc<Http>,
    pub(crate) turns: Arc<Semaphore>,
    pub(crate) pure_turns: Arc<Semaphore>,
    pub(crate) compiling: Arc<Semaphore>,
}

impl Sandbox {
    /// Sets up the engines and starts the thread that gives running guests their ticks; the thread
    /// ends with the last clone.
    ///
    /// # Errors
    /// [`HostError::Engine`] where the machine does not let it.
    pub fn new(config: &SandboxConfig) -> Result<Self, HostError> {
        // Pooled memory makes instances in microseconds, and needs address space; where there is
        // too little of it, instances are allocated one by one.
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
            pools: Arc::new(Pools::new(config.protected.clone())),
            http: Arc::default(),
            turns: Arc::new(Semaphore::new(limits::CONCURRENT_CALLS)),
            pure_turns: Arc::new(Semaphore::new(limits::CONCURRENT_CALLS)),
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
        // There is room for all that every call may have: no bundle can take another one's. It is address
        // space (8 TiB), not memory.
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
        reserve_little(&mut config);
    }
    Engine::new(&config)
}

/// The engine whose answers depend on nothing but the question.
fn pure_engine() -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config.wasm_component_model(true);
    config.max_wasm_stack(limits::STACK_BYTES);
    // Steps are counted, and not time: a slow machine gives the answer that a fast one gives.
    config.consume_fuel(true);
    config.cranelift_nan_canonicalization(true);
    config.relaxed_simd_deterministic(true);
    // A question takes microseconds; what is felt is compiling.
    config.cranelift_opt_level(OptLevel::None);
    reserve_little(&mut config);
    Engine::new(&config)
}

/// A memory reserves what it may have and not 4 GiB. Bounds are then checked in code, which is slower.
fn reserve_little(config: &mut Config) {
    config.memory_reservation(limits::MEMORY_BYTES as u64);
    config.memory_guard_size(64 << 10);
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sandbox")
    }
}
