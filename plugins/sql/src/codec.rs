//! Pure Rust decoders for zstd and Brotli, because the codecs of the file format crates cannot be
//! used in guests.

use std::io::{self, Read};

/// Decompresses zstd frames to at most `most` bytes.
pub(crate) fn unzstd(mut packed: &[u8], most: usize) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    // Frames may be concatenated.
    while !packed.is_empty() {
        let frame = ruzstd::decoding::StreamingDecoder::new(&mut packed);
        let frame = frame.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        read_all(frame, most - all.len(), &mut all)?;
    }
    Ok(all)
}

/// Decompresses a Brotli stream to at most `most` bytes.
pub(crate) fn unbrotli(packed: &[u8], most: usize) -> io::Result<Vec<u8>> {
    const BUFFER_BYTES: usize = 4 << 10;
    let mut all = Vec::new();
    read_all(brotli_decompressor::Decompressor::new(packed, BUFFER_BYTES), most, &mut all)?;
    Ok(all)
}

fn read_all(input: impl Read, most: usize, all: &mut Vec<u8>) -> io::Result<()> {
    let before = all.len();
    input.take(most as u64 + 1).read_to_end(all)?;
    if all.len() - before > most {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("the decompressed data exceeds {most} bytes")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_decompressed_within_limits() {
        // `printf 'owl owl owl' | zstd -c`, as one raw block of a frame.
        let frame = [
            0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x0b, 0x59, 0x00, 0x00, b'o', b'w', b'l', b' ', b'o', b'w', b'l', b' ', b'o',
            b'w', b'l',
        ];
        assert_eq!(unzstd(&frame, 11).expect("a frame"), b"owl owl owl");
        assert_eq!(unzstd(&[frame, frame].concat(), 22).expect("two frames").len(), 22);
        assert!(unzstd(&frame, 10).is_err());
        assert!(unzstd(&frame[..12], 11).is_err());
        assert!(unzstd(b"owl", 11).is_err() && unbrotli(b"\xff\xff\xff", 11).is_err());
    }
}
