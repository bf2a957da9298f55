//! Names of blocks, block types, bundles and sets. All consist of 1 to 63 characters of `a-z`,
//! `0-9` and `-`, beginning and ending with a letter or digit (a DNS label, RFC 1123).

use std::fmt;

/// Maximum length of a name in characters: that of a DNS label (RFC 1123), which is accepted
/// everywhere.
pub const MAX_NAME_LENGTH: usize = 63;

const RULE: &str = "names are 1 to 63 characters of `a-z`, `0-9` and `-`, beginning and ending with a letter or digit";

/// Error for an invalid name. The message contains the rule and the invalid character.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{given}` {problem}; {RULE}")]
pub struct NameError {
    what: &'static str,
    given: String,
    problem: String,
}

fn check(what: &'static str, given: &str) -> Result<(), NameError> {
    let fail = |problem: String| Err(NameError { what, given: printable(given), problem });
    if given.is_empty() {
        return fail("is empty".to_owned());
    }
    let foreign = given.chars().enumerate().find(|(_, c)| !matches!(c, 'a'..='z' | '0'..='9' | '-'));
    if let Some((index, character)) = foreign {
        return fail(format!("has the character `{}` at position {}", character.escape_debug(), index + 1));
    }
    if given.len() > MAX_NAME_LENGTH {
        return fail(format!("has {} characters", given.len()));
    }
    if given.starts_with('-') {
        return fail("begins with `-`".to_owned());
    }
    if given.ends_with('-') {
        return fail("ends with `-`".to_owned());
    }
    Ok(())
}

/// Returns the text in a form that is safe to print on one line of a terminal: control characters
/// are escaped, and the text is truncated to 80 characters.
pub(crate) fn printable(given: &str) -> String {
    let escaped: String = given.chars().take(80).flat_map(char::escape_debug).collect();
    if given.chars().count() > 80 { format!("{escaped}…") } else { escaped }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// Creates a name after checking it against the rule.
            ///
            /// # Errors
            /// Returns [`NameError`] with the rule and the invalid character.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                check($what, &text)?;
                Ok(Self(text))
            }

            /// Returns the name as a string.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// Name of a block, unique within its type. It never changes and is never reused.
    BlockName,
    "block name"
);
name!(
    /// Slug of a block type, unique in a yard.
    TypeSlug,
    "block type"
);
name!(
    /// Name of a bundle, unique in a registry and in a yard.
    BundleName,
    "bundle name"
);
name!(
    /// Name of a set of blocks: those of one block file. Unique in a yard.
    SetName,
    "set name"
);

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn refused(given: &str, expected: Expect) {
        let error = BlockName::new(given).expect_err("this name must be refused");
        expected.assert_eq(&error.to_string());
    }

    #[test]
    fn valid_names_are_accepted() {
        for name in ["a", "0", "zoo", "a-b", "a--b", &"x".repeat(63)] {
            assert_eq!(BlockName::new(name).map(|n| n.to_string()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn errors_of_invalid_names_state_the_rule_and_the_character() {
        refused(
            "",
            expect![
                "block name `` is empty; names are 1 to 63 characters of `a-z`, `0-9` and `-`, beginning and ending with a letter or digit"
            ],
        );
        refused(
            "Zoo",
            expect![
                "block name `Zoo` has the character `Z` at position 1; names are 1 to 63 characters of `a-z`, `0-9` and `-`, beginning and ending with a letter or digit"
            ],
        );
        refused(
            "a_b",
            expect![
                "block name `a_b` has the character `_` at position 2; names are 1 to 63 characters of `a-z`, `0-9` and `-`, beginning and ending with a letter or digit"
            ],
        );
        refused(
            "zoo\n",
            expect![[
                r"block name `zoo\n` has the character `\n` at position 4; names are 1 to 63 characters of `a-z`, `0-9` and `-`, beginning and ending with a letter or digit"
            ]],
        );
        refused(
            "🦓",
            expect![
                "block name `🦓` has the character `🦓` at position 1; names are 1 to 63 characters of `a-z`, `0-9` and `-`, beginning and ending with a letter or digit"
            ],
        );
        refused(
            "-a",
            expect![
                "block name `-a` begins with `-`; names are 1 to 63 characters of `a-z`, `0-9` and `-`, beginning and ending with a letter or digit"
            ],
        );
        refused(
            "a-",
            expect![
                "block name `a-` ends with `-`; names are 1 to 63 characters of `a-z`, `0-9` and `-`, beginning and ending with a letter or digit"
            ],
        );
        assert!(BlockName::new("x".repeat(64)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn a_name_is_accepted_if_and_only_if_it_conforms(text in ".{0,70}") {
            let rule = !text.is_empty() && text.len() <= MAX_NAME_LENGTH
                && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !text.starts_with('-') && !text.ends_with('-');
            proptest::prop_assert_eq!(BlockName::new(text).is_ok(), rule);
        }
    }
}
