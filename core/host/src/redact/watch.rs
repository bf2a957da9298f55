//! The watch over masking. A bundle that sees where a text is masked learns something of the secret; it may learn
//! that a server echoes, and no more. Bytes and finds are counted, and a call that goes beyond is stopped.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::limits;

/// The counts of one call.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Bytes of searched answers, and of requests that the bundle wrote.
    searched: AtomicUsize,
    /// Places that were masked.
    masked: AtomicUsize,
    stopped: AtomicBool,
}

/// Why a call was stopped that looked for a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Guessing {
    /// A request holds a secret in text that the bundle wrote.
    #[error("it sent the value of a secret of the block, which it cannot know")]
    Sent,
    /// Answers held secrets again and again, or after more text than an honest echo has.
    #[error("answers that it read held secrets of the block too often, or after too much other text")]
    Read,
}

impl Watch {
    /// Counts text that the bundle may have shaped.
    pub(crate) fn searched(&self, bytes: usize) {
        self.searched.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts places that were masked.
    pub(crate) fn found(&self, places: usize) {
        if places == 0 {
            return;
        }
        let masked = self.masked.fetch_add(places, Ordering::Relaxed) + places;
        if masked > limits::MASKED_PLACES || self.searched.load(Ordering::Relaxed) > limits::MASKED_WITHIN_BYTES {
            self.stopped.store(true, Ordering::Relaxed);
        }
    }

    /// The number of places that were masked for the bundle.
    pub(crate) fn masked(&self) -> usize {
        self.masked.load(Ordering::Relaxed)
    }

    /// Ends the call if it went beyond what is tolerated. Called before anything masked reaches the bundle.
    pub(crate) fn check(&self) -> Result<(), Guessing> {
        if self.stopped.load(Ordering::Relaxed) { Err(Guessing::Read) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_honest_echo_is_tolerated_and_a_search_is_not() {
        let honest = Watch::default();
        honest.searched(4_000);
        honest.found(2);
        assert!(honest.check().is_ok());

        let many = Watch::default();
        (0..=limits::MASKED_PLACES).for_each(|_| many.found(1));
        assert!(many.check().is_err());

        let patient = Watch::default();
        patient.searched(limits::MASKED_WITHIN_BYTES + 1);
        assert!(patient.check().is_ok(), "reading alone is no search");
        patient.found(1);
        assert!(patient.check().is_err());
    }
}
