//! What comes back from outside is searched for the secrets of the call before a log line or an
//! error keeps it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use blockyard_model::SecretValue;
use blockyard_model::secret::MASK;
use zeroize::Zeroizing;

use crate::Problem;

/// Shorter secrets are not searched for: they are in every text, and asterisks in their place
/// would give them away.
const SHORTEST: usize = 4;

/// The secrets of a call in all the forms in which they are searched for.
#[derive(Default)]
pub struct Redactor {
    needles: Vec<Zeroizing<String>>,
}

impl Redactor {
    /// Searches for these secrets.
    pub fn new<'a>(secrets: impl Iterator<Item = &'a SecretValue>) -> Self {
        let mut needles = Vec::new();
        for secret in secrets.filter(|secret| secret.expose().len() >= SHORTEST) {
            let plain = secret.expose();
            needles.push(Zeroizing::new(plain.to_owned()));
            for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD] {
                needles.push(Zeroizing::new(engine.encode(plain)));
            }
            needles.push(Zeroizing::new(percent_encoded(plain)));
            // As it stands in JSON and in Rust's debug output.
            let quoted = serde_json::to_string(plain).unwrap_or_default();
            needles.push(Zeroizing::new(quoted.trim_matches('"').to_owned()));
        }
        // The longest first, so that a part of another is not left over.
        needles.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        needles.dedup();
        Self { needles }
    }

    /// The text, with asterisks where a secret stood.
    #[must_use]
    pub fn text(&self, text: String) -> String {
        self.needles.iter().filter(|needle| needle.len() >= SHORTEST).fold(text, |text, needle| {
            if text.contains(needle.as_str()) { text.replace(needle.as_str(), MASK) } else { text }
        })
    }

    pub(crate) fn problem(&self, problem: Problem) -> Problem {
        Problem {
            code: self.text(problem.code),
            message: self.text(problem.message),
            hint: problem.hint.map(|hint| self.text(hint)),
            retryable: problem.retryable,
            details: problem.details.map(|details| self.text(details)),
        }
    }
}

/// RFC 3986, section 2.1: everything but the unreserved characters.
fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn no_form_of_the_secret_survives(secret in "[ -~]{6,40}", before in "[a-z ]{0,5}") {
            let value = SecretValue::new(secret.clone());
            let redactor = Redactor::new([&value].into_iter());
            for form in [secret.clone(), STANDARD.encode(&secret), URL_SAFE_NO_PAD.encode(&secret), percent_encoded(&secret)] {
                let redacted = redactor.text(format!("{before}{form} after"));
                proptest::prop_assert!(!redacted.contains(&form), "{redacted}");
            }
        }
    }
}
