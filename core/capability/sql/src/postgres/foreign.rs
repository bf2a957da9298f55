//! Types without a common form: arrays, intervals, network addresses, ranges, money and the types
//! of extensions. The server itself converts them to and from text, by casts that are added to the
//! statement: around its columns, and around its parameters.

use std::borrow::Cow;

use sqlx::TypeInfo as _;
use sqlx::postgres::{PgTypeInfo, PgTypeKind};

use super::array;
use super::format::{self, TextForm};
use crate::bindings::blockyard::bundle::sql::Value;
use crate::cell::ColumnKind;
use crate::lexer::{Kind, POSTGRES, Token, tokens};
use crate::{literal, number};

/// Returns the text form of a type; `None` for types that have a common form.
pub(super) fn text_form(info: &PgTypeInfo) -> Option<TextForm> {
    if format::kind(info).is_some() {
        return None;
    }
    Some(match info.kind() {
        PgTypeKind::Array(_) => TextForm::Json,
        PgTypeKind::Domain(base) => text_form(base).unwrap_or(TextForm::Words),
        _ => TextForm::Words,
    })
}

/// Returns the statement with casts around the columns that need them. `columns` has one entry per
/// column.
pub(super) fn cast_columns(text: &str, columns: &[Option<TextForm>]) -> String {
    let names: Vec<String> = (1..=columns.len()).map(|number| format!("c{number}")).collect();
    let casts: Vec<String> = names
        .iter()
        .zip(columns)
        .map(|(name, form)| match form {
            None => name.clone(),
            Some(TextForm::Words) => format!("{name}::text"),
            Some(TextForm::Json) => array_as_json(name),
        })
        .collect();
    // On separate lines, because the statement may end in a comment.
    format!("with blockyard({}) as (\n{}\n) select {} from blockyard", names.join(", "), body(text), casts.join(", "))
}

/// Returns an expression that converts the array `column` to JSON. A JSON array has no subscripts, so
/// an array whose subscripts do not start at 1 becomes a JSON string with its literal, such as
/// `"[0:1]={1,2}"`, which is parsed to the same array. The subscripts of the vectors in the system
/// catalogs always start at 0.
fn array_as_json(column: &str) -> String {
    const OTHER_SUBSCRIPTS: &str = "'[[]([^1]|1[^:])'";
    const VECTORS: &str = "('int2vector'::regtype, 'oidvector'::regtype)";
    format!(
        "case when array_dims({column}) ~ {OTHER_SUBSCRIPTS} and pg_typeof({column}) not in {VECTORS} \
         then to_json({column}::text) else to_json({column}) end::text"
    )
}

/// Like [`cast_columns`], and keeps the names of the columns.
pub(super) fn cast_named_columns(text: &str, columns: &[Option<TextForm>], names: &[&str]) -> String {
    let numbers: Vec<String> = (1..=columns.len()).map(|number| format!("c{number}")).collect();
    let casts: Vec<String> = numbers
        .iter()
        .zip(columns)
        .zip(names)
        .map(|((number, form), name)| {
            let name = name.replace('"', "\"\"");
            match form {
                None => format!("{number} as \"{name}\""),
                Some(TextForm::Words) => format!("{number}::text as \"{name}\""),
                Some(TextForm::Json) => format!("{} as \"{name}\"", array_as_json(number)),
            }
        })
        .collect();
    let (numbers, casts) = (numbers.join(", "), casts.join(", "));
    format!("with blockyard({numbers}) as (\n{}\n) select {casts} from blockyard", body(text))
}

/// Returns the statement with `null` in place of each parameter.
pub(super) fn without_parameters(text: &str) -> String {
    tokens(text, &POSTGRES).map(|token| if token.kind == Kind::Parameter { "null" } else { token.text }).collect()
}

/// Returns the statement with casts around the parameters that need them. `types` has one entry per
/// parameter.
pub(super) fn cast_parameters(text: &str, types: &[PgTypeInfo]) -> String {
    let cast = |token: Token<'_>| {
        let number = token.text.strip_prefix('$').filter(|_| token.kind == Kind::Parameter);
        let index = number.and_then(|number| number.parse::<usize>().ok()?.checked_sub(1));
        let info = index.and_then(|index| types.get(index)).filter(|info| text_form(info).is_some())?;
        Some(format!("({}::text)::{}", token.text, name_for_cast(info)))
    };
    tokens(text, &POSTGRES).map(|token| cast(token).map_or(Cow::Borrowed(token.text), Cow::Owned)).collect()
}

/// Returns the name of a type for a cast. A cast to `bit` or `char` without a length would truncate
/// the value to a length of one.
fn name_for_cast(info: &PgTypeInfo) -> &str {
    match info.name() {
        "BIT" => "varbit",
        "BIT[]" => "varbit[]",
        "CHAR[]" => "bpchar[]",
        name => name,
    }
}

/// Returns a value as text that the server reads for a type without a common form; `None` is NULL.
pub(super) fn to_text(value: &Value, info: &PgTypeInfo) -> Result<Option<String>, String> {
    if let Value::Json(json) = value
        && ["int2vector", "oidvector"].into_iter().any(|vector| info.name().eq_ignore_ascii_case(vector))
        && let Ok(vector) = serde_json::from_str(json)
    {
        return Ok(Some(vector_literal(&vector)));
    }
    to_text_of_form(value, text_form(info).unwrap_or(TextForm::Words), format::element(info))
}

/// Like [`to_text`], for a type with this text form. `element` is the kind of an array's elements, if
/// they have a common form.
pub(super) fn to_text_of_form(
    value: &Value,
    form: TextForm,
    element: Option<ColumnKind>,
) -> Result<Option<String>, String> {
    let array = form == TextForm::Json;
    Ok(Some(match value {
        Value::Null => return Ok(None),
        Value::Json(json) if array => match serde_json::from_str(json) {
            Err(_) => json.clone(),
            Ok(serde_json::Value::String(literal)) if literal.trim_start().starts_with(['{', '[']) => literal,
            Ok(mut list) => {
                array::to_server_form(&mut list, element)?;
                array_literal(&list)
            }
        },
        Value::Text(text) | Value::Decimal(text) | Value::Uuid(text) | Value::Json(text) | Value::Other((_, text)) => {
            text.clone()
        }
        Value::Boolean(v) => v.to_string(),
        Value::Integer(v) => v.to_string(),
        Value::Float(v) => number::float_text(*v),
        Value::Bytes(bytes) => literal::postgres_bytes_text(bytes),
        Value::Date(days) => literal::postgres_date_text(*days),
        Value::Time(micros) => literal::time_text(*micros),
        Value::Timestamp(timestamp) => {
            let zone = if timestamp.offset_minutes.is_some() { "+00" } else { "" };
            literal::postgres_timestamp_text(timestamp.micros, zone)
        }
    }))
}

/// Formats JSON as an `int2vector` or `oidvector`, whose elements are separated by spaces.
fn vector_literal(json: &serde_json::Value) -> String {
    match json {
        serde_json::Value::Array(list) => list.iter().map(vector_literal).collect::<Vec<_>>().join(" "),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Formats a JSON array as a PostgreSQL array
/// (<https://www.postgresql.org/docs/current/arrays.html#ARRAYS-INPUT>).
fn array_literal(json: &serde_json::Value) -> String {
    use serde_json::Value as Json;
    match json {
        Json::Null => "NULL".to_owned(),
        Json::Array(elements) => {
            format!("{{{}}}", elements.iter().map(array_literal).collect::<Vec<_>>().join(","))
        }
        Json::String(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        Json::Object(_) => array_literal(&Json::String(json.to_string())),
        other => other.to_string(),
    }
}

/// Returns the statement without semicolons, comments and white space at its end.
pub(super) fn body(text: &str) -> &str {
    let (mut at, mut end) = (0, 0);
    for token in tokens(text, &POSTGRES) {
        at += token.text.len();
        if !(token.is_trivia() || token.is_operator(";")) {
            end = at;
        }
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sqlx::postgres::types::PgInterval;
    use sqlx::{Postgres, Type};

    fn interval() -> PgTypeInfo {
        <PgInterval as Type<Postgres>>::type_info()
    }

    #[test]
    fn parameters_are_cast_outside_of_strings_and_comments() {
        let types = [interval(), <i64 as Type<Postgres>>::type_info()];
        let cast = |text: &str| cast_parameters(text, &types);
        assert_eq!(cast("select $1, $2, x$1, $12"), "select ($1::text)::INTERVAL, $2, x$1, $12");
        assert_eq!(
            cast("select '$1', \"$1\", $$ $1 $$, $a$ $1 $a$ -- $1"),
            "select '$1', \"$1\", $$ $1 $$, $a$ $1 $a$ -- $1"
        );
        assert_eq!(
            cast(r"select E'\'$1', /* $1 /* */ $1 */ $1"),
            r"select E'\'$1', /* $1 /* */ $1 */ ($1::text)::INTERVAL"
        );
    }

    #[test]
    fn columns_are_cast_in_an_outer_select() {
        let cast =
            cast_columns("select 1, a ';' -- ; end\n; /* x */ ;", &[None, Some(TextForm::Words), Some(TextForm::Json)]);
        let array = array_as_json("c3");
        assert!(array.contains("else to_json(c3) end::text"), "{array}");
        assert_eq!(
            cast,
            format!("with blockyard(c1, c2, c3) as (\nselect 1, a ';'\n) select c1, c2::text, {array} from blockyard")
        );
    }

    #[test]
    fn parameters_are_replaced_by_null() {
        assert_eq!(without_parameters("select $1, '$2', x$3 -- $4"), "select null, '$2', x$3 -- $4");
        let cast = cast_named_columns("select 1, 2;", &[None, Some(TextForm::Words)], &["a", "b\"c"]);
        assert_eq!(
            cast,
            "with blockyard(c1, c2) as (\nselect 1, 2\n) select c1 as \"a\", c2::text as \"b\"\"c\" from blockyard"
        );
    }

    #[test]
    fn lists_are_formatted_as_vectors() {
        assert_eq!(vector_literal(&serde_json::json!([1, "2"])), "1 2");
        assert_eq!(vector_literal(&serde_json::json!("1 2")), "1 2");
    }

    #[test]
    fn lists_are_formatted_as_arrays() {
        let list = serde_json::json!([[1, null], ["a\"b\\c", "NULL"], [true, 1.5]]);
        assert_eq!(array_literal(&list), r#"{{1,NULL},{"a\"b\\c","NULL"},{true,1.5}}"#);
    }

    #[test]
    fn only_array_literals_are_sent_unchanged() {
        let sent = |json: &str, element| to_text_of_form(&Value::Json(json.to_owned()), TextForm::Json, Some(element));
        let numbers = |json: &str| sent(json, ColumnKind::Float64);
        assert_eq!(numbers(r#""[0:1]={0.5,2}""#), Ok(Some("[0:1]={0.5,2}".to_owned())));
        assert_eq!(numbers(r#""{0.5,2}""#), Ok(Some("{0.5,2}".to_owned())));
        assert!(numbers(r#""9007199254740993""#).is_err());
        assert!(sent(r#""20130208""#, ColumnKind::Date).is_err());
    }

    proptest! {
        /// A statement without a parameter that needs a cast stays unchanged.
        #[test]
        fn statements_without_casts_are_unchanged(text in "[a-z0-9 '\"$;,/*-]{0,60}") {
            prop_assert_eq!(cast_parameters(&text, &[]), text);
        }
    }
}
