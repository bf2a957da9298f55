//! The on-disk cache of compiled code, in a folder that only this user can access.
//!
//! Compiled code is not sandboxed, and the engine loads it without validation. Each file therefore
//! ends with a message authentication code (HMAC-SHA256) over its content, the engine and the digest
//! of the bundle; the key is stored in the same folder. A file that does not match, for example
//! because of a flipped bit or because it was copied from another machine or to another path, is
//! deleted and the component is recompiled.
//!
//! The engine maps the file instead of copying it: a process loads only the pages that it runs, and
//! shares them with other processes.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::io::{self, Read, Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use blockyard_call::limits;
use blockyard_model::Digest;
use ring::hmac;
use subtle::ConstantTimeEq as _;
use wasmtime::Engine;
use wasmtime::component::Component;
use zeroize::Zeroizing;

/// Name of the key file in the cache folder.
const KEY_FILE: &str = "key";
const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 32;
/// Size of the chunks in which an entry is read.
const READ_BYTES: usize = 64 << 10;
/// Minimum age of an entry's modification time before a use updates it. Eviction removes the
/// entries with the oldest modification time.
const TOUCH_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// An open cache.
pub(crate) struct CompiledCode {
    folder: PathBuf,
    key: Zeroizing<Vec<u8>>,
}

impl CompiledCode {
    /// Opens the cache folder and creates it if it is missing. Returns `None` if the folder or its
    /// key cannot be created; Blockyard works without a cache.
    ///
    /// # Errors
    /// Returns an error if the path is not a folder or belongs to another user.
    pub(crate) fn open(folder: &Path) -> io::Result<Option<Self>> {
        if make_private_folder(folder).is_err() {
            return Ok(None);
        }
        if !is_own_folder(folder)? {
            return Err(io::Error::other(format!(
                "the cache folder `{}` is not owned by the current user",
                folder.display()
            )));
        }
        let key = key(folder).ok();
        Ok(key.map(|key| Self { folder: folder.to_owned(), key }))
    }

    /// Returns the cached code of a component, or `None` if it is missing or fails authentication.
    #[allow(unsafe_code, reason = "`deserialize_file` trusts its input, which the tag authenticates")]
    pub(crate) fn get(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
        let path = self.path(engine, digest);
        let file = fs::File::open(&path).ok()?;
        let is_authentic = self.is_authentic(engine, digest, file).unwrap_or(false);
        // SAFETY: the file is the output of `serialize` in this or an earlier process of this user:
        // the tag was computed over exactly these bytes, with a key that only this user can read.
        // The file does not change while it is mapped: only this user can write to the folder, and
        // Blockyard replaces files without writing to them.
        let component = is_authentic.then(|| unsafe { Component::deserialize_file(engine, &path) }.ok()).flatten();
        if component.is_none() {
            let _ = fs::remove_file(&path);
        } else {
            touch(&path);
        }
        component
    }

    /// Stores the code of a component. Errors are ignored; the component is then recompiled by the
    /// next process.
    pub(crate) fn put(&self, engine: &Engine, digest: &Digest, component: &Component) {
        let Ok(code) = component.serialize() else { return };
        let path = self.path(engine, digest);
        let mut tag = self.tag(engine, digest);
        tag.update(&code);
        let cached = path
            .parent()
            .map_or(Ok(()), make_private_folder)
            .and_then(|()| write_atomically(&path, &[&code, tag.sign().as_ref()]));
        if cached.is_ok() {
            self.evict();
        }
    }

    /// Checks the tag at the end of an entry. The entry is not held in memory.
    fn is_authentic(&self, engine: &Engine, digest: &Digest, mut entry: impl Read + Seek) -> io::Result<bool> {
        let Some(mut left) = entry.seek(SeekFrom::End(0))?.checked_sub(TAG_BYTES as u64) else { return Ok(false) };
        entry.rewind()?;
        let mut tag = self.tag(engine, digest);
        let mut buffer = vec![0; READ_BYTES];
        while left > 0 {
            let wanted = left.min(READ_BYTES as u64);
            let chunk = &mut buffer[..usize::try_from(wanted).unwrap_or(READ_BYTES)];
            entry.read_exact(chunk)?;
            tag.update(chunk);
            left -= wanted;
        }
        let mut stored = [0; TAG_BYTES];
        entry.read_exact(&mut stored)?;
        Ok(bool::from(tag.sign().as_ref().ct_eq(&stored)))
    }

    /// Starts the tag of an entry. It authenticates the engine, the digest of the bundle, and the
    /// code that is added to it.
    ///
    /// The bytes are part of the file format: a process that expects other bytes deletes the entry.
    fn tag(&self, engine: &Engine, digest: &Digest) -> hmac::Context {
        let mut tag = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.key));
        tag.update(&compatibility(engine).to_be_bytes());
        tag.update(digest.as_bytes());
        tag
    }

    /// Returns the path of an entry: one folder per engine (wasmtime version, target and settings),
    /// one file per component.
    fn path(&self, engine: &Engine, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{:016x}", compatibility(engine))).join(digest.to_string())
    }

    /// Deletes the least recently used entries until the cache fits into [`limits::CACHE_BYTES`].
    fn evict(&self) {
        let folders = fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut files: Vec<(SystemTime, u64, PathBuf)> = folders
            .filter_map(|folder| fs::read_dir(folder).ok())
            .flat_map(|entries| entries.flatten())
            .filter_map(|entry| {
                let metadata = entry.metadata().ok()?;
                Some((metadata.modified().ok()?, metadata.len(), entry.path()))
            })
            .collect();
        let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        files.sort();
        for (_, size, path) in files {
            if bytes <= limits::CACHE_BYTES {
                return;
            }
            bytes -= size;
            let _ = fs::remove_file(path);
        }
    }
}

fn compatibility(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

/// Returns the key of this folder. A key with the wrong length, or one that other users could read,
/// is replaced, which invalidates all entries.
fn key(folder: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let path = folder.join(KEY_FILE);
    if let Some(key) = read_key(&path) {
        return Ok(key);
    }
    let mut key = Zeroizing::new(vec![0; KEY_BYTES]);
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    let _ = fs::remove_file(&path);
    write_atomically(&path, &[&key])?;
    // Another process may have written a key at the same time, so the key is read back.
    read_key(&path).ok_or_else(|| io::Error::other("the key of the cache was replaced by another process"))
}

fn read_key(path: &Path) -> Option<Zeroizing<Vec<u8>>> {
    let metadata = fs::symlink_metadata(path).ok()?;
    (metadata.is_file() && is_private(&metadata)).then_some(())?;
    let key = Zeroizing::new(fs::read(path).ok()?);
    (key.len() == KEY_BYTES).then_some(key)
}

/// Writes a file atomically, with access for this user only.
fn write_atomically(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let temporary = path.with_extension(format!("{:016x}", u64::from_be_bytes(random)));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options
        .open(&temporary)
        .and_then(|mut file| parts.iter().try_for_each(|part| file.write_all(part)))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn touch(path: &Path) {
    let old = fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > TOUCH_INTERVAL));
    if old && let Ok(file) = fs::OpenOptions::new().append(true).open(path) {
        let _ = file.set_modified(SystemTime::now());
    }
}

fn make_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Checks that the folder belongs to this user. If other users can access it, its permissions are
/// restricted and its key is deleted, because the key may have been read; this invalidates all
/// entries.
#[cfg(unix)]
fn is_own_folder(folder: &Path) -> io::Result<bool> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let metadata = fs::symlink_metadata(folder)?;
    if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
        return Ok(false);
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        let _ = fs::remove_file(folder.join(KEY_FILE));
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    }
    Ok(true)
}

#[cfg(unix)]
fn is_private(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o077 == 0
}

#[cfg(not(unix))]
fn is_own_folder(_: &Path) -> io::Result<bool> {
    Ok(true)
}

#[cfg(not(unix))]
fn is_private(_: &fs::Metadata) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_authenticates_the_engine_the_bundle_and_the_code() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("cache");
        let cache = CompiledCode::open(&folder).expect("an own folder").expect("a cache");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &fs::read(folder.join(KEY_FILE)).expect("the key"));
        let (engine, digest, code) = (Engine::default(), Digest::of(b"bundle"), &b"code"[..]);
        let engine_bytes = compatibility(&engine).to_be_bytes();
        let tag = hmac::sign(&key, &[engine_bytes.as_slice(), digest.as_bytes().as_slice(), code].concat());
        let entry = [code, tag.as_ref()].concat();
        let is_authentic = |digest: &Digest, entry: &[u8]| {
            cache.is_authentic(&engine, digest, io::Cursor::new(entry)).expect("memory is read")
        };
        assert!(is_authentic(&digest, &entry), "the format has changed");
        assert!(!is_authentic(&Digest::of(b"other"), &entry));
        for at in 0..entry.len() {
            let mut flipped = entry.clone();
            flipped[at] ^= 1;
            assert!(!is_authentic(&digest, &flipped), "byte {at}");
        }
        assert!(!is_authentic(&digest, &entry[..TAG_BYTES - 1]));
        assert!(!is_authentic(&digest, &entry[..entry.len() - 1]));
    }
}
