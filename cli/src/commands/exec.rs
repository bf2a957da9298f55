//! `blockyard exec`: runs a program with values of blocks in its environment.

use std::ffi::OsString;
use std::process::Command;

use blockyard::model::visible;
use blockyard::{Error, ErrorKind, FieldValue, Json};

use crate::arguments::{Exec, Variable};
use crate::context::Context;
use crate::outcome::Outcome;
use crate::terminal::Failure;

pub(super) async fn run(arguments: Exec, context: &Context) -> Outcome {
    let Exec { env, yes, command } = arguments;
    let mut command = command.into_iter();
    let program = command.next().expect("clap requires a program");
    check_names(&env)?;
    let yard = context.open().await?;
    let shown = program.to_string_lossy().into_owned();
    if !yes {
        for Variable { name, address, field } in &env {
            context.terminal.prompt(&format!("  {name}  {address} {}", visible::line(field)));
        }
    }
    let question = format!("run `{shown}` with these values in its environment?");
    let why = format!("running `{shown}` gives it values of blocks");
    context.terminal.require_confirmation(yes, &question, &why)?;
    // All values are read before the program starts: it does not run if one is missing.
    let mut values = Vec::with_capacity(env.len());
    for Variable { name, address, field } in &env {
        let value = yard.field(address, field, &shown).await?;
        values.push((name, text(value, name)?));
    }
    yard.close().await;
    context.close().await;
    // The program replaces this process, so nothing can be sent later.
    context.finish();
    let mut child = Command::new(&program);
    // The program receives the values that are named, and not what reads all others.
    child.args(command).env_remove("BLOCKYARD_KEY").env_remove("BLOCKYARD_TOKEN").envs(values);
    start(child, &program)
}

/// Rejects a variable that is set twice.
fn check_names(variables: &[Variable]) -> Result<(), Failure> {
    let mut seen = std::collections::BTreeSet::new();
    match variables.iter().find(|variable| !seen.insert(&variable.name)) {
        Some(twice) => {
            let message = format!("the variable `{}` is set twice", twice.name);
            Err(Error::new(ErrorKind::Usage, message).into())
        }
        None => Ok(()),
    }
}

/// Returns a value in the form of an environment variable: strings as they are, other values as
/// JSON.
fn text(value: FieldValue, name: &str) -> Result<OsString, Failure> {
    let text = match value {
        FieldValue::Secret(secret) => secret.expose().to_owned(),
        FieldValue::Plain(Json::String(text)) => text,
        FieldValue::Plain(other) => other.to_string(),
    };
    if text.contains('\0') {
        let message = format!("the value of `{name}` contains a NUL character, which a variable cannot contain");
        return Err(Error::new(ErrorKind::Invalid, message).into());
    }
    Ok(text.into())
}

/// Replaces this process with the program, which therefore receives all signals, and whose exit code
/// is that of this command.
#[cfg(unix)]
fn start(mut child: Command, program: &OsString) -> Outcome {
    crate::core_files::restore_limit();
    let error = std::os::unix::process::CommandExt::exec(&mut child);
    Err(cannot_run(program, error))
}

#[cfg(not(unix))]
fn start(mut child: Command, program: &OsString) -> Outcome {
    let status = child.status().map_err(|error| cannot_run(program, error))?;
    Ok(std::process::ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

fn cannot_run(program: &OsString, error: std::io::Error) -> Failure {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        _ => ErrorKind::Remote,
    };
    Error::new(kind, format!("`{}` cannot be run", program.to_string_lossy())).because(error).into()
}
