//! Records which granted capabilities a call uses, so that a user can find grants that are not needed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use blockyard_model::Capability;

/// The grants of a call, each with a mark if the call has used it. Clones share the marks.
#[derive(Debug, Clone, Default)]
pub struct Usage(Arc<Marks>);

#[derive(Debug, Default)]
struct Marks {
    grants: Arc<BTreeSet<Capability>>,
    /// One mark for each grant, in the order of the set.
    used: Vec<AtomicBool>,
    /// Number of used grants.
    count: AtomicUsize,
}

impl Usage {
    /// Creates the record of a call with these grants.
    #[must_use]
    pub fn new(grants: Arc<BTreeSet<Capability>>) -> Self {
        let used = grants.iter().map(|_| AtomicBool::new(false)).collect();
        Self(Arc::new(Marks { grants, used, count: AtomicUsize::new(0) }))
    }

    /// Returns the grants.
    #[must_use]
    pub fn grants(&self) -> &Arc<BTreeSet<Capability>> {
        &self.0.grants
    }

    /// Marks a grant as used. Does nothing if the capability is not granted. Functions that are called very often
    /// use this: it compares a few values, and neither allocates nor locks.
    pub fn record(&self, capability: &Capability) {
        let marks = self.0.grants.iter().zip(&self.0.used);
        for (_, used) in marks.filter(|(grant, _)| *grant == capability) {
            if !used.swap(true, Ordering::Relaxed) {
                self.0.count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Returns the number of grants that were used so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.count.load(Ordering::Relaxed)
    }

    /// Returns the grants that were used so far.
    pub fn used(&self) -> impl Iterator<Item = &Capability> {
        let marks = self.0.grants.iter().zip(&self.0.used);
        marks.filter(|(_, used)| used.load(Ordering::Relaxed)).map(|(grant, _)| grant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_granted_capabilities_are_marked() {
        let parse = |text: &str| text.parse::<Capability>().expect("a capability");
        let grants = ["log", "clock", "http https://a.example"].map(parse);
        let usage = Usage::new(Arc::new(grants.into()));
        assert_eq!((usage.count(), usage.used().count()), (0, 0));
        for text in ["clock", "random", "clock", "http https://a.example", "http https://b.example"] {
            usage.clone().record(&parse(text));
        }
        let used: Vec<String> = usage.used().map(ToString::to_string).collect();
        assert_eq!(used, ["http https://a.example", "clock"]);
        assert_eq!(usage.count(), 2);
    }
}
