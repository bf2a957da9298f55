//! Answers to a form.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::marker::source_marker;
use crate::reference::block_marker;
use crate::secret::{MASK, SecretSource, SecretValue};

/// The answer to a field.
#[derive(Clone, PartialEq)]
pub enum Answer {
    /// The document does not contain the field.
    Absent,
    /// The value is `null`.
    Null,
    /// The value of a single field. Numbers are exact.
    Value(Value),
    /// A reference to the block with this address.
    Reference(String),
    /// A secret.
    Secret(SecretAnswer),
    /// The members of a group, including those that its form does not list.
    Group(BTreeMap<String, Answer>),
    /// The elements of a list.
    List(Vec<Answer>),
    /// The entries of a map.
    Map(BTreeMap<String, Answer>),
    /// A value in the form of one of the variants.
    Variant {
        /// Index of the variant.
        option: usize,
        /// The answer in its form.
        answer: Box<Answer>,
    },
}

/// The answer to a secret field.
#[derive(Clone, PartialEq)]
pub enum SecretAnswer {
    /// A value to be sealed.
    Value(SecretValue),
    /// A source that is read at each call.
    Source(SecretSource),
}

impl Answer {
    /// Returns the document of the answers. Returns `None` for an absent value.
    #[must_use]
    pub fn into_document(self) -> Option<Value> {
        let members = |members: BTreeMap<String, Self>| -> Value {
            members.into_iter().filter_map(|(name, answer)| Some((name, answer.into_document()?))).collect()
        };
        Some(match self {
            Self::Absent => return None,
            Self::Null => Value::Null,
            Self::Value(value) => value,
            Self::Reference(address) => block_marker(&address),
            Self::Secret(SecretAnswer::Value(secret)) => Value::from(secret.expose()),
            Self::Secret(SecretAnswer::Source(source)) => source_marker(&source),
            Self::Group(answers) | Self::Map(answers) => members(answers),
            Self::List(answers) => answers.into_iter().filter_map(Self::into_document).collect(),
            Self::Variant { answer, .. } => return answer.into_document(),
        })
    }
}

/// Shows the structure of the answers. The values may be secrets that the schema does not declare.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("Absent"),
            Self::Null => f.write_str("Null"),
            Self::Value(_) => write!(f, "Value({MASK})"),
            Self::Reference(address) => write!(f, "Reference({address})"),
            Self::Secret(_) => write!(f, "Secret({MASK})"),
            Self::Group(members) => f.debug_tuple("Group").field(members).finish(),
            Self::List(elements) => f.debug_tuple("List").field(elements).finish(),
            Self::Map(entries) => f.debug_tuple("Map").field(entries).finish(),
            Self::Variant { option, answer } => f.debug_tuple("Variant").field(option).field(answer).finish(),
        }
    }
}

impl fmt::Debug for SecretAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}
