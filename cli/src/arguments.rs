//! What the command line takes. The doc comments are the help.

use std::path::PathBuf;

use blockyard::model::visible;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use crate::tabular::Format;
use crate::terminal::Terminal;

/// Typed, named, versioned, encrypted configuration and credentials, and calls through them.
#[derive(Debug, Parser)]
#[command(name = "blockyard", version, propagate_version = true, max_term_width = 100, styles = STYLES)]
#[command(
    after_help = "Exit codes: 0 done, 1 the outside system said no or a check failed, 2 usage, 3 not found,\n4 invalid data, 5 denied, 6 conflict, 7 a bundle broke its limits or crashed, 70 a bug in Blockyard."
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
pub(crate) struct Global {
    /// The yard: `sqlite:PATH`, `postgres://USER@HOST/DATABASE`, or a name from `[yards.NAME]` of the
    /// user's configuration file. Default: that of the nearest blockyard.toml, if it is trusted, else a
    /// file in the platform's data folder.
    #[arg(long, global = true, env = "BLOCKYARD_YARD", value_name = "URL")]
    pub(crate) yard: Option<String>,
    /// Print one JSON document instead of text, errors too.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say nothing but results and errors.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say more; twice for even more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Show no progress bars.
    #[arg(long, global = true)]
    pub(crate) no_progress: bool,
    /// Export traces to this OpenTelemetry collector, which takes OTLP/HTTP: http://127.0.0.1:4318
    #[arg(long, global = true, env = "BLOCKYARD_OTLP", hide_env_values = true, value_name = "URL")]
    pub(crate) otlp: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a yard and its key, and say where both are.
    #[command(after_help = "Example:\n  blockyard init --key file")]
    Init(Init),
    /// Install bundles: from a registry by name, or by path from a .wasm file or the folder of a crate, which is built.
    #[command(after_help = "Example:\n  blockyard install sql --yes")]
    Install(Install),
    /// List the installed bundles.
    #[command(after_help = "Example:\n  blockyard bundles")]
    Bundles,
    /// Show what bundles may use.
    #[command(after_help = "Example:\n  blockyard grants sql")]
    Grants(Grants),
    /// Grant a bundle what it asks for.
    #[command(after_help = "Example:\n  blockyard grant sql 'sql postgres'")]
    Grant(GrantChange),
    /// Take a capability from a bundle.
    #[command(after_help = "Example:\n  blockyard revoke sql 'sql postgres'")]
    Revoke(GrantChange),
    /// List the block types.
    #[command(after_help = "Example:\n  blockyard types --interface database")]
    Types(Types),
    /// Show one block type: fields, secrets, operations with their arguments.
    #[command(after_help = "Example:\n  blockyard type sql-database")]
    Type(Type),
    /// Make a block. On a terminal, with nothing given, it asks field by field.
    #[command(
        after_help = "Example:\n  blockyard create sql-database/flights --set dialect=sqlite --set database=/tmp/flights.db"
    )]
    Create(Create),
    /// Save a new revision of a block; what is not named stays as it is, secrets too.
    #[command(
        after_help = "Example:\n  blockyard set sql-database/flights --set database=/tmp/other.db --if-revision 1"
    )]
    Set(Set),
    /// List blocks.
    #[command(after_help = "Example:\n  blockyard list --type sql-database")]
    List(List),
    /// Show a block, secrets as `********`.
    #[command(after_help = "Example:\n  blockyard show sql-database/flights@1")]
    Show(Show),
    /// List the revisions of a block.
    #[command(after_help = "Example:\n  blockyard history sql-database/flights")]
    History(History),
    /// Show what differs between two revisions of a block, or between two blocks of one type.
    #[command(after_help = "Example:\n  blockyard diff sql-database/flights@1 sql-database/flights")]
    Diff(Diff),
    /// Save a new revision that is equal to an old one, secrets included.
    #[command(after_help = "Example:\n  blockyard rollback sql-database/flights@1")]
    Rollback(Rollback),
    /// Delete a block. Its name stays taken, and `restore` has it back.
    #[command(after_help = "Example:\n  blockyard delete sql-database/flights")]
    Delete(One),
    /// Have a deleted block back, with all its revisions and secrets.
    #[command(after_help = "Example:\n  blockyard restore sql-database/flights")]
    Restore(One),
    /// Destroy the secrets of a block, of all its revisions, for good. Configuration and history stay.
    #[command(after_help = "Example:\n  blockyard purge sql-database/flights --yes")]
    Purge(Purge),
    /// Print one secret, after asking. Each time is a line of the audit trail.
    #[command(after_help = "Example:\n  blockyard reveal sql-database/warehouse password --yes")]
    Reveal(Reveal),
    /// Can the block do its work now?
    #[command(after_help = "Example:\n  blockyard check sql-database/flights")]
    Check(Check),
    /// Call an operation of a block; `--help` after the operation shows its arguments.
    #[command(after_help = "Example:\n  blockyard call sql-database/flights fetch-one --statement 'select 1 as one'")]
    Call(Call),
    /// Run a statement that only reads, on a block that implements `database`.
    #[command(
        after_help = "Example:\n  blockyard query sql-database/flights 'select :word as word' --param word=hello --format csv"
    )]
    Query(Query),
    /// Run a statement that changes something, on a block that implements `database`.
    #[command(
        after_help = "Example:\n  blockyard execute sql-database/flights 'create table if not exists notes (note text)'"
    )]
    Execute(Execute),
    /// Copy objects into a block that implements `object-storage`, out of it, and between two of them.
    #[command(after_help = "Example:\n  blockyard cp /tmp/flights.csv gcs-bucket/zoo:raw/flights.csv")]
    Cp(Cp),
    /// List the objects of a block that implements `object-storage`.
    #[command(after_help = "Example:\n  blockyard ls gcs-bucket/zoo:raw/")]
    Ls(Ls),
    /// Write the bytes of an object to standard output.
    #[command(after_help = "Example:\n  blockyard cat gcs-bucket/zoo:raw/flights.csv")]
    Cat(Cat),
    /// Remove an object.
    #[command(after_help = "Example:\n  blockyard rm gcs-bucket/zoo:raw/flights.csv --yes")]
    Rm(Rm),
    /// Write blocks as TOML, secrets only as sources.
    #[command(after_help = "Example:\n  blockyard export --out /tmp/blocks.toml")]
    Export(Export),
    /// Show what a file of blocks would change. Exits 8 where something would.
    #[command(after_help = "Example:\n  blockyard plan /tmp/blocks.toml")]
    Plan(PlanFile),
    /// Make the blocks of a file what the file says. Applying twice changes nothing.
    #[command(after_help = "Example:\n  blockyard apply /tmp/blocks.toml")]
    Apply(PlanFile),
    /// The yard's key: where it is, and moving to a new one.
    #[command(after_help = "Example:\n  blockyard key rotate")]
    Key(Key),
    /// Who did what when.
    #[command(after_help = "Example:\n  blockyard audit --block sql-database/flights --since 2024-01-31 --limit 5")]
    Audit(Audit),
    /// Check all that can be checked, offline: database, key, bundles, every revision, the audit trail.
    #[command(after_help = "Example:\n  blockyard doctor")]
    Doctor,
    /// Trust a project file, or take over a SQLite yard; list what is trusted; end it.
    ///
    /// A blockyard.toml takes effect only when it is trusted, and until it changes. A yard that was taken over may
    /// read environment variables and files of this machine as secrets of its blocks, like one that was made here.
    #[command(after_help = "Example:\n  blockyard trust --list")]
    Trust(Trust),
    /// Build a bundle from the folder of its crate into one .wasm file.
    #[command(after_help = "Example:\n  blockyard build plugins/sql --out /tmp/sql.wasm")]
    Build(Build),
    /// Print completions for a shell.
    #[command(after_help = "Example:\n  blockyard completions bash")]
    Completions(Completions),
}

/// Where a new yard's key goes.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum KeyPlace {
    /// The operating system's keyring.
    Keyring,
    /// A file beside the yard that only its owner can read, or the one that BLOCKYARD_KEY_FILE names.
    File,
    /// Nowhere: BLOCKYARD_KEY has it, now and at every command.
    Env,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Where the key goes. Default: the keyring, or a file where none answers.
    #[arg(long, value_name = "PLACE", env = "BLOCKYARD_INIT_KEY")]
    pub(crate) key: Option<KeyPlace>,
}

#[derive(Debug, Args)]
pub(crate) struct Install {
    /// What to install: NAME or NAME@REQUIREMENT from a registry, FILE.wasm, or PATH/TO/CRATE. An argument with a `/`, one
    /// that ends in `.wasm`, and `.` are paths; all others are names, whatever the current folder holds.
    #[arg(required = true, value_name = "BUNDLE")]
    pub(crate) bundles: Vec<String>,
    /// A registry's folder or its registry.toml; may be repeated, the first one that has the bundle is used. Default: the registries
    /// of a trusted blockyard.toml, of the user's configuration file, and the one that came with this program.
    #[arg(long, value_name = "PATH")]
    pub(crate) registry: Vec<PathBuf>,
    /// Agree to build bundles that a registry has as source code. Building runs code of theirs on this machine.
    #[arg(long)]
    pub(crate) build: bool,
    /// Grant a capability that a bundle asks for, or a narrower one. Can be given several times.
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) grant: Vec<String>,
    /// Agree to another source, and to wider effects and safe requests, than those of the installed bundle.
    #[arg(long)]
    pub(crate) replace: bool,
    /// Agree to a new bundle, and to an installed one's new version if that may do no more than before.
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Grants {
    /// This bundle only.
    pub(crate) bundle: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct GrantChange {
    /// The bundle.
    pub(crate) bundle: String,
    /// Capabilities, as `blockyard grants` shows them.
    #[arg(required = true, value_name = "CAPABILITY")]
    pub(crate) capabilities: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Types {
    /// Only types that implement this interface.
    #[arg(long, value_name = "INTERFACE")]
    pub(crate) interface: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Type {
    /// The type.
    #[arg(value_name = "TYPE")]
    pub(crate) slug: String,
    /// Print the JSON Schema of its configuration.
    #[arg(long)]
    pub(crate) schema: bool,
}

/// Values of fields.
#[derive(Debug, Args)]
pub(crate) struct Fields {
    /// A field's value, `a.b=1` reaching into objects; `@FILE` reads it from a file.
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    pub(crate) set: Vec<String>,
    /// A configuration as JSON, from a file or `-` for standard input. `set` merges it: what it does not name
    /// stays as it is, secrets too, at every depth; lists are replaced.
    #[arg(long, value_name = "FILE")]
    pub(crate) json_config: Option<PathBuf>,
    /// A secret: `FIELD` asks, `FIELD=-` reads standard input, `FIELD=@FILE` stores a file's content, `FIELD=env:NAME`, `FIELD=file:PATH` and `FIELD=block:TYPE/NAME` are read at each call. Of `-`, `@FILE`, `env:` and `file:`, one line end at the end of the text is not part of the secret.
    #[arg(long, value_name = "FIELD[=SOURCE]")]
    pub(crate) secret: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// TYPE/NAME.
    pub(crate) address: String,
    #[command(flatten)]
    pub(crate) fields: Fields,
    /// Check what would be saved, and save nothing.
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    /// TYPE/NAME.
    pub(crate) address: String,
    #[command(flatten)]
    pub(crate) fields: Fields,
    /// Take a field away.
    #[arg(long, value_name = "FIELD")]
    pub(crate) unset: Vec<String>,
    /// Only if this is still the newest revision.
    #[arg(long, value_name = "N")]
    pub(crate) if_revision: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Blocks with this word in their address.
    pub(crate) word: Option<String>,
    /// Blocks of this type.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) type_slug: Option<String>,
    /// Blocks whose type implements this interface.
    #[arg(long, value_name = "INTERFACE")]
    pub(crate) interface: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u32>,
    /// Those after this address: the next page.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) after: Option<String>,
    /// Deleted blocks instead of live ones.
    #[arg(long)]
    pub(crate) deleted: bool,
    /// Print only how many there are, on all pages.
    #[arg(long)]
    pub(crate) count: bool,
}

/// A block.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// TYPE/NAME.
    pub(crate) address: String,
}

#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// TYPE/NAME or TYPE/NAME@REVISION.
    pub(crate) before: String,
    /// TYPE/NAME or TYPE/NAME@REVISION.
    pub(crate) after: String,
}

#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// TYPE/NAME@REVISION.
    pub(crate) address: String,
}

#[derive(Debug, Args)]
pub(crate) struct Purge {
    /// TYPE/NAME.
    pub(crate) address: String,
    /// Agree to it: what is destroyed cannot be had back.
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Reveal {
    /// TYPE/NAME or TYPE/NAME@REVISION.
    pub(crate) address: String,
    /// The secret field, `a.b` reaching into objects.
    pub(crate) field: String,
    /// Agree to it, where nobody can be asked.
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// These blocks only; none means all.
    #[arg(value_name = "TYPE/NAME")]
    pub(crate) addresses: Vec<String>,
    /// The file to write. One that is there keeps its comments, its order, and blocks that are not named.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PlanFile {
    /// A file of blocks, as `export` writes it, or `-` for standard input.
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Key {
    #[command(subcommand)]
    pub(crate) command: KeyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Where the yard's key is kept, whether it is to be had, and how far a rotation is.
    #[command(after_help = "Example:\n  blockyard key status")]
    Status,
    /// Move the yard to a new key. It can be stopped at any time, and goes on where it was.
    #[command(after_help = "Example:\n  blockyard key rotate")]
    Rotate(Rotate),
}

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// Where the new key goes: `keyring`, `file`, or `env:NAME`, which has it already and has to have
    /// it from then on. Default: where the old one is.
    #[arg(long, value_name = "PLACE")]
    pub(crate) to: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// TYPE/NAME or TYPE/NAME@REVISION.
    pub(crate) address: String,
}

#[derive(Debug, Args)]
pub(crate) struct History {
    /// TYPE/NAME.
    pub(crate) address: String,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// TYPE/NAME or TYPE/NAME@REVISION.
    pub(crate) address: String,
}

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Call {
    /// TYPE/NAME or TYPE/NAME@REVISION.
    #[arg(required_unless_present = "help", default_value = "")]
    pub(crate) address: String,
    /// The operation, and its arguments: `--NAME VALUE`, `--args JSON|@FILE|-`, `--in FILE|-`, `--out FILE|-`, `--timeout SECONDS`, `--yes`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPERATION [--ARGUMENT VALUE]")]
    pub(crate) rest: Vec<String>,
    /// Print help.
    #[arg(short, long, action = clap::ArgAction::Help)]
    pub(crate) help: Option<bool>,
}

#[derive(Debug, Args)]
pub(crate) struct Query {
    /// TYPE/NAME or TYPE/NAME@REVISION.
    pub(crate) address: String,
    /// The statement, with parameters as `:name`; `@FILE` reads it from a file.
    #[arg(value_name = "SQL")]
    pub(crate) statement: String,
    /// A parameter's value; numbers, true, false and null are read as such.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) param: Vec<String>,
    /// How to print the rows. Default: by the ending of `--out`, else a table.
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
    /// Where to. The file appears when it is complete.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Execute {
    /// TYPE/NAME or TYPE/NAME@REVISION.
    pub(crate) address: String,
    /// The statement, with parameters as `:name`; `@FILE` reads it from a file.
    #[arg(value_name = "SQL")]
    pub(crate) statement: String,
    /// A parameter's value; numbers, true, false and null are read as such.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) param: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Cp {
    /// A file, a folder, `-` for standard input, or TYPE/NAME:PATH.
    pub(crate) from: String,
    /// A file, a folder, `-` for standard output, or TYPE/NAME:PATH. What is there is replaced.
    pub(crate) to: String,
    /// Copy all that is below a folder or a path.
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// Only where nothing is there yet.
    #[arg(long)]
    pub(crate) if_absent: bool,
    /// With `-r`, copy the other objects when some have names that cannot be files here. The command names these
    /// at its end, and fails.
    #[arg(long, requires = "recursive")]
    pub(crate) skip_bad_names: bool,
    /// The media type of what is stored, such as `text/csv`.
    #[arg(long, value_name = "TYPE")]
    pub(crate) content_type: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// TYPE/NAME:PREFIX; with no prefix, all.
    #[arg(value_name = "ADDRESS:PREFIX")]
    pub(crate) place: String,
    /// Every object, and not only the next folder of each.
    #[arg(short, long)]
    pub(crate) recursive: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Cat {
    /// TYPE/NAME:PATH.
    #[arg(value_name = "ADDRESS:PATH")]
    pub(crate) place: String,
}

#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// TYPE/NAME:PATH.
    #[arg(value_name = "ADDRESS:PATH")]
    pub(crate) place: String,
    /// Agree to it: what is removed cannot be had back.
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// About this block only.
    #[arg(long, value_name = "TYPE/NAME")]
    pub(crate) block: Option<String>,
    /// Since this time: a date, a time (RFC 3339), or a span back from now such as `2h` or `7d`.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// At most so many lines, the newest first.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Trust {
    /// A project's folder or its blockyard.toml, or the file of a SQLite yard. Default: the nearest blockyard.toml from the
    /// current folder upwards.
    pub(crate) path: Option<PathBuf>,
    /// List what is trusted.
    #[arg(long, conflicts_with_all = ["path", "revoke"])]
    pub(crate) list: bool,
    /// End the trust in PATH.
    #[arg(long)]
    pub(crate) revoke: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Build {
    /// The folder of the crate.
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,
    /// The file to write. Default: NAME-VERSION.wasm, here.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell.
    pub(crate) shell: clap_complete::Shell,
}

impl Cli {
    /// Reads the command line; prints help and usage errors itself, and ends the process then.
    pub(crate) fn read() -> Self {
        let read = Self::described().try_get_matches().and_then(|matches| Self::from_arg_matches(&matches));
        let read = read.map(|mut cli: Self| {
            // What stands behind an operation is read when the operation is known; how errors are printed
            // is settled before.
            if let Command::Call(call) = &cli.command {
                cli.global.json |= call.rest.iter().any(|word| word == "--json");
            }
            cli
        });
        read.unwrap_or_else(|error| {
            let json = std::env::args_os().any(|word| word == "--json") || std::env::var_os("BLOCKYARD_JSON").is_some();
            let text = error.render().to_string();
            // A word of the command line may be the name of a file of another user, by a pattern of the shell.
            let hidden = std::env::args_os().any(|word| {
                let word = word.to_string_lossy();
                visible::line(&word) != word
            });
            if (json || hidden) && error.use_stderr() {
                let message = text.trim_start_matches("error: ").trim();
                let error = blockyard::Error::new(blockyard::ErrorKind::Usage, message).in_lines();
                let terminal = Terminal { json, quiet: true, verbose: 0 };
                terminal.fail(&error);
                std::process::exit(crate::hints::exit_code(blockyard::ErrorKind::Usage).into());
            }
            error.exit()
        })
    }

    /// The command with an environment variable for every option: `--if-revision` is
    /// `BLOCKYARD_IF_REVISION`.
    pub(crate) fn described() -> clap::Command {
        with_variables(Self::command())
    }
}

fn with_variables(command: clap::Command) -> clap::Command {
    command
        .mut_args(|argument| {
            let builtin = matches!(argument.get_id().as_str(), "help" | "version");
            // The address of a yard may have a password in it.
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
    fn the_command_line_is_well_formed() {
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
