//! Binary data as text: standard base64, with or without padding. PostgreSQL's `\x…` is also
//! decoded.

use blockyard_sdk::sql;

/// Decodes a string, or returns `None` if it is neither base64 nor `\x` followed by hexadecimal
/// digits.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    match text.strip_prefix("\\x") {
        Some(digits) => hex(digits.as_bytes()),
        None => sql::bytes_from_base64(text),
    }
}

/// Encodes bytes as base64 with padding.
pub(crate) fn encode(bytes: &[u8]) -> String {
    sql::bytes_to_base64(bytes)
}

fn hex(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_valid_encodings_of_bytes_are_decoded() {
        assert_eq!(decode("3q0="), Some(vec![0xde, 0xad]));
        assert_eq!(decode("3q0"), Some(vec![0xde, 0xad]));
        assert_eq!(decode("\\xDEad"), Some(vec![0xde, 0xad]));
        assert_eq!(decode(""), Some(Vec::new()));
        for text in ["3q0=x", "3q1=", "3", "====", "3q 0", "\\xd", "\\xzz", "3q_-", "ü", "3q0=\n"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn bytes_round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let text = encode(&bytes);
            prop_assert_eq!(decode(&text), Some(bytes.clone()));
            prop_assert_eq!(decode(text.trim_end_matches('=')), Some(bytes));
        }
    }
}
