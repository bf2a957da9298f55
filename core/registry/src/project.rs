//! `blockyard.toml`: what a project's folder says of the yard, the registries and the bundles that it needs.
//!
//! Whoever hands out a folder writes this file, and not whoever works in it: it is read as a stranger's.

use blockyard_model::suggestion::did_you_mean;
use toml::{Table, Value};

/// What it may have.
const KEYS: [&str; 3] = ["yard", "registries", "bundles"];

/// A project file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectFile {
    /// `sqlite:PATH`, where a path is that of the file, or a name of the user's configuration.
    pub yard: Option<String>,
}

/// Why a project file is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProjectError {
    /// It is not TOML.
    #[error("line {line}: {reason}")]
    Syntax {
        /// Where, from 1.
        line: usize,
        /// What is wrong with it. Not the line itself, which may have a password in it.
        reason: String,
    },
    /// It has what it should not.
    #[error("`{name}` is not known")]
    Unknown {
        /// The key.
        name: String,
        /// What may have been meant.
        hint: Option<String>,
    },
    /// The yard is a number or a table.
    #[error("`yard` is not a text")]
    NotAText,
    /// Whoever writes the file would choose which server gets this person's password.
    #[error("a server's address does not belong into a project's file, where it would be sent this person's password")]
    NamesAServer,
}

impl ProjectFile {
    /// The file's name.
    pub const NAME: &'static str = "blockyard.toml";

    /// Reads the text of a project file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ProjectError> {
        let project: Table = text.parse().map_err(|error: toml::de::Error| ProjectError::Syntax {
            line: line(text, &error),
            reason: error.message().to_owned(),
        })?;
        if let Some(unknown) = project.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(ProjectError::Unknown { name: unknown.clone(), hint: did_you_mean(unknown, KEYS) });
        }
        let yard = match project.get("yard").map(Value::as_str) {
            None => None,
            Some(None) => return Err(ProjectError::NotAText),
            Some(Some(yard)) if yard.contains("://") => return Err(ProjectError::NamesAServer),
            Some(Some(yard)) => Some(yard.to_owned()),
        };
        Ok(Self { yard })
    }
}

/// The line of an error, from 1.
fn line(text: &str, error: &toml::de::Error) -> usize {
    let at = error.span().map_or(0, |span| span.start.min(text.len()));
    text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_names_a_yard_and_no_server() {
        assert_eq!(ProjectFile::parse("").map(|file| file.yard), Ok(None));
        assert_eq!(ProjectFile::parse("yard = \"prod\"").map(|file| file.yard), Ok(Some("prod".to_owned())));
        for server in ["postgres://evil.example/x", "sqlite://x", "x://"] {
            assert_eq!(ProjectFile::parse(&format!("yard = \"{server}\"")), Err(ProjectError::NamesAServer));
        }
        assert_eq!(ProjectFile::parse("yard = 1"), Err(ProjectError::NotAText));
        let unknown = ProjectFile::parse("yardd = \"x\"").expect_err("no such key");
        assert!(matches!(unknown, ProjectError::Unknown { hint: Some(_), .. }));
    }

    #[test]
    fn a_broken_line_is_not_shown() {
        let broken = ProjectFile::parse("yard = \"x\"\npassword = hunter2 x\n").expect_err("no TOML").to_string();
        assert!(broken.starts_with("line 2: ") && !broken.contains("hunter2"), "{broken}");
    }
}
