//! Encoding of query results as CSV, NDJSON, Arrow or Parquet files, batch by batch. Arrow and
//! Parquet files have the column types of the host's Arrow stream.

use arrow_ipc::reader::StreamReader;
use blockyard_sdk::prelude::*;
use blockyard_sdk::serde_json;
use blockyard_sdk::sql::{self, Column, Rows, Value as SqlValue};

use crate::Dialect;
use crate::bytes_text;
use crate::column_type::{ColumnType, as_text};
use crate::kind::Kind;
use crate::parquet_file;
use crate::reader::{Reader, problem};
use crate::rows::Format;

/// Maximum number of rows that are fetched at once.
const ROWS: u32 = 512;
/// Minimum size of a chunk of a file in bytes, except for the last one.
const CHUNK_BYTES: usize = 1 << 20;

/// Returns the rows of a query as the chunks of a file.
pub(crate) fn unload(rows: Rows, format: Format, dialect: Dialect) -> Result<Parts> {
    let columns = rows.columns();
    unique(&columns, format)?;
    match format {
        Format::Arrow => {
            let mut body = Some(rows.into_arrow());
            Ok(Parts::new(move || Ok(body.take())))
        }
        Format::Parquet => Ok(parquet(rows)),
        Format::Csv => {
            let header = csv_line(columns.iter().map(|column| Some(column.name.clone())));
            Ok(texts(rows, format, dialect, Some(header)))
        }
        Format::Ndjson => Ok(texts(rows, format, dialect, None)),
    }
}

/// Rejects duplicate column names, except in CSV, where they are valid, though not every program
/// reads them.
fn unique(columns: &[Column], format: Format) -> Result<()> {
    let mut seen = std::collections::BTreeSet::new();
    match columns.iter().find(|column| !seen.insert(column.name.as_str())) {
        Some(twice) if format != Format::Csv => {
            Err(Problem::invalid(format!("two columns are named `{}`", twice.name))
                .hint("give them different names, with `as`"))
        }
        _ => Ok(()),
    }
}

/// Returns the media type registered with IANA.
fn media_type(format: Format) -> &'static str {
    match format {
        Format::Csv => "text/csv",
        Format::Ndjson => "application/x-ndjson",
        Format::Arrow => "application/vnd.apache.arrow.stream",
        Format::Parquet => "application/vnd.apache.parquet",
    }
}

/// Converts the host's Arrow stream to Parquet.
fn parquet(rows: Rows) -> Parts {
    let broken = |error: arrow_schema::ArrowError| problem(&error, "the rows");
    let mut start = Some(rows.into_arrow());
    let mut open = None;
    Parts::new(move || {
        if let Some(body) = start.take() {
            let batches = StreamReader::try_new(Reader::new(body), None).map_err(broken)?;
            let writer = parquet_file::Writer::new(batches.schema())?;
            open = Some((batches, writer));
        }
        let Some((batches, writer)) = &mut open else { return Ok(None) };
        let mut chunk = Vec::new();
        while chunk.len() < CHUNK_BYTES {
            match batches.next().transpose().map_err(broken)? {
                Some(batch) => chunk.extend(writer.write(&batch)?),
                None => {
                    if let Some((_, writer)) = open.take() {
                        chunk.extend(writer.finish()?);
                    }
                    break;
                }
            }
        }
        Ok(Some(Body::from_bytes(media_type(Format::Parquet), &chunk)))
    })
}

/// Encodes rows as lines of text after a header.
fn texts(rows: Rows, format: Format, dialect: Dialect, header: Option<String>) -> Parts {
    let mut kinds: Vec<Option<Kind>> =
        rows.columns().iter().map(|column| declared_kind(dialect, &column.type_name)).collect();
    let declared: Vec<Option<Declared>> =
        rows.columns().iter().map(|column| Declared::of(dialect, &column.type_name)).collect();
    let columns: Vec<(String, bool)> =
        rows.columns().into_iter().map(|column| (column.name, is_single(dialect, &column.type_name))).collect();
    let mut number = 0_u64;
    let mut start = Some(header.unwrap_or_default().into_bytes());
    let mut ended = false;
    Parts::new(move || {
        if ended {
            return Ok(None);
        }
        let mut chunk = start.take().unwrap_or_default();
        while chunk.len() < CHUNK_BYTES && !ended {
            let batch = rows.next(ROWS)?;
            ended = batch.is_empty();
            for row in batch {
                number += 1;
                for (((value, kind), (name, _)), declared) in row.iter().zip(&mut kinds).zip(&columns).zip(&declared) {
                    if let Some(declared) = declared {
                        declared.check(value, format, number, name)?;
                    }
                    check_kind(value, kind, number, name)?;
                    if matches!(format, Format::Ndjson) && is_json_null(value) {
                        return Err(json_null(number, name));
                    }
                }
                let row = row.into_iter().zip(&columns);
                let line = match format {
                    Format::Ndjson => ndjson_line(row)?,
                    _ => csv_line(row.map(|(value, (_, single))| csv_field(&value, *single))),
                };
                chunk.extend(line.into_bytes());
            }
        }
        Ok(Some(Body::from_bytes(media_type(format), &chunk)))
    })
}

/// Checks for the JSON value `null`, which is not SQL's null.
fn is_json_null(value: &SqlValue) -> bool {
    matches!(value, SqlValue::Json(json) if json.trim_ascii() == "null")
}

fn json_null(row: u64, name: &str) -> Problem {
    Problem::invalid(format!(
        "row {row}: column `{name}` is the JSON value `null`, which NDJSON cannot distinguish from SQL null"
    ))
    .hint("use CSV, Arrow or Parquet, which distinguish them")
}

/// Returns the kind of the values in a SQLite column of this type, which `load` reads as bytes if
/// the type contains `blob`.
fn declared_kind(dialect: Dialect, type_name: &str) -> Option<Kind> {
    (dialect == Dialect::Sqlite && type_name.to_ascii_lowercase().contains("blob")).then_some(Kind::Bytes)
}

/// Rejects a SQLite column that contains both strings and bytes: base64-encoded bytes cannot be
/// distinguished from a string.
fn check_kind(value: &SqlValue, column: &mut Option<Kind>, row: u64, name: &str) -> Result<()> {
    let kind = match value {
        SqlValue::Text(_) => Kind::Text,
        SqlValue::Bytes(_) => Kind::Bytes,
        _ => return Ok(()),
    };
    if *column.get_or_insert(kind) == kind {
        return Ok(());
    }
    let message =
        format!("row {row}: column `{name}` has both strings and bytes, which a text format cannot distinguish");
    Err(Problem::invalid(message)
        .hint(format!("give the column one type: `cast({name} as text)`, or `cast({name} as blob)`")))
}

/// Declared type of a SQLite column, as which `load` reads the values of a text format. The column
/// of an expression has none.
struct Declared {
    type_name: String,
    is_blob: bool,
    is_real: bool,
}

impl Declared {
    fn of(dialect: Dialect, type_name: &str) -> Option<Self> {
        (dialect == Dialect::Sqlite && !type_name.is_empty()).then(|| {
            let column_type = ColumnType::of(dialect, type_name);
            Self {
                type_name: type_name.to_owned(),
                is_blob: matches!(column_type, ColumnType::Bytes { .. }),
                is_real: matches!(column_type, ColumnType::Affinity { real: true, .. }),
            }
        })
    }

    /// Rejects a value that `load` would read as one of another kind. A SQLite column stores values
    /// of all kinds.
    fn check(&self, value: &SqlValue, format: Format, row: u64, name: &str) -> Result<()> {
        let Self { is_blob, is_real, .. } = *self;
        let (found, cast) = match value {
            SqlValue::Bytes(_) if !is_blob => ("bytes", "blob"),
            SqlValue::Float(float) if !float.is_finite() && !is_real => ("an infinity", "real"),
            // Digits are valid base64.
            SqlValue::Integer(_) | SqlValue::Float(_) if is_blob && format == Format::Csv => ("a number", "text"),
            _ => return Ok(()),
        };
        let message = format!(
            "row {row}: column `{name}` has {found}, which a text format cannot distinguish from values of its declared type `{}`",
            self.type_name
        );
        Err(Problem::invalid(message)
            .hint(format!("select the values without the declared type: `cast({name} as {cast})`")))
    }
}

/// Checks whether a type is a 32-bit float, which has fewer digits. `float` of SQLite has 64 bits.
fn is_single(dialect: Dialect, type_name: &str) -> bool {
    match dialect {
        Dialect::Postgres => type_name == "float4",
        Dialect::Mysql => type_name == "float",
        Dialect::Sqlite => false,
    }
}

/// Encodes a CSV line. Null is an empty field, an empty string is `""`.
fn csv_line(fields: impl Iterator<Item = Option<String>>) -> String {
    let mut line = String::new();
    for (at, field) in fields.enumerate() {
        if at > 0 {
            line.push(',');
        }
        match field {
            None => {}
            Some(field)
                if field.is_empty() || field.contains([',', '"', '\n', '\r']) || field.starts_with('\u{feff}') =>
            {
                line.push('"');
                line.push_str(&field.replace('"', "\"\""));
                line.push('"');
            }
            Some(field) => line.push_str(&field),
        }
    }
    line.push('\n');
    line
}

fn csv_field(value: &SqlValue, single: bool) -> Option<String> {
    match value {
        SqlValue::Null => None,
        SqlValue::Float(float) => Some(number(*float, single)),
        SqlValue::Bytes(bytes) => Some(bytes_text::encode(bytes)),
        other => Some(as_text(other)),
    }
}

fn ndjson_line<'columns>(row: impl Iterator<Item = (SqlValue, &'columns (String, bool))>) -> Result<String> {
    let mut line = "{".to_owned();
    for (at, (value, (name, single))) in row.enumerate() {
        if at > 0 {
            line.push(',');
        }
        line.push_str(&json_text(name)?);
        line.push(':');
        line.push_str(&match value {
            // JSON as the server wrote it, on one line, so that numbers keep all digits.
            SqlValue::Json(json) => json.replace(['\n', '\r'], " "),
            SqlValue::Float(float) if float.is_finite() => number(float, *single),
            SqlValue::Float(float) => json_text(&sql::float_text(float))?,
            other @ (SqlValue::Date(_) | SqlValue::Time(_) | SqlValue::Timestamp(_)) => json_text(&as_text(&other))?,
            other => sql::to_json(other).to_string(),
        });
    }
    line.push_str("}\n");
    Ok(line)
}

fn json_text(text: &str) -> Result<String> {
    serde_json::to_string(text)
        .map_err(|error| Problem::new("failed", format!("cannot encode a string as JSON: {error}")))
}

/// Formats a float. A 32-bit float, which the host passes as 64 bits, keeps its shorter digits.
fn number(float: f64, single: bool) -> String {
    #[allow(clippy::cast_possible_truncation, reason = "compared with the value itself")]
    let narrow = float as f32;
    if single && float.is_finite() && f64::from(narrow).to_bits() == float.to_bits() {
        // Shortest digits of the 32-bit float, in the format of all floats.
        serde_json::Number::from_f64(format!("{narrow:?}").parse().unwrap_or(float))
            .map_or_else(|| sql::float_text(float), |number| number.to_string())
    } else {
        sql::float_text(float)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_fields_are_quoted_only_if_necessary() {
        let line = |values: &[SqlValue]| csv_line(values.iter().map(|value| csv_field(value, false)));
        let text = |text: &str| SqlValue::Text(text.to_owned());
        assert_eq!(line(&[text("a, \"b\"\n"), SqlValue::Null, SqlValue::Boolean(true)]), "\"a, \"\"b\"\"\n\",,true\n");
        assert_eq!(
            line(&[SqlValue::Decimal("1.50".to_owned()), SqlValue::Float(0.5), SqlValue::Date(0)]),
            "1.50,0.5,1970-01-01\n"
        );
        assert_eq!((line(&[SqlValue::Null]), line(&[text("")])), ("\n".to_owned(), "\"\"\n".to_owned()));
        assert_eq!(line(&[SqlValue::Bytes(vec![0xde, 0xad])]), "3q0=\n");
    }

    #[test]
    fn values_unlike_their_declared_type_are_rejected() {
        let fits = |type_name: &str, value: &SqlValue, format: Format| {
            let declared = Declared::of(Dialect::Sqlite, type_name).expect("a declared type");
            declared.check(value, format, 1, "a").is_ok()
        };
        for format in [Format::Csv, Format::Ndjson] {
            let (bytes, infinity) = (SqlValue::Bytes(vec![0]), SqlValue::Float(f64::INFINITY));
            assert!(fits("BLOB", &bytes, format) && !fits("text", &bytes, format) && !fits("date", &bytes, format));
            assert!(fits("double", &infinity, format) && !fits("integer", &infinity, format));
            assert!(!fits("blob", &infinity, format) && fits("integer", &SqlValue::Float(0.5), format));
        }
        let number = SqlValue::Integer(1234);
        assert!(!fits("blob", &number, Format::Csv) && fits("blob", &number, Format::Ndjson));
        assert!(Declared::of(Dialect::Sqlite, "").is_none() && Declared::of(Dialect::Postgres, "text").is_none());
    }

    #[test]
    fn numbers_have_a_canonical_form() {
        assert_eq!(
            (number(f64::NAN, false), number(f64::NEG_INFINITY, true)),
            ("NaN".to_owned(), "-Infinity".to_owned())
        );
        assert_eq!(
            (number(f64::from(0.1_f32), true), number(f64::from(0.1_f32), false)),
            ("0.1".to_owned(), "0.10000000149011612".to_owned())
        );
        let columns = [("a".to_owned(), false), ("b".to_owned(), false)];
        let row = [SqlValue::Json("{\"x\":\n1.10}".to_owned()), SqlValue::Float(f64::INFINITY)];
        let line = ndjson_line(row.into_iter().zip(&columns)).expect("a line");
        assert_eq!(line, "{\"a\":{\"x\": 1.10},\"b\":\"Infinity\"}\n");
    }
}
