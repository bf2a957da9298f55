//! Statements that the host refuses before the server sees them.

use blockyard_call::Problem;
use blockyard_model::capability::Dialect;

use crate::statement::Access;
use crate::word::{first_word, no_transaction_control, not_reading};

/// First words of statements that only read. An operation with the effect `read` accepts no others,
/// because a statement such as `COMMIT` would end the transaction that keeps it read-only.
const READING: [&str; 6] = ["select", "with", "values", "table", "show", "explain"];

/// Refuses statements that would end a transaction of the host and, in an operation with the effect
/// `read`, statements that do not only read.
pub(super) fn check(text: &str, access: Access) -> Result<(), Problem> {
    if access == Access::ReadOnly {
        only_reads(text)?;
    }
    no_transaction_control(text, Dialect::Postgres)
}

/// Refuses a statement whose first word is not in [`READING`].
fn only_reads(text: &str) -> Result<(), Problem> {
    let word = first_word(text, Dialect::Postgres);
    if READING.contains(&word.as_str()) { Ok(()) } else { Err(not_reading(&format!("begins with `{word}`"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_only_operation_accepts_only_reading_statements() {
        for text in [
            "select 1",
            " ( SELECT 1)",
            ";;select 1",
            "-- why\nwith x as (select 1) table x",
            "/* a /* b */ c */ values (1)",
        ] {
            assert!(only_reads(text).is_ok(), "{text}");
        }
        for text in [
            "delete from t",
            "/* select */ commit",
            "set transaction read write",
            "",
            "begin",
            "-- select 1",
            "--\rCOMMIT /*\nselect 1 */",
        ] {
            assert!(only_reads(text).is_err(), "{text}");
        }
    }
}
