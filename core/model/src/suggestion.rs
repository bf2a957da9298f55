//! "Did you mean" suggestions: finds the known word that is nearest to a given one.

/// Maximum length of a compared word. Words come from bundles, and the cost of a comparison grows
/// with the product of the two lengths.
const LONGEST: usize = 128;
/// Maximum number of known words that are compared.
const COMPARED: usize = 1_000;

/// Returns the known word that is nearest to the given one, or `None` if none is similar. Two words
/// are similar if at most a third of the letters differ (Damerau-Levenshtein distance), or if one
/// is a prefix of the other.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if given.len() > LONGEST {
        return None;
    }
    let limit = (given.chars().count() / 3).max(1);
    let mut best: Option<(usize, &'a str)> = None;
    for word in known.into_iter().filter(|word| word.len() <= LONGEST).take(COMPARED) {
        let mut distance = strsim::damerau_levenshtein(given, word);
        if given.len() >= 3 && (word.starts_with(given) || given.starts_with(word)) {
            distance = distance.min(limit);
        }
        if distance <= limit && best.is_none_or(|(nearest, _)| distance < nearest) {
            best = Some((distance, word));
        }
    }
    best.map(|(_, word)| word)
}

/// Returns ``did you mean `word`?`` for the nearest known word.
pub fn did_you_mean<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(given, known).map(|word| format!("did you mean `{word}`?"))
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn only_similar_words_are_suggested() {
        let known = ["database", "username", "password", "port"];
        assert_eq!(nearest("databse", known), Some("database"));
        assert_eq!(nearest("user", known), Some("username"));
        assert_eq!(nearest("pasword", known), Some("password"));
        assert_eq!(nearest("bucket", known), None);
    }
}
