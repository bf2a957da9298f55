//! Validation of a configuration beyond its schema.

use blockyard_sdk::prelude::*;

use crate::Dialect;
use crate::database::SqlDatabase;

/// TLS modes, named as in the clients of PostgreSQL.
const SSL_MODES: [&str; 5] = ["disable", "prefer", "require", "verify-ca", "verify-full"];

/// Returns the fields that are missing, invalid or not supported for the dialect.
pub(crate) fn violations(database: &SqlDatabase) -> Vec<Violation> {
    let mut violations = Vec::new();
    match database.dialect {
        Dialect::Sqlite => {
            let given = [
                ("host", database.host.is_some()),
                ("port", database.port.is_some()),
                ("username", database.username.is_some()),
                ("password", database.password.is_some()),
                ("ca", database.ca.is_some()),
            ];
            for (field, _) in given.iter().filter(|(_, given)| *given) {
                violations.push(Violation::new(format!("/{field}"), "is not supported for SQLite"));
            }
            if database.database != ":memory:" && !is_absolute(&database.database) {
                violations.push(Violation::new(
                    "/database",
                    "must be an absolute path, or `:memory:`, so that it does not depend on the current directory",
                ));
            }
        }
        Dialect::Postgres | Dialect::Mysql => {
            let (product, known, they_are): (_, &[&str], _) = match database.dialect {
                Dialect::Mysql => ("MySQL", &["sslmode"], "the only option is `sslmode`"),
                _ => {
                    ("PostgreSQL", &["sslmode", "application_name"], "the options are `sslmode` and `application_name`")
                }
            };
            for (name, value) in &database.options {
                let pointer = format!("/options/{}", name.replace('~', "~0").replace('/', "~1"));
                if !known.contains(&name.as_str()) {
                    violations.push(Violation::new(pointer, format!("is not a known option; {they_are}")));
                } else if name == "sslmode" && !SSL_MODES.contains(&value.as_str()) {
                    let modes = SSL_MODES.join("`, `");
                    violations.push(Violation::new(pointer, format!("must be one of `{modes}`")));
                }
            }
            if database.ca.as_ref().is_some_and(|ca| !ca.contains("-----BEGIN CERTIFICATE-----")) {
                violations.push(Violation::new(
                    "/ca",
                    "is not a PEM-encoded certificate; use `--set ca=@FILE` to read a file",
                ));
            }
            if database.host.is_none() {
                violations.push(Violation::new("/host", format!("is missing; it is required for {product}")));
            }
            if database.username.is_none() {
                violations.push(Violation::new("/username", format!("is missing; it is required for {product}")));
            }
        }
    }
    violations
}

/// Checks for an absolute path of Unix or Windows, because the bundle does not know the platform of
/// the host.
fn is_absolute(path: &str) -> bool {
    let drive = path.as_bytes();
    path.starts_with('/') || matches!(drive, [letter, b':', b'\\' | b'/', ..] if letter.is_ascii_alphabetic())
}
