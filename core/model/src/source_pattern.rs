//! Patterns for the secret sources that a user permits: `env:WAREHOUSE_*`, `file:/run/secrets/*`.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// Wildcards of other pattern languages. They are rejected, because a pattern that permits more or
/// less than its author intends is an error in either direction.
const OTHER_WILDCARDS: [char; 6] = ['?', '[', ']', '{', '}', '\\'];

/// A pattern for secret sources.
///
/// `*` matches any number of characters except `/`, and no dot at the beginning of a path
/// component. All other characters match themselves. Patterns for files are absolute and are
/// compared with resolved paths: a path with `..` or symbolic links is matched by its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourcePattern {
    /// Environment variables, by name.
    Environment(String),
    /// Files, by absolute path.
    File(String),
}

/// A string that is not a pattern for secret sources.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` {reason}")]
pub struct SourcePatternError {
    /// The string, escaped.
    pattern: String,
    /// The rule that it breaks.
    reason: &'static str,
}

impl SourcePattern {
    /// Returns true if this pattern permits an environment variable.
    #[must_use]
    pub fn permits_variable(&self, name: &str) -> bool {
        matches!(self, Self::Environment(pattern) if matches(pattern, name))
    }

    /// Returns true if this pattern permits a file. The path must be resolved: absolute, without
    /// symbolic links and `..`.
    #[must_use]
    pub fn permits_file(&self, path: &Path) -> bool {
        let (Self::File(pattern), Some(path)) = (self, path.to_str()) else { return false };
        let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return true,
                (Some(wanted), Some(given)) if component_matches(wanted, given) => {}
                _ => return false,
            }
        }
    }
}

/// A leading `*` does not match a leading dot, as in shells: `/home/ada/*` does not permit
/// `.pgpass`.
fn component_matches(pattern: &str, component: &str) -> bool {
    !(pattern.starts_with('*') && component.starts_with('.')) && matches(pattern, component)
}

/// Compares a string with a pattern whose only wildcard is `*`, in at most pattern × string steps.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut next) = (0, 0);
    // Position of the last `*`, and the end of the text that it matches so far.
    let mut star: Option<(usize, usize)> = None;
    while next < text.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, next));
            at += 1;
        } else if pattern.get(at) == Some(&text[next]) {
            at += 1;
            next += 1;
        } else if let Some((position, matched)) = star {
            star = Some((position, matched + 1));
            at = position + 1;
            next = matched + 1;
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

impl FromStr for SourcePattern {
    type Err = SourcePatternError;

    fn from_str(text: &str) -> Result<Self, SourcePatternError> {
        let wrong = |reason| SourcePatternError { pattern: crate::name::printable(text), reason };
        if text.contains(OTHER_WILDCARDS) {
            return Err(wrong("has an unknown wildcard; only `*` is supported"));
        }
        if text.contains("**") {
            return Err(wrong("has `**`; `*` matches within one path component, so name each folder"));
        }
        match text.split_once(':') {
            Some(("env", name)) if name.is_empty() || name.contains(['/', '=', '\0']) => {
                Err(wrong("is not the name of an environment variable; write `env:NAME` or `env:PREFIX_*`"))
            }
            Some(("env", name)) => Ok(Self::Environment(name.to_owned())),
            Some(("file", path)) if !path.starts_with('/') => {
                Err(wrong("is not an absolute path; write `file:/FOLDER/FILE` or `file:/FOLDER/*`"))
            }
            Some(("file", path)) if path[1..].split('/').any(|part| matches!(part, "" | "." | "..")) => {
                Err(wrong("has an empty component, `.` or `..`; write the resolved path"))
            }
            Some(("file", path)) if path.contains('\0') => Err(wrong("has a null character")),
            Some(("file", path)) => Ok(Self::File(path.to_owned())),
            _ => Err(wrong("is not a pattern for secret sources; write `env:PATTERN` or `file:/PATTERN`")),
        }
    }
}

impl fmt::Display for SourcePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(pattern) => write!(f, "env:{pattern}"),
            Self::File(pattern) => write!(f, "file:{pattern}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> SourcePattern {
        text.parse().expect(text)
    }

    #[test]
    fn a_wildcard_matches_within_one_component() {
        for (text, path, permitted) in [
            ("file:/run/secrets/*", "/run/secrets/db", true),
            ("file:/run/secrets/*", "/run/secrets/.hidden", false),
            ("file:/run/secrets/.*", "/run/secrets/.hidden", true),
            ("file:/run/secrets/*", "/run/secrets/a/b", false),
            ("file:/run/secrets/*", "/run/secrets", false),
            ("file:/run/secrets/*", "/run/secrets/", true),
            ("file:/run/*/db", "/run/secrets/db", true),
            ("file:/run/*/db", "/run/a/b/db", false),
            ("file:/run/secrets/db", "/run/secrets/db2", false),
            ("file:/run/secrets/db-*-key", "/run/secrets/db-a-b-key", true),
            ("file:/run/secrets/db-*-key", "/run/secrets/db-key", false),
            ("file:/*", "/etc", true),
            ("file:/*", "/etc/shadow", false),
        ] {
            assert_eq!(pattern(text).permits_file(Path::new(path)), permitted, "{text} {path}");
        }
        assert!(!pattern("env:HOME").permits_file(Path::new("HOME")));
    }

    #[test]
    fn variables_are_permitted_by_name() {
        for (text, name, permitted) in [
            ("env:WAREHOUSE_*", "WAREHOUSE_PASSWORD", true),
            ("env:WAREHOUSE_*", "WAREHOUSE_", true),
            ("env:WAREHOUSE_*", "AWS_SECRET_ACCESS_KEY", false),
            ("env:WAREHOUSE_*", "X_WAREHOUSE_", false),
            ("env:HOME", "HOME2", false),
            ("env:*", "ANY", true),
        ] {
            assert_eq!(pattern(text).permits_variable(name), permitted, "{text} {name}");
        }
        assert!(!pattern("file:/HOME").permits_variable("/HOME"));
    }

    #[test]
    fn ambiguous_patterns_are_rejected() {
        for text in [
            "",
            "env:",
            "env:A/B",
            "file:",
            "file:secrets/*",
            "file:/run/**",
            "file:/run/../etc/*",
            "file:/run//x",
            "file:/run/./x",
            "file:/run/",
            "env:A?",
            "file:/run/[ab]",
            "file:/run/{a,b}",
            "HOME",
            "block:a/b",
            "/run/secrets/*",
            "file:~/x",
        ] {
            assert!(text.parse::<SourcePattern>().is_err(), "{text}");
        }
    }

    proptest! {
        /// A permitted file is in the folder of the pattern, regardless of its name.
        #[test]
        fn nothing_outside_of_the_folder_is_permitted(path in "(/[a-z.*]{0,4}){1,6}") {
            let permitted = pattern("file:/a/b/*").permits_file(Path::new(&path));
            let rest = path.strip_prefix("/a/b/");
            prop_assert_eq!(permitted, rest.is_some_and(|rest| !rest.contains('/') && !rest.starts_with('.')));
        }

        #[test]
        fn accepted_patterns_round_trip(text in any::<String>()) {
            if let Ok(pattern) = text.parse::<SourcePattern>() {
                prop_assert_eq!(pattern.to_string(), text);
            }
        }
    }
}
