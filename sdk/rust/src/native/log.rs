//! Interface `log`: messages, which the fake host captures.

use super::state::current_for_log;

pub use super::state::Level;

/// Captures a message.
pub fn write(level: Level, message: &str) {
    current_for_log("log::write").log.borrow_mut().push((level, message.to_owned()));
}
