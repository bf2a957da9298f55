//! CSV as `unload` writes it: null is an empty field, and an empty string is `""`. The writer of
//! `arrow-csv` cannot distinguish them.

use std::io::Write;

use arrow_array::{Array as _, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{ArrowError, Schema};

/// Size in bytes of the text that is written at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Writes the column names.
pub(super) fn write_header(schema: &Schema, out: &mut impl Write) -> std::io::Result<()> {
    let mut text = String::new();
    for (index, field) in schema.fields().iter().enumerate() {
        push(&mut text, index, Some(field.name()));
    }
    text.push('\n');
    out.write_all(text.as_bytes())
}

/// Writes the rows of a batch.
pub(super) fn write_rows(batch: &RecordBatch, out: &mut impl Write) -> Result<(), ArrowError> {
    let options = FormatOptions::default();
    let columns = batch.columns().iter();
    let columns = columns
        .map(|column| Ok((ArrayFormatter::try_new(column.as_ref(), &options)?, column.logical_nulls())))
        .collect::<Result<Vec<_>, ArrowError>>()?;
    let (mut text, mut value) = (String::new(), String::new());
    for row in 0..batch.num_rows() {
        for (index, (column, nulls)) in columns.iter().enumerate() {
            let is_null = nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
            value.clear();
            if !is_null {
                column.value(row).write(&mut value)?;
            }
            push(&mut text, index, (!is_null).then_some(value.as_str()));
        }
        text.push('\n');
        if text.len() >= CHUNK_BYTES {
            out.write_all(text.as_bytes())?;
            text.clear();
        }
    }
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Appends the field with this index to a line. A leading U+FEFF is quoted, because readers drop it
/// as a byte order mark.
fn push(line: &mut String, index: usize, field: Option<&str>) {
    if index > 0 {
        line.push(',');
    }
    match field {
        None => {}
        Some(field) if field.is_empty() || field.contains([',', '"', '\n', '\r']) || field.starts_with('\u{feff}') => {
            line.push('"');
            line.push_str(&field.replace('"', "\"\""));
            line.push('"');
        }
        Some(field) => line.push_str(field),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn csv(columns: Vec<(&str, ArrayRef)>) -> String {
        let batch = RecordBatch::try_from_iter(columns).expect("a batch");
        let mut out = Vec::new();
        write_header(&batch.schema(), &mut out).expect("a header");
        write_rows(&batch, &mut out).expect("rows");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn null_and_an_empty_string_differ() {
        let texts = || Arc::new(StringArray::from(vec![None, Some(""), Some("a")])) as ArrayRef;
        let numbers = Arc::new(Int64Array::from(vec![Some(1), None, Some(-3)])) as ArrayRef;
        assert_eq!(csv(vec![("a", texts()), ("b", numbers)]), "a,b\n,1\n\"\",\na,-3\n");
        assert_eq!(csv(vec![("a", texts())]), "a\n\n\"\"\na\n");
    }

    #[test]
    fn fields_are_quoted_if_necessary() {
        let texts = vec!["a,b", "a\"b", "a\nb", "a\rb", "\u{feff}a", "a\u{feff}", " a", "#a"];
        let column = Arc::new(StringArray::from(texts)) as ArrayRef;
        let expected = "\"\u{feff}x\"\n\"a,b\"\n\"a\"\"b\"\n\"a\nb\"\n\"a\rb\"\n\"\u{feff}a\"\na\u{feff}\n a\n#a\n";
        assert_eq!(csv(vec![("\u{feff}x", column)]), expected);
    }
}
