//! The origin and the reason of a revision: how it was saved, and why.

use std::fmt;
use std::str::FromStr;

use crate::address::{PinnedAddress, Revision};
use crate::name::SetName;
use crate::visible;

/// Maximum length of a reason, in characters. A reason is one line in the history of a block;
/// longer text belongs in a document that the reason names.
pub const MAX_REASON_LENGTH: usize = 1_000;

/// Reason of a change, written by its author: one line of visible text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason(String);

/// Error for text that is not a valid reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReasonError {
    /// The text is empty or contains only spaces.
    #[error("the reason is empty")]
    Empty,
    /// The text is too long.
    #[error("the reason has {0} characters; the maximum is {MAX_REASON_LENGTH}")]
    TooLong(usize),
    /// The text contains a control character, or a character that is not visible.
    #[error("the reason contains a control character or an invisible character at position {position}: `{shown}`")]
    Hidden {
        /// Position of the character, beginning with 1.
        position: usize,
        /// The character as an escape sequence.
        shown: String,
    },
}

/// How a revision was saved. The text form is stored with the revision: `create`, `rollback:3`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RevisionOrigin {
    /// The block was created.
    Create,
    /// The block was created with the content of this revision of another block.
    Copy(PinnedAddress),
    /// Fields or secrets were set or removed.
    Set,
    /// The block was edited as a text.
    Edit,
    /// A block file was applied. Contains the set that the file names, if any.
    Apply(Option<SetName>),
    /// The content of this revision of the block was restored.
    Rollback(Revision),
    /// The block was moved to another version of its bundle. Contains the version before.
    Upgrade(String),
    /// An origin that a later version of Blockyard defines, in its text form.
    Other(String),
}

impl Reason {
    /// Creates a reason after checking it. Spaces at both ends are removed.
    ///
    /// # Errors
    /// Returns an error if the text is empty, too long, or has other than visible characters.
    pub fn new(text: &str) -> Result<Self, ReasonError> {
        let text = text.trim_matches(' ');
        if text.is_empty() {
            return Err(ReasonError::Empty);
        }
        let length = text.chars().count();
        if length > MAX_REASON_LENGTH {
            return Err(ReasonError::TooLong(length));
        }
        let escaped = visible::line(text);
        if escaped != text {
            // The first difference is the first character that was escaped.
            let position = text.chars().zip(escaped.chars()).take_while(|(own, shown)| own == shown).count();
            let character = text.chars().nth(position).unwrap_or_default();
            let shown = character.escape_unicode().to_string();
            return Err(ReasonError::Hidden { position: position + 1, shown });
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the reason as a string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Reason {
    type Err = ReasonError;

    fn from_str(text: &str) -> Result<Self, ReasonError> {
        Self::new(text)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl RevisionOrigin {
    /// Parses the text form. Text that this version does not know is [`Other`](Self::Other).
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let known = match text.split_once(':') {
            None => match text {
                "create" => Some(Self::Create),
                "set" => Some(Self::Set),
                "edit" => Some(Self::Edit),
                "apply" => Some(Self::Apply(None)),
                _ => None,
            },
            Some(("apply", set)) => set.parse().ok().map(|set| Self::Apply(Some(set))),
            Some(("copy", original)) => original.parse().ok().map(Self::Copy),
            Some(("rollback", revision)) => revision.parse().ok().and_then(Revision::new).map(Self::Rollback),
            Some(("upgrade", version)) => Some(Self::Upgrade(version.to_owned())),
            Some(_) => None,
        };
        known.unwrap_or_else(|| Self::Other(text.to_owned()))
    }

    /// Returns the action without its details, such as `rollback`.
    #[must_use]
    pub fn action(&self) -> &str {
        match self {
            Self::Create => "create",
            Self::Copy(_) => "copy",
            Self::Set => "set",
            Self::Edit => "edit",
            Self::Apply(_) => "apply",
            Self::Rollback(_) => "rollback",
            Self::Upgrade(_) => "upgrade",
            Self::Other(text) => text.split_once(':').map_or(text.as_str(), |(action, _)| action),
        }
    }

    /// Describes the origin for people, such as `rollback to 3`.
    #[must_use]
    pub fn description(&self) -> String {
        match self {
            Self::Apply(Some(set)) => format!("apply of {set}"),
            Self::Copy(original) => format!("copy of {original}"),
            Self::Rollback(revision) => format!("rollback to {revision}"),
            Self::Upgrade(version) => format!("upgrade from {version}"),
            other => other.action().to_owned(),
        }
    }
}

/// The text form.
impl fmt::Display for RevisionOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apply(Some(set)) => write!(f, "apply:{set}"),
            Self::Copy(original) => write!(f, "copy:{original}"),
            Self::Rollback(revision) => write!(f, "rollback:{revision}"),
            Self::Upgrade(version) => write!(f, "upgrade:{version}"),
            Self::Other(text) => f.write_str(text),
            plain => f.write_str(plain.action()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn origins_round_trip_and_are_described() {
        for (text, action, description) in [
            ("create", "create", "create"),
            ("copy:gcs-bucket/zoo@3", "copy", "copy of gcs-bucket/zoo@3"),
            ("set", "set", "set"),
            ("edit", "edit", "edit"),
            ("apply", "apply", "apply"),
            ("apply:zoo-2", "apply", "apply of zoo-2"),
            ("rollback:3", "rollback", "rollback to 3"),
            ("upgrade:1.2.0-rc.1", "upgrade", "upgrade from 1.2.0-rc.1"),
        ] {
            let origin = RevisionOrigin::parse(text);
            assert!(!matches!(origin, RevisionOrigin::Other(_)), "{text}");
            assert_eq!(origin.to_string(), text);
            assert_eq!((origin.action(), origin.description().as_str()), (action, description));
        }
        for unknown in ["api:token-1", "apply:Zoo", "rollback:0", "rollback:x", "copy:nowhere", "sets", ""] {
            let origin = RevisionOrigin::parse(unknown);
            assert_eq!(origin, RevisionOrigin::Other(unknown.to_owned()));
        }
        assert_eq!(RevisionOrigin::parse("api:token-1").description(), "api");
    }

    #[test]
    fn errors_of_reasons_state_the_cause() {
        let refused = |text: &str| Reason::new(text).expect_err("must be refused").to_string();
        assert_eq!(refused("  "), "the reason is empty");
        assert_eq!(refused(&"é".repeat(1_001)), "the reason has 1001 characters; the maximum is 1000");
        assert_eq!(
            refused("a\nb"),
            r"the reason contains a control character or an invisible character at position 2: `\u{a}`"
        );
        assert!(refused("pay \u{202e}evil").contains(r"at position 5: `\u{202e}`"));
        assert!(refused("\u{1b}[2J").contains("at position 1"));
        assert_eq!(Reason::new(&"é".repeat(1_000)).expect("the maximum").as_str().chars().count(), 1_000);
        assert_eq!(
            Reason::new(" new database, see OPS-12 ").expect("a reason").to_string(),
            "new database, see OPS-12"
        );
    }

    proptest! {
        #[test]
        fn a_reason_is_shown_as_it_is(text in any::<String>()) {
            if let Ok(reason) = Reason::new(&text) {
                prop_assert_eq!(visible::line(reason.as_str()), reason.as_str());
            }
        }

        #[test]
        fn every_origin_keeps_its_text(text in any::<String>()) {
            prop_assert_eq!(RevisionOrigin::parse(&text).to_string(), text);
        }
    }
}
