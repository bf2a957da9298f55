//! What comes back from outside is searched for the secrets of the call before a bundle, a log line
//! or an error keeps it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use blockyard_model::SecretValue;
use blockyard_model::secret::MASK;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use zeroize::Zeroizing;

use crate::Problem;
use crate::output::ByteStream;

/// Shorter secrets are not searched for: they are in every text, and asterisks in their place
/// would give them away.
const SHORTEST: usize = 4;

/// The secrets of a call in all the forms in which they are searched for.
#[derive(Default)]
pub struct Redactor {
    needles: Vec<Zeroizing<Vec<u8>>>,
    /// None where there is nothing to search for.
    search: Option<AhoCorasick>,
    /// Bytes of the longest needle.
    longest: usize,
}

impl Redactor {
    /// Searches for these secrets.
    pub fn new<'a>(secrets: impl Iterator<Item = &'a SecretValue>) -> Self {
        Self::of(secrets.flat_map(|secret| forms(secret.expose())).collect())
    }

    /// This and one more: a token that was fetched in the middle of the call.
    pub(crate) fn with(&self, secret: &SecretValue) -> Self {
        Self::of(self.needles.iter().cloned().chain(forms(secret.expose())).collect())
    }

    /// Whether this secret is among those that are searched for.
    pub(crate) fn knows(&self, secret: &SecretValue) -> bool {
        self.needles.iter().any(|needle| needle.as_slice() == secret.expose().as_bytes())
    }

    fn of(mut needles: Vec<Zeroizing<Vec<u8>>>) -> Self {
        needles.sort_by(|a, b| a.as_slice().cmp(b.as_slice()));
        needles.dedup();
        let longest = needles.iter().map(|needle| needle.len()).max().unwrap_or_default();
        // The longest of those that begin at a place, so that a part of another is not left over.
        let search = (longest > 0).then(|| {
            AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .build(needles.iter().map(|needle| needle.as_slice()))
                .expect("a call has few secrets, each of limited size")
        });
        Self { needles, search, longest }
    }

    /// The text, with asterisks where a secret stood.
    #[must_use]
    pub fn text(&self, text: String) -> String {
        let Some(search) = &self.search else { return text };
        let Some(first) = search.find(&text) else { return text };
        let mut clean = text[..first.start()].to_owned();
        search.replace_all_with(&text[first.start()..], &mut clean, |_, _, clean| {
            clean.push_str(MASK);
            true
        });
        clean
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

    /// A stream without the secrets, also where one is spread over several pieces. `found` is set
    /// where one was: what was masked is not what the server sent.
    pub(crate) fn stream(self: Arc<Self>, source: ByteStream, found: Arc<AtomicBool>) -> ByteStream {
        if self.search.is_none() {
            return source;
        }
        let begun = (Some(source), Masking { redactor: self, held: Vec::new(), found });
        stream::unfold(begun, async |(source, mut masking)| {
            let mut source = source?;
            loop {
                match source.next().await {
                    Some(Ok(bytes)) => {
                        let clean = masking.pass(&bytes);
                        if !clean.is_empty() {
                            return Some((Ok(clean), (Some(source), masking)));
                        }
                    }
                    Some(Err(problem)) => return Some((Err(masking.redactor.problem(problem)), (None, masking))),
                    None => {
                        let rest = masking.finish();
                        return (!rest.is_empty()).then_some((Ok(rest), (None, masking)));
                    }
                }
            }
        })
        .boxed()
    }
}

/// A search that goes over the ends of pieces.
struct Masking {
    redactor: Arc<Redactor>,
    /// Bytes that may be the beginning of a secret: one less than the longest has.
    held: Vec<u8>,
    found: Arc<AtomicBool>,
}

impl Masking {
    fn pass(&mut self, bytes: &[u8]) -> Bytes {
        self.held.extend_from_slice(bytes);
        // What begins before this place is seen whole.
        let sure = (self.held.len() + 1).saturating_sub(self.redactor.longest);
        self.release(sure)
    }

    fn finish(&mut self) -> Bytes {
        self.release(self.held.len())
    }

    fn release(&mut self, sure: usize) -> Bytes {
        let mut clean = Vec::with_capacity(sure);
        let mut at = 0;
        for found in self.redactor.search.iter().flat_map(|search| search.find_iter(&self.held)) {
            if found.start() >= sure {
                break;
            }
            clean.extend_from_slice(&self.held[at..found.start()]);
            clean.extend_from_slice(MASK.as_bytes());
            at = found.end();
            self.found.store(true, Ordering::Relaxed);
        }
        if at < sure {
            clean.extend_from_slice(&self.held[at..sure]);
            at = sure;
        }
        self.held.drain(..at);
        clean.into()
    }
}

/// A secret as it is, and as it looks in what others make of it.
fn forms(plain: &str) -> Vec<Zeroizing<Vec<u8>>> {
    if plain.len() < SHORTEST {
        return Vec::new();
    }
    let mut forms =
        vec![plain.to_owned(), percent_encoded(plain), hex(plain, "0123456789abcdef"), hex(plain, "0123456789ABCDEF")];
    // As it stands in JSON and in Rust's debug output.
    let quoted = serde_json::to_string(plain).unwrap_or_default();
    forms.push(quoted.trim_matches('"').to_owned());
    for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD] {
        forms.push(engine.encode(plain));
    }
    // Within a longer text that was encoded as a whole, a secret stands at one of three places of a
    // group of four letters; those that its neighbours have a part in are left out.
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        for before in 0..3 {
            let shifted = Zeroizing::new([vec![0; before], plain.as_bytes().to_vec()].concat());
            let encoded = engine.encode(&shifted);
            let from = (before * 8).div_ceil(6);
            let to = shifted.len() * 8 / 6;
            if to > from + SHORTEST + 4 {
                forms.push(encoded[from..to].to_owned());
            }
        }
    }
    // A key of several lines comes back line by line, too.
    forms.extend(plain.lines().filter(|line| line.len() >= 16 && !line.starts_with("-----")).map(str::to_owned));
    forms.into_iter().map(|form| Zeroizing::new(form.into_bytes())).filter(|form| form.len() >= SHORTEST).collect()
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

fn hex(text: &str, digits: &str) -> String {
    let digit = |nibble: u8| char::from(digits.as_bytes()[usize::from(nibble)]);
    text.bytes().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn no_form_of_the_secret_survives(secret in "[ -~]{6,40}", before in "[a-z ]{0,5}") {
            let value = SecretValue::new(secret.clone());
            let redactor = Redactor::new([&value].into_iter());
            let forms = [secret.clone(), STANDARD.encode(&secret), URL_SAFE_NO_PAD.encode(&secret), percent_encoded(&secret),
                hex(&secret, "0123456789abcdef")];
            for form in forms {
                let redacted = redactor.text(format!("{before}{form} after"));
                proptest::prop_assert!(!redacted.contains(&form), "{redacted}");
            }
        }

        #[test]
        fn a_secret_within_encoded_text_does_not_survive(secret in "[!-~]{12,40}", before in "[a-z]{0,7}", after in "[a-z]{0,7}") {
            let redactor = Redactor::new([&SecretValue::new(secret.clone())].into_iter());
            let encoded = STANDARD.encode(format!("{before}{secret}{after}"));
            let redacted = redactor.text(encoded.clone());
            proptest::prop_assert!(redacted.contains(MASK), "{encoded} of {secret}");
        }

        #[test]
        fn a_stream_is_masked_however_it_is_cut(
            pieces in proptest::collection::vec("(s3cret-canary|[a-z]{0,9}|s3cret|-canary){0,3}", 0..9),
        ) {
            let redactor = Arc::new(Redactor::new([&SecretValue::new("s3cret-canary".to_owned())].into_iter()));
            let whole = pieces.concat();
            let source: Vec<Result<Bytes, Problem>> = pieces.into_iter().map(|piece| Ok(Bytes::from(piece))).collect();
            let found = Arc::new(AtomicBool::new(false));
            let masked = redactor.clone().stream(stream::iter(source).boxed(), found.clone());
            let pieces: Vec<Result<Bytes, Problem>> = futures_util::FutureExt::now_or_never(masked.collect()).expect("nothing waits");
            let text: Vec<u8> = pieces.into_iter().flat_map(|piece| piece.expect("no problem")).collect();
            let text = String::from_utf8(text).expect("text");
            proptest::prop_assert_eq!(found.load(Ordering::Relaxed), whole.contains("s3cret-canary"));
            proptest::prop_assert_eq!(text, redactor.text(whole));
        }
    }
}
