//! `blockyard call`: calls an operation of a block. Command-line options are generated from the
//! operation's argument schema.

use std::path::Path;
use std::time::Duration;

use blockyard::model::{Operation, Pointer, exact, visible};
use blockyard::{Block, Deadline, Effect, Error, ErrorKind, Json, PinnedAddress};
use clap::{Arg, Args as _, FromArgMatches as _};

use crate::arguments::{Call, CallOptions};
use crate::context::Context;
use crate::hints;
use crate::input::{self, read};
use crate::outcome::{DONE, Outcome};
use crate::output::{self, Destination};

pub(super) async fn run(arguments: Call, context: &Context) -> Outcome {
    let address = &arguments.address;
    let mut rest = arguments.rest.into_iter();
    let name = rest.next();
    let rest: Vec<String> = rest.collect();

    let yard = context.open().await?;
    let block = yard.open_block(address).await?;
    let Some(name) = name else {
        return Err(no_operation(&block)?.into());
    };
    let operation = block.operation(&name)?;
    let options = command(address, operation).try_get_matches_from(&rest);
    let options = options.and_then(|matches| Ok((CallOptions::from_arg_matches(&matches)?, matches)));
    let (options, matches) = match options {
        Ok(options) => options,
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
    let given = values(operation, &options, &matches)?;
    if operation.effect == Effect::Destructive {
        let question = format!("`{name}` is destructive and may delete data irrecoverably; continue?");
        let why = format!("operation `{name}` is destructive");
        context.terminal.require_confirmation(options.yes, &question, &why)?;
    }
    let input = match &options.input {
        Some(path) => Some(input::stream(path).await?),
        None => None,
    };
    let deadline =
        options.timeout.map_or_else(Deadline::default, |seconds| Deadline::within(Duration::from_secs(seconds)));
    let reply = block.call_with(&name, given, input, deadline).await?;
    context.log(&reply.log);
    match reply.output {
        None => context.terminal.json(&reply.result)?,
        Some(_) if options.out.is_none() && Destination::new(None)?.is_terminal() => {
            return Err(Error::new(
                ErrorKind::Usage,
                format!("operation `{name}` returns binary output, which is not printed on a terminal"),
            )
            .hint("use `--out FILE` to write it to a file, or `--out -` for standard output")
            .into());
        }
        Some((_, stream)) => {
            let mut destination = Destination::new(options.out.as_deref())?;
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

fn no_operation(block: &Block) -> Result<Error, Error> {
    let known: Vec<&str> = block.operations()?.iter().map(|operation| operation.name.as_str()).collect();
    Ok(Error::new(ErrorKind::Usage, format!("no operation specified for `{}`", block.address()))
        .hint(format!("choose one of `{}`", known.join("`, `"))))
}

/// Returns the command line of an operation: the options of `call`, and one for each argument. An
/// argument with the name of an option can only be passed with `--args`.
fn command(address: &PinnedAddress, operation: &Operation) -> clap::Command {
    let command = clap::Command::new(format!("blockyard call {address} {}", operation.name)).no_binary_name(true);
    let mut command = CallOptions::augment_args(command).about(visible::paragraph(&operation.description));
    for (name, schema) in properties(operation) {
        if name == "help" || command.get_arguments().any(|option| option.get_long() == Some(name)) {
            continue;
        }
        let help = visible::paragraph(schema["description"].as_str().unwrap_or_default());
        let argument = Arg::new(argument_id(name)).long(name.clone()).value_name("VALUE").help(help);
        command = command.arg(argument.allow_hyphen_values(true));
    }
    command
}

fn argument_id(name: &str) -> String {
    format!("argument:{name}")
}

fn properties(operation: &Operation) -> impl Iterator<Item = (&String, &Json)> {
    operation.arguments.document()["properties"].as_object().into_iter().flatten()
}

fn values(operation: &Operation, options: &CallOptions, matches: &clap::ArgMatches) -> Result<Json, Error> {
    let mut given = match &options.args {
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
        // Fails for an argument without an option.
        if let Ok(Some(text)) = matches.try_get_one::<String>(&argument_id(name)) {
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
