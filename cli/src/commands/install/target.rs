//! Arguments of `blockyard install`: paths and names.

use std::path::{Path, PathBuf};

use blockyard::{Error, ErrorKind, model::BundleName};
use semver::VersionReq;

/// Bundle to install.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum InstallTarget {
    /// Bundle from a registry.
    Registry {
        /// Name of the bundle.
        name: BundleName,
        /// Version requirement, e.g. `>=0.1,<0.3`. `None` if the argument has none.
        requirement: Option<VersionReq>,
    },
    /// Component file.
    File(PathBuf),
    /// Folder of a crate, which is built.
    Crate(PathBuf),
}

impl InstallTarget {
    /// Parses an argument. It is a path if it contains `/`, ends in `.wasm` or is `.`; otherwise it
    /// is `NAME` or `NAME@REQUIREMENT`, regardless of the content of the current folder.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let path = Path::new(text);
        if text.ends_with(".wasm") {
            return Ok(Self::File(path.to_owned()));
        }
        if text == "." || text.contains('/') || cfg!(windows) && text.contains('\\') {
            // The argument is a path; only its kind depends on the file system.
            return Ok(if path.is_file() { Self::File(path.to_owned()) } else { Self::Crate(path.to_owned()) });
        }
        let (name, requirement) = match text.split_once('@') {
            Some((name, requirement)) => (name, Some(parse_requirement(requirement)?)),
            None => (text, None),
        };
        let name = BundleName::new(name).map_err(|error| {
            Error::from(error).hint(format!("a path has a `/`, as in `./{text}`, or ends in `.wasm`"))
        })?;
        Ok(Self::Registry { name, requirement })
    }
}

fn parse_requirement(text: &str) -> Result<VersionReq, Error> {
    VersionReq::parse(text).map_err(|error| {
        Error::new(ErrorKind::Usage, format!("`{text}` is not a version requirement"))
            .because(error)
            .hint("write for example `sql@0.1`, `sql@=0.1.2` or `sql@>=0.1,<0.3`")
    })
}
