//! SQL databases that the block's configuration names. Needs the capability `sql DIALECT`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json, json};

use crate::bindings::blockyard::bundle::sql as wit;
use crate::{Body, Problem, Result, Secret};

pub use wit::{Column, Execution, Target, Timestamp, Value};

/// A connection from the host's pool for this block.
#[derive(Debug)]
pub struct Connection(wit::Connection);

/// A transaction. Dropped without [`commit`](Self::commit) it is rolled back.
#[derive(Debug)]
pub struct Transaction(wit::Transaction);

/// The rows of a query, on their way.
#[derive(Debug)]
pub struct Rows(wit::Rows);

impl Connection {
    /// Opens a connection. Host, port and database must stand in the block's configuration.
    ///
    /// # Errors
    /// Why not; the problem's details have the step (`resolve`, `connect`, `authenticate`).
    pub fn open(target: &Target, password: Option<&Secret<String>>) -> Result<Self> {
        let password = password.map(Secret::handle).transpose()?;
        Ok(Self(wit::Connection::open(target, password.as_ref())?))
    }

    /// Runs a statement that gives rows.
    ///
    /// # Errors
    /// What the database says.
    pub fn query(&self, statement: &str, parameters: &[Value]) -> Result<Rows> {
        Ok(Rows(self.0.query(statement, parameters)?))
    }

    /// Runs a statement that changes something.
    ///
    /// # Errors
    /// What the database says.
    pub fn execute(&self, statement: &str, parameters: &[Value]) -> Result<Execution> {
        Ok(self.0.execute(statement, parameters)?)
    }

    /// Runs a statement once for each set of parameters, all or nothing.
    ///
    /// # Errors
    /// What the database says, with the number of the set.
    pub fn execute_many(&self, statement: &str, parameters: &[Vec<Value>]) -> Result<Execution> {
        Ok(self.0.execute_many(statement, parameters)?)
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// What the database says.
    pub fn begin(&self) -> Result<Transaction> {
        Ok(Transaction(self.0.begin()?))
    }
}

impl Transaction {
    /// Runs a statement that gives rows.
    ///
    /// # Errors
    /// What the database says.
    pub fn query(&self, statement: &str, parameters: &[Value]) -> Result<Rows> {
        Ok(Rows(self.0.query(statement, parameters)?))
    }

    /// Runs a statement that changes something.
    ///
    /// # Errors
    /// What the database says.
    pub fn execute(&self, statement: &str, parameters: &[Value]) -> Result<Execution> {
        Ok(self.0.execute(statement, parameters)?)
    }

    /// Puts rows into a table, by the fastest way that the database has (`COPY` in PostgreSQL); gives their
    /// number. The table's name may have its schema's before it.
    ///
    /// # Errors
    /// What the database says; the details have the number of the row that it does not take as `row`, from 1.
    /// The transaction is good for nothing else then.
    pub fn insert(&self, table: &[String], columns: &[String], rows: &[Vec<Value>]) -> Result<u64> {
        Ok(self.0.insert(table, columns, rows)?)
    }

    /// Makes all of it last.
    ///
    /// # Errors
    /// What the database says; then nothing of it lasts.
    pub fn commit(self) -> Result<()> {
        Ok(wit::Transaction::commit(self.0)?)
    }
}

impl Rows {
    /// What the columns are.
    #[must_use]
    pub fn columns(&self) -> Vec<Column> {
        self.0.columns()
    }

    /// The next rows, at most so many; empty at the end.
    ///
    /// # Errors
    /// Where the query fails in the middle.
    pub fn next(&self, max: u32) -> Result<Vec<Vec<Value>>> {
        Ok(self.0.next(max)?)
    }

    /// The rows as JSON objects, at most so many.
    ///
    /// # Errors
    /// Where the query fails in the middle.
    pub fn objects(&self, max: usize) -> Result<Vec<Map<String, Json>>> {
        let columns = self.columns();
        let mut objects = Vec::new();
        while objects.len() < max {
            let rows = self.next(u32::try_from(max - objects.len()).unwrap_or(u32::MAX))?;
            if rows.is_empty() {
                break;
            }
            objects.extend(rows.into_iter().map(|row| {
                columns.iter().map(|column| column.name.clone()).zip(row.into_iter().map(to_json)).collect()
            }));
        }
        Ok(objects)
    }

    /// The rows as an Arrow IPC stream that the host makes; they never enter the bundle.
    #[must_use]
    pub fn into_arrow(self) -> Body {
        wit::Rows::into_arrow(self.0)
    }
}

/// A parameter from JSON. Lists and objects are JSON values to the database.
#[must_use]
pub fn from_json(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Boolean(*value),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Value::Integer(integer),
            (None, _) if number.is_u64() => Value::Decimal(number.to_string()),
            (None, Some(float)) => Value::Float(float),
            (None, None) => Value::Decimal(number.to_string()),
        },
        Json::String(text) => Value::Text(text.clone()),
        nested => Value::Json(nested.to_string()),
    }
}

/// A value of a row as JSON: decimals, dates and times as text (ISO 8601), bytes as base64.
#[must_use]
pub fn to_json(value: Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(value) => value.into(),
        Value::Integer(value) => value.into(),
        // JSON has no NaN and no infinity.
        Value::Float(value) => {
            serde_json::Number::from_f64(value).map_or_else(|| json!(value.to_string()), Json::Number)
        }
        Value::Decimal(text) | Value::Text(text) | Value::Uuid(text) | Value::Other((_, text)) => text.into(),
        Value::Bytes(bytes) => STANDARD.encode(bytes).into(),
        Value::Date(days) => date(i64::from(days)).into(),
        Value::Time(micros) => time(micros).into(),
        Value::Timestamp(timestamp) => {
            let (days, micros) = (timestamp.micros.div_euclid(DAY_MICROS), timestamp.micros.rem_euclid(DAY_MICROS));
            let zone = if timestamp.offset_minutes.is_some() { "Z" } else { "" };
            format!("{}T{}{zone}", date(days), time(micros)).into()
        }
        Value::Json(text) => serde_json::from_str(&text).unwrap_or(Json::String(text)),
    }
}

/// A problem of the database's own: connecting, authenticating, …
#[must_use]
pub fn step_of(problem: &Problem) -> Option<String> {
    problem.details()["step"].as_str().map(str::to_owned)
}

const DAY_MICROS: i64 = 86_400_000_000;

/// `YYYY-MM-DD` of days since 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `civil_from_days`).
fn date(days: i64) -> String {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `HH:MM:SS`, with microseconds where there are any.
fn time(micros: i64) -> String {
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let clock = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction == 0 { clock } else { format!("{clock}.{fraction:06}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_one_form_in_json() {
        let at = |micros, offset_minutes| to_json(Value::Timestamp(wit::Timestamp { micros, offset_minutes }));
        assert_eq!(at(1_360_321_200_000_000, Some(0)), json!("2013-02-08T11:00:00Z"));
        assert_eq!(at(-1, None), json!("1969-12-31T23:59:59.999999"));
        assert_eq!(to_json(Value::Date(11_016)), json!("2000-02-29"));
        assert_eq!(to_json(Value::Bytes(b"any carnal pleas".to_vec())), json!("YW55IGNhcm5hbCBwbGVhcw=="));
        assert_eq!(to_json(Value::Json("[1]".into())), json!([1]));
        assert_eq!(to_json(Value::Float(f64::NAN)), json!("NaN"));
    }
}
