//! Query parameters: values with their types ("Running parameterized queries", BigQuery).

use std::collections::BTreeMap;

use blockyard_sdk::prelude::*;

use super::statement::Statement;

/// The type of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ParameterType {
    Scalar(String),
    Array(Box<ParameterType>),
    Struct(Vec<(String, ParameterType)>),
}

/// The values of a statement's parameters, as requests have them; `types` names those that JSON does not
/// tell.
pub(crate) fn parameters(
    statement: &Statement,
    given: &Map<String, Value>,
    types: &BTreeMap<String, String>,
) -> Result<Vec<Value>> {
    let names = statement.names();
    let missing: Vec<&str> = names.iter().copied().filter(|name| !given.contains_key(*name)).collect();
    if !missing.is_empty() {
        let names = missing.join("`, `:");
        return Err(Problem::invalid(format!("the statement has parameters without a value: `:{names}`")));
    }
    if let Some(unknown) = given.keys().chain(types.keys()).find(|name| !names.contains(name.as_str())) {
        return Err(Problem::invalid(format!("the statement has no parameter `:{unknown}`")));
    }
    names.into_iter().map(|name| parameter(name, &given[name], types.get(name))).collect()
}

fn parameter(name: &str, value: &Value, kind: Option<&String>) -> Result<Value> {
    let wrong = |problem: Problem| problem.context(format!("parameter `:{name}`"));
    let kind = match kind {
        Some(text) => ParameterType::parse(text).ok_or_else(|| {
            wrong(Problem::invalid(format!("`{text}` is not a type")))
                .hint("for example `DATE`, `NUMERIC`, `ARRAY<INT64>` or `STRUCT<a INT64, b STRING>`")
        })?,
        None => ParameterType::of(value).map_err(wrong)?,
    };
    let value = kind.value(value).map_err(wrong)?;
    Ok(json!({ "name": name, "parameterType": kind.json(), "parameterValue": value }))
}

impl ParameterType {
    /// The type that a value has by itself. A text is a STRING, which BigQuery turns into a date or a time
    /// where it is compared with one only if it is a literal: such parameters need their type said.
    fn of(value: &Value) -> Result<Self> {
        Ok(match value {
            Value::Null | Value::String(_) => Self::scalar("STRING"),
            Value::Bool(_) => Self::scalar("BOOL"),
            Value::Number(number) if number.is_i64() => Self::scalar("INT64"),
            Value::Number(number) if number.is_u64() => Self::scalar("BIGNUMERIC"),
            Value::Number(_) => Self::scalar("FLOAT64"),
            Value::Array(items) => {
                let mut kinds = items.iter().filter(|item| !item.is_null()).map(Self::of);
                let first = kinds.next().transpose()?.unwrap_or_else(|| Self::scalar("STRING"));
                let mut item = first;
                for kind in kinds {
                    item = item.common(kind?)?;
                }
                Self::Array(Box::new(item))
            }
            Value::Object(parts) => Self::Struct(
                parts.iter().map(|(name, part)| Ok((name.clone(), Self::of(part)?))).collect::<Result<_>>()?,
            ),
        })
    }

    /// The type of a list with items of both.
    fn common(self, other: Self) -> Result<Self> {
        let number = |kind: &Self| matches!(kind, Self::Scalar(name) if name == "INT64" || name == "FLOAT64");
        if self == other {
            Ok(self)
        } else if number(&self) && number(&other) {
            Ok(Self::scalar("FLOAT64"))
        } else {
            Err(Problem::invalid("the items of the list are of several types").hint("say its type in `types`"))
        }
    }

    fn scalar(name: &str) -> Self {
        Self::Scalar(name.to_owned())
    }

    /// A type as GoogleSQL writes it.
    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = Self::parse_first(text)?;
        rest.trim().is_empty().then_some(kind)
    }

    fn parse_first(text: &str) -> Option<(Self, &str)> {
        let text = text.trim_start();
        let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let inner = rest.trim_start().strip_prefix('<');
        match (name.to_ascii_uppercase().as_str(), inner) {
            ("ARRAY", Some(inner)) => {
                let (item, rest) = Self::parse_first(inner)?;
                Some((Self::Array(Box::new(item)), rest.trim_start().strip_prefix('>')?))
            }
            ("STRUCT", Some(inner)) => {
                let (mut parts, mut rest) = (Vec::new(), inner);
                loop {
                    let part = rest.trim_start();
                    let end = part.find(char::is_whitespace)?;
                    let (kind, after) = Self::parse_first(&part[end..])?;
                    parts.push((part[..end].to_owned(), kind));
                    match after.trim_start().split_at_checked(1)? {
                        (">", after) => return Some((Self::Struct(parts), after)),
                        (",", after) => rest = after,
                        _ => return None,
                    }
                }
            }
            ("ARRAY" | "STRUCT" | "", _) => None,
            (name, None) => Some((Self::scalar(name), rest)),
            (_, Some(_)) => None,
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Scalar(name) => json!({ "type": name }),
            Self::Array(item) => json!({ "type": "ARRAY", "arrayType": item.json() }),
            Self::Struct(parts) => {
                let parts: Vec<Value> =
                    parts.iter().map(|(name, kind)| json!({ "name": name, "type": kind.json() })).collect();
                json!({ "type": "STRUCT", "structTypes": parts })
            }
        }
    }

    fn value(&self, value: &Value) -> Result<Value> {
        match (self, value) {
            // BigQuery has no null arrays.
            (Self::Array(_), Value::Null) => Ok(json!({ "arrayValues": [] })),
            (Self::Array(item), Value::Array(items)) => {
                let items = items.iter().map(|value| item.value(value)).collect::<Result<Vec<_>>>()?;
                Ok(json!({ "arrayValues": items }))
            }
            (Self::Struct(parts), Value::Object(given)) => {
                if let Some(unknown) = given.keys().find(|name| parts.iter().all(|(part, _)| part != *name)) {
                    return Err(Problem::invalid(format!("its type has no part `{unknown}`")));
                }
                let values = parts
                    .iter()
                    .map(|(name, kind)| Ok((name.clone(), kind.value(given.get(name).unwrap_or(&Value::Null))?)))
                    .collect::<Result<Map<_, _>>>()?;
                Ok(json!({ "structValues": values }))
            }
            (Self::Scalar(_) | Self::Struct(_), Value::Null) => Ok(json!({ "value": null })),
            (Self::Scalar(_), Value::String(text)) => Ok(json!({ "value": text })),
            (Self::Scalar(_), Value::Bool(_) | Value::Number(_)) => Ok(json!({ "value": value.to_string() })),
            (Self::Scalar(name), _) if name == "JSON" => Ok(json!({ "value": value.to_string() })),
            _ => Err(Problem::invalid("the value is not of its type")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(value: Value, kind: Option<&str>) -> Result<Value> {
        let statement = Statement::parse("select :p");
        let given = Map::from_iter([("p".to_owned(), value)]);
        let types = kind.map(|kind| ("p".to_owned(), kind.to_owned())).into_iter().collect();
        parameters(&statement, &given, &types).map(|all| all[0].clone())
    }

    #[test]
    fn types_are_told_by_the_values() {
        for (value, kind, written) in [
            (json!(1), json!({"type": "INT64"}), json!({"value": "1"})),
            (json!(u64::MAX), json!({"type": "BIGNUMERIC"}), json!({"value": "18446744073709551615"})),
            (json!(0.5), json!({"type": "FLOAT64"}), json!({"value": "0.5"})),
            (json!(true), json!({"type": "BOOL"}), json!({"value": "true"})),
            (json!(null), json!({"type": "STRING"}), json!({"value": null})),
            (
                json!([1, null, 0.5]),
                json!({"type": "ARRAY", "arrayType": {"type": "FLOAT64"}}),
                json!({"arrayValues": [{"value": "1"}, {"value": null}, {"value": "0.5"}]}),
            ),
            (
                json!({"a": "x"}),
                json!({"type": "STRUCT", "structTypes": [{"name": "a", "type": {"type": "STRING"}}]}),
                json!({"structValues": {"a": {"value": "x"}}}),
            ),
        ] {
            let parameter = one(value.clone(), None).expect("a parameter");
            assert_eq!((&parameter["parameterType"], &parameter["parameterValue"]), (&kind, &written), "{value}");
        }
        assert!(one(json!([1, "a"]), None).expect_err("two types").message().contains("several types"));
    }

    #[test]
    fn types_are_said_where_they_are_not() {
        assert_eq!(one(json!("2013-01-01"), Some("date")).expect("a date")["parameterType"]["type"], "DATE");
        let nested = one(json!([{"a": 1, "b": ["2013-01-01"]}]), Some("ARRAY<STRUCT<a INT64, b ARRAY<DATE>>>"));
        let nested = nested.expect("nested");
        assert_eq!(nested["parameterType"]["arrayType"]["structTypes"][1]["type"]["arrayType"]["type"], "DATE");
        assert_eq!(nested["parameterValue"]["arrayValues"][0]["structValues"]["a"]["value"], "1");
        for wrong in ["", "ARRAY", "ARRAY<", "STRUCT<a>", "INT64 x", "DATE<INT64>", "STRUCT<a INT64"] {
            assert!(one(json!(1), Some(wrong)).expect_err(wrong).message().contains("is not a type"), "{wrong}");
        }
        assert!(one(json!([1]), Some("INT64")).is_err());
        assert!(one(json!({"z": 1}), Some("STRUCT<a INT64>")).is_err());
        assert_eq!(one(json!({"a": [1]}), Some("JSON")).expect("JSON")["parameterValue"]["value"], r#"{"a":[1]}"#);
    }

    #[test]
    fn names_are_checked() {
        let statement = Statement::parse("select :a, @b");
        let given = |value: Value| value.as_object().cloned().expect("an object");
        let missing = parameters(&statement, &given(json!({"a": 1})), &BTreeMap::new()).expect_err("no b");
        assert!(missing.message().contains("`:b`"));
        let unknown = parameters(&statement, &given(json!({"a": 1, "b": 2, "c": 3})), &BTreeMap::new());
        assert!(unknown.expect_err("c").message().contains("`:c`"));
    }
}
