//! Mistakes in block types and their fields.

use blockyard_sdk::prelude::*;

#[derive(Block)]
#[block(type = "Acme_", interface("database"))]
struct Unfinished {
    /// Secret without a use.
    token: Secret<String>,
    /// Plain text with the use of a secret.
    #[block(audience = "https://api.example.com")]
    host: String,
    /// Plain text with an interface.
    #[block(interface = "secret-store")]
    user: String,
    /// Unknown attribute.
    #[block(audiences = "sql")]
    password: Secret<String>,
}

/// Database fields without the database, and with a field instead of its pointer.
#[derive(Block)]
#[block(type = "acme", version = 1, sql(host = "/host"))]
#[block(sql(database = "database"))]
#[block(sql(table = "/table"))]
struct Database {
    /// Host name.
    host: String,
}

/// The name of an interface instead of its trait, and an idempotency key in the configuration.
#[derive(Block)]
#[block(type = "acme", version = 1, interfaces("secret-store"))]
struct Named {
    /// Key.
    #[block(idempotency_key)]
    key: String,
}

/// Fields without names.
#[derive(Block)]
#[block(type = "acme", version = 1)]
struct Unnamed(String);

#[derive(Block)]
enum Choice {
    One,
}

/// A secret URL without an origin.
#[derive(Block)]
#[block(type = "acme", version = 1)]
struct Hook {
    /// URL.
    #[block(audience = "sql", url)]
    url: Secret<String>,
}

fn main() {}
