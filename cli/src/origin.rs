//! Origins of settings: the option, the variable or the file that a value comes from.

use std::fmt;

use clap::ArgMatches;
use clap::parser::ValueSource;

/// Origin of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// An option of the command line, e.g. `--yard`.
    Option(&'static str),
    /// An environment variable.
    Variable(&'static str),
    /// The nearest project file.
    Project,
    /// The user's configuration file.
    Configuration,
    /// A file beside the binary.
    Shipped,
    /// The record of the yard.
    Yard,
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(name) => f.write_str(name),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Project => f.write_str("project file"),
            Self::Configuration => f.write_str("configuration"),
            Self::Shipped => f.write_str("shipped"),
            Self::Yard => f.write_str("yard"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Origins of the global options.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GlobalOrigins {
    pub(crate) yard: Origin,
    pub(crate) json: Origin,
    pub(crate) quiet: Origin,
    pub(crate) verbose: Origin,
    pub(crate) no_progress: Origin,
    pub(crate) otlp: Origin,
}

impl Default for GlobalOrigins {
    fn default() -> Self {
        let default = Origin::Default;
        Self { yard: default, json: default, quiet: default, verbose: default, no_progress: default, otlp: default }
    }
}

impl GlobalOrigins {
    /// Returns the origins of the parsed options.
    pub(crate) fn of(matches: &ArgMatches) -> Self {
        let of = |id: &str, option: &'static str, variable: &'static str| match matches.value_source(id) {
            Some(ValueSource::CommandLine) => Origin::Option(option),
            Some(ValueSource::EnvVariable) => Origin::Variable(variable),
            _ => Origin::Default,
        };
        Self {
            yard: of("yard", "--yard", "BLOCKYARD_YARD"),
            json: of("json", "--json", "BLOCKYARD_JSON"),
            quiet: of("quiet", "--quiet", "BLOCKYARD_QUIET"),
            verbose: of("verbose", "--verbose", "BLOCKYARD_VERBOSE"),
            no_progress: of("no_progress", "--no-progress", "BLOCKYARD_NO_PROGRESS"),
            otlp: of("otlp", "--otlp", "BLOCKYARD_OTLP"),
        }
    }
}
