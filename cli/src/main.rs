//! The command line of Blockyard. It parses, opens the yard, calls the engine and prints; it has
//! no logic of its own.

mod arguments;
mod commands;
mod context;
mod fields;
mod folder;
mod hints;
mod output;
mod progress;
mod project;
mod settings;
mod tabular;
mod terminal;
mod verbosity;

use std::process::ExitCode;

use arguments::Cli;
use context::Context;
use terminal::{Failure, Terminal};

/// The exit code after Ctrl-C, as shells have it: 128 and the signal's number.
const INTERRUPTED: u8 = 130;
/// How long a command has to end in good order after Ctrl-C.
const GRACE: std::time::Duration = std::time::Duration::from_millis(400);

/// Where the last panic was.
static PANIC: std::sync::Mutex<Option<String>> = std::sync::Mutex::new(None);

fn main() -> ExitCode {
    no_core_files();
    // The words of a panic may have a secret in them: where it was is enough to find the mistake.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(|place| format!("{}:{}", place.file(), place.line()));
        *PANIC.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = place;
    }));
    let cli = Cli::read();
    let terminal = Terminal { json: cli.global.json, quiet: cli.global.quiet, verbose: cli.global.verbose };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = blockyard::Error::new(blockyard::ErrorKind::Remote, "this process cannot start its threads")
                .because(error);
            return terminal.fail(&error);
        }
    };
    let context = match Context::new(&cli.global, terminal.clone(), &runtime) {
        Ok(context) => context,
        Err(error) => return terminal.fail(&error),
    };
    let echo = terminal::Echo::now();
    runtime.spawn(async move {
        interrupted().await;
        // Whoever waits for a person to type does not hear the signal: the process ends all the same.
        tokio::time::sleep(GRACE).await;
        echo.restore();
        std::process::exit(i32::from(INTERRUPTED));
    });
    let work = async {
        tokio::select! {
            outcome = commands::run(cli.command, &context) => outcome,
            () = interrupted() => Err(Failure::Interrupted),
        }
    };
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(work)));
    let outcome = outcome.unwrap_or_else(|_| Err(bug().into()));
    // Databases stop what nobody waits for any more.
    let _ = runtime.block_on(async { tokio::time::timeout(GRACE, blockyard::settled()).await });
    let _ = runtime.block_on(async { tokio::time::timeout(GRACE, context.close()).await });
    context.finish();
    // A blocking read of the terminal must not keep the process alive.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => code,
        Err(Failure::Error(error)) => context.terminal.fail(&error),
        // A closed pipe (`| head`) is the reader's wish, not an error.
        Err(Failure::ClosedPipe) => ExitCode::SUCCESS,
        Err(Failure::Interrupted) => {
            context
                .terminal
                .note("interrupted; files and the yard are whole, and what a database was told to do may be done");
            ExitCode::from(INTERRUPTED)
        }
    }
}

/// Ctrl-C, or the system's wish that the process ends.
async fn interrupted() {
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        return;
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// What nobody thought of: a mistake of ours, and where it is.
fn bug() -> blockyard::Error {
    let place = PANIC.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    let place = place.unwrap_or_else(|| "a place that is not known".to_owned());
    blockyard::Error::new(blockyard::ErrorKind::Internal, format!("Blockyard itself failed, at {place}"))
}

/// Secrets are in this process's memory while they are used; a core file would keep them.
fn no_core_files() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let none = Rlimit { current: Some(0), maximum: Some(0) };
        // Where even that is refused there is nothing else to do.
        let _ = setrlimit(Resource::Core, none);
    }
}
