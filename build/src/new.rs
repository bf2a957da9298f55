//! Creates the crate of a new bundle from a template.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use blockyard::model::{BundleName, TypeSlug};
use blockyard::{Error, ErrorKind};
use semver::VersionReq;
use toml::{Table, Value};

use crate::sdk;

/// Files of the template: path below the crate's folder, and text with the words of [`Words`].
const TEMPLATE: [(&str, &str); 4] = [
    ("Cargo.toml", include_str!("../template/Cargo.toml.in")),
    ("src/lib.rs", include_str!("../template/src/lib.rs.in")),
    ("README.md", include_str!("../template/README.md.in")),
    (".gitignore", "/target\n/*.wasm\n"),
];

/// Lock file of the template for the bundle `acme`, with the versions with which the SDK was tested.
const LOCK: &str = include_str!("../template/Cargo.lock.in");

/// Names that the source of the template uses for something else than the block type.
const TAKEN: [&str; 8] = ["Self", "Block", "Result", "Secret", "String", "Value", "Option", "Vec"];

/// What to create.
#[derive(Debug, Clone)]
pub struct NewCrate {
    /// Folder of the crate, which must not exist or be empty. Its last part is the name of the bundle.
    pub folder: PathBuf,
    /// Slug of the block type. Default: the name of the bundle.
    pub block_type: Option<TypeSlug>,
    /// The SDK of the crate.
    pub sdk: Sdk,
}

/// Where the crate finds the SDK.
#[derive(Debug, Clone)]
pub enum Sdk {
    /// The SDK of this version of the library, unpacked into a folder below this one.
    UnpackedBelow(PathBuf),
    /// A published version that matches a requirement.
    Published(VersionReq),
}

/// A crate that was created.
#[derive(Debug, Clone)]
pub struct Created {
    /// Absolute path of its folder.
    pub folder: PathBuf,
    /// Name of the bundle.
    pub bundle: BundleName,
    /// Slug of the block type.
    pub block_type: TypeSlug,
    /// `Cargo.toml` of a workspace in a folder above, whose `members` may include the crate.
    pub workspace_above: Option<PathBuf>,
}

/// Creates the crate of a new bundle: one block type with one secret and one operation, a test and a
/// README. The crate is a separate workspace.
///
/// # Errors
/// Returns an error if the last part of the path is not a valid name, if the folder contains files, or
/// if a file cannot be written. No file of the crate is left then.
pub fn create(new: NewCrate) -> Result<Created, Error> {
    let folder = std::path::absolute(&new.folder).map_err(|error| not_written(&new.folder, &error))?;
    let bundle = name_of(&folder)?;
    let block_type = match new.block_type {
        Some(slug) => slug,
        None => TypeSlug::new(bundle.as_str()).map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))?,
    };
    refuse_files(&folder)?;
    let (dependency, lock) = match new.sdk {
        Sdk::UnpackedBelow(parent) => {
            let path = sdk::unpack(&parent)?;
            let path = path.to_str().ok_or_else(|| {
                Error::new(ErrorKind::Invalid, format!("the path `{}` of the SDK is not valid UTF-8", path.display()))
            })?;
            (Value::Table(Table::from_iter([("path".to_owned(), path.into())])), Some(lock(&bundle)))
        }
        Sdk::Published(requirement) => (Value::String(requirement.to_string()), None),
    };
    let words = Words { bundle: &bundle, block_type: &block_type, sdk: inline(&dependency) };
    let mut files: Vec<(&str, String)> = TEMPLATE.iter().map(|(path, text)| (*path, words.fill(text))).collect();
    files.extend(lock.map(|lock| ("Cargo.lock", lock)));
    write(&folder, &files).map_err(|error| not_written(&folder, &error))?;
    let workspace_above = folder.ancestors().skip(1).map(|above| above.join("Cargo.toml")).find(is_workspace);
    Ok(Created { folder, bundle, block_type, workspace_above })
}

fn not_written(folder: &Path, error: &io::Error) -> Error {
    Error::new(ErrorKind::Remote, format!("the crate `{}` cannot be created", folder.display()))
        .because(error.to_string())
}

/// Returns the bundle's name: the last part of the path.
fn name_of(folder: &Path) -> Result<BundleName, Error> {
    let invalid = |message: String| Error::new(ErrorKind::Invalid, message);
    let Some(name) = folder.file_name() else {
        return Err(invalid(format!("`{}` does not end in the name of a bundle", folder.display())));
    };
    let name = name.to_string_lossy();
    BundleName::new(name.as_ref()).map_err(|error| {
        let similar = name.to_lowercase().replace(['_', ' ', '.'], "-");
        let error = invalid(error.to_string());
        match BundleName::new(similar.as_str()) {
            Ok(similar) => error.hint(format!("name the folder `{similar}`")),
            Err(_) => error,
        }
    })
}

/// Checks that the folder does not exist, or is empty.
fn refuse_files(folder: &Path) -> Result<(), Error> {
    let exists = |what: &str| {
        Err(Error::new(ErrorKind::Conflict, format!("`{}` {what}", folder.display()))
            .hint("name a folder that does not exist"))
    };
    match std::fs::read_dir(folder).map(|mut entries| entries.next().is_some()) {
        Ok(true) => exists("exists and is not empty"),
        Ok(false) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && folder.symlink_metadata().is_err() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory || folder.is_file() => exists("is not a folder"),
        Err(error) => Err(not_written(folder, &error)),
    }
}

fn is_workspace(manifest: &PathBuf) -> bool {
    let text = std::fs::read_to_string(manifest).unwrap_or_default();
    text.parse::<Table>().is_ok_and(|table| table.contains_key("workspace"))
}

/// Writes all files, or none. Existing files are never replaced.
fn write(folder: &Path, files: &[(&str, String)]) -> io::Result<()> {
    let existed = folder.is_dir();
    let mut written = Vec::new();
    let mut write_all = || {
        for (path, text) in files {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap_or(folder))?;
            let mut file = std::fs::File::create_new(&path)?;
            written.push(path);
            file.write_all(text.as_bytes())?;
        }
        Ok(())
    };
    let done = write_all();
    if done.is_err() {
        for path in &written {
            let _ = std::fs::remove_file(path);
        }
        // Only folders without files are removed.
        let _ = std::fs::remove_dir(folder.join("src"));
        if !existed {
            let _ = std::fs::remove_dir(folder);
        }
    }
    done
}

/// Returns a value in the form that is written in one line.
fn inline(value: &Value) -> String {
    // A table prints in several lines if it is not inside of another value.
    match value {
        Value::Table(table) => {
            let members: Vec<String> = table.iter().map(|(key, value)| format!("{key} = {value}")).collect();
            format!("{{ {} }}", members.join(", "))
        }
        value => value.to_string(),
    }
}

/// Words of the template.
struct Words<'a> {
    bundle: &'a BundleName,
    block_type: &'a TypeSlug,
    /// The dependency on the SDK as a TOML value.
    sdk: String,
}

impl Words<'_> {
    fn fill(&self, text: &str) -> String {
        text.replace("@bundle@", self.bundle.as_str())
            .replace("@type@", self.block_type.as_str())
            .replace("@Type@", &type_name(self.block_type))
            .replace("@title@", &title(self.block_type))
            .replace("@rust@", env!("CARGO_PKG_RUST_VERSION"))
            .replace("@sdk@", &self.sdk)
    }
}

/// Returns the title of a block type in a user interface, e.g. `Acme files`.
fn title(slug: &TypeSlug) -> String {
    let words = slug.as_str().replace('-', " ");
    let mut characters = words.chars();
    characters.next().into_iter().flat_map(char::to_uppercase).chain(characters).collect()
}

/// Returns the name of a block type in Rust, e.g. `AcmeFiles`. A name that is not an identifier, or
/// that the template uses for something else, gets `Block` in front or at its end.
fn type_name(slug: &TypeSlug) -> String {
    let words = slug.as_str().split('-');
    let name: String = words
        .flat_map(|word| {
            let mut characters = word.chars();
            characters.next().into_iter().flat_map(char::to_uppercase).chain(characters)
        })
        .collect();
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        format!("Block{name}")
    } else if TAKEN.contains(&name.as_str()) {
        format!("{name}Block")
    } else {
        name
    }
}

/// Returns the lock file with the crate of a bundle in it. cargo sorts packages by name.
fn lock(bundle: &BundleName) -> String {
    let mut parts = LOCK.split("\n[[package]]\n");
    let head = parts.next().unwrap_or_default();
    let mut packages: Vec<String> =
        parts.map(|package| package.trim_end().replace("\"bundle-acme\"", &format!("\"bundle-{bundle}\""))).collect();
    packages.sort_by(|one, other| one.lines().next().cmp(&other.lines().next()));
    format!("{head}\n[[package]]\n{}\n", packages.join("\n\n[[package]]\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(folder: &Path) -> Result<Created, Error> {
        create(NewCrate {
            folder: folder.to_owned(),
            block_type: None,
            sdk: Sdk::Published(VersionReq::parse("0.1").expect("a requirement")),
        })
    }

    #[test]
    fn the_last_part_of_the_path_names_the_bundle() {
        let parent = tempfile::tempdir().expect("a folder");
        for (path, name) in [("acme/", "acme"), ("a/b/zoo-1", "zoo-1"), ("./c/../keeper//", "keeper")] {
            let created = new(&parent.path().join(path)).expect(path);
            assert_eq!(created.bundle.as_str(), name);
            assert!(created.folder.join("src/lib.rs").is_file());
        }
        for (path, hint) in [("my_acme", Some("my-acme")), ("Acme", Some("acme")), ("é", None), ("-", None)] {
            let error = new(&parent.path().join(path)).expect_err(path);
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert_eq!(error.hints().to_vec(), hint.map(|name| format!("name the folder `{name}`")).as_slice());
            assert!(!parent.path().join(path).exists());
        }
    }

    #[test]
    fn existing_files_are_left_alone() {
        let parent = tempfile::tempdir().expect("a folder");
        let file = parent.path().join("file");
        std::fs::write(&file, "mine").expect("a file");
        assert_eq!(new(&file).expect_err("a file").kind(), ErrorKind::Conflict);
        let full = parent.path().join("full");
        std::fs::create_dir(&full).expect("a folder");
        new(&full).expect("an empty folder");
        assert_eq!(new(&full).expect_err("a folder with files").kind(), ErrorKind::Conflict);
        assert_eq!(new(&file.join("below")).expect_err("below a file").kind(), ErrorKind::Conflict);
        assert_eq!(std::fs::read(&file).expect("the file"), b"mine");
        #[cfg(unix)]
        {
            // A link to nothing must not make the crate appear elsewhere.
            let link = parent.path().join("link");
            std::os::unix::fs::symlink(parent.path().join("nowhere"), &link).expect("a link");
            new(&link).expect_err("a link to nothing");
            assert!(!parent.path().join("nowhere").exists());
        }
    }

    #[test]
    fn a_failed_creation_leaves_no_files() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("acme");
        let files = [("src/lib.rs", String::new()), ("src/lib.rs", String::new())];
        write(&folder, &files).expect_err("the same file twice");
        assert!(!folder.exists());
    }

    #[test]
    fn every_slug_has_a_type_name() {
        for (slug, name) in [
            ("acme", "Acme"),
            ("acme-files", "AcmeFiles"),
            ("3com", "Block3com"),
            ("self", "SelfBlock"),
            ("secret", "SecretBlock"),
            ("a-1-b", "A1B"),
            ("a--b", "AB"),
        ] {
            assert_eq!(type_name(&TypeSlug::new(slug).expect("a slug")), name);
        }
    }

    #[test]
    fn the_workspace_above_is_reported() {
        let parent = tempfile::tempdir().expect("a folder");
        std::fs::write(parent.path().join("Cargo.toml"), "[workspace]\n").expect("a file");
        let created = new(&parent.path().join("bundles/acme")).expect("a crate");
        assert_eq!(created.workspace_above, Some(parent.path().join("Cargo.toml")));
        let manifest = std::fs::read_to_string(created.folder.join("Cargo.toml")).expect("a file");
        let manifest: Table = manifest.parse().expect("TOML");
        assert_eq!(manifest["dependencies"]["blockyard-sdk"].as_str(), Some("^0.1"));
        assert!(!created.folder.join("Cargo.lock").exists());
    }

    #[test]
    fn packages_of_the_lock_file_are_sorted() {
        for name in ["acme", "zoo", "0"] {
            let lock = lock(&BundleName::new(name).expect("a name"));
            let names: Vec<&str> = lock.lines().filter(|line| line.starts_with("name = ")).collect();
            assert!(names.is_sorted() && names.contains(&format!("name = \"bundle-{name}\"").as_str()), "{lock}");
        }
    }
}
