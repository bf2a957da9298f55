//! "Did you mean": the nearest known word.

/// Longer words are not compared: the time grows with the product of two lengths, and words come from
/// bundles.
const LONGEST: usize = 128;
/// Known words that are compared.
const COMPARED: usize = 1_000;

/// The known word that is nearest to the given one, if any is near: at most a third of the
/// letters differ (Damerau-Levenshtein), or one begins with the other.
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

/// ``did you mean `word`?`` for the nearest known word.
pub fn did_you_mean<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(given, known).map(|word| format!("did you mean `{word}`?"))
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["database", "username", "password", "port"];
        assert_eq!(nearest("databse", known), Some("database"));
        assert_eq!(nearest("user", known), Some("username"));
        assert_eq!(nearest("pasword", known), Some("password"));
        assert_eq!(nearest("bucket", known), None);
    }
}
