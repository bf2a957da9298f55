//! Differences between a new version of a bundle and its installed versions. A difference is
//! *wider* if it permits something to the bundle or to the callers of its operations that no
//! installed version permits. Wider differences always require the user's approval.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use crate::capability::Capability;
use crate::effect::Effect;
use crate::manifest::{BlockType, Manifest};
use crate::name::TypeSlug;
use crate::operation::Operation;
use crate::origin::SafeRequest;
use crate::pointer::Pointer;

/// A difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The change.
    pub change: Change,
    /// True if the change permits more than every installed version does.
    pub wider: bool,
}

/// A change from the installed versions of a bundle to a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A capability that no installed version requests.
    CapabilityAdded(Capability),
    /// A capability that is narrower than a granted one.
    CapabilityNarrowed(Capability),
    /// A capability that an installed version requests but the yard does not grant: it was revoked.
    CapabilityRevoked(Capability),
    /// A granted capability that the new version does not request.
    CapabilityRemoved(Capability),
    /// A block type that no installed version defines.
    TypeAdded(TypeSlug),
    /// A block type that the new version does not define.
    TypeRemoved(TypeSlug),
    /// An operation that no installed version defines.
    OperationAdded(OperationName, Effect),
    /// An operation that the new version does not define.
    OperationRemoved(OperationName),
    /// An operation whose effect differs from that in the newest installed version.
    EffectChanged(OperationName, Effect, Effect),
    /// A request that the new version declares safe and the newest installed version does not.
    SafeRequestAdded(OperationName, SafeRequest),
    /// A request that the new version no longer declares safe.
    SafeRequestRemoved(OperationName, SafeRequest),
    /// A field with different keywords for the host, such as `x-secret`, so that its value is
    /// protected or used differently.
    FieldUseChanged(TypeSlug, Pointer),
}

/// Name of an operation with its block type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationName {
    /// Slug of the block type.
    pub block_type: TypeSlug,
    /// Name of the operation within the type.
    pub operation: String,
}

/// Returns the differences between a new version, the installed versions (the newest last), and the
/// capabilities that the yard grants.
///
/// An operation is not wider if *one* installed version defines it with the same effect and with
/// safe requests that cover the new ones. Every other change of effect is wider: from `read` to
/// `write` the bundle may do more, and from `write` or `destructive` to a lesser effect callers no
/// longer need the confirmation or the scope.
#[must_use]
pub fn differences(new: &Manifest, installed: &[&Manifest], granted: &BTreeSet<Capability>) -> Vec<Difference> {
    let mut found = capabilities(new, installed, granted);
    for block_type in &new.types {
        let before: Vec<&BlockType> = installed.iter().filter_map(|old| old.block_type(&block_type.slug)).collect();
        if before.is_empty() {
            found.push(narrow(Change::TypeAdded(block_type.slug.clone())));
            let all: Vec<&BlockType> = installed.iter().flat_map(|old| &old.types).collect();
            block_type.operations.iter().for_each(|operation| added(block_type, operation, &all, &mut found));
            continue;
        }
        operations(block_type, &before, &mut found);
        field_uses(block_type, &before, &mut found);
    }
    if let Some(newest) = installed.last() {
        let removed = newest.types.iter().filter(|old| new.block_type(&old.slug).is_none());
        found.extend(removed.map(|old| narrow(Change::TypeRemoved(old.slug.clone()))));
    }
    found
}

/// Returns the differences between the capabilities of a new version and those of an earlier one.
#[must_use]
pub fn capability_differences(new: &Manifest, before: &BTreeSet<Capability>) -> Vec<Difference> {
    capabilities(new, &[], before)
}

fn wide(change: Change) -> Difference {
    Difference { change, wider: true }
}

fn narrow(change: Change) -> Difference {
    Difference { change, wider: false }
}

fn capabilities(new: &Manifest, installed: &[&Manifest], granted: &BTreeSet<Capability>) -> Vec<Difference> {
    let mut found = Vec::new();
    for requested in new.capabilities.difference(granted) {
        let revoked = installed.iter().any(|old| old.capabilities.contains(requested));
        found.push(if granted.iter().any(|grant| requested.is_within(grant)) {
            narrow(Change::CapabilityNarrowed(requested.clone()))
        } else if revoked {
            narrow(Change::CapabilityRevoked(requested.clone()))
        } else {
            wide(Change::CapabilityAdded(requested.clone()))
        });
    }
    let unused = granted.iter().filter(|grant| !new.requests(grant));
    found.extend(unused.map(|grant| narrow(Change::CapabilityRemoved(grant.clone()))));
    found
}

/// Compares the operations of a type that installed versions also define.
fn operations(block_type: &BlockType, before: &[&BlockType], found: &mut Vec<Difference>) {
    for operation in &block_type.operations {
        let name = named(block_type, operation);
        let known: Vec<&Operation> = before.iter().filter_map(|old| old.operation(&operation.name)).collect();
        let Some(newest) = known.last() else {
            added(block_type, operation, before, found);
            continue;
        };
        let covered = known.iter().any(|old| old.effect == operation.effect && uncovered(operation, old).is_empty());
        if newest.effect != operation.effect {
            let change = Change::EffectChanged(name.clone(), newest.effect, operation.effect);
            found.push(Difference { change, wider: !covered });
        }
        let more = uncovered(operation, newest).into_iter().cloned();
        let more = more.map(|safe| Change::SafeRequestAdded(name.clone(), safe));
        found.extend(more.map(|change| Difference { change, wider: !covered }));
        let fewer = uncovered(newest, operation).into_iter().cloned();
        found.extend(fewer.map(|safe| narrow(Change::SafeRequestRemoved(name.clone(), safe))));
    }
    if let Some(newest) = before.last() {
        let removed = newest.operations.iter().filter(|old| block_type.operation(&old.name).is_none());
        found.extend(removed.map(|old| narrow(Change::OperationRemoved(named(newest, old)))));
    }
}

/// Returns the safe requests of `operation` that those of `other` do not cover.
fn uncovered<'a>(operation: &'a Operation, other: &Operation) -> Vec<&'a SafeRequest> {
    operation.safe.iter().filter(|safe| !other.safe.iter().any(|own| own.covers(safe))).collect()
}

/// Adds an operation that no installed version defines. It is wider if its effect is not `read` and
/// no operation in `beside` has the same effect. Its safe requests are always wider.
fn added(block_type: &BlockType, operation: &Operation, beside: &[&BlockType], found: &mut Vec<Difference>) {
    let name = named(block_type, operation);
    let mut effects = beside.iter().flat_map(|old| &old.operations).map(|old| old.effect);
    let wider = operation.effect != Effect::Read && !effects.any(|effect| effect == operation.effect);
    found.push(Difference { change: Change::OperationAdded(name.clone(), operation.effect), wider });
    found.extend(operation.safe.iter().map(|safe| wide(Change::SafeRequestAdded(name.clone(), safe.clone()))));
}

fn named(block_type: &BlockType, operation: &Operation) -> OperationName {
    OperationName { block_type: block_type.slug.clone(), operation: operation.name.clone() }
}

/// Finds the fields whose host keywords differ from those in all installed versions. New fields are
/// ignored.
fn field_uses(block_type: &BlockType, before: &[&BlockType], found: &mut Vec<Difference>) {
    let new = host_keywords(block_type.schema.document());
    let old: Vec<BTreeMap<String, Value>> = before.iter().map(|old| host_keywords(old.schema.document())).collect();
    let differs = new.iter().filter(|(pointer, value)| {
        let known: Vec<&Value> = old.iter().filter_map(|keywords| keywords.get(*pointer)).collect();
        if known.is_empty() { !is_of_new_field(pointer, before) } else { !known.contains(value) }
    });
    let lost =
        old.last().into_iter().flatten().filter(|(pointer, _)| {
            !new.contains_key(*pointer) && block_type.schema.document().pointer(pointer).is_some()
        });
    let pointers: BTreeSet<&String> = differs.chain(lost).map(|(pointer, _)| pointer).collect();
    for pointer in pointers {
        let names = pointer.split('/').skip(1).filter(|part| *part != "properties");
        let field = names.fold(Pointer::default(), |field, name| field.child(name));
        found.push(wide(Change::FieldUseChanged(block_type.slug.clone(), field)));
    }
}

/// Returns true if a location in a schema is within a property that no installed version defines,
/// or within definitions, which take effect only through a `$ref`, and `$ref`s are compared as
/// well.
fn is_of_new_field(pointer: &str, before: &[&BlockType]) -> bool {
    let mut parts = pointer.split('/').skip(1);
    match (parts.next(), parts.next()) {
        (Some("$defs"), _) => true,
        (Some("properties"), Some(name)) => {
            let property = format!("/properties/{name}");
            before.iter().all(|old| old.schema.document().pointer(&property).is_none())
        }
        _ => false,
    }
}

/// Returns the keywords that a schema addresses to the host, by their location in the schema.
fn host_keywords(schema: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![(String::new(), schema)];
    while let Some((pointer, value)) = waiting.pop() {
        match value {
            Value::Object(members) => {
                let own: serde_json::Map<String, Value> = members
                    .iter()
                    .filter(|(key, _)| is_host_keyword(key))
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect();
                if !own.is_empty() {
                    found.insert(pointer.clone(), Value::Object(own));
                }
                let inner = members.iter().filter(|(key, _)| !is_host_keyword(key));
                waiting.extend(
                    inner.map(|(key, value)| {
                        (format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")), value)
                    }),
                );
            }
            Value::Array(items) => {
                waiting.extend(items.iter().enumerate().map(|(index, value)| (format!("{pointer}/{index}"), value)));
            }
            _ => {}
        }
    }
    found
}

/// Keywords for the host, and references, which can lead to them. `x-order` only affects the
/// display.
fn is_host_keyword(key: &str) -> bool {
    key.starts_with("x-") && key != "x-order" || matches!(key, "$ref" | "$dynamicRef")
}

impl fmt::Display for OperationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` of `{}`", self.operation, self.block_type)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CapabilityAdded(capability) => {
                write!(f, "new capability `{capability}`: {}", capability.explanation())
            }
            Self::CapabilityNarrowed(capability) => {
                write!(f, "capability `{capability}` is narrower than the granted one")
            }
            Self::CapabilityRevoked(capability) => {
                write!(f, "capability `{capability}` stays revoked until it is granted")
            }
            Self::CapabilityRemoved(capability) => write!(f, "capability `{capability}` is no longer requested"),
            Self::TypeAdded(slug) => write!(f, "new block type `{slug}`"),
            Self::TypeRemoved(slug) => {
                write!(f, "block type `{slug}` is removed; its blocks keep the version they have")
            }
            Self::OperationAdded(name, effect) => write!(f, "new operation {name} with effect {effect}"),
            Self::OperationRemoved(name) => write!(f, "operation {name} is removed"),
            Self::EffectChanged(name, before, after) => {
                write!(f, "operation {name} changes its effect from {before} to {after}")
            }
            Self::SafeRequestAdded(name, safe) => {
                write!(f, "operation {name} reads, and may now send `{safe}`, which the bundle declares safe")
            }
            Self::SafeRequestRemoved(name, safe) => write!(f, "operation {name} no longer sends `{safe}`"),
            Self::FieldUseChanged(slug, field) => {
                write!(f, "field `{}` of `{slug}` changes how its value is protected or used", field.dotted())
            }
        }
    }
}

#[cfg(test)]
mod tests;
