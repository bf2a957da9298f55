//! SDK for Blockyard bundles: collections of block types for one service.
//!
//! A block type is a struct, and its operations are methods. The schemas, the descriptions, the
//! manifest and the exports of the component are generated from them.
//!
//! ```ignore
//! use blockyard_sdk::prelude::*;
//!
//! /// A list of greetings.
//! #[derive(Block)]
//! #[block(type = "greeter", version = 1, title = "Greeter")]
//! struct Greeter {
//!     /// First word of each greeting, e.g. `Hello`.
//!     greeting: String,
//! }
//!
//! #[operations]
//! impl Greeter {
//!     /// Returns a greeting.
//!     #[operation(read)]
//!     fn greet(
//!         &self,
//!         /// Name of the person to greet.
//!         name: String,
//!     ) -> Result<String> {
//!         Ok(format!("{}, {name}!", self.greeting))
//!     }
//! }
//!
//! bundle! {
//!     name: "greeter",
//!     description: "Greetings",
//!     types: [Greeter],
//!     capabilities: [],
//! }
//! ```
//!
//! `blockyard build` compiles the bundle into a single component file.
//!
//! A bundle accesses the outside world only through the modules of this crate ([`http`], [`sql`],
//! [`crypto`], [`clock`], [`log`], [`random`]). Each is a capability that the manifest must
//! request. The files, sockets, threads and clocks of the standard library are not available:
//! `SystemTime::now` panics.

// The macros expand to paths that begin with `::blockyard_sdk`, in this crate, too.
#[allow(unused_extern_crates, reason = "used by expanded macros only")]
extern crate self as blockyard_sdk;

#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod bindings;
mod block;
pub mod calendar;
pub mod clock;
pub mod crypto;
mod export;
#[cfg(not(target_family = "wasm"))]
pub mod fake;
pub mod http;
pub mod log;
pub mod migration;
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
pub mod native;
mod problem;
pub mod random;
mod reference;
pub mod retry;
mod secret;
pub mod sql;

pub use block::{
    Block, InParts, OperationDescription, OperationResult, Operations, Parts, Reply, Step, StepStatus, Streamed,
    Violation, arguments,
};
pub use blockyard_sdk_macros::{Block, data, operations};
pub use export::{Bundle, BundleDescription, BundleExports, BundleParts, TypeEntry};
pub use migration::Supplied;
pub use problem::{Problem, Result};
pub use reference::{BlockRef, Referable};
pub use secret::Secret;
#[doc(hidden)]
pub use {reference::Interface, secret::SecretUse};

pub use bindings::blockyard::bundle::streams::Body;
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
pub use native as bindings;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub use wit_bindgen;
pub use {schemars, serde, serde_json};

/// Common imports of a bundle's source code.
pub mod prelude {
    pub use crate::{
        Block, BlockRef, Body, InParts, Parts, Problem, Reply, Result, Secret, Step, Streamed, Supplied, Violation,
        bundle, data, operations,
    };
    pub use serde_json::{Map, Value, json};
}

#[cfg(test)]
mod tests {
    use crate::data;

    /// Test data with a nested type.
    #[data]
    #[allow(dead_code, reason = "only its schema is used")]
    struct Place {
        /// House.
        house: String,
        /// Nested value.
        inner: Option<Inner>,
    }

    /// Nested test data.
    #[data]
    #[serde(tag = "kind")]
    #[allow(dead_code, reason = "only its schema is used")]
    enum Inner {
        /// Variant with a field.
        One { a: u8 },
        /// Variant without fields.
        Two,
    }

    /// Test data that accepts unknown fields.
    #[data(open)]
    #[allow(dead_code, reason = "only its schema is used")]
    struct Labels {
        /// Declared field.
        name: String,
    }

    #[test]
    fn schema_rejects_unknown_fields_unless_open() {
        let closed = crate::schemars::schema_for!(Place);
        assert_eq!(closed.get("additionalProperties"), Some(&false.into()));
        let definitions = closed.get("$defs").expect("the inner type");
        for variant in definitions["Inner"]["oneOf"].as_array().expect("variants") {
            assert_eq!(variant["additionalProperties"], false, "{variant}");
        }
        let open = crate::schemars::schema_for!(Labels);
        assert_eq!(open.get("additionalProperties"), Some(&true.into()));
    }
}
