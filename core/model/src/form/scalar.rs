//! Values of single fields as text.

use serde_json::Value;

use super::field::{Field, Kind};
use crate::exact;
use crate::reference::{BLOCK_MARKER, block_marker, target};

impl Field<'_> {
    /// Converts text into a value of this field. The empty text is a value of text fields only.
    ///
    /// # Errors
    /// Returns a description of the expected text. It does not quote the text.
    pub fn parse(&self, text: &str) -> Result<Value, String> {
        if self.nullable && text == "null" && !matches!(self.kind, Kind::Text { .. } | Kind::Secret) {
            return Ok(Value::Null);
        }
        match &self.kind {
            Kind::Text { .. } | Kind::Secret => Ok(Value::from(text)),
            Kind::Integer => exact::parse(text)
                .ok()
                .filter(|value| value.is_i64() || value.is_u64())
                .ok_or_else(|| "expected an integer of at most 64 bits".to_owned()),
            Kind::Number => exact::parse(text)
                .ok()
                .filter(Value::is_number)
                .ok_or_else(|| "expected a number of at most 17 digits".to_owned()),
            Kind::Boolean => match text {
                "yes" | "y" | "true" => Ok(Value::from(true)),
                "no" | "n" | "false" => Ok(Value::from(false)),
                _ => Err("expected `yes` or `no`".to_owned()),
            },
            Kind::Choice(words) => {
                let found = words.iter().find(|word| plain(word.value) == text);
                found.map(|word| word.value.clone()).ok_or_else(|| {
                    let words: Vec<String> = words.iter().map(|word| plain(word.value)).collect();
                    format!("expected one of {}", words.join(", "))
                })
            }
            Kind::Constant(value) if plain(value) == text => Ok((*value).clone()),
            Kind::Constant(value) => Err(format!("expected {}", plain(value))),
            Kind::Reference(_) => {
                let marker = if text.starts_with('{') { json(text)? } else { block_marker(text) };
                target(&marker).map(|_| marker)
            }
            Kind::Group | Kind::List | Kind::Map | Kind::Variant(_) | Kind::Json => json(text),
        }
    }

    /// Returns a value as the text that [`parse`](Self::parse) converts back. Returns `None` if no text
    /// does: the value does not have the kind of the field.
    #[must_use]
    pub fn text(&self, value: &Value) -> Option<String> {
        let text = match (&self.kind, value) {
            (Kind::Reference(_), Value::Object(marker)) => marker.get(BLOCK_MARKER)?.as_str()?.to_owned(),
            (Kind::Boolean, Value::Bool(flag)) => if *flag { "yes" } else { "no" }.to_owned(),
            (Kind::Text { .. } | Kind::Secret | Kind::Choice(_) | Kind::Constant(_), Value::String(text)) => {
                text.clone()
            }
            _ => value.to_string(),
        };
        (self.parse(&text).as_ref() == Ok(value)).then_some(text)
    }
}

fn json(text: &str) -> Result<Value, String> {
    exact::parse(text).map_err(|error| format!("expected JSON: {error}"))
}

/// Returns a string as it is, and any other value as JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
