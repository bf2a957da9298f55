//! Mistakes in the operations of standard interfaces.

use blockyard_sdk::prelude::*;

/// A store.
#[derive(Block)]
#[block(type = "store", version = 1, interfaces(interface::ObjectStorage))]
struct Store {}

#[operations]
impl interface::ObjectStorage for Store {
    /// Has another effect than the interface.
    #[operation(write)]
    fn stat(
        &self,
        /// Path.
        path: String,
    ) -> Result<Value> {
        Ok(path.into())
    }

    /// Requires an argument that the interface does not have, and reads no input.
    fn put(
        &self,
        /// Path.
        path: String,
        /// Owner.
        owner: String,
    ) -> Result<Value> {
        Ok(format!("{path}{owner}").into())
    }

    /// Does not belong to the interface.
    fn rename(&self) -> Result<()> {
        Ok(())
    }

    const SIZE: u32 = 1;
}

#[operations]
impl Clone for Store {
    fn clone(&self) -> Self {
        Store {}
    }
}

fn main() {}
