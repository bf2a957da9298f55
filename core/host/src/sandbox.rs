//! The engine that all bundles of a process run in.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Semaphore;
use wasmtime::{Cache, CacheConfig, Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::capability::http::Http;
use crate::capability::sql::Pools;
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
    pub(crate) engine: Engine,
    pub(crate) pools: Arc<Pools>,
    pub(crate) http: Arc<Http>,
    pub(crate) turns: Arc<Semaphore>,
}

impl Sandbox {
    /// Sets up the engine and starts the thread that gives running guests their ticks; the thread
    /// ends with the last clone.
    ///
    /// # Errors
    /// [`HostError::Engine`] where the machine does not let it.
    pub fn new(config: &SandboxConfig) -> Result<Self, HostError> {
        // Pooled memory makes instances in microseconds, and needs address space; where there is
        // too little of it, instances are allocated one by one.
        let engine = engine(config, true).or_else(|_| engine(config, false)).map_err(HostError::Engine)?;
        start_ticking(&engine);
        Ok(Self {
            engine,
            pools: Arc::new(Pools::new(config.protected.clone())),
            http: Arc::default(),
            turns: Arc::new(Semaphore::new(limits::CONCURRENT_CALLS)),
        })
    }
}

fn engine(sandbox: &SandboxConfig, pooling: bool) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config.wasm_component_model(true);
    config.epoch_interruption(true);
    config.max_wasm_stack(limits::STACK_BYTES);
    if let Some(folder) = &sandbox.cache {
        make_private_folder(folder)?;
        let mut cache = CacheConfig::new();
        cache.with_directory(folder);
        config.cache(Some(Cache::new(cache)?));
    }
    if pooling {
        let calls = u32::try_from(limits::CONCURRENT_CALLS).unwrap_or(u32::MAX);
        let mut pool = PoolingAllocationConfig::default();
        // Twice the calls: `describe` and `validate` run beside them.
        pool.total_component_instances(2 * calls)
            .total_core_instances(8 * calls)
            .total_memories(4 * calls)
            .total_tables(8 * calls)
            .total_stacks(4 * calls)
            .max_memory_size(limits::MEMORY_BYTES)
            .table_elements(limits::TABLE_ELEMENTS)
            .max_core_instances_per_component(u32::try_from(limits::CORE_INSTANCES).unwrap_or(u32::MAX))
            .max_tables_per_component(u32::try_from(limits::TABLES).unwrap_or(u32::MAX))
            .max_memories_per_component(u32::try_from(limits::MEMORIES).unwrap_or(u32::MAX));
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    } else {
        // Where address space is short, a memory reserves what it may have and not 4 GiB. Bounds are
        // then checked in code, which is slower.
        config.memory_reservation(limits::MEMORY_BYTES as u64);
        config.memory_guard_size(64 << 10);
    }
    Engine::new(&config)
}

fn make_private_folder(folder: &std::path::Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
        builder.mode(0o700).create(folder)?;
        let metadata = std::fs::symlink_metadata(folder)?;
        let own =
            metadata.is_dir() && metadata.uid() == std::fs::metadata("/proc/self").map_or(metadata.uid(), |m| m.uid());
        if !own {
            return Err(std::io::Error::other(format!("{} belongs to somebody else", folder.display())));
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
        }
    }
    #[cfg(not(unix))]
    builder.create(folder)?;
    Ok(())
}

/// Advances the engine's epoch. The thread holds no more than a weak handle.
fn start_ticking(engine: &Engine) {
    let weak = engine.weak();
    std::thread::Builder::new()
        .name("blockyard-ticks".to_owned())
        .spawn(move || {
            while let Some(engine) = weak.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(limits::TICK);
            }
        })
        .expect("a process can start one thread");
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sandbox")
    }
}
