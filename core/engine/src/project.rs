//! Finds and reads project files, before the user has trusted them.

use std::path::{Path, PathBuf};

use blockyard_host::limits::PROJECT_BYTES;
use blockyard_model::Digest;
use blockyard_registry::{NamedRegistry, ProjectError, ProjectFile, ProjectYard, RegistryAddress, RelativePath};

use crate::ownership::{Guard, folder_of, writable_by_others};
use crate::regular_file::{NotRead, read_regular};
use crate::{Code, Error, ErrorKind};

/// A project file. It is read once, so that the trusted bytes are the bytes in use.
///
/// Reading a project file has no effect. [`Trust`](crate::Trust) determines whether the user trusts
/// it.
#[derive(Debug, Clone)]
pub struct Project {
    path: PathBuf,
    digest: Digest,
    file: ProjectFile,
}

impl Project {
    /// Finds the nearest project file in a folder or its parent folders.
    ///
    /// # Errors
    /// Same as [`read`](Self::read).
    pub fn nearest(folder: &Path) -> Result<Option<Self>, Error> {
        let folder = folder.canonicalize().map_err(|error| unreadable(folder, &error))?;
        let candidates = folder.ancestors().map(|folder| folder.join(ProjectFile::NAME));
        // Skips folders with the name of a project file, and folders that this user cannot search.
        let found =
            candidates.into_iter().find(|path| path.symlink_metadata().is_ok_and(|metadata| !metadata.is_dir()));
        found.map(|path| Self::read(&path)).transpose()
    }

    /// Reads a project file.
    ///
    /// # Errors
    /// Returns an error if the file is not a regular file, cannot be read, or is not a valid
    /// project file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let path = absolute(path)?;
        let bytes = read(&path)?;
        let text = str::from_utf8(&bytes).map_err(|error| unreadable(&path, error))?;
        let file = ProjectFile::parse(text).map_err(|error| refused(&path, &error))?;
        Ok(Self { digest: Digest::of(&bytes), path, file })
    }

    /// Returns the absolute path of the file. Symbolic links in its folder are resolved.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the folder of the file.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Returns the sha256 of the file's bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the parsed content of the file.
    #[must_use]
    pub fn file(&self) -> &ProjectFile {
        &self.file
    }

    /// Returns the path of the yard inside the project folder, or `None` if the file does not
    /// specify the yard by path.
    ///
    /// # Errors
    /// Returns an error if a symbolic link points outside of the folder.
    pub fn yard_file(&self) -> Result<Option<PathBuf>, Error> {
        match &self.file.yard {
            Some(ProjectYard::File(path)) => self.inside(path).map(Some),
            Some(ProjectYard::Named(_)) | None => Ok(None),
        }
    }

    /// Returns the registries, with absolute paths.
    ///
    /// # Errors
    /// Returns an error if a symbolic link points outside of the folder.
    pub fn registries(&self) -> Result<Vec<NamedRegistry>, Error> {
        let located = |registry: &NamedRegistry| {
            let address = match &registry.address {
                RegistryAddress::Path(path) => {
                    let relative = path.to_string_lossy().parse::<RelativePath>();
                    let relative = relative.map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))?;
                    RegistryAddress::Path(self.inside(&relative)?)
                }
                remote @ RegistryAddress::Remote(_) => remote.clone(),
            };
            Ok(NamedRegistry { address, ..registry.clone() })
        };
        self.file.registries.iter().map(located).collect()
    }

    /// Describes each decision that the file makes for the user, one line per decision.
    ///
    /// # Errors
    /// Returns an error if a symbolic link points outside of the folder.
    pub fn decisions(&self) -> Result<Vec<String>, Error> {
        let mut decisions = Vec::new();
        match &self.file.yard {
            Some(ProjectYard::File(path)) => {
                let path = self.inside(path)?;
                let state = if path.exists() {
                    "which exists: its creator chose its bundles, their grants and its blocks"
                } else {
                    "which does not exist yet"
                };
                decisions.push(format!("the yard is `sqlite:{}`, {state}", path.display()));
            }
            Some(ProjectYard::Named(name)) => decisions.push(format!("the yard is `{name}` of your configuration")),
            None => {}
        }
        for registry in self.registries()? {
            let address = match registry.address {
                RegistryAddress::Path(path) => path.display().to_string(),
                RegistryAddress::Remote(url) => url.to_string(),
            };
            decisions.push(format!("bundles come from the registry `{}` at `{address}`", registry.name));
        }
        for (name, requirement) in &self.file.bundles {
            decisions
                .push(format!("the project requires the bundle `{name}` with a version that fits `{requirement}`"));
        }
        if let Ok(Some(reason)) = writable_by_others(&self.path, Guard::File) {
            decisions.push(format!("note: {reason}"));
        }
        Ok(decisions)
    }

    /// Resolves a path inside the folder. Symbolic links may point to other locations inside the
    /// folder, but not outside.
    fn inside(&self, relative: &RelativePath) -> Result<PathBuf, Error> {
        let folder = self.folder();
        let outside = || {
            let message = format!("`{relative}` in `{}` points outside of the project's folder", self.path.display());
            Error::new(ErrorKind::Denied, message).hint("a project file can name only files inside its folder")
        };
        let mut path = folder.to_owned();
        for component in relative.components() {
            path.push(component);
            if path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink()) {
                path = path.canonicalize().map_err(|_| outside())?;
            }
            if !path.starts_with(folder) {
                return Err(outside());
            }
        }
        Ok(path)
    }
}

/// Returns the absolute path of a file, with symbolic links resolved in its folder but not in the
/// file itself.
fn absolute(path: &Path) -> Result<PathBuf, Error> {
    let folder = folder_of(path).canonicalize().map_err(|error| unreadable(path, &error))?;
    Ok(folder.join(path.file_name().unwrap_or_default()))
}

/// Reads a project file.
fn read(path: &Path) -> Result<Vec<u8>, Error> {
    read_regular(path, PROJECT_BYTES).map_err(|error| match error {
        NotRead::Irregular => {
            let message = format!("`{}` is not a regular file, and was not used", path.display());
            Error::new(ErrorKind::Denied, message)
                .hint("a link could choose another project's file")
                .code(Code::ProjectFileIrregular)
        }
        NotRead::Replaced => unreadable(path, "it was replaced while it was read"),
        NotRead::TooLarge => unreadable(path, format!("it has more than {PROJECT_BYTES} bytes")),
        NotRead::Failed(error) => unreadable(path, error),
    })
}

fn unreadable(path: &Path, reason: impl ToString) -> Error {
    Error::new(ErrorKind::Invalid, format!("`{}` cannot be read", path.display())).because(reason.to_string())
}

fn refused(path: &Path, error: &ProjectError) -> Error {
    let refused = Error::new(ErrorKind::Invalid, format!("`{}`: {error}", path.display()));
    match error {
        ProjectError::Unknown { hint, .. } => refused.maybe_hint(hint.clone()),
        ProjectError::Yard => refused.hint(
            "for a server, or a file elsewhere, add `[yards.NAME]` with a `url` to your configuration, and write that name",
        ),
        ProjectError::Syntax { .. } | ProjectError::Value { .. } => refused,
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::{create_dir_all, write};
    use std::os::unix::fs::symlink;

    use super::*;

    fn project(text: &str) -> (tempfile::TempDir, Project) {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path().join(ProjectFile::NAME), text).expect("a file");
        create_dir_all(folder.path().join("a/b")).expect("folders");
        let project = Project::nearest(&folder.path().join("a/b")).expect("a good file").expect("there is one");
        (folder, project)
    }

    #[test]
    fn links_out_of_the_folder_are_rejected() {
        let outside = tempfile::tempdir().expect("a folder");
        write(outside.path().join("yard.db"), "x").expect("a file");
        let (folder, project) = project("yard = \"sqlite:data/yard.db\"");
        let resolved = folder.path().canonicalize().expect("its path");
        assert_eq!(project.yard_file().expect("inside"), Some(resolved.join("data/yard.db")));
        let data = folder.path().join("data");
        symlink(outside.path(), &data).expect("a link");
        assert_eq!(project.yard_file().expect_err("outside").kind(), ErrorKind::Denied);
        std::fs::remove_file(&data).expect("gone");
        symlink("a", &data).expect("a link inside");
        assert_eq!(project.yard_file().expect("inside"), Some(resolved.join("a/yard.db")));
        symlink(outside.path().join("yard.db"), folder.path().join("a/yard.db")).expect("a link");
        assert_eq!(project.yard_file().expect_err("outside").kind(), ErrorKind::Denied);
        // A dangling link is rejected as well, because its target could be created later.
        std::fs::remove_file(folder.path().join("a/yard.db")).expect("gone");
        symlink(outside.path().join("none.db"), folder.path().join("a/yard.db")).expect("a link");
        assert_eq!(project.yard_file().expect_err("outside").kind(), ErrorKind::Denied);
    }

    #[test]
    fn a_project_file_is_a_regular_file_of_a_mebibyte_at_most() {
        let (folder, _) = project("yard = \"prod\"");
        let other = tempfile::tempdir().expect("a folder");
        let link = other.path().join(ProjectFile::NAME);
        symlink(folder.path().join(ProjectFile::NAME), &link).expect("a link");
        assert_eq!(Project::nearest(other.path()).expect_err("a link").kind(), ErrorKind::Denied);
        std::fs::remove_file(&link).expect("gone");
        write(&link, "#".repeat(1 << 20)).expect("a file");
        assert!(Project::nearest(other.path()).expect("read").is_some());
        write(&link, "#".repeat((1 << 20) + 1)).expect("a file");
        assert_eq!(Project::nearest(other.path()).expect_err("too large").kind(), ErrorKind::Invalid);
    }
}
