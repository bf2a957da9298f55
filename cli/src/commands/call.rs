//! `blockyard call`: calls an operation of a block. Command-line options are generated from the
//! operation's argument schema.

use std::path::{Path, PathBuf};
use std::time::Duration;

use blockyard::model::{Operation, Pointer, exact, visible};
use blockyard::{Block, Deadline, Effect, Error, ErrorKind, Input, Json, PinnedAddress, Problem};
use clap::{Arg, ArgAction};
use futures_util::StreamExt as _;
use tokio::io::AsyncReadExt as _;

use super::{DONE, Outcome};
use crate::arguments::Call;
use crate::context::Context;
use crate::fields::read;
use crate::hints;
use crate::output::{self, Destination};

/// Chunk size for reading an input, in bytes.
const CHUNK_BYTES: usize = 256 << 10;

/// Options of `call` itself. Operation arguments with the same names can only be passed with
/// `--args`.
const OWN_FLAGS: [&str; 10] = ["args", "in", "out", "timeout", "yes", "json", "yard", "quiet", "verbose", "help"];

pub(super) async fn run(arguments: Call, context: &Context) -> Outcome {
    let address: PinnedAddress = arguments.address.parse().map_err(Error::from)?;
    let mut rest = arguments.rest.into_iter();
    let name = rest.next();
    let rest: Vec<String> = rest.collect();
    let context = context.adjusted(early(&rest, "--yard"));

    let yard = context.open().await?;
    let block = yard.open_block(&address).await?;
    let Some(name) = name else {
        return Err(no_operation(&block)?.into());
    };
    let operation = block.operation(&name)?;
    let matches = match flags(&address, operation).try_get_matches_from(&rest) {
        Ok(matches) => matches,
        // clap prints help and usage errors.
        Err(error) => {
            // An argument may be the name of another user's file, expanded from a shell pattern.
            if error.use_stderr() && rest.iter().any(|word| visible::line(word) != *word) {
                let text = error.render().to_string();
                let message = text.trim_start_matches("error: ").trim();
                return Err(Error::new(ErrorKind::Usage, message).multi_line().into());
            }
            let _ = error.print();
            return Ok(std::process::ExitCode::from(if error.use_stderr() {
                hints::exit_code(ErrorKind::Usage)
            } else {
                0
            }));
        }
    };
    let context = context.louder(matches.get_count("verbose"), matches.get_flag("quiet"));
    let given = values(operation, &matches)?;
    if operation.effect == Effect::Destructive {
        let question = format!("`{name}` is destructive and may delete data irrecoverably; continue?");
        let why = format!("operation `{name}` is destructive");
        context.terminal.require_confirmation(matches.get_flag("yes"), &question, &why)?;
    }
    let input = match matches.get_one::<PathBuf>("in") {
        Some(path) => Some(input(path).await?),
        None => None,
    };
    let out = matches.get_one::<PathBuf>("out").cloned();

    let deadline = matches
        .get_one::<u64>("timeout")
        .map_or_else(Deadline::default, |seconds| Deadline::within(Duration::from_secs(*seconds)));
    let reply = block.call_with(&name, given, input, deadline).await?;
    context.log(&reply.log);
    match reply.output {
        None => context.terminal.json(&reply.result)?,
        Some(_) if out.is_none() && Destination::new(None)?.is_terminal() => {
            return Err(Error::new(
                ErrorKind::Usage,
                format!("operation `{name}` returns binary output, which is not printed on a terminal"),
            )
            .hint("use `--out FILE` to write it to a file, or `--out -` for standard output")
            .into());
        }
        Some((_, stream)) => {
            let mut destination = Destination::new(out.as_deref())?;
            let bytes = output::copy(stream, &mut destination).await?;
            let to_file = matches!(destination, Destination::File { .. });
            destination.finish()?;
            if to_file {
                context.terminal.json(&reply.result)?;
                context.terminal.note(&format!("{bytes} bytes written"));
            }
        }
    }
    yard.close().await;
    Ok(DONE)
}

/// Returns the value of an option that is needed before the operation is known.
fn early(rest: &[String], flag: &str) -> Option<String> {
    let at = rest.iter().position(|word| word == flag || word.starts_with(&format!("{flag}=")))?;
    match rest[at].split_once('=') {
        Some((_, value)) => Some(value.to_owned()),
        None => rest.get(at + 1).cloned(),
    }
}

fn no_operation(block: &Block) -> Result<Error, Error> {
    let known: Vec<&str> = block.operations()?.iter().map(|operation| operation.name.as_str()).collect();
    Ok(Error::new(ErrorKind::Usage, format!("no operation specified for `{}`", block.address()))
        .hint(format!("choose one of `{}`", known.join("`, `"))))
}

/// Builds the command-line options of an operation: one per argument, and those of `call` itself.
fn flags(address: &PinnedAddress, operation: &Operation) -> clap::Command {
    let mut command = clap::Command::new(format!("blockyard call {address} {}", operation.name))
        .no_binary_name(true)
        .about(visible::paragraph(&operation.description))
        .arg(Arg::new("args").long("args").value_name("JSON|@FILE|-").help("All arguments as a JSON object"))
        .arg(
            Arg::new("in")
                .long("in")
                .value_name("FILE|-")
                .value_parser(clap::value_parser!(PathBuf))
                .help("Input of the operation"),
        )
        .arg(
            Arg::new("out")
                .long("out")
                .value_name("FILE|-")
                .value_parser(clap::value_parser!(PathBuf))
                .help("File for the output of the operation"),
        )
        .arg(
            Arg::new("timeout")
                .long("timeout")
                .value_name("SECONDS")
                .value_parser(clap::value_parser!(u64).range(1..=86_400))
                .help("Timeout of the call. Default: 300, extended while bytes are transferred"),
        )
        .arg(Arg::new("yes").long("yes").action(ArgAction::SetTrue).help("Confirm a destructive operation"))
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print errors as JSON"))
        .arg(Arg::new("yard").long("yard").value_name("URL").help("The yard"))
        .arg(
            Arg::new("quiet").short('q').long("quiet").action(ArgAction::SetTrue).help("Print only results and errors"),
        )
        .arg(
            Arg::new("verbose")
                .short('v')
                .long("verbose")
                .action(ArgAction::Count)
                .help("Print more details; repeat for debug output"),
        );
    for (name, schema) in properties(operation) {
        if OWN_FLAGS.contains(&name.as_str()) {
            continue;
        }
        let help = visible::paragraph(schema["description"].as_str().unwrap_or_default());
        command = command.arg(
            Arg::new(format!("argument:{name}"))
                .long(name.clone())
                .value_name("VALUE")
                .allow_hyphen_values(true)
                .help(help),
        );
    }
    command
}

fn properties(operation: &Operation) -> impl Iterator<Item = (&String, &Json)> {
    operation.arguments.document()["properties"].as_object().into_iter().flatten()
}

fn values(operation: &Operation, matches: &clap::ArgMatches) -> Result<Json, Error> {
    let mut given = match matches.get_one::<String>("args") {
        None => serde_json::json!({}),
        Some(text) => {
            let text = match text.strip_prefix('@') {
                Some(path) => read(Path::new(path))?,
                None if text == "-" => read(Path::new("-"))?,
                None => text.clone(),
            };
            exact::parse_value(&text).map_err(|error| not_json("args", error))?
        }
    };
    if !given.is_object() {
        return Err(Error::new(ErrorKind::Invalid, "the value of `--args` is not a JSON object"));
    }
    for (name, _) in properties(operation) {
        if OWN_FLAGS.contains(&name.as_str()) {
            continue;
        }
        if let Some(text) = matches.get_one::<String>(&format!("argument:{name}")) {
            let text = match text.strip_prefix('@') {
                Some(path) => read(Path::new(path))?,
                None => text.clone(),
            };
            let value = operation.arguments.parse_argument(&Pointer::default().child(name), &text);
            given[name] = value.map_err(|error| not_json(name, error))?;
        }
    }
    Ok(given)
}

fn not_json(flag: &str, error: exact::ExactError) -> Error {
    Error::new(ErrorKind::Invalid, format!("the value of `--{flag}` is not JSON")).because(error)
}

/// Opens a file, or standard input, as a byte stream.
pub(super) async fn input(path: &Path) -> Result<Input, Error> {
    let (reader, size): (Box<dyn tokio::io::AsyncRead + Send + Unpin>, _) = if path.as_os_str() == "-" {
        (Box::new(tokio::io::stdin()), None)
    } else {
        let file = tokio::fs::File::open(path).await.map_err(|error| {
            Error::new(ErrorKind::NotFound, format!("`{}` cannot be read", path.display())).because(error)
        })?;
        let size = file.metadata().await.ok().map(|metadata| metadata.len());
        (Box::new(file), size)
    };
    let stream = futures_util::stream::unfold(reader, async |mut reader| {
        let mut chunk = bytes::BytesMut::with_capacity(CHUNK_BYTES);
        match reader.read_buf(&mut chunk).await {
            Ok(0) => None,
            Ok(_) => Some((Ok(chunk.freeze()), reader)),
            Err(error) => Some((Err(problem(&error)), reader)),
        }
    });
    Ok(Input { media_type: "application/octet-stream".to_owned(), size, stream: stream.boxed() })
}

fn problem(error: &std::io::Error) -> Problem {
    Problem::new("failed", format!("the input cannot be read: {error}"))
}
