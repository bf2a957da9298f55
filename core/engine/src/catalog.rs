//! Lists what registries offer, without running any code of a bundle.
//!
//! Every list uses the resolver that an installation uses. All text of a registry is untrusted.

use std::collections::BTreeSet;

use blockyard_model::{BundleName, WIT_VERSION};
use blockyard_registry::{Entry, Registry, RegistryTrust, Release, Requested, Resolved, Source, Unresolved, resolve};
use semver::{Version, VersionReq};
use serde::Serialize;

use crate::{BundleView, Code, Error, ErrorKind};

/// A registry, for display and for programs.
#[derive(Debug, Clone, Serialize)]
pub struct RegistryView {
    /// Name that the registry gives itself.
    pub name: String,
    /// Location of the registry.
    pub location: String,
    /// Key that signs its releases. `None` if it has none.
    pub key: Option<String>,
    /// `true` if the registry, or the user's entry for it, declares that its releases are unsigned.
    pub unsigned: bool,
    /// Number of valid entries.
    pub bundles: usize,
    /// Errors of the invalid entries.
    pub broken: Vec<String>,
}

/// A bundle that registries offer.
#[derive(Debug, Clone, Serialize)]
pub struct CatalogEntry {
    /// Bundle name.
    pub name: String,
    /// Short description.
    pub description: String,
    /// SPDX license expression.
    pub license: Option<String>,
    /// Slugs of its block types.
    pub types: Vec<String>,
    /// The release that an installation uses. `None` if no release can be installed.
    pub release: Option<Offer>,
    /// Installed versions.
    pub installed: Vec<String>,
    /// Reason why no release can be installed.
    pub problem: Option<String>,
}

/// A release that a registry offers.
#[derive(Debug, Clone, Serialize)]
pub struct Offer {
    /// Version number.
    pub version: String,
    /// Name of the registry.
    pub registry: String,
    /// Location of the registry.
    pub location: String,
    /// Key that the registry names for its signature, which an installation verifies. `None` if the
    /// release is unsigned.
    pub signer: Option<String>,
    /// Capabilities that it requests.
    pub capabilities: Vec<String>,
    /// `true` if it is source code, which is built on installation.
    pub source_code: bool,
    /// `true` if its registry has withdrawn it.
    pub yanked: bool,
    /// `true` if it is a pre-release, which must be requested by its version.
    pub prerelease: bool,
    /// Required version of the interface between host and bundle.
    pub wit: String,
    /// `true` if this version of Blockyard provides that interface.
    pub supported: bool,
    /// `true` if this version of the bundle is installed.
    pub installed: bool,
}

/// An installed bundle whose newest version is not the one that the registries offer.
#[derive(Debug, Clone, Serialize)]
pub struct OutdatedBundle {
    /// Bundle name.
    pub name: String,
    /// Newest installed version.
    pub installed: String,
    /// Newer release that an installation uses. `None` if there is none.
    pub newer: Option<Offer>,
    /// `true` if a registry has withdrawn the installed version.
    pub yanked: bool,
    /// Number of blocks that use an installed version other than the newer release.
    pub blocks: u64,
}

/// Result of comparing the installed bundles with registries.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Outdated {
    /// Bundles with a newer release, and bundles whose version is withdrawn.
    pub outdated: Vec<OutdatedBundle>,
    /// Installed bundles that could not be compared, each with the reason.
    pub unknown: Vec<UnknownBundle>,
}

/// An installed bundle of which the registries offer no release that fits.
#[derive(Debug, Clone, Serialize)]
pub struct UnknownBundle {
    /// Bundle name.
    pub name: String,
    /// The reason.
    pub reason: String,
}

impl RegistryView {
    /// Describes a registry.
    #[must_use]
    pub fn of(registry: &Registry) -> Self {
        let (key, unsigned) = match &registry.trust {
            RegistryTrust::Key(key) => (Some(key.to_string()), false),
            RegistryTrust::Unsigned => (None, true),
            RegistryTrust::Undeclared => (None, false),
        };
        Self {
            name: registry.name.clone(),
            location: location(registry),
            key,
            unsigned,
            bundles: registry.entries.len(),
            broken: registry.broken.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Lists the bundles that registries offer, sorted by name. With `word`, lists those whose name,
/// description or types contain it, regardless of case.
#[must_use]
pub fn catalog(registries: &[Registry], installed: &[BundleView], word: Option<&str>) -> Vec<CatalogEntry> {
    let listed = registries.iter().flat_map(|registry| registry.entries.iter().map(|entry| entry.name.clone()));
    let broken = registries.iter().flat_map(|registry| &registry.broken);
    let broken = broken.filter_map(|broken| BundleName::new(broken.name.clone()?).ok());
    let names: BTreeSet<BundleName> = listed.chain(broken).collect();
    let entries = names.iter().map(|name| CatalogEntry::of(name, registries, installed));
    let word = word.unwrap_or_default().to_lowercase();
    entries.filter(|entry| entry.contains(&word)).collect()
}

impl CatalogEntry {
    fn of(name: &BundleName, registries: &[Registry], installed: &[BundleView]) -> Self {
        let resolved = newest(registries, name);
        let entry = match &resolved {
            Ok(resolved) => Some(resolved.entry),
            Err(_) => registries.iter().find_map(|registry| registry.entry_of(name)),
        };
        Self {
            name: name.to_string(),
            description: entry.map(|entry| entry.description.clone()).unwrap_or_default(),
            license: entry.and_then(|entry| entry.license.clone()),
            types: entry.map(|entry| entry.types.clone()).unwrap_or_default(),
            installed: versions_of(installed, name.as_str()).map(|bundle| bundle.version.clone()).collect(),
            problem: resolved.as_ref().err().map(|error| Error::from(error.clone()).to_string()),
            release: resolved
                .ok()
                .map(|resolved| Offer::of(resolved.registry, resolved.entry, resolved.release, installed)),
        }
    }

    /// Checks for a word in lower case.
    fn contains(&self, word: &str) -> bool {
        let texts = [&self.name, &self.description].into_iter().chain(&self.types);
        word.is_empty() || texts.into_iter().any(|text| text.to_lowercase().contains(word))
    }
}

impl Offer {
    fn of(registry: &Registry, entry: &Entry, release: &Release, installed: &[BundleView]) -> Self {
        let version = release.version.to_string();
        Self {
            installed: versions_of(installed, entry.name.as_str()).any(|bundle| bundle.version == version),
            version,
            registry: registry.name.clone(),
            location: location(registry),
            signer: signer(registry, release),
            capabilities: release.capabilities.clone(),
            source_code: matches!(release.source, Source::Path(_)),
            yanked: release.yanked,
            prerelease: !release.version.pre.is_empty(),
            supported: release.wit == WIT_VERSION,
            wit: release.wit.clone(),
        }
    }
}

/// Lists all releases of a bundle: by registry, newest first.
#[must_use]
pub fn releases(registries: &[Registry], installed: &[BundleView], name: &BundleName) -> Vec<Offer> {
    let entries = registries.iter().filter_map(|registry| Some((registry, registry.entry_of(name)?)));
    let offers = entries.flat_map(|(registry, entry)| {
        entry.releases.iter().map(move |release| Offer::of(registry, entry, release, installed))
    });
    offers.collect()
}

/// Returns the catalog entry of a bundle.
///
/// # Errors
/// Returns an error if no registry lists the bundle, or if there is none.
pub(crate) fn entry(
    registries: &[Registry],
    installed: &[BundleView],
    name: &BundleName,
) -> Result<CatalogEntry, Error> {
    if registries.is_empty() {
        let code = Code::NoRegistry { bundle: name.to_string() };
        return Err(Error::new(ErrorKind::NotFound, "no registry is configured").code(code));
    }
    match newest(registries, name) {
        Err(error @ Unresolved::NoBundle { .. }) => Err(error.into()),
        _ => Ok(CatalogEntry::of(name, registries, installed)),
    }
}

/// Compares the installed bundles with the releases that registries offer.
#[must_use]
pub fn outdated(registries: &[Registry], installed: &[BundleView]) -> Outdated {
    let mut found = Outdated::default();
    let names: BTreeSet<&str> = installed.iter().map(|bundle| bundle.name.as_str()).collect();
    for name in names.into_iter().filter_map(|name| BundleName::new(name).ok()) {
        let versions = versions_of(installed, name.as_str()).filter_map(|bundle| bundle.version.parse().ok());
        let Some(own) = versions.max() else { continue };
        let yanked = is_yanked(registries, &name, &own);
        let newer = match newest(registries, &name) {
            Ok(resolved) if resolved.release.version > own => {
                Some(Offer::of(resolved.registry, resolved.entry, resolved.release, installed))
            }
            Ok(_) => None,
            Err(error) => {
                let reason = Error::from(error).to_string();
                found.unknown.push(UnknownBundle { name: name.to_string(), reason });
                None
            }
        };
        if newer.is_some() || yanked {
            let blocks = versions_of(installed, name.as_str()).map(|bundle| bundle.blocks).sum();
            found.outdated.push(OutdatedBundle {
                name: name.to_string(),
                installed: own.to_string(),
                newer,
                yanked,
                blocks,
            });
        }
    }
    found
}

/// Returns the release that an installation without a version requirement uses.
fn newest<'a>(registries: &'a [Registry], name: &BundleName) -> Result<Resolved<'a>, Unresolved> {
    resolve(registries, &Requested { name, requirement: &VersionReq::STAR, locked: None })
}

/// Checks whether the first registry that lists a version of a bundle has withdrawn it.
fn is_yanked(registries: &[Registry], name: &BundleName, version: &Version) -> bool {
    let releases = registries.iter().filter_map(|registry| registry.entry_of(name)).flat_map(|entry| &entry.releases);
    releases.into_iter().find(|release| release.version == *version).is_some_and(|release| release.yanked)
}

fn versions_of<'a>(installed: &'a [BundleView], name: &'a str) -> impl Iterator<Item = &'a BundleView> {
    installed.iter().filter(move |bundle| bundle.name == name)
}

/// Returns the key that a registry names for a release. `None` if the release is unsigned.
fn signer(registry: &Registry, release: &Release) -> Option<String> {
    match registry.trust_in(release) {
        RegistryTrust::Key(key) if release.signature.is_some() => Some(key.to_string()),
        _ => None,
    }
}

/// Returns the location of a registry, as text.
fn location(registry: &Registry) -> String {
    registry.base.to_string()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::timestamp;

    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    const FIRST: &str = r#"
        [[bundle]]
        name = "sql"
        description = "Databases"
        types = ["sql-database"]
        release = [
            { version = "0.1.0", wit = "0.1", source = { url = "a" }, sha256 = "DIGEST", signature = "s", yanked = true },
            { version = "0.2.0", wit = "0.1", source = { url = "b" }, sha256 = "DIGEST", signature = "s" },
            { version = "0.3.0-beta.1", wit = "0.1", source = { path = "c" } },
            { version = "2.0.0", wit = "0.9", source = { path = "d" } },
        ]
        [[bundle]]
        name = "future"
        release = [{ version = "1.0.0", wit = "0.9", source = { path = "a" } }]
        [[bundle]]
        name = "broken"
        release = [{ version = "0.1.0", wit = "0.1", source = { url = "broken.wasm" } }]
    "#;

    const SECOND: &str = r#"
        [[bundle]]
        name = "sql"
        description = "Another bundle"
        release = [{ version = "9.0.0", wit = "0.1", source = { path = "a" } }]
        [[bundle]]
        name = "http"
        types = ["http-endpoint"]
        release = [{ version = "0.1.0", wit = "0.1", source = { path = "a" }, capabilities = ["log"] }]
    "#;

    fn registries() -> Vec<Registry> {
        let digest = "0".repeat(64);
        let read = |name: &str, entries: &str, trust: &str| {
            let text = format!("version = 1\nname = \"{name}\"\n{trust}\n{}", entries.replace("DIGEST", &digest));
            Registry::parse(&text, std::path::PathBuf::from(format!("/{name}"))).expect("a good registry")
        };
        vec![read("first", FIRST, &format!("key = \"{KEY}\"")), read("second", SECOND, "unsigned = true")]
    }

    fn installed(bundles: &[(&str, &str)]) -> Vec<BundleView> {
        let view = |&(name, version): &(&str, &str)| BundleView {
            license: None,
            name: name.to_owned(),
            version: version.to_owned(),
            description: String::new(),
            sha256: String::new(),
            size: 0,
            source: String::new(),
            signer: None,
            types: Vec::new(),
            capabilities: Vec::new(),
            grants: Vec::new(),
            blocks: 2,
            installed_at: timestamp(0),
        };
        bundles.iter().map(view).collect()
    }

    fn check(word: Option<&str>, expected: Expect) {
        let lines = catalog(&registries(), &installed(&[("sql", "0.1.0"), ("other", "1.0.0")]), word);
        let lines = lines.iter().map(|entry| {
            let release = entry.release.as_ref().map(|offer| {
                let signer = if offer.signer.is_some() { "signed" } else { "unsigned" };
                format!("{} from {}, {signer}", offer.version, offer.registry)
            });
            let found = release.or(entry.problem.clone()).unwrap_or_default();
            format!("{}: {found}; installed {:?}\n", entry.name, entry.installed)
        });
        expected.assert_eq(&lines.collect::<String>());
    }

    #[test]
    fn a_bundle_is_listed_with_the_release_that_an_installation_uses() {
        check(
            None,
            expect![[r#"
                broken: registry `first`: entry 3 (`broken`): release 0.1.0: `sha256` is required for a `url` source; installed []
                future: no release of `future` fits `*`
                  1.0.0 in `first`: requires interface version 0.9; this version of Blockyard supports 0.1; installed []
                http: 0.1.0 from second, unsigned; installed []
                sql: 0.2.0 from first, signed; installed ["0.1.0"]
            "#]],
        );
    }

    #[test]
    fn a_word_selects_by_name_description_or_type() {
        for word in ["SQL", "databases", "sql-data"] {
            check(
                Some(word),
                expect![[r#"
                sql: 0.2.0 from first, signed; installed ["0.1.0"]
            "#]],
            );
        }
        check(Some("nothing"), expect![""]);
    }

    #[test]
    fn all_releases_are_listed_with_their_state() {
        let name = BundleName::new("sql").expect("a name");
        let lines = releases(&registries(), &installed(&[("sql", "0.1.0")]), &name);
        let lines = lines.iter().map(|offer| {
            let Offer { version, registry, yanked, prerelease, supported, installed, source_code, .. } = offer;
            format!(
                "{version} {registry}: yanked {yanked}, pre-release {prerelease}, supported {supported}, \
                 installed {installed}, source code {source_code}\n"
            )
        });
        expect![[r#"
            2.0.0 first: yanked false, pre-release false, supported false, installed false, source code true
            0.3.0-beta.1 first: yanked false, pre-release true, supported true, installed false, source code true
            0.2.0 first: yanked false, pre-release false, supported true, installed false, source code false
            0.1.0 first: yanked true, pre-release false, supported true, installed true, source code false
            9.0.0 second: yanked false, pre-release false, supported true, installed false, source code true
        "#]]
        .assert_eq(&lines.collect::<String>());
    }

    #[test]
    fn an_older_or_withdrawn_version_is_outdated() {
        let check = |bundles: &[(&str, &str)]| {
            let found = outdated(&registries(), &installed(bundles));
            let lines = found.outdated.iter().map(|bundle| {
                let newer = bundle.newer.as_ref().map_or("none", |offer| offer.version.as_str());
                format!(
                    "{} {} → {newer}, yanked {}, {} blocks",
                    bundle.name, bundle.installed, bundle.yanked, bundle.blocks
                )
            });
            let unknown = found.unknown.iter().map(|bundle| format!("{} is unknown", bundle.name));
            lines.chain(unknown).collect::<Vec<_>>()
        };
        assert_eq!(check(&[("sql", "0.1.0")]), ["sql 0.1.0 → 0.2.0, yanked true, 2 blocks"]);
        assert_eq!(check(&[("sql", "0.1.0"), ("sql", "0.2.0")]), Vec::<String>::new());
        assert_eq!(check(&[("sql", "0.1.9"), ("sql", "0.0.1")]), ["sql 0.1.9 → 0.2.0, yanked false, 4 blocks"]);
        // The installed version is newer than what can be installed.
        assert_eq!(check(&[("sql", "1.0.0"), ("http", "0.1.0")]), Vec::<String>::new());
        assert_eq!(check(&[("other", "1.0.0"), ("broken", "0.1.0")]), ["broken is unknown", "other is unknown"]);
    }
}
