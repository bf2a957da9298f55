//! An argument of `install`: a path or a name.

use std::path::{Path, PathBuf};

use blockyard::{Error, ErrorKind, model::BundleName};
use semver::VersionReq;

/// What to install.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum InstallTarget {
    /// A bundle of a registry, in a version that fits.
    Registry {
        /// The bundle's name.
        name: BundleName,
        /// The versions that fit.
        requirement: VersionReq,
    },
    /// A component file.
    File(PathBuf),
    /// The folder of a crate, which is built.
    Crate(PathBuf),
}

impl InstallTarget {
    /// Parses an argument: a path if it contains `/`, ends in `.wasm` or is `.`, and else `NAME` or
    /// `NAME@REQUIREMENT`. What the current folder holds makes no difference.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let path = Path::new(text);
        if text.ends_with(".wasm") {
            return Ok(Self::File(path.to_owned()));
        }
        if text == "." || text.contains('/') || cfg!(windows) && text.contains('\\') {
            // A path was written: only its kind is looked up.
            return Ok(if path.is_file() { Self::File(path.to_owned()) } else { Self::Crate(path.to_owned()) });
        }
        let (name, requirement) = text.split_once('@').unwrap_or((text, "*"));
        let requirement = VersionReq::parse(requirement).map_err(|error| {
            Error::new(ErrorKind::Usage, format!("`{requirement}` is not a version requirement"))
                .because(error)
                .hint("write for example `sql@0.1`, `sql@=0.1.2` or `sql@>=0.1,<0.3`")
        })?;
        let name = BundleName::new(name).map_err(|error| {
            Error::from(error).hint(format!("a path has a `/`, as in `./{text}`, or ends in `.wasm`"))
        })?;
        Ok(Self::Registry { name, requirement })
    }
}
