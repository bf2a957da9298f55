//! Values, columns and targets of the interface `sql`.

use super::types::Json;

/// The database to open.
#[derive(Debug, Clone)]
pub struct Target {
    /// "postgres", "mysql" or "sqlite".
    pub dialect: String,
    /// Host name.
    pub host: Option<String>,
    /// Port.
    pub port: Option<u16>,
    /// Database name; for sqlite an absolute path or ":memory:".
    pub database: String,
    /// User name.
    pub username: Option<String>,
    /// Options of the connection.
    pub options: Vec<(String, String)>,
}

/// A date and time.
#[derive(Debug, Clone, Copy)]
pub struct Timestamp {
    /// Microseconds since 1970-01-01T00:00:00: in UTC if `offset_minutes` is given, in local time
    /// otherwise.
    pub micros: i64,
    /// Offset of the time zone from UTC, in minutes.
    pub offset_minutes: Option<i16>,
}

/// A value of a row or a parameter.
#[derive(Debug, Clone)]
pub enum Value {
    /// SQL null.
    Null,
    /// A boolean.
    Boolean(bool),
    /// An integer.
    Integer(i64),
    /// A float.
    Float(f64),
    /// A decimal.
    Decimal(String),
    /// A string.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    /// A date and time.
    Timestamp(Timestamp),
    /// A UUID.
    Uuid(String),
    /// JSON text.
    Json(Json),
    /// A value of another type: the database's type name, and the value as text.
    Other((String, String)),
}

/// A column of a result.
#[derive(Debug, Clone)]
pub struct Column {
    /// Name.
    pub name: String,
    /// The database's name of the type.
    pub type_name: String,
    /// Whether the column can be null, if it is known.
    pub nullable: Option<bool>,
}

/// Result of a statement that returns no rows.
#[derive(Debug, Clone, Copy)]
pub struct Execution {
    /// Number of changed rows.
    pub rows_affected: u64,
    /// ID of the last inserted row.
    pub last_insert_id: Option<i64>,
}
