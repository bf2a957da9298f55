//! Masking of secrets.
//!
//! Data from remote services is searched for the secrets of the call before a bundle reads it; log
//! lines, errors and results are searched before they are shown to a user. This is the second line
//! of defense. The first is that a bundle never holds a secret, and that the host sends a secret to
//! its audience only.

mod needle;
mod redactor;
mod search;
mod stream;
#[cfg(test)]
mod tests;
mod view;
mod watch;

pub use self::redactor::Redactor;
pub(crate) use self::stream::{OnFind, holds_a_secret, unreadable};
pub use self::watch::{Guessing, Watch};
