//! Mistakes that the compiler finds by the types: forgotten blocks, names that are used twice, and
//! operations that differ from their interface.

use blockyard_sdk::prelude::*;

/// A store.
#[derive(Block)]
#[block(type = "store", version = 1, interfaces(interface::SecretStore, interface::Notification))]
struct Store {}

#[operations(parts(listed))]
impl Store {
    /// Has the name of an operation of the interface.
    #[operation(read)]
    fn notify(&self) -> Result<()> {
        Ok(())
    }

    /// Has two arguments with one name.
    #[operation(read)]
    fn list(
        &self,
        #[flatten] page: Page,
        /// Maximum number of objects.
        size: u32,
    ) -> Result<u32> {
        Ok(page.size + size)
    }

    /// Has an argument without fields.
    #[operation(read)]
    fn count(&self, #[flatten] page: String) -> Result<String> {
        Ok(page)
    }
}

/// A page.
#[data]
struct Page {
    /// Maximum number of objects.
    size: u32,
}

mod listed {
    use super::*;

    #[operations(part)]
    impl Store {
        /// Returns the number of objects.
        #[operation(read)]
        fn size(&self) -> Result<u32> {
            Ok(0)
        }
    }
}

mod forgotten {
    use super::*;

    #[operations(part)]
    impl Store {
        /// Clears the store.
        #[operation(destructive)]
        fn clear(&self) -> Result<()> {
            Ok(())
        }
    }
}

#[operations]
impl interface::Notification for Store {
    /// Has no argument `subject`.
    fn notify(
        &self,
        /// Text.
        body: String,
    ) -> Result<Streamed<()>> {
        Err(Problem::invalid(body))
    }
}

#[operations]
impl interface::Credentials for Store {
    fn describe(&self) -> Result<Value> {
        Ok(Value::Null)
    }
}

fn main() {}
