//! Traits and types of block types and operations, implemented by the macros.

use core::time::Duration;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::{Value, json};

use crate::call::Call;
use crate::{Body, Problem, Result};

/// A block type, implemented on the struct of its configuration by `#[derive(Block)]`.
pub trait Block: Sized + 'static {
    /// Slug of the type, e.g. `sql-database`.
    const TYPE: &'static str;
    /// Version of the type, counted from 1.
    const VERSION: u32;
    /// Display name of the type.
    const TITLE: &'static str;
    /// Description of the type, from the doc comment of the struct.
    const DESCRIPTION: &'static str;
    /// Standard interfaces that the type implements.
    const INTERFACES: &'static [&'static str];

    /// Returns the JSON Schema (2020-12) of the configuration.
    fn schema() -> Value;

    /// Deserializes a configuration document.
    ///
    /// # Errors
    /// The document does not match the type.
    fn from_config(config: Value) -> core::result::Result<Self, serde_json::Error>;

    /// Converts a configuration of this version or an older one. Generated from `previous`; see
    /// [`migration`](crate::migration).
    ///
    /// # Errors
    /// The document does not match its version, no migration begins at the version, or a
    /// conversion fails.
    fn migrate(from_version: u32, config: Value) -> Result<Self> {
        open_version(from_version, config)
    }

    /// Serializes a migrated configuration. Generated from `previous`.
    ///
    /// # Errors
    /// The type has no previous version, or the configuration cannot be serialized.
    fn into_config(self) -> Result<Value> {
        Err(Problem::invalid(format!("type `{}` has no previous version", Self::TYPE)))
    }

    /// Returns the descriptions of the operations of the interfaces. Generated from `interfaces`.
    #[doc(hidden)]
    #[must_use]
    fn interface_operations() -> Vec<OperationDescription> {
        Vec::new()
    }

    /// Invokes an operation of an interface. `None` if no interface of the type has the operation.
    /// Generated from `interfaces`.
    #[doc(hidden)]
    fn invoke_interface(&self, call: &mut Call<'_>) -> Result<Option<Reply>> {
        let _ = call;
        Ok(None)
    }
}

/// Operations of a block type, implemented by `#[operations]`.
pub trait Operations: Block {
    /// Returns the descriptions of all operations.
    fn operations() -> Vec<OperationDescription>;

    /// Invokes an operation.
    ///
    /// # Errors
    /// The operation fails or does not exist, or the arguments do not match.
    fn invoke(&self, operation: &str, arguments: Value, input: Option<Body>) -> Result<Reply>;

    /// Returns the steps of the health check. Generated from the method with `#[check]`.
    fn check(&self) -> Vec<Step> {
        Vec::new()
    }

    /// Returns violations that the schema cannot express. Generated from the method with
    /// `#[validate]`.
    fn validate(&self) -> Vec<Violation> {
        Vec::new()
    }
}

/// Description of an operation in the manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationDescription(Value);

/// Reply of an operation: a result and an optional output stream.
pub struct Reply {
    pub(crate) result: Value,
    pub(crate) output: Output,
}

impl Reply {
    /// Returns the result.
    #[must_use]
    pub fn result(&self) -> &Value {
        &self.result
    }
}

/// Output stream of a reply.
pub(crate) enum Output {
    None,
    Body(Body),
    Parts(Parts),
}

/// Result with an output stream.
pub struct Streamed<T> {
    /// The result.
    pub result: T,
    /// The output. A body can be forwarded without being read.
    pub body: Body,
}

/// Result with an output that is produced in chunks while it is read, e.g. pages of a list or
/// ranges of an object. Each chunk is a body, which can be forwarded without being read.
pub struct InParts<T> {
    /// The result.
    pub result: T,
    /// The chunks of the output.
    pub parts: Parts,
}

/// Chunks of an output. The host requests the next chunk when the previous one has been read.
pub struct Parts(Box<Next>);

type Next = dyn FnMut() -> Result<Option<Body>>;

impl Parts {
    /// Creates chunks from a function that returns the next one, or `None` at the end.
    pub fn new(next: impl FnMut() -> Result<Option<Body>> + 'static) -> Self {
        Self(Box::new(next))
    }

    pub(crate) fn next(&mut self) -> Result<Option<Body>> {
        (self.0)()
    }
}

/// A type that an operation can return.
pub trait OperationResult: Sized {
    /// Whether the reply has an output stream.
    const STREAMED: bool;
    /// Returns the JSON Schema of the result.
    fn schema() -> Value;
    /// Converts the value into the reply to the host.
    ///
    /// # Errors
    /// The result cannot be serialized as JSON.
    fn into_reply(self) -> Result<Reply>;
}

/// Step of a health check.
#[derive(serde::Serialize, serde::Deserialize, JsonSchema, Debug, Clone, PartialEq)]
pub struct Step {
    /// Name of the step, e.g. `connect` or `authenticate`.
    pub name: String,
    /// Outcome of the step.
    pub status: StepStatus,
    /// Reason of a failure, or details of a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Duration in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<u64>,
}

impl Step {
    /// Creates a step that took the time since `started`. A skipped step has no duration. Requires
    /// the capability `clock`.
    pub fn new(name: impl Into<String>, status: StepStatus, detail: Option<String>, started: Duration) -> Self {
        let elapsed = crate::clock::now().saturating_sub(started).as_millis();
        let milliseconds = (status != StepStatus::Skipped).then(|| u64::try_from(elapsed).unwrap_or(u64::MAX));
        Self { name: name.into(), status, detail, milliseconds }
    }
}

/// Outcome of a step of a health check.
#[derive(serde::Serialize, serde::Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum StepStatus {
    /// The step succeeded.
    Passed,
    /// The step failed.
    Failed,
    /// The step was skipped because an earlier one failed.
    Skipped,
}

/// Violation of a constraint by a field of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// JSON Pointer of the field, e.g. `/host`.
    pub pointer: String,
    /// Description of the violation.
    pub message: String,
}

impl Violation {
    /// Creates a violation of the field at a JSON Pointer.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}

impl OperationDescription {
    #[doc(hidden)]
    #[must_use]
    pub fn new<A: JsonSchema, R: ResultOf>(name: &str, description: &str, effect: &str, input: bool) -> Self {
        let mut arguments = schema_of::<A>();
        // That of a struct whose fields are arguments.
        if let Some(keywords) = arguments.as_object_mut() {
            keywords.remove("description");
        }
        Self(json!({
            "name": name,
            "description": description,
            "effect": effect,
            "arguments": arguments,
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

    #[doc(hidden)]
    #[must_use]
    pub fn repeatable(mut self) -> Self {
        self.0["repeatable"] = true.into();
        self
    }

    pub(crate) fn into_json(self) -> Value {
        self.0
    }
}

/// The type inside an operation's `Result`.
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

/// Deserializes a configuration of exactly the version of `T`.
pub(crate) fn open_version<T: Block>(version: u32, config: Value) -> Result<T> {
    let (slug, own) = (T::TYPE, T::VERSION);
    if version != own {
        return Err(Problem::invalid(format!("type `{slug}` has no migration from version {version}")));
    }
    T::from_config(config).map_err(|error| {
        Problem::invalid(format!("the configuration does not match version {own} of the type `{slug}`: {error}"))
    })
}

pub(crate) fn schema_of<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().into()
}

fn to_json(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| Problem::new("failed", format!("the result is not JSON: {error}")))
}
