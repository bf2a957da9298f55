//! Detection of bundles that guess secrets.
//!
//! The position of a mask reveals something about a secret to a bundle. It may learn that a server
//! echoes a request, but nothing more. Searched bytes and masked secrets are therefore counted, and
//! a call that exceeds [`limits::MASKED_OCCURRENCES`] or [`limits::MASKED_WITHIN_BYTES`] is stopped.
//!
//! Capabilities cannot update the counters. They mask text with `CallContext::mask_remote_text` and bodies
//! with `Echo`, which update all of them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::redactor::Redactor;
use crate::limits;

/// The counters of one call.
#[derive(Default)]
pub struct Watch {
    /// Bytes of searched responses and of requests that the bundle wrote.
    searched: AtomicUsize,
    /// Number of masked secrets.
    masked: AtomicUsize,
    stopped: AtomicBool,
    /// Finds the secrets that the caller's arguments contain; empty if they contain none.
    argument_secrets: Mutex<Arc<Redactor>>,
    /// Set when one of the secrets in `argument_secrets` was masked.
    echoed: AtomicBool,
}

/// The reason why a call was stopped for guessing a secret.
#[derive(Debug, thiserror::Error)]
pub enum Guessing {
    /// The bundle wrote a secret's value into a request.
    #[error("it sent the value of a secret of the block, which it cannot know")]
    Sent,
    /// The bundle was asked to send the value of a secret.
    #[error("the arguments contain the value of a secret of the block, which is not sent as an argument")]
    Argument,
    /// A secret was masked that the caller's arguments contain, see `Watch::record_argument_secrets`.
    #[error("a response holds the value of a secret of the block that the arguments contain")]
    Echoed,
    /// Too many secrets were masked in responses, or one was masked after more text than a
    /// legitimate echo has.
    #[error("the responses that it read held secrets of the block too often, or after too much other text")]
    Read,
}

impl Watch {
    /// Counts bytes of text that the bundle may have influenced.
    pub(crate) fn searched(&self, bytes: usize) {
        self.searched.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts masked secrets.
    pub(crate) fn found(&self, occurrences: usize) {
        if occurrences == 0 {
            return;
        }
        let masked = self.masked.fetch_add(occurrences, Ordering::Relaxed) + occurrences;
        let too_late = self.searched.load(Ordering::Relaxed) > limits::MASKED_WITHIN_BYTES;
        if masked > limits::MASKED_OCCURRENCES || too_late {
            self.stopped.store(true, Ordering::Relaxed);
        }
    }

    /// Records the secrets that the caller's arguments contain. From here on, the first mask of one of
    /// them stops the call: the mask would confirm that the arguments contain it, and where.
    pub(crate) fn record_argument_secrets(&self, secrets: Redactor) {
        *self.argument_secrets.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(secrets);
    }

    /// Returns the redactor of the secrets that the caller's arguments contain.
    pub(crate) fn argument_secrets(&self) -> Arc<Redactor> {
        self.argument_secrets.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops the call after the mask of a secret that the caller's arguments contain.
    pub(crate) fn echo(&self) {
        self.echoed.store(true, Ordering::Relaxed);
    }

    /// Returns the number of secrets that were masked for the bundle.
    pub fn masked(&self) -> usize {
        self.masked.load(Ordering::Relaxed)
    }

    /// Checks the limits. Called before masked text reaches the bundle.
    ///
    /// # Errors
    /// Returns [`Guessing::Echoed`] if a secret was masked that the caller's arguments contain, and
    /// [`Guessing::Read`] if a limit was exceeded; the call must end.
    pub fn check(&self) -> Result<(), Guessing> {
        if self.echoed.load(Ordering::Relaxed) {
            Err(Guessing::Echoed)
        } else if self.stopped.load(Ordering::Relaxed) {
            Err(Guessing::Read)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_masked_echoes_are_tolerated_and_many_are_not() {
        let honest = Watch::default();
        honest.searched(4_000);
        honest.found(2);
        assert!(honest.check().is_ok());

        let many = Watch::default();
        (0..=limits::MASKED_OCCURRENCES).for_each(|_| many.found(1));
        assert!(many.check().is_err());

        let patient = Watch::default();
        patient.searched(limits::MASKED_WITHIN_BYTES + 1);
        assert!(patient.check().is_ok(), "reading alone is not guessing");
        patient.found(1);
        assert!(patient.check().is_err());

        let arguments = Watch::default();
        arguments.record_argument_secrets(Redactor::default());
        arguments.found(1);
        assert!(arguments.check().is_ok(), "the arguments contain another secret");
        arguments.echo();
        assert!(matches!(arguments.check(), Err(Guessing::Echoed)), "the mask would confirm a word of the arguments");
    }
}
