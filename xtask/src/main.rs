//! Development tasks of this repository. Each task performs its own setup and prints its progress.
//!
//! - `cargo xtask demo`: runs the main use case on real data.
//! - `cargo xtask test [--long MINUTES] [NAME …]`: runs `lint` and all tests, or only the tests
//!   whose path contains one of the names, including the required servers. `--long` runs each fuzz
//!   target for that many minutes, and property tests with many more cases.
//! - `cargo xtask generate`: updates the generated files: `docs/cli.md` and `registry.toml`.
//! - `cargo xtask lint`: checks the formatting, and runs clippy and rustdoc without warnings.
//! - `cargo xtask bench [P3 …]`: measures performance against references in the same run.
//! - `cargo xtask bundles`: builds the bundles of this repository into `target/dist`, and a signed
//!   registry of them, which the binaries in the target folder find.
//! - `cargo xtask dist [--profile NAME]`: builds the archive for users, with the profile `dist` by
//!   default.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tasks report to the terminal")]

mod bench;
mod cloud;
mod demo;
mod dist;
mod lint;
mod mariadb;
mod postgres;
mod setup;
mod test;

use std::process::{Command, ExitCode};

/// Result of a task. The error is a message for the user.
type Result<T = ()> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let task = std::env::args().nth(1);
    let done = match task.as_deref() {
        Some("demo") => demo::run(),
        Some("test") => {
            let mut names: Vec<String> = std::env::args().skip(2).collect();
            let long = names.iter().position(|word| word == "--long");
            let minutes = long.map(|at| names.drain(at..names.len().min(at + 2)).nth(1).unwrap_or_default());
            test::run(minutes, &names)
        }
        Some("generate") => test::generate(),
        Some("lint") => lint::run(),
        Some("bench") => bench::measure(&std::env::args().skip(2).collect::<Vec<_>>()),
        Some("bundles") => bundles(),
        Some("dist") => match std::env::args().skip(2).collect::<Vec<_>>().as_slice() {
            [] => dist::run_task("dist"),
            [flag, profile] if flag == "--profile" => dist::run_task(profile),
            _ => Err("usage: cargo xtask dist [--profile NAME]".to_owned()),
        },
        _ => {
            eprintln!(
                "cargo xtask demo | test [--long MINUTES] [NAME …] | generate | lint | bench | bundles | dist [--profile NAME]"
            );
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Builds the binary and the bundles of this repository.
fn bundles() -> Result {
    let toolchain = setup::toolchain()?;
    let ((), builder) = run_concurrently(|| setup::modules(&toolchain), setup::binary)?;
    let bundles = setup::plugins()?;
    dist::registry(&builder, &bundles, &dist::shipped(), &dist::SigningKey::from_environment())
}

/// Runs a background task on a thread while another task runs. Waits for both. An error of the
/// background task is printed at once, because the other task may take minutes.
fn run_concurrently<A: Send, B>(
    background: impl FnOnce() -> Result<A> + Send,
    task: impl FnOnce() -> Result<B>,
) -> Result<(A, B)> {
    std::thread::scope(|scope| {
        let background = scope.spawn(|| background().inspect_err(|reason| eprintln!("xtask: {reason}")));
        let done = task();
        match (background.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), done) {
            (Ok(background), Ok(done)) => Ok((background, done)),
            (Err(one), Err(other)) => Err(format!("{one}\nxtask: {other}")),
            (Err(reason), Ok(_)) | (Ok(_), Err(reason)) => Err(reason),
        }
    })
}

/// Runs a command to completion, with inherited output.
fn run(command: &mut Command) -> Result {
    let arguments = command.get_args().map(|word| word.to_string_lossy());
    let shown = std::iter::once(command.get_program().to_string_lossy()).chain(arguments).collect::<Vec<_>>().join(" ");
    let status = command.status().map_err(|error| format!("`{shown}` cannot be run: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{shown}` failed ({status})")) }
}
