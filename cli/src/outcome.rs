//! Results of commands.

use std::process::ExitCode;

use crate::terminal::Failure;

/// Result of a command.
pub(crate) type Outcome = Result<ExitCode, Failure>;

/// Exit code of a successful command.
pub(crate) const DONE: ExitCode = ExitCode::SUCCESS;

/// Exit code of a plan with changes.
pub(crate) const WOULD_CHANGE: u8 = 8;
