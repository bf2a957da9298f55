//! Inspects the component file of a bundle without running its code: the manifest, the imports, and the sizes
//! of its sections.

use std::fs::File;
use std::io::{ErrorKind as IoErrorKind, Read as _};
use std::path::Path;

use blockyard_host::{HostError, examine, limits};
use blockyard_model::{BundleName, Digest, Manifest};
use blockyard_registry::component;
use blockyard_registry::sections::{self, SectionDifference, SectionSizes};
use blockyard_store::BundleRecord;
use semver::Version;
use serde::Serialize;
use serde_json::Value;

use crate::manifest_view::{CapabilityView, ManifestView};
use crate::source::BundleSource;
use crate::verify::{SignatureState, VerifiedBundle};
use crate::yard::bundle_bytes;
use crate::{Error, ErrorKind, TypeView, Yard};

/// Prefix of the names of the interfaces that the host provides.
pub(crate) const PACKAGE: &str = "blockyard:bundle/";

/// A component file, for display and for programs.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// Bundle name.
    pub name: String,
    /// Bundle version.
    pub version: String,
    /// Short description.
    pub description: String,
    /// Version of the interface between host and bundle.
    pub wit: String,
    /// SPDX license expression.
    pub license: Option<String>,
    /// URL of the home page.
    pub homepage: Option<String>,
    /// URL of the source code.
    pub repository: Option<String>,
    /// sha256 of the file.
    pub sha256: String,
    /// Sizes of the sections in bytes.
    pub size: SectionSizes,
    /// Tools that built the file, each with its version, as the file names them.
    pub tools: Vec<String>,
    /// State in the yard. `None` for a file.
    pub installed: Option<InstalledState>,
    /// Slugs of the block types.
    pub types: Vec<String>,
    /// Capabilities that the bundle requests.
    pub capabilities: Vec<CapabilityView>,
    /// Interfaces of the host that the component imports.
    pub imports: Vec<String>,
    /// Definitions of the block types.
    pub definitions: Vec<TypeView>,
}

/// State of an installed bundle in its yard.
#[derive(Debug, Clone, Serialize)]
pub struct InstalledState {
    /// Source from which the bundle was installed.
    pub source: String,
    /// State of the signature.
    pub signature: SignatureState,
    /// Key that signed the bundle. `None` if it is unsigned.
    pub signer: Option<String>,
    /// Time of installation.
    pub at: jiff::Timestamp,
}

/// Reads a component file of any size that a bundle may have.
///
/// # Errors
/// Returns an error if the file cannot be read, or is larger than a bundle may be.
pub fn read_component(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |error: std::io::Error| {
        let kind = if error.kind() == IoErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Remote };
        Error::new(kind, format!("`{}` cannot be read", path.display())).because(error)
    };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        let message = format!("`{}` is a folder, not a component file", path.display());
        return Err(Error::new(ErrorKind::Usage, message).hint("name the .wasm file of the bundle"));
    }
    let limit = limits::COMPONENT_BYTES as u64;
    let mut bytes = Vec::new();
    // A pipe or a device reports no size.
    let read = file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)? as u64;
    if read > limit {
        let size = if metadata.len() > limit { metadata.len().to_string() } else { format!("more than {limit}") };
        let message = format!("`{}` has {size} bytes; the limit of a bundle is {limit}", path.display());
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    Ok(bytes)
}

/// Describes a component file. Its code is not run.
///
/// # Errors
/// Returns an error if the bytes are not a component with one valid manifest.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, Error> {
    examine(bytes)?;
    let text = component::manifest(bytes)?;
    if text.len() > limits::MANIFEST_BYTES {
        let (bytes, limit) = (text.len(), limits::MANIFEST_BYTES);
        return Err(HostError::NotABundle(format!("its manifest has {bytes} bytes; the limit is {limit}")).into());
    }
    Manifest::parse(text).map_err(HostError::Manifest)?;
    let manifest: Value = serde_json::from_str(text)
        .map_err(|error| Error::new(ErrorKind::Invalid, "the manifest is not JSON").because(error))?;
    let ManifestView { name, version, wit, description, license, homepage, repository, capabilities, definitions } =
        ManifestView::of(&manifest);
    let imports = sections::imports(bytes)?;
    let imports = imports.iter().map(|name| name.strip_prefix(PACKAGE).unwrap_or(name).to_owned());
    Ok(Inspection {
        types: definitions.iter().map(|view| view.slug.clone()).collect(),
        name,
        version,
        description,
        wit,
        license,
        homepage,
        repository,
        sha256: Digest::of(bytes).to_string(),
        size: sections::sizes(bytes)?,
        tools: tools(bytes)?,
        installed: None,
        capabilities,
        imports: imports.collect(),
        definitions,
    })
}

/// Returns the tools that built a component, each with its version.
fn tools(bytes: &[u8]) -> Result<Vec<String>, Error> {
    let tools = sections::tools(bytes)?;
    Ok(tools.into_iter().map(|(name, version)| format!("{name} {version}").trim().to_owned()).collect())
}

/// Comparison of a component file with the one that its crate builds.
#[derive(Debug, Clone, Serialize)]
pub struct Reproduction {
    /// `true` if both files have the same bytes.
    pub reproduced: bool,
    /// sha256 of the rebuilt file.
    pub sha256: String,
    /// Tools that built it, each with its version.
    pub tools: Vec<String>,
    /// Sections that differ: `first` is the size in the given file, `second` the size in the rebuilt file.
    pub differences: Vec<SectionDifference>,
    /// Explanations of the differences.
    pub reasons: Vec<String>,
}

/// Compares a component file with the one that was built from a crate.
///
/// # Errors
/// Returns an error if one of them is not a bundle.
pub fn compare_builds(given: &[u8], rebuilt: &[u8]) -> Result<Reproduction, Error> {
    let (one, other) = (inspect(given)?, inspect(rebuilt)?);
    let differences = sections::differences(given, rebuilt)?;
    let mut reasons = Vec::new();
    if (&one.name, &one.version) != (&other.name, &other.version) {
        let Inspection { name, version, .. } = &other;
        reasons.push(format!("the crate is bundle `{name}` {version}, the file is `{}` {}", one.name, one.version));
    }
    if one.tools != other.tools {
        let list = |tools: &[String]| if tools.is_empty() { "unknown tools".to_owned() } else { tools.join(", ") };
        reasons.push(format!("the file was built with {}, this build with {}", list(&one.tools), list(&other.tools)));
    }
    let has = |kind: &str| differences.iter().any(|difference| difference.section == kind);
    if reasons.is_empty() && (has("code") || has("data") || has("manifest")) {
        reasons.push(
            "the source, a version in Cargo.lock, or the path of a dependency outside of the crate differs".to_owned(),
        );
    }
    let reproduced = given == rebuilt;
    Ok(Reproduction { reproduced, sha256: other.sha256, tools: other.tools, differences, reasons })
}

impl Yard {
    /// Describes an installed bundle, as [`inspect`] describes a file: the given version, or the newest one.
    ///
    /// # Errors
    /// Returns an error if the bundle or the version is not installed, or if its bytes were changed.
    pub async fn inspect(&self, bundle: &BundleName, version: Option<&Version>) -> Result<Inspection, Error> {
        let (record, bytes) = self.installed_file(bundle, version).await?;
        let inspection = inspect(&bytes)?;
        let mut verified = VerifiedBundle::new(&record);
        verified.verify_signature(&record, &bytes);
        let installed = InstalledState {
            source: BundleSource::parse(&record.source).to_string(),
            signature: verified.signature,
            signer: verified.signer,
            at: crate::timestamp(record.installed_at),
        };
        Ok(Inspection { installed: Some(installed), ..inspection })
    }

    /// Returns the bytes of an installed bundle: of the given version, or of the newest one.
    ///
    /// # Errors
    /// The same as for [`inspect`](Self::inspect).
    pub async fn component(&self, bundle: &BundleName, version: Option<&Version>) -> Result<Vec<u8>, Error> {
        Ok(self.installed_file(bundle, version).await?.1)
    }

    async fn installed_file(
        &self,
        bundle: &BundleName,
        version: Option<&Version>,
    ) -> Result<(BundleRecord, Vec<u8>), Error> {
        let record = self.installed_record(bundle, version).await?;
        let bytes = bundle_bytes(self.store(), &record.digest, &record.name).await?;
        Ok((record, bytes))
    }

    /// Returns the record of an installed version of a bundle, of the newest one by default.
    async fn installed_record(&self, bundle: &BundleName, version: Option<&Version>) -> Result<BundleRecord, Error> {
        let all = self.store().bundles().await?;
        let parsed = |record: &BundleRecord| Version::parse(&record.version).ok();
        let of_name: Vec<&BundleRecord> = all.iter().filter(|record| record.name == bundle.as_str()).collect();
        let fits = |record: &&&BundleRecord| version.is_none() || parsed(record).as_ref() == version;
        if let Some(found) = of_name.iter().filter(fits).max_by_key(|record| parsed(record)) {
            return Ok((*found).clone());
        }
        Err(match version.filter(|_| !of_name.is_empty()) {
            Some(version) => {
                let installed: Vec<String> = of_name.iter().map(|record| format!("`{}`", record.version)).collect();
                let message = format!("version {version} of bundle `{bundle}` is not installed");
                Error::new(ErrorKind::NotFound, message).hint(format!("installed: {}", installed.join(", ")))
            }
            None => self.not_installed(bundle.as_str()).await,
        })
    }
}
