//! The help of the program: its commands in groups, with one line for each.

use std::fmt::Write as _;

use clap::Command;
use clap::builder::styling::Styles;

/// Maximum width of the text, in characters.
const WIDTH: usize = 100;

/// The commands in groups, in the order in which they are printed.
const GROUPS: [(&str, &[&str]); 7] = [
    ("Get started", &["init", "install", "create", "check", "call"]),
    ("Blocks", &["list", "show", "set", "edit", "copy", "history", "diff", "rollback", "delete", "restore"]),
    ("Use", &["query", "execute", "transfer", "ls", "cat", "cp", "rm", "exec"]),
    (
        "Bundles and types",
        &[
            "search",
            "info",
            "types",
            "type",
            "bundles",
            "outdated",
            "upgrade",
            "uninstall",
            "verify",
            "registries",
            "gc",
        ],
    ),
    ("Blocks as code", &["export", "plan", "apply"]),
    (
        "Secrets, permissions, audit",
        &["reveal", "purge", "key", "grants", "grant", "revoke", "trust", "audit", "config", "status", "doctor"],
    ),
    ("Write bundles", &["new", "dev", "test", "build", "inspect", "publish", "completions"]),
];

/// Replaces the list of all commands in the help of the program.
pub(super) fn with_overview(command: Command, styles: &Styles) -> Command {
    let width = crate::terminal::width().map_or(WIDTH, |columns| usize::from(columns).min(WIDTH));
    let groups = groups(&command, styles, width);
    let header = styles.get_header();
    command.help_template(format!(
        "{{before-help}}{{about-with-newline}}\n{{usage-heading}} {{usage}}\n{groups}\n{header}Options:{header:#}\n{{options}}{{after-help}}"
    ))
}

fn groups(command: &Command, styles: &Styles, width: usize) -> String {
    let (header, literal) = (styles.get_header(), styles.get_literal());
    let longest = command.get_subcommands().map(|command| command.get_name().len()).max().unwrap_or_default();
    let mut text = String::new();
    for (heading, names) in GROUPS {
        let _ = writeln!(text, "\n{header}{heading}:{header:#}");
        for name in names {
            let summary = command.find_subcommand(name).map(summary).unwrap_or_default();
            let indent = longest + 4;
            let _ = writeln!(
                text,
                "  {literal}{name}{literal:#}{}{}",
                " ".repeat(indent - 2 - name.len()),
                wrap(&summary, indent, width)
            );
        }
    }
    text
}

/// Returns the first sentence of a command's description, without examples and explanations.
fn summary(command: &Command) -> String {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let ends = [", e.g. ", ". ", ": "].iter().filter_map(|end| about.find(end));
    let end = ends.min().unwrap_or(about.len());
    about[..end].trim_end_matches('.').to_owned()
}

/// Breaks a text between words. Lines after the first are indented.
fn wrap(text: &str, indent: usize, width: usize) -> String {
    let room = width.saturating_sub(indent).max(20);
    let mut lines = String::new();
    let mut used = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > room {
            let _ = write!(lines, "\n{:indent$}", "");
            used = 0;
        } else if used > 0 {
            lines.push(' ');
            used += 1;
        }
        lines.push_str(word);
        used += length;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Cli;

    #[test]
    fn every_command_is_in_one_group() {
        let command = Cli::described();
        let mut expected: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        expected.sort_unstable();
        grouped.sort_unstable();
        assert_eq!(grouped, expected);
    }

    #[test]
    fn lines_fit_the_width() {
        let command = Cli::described();
        for width in [60, 80, 100] {
            let text = groups(&command, &Styles::plain(), width);
            let long: Vec<&str> = text.lines().filter(|line| line.chars().count() > width).collect();
            assert!(long.is_empty(), "{width}: {long:#?}");
        }
    }
}
