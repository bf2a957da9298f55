//! The texts that a secret is searched for as.
//!
//! A long secret is searched for piece by piece, so the search has as little to hold back of a stream as for a short
//! one, and a part of a key is found like the whole.

use std::mem::take;

use zeroize::Zeroizing;

use super::search::{LEVELS, Needle};
use super::view::normalized;
use crate::limits;

/// Shorter secrets are not searched for: they are part of ordinary text, and masking them would reveal them.
pub(super) const SHORTEST: usize = 4;
/// Length in bytes from which on upper and lower case are the same. Shorter secrets have too few letters for that.
const ANY_CASE: usize = 8;
/// Shortest line of a secret of several lines that is searched for by itself.
const SHORTEST_LINE: usize = 16;

/// The needles of a secret.
pub(super) fn needles(secret: &str) -> Vec<Needle> {
    let mut needles = Vec::new();
    if secret.len() < SHORTEST {
        return needles;
    }
    let any_case = secret.len() >= ANY_CASE;
    let mut add = |text: &str| {
        for piece in pieces(text) {
            for form in forms(piece) {
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
    // A key of several lines comes back line by line, or with its lines joined by something else.
    let mut lines = secret.lines().filter(|line| line.len() >= SHORTEST_LINE && !line.starts_with("-----"));
    if secret.contains('\n') {
        lines.by_ref().for_each(&mut add);
    }
    needles
}

/// A text in pieces of at most [`limits::SEARCHED_PIECE_BYTES`], none much shorter than half of that.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while rest.len() > limits::SEARCHED_PIECE_BYTES {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(limits::SEARCHED_PIECE_BYTES / 2));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

/// A piece as it is, without its own escapes, and in the character sets that servers confuse with UTF-8.
fn forms(piece: &str) -> Vec<Zeroizing<Vec<u8>>> {
    let mut forms = vec![Zeroizing::new(piece.as_bytes().to_vec())];
    // UTF-16, as it is in digits of hexadecimal.
    for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
        forms.push(Zeroizing::new(piece.encode_utf16().flat_map(bytes).collect()));
    }
    if !piece.is_ascii() {
        // Each byte taken for a character of Latin-1, and characters of Latin-1 written as such.
        let mut confused: String = piece.bytes().map(char::from).collect();
        forms.push(Zeroizing::new(take(&mut confused).into_bytes()));
        let latin: Option<Vec<u8>> = piece.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect();
        forms.extend(latin.map(Zeroizing::new));
        // UTF-16, as it is in digits of base64 and hexadecimal, and without its zero bytes, as views have it.
        for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
            let units = || piece.encode_utf16().flat_map(bytes);
            forms.push(Zeroizing::new(units().filter(|byte| *byte != 0).collect()));
        }
    }
    let plain: Vec<Vec<u8>> = forms.iter().filter_map(|form| normalized(form, LEVELS)).collect();
    forms.extend(plain.into_iter().map(Zeroizing::new));
    // A part of the levels, for texts that were encoded fewer times.
    forms.extend(normalized(piece.as_bytes(), 1).map(Zeroizing::new));
    forms.extend(normalized(piece.as_bytes(), 2).map(Zeroizing::new));
    forms
}
