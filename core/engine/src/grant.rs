//! What a bundle may use in this yard.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use blockyard_model::suggestion::did_you_mean;
use blockyard_model::{BundleName, Capability};
use serde::Serialize;
use serde_json::json;

use crate::audit::line;
use crate::{Error, ErrorKind, Yard};

/// For how long calls go by what was granted. What this process grants and revokes holds at once; what
/// another one does, after this time. Reading it for each call would double what a small call costs.
const FRESH: Duration = Duration::from_secs(1);

/// What bundles were granted, as it was read a moment ago.
#[derive(Default)]
pub(crate) struct GrantCache(Mutex<Granted>);

#[derive(Default)]
struct Granted {
    /// When it was read, and what.
    read: HashMap<String, (Instant, Arc<BTreeSet<Capability>>)>,
    /// How often this process changed something: what was asked before does not count.
    changes: u64,
}

impl GrantCache {
    /// What is known and fresh; else the number of changes so far.
    fn fresh(&self, bundle: &str) -> Result<Arc<BTreeSet<Capability>>, u64> {
        let known = self.0.lock().expect(UNPOISONED);
        match known.read.get(bundle) {
            Some((read, granted)) if read.elapsed() < FRESH => Ok(granted.clone()),
            _ => Err(known.changes),
        }
    }

    fn learn(&self, bundle: &str, changes: u64, read: Instant, granted: Arc<BTreeSet<Capability>>) {
        let mut known = self.0.lock().expect(UNPOISONED);
        if known.changes == changes {
            known.read.insert(bundle.to_owned(), (read, granted));
        }
    }

    /// Something changed.
    pub(crate) fn forget(&self) {
        let mut known = self.0.lock().expect(UNPOISONED);
        known.read.clear();
        known.changes += 1;
    }
}

const UNPOISONED: &str = "nothing panics while it holds this lock";

/// A capability that a bundle asks for, and whether it has it.
#[derive(Debug, Clone, Serialize)]
pub struct GrantView {
    /// The bundle.
    pub bundle: String,
    /// The capability.
    pub capability: String,
    /// What it lets the bundle do.
    pub explanation: String,
    /// Whether it is granted.
    pub granted: bool,
}

impl Yard {
    /// What installed bundles ask for, and what they have.
    ///
    /// # Errors
    /// No such bundle is installed.
    pub async fn grants(&self, bundle: Option<&BundleName>) -> Result<Vec<GrantView>, Error> {
        let mut views = Vec::new();
        let installed = self.newest_bundles().await?;
        if let Some(name) = bundle
            && !installed.iter().any(|(_, other, _)| other == name.as_str())
        {
            let known = installed.iter().map(|(_, other, _)| other.as_str());
            return Err(not_installed(name).maybe_hint(did_you_mean(name.as_str(), known)));
        }
        for (_, name, manifest) in
            installed.iter().filter(|(_, name, _)| bundle.is_none_or(|wanted| wanted.as_str() == name))
        {
            let granted = self.store().grants(name).await?;
            let asked = manifest["capabilities"].as_array().into_iter().flatten();
            let asked: BTreeSet<Capability> = asked.filter_map(|text| text.as_str()?.parse().ok()).collect();
            // Less than what is asked for may be granted in its place: one origin where a field stands.
            let narrower =
                granted.iter().filter(|grant| !asked.contains(*grant) && asked.iter().any(|asked| asked.covers(grant)));
            for capability in asked.iter().chain(narrower) {
                views.push(GrantView {
                    bundle: name.clone(),
                    explanation: capability.explanation(),
                    granted: granted.contains(capability),
                    capability: capability.to_string(),
                });
            }
        }
        Ok(views)
    }

    /// Grants a bundle what it asks for, or less of it: one origin where it asks for those that its
    /// blocks name. Says whether that changed anything.
    ///
    /// # Errors
    /// It is not installed, or does not ask for it.
    pub async fn grant(&self, bundle: &BundleName, capability: &Capability) -> Result<bool, Error> {
        let asked = self.grants(Some(bundle)).await?;
        let text = capability.to_string();
        let covers = |view: &GrantView| view.capability.parse().is_ok_and(|asked: Capability| asked.covers(capability));
        if !asked.iter().any(covers) {
            let known = asked.iter().map(|view| view.capability.as_str());
            return Err(Error::new(ErrorKind::Usage, format!("bundle `{bundle}` does not ask for `{text}`"))
                .maybe_hint(did_you_mean(&text, known)));
        }
        let audit = line(self.actor(), "grant", bundle, &json!({ "capability": text }));
        let changed = self.store().grant(bundle.as_str(), capability, audit).await;
        self.grant_cache().forget();
        Ok(changed?)
    }

    /// Takes a capability from a bundle. Says whether that changed anything.
    ///
    /// # Errors
    /// It is not installed.
    pub async fn revoke(&self, bundle: &BundleName, capability: &Capability) -> Result<bool, Error> {
        self.grants(Some(bundle)).await?;
        let audit = line(self.actor(), "revoke", bundle, &json!({ "capability": capability.to_string() }));
        let changed = self.store().revoke(bundle.as_str(), capability, audit).await;
        self.grant_cache().forget();
        Ok(changed?)
    }

    /// What a bundle is granted, for a call.
    pub(crate) async fn granted(&self, bundle: &BundleName) -> Result<Arc<BTreeSet<Capability>>, Error> {
        let changes = match self.grant_cache().fresh(bundle.as_str()) {
            Ok(granted) => return Ok(granted),
            Err(changes) => changes,
        };
        let asked = Instant::now();
        let granted = Arc::new(self.store().grants(bundle.as_str()).await?);
        self.grant_cache().learn(bundle.as_str(), changes, asked, granted.clone());
        Ok(granted)
    }
}

fn not_installed(bundle: &BundleName) -> Error {
    Error::new(ErrorKind::NotFound, format!("bundle `{bundle}` is not installed"))
}
