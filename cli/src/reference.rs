//! Renders the help texts of all commands as a page of the book, `docs/cli.md`. The test fails if
//! the page is not current; `UPDATE_EXPECT=1` updates it.

use std::fmt::Write as _;

use clap::{Arg, Command};

use crate::arguments::Cli;

/// Maximum length of a line of the page.
const WIDTH: usize = 100;

const HEADING: &str = "# Command-line reference\n\n\
    <!-- Generated from the help texts. To update: cargo xtask generate -->\n";

const INTRODUCTION: &str = "Every option can also be set by an environment variable: `BLOCKYARD_IF_REVISION` for \
    `--if-revision`. An option on the command line takes precedence. Options without a value, such as `--json`, \
    are set by `true`.";

fn page() -> String {
    let mut program = Cli::described();
    program.build();
    let mut page = HEADING.to_owned();
    paragraph(&mut page, &about(&program));
    paragraph(&mut page, INTRODUCTION);
    page.push_str("\nOptions of every command:\n\n");
    program.get_arguments().filter(|argument| argument.is_global_set()).for_each(|argument| item(&mut page, argument));
    let codes = program.get_after_help().map(ToString::to_string).unwrap_or_default();
    paragraph(&mut page, &codes);
    for command in program.get_subcommands() {
        section(&mut page, command, 2);
    }
    page
}

/// Appends the section of a command and those of its subcommands.
fn section(page: &mut String, command: &Command, level: usize) {
    if command.get_name() == "help" {
        return;
    }
    let name = command.get_bin_name().unwrap_or_default();
    let _ = writeln!(page, "\n{} {name}", "#".repeat(level));
    paragraph(page, &about(command));
    let usage = command.clone().render_usage().to_string();
    let _ = writeln!(page, "\n```text\n{}\n```", usage.trim_start_matches("Usage: "));
    let own = |argument: &&Arg| !argument.is_global_set() && !matches!(argument.get_id().as_str(), "help" | "version");
    let mut arguments = command.get_arguments().filter(own).peekable();
    if arguments.peek().is_some() {
        page.push('\n');
    }
    arguments.for_each(|argument| item(page, argument));
    let example = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    if let Some(line) = example.strip_prefix("Example:\n  ") {
        let _ = writeln!(page, "\nExample:\n\n```console\n{line}\n```");
    }
    for command in command.get_subcommands() {
        section(page, command, level + 1);
    }
}

/// Appends the list item of an argument, with its values.
fn item(page: &mut String, argument: &Arg) {
    let short = argument.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
    let variable = argument.get_env().filter(|_| !argument.is_hide_env_set());
    let variable = variable.map(|name| format!(" (variable `{}`)", name.to_string_lossy())).unwrap_or_default();
    let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
    let takes_values = argument.get_action().takes_values();
    let default = argument.get_default_values().first().filter(|value| takes_values && !value.is_empty());
    let default = default.map(|value| format!(" Default: `{}`.", value.to_string_lossy())).unwrap_or_default();
    wrapped(page, "- ", &format!("{short}`{argument}`{variable}: {}{default}", sentence(&help)));
    if takes_values {
        for value in argument.get_possible_values() {
            match value.get_help() {
                Some(help) => {
                    wrapped(page, "  - ", &format!("`{}`: {}", value.get_name(), sentence(&help.to_string())))
                }
                None => wrapped(page, "  - ", &format!("`{}`", value.get_name())),
            }
        }
    }
}

fn about(command: &Command) -> String {
    sentence(&command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default())
}

/// Restores the full stop that clap removes from a help text of one paragraph.
fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with('.') { text.to_owned() } else { format!("{text}.") }
}

/// Appends each paragraph of a text after an empty line.
fn paragraph(page: &mut String, text: &str) {
    for paragraph in text.split("\n\n") {
        page.push('\n');
        wrapped(page, "", paragraph);
    }
}

/// Appends a text, broken into lines. Lines after the first are indented by the length of `bullet`.
fn wrapped(page: &mut String, bullet: &str, text: &str) {
    let mut line = bullet.trim_end().to_owned();
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            page.push_str(&line);
            page.push('\n');
            line = " ".repeat(bullet.len().saturating_sub(1));
        }
        if !line.is_empty() || !bullet.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    page.push_str(&line);
    page.push('\n');
}

#[test]
fn the_reference_is_current() {
    expect_test::expect_file!["../../docs/cli.md"].assert_eq(&page());
}
