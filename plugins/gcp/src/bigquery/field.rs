//! Columns of tables and of results, as BigQuery's REST API describes them (`TableFieldSchema`).

use blockyard_sdk::prelude::*;

/// A column of a table, or a part of one.
#[data]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    /// Its name.
    pub(crate) name: String,
    /// Its type: `STRING`, `INT64`, `NUMERIC`, `TIMESTAMP`, …; `STRUCT` where it has parts.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// `NULLABLE`, `REQUIRED` or `REPEATED`; `NULLABLE` where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<String>,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    /// The parts of a `STRUCT`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) fields: Vec<Field>,
}

/// The types, under one name each.
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
    /// INTERVAL, RANGE, and what comes after this was written: its text.
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
    /// By either of a type's names, that of GoogleSQL or that of the REST API.
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
