//! `blockyard.lock`: the exact releases of a project's bundles.
//!
//! Everyone who can change the project can change this file, so it is untrusted input. It selects
//! among the releases of registries that the user has configured. It adds no registry, and grants
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use blockyard_model::{BundleName, Capability, Digest, WIT_VERSION, visible};
use semver::{Version, VersionReq};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::{Spanned, Value};

use crate::address::RegistryAddress;
use crate::project::line;
use crate::relative_path::RelativePath;
use crate::signature::PublicKey;

/// Supported version of the file format.
const FORMAT: i64 = 1;
/// First line of the file.
const HEADER: &str =
    "# The exact bundles of this project. Blockyard writes this file; commit it, and do not edit it.\n";
/// Value of `signer` for an unsigned release.
const UNSIGNED: &str = "unsigned";
/// Value of `path` for a registry in the project's folder itself.
const HERE: &str = ".";
/// Starts of the lines that version control writes between conflicting changes.
const CONFLICT_MARKERS: [&str; 4] = ["<<<<<<<", "|||||||", "=======", ">>>>>>>"];
/// Maximum length of a registry's name in the file, in characters. The name is for display.
const NAME_CHARACTERS: usize = 100;
/// Maximum length of a reason, in characters. It may quote the file.
const REASON_CHARACTERS: usize = 300;

/// The exact releases of a project's bundles.
#[derive(Debug, Clone, Default)]
pub struct LockFile {
    bundles: BTreeMap<BundleName, LockedBundle>,
    /// Line numbers of the entries in the parsed text, starting at 1.
    lines: BTreeMap<BundleName, usize>,
}

/// The exact release of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedBundle {
    /// Version of the bundle.
    pub version: Version,
    /// The registry of the release.
    pub source: LockedSource,
    /// Digest of the component file, which is the same on all platforms.
    pub sha256: Digest,
    /// Key that signed the release. `None` if it is unsigned.
    pub signer: Option<PublicKey>,
    /// Version of the interface between host and bundle, e.g. `0.1`.
    pub wit: String,
    /// Capabilities that the bundle requests. They are compared with those of the component file;
    /// the lock file grants none.
    pub capabilities: BTreeSet<Capability>,
}

/// The registry of a locked release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedSource {
    /// Name of the registry, escaped for display.
    registry: String,
    location: Option<LockedLocation>,
}

/// The location of a registry, in a form that is valid on every machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockedLocation {
    /// Folder inside the project's folder. `None` is the project's folder itself.
    Folder(Option<RelativePath>),
    /// URL of a remote registry.
    Url(String),
}

/// An error in a lock file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// The file contains an unresolved merge conflict.
    #[error("line {line}: contains the marker of a merge conflict")]
    MergeConflict {
        /// Line number, starting at 1.
        line: usize,
    },
    /// The file has a format of another version of Blockyard.
    #[error("line {line}: format version {found} is not supported; the supported version is {FORMAT}")]
    Version {
        /// Line number, starting at 1.
        line: usize,
        /// The format version of the file.
        found: i64,
    },
    /// The file is not a valid lock file.
    #[error("line {line}: {reason}")]
    Invalid {
        /// Line number, starting at 1.
        line: usize,
        /// The cause, escaped for display.
        reason: String,
    },
}

/// A difference between a lock file and the bundles that the project requires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StaleEntry {
    /// The project requires the bundle, but it is not locked.
    Missing(BundleName),
    /// The locked version is outside of the requirement.
    Unsatisfied {
        /// Name of the bundle.
        name: BundleName,
        /// The locked version.
        version: Version,
        /// The requirement of the project.
        requirement: VersionReq,
    },
    /// The locked release was built for another version of the interface between host and bundle.
    OtherInterface {
        /// Name of the bundle.
        name: BundleName,
        /// The locked version.
        version: Version,
        /// The interface version that it was built for.
        wit: String,
    },
    /// The bundle is locked, but the project does not require it.
    NotRequired(BundleName),
}

/// A difference between two records of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Name of the field in the lock file.
    pub field: &'static str,
    /// The locked value.
    pub locked: String,
    /// The found value.
    pub found: String,
}

#[derive(Deserialize)]
struct VersionFormat {
    version: Option<Spanned<i64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LockFormat {
    version: i64,
    #[serde(default)]
    bundle: Vec<BundleFormat>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BundleFormat {
    name: Spanned<String>,
    version: Spanned<String>,
    source: SourceFormat,
    sha256: Spanned<String>,
    signer: Spanned<String>,
    wit: Spanned<String>,
    capabilities: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceFormat {
    registry: Spanned<String>,
    path: Option<Spanned<String>>,
    url: Option<Spanned<String>>,
}

impl LockFile {
    /// Name of the lock file, which is beside the project file.
    pub const NAME: &'static str = "blockyard.lock";

    /// Parses a lock file.
    ///
    /// # Errors
    /// Returns a [`LockError`] for the first error in the file.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        let is_marker = |line: &str| CONFLICT_MARKERS.iter().any(|marker| line.starts_with(marker));
        if let Some(index) = text.lines().position(is_marker) {
            return Err(LockError::MergeConflict { line: index + 1 });
        }
        match read::<VersionFormat>(text)?.version {
            None => return Err(invalid(1, "has no format version")),
            Some(version) if *version.get_ref() != FORMAT => {
                return Err(LockError::Version {
                    line: line_at(text, version.span().start),
                    found: version.into_inner(),
                });
            }
            Some(_) => {}
        }
        let format: LockFormat = read(text)?;
        debug_assert_eq!(format.version, FORMAT);
        let mut lock = Self::default();
        for bundle in format.bundle {
            let at = line_at(text, bundle.name.span().start);
            let name = value(text, "name", &bundle.name, |name| BundleName::new(name))?;
            let locked = LockedBundle::read(text, &bundle)?;
            if lock.bundles.insert(name.clone(), locked).is_some() {
                return Err(invalid(at, &format!("`{name}` is locked twice")));
            }
            lock.lines.insert(name, at);
        }
        Ok(lock)
    }

    /// Returns the locked bundles.
    #[must_use]
    pub fn bundles(&self) -> &BTreeMap<BundleName, LockedBundle> {
        &self.bundles
    }

    /// Returns the line of a bundle in the parsed text. `None` if the bundle is not locked, or was
    /// added later.
    #[must_use]
    pub fn line_of(&self, name: &BundleName) -> Option<usize> {
        self.lines.get(name).copied()
    }

    /// Locks a release in place of the locked release of the same bundle, if any.
    pub fn insert(&mut self, name: BundleName, bundle: LockedBundle) {
        self.lines.remove(&name);
        self.bundles.insert(name, bundle);
    }

    /// Removes the bundles that a project does not require.
    pub fn retain(&mut self, required: &BTreeMap<BundleName, VersionReq>) {
        self.bundles.retain(|name, _| required.contains_key(name));
        self.lines.retain(|name, _| required.contains_key(name));
    }

    /// Returns the locked release of a bundle if it satisfies a requirement and was built for the
    /// interface version of this program.
    #[must_use]
    pub fn fitting(&self, name: &BundleName, requirement: &VersionReq) -> Option<&LockedBundle> {
        self.bundles.get(name).filter(|locked| requirement.matches(&locked.version) && locked.wit == WIT_VERSION)
    }

    /// Compares the lock file with the bundles that a project requires.
    #[must_use]
    pub fn outdated(&self, required: &BTreeMap<BundleName, VersionReq>) -> Vec<StaleEntry> {
        let mut outdated = Vec::new();
        for (name, requirement) in required {
            let name = name.clone();
            match self.bundles.get(&name) {
                None => outdated.push(StaleEntry::Missing(name)),
                Some(LockedBundle { version, .. }) if !requirement.matches(version) => {
                    let (version, requirement) = (version.clone(), requirement.clone());
                    outdated.push(StaleEntry::Unsatisfied { name, version, requirement });
                }
                Some(LockedBundle { version, wit, .. }) if wit != WIT_VERSION => {
                    outdated.push(StaleEntry::OtherInterface { name, version: version.clone(), wit: wit.clone() });
                }
                Some(_) => {}
            }
        }
        let unrequired = self.bundles.keys().filter(|name| !required.contains_key(*name));
        outdated.extend(unrequired.cloned().map(StaleEntry::NotRequired));
        outdated
    }
}

/// Lock files with the same bundles are equal, regardless of their lines.
impl PartialEq for LockFile {
    fn eq(&self, other: &Self) -> bool {
        self.bundles == other.bundles
    }
}

impl Eq for LockFile {}

/// Formats the canonical text of the file: the bundles in the order of their names, and one line for
/// each capability, so that changes to different bundles can be merged.
impl fmt::Display for LockFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| Value::from(text).to_string();
        writeln!(f, "{HEADER}version = {FORMAT}")?;
        for (name, locked) in &self.bundles {
            let LockedBundle { version, source, sha256, signer, wit, capabilities } = locked;
            let location = match &source.location {
                None => String::new(),
                Some(LockedLocation::Folder(None)) => format!(", path = {}", quoted(HERE)),
                Some(LockedLocation::Folder(Some(path))) => format!(", path = {}", quoted(&path.to_string())),
                Some(LockedLocation::Url(url)) => format!(", url = {}", quoted(url)),
            };
            let signer = signer.as_ref().map_or(UNSIGNED, PublicKey::as_str);
            writeln!(f, "\n[[bundle]]\nname = {}", quoted(name.as_str()))?;
            writeln!(f, "version = {}", quoted(&version.to_string()))?;
            writeln!(f, "source = {{ registry = {}{location} }}", quoted(&source.registry))?;
            writeln!(f, "sha256 = {}\nsigner = {}", quoted(&sha256.to_string()), quoted(signer))?;
            write!(f, "wit = {}\ncapabilities = [", quoted(wit))?;
            let texts = sorted(capabilities);
            for text in &texts {
                write!(f, "\n    {},", quoted(text))?;
            }
            f.write_str(if texts.is_empty() { "]\n" } else { "\n]\n" })?;
        }
        Ok(())
    }
}

impl LockedBundle {
    fn read(text: &str, bundle: &BundleFormat) -> Result<Self, LockError> {
        let signer = |text: &str| match text {
            UNSIGNED => Ok(None),
            key => key.parse().map(Some).map_err(|_| "is neither a minisign public key nor `unsigned`"),
        };
        let wit = |text: &str| match !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        {
            true => Ok(text.to_owned()),
            false => Err("is not an interface version such as `0.1`"),
        };
        let capabilities = bundle.capabilities.iter().map(|one| value(text, "capabilities", one, str::parse));
        Ok(Self {
            version: value(text, "version", &bundle.version, Version::parse)?,
            source: LockedSource::read(text, &bundle.source)?,
            sha256: value(text, "sha256", &bundle.sha256, str::parse::<Digest>)?,
            signer: value(text, "signer", &bundle.signer, signer)?,
            wit: value(text, "wit", &bundle.wit, wit)?,
            capabilities: capabilities.collect::<Result<_, _>>()?,
        })
    }

    /// Lists the differences between this release and a found one, except for their sources.
    #[must_use]
    pub fn differences(&self, found: &Self) -> Vec<Difference> {
        let signer = |bundle: &Self| bundle.signer.as_ref().map_or(UNSIGNED, PublicKey::as_str).to_owned();
        let capabilities = |bundle: &Self| {
            let texts: Vec<String> = sorted(&bundle.capabilities).iter().map(|one| format!("`{one}`")).collect();
            if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
        };
        let fields = [
            ("version", self.version.to_string(), found.version.to_string()),
            ("sha256", self.sha256.to_string(), found.sha256.to_string()),
            ("signer", signer(self), signer(found)),
            ("wit", self.wit.clone(), found.wit.clone()),
            ("capabilities", capabilities(self), capabilities(found)),
        ];
        let different = fields.into_iter().filter(|(_, locked, found)| locked != found);
        different.map(|(field, locked, found)| Difference { field, locked, found }).collect()
    }
}

impl LockedSource {
    /// Creates a source from the name of a registry and its location. A registry elsewhere on this
    /// machine has no location that is valid on other machines; it is identified by its name, and
    /// its releases by their digests.
    #[must_use]
    pub fn new(registry: &str, location: Option<LockedLocation>) -> Self {
        let name: String = registry.chars().take(NAME_CHARACTERS).collect();
        Self { registry: visible::line(&name), location }
    }

    fn read(text: &str, source: &SourceFormat) -> Result<Self, LockError> {
        let folder = |text: &str| match text {
            HERE => Ok(LockedLocation::Folder(None)),
            path => path.parse().map(|path| LockedLocation::Folder(Some(path))).map_err(|error| error.to_string()),
        };
        let url = |text: &str| {
            LockedLocation::url(text).ok_or("is not the `https://…` or `oci://…` address of a registry without a user")
        };
        let location = match (&source.path, &source.url) {
            (None, None) => None,
            (Some(path), None) => Some(value(text, "source.path", path, folder)?),
            (None, Some(address)) => Some(value(text, "source.url", address, url)?),
            (Some(_), Some(address)) => {
                let at = line_at(text, address.span().start);
                return Err(invalid(at, "`source` has both a `path` and a `url`"));
            }
        };
        let name = |name: &str| Ok::<_, String>(name.to_owned());
        Ok(Self { registry: value(text, "source.registry", &source.registry, name)?, location })
    }

    /// Returns the name of the registry, for display.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Checks whether two sources are the same registry. Locations are compared; the name, which
    /// the owner of a registry chooses, is compared if both have none.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.location, &other.location) {
            (None, None) => self.registry == other.registry,
            (own, other) => own == other,
        }
    }
}

/// Formats the source for display.
impl fmt::Display for LockedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.registry)?;
        match &self.location {
            None => Ok(()),
            Some(LockedLocation::Folder(None)) => f.write_str(" in the project's folder"),
            Some(LockedLocation::Folder(Some(path))) => write!(f, " in `{path}`"),
            Some(LockedLocation::Url(url)) => write!(f, " at `{url}`"),
        }
    }
}

impl LockedLocation {
    /// Returns the location of a remote registry. `None` if the text is not the URL of one, or
    /// contains credentials, which do not belong into a file that is committed.
    #[must_use]
    pub fn url(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let is_plain = !authority.contains('@') && !text.contains(char::is_whitespace) && visible::line(text) == text;
        match RegistryAddress::parse(text) {
            Ok(RegistryAddress::Remote(_)) if is_plain => Some(Self::Url(text.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for StaleEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(f, "`{name}` is not locked"),
            Self::Unsatisfied { name, version, requirement } => {
                write!(f, "`{name}` is locked at {version}, which does not fit `{requirement}`")
            }
            Self::OtherInterface { name, version, wit } => write!(
                f,
                "`{name}` is locked at {version}, which requires interface version {wit}; this version of Blockyard supports {WIT_VERSION}"
            ),
            Self::NotRequired(name) => write!(f, "`{name}` is locked, but the project does not require it"),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, locked, found } = self;
        write!(f, "`{field}` is locked as {locked}, found {found}")
    }
}

/// Returns the texts of capabilities in the order of their bytes, which does not depend on the
/// version of Blockyard.
fn sorted(capabilities: &BTreeSet<Capability>) -> BTreeSet<String> {
    capabilities.iter().map(ToString::to_string).collect()
}

/// Deserializes a text.
fn read<T: DeserializeOwned>(text: &str) -> Result<T, LockError> {
    toml::from_str(text).map_err(|error| invalid(line(text, &error), error.message()))
}

/// Parses one value. An error names its line and its key.
fn value<T, E: fmt::Display>(
    text: &str,
    key: &str,
    value: &Spanned<String>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, LockError> {
    let at = line_at(text, value.span().start);
    if visible::line(value.get_ref()) != *value.get_ref() {
        return Err(invalid(at, &format!("`{key}` contains control or invisible characters")));
    }
    parse(value.get_ref()).map_err(|error| invalid(at, &format!("`{key}`: {error}")))
}

fn invalid(line: usize, reason: &str) -> LockError {
    let shown: String = reason.chars().take(REASON_CHARACTERS).collect();
    LockError::Invalid { line, reason: visible::line(shown.trim()) }
}

/// Returns the line number of a byte offset, starting at 1.
fn line_at(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests;
