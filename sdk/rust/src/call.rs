//! A call of an operation, for the code that the macros generate.

use serde::Deserializer;
use serde::de::{DeserializeOwned, Error as _, Visitor};
use serde_json::{Map, Value};

use crate::{Body, Problem, Result};

/// Call of an operation.
pub struct Call<'a> {
    operation: &'a str,
    arguments: Value,
    input: Option<Body>,
}

impl<'a> Call<'a> {
    /// Creates a call.
    #[must_use]
    pub fn new(operation: &'a str, arguments: Value, input: Option<Body>) -> Self {
        Self { operation, arguments, input }
    }

    /// Returns the name of the operation.
    #[must_use]
    pub fn operation(&self) -> &'a str {
        self.operation
    }

    /// Takes the arguments as one struct.
    ///
    /// # Errors
    /// The arguments do not match the struct.
    pub fn arguments<A: DeserializeOwned>(&mut self) -> Result<A> {
        arguments(self.arguments.take())
    }

    /// Takes the arguments, to divide them into several structs.
    ///
    /// # Errors
    /// The arguments are not an object.
    pub fn parameters(&mut self) -> Result<Parameters> {
        match self.arguments.take() {
            Value::Object(parameters) => Ok(Parameters(parameters)),
            _ => Err(Problem::invalid("arguments: expected an object")),
        }
    }

    /// Takes the input, if there is one.
    pub fn input(&mut self) -> Option<Body> {
        self.input.take()
    }

    /// Takes the input.
    ///
    /// # Errors
    /// There is no input.
    pub fn need_input(&mut self) -> Result<Body> {
        Problem::need_input(self.input.take())
    }
}

/// Deserializes the arguments of an operation, which the host has already validated against the
/// schema.
///
/// # Errors
/// The arguments do not match the type.
pub fn arguments<A: DeserializeOwned>(arguments: Value) -> Result<A> {
    serde_json::from_value(arguments).map_err(mismatch)
}

fn mismatch(error: serde_json::Error) -> Problem {
    Problem::invalid(format!("arguments: {error}"))
}

/// Arguments that are divided into several structs. Each takes the members that are its fields.
/// Unlike the attribute `flatten` of serde, this rejects the members that no struct has.
pub struct Parameters(Map<String, Value>);

impl Parameters {
    /// Takes the fields of one struct.
    ///
    /// # Errors
    /// A field is missing or does not match its type.
    pub fn take<T: DeserializeOwned>(&mut self) -> Result<T> {
        T::deserialize(Fields(self)).map_err(mismatch)
    }

    /// Ends the division.
    ///
    /// # Errors
    /// A member is left over.
    pub fn finish(self) -> Result<()> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(Problem::invalid(format!("arguments: unknown field `{name}`"))),
        }
    }
}

/// Deserializes a struct from the members that are its fields.
struct Fields<'a>(&'a mut Parameters);

impl<'de> Deserializer<'de> for Fields<'_> {
    type Error = serde_json::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> core::result::Result<V::Value, Self::Error> {
        let members = &mut self.0.0;
        let own: Map<String, Value> = fields.iter().filter_map(|field| members.remove_entry(*field)).collect();
        Value::Object(own).deserialize_struct(name, fields, visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> core::result::Result<V::Value, Self::Error> {
        Err(serde_json::Error::custom("only a struct with named fields can be flattened"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Deserialize, Debug, PartialEq)]
    struct Page {
        size: u32,
        token: Option<String>,
    }

    #[derive(Deserialize, Debug, PartialEq)]
    struct Filter {
        #[serde(default)]
        prefix: String,
    }

    fn parameters(arguments: Value) -> Parameters {
        Call::new("list", arguments, None).parameters().expect("an object")
    }

    #[test]
    fn each_struct_takes_its_fields() {
        let mut given = parameters(json!({"size": 3, "prefix": "a/"}));
        assert_eq!(given.take::<Filter>().expect("a filter"), Filter { prefix: "a/".to_owned() });
        assert_eq!(given.take::<Page>().expect("a page"), Page { size: 3, token: None });
        given.finish().expect("no member is left");
    }

    #[test]
    fn unknown_missing_and_invalid_members_are_rejected() {
        let mut given = parameters(json!({"prefix": "a/", "sise": 3}));
        let missing = given.take::<Page>().expect_err("no size");
        assert_eq!(missing.message(), "arguments: missing field `size`");
        given.take::<Filter>().expect("a filter");
        assert_eq!(given.finish().expect_err("a member is left").message(), "arguments: unknown field `sise`");

        let wrong = parameters(json!({"size": "three"})).take::<Page>().expect_err("no number");
        assert!(wrong.message().starts_with("arguments: invalid type: string \"three\""), "{wrong}");
        let list = Call::new("list", json!([]), None).parameters().err().expect("no object");
        assert_eq!(list.message(), "arguments: expected an object");
        let map = parameters(json!({})).take::<Map<String, Value>>().expect_err("no struct");
        assert_eq!(map.message(), "arguments: only a struct with named fields can be flattened");
    }
}
