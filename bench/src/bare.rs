//! Baseline that calls the same components with wasmtime alone, configured as in Blockyard's host:
//! the cost of the sandbox itself, without names, grants, secrets and the audit trail.

#![allow(missing_docs, unreachable_pub, reason = "generated from schemas/wit/v0_1")]

use std::path::Path;

use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

use crate::Outcome;
use exports::blockyard::bundle::block_types::Block;

/// Placeholder for all resource types, because the measured operations use none.
pub type Nothing = ();

wasmtime::component::bindgen!({
    path: "../schemas/wit/v0_1",
    world: "bundle",
    exports: { default: async },
    with: {
        "blockyard:bundle/streams.body": crate::bare::Nothing,
        "blockyard:bundle/secrets.secret": crate::bare::Nothing,
        "blockyard:bundle/sql.connection": crate::bare::Nothing,
        "blockyard:bundle/sql.transaction": crate::bare::Nothing,
        "blockyard:bundle/sql.rows": crate::bare::Nothing,
    },
});

/// A component that is ready to be called.
pub(crate) struct Bare {
    engine: Engine,
    pre: BundlePre<()>,
}

/// Creates an engine with the configuration of `core/host/src/sandbox.rs` and the limits of
/// `limits.rs`.
pub(crate) fn engine() -> Outcome<Engine> {
    let mut config = Config::new();
    config.wasm_component_model(true).epoch_interruption(true).max_wasm_stack(512 << 10);
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(64)
        .total_core_instances(64 * 256)
        .total_memories(64 * 32)
        .total_tables(64 * 64)
        .total_stacks(128)
        .max_memory_size(256 << 20)
        .table_elements(100_000)
        .max_core_instances_per_component(256)
        .max_tables_per_component(64)
        .max_tables_per_module(64)
        .max_memories_per_component(32)
        .max_memories_per_module(32);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Ok(Engine::new(&config)?)
}

impl Bare {
    pub(crate) fn new(engine: Engine, component: &Component) -> Outcome<Self> {
        let mut linker = Linker::new(&engine);
        linker.define_unknown_imports_as_traps(component)?;
        Ok(Self { pre: BundlePre::new(linker.instantiate_pre(component)?)?, engine })
    }

    /// Calls the operation `nothing` in a new store.
    pub(crate) async fn call(&self, config: &str) -> Outcome {
        let mut store = Store::new(&self.engine, ());
        store.set_epoch_deadline(1 << 40);
        let exports = self.pre.instantiate_async(&mut store).await?;
        let block = Block { type_: "bench".to_owned(), name: "b".to_owned(), revision: 1, config: config.to_owned() };
        let types = exports.blockyard_bundle_block_types();
        let reply = types.call_invoke(&mut store, &block, "nothing", &"{}".to_owned(), None).await?;
        let reply = reply.map_err(|problem| problem.message)?;
        if reply.result == "null" { Ok(()) } else { Err("unexpected result of the operation `nothing`".into()) }
    }
}

/// Loads a component from a cache of compiled code, which is filled if the component is missing.
pub(crate) fn cached(engine: &Engine, cache: &Path, wasm: &Path) -> Outcome<Component> {
    let compiled = cache.join(wasm.with_extension("cwasm").file_name().ok_or("the component has no name")?);
    if !compiled.exists() {
        std::fs::create_dir_all(cache)?;
        precompile(wasm, &compiled)?;
    }
    // From memory and not from the file, as the host does, which authenticates the bytes first.
    #[allow(unsafe_code, reason = "the file is what `precompile` made for this benchmark")]
    let component = unsafe { Component::deserialize(engine, std::fs::read(compiled)?) }?;
    Ok(component)
}

/// Compiles a component for [`call_once`] and [`cached`].
pub(crate) fn precompile(wasm: &Path, compiled: &Path) -> Outcome {
    let code = engine()?.precompile_component(&std::fs::read(wasm)?)?;
    Ok(std::fs::write(compiled, code)?)
}

/// Loads a precompiled component and calls it once, to be measured as a process.
pub(crate) async fn call_once(compiled: &Path) -> Outcome {
    let engine = engine()?;
    #[allow(unsafe_code, reason = "the file is what `precompile` made in the same run")]
    let component = unsafe { Component::deserialize_file(&engine, compiled) }?;
    Bare::new(engine, &component)?.call(r#"{"note": "none"}"#).await
}
