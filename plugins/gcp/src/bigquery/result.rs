//! Results of queries and statements.

use blockyard_sdk::prelude::*;

use super::field::Field;

/// Description of a query result.
#[data]
pub(crate) struct Queried {
    /// Columns of the result.
    pub(super) columns: Vec<ColumnDescription>,
}

/// A column of a query result.
#[data]
pub(crate) struct ColumnDescription {
    /// Column name.
    pub(super) name: String,
    /// BigQuery type; `ARRAY<…>` for a repeated column.
    pub(super) type_name: String,
}

/// Result of a dry run.
#[data]
pub(crate) struct DryRun {
    /// Number of bytes that the statement would read.
    pub(super) bytes_processed: u64,
    /// `SELECT`, `INSERT`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) statement_type: Option<String>,
    /// Columns of the result.
    pub(super) columns: Vec<ColumnDescription>,
}

/// Result of a statement.
#[data]
pub(crate) struct Executed {
    /// Number of rows changed.
    pub(super) rows_affected: u64,
    /// Job ID.
    pub(super) job_id: String,
}

/// Describes the columns of a result.
pub(super) fn describe(fields: &[Field]) -> Vec<ColumnDescription> {
    fields
        .iter()
        .map(|field| {
            let kind = &field.kind;
            let type_name = if field.is_repeated() { format!("ARRAY<{kind}>") } else { kind.clone() };
            ColumnDescription { name: field.name.clone(), type_name }
        })
        .collect()
}
