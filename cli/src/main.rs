//! The `blockyard` command-line program. It parses arguments, opens the yard, calls the engine and
//! prints the result. It contains no business logic.

mod arguments;
mod command_line;
mod commands;
mod completion;
mod context;
mod core_files;
mod definition;
mod fields;
mod folder;
mod hints;
mod in_use;
mod input;
mod interrupt;
mod interview;
mod lock;
mod origin;
mod outcome;
mod output;
mod progress;
mod project;
mod prompt;
#[cfg(test)]
mod reference;
mod registries;
mod remote;
mod settings;
mod signer;
mod statement;
mod tabular;
mod telemetry;
mod terminal;
mod time;
mod verbosity;

use std::process::ExitCode;

use arguments::Cli;
use context::Context;
use terminal::{Failure, Terminal, Unchanged};

/// Exit code after an interrupt, following the shell convention: 128 plus the signal number (SIGINT
/// is 2).
const INTERRUPTED: u8 = 130;
/// Time that a command has to shut down cleanly after an interrupt.
const GRACE: std::time::Duration = std::time::Duration::from_millis(400);

/// Message of an interrupt before anything was changed.
const NOTHING_CHANGED: &str = "interrupted; nothing was changed";

/// Source location of the last panic.
static PANIC: std::sync::Mutex<Option<String>> = std::sync::Mutex::new(None);

fn main() -> ExitCode {
    core_files::disable();
    completion::answer();
    // A panic message may contain a secret, so only its source location is recorded.
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(|location| format!("{}:{}", location.file(), location.line()));
        *PANIC.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = location;
    }));
    let cli = Cli::read();
    let terminal = Terminal { json: cli.global.json, quiet: cli.global.quiet, verbose: cli.global.verbose };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = blockyard::Error::new(blockyard::ErrorKind::Remote, "cannot start the asynchronous runtime")
                .because(error);
            return terminal.fail(&error);
        }
    };
    let context = match Context::new(&cli.global, terminal.clone(), &runtime) {
        Ok(context) => context,
        Err(error) => return terminal.fail(&error),
    };
    let echo = terminal::Echo::now();
    let screen = terminal.clone();
    runtime.spawn(async move {
        interrupt::interrupted().await;
        // A blocking read from the terminal does not observe the signal, so the process exits
        // regardless.
        tokio::time::sleep(GRACE).await;
        echo.restore();
        if Unchanged::is_current() {
            screen.prompt(NOTHING_CHANGED);
        }
        std::process::exit(i32::from(INTERRUPTED));
    });
    let work = async {
        tokio::select! {
            outcome = commands::run(cli.command, &context) => outcome,
            () = interrupt::interrupted() => Err(Failure::Interrupted),
        }
    };
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(work)));
    let outcome = outcome.unwrap_or_else(|_| Err(bug().into()));
    // Gives databases time to cancel statements whose caller is gone.
    let _ = runtime.block_on(async { tokio::time::timeout(GRACE, blockyard::settled()).await });
    let _ = runtime.block_on(async { tokio::time::timeout(GRACE, context.close()).await });
    context.finish();
    // A blocking read of the terminal must not keep the process alive.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => code,
        Err(Failure::Error(error)) => context.terminal.fail(&error),
        // A closed pipe (`| head`) is intended by its reader and is not an error.
        Err(Failure::ClosedPipe) => ExitCode::SUCCESS,
        Err(Failure::Canceled) => {
            context.terminal.prompt(NOTHING_CHANGED);
            ExitCode::from(INTERRUPTED)
        }
        Err(Failure::Interrupted) => {
            context
                .terminal
                .note("interrupted; files and the yard are intact, but statements already sent to a database may have taken effect");
            ExitCode::from(INTERRUPTED)
        }
    }
}

/// Returns the error for a panic: an internal error with the source location of the panic.
fn bug() -> blockyard::Error {
    let location = PANIC.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    let location = location.unwrap_or_else(|| "an unknown location".to_owned());
    blockyard::Error::new(blockyard::ErrorKind::Internal, format!("Blockyard crashed at {location}"))
}
