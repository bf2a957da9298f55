//! `blockyard.toml`: the yard, the registries and the bundles that a project needs.
//!
//! The author of the folder writes this file, not the user who works in it, so it is untrusted
//! input. As the yard, it can name only a file inside its folder or a yard of the user's
//! configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;

use blockyard_model::suggestion::did_you_mean;
use blockyard_model::{BlockName, BundleName};
use semver::VersionReq;
use toml::{Table, Value};

use crate::address::{NamedRegistry, RegistryAddress, registries};
use crate::relative_path::RelativePath;

/// Permitted keys of the file.
const KEYS: [&str; 3] = ["yard", "registries", "bundles"];
/// Permitted keys of a registry's table. `unsigned` is not permitted: only the user's configuration
/// can exempt a remote registry from signature verification. A local registry can declare itself
/// unsigned in its own file. `token-service` is not permitted either: it decides which server receives
/// the user's password for the host of the registry, which the project names, too.
const REGISTRY_KEYS: [&str; 1] = ["url"];

/// A project file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProjectFile {
    /// The project's yard.
    pub yard: Option<ProjectYard>,
    /// The project's registries, in the order of the file. Paths are relative and inside the folder.
    pub registries: Vec<NamedRegistry>,
    /// The bundles that the project requires, with their version requirements.
    pub bundles: BTreeMap<BundleName, VersionReq>,
}

/// The yard of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProjectYard {
    /// `sqlite:PATH`: a file inside the project's folder.
    File(RelativePath),
    /// A yard of the user's configuration, `[yards.NAME]`.
    Named(BlockName),
}

/// An error in a project file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProjectError {
    /// The file is not valid TOML.
    #[error("line {line}: {reason}")]
    Syntax {
        /// Line number, starting at 1.
        line: usize,
        /// The cause. It does not quote the line, which may contain a password.
        reason: String,
    },
    /// The file has an unknown key.
    #[error("unknown key `{name}`")]
    Unknown {
        /// The key.
        name: String,
        /// A similar known key, if any.
        hint: Option<String>,
    },
    /// The yard is neither a path inside the folder nor a name. The value is not quoted, because it
    /// may contain a password.
    #[error("`yard` is neither `sqlite:PATH` with a path inside the folder nor the name of a yard")]
    Yard,
    /// Another value is not valid.
    #[error("`{key}` {reason}")]
    Value {
        /// The key.
        key: String,
        /// The cause.
        reason: String,
    },
}

impl ProjectFile {
    /// Name of the project file.
    pub const NAME: &'static str = "blockyard.toml";

    /// Parses a project file.
    ///
    /// # Errors
    /// Returns a [`ProjectError`] for the first error in the file.
    pub fn parse(text: &str) -> Result<Self, ProjectError> {
        let project: Table = text.parse().map_err(|error: toml::de::Error| ProjectError::Syntax {
            line: line(text, &error),
            reason: error.message().to_owned(),
        })?;
        if let Some(unknown) = project.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(ProjectError::Unknown { name: unknown.clone(), hint: did_you_mean(unknown, KEYS) });
        }
        let yard = project.get("yard").map(|yard| yard.as_str().and_then(ProjectYard::parse).ok_or(ProjectError::Yard));
        let registries = registries(project.get("registries"), &REGISTRY_KEYS, inside)
            .map_err(|(key, reason)| ProjectError::Value { key, reason })?;
        Ok(Self { yard: yard.transpose()?, registries, bundles: bundles(project.get("bundles"))? })
    }
}

impl ProjectYard {
    /// Parses the value of `yard`. This is an allowlist: `sqlite:` with a [`RelativePath`], or a
    /// name.
    fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("sqlite:") {
            Some(path) => path.parse().ok().map(Self::File),
            None => BlockName::new(text).ok().map(Self::Named),
        }
    }
}

/// Checks that the path of a local registry is inside the project's folder.
fn inside(address: RegistryAddress) -> Result<RegistryAddress, String> {
    match &address {
        RegistryAddress::Remote(_) => Ok(address),
        RegistryAddress::Path(path) => {
            let relative = path.to_str().unwrap_or_default().parse::<RelativePath>();
            relative
                .map(|path| RegistryAddress::Path(PathBuf::from(path.to_string())))
                .map_err(|error| error.to_string())
        }
    }
}

fn bundles(value: Option<&Value>) -> Result<BTreeMap<BundleName, VersionReq>, ProjectError> {
    let wrong = |key: String, reason: String| ProjectError::Value { key, reason };
    let Some(value) = value else { return Ok(BTreeMap::new()) };
    let table = value.as_table().ok_or_else(|| wrong("bundles".to_owned(), "is not a table".to_owned()))?;
    let read = |(name, requirement): (&String, &Value)| {
        let key = || format!("bundles.{name}");
        let bundle = BundleName::new(name.as_str()).map_err(|error| wrong(key(), error.to_string()))?;
        let requirement = requirement
            .as_str()
            .and_then(|text| VersionReq::parse(text).ok())
            .ok_or_else(|| wrong(key(), "is not a version requirement such as `^0.1`".to_owned()))?;
        Ok((bundle, requirement))
    };
    table.iter().map(read).collect()
}

/// Returns the line number of an error, starting at 1.
pub(crate) fn line(text: &str, error: &toml::de::Error) -> usize {
    let at = error.span().map_or(0, |span| span.start.min(text.len()));
    text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    fn yard(value: &str) -> Result<Option<ProjectYard>, ProjectError> {
        ProjectFile::parse(&format!("yard = {}", Value::from(value))).map(|file| file.yard)
    }

    #[test]
    fn a_project_names_a_file_inside_or_a_yard_of_the_user() {
        assert_eq!(ProjectFile::parse(""), Ok(ProjectFile::default()));
        assert_eq!(yard("prod"), Ok(Some(ProjectYard::Named(BlockName::new("prod").expect("a name")))));
        assert_eq!(yard("sqlite:a/yard.db"), Ok(Some(ProjectYard::File("a/yard.db".parse().expect("a path")))));
        for refused in [
            "postgres://evil.example/x",
            "postgres:?host=127.0.0.1&port=18474&user=victim&sslmode=disable",
            "postgres:/x?host=evil.example",
            "postgresql:x?host=evil.example",
            "POSTGRES:?host=evil.example",
            "https://evil.example",
            "sqlite://x",
            "sqlite:/etc/passwd",
            "sqlite:../yard.db",
            "sqlite:a/../../yard.db",
            "sqlite:yard.db?vfs=x",
            "sqlite:",
            "sqlite::memory:",
            "SQLITE:yard.db",
            "Prod",
            "prod ",
            "",
        ] {
            assert_eq!(yard(refused), Err(ProjectError::Yard), "{refused}");
        }
        assert_eq!(ProjectFile::parse("yard = 1"), Err(ProjectError::Yard));
        let unknown = ProjectFile::parse("yardd = \"x\"").expect_err("no such key");
        assert!(matches!(unknown, ProjectError::Unknown { hint: Some(_), .. }));
    }

    #[test]
    fn registries_of_a_project_are_inside_its_folder_or_on_a_server() {
        let read = |value: &str| ProjectFile::parse(&format!("[registries]\nours = {value}"));
        for good in ["\"registry.toml\"", "\"a/b\"", "\"https://r.example/x\"", "{ url = \"oci://r.example/x\" }"] {
            assert_eq!(read(good).map(|file| file.registries.len()), Ok(1), "{good}");
        }
        for bad in [
            "\"/etc\"",
            "\"../x\"",
            "\"http://r.example\"",
            "\"file:///x\"",
            "\"\"",
            "1",
            "{ url = \"x\", unsigned = true }",
            "{ url = \"oci://r.example/x\", ca = \"x\" }",
            "{ url = \"oci://r.example/x\", token-service = \"https://r.example\" }",
        ] {
            assert!(matches!(read(bad), Err(ProjectError::Value { .. })), "{bad}");
        }
        let theirs = "{ url = \"oci://r.example/x\", token-service = \"https://evil.example\" }";
        assert_eq!(
            read(theirs).expect_err("the user's password").to_string(),
            "`registries.ours` has a `token-service`, which receives your password: \
             set it in `[registries]` of your own configuration"
        );
        assert!(ProjectFile::parse("[bundles]\nsql = \"many\"").is_err());
        assert!(ProjectFile::parse("[bundles]\nSQL = \"^0.1\"").is_err());
    }

    #[test]
    fn an_invalid_line_is_not_quoted() {
        let broken = ProjectFile::parse("yard = \"x\"\npassword = hunter2 x\n").expect_err("no TOML").to_string();
        assert!(broken.starts_with("line 2: ") && !broken.contains("hunter2"), "{broken}");
        let refused = yard("postgres://u:hunter2@h/d").expect_err("a server").to_string();
        assert!(!refused.contains("hunter2"), "{refused}");
    }

    proptest! {
        /// Every value of `yard` is a path inside the folder, a name, or rejected.
        #[test]
        fn a_yard_must_be_a_path_inside_the_folder_or_a_name(
            text in prop_oneof![
                any::<String>(),
                "(sqlite|postgres|postgresql|https|file)?:?/{0,3}[a-zA-Z0-9./\\\\?&=@:%~ -]{0,24}",
            ],
        ) {
            match yard(&text) {
                Err(error) => prop_assert_eq!(error, ProjectError::Yard),
                Ok(None) => prop_assert!(false, "a yard was dropped"),
                Ok(Some(ProjectYard::Named(name))) => prop_assert_eq!(name.as_str(), text),
                Ok(Some(ProjectYard::File(path))) => {
                    prop_assert_eq!(format!("sqlite:{path}"), text);
                    let path = path.to_string();
                    prop_assert!(Path::new(&path).components().all(|part| matches!(part, Component::Normal(_))));
                }
            }
        }
    }
}
