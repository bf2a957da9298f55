//! Adds signed releases to a registry folder.

use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use blockyard_model::{Digest, Manifest, WIT_VERSION};
use semver::VersionReq;
use tempfile::NamedTempFile;
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, value};

use crate::index::{Registry, RegistryError, RegistryTrust, Release, Source};
use crate::remote_error::RemoteError;
use crate::resolve::{Requested, resolve};
use crate::signature::SignatureError;
use crate::signing::{SigningError, SigningKey};

/// Maximum time to wait for another publisher.
const LOCK_TIME: Duration = Duration::from_secs(30);
/// Interval at which the lock is tried.
const LOCK_STEP: Duration = Duration::from_millis(50);

/// A component file to publish.
#[derive(Debug)]
pub struct NewRelease<'a> {
    /// The manifest that is embedded in the file.
    pub manifest: &'a Manifest,
    /// Content of the file.
    pub bytes: &'a [u8],
}

/// A published release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The component file in the registry folder.
    pub file: PathBuf,
    /// Digest of the file.
    pub digest: Digest,
    /// `false` if the registry already had this release with the same bytes.
    pub changed: bool,
}

/// The reason why a release was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The registry cannot be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The entry of the bundle in the registry is not valid.
    #[error("the entry of `{name}` in the registry is not valid: {reason}")]
    Broken {
        /// Name of the bundle.
        name: String,
        /// The error.
        reason: String,
    },
    /// The registry is signed with another key, or is declared unsigned.
    #[error("the registry {state}, so a release signed with {key} does not belong to it")]
    OtherSigner {
        /// How the registry is signed.
        state: String,
        /// The key of this release.
        key: String,
    },
    /// The registry has other bytes under this version. A published release is never replaced.
    #[error("`{name}` {version} is already published with other content")]
    Exists {
        /// Name of the bundle.
        name: String,
        /// Version of the bundle.
        version: String,
        /// Digest of the published file, or that there is none.
        published: String,
        /// Digest of the new file.
        new: Digest,
    },
    /// The version has build metadata, as in `1.0.0+linux`.
    #[error("version `{0}` has build metadata, which does not distinguish releases")]
    BuildMetadata(String),
    /// Another program holds the lock of the registry folder.
    #[error("another program is publishing in `{}`", .0.display())]
    Locked(PathBuf),
    /// Signing failed.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// The registry cannot be written.
    #[error("`{}` cannot be written", path.display())]
    Write {
        /// Path of the file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The server cannot be read, or rejects the upload.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The registry is a folder of files on a server, to which nothing can be uploaded.
    #[error("nothing can be published at `{0}`")]
    ReadOnly(String),
    /// The written release does not verify, as a consumer would verify it.
    #[error("the published release `{0}` cannot be resolved and verified")]
    NotResolved(String),
}

/// Receives the release that precedes a new one, before anything is written. It is not called if the
/// version is already published, or if it is the first one.
pub type OnPreceding<'a> = &'a (dyn Fn(&Release) + Send + Sync);

/// Publishes a release in a registry folder, which is created with the name `registry` if it has no
/// `registry.toml`. Afterwards, the release is resolved and verified as a consumer would do it.
///
/// # Errors
/// Returns a [`PublishError`]. The registry's index is then unchanged.
pub fn publish(
    folder: &Path,
    registry: &str,
    release: &NewRelease<'_>,
    key: &SigningKey,
    on_preceding: OnPreceding<'_>,
) -> Result<Published, PublishError> {
    let index = folder.join(Registry::FILE_NAME);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| PublishError::Write { path, source }
    };
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    let lock = File::open(folder).map_err(failed(folder))?;
    wait_for(&lock, folder)?;
    let text = match std::fs::read_to_string(&index) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            format!("version = 1\nname = {}\nkey = \"{}\"\n", value(registry), key.public())
        }
        Err(source) => return Err(RegistryError::Read { path: index, source }.into()),
    };
    let format = |reason| PublishError::Registry(RegistryError::Format { path: index.clone(), reason });
    let parsed = Registry::parse(&text, folder.to_owned()).map_err(format)?;
    check_signer(&parsed, key)?;
    let Manifest { name, version, .. } = release.manifest;
    // Requirements ignore the build metadata of a version, so two such releases would be the same.
    if !version.build.is_empty() {
        return Err(PublishError::BuildMetadata(version.to_string()));
    }
    let digest = Digest::of(release.bytes);
    let file = folder.join(format!("{name}-{version}.wasm"));
    if let Some(broken) = parsed.broken.iter().find(|broken| broken.name.as_deref() == Some(name.as_str())) {
        return Err(PublishError::Broken { name: name.to_string(), reason: broken.to_string() });
    }
    let published = parsed.entry_of(name).and_then(|entry| entry.releases.iter().find(|old| old.version == *version));
    let again = match published.map(|old| (old.sha256, &old.source)) {
        Some((Some(old), Source::Url(_))) if old == digest => {
            if resolves(&text, folder, release, key).is_ok() {
                return Ok(Published { file, digest, changed: false });
            }
            // The file or its signature is missing or damaged, and is written again.
            true
        }
        Some((old, _)) => {
            return Err(PublishError::Exists {
                name: name.to_string(),
                version: version.to_string(),
                published: old.map_or_else(|| "no digest".to_owned(), |old| format!("sha256 {old}")),
                new: digest,
            });
        }
        None => {
            preceding(&parsed, release.manifest).into_iter().for_each(on_preceding);
            false
        }
    };
    let signature = key.sign(release.bytes, name, version)?;
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| format(error.to_string()))?;
    add(&mut document, release.manifest, digest, &signature, again).map_err(|reason| format(reason.to_owned()))?;
    let text = document.to_string();
    // The component first: an index never names a file that does not exist.
    write(&file, release.bytes).map_err(failed(&file))?;
    resolves(&text, folder, release, key)?;
    write(&index, text.as_bytes()).map_err(failed(&index))?;
    // The names of both files are on disk, too.
    lock.sync_all().map_err(failed(folder))?;
    Ok(Published { file, digest, changed: true })
}

/// Returns the release that most users of a bundle have when a new version is published: the newest
/// older one, or else the newest one. Withdrawn releases are ignored, and so are pre-releases, unless
/// the new version is one or there is no other.
pub(crate) fn preceding<'a>(registry: &'a Registry, new: &Manifest) -> Option<&'a Release> {
    let releases: Vec<&Release> = registry.entry_of(&new.name)?.releases.iter().filter(|old| !old.yanked).collect();
    let is_older = |old: &&&Release| old.version < new.version;
    let is_comparable = |old: &&&Release| old.version.pre.is_empty() || !new.version.pre.is_empty();
    let newest_older = releases.iter().filter(is_older).find(is_comparable);
    newest_older.or_else(|| releases.iter().find(is_older)).or(releases.first()).copied()
}

/// Locks a registry folder. A second publisher waits, and then sees the release of the first. The lock
/// ends with the handle.
fn wait_for(lock: &File, folder: &Path) -> Result<(), PublishError> {
    let until = Instant::now() + LOCK_TIME;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(LOCK_STEP),
            Err(TryLockError::WouldBlock) => return Err(PublishError::Locked(folder.to_owned())),
            Err(TryLockError::Error(source)) => return Err(PublishError::Write { path: folder.to_owned(), source }),
        }
    }
}

fn check_signer(registry: &Registry, key: &SigningKey) -> Result<(), PublishError> {
    let state = match &registry.trust {
        RegistryTrust::Key(own) if own == key.public() => return Ok(()),
        RegistryTrust::Key(own) => format!("is signed with {own}"),
        RegistryTrust::Unsigned => "is declared unsigned".to_owned(),
        RegistryTrust::Undeclared => "names no key".to_owned(),
    };
    Err(PublishError::OtherSigner { state, key: key.public().to_string() })
}

/// Adds a release to the index, before the other releases of the bundle, or replaces its entry if it is
/// published `again`.
///
/// # Errors
/// Returns the reason if the index has a form that cannot be edited.
fn add(
    document: &mut DocumentMut,
    manifest: &Manifest,
    digest: Digest,
    signature: &str,
    again: bool,
) -> Result<(), &'static str> {
    let array = |texts: Vec<String>| value(Array::from_iter(texts));
    let mut release = Table::new();
    release["version"] = value(manifest.version.to_string());
    release["wit"] = value(WIT_VERSION);
    let mut source = toml_edit::InlineTable::new();
    source.insert("url", format!("{}-{}.wasm", manifest.name, manifest.version).into());
    release["source"] = value(source);
    release["sha256"] = value(digest.to_string());
    release["signature"] = value(signature);
    release["capabilities"] = array(manifest.capabilities.iter().map(ToString::to_string).collect());
    let bundles = document.entry("bundle").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    let bundles = bundles.as_array_of_tables_mut().ok_or("`bundle` is an inline list; write it as `[[bundle]]`")?;
    let at =
        bundles.iter().position(|bundle| bundle.get("name").and_then(Item::as_str) == Some(manifest.name.as_str()));
    let bundle = match at {
        Some(at) => bundles.get_mut(at).expect("the position was just found"),
        None => {
            bundles.push(Table::new());
            bundles.iter_mut().last().expect("it was just added")
        }
    };
    bundle["name"] = value(manifest.name.as_str());
    bundle["description"] = value(manifest.description.as_str());
    if let Some(license) = &manifest.license {
        bundle["license"] = value(license.as_str());
    }
    bundle["types"] = array(manifest.types.iter().map(|block_type| block_type.slug.to_string()).collect());
    let releases = bundle.entry("release").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    let releases =
        releases.as_array_of_tables_mut().ok_or("`release` is an inline list; write it as `[[bundle.release]]`")?;
    let version = manifest.version.to_string();
    let is_same = |table: &Table| table.get("version").and_then(Item::as_str) == Some(version.as_str());
    if again && let Some(old) = releases.iter_mut().find(|table| is_same(table)) {
        *old = release;
        return Ok(());
    }
    let others: Vec<Table> = releases.iter().cloned().collect();
    releases.clear();
    releases.push(release);
    others.into_iter().for_each(|other| releases.push(other));
    Ok(())
}

/// Writes a file atomically, readable by everyone whom the umask permits.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut temporary: NamedTempFile = builder.prefix(".blockyard-").tempfile_in(folder)?;
    temporary.write_all(bytes)?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Resolves and verifies the written release in the new index.
fn resolves(index: &str, folder: &Path, release: &NewRelease<'_>, key: &SigningKey) -> Result<(), PublishError> {
    let Manifest { name, version, .. } = release.manifest;
    let unresolved = |reason: String| PublishError::NotResolved(format!("{name} {version}: {reason}"));
    let registries = [Registry::parse(index, folder.to_owned()).map_err(&unresolved)?];
    let requirement = VersionReq::parse(&format!("={version}")).map_err(|error| unresolved(error.to_string()))?;
    let requested = Requested { name, requirement: &requirement, locked: None };
    let found = resolve(&registries, &requested).map_err(|error| unresolved(error.to_string()))?;
    let Source::Url(url) = &found.release.source else { return Err(unresolved("it is not a file".to_owned())) };
    let bytes = std::fs::read(folder.join(url)).map_err(|error| unresolved(error.to_string()))?;
    let signature = found.release.signature.as_deref().unwrap_or_default();
    let verified = key.public().verify(signature, &bytes, name, version);
    verified.map_err(|error: SignatureError| unresolved(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(version: &str) -> Manifest {
        let text = format!(
            r#"{{"manifest": 1, "name": "zoo", "version": "{version}", "wit": "0.1", "capabilities": ["log"],
               "description": "A \"zoo\"", "license": "MIT",
               "types": [{{"slug": "cage", "version": 1, "operations": [],
                           "schema": {{"type": "object", "additionalProperties": false}}}}]}}"#
        );
        Manifest::parse(&text).expect("a good manifest")
    }

    #[test]
    fn releases_are_added_and_never_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let (key, _) = SigningKey::generate().expect("a key");
        let publish = |version: &str, bytes: &[u8], key: &SigningKey| {
            let manifest = manifest(version);
            publish(folder.path(), "zoos", &NewRelease { manifest: &manifest, bytes }, key, &|_| ())
        };
        assert!(publish("0.1.0", b"one", &key).expect("published").changed);
        assert!(publish("0.2.0-beta.1", b"two", &key).expect("published").changed);
        assert!(!publish("0.1.0", b"one", &key).expect("published").changed, "the same bytes change nothing");
        let before = std::fs::read_to_string(folder.path().join("registry.toml")).expect("an index");
        assert!(matches!(publish("0.1.0", b"other", &key), Err(PublishError::Exists { .. })));
        let (stranger, _) = SigningKey::generate().expect("a key");
        assert!(matches!(publish("0.3.0", b"three", &stranger), Err(PublishError::OtherSigner { .. })));
        assert_eq!(std::fs::read_to_string(folder.path().join("registry.toml")).expect("an index"), before);
        assert_eq!(std::fs::read(folder.path().join("zoo-0.1.0.wasm")).expect("a file"), b"one");
        let registry = Registry::read(folder.path()).expect("a good registry");
        assert!(registry.broken.is_empty() && registry.name == "zoos", "{registry:?}");
        let entry = &registry.entries[0];
        assert_eq!((entry.description.as_str(), entry.license.as_deref()), ("A \"zoo\"", Some("MIT")));
        assert_eq!((entry.types.as_slice(), entry.releases.len()), (&["cage".to_owned()][..], 2));
        assert_eq!(entry.releases[1].capabilities, ["log"]);
        assert_eq!(registry.trust, RegistryTrust::Key(key.public().clone()));
    }

    #[test]
    fn a_release_is_compared_with_the_one_that_users_have() {
        let release = |version: &str| {
            let yanked = if version == "0.3.0" { "yanked = true" } else { "" };
            format!(
                "[[bundle.release]]\nversion = \"{version}\"\nwit = \"0.1\"\nsource = {{ path = \"zoo\" }}\n{yanked}\n"
            )
        };
        let preceding_of = |published: &[&str], new: &str| {
            let releases: String = published.iter().map(|version| release(version)).collect();
            let text = format!("version = 1\nname = \"zoos\"\n[[bundle]]\nname = \"zoo\"\n{releases}");
            let registry = Registry::parse(&text, PathBuf::from("/zoos")).expect("a registry");
            preceding(&registry, &manifest(new)).map(|release| release.version.to_string())
        };
        for (published, new, expected) in [
            (&[][..], "1.0.0", None),
            (&["0.1.0", "0.2.0"], "1.0.0", Some("0.2.0")),
            (&["0.1.0", "0.3.0"], "1.0.0", Some("0.1.0")),
            (&["0.1.0", "2.0.0"], "0.1.1", Some("0.1.0")),
            (&["1.0.0", "2.0.0"], "0.9.0", Some("2.0.0")),
            (&["0.1.0", "0.2.0-beta.1"], "0.2.0", Some("0.1.0")),
            (&["0.1.0", "0.2.0-beta.1"], "0.2.0-beta.2", Some("0.2.0-beta.1")),
            (&["0.2.0-beta.1"], "0.2.0", Some("0.2.0-beta.1")),
        ] {
            assert_eq!(preceding_of(published, new).as_deref(), expected, "{published:?} {new}");
        }
    }

    #[test]
    fn publishing_keeps_comments_and_other_entries() {
        let folder = tempfile::tempdir().expect("a folder");
        let (key, _) = SigningKey::generate().expect("a key");
        let text = format!(
            "# Ours.\nversion = 1\nname = \"zoos\"\nkey = \"{}\"\n\n[[bundle]]\nname = \"ark\" # old\n\n[[bundle.release]]\nversion = \"1.0.0\"\nwit = \"0.1\"\nsource = {{ path = \"ark\" }}\n",
            key.public()
        );
        std::fs::write(folder.path().join("registry.toml"), &text).expect("a file");
        let manifest = manifest("0.1.0");
        publish(folder.path(), "ignored", &NewRelease { manifest: &manifest, bytes: b"one" }, &key, &|_| ())
            .expect("published");
        let now = std::fs::read_to_string(folder.path().join("registry.toml")).expect("an index");
        assert!(now.starts_with(&text), "{now}");
        assert_eq!(Registry::read(folder.path()).expect("a good registry").entries.len(), 2);
    }

    #[test]
    fn a_damaged_release_is_written_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let (key, _) = SigningKey::generate().expect("a key");
        let manifest = manifest("0.1.0");
        let publish =
            || publish(folder.path(), "zoos", &NewRelease { manifest: &manifest, bytes: b"one" }, &key, &|_| ());
        let index = folder.path().join("registry.toml");
        publish().expect("published");
        let file = folder.path().join("zoo-0.1.0.wasm");
        std::fs::remove_file(&file).expect("gone");
        assert!(publish().expect("published again").changed);
        assert_eq!(std::fs::read(&file).expect("a file"), b"one");
        let text = std::fs::read_to_string(&index).expect("an index");
        std::fs::write(&index, text.replace("trusted comment: ", "trusted comment: x")).expect("a file");
        assert!(publish().expect("published again").changed);
        assert!(!publish().expect("published").changed);
        assert_eq!(Registry::read(folder.path()).expect("a registry").entries[0].releases.len(), 1);
    }

    #[test]
    fn an_index_that_cannot_be_edited_stays_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let (key, _) = SigningKey::generate().expect("a key");
        let index = folder.path().join("registry.toml");
        let entry = r#"{ version = "0.0.1", wit = "0.1", source = { path = "a" } }"#;
        for bundles in [
            format!("bundle = [{{ name = \"zoo\", release = [{entry}] }}]"),
            format!("[[bundle]]\nname = \"zoo\"\nrelease = [{entry}]"),
        ] {
            let text = format!("version = 1\nname = \"zoos\"\nkey = \"{}\"\n{bundles}\n", key.public());
            std::fs::write(&index, &text).expect("a file");
            let manifest = manifest("0.1.0");
            let refused =
                publish(folder.path(), "zoos", &NewRelease { manifest: &manifest, bytes: b"one" }, &key, &|_| ());
            assert!(matches!(refused, Err(PublishError::Registry(RegistryError::Format { .. }))), "{refused:?}");
            assert_eq!(std::fs::read_to_string(&index).expect("an index"), text);
            assert!(!folder.path().join("zoo-0.1.0.wasm").exists());
        }
        let manifest = manifest("0.1.0+linux");
        let refused = publish(folder.path(), "zoos", &NewRelease { manifest: &manifest, bytes: b"one" }, &key, &|_| ());
        assert!(matches!(refused, Err(PublishError::BuildMetadata(_))));
    }
}
