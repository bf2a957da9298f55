//! `blockyard completions`: prints a shell completion script.

use crate::arguments::{Cli, Completions};
use crate::context::Context;
use crate::outcome::{DONE, Outcome};

pub(super) fn run(arguments: &Completions, context: &Context) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::described(), "blockyard", &mut script);
    context.terminal.text(&String::from_utf8_lossy(&script))?;
    Ok(DONE)
}
