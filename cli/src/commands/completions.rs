//! `blockyard completions`: prints a shell completion script.

use crate::arguments::{Cli, Completions, Shell};
use crate::completion;
use crate::context::Context;
use crate::outcome::{DONE, Outcome};

pub(super) fn run(arguments: &Completions, context: &Context) -> Outcome {
    let mut script = Vec::new();
    let registered = match arguments.shell {
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
        Shell::Elvish => "elvish",
        Shell::Powershell => "powershell",
        Shell::Nushell => {
            clap_complete::generate(clap_complete_nushell::Nushell, &mut Cli::described(), "blockyard", &mut script);
            ""
        }
    };
    if !registered.is_empty() {
        script = completion::script(registered)?;
    }
    context.terminal.text(&String::from_utf8_lossy(&script))?;
    Ok(DONE)
}
