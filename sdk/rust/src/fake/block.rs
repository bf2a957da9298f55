//! Blocks in tests, which are called as the host calls them.

use std::fmt;
use std::marker::PhantomData;

use serde_json::{Map, Value, json};

use super::host::Host;
use super::reply::Reply;
use crate::bindings::Effect;
use crate::bindings::exports::blockyard::bundle::block_types::{self as wit, Guest as _};
use crate::export::{Bundle, BundleDescription, BundleExports, TypeEntry};
use crate::{Body, Operations, Problem, Result, Step, Violation};

/// A block of type `T` with a configuration, on a fake host.
pub struct BlockUnderTest<'host, T> {
    host: &'host Host,
    config: Value,
    block_type: PhantomData<T>,
}

/// The bundle that has only the type `T`.
struct Only<T>(PhantomData<T>);

impl<T: Operations> Bundle for Only<T> {
    fn description() -> BundleDescription {
        BundleDescription {
            name: "test",
            version: "0.0.0",
            description: "",
            license: "",
            homepage: "",
            source: "",
            capabilities: &[],
        }
    }

    fn types() -> Vec<TypeEntry> {
        vec![TypeEntry::of::<T>()]
    }
}

type Exports<T> = BundleExports<Only<T>>;

/// Returns a reference to a block in a configuration, with the configuration of that block, as the
/// host resolves it for a call. Secrets of the block have pointers below `…/config`.
#[must_use]
pub fn reference(address: &str, config: Value) -> Value {
    json!({ "$block": address, "revision": 1, "config": config })
}

impl Host {
    /// Creates a block with a configuration. Secrets are left out: each
    /// [`secret`](Self::secret) of the host is added as a handle.
    ///
    /// # Panics
    /// Panics if the configuration has a value in the position of a secret.
    #[must_use]
    pub fn block<T: Operations>(&self, config: Value) -> BlockUnderTest<'_, T> {
        let mut config = config;
        for pointer in self.state.secrets.borrow().keys() {
            insert(&mut config, pointer);
        }
        BlockUnderTest { host: self, config, block_type: PhantomData }
    }

    /// Converts a configuration of an older version of the type `T`, as the host does for an
    /// upgrade.
    ///
    /// # Errors
    /// The conversion fails.
    ///
    /// # Panics
    /// Panics if the conversion uses a capability.
    pub fn migrate<T: Operations>(&self, from_version: u32, config: &Value) -> Result<Value> {
        let migrated =
            self.run_as(Effect::Pure, || Exports::<T>::migrate(T::TYPE.to_owned(), from_version, config.to_string()))?;
        Ok(parsed(&migrated))
    }
}

impl<'host, T: Operations> BlockUnderTest<'host, T> {
    /// Returns the configuration, with the handles of the secrets.
    #[must_use]
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// Calls an operation, e.g. `get`, with its arguments as JSON.
    ///
    /// # Errors
    /// The operation fails or does not exist, or the configuration or the arguments do not match.
    ///
    /// # Panics
    /// Panics if the operation violates its effect, for which the host ends the call.
    pub fn call(&self, operation: &str, arguments: Value) -> Result<Reply<'host>> {
        self.invoke(operation, &arguments, None)
    }

    /// Calls an operation that has an input.
    ///
    /// # Errors
    /// Those of [`call`](Self::call).
    ///
    /// # Panics
    /// Those of [`call`](Self::call).
    pub fn call_with_input(&self, operation: &str, arguments: Value, input: Body) -> Result<Reply<'host>> {
        self.invoke(operation, &arguments, Some(input))
    }

    fn invoke(&self, operation: &str, arguments: &Value, input: Option<Body>) -> Result<Reply<'host>> {
        let effect = self.effect(operation);
        let wit::Reply { result, output } = self.host.run_as(effect.clone(), || {
            Exports::<T>::invoke(self.called(), operation.to_owned(), arguments.to_string(), input)
        })?;
        Ok(Reply::new(self.host, effect, parsed(&result), output))
    }

    /// Runs the health check, and returns its steps. It may only read.
    ///
    /// # Errors
    /// The configuration does not match the type.
    ///
    /// # Panics
    /// Panics if the check sends a request other than GET and HEAD.
    pub fn check(&self) -> Result<Vec<Step>> {
        let effect = Effect::Read { operation: "check".to_owned(), safe: Vec::new(), config: self.config.clone() };
        let steps = self.host.run_as(effect, || Exports::<T>::check(self.called()))?;
        serde_json::from_str(&steps).map_err(|error| Problem::new("failed", error.to_string()))
    }

    /// Returns the violations of the rules that a schema cannot express. References have no
    /// configuration, as when the host validates.
    ///
    /// # Panics
    /// Panics if the validation uses a capability.
    #[must_use]
    pub fn validate(&self) -> Vec<Violation> {
        let config = unresolved(&self.config).to_string();
        let validated = self.host.run_as(Effect::Pure, || Exports::<T>::validate(T::TYPE.to_owned(), config));
        let violations = validated.err().unwrap_or_default();
        violations.into_iter().map(|violation| Violation::new(violation.pointer, violation.message)).collect()
    }

    /// Runs code with the block, e.g. a call of one of its methods.
    ///
    /// # Panics
    /// Panics if the configuration does not match the type.
    pub fn run<R>(&self, code: impl FnOnce(&T) -> R) -> R {
        let block = T::from_config(self.config.clone());
        let block = block.unwrap_or_else(|error| panic!("the configuration does not match `{}`: {error}", T::TYPE));
        self.host.run(|| code(&block))
    }

    fn called(&self) -> wit::Block {
        let (type_, name) = (T::TYPE.to_owned(), "test".to_owned());
        wit::Block { type_, name, revision: 1, config: self.config.to_string() }
    }

    /// Returns the declared effect of an operation.
    fn effect(&self, operation: &str) -> Effect {
        let described = T::operations().into_iter().map(crate::OperationDescription::into_json);
        let Some(described) = described.into_iter().find(|described| described["name"] == operation) else {
            return Effect::Write;
        };
        if described["effect"] != "read" {
            return Effect::Write;
        }
        let safe = described["safe"].as_array().into_iter().flatten();
        let safe = safe.filter_map(Value::as_str).map(str::to_owned).collect();
        Effect::Read { operation: operation.to_owned(), safe, config: self.config.clone() }
    }
}

impl<T> fmt::Debug for BlockUnderTest<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockUnderTest").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Parses JSON that the SDK has written.
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("the SDK writes JSON")
}

/// Inserts the handle of a secret into a configuration.
fn insert(config: &mut Value, pointer: &str) {
    let handle = json!({ "$secret": pointer });
    let mut position = config;
    for name in pointer.split('/').skip(1).map(|name| name.replace("~1", "/").replace("~0", "~")) {
        if position.is_null() {
            *position = Map::new().into();
        }
        position = match position {
            Value::Object(members) => members.entry(name).or_insert(Value::Null),
            Value::Array(elements) => {
                name.parse::<usize>().ok().and_then(|index| elements.get_mut(index)).unwrap_or_else(|| {
                    panic!("the configuration has no element at the position of the secret `{pointer}`")
                })
            }
            _ => panic!("the secret `{pointer}` is below a value that is not an object"),
        };
    }
    assert!(
        position.is_null() || *position == handle,
        "the configuration has a value at `{pointer}`; leave it out, because the fake host adds the secret"
    );
    *position = handle;
}

/// Returns the configuration with references that have only their address.
fn unresolved(config: &Value) -> Value {
    match config {
        Value::Object(members) => match members.get("$block") {
            Some(address) => json!({ "$block": address }),
            None => members.iter().map(|(name, value)| (name.clone(), unresolved(value))).collect(),
        },
        Value::Array(elements) => elements.iter().map(unresolved).collect(),
        other => other.clone(),
    }
}
