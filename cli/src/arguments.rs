//! Command-line arguments. The doc comments are the help text.

mod block;
mod bundle;
mod call;
mod database;
mod objects;
mod overview;
mod yard;

use std::error::Error as _;

use blockyard::model::address::AddressError;
use blockyard::model::visible;
use blockyard::{Error, ErrorKind};
use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub(crate) use self::block::{
    Apply, BlockArgument, ChangedBlock, Copy, Create, Diff, Exec, Export, Fields, List, PinnedArgument, PlanFile,
    Purge, Reveal, Rollback, Set, Variable,
};
pub(crate) use self::bundle::{
    Build, BundleVersion, Dev, FileOrBundle, GrantChange, Grants, Info, Inspect, Install, New, Publish, Registries,
    Search, Test, Type, Types, Uninstall, Upgrade,
};
pub(crate) use self::call::{Call, CallOptions};
pub(crate) use self::database::{Query, Statement, Transfer};
pub(crate) use self::objects::{Cat, Cp, Ls, Rm};
pub(crate) use self::yard::{Audit, Doctor, Init, Key, KeyCommand, KeyLocation, Rotate, Trust};
use crate::hints;
use crate::origin::{GlobalOrigins, Origin};
use crate::terminal::Terminal;

/// Stores typed, named, versioned and encrypted configuration and credentials, and calls services
/// through them.
#[derive(Debug, Parser)]
#[command(name = "blockyard", version, propagate_version = true, max_term_width = 100, styles = STYLES)]
#[command(
    after_help = "Exit codes: 0 success, 1 remote error or failed check, 2 usage error, 3 not found, 4 invalid data,\n5 denied, 6 conflict, 7 bundle exceeded a limit or crashed, 8 a plan has changes,\n70 internal error, 130 interrupted."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const STYLES: Styles =
    Styles::styled().header(AnsiColor::Green.on_default().bold()).literal(AnsiColor::Cyan.on_default());

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Yard to use: `sqlite:PATH`, `postgres://USER@HOST/DATABASE`, or the NAME of a `[yards.NAME]`
    /// table in the user's configuration file. Default: the yard of the nearest blockyard.toml if
    /// it is trusted, else a file in the platform's data folder.
    #[arg(long, global = true, env = "BLOCKYARD_YARD", value_name = "URL")]
    pub(crate) yard: Option<String>,
    /// Print one JSON document instead of text, for results and for errors.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print only results and errors.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Print more details; repeat for debug output.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Do not show progress bars.
    #[arg(long, global = true)]
    pub(crate) no_progress: bool,
    /// Export traces over OTLP/HTTP to an OpenTelemetry collector, e.g. http://127.0.0.1:4318
    #[arg(long, global = true, env = "BLOCKYARD_OTLP", hide_env_values = true, value_name = "URL")]
    pub(crate) otlp: Option<String>,
    #[arg(skip)]
    pub(crate) origins: GlobalOrigins,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a yard and its key, and print their locations.
    #[command(after_help = "Example:\n  blockyard init --key file")]
    Init(Init),
    /// Install bundles: by name from a registry, from a .wasm file, or from a crate folder, which
    /// is built first.
    #[command(after_help = "Example:\n  blockyard install sql --yes")]
    Install(Install),
    /// List every installed version of each bundle: blocks that use it, signer, and updates in local
    /// registries.
    #[command(after_help = "Example:\n  blockyard bundles")]
    Bundles,
    /// List installed bundles for which the registries offer a newer release, or have withdrawn the
    /// installed one.
    #[command(after_help = "Example:\n  blockyard outdated")]
    Outdated(Registries),
    /// List the bundles that registries offer, installed or not.
    #[command(after_help = "Example:\n  blockyard search sql")]
    Search(Search),
    /// Show a bundle, installed or not, without running its code: types, capabilities, releases and
    /// signer.
    #[command(after_help = "Example:\n  blockyard info sql")]
    Info(Info),
    /// List registries in the order in which they are searched, and why each is used.
    #[command(after_help = "Example:\n  blockyard registries")]
    Registries(Registries),
    /// Uninstall a bundle, or one version of it. Refused while blocks use it; older revisions of
    /// blocks remain usable.
    #[command(after_help = "Example:\n  blockyard uninstall sql --yes")]
    Uninstall(Uninstall),
    /// Verify the bundles in the yard: digest, signature, manifest, grants, and that each still loads.
    #[command(after_help = "Example:\n  blockyard verify")]
    Verify,
    /// Drop the stored bytes of uninstalled bundles that no revision of a block uses, and remove
    /// downloads from the cache that were not used for 30 days.
    #[command(after_help = "Example:\n  blockyard gc")]
    Gc,
    /// Move the blocks of a bundle to a new version, all of them or none. Shows the changed
    /// permissions, fields and operations, and what happens to each block.
    #[command(after_help = "Example:\n  blockyard upgrade sql --plan")]
    Upgrade(Upgrade),
    /// List the capabilities that bundles request and whether they are granted.
    #[command(after_help = "Example:\n  blockyard grants sql")]
    Grants(Grants),
    /// Grant capabilities to a bundle.
    #[command(after_help = "Example:\n  blockyard grant sql 'sql postgres'")]
    Grant(GrantChange),
    /// Revoke capabilities of a bundle.
    #[command(after_help = "Example:\n  blockyard revoke sql 'sql postgres'")]
    Revoke(GrantChange),
    /// List block types.
    #[command(after_help = "Example:\n  blockyard types --interface database")]
    Types(Types),
    /// Show one block type: fields, secrets, and operations with their arguments.
    #[command(after_help = "Example:\n  blockyard type sql-database")]
    Type(Type),
    /// Create a block. On a terminal, prompts for each field that applies if no values are given.
    ///
    /// Each answer is validated at once. `@FILE` as an answer reads a file, Esc leaves out the remaining
    /// optional fields, and Ctrl-C ends without a change. At the end, the equivalent command is shown.
    #[command(
        after_help = "Example:\n  blockyard create sql-database/flights --set dialect=sqlite --set database=/tmp/flights.db"
    )]
    Create(Create),
    /// Save a new revision of a block. Fields and secrets that are not specified keep their values.
    #[command(
        after_help = "Example:\n  blockyard set sql-database/flights --set database=/tmp/other.db --if-revision 1 -m 'moved'"
    )]
    Set(Set),
    /// Edit a block as TOML in the editor that `VISUAL` or `EDITOR` names. The file contains
    /// no secrets.
    #[command(after_help = "Example:\n  blockyard edit sql-database/flights")]
    Edit(ChangedBlock),
    /// Create a block with the fields and secrets of another block of its type, and with changes.
    #[command(
        after_help = "Example:\n  blockyard copy sql-database/flights sql-database/archive --set database=/tmp/archive.db"
    )]
    Copy(Copy),
    /// List blocks.
    #[command(after_help = "Example:\n  blockyard list --type sql-database")]
    List(List),
    /// Show a block with secrets masked as `********`.
    #[command(after_help = "Example:\n  blockyard show sql-database/flights@1")]
    Show(PinnedArgument),
    /// List the revisions of a block: who saved each, how, and why.
    #[command(after_help = "Example:\n  blockyard history sql-database/flights")]
    History(BlockArgument),
    /// Show the differences between two revisions of a block, or between two blocks of the same
    /// type.
    #[command(after_help = "Example:\n  blockyard diff sql-database/flights@1 sql-database/flights")]
    Diff(Diff),
    /// Save a new revision that restores an older revision, including its secrets.
    #[command(after_help = "Example:\n  blockyard rollback sql-database/flights@1")]
    Rollback(Rollback),
    /// Delete a block. Its name stays reserved, and `restore` undoes the deletion.
    #[command(after_help = "Example:\n  blockyard delete sql-database/flights")]
    Delete(ChangedBlock),
    /// Restore a deleted block with all its revisions and secrets.
    #[command(after_help = "Example:\n  blockyard restore sql-database/flights")]
    Restore(ChangedBlock),
    /// Permanently destroy the secrets of all revisions of a block. Configuration and history are
    /// retained.
    #[command(after_help = "Example:\n  blockyard purge sql-database/flights --yes")]
    Purge(Purge),
    /// Print one secret after confirmation. Every use is recorded in the audit trail.
    #[command(after_help = "Example:\n  blockyard reveal sql-database/warehouse password --yes")]
    Reveal(Reveal),
    /// Run a program with values of blocks in its environment, after confirmation. Secrets are
    /// recorded in the audit trail like those of `reveal`, and are not written to disk.
    #[command(
        after_help = "Example:\n  blockyard exec --env PGPASSWORD=sql-database/warehouse:password --yes -- printenv PGPASSWORD"
    )]
    Exec(Exec),
    /// Check that a block is usable, e.g. that it can connect and authenticate.
    #[command(after_help = "Example:\n  blockyard check sql-database/flights")]
    Check(PinnedArgument),
    /// Call an operation of a block. `--help` after the operation lists its arguments.
    #[command(after_help = "Example:\n  blockyard call sql-database/flights fetch-one --statement 'select 1 as one'")]
    Call(Call),
    /// Run a read-only SQL statement on a block that implements `database`.
    #[command(
        after_help = "Example:\n  blockyard query sql-database/flights 'select :word as word' --param word=hello --format csv"
    )]
    Query(Query),
    /// Run an SQL statement that writes, on a block that implements `database`.
    #[command(
        after_help = "Example:\n  blockyard execute sql-database/flights 'create table if not exists notes (note text)'"
    )]
    Execute(Statement),
    /// Copy the rows of a query to a table of another database, atomically. The rows are streamed.
    #[command(
        after_help = "Example:\n  blockyard transfer sql-database/flights 'select 1 as one' sql-database/archive --table numbers"
    )]
    Transfer(Transfer),
    /// Copy objects to, from or between blocks that implement `object-storage`.
    #[command(after_help = "Example:\n  blockyard cp /tmp/flights.csv gcs-bucket/zoo:raw/flights.csv")]
    Cp(Cp),
    /// List the objects of a block that implements `object-storage`.
    #[command(after_help = "Example:\n  blockyard ls gcs-bucket/zoo:raw/")]
    Ls(Ls),
    /// Write the content of an object to standard output.
    #[command(after_help = "Example:\n  blockyard cat gcs-bucket/zoo:raw/flights.csv")]
    Cat(Cat),
    /// Remove an object.
    #[command(after_help = "Example:\n  blockyard rm gcs-bucket/zoo:raw/flights.csv --yes")]
    Rm(Rm),
    /// Write blocks as TOML. Secrets are included only as sources, never as values.
    #[command(after_help = "Example:\n  blockyard export --out /tmp/blocks.toml")]
    Export(Export),
    /// Show the changes that `apply` would make. Exits with code 8 if there are any.
    #[command(after_help = "Example:\n  blockyard plan /tmp/blocks.toml")]
    Plan(PlanFile),
    /// Create and update blocks to match a block file. On a terminal, shows the plan and asks for
    /// confirmation. Applying it twice changes nothing.
    #[command(after_help = "Example:\n  blockyard apply /tmp/blocks.toml")]
    Apply(Apply),
    /// Show the location of the yard's key, or rotate the key.
    #[command(after_help = "Example:\n  blockyard key rotate")]
    Key(Key),
    /// List entries of the audit trail.
    #[command(after_help = "Example:\n  blockyard audit --block sql-database/flights --since 2024-01-31 --limit 5")]
    Audit(Audit),
    /// Show each setting with its value and its origin: an option, an environment variable, the
    /// project file, your configuration, or the default. Secrets are not shown.
    #[command(after_help = "Example:\n  blockyard config")]
    Config,
    /// Show the yard, key, project file and registries in use, and the setting that chooses each.
    #[command(after_help = "Example:\n  blockyard status")]
    Status,
    /// Check a yard offline: database, key, bundles, every revision, grants, and the audit trail.
    #[command(after_help = "Example:\n  blockyard doctor")]
    Doctor(Doctor),
    /// Trust a project file or a SQLite yard, list trusted ones, or revoke trust.
    ///
    /// A blockyard.toml takes effect only while it is trusted, and a change to the file revokes the
    /// trust. The blocks of a trusted yard may use environment variables and files of this machine
    /// as secret sources, like those of a yard that was created here.
    #[command(after_help = "Example:\n  blockyard trust --list")]
    Trust(Trust),
    /// Create the crate of a new bundle, with a block type, a secret, an operation and a test.
    ///
    /// The last part of the path is the name of the bundle. Nothing is downloaded: the crate depends on
    /// the SDK that this program contains, which is unpacked into the data folder.
    #[command(after_help = "Example:\n  blockyard new acme")]
    New(New),
    /// Build a bundle into one .wasm file, from the folder of its crate or from a component that another
    /// tool built. Prints size, digest, capabilities and block types.
    #[command(after_help = "Example:\n  blockyard build plugins/sql --out /tmp/sql.wasm")]
    Build(Build),
    /// Build a bundle after each change of its crate, and install it in a scratch yard in the crate's folder
    /// `target`.
    ///
    /// Moves the blocks of the scratch yard to each new build and checks them. The scratch yard grants what
    /// the bundle requests; no other yard is used, and `--yard` has no effect.
    #[command(after_help = "Example:\n  blockyard dev /tmp/acme")]
    Dev(Dev),
    /// Test a bundle: the tests of its crate, and the conformance of the built component.
    ///
    /// The conformance tests run without a network and files, with sample blocks that are made from the
    /// examples and defaults of the schemas. They check schemas, capabilities, calls, secrets, limits and the
    /// conversion of the stored configurations in `tests/upgrades`. The exit code is 1 if a test fails.
    #[command(after_help = "Example:\n  blockyard test /tmp/acme")]
    Test(Test),
    /// Show the content of a component file or an installed bundle, without running its code: types with
    /// fields and operations, capabilities, imports, digest, signature and size.
    #[command(after_help = "Example:\n  blockyard inspect sql")]
    Inspect(Inspect),
    /// Sign bundles and add them to a registry folder. A published version is never replaced. First
    /// lists the permissions that a new version adds or drops.
    #[command(
        after_help = "Example:\n  blockyard publish /tmp/sql.wasm --registry /tmp/registry --new-signing-key /tmp/release.key"
    )]
    Publish(Publish),
    /// Print a completion script for a shell. It completes commands, options, and the names in the
    /// yard: addresses, types, operations, fields.
    ///
    /// Load it in the startup file of the shell: `source <(blockyard completions bash)` in ~/.bashrc,
    /// `source <(blockyard completions zsh)` in ~/.zshrc, `blockyard completions fish | source` in
    /// ~/.config/fish/config.fish.
    #[command(after_help = "Example:\n  blockyard completions bash")]
    Completions(Completions),
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Shell to generate the script for.
    pub(crate) shell: Shell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
    Elvish,
    Powershell,
    /// Commands and options only.
    Nushell,
}

impl Cli {
    /// Parses the command line. Prints help and usage errors and then exits the process.
    pub(crate) fn read() -> Self {
        let read = Self::described().try_get_matches().and_then(|matches| {
            let mut cli = Self::from_arg_matches(&matches)?;
            cli.global.origins = GlobalOrigins::of(&matches);
            Ok(cli)
        });
        let mut cli = read.unwrap_or_else(|error| refuse(&error));
        if let Command::Call(call) = &cli.command {
            let options = call.global_options();
            if options.yard.is_some() {
                cli.global.origins.yard = Origin::Option("--yard");
            }
            cli.global.yard = options.yard.or(cli.global.yard);
            cli.global.json |= options.json;
            cli.global.quiet |= options.quiet;
            cli.global.verbose = cli.global.verbose.saturating_add(options.verbose);
        }
        cli
    }

    /// Returns the command with an environment variable for every option, e.g.
    /// `BLOCKYARD_IF_REVISION` for `--if-revision`.
    pub(crate) fn described() -> clap::Command {
        overview::with_overview(with_variables(Self::command()), &STYLES)
    }
}

/// Prints help, or a usage error, and exits the process.
fn refuse(error: &clap::Error) -> ! {
    let json = std::env::args_os().any(|word| word == "--json") || std::env::var_os("BLOCKYARD_JSON").is_some();
    // An argument may be the name of another user's file, expanded from a shell pattern.
    let hidden = std::env::args_os().any(|word| {
        let word = word.to_string_lossy();
        visible::line(&word) != word
    });
    let address = error.source().and_then(|source| source.downcast_ref::<AddressError>());
    // clap reports the first argument that is not valid; `--help` after it is still a request for help.
    if address.is_some() && std::env::args_os().any(|word| word == "--help" || word == "-h") {
        let command = Cli::described();
        let words = std::env::args_os().filter_map(|word| word.into_string().ok());
        let named = words.into_iter().find(|word| command.find_subcommand(word).is_some());
        let words = ["blockyard".to_owned()].into_iter().chain(named).chain(["--help".to_owned()]);
        let _ = command.try_get_matches_from(words).map_err(|help| help.exit());
    }
    let refused = match address {
        Some(address) => Error::from(address.clone()),
        None if (json || hidden) && error.use_stderr() => {
            let text = error.render().to_string();
            Error::new(ErrorKind::Usage, text.trim_start_matches("error: ").trim()).multi_line()
        }
        None => error.exit(),
    };
    Terminal { json, quiet: true, verbose: 0 }.fail(&refused);
    std::process::exit(hints::exit_code(refused.kind()).into())
}

fn with_variables(command: clap::Command) -> clap::Command {
    command
        .mut_args(|argument| {
            let builtin = matches!(argument.get_id().as_str(), "help" | "version");
            // The URL of a yard may contain a password.
            let argument = argument.hide_env_values(true);
            match argument.get_long() {
                Some(long) if !builtin && argument.get_env().is_none() => {
                    let variable = format!("BLOCKYARD_{}", long.replace('-', "_").to_uppercase());
                    argument.env(variable).hide_env(true)
                }
                _ => argument,
            }
        })
        .mut_subcommands(with_variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_definition_is_valid() {
        Cli::described().debug_assert();
    }

    #[test]
    fn every_command_has_an_example() {
        let mut waiting: Vec<clap::Command> = Cli::command().get_subcommands().cloned().collect();
        while let Some(command) = waiting.pop() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example:\n  blockyard "), "{} has no example", command.get_name());
            waiting.extend(command.get_subcommands().cloned());
        }
    }
}
