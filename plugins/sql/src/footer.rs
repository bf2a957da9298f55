//! Detection of encrypted columns in the footer of a Parquet file. The `parquet` crate ignores the
//! field and would report encrypted pages as corrupt.

/// Field `encryption_algorithm` of `FileMetaData` (parquet.thrift).
const ENCRYPTION_ALGORITHM: i64 = 8;
/// Maximum nesting of structs and lists; Parquet's own definition uses fewer.
const DEPTH: usize = 32;

/// Checks whether the footer of a file declares an encryption algorithm.
pub(crate) fn is_encrypted(file: &[u8]) -> bool {
    fields_of(file).is_some_and(|fields| fields.contains(&ENCRYPTION_ALGORITHM))
}

/// Returns the field IDs of the footer, or `None` if it is not a valid Thrift struct.
fn fields_of(file: &[u8]) -> Option<Vec<i64>> {
    let (rest, end) = file.split_last_chunk::<8>()?;
    let length = usize::try_from(u32::from_le_bytes(*end.first_chunk()?)).ok()?;
    let footer = rest.get(rest.len().checked_sub(length)?..)?;
    let mut compact = Compact { left: footer };
    let (mut numbers, mut last) = (Vec::new(), 0);
    while let Some(kind) = compact.field(&mut last)? {
        numbers.push(last);
        compact.skip(kind, false, DEPTH)?;
    }
    Some(numbers)
}

/// Reader of the Thrift compact protocol
/// (<https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>).
struct Compact<'footer> {
    left: &'footer [u8],
}

impl Compact<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, left) = self.left.split_first()?;
        self.left = left;
        Some(*first)
    }

    fn pass(&mut self, length: u64) -> Option<()> {
        self.left = self.left.get(usize::try_from(length).ok()?..)?;
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// Returns the type of the next field and stores its ID in `last`; no type at the end of a
    /// struct.
    fn field(&mut self, last: &mut i64) -> Option<Option<u8>> {
        let header = self.byte()?;
        if header == 0 {
            return Some(None);
        }
        *last = match header >> 4 {
            0 => {
                let zigzag = i64::try_from(self.varint()?).ok()?;
                (zigzag >> 1) ^ -(zigzag & 1)
            }
            more => last.checked_add(more.into())?,
        };
        Some(Some(header & 0x0f))
    }

    /// Skips a value. A boolean occupies a byte only in lists and maps.
    fn skip(&mut self, kind: u8, inside: bool, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            1 | 2 if !inside => Some(()),
            1..=3 => self.pass(1),
            4..=6 => self.varint().map(|_| ()),
            7 => self.pass(8),
            8 => {
                let length = self.varint()?;
                self.pass(length)
            }
            9 | 10 => {
                let header = self.byte()?;
                let length = if header >> 4 == 15 { self.varint()? } else { u64::from(header >> 4) };
                (0..length).try_for_each(|_| self.skip(header & 0x0f, true, depth))
            }
            11 => {
                let length = self.varint()?;
                let kinds = if length == 0 { 0 } else { self.byte()? };
                (0..length).try_for_each(|_| {
                    self.skip(kinds >> 4, true, depth)?;
                    self.skip(kinds & 0x0f, true, depth)
                })
            }
            12 => {
                let mut last = 0;
                while let Some(kind) = self.field(&mut last)? {
                    self.skip(kind, false, depth)?;
                }
                Some(())
            }
            13 => self.pass(16),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(footer: &[u8]) -> Vec<u8> {
        let length = u32::try_from(footer.len()).expect("short").to_le_bytes();
        [b"PAR1", footer, &length, b"PAR1"].concat()
    }

    #[test]
    fn encryption_field_is_found_after_other_fields() {
        // Field 1 is a number, 2 a list of two structs with a boolean and a string, 6 a string, 8 a
        // struct.
        let before = [0x15, 0x04, 0x19, 0x2c, 0x11, 0x18, 1, b'x', 0, 0x12, 0, 0x48, 2, b'h', b'i'];
        let encrypted = [&before[..], &[0x2c, 0x1c, 0, 0, 0], b"signature"].concat();
        assert!(is_encrypted(&file(&encrypted)));
        let clear = [&before[..], &[0]].concat();
        assert!(!is_encrypted(&file(&clear)));
        for end in 0..encrypted.len() {
            let _ = is_encrypted(&encrypted[..end]);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_neither_panic_nor_loop(footer in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = is_encrypted(&file(&footer));
        }
    }
}
