//! The cache of downloaded files and documents, in a folder that only this user can access.
//!
//! Component files are stored by their digest, documents (indexes, manifests) by their URL with
//! their own digest. An entry that does not match its digest is reported and left as it is: it may
//! be evidence.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use blockyard_model::Digest;
use serde::{Deserialize, Serialize};
use url::Url;

/// Maximum size of a cached file in bytes. Larger than any that is stored.
const ENTRY_BYTES: u64 = 128 << 20;

/// An open cache.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
}

/// A document as the server sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Document {
    /// The content.
    pub(crate) text: String,
    /// Value of the header `ETag`, with which the server recognizes it.
    pub(crate) etag: Option<String>,
    /// Value of the header `Link`, with the URL of the next page of a list.
    pub(crate) link: Option<String>,
}

/// State of a cache entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry<T> {
    Absent,
    Good(T),
    /// It exists, and is not what was stored. It must not be overwritten.
    Damaged(PathBuf),
}

/// A document in a file.
#[derive(Serialize, Deserialize)]
struct DocumentFormat {
    url: String,
    etag: Option<String>,
    link: Option<String>,
    sha256: String,
    text: String,
}

impl Cache {
    /// Opens the cache folder, and creates it with mode 0700 if it is missing.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be created, or belongs to another user.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        for folder in [folder.to_owned(), folder.join("components"), folder.join("documents")] {
            private_folder(&folder)?;
        }
        Ok(Self { folder: folder.to_owned() })
    }

    fn component_path(&self, digest: Digest) -> PathBuf {
        self.folder.join("components").join(format!("{digest}.wasm"))
    }

    fn document_path(&self, url: &Url) -> PathBuf {
        self.folder.join("documents").join(format!("{}.json", Digest::of(url.as_str().as_bytes())))
    }

    /// Reads a component file.
    pub(crate) fn component(&self, digest: Digest) -> Entry<Vec<u8>> {
        let path = self.component_path(digest);
        match read(&path) {
            Ok(None) => Entry::Absent,
            Ok(Some(bytes)) if Digest::of(&bytes) == digest => Entry::Good(bytes),
            Ok(Some(_)) | Err(_) => Entry::Damaged(path),
        }
    }

    /// Stores a component file, unless there is an entry. Errors are ignored; the file is then
    /// downloaded again.
    pub(crate) fn store_component(&self, digest: Digest, bytes: &[u8]) {
        let path = self.component_path(digest);
        let _ = write(&path, bytes).and_then(|file| file.persist_noclobber(&path).map_err(|error| error.error));
    }

    /// Reads a document.
    pub(crate) fn document(&self, url: &Url) -> Entry<Document> {
        let path = self.document_path(url);
        let bytes = match read(&path) {
            Ok(None) => return Entry::Absent,
            Ok(Some(bytes)) => bytes,
            Err(_) => return Entry::Damaged(path),
        };
        match serde_json::from_slice::<DocumentFormat>(&bytes) {
            Ok(DocumentFormat { url: stored, etag, link, sha256, text })
                if stored == url.as_str() && sha256 == sum(&etag, &link, &text) =>
            {
                Entry::Good(Document { text, etag, link })
            }
            _ => Entry::Damaged(path),
        }
    }

    /// Stores a document in place of an earlier one. Errors are ignored.
    pub(crate) fn store_document(&self, url: &Url, document: &Document) {
        let Document { text, etag, link } = document.clone();
        let sha256 = sum(&etag, &link, &text);
        let format = DocumentFormat { url: url.to_string(), sha256, etag, link, text };
        let Ok(bytes) = serde_json::to_vec(&format) else { return };
        let path = self.document_path(url);
        let _ = write(&path, &bytes).and_then(|file| file.persist(&path).map_err(|error| error.error));
    }
}

/// Returns the digest of a document with its headers.
fn sum(etag: &Option<String>, link: &Option<String>, text: &str) -> String {
    let line = |header: &Option<String>| header.as_deref().unwrap_or_default().replace('\n', " ");
    Digest::of(format!("{}\n{}\n{text}", line(etag), line(link)).as_bytes()).to_string()
}

/// Reads a regular file. Returns `None` if it does not exist.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let metadata = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    if !metadata.is_file() || metadata.len() > ENTRY_BYTES {
        return Err(io::Error::other("not a regular file"));
    }
    std::fs::read(path).map(Some)
}

/// Writes a temporary file beside `path`, complete and on disk.
fn write(path: &Path, bytes: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".partial-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Creates a folder for this user only. An existing one must belong to this user.
fn private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    let metadata = std::fs::symlink_metadata(folder)?;
    if !metadata.is_dir() {
        return Err(io::Error::other("it is not a folder"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(io::Error::other("it belongs to another user"));
        }
        if metadata.mode() & 0o077 != 0 {
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(&folder.path().join("registries")).expect("a cache");
        (folder, cache)
    }

    #[test]
    fn a_damaged_component_is_named_and_not_replaced() {
        let (_folder, cache) = cache();
        let digest = Digest::of(b"good");
        assert_eq!(cache.component(digest), Entry::Absent);
        cache.store_component(digest, b"good");
        assert_eq!(cache.component(digest), Entry::Good(b"good".to_vec()));
        let path = cache.component_path(digest);
        std::fs::write(&path, b"goof").expect("a file");
        cache.store_component(digest, b"good");
        assert_eq!(cache.component(digest), Entry::Damaged(path.clone()));
        assert_eq!(std::fs::read(&path).expect("a file"), b"goof");
        let files = std::fs::read_dir(path.parent().expect("a folder")).expect("a folder").count();
        assert_eq!(files, 1, "no partial file is left");
    }

    #[test]
    fn documents_are_stored_by_url() {
        let (_folder, cache) = cache();
        let url = |text: &str| Url::parse(text).expect("a URL");
        let (one, two) = (url("https://r.example/one"), url("https://r.example/two"));
        let document = |text: &str| Document {
            text: text.to_owned(),
            etag: Some("\"1\"".to_owned()),
            link: Some("</two>; rel=\"next\"".to_owned()),
        };
        cache.store_document(&one, &document("first"));
        assert_eq!(cache.document(&two), Entry::Absent);
        cache.store_document(&one, &document("second"));
        assert_eq!(cache.document(&one), Entry::Good(document("second")));
        // The entry of another URL, and a changed one.
        std::fs::copy(cache.document_path(&one), cache.document_path(&two)).expect("a copy");
        assert_eq!(cache.document(&two), Entry::Damaged(cache.document_path(&two)));
        let path = cache.document_path(&one);
        for (from, to) in [("second", "secont"), ("\\\"1\\\"", "\\\"2\\\""), ("/two", "/evil")] {
            let text = std::fs::read_to_string(&path).expect("an entry");
            assert!(text.contains(from), "{text}");
            std::fs::write(&path, text.replace(from, to)).expect("a file");
            assert_eq!(cache.document(&one), Entry::Damaged(path.clone()), "{from}");
            std::fs::write(&path, text).expect("a file");
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_folder_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let (folder, cache) = cache();
        let mode = || std::fs::metadata(&cache.folder).expect("a folder").permissions().mode() & 0o777;
        assert_eq!(mode(), 0o700);
        std::fs::set_permissions(&cache.folder, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        Cache::open(&cache.folder).expect("a cache");
        assert_eq!(mode(), 0o700);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&cache.folder, &link).expect("a link");
        assert!(Cache::open(&link).is_err(), "a link leads elsewhere");
    }
}
