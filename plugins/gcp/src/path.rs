//! Object paths relative to the block's prefix. Only this module adds and removes the prefix.

use blockyard_sdk::prelude::*;

/// Maximum length of an object name in bytes of UTF-8 ("About Cloud Storage objects", naming).
const NAME_BYTES: usize = 1_024;

/// Prefix of a block: empty, or with exactly one slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prefix(String);

impl Prefix {
    /// Normalizes a configured prefix; leading and trailing slashes are ignored.
    pub(crate) fn new(text: &str) -> Self {
        let text = text.trim_matches('/');
        Self(if text.is_empty() { String::new() } else { format!("{text}/") })
    }

    /// Returns the name of the object in the bucket.
    pub(crate) fn name(&self, path: &str) -> Result<String> {
        if let Some(wrong) = mistake(path) {
            return Err(Problem::invalid(format!("the path `{}` {wrong}", path.escape_debug())));
        }
        let name = format!("{}{path}", self.0);
        if name.len() > NAME_BYTES {
            return Err(Problem::invalid(format!("the path and the block's prefix exceed {NAME_BYTES} bytes")));
        }
        Ok(name)
    }

    /// Returns the prefix of object names that corresponds to a prefix of paths.
    pub(crate) fn beginning(&self, path: &str) -> Result<String> {
        let path = path.trim_start_matches('/');
        // The last segment is the beginning of a name, so it may be `.` or `..`.
        let folders = path.rsplit_once('/').map_or("", |(folders, _)| folders);
        let wrong = mistake(folders).filter(|_| !folders.is_empty());
        match wrong.or_else(|| path.chars().any(char::is_control).then_some("contains a control character")) {
            Some(wrong) => Err(Problem::invalid(format!("the prefix `{}` {wrong}", path.escape_debug()))),
            None => Ok(format!("{}{path}", self.0)),
        }
    }

    /// Returns the path of the object with this name.
    pub(crate) fn path(&self, name: &str) -> String {
        name.strip_prefix(self.0.as_str()).unwrap_or(name).to_owned()
    }
}

/// Returns the reason why a path is invalid, or `None` if it is valid.
pub(crate) fn mistake(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        Some("is empty")
    } else if path.starts_with('/') {
        Some("begins with a slash; paths are relative to the block's prefix")
    } else if path.split('/').any(|part| part == "..") {
        Some("contains `..`, which would leave the block's prefix")
    } else if path.split('/').any(|part| part == ".") {
        Some("contains `.`, which has no meaning in a bucket")
    } else if path.chars().any(char::is_control) {
        Some("contains a control character")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn prefix_is_normalized_before_joining() {
        for written in ["data", "/data", "data/", "//data//"] {
            let prefix = Prefix::new(written);
            assert_eq!(prefix.name("a/b.csv").expect("a name"), "data/a/b.csv");
            assert_eq!(prefix.beginning("").expect("a beginning"), "data/");
        }
        assert_eq!(Prefix::new("").name("a").expect("a name"), "a");
        assert_eq!(Prefix::new("/").beginning("a/").expect("a beginning"), "a/");
    }

    #[test]
    fn list_prefix_may_end_within_a_segment() {
        let prefix = Prefix::new("p");
        for (given, expected) in [("a/.", "p/a/."), ("a/..", "p/a/.."), ("a//", "p/a//"), ("/a", "p/a")] {
            assert_eq!(prefix.beginning(given).expect("a beginning"), expected);
        }
        for wrong in ["../a", "a/../b", "a\n"] {
            assert!(prefix.beginning(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn paths_outside_the_prefix_are_rejected() {
        for path in ["", "/a", "../a", "a/../b", "a/..", ".", "a/./b", "a\nb", "a\0"] {
            assert!(Prefix::new("p").name(path).is_err(), "{path:?}");
        }
        for path in ["a..b", "..a", "a...", "a b/ü", "a//b"] {
            assert!(Prefix::new("p").name(path).is_ok(), "{path:?}");
        }
        assert!(Prefix::new("p").name(&"a".repeat(1_022)).is_ok());
        assert!(Prefix::new("p").name(&"a".repeat(1_023)).is_err());
    }

    proptest! {
        #[test]
        fn path_round_trips_through_object_name(prefix in "[a-z/]{0,6}", path in "[a-zü ._-]{1,8}(/[a-z]{1,4}){0,3}") {
            prop_assume!(mistake(&path).is_none());
            let prefix = Prefix::new(&prefix);
            prop_assert_eq!(prefix.path(&prefix.name(&path).expect("a name")), path);
        }
    }
}
