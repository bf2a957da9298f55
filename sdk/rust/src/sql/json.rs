//! Lossless parser for JSON values of a database. Objects with duplicate names are rejected,
//! because a map would keep only one of the members.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

/// Key of the map in which `serde_json` passes a number of arbitrary precision.
const NUMBER_KEY: &str = "$serde_json::private::Number";

/// Parses JSON text.
///
/// # Errors
/// The text is not JSON, is nested too deeply, or has an object with a duplicate name.
pub(super) fn parse(text: &str) -> Result<Value, serde_json::Error> {
    if text.contains("serde_json::private::") {
        return Err(serde_json::Error::custom(format!("the name `{NUMBER_KEY}` is reserved")));
    }
    serde_json::from_str(text).map(|Unique(value)| value)
}

struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Unique(element)) = elements.next_element()? {
            array.push(element);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if name == NUMBER_KEY {
                let digits: String = members.next_value()?;
                return digits.parse::<Number>().map(Value::Number).map_err(A::Error::custom);
            }
            match object.entry(name) {
                Entry::Occupied(twice) => {
                    return Err(A::Error::custom(format!("the name `{}` appears twice in one object", twice.key())));
                }
                Entry::Vacant(vacant) => {
                    let Unique(member) = members.next_value()?;
                    vacant.insert(member);
                }
            }
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_preserves_all_digits_and_members() {
        let text = r#"{"a":[12345678901234567890123,0.10,null,true,-1,"x"],"b":{"c":1e+400}}"#;
        assert_eq!(parse(text).expect("JSON").to_string(), text);
        assert!(parse(r#"{"a": 1, "a": 2}"#).expect_err("twice").to_string().contains("`a` appears twice"));
        assert!(parse(r#"{"$serde_json::private::Number": "1"}"#).is_err());
    }
}
