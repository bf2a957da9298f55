//! Elements of arrays. The server writes an array as JSON, with its own text form for bytes, dates
//! and timestamps. These elements are converted to the form that single values have, and back.

use base64::Engine as _;
use serde_json::Value as Json;

use crate::cell::ColumnKind;
use crate::{literal, number};

/// Checks whether elements of this kind have a different text form in the server's JSON.
pub(super) fn is_converted(element: Option<ColumnKind>) -> bool {
    matches!(element, Some(ColumnKind::Bytes | ColumnKind::Date | ColumnKind::Timestamp | ColumnKind::Instant))
}

/// Converts the elements of the server's JSON to the common form; `None` if an element is invalid.
pub(super) fn to_common_form(json: &str, element: Option<ColumnKind>) -> Option<String> {
    let mut list: Json = serde_json::from_str(json).ok()?;
    if list.is_string() {
        return Some(json.to_owned()); // The literal of an array with subscripts.
    }
    each_text(&mut list, &|text| {
        Some(match element? {
            ColumnKind::Bytes => literal::BASE64.encode(literal::parse_bytes(text)?),
            _ if text.ends_with("infinity") => text.to_owned(),
            ColumnKind::Date => literal::date_text(literal::parse_date(text)?),
            ColumnKind::Timestamp => literal::iso_timestamp_text(literal::parse_timestamp(text)?.local, false),
            ColumnKind::Instant => literal::iso_timestamp_text(literal::parse_timestamp(text)?.instant()?, true),
            _ => text.to_owned(),
        })
    })?;
    Some(list.to_string())
}

/// Converts the elements of a parameter to the form that the server reads. The error describes an
/// invalid element. The server would accept some elements with a change: it rounds floats and times,
/// reads digits as a date, and stores any string as bytes.
pub(super) fn to_server_form(list: &mut Json, element: Option<ColumnKind>) -> Result<(), String> {
    match list {
        Json::Null => {}
        Json::Array(elements) => {
            for inner in elements {
                to_server_form(inner, element)?;
            }
        }
        single => {
            if let Some(text) = server_text(single, element)? {
                *single = Json::String(text);
            }
        }
    }
    Ok(())
}

/// Returns the text that the server reads for an element; `None` if the element stays as it is.
fn server_text(value: &Json, element: Option<ColumnKind>) -> Result<Option<String>, String> {
    let text = value.as_str();
    let bytes = value.as_object().and_then(|object| object.get(literal::BYTES));
    let is_infinite = text.is_some_and(|text| text.ends_with("infinity"));
    let (server, expected) = match element {
        Some(ColumnKind::Bytes) if bytes.is_some() => {
            (literal::bytes_of_object(value), "an object with only the member `$bytes`, a base64 string")
        }
        _ if bytes.is_some() => {
            return Err(format!(
                "an element of the array has the member `{}`, and the array is not one of `bytea`: write an element \
                 that is meant as JSON as a string",
                literal::BYTES
            ));
        }
        Some(ColumnKind::Bytes) => (text.and_then(literal::parse_bytes), "base64 or `\\x` with hexadecimal digits"),
        Some(kind @ (ColumnKind::Float32 | ColumnKind::Float64)) => {
            let written = value.as_number().map(ToString::to_string);
            let number = written.as_deref().or(text).unwrap_or_default();
            let is_exact = match kind {
                // A file with floats of 32 bits may have them as the equal doubles.
                ColumnKind::Float32 => number::single_of_text(number)
                    .or_else(|| number::double_of_text(number).and_then(number::single_of_double))
                    .is_some(),
                _ => number::double_of_text(number).is_some(),
            };
            return if is_exact { Ok(None) } else { Err(inexact(kind)) };
        }
        Some(ColumnKind::Date | ColumnKind::Timestamp | ColumnKind::Instant) if is_infinite => return Ok(None),
        Some(kind @ (ColumnKind::Date | ColumnKind::Time | ColumnKind::Timestamp | ColumnKind::Instant)) => {
            let (server, expected) = moment(text.unwrap_or_default(), kind);
            return server.map(Some).ok_or_else(|| invalid(expected));
        }
        _ => return Ok(None),
    };
    server.map(|bytes| Some(literal::postgres_bytes_text(&bytes))).ok_or_else(|| invalid(expected))
}

/// Converts a date or time, and describes what is expected.
fn moment(text: &str, kind: ColumnKind) -> (Option<String>, &'static str) {
    match kind {
        ColumnKind::Date => (literal::parse_date(text).map(literal::postgres_date_text), "a date"),
        ColumnKind::Time => {
            (literal::parse_time(text).map(literal::time_text), "a time of day with at most six digits of a second")
        }
        ColumnKind::Instant => {
            let instant = literal::parse_timestamp(text).and_then(literal::Read::instant);
            (instant.map(|micros| literal::postgres_timestamp_text(micros, "+00")), "a timestamp with a time zone")
        }
        _ => {
            let read = literal::parse_timestamp(text);
            let local = read.filter(|read| read.offset.is_none_or(|offset| offset == 0)).map(|read| read.local);
            (local.map(|micros| literal::postgres_timestamp_text(micros, "")), "a timestamp without a time zone")
        }
    }
}

fn invalid(expected: &str) -> String {
    format!("an element of the array is not {expected}")
}

fn inexact(kind: ColumnKind) -> String {
    let expected = if kind == ColumnKind::Float32 { "real" } else { "double precision" };
    format!(
        "an element of the array is not a number that `{expected}` can hold with all digits: round it, or cast the \
         parameter, with `cast(cast(:name as numeric[]) as {expected}[])`"
    )
}

/// Replaces each string in nested lists.
fn each_text(json: &mut Json, convert: &dyn Fn(&str) -> Option<String>) -> Option<()> {
    match json {
        Json::String(text) => *text = convert(text)?,
        Json::Array(elements) => {
            for element in elements {
                each_text(element, convert)?;
            }
        }
        _ => {}
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn elements_are_formatted_like_single_values() {
        for (element, server, common) in [
            (ColumnKind::Bytes, r#"["\\xdead",null]"#, r#"["3q0=",null]"#),
            (
                ColumnKind::Date,
                r#"["0044-03-15 BC","infinity",["15000-12-31"]]"#,
                r#"["-0043-03-15","infinity",["+15000-12-31"]]"#,
            ),
            (ColumnKind::Instant, r#"["2013-02-08T12:00:00+01:00"]"#, r#"["2013-02-08T11:00:00Z"]"#),
            (ColumnKind::Timestamp, r#"["2013-02-08T11:00:00.5"]"#, r#"["2013-02-08T11:00:00.500000"]"#),
        ] {
            assert_eq!(to_common_form(server, Some(element)).as_deref(), Some(common), "{server}");
        }
        let back = |element, mut list: Json| to_server_form(&mut list, Some(element)).map(|()| list);
        assert_eq!(back(ColumnKind::Bytes, json!(["3q0=", null])), Ok(json!(["\\xdead", null])));
        assert_eq!(
            back(ColumnKind::Date, json!([["-0043-03-15"], "infinity"])),
            Ok(json!([["0044-03-15 BC"], "infinity"]))
        );
        assert!(back(ColumnKind::Bytes, json!(["*"])).is_err());
        assert!(back(ColumnKind::Instant, json!(["2013-02-08T11:00:00"])).is_err());
        assert_eq!(back(ColumnKind::Bytes, json!([{"$bytes": "3q0="}])), Ok(json!(["\\xdead"])));
        assert_eq!(back(ColumnKind::Time, json!(["11:00", null])), Ok(json!(["11:00:00", null])));
    }

    #[test]
    fn elements_that_the_server_would_change_are_rejected() {
        let parsed = |text: &str| -> Json { serde_json::from_str(text).expect("JSON") };
        for (element, list) in [
            (ColumnKind::Float64, "[9007199254740993]"),
            (ColumnKind::Float64, "[0.5, [0.1234567890123456789]]"),
            (ColumnKind::Float64, "[\"9007199254740993\"]"),
            (ColumnKind::Float64, "[1e400]"),
            (ColumnKind::Float64, "[true]"),
            (ColumnKind::Float32, "[16777217]"),
            (ColumnKind::Float32, "[0.123456789123]"),
            (ColumnKind::Bytes, "[{\"$bytes\": \"*\"}]"),
            (ColumnKind::Bytes, "[{\"$bytes\": \"3q0=\", \"a\": 1}]"),
            (ColumnKind::Bytes, "[{\"a\": 1}]"),
            (ColumnKind::Bytes, "[12]"),
            (ColumnKind::Text, "[{\"$bytes\": \"3q0=\"}]"),
            (ColumnKind::Date, "[20130208]"),
            (ColumnKind::Time, "[\"11:00:00.1234567\"]"),
            (ColumnKind::Time, "[110000]"),
        ] {
            assert!(to_server_form(&mut parsed(list), Some(element)).is_err(), "{element:?} {list}");
        }
        for (element, list) in [
            (ColumnKind::Float64, "[9007199254740992, 0.1, \"NaN\", \"Infinity\", 1.50, null]"),
            (ColumnKind::Float32, "[16777216, 0.1, 0.10000000149011612, \"-Infinity\"]"),
            (ColumnKind::Decimal, "[0.1234567890123456789]"),
            (ColumnKind::Text, "[1.10, {\"a\": 1}]"),
        ] {
            let mut accepted = parsed(list);
            assert_eq!(to_server_form(&mut accepted, Some(element)), Ok(()), "{element:?} {list}");
            assert_eq!(accepted, parsed(list));
        }
    }
}
