//! Loading of files into tables. A load is atomic; a value that the column cannot store exactly is
//! an error that names the row.

use std::collections::BTreeMap;

use blockyard_sdk::prelude::*;
use blockyard_sdk::sql::{Connection, Value as SqlValue};

use crate::Dialect;
use crate::catalog;
use crate::column_type::{self, ColumnType, Datum, Empty, shown};
use crate::kind::Kind;
use crate::ndjson::{Class, class};
use crate::rows::{Batch, Column, Format, Reading, Rows};
use crate::style;

/// Maximum number of rows that are inserted at once.
const ROWS: usize = 5_000;

/// Destination of a load.
pub(crate) struct Target<'a> {
    pub(crate) dialect: Dialect,
    pub(crate) schema: Option<&'a str>,
    pub(crate) table: &'a str,
    /// Types of the existing columns by name; empty if the table does not exist.
    pub(crate) types: BTreeMap<String, String>,
    /// Meaning of empty CSV fields.
    pub(crate) empty: Empty,
    /// Separator of CSV fields.
    pub(crate) delimiter: u8,
}

/// Result of a load.
#[data]
pub(crate) struct Loaded {
    /// Number of rows added.
    pub(crate) rows: u64,
    /// Columns of the rows.
    pub(crate) columns: Vec<String>,
    /// `true` if the table was created.
    pub(crate) created: bool,
}

impl Target<'_> {
    /// Inserts all rows of `body` into the table, which is created if it does not exist.
    pub(crate) fn load(&self, connection: &Connection, body: Body, format: Format) -> Result<Loaded> {
        let types = self.stored_types(connection)?;
        Target { types, ..*self }.load_rows(connection, body, format)
    }

    /// Returns the types of the columns, with the details that `describe-table` omits.
    fn stored_types(&self, connection: &Connection) -> Result<BTreeMap<String, String>> {
        let mut types = self.types.clone();
        if types.values().all(|name| column_type::is_complete(self.dialect, name)) {
            return Ok(types);
        }
        let Some(statement) = catalog::stored_types(self.dialect) else { return Ok(types) };
        let schema = self.schema.map_or(SqlValue::Null, |schema| SqlValue::Text(schema.to_owned()));
        let parameters = [SqlValue::Text(self.table.to_owned()), schema];
        for row in connection.query(statement, &parameters)?.objects(usize::MAX)? {
            let text = |column: &str| row.get(column).and_then(Value::as_str).map(str::to_owned);
            if let (Some(name), Some(type_name)) = (text("name"), text("type_name")) {
                types.insert(name, type_name);
            }
        }
        Ok(types)
    }

    fn load_rows(&self, connection: &Connection, body: Body, format: Format) -> Result<Loaded> {
        let create = self.types.is_empty();
        let known: Vec<String> = self.types.keys().cloned().collect();
        let reading = Reading { format, dialect: self.dialect, delimiter: self.delimiter, known: &known };
        let mut rows = Rows::open(body, &reading, ROWS)?;
        if rows.columns.is_empty() {
            // An NDJSON file without objects has no rows to insert.
            if !create {
                return Ok(Loaded { rows: 0, columns: Vec::new(), created: false });
            }
            return Err(Problem::invalid("the file has no columns"));
        }
        let mut types = self.type_names(&rows.columns)?;
        // MySQL and MariaDB commit implicitly at `create table`.
        let outside_transaction = create && self.dialect == Dialect::Mysql;
        if outside_transaction {
            connection.execute(&self.create(&rows.columns), &[])?;
        }
        let transaction = connection.begin()?;
        if create && !outside_transaction {
            transaction.execute(&self.create(&rows.columns), &[])?;
        }
        let mut count = 0u64;
        let path: Vec<String> = self.schema.into_iter().chain([self.table]).map(str::to_owned).collect();
        let outcome = loop {
            let batch = match rows.next(ROWS) {
                Ok(batch) if batch.is_empty() => break Ok(()),
                Ok(batch) => batch,
                Err(problem) => break Err(problem.context(format!("after {count} rows"))),
            };
            if types.len() != rows.columns.len() {
                types = self.type_names(&rows.columns)?;
            }
            let column_types: Vec<ColumnType<'_>> =
                types.iter().map(|name| ColumnType::of(self.dialect, name)).collect();
            let names = names_of(&rows.columns);
            let batch = match self.fitting(batch, &mut rows.columns, &column_types, count) {
                Ok(batch) => batch,
                Err(problem) => break Err(problem),
            };
            let length = batch.len() as u64;
            if let Err(problem) = transaction.insert(&path, &names, &batch) {
                let problem = self.with_range(problem, &rows.columns);
                break Err(match problem.details()["row"].as_u64() {
                    Some(row) => problem.context(format!("row {}", count + row)),
                    None => problem.context(format!("rows {} to {}", count + 1, count + length)),
                });
            }
            count += length;
        };
        let outcome = outcome.map_err(|problem| (problem, false));
        match outcome.and_then(|()| transaction.commit().map_err(|problem| (problem, true))) {
            Ok(()) => Ok(Loaded { rows: count, columns: names_of(&rows.columns), created: create }),
            Err((problem, in_commit)) => Err(self.clean_up(connection, outside_transaction, problem, in_commit)),
        }
    }

    /// Adds a hint if a timestamp can be outside of the range of `timestamp`, the type in new tables.
    fn with_range(&self, problem: Problem, columns: &[Column]) -> Problem {
        let has_instants = columns.iter().any(|column| column.kind == Kind::Instant);
        let is_new = self.dialect == Dialect::Mysql && self.types.is_empty();
        if is_new && has_instants && problem.message().contains("datetime value") {
            return problem.hint(
                "`timestamp` ends in 2038 on most servers: create the table first, with a column of type `datetime(6)`",
            );
        }
        problem
    }

    /// Cleans up after a failed load: drops the table if it was created outside of the transaction.
    fn clean_up(&self, connection: &Connection, created: bool, problem: Problem, in_commit: bool) -> Problem {
        let dropped = created.then(|| connection.execute(&format!("drop table {}", self.name()), &[]).is_ok());
        let is_unknown = in_commit && is_lost(&problem);
        let consequence = match dropped {
            Some(true) => "nothing was loaded",
            _ if is_unknown => "the rows may have been loaded, because the connection was lost during the commit",
            Some(false) => "the new table exists and is empty",
            None => "nothing was loaded",
        };
        let problem = problem.consequence(consequence);
        if is_unknown && dropped != Some(true) {
            problem.hint("check the table before you retry the load")
        } else {
            problem
        }
    }

    /// Converts the values to the types of the database columns. Returns an error for the first row
    /// with a value that does not fit.
    fn fitting(
        &self,
        batch: Batch,
        columns: &mut [Column],
        column_types: &[ColumnType<'_>],
        before: u64,
    ) -> Result<Vec<Vec<SqlValue>>> {
        let rows = (before + 1..).zip(batch);
        rows.map(|(number, row)| {
            let cells = row.into_iter().zip(columns.iter_mut().zip(column_types));
            cells.map(|(datum, (column, column_type))| self.cell(datum, column, *column_type, number)).collect()
        })
        .collect()
    }

    fn cell(&self, datum: Datum, column: &mut Column, column_type: ColumnType<'_>, number: u64) -> Result<SqlValue> {
        let other = if self.types.is_empty() { self.other_kind(&datum, column) } else { None };
        let name = &column.name;
        if let Some(found) = other {
            let kinds = match column.kind {
                // Only SQLite rejects a value here (a boolean).
                Kind::Mixed => "values other than booleans",
                kind => kind.plural(),
            };
            return Err(Problem::invalid(format!(
                "row {number}: column `{name}` has `{}`, but the first rows, which define the table, have {kinds}",
                shown(found)
            ))
            .hint("create the table first, with a column type that accepts all values"));
        }
        let converted = column_type.convert(self.dialect, self.empty, datum);
        converted.map_err(|reason| {
            Problem::invalid(format!("row {number}: column `{name}`: {reason}"))
                .hint("change the value, or use a column type that can store it")
        })
    }

    /// Returns the value if its kind differs from that of the first rows, for file formats without
    /// types.
    fn other_kind<'datum>(&self, datum: &'datum Datum, column: &mut Column) -> Option<&'datum str> {
        let sqlite = self.dialect == Dialect::Sqlite;
        match datum {
            Datum::Text { text, .. } if text.is_empty() => None,
            Datum::Text { text, .. } => {
                let lost = sqlite && column.kind != Kind::Text && style::is_minus_zero(text);
                (lost || !column.check.accepts_text(text)).then_some(text)
            }
            // SQLite stores `true` as 1, which another row of the column may contain.
            Datum::Json(json) => {
                let lost = sqlite && column.kind == Kind::Mixed && class(json) == Class::Boolean;
                (lost || !column.check.accepts_json(json)).then_some(json)
            }
            Datum::Typed(_) => None,
        }
    }

    /// Returns the type of a column of the table, or `None` if the table has no such column.
    fn type_of(&self, column: &str) -> Option<&str> {
        let same = |own: &str| match self.dialect {
            Dialect::Postgres => own == column,
            Dialect::Sqlite | Dialect::Mysql => own.to_lowercase() == column.to_lowercase(),
        };
        self.types.iter().find(|(own, _)| same(own)).map(|(_, kind)| kind.as_str())
    }

    /// Returns the type of each column. Columns that the table does not have are an error.
    fn type_names(&self, columns: &[Column]) -> Result<Vec<String>> {
        self.check_names(columns)?;
        let create = self.types.is_empty();
        let name = |column: &Column| match self.type_of(&column.name) {
            _ if create => Ok(type_name(column, self.dialect)),
            Some(own) => Ok(own.to_owned()),
            None => Err(self.no_column(&column.name)),
        };
        columns.iter().map(name).collect()
    }

    /// Rejects two columns whose names differ only in case if the database ignores case, because
    /// one of the two values would be lost.
    fn check_names(&self, columns: &[Column]) -> Result<()> {
        if self.dialect == Dialect::Postgres {
            return Ok(());
        }
        let mut seen = BTreeMap::new();
        for Column { name, .. } in columns {
            if let Some(other) = seen.insert(name.to_lowercase(), name) {
                let text = format!("columns `{other}` and `{name}` differ only in case, which the database ignores");
                return Err(Problem::invalid(text).hint("rename one of them in the file"));
            }
        }
        Ok(())
    }

    fn no_column(&self, name: &str) -> Problem {
        let own: Vec<&str> = self.types.keys().map(String::as_str).collect();
        Problem::invalid(format!("table `{}` has no column `{name}`", self.table)).hint(format!(
            "the table has `{}`; remove the column from the file, or add it to the table",
            own.join("`, `")
        ))
    }

    fn create(&self, columns: &[Column]) -> String {
        let columns: Vec<String> = columns
            .iter()
            .map(|column| format!("{} {}", quoted(&column.name, self.dialect), type_name(column, self.dialect)))
            .collect();
        format!("create table {} ({})", self.name(), columns.join(", "))
    }

    fn name(&self) -> String {
        let table = quoted(self.table, self.dialect);
        self.schema.map_or(table.clone(), |schema| format!("{}.{table}", quoted(schema, self.dialect)))
    }
}

/// Checks for a problem after which the outcome of a statement is unknown.
fn is_lost(problem: &Problem) -> bool {
    matches!(problem.code(), "unavailable" | "timeout")
}

fn names_of(columns: &[Column]) -> Vec<String> {
    columns.iter().map(|column| column.name.clone()).collect()
}

/// Quotes an identifier, so that its content cannot be parsed as SQL.
fn quoted(name: &str, dialect: Dialect) -> String {
    match dialect {
        Dialect::Mysql => format!("`{}`", name.replace('`', "``")),
        Dialect::Sqlite | Dialect::Postgres => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

/// Returns the type of a column in a new table.
fn type_name(column: &Column, dialect: Dialect) -> String {
    let [sqlite, postgres, mysql] = match column.kind {
        Kind::Boolean => ["boolean", "boolean", "boolean"],
        Kind::Integer => ["integer", "bigint", "bigint"],
        Kind::Single => ["real", "real", "float"],
        Kind::Float => ["real", "double precision", "double"],
        // SQLite numbers have about sixteen significant digits.
        Kind::Decimal => ["text", "numeric", ""],
        Kind::Text => ["text", "text", "longtext"],
        Kind::Bytes => ["blob", "bytea", "longblob"],
        Kind::Date => ["date", "date", "date"],
        Kind::Time => ["time", "time", "time(6)"],
        Kind::Timestamp => ["timestamp", "timestamp", "datetime(6)"],
        Kind::Instant => ["timestamp", "timestamptz", "timestamp(6) null"],
        Kind::Uuid => ["text", "uuid", "char(36)"],
        Kind::Json => ["text", "jsonb", "json"],
        // A SQLite column without a declared type stores each value with its own type.
        Kind::Mixed => ["", "jsonb", "json"],
    };
    match dialect {
        Dialect::Mysql if column.kind == Kind::Decimal => mysql_decimal(column.places),
        Dialect::Sqlite => sqlite.to_owned(),
        Dialect::Postgres => postgres.to_owned(),
        Dialect::Mysql => mysql.to_owned(),
    }
}

/// Returns a decimal type with the scale of the values, or a text type if the scale exceeds that of
/// MySQL.
fn mysql_decimal(places: Option<u32>) -> String {
    const DIGITS: u32 = 65;
    const PLACES: u32 = 30;
    match places.unwrap_or(PLACES) {
        places if places <= PLACES => format!("decimal({DIGITS}, {places})"),
        _ => "longtext".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Check;

    fn target(dialect: Dialect, schema: Option<&'static str>) -> Target<'static> {
        Target { dialect, schema, table: "t", types: BTreeMap::new(), empty: Empty::Quoted, delimiter: b',' }
    }

    fn column(name: &str, kind: Kind, places: Option<u32>) -> Column {
        Column { name: name.to_owned(), kind, check: Check::None, places }
    }

    #[test]
    fn table_and_column_names_are_quoted() {
        assert_eq!(quoted("a\"; drop table x; --", Dialect::Postgres), "\"a\"\"; drop table x; --\"");
        assert_eq!(quoted("a`b", Dialect::Mysql), "`a``b`");
        let created = target(Dialect::Postgres, Some("s")).create(&[column("n", Kind::Integer, None)]);
        assert_eq!(created, "create table \"s\".\"t\" (\"n\" bigint)");
    }

    #[test]
    fn column_names_equal_except_for_case_are_rejected() {
        let columns = [column("a", Kind::Integer, None), column("A", Kind::Integer, None)];
        assert!(target(Dialect::Postgres, None).check_names(&columns).is_ok());
        for dialect in [Dialect::Sqlite, Dialect::Mysql] {
            let problem = target(dialect, None).check_names(&columns).expect_err("one column");
            assert!(problem.message().contains("columns `a` and `A` differ only in case"), "{problem}");
        }
    }

    #[test]
    fn mysql_decimals_have_the_scale_of_the_file() {
        let name = |places| type_name(&column("n", Kind::Decimal, places), Dialect::Mysql);
        assert_eq!((name(Some(2)), name(None)), ("decimal(65, 2)".to_owned(), "decimal(65, 30)".to_owned()));
        assert_eq!(name(Some(31)), "longtext");
    }
}
