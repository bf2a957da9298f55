//! Multi-pattern search for needles. Time is linear in the length of the text, and memory is
//! proportional to the size of the secrets.
//!
//! The first four bytes of a needle are its anchor. A window of four bytes slides over the text, as
//! do windows of eight hexadecimal digits and of six base64 characters, at each alignment. If the
//! content of a window is an anchor, the needle is compared with the text. Anchors are case-folded,
//! and `+` is equal to a space, as in form encoding.

use std::collections::HashMap;
use std::ops::Range;

use zeroize::Zeroizing;

use super::view::{View, nibble};

/// Maximum number of nested escape levels that are decoded.
pub(super) const LEVELS: usize = 3;
/// Maximum nesting of base64 and hexadecimal encodings, in addition to escapes.
const NESTED: usize = 2;
/// Minimum length of a run of printable characters in decoded base64 or hexadecimal that is
/// searched for further encodings.
const SHORTEST_RUN: usize = 6;
/// Minimum length of a run of base64 or hexadecimal digits that is decoded.
const SHORTEST_LETTERS: usize = 8;
/// Length of an anchor, in bytes.
const ANCHOR: usize = 4;

/// A search pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Needle {
    /// The bytes to match, at least [`ANCHOR`].
    pub(super) bytes: Zeroizing<Vec<u8>>,
    /// True to ignore ASCII case.
    pub(super) any_case: bool,
}

/// Needles, indexed by their anchors.
#[derive(Default)]
pub(super) struct Search {
    needles: Vec<Needle>,
    by_anchor: HashMap<u32, Vec<u32>>,
    /// Bloom filter with one bit per hash of an anchor, which rejects nearly all windows.
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

    /// Returns the approximate memory use, in bytes.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        let needles: usize = self.needles.iter().map(|needle| needle.bytes.capacity() + size_of::<Needle>()).sum();
        needles + self.by_anchor.capacity() * 2 * size_of::<Vec<u32>>() + self.filter.len() * 8
    }

    /// Returns the ranges of all needles in `text`, in any encoding, in ascending order. Ranges
    /// that overlap or touch are merged.
    pub(super) fn find(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        if !self.is_empty() {
            self.search_view(&View::raw(text), 0, 0, &mut found);
        }
        merged(found)
    }

    /// Searches a view and its decoded forms. `level` is the number of escape levels decoded so
    /// far, `nested` the number of base64 and hexadecimal encodings.
    fn search_view(&self, view: &View<'_>, level: usize, nested: usize, found: &mut Vec<Range<usize>>) {
        self.plain(view, found);
        self.digits(view, found);
        self.letters(view, found);
        if nested < NESTED {
            self.runs(view, nested, found);
        }
        if level < LEVELS {
            for next in view.all_decoded() {
                self.search_view(&next, level + 1, nested, found);
            }
        }
    }

    /// Searches the bytes of a view.
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

    /// Searches hexadecimal digits, at both alignments.
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

    /// Searches base64 characters of both alphabets (RFC 4648), also across line breaks, at each
    /// alignment of bytes and characters.
    fn letters(&self, view: &View<'_>, found: &mut Vec<Range<usize>>) {
        let bytes = &view.bytes;
        let (mut window, mut count) = (0_u64, 0_usize);
        let mut positions = [0; 6];
        for (at, byte) in bytes.iter().enumerate() {
            let Some(letter) = sextet(*byte) else {
                if !matches!(byte, b'\r' | b'\n') {
                    count = 0;
                }
                continue;
            };
            window = window << 6 | u64::from(letter);
            positions[count % 6] = at;
            count += 1;
            if count < 6 {
                continue;
            }
            for skipped in [0, 2, 4] {
                let anchor = u32::try_from(window >> (4 - skipped) & 0xffff_ffff).unwrap_or_default();
                for needle in self.anchored(folded(anchor)) {
                    let start = positions[count % 6];
                    if let Some(end) = needle.is_in_letters(bytes, start, skipped) {
                        found.push(view.raw_range(start..end));
                    }
                }
            }
        }
    }

    /// Decodes runs of base64 and hexadecimal and searches the text in them, which may be encoded
    /// again.
    fn runs(&self, view: &View<'_>, nested: usize, found: &mut Vec<Range<usize>>) {
        let letter = |byte: u8| sextet(byte).filter(|_| byte != b' ');
        self.runs_of(view, 6, &letter, nested, found);
        self.runs_of(view, 4, &nibble, nested, found);
    }

    /// Decodes runs of digits of `width` bits each, also across line breaks, at each alignment.
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
                let positions: Vec<usize> =
                    (at..at + length).filter(|position| !is_line_end(bytes[*position])).collect();
                let bits = |position: usize| digit(bytes[position]).unwrap_or_default();
                for phase in 0..phases.min(positions.len()) {
                    self.run(view, &positions[phase..], width, &bits, nested, found);
                }
            }
            at += length.max(1);
        }
    }

    /// Decodes digits of `width` bits each, at the indices `positions`, and searches text in the
    /// result.
    fn run(
        &self,
        view: &View<'_>,
        positions: &[usize],
        width: u32,
        bits: &dyn Fn(usize) -> u8,
        nested: usize,
        found: &mut Vec<Range<usize>>,
    ) {
        let (mut decoded, mut from) = (Vec::new(), Vec::new());
        let (mut window, mut held, mut begins) = (0_u32, 0, 0);
        for position in positions {
            if held == 0 {
                begins = *position;
            }
            window = (window << width | u32::from(bits(*position))) & 0xffff;
            held += width;
            if held < 8 {
                continue;
            }
            held -= 8;
            let byte = u8::try_from(window >> held & 0xff).unwrap_or_default();
            // Zero bytes are dropped, so that ASCII text in UTF-16 becomes ASCII.
            if byte != 0 {
                decoded.push(byte);
                from.push(begins..position + 1);
            }
            // The next byte begins within this digit.
            begins = *position;
        }
        // Decoding at a wrong alignment gives noise, in which runs of printable characters are
        // short.
        let mut at = 0;
        for chunk in decoded.utf8_chunks() {
            for text in chunk.valid().split(|c: char| c.is_control() && !matches!(c, '\t' | '\r' | '\n')) {
                let start = at + (text.as_ptr() as usize - chunk.valid().as_ptr() as usize);
                if text.len() >= SHORTEST_RUN {
                    let part = view.part(text.as_bytes().to_vec(), &from[start..start + text.len()]);
                    self.search_view(&part, 0, nested + 1, found);
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
    /// Returns true if the decoded text begins with this needle.
    fn is(&self, mut text: impl Iterator<Item = u8>) -> bool {
        let same = |a: u8, b: u8| if self.any_case { fold(a) == fold(b) } else { blank(a) == blank(b) };
        self.bytes.iter().all(|own| text.next().is_some_and(|byte| same(byte, *own)))
    }

    /// Compares this needle with base64 characters from `start` on, without the first `skipped`
    /// bits of the first character. Returns the end of the match.
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

/// Sorts ranges and merges those that overlap or touch.
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

/// Returns the value of a base64 character (RFC 4648) of either alphabet. A space counts as `+`,
/// because form decoding replaces `+` with a space.
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
