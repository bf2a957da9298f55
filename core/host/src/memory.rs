//! The limits on a guest's memories and tables.

use blockyard_call::limits;
use wasmtime::ResourceLimiter;

/// Limits the total size of all linear memories of a call, and the number of elements of its
/// tables.
#[derive(Default)]
pub(crate) struct MemoryLimiter {
    bytes: usize,
    elements: usize,
    /// Message of the exceeded limit. The trap that follows is reported with this message.
    pub(crate) exceeded: Option<String>,
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let bytes = self.bytes.saturating_add(desired.saturating_sub(current));
        let allowed = bytes <= limits::MEMORY_BYTES;
        if allowed {
            self.bytes = bytes;
        } else {
            self.exceeded = Some(format!("it requested more than {} MiB of memory", limits::MEMORY_BYTES >> 20));
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
                "its tables have more than {} elements in total or {} in one table",
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
