//! Row values in the format of `jobs.getQueryResults`: strings, nested in lists and records.

use blockyard_sdk::prelude::*;
use blockyard_sdk::{calendar, sql};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::field::{Field, Kind};

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    Null,
    Text(String),
    List(Vec<Cell>),
    Record(Vec<Cell>),
}

/// A row or a record: `{"f": [{"v": …}, …]}`.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Row {
    #[serde(default)]
    f: Vec<Wrapped>,
}

#[derive(Debug, serde::Deserialize)]
struct Wrapped {
    #[serde(default = "null")]
    v: Cell,
}

fn null() -> Cell {
    Cell::Null
}

fn unwrapped(cells: Vec<Wrapped>) -> Vec<Cell> {
    cells.into_iter().map(|wrapped| wrapped.v).collect()
}

impl Row {
    pub(crate) fn into_cells(self) -> Vec<Cell> {
        unwrapped(self.f)
    }
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> core::result::Result<Self, D::Error> {
        deserializer.deserialize_any(CellVisitor)
    }
}

/// Key under which `serde_json` passes the digits of an arbitrary-precision number as a string.
const NUMBER_KEY: &str = "$serde_json::private::Number";

struct CellVisitor;

impl<'de> Visitor<'de> for CellVisitor {
    type Value = Cell;

    fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("a BigQuery value")
    }

    fn visit_unit<E>(self) -> core::result::Result<Cell, E> {
        Ok(Cell::Null)
    }

    fn visit_bool<E>(self, value: bool) -> core::result::Result<Cell, E> {
        Ok(Cell::Text(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> core::result::Result<Cell, E> {
        Ok(Cell::Text(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> core::result::Result<Cell, E> {
        Ok(Cell::Text(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> core::result::Result<Cell, E> {
        Ok(Cell::Text(value.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> core::result::Result<Cell, E> {
        Ok(Cell::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> core::result::Result<Cell, E> {
        Ok(Cell::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> core::result::Result<Cell, A::Error> {
        let mut cells = Vec::with_capacity(list.size_hint().unwrap_or_default());
        while let Some(Wrapped { v }) = list.next_element()? {
            cells.push(v);
        }
        Ok(Cell::List(cells))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> core::result::Result<Cell, A::Error> {
        let mut cells = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == NUMBER_KEY {
                return map.next_value().map(Cell::Text);
            }
            if key == "f" {
                cells = unwrapped(map.next_value()?);
            } else {
                map.next_value::<serde::de::IgnoredAny>()?;
            }
        }
        Ok(Cell::Record(cells))
    }
}

/// Converts a row into an object keyed by column name.
pub(crate) fn object(fields: &[Field], cells: &[Cell]) -> Result<Map<String, Value>> {
    let mut object = Map::new();
    for (field, cell) in fields.iter().zip(cells) {
        if object.insert(field.name.clone(), json(field, cell)?).is_some() {
            return Err(Problem::invalid(format!("two columns are named `{}`", field.name))
                .hint("give each a different name with `as`"));
        }
    }
    Ok(object)
}

/// Converts a value to JSON. INTEGER and FLOAT values become numbers, NUMERIC and BIGNUMERIC values
/// become strings, because a double is not exact. Dates and times become strings (ISO 8601), bytes
/// become base64.
fn json(field: &Field, cell: &Cell) -> Result<Value> {
    match cell {
        Cell::Null => Ok(Value::Null),
        Cell::List(cells) if field.is_repeated() => {
            cells.iter().map(|cell| json(&Field { mode: None, ..field.clone() }, cell)).collect()
        }
        Cell::Record(cells) if field.kind() == Kind::Struct => object(&field.fields, cells).map(Value::Object),
        Cell::Text(text) => scalar(field, text),
        _ => Err(mismatch(field, "a list or a record")),
    }
}

fn scalar(field: &Field, text: &str) -> Result<Value> {
    let mismatch = || mismatch(field, text);
    Ok(match field.kind() {
        Kind::Integer => text.parse::<i64>().map_err(|_| mismatch())?.into(),
        // `NaN` and the infinities are strings.
        Kind::Float => sql::to_json(sql::Value::Float(text.parse().map_err(|_| mismatch())?)),
        Kind::Boolean => text.parse::<bool>().map_err(|_| mismatch())?.into(),
        Kind::Timestamp => instant(text).ok_or_else(mismatch)?.into(),
        Kind::Json => {
            let read = sql::try_to_json(sql::Value::Json(text.to_owned()));
            read.map_err(|problem| problem.context(format!("column `{}`", field.name)))?
        }
        Kind::Bytes => {
            sql::bytes_from_base64(text).map(|bytes| sql::bytes_to_base64(&bytes).into()).ok_or_else(mismatch)?
        }
        Kind::Struct => return Err(mismatch()),
        _ => text.into(),
    })
}

/// Formats microseconds since 1970-01-01 UTC as an ISO 8601 timestamp.
fn instant(micros: &str) -> Option<String> {
    Some(calendar::timestamp_text(micros.parse().ok()?, true))
}

/// Returns the error for a value that does not match the type of its column.
pub(crate) fn mismatch(field: &Field, found: &str) -> Problem {
    let found: String = found.chars().take(60).collect();
    Problem::new("failed", format!("BigQuery returned `{found}` in column `{}` of type {}", field.name, field.kind))
}

#[cfg(test)]
mod tests {
    use blockyard_sdk::serde_json;

    use super::*;

    fn field(kind: &str, mode: Option<&str>, fields: Vec<Field>) -> Field {
        let mode = mode.map(str::to_owned);
        Field { name: "c".to_owned(), kind: kind.to_owned(), mode, description: None, fields }
    }

    fn read(text: &str) -> Cell {
        serde_json::from_str::<Wrapped>(text).expect("a value").v
    }

    #[test]
    fn cells_are_decoded_by_column_type() {
        for (kind, text, expected) in [
            ("INTEGER", r#"{"v": "-9223372036854775808"}"#, json!(i64::MIN)),
            ("FLOAT64", r#"{"v": "1.5E300"}"#, json!(1.5e300)),
            ("FLOAT", r#"{"v": "NaN"}"#, json!("NaN")),
            ("FLOAT", r#"{"v": "-Infinity"}"#, json!("-Infinity")),
            ("FLOAT", r#"{"v": "-inf"}"#, json!("-Infinity")),
            ("FLOAT", r#"{"v": 0.5}"#, json!(0.5)),
            ("BIGNUMERIC", r#"{"v": 12345678901234567890.5}"#, json!("12345678901234567890.5")),
            ("BOOL", r#"{"v": "true"}"#, json!(true)),
            ("NUMERIC", r#"{"v": "0.1"}"#, json!("0.1")),
            ("TIMESTAMP", r#"{"v": "1360321200123456"}"#, json!("2013-02-08T11:00:00.123456Z")),
            ("TIMESTAMP", r#"{"v": "-11676096000000000"}"#, json!("1600-01-01T00:00:00Z")),
            ("JSON", r#"{"v": "{\"a\": [1]}"}"#, json!({"a": [1]})),
            (
                "JSON",
                r#"{"v": "[12345678901234567890123, 0.10]"}"#,
                serde_json::from_str("[12345678901234567890123, 0.10]").expect("JSON"),
            ),
            ("BYTES", r#"{"v": "YWJj"}"#, json!("YWJj")),
            ("STRING", r#"{"v": null}"#, Value::Null),
            ("INTERVAL", r#"{"v": "0-0 1 0:0:0"}"#, json!("0-0 1 0:0:0")),
        ] {
            assert_eq!(json(&field(kind, None, vec![]), &read(text)).expect("a value"), expected, "{text}");
        }
        assert!(json(&field("INTEGER", None, vec![]), &read(r#"{"v": "1.5"}"#)).is_err());
        assert!(json(&field("BYTES", None, vec![]), &read(r#"{"v": "*"}"#)).is_err());
    }

    #[test]
    fn duplicate_column_names_are_rejected() {
        let number = || field("INT64", None, vec![]);
        let cells = [Cell::Text("1".to_owned()), Cell::Text("2".to_owned())];
        let refused = object(&[number(), number()], &cells).expect_err("twice");
        assert!(refused.message().contains("two columns are named `c`"), "{refused}");
    }

    #[test]
    fn nested_lists_and_records_are_decoded() {
        let inner = Field { name: "tags".to_owned(), ..field("STRING", Some("REPEATED"), vec![]) };
        let outer = field(
            "RECORD",
            Some("REPEATED"),
            vec![Field { name: "n".to_owned(), ..field("INT64", None, vec![]) }, inner],
        );
        let cell = read(r#"{"v": [{"v": {"f": [{"v": "1"}, {"v": [{"v": "p"}, {"v": "q"}]}]}}]}"#);
        assert_eq!(json(&outer, &cell).expect("a value"), json!([{"n": 1, "tags": ["p", "q"]}]));
    }
}
