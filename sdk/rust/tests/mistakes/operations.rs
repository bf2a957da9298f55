//! Mistakes in operations.

use blockyard_sdk::prelude::*;

/// A greeter.
#[derive(Block)]
#[block(type = "greeter", version = 1)]
struct Greeter {}

#[operations]
impl Greeter {
    #[operation(read)]
    fn undocumented(&self, name: String) -> Result<String> {
        Ok(name)
    }

    /// Requires exclusive access.
    #[operation(write)]
    fn exclusive(&mut self) -> Result<()> {
        Ok(())
    }

    /// Has no receiver and no result.
    #[operation(write)]
    fn detached() {}

    /// Has no effect.
    #[operation]
    fn without_effect(&self) -> Result<()> {
        Ok(())
    }

    /// Has an unknown effect.
    #[operation(delete)]
    fn with_unknown_effect(&self) -> Result<()> {
        Ok(())
    }

    /// Declares safe requests although it writes.
    #[operation(write, safe("POST https://api.example.com/v1/search"))]
    fn search(&self) -> Result<()> {
        Ok(())
    }

    /// Has an argument without a name.
    #[operation(read)]
    fn unnamed(
        &self,
        /// Pair.
        (first, second): (String, String),
    ) -> Result<String> {
        Ok(first + &second)
    }

    /// Declares a `read` as repeatable.
    #[operation(read, repeatable)]
    fn find(&self) -> Result<()> {
        Ok(())
    }

    /// Has mistakes in the attributes of its arguments.
    #[operation(write)]
    fn insert(
        &self,
        /// Description of an argument that has none.
        #[serde(default)]
        #[flatten]
        row: Value,
        /// Text in an unknown language.
        #[block(language = "sqk")]
        statement: String,
        /// Number in a language, as a key.
        #[block(language = "sql", idempotency_key)]
        number: u64,
    ) -> Result<()> {
        let _ = (row, statement, number);
        Ok(())
    }
}

#[operations(part)]
impl Greeter {
    /// Belongs to the main block.
    #[check]
    fn check(&self) -> Vec<Step> {
        Vec::new()
    }
}

#[operations(modules(queries))]
impl Greeter {}

fn main() {}
