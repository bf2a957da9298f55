//! Operations of block types, and their comparison with the standard interfaces.

use serde_json::Value;

use crate::effect::Effect;
use crate::interface::{self, InterfaceOperation};
use crate::origin::SafeRequest;
use crate::schema::Schema;
use crate::suggestion::did_you_mean;

/// An operation of a block type.
#[derive(Debug)]
pub struct Operation {
    /// Name within the type.
    pub name: String,
    /// Description of one paragraph, for display.
    pub description: String,
    /// Effect on remote services.
    pub effect: Effect,
    /// Schema of the arguments.
    pub arguments: Schema,
    /// Schema of the result.
    pub result: Schema,
    /// True if the operation accepts a stream of bytes.
    pub input: bool,
    /// True if the operation returns a stream of bytes.
    pub output: bool,
    /// Requests of a read operation that are safe although their method is not. They are shown to
    /// the user who installs the bundle.
    pub safe: Vec<SafeRequest>,
    /// True if a write operation declares that it may be repeated although it is not known whether
    /// it was done.
    pub repeatable: bool,
}

impl Operation {
    /// Returns whether the operation may be repeated although it is not known whether it was done:
    /// it reads, or declares it.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        self.effect == Effect::Read || self.repeatable
    }
}

/// Returns the differences that prevent these operations from implementing the interface; empty if
/// they implement it.
#[must_use]
pub fn shortfalls(name: &str, operations: &[Operation]) -> Vec<String> {
    let Some(interface) = interface::all().iter().find(|interface| interface.name == name) else {
        let hint = did_you_mean(name, interface::all().iter().map(|i| i.name.as_str()));
        let hint = hint.map(|hint| format!(", {hint}")).unwrap_or_default();
        return vec![format!("interface `{name}` is not known{hint}")];
    };
    interface.operations.iter().filter_map(|expected| shortfall(expected, name, operations)).collect()
}

fn shortfall(expected: &InterfaceOperation, interface: &str, operations: &[Operation]) -> Option<String> {
    let name = &expected.name;
    let Some(found) = operations.iter().find(|operation| operation.name == *name) else {
        return Some(format!("interface `{interface}` has an operation `{name}`, which the type lacks"));
    };
    let wrong = |what: String| Some(format!("operation `{name}` of interface `{interface}` {what}"));
    if found.effect != expected.effect {
        return wrong(format!("has the effect {:?}, not {:?}", expected.effect, found.effect));
    }
    if found.output != expected.output {
        return wrong(format!("{} a stream of bytes", if expected.output { "gives" } else { "does not give" }));
    }
    if found.input != expected.input {
        return wrong(format!("{} a stream of bytes", if expected.input { "reads" } else { "does not read" }));
    }
    let taken = found.arguments.document().get("properties").and_then(Value::as_object);
    let missing = expected.arguments.keys().find(|argument| taken.is_none_or(|t| !t.contains_key(*argument)));
    if let Some(argument) = missing {
        return wrong(format!("takes an argument `{argument}`"));
    }
    let required = found.arguments.document().get("required").and_then(Value::as_array);
    let extra = required
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .find(|argument| !expected.arguments.contains_key(*argument));
    extra.and_then(|argument| wrong(format!("does not require an argument `{argument}`")))
}
