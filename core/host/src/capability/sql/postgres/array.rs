//! Elements of arrays. The server writes an array as JSON, with its own text form for bytes, dates
//! and timestamps. These elements are converted to the form that single values have, and back.

use base64::Engine as _;
use serde_json::Value as Json;

use crate::capability::sql::cell::ColumnKind;
use crate::capability::sql::literal;

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
/// invalid element.
pub(super) fn to_server_form(list: &mut Json, element: Option<ColumnKind>) -> Result<(), String> {
    let mut wrong = String::new();
    let mut converted = |text: &str| -> Option<String> {
        let server = match element {
            Some(ColumnKind::Bytes) => literal::parse_bytes(text).map(|bytes| super::foreign::hex(&bytes)),
            Some(ColumnKind::Date) if !text.ends_with("infinity") => {
                literal::parse_date(text).map(literal::postgres_date_text)
            }
            Some(ColumnKind::Timestamp) if !text.ends_with("infinity") => literal::parse_timestamp(text)
                .filter(|read| read.offset.is_none_or(|offset| offset == 0))
                .map(|read| literal::postgres_timestamp_text(read.local, "")),
            Some(ColumnKind::Instant) if !text.ends_with("infinity") => literal::parse_timestamp(text)
                .and_then(literal::Read::instant)
                .map(|micros| literal::postgres_timestamp_text(micros, "+00")),
            _ => Some(text.to_owned()),
        };
        if server.is_none() {
            wrong = match element {
                Some(ColumnKind::Bytes) => {
                    "an element of the array is neither base64 nor `\\x` with hexadecimal digits"
                }
                Some(ColumnKind::Instant) => "an element of the array is not a timestamp with a time zone",
                Some(ColumnKind::Timestamp) => "an element of the array is not a timestamp without a time zone",
                _ => "an element of the array is not a date",
            }
            .to_owned();
        }
        server
    };
    match each_text_mut(list, &mut converted) {
        Some(()) => Ok(()),
        None => Err(wrong),
    }
}

fn each_text(json: &mut Json, convert: &dyn Fn(&str) -> Option<String>) -> Option<()> {
    each_text_mut(json, &mut |text| convert(text))
}

fn each_text_mut(json: &mut Json, convert: &mut dyn FnMut(&str) -> Option<String>) -> Option<()> {
    match json {
        Json::String(text) => *text = convert(text)?,
        Json::Array(elements) => {
            for element in elements {
                each_text_mut(element, convert)?;
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
    fn elements_have_the_form_of_single_values() {
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
    }
}
