//! SQL statements from command-line options and files.

use std::path::Path;

use blockyard::model::exact;
use blockyard::{Error, Json};
use serde_json::Map;

use crate::arguments::Statement;
use crate::fields::pair;
use crate::input::read;

impl Statement {
    /// Returns the text of the statement, reading it from a file if the argument begins with `@`.
    pub(crate) fn text(&self) -> Result<String, Error> {
        match self.text.strip_prefix('@') {
            Some(path) => read(Path::new(path)),
            None => Ok(self.text.clone()),
        }
    }

    /// Returns the parameters of the statement.
    pub(crate) fn parameters(&self) -> Result<Map<String, Json>, Error> {
        self.param.iter().map(|text| parameter(text)).collect()
    }
}

/// Parses a statement parameter, `NAME=VALUE`. `true`, `false`, `null`, lists and objects are
/// parsed as JSON, and so are numbers that round-trip exactly. `1.10`, or a decimal with thirty
/// digits, remains a string.
fn parameter(text: &str) -> Result<(String, Json), Error> {
    let (name, value) = pair(text, "--param")?;
    let value = match exact::parse_value(value) {
        Ok(Json::Number(number)) if !is_canonical(&number, value) => Json::from(value),
        Ok(read) => read,
        Err(_) => Json::from(value),
    };
    Ok((name.to_owned(), value))
}

/// Returns whether the text is the canonical form of the number. Otherwise it may be a code, such
/// as `557E90` or `1.10`, that must not be changed.
fn is_canonical(number: &serde_json::Number, text: &str) -> bool {
    let integer = number.as_i64().map(|integer| integer.to_string());
    let integer = integer.or_else(|| number.as_u64().map(|integer| integer.to_string()));
    let float = || number.as_f64().and_then(serde_json::Number::from_f64).map(|float| float.to_string());
    integer.or_else(float).is_some_and(|written| written == text)
}

/// Formats a row count: `1 row`, `2 rows`.
pub(crate) fn counted(rows: u64) -> String {
    format!("{rows} row{}", if rows == 1 { "" } else { "s" })
}
