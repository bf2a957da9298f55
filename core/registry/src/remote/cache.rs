//! The cache of downloaded files and documents, in a folder that only this user can access.
//!
//! Component files are stored by their digest, documents (indexes, manifests) by their URL with
//! their own digest. An entry that does not match its digest is reported and left as it is: it may
//! be evidence.
//!
//! The modification time of an entry is the time of its last use. A program that finds an entry
//! removed downloads it again, so removing entries needs no lock.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use blockyard_model::Digest;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::access::Evicted;

/// Maximum size of a cached file in bytes. Larger than any that is stored.
const ENTRY_BYTES: u64 = 128 << 20;
/// Time without use after which an entry is evicted.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Folder of the component files, and the ending of their names.
const COMPONENTS: (&str, &str) = ("components", ".wasm");
/// Folder of the documents, and the ending of their names.
const DOCUMENTS: (&str, &str) = ("documents", ".json");
/// Start of the names of files that are being written.
const PARTIAL: &str = ".partial-";

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
        for folder in [folder.to_owned(), folder.join(COMPONENTS.0), folder.join(DOCUMENTS.0)] {
            private_folder(&folder)?;
        }
        Ok(Self { folder: folder.to_owned() })
    }

    fn component_path(&self, digest: Digest) -> PathBuf {
        self.path(COMPONENTS, digest)
    }

    fn document_path(&self, url: &Url) -> PathBuf {
        self.path(DOCUMENTS, Digest::of(url.as_str().as_bytes()))
    }

    fn path(&self, (folder, ending): (&str, &str), digest: Digest) -> PathBuf {
        self.folder.join(folder).join(format!("{digest}{ending}"))
    }

    /// Reads a component file.
    pub(crate) fn component(&self, digest: Digest) -> Entry<Vec<u8>> {
        let path = self.component_path(digest);
        let entry = component(&path, digest);
        touch(&path, &entry);
        entry
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
        let entry = document(&path, |stored| stored == url.as_str());
        touch(&path, &entry);
        entry
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

/// Removes the entries of a cache that were not used for 30 days. A folder that does not exist is an
/// empty cache.
///
/// # Errors
/// Returns an error if the folder belongs to another user, or an entry cannot be removed.
pub fn evict(folder: &Path) -> io::Result<Evicted> {
    match std::fs::symlink_metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Evicted::default()),
        Err(error) => Err(error),
        Ok(_) => Cache::open(folder)?.evict(SystemTime::now() - UNUSED),
    }
}

impl Cache {
    /// Removes the entries that were last used before a time. Files with other names, and everything
    /// that is not a regular file, are left alone.
    fn evict(&self, before: SystemTime) -> io::Result<Evicted> {
        let mut evicted = Evicted::default();
        for kind @ (folder, _) in [COMPONENTS, DOCUMENTS] {
            for file in std::fs::read_dir(self.folder.join(folder))? {
                self.evict_file(kind, &file?, before, &mut evicted)?;
            }
        }
        evicted.damaged.sort();
        Ok(evicted)
    }

    fn evict_file(
        &self,
        kind: (&str, &str),
        file: &std::fs::DirEntry,
        before: SystemTime,
        evicted: &mut Evicted,
    ) -> io::Result<()> {
        let name = file.file_name();
        let Some(name) = name.to_str() else { return Ok(()) };
        let digest = name.strip_suffix(kind.1).and_then(|digest| digest.parse::<Digest>().ok());
        let digest = digest.filter(|digest| self.path(kind, *digest) == file.path());
        if digest.is_none() && !name.starts_with(PARTIAL) {
            return Ok(());
        }
        // The metadata of a link itself. The file may have been removed by another program.
        let Ok(metadata) = file.metadata() else { return Ok(()) };
        if !metadata.is_file() || metadata.modified()? >= before {
            return Ok(());
        }
        // A file without a digest is what an interrupted program did not finish.
        if digest.is_some_and(|digest| is_damaged(kind, &file.path(), digest)) {
            evicted.damaged.push(file.path());
            return Ok(());
        }
        match std::fs::remove_file(file.path()) {
            Ok(()) => {
                evicted.entries += 1;
                evicted.bytes += metadata.len();
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Returns true if the entry of a digest is not what was stored.
fn is_damaged(kind: (&str, &str), path: &Path, digest: Digest) -> bool {
    if kind == COMPONENTS {
        matches!(component(path, digest), Entry::Damaged(_))
    } else {
        matches!(document(path, |url| Digest::of(url.as_bytes()) == digest), Entry::Damaged(_))
    }
}

/// Reads a component file.
fn component(path: &Path, digest: Digest) -> Entry<Vec<u8>> {
    match read(path) {
        Ok(None) => Entry::Absent,
        Ok(Some(bytes)) if Digest::of(&bytes) == digest => Entry::Good(bytes),
        Ok(Some(_)) | Err(_) => Entry::Damaged(path.to_owned()),
    }
}

/// Reads the document of a URL that `is_url` accepts.
fn document(path: &Path, is_url: impl Fn(&str) -> bool) -> Entry<Document> {
    let bytes = match read(path) {
        Ok(None) => return Entry::Absent,
        Ok(Some(bytes)) => bytes,
        Err(_) => return Entry::Damaged(path.to_owned()),
    };
    match serde_json::from_slice::<DocumentFormat>(&bytes) {
        Ok(DocumentFormat { url, etag, link, sha256, text }) if is_url(&url) && sha256 == sum(&etag, &link, &text) => {
            Entry::Good(Document { text, etag, link })
        }
        _ => Entry::Damaged(path.to_owned()),
    }
}

/// Records the use of an intact entry. Errors are ignored; the entry is then evicted earlier.
fn touch<T>(path: &Path, entry: &Entry<T>) {
    if matches!(entry, Entry::Good(_)) {
        let _ = File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
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
    match std::fs::read(path) {
        // Another program removed it in the meantime.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// Writes a temporary file beside `path`, complete and on disk.
fn write(path: &Path, bytes: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(PARTIAL).tempfile_in(folder)?;
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

    /// Sets the last use of a file to a number of days ago.
    fn age(path: &Path, days: u32) {
        let time = SystemTime::now() - Duration::from_secs(24 * 60 * 60) * days;
        File::open(path).and_then(|file| file.set_modified(time)).expect("a file");
    }

    #[test]
    fn entries_without_recent_use_are_evicted() {
        let (_folder, cache) = cache();
        let (old, recent) = (Digest::of(b"old"), Digest::of(b"recent"));
        let url = Url::parse("https://r.example/one").expect("a URL");
        cache.store_component(old, b"old");
        cache.store_component(recent, b"recent");
        cache.store_document(&url, &Document { text: "one".to_owned(), etag: None, link: None });
        let partial = cache.folder.join("components/.partial-abcdef");
        std::fs::write(&partial, b"part").expect("a file");
        let document = cache.document_path(&url);
        let bytes = std::fs::metadata(&document).expect("an entry").len();
        for path in [&cache.component_path(old), &document, &partial] {
            age(path, 31);
        }
        age(&cache.component_path(recent), 29);
        let evicted = evict(&cache.folder).expect("evicted");
        assert_eq!(evicted, Evicted { entries: 3, bytes: 3 + bytes + 4, damaged: Vec::new() });
        assert_eq!((cache.component(old), cache.document(&url)), (Entry::Absent, Entry::Absent));
        assert_eq!(cache.component(recent), Entry::Good(b"recent".to_vec()));
        assert_eq!(evict(&cache.folder).expect("evicted"), Evicted::default());
    }

    #[test]
    fn a_read_entry_is_not_evicted() {
        let (_folder, cache) = cache();
        let digest = Digest::of(b"good");
        let url = Url::parse("https://r.example/one").expect("a URL");
        cache.store_component(digest, b"good");
        cache.store_document(&url, &Document { text: "one".to_owned(), etag: None, link: None });
        age(&cache.component_path(digest), 31);
        age(&cache.document_path(&url), 31);
        assert!(matches!((cache.component(digest), cache.document(&url)), (Entry::Good(_), Entry::Good(_))));
        assert_eq!(evict(&cache.folder).expect("evicted"), Evicted::default());
    }

    #[test]
    fn damaged_entries_are_named_and_stay() {
        let (_folder, cache) = cache();
        let digest = Digest::of(b"good");
        let [one, two] = ["https://r.example/one", "https://r.example/two"].map(|url| Url::parse(url).expect("a URL"));
        cache.store_component(digest, b"good");
        cache.store_document(&one, &Document { text: "one".to_owned(), etag: None, link: None });
        std::fs::write(cache.component_path(digest), b"goof").expect("a file");
        // An intact document under the name of another URL.
        std::fs::rename(cache.document_path(&one), cache.document_path(&two)).expect("renamed");
        let paths = [cache.component_path(digest), cache.document_path(&two)];
        paths.iter().for_each(|path| age(path, 31));
        // Reading it is no use.
        assert_eq!(cache.component(digest), Entry::Damaged(paths[0].clone()));
        let evicted = evict(&cache.folder).expect("evicted");
        assert_eq!(evicted, Evicted { entries: 0, bytes: 0, damaged: paths.to_vec() });
        assert_eq!(std::fs::read(&paths[0]).expect("a file"), b"goof");
    }

    #[cfg(unix)]
    #[test]
    fn only_files_of_the_cache_are_evicted() {
        let (folder, cache) = cache();
        assert_eq!(evict(&folder.path().join("missing")).expect("no cache"), Evicted::default());
        assert!(!folder.path().join("missing").exists());
        let outside = folder.path().join("outside");
        std::fs::write(&outside, b"good").expect("a file");
        age(&outside, 31);
        std::os::unix::fs::symlink(&outside, cache.component_path(Digest::of(b"good"))).expect("a link");
        let others = ["notes.txt", "x.wasm", &format!("{}.wasm", Digest::of(b"x").to_string().to_uppercase())]
            .map(|name| cache.folder.join("components").join(name));
        for path in &others {
            std::fs::write(path, b"x").expect("a file");
            age(path, 31);
        }
        assert_eq!(evict(&cache.folder).expect("evicted"), Evicted::default());
        assert!(others.iter().chain([&outside]).all(|path| path.exists()));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&cache.folder, &link).expect("a link");
        assert!(evict(&link).is_err(), "the cache is a link");
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
        assert!(Cache::open(&link).is_err(), "the cache is a link");
    }
}
