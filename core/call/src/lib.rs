//! The context of a call: what every capability needs of it.
//!
//! A capability is a context, a view that borrows it together with the [`CallContext`], the `Host`
//! implementation of its interface for the view, and a function `add_to_linker`. This crate has the rest: the
//! bindings of the shared interfaces ([`bindings`]), handles to secrets and bodies, errors ([`Problem`],
//! [`Fault`]), the search for secrets ([`Redactor`], [`Watch`]), [`trace`] and all [`limits`].
//!
//! No item of this crate needs an engine, so that a capability can be tested without one.

pub mod bindings;
pub mod context;
pub mod limits;
mod output;
mod problem;
mod redact;
pub mod secrets;
pub mod sign;
pub mod streams;
pub mod trace;
mod trap;
mod usage;

pub use context::{CallContext, CallSecret};
pub use output::{ByteStream, Input};
pub use problem::{Fault, Problem, cut, quoted};
pub use redact::{Guessing, Redactor, Watch};
pub use secrets::Secret;
pub use streams::{Body, Echo};
pub use trap::{EffectViolation, LimitExceeded};
pub use usage::Usage;
