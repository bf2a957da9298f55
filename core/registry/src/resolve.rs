//! Selects the release of a bundle from registries. All commands that need a release use this one
//! resolver, so that they see the same releases.

use std::fmt;

use blockyard_model::suggestion::did_you_mean;
use blockyard_model::{BundleName, WIT_VERSION};
use semver::{Version, VersionReq};

use crate::index::{Entry, Registry, Release};
use crate::remote_error::RemoteError;

/// A requested release.
#[derive(Debug, Clone)]
pub struct Requested<'a> {
    /// Name of the bundle.
    pub name: &'a BundleName,
    /// Permitted versions. A pre-release must be named, as in `=1.0.0-beta.1`.
    pub requirement: &'a VersionReq,
    /// A version that a lock file names. It may be withdrawn.
    pub locked: Option<&'a Version>,
}

/// The selected release.
#[derive(Debug, Clone, Copy)]
pub struct Resolved<'a> {
    /// The registry, the first one that has a fitting release.
    pub registry: &'a Registry,
    /// The entry of the bundle.
    pub entry: &'a Entry,
    /// The newest release that fits.
    pub release: &'a Release,
}

/// No registry has a fitting release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// No registry lists the bundle.
    #[error("no registry has a bundle `{name}` (searched: {})", .searched.join(", "))]
    NoBundle {
        /// The requested name.
        name: BundleName,
        /// The searched registries, by name.
        searched: Vec<String>,
        /// Suggestion of a similar name.
        hint: Option<String>,
    },
    /// The entry of the bundle is not valid, in the first registry that lists it.
    #[error("registry `{registry}`: {reason}")]
    Broken {
        /// Name of the registry.
        registry: String,
        /// The error of the entry.
        reason: String,
    },
    /// The first registry that could have the bundle cannot be read.
    #[error("registry `{registry}` is not available")]
    Unavailable {
        /// Name of the registry.
        registry: String,
        /// The cause.
        source: Box<RemoteError>,
    },
    /// The bundle is listed, but none of its releases fits.
    #[error("no release of `{name}` fits `{requirement}`")]
    NoRelease {
        /// Name of the bundle.
        name: BundleName,
        /// The version requirement.
        requirement: String,
        /// All considered releases, newest first, in the order of the registries.
        considered: Vec<Rejected>,
    },
}

/// A release that was not selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Name of the registry.
    pub registry: String,
    /// Version of the release.
    pub version: Version,
    /// The reason.
    pub reason: RejectedBecause,
}

/// The reason why a release was not selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RejectedBecause {
    /// The version is outside of the requirement.
    OutsideRequirement,
    /// It is a pre-release, which must be requested by name.
    PreRelease,
    /// It was built for another version of the interface between host and bundle.
    OtherInterface(String),
    /// It is withdrawn.
    Withdrawn,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { registry, version, reason } = self;
        write!(f, "{version} in `{registry}`: ")?;
        match reason {
            RejectedBecause::OutsideRequirement => f.write_str("outside of the requirement"),
            RejectedBecause::PreRelease => write!(f, "a pre-release, which must be requested as `={version}`"),
            RejectedBecause::OtherInterface(wit) => {
                write!(f, "requires interface version {wit}; this version of Blockyard supports {WIT_VERSION}")
            }
            RejectedBecause::Withdrawn => f.write_str("withdrawn by its registry"),
        }
    }
}

/// Returns the newest fitting release in the first registry that has one.
///
/// # Errors
/// Returns [`Unresolved`], which lists all considered releases with the reasons.
pub fn resolve<'a>(registries: &'a [Registry], requested: &Requested<'_>) -> Result<Resolved<'a>, Unresolved> {
    let mut considered = Vec::new();
    for registry in registries {
        // A later registry does not stand in for one that cannot be read: it has another owner.
        if let Some(error) = &registry.unavailable {
            return Err(Unresolved::Unavailable { registry: registry.name.clone(), source: Box::new(error.clone()) });
        }
        let Some(entry) = registry.entry_of(requested.name) else {
            // A later registry does not stand in for an invalid entry: it has another owner.
            match registry.broken.iter().find(|broken| broken.name.as_deref() == Some(requested.name.as_str())) {
                Some(broken) => {
                    return Err(Unresolved::Broken { registry: registry.name.clone(), reason: broken.to_string() });
                }
                None => continue,
            }
        };
        for release in &entry.releases {
            match rejection(release, requested) {
                None => return Ok(Resolved { registry, entry, release }),
                Some(reason) => considered.push(Rejected {
                    registry: registry.name.clone(),
                    version: release.version.clone(),
                    reason,
                }),
            }
        }
    }
    Err(unresolved(registries, requested, considered))
}

/// Returns the reason why a release does not fit, or `None` if it fits.
fn rejection(release: &Release, requested: &Requested<'_>) -> Option<RejectedBecause> {
    let Release { version, wit, yanked, .. } = release;
    if !requested.requirement.matches(version) {
        // `matches` rejects a pre-release unless the requirement names one of the same version.
        let released = Version::new(version.major, version.minor, version.patch);
        let because_of_pre = !version.pre.is_empty() && requested.requirement.matches(&released);
        return Some(if because_of_pre { RejectedBecause::PreRelease } else { RejectedBecause::OutsideRequirement });
    }
    if wit != WIT_VERSION {
        return Some(RejectedBecause::OtherInterface(wit.clone()));
    }
    (*yanked && requested.locked != Some(version)).then_some(RejectedBecause::Withdrawn)
}

fn unresolved(registries: &[Registry], requested: &Requested<'_>, considered: Vec<Rejected>) -> Unresolved {
    let name = requested.name.clone();
    if !considered.is_empty() || registries.iter().any(|registry| registry.entry_of(&name).is_some()) {
        return Unresolved::NoRelease { name, requirement: requested.requirement.to_string(), considered };
    }
    let known = registries.iter().flat_map(|registry| registry.entries.iter().map(|entry| entry.name.as_str()));
    Unresolved::NoBundle {
        hint: did_you_mean(name.as_str(), known),
        searched: registries.iter().map(|registry| format!("`{}`", registry.name)).collect(),
        name,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const FIRST: &str = r#"
        version = 1
        name = "first"
        [[bundle]]
        name = "sql"
        release = [
            { version = "0.2.0", wit = "0.1", source = { path = "a" } },
            { version = "0.3.0", wit = "0.1", source = { path = "a" }, yanked = true },
            { version = "0.4.0-beta.1", wit = "0.1", source = { path = "a" } },
            { version = "2.0.0", wit = "0.9", source = { path = "a" } },
            { version = "0.1.0", wit = "0.1", source = { path = "a" } },
        ]
        [[bundle]]
        name = "broken"
        release = [{ version = "0.1.0", wit = "0.1", source = { url = "broken.wasm" } }]
        [[bundle]]
        name = "empty"
    "#;

    const SECOND: &str = r#"
        version = 1
        name = "second"
        [[bundle]]
        name = "broken"
        release = [{ version = "0.1.0", wit = "0.1", source = { path = "a" } }]
        [[bundle]]
        name = "sql"
        release = [{ version = "1.5.0", wit = "0.1", source = { path = "a" } }]
    "#;

    fn check(requested: &str, locked: Option<&str>, expected: Expect) {
        let (name, requirement) = requested.split_once('@').unwrap_or((requested, "*"));
        let name = BundleName::new(name).expect("a name");
        let requirement = VersionReq::parse(requirement).expect("a requirement");
        let locked = locked.map(|text| Version::parse(text).expect("a version"));
        let registries = [FIRST, SECOND]
            .map(|text| Registry::parse(text, std::path::PathBuf::from("/registry")).expect("a good registry"));
        let requested = Requested { name: &name, requirement: &requirement, locked: locked.as_ref() };
        let text = match resolve(&registries, &requested) {
            Ok(Resolved { registry, release, .. }) => format!("{} in {}", release.version, registry.name),
            Err(Unresolved::NoRelease { considered, .. }) if considered.is_empty() => "no releases".to_owned(),
            Err(error) => {
                let mut lines = vec![error.to_string()];
                match &error {
                    Unresolved::NoRelease { considered, .. } => {
                        lines.extend(considered.iter().map(ToString::to_string))
                    }
                    Unresolved::NoBundle { hint, .. } => lines.extend(hint.clone()),
                    Unresolved::Broken { .. } | Unresolved::Unavailable { .. } => {}
                }
                lines.join("\n")
            }
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn the_newest_matching_release_of_the_first_registry_is_selected() {
        check("sql", None, expect!["0.2.0 in first"]);
        check("sql@=0.1.0", None, expect!["0.1.0 in first"]);
        check("sql@^1", None, expect!["1.5.0 in second"]);
        check("sql@=0.4.0-beta.1", None, expect!["0.4.0-beta.1 in first"]);
        check("sql@=0.3.0", Some("0.3.0"), expect!["0.3.0 in first"]);
    }

    #[test]
    fn considered_releases_are_listed_with_the_reason() {
        check(
            "sql@^2",
            None,
            expect![[r#"
            no release of `sql` fits `^2`
            2.0.0 in `first`: requires interface version 0.9; this version of Blockyard supports 0.1
            0.4.0-beta.1 in `first`: outside of the requirement
            0.3.0 in `first`: outside of the requirement
            0.2.0 in `first`: outside of the requirement
            0.1.0 in `first`: outside of the requirement
            1.5.0 in `second`: outside of the requirement"#]],
        );
        check(
            "sql@>=0.3, <1",
            None,
            expect![[r#"
            no release of `sql` fits `>=0.3, <1`
            2.0.0 in `first`: outside of the requirement
            0.4.0-beta.1 in `first`: a pre-release, which must be requested as `=0.4.0-beta.1`
            0.3.0 in `first`: withdrawn by its registry
            0.2.0 in `first`: outside of the requirement
            0.1.0 in `first`: outside of the requirement
            1.5.0 in `second`: outside of the requirement"#]],
        );
        check(
            "sq",
            None,
            expect![[r#"
            no registry has a bundle `sq` (searched: `first`, `second`)
            did you mean `sql`?"#]],
        );
        check(
            "broken",
            None,
            expect!["registry `first`: entry 2 (`broken`): release 0.1.0: `sha256` is required for a `url` source"],
        );
        check("empty", None, expect!["no releases"]);
    }

    #[test]
    fn a_registry_that_cannot_be_read_is_not_passed_over() {
        let parsed = || Registry::parse(FIRST, std::path::PathBuf::from("/registry")).expect("a good registry");
        let unavailable = || {
            let url = url::Url::parse("https://r.example/").expect("a URL");
            let error = RemoteError::Unreachable { url: url.to_string(), reason: "no route".to_owned() };
            Registry::unavailable("acme".to_owned(), url, error)
        };
        let name = BundleName::new("sql").expect("a name");
        let requested = Requested { name: &name, requirement: &VersionReq::STAR, locked: None };
        let error = resolve(&[unavailable(), parsed()], &requested).expect_err("the first registry is asked first");
        assert_eq!(error.to_string(), "registry `acme` is not available");
        assert!(resolve(&[parsed(), unavailable()], &requested).is_ok());
    }
}
