//! Runs deep recursions with sufficient stack.

use serde_json::Value;

use crate::limits;

/// Number of levels for which the stack of every thread is sufficient.
const USUAL_LEVELS: usize = 48;
/// Stack size for one level of compiling a schema, in bytes, in a build without optimization.
const STACK_OF_A_LEVEL: usize = 32 << 10;
/// Number of levels of a traversal that take as much stack as one level of compiling.
pub(crate) const LEVELS_OF_A_WALK: usize = 8;

/// Runs `work`, which recurses to this depth, on a separate thread if the default stack is not
/// sufficient; `None` if no thread can be started.
pub(crate) fn with_stack<T: Send>(levels: usize, work: impl FnOnce() -> T + Send) -> Option<T> {
    if levels <= USUAL_LEVELS {
        return Some(work());
    }
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(levels * STACK_OF_A_LEVEL);
        let thread = builder.spawn_scoped(scope, work).ok()?;
        match thread.join() {
            Ok(done) => Some(done),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Returns the nesting depth of a document. Levels beyond the limit are not visited.
pub(crate) fn depth(value: &Value, above: usize) -> usize {
    let deepest = match value {
        _ if above > limits::DOCUMENT_DEPTH => None,
        Value::Object(members) => members.values().map(|member| depth(member, above + 1)).max(),
        Value::Array(elements) => elements.iter().map(|element| depth(element, above + 1)).max(),
        _ => None,
    };
    1 + deepest.unwrap_or(0)
}
