//! Caches the grants of bundles for calls.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use blockyard_model::Capability;

/// Time for which a call may use cached grants. Changes by this process take effect immediately, changes
/// by other processes within this time. Reading grants on every call would double the cost of a
/// small call.
const MAX_AGE: Duration = Duration::from_secs(1);

/// Cache of the grants of each bundle.
#[derive(Default)]
pub(crate) struct GrantCache(Mutex<Granted>);

#[derive(Default)]
struct Granted {
    /// Grants by bundle name, with the time at which they were read.
    read: HashMap<String, (Instant, Arc<BTreeSet<Capability>>)>,
    /// Number of changes by this process. A result that was requested before the last change is not
    /// cached.
    changes: u64,
}

impl GrantCache {
    /// Returns the cached grants if they are fresh, otherwise the current number of changes.
    pub(crate) fn cached(&self, bundle: &str) -> Result<Arc<BTreeSet<Capability>>, u64> {
        let known = self.0.lock().expect(LOCK_NOT_POISONED);
        match known.read.get(bundle) {
            Some((read, granted)) if read.elapsed() < MAX_AGE => Ok(granted.clone()),
            _ => Err(known.changes),
        }
    }

    pub(crate) fn insert(&self, bundle: &str, changes: u64, read: Instant, granted: Arc<BTreeSet<Capability>>) {
        let mut known = self.0.lock().expect(LOCK_NOT_POISONED);
        if known.changes == changes {
            known.read.insert(bundle.to_owned(), (read, granted));
        }
    }

    /// Discards all cached grants, because this process changed a grant.
    pub(crate) fn clear(&self) {
        let mut known = self.0.lock().expect(LOCK_NOT_POISONED);
        known.read.clear();
        known.changes += 1;
    }
}

const LOCK_NOT_POISONED: &str = "nothing panics while it holds this lock";
