//! [`Redactor`]: the search of text for the secrets of a call.

use std::ops::Range;

use blockyard_model::SecretValue;
use blockyard_model::secret::MASK;
use bytes::Bytes;
use serde_json::Value;
use zeroize::Zeroizing;

use super::search::{self, Search};
use super::{needle, view};
use crate::limits;
use crate::problem::Problem;

/// Searches text for the secrets of a call and masks them.
#[derive(Default)]
pub struct Redactor {
    secrets: Vec<SecretValue>,
    pub(super) search: Search,
    /// Number of bytes at the end of a stream that are held back until the following bytes are
    /// known, because a secret may begin there.
    window: usize,
}

impl Redactor {
    /// Creates a redactor for these secrets.
    pub fn new<'a>(secrets: impl Iterator<Item = &'a SecretValue>) -> Self {
        Self::of(secrets.cloned().collect())
    }

    /// Returns a redactor for these secrets and one more, e.g. an access token that was fetched
    /// during the call.
    pub fn with(&self, secret: &SecretValue) -> Self {
        Self::of(self.secrets.iter().chain([secret]).cloned().collect())
    }

    /// Returns a redactor without the secrets that `text` contains.
    pub(crate) fn without(&self, text: impl AsRef<[u8]>) -> Self {
        let absent = |secret: &&SecretValue| !Self::new([*secret].into_iter()).finds(text.as_ref());
        Self::of(self.secrets.iter().filter(absent).cloned().collect())
    }

    /// Returns a redactor for the secrets that `text` contains.
    pub(crate) fn found_in(&self, text: &str) -> Self {
        let present = |secret: &&SecretValue| Self::new([*secret].into_iter()).finds(text.as_bytes());
        Self::of(self.secrets.iter().filter(present).cloned().collect())
    }

    /// Returns a redactor for the secrets that both redactors find.
    pub(crate) fn shared_with(&self, other: &Self) -> Self {
        Self::of(self.secrets.iter().filter(|secret| other.contains(secret)).cloned().collect())
    }

    /// Returns a redactor without the secrets that the strings of a JSON value contain, but only within
    /// longer words: `test` in `latest.csv`. Such text is not a guess.
    pub(crate) fn without_parts_of_words(&self, json: &Value) -> Self {
        let mut texts = Vec::new();
        collect_texts(json, &mut texts);
        let stays = |secret: &&SecretValue| {
            let search = Self::new([*secret].into_iter()).search;
            let parts =
                texts.iter().flat_map(|text| search.find(text).into_iter().map(|range| is_part_of_word(text, &range)));
            let mut parts = parts.peekable();
            parts.peek().is_none() || parts.any(|is_part| !is_part)
        };
        Self::of(self.secrets.iter().filter(stays).cloned().collect())
    }

    /// Returns true if there is no secret to find.
    pub fn is_empty(&self) -> bool {
        self.search.is_empty()
    }

    /// Returns the number of bytes at the end of a text in which a secret may begin that the following
    /// text completes.
    pub(crate) fn window(&self) -> usize {
        self.window
    }

    /// Returns true if the redactor masks this secret.
    pub fn contains(&self, secret: &SecretValue) -> bool {
        self.secrets.contains(secret)
    }

    fn of(secrets: Vec<SecretValue>) -> Self {
        let mut needles: Vec<_> = secrets.iter().flat_map(|secret| needle::needles(secret.expose())).collect();
        needles.sort_by(|a, b| a.bytes.as_slice().cmp(b.bytes.as_slice()).then(a.any_case.cmp(&b.any_case)));
        needles.dedup();
        let longest = needles.iter().map(|needle| needle.bytes.len()).max().unwrap_or_default();
        Self { secrets, search: Search::new(needles), window: longest * limits::ENCODED_BYTES + 64 }
    }

    /// Returns true if `text` contains a secret, in any of the supported encodings.
    pub fn finds(&self, text: &[u8]) -> bool {
        !self.search.is_empty() && text.len() >= needle::SHORTEST && {
            let mut masking = Masking::new(self);
            text.chunks(limits::SEARCHED_BYTES).any(|chunk| masking.pass(chunk).1 > 0) || masking.finish().1 > 0
        }
    }

    /// Replaces secrets in a string with asterisks.
    #[must_use]
    pub fn text(&self, text: String) -> String {
        self.counted(text).0
    }

    /// Replaces secrets in a string with asterisks. Returns the string and the number of
    /// replacements.
    pub fn counted(&self, text: String) -> (String, usize) {
        if self.search.is_empty() || text.len() < needle::SHORTEST {
            return (text, 0);
        }
        let mut masking = Masking::new(self);
        let (mut clean, mut count) = (Vec::with_capacity(text.len()), 0);
        for chunk in text.as_bytes().chunks(limits::SEARCHED_BYTES) {
            let (bytes, found) = masking.pass(chunk);
            clean.extend_from_slice(&bytes);
            count += found;
        }
        let (bytes, found) = masking.finish();
        clean.extend_from_slice(&bytes);
        if count + found == 0 {
            return (text, 0);
        }
        (
            String::from_utf8(clean).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
            count + found,
        )
    }

    /// Parses JSON and replaces secrets in it with asterisks. A number that contains a secret by
    /// chance is not changed.
    ///
    /// # Errors
    /// Returns an error if `text` is not JSON.
    pub fn json(&self, text: &str) -> serde_json::Result<Value> {
        let (clean, found) = self.counted(text.to_owned());
        match serde_json::from_str(&clean) {
            Ok(value) => Ok(value),
            Err(error) if found == 0 => Err(error),
            Err(_) => Ok(self.value(serde_json::from_str(text)?)),
        }
    }

    fn value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => self.text(text).into(),
            Value::Array(items) => items.into_iter().map(|item| self.value(item)).collect(),
            Value::Object(members) => {
                members.into_iter().map(|(name, member)| (self.text(name), self.value(member))).collect()
            }
            other => other,
        }
    }

    /// Replaces secrets in a problem with asterisks.
    pub fn problem(&self, problem: Problem) -> Problem {
        let masked = |text| self.text(text);
        Problem {
            code: masked(problem.code),
            message: masked(problem.message),
            hint: problem.hint.map(masked),
            details: problem.details.map(masked),
            ..problem
        }
    }

    /// Returns true if the message, hint or details of a problem contain a secret.
    pub fn finds_in(&self, problem: &Problem) -> bool {
        let texts = [Some(&problem.message), problem.hint.as_ref(), problem.details.as_ref()];
        texts.into_iter().flatten().any(|text| self.finds(text.as_bytes()))
    }
}

/// Collects the names and values of a JSON value as text, without the escapes of JSON, in which a word
/// would follow a letter: `\ntest`. A text with other escapes, such as `%20test`, is also collected
/// with these decoded.
fn collect_texts(json: &Value, texts: &mut Vec<Vec<u8>>) {
    fn add(text: &str, texts: &mut Vec<Vec<u8>>) {
        texts.push(text.as_bytes().to_vec());
        texts.extend((1..=search::LEVELS).filter_map(|levels| view::normalized(text.as_bytes(), levels)));
    }
    match json {
        Value::String(text) => add(text, texts),
        Value::Array(items) => items.iter().for_each(|item| collect_texts(item, texts)),
        Value::Object(members) => {
            for (name, member) in members {
                add(name, texts);
                collect_texts(member, texts);
            }
        }
        other => add(&other.to_string(), texts),
    }
}

/// Returns true if a letter or digit precedes or follows a range of `bytes`.
fn is_part_of_word(bytes: &[u8], range: &Range<usize>) -> bool {
    let is_letter = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii());
    is_letter(range.start.checked_sub(1).and_then(|at| bytes.get(at))) || is_letter(bytes.get(range.end))
}

/// A search across chunk boundaries.
pub(super) struct Masking<R> {
    pub(super) redactor: R,
    /// Bytes held back, because a secret may begin in them.
    held: Zeroizing<Vec<u8>>,
}

impl<R: std::ops::Deref<Target = Redactor>> Masking<R> {
    pub(super) fn new(redactor: R) -> Self {
        Self { redactor, held: Zeroizing::default() }
    }

    /// Adds a chunk. Returns the bytes that can be released, masked, and the number of masked
    /// secrets.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> (Bytes, usize) {
        self.held.extend_from_slice(bytes);
        // A secret that begins before this position is already complete in `held`.
        let sure = (self.held.len() + 1).saturating_sub(self.redactor.window);
        if sure == 0 { (Bytes::new(), 0) } else { self.release(sure) }
    }

    pub(super) fn finish(&mut self) -> (Bytes, usize) {
        self.release(self.held.len())
    }

    fn release(&mut self, sure: usize) -> (Bytes, usize) {
        let mut clean = Vec::with_capacity(sure);
        let (mut at, mut count) = (0, 0);
        for found in self.redactor.search.find(&self.held) {
            if found.start >= sure {
                break;
            }
            clean.extend_from_slice(&self.held[at..found.start]);
            clean.extend_from_slice(MASK.as_bytes());
            at = found.end;
            count += 1;
        }
        if at < sure {
            clean.extend_from_slice(&self.held[at..sure]);
            at = sure;
        }
        self.held.drain(..at);
        (clean.into(), count)
    }
}
