//! Sources of bundles: a file or crate on this machine, or a registry.
//!
//! The yard stores the source of each installed bundle as text, so that an upgrade from a different
//! source is detected.

use std::fmt;
use std::path::Path;

use url::Url;

/// The source of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleSource {
    origin: Origin,
    /// Key that verified the signature of the file.
    signer: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    /// Path of a component file.
    File(String),
    /// Folder of a crate that is built locally.
    Crate(String),
    /// A registry.
    Registry {
        /// URL of the registry's file or folder. The registry's name is chosen by its owner and
        /// does not identify it. `None` in yards of earlier versions, which stored the name only.
        location: Option<String>,
        /// Registry name, bundle and version, for display.
        entry: String,
    },
}

impl BundleSource {
    /// Returns the source for a component file.
    #[must_use]
    pub fn file(path: &Path) -> Self {
        Self { origin: Origin::File(path.display().to_string()), signer: None }
    }

    /// Returns the source for a crate, given its folder.
    #[must_use]
    pub fn krate(folder: &Path) -> Self {
        Self { origin: Origin::Crate(folder.display().to_string()), signer: None }
    }

    /// Returns the source for a registry: its location, the installed entry (for display), and the
    /// key that verified the signature.
    #[must_use]
    pub fn registry(location: &Url, entry: &str, signer: Option<&str>) -> Self {
        let origin = Origin::Registry { location: Some(location.to_string()), entry: entry.to_owned() };
        Self { origin, signer: signer.map(str::to_owned) }
    }

    /// Returns the key that verified the signature. `None` if the bundle is unsigned.
    #[must_use]
    pub fn signer(&self) -> Option<&str> {
        self.signer.as_deref()
    }

    /// Returns the location of the registry and the key that verified the signature. `None` if the
    /// bundle is unsigned, or not from a registry.
    pub(crate) fn registry_key(&self) -> Option<(&str, &str)> {
        match (&self.origin, &self.signer) {
            (Origin::Registry { location: Some(location), .. }, Some(signer)) => Some((location, signer)),
            _ => None,
        }
    }

    /// Returns the location of the registry, and its entry for display. `None` if the bundle is not
    /// from a registry, or was installed by a version that did not store the location.
    pub(crate) fn registry_entry(&self) -> Option<(&str, &str)> {
        match &self.origin {
            Origin::Registry { location: Some(location), entry } => Some((location, entry)),
            _ => None,
        }
    }

    /// Checks whether two sources count as the same: both are on this machine, both are the same
    /// registry, or both are signed with the same key.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        if self.signer.is_some() && self.signer == other.signer {
            return true;
        }
        match (&self.origin, &other.origin) {
            (Origin::File(_) | Origin::Crate(_), Origin::File(_) | Origin::Crate(_)) => true,
            (Origin::Registry { location: Some(own), .. }, Origin::Registry { location: Some(other), .. }) => {
                own == other
            }
            _ => false,
        }
    }

    /// Parses the text that the yard stores.
    pub(crate) fn parse(text: &str) -> Self {
        let local = |origin| Self { origin, signer: None };
        if let Some(path) = text.strip_prefix("file ") {
            return local(Origin::File(path.to_owned()));
        }
        if let Some(folder) = text.strip_prefix("crate ") {
            return local(Origin::Crate(folder.to_owned()));
        }
        let rest = text.strip_prefix("registry ").unwrap_or(text);
        // A URL contains no spaces. Earlier versions stored a registry name here, which does not
        // contain `://`.
        let Some((location, rest)) = rest.split_once(' ').filter(|(location, _)| location.contains("://")) else {
            return local(Origin::Registry { location: None, entry: rest.to_owned() });
        };
        let (signer, entry) = match rest.strip_prefix("signed ").and_then(|rest| rest.split_once(' ')) {
            Some((signer, entry)) => (Some(signer.to_owned()), entry),
            None => (None, rest),
        };
        let entry = entry.strip_prefix('(').and_then(|entry| entry.strip_suffix(')')).unwrap_or(entry);
        Self { origin: Origin::Registry { location: Some(location.to_owned()), entry: entry.to_owned() }, signer }
    }
}

/// Formats the text that the yard stores.
impl fmt::Display for BundleSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::File(path) => write!(f, "file {path}"),
            Origin::Crate(folder) => write!(f, "crate {folder}"),
            Origin::Registry { location: None, entry } => write!(f, "registry {entry}"),
            Origin::Registry { location: Some(location), entry } => {
                let signed = self.signer.iter().map(|signer| format!("signed {signer} ")).collect::<String>();
                write!(f, "registry {location} {signed}({entry})")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(location: &str, signer: Option<&str>) -> BundleSource {
        BundleSource::registry(&Url::parse(location).expect("a URL"), "acme: sql 0.1.0", signer)
    }

    #[test]
    fn sources_round_trip() {
        for source in [
            BundleSource::file(Path::new("/a b/signed x (y).wasm")),
            BundleSource::krate(Path::new("plugins/sql")),
            registry("file:///srv/my%20registry/", None),
            registry("https://acme.example/r", Some("RWQf6LRC")),
            BundleSource::registry(&Url::parse("file:///r/").expect("a URL"), "signed RWQ (x", None),
            BundleSource::parse("registry blockyard (sql 0.1.0)"),
        ] {
            assert_eq!(BundleSource::parse(&source.to_string()), source, "{source}");
        }
    }

    #[test]
    fn a_registry_is_identified_by_its_location_or_key() {
        let (file, built) = (BundleSource::file(Path::new("/a")), BundleSource::krate(Path::new("/b")));
        assert!(file.is_same(&built));
        assert!(!file.is_same(&registry("file:///a/", None)));
        assert!(registry("file:///a/", None).is_same(&registry("file:///a/", None)));
        assert!(!registry("file:///a/", None).is_same(&registry("file:///b/", None)));
        assert!(registry("file:///a/", Some("K")).is_same(&registry("https://b.example/", Some("K"))));
        assert!(!registry("file:///a/", Some("K")).is_same(&registry("https://b.example/", Some("L"))));
        let legacy = BundleSource::parse("registry blockyard (sql 0.1.0)");
        assert!(!legacy.is_same(&legacy), "a name alone identifies no registry");
    }
}
