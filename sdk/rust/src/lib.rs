//! SDK for Blockyard bundles: collections of block types for one service.
//!
//! A block type is a struct, and its operations are methods. The schemas, the descriptions, the
//! manifest and the exports of the component are generated from them.
//!
//! ```
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
mod call;
pub mod clock;
pub mod crypto;
mod export;
#[cfg(not(target_family = "wasm"))]
pub mod fake;
pub mod http;
pub mod interface;
pub mod log;
pub mod migration;
#[doc(hidden)]
pub mod names;
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
pub mod native;
mod operations;
mod problem;
pub mod random;
mod reference;
pub mod retry;
mod secret;
pub mod sql;

pub use block::{
    Block, InParts, OperationDescription, OperationResult, Operations, Parts, Reply, Step, StepStatus, Streamed,
    Violation,
};
/// # Example
///
/// ```
/// use blockyard_sdk::prelude::*;
///
/// /// ACME API.
/// #[derive(Block)]
/// #[block(type = "acme-api", version = 1, title = "ACME API")]
/// struct Api {
///     /// Base URL, e.g. `https://api.acme.example`.
///     base_url: String,
///     /// Access token.
///     #[block(audience = "{config.base_url}")]
///     token: Secret<String>,
/// }
///
/// assert_eq!(Api::TYPE, "acme-api");
/// assert_eq!(Api::schema()["required"], json!(["base_url", "token"]));
/// ```
pub use blockyard_sdk_macros::Block;
/// # Example
///
/// ```
/// use blockyard_sdk::prelude::*;
///
/// /// Address of a building.
/// #[data]
/// struct Place {
///     /// Street.
///     street: String,
///     /// Floor, counted from 0.
///     floor: Option<u8>,
/// }
///
/// let place: Place = serde_json::from_value(json!({ "street": "Main Street" }))?;
/// assert_eq!(place.floor, None);
/// # use blockyard_sdk::serde_json;
/// # Ok::<(), serde_json::Error>(())
/// ```
pub use blockyard_sdk_macros::data;
/// # Example
///
/// ```
/// use blockyard_sdk::prelude::*;
/// use blockyard_sdk::{Operations, clock, http};
///
/// /// Store of documents.
/// #[derive(Block)]
/// #[block(type = "acme-store", version = 1)]
/// struct Store {
///     /// Base URL, e.g. `https://store.acme.example`.
///     base_url: String,
/// }
///
/// /// Page of a list.
/// #[data]
/// struct Page {
///     /// Maximum number of documents.
///     size: Option<u32>,
///     /// Token of the page.
///     token: Option<String>,
/// }
///
/// #[operations(parts(administration))]
/// impl Store {
///     /// Lists documents.
///     #[operation(read)]
///     fn list(
///         &self,
///         /// Prefix of the names, e.g. `2024/`.
///         prefix: String,
///         #[flatten] page: Page,
///     ) -> Result<Value> {
///         let size = page.size.unwrap_or(100).to_string();
///         let query = [("prefix", prefix.as_str()), ("size", &size)];
///         http::get(format!("{}/list", self.base_url)).query(query).send()?.ok()?.json()
///     }
///
///     /// Stores a document. It replaces a document with the same name.
///     #[operation(write, repeatable)]
///     fn put(
///         &self,
///         /// Name of the document.
///         name: String,
///         input: Body,
///     ) -> Result<()> {
///         let url = format!("{}/documents/{}", self.base_url, http::percent_encode(&name));
///         http::request("PUT", url).body(input).send()?.ok().map(drop)
///     }
///
///     /// Checks that the store responds.
///     #[check]
///     fn check(&self) -> Vec<Step> {
///         let started = clock::now();
///         let status = match http::get(self.base_url.as_str()).send() {
///             Ok(_) => blockyard_sdk::StepStatus::Passed,
///             Err(_) => blockyard_sdk::StepStatus::Failed,
///         };
///         vec![Step::new("connect", status, None, started)]
///     }
/// }
///
/// // In a file of its own.
/// mod administration {
///     use super::*;
///
///     #[operations(part)]
///     impl Store {
///         /// Deletes all documents.
///         #[operation(destructive)]
///         fn clear(&self) -> Result<()> {
///             http::delete(format!("{}/documents", self.base_url)).send()?.ok().map(drop)
///         }
///     }
/// }
///
/// fn main() {
///     assert_eq!(Store::operations().len(), 3);
/// }
/// ```
pub use blockyard_sdk_macros::operations;
#[doc(hidden)]
pub use call::{Call, arguments};
pub use export::{Bundle, BundleDescription, BundleExports, BundleParts, TypeEntry};
pub use migration::Supplied;
#[doc(hidden)]
pub use operations::{Fields, Includes, OperationsBlock, is_streamed, require_included};
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
        bundle, data, interface, operations,
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
