//! Bindings for targets other than WebAssembly: the items that `wit-bindgen` generates for a
//! component, implemented by the fake host of the current thread (module `fake`).
//!
//! `tests/bindings.rs` checks that both have the same signatures.

pub mod block_types;
pub mod clock;
pub mod crypto;
mod effect;
pub mod http;
pub mod log;
pub mod random;
pub mod secrets;
mod sent;
pub mod sql;
#[cfg(feature = "fake-sql")]
mod sqlite;
mod state;
pub mod streams;
pub mod types;
mod url;
mod value;

pub(crate) use effect::Effect;
pub(crate) use sent::Answer;
pub use sent::{Credential, Grant, GrantKind, SentRequest};
#[cfg(feature = "fake-sql")]
pub(crate) use sql::create_database;
pub(crate) use state::{State, enter};
pub use streams::Table;
pub(crate) use url::Url;

/// The packages that a component imports.
pub mod blockyard {
    /// The interfaces of the package.
    pub mod bundle {
        pub use super::super::secrets::reveal;
        pub use super::super::{clock, crypto, http, log, random, secrets, sql, streams, types};
    }
}

/// The interfaces that a component exports.
pub mod exports {
    /// The namespace of the package.
    pub mod blockyard {
        /// The interfaces of the package.
        pub mod bundle {
            pub use super::super::super::block_types;
        }
    }
}
