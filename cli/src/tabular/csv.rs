//! CSV as `unload` writes it: null is an empty field, and an empty string is `""`. The writer of
//! `arrow-csv` cannot distinguish them.

use std::io::Write;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, Schema};

use super::cell::Cells;

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
    let columns = batch.columns().iter();
    let columns = columns.map(|column| Cells::text(column.as_ref())).collect::<Result<Vec<_>, _>>()?;
    let (mut text, mut value) = (String::new(), String::new());
    for row in 0..batch.num_rows() {
        for (index, column) in columns.iter().enumerate() {
            value.clear();
            let is_present = column.write(row, &mut value);
            push(&mut text, index, is_present.then_some(value.as_str()));
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

    use arrow_array::{
        ArrayRef, BinaryArray, Date32Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
    };

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
    fn values_have_the_form_of_operations() {
        let zoned = TimestampMicrosecondArray::from(vec![Some(500_000), None]).with_timezone("UTC");
        let text = csv(vec![
            ("double", Arc::new(Float64Array::from(vec![Some(f64::NEG_INFINITY), None]))),
            ("bytes", Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\xde\xad"), None]))),
            ("day", Arc::new(Date32Array::from(vec![Some(-735_160), None]))),
            ("at", Arc::new(zoned)),
        ]);
        assert_eq!(text, "double,bytes,day,at\n-Infinity,3q0=,-0043-03-15,1970-01-01T00:00:00.500000Z\n,,,\n");
    }

    #[test]
    fn fields_are_quoted_if_necessary() {
        let texts = vec!["a,b", "a\"b", "a\nb", "a\rb", "\u{feff}a", "a\u{feff}", " a", "#a"];
        let column = Arc::new(StringArray::from(texts)) as ArrayRef;
        let expected = "\"\u{feff}x\"\n\"a,b\"\n\"a\"\"b\"\n\"a\nb\"\n\"a\rb\"\n\"\u{feff}a\"\na\u{feff}\n a\n#a\n";
        assert_eq!(csv(vec![("\u{feff}x", column)]), expected);
    }
}
