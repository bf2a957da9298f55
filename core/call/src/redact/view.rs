//! Views of a text: the raw text, and the text with escapes decoded. Each byte of a view is mapped
//! to the raw bytes that it was decoded from, so that a match in a view can be masked in the raw
//! text.

use std::borrow::Cow;
use std::ops::Range;

/// A text, raw or decoded.
pub(super) struct View<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    /// The range of raw bytes that each byte was decoded from; `None` for the raw text.
    from: Option<Vec<(u32, u32)>>,
}

impl<'a> View<'a> {
    /// Creates a view of the raw text.
    pub(super) fn raw(bytes: &'a [u8]) -> Self {
        Self { bytes: Cow::Borrowed(bytes), from: None }
    }

    /// Creates a view of bytes that were decoded from this view. `from` has the range of this view
    /// that each byte was decoded from.
    pub(super) fn part(&self, bytes: Vec<u8>, from: &[Range<usize>]) -> View<'static> {
        let from = from.iter().map(|range| self.origin(range.clone())).collect();
        View { bytes: Cow::Owned(bytes), from: Some(from) }
    }

    /// Returns the range of raw bytes for a non-empty range of this view.
    pub(super) fn raw_range(&self, range: Range<usize>) -> Range<usize> {
        let (start, end) = self.origin(range);
        start as usize..end as usize
    }

    fn origin(&self, range: Range<usize>) -> (u32, u32) {
        match &self.from {
            None => (small(range.start), small(range.end)),
            Some(from) => (from[range.start].0, from[range.end - 1].1),
        }
    }

    /// Returns this view with one level of escapes decoded; `None` if it has no escapes.
    ///
    /// Decodes percent-encoding, the escapes of JSON and of programming languages, and the
    /// character references of HTML. Zero bytes are dropped, so that ASCII text in UTF-16 becomes
    /// ASCII.
    pub(super) fn decoded(&self) -> Option<View<'static>> {
        self.decoded_as(Escapes::All)
    }

    /// Returns all interpretations of this view with one level of escapes decoded.
    ///
    /// A text with several kinds of escapes is ambiguous: `\\&quot;` is a backslash and a quote if
    /// the JSON text was escaped as HTML, but one quote if both escapes belong to the same level.
    pub(super) fn all_decoded(&self) -> impl Iterator<Item = View<'static>> {
        let has = |byte: u8| self.bytes.contains(&byte);
        let mixed = has(b'\\') && (has(b'&') || has(b'%'));
        let apart = if mixed { &[Escapes::Backslashes, Escapes::Others][..] } else { &[] };
        let decoded = [Escapes::All].iter().chain(apart).filter_map(|escapes| self.decoded_as(*escapes));
        decoded.chain(self.unquoted())
    }

    /// Returns this view with doubled quotes replaced by one, as in CSV (RFC 4180) and in SQL, and with
    /// `'\''`, the quote in a quoted word of a shell; `None` if there are none.
    fn unquoted(&self) -> Option<View<'static>> {
        let bytes = &self.bytes;
        let quote = |at: usize| -> Option<(u8, usize)> {
            match bytes[at..] {
                [b'\'', b'\\', b'\'', b'\'', ..] => Some((b'\'', 4)),
                [first @ (b'"' | b'\''), second, ..] if first == second => Some((first, 2)),
                _ => None,
            }
        };
        (0..bytes.len()).find(|at| quote(*at).is_some())?;
        let mut decoded = Vec::with_capacity(bytes.len());
        let mut from = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while at < bytes.len() {
            let (byte, length) = quote(at).unwrap_or((bytes[at], 1));
            decoded.push(byte);
            from.push(self.origin(at..at + length));
            at += length;
        }
        Some(View { bytes: Cow::Owned(decoded), from: Some(from) })
    }

    fn decoded_as(&self, escapes: Escapes) -> Option<View<'static>> {
        let bytes = &self.bytes;
        let first = bytes.iter().position(|byte| matches!(byte, b'%' | b'\\' | b'&' | 0))?;
        let mut decoded = Vec::with_capacity(bytes.len());
        let mut from: Vec<(u32, u32)> = Vec::with_capacity(bytes.len());
        decoded.extend_from_slice(&bytes[..first]);
        from.extend((0..first).map(|at| self.origin(at..at + 1)));
        let (mut at, mut changed) = (first, false);
        while at < bytes.len() {
            let step = match bytes[at] {
                b'\\' if escapes == Escapes::Others => None,
                b'%' | b'&' | 0 if escapes == Escapes::Backslashes => None,
                b'%' => percent(&bytes[at..]),
                b'\\' => backslash(&bytes[at..]),
                b'&' => reference(&bytes[at..]),
                0 => Some((Escaped::Nothing, 1)),
                _ => None,
            };
            changed |= step.is_some();
            let (escaped, length) = step.unwrap_or((Escaped::Byte(bytes[at]), 1));
            let mut buffer = [0; 4];
            let meant: &[u8] = match escaped {
                Escaped::Nothing => &[],
                Escaped::Byte(byte) => {
                    buffer[0] = byte;
                    &buffer[..1]
                }
                Escaped::Char(character) => character.encode_utf8(&mut buffer).as_bytes(),
            };
            let origin = self.origin(at..at + length);
            decoded.extend_from_slice(meant);
            from.extend(std::iter::repeat_n(origin, meant.len()));
            at += length;
        }
        changed.then_some(View { bytes: Cow::Owned(decoded), from: Some(from) })
    }
}

/// Returns the text of a secret with up to `levels` levels of escapes decoded; `None` if it has no
/// escapes.
pub(super) fn normalized(bytes: &[u8], levels: usize) -> Option<Vec<u8>> {
    let mut last = View::raw(bytes).decoded()?;
    for _ in 1..levels {
        match last.decoded() {
            Some(next) => last = next,
            None => break,
        }
    }
    Some(last.bytes.into_owned())
}

/// Converts a position to 32 bits. The searched buffers are far smaller than 4 GiB.
fn small(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

/// The kinds of escapes to decode in one pass.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    All,
    Backslashes,
    Others,
}

/// The decoded content of an escape.
#[derive(Clone, Copy)]
enum Escaped {
    Nothing,
    Byte(u8),
    Char(char),
}

type Step = Option<(Escaped, usize)>;

/// Decodes `%2f` (RFC 3986) and `%u00e9` (JavaScript's `escape`).
fn percent(text: &[u8]) -> Step {
    if let Some(byte) = hex(text, 1, 2) {
        return Some((Escaped::Byte(u8::try_from(byte).ok()?), 3));
    }
    let unit = (text.get(1) == Some(&b'u')).then(|| hex(text, 2, 4)).flatten()?;
    Some((Escaped::Char(char::from_u32(unit)?), 6))
}

/// Decodes the escapes of JSON (RFC 8259), and further ones of Rust, Python, C and PostgreSQL.
fn backslash(text: &[u8]) -> Step {
    let byte = |byte: u8| Some((Escaped::Byte(byte), 2));
    match *text.get(1)? {
        b'u' if text.get(2) == Some(&b'{') => braced(text),
        b'u' => unit(text),
        b'U' => Some((Escaped::Char(char::from_u32(hex(text, 2, 8)?)?), 10)),
        b'x' => Some((Escaped::Byte(u8::try_from(hex(text, 2, 2)?).ok()?), 4)),
        digit @ b'0'..=b'3' => match text.get(2..4) {
            Some([b, c]) if matches!(b, b'0'..=b'7') && matches!(c, b'0'..=b'7') => {
                Some((Escaped::Byte((digit - b'0') << 6 | (b - b'0') << 3 | (c - b'0')), 4))
            }
            _ if digit == b'0' => Some((Escaped::Nothing, 2)),
            _ => None,
        },
        b'n' => byte(b'\n'),
        b'r' => byte(b'\r'),
        b't' => byte(b'\t'),
        b'b' => byte(8),
        b'f' => byte(12),
        quoted @ (b'"' | b'\'' | b'`' | b'/' | b'\\' | b'&') => byte(quoted),
        _ => None,
    }
}

/// Decodes `\u{e9}`.
fn braced(text: &[u8]) -> Step {
    let digits = text.get(3..)?.iter().take(7).position(|byte| *byte == b'}').filter(|digits| *digits > 0)?;
    Some((Escaped::Char(char::from_u32(hex(text, 3, digits)?)?), digits + 4))
}

/// Decodes `\u00e9`, also a surrogate pair.
fn unit(text: &[u8]) -> Step {
    let high = hex(text, 2, 4)?;
    if let Some(character) = char::from_u32(high) {
        return Some((Escaped::Char(character), 6));
    }
    let low = (text.get(6..8) == Some(b"\\u")).then(|| hex(text, 8, 4)).flatten();
    match low {
        Some(low) if (0xd800..0xdc00).contains(&high) && (0xdc00..0xe000).contains(&low) => {
            let scalar = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
            Some((Escaped::Char(char::from_u32(scalar)?), 12))
        }
        _ => Some((Escaped::Nothing, 6)),
    }
}

/// Decodes HTML character references: `&amp;`, `&#39;`, `&#x27;`.
fn reference(text: &[u8]) -> Step {
    let end = text.iter().take(12).position(|byte| *byte == b';')?;
    let character = match &text[1..end] {
        b"amp" => '&',
        b"lt" => '<',
        b"gt" => '>',
        b"quot" => '"',
        b"apos" => '\'',
        b"sol" => '/',
        b"plus" => '+',
        b"equals" => '=',
        b"num" => '#',
        b"percnt" => '%',
        b"bsol" => '\\',
        [b'#', b'x' | b'X', digits @ ..] if !digits.is_empty() => char::from_u32(hex(digits, 0, digits.len())?)?,
        [b'#', digits @ ..] => char::from_u32(std::str::from_utf8(digits).ok()?.parse().ok()?)?,
        _ => return None,
    };
    Some((Escaped::Char(character), end + 1))
}

/// Returns the value of hexadecimal digits at a position.
fn hex(text: &[u8], at: usize, digits: usize) -> Option<u32> {
    let digits = text.get(at..at + digits).filter(|digits| (1..=8).contains(&digits.len()))?;
    digits.iter().try_fold(0_u32, |value, digit| Some(value << 4 | u32::from(nibble(*digit)?)))
}

/// Returns the value of a hexadecimal digit.
pub(super) fn nibble(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::normalized;

    #[test]
    fn escapes_are_decoded_level_by_level() {
        let once =
            |text: &str| normalized(text.as_bytes(), 1).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert_eq!(once("plain"), None);
        assert_eq!(once("100%"), None);
        assert_eq!(once("p%40ss%2f%C3%a9").as_deref(), Some("p@ss/é"));
        assert_eq!(once(r#"a\/b\"c\u00e9\ud83e\udd93\x41\u{e9}"#).as_deref(), Some("a/b\"cé🦓Aé"));
        assert_eq!(once("a&amp;b&#39;c&#x2F;d").as_deref(), Some("a&b'c/d"));
        assert_eq!(once("h\0i\0").as_deref(), Some("hi"));
        assert_eq!(once("%2541").as_deref(), Some("%41"));
        let all = normalized(b"%2541", 3).expect("escapes");
        assert_eq!(all, b"A");
    }
}
