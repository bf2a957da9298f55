//! JSON that loses nothing: a number that a document cannot hold to the last digit is refused, not
//! rounded, and so is an object in which a name stands twice.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

/// Why a text was not read.
#[derive(Debug, thiserror::Error)]
pub enum ExactError {
    /// It is not JSON.
    #[error("{0}")]
    NotJson(serde_json::Error),
    /// It has a number with more digits than there is room for. The number is not told: it may stand
    /// where a secret should.
    #[error(
        "the number in line {line}, column {column} would lose digits; write it as a text, where the field takes one"
    )]
    Inexact {
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in characters.
        column: usize,
    },
}

/// Reads a JSON text (RFC 8259). Whole numbers of 64 bit and IEEE 754 doubles are kept as they are.
///
/// # Errors
/// [`ExactError`].
pub fn parse(text: &str) -> Result<Value, ExactError> {
    let Unique(value) = serde_json::from_str(text).map_err(ExactError::NotJson)?;
    match numbers(text).find(|number| !is_exact(number)) {
        Some(number) => {
            let before = &text[..number.as_ptr().addr() - text.as_ptr().addr()];
            let line = before.split('\n').next_back().unwrap_or_default();
            Err(ExactError::Inexact { line: before.matches('\n').count() + 1, column: line.chars().count() + 1 })
        }
        None => Ok(value),
    }
}

/// A value in which no object has a name twice: JSON lets a reader take either.
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
            match object.entry(name) {
                Entry::Occupied(twice) => {
                    let name = crate::name::printable(twice.key());
                    return Err(A::Error::custom(format!("the name `{name}` stands twice in one object")));
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

/// Whether a number is still the same after it was read.
pub fn is_exact(number: &str) -> bool {
    serde_json::from_str::<Number>(number).is_ok_and(|read| decimal(number) == decimal(&read.to_string()))
}

/// The numbers in a valid JSON text.
fn numbers(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let start = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit())?;
            rest = &rest[start..];
            if !rest.starts_with('"') {
                let end = rest
                    .find(|c: char| !(c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E')))
                    .unwrap_or(rest.len());
                let number = &rest[..end];
                rest = &rest[end..];
                return Some(number);
            }
            let mut escaped = false;
            let end = rest.char_indices().skip(1).find(|(_, c)| {
                let closes = *c == '"' && !escaped;
                escaped = *c == '\\' && !escaped;
                closes
            });
            rest = end.map_or("", |(at, _)| &rest[at + 1..]);
        }
    })
}

/// Sign, digits without zeros at either end, and the power of ten of the last digit.
fn decimal(number: &str) -> Option<(bool, String, i64)> {
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.trim_start_matches('+').parse::<i64>().ok()?),
        None => (number, 0),
    };
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let trimmed = digits.trim_end_matches('0');
    let power = exponent - i64::try_from(fraction.len()).ok()? + i64::try_from(digits.len() - trimmed.len()).ok()?;
    let significant = trimmed.trim_start_matches('0');
    // Zero has no power and, in a document, no sign that anybody looks at.
    if significant.is_empty() {
        return Some((false, String::new(), 0));
    }
    Some((negative, significant.to_owned(), power))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_that_fit_are_read_and_others_refused() {
        for text in [
            "18446744073709551615",
            "-9223372036854775808",
            "1.5e3",
            "0.1",
            "[1, {\"a\": 2.50}]",
            "\"1.23456789012345678901\"",
            "{\"a\\\"-9.99999999999999999999\": 0.0}",
            "1e300",
        ] {
            assert!(parse(text).is_ok(), "{text}");
        }
        for text in ["18446744073709551616", "[0.12345678901234567890123]", "{\"a\": -1.00000000000000000001}", "1e400"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_that_stands_twice_is_refused() {
        let refused = parse(r#"{"a": 1, "b": {"c": 1, "c": 2}}"#).expect_err("refused").to_string();
        assert!(refused.contains("`c` stands twice in one object"), "{refused}");
        let text = r#"{"a":[null,true,-1,18446744073709551615,1.5,"x",{"a":{}}]}"#;
        assert_eq!(parse(text).expect("JSON").to_string(), text);
    }

    proptest! {
        #[test]
        fn every_double_and_every_integer_fits(double in any::<f64>().prop_filter("finite", |f| f.is_finite()), integer in any::<i64>()) {
            prop_assert!(is_exact(&serde_json::to_string(&double).expect("JSON")));
            prop_assert!(is_exact(&integer.to_string()));
        }
    }
}
