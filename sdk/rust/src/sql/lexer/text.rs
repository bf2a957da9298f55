//! Words in SQL text.

/// Returns the name that `text` starts with, or an empty string.
pub(super) fn name(text: &str) -> &str {
    if text.starts_with(begins_word) { &text[..length_while(text, is_of_word)] } else { "" }
}

pub(super) fn begins_word(character: char) -> bool {
    is_of_word(character) && !character.is_ascii_digit()
}

/// Checks whether a character can be part of a word: all databases accept letters of all scripts,
/// with combining marks.
pub(super) fn is_of_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || !character.is_ascii() && !character.is_whitespace()
}

pub(super) fn length_while(text: &str, matches: impl Fn(char) -> bool) -> usize {
    text.find(|c| !matches(c)).unwrap_or(text.len())
}
