//! Finds grants that no call has used for some time.
//!
//! The line of a call in the audit trail contains the capabilities that its bundle used, the first
//! time on a day. A grant is reported only if uses were recorded during the complete period, and if
//! it was granted before.

use std::collections::{BTreeMap, BTreeSet};

use blockyard_model::{Capability, Digest};
use blockyard_store::Millis;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::time::timestamp;
use crate::use_record::DAY;
use crate::{Error, Yard};

/// Number of days without a use after which a grant counts as unused.
pub const UNUSED_DAYS: i64 = 30;

/// Grants that were not used.
#[derive(Debug, Clone, Serialize)]
pub struct UnusedGrants {
    /// Begin of the period.
    pub since: Timestamp,
    /// Time since which this yard records uses. If it is later than `since`, no grant is reported.
    pub recorded_since: Timestamp,
    /// The grants, by bundle.
    pub unused: Vec<UnusedGrant>,
}

/// A grant that was not used.
#[derive(Debug, Clone, Serialize)]
pub struct UnusedGrant {
    /// Name of the bundle.
    pub bundle: String,
    /// The capability.
    pub capability: String,
    /// Description of what the capability permits.
    pub explanation: String,
    /// Time at which it was granted.
    pub granted_at: Timestamp,
}

impl Yard {
    /// Returns the grants of installed bundles that no call used in the [`UNUSED_DAYS`] before `now`.
    ///
    /// # Errors
    /// Returns an error if the database cannot be read.
    pub async fn unused_grants(&self, now: Timestamp) -> Result<UnusedGrants, Error> {
        let since = now.as_millisecond() - UNUSED_DAYS * DAY;
        let recorded_since = self.store().uses_since().await?;
        let mut found =
            UnusedGrants { since: timestamp(since), recorded_since: timestamp(recorded_since), unused: Vec::new() };
        if recorded_since > since {
            return Ok(found);
        }
        let used = self.used_capabilities(since).await?;
        let names: BTreeSet<String> =
            self.store().bundle_versions().await?.into_iter().map(|(_, name, _)| name).collect();
        for name in names {
            for (capability, granted_at) in self.store().dated_grants(&name).await? {
                let is_used = used.get(&name).is_some_and(|used| used.contains(&capability));
                if granted_at <= since && !is_used {
                    found.unused.push(UnusedGrant {
                        bundle: name.clone(),
                        capability: capability.to_string(),
                        explanation: capability.explanation(),
                        granted_at: timestamp(granted_at),
                    });
                }
            }
        }
        Ok(found)
    }

    /// Returns the capabilities that calls have used since a time, by the name of the bundle.
    async fn used_capabilities(&self, since: Millis) -> Result<BTreeMap<String, BTreeSet<Capability>>, Error> {
        let mut used: BTreeMap<Digest, BTreeSet<Capability>> = BTreeMap::new();
        let mut last = 0;
        loop {
            let page = self.store().audit_of_uses(since, last).await?;
            let Some((id, _)) = page.last() else { break };
            last = *id;
            for (_, line) in &page {
                let detail: Value = serde_json::from_str(&line.detail).unwrap_or_default();
                let Some(bundle) = detail["bundle"].as_str().and_then(|text| text.parse().ok()) else { continue };
                let capabilities = detail["used"].as_array().into_iter().flatten().filter_map(Value::as_str);
                used.entry(bundle).or_default().extend(capabilities.filter_map(|text| text.parse().ok()));
            }
        }
        // Grants belong to a name, and a call may use an older version.
        let mut by_name: BTreeMap<String, BTreeSet<Capability>> = BTreeMap::new();
        for (digest, capabilities) in used {
            if let Some(bundle) = self.store().bundle(&digest).await? {
                by_name.entry(bundle.name).or_default().extend(capabilities);
            }
        }
        Ok(by_name)
    }
}
