//! A body as a reader of the standard library, for parsers that want one.

use std::io::{self, Read};

use blockyard_sdk::prelude::*;

/// Bytes that are asked for at once.
const CHUNK_BYTES: u32 = 256 << 10;

/// Reads a body to its end.
pub(crate) struct Reader {
    body: Body,
    chunk: Vec<u8>,
    at: usize,
}

impl Reader {
    pub(crate) fn new(body: Body) -> Self {
        Self { body, chunk: Vec::new(), at: 0 }
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() {
            match self.body.read(CHUNK_BYTES).map_err(|problem| io::Error::other(Problem::from(problem)))? {
                Some(chunk) => (self.chunk, self.at) = (chunk, 0),
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.chunk.len() - self.at);
        buffer[..length].copy_from_slice(&self.chunk[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

/// A problem of a parser: what the body itself said, where it was the body that broke off.
pub(crate) fn problem(error: &(dyn std::error::Error + 'static), what: &str) -> Problem {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(problem) = inner.and_then(|inner| inner.downcast_ref::<Problem>()) {
            return problem.clone();
        }
        cause = error.source();
    }
    Problem::invalid(format!("{what}: {error}"))
}
