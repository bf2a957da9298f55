//! Reviews a bundle before it is installed: lists everything that the user agrees to, with the
//! agreement that each line requires in scripts.

use std::collections::BTreeSet;
use std::sync::Arc;

use blockyard_model::widening::{Change, differences};
use blockyard_model::{BlockType, Capability, Effect, Manifest};

use crate::permissions::{self, Permission};
use crate::source::BundleSource;
use crate::{Code, Error, ErrorKind, Need, OpenChange};

/// A review of a staged bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    name: String,
    version: String,
    /// Lines to show to the user.
    pub lines: Vec<ReviewLine>,
    /// The permissions of a first installation, summarized. Empty if the bundle replaces another one, because
    /// the lines then contain the changes only.
    pub permissions: Vec<Permission>,
    /// The block types of a first installation, summarized.
    pub types: Vec<String>,
    /// `true` if a bundle of this name is installed.
    pub replaces: bool,
    /// Capabilities that are granted when the user agrees.
    grants: BTreeSet<Capability>,
    /// Capabilities that the bundle requests, granted or not.
    requested: BTreeSet<Capability>,
    /// `true` if existing blocks are moved to the version.
    upgrades: bool,
}

/// A line of a review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewLine {
    /// Fact or change, as text.
    pub text: String,
    /// Agreement that the line requires in addition to [`Given::yes`]. `None` if the line permits
    /// no more than before.
    pub needs: Option<Need>,
    /// `true` if [`Review::permissions`] and [`Review::types`] summarize the line.
    pub is_detail: bool,
}

/// Agreement of the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agreement {
    /// Agreement to all lines of the review, after it was shown to the user.
    Everything,
    /// Agreement in advance, for reviews that are not shown.
    Given(Given),
}

/// Agreement in advance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// Agrees to a first installation, or to a replacement without wider permissions.
    pub yes: bool,
    /// Capabilities to grant. A capability may be narrower than the one that the bundle requests.
    pub grants: Vec<Capability>,
    /// Agrees to a different source, wider effects and additional safe requests.
    pub replace: bool,
}

/// The parts of an installed bundle version that a review compares.
pub(crate) struct InstalledVersion {
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) source: BundleSource,
}

impl Review {
    /// Reviews a bundle against the installed versions of the same name (newest last) and the
    /// yard's grants. `replaces` is `true` if the name is installed, even if no installed manifest
    /// can be read.
    pub(crate) fn new(
        manifest: &Manifest,
        source: &BundleSource,
        installed: &[InstalledVersion],
        replaces: bool,
        granted: &BTreeSet<Capability>,
    ) -> Self {
        let mut review = Self {
            name: manifest.name.to_string(),
            version: manifest.version.to_string(),
            lines: Vec::new(),
            permissions: Vec::new(),
            types: Vec::new(),
            replaces,
            grants: BTreeSet::new(),
            requested: manifest.capabilities.clone(),
            upgrades: false,
        };
        if replaces {
            review.compare(manifest, source, installed, granted);
        } else {
            review.describe(manifest, source);
        }
        review
    }

    /// Reviews a version that is installed, so that it gets no additional permissions.
    pub(crate) fn of_installed(manifest: &Manifest) -> Self {
        Self {
            name: manifest.name.to_string(),
            version: manifest.version.to_string(),
            lines: Vec::new(),
            permissions: Vec::new(),
            types: Vec::new(),
            replaces: true,
            grants: BTreeSet::new(),
            requested: manifest.capabilities.clone(),
            upgrades: false,
        }
    }

    /// Adds what an upgrade of the existing blocks permits: `wider` describes additional uses of
    /// their secrets.
    pub(crate) fn of_upgrade(mut self, wider: impl IntoIterator<Item = String>) -> Self {
        self.upgrades = true;
        for text in wider {
            self.line(text, Some(Need::Replace));
        }
        self
    }

    /// Describes a first installation completely.
    fn describe(&mut self, manifest: &Manifest, source: &BundleSource) {
        self.fact(format!("source: {source}"));
        self.fact(format!("signer: {}", signer(source)));
        for capability in &manifest.capabilities {
            self.detail(format!("capability `{capability}`: {}", capability.explanation()));
        }
        for block_type in &manifest.types {
            self.detail(format!("block type `{}`: {}", block_type.slug, effects(block_type)));
            for operation in &block_type.operations {
                for safe in &operation.safe {
                    let (operation, slug) = (&operation.name, &block_type.slug);
                    self.detail(format!(
                        "operation `{operation}` of {slug} is read-only, but sends `{safe}`, which the bundle declares safe"
                    ));
                }
            }
        }
        self.grants = manifest.capabilities.clone();
        self.permissions = permissions::permissions(&manifest.capabilities);
        self.types = permissions::types(manifest);
    }

    /// Describes the changes to the installed versions of the same name.
    fn compare(
        &mut self,
        manifest: &Manifest,
        source: &BundleSource,
        installed: &[InstalledVersion],
        granted: &BTreeSet<Capability>,
    ) {
        let newest = installed.last();
        let before = newest.map_or_else(|| "an unreadable version".to_owned(), |old| old.manifest.version.to_string());
        let older = newest.is_some_and(|old| manifest.version < old.manifest.version);
        let note = if older { ", which is older; new blocks keep using the newest installed version" } else { "" };
        self.fact(format!("version: {before} → {}{note}", manifest.version));
        let from = newest.map_or_else(|| "unknown".to_owned(), |old| old.source.to_string());
        let same = installed.iter().any(|old| old.source.is_same(source));
        self.line(format!("source: {from} → {source}"), (!same).then_some(Need::Replace));
        let old_signer = newest.map_or("unknown", |old| signer(&old.source));
        // A missing signature or a different key requires the user's agreement.
        let signed_as_before = match newest.and_then(|old| old.source.signer()) {
            None => true,
            before => source.signer() == before,
        };
        self.line(format!("signer: {old_signer} → {}", signer(source)), (!signed_as_before).then_some(Need::Replace));
        let manifests: Vec<&Manifest> = installed.iter().map(|old| &*old.manifest).collect();
        for difference in differences(manifest, &manifests, granted) {
            let text = difference.change.to_string();
            let needs = match (&difference.change, difference.wider) {
                (Change::CapabilityAdded(capability), _) => {
                    self.grants.insert(capability.clone());
                    Some(Need::Grant(capability.clone()))
                }
                (Change::CapabilityNarrowed(capability), _) => {
                    self.grants.insert(capability.clone());
                    None
                }
                (_, true) => Some(Need::Replace),
                (_, false) => None,
            };
            self.line(text, needs);
        }
    }

    /// Compares a first installation with the uninstalled versions of the same name that the yard
    /// still has: blocks with secrets may be restored. Another source, or a missing signature, requires
    /// the same agreement as for an installed bundle.
    pub(crate) fn compare_uninstalled(&mut self, source: &BundleSource, uninstalled: &[BundleSource]) {
        let Some(last) = uninstalled.last() else { return };
        let signed_as_before = last.signer().is_none_or(|signer| source.signer() == Some(signer));
        if !signed_as_before || !uninstalled.iter().any(|old| old.is_same(source)) {
            let text = format!("source of the uninstalled version: {last} → {source}");
            self.line(text, Some(Need::Replace));
        }
    }

    fn fact(&mut self, text: String) {
        self.line(text, None);
    }

    fn detail(&mut self, text: String) {
        self.lines.push(ReviewLine { text, needs: None, is_detail: true });
    }

    fn line(&mut self, text: String, needs: Option<Need>) {
        self.lines.push(ReviewLine { text, needs, is_detail: false });
    }

    /// Returns `true` if the bundle gets wider permissions than the installed versions of its name,
    /// or comes from a different source.
    #[must_use]
    pub fn is_wider(&self) -> bool {
        self.lines.iter().any(|line| line.needs.is_some())
    }

    /// Checks whether the bundle requests a capability or a wider one.
    #[must_use]
    pub fn requests(&self, capability: &Capability) -> bool {
        self.requested.iter().any(|requested| requested.covers(capability))
    }

    /// Checks that an agreement covers the review, as [`Yard::install`](crate::Yard::install) does.
    ///
    /// # Errors
    /// Returns an error that lists what the agreement does not cover.
    pub fn require(&self, agreement: &Agreement) -> Result<(), Error> {
        self.agreed_grants(agreement).map(drop)
    }

    /// Returns the capabilities to grant under an agreement.
    ///
    /// # Errors
    /// Returns an error if the agreement does not cover the review. The error lists each line that
    /// is not covered, with its flag.
    pub(crate) fn agreed_grants(&self, agreement: &Agreement) -> Result<BTreeSet<Capability>, Error> {
        let Agreement::Given(given) = agreement else { return Ok(self.grants.clone()) };
        let open: Vec<&ReviewLine> = self.lines.iter().filter(|line| !given.covers(line)).collect();
        if !open.is_empty() || !given.yes {
            return Err(self.not_agreed(&open, given));
        }
        // A narrower capability in the agreement replaces the requested one.
        let mut grants = self.grants.clone();
        for named in given.grants.iter().filter(|named| self.requests(named)) {
            grants.retain(|requested| !requested.covers(named) || given.grants.contains(requested));
            grants.insert(named.clone());
        }
        Ok(grants)
    }

    fn not_agreed(&self, open: &[&ReviewLine], given: &Given) -> Error {
        let Self { name, version, .. } = self;
        let outcome = if self.upgrades {
            format!("bundle `{name}` was not upgraded to {version}")
        } else {
            format!("bundle `{name}` {version} was not installed")
        };
        let message = match (self.replaces, open.is_empty()) {
            (true, false) => {
                format!("{outcome}: it gets wider permissions than the installed version, and no one agreed to it")
            }
            _ => format!("{outcome}: no one agreed to it"),
        };
        let open = open.iter().map(|line| OpenChange { change: line.text.clone(), need: line.needs.clone() }).collect();
        Error::new(ErrorKind::Usage, message).code(Code::ConsentNeeded {
            bundle: name.clone(),
            version: version.clone(),
            agreement: !given.yes,
            open,
        })
    }
}

impl Given {
    fn covers(&self, line: &ReviewLine) -> bool {
        match &line.needs {
            None => true,
            Some(Need::Replace) => self.replace,
            Some(Need::Grant(requested)) => self.grants.iter().any(|named| requested.covers(named)),
        }
    }
}

fn signer(source: &BundleSource) -> &str {
    source.signer().unwrap_or("unsigned")
}

/// Lists the operations of a type by effect.
fn effects(block_type: &BlockType) -> String {
    let all = [Effect::Read, Effect::Write, Effect::Destructive].map(|effect| {
        let of_it = block_type.operations.iter().filter(|operation| operation.effect == effect);
        let names: Vec<String> = of_it.map(|operation| format!("`{}`", operation.name)).collect();
        (!names.is_empty()).then(|| format!("{effect} {}", names.join(", ")))
    });
    let all: Vec<String> = all.into_iter().flatten().collect();
    if all.is_empty() { "no operations".to_owned() } else { all.join("; ") }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    fn manifest(version: &str, capabilities: &[&str], effect: &str) -> Manifest {
        let text = json!({
            "manifest": 1, "name": "zoo", "version": version, "wit": "0.1", "capabilities": capabilities,
            "types": [{
                "slug": "cage", "version": 1, "schema": {"type": "object", "additionalProperties": false},
                "operations": [{"name": "look", "effect": effect, "arguments": {"type": "object"}, "result": {}}],
            }],
        });
        Manifest::parse(&text.to_string()).expect("a good manifest")
    }

    fn local() -> BundleSource {
        BundleSource::file(Path::new("/zoo.wasm"))
    }

    fn installed(manifest: Manifest) -> Vec<InstalledVersion> {
        vec![InstalledVersion { manifest: Arc::new(manifest), source: local() }]
    }

    fn grants(texts: &[&str]) -> BTreeSet<Capability> {
        texts.iter().map(|text| text.parse().expect(text)).collect()
    }

    fn given(yes: bool, named: &[&str], replace: bool) -> Agreement {
        Agreement::Given(Given { yes, grants: grants(named).into_iter().collect(), replace })
    }

    #[test]
    fn yes_is_sufficient_without_wider_permissions() {
        let old = installed(manifest("0.1.0", &["log"], "read"));
        let review = Review::new(&manifest("0.2.0", &["log"], "read"), &local(), &old, true, &grants(&["log"]));
        assert!(!review.is_wider());
        assert_eq!(review.agreed_grants(&given(true, &[], false)).expect("agreed"), BTreeSet::new());
        let refused = review.agreed_grants(&given(false, &[], false)).expect_err("no one agreed");
        assert_eq!(refused.kind(), ErrorKind::Usage);
        let Some(Code::ConsentNeeded { agreement, open, .. }) = refused.as_code() else { panic!("{refused:?}") };
        assert!(*agreement && open.is_empty());
    }

    #[test]
    fn each_wider_change_names_its_consent() {
        let old = installed(manifest("0.1.0", &["log"], "write"));
        let new = manifest("0.2.0", &["log", "clock"], "read");
        let review = Review::new(&new, &local(), &old, true, &grants(&["log"]));
        let refused = review.agreed_grants(&given(true, &[], false)).expect_err("it is wider");
        let Some(Code::ConsentNeeded { agreement: false, open, .. }) = refused.as_code() else { panic!("{refused:?}") };
        let open: Vec<_> = open.iter().map(|change| (change.change.as_str(), change.need.as_ref())).collect();
        let clock = Need::Grant("clock".parse().expect("a capability"));
        assert!(open.contains(&("new capability `clock`: read the time", Some(&clock))), "{open:?}");
        let effect = "operation `look` of `cage` changes its effect from write to read";
        assert!(open.contains(&(effect, Some(&Need::Replace))), "{open:?}");
        assert!(review.agreed_grants(&given(true, &["clock"], false)).is_err());
        assert!(review.agreed_grants(&given(true, &[], true)).is_err());
        assert!(review.agreed_grants(&given(false, &["clock"], true)).is_err(), "the general agreement is missing");
        assert_eq!(review.agreed_grants(&given(true, &["clock"], true)).expect("agreed"), grants(&["clock"]));
        assert_eq!(review.agreed_grants(&Agreement::Everything).expect("agreed"), grants(&["clock"]));
    }

    #[test]
    fn another_source_requires_consent() {
        let old = installed(manifest("0.1.0", &[], "read"));
        let url = url::Url::parse("https://acme.example/").expect("a URL");
        let source = BundleSource::registry(&url, "blockyard: zoo 0.2.0", None);
        let review = Review::new(&manifest("0.2.0", &[], "read"), &source, &old, true, &BTreeSet::new());
        assert!(review.agreed_grants(&given(true, &[], false)).is_err());
        assert!(review.agreed_grants(&given(true, &[], true)).is_ok());
    }

    #[test]
    fn a_missing_signature_requires_consent() {
        let url = url::Url::parse("https://acme.example/").expect("a URL");
        let signed = |signer| BundleSource::registry(&url, "acme: zoo", signer);
        let old =
            vec![InstalledVersion { manifest: Arc::new(manifest("0.1.0", &[], "read")), source: signed(Some("KEY")) }];
        let wider = |signer| {
            Review::new(&manifest("0.2.0", &[], "read"), &signed(signer), &old, true, &BTreeSet::new()).is_wider()
        };
        assert!(!wider(Some("KEY")) && wider(None) && wider(Some("OTHER")));
    }

    #[test]
    fn a_new_version_does_not_restore_revoked_capabilities() {
        let old = installed(manifest("0.1.0", &["log", "clock"], "read"));
        let review =
            Review::new(&manifest("0.2.0", &["log", "clock"], "read"), &local(), &old, true, &grants(&["log"]));
        assert_eq!(review.agreed_grants(&given(true, &[], false)).expect("agreed"), BTreeSet::new());
        assert_eq!(review.agreed_grants(&Agreement::Everything).expect("agreed"), BTreeSet::new());
        assert_eq!(review.agreed_grants(&given(true, &["clock"], false)).expect("agreed"), grants(&["clock"]));
    }

    #[test]
    fn a_first_installation_lists_all_capabilities_and_accepts_fewer() {
        let new = manifest("0.1.0", &["log", "http {config.url}"], "read");
        let review = Review::new(&new, &local(), &[], false, &BTreeSet::new());
        let text: Vec<&str> = review.lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(text[..2], ["source: file /zoo.wasm", "signer: unsigned"]);
        assert!(text.contains(&"block type `cage`: read `look`"), "{text:?}");
        assert!(review.agreed_grants(&given(false, &[], true)).is_err());
        assert_eq!(
            review.agreed_grants(&given(true, &[], false)).expect("agreed"),
            grants(&["log", "http {config.url}"])
        );
        let less = review.agreed_grants(&given(true, &["http https://a.example"], false)).expect("agreed");
        assert_eq!(less, grants(&["log", "http https://a.example"]));
    }
}
