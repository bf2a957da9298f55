//! The search: linear in the text, with memory in the order of the secrets.
//!
//! Four bytes of a needle are its anchor. A window of four bytes passes over the text (and of eight hexadecimal digits,
//! and of six letters of base64, at each of their alignments); where its content is an anchor, the needle is compared.
//! Case is folded in anchors, and a `+` is a blank, as it is in forms.

use std::collections::HashMap;
use std::ops::Range;

use zeroize::Zeroizing;

use super::view::View;

/// Levels of escapes that are decoded one after the other.
pub(super) const LEVELS: usize = 3;
/// Base64 or hexadecimal digits in one another, besides the escapes.
const NESTED: usize = 2;
/// Shortest run of printable characters in decoded digits that is searched for further encodings.
const SHORTEST_RUN: usize = 6;
/// Letters of base64 that such a run has at least.
const SHORTEST_LETTERS: usize = 8;
/// Bytes of an anchor.
const ANCHOR: usize = 4;

/// A text that is searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Needle {
    /// At least four bytes.
    pub(super) bytes: Zeroizing<Vec<u8>>,
    /// Upper and lower case are the same.
    pub(super) any_case: bool,
}

/// Needles, by their anchors.
#[derive(Default)]
pub(super) struct Search {
    needles: Vec<Needle>,
    by_anchor: HashMap<u32, Vec<u32>>,
    /// One bit per hash of an anchor: nearly all windows end here.
    filter: Vec<u64>,
}

impl Search {
    pub(super) fn new(needles: Vec<Needle>) -> Self {
        let mut search = Self { filter: vec![0; 1 << 10], needles, by_anchor: HashMap::new() };
        for (index, needle) in search.needles.iter().enumerate() {
            let anchor = needle.bytes[..ANCHOR].iter().fold(0, |anchor, byte| anchor << 8 | u32::from(fold(*byte)));
            let hash = hash(anchor);
            search.filter[hash >> 6] |= 1 << (hash & 63);
            search.by_anchor.entry(anchor).or_default().push(u32::try_from(index).unwrap_or(u32::MAX));
        }
        search
    }

    pub(super) fn is_empty(&self) -> bool {
        self.needles.is_empty()
    }

    /// Bytes of memory, about.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        let needles: usize = self.needles.iter().map(|needle| needle.bytes.capacity() + size_of::<Needle>()).sum();
        needles + self.by_anchor.capacity() * 2 * size_of::<Vec<u32>>() + self.filter.len() * 8
    }

    /// The places of all needles, in any encoding, in order, none touching another.
    pub(super) fn find(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        if !self.is_empty() {
            self.look(&View::raw(text), 0, 0, &mut found);
        }
        merged(found)
    }

    /// Searches a view and its decoded forms, whose escapes were decoded `level` times already.
    fn look(&self, view: &View<'_>, level: usize, nested: usize, found: &mut Vec<Range<usize>>) {
        self.plain(view, found);
        self.digits(view, found);
        self.letters(view, found);
        if nested < NESTED {
            self.runs(view, nested, found);
        }
        if level < LEVELS {
            for next in view.all_decoded() {
                self.look(&next, level + 1, nested, found);
            }
        }
    }

    /// The bytes as they are.
    fn plain(&self, view: &View<'_>, found: &mut Vec<Range<usize>>) {
        let bytes = &view.bytes;
        let mut window = 0;
        for (at, byte) in bytes.iter().enumerate() {
            window = window << 8 | u32::from(fold(*byte));
            if at + 1 < ANCHOR {
                continue;
            }
            let start = at + 1 - ANCHOR;
            for needle in self.anchored(window) {
                let end = start + needle.bytes.len();
                let same = bytes.get(start..end).is_some_and(|text| needle.is(text.iter().copied()));
                if same {
                    found.push(view.raw_range(start..end));
                }
            }
        }
    }

    /// Hexadecimal digits, beginning at any of them.
    fn digits(&self, view: &View<'_>, found: &mut Vec<Range<usize>>) {
        let bytes = &view.bytes;
        let (mut window, mut count) = (0_u32, 0);
        for (at, byte) in bytes.iter().enumerate() {
            let Some(digit) = nibble(*byte) else {
                count = 0;
                continue;
            };
            window = window << 4 | u32::from(digit);
            count += 1;
            if count < 2 * ANCHOR {
                continue;
            }
            let start = at + 1 - 2 * ANCHOR;
            for needle in self.anchored(folded(window)) {
                let end = start + 2 * needle.bytes.len();
                let pair = |pair: &[u8]| Some(nibble(pair[0])? << 4 | nibble(pair[1])?);
                let decoded = bytes.get(start..end).map(|text| text.chunks_exact(2).map_while(pair));
                if decoded.is_some_and(|text| needle.is(text)) {
                    found.push(view.raw_range(start..end));
                }
            }
        }
    }

    /// Letters of base64 in either alphabet, also in lines, beginning at any bit that a byte can begin at.
    fn letters(&self, view: &View<'_>, found: &mut Vec<Range<usize>>) {
        let bytes = &view.bytes;
        let (mut window, mut count) = (0_u64, 0_usize);
        let mut places = [0; 6];
        for (at, byte) in bytes.iter().enumerate() {
            let Some(letter) = sextet(*byte) else {
                if !matches!(byte, b'\r' | b'\n') {
                    count = 0;
                }
                continue;
            };
            window = window << 6 | u64::from(letter);
            places[count % 6] = at;
            count += 1;
            if count < 6 {
                continue;
            }
            for skipped in [0, 2, 4] {
                let anchor = u32::try_from(window >> (4 - skipped) & 0xffff_ffff).unwrap_or_default();
                for needle in self.anchored(folded(anchor)) {
                    let start = places[count % 6];
                    if let Some(end) = needle.is_in_letters(bytes, start, skipped) {
                        found.push(view.raw_range(start..end));
                    }
                }
            }
        }
    }

    /// Text within digits and letters, which may be encoded once more.
    fn runs(&self, view: &View<'_>, nested: usize, found: &mut Vec<Range<usize>>) {
        let letter = |byte: u8| sextet(byte).filter(|_| byte != b' ');
        self.runs_of(view, 6, &letter, nested, found);
        self.runs_of(view, 4, &nibble, nested, found);
    }

    /// Runs of digits of `width` bits, also in lines, decoded from each digit that a byte can begin at.
    fn runs_of(
        &self,
        view: &View<'_>,
        width: u32,
        digit: &dyn Fn(u8) -> Option<u8>,
        nested: usize,
        found: &mut Vec<Range<usize>>,
    ) {
        let bytes = &view.bytes;
        let is_line_end = |byte: u8| matches!(byte, b'\r' | b'\n');
        let phases: usize = if width == 6 { 4 } else { 2 };
        let mut at = 0;
        while at < bytes.len() {
            let in_run = |byte: &&u8| digit(**byte).is_some() || is_line_end(**byte);
            let length = bytes[at..].iter().take_while(in_run).count();
            if length >= SHORTEST_LETTERS {
                let places: Vec<usize> = (at..at + length).filter(|place| !is_line_end(bytes[*place])).collect();
                let bits = |place: usize| digit(bytes[place]).unwrap_or_default();
                for phase in 0..phases.min(places.len()) {
                    self.run(view, &places[phase..], width, &bits, nested, found);
                }
            }
            at += length.max(1);
        }
    }

    /// Decodes digits of `width` bits each and searches the text in the result.
    fn run(
        &self,
        view: &View<'_>,
        places: &[usize],
        width: u32,
        bits: &dyn Fn(usize) -> u8,
        nested: usize,
        found: &mut Vec<Range<usize>>,
    ) {
        let (mut decoded, mut from) = (Vec::new(), Vec::new());
        let (mut window, mut held, mut begins) = (0_u32, 0, 0);
        for place in places {
            if held == 0 {
                begins = *place;
            }
            window = (window << width | u32::from(bits(*place))) & 0xffff;
            held += width;
            if held < 8 {
                continue;
            }
            held -= 8;
            let byte = u8::try_from(window >> held & 0xff).unwrap_or_default();
            // UTF-16 has zeros between its letters.
            if byte != 0 {
                decoded.push(byte);
                from.push(begins..place + 1);
            }
            // The next byte begins within this letter.
            begins = *place;
        }
        // Digits that begin elsewhere decode to noise, which has few characters in a row.
        let mut at = 0;
        for chunk in decoded.utf8_chunks() {
            for text in chunk.valid().split(|c: char| c.is_control() && !matches!(c, '\t' | '\r' | '\n')) {
                let start = at + (text.as_ptr() as usize - chunk.valid().as_ptr() as usize);
                if text.len() >= SHORTEST_RUN {
                    let part = view.part(text.as_bytes().to_vec(), &from[start..start + text.len()]);
                    self.look(&part, 0, nested + 1, found);
                }
            }
            at += chunk.valid().len() + chunk.invalid().len();
        }
    }

    fn anchored(&self, anchor: u32) -> impl Iterator<Item = &Needle> {
        let hash = hash(anchor);
        let known = self.filter.get(hash >> 6).is_some_and(|bits| bits >> (hash & 63) & 1 == 1);
        let indices = known.then(|| self.by_anchor.get(&anchor)).flatten();
        indices.into_iter().flatten().map(|index| &self.needles[*index as usize])
    }
}

impl Needle {
    /// Compares decoded text.
    fn is(&self, mut text: impl Iterator<Item = u8>) -> bool {
        let same = |a: u8, b: u8| if self.any_case { fold(a) == fold(b) } else { blank(a) == blank(b) };
        self.bytes.iter().all(|own| text.next().is_some_and(|byte| same(byte, *own)))
    }

    /// Compares letters of base64 from a position on, without the first bits of the first letter. Gives the end.
    fn is_in_letters(&self, bytes: &[u8], start: usize, skipped: u32) -> Option<usize> {
        let (mut window, mut held) = (0_u32, 0_u32);
        let mut end = start;
        let mut first = true;
        let decoded = std::iter::from_fn(|| {
            while held < 8 {
                let letter = loop {
                    let byte = *bytes.get(end)?;
                    end += 1;
                    match sextet(byte) {
                        Some(letter) => break letter,
                        None if matches!(byte, b'\r' | b'\n') => {}
                        None => return None,
                    }
                };
                window = (window << 6 | u32::from(letter)) & 0xffff;
                held += if std::mem::replace(&mut first, false) { 6 - skipped } else { 6 };
            }
            held -= 8;
            u8::try_from(window >> held & 0xff).ok()
        });
        let same = self.is(decoded);
        same.then_some(end)
    }
}

/// Ranges in order, joined where they touch.
fn merged(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

fn hash(anchor: u32) -> usize {
    (anchor.wrapping_mul(0x9e37_79b1) >> 16) as usize
}

fn folded(window: u32) -> u32 {
    u32::from_be_bytes(window.to_be_bytes().map(fold))
}

fn fold(byte: u8) -> u8 {
    blank(byte).to_ascii_lowercase()
}

fn blank(byte: u8) -> u8 {
    if byte == b'+' { b' ' } else { byte }
}

/// The value of a hexadecimal digit.
pub(super) fn nibble(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// The value of a letter of base64 (RFC 4648), in either alphabet; a blank is a `+` that a form decoded.
fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' | b' ' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}
