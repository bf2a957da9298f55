//! Compiled code that is kept between processes, in a folder that is this user's alone.
//!
//! Code runs outside of every sandbox, and the engine believes what it loads. So each file carries a
//! code of authentication (HMAC-SHA256) over its content, its engine and its bundle's digest, made
//! with a key that lies beside it. Whatever does not fit is deleted and compiled anew: a flipped
//! bit, a file from another machine, one that stood at another place.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use blockyard_model::Digest;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use wasmtime::Engine;
use wasmtime::component::Component;
use zeroize::Zeroizing;

use crate::limits;

/// The file with the key, in the cache's folder.
const KEY_FILE: &str = "key";
const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 32;
/// An entry that is used is touched when it was not for so long, so that the oldest can be found.
const TOUCH: Duration = Duration::from_secs(24 * 60 * 60);

/// The folder, opened.
pub(crate) struct CompiledCode {
    folder: PathBuf,
    key: Zeroizing<Vec<u8>>,
}

impl CompiledCode {
    /// Opens the folder, or makes it. None where there is no place for one: a cache is not needed.
    ///
    /// # Errors
    /// It is somebody else's.
    pub(crate) fn open(folder: &Path) -> io::Result<Option<Self>> {
        if make_private_folder(folder).is_err() {
            return Ok(None);
        }
        if !is_own_folder(folder)? {
            return Err(io::Error::other(format!("the cache `{}` is somebody else's folder", folder.display())));
        }
        let key = key(folder).ok();
        Ok(key.map(|key| Self { folder: folder.to_owned(), key }))
    }

    /// The code for a component, where it is kept and is what was put there.
    #[allow(unsafe_code, reason = "`deserialize` trusts its bytes; the tag says that they are our own")]
    pub(crate) fn get(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
        let path = self.path(engine, digest);
        let entry = fs::read(&path).ok()?;
        let code = self.checked(engine, digest, &entry);
        // SAFETY: the bytes are the output of `serialize` in this or an earlier process of this user:
        // the tag was made with a key that only this user can read, over these very bytes. They are in
        // memory, where nobody changes them after the check.
        let component = code.and_then(|code| unsafe { Component::deserialize(engine, code) }.ok());
        if component.is_none() {
            let _ = fs::remove_file(&path);
        } else {
            touch(&path);
        }
        component
    }

    /// Keeps the code of a component. Where that fails, it is compiled again the next time.
    pub(crate) fn put(&self, engine: &Engine, digest: &Digest, component: &Component) {
        let Ok(code) = component.serialize() else { return };
        let path = self.path(engine, digest);
        let tag = self.tag(engine, digest, &code).finalize().into_bytes();
        let kept = path.parent().map_or(Ok(()), make_private_folder).and_then(|()| write_whole(&path, &[&tag, &code]));
        if kept.is_ok() {
            self.make_room();
        }
    }

    fn checked<'a>(&self, engine: &Engine, digest: &Digest, entry: &'a [u8]) -> Option<&'a [u8]> {
        let (tag, code) = entry.split_at_checked(TAG_BYTES)?;
        self.tag(engine, digest, code).verify_slice(tag).ok()?;
        Some(code)
    }

    fn tag(&self, engine: &Engine, digest: &Digest, code: &[u8]) -> Hmac<Sha256> {
        let mut tag = Hmac::<Sha256>::new_from_slice(&self.key).expect("a key may have any length");
        tag.update(&compatibility(engine).to_be_bytes());
        tag.update(digest.as_bytes());
        tag.update(code);
        tag
    }

    /// A folder per engine (its version, the machine, its settings), a file per component.
    fn path(&self, engine: &Engine, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{:016x}", compatibility(engine))).join(digest.to_string())
    }

    /// Deletes what was not used for longest, where there is more than may be kept.
    fn make_room(&self) {
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

/// The key of this folder. One that is not whole, or that others could read, is made anew, and with it
/// all that was kept.
fn key(folder: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let path = folder.join(KEY_FILE);
    if let Some(key) = read_key(&path) {
        return Ok(key);
    }
    let mut key = Zeroizing::new(vec![0; KEY_BYTES]);
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    let _ = fs::remove_file(&path);
    write_whole(&path, &[&key])?;
    // Another process may have been here at the same time: the file decides.
    read_key(&path).ok_or_else(|| io::Error::other("the key of the cache was changed"))
}

fn read_key(path: &Path) -> Option<Zeroizing<Vec<u8>>> {
    let metadata = fs::symlink_metadata(path).ok()?;
    (metadata.is_file() && is_private(&metadata)).then_some(())?;
    let key = Zeroizing::new(fs::read(path).ok()?);
    (key.len() == KEY_BYTES).then_some(key)
}

/// Writes a file that is there whole or not at all, and that is for nobody else.
fn write_whole(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
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
        .is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > TOUCH));
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

/// Whether the folder is this user's. One that others may write or read is made private, and what lies
/// in it is worth nothing: its key is not.
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
