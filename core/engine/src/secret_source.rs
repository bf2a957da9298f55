//! Checks which environment variables and files of this machine blocks may use as secret sources.
//!
//! Anyone with write access to a yard could store a block that names any variable or file, together
//! with a bundle that sends the secret to another host. Sources are therefore read only if the
//! current user alone can have written the yard, or if the user permits that source explicitly.

use std::path::{Path, PathBuf};

use blockyard_model::{SecretSource, SourcePattern, SplitDocument, Violation};

use crate::regular_file::is_same;
use crate::yard_files::yard_changeable_by_others;
use crate::{Code, Error, ErrorKind, Yard};

/// A permitted file, and the rule that permits it.
enum Permitted {
    /// The yard belongs to the user: the path as written in the block.
    Own(PathBuf),
    /// The user permits this resolved path.
    Listed(PathBuf),
}

/// The reason why the yard does not count as written by the current user alone, with a hint.
struct Foreign {
    reason: String,
    hint: Option<String>,
    /// File of the yard, if trusting the yard would permit its sources.
    yard: Option<PathBuf>,
}

impl Yard {
    /// Checks that blocks of this yard may use the environment variable.
    pub(crate) fn permit_variable(&self, name: &str) -> Result<(), Error> {
        let Some(foreign) = self.foreign()? else { return Ok(()) };
        let permitted = self.config().sources.iter().any(|pattern| pattern.permits_variable(name));
        if permitted { Ok(()) } else { Err(foreign.refuse(&SecretSource::Environment(name.to_owned()).to_string())) }
    }

    /// Opens a file that a block of this yard names as a source.
    pub(crate) async fn open_source(&self, named: &str) -> Result<tokio::fs::File, Error> {
        let permitted = self.permit_file(named)?;
        let cannot = |error: std::io::Error| Error::new(ErrorKind::Denied, error.to_string());
        match permitted {
            Permitted::Own(path) => tokio::fs::File::open(path).await.map_err(cannot),
            Permitted::Listed(path) => {
                let file = tokio::fs::File::open(&path).await.map_err(cannot)?;
                // A symbolic link created since the path was resolved would open another file.
                let opened = file.metadata().await.map_err(cannot)?;
                let there = path.canonicalize().ok().filter(|resolved| *resolved == path);
                let same =
                    there.and_then(|path| path.symlink_metadata().ok()).is_some_and(|now| is_same(&now, &opened));
                if same {
                    Ok(file)
                } else {
                    Err(Error::new(ErrorKind::Denied, "the file was replaced while it was being opened"))
                }
            }
        }
    }

    fn permit_file(&self, named: &str) -> Result<Permitted, Error> {
        let path = Path::new(named);
        if !path.is_absolute() {
            return Err(Error::new(
                ErrorKind::Denied,
                "the path is relative, so it would refer to a different file in each folder",
            )
            .hint("save the block with an absolute path, `file:/FOLDER/FILE`"));
        }
        let Some(foreign) = self.foreign()? else { return Ok(Permitted::Own(path.to_owned())) };
        let resolved = resolved(path);
        let permits = |pattern: &SourcePattern| resolved.as_deref().is_some_and(|path| pattern.permits_file(path));
        if let Some(path) = &resolved
            && self.config().sources.iter().any(permits)
        {
            return Ok(Permitted::Listed(path.clone()));
        }
        let shown = resolved.unwrap_or_else(|| path.to_owned());
        Err(foreign.refuse(&format!("file:{}", shown.display())))
    }

    /// Returns the reason why another user may have written this yard, or `None` if only the
    /// current user can have written it.
    fn foreign(&self) -> Result<Option<Foreign>, Error> {
        let Some(path) = self.store().location().file() else {
            let reason = "a yard in PostgreSQL can be written by everyone with access to its database".to_owned();
            return Ok(Some(Foreign { reason, hint: None, yard: None }));
        };
        let Some(trust) = &self.config().trust else {
            let reason = "this program does not record which yards its user created".to_owned();
            let hint = "permit the sources in `YardConfig::sources`, or record created yards with `YardConfig::trust`";
            return Ok(Some(Foreign { reason, hint: Some(hint.to_owned()), yard: None }));
        };
        if !trust.is_own_yard(path, self.id())? {
            let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
            return Ok(Some(Foreign {
                reason: "you did not create this yard on this machine".to_owned(),
                hint: None,
                yard: Some(path),
            }));
        }
        Ok(yard_changeable_by_others(path).map(|reason| Foreign {
            reason,
            hint: Some("remove other users' write access to the yard and its folder with `chmod go-w`".to_owned()),
            yard: None,
        }))
    }
}

/// Resolves symbolic links in a path, so that permissions apply to the actual file. If the file
/// does not exist, its folder is resolved.
fn resolved(path: &Path) -> Option<PathBuf> {
    let in_folder = || Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(in_folder)
}

impl Foreign {
    fn refuse(self, source: &str) -> Error {
        Error::new(ErrorKind::Denied, self.reason)
            .code(Code::SourceNotPermitted { source: source.to_owned(), yard: self.yard })
            .maybe_hint(self.hint)
    }
}

/// Returns a violation for each source that can never be used: a relative path, which names a
/// different file in each folder, or an invalid file or variable name. Such sources are refused on
/// save.
pub(crate) fn unusable_sources(document: &SplitDocument) -> Vec<Violation> {
    let unusable = document.sources().into_iter().filter_map(|(pointer, source)| {
        let message = match &source {
            SecretSource::File(path) if !Path::new(path).is_absolute() => {
                format!("has the source `{source}`, which is a relative path; write an absolute path")
            }
            SecretSource::File(path) if path.contains('\0') => "has a source with a null character".to_owned(),
            SecretSource::Environment(name) if name.contains(['=', '\0']) => {
                format!("has the source `{source}`, which is not a valid variable name")
            }
            _ => return None,
        };
        Some(Violation::new(pointer, message))
    });
    unusable.collect()
}
