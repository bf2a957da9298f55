//! Files into tables: all of a file, or nothing of it.

use std::collections::BTreeMap;

use blockyard_sdk::prelude::*;
use blockyard_sdk::sql::{self, Connection, Timestamp, Value as SqlValue};

use crate::Dialect;
use crate::kind::Kind;
use crate::rows::{Batch, Column, Format, Rows};

/// Rows that go to the database at once.
const ROWS: usize = 5_000;
/// The beginning of a value that is shown where it does not fit.
const SHOWN_CHARACTERS: usize = 40;

/// Where a file goes.
pub(crate) struct Target<'a> {
    pub(crate) dialect: Dialect,
    pub(crate) schema: Option<&'a str>,
    pub(crate) table: &'a str,
    /// The types of the columns that it has; none where it is missing.
    pub(crate) types: BTreeMap<String, String>,
}

/// What a load did.
#[data]
pub(crate) struct Loaded {
    /// How many rows are in the table that were not.
    pub(crate) rows: u64,
    /// The columns that they have.
    pub(crate) columns: Vec<String>,
    /// Whether the table was made.
    pub(crate) created: bool,
}

impl Target<'_> {
    /// Puts all rows of a body into the table, which is made where it is missing.
    pub(crate) fn load(&self, connection: &Connection, body: Body, format: Format) -> Result<Loaded> {
        let create = self.types.is_empty();
        let mut rows = Rows::open(body, format, ROWS)?;
        if rows.columns.is_empty() {
            return Err(Problem::invalid("the file has no columns"));
        }
        // MySQL and MariaDB end a transaction at a new table.
        let beside = create && self.dialect == Dialect::Mysql;
        if beside {
            connection.execute(&self.create(&rows.columns), &[])?;
        }
        let transaction = connection.begin()?;
        if create && !beside {
            transaction.execute(&self.create(&rows.columns), &[])?;
        }
        let (columns, mut count) = (rows.columns.clone(), 0u64);
        let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        let path: Vec<String> = self.schema.into_iter().chain([self.table]).map(str::to_owned).collect();
        let own: Vec<Option<String>> = columns.iter().map(|column| self.type_of(&column.name)).collect();
        let outcome = loop {
            let batch = match rows.next(ROWS) {
                Ok(batch) if batch.is_empty() => break Ok(()),
                Ok(batch) => batch,
                Err(problem) => break Err(problem.context(format!("after {count} rows"))),
            };
            let batch = match self.fitting(batch, &columns, &own, format, count) {
                Ok(batch) => batch,
                Err(problem) => break Err(problem),
            };
            let length = batch.len() as u64;
            if let Err(problem) = transaction.insert(&path, &names, &batch) {
                break Err(match problem.details()["row"].as_u64() {
                    Some(row) => problem.context(format!("row {}", count + row)),
                    None => problem.context(format!("rows {} to {}", count + 1, count + length)),
                });
            }
            count += length;
        };
        match outcome.and_then(|()| transaction.commit()) {
            Ok(()) => Ok(Loaded { rows: count, columns: names, created: create }),
            Err(problem) => Err(self.take_back(connection, beside, problem)),
        }
    }

    /// Nothing stays of a load that failed.
    fn take_back(&self, connection: &Connection, made: bool, problem: Problem) -> Problem {
        let left = match made.then(|| connection.execute(&format!("drop table {}", self.name()), &[])) {
            Some(Err(_)) => "the new table is there, and empty",
            _ => "nothing was loaded",
        };
        problem.aftermath(left)
    }

    /// The values as the database takes them for its columns.
    fn fitting(
        &self,
        mut batch: Batch,
        columns: &[Column],
        own: &[Option<String>],
        format: Format,
        before: u64,
    ) -> Result<Batch> {
        let create = self.types.is_empty();
        for (row, number) in batch.iter_mut().zip(before + 1..) {
            for ((value, column), own) in row.iter_mut().zip(columns).zip(own) {
                // What was made for numbers gets numbers: not all databases say it otherwise.
                if create && !column.kind.takes(value) {
                    let found: String = as_text(value).chars().take(SHOWN_CHARACTERS).collect();
                    let (name, kind) = (&column.name, column.kind.in_words());
                    return Err(Problem::invalid(
                        format!("row {number}: column `{name}` has `{found}`, and {kind} in the rows that the table was made for"),
                    )
                    .hint("make the table before, with a type that takes all of the column's values"));
                }
                if let Some(fitting) = self.fit(value, column.kind, own.as_deref(), format) {
                    *value = fitting;
                }
            }
        }
        Ok(batch)
    }

    /// The table's own type for a column; none for a table that is made.
    fn type_of(&self, column: &str) -> Option<String> {
        let same = |own: &str| match self.dialect {
            Dialect::Postgres => own == column,
            Dialect::Sqlite | Dialect::Mysql => own.eq_ignore_ascii_case(column),
        };
        self.types.iter().find(|(own, _)| same(own)).map(|(_, kind)| kind.to_ascii_lowercase())
    }

    /// What stands for a value of this kind in a column of the table's own type; none for itself.
    fn fit(&self, value: &SqlValue, kind: Kind, own: Option<&str>, format: Format) -> Option<SqlValue> {
        let is = |names: &[&str]| own.is_none_or(|own| names.iter().any(|name| own.starts_with(name)));
        let is_json = own.map_or(kind == Kind::Json, |own| own.starts_with("json"));
        let fitting = match (value, kind) {
            (SqlValue::Null, _) => return None,
            // What JSON says stays JSON, its texts and numbers, too.
            (_, _) if format == Format::Ndjson && is_json => Some(SqlValue::Json(match value {
                SqlValue::Text(text) => json!(text).to_string(),
                SqlValue::Json(json) => json.clone(),
                SqlValue::Decimal(number) => number.clone(),
                other => sql::to_json(other.clone()).to_string(),
            })),
            // Where the column is one for them, the words are what they mean.
            (SqlValue::Text(text), Kind::Boolean) if is(&["boolean", "bool", "tinyint(1)"]) => {
                text.to_ascii_lowercase().parse().ok().map(SqlValue::Boolean)
            }
            // MySQL does not read an instant's zone.
            (SqlValue::Text(text), Kind::Instant)
                if self.dialect == Dialect::Mysql && is(&["timestamp", "datetime"]) =>
            {
                let instant = chrono::DateTime::parse_from_rfc3339(text).ok()?;
                let timestamp = Timestamp { micros: instant.timestamp_micros(), offset_minutes: Some(0) };
                Some(SqlValue::Timestamp(timestamp))
            }
            _ => None,
        };
        // SQLite has no such types; their texts are what it can compare.
        let stored = fitting.as_ref().unwrap_or(value);
        let is_text = matches!(
            stored,
            SqlValue::Date(_)
                | SqlValue::Time(_)
                | SqlValue::Timestamp(_)
                | SqlValue::Uuid(_)
                | SqlValue::Json(_)
                | SqlValue::Decimal(_)
                | SqlValue::Other(_)
        );
        if self.dialect == Dialect::Sqlite && is_text { Some(SqlValue::Text(as_text(stored))) } else { fitting }
    }

    fn create(&self, columns: &[Column]) -> String {
        let columns: Vec<String> = columns
            .iter()
            .map(|column| format!("{} {}", quoted(&column.name, self.dialect), type_name(column.kind, self.dialect)))
            .collect();
        format!("create table {} ({})", self.name(), columns.join(", "))
    }

    fn name(&self) -> String {
        let table = quoted(self.table, self.dialect);
        self.schema.map_or(table.clone(), |schema| format!("{}.{table}", quoted(schema, self.dialect)))
    }
}

/// A value as a text.
pub(crate) fn as_text(value: &SqlValue) -> String {
    match value {
        SqlValue::Decimal(text)
        | SqlValue::Text(text)
        | SqlValue::Uuid(text)
        | SqlValue::Json(text)
        | SqlValue::Other((_, text)) => text.clone(),
        other => match sql::to_json(other.clone()) {
            Value::String(text) => text,
            json => json.to_string(),
        },
    }
}

/// A name in quotes, so that whatever it is made of it is one.
fn quoted(name: &str, dialect: Dialect) -> String {
    match dialect {
        Dialect::Mysql => format!("`{}`", name.replace('`', "``")),
        Dialect::Sqlite | Dialect::Postgres => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

fn type_name(kind: Kind, dialect: Dialect) -> &'static str {
    let [sqlite, postgres, mysql] = match kind {
        Kind::Boolean => ["boolean", "boolean", "boolean"],
        Kind::Integer => ["integer", "bigint", "bigint"],
        Kind::Float => ["real", "double precision", "double"],
        // SQLite's own numbers have sixteen digits.
        Kind::Decimal => ["text", "numeric", "decimal(65, 30)"],
        Kind::Text => ["text", "text", "longtext"],
        Kind::Bytes => ["blob", "bytea", "longblob"],
        Kind::Date => ["date", "date", "date"],
        Kind::Time => ["time", "time", "time(6)"],
        Kind::Timestamp => ["timestamp", "timestamp", "datetime(6)"],
        Kind::Instant => ["timestamp", "timestamptz", "timestamp(6) null"],
        Kind::Uuid => ["text", "uuid", "char(36)"],
        Kind::Json => ["text", "jsonb", "json"],
    };
    match dialect {
        Dialect::Sqlite => sqlite,
        Dialect::Postgres => postgres,
        Dialect::Mysql => mysql,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_names() {
        assert_eq!(quoted("a\"; drop table x; --", Dialect::Postgres), "\"a\"\"; drop table x; --\"");
        assert_eq!(quoted("a`b", Dialect::Mysql), "`a``b`");
        let target = Target { dialect: Dialect::Postgres, schema: Some("s"), table: "t", types: BTreeMap::new() };
        let column = Column { name: "n".to_owned(), kind: Kind::Integer };
        assert_eq!(target.create(&[column]), "create table \"s\".\"t\" (\"n\" bigint)");
    }

    #[test]
    fn values_are_what_the_database_takes() {
        let fit = |dialect, value: SqlValue, kind| {
            Target { dialect, schema: None, table: "t", types: BTreeMap::new() }.fit(&value, kind, None, Format::Csv)
        };
        let text = |text: &str| SqlValue::Text(text.to_owned());
        assert!(matches!(fit(Dialect::Sqlite, text("TRUE"), Kind::Boolean), Some(SqlValue::Boolean(true))));
        assert!(fit(Dialect::Sqlite, text("TRUE"), Kind::Text).is_none());
        let day = fit(Dialect::Sqlite, SqlValue::Date(15_744), Kind::Date);
        assert!(matches!(day, Some(SqlValue::Text(day)) if day == "2013-02-08"));
        let instant = fit(Dialect::Mysql, text("1970-01-01T01:00:00.5+01:00"), Kind::Instant);
        assert!(
            matches!(instant, Some(SqlValue::Timestamp(at)) if at.micros == 500_000 && at.offset_minutes == Some(0))
        );
    }
}
