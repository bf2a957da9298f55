//! Rows as files: CSV, NDJSON, Arrow or Parquet, batch by batch.

use std::sync::Arc;

use blockyard_sdk::prelude::*;
use blockyard_sdk::serde_json;
use blockyard_sdk::sql::{self, Column, Rows, Value as SqlValue};

use crate::load::as_text;
use crate::parquet_file::ParquetFile;
use crate::rows::Format;

/// Rows that are asked for at once.
const ROWS: u32 = 512;
/// Bytes of one piece of a file.
const PIECE_BYTES: usize = 1 << 20;

/// The rows of a query as a file.
pub(crate) fn unload(rows: Rows, format: Format) -> Result<Parts> {
    if format == Format::Arrow {
        let mut whole = Some(rows.into_arrow());
        return Ok(Parts::new(move || Ok(whole.take())));
    }
    let mut encoder = Some(Encoder::new(format, rows.columns())?);
    Ok(Parts::new(move || {
        let Some(open) = &mut encoder else { return Ok(None) };
        let mut piece = Vec::new();
        while piece.len() < PIECE_BYTES {
            let batch = rows.next(ROWS)?;
            if batch.is_empty() {
                piece.extend(encoder.take().map(Encoder::finish).transpose()?.unwrap_or_default());
                break;
            }
            piece.extend(open.write(batch)?);
        }
        Ok(Some(Body::from_bytes(media_type(format), &piece)))
    }))
}

/// Media types, as IANA has them.
fn media_type(format: Format) -> &'static str {
    match format {
        Format::Csv => "text/csv",
        Format::Ndjson => "application/x-ndjson",
        Format::Arrow => "application/vnd.apache.arrow.stream",
        Format::Parquet => "application/vnd.apache.parquet",
    }
}

enum Encoder {
    /// The names, as long as they are not written.
    Csv(Option<Vec<String>>),
    Ndjson(Arc<[String]>),
    Parquet(Box<ParquetFile>),
}

impl Encoder {
    fn new(format: Format, columns: Vec<Column>) -> Result<Self> {
        let names = || columns.iter().map(|column| column.name.clone());
        let mut seen = std::collections::BTreeSet::new();
        if let Some(twice) = names().find(|name| !seen.insert(name.clone()))
            && format != Format::Csv
        {
            return Err(Problem::invalid(format!("two columns are named `{twice}`"))
                .hint("give them names of their own, with `as`"));
        }
        Ok(match format {
            Format::Csv => Self::Csv(Some(names().collect())),
            Format::Ndjson => Self::Ndjson(names().collect()),
            Format::Arrow | Format::Parquet => Self::Parquet(Box::new(ParquetFile::new(names().collect()))),
        })
    }

    fn write(&mut self, rows: Vec<Vec<SqlValue>>) -> Result<Vec<u8>> {
        match self {
            Self::Csv(header) => csv(header.take(), rows),
            Self::Ndjson(names) => rows.into_iter().try_fold(Vec::new(), |mut lines, row| {
                let object: Map<String, Value> = names.iter().cloned().zip(row.into_iter().map(sql::to_json)).collect();
                serde_json::to_writer(&mut lines, &object).map_err(|error| broken(&error))?;
                lines.push(b'\n');
                Ok(lines)
            }),
            Self::Parquet(file) => file.write(rows),
        }
    }

    fn finish(self) -> Result<Vec<u8>> {
        match self {
            // The names are there without rows, too.
            Self::Csv(header) => csv(header, Vec::new()),
            Self::Ndjson(_) => Ok(Vec::new()),
            Self::Parquet(file) => file.finish(),
        }
    }
}

fn csv(header: Option<Vec<String>>, rows: Vec<Vec<SqlValue>>) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    if let Some(header) = header {
        writer.write_record(&header).map_err(|error| broken(&error))?;
    }
    for row in rows {
        writer.write_record(row.into_iter().map(csv_field)).map_err(|error| broken(&error))?;
    }
    writer.into_inner().map_err(|error| broken(&error))
}

/// Null is an empty field.
fn csv_field(value: SqlValue) -> String {
    if matches!(value, SqlValue::Null) { String::new() } else { as_text(&value) }
}

fn broken(error: &dyn std::fmt::Display) -> Problem {
    Problem::new("failed", format!("the rows cannot be written: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_quoted_where_they_need_it() {
        let rows = vec![
            vec![SqlValue::Text("a, \"b\"\n".to_owned()), SqlValue::Null, SqlValue::Boolean(true)],
            vec![SqlValue::Decimal("1.50".to_owned()), SqlValue::Float(0.5), SqlValue::Date(0)],
        ];
        let names = vec!["x".to_owned(), "y".to_owned(), "z".to_owned()];
        let text = csv(Some(names), rows).expect("CSV");
        assert_eq!(String::from_utf8_lossy(&text), "x,y,z\n\"a, \"\"b\"\"\n\",,true\n1.50,0.5,1970-01-01\n");
    }
}
