//! A host for tests: block types run natively, with `cargo test`, without the WebAssembly target
//! and without Blockyard. Not available for WebAssembly.
//!
//! ```
//! # use blockyard_sdk::prelude::*;
//! # use blockyard_sdk::{fake, http};
//! # /// Access to an API.
//! # #[derive(Block)]
//! # #[block(type = "acme", version = 1, title = "ACME")]
//! # struct Acme {
//! #     /// Base URL.
//! #     base_url: String,
//! #     /// Token.
//! #     #[block(audience = "{config.base_url}")]
//! #     token: Secret<String>,
//! # }
//! # #[operations]
//! # impl Acme {
//! #     /// Returns an item.
//! #     #[operation(read)]
//! #     fn get(
//! #         &self,
//! #         /// ID of the item.
//! #         id: u32,
//! #     ) -> Result<Value> {
//! #         http::get(format!("{}/items/{id}", self.base_url)).bearer(&self.token).send()?.ok()?.json()
//! #     }
//! # }
//! let host = fake::Host::new()
//!     .secret("/token", "t0ken")
//!     .http(fake::get("https://api.example.com/items/7").bearer("/token").replies(json!({ "name": "lion" })));
//! let acme = host.block::<Acme>(json!({ "base_url": "https://api.example.com" }));
//! let reply = acme.call("get", json!({ "id": 7 })).expect("an item");
//! assert_eq!(reply.result()["name"], "lion");
//! ```
//!
//! A call takes the same path as in WebAssembly: the configuration and the arguments are
//! deserialized from JSON, and the effect of the operation is enforced. The functions of the SDK
//! are answered by the [`Host`]:
//!
//! - [`http`](crate::http): requests are compared with those that the test expects. Each
//!   [`Exchange`] is one of them, with its responses. Secrets are compared by their JSON Pointers.
//! - [`sql`](crate::sql): SQLite databases in memory, with the feature `fake-sql`.
//! - [`crypto`](crate::crypto): signatures with the values of the secrets, with the feature
//!   `fake-crypto`.
//! - [`clock`](crate::clock): time passes only by sleeping. [`random`](crate::random): the same
//!   bytes in each run. [`log`](crate::log): captured.
//!
//! The features belong under `[dev-dependencies]`. What only the real host does is not tested:
//! grants and requested capabilities, audiences of secrets, TLS, limits of time and memory, the schema
//! of the configuration.

mod block;
#[cfg(feature = "fake-sql")]
mod database;
mod exchange;
mod host;
mod reply;
mod response;
mod script;

pub use block::{BlockUnderTest, reference};
pub use exchange::{Exchange, delete, get, head, post, put, request};
pub use host::Host;
pub use reply::Reply;
pub use response::{Response, failure, json, status, timeout, unreachable};

pub use crate::bindings::blockyard::bundle::log::Level;
pub use crate::bindings::{Credential, Grant, GrantKind, SentRequest, Table};

/// Compiles and runs the examples of the book. A package does not contain the book.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/testing-a-bundle.md")]
struct TestingABundle;
