//! Reads a document into the answers of a form.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::answer::{Answer, SecretAnswer};
use super::field::{Field, Form, Kind};
use crate::limits;
use crate::marker::source;
use crate::reference::{BLOCK_MARKER, target};
use crate::secret::SecretValue;

impl Form<'_> {
    /// Reads a document. Values that do not fit the form are retained as JSON, and so is the rest of
    /// a document with more than [`limits::FORM_VALUES`] values.
    #[must_use]
    pub fn read(&self, document: &Value) -> Answer {
        self.steps.refill();
        let mut left = limits::FORM_VALUES;
        self.root_field().read(document, &mut left)
    }
}

impl Field<'_> {
    fn read(&self, value: &Value, left: &mut usize) -> Answer {
        let Some(rest) = left.checked_sub(1) else { return Answer::Value(value.clone()) };
        *left = rest;
        match (&self.kind, value) {
            (_, Value::Null) => Answer::Null,
            (Kind::Secret, Value::String(secret)) => {
                Answer::Secret(SecretAnswer::Value(SecretValue::new(secret.clone())))
            }
            (Kind::Secret, marker) => match source(marker) {
                Some(source) => Answer::Secret(SecretAnswer::Source(source)),
                None => Answer::Value(value.clone()),
            },
            (Kind::Reference(_), Value::Object(marker)) if target(value).is_ok() => {
                let address = marker.get(BLOCK_MARKER).and_then(Value::as_str).unwrap_or_default();
                Answer::Reference(address.to_owned())
            }
            (Kind::Group, Value::Object(members)) => self.read_group(value, members, left),
            (Kind::Map, Value::Object(members)) => {
                let entries = members.iter().map(|(name, member)| (name.clone(), self.entry(name).read(member, left)));
                Answer::Map(entries.collect())
            }
            (Kind::List, Value::Array(elements)) => {
                let elements = elements.iter().enumerate();
                Answer::List(elements.map(|(index, element)| self.element(index).read(element, left)).collect())
            }
            (Kind::Variant(variants), _) => match self.variant_of(variants.len(), value) {
                Some(option) => Answer::Variant { option, answer: Box::new(self.variant(option).read(value, left)) },
                None => Answer::Value(value.clone()),
            },
            _ => Answer::Value(value.clone()),
        }
    }

    fn read_group(&self, value: &Value, members: &Map<String, Value>, left: &mut usize) -> Answer {
        let mut answers: BTreeMap<String, Answer> = BTreeMap::new();
        for field in self.members_of(value) {
            if let Some(member) = members.get(&field.name) {
                answers.insert(field.name.clone(), field.read(member, left));
            }
        }
        for (name, member) in members {
            if !answers.contains_key(name) {
                let field = self.other_member(name, value);
                let answer = field.map_or_else(|| Answer::Value(member.clone()), |field| field.read(member, left));
                answers.insert(name.clone(), answer);
            }
        }
        Answer::Group(answers)
    }

    /// Returns the variant that a value has: the first that accepts it.
    #[must_use]
    pub fn variant_of(&self, variants: usize, value: &Value) -> Option<usize> {
        (0..variants).find(|option| self.variant(*option).accepts(value))
    }
}
