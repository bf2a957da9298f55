//! Command-line arguments. The doc comments are the help text.

use std::path::PathBuf;

use blockyard::model::visible;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use crate::tabular::Format;
use crate::terminal::Terminal;

/// Stores typed, named, versioned and encrypted configuration and credentials, and calls services
/// through them.
#[derive(Debug, Parser)]
#[command(name = "blockyard", version, propagate_version = true, max_term_width = 100, styles = STYLES)]
#[command(
    after_help = "Exit codes: 0 success, 1 remote error or failed check, 2 usage error, 3 not found, 4 invalid data,\n5 denied, 6 conflict, 7 bundle exceeded a limit or crashed, 8 `plan` found changes,\n70 internal error, 130 interrupted."
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
    /// List installed bundles.
    #[command(after_help = "Example:\n  blockyard bundles")]
    Bundles,
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
    /// Create a block. On a terminal, prompts for each field if no values are given.
    #[command(
        after_help = "Example:\n  blockyard create sql-database/flights --set dialect=sqlite --set database=/tmp/flights.db"
    )]
    Create(Create),
    /// Save a new revision of a block. Fields and secrets that are not specified keep their values.
    #[command(
        after_help = "Example:\n  blockyard set sql-database/flights --set database=/tmp/other.db --if-revision 1"
    )]
    Set(Set),
    /// List blocks.
    #[command(after_help = "Example:\n  blockyard list --type sql-database")]
    List(List),
    /// Show a block with secrets masked as `********`.
    #[command(after_help = "Example:\n  blockyard show sql-database/flights@1")]
    Show(Show),
    /// List the revisions of a block.
    #[command(after_help = "Example:\n  blockyard history sql-database/flights")]
    History(History),
    /// Show the differences between two revisions of a block, or between two blocks of the same
    /// type.
    #[command(after_help = "Example:\n  blockyard diff sql-database/flights@1 sql-database/flights")]
    Diff(Diff),
    /// Save a new revision that restores an older revision, including its secrets.
    #[command(after_help = "Example:\n  blockyard rollback sql-database/flights@1")]
    Rollback(Rollback),
    /// Delete a block. Its name stays reserved, and `restore` undoes the deletion.
    #[command(after_help = "Example:\n  blockyard delete sql-database/flights")]
    Delete(BlockArgument),
    /// Restore a deleted block with all its revisions and secrets.
    #[command(after_help = "Example:\n  blockyard restore sql-database/flights")]
    Restore(BlockArgument),
    /// Permanently destroy the secrets of all revisions of a block. Configuration and history are
    /// retained.
    #[command(after_help = "Example:\n  blockyard purge sql-database/flights --yes")]
    Purge(Purge),
    /// Print one secret after confirmation. Every use is recorded in the audit trail.
    #[command(after_help = "Example:\n  blockyard reveal sql-database/warehouse password --yes")]
    Reveal(Reveal),
    /// Check that a block is usable, e.g. that it can connect and authenticate.
    #[command(after_help = "Example:\n  blockyard check sql-database/flights")]
    Check(Check),
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
    Execute(Execute),
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
    /// Create and update blocks to match a block file. Applying it twice changes nothing.
    #[command(after_help = "Example:\n  blockyard apply /tmp/blocks.toml")]
    Apply(PlanFile),
    /// Show the location of the yard's key, or rotate the key.
    #[command(after_help = "Example:\n  blockyard key rotate")]
    Key(Key),
    /// List entries of the audit trail.
    #[command(after_help = "Example:\n  blockyard audit --block sql-database/flights --since 2024-01-31 --limit 5")]
    Audit(Audit),
    /// Check a yard offline: database, key, bundles, every revision, and the audit trail.
    #[command(after_help = "Example:\n  blockyard doctor")]
    Doctor,
    /// Trust a project file or a SQLite yard, list trusted ones, or revoke trust.
    ///
    /// A blockyard.toml takes effect only while it is trusted, and a change to the file revokes the
    /// trust. The blocks of a trusted yard may use environment variables and files of this machine
    /// as secret sources, like those of a yard that was created here.
    #[command(after_help = "Example:\n  blockyard trust --list")]
    Trust(Trust),
    /// Build a bundle from the folder of its crate into one .wasm file.
    #[command(after_help = "Example:\n  blockyard build plugins/sql --out /tmp/sql.wasm")]
    Build(Build),
    /// Print a completion script for a shell.
    #[command(after_help = "Example:\n  blockyard completions bash")]
    Completions(Completions),
}

/// Location of a new yard's key.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum KeyLocation {
    /// The operating system's keyring.
    Keyring,
    /// A file readable only by its owner: the one at BLOCKYARD_KEY_FILE, or one beside the yard.
    File,
    /// Not stored: every command reads the key from BLOCKYARD_KEY.
    Env,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Location of the key. Default: the keyring, or a file if no keyring is available.
    #[arg(long, value_name = "PLACE", env = "BLOCKYARD_INIT_KEY")]
    pub(crate) key: Option<KeyLocation>,
}

#[derive(Debug, Args)]
pub(crate) struct Install {
    /// Bundle to install: NAME or NAME@REQUIREMENT from a registry, FILE.wasm, or PATH/TO/CRATE. An
    /// argument that contains `/`, ends in `.wasm` or is `.` is a path; any other is a name,
    /// regardless of the content of the current folder.
    #[arg(required = true, value_name = "BUNDLE")]
    pub(crate) bundles: Vec<String>,
    /// Folder or registry.toml of a registry. If repeated, the first registry that contains the
    /// bundle is used. Default: the registries of a trusted blockyard.toml, those of the user's
    /// configuration file, and the one shipped with this program.
    #[arg(long, value_name = "PATH")]
    pub(crate) registry: Vec<PathBuf>,
    /// Permit building bundles that a registry provides as source code. Building runs third-party
    /// code on this machine.
    #[arg(long)]
    pub(crate) build: bool,
    /// Grant a capability that a bundle requests, or a narrower one. Can be repeated.
    #[arg(long, value_name = "CAPABILITY")]
    pub(crate) grant: Vec<String>,
    /// Approve a different source, wider effects and additional safe requests than those of the
    /// installed bundle.
    #[arg(long)]
    pub(crate) replace: bool,
    /// Approve a new bundle, or a new version that requires no additional permissions.
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Grants {
    /// Show only this bundle.
    pub(crate) bundle: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct GrantChange {
    /// Name of the bundle, e.g. `sql`.
    pub(crate) bundle: String,
    /// Capabilities, as listed by `blockyard grants`.
    #[arg(required = true, value_name = "CAPABILITY")]
    pub(crate) capabilities: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Types {
    /// List only types that implement this interface, e.g. `database`.
    #[arg(long, value_name = "INTERFACE")]
    pub(crate) interface: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Type {
    /// Block type, e.g. `sql-database`.
    #[arg(value_name = "TYPE")]
    pub(crate) slug: String,
    /// Print the JSON Schema of the configuration.
    #[arg(long)]
    pub(crate) schema: bool,
}

/// Field values.
#[derive(Debug, Args)]
pub(crate) struct Fields {
    /// Set a field, e.g. `port=5432`; `a.b=1` sets a nested field; `@FILE` as the value reads a
    /// file.
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    pub(crate) set: Vec<String>,
    /// Read the configuration as JSON from a file, or from standard input with `-`. `set` merges
    /// it: fields and secrets that it omits keep their values at every depth; lists are replaced.
    #[arg(long, value_name = "FILE")]
    pub(crate) json_config: Option<PathBuf>,
    /// Set a secret: `FIELD` prompts for it, `FIELD=-` reads standard input, `FIELD=@FILE` stores
    /// the content of a file; `FIELD=env:NAME`, `FIELD=file:PATH` and `FIELD=block:TYPE/NAME` are
    /// sources that are read at each call. One trailing newline is removed from values of `-`,
    /// `@FILE`, `env:` and `file:`.
    #[arg(long, value_name = "FIELD[=SOURCE]")]
    pub(crate) secret: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Block address, TYPE/NAME.
    pub(crate) address: String,
    #[command(flatten)]
    pub(crate) fields: Fields,
    /// Validate the block without saving it.
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    /// Block address, TYPE/NAME.
    pub(crate) address: String,
    #[command(flatten)]
    pub(crate) fields: Fields,
    /// Remove a field.
    #[arg(long, value_name = "FIELD")]
    pub(crate) unset: Vec<String>,
    /// Save only if this is the newest revision.
    #[arg(long, value_name = "N")]
    pub(crate) if_revision: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// List only blocks whose address contains this text.
    pub(crate) word: Option<String>,
    /// List only blocks of this type.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) type_slug: Option<String>,
    /// List only blocks whose type implements this interface.
    #[arg(long, value_name = "INTERFACE")]
    pub(crate) interface: Option<String>,
    /// Maximum number of blocks.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u32>,
    /// List only blocks after this address: the next page.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) after: Option<String>,
    /// List deleted blocks instead of live ones.
    #[arg(long)]
    pub(crate) deleted: bool,
    /// Print only the number of blocks on all pages.
    #[arg(long)]
    pub(crate) count: bool,
}

/// A block.
#[derive(Debug, Args)]
pub(crate) struct BlockArgument {
    /// Block address, TYPE/NAME.
    pub(crate) address: String,
}

#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// Block address, TYPE/NAME or TYPE/NAME@REVISION.
    pub(crate) before: String,
    /// Block address, TYPE/NAME or TYPE/NAME@REVISION.
    pub(crate) after: String,
}

#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// Block address with the revision to restore, TYPE/NAME@REVISION.
    pub(crate) address: String,
}

#[derive(Debug, Args)]
pub(crate) struct Purge {
    /// Block address, TYPE/NAME.
    pub(crate) address: String,
    /// Skip the confirmation prompt. Destroyed secrets cannot be recovered.
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Reveal {
    /// Block address, TYPE/NAME or TYPE/NAME@REVISION.
    pub(crate) address: String,
    /// Secret field, e.g. `password`; `a.b` for a nested field.
    pub(crate) field: String,
    /// Skip the confirmation prompt.
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Blocks to export. Default: all.
    #[arg(value_name = "TYPE/NAME")]
    pub(crate) addresses: Vec<String>,
    /// Output file. An existing file keeps its comments, its order, and blocks that are not
    /// exported.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PlanFile {
    /// Block file in the format of `export`, or `-` for standard input.
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Key {
    #[command(subcommand)]
    pub(crate) command: KeyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Show the location and availability of the yard's key, and the progress of a rotation.
    #[command(after_help = "Example:\n  blockyard key status")]
    Status,
    /// Replace the yard's key. An interrupted rotation can be resumed by running the command again.
    #[command(after_help = "Example:\n  blockyard key rotate")]
    Rotate(Rotate),
}

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// Location of the new key: `keyring`, `file`, or `env:NAME`. The variable must already contain
    /// the key, and every later command requires it. Default: the location of the old key.
    #[arg(long, value_name = "PLACE")]
    pub(crate) to: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Block address, TYPE/NAME or TYPE/NAME@REVISION.
    pub(crate) address: String,
}

#[derive(Debug, Args)]
pub(crate) struct History {
    /// Block address, TYPE/NAME.
    pub(crate) address: String,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Block address, TYPE/NAME or TYPE/NAME@REVISION.
    pub(crate) address: String,
}

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Call {
    /// Block address, TYPE/NAME or TYPE/NAME@REVISION.
    #[arg(required_unless_present = "help", default_value = "")]
    pub(crate) address: String,
    /// Operation and its arguments: `--NAME VALUE`, `--args JSON|@FILE|-`, `--in FILE|-`,
    /// `--out FILE|-`, `--timeout SECONDS`, `--yes`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPERATION [--ARGUMENT VALUE]")]
    pub(crate) rest: Vec<String>,
    /// Print help.
    #[arg(short, long, action = clap::ArgAction::Help)]
    pub(crate) help: Option<bool>,
}

#[derive(Debug, Args)]
pub(crate) struct Query {
    /// Block address, TYPE/NAME or TYPE/NAME@REVISION.
    pub(crate) address: String,
    /// SQL statement, with parameters as `:name`; `@FILE` reads it from a file.
    #[arg(value_name = "SQL")]
    pub(crate) statement: String,
    /// Parameter of the statement, e.g. `id=7`. Numbers, `true`, `false`, `null`, lists and objects
    /// are parsed as JSON. Other values are strings, and so are numbers that parsing would change,
    /// such as `1.10`.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) param: Vec<String>,
    /// Output format. Default: derived from the extension of `--out`, else a table.
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
    /// Output file, written atomically.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Execute {
    /// Block address, TYPE/NAME or TYPE/NAME@REVISION.
    pub(crate) address: String,
    /// SQL statement, with parameters as `:name`; `@FILE` reads it from a file.
    #[arg(value_name = "SQL")]
    pub(crate) statement: String,
    /// Parameter of the statement, e.g. `id=7`. Numbers, `true`, `false`, `null`, lists and objects
    /// are parsed as JSON. Other values are strings, and so are numbers that parsing would change,
    /// such as `1.10`.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) param: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Cp {
    /// Source: a file, a folder, `-` for standard input, or TYPE/NAME:PATH.
    pub(crate) from: String,
    /// Destination: a file, a folder, `-` for standard output, or TYPE/NAME:PATH. Existing files
    /// and objects are replaced.
    pub(crate) to: String,
    /// Copy all files or objects below a folder or path.
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// Fail if the destination already exists.
    #[arg(long)]
    pub(crate) if_absent: bool,
    /// With `-r`, skip objects whose names are not valid file names on this machine. The command
    /// lists them at the end and fails.
    #[arg(long, requires = "recursive")]
    pub(crate) skip_bad_names: bool,
    /// Media type of the stored object, e.g. `text/csv`.
    #[arg(long, value_name = "TYPE")]
    pub(crate) content_type: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Object path prefix, TYPE/NAME:PREFIX. An empty prefix lists all objects.
    #[arg(value_name = "ADDRESS:PREFIX")]
    pub(crate) place: String,
    /// List all objects instead of one level of folders.
    #[arg(short, long)]
    pub(crate) recursive: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Cat {
    /// Object path, TYPE/NAME:PATH.
    #[arg(value_name = "ADDRESS:PATH")]
    pub(crate) place: String,
}

#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Object path, TYPE/NAME:PATH.
    #[arg(value_name = "ADDRESS:PATH")]
    pub(crate) place: String,
    /// Skip the confirmation prompt. A removed object cannot be restored.
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// Show only entries about this block.
    #[arg(long, value_name = "TYPE/NAME")]
    pub(crate) block: Option<String>,
    /// Show only entries since this time: a date, an RFC 3339 time, or a duration before now such
    /// as `2h` or `7d`.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Maximum number of entries, newest first.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Trust {
    /// Project folder, its blockyard.toml, or the file of a SQLite yard. Default: the nearest
    /// blockyard.toml, searching from the current folder upwards.
    pub(crate) path: Option<PathBuf>,
    /// List trusted project files and yards.
    #[arg(long, conflicts_with_all = ["path", "revoke"])]
    pub(crate) list: bool,
    /// Revoke the trust in PATH.
    #[arg(long)]
    pub(crate) revoke: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Build {
    /// Folder of the crate.
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,
    /// Output file. Default: NAME-VERSION.wasm in the current folder.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Shell to generate the script for.
    pub(crate) shell: clap_complete::Shell,
}

impl Cli {
    /// Parses the command line. Prints help and usage errors and then exits the process.
    pub(crate) fn read() -> Self {
        let read = Self::described().try_get_matches().and_then(|matches| Self::from_arg_matches(&matches));
        let read = read.map(|mut cli: Self| {
            // Options after an operation are parsed later, when the operation is known, but the
            // error format must be determined now.
            if let Command::Call(call) = &cli.command {
                cli.global.json |= call.rest.iter().any(|word| word == "--json");
            }
            cli
        });
        read.unwrap_or_else(|error| {
            let json = std::env::args_os().any(|word| word == "--json") || std::env::var_os("BLOCKYARD_JSON").is_some();
            let text = error.render().to_string();
            // An argument may be the name of another user's file, expanded from a shell pattern.
            let hidden = std::env::args_os().any(|word| {
                let word = word.to_string_lossy();
                visible::line(&word) != word
            });
            if (json || hidden) && error.use_stderr() {
                let message = text.trim_start_matches("error: ").trim();
                let error = blockyard::Error::new(blockyard::ErrorKind::Usage, message).multi_line();
                let terminal = Terminal { json, quiet: true, verbose: 0 };
                terminal.fail(&error);
                std::process::exit(crate::hints::exit_code(blockyard::ErrorKind::Usage).into());
            }
            error.exit()
        })
    }

    /// Returns the command with an environment variable for every option, e.g.
    /// `BLOCKYARD_IF_REVISION` for `--if-revision`.
    pub(crate) fn described() -> clap::Command {
        with_variables(Self::command())
    }
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
