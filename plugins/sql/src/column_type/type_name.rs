//! Parsing of type names: the values that a column of a database type accepts.

use super::ColumnType;
use super::literal::{self, Literal};
use crate::Dialect;

impl<'a> ColumnType<'a> {
    /// Returns the values that a column of this database type accepts.
    pub(crate) fn of(dialect: Dialect, type_name: &'a str) -> Self {
        let name = type_name.trim();
        match dialect {
            Dialect::Sqlite => Self::of_sqlite(&name.to_ascii_lowercase()),
            Dialect::Postgres => Self::of_postgres(name),
            Dialect::Mysql => Self::of_mysql(name),
        }
    }

    /// Derives the type from the column affinity
    /// (<https://www.sqlite.org/datatype3.html#determination_of_column_affinity>).
    fn of_sqlite(name: &str) -> Self {
        let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
        if has(&["int"]) {
            Self::Affinity { real: false, boolean: false, numeric: true }
        } else if has(&["char", "clob", "text"]) {
            Self::Text { characters: None, trims: false }
        } else if has(&["blob"]) {
            Self::Bytes { exactly: None }
        } else if name.is_empty() {
            Self::Any
        } else {
            let (real, boolean) = (has(&["real", "floa", "doub"]), has(&["bool"]));
            Self::Affinity { real, boolean, numeric: real || boolean || has(&["num", "dec"]) }
        }
    }

    fn of_postgres(name: &'a str) -> Self {
        // Types from the catalog, see `catalog::stored_types`.
        match name.split_once('\n') {
            Some(("list", of)) => return Self::Array { of },
            Some(("range", of)) => return Self::Literal(Literal::Range(of)),
            Some(("record", fields)) => return Self::Literal(Literal::Record(fields)),
            _ => {}
        }
        if let Some(of) = name.strip_suffix("[]") {
            return Self::Array { of };
        }
        let (word, [first, second]) = parts(name);
        let places = || first.and_then(|places| places.try_into().ok()).unwrap_or(6);
        let bits = |bits: u32| Self::Integer { low: -(1 << (bits - 1)), high: (1 << (bits - 1)) - 1 };
        match word.as_str() {
            "boolean" => Self::Boolean,
            "smallint" => bits(16),
            "integer" => bits(32),
            "bigint" => bits(64),
            "oid" | "xid" | "cid" => Self::Integer { low: 0, high: u32::MAX.into() },
            "xid8" => Self::Integer { low: 0, high: u64::MAX.into() },
            "real" => Self::Single,
            "double precision" => Self::Double,
            "numeric" => Self::Decimal { precision: first, scale: first.map(|_| second.unwrap_or(0)) },
            "text" | "citext" => Self::Text { characters: None, trims: false },
            "character varying" | "character" => {
                Self::Text { characters: first.and_then(|length| length.try_into().ok()), trims: word == "character" }
            }
            "bytea" => Self::Bytes { exactly: None },
            "date" => Self::Date,
            "time without time zone" | "time" => Self::Time { places: places() },
            "timestamp without time zone" | "timestamp" => Self::Timestamp { places: places() },
            "timestamp with time zone" | "timestamptz" => Self::Instant { places: places(), required: false },
            "json" | "jsonb" => Self::Json { parsed: word == "jsonb" },
            word => Literal::of(word, places()).map_or(Self::Any, Self::Literal),
        }
    }

    fn of_mysql(name: &'a str) -> Self {
        let (word, [first, second]) = parts(&name.to_ascii_lowercase());
        let (word, more) = word.split_once(' ').unwrap_or((word.as_str(), ""));
        let unsigned = more.contains("unsigned") || more.contains("zerofill");
        let length = first.and_then(|length| usize::try_from(length).ok());
        let places = first.and_then(|places| places.try_into().ok()).unwrap_or(0);
        let bits = |bits: u32| match unsigned {
            true => Self::Integer { low: 0, high: (1 << bits) - 1 },
            false => Self::Integer { low: -(1 << (bits - 1)), high: (1 << (bits - 1)) - 1 },
        };
        match word {
            "tinyint" if first == Some(1) && !unsigned => Self::Boolean,
            "boolean" => Self::Boolean,
            "tinyint" => bits(8),
            "smallint" => bits(16),
            "mediumint" => bits(24),
            "int" => bits(32),
            "bigint" => bits(64),
            "bit" => Self::Bits { high: u64::MAX >> (64 - first.unwrap_or(1).clamp(1, 64)) },
            "year" => Self::Year,
            "enum" | "set" => Self::Member { of: name, is_set: word == "set" },
            "float" | "double" if second.is_some() => {
                Self::FixedFloat { single: word == "float", precision: first, scale: second }
            }
            "float" => Self::Single,
            "double" => Self::Double,
            "decimal" => Self::Decimal { precision: Some(first.unwrap_or(10)), scale: Some(second.unwrap_or(0)) },
            "char" | "varchar" => Self::Text { characters: length, trims: word == "char" },
            "tinytext" | "text" | "mediumtext" | "longtext" => Self::Text { characters: None, trims: false },
            "binary" => Self::Bytes { exactly: length },
            "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Self::Bytes { exactly: None },
            "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
            | "geometrycollection" | "geomcollection" => Self::Bytes { exactly: None },
            "date" => Self::Date,
            "time" => Self::Time { places },
            "datetime" => Self::Timestamp { places },
            "timestamp" => Self::Instant { places, required: more.contains("not null") },
            "json" => Self::Json { parsed: true },
            _ => Self::Any,
        }
    }
}

/// Checks whether the type name that `describe-table` returns determines the values that a column
/// accepts. Other types are looked up with `catalog::stored_types`.
pub(crate) fn is_complete(dialect: Dialect, type_name: &str) -> bool {
    match dialect {
        Dialect::Sqlite => true,
        Dialect::Postgres => literal::is_known(type_name),
        Dialect::Mysql => !type_name.to_ascii_lowercase().starts_with("timestamp"),
    }
}

/// Splits a type name into the name and the numbers in parentheses.
pub(super) fn parts(name: &str) -> (String, [Option<i64>; 2]) {
    let Some((before, rest)) = name.split_once('(') else { return (name.to_owned(), [None; 2]) };
    let (inside, after) = rest.split_once(')').unwrap_or((rest, ""));
    let mut numbers = inside.split(',').map(|number| number.trim().parse().ok());
    let word = format!("{} {}", before.trim(), after.trim()).trim().to_owned();
    (word, [numbers.next().flatten(), numbers.next().flatten()])
}
