//! Conversion of object names to file paths. All names are validated before the first file is
//! written, and no two objects may map to the same file, including on case-insensitive and
//! Unicode-normalizing file systems.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use blockyard::model::visible;
use blockyard::{Error, ErrorKind};

/// Maximum length of a file or folder name in bytes: NAME_MAX of common file systems.
const NAME_BYTES: usize = 255;

/// Maximum number of names listed in an error; the remainder is counted.
const MAX_LISTED: usize = 20;

/// Pairs of names that some file systems treat as equal: different case, and composed and
/// decomposed characters.
const FOLDED: [(&str, &str); 3] = [("a", "A"), ("\u{e9}", "e\u{301}"), ("\u{fc}", "\u{dc}")];

/// An object and the file path that it is saved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// Path of the object in the storage.
    pub(super) object: String,
    /// Components of the file path, relative to the destination.
    pub(super) parts: Vec<String>,
}

/// An object whose name is not a valid file path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadName {
    pub(super) object: String,
    pub(super) reason: String,
}

/// Splits objects, given with their sizes, into those with valid file names and those without.
/// `below` is the requested prefix.
pub(super) fn targets(objects: Vec<(String, u64)>, below: &str) -> (Vec<Target>, Vec<BadName>) {
    let (mut targets, mut bad) = (Vec::new(), Vec::new());
    for (object, size) in objects {
        let name = object.strip_prefix(below).unwrap_or(&object);
        if name.is_empty()
            || name.ends_with('/') && rejection_reason(name.trim_end_matches('/')).is_none() && !name.ends_with("//")
        {
            // Some tools create an empty object to represent a folder.
            if size > 0 {
                bad.push(BadName { object, reason: "has content, but ends in a slash like a folder".to_owned() });
            }
            continue;
        }
        match parts(name) {
            Ok(parts) => targets.push(Target { object, parts }),
            Err(reason) => bad.push(BadName { object, reason: reason.to_owned() }),
        }
    }
    leave_out_folders(&mut targets, &mut bad);
    (targets, bad)
}

/// Splits a name into path components. Rejects components that a path would interpret or discard,
/// such as `..` and empty ones.
pub(super) fn parts(name: &str) -> Result<Vec<String>, &'static str> {
    match rejection_reason(name) {
        Some(reason) => Err(reason),
        None => Ok(name.split('/').map(str::to_owned).collect()),
    }
}

fn rejection_reason(name: &str) -> Option<&'static str> {
    let has = |wrong: fn(&str) -> bool| name.split('/').any(wrong);
    if name.starts_with('/') {
        Some("begins with a slash")
    } else if has(str::is_empty) {
        Some("has an empty component")
    } else if has(|part| part == "." || part == "..") {
        Some("has a component `.` or `..`")
    } else if name.contains('\\') {
        Some("contains a backslash")
    } else if name.chars().any(char::is_control) {
        Some("contains a control character")
    } else if has(|part| part.len() > NAME_BYTES) {
        Some("has a component longer than 255 bytes")
    } else if cfg!(windows) && has(is_reserved) {
        Some("has a component that Windows reserves")
    } else {
        None
    }
}

/// Returns whether Windows reserves a name: device names, and names with characters or endings that
/// Windows rejects or strips.
fn is_reserved(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let numbered = |name: &str| stem.strip_prefix(name).is_some_and(|rest| rest.chars().count() == 1);
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$")
        || numbered("COM")
        || numbered("LPT")
        || part.ends_with(['.', ' '])
        || part.contains(['<', '>', ':', '"', '|', '?', '*'])
        || part.chars().any(char::is_control)
}

/// Moves objects whose name is also the folder of another object to `bad`.
fn leave_out_folders(targets: &mut Vec<Target>, bad: &mut Vec<BadName>) {
    let mut folders: BTreeMap<Vec<String>, String> = BTreeMap::new();
    for target in targets.iter() {
        for end in 1..target.parts.len() {
            folders.entry(target.parts[..end].to_vec()).or_insert_with(|| target.object.clone());
        }
    }
    targets.retain(|target| match folders.get(&target.parts) {
        Some(other) => {
            let reason = format!("is the folder of `{}`", visible::line(other));
            bad.push(BadName { object: target.object.clone(), reason });
            false
        }
        None => true,
    });
}

/// Moves objects whose names the destination's file system does not distinguish to `bad`. This is
/// tested on the file system itself: if it folds names, empty files with these names are created in
/// a temporary folder on it.
pub(super) fn leave_out_collisions(targets: &mut Vec<Target>, bad: &mut Vec<BadName>, to: &Path) -> Result<(), Error> {
    let Some(disk) = to.ancestors().find(|folder| folder.is_dir()).or(Some(Path::new("."))) else { return Ok(()) };
    let disk = if disk.as_os_str().is_empty() { Path::new(".") } else { disk };
    let cannot = |error: std::io::Error| {
        Error::new(ErrorKind::Remote, format!("cannot create temporary files on the file system of `{}`", to.display()))
            .because(error)
    };
    let probe = tempfile::Builder::new().prefix(".blockyard-names-").tempdir_in(disk).map_err(cannot)?;
    if is_case_insensitive(probe.path()) {
        create_files(targets, bad, &probe.path().join("names"));
    }
    probe.close().map_err(cannot)
}

/// Returns whether the file system treats different names as equal.
fn is_case_insensitive(folder: &Path) -> bool {
    FOLDED.iter().any(|(one, other)| {
        let made = std::fs::File::create_new(folder.join(one)).is_ok();
        made && std::fs::symlink_metadata(folder.join(other)).is_ok()
    })
}

/// Creates a file for each target. Moves targets whose file already exists, and the target that
/// created it, to `bad`.
fn create_files(targets: &mut Vec<Target>, bad: &mut Vec<BadName>, folder: &Path) {
    let mut collisions: HashMap<usize, String> = HashMap::new();
    for (index, target) in targets.iter().enumerate() {
        let path = target.parts.iter().fold(folder.to_owned(), |path, part| path.join(part));
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        let made = made
            .and_then(|()| std::fs::OpenOptions::new().write(true).create_new(true).open(&path))
            .and_then(|mut file| std::io::Write::write_all(&mut file, index.to_string().as_bytes()));
        if let Err(error) = made {
            let other = std::fs::read_to_string(&path).ok().and_then(|text| text.parse::<usize>().ok());
            let reason = match other.and_then(|other| targets.get(other)) {
                Some(other) => format!("is the same file as `{}` on this disk", visible::line(&other.object)),
                None => format!("cannot be a file on this disk: {error}"),
            };
            if let Some(other) = other {
                collisions
                    .entry(other)
                    .or_insert_with(|| format!("is the same file as `{}` on this disk", visible::line(&target.object)));
            }
            collisions.insert(index, reason);
        }
    }
    let mut index = 0;
    targets.retain(|target| {
        let reason = collisions.remove(&index);
        index += 1;
        bad.extend(reason.iter().map(|reason| BadName { object: target.object.clone(), reason: reason.clone() }));
        reason.is_none()
    });
}

/// Returns the error that lists objects with invalid names. `address` is the address of the block.
pub(super) fn refused(bad: &[BadName], address: &str, done: &str) -> Error {
    let count = bad.len();
    let mut message = format!(
        "{count} object{} cannot be saved as {}; {done}",
        if count == 1 { "" } else { "s" },
        if count == 1 { "a file" } else { "files" }
    );
    for name in bad.iter().take(MAX_LISTED) {
        message.push_str(&format!("\n  `{}` {}", visible::line(&name.object), name.reason));
    }
    if count > MAX_LISTED {
        message.push_str(&format!("\n  and {} more", count - MAX_LISTED));
    }
    let details: Vec<_> =
        bad.iter().map(|name| serde_json::json!({ "object": name.object, "reason": name.reason })).collect();
    // An object with such a name cannot be requested; only the storage's own tools can rename it.
    let dotted = |name: &&BadName| {
        name.object.split('/').any(|part| part == "." || part == "..") || name.object.chars().any(char::is_control)
    };
    let error = Error::new(ErrorKind::Invalid, message).multi_line().details(details.into());
    let error = match bad.iter().find(|name| !dotted(name)) {
        Some(name) => {
            let source = format!("{address}:{}", name.object).replace('\'', "'\\''");
            error.hint(format!("copy it separately under another name: `blockyard cp '{source}' FILE`"))
        }
        None => error.hint("rename it with the tools of the storage service"),
    };
    error.hint("copy the others with `--skip-bad-names`")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(objects: &[&str]) -> (Vec<String>, Vec<String>) {
        let (targets, bad) = targets(objects.iter().map(|object| ((*object).to_owned(), 0)).collect(), "c/");
        (
            targets.into_iter().map(|target| target.parts.join("/")).collect(),
            bad.into_iter().map(|bad| bad.object).collect(),
        )
    }

    #[test]
    fn names_that_do_not_map_to_one_path_are_rejected() {
        let (files, bad) = split(&[
            "c/",
            "c/sub/",
            "c/a/b.txt",
            "c/a//b.txt",
            "c//x",
            "c/./x",
            "c/a/./x",
            "c/..",
            "c/../x",
            "c/a/../x",
            "c/a\\b",
            "c/a\0",
            "c/d//",
            "c/..a",
            "c/a..b/ü",
            "c/folder",
            "c/folder/x",
        ]);
        assert_eq!(files, ["a/b.txt", "..a", "a..b/ü", "folder/x"]);
        assert_eq!(
            bad,
            [
                "c/a//b.txt",
                "c//x",
                "c/./x",
                "c/a/./x",
                "c/..",
                "c/../x",
                "c/a/../x",
                "c/a\\b",
                "c/a\0",
                "c/d//",
                "c/folder"
            ]
        );
    }

    #[test]
    fn only_empty_objects_are_treated_as_folders() {
        let objects = [("c/", 1), ("c/empty/", 0), ("c/full/", 1), ("c/full/x", 0)];
        let objects = objects.map(|(object, size)| (object.to_owned(), size)).to_vec();
        let (targets, bad) = targets(objects, "c/");
        assert_eq!(targets.len(), 1, "{targets:?}");
        let bad: Vec<&str> = bad.iter().map(|bad| bad.object.as_str()).collect();
        assert_eq!(bad, ["c/", "c/full/"]);
    }

    #[test]
    fn names_of_the_same_file_are_both_skipped() {
        let probe = tempfile::tempdir().expect("a folder");
        let target = |object: &str| Target { object: object.to_owned(), parts: vec!["x".to_owned()] };
        let other = Target { object: "other".to_owned(), parts: vec!["y".to_owned()] };
        // Equal paths simulate two names that the file system treats as equal.
        let mut all = vec![target("x"), other.clone(), target("X")];
        let mut bad = Vec::new();
        create_files(&mut all, &mut bad, probe.path());
        assert_eq!(all, [other]);
        let rejected: Vec<String> = bad.iter().map(|bad| format!("{} {}", bad.object, bad.reason)).collect();
        assert_eq!(rejected, ["x is the same file as `X` on this disk", "X is the same file as `x` on this disk"]);
    }

    #[test]
    fn hints_quote_object_names_for_the_shell() {
        let bad = |object: &str| BadName { object: object.to_owned(), reason: "is bad".to_owned() };
        let error = refused(&[bad("a//it's")], "gcs-bucket/zoo", "nothing was copied");
        assert!(error.hints()[0].contains(r"`blockyard cp 'gcs-bucket/zoo:a//it'\''s' FILE`"), "{:?}", error.hints());
        let error = refused(&[bad("a/../b")], "gcs-bucket/zoo", "nothing was copied");
        assert_eq!(error.hints()[0], "rename it with the tools of the storage service");
    }

    #[test]
    fn reserved_windows_names_are_rejected() {
        for name in ["con", "NUL.txt", "com1", "LPT9.x", "a.", "a ", "a:b", "a?", "COM¹"] {
            assert!(is_reserved(name), "{name}");
        }
        for name in ["console", "com", "com10", "a.b", "ü"] {
            assert!(!is_reserved(name), "{name}");
        }
    }

    proptest! {
        /// No two names map to the same path: joining the components yields the original name.
        #[test]
        fn a_path_contains_every_component_of_the_name(name in "[a./\\\\]{0,12}|\\PC{0,12}") {
            if let Ok(parts) = parts(&name) {
                prop_assert_eq!(parts.join("/"), name.as_str());
                let path = parts.iter().fold(std::path::PathBuf::from("d"), |path, part| path.join(part));
                prop_assert_eq!(path.components().count(), parts.len() + 1);
                prop_assert!(path.starts_with("d"));
            }
        }
    }
}
