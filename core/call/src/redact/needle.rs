//! Generation of the search patterns (needles) of a secret.
//!
//! A long secret is split into several needles. The number of bytes that the search of a stream
//! holds back is therefore bounded, and a part of a key is found, too.

use std::mem::take;

use zeroize::Zeroizing;

use super::search::{LEVELS, Needle};
use super::view::normalized;
use crate::limits;

/// Minimum length of a secret that is searched for, in bytes. Shorter ones occur in ordinary text,
/// and masking them there would reveal them.
pub(super) const SHORTEST: usize = 4;
/// Minimum length of a secret that is matched case-insensitively, in bytes. Shorter secrets would
/// match too much ordinary text.
const ANY_CASE: usize = 8;
/// Minimum length of a line of a multi-line secret that is searched for separately, in bytes.
const SHORTEST_LINE: usize = 16;

/// Returns the needles of a secret; none for a secret shorter than [`SHORTEST`].
pub(super) fn needles(secret: &str) -> Vec<Needle> {
    let mut needles = Vec::new();
    if secret.len() < SHORTEST {
        return needles;
    }
    let any_case = secret.len() >= ANY_CASE;
    let mut add = |text: &str| {
        for segment in segments(text) {
            for form in forms(segment) {
                if form.len() >= SHORTEST {
                    needles.push(Needle { bytes: form, any_case });
                }
            }
        }
    };
    add(secret);
    if secret.trim().len() < secret.len() {
        add(secret.trim());
    }
    // A server may return a multi-line key as separate lines, or with another line separator.
    let mut lines = secret.lines().filter(|line| line.len() >= SHORTEST_LINE && !line.starts_with("-----"));
    if secret.contains('\n') {
        lines.by_ref().for_each(&mut add);
    }
    needles
}

/// Splits a text into segments of at most [`limits::SEARCHED_SEGMENT_BYTES`]. If there are several,
/// each is about half of that or longer.
fn segments(text: &str) -> Vec<&str> {
    let mut segments = Vec::new();
    let mut rest = text;
    while rest.len() > limits::SEARCHED_SEGMENT_BYTES {
        let (segment, after) = rest.split_at(rest.floor_char_boundary(limits::SEARCHED_SEGMENT_BYTES / 2));
        segments.push(segment);
        rest = after;
    }
    segments.push(rest);
    segments
}

/// Returns the forms of a piece to search for: the piece itself, with its own escapes decoded, and
/// in the character encodings that servers confuse with UTF-8.
fn forms(segment: &str) -> Vec<Zeroizing<Vec<u8>>> {
    let mut forms = vec![Zeroizing::new(segment.as_bytes().to_vec())];
    // UTF-16, for text that is encoded as UTF-16 and then as hexadecimal.
    for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
        forms.push(Zeroizing::new(segment.encode_utf16().flat_map(bytes).collect()));
    }
    if !segment.is_ascii() {
        // UTF-8 misread as Latin-1 and encoded as UTF-8 again; and text encoded as Latin-1.
        let mut confused: String = segment.bytes().map(char::from).collect();
        forms.push(Zeroizing::new(take(&mut confused).into_bytes()));
        let latin: Option<Vec<u8>> = segment.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect();
        forms.extend(latin.map(Zeroizing::new));
        // UTF-16 without its zero bytes, because views and decoded base64 or hexadecimal drop them.
        for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
            let units = || segment.encode_utf16().flat_map(bytes);
            forms.push(Zeroizing::new(units().filter(|byte| *byte != 0).collect()));
        }
    }
    let plain: Vec<Vec<u8>> = forms.iter().filter_map(|form| normalized(form, LEVELS)).collect();
    forms.extend(plain.into_iter().map(Zeroizing::new));
    // Fewer levels of escapes decoded, for texts that were encoded fewer times.
    forms.extend(normalized(segment.as_bytes(), 1).map(Zeroizing::new));
    forms.extend(normalized(segment.as_bytes(), 2).map(Zeroizing::new));
    forms
}
