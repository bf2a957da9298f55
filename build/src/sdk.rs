//! The SDK that this program contains: unpacked for crates that depend on it by path.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use blockyard::model::Digest;
use blockyard::{Error, ErrorKind, Guard, writable_by_others};

/// Files of the SDK by their path with `/`, in alphabetical order.
const FILES: &[(&str, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/sdk.rs"));

/// Version of the SDK.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Number of hexadecimal digits of the digest in the name of the folder.
const DIGITS: usize = 16;

/// Unpacks the SDK below a folder, into a folder that its version and its content name. Returns the
/// path of the crate `blockyard-sdk`. An SDK that is there already is compared and used.
///
/// # Errors
/// Returns an error if the folder cannot be written, if another user can write it (its code runs with
/// the permissions of the user), or if its content differs.
pub(crate) fn unpack(parent: &Path) -> Result<PathBuf, Error> {
    let folder = parent.join(format!("{VERSION}-{}", &digest()[..DIGITS]));
    if folder.symlink_metadata().is_err() {
        write(parent, &folder).map_err(|error| {
            Error::new(ErrorKind::Remote, format!("the SDK cannot be unpacked to `{}`", folder.display()))
                .because(error)
        })?;
    }
    compare(&folder)?;
    Ok(folder.join("rust"))
}

/// Returns the digest of names and contents in hexadecimal digits.
fn digest() -> String {
    let mut all = Vec::new();
    for (name, bytes) in FILES {
        all.extend_from_slice(&(name.len() as u64).to_le_bytes());
        all.extend_from_slice(name.as_bytes());
        all.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        all.extend_from_slice(bytes);
    }
    let text = Digest::of(&all).to_string();
    text.rsplit(':').next().unwrap_or_default().to_owned()
}

/// Writes all files, or none.
fn write(parent: &Path, folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(parent)?;
    let temporary = tempfile::Builder::new().prefix(".unpacking-").tempdir_in(parent)?;
    for (name, bytes) in FILES {
        let path = temporary.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(temporary.path()))?;
        std::fs::write(path, bytes)?;
    }
    match std::fs::rename(temporary.path(), folder) {
        // Another process unpacked the SDK in the meantime.
        Err(_) if folder.is_dir() => Ok(()),
        renamed => renamed,
    }
}

/// Checks that a folder contains the SDK and nothing else, and that other users cannot change it.
fn compare(folder: &Path) -> Result<(), Error> {
    let unusable = |kind, reason: String| {
        Error::new(kind, format!("the SDK in `{}` cannot be used", folder.display()))
            .because(reason)
            .hint("move the folder away; it is then unpacked again")
    };
    let unreadable = |error: io::Error| unusable(ErrorKind::Remote, error.to_string());
    if let Some(reason) = writable_by_others(folder, Guard::Source).map_err(unreadable)? {
        return Err(unusable(ErrorKind::Denied, reason));
    }
    let mut found = BTreeSet::new();
    names(folder, "", &mut found).map_err(unreadable)?;
    let expected: BTreeSet<String> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
    if let Some(other) = found.symmetric_difference(&expected).next() {
        let problem = if found.contains(other) { "is not part of it" } else { "is missing" };
        return Err(unusable(ErrorKind::Conflict, format!("`{other}` {problem}")));
    }
    for (name, bytes) in FILES {
        if std::fs::read(folder.join(name)).map_err(unreadable)? != *bytes {
            return Err(unusable(ErrorKind::Conflict, format!("`{name}` was changed")));
        }
    }
    Ok(())
}

/// Adds the paths of all files below a folder. A symbolic link counts as a file.
fn names(folder: &Path, prefix: &str, found: &mut BTreeSet<String>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            names(&entry.path(), &format!("{name}/"), found)?;
        } else {
            found.insert(name);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_of_the_unpacked_sdk_is_named() {
        let parent = tempfile::tempdir().expect("a folder");
        let sdk = unpack(parent.path()).expect("unpacked");
        assert_eq!(unpack(parent.path()).expect("the same folder"), sdk);
        let left = std::fs::read_dir(parent.path()).expect("a folder").count();
        assert_eq!(left, 1, "no temporary folder is left");
        // cargo runs a build script that is beside a Cargo.toml.
        for (name, problem) in [("build.rs", "is not part of it"), ("src/lib.rs", "was changed")] {
            let path = sdk.join(name);
            let before = std::fs::read(&path).ok();
            std::fs::write(&path, "fn main() {}").expect("a file");
            let error = unpack(parent.path()).expect_err(name);
            assert_eq!(error.kind(), ErrorKind::Conflict);
            assert_eq!(error.causes(), [format!("`rust/{name}` {problem}")]);
            match before {
                Some(bytes) => std::fs::write(&path, bytes).expect("a file"),
                None => std::fs::remove_file(&path).expect("a file"),
            }
        }
        std::fs::remove_file(sdk.join("wit/v0_1/bundle.wit")).expect("a file");
        let error = unpack(parent.path()).expect_err("a missing file");
        assert_eq!(error.causes(), ["`rust/wit/v0_1/bundle.wit` is missing"]);
    }

    #[cfg(unix)]
    #[test]
    fn an_sdk_that_others_can_write_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let parent = tempfile::tempdir().expect("a folder");
        let sdk = unpack(parent.path()).expect("unpacked");
        let folder = sdk.parent().expect("a folder");
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).expect("chmod");
        assert_eq!(unpack(parent.path()).expect_err("others can write").kind(), ErrorKind::Denied);
    }

    #[test]
    fn the_manifests_of_the_sdk_stand_alone() {
        for (name, bytes) in FILES.iter().filter(|(name, _)| name.ends_with("Cargo.toml")) {
            let text = std::str::from_utf8(bytes).expect("UTF-8");
            let manifest: toml::Table = text.parse().expect(name);
            assert!(!text.contains("workspace = true"), "{text}");
            assert!(manifest["package"]["rust-version"].is_str() && manifest["package"]["version"].is_str(), "{text}");
        }
    }
}
