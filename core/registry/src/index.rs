//! `registry.toml`: the index of a registry.

use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use blockyard_model::{BundleName, Digest};
use semver::Version;
use serde::Deserialize;
use url::Url;

use crate::relative_path::RelativePath;
use crate::remote_error::RemoteError;
use crate::signature::PublicKey;
use crate::used_credentials::UsedCredentials;

/// Supported version of the file format.
const FORMAT: i64 = 1;

/// Permitted keys at the top of the file.
const KEYS: [&str; 5] = ["version", "name", "key", "unsigned", "bundle"];

/// A parsed registry.
#[derive(Debug)]
pub struct Registry {
    /// Name of the registry.
    pub name: String,
    /// Location, which identifies the registry.
    pub base: Base,
    /// Who vouches for the releases.
    pub trust: RegistryTrust,
    /// The valid entries, in the order of the file.
    pub entries: Vec<Entry>,
    /// Errors of the invalid entries. They do not affect the valid ones.
    pub broken: Vec<EntryError>,
    /// Downloads component files. `None` if only files in the registry's folder can be read.
    pub downloads: Option<Arc<dyn Download>>,
    /// The error of reading a registry on a server, which then has no entries. Bundles for which it
    /// is asked first are not looked up in later registries.
    pub unavailable: Option<RemoteError>,
    /// The credentials with which a registry on a server was read. `None` if it was not asked.
    pub credentials: Option<UsedCredentials>,
}

/// Location of a registry, against which relative sources are resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// A folder of this machine.
    Folder(PathBuf),
    /// The URL of a registry on a server.
    Server(Url),
}

/// Downloads component files of a registry.
pub trait Download: fmt::Debug + Send + Sync {
    /// Downloads a file, or reads it from the cache. `url` is the `source.url` of a release. The
    /// bytes are not verified unless they come from the cache.
    fn download<'a>(&'a self, url: &'a str, digest: Digest) -> Downloading<'a>;
}

/// A running download.
pub type Downloading<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, RemoteError>> + Send + 'a>>;

/// Who vouches for the releases of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryTrust {
    /// The holder of this key, who signs each release.
    Key(PublicKey),
    /// No one: the registry, or the user's entry for it, says `unsigned = true`. Digests are
    /// compared, but a user who can change the registry can change them, too.
    Unsigned,
    /// The registry names no key, and no one has declared that it is unsigned.
    Undeclared,
}

/// A bundle in a registry.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Name of the bundle.
    pub name: BundleName,
    /// One-line description.
    pub description: String,
    /// SPDX license expression.
    pub license: Option<String>,
    /// Slugs of the bundle's block types.
    pub types: Vec<String>,
    /// The releases, newest version first.
    pub releases: Vec<Release>,
}

/// A released version of a bundle.
#[derive(Debug, Clone)]
pub struct Release {
    /// Version of the bundle.
    pub version: Version,
    /// Version of the WIT package that it was built for, e.g. `0.1`.
    pub wit: String,
    /// Location of the component or of its source code.
    pub source: Source,
    /// Expected digest of the component. Required for [`Source::Url`]; a [`Source::Path`] is built
    /// on install and needs none.
    pub sha256: Option<Digest>,
    /// Content of the minisign signature file of the component.
    pub signature: Option<String>,
    /// Key of this release, in a registry that has no common key (an OCI registry).
    pub key: Option<PublicKey>,
    /// The capabilities that it requests.
    pub capabilities: Vec<String>,
    /// True if the release is withdrawn. It is then installed only if a lock file names it.
    pub yanked: bool,
}

/// Location of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Folder of a crate, which is built on install.
    Path(PathBuf),
    /// Component file: a URL, or a path relative to the registry.
    Url(String),
}

/// The error of an invalid entry.
#[derive(Debug, Clone)]
pub struct EntryError {
    /// Position of the `[[bundle]]` in the file, starting at 1. `None` in a registry without a file.
    pub number: Option<usize>,
    /// Name of the bundle, if the entry has one.
    pub name: Option<String>,
    /// The cause.
    pub reason: String,
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.number, &self.name) {
            (Some(number), Some(name)) => write!(f, "entry {number} (`{name}`): {}", self.reason),
            (Some(number), None) => write!(f, "entry {number}: {}", self.reason),
            (None, Some(name)) => write!(f, "`{name}`: {}", self.reason),
            (None, None) => f.write_str(&self.reason),
        }
    }
}

impl std::error::Error for EntryError {}

/// An error of reading a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The file cannot be read.
    #[error("registry `{}` cannot be read", path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is not a valid registry.
    #[error("registry `{}`: {reason}", path.display())]
    Format {
        /// Path of the file.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryFormat {
    name: String,
    #[serde(default)]
    description: String,
    license: Option<String>,
    #[serde(default)]
    types: Vec<String>,
    #[serde(default)]
    release: Vec<ReleaseFormat>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleaseFormat {
    version: String,
    wit: String,
    source: SourceFormat,
    sha256: Option<String>,
    signature: Option<String>,
    #[serde(default)]
    capabilities: Vec<String>,
    #[serde(default)]
    yanked: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceFormat {
    path: Option<String>,
    url: Option<String>,
}

impl Registry {
    /// Name of the registry file.
    pub const FILE_NAME: &'static str = "registry.toml";

    /// Reads a registry from its file or from the folder that contains it.
    ///
    /// # Errors
    /// Returns [`RegistryError::Read`] or [`RegistryError::Format`]. Invalid entries are not an
    /// error; they are listed in [`broken`](Self::broken).
    pub fn read(path: &Path) -> Result<Self, RegistryError> {
        let file = if path.is_dir() { path.join(Self::FILE_NAME) } else { path.to_owned() };
        let text =
            std::fs::read_to_string(&file).map_err(|source| RegistryError::Read { path: file.clone(), source })?;
        // Sources are shown to the user before they are built or read, so the folder is made
        // absolute and its symbolic links are resolved.
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = folder.canonicalize().map_err(|source| RegistryError::Read { path: file.clone(), source })?;
        Self::parse(&text, Base::Folder(folder)).map_err(|reason| RegistryError::Format { path: file, reason })
    }

    /// Parses a registry. Relative sources are resolved against `base`.
    ///
    /// # Errors
    /// Returns the reason why the text is not a registry. Invalid entries are not an error; they
    /// are listed in [`broken`](Self::broken).
    pub fn parse(text: &str, base: impl Into<Base>) -> Result<Self, String> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
        if let Some(unknown) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(format!("unknown field `{unknown}`"));
        }
        match table.get("version").and_then(toml::Value::as_integer) {
            Some(FORMAT) => {}
            Some(other) => {
                return Err(format!("format version {other} is not supported; the supported version is {FORMAT}"));
            }
            None => return Err(format!("it has no format version; add `version = {FORMAT}`")),
        }
        let mut registry = Self {
            name: table.get("name").and_then(toml::Value::as_str).unwrap_or("unnamed").to_owned(),
            base: base.into(),
            trust: trust(&table)?,
            entries: Vec::new(),
            broken: Vec::new(),
            downloads: None,
            unavailable: None,
            credentials: None,
        };
        let bundles = table.get("bundle").and_then(toml::Value::as_array).cloned().unwrap_or_default();
        for (index, bundle) in bundles.into_iter().enumerate() {
            let name = bundle.get("name").and_then(toml::Value::as_str).map(str::to_owned);
            match registry.parse_entry(bundle) {
                Ok(entry) => registry.entries.push(entry),
                Err(reason) => registry.broken.push(EntryError { number: Some(index + 1), name, reason }),
            }
        }
        Ok(registry)
    }

    fn parse_entry(&self, bundle: toml::Value) -> Result<Entry, String> {
        let format: EntryFormat = bundle.try_into().map_err(|error| error.to_string().trim().to_owned())?;
        let name = BundleName::new(format.name).map_err(|error| error.to_string())?;
        if self.entries.iter().any(|other| other.name == name) {
            return Err("the name is already used by another entry".to_owned());
        }
        let mut releases =
            format.release.into_iter().map(|release| self.release(release)).collect::<Result<Vec<_>, _>>()?;
        releases.sort_by(|a, b| b.version.cmp(&a.version));
        Ok(Entry { name, description: format.description, license: format.license, types: format.types, releases })
    }

    fn release(&self, format: ReleaseFormat) -> Result<Release, String> {
        let at = |what: &str| format!("release {}: {what}", format.version);
        let version = Version::parse(&format.version).map_err(|error| at(&error.to_string()))?;
        let source = match (format.source.path, format.source.url) {
            (Some(path), None) => {
                let Base::Folder(folder) = &self.base else {
                    return Err(at("`source.path` is a folder, which a registry on a server does not offer"));
                };
                let inside = path.parse::<RelativePath>().map_err(|error| at(&format!("`source.path` {error}")))?;
                Source::Path(inside.components().fold(folder.clone(), |path, component| path.join(component)))
            }
            (None, Some(url)) => Source::Url(url),
            _ => return Err(at("`source` must be `{ path = \"…\" }` or `{ url = \"…\" }`")),
        };
        let sha256 =
            format.sha256.map(|text| text.parse::<Digest>()).transpose().map_err(|error| at(&error.to_string()))?;
        if sha256.is_none() && matches!(source, Source::Url(_)) {
            return Err(at("`sha256` is required for a `url` source"));
        }
        Ok(Release {
            version,
            wit: format.wit,
            source,
            sha256,
            signature: format.signature,
            key: None,
            capabilities: format.capabilities,
            yanked: format.yanked,
        })
    }

    /// Returns who vouches for a release: its own key if it has one, else as for all releases.
    #[must_use]
    pub fn trust_in(&self, release: &Release) -> RegistryTrust {
        release.key.clone().map_or_else(|| self.trust.clone(), RegistryTrust::Key)
    }

    /// Returns a registry on a server that cannot be read.
    #[must_use]
    pub fn unavailable(name: String, base: Url, error: RemoteError) -> Self {
        Self {
            name,
            base: Base::Server(base),
            trust: RegistryTrust::Undeclared,
            entries: Vec::new(),
            broken: Vec::new(),
            downloads: None,
            unavailable: Some(error),
            credentials: None,
        }
    }

    /// Declares that the user accepts releases without signatures. A registry with a key stays
    /// signed.
    pub fn accept_unsigned(&mut self) {
        if self.trust == RegistryTrust::Undeclared {
            self.trust = RegistryTrust::Unsigned;
        }
    }

    /// Finds the entry of a bundle.
    #[must_use]
    pub fn entry_of(&self, name: &BundleName) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == *name)
    }
}

impl From<PathBuf> for Base {
    fn from(folder: PathBuf) -> Self {
        Self::Folder(folder)
    }
}

impl From<Url> for Base {
    fn from(url: Url) -> Self {
        Self::Server(url)
    }
}

/// Formats the path of the folder, or the URL.
impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::Server(url) => f.write_str(url.as_str()),
        }
    }
}

/// Parses `key` and `unsigned`, of which a file has at most one.
fn trust(table: &toml::Table) -> Result<RegistryTrust, String> {
    let unsigned = match table.get("unsigned") {
        None => false,
        Some(value) => value.as_bool().ok_or("`unsigned` is neither `true` nor `false`")?,
    };
    match (table.get("key"), unsigned) {
        (Some(_), true) => Err("it has both `key` and `unsigned = true`; remove one of them".to_owned()),
        (Some(key), false) => {
            let text = key.as_str().ok_or("`key` is not a string")?;
            text.parse().map(RegistryTrust::Key).map_err(|error: crate::PublicKeyError| format!("`key`: {error}"))
        }
        (None, true) => Ok(RegistryTrust::Unsigned),
        (None, false) => Ok(RegistryTrust::Undeclared),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        version = 1
        name = "test"
        [[bundle]]
        name = "sql"
        [[bundle.release]]
        version = "0.2.0"
        wit = "0.1"
        source = { path = "plugins/sql" }
        [[bundle.release]]
        version = "0.3.0"
        wit = "0.1"
        source = { path = "plugins/sql" }
        yanked = true
        [[bundle.release]]
        version = "0.1.0"
        wit = "0.1"
        source = { path = "plugins/sql" }
        [[bundle]]
        name = "broken"
        [[bundle.release]]
        version = "0.1.0"
        wit = "0.1"
        source = { url = "broken.wasm" }
    "#;

    fn registry() -> Registry {
        Registry::parse(TEXT, PathBuf::from("/registry")).expect("a good registry")
    }

    #[test]
    fn an_invalid_entry_does_not_affect_others() {
        let broken = &registry().broken[0];
        assert_eq!(broken.to_string(), "entry 2 (`broken`): release 0.1.0: `sha256` is required for a `url` source");
        assert_eq!(registry().entries.len(), 1);
    }

    #[test]
    fn files_that_are_not_registries_are_rejected() {
        for text in [
            "",
            "version = 2",
            "version = 1\nextra = 1",
            "not toml [",
            "version = 1\nkey = 1",
            "version = 1\nkey = \"RW\"",
            "version = 1\nunsigned = 1",
            "version = 1\nunsigned = true\nkey = \"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\"",
        ] {
            assert!(Registry::parse(text, PathBuf::new()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_registry_is_signed_or_declared_unsigned_or_neither() {
        let trust = |line: &str| {
            Registry::parse(&format!("version = 1\n{line}"), PathBuf::new()).expect("a good registry").trust
        };
        assert_eq!(trust(""), RegistryTrust::Undeclared);
        assert_eq!(trust("unsigned = false"), RegistryTrust::Undeclared);
        assert_eq!(trust("unsigned = true"), RegistryTrust::Unsigned);
        let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        assert_eq!(trust(&format!("key = \"{key}\"")), RegistryTrust::Key(key.parse().expect("a key")));
    }
}
