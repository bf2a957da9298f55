//! Blocks of operations, implemented by `#[operations]`.

use crate::Result;
use crate::block::{OperationDescription, OperationResult, Reply, ResultOf};
use crate::call::Call;

/// The operations of one `impl` block with `#[operations]`. Their names are unique in the type,
/// because they are those of its methods.
pub trait OperationsBlock<T> {
    /// Returns the descriptions of the operations.
    fn describe() -> Vec<OperationDescription>;

    /// Invokes an operation. `None` if this block has no such operation.
    ///
    /// # Errors
    /// The operation fails, or the arguments do not match.
    fn invoke(block: &T, call: &mut Call<'_>) -> Result<Option<Reply>>;
}

/// A block type whose main block names the module of the part `P`.
#[diagnostic::on_unimplemented(
    message = "the main block of `{Self}` does not include the operations of this block",
    label = "these operations are missing in the block type",
    note = "name the module of this block in the main block: `#[operations(parts(MODULE))] impl {Self} {{ … }}`"
)]
pub trait Includes<P> {}

/// Requires that the main block of a type includes a part.
pub fn require_included<T: Includes<P>, P>() {}

/// Returns whether an operation with this `Result` returns a stream of bytes.
#[must_use]
pub const fn is_streamed<R: ResultOf>() -> bool {
    <R::Value as OperationResult>::STREAMED
}

/// A struct whose fields can be parameters of an operation: `#[flatten] argument: Struct`.
/// Implemented by `#[data]`.
#[diagnostic::on_unimplemented(
    message = "the fields of `{Self}` cannot be parameters of an operation",
    label = "cannot be flattened",
    note = "`#[flatten]` requires a struct with `#[data]` and named fields, without `open`, `rename_all` or flattened fields"
)]
pub trait Fields {
    /// Names of the fields in JSON.
    const NAMES: &'static [&'static str];
}
