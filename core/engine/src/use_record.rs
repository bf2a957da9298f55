//! The capabilities whose use the audit trail has recorded, so that each is recorded once per day and
//! bundle by a process: a line of its own for each use would slow down calls.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use blockyard_host::Usage;
use blockyard_model::{Capability, Digest};
use blockyard_store::Millis;

/// Length of a day in milliseconds.
pub(crate) const DAY: Millis = 24 * 60 * 60 * 1_000;

/// Capabilities that were recorded on one day.
#[derive(Default)]
pub(crate) struct UseRecord(Mutex<Recorded>);

#[derive(Default)]
struct Recorded {
    /// Number of the day since 1970-01-01 UTC.
    day: i64,
    /// Capabilities by the digest of their bundle.
    used: HashMap<Digest, HashSet<Capability>>,
}

impl UseRecord {
    /// Returns the capabilities that a call used and that were not recorded before on the day of
    /// `now`, as text. They count as recorded from then on.
    pub(crate) fn unrecorded(&self, bundle: Digest, usage: &Usage, now: Millis) -> Vec<String> {
        if usage.count() == 0 {
            return Vec::new();
        }
        let mut recorded = self.0.lock().expect("nothing panics while it holds this lock");
        let day = now.div_euclid(DAY);
        if recorded.day != day {
            *recorded = Recorded { day, used: HashMap::new() };
        }
        let known = recorded.used.entry(bundle).or_default();
        let new: Vec<&Capability> = usage.used().filter(|capability| !known.contains(*capability)).collect();
        let texts = new.iter().map(ToString::to_string).collect();
        known.extend(new.into_iter().cloned());
        texts
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_use_is_recorded_once_per_day_and_bundle() {
        let record = UseRecord::default();
        let parse = |text: &str| text.parse::<Capability>().expect("a capability");
        let usage = Usage::new(Arc::new([parse("log"), parse("clock")].into()));
        let (zoo, aviary) = (Digest::of(b"zoo"), Digest::of(b"aviary"));
        let none: [&str; 0] = [];
        assert_eq!(record.unrecorded(zoo, &usage, 10), none);
        usage.record(&parse("log"));
        assert_eq!(record.unrecorded(zoo, &usage, 10), ["log"]);
        assert_eq!(record.unrecorded(zoo, &usage, DAY - 1), none);
        assert_eq!(record.unrecorded(aviary, &usage, DAY - 1), ["log"]);
        usage.record(&parse("clock"));
        assert_eq!(record.unrecorded(zoo, &usage, DAY - 1), ["clock"]);
        assert_eq!(record.unrecorded(zoo, &usage, DAY), ["log", "clock"]);
        assert_eq!(record.unrecorded(zoo, &usage, DAY), none);
    }
}
