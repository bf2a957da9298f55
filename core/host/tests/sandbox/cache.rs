//! Manipulation of the cache of compiled code: an entry that differs from what the host stored is
//! never used and never causes an error; the component is recompiled.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use blockyard_host::{Bundle, Sandbox, SandboxConfig};

use super::{load, well};

fn open(folder: &Path) -> Sandbox {
    Sandbox::new(&SandboxConfig { cache: Some(folder.to_owned()), ..SandboxConfig::default() }).expect("a sandbox")
}

/// Loads a bundle and calls it, in a new sandbox that shares nothing but the cache folder, as a new
/// process would.
async fn use_bundle(folder: &Path, name: &str) -> Bundle {
    let sandbox = open(folder);
    let bundle = load(&sandbox, name, "").await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(bundle.manifest().name.as_str(), name);
    well(&sandbox, &bundle).await;
    bundle
}

/// Returns the paths of the cache entries: one per engine and bundle.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(folder).expect("the cache").flatten().map(|entry| entry.path());
    let mut entries: Vec<PathBuf> = folders
        .filter(|path| path.is_dir())
        .flat_map(|folder| fs::read_dir(folder).expect("a folder").flatten())
        .map(|entry| entry.path())
        .collect();
    entries.sort();
    entries
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[tokio::test]
async fn cached_code_is_private_to_the_user() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("cache");
    use_bundle(&folder, "kept").await;
    let kept = entries(&folder);
    assert_eq!(kept.len(), 2, "one for calls, one for questions: {kept:?}");
    for path in kept.iter().chain([&folder.join("key")]) {
        assert_eq!(mode(path), 0o600, "{}", path.display());
    }
    assert_eq!(mode(&folder), 0o700);
    let before: Vec<_> =
        kept.iter().map(|path| fs::metadata(path).expect("kept").modified().expect("a time")).collect();
    use_bundle(&folder, "kept").await;
    let after: Vec<_> = kept.iter().map(|path| fs::metadata(path).expect("kept").modified().expect("a time")).collect();
    assert_eq!(before, after, "cached code was compiled again");
}

#[tokio::test]
async fn changed_cache_entries_are_recompiled() {
    let folder = tempfile::tempdir().expect("a folder");
    use_bundle(folder.path(), "changed").await;
    for path in entries(folder.path()) {
        let good = fs::read(&path).expect("an entry");
        let mut poisons: Vec<Vec<u8>> = vec![Vec::new(), b"poison".to_vec(), good[..good.len() / 2].to_vec()];
        poisons.push([good.as_slice(), b"more"].concat());
        // Flips bits in the tag, the headers, the code and the metadata.
        for part in 0..24 {
            let mut flipped = good.clone();
            flipped[(good.len() - 1) * part / 23] ^= 1;
            poisons.push(flipped);
        }
        for poison in poisons {
            fs::write(&path, &poison).expect("written");
            use_bundle(folder.path(), "changed").await;
            assert_ne!(fs::read(&path).expect("an entry"), poison, "the changed entry was not replaced");
        }
    }
}

#[tokio::test]
async fn cache_entries_of_another_bundle_are_not_used() {
    let folder = tempfile::tempdir().expect("a folder");
    use_bundle(folder.path(), "one").await;
    let ones = entries(folder.path());
    use_bundle(folder.path(), "other").await;
    // Replaces each entry with authentic entries of another bundle, for the same and the other
    // engine.
    for other in entries(folder.path()).iter().filter(|path| !ones.contains(path)) {
        for one in &ones {
            fs::copy(one, other).expect("a copy");
            use_bundle(folder.path(), "other").await;
        }
    }
}

#[tokio::test]
async fn cache_entries_of_another_key_are_recompiled() {
    let folder = tempfile::tempdir().expect("a folder");
    use_bundle(folder.path(), "foreign").await;
    let key = folder.path().join("key");
    let before = entries(folder.path()).iter().map(|path| fs::read(path).expect("an entry")).collect::<Vec<_>>();
    // A key of another machine, a key of the wrong length, and a key that other users can read.
    for (text, bits) in [(vec![7; 32], 0o600), (b"short".to_vec(), 0o600), (vec![9; 32], 0o644)] {
        fs::write(&key, text).expect("written");
        fs::set_permissions(&key, fs::Permissions::from_mode(bits)).expect("set");
        use_bundle(folder.path(), "foreign").await;
        let after = entries(folder.path()).iter().map(|path| fs::read(path).expect("an entry")).collect::<Vec<_>>();
        assert!(
            before.iter().zip(&after).all(|(before, after)| before.last_chunk::<32>() != after.last_chunk::<32>()),
            "the tags are the same"
        );
        assert_eq!((mode(&key), fs::read(&key).expect("the key").len()), (0o600, 32));
    }
    assert_ne!(fs::read(&key).expect("the key"), vec![9; 32], "a key that others could read is still used");
}

#[tokio::test]
async fn permissions_and_key_of_a_writable_cache_are_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    use_bundle(folder.path(), "open").await;
    let key = fs::read(folder.path().join("key")).expect("the key");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("set");
    use_bundle(folder.path(), "open").await;
    assert_eq!(mode(folder.path()), 0o700);
    assert_ne!(
        fs::read(folder.path().join("key")).expect("the key"),
        key,
        "a key that others could read is still used"
    );
}

#[tokio::test]
async fn the_cache_is_optional_and_must_belong_to_the_user() {
    let folder = tempfile::tempdir().expect("a folder");
    // If the folder cannot be created, code is not cached.
    fs::write(folder.path().join("file"), "").expect("a file");
    use_bundle(&folder.path().join("file/cache"), "none").await;
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(folder.path(), &link).expect("a link");
    let refused = Sandbox::new(&SandboxConfig { cache: Some(link), ..SandboxConfig::default() });
    assert!(refused.expect_err("refused").to_string().contains("is not owned by the current user"));
    if rustix::process::geteuid().is_root() {
        let other = folder.path().join("other");
        fs::create_dir(&other).expect("a folder");
        chown(&other, Some(12_345), None).expect("given away");
        let refused = Sandbox::new(&SandboxConfig { cache: Some(other), ..SandboxConfig::default() });
        assert!(refused.expect_err("refused").to_string().contains("is not owned by the current user"));
    }
}
