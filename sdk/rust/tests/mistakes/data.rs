//! Mistakes in nested data.

use blockyard_sdk::prelude::*;

/// Unknown argument of the macro, and a secret without a use.
#[data(closed)]
struct Labels {
    /// Key.
    key: Secret<String>,
    /// Plain text with an interface.
    #[block(interface = "secret-store")]
    text: String,
}

/// An enum that accepts unknown fields.
#[data(open)]
enum Choice {
    One {
        /// Plain text with the headers of a secret.
        #[block(header = "x-api-key")]
        text: String,
    },
}

/// A union.
#[data]
union Number {
    /// Integer.
    integer: u32,
    /// Bits.
    bits: [u8; 4],
}

fn main() {}
