//! Block types and operations, as the macros describe them.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{Body, Problem, Result};

/// A block's configuration. Made by `#[derive(Block)]`.
pub trait Block: Sized + 'static {
    /// The type's slug.
    const TYPE: &'static str;
    /// The type's version, from 1.
    const VERSION: u32;
    /// The type's name for people.
    const TITLE: &'static str;
    /// What it is, for people.
    const DESCRIPTION: &'static str;
    /// The standard interfaces that it implements.
    const INTERFACES: &'static [&'static str];

    /// The JSON Schema (2020-12) of the configuration.
    fn schema() -> Value;

    /// The configuration from its document.
    ///
    /// # Errors
    /// Where the document does not fit.
    fn from_config(config: Value) -> core::result::Result<Self, serde_json::Error>;
}

/// What a block can do. Made by `#[operations]`.
pub trait Operations: Block {
    /// All operations.
    fn operations() -> Vec<OperationDescription>;

    /// Does one.
    ///
    /// # Errors
    /// The operation's own.
    fn invoke(&self, operation: &str, arguments: Value, input: Option<Body>) -> Result<Reply>;

    /// Can the block do its work now? From the method with `#[check]`.
    fn check(&self) -> Vec<Step> {
        Vec::new()
    }

    /// What the schema cannot say about a configuration. From the method with `#[validate]`.
    fn validate(&self) -> Vec<Violation> {
        Vec::new()
    }
}

/// An operation in the manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationDescription(Value);

/// What an operation gives back: a result, and a stream of bytes where it has one.
pub struct Reply {
    pub(crate) result: Value,
    pub(crate) output: Output,
}

/// The bytes beside a result.
pub(crate) enum Output {
    None,
    Body(Body),
    Parts(Parts),
}

/// A result with a stream of bytes beside it.
pub struct Streamed<T> {
    /// The result.
    pub result: T,
    /// The bytes. They may be passed on without having been read.
    pub body: Body,
}

/// A result with bytes that are made piece by piece, while they are read: pages of a list, ranges of
/// an object. Each piece is a body, which may be passed on without having been read.
pub struct InParts<T> {
    /// The result.
    pub result: T,
    /// The pieces.
    pub parts: Parts,
}

/// Pieces of an output. The host asks for the next one when the last one was read.
pub struct Parts(Box<Next>);

type Next = dyn FnMut() -> Result<Option<Body>>;

impl Parts {
    /// Pieces from a function that gives the next one, and none at the end.
    pub fn new(next: impl FnMut() -> Result<Option<Body>> + 'static) -> Self {
        Self(Box::new(next))
    }

    pub(crate) fn next(&mut self) -> Result<Option<Body>> {
        (self.0)()
    }
}

/// What an operation may return.
pub trait OperationResult: Sized {
    /// Whether there is a stream of bytes.
    const STREAMED: bool;
    /// The JSON Schema of the result.
    fn schema() -> Value;
    /// The reply to the host.
    ///
    /// # Errors
    /// Where the result is not JSON.
    fn into_reply(self) -> Result<Reply>;
}

/// One step of a check.
#[derive(serde::Serialize, serde::Deserialize, JsonSchema, Debug, Clone, PartialEq)]
pub struct Step {
    /// What was tried: `connect`, `authenticate`, …
    pub name: String,
    /// How it went.
    pub status: StepStatus,
    /// Why, or what was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// How long it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<u64>,
}

/// How a step of a check went.
#[derive(serde::Serialize, serde::Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum StepStatus {
    /// It works.
    Passed,
    /// It does not.
    Failed,
    /// An earlier step failed.
    Skipped,
}

/// What is wrong with one field of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field, as a JSON Pointer.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
}

impl Violation {
    /// A violation of the field at this JSON Pointer.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}

impl OperationDescription {
    #[doc(hidden)]
    #[must_use]
    pub fn new<A: JsonSchema, R: ResultOf>(name: &str, description: &str, effect: &str, input: bool) -> Self {
        Self(json!({
            "name": name,
            "description": description,
            "effect": effect,
            "arguments": schema_of::<A>(),
            "result": R::Value::schema(),
            "input": input,
            "output": R::Value::STREAMED,
        }))
    }

    #[doc(hidden)]
    #[must_use]
    pub fn safe(mut self, requests: &[&str]) -> Self {
        if !requests.is_empty() {
            self.0["safe"] = requests.into();
        }
        self
    }

    pub(crate) fn into_json(self) -> Value {
        self.0
    }
}

/// The type inside of an operation's `Result`.
#[doc(hidden)]
pub trait ResultOf {
    type Value: OperationResult;
}

impl<T: OperationResult> ResultOf for Result<T> {
    type Value = T;
}

impl<T: Serialize + JsonSchema> OperationResult for T {
    const STREAMED: bool = false;

    fn schema() -> Value {
        schema_of::<T>()
    }

    fn into_reply(self) -> Result<Reply> {
        Ok(Reply { result: to_json(&self)?, output: Output::None })
    }
}

impl<T: Serialize + JsonSchema> OperationResult for Streamed<T> {
    const STREAMED: bool = true;

    fn schema() -> Value {
        schema_of::<T>()
    }

    fn into_reply(self) -> Result<Reply> {
        Ok(Reply { result: to_json(&self.result)?, output: Output::Body(self.body) })
    }
}

impl<T: Serialize + JsonSchema> OperationResult for InParts<T> {
    const STREAMED: bool = true;

    fn schema() -> Value {
        schema_of::<T>()
    }

    fn into_reply(self) -> Result<Reply> {
        Ok(Reply { result: to_json(&self.result)?, output: Output::Parts(self.parts) })
    }
}

/// The arguments of an operation from JSON. The host has checked them against their schema.
///
/// # Errors
/// Where they do not fit after all.
pub fn arguments<A: DeserializeOwned>(arguments: Value) -> Result<A> {
    serde_json::from_value(arguments).map_err(|error| Problem::invalid(format!("arguments: {error}")))
}

pub(crate) fn schema_of<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().into()
}

fn to_json(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| Problem::new("failed", format!("the result is not JSON: {error}")))
}
