//! Keys of signers, and messages, in the cells of tables.

/// Number of characters of a key that a table shows. The first characters contain the key's ID.
const KEY_CHARACTERS: usize = 12;

/// Shortens the key of a signer, or returns `unsigned`.
pub(crate) fn short_signer(key: Option<&str>) -> String {
    match key.map(|key| (key, key.char_indices().nth(KEY_CHARACTERS))) {
        None => "unsigned".to_owned(),
        Some((key, Some((end, _)))) => format!("{}…", &key[..end]),
        Some((key, None)) => key.to_owned(),
    }
}

/// Joins the lines of a message.
pub(crate) fn one_line(message: &str) -> String {
    message.replace("\n  ", "; ")
}
