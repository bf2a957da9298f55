//! Rows of streaming inserts. Bytes, and numbers that a double cannot represent, are sent as
//! strings, from which BigQuery reads them exactly.

use blockyard_sdk::prelude::*;
use blockyard_sdk::sql::{self, Value as SqlValue};

/// Converts rows to the format of `tabledata.insertAll`.
pub(crate) fn prepared(rows: Vec<Map<String, Value>>) -> Result<Vec<Map<String, Value>>> {
    let rows = rows.into_iter().enumerate().map(|(index, row)| {
        let members = row.into_iter().map(|(name, value)| {
            let value = column(value).map_err(|problem| problem.context(format!("column `{name}`")))?;
            Ok((name, value))
        });
        members.collect::<Result<_>>().map_err(|problem| problem.context(format!("row {}", index + 1)))
    });
    rows.collect()
}

/// Converts the value of a column, or an element of an array. Records are unchanged, because a JSON
/// column may contain them.
fn column(value: Value) -> Result<Value> {
    Ok(match value {
        Value::Array(items) => items.into_iter().map(column).collect::<Result<Vec<_>>>()?.into(),
        other => match sql::parameter(&other)? {
            SqlValue::Decimal(digits) => digits.into(),
            SqlValue::Bytes(bytes) => sql::bytes_to_base64(&bytes).into(),
            _ => other,
        },
    })
}

#[cfg(test)]
mod tests {
    use blockyard_sdk::serde_json;

    use super::*;

    fn sent(row: &str) -> Result<String> {
        let rows = prepared(vec![serde_json::from_str(row).expect("a row")])?;
        Ok(serde_json::to_string(&rows[0]).expect("JSON"))
    }

    #[test]
    fn inserted_rows_preserve_digits_and_bytes() {
        let row = r#"{"a":12345678901234567890123,"b":[0.5,{"$bytes":"3q0"}],"c":{"d":12345678901234567890123},"e":1}"#;
        assert_eq!(
            sent(row).expect("a row"),
            r#"{"a":"12345678901234567890123","b":[0.5,"3q0="],"c":{"d":12345678901234567890123},"e":1}"#
        );
        let refused = sent(r#"{"a": {"$bytes": "*"}}"#).expect_err("no base64");
        assert!(refused.message().contains("row 1") && refused.message().contains("column `a`"), "{refused}");
    }
}
