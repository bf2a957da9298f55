//! Arguments of `call`.

use std::path::PathBuf;

use blockyard::PinnedAddress;
use clap::{Arg, ArgAction, Args, Command, FromArgMatches as _};

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Call {
    /// Block address, TYPE/NAME or TYPE/NAME@REVISION.
    pub(crate) address: PinnedAddress,
    /// Operation and its arguments: `--NAME VALUE`, `--args JSON|@FILE|-`, `--in FILE|-`,
    /// `--out FILE|-`, `--timeout SECONDS`, `--yes`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPERATION [--ARGUMENT VALUE]")]
    pub(crate) rest: Vec<String>,
    /// Print help.
    #[arg(short, long, action = clap::ArgAction::Help)]
    pub(crate) help: Option<bool>,
}

/// Options that follow the operation, together with the operation's arguments.
#[derive(Debug, Args)]
pub(crate) struct CallOptions {
    /// All arguments as a JSON object.
    #[arg(long, value_name = "JSON|@FILE|-")]
    pub(crate) args: Option<String>,
    /// Input of the operation.
    #[arg(long = "in", value_name = "FILE|-")]
    pub(crate) input: Option<PathBuf>,
    /// File for the output of the operation.
    #[arg(long, value_name = "FILE|-")]
    pub(crate) out: Option<PathBuf>,
    /// Timeout of the call. Default: 300, extended while bytes are transferred.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) timeout: Option<u64>,
    /// Confirm a destructive operation.
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    global: GlobalOptions,
}

/// Options that follow the operation and apply to the whole command.
#[derive(Debug, Default, Args)]
pub(crate) struct GlobalOptions {
    /// Print errors as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// The yard.
    #[arg(long, value_name = "URL")]
    pub(crate) yard: Option<String>,
    /// Print only results and errors.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Print more details; repeat for debug output.
    #[arg(short, long, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

impl Call {
    /// Returns the global options that follow the operation. They are needed before the operation
    /// and its arguments are known: every unknown option counts as an argument, which has a value.
    /// Mistakes are ignored here, and reported when the operation is known.
    pub(crate) fn global_options(&self) -> GlobalOptions {
        let mut command = CallOptions::augment_args(Command::new("call"))
            .no_binary_name(true)
            .disable_help_flag(true)
            .ignore_errors(true)
            .args_override_self(true)
            .mut_args(|option| match option.get_action() {
                ArgAction::Set => option.value_parser(clap::value_parser!(String)),
                _ => option,
            })
            .arg(Arg::new("help").short('h').long("help").action(ArgAction::SetTrue))
            .arg(Arg::new("words").num_args(0..).action(ArgAction::Append).allow_negative_numbers(true));
        for word in &self.rest {
            let name = word.strip_prefix("--").and_then(|option| option.split('=').next()).unwrap_or_default();
            let is_known = command.get_arguments().any(|option| option.get_long() == Some(name));
            if !name.is_empty() && !name.starts_with('-') && !is_known {
                let argument = Arg::new(format!("argument:{name}")).long(name.to_owned()).action(ArgAction::Append);
                command = command.arg(argument.allow_hyphen_values(true));
            }
        }
        let matches = command.try_get_matches_from(&self.rest);
        matches.and_then(|matches| GlobalOptions::from_arg_matches(&matches)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn global(rest: &[&str]) -> GlobalOptions {
        let address = "zoo/a".parse().expect("an address");
        Call { address, rest: rest.iter().map(ToString::to_string).collect(), help: None }.global_options()
    }

    #[test]
    fn global_options_are_found_among_unknown_arguments() {
        let found =
            global(&["feed", "--animal", "newt", "--yard", "sqlite:/a", "--times=3", "-qvv", "--yes", "--json"]);
        assert_eq!(found.yard.as_deref(), Some("sqlite:/a"));
        assert!(found.quiet && found.json && found.verbose == 2, "{found:?}");
    }

    #[test]
    fn the_value_of_an_argument_is_not_an_option() {
        let found = global(&["feed", "--animal", "--json", "--timeout", "never", "--yard=b", "--in"]);
        assert!(!found.json, "{found:?}");
        assert_eq!(found.yard.as_deref(), Some("b"));
    }

    #[test]
    fn invalid_arguments_do_not_hide_global_options() {
        for mistake in [&["--timeout", "never"][..], &["stray", "-1"], &["--help"], &["--in", "-"]] {
            let found = global(&[&["feed"], mistake, &["--json"]].concat());
            assert!(found.json, "{mistake:?}: {found:?}");
        }
    }
}
