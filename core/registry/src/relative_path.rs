//! Paths in project files: relative, inside the folder, and made of harmless characters only.

use std::fmt;
use std::str::FromStr;

/// Characters in addition to letters and digits. None of them has a meaning in an address of a yard.
const OTHERS: [char; 6] = ['-', '_', '.', ' ', '+', '@'];
/// Bytes of one component, as file systems have it.
const COMPONENT_BYTES: usize = 255;
/// Bytes of the whole path: less than any system's limit, the folder's own path included.
const PATH_BYTES: usize = 1_024;

/// A relative path that cannot lead out of its folder by what it says. (Links are for the caller to check.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelativePath(String);

/// A string that is not such a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not a path inside the folder of the project file: `/` between names of letters, digits, blanks and `-_.+@`, without `.` and `..`"
)]
pub struct RelativePathError;

impl RelativePath {
    /// The components, from the outermost folder to the file.
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
        // `.`, `..`, and what a system that drops dots and blanks at the end would make of the others.
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
