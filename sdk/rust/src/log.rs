//! Log messages for the user who makes the call.

use crate::bindings::blockyard::bundle::log::{Level, write};

/// Logs a message for debugging.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// Logs an informational message.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// Logs a warning.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}
