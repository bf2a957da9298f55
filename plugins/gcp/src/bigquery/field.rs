//! Columns of tables and results, as the BigQuery REST API describes them (`TableFieldSchema`).

use blockyard_sdk::prelude::*;

/// A column of a table, or a field of a `STRUCT` column.
#[data]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    /// Column name.
    pub(crate) name: String,
    /// Type: `STRING`, `INT64`, `NUMERIC`, `TIMESTAMP`, …; `STRUCT` for a column with nested
    /// `fields`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// `NULLABLE`, `REQUIRED` or `REPEATED`. Defaults to `NULLABLE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<String>,
    /// Description of the column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    /// Nested fields of a `STRUCT` column.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) fields: Vec<Field>,
}

/// Column types. Synonyms of the REST API and of GoogleSQL map to one variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Integer,
    Float,
    Boolean,
    String,
    Bytes,
    Date,
    Time,
    Datetime,
    Timestamp,
    Numeric,
    BigNumeric,
    Geography,
    Json,
    Struct,
    /// INTERVAL, RANGE and unknown types, which are returned as text.
    Other,
}

impl Field {
    pub(crate) fn kind(&self) -> Kind {
        Kind::of(&self.kind)
    }

    pub(crate) fn is_repeated(&self) -> bool {
        self.mode.as_deref() == Some("REPEATED")
    }
}

impl Kind {
    /// Returns the type with this name, which is either the GoogleSQL or the REST API name.
    pub(crate) fn of(name: &str) -> Self {
        match name.to_ascii_uppercase().as_str() {
            "INTEGER" | "INT64" | "INT" | "SMALLINT" | "BIGINT" | "TINYINT" | "BYTEINT" => Self::Integer,
            "FLOAT" | "FLOAT64" => Self::Float,
            "BOOLEAN" | "BOOL" => Self::Boolean,
            "STRING" => Self::String,
            "BYTES" => Self::Bytes,
            "DATE" => Self::Date,
            "TIME" => Self::Time,
            "DATETIME" => Self::Datetime,
            "TIMESTAMP" => Self::Timestamp,
            "NUMERIC" | "DECIMAL" => Self::Numeric,
            "BIGNUMERIC" | "BIGDECIMAL" => Self::BigNumeric,
            "GEOGRAPHY" => Self::Geography,
            "JSON" => Self::Json,
            "RECORD" | "STRUCT" => Self::Struct,
            _ => Self::Other,
        }
    }
}
