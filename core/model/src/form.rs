//! Forms: converts a schema into fields, and the answers into a document. The command line uses it
//! for its prompts, and any other user interface for its pages. Performs no I/O.
//!
//! A form is a tree of [`Field`]s. It is opened step by step, because the fields that apply depend
//! on the answers so far: [`Field::members`] evaluates `if`, `dependentSchemas` and the variants of
//! `oneOf` and `anyOf` on the value of the group. Recursive schemas therefore need no special case,
//! and every step is bounded by [`limits`](crate::limits).
//!
//! - A *group* is an object with named properties. A variant whose branches share a property with
//!   different constants (a tag) is a group, too: its tag is a choice, and the members of the chosen
//!   branch follow.
//! - A *list*, a *map* and a *variant* without a tag are opened by [`Field::element`],
//!   [`Field::entry`] and [`Field::variant`].
//! - Every other field has one value, which [`Field::parse`] reads from text, and [`Field::text`]
//!   writes as text.
//!
//! [`Form::read`] converts a document into an [`Answer`], and [`Answer::into_document`] converts it
//! back without a loss: an absent value, `null` and an empty value differ, numbers keep their digits,
//! and values that the schema does not describe are retained as JSON.

mod answer;
mod applicable;
mod field;
mod flat;
mod group;
mod read;
mod scalar;
mod structure;
#[cfg(test)]
mod tests;
mod view;

pub use self::answer::{Answer, SecretAnswer};
pub use self::field::{Field, Form, Kind, Variant};
pub use self::flat::{FieldKind, FlatField, fields};
pub use self::view::Word;
