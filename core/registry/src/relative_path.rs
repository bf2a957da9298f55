//! Paths in project files: relative, inside the folder, and without special characters.

use std::fmt;
use std::str::FromStr;

/// Permitted characters in addition to letters and digits. None of them is special in the address
/// of a yard.
const OTHERS: [char; 6] = ['-', '_', '.', ' ', '+', '@'];
/// Maximum length of a path component, in bytes: the limit of common file systems.
const COMPONENT_BYTES: usize = 255;
/// Maximum length of the path, in bytes. Leaves room for the path of the project folder within the
/// limits of operating systems.
const PATH_BYTES: usize = 1_024;

/// A relative path that does not lead out of its folder lexically. The caller must check symbolic
/// links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelativePath(String);

/// The error of parsing a string that is not a [`RelativePath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not a path inside the folder of the file that names it; use names of letters, digits, spaces and `-_.+@`, separated by `/`, without `.` and `..`"
)]
pub struct RelativePathError;

impl RelativePath {
    /// Returns the components, from the outermost folder to the file.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl FromStr for RelativePath {
    type Err = RelativePathError;

    fn from_str(text: &str) -> Result<Self, RelativePathError> {
        let good = text.len() <= PATH_BYTES && text.split('/').all(is_component);
        good.then(|| Self(text.to_owned())).ok_or(RelativePathError)
    }
}

fn is_component(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= COMPONENT_BYTES
        && text.chars().all(|c| c.is_alphanumeric() || OTHERS.contains(&c))
        // Rejects `.`, `..`, and names that become one of them on systems that strip trailing dots
        // and spaces.
        && !text.starts_with(' ')
        && !text.ends_with([' ', '.'])
}

impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_below_the_folder_are_paths() {
        for good in ["yard.db", ".blockyard/yard.db", "data/my yard.db", "données/é.db", "a-b_c+d@e.db"] {
            assert!(good.parse::<RelativePath>().is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "./yard.db",
            "../yard.db",
            "a/../b",
            "/yard.db",
            "//yard.db",
            "a//b",
            "a/",
            "C:/x",
            "c:x",
            "a\\b",
            "..\\b",
            "yard.db?mode=ro",
            "yard.db#x",
            "%2e%2e/x",
            "~/x",
            "$HOME/x",
            "a\0b",
            "a\nb",
            "a:b",
            "...",
            "x/..  ",
            " a",
            "a ",
            "a\u{202e}b",
            "*",
        ] {
            assert!(bad.parse::<RelativePath>().is_err(), "{bad:?}");
        }
    }
}
