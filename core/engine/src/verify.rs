//! Verifies the bundles in a yard: the bytes, their signature, the manifest, that the code still loads,
//! and that the grants are within the manifest.

use blockyard_model::{BundleName, Digest, Manifest, visible};
use blockyard_registry::PublicKey;
use blockyard_store::BundleRecord;
use semver::Version;
use serde::Serialize;
use serde_json::Value;

use crate::source::BundleSource;
use crate::{Error, ErrorKind, Yard};

/// Result of verifying the bundles of a yard.
#[derive(Debug, Clone, Serialize)]
pub struct Verification {
    /// `true` if no bundle has a problem.
    pub passed: bool,
    /// The bundles, ordered by name: installed versions, then uninstalled ones that the yard still has.
    pub bundles: Vec<VerifiedBundle>,
}

/// Result of verifying one version of a bundle.
#[derive(Debug, Clone, Serialize)]
pub struct VerifiedBundle {
    /// Bundle name.
    pub name: String,
    /// Version number.
    pub version: String,
    /// sha256 that the yard records for the component file.
    pub sha256: String,
    /// `true` if the version is installed. An uninstalled one opens old revisions.
    pub installed: bool,
    /// Key that signed the bytes. `None` if they are unsigned.
    pub signer: Option<String>,
    /// State of the signature.
    pub signature: SignatureState,
    /// The problems. Empty if the bundle passed.
    pub problems: Vec<BundleProblem>,
}

/// State of a bundle's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignatureState {
    /// The signature was verified with the signer's key.
    Valid,
    /// The bundle was installed unsigned.
    Unsigned,
    /// The bundle was signed when it was installed, by a version of Blockyard that did not store the
    /// signature.
    NotStored,
    /// The signature is not valid.
    Invalid,
}

/// A problem of a bundle.
#[derive(Debug, Clone, Serialize)]
pub struct BundleProblem {
    /// Failed check.
    pub check: BundleCheck,
    /// Description of the problem.
    pub message: String,
    /// Kind of the error, which determines how severe the problem is.
    #[serde(skip)]
    pub kind: ErrorKind,
}

/// A check of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BundleCheck {
    /// The bytes have the recorded digest.
    Digest,
    /// The signature is one of the recorded signer, for this name and version.
    Signature,
    /// The recorded manifest is the embedded one, and the one that the code returns.
    Manifest,
    /// The code loads.
    Load,
    /// Each grant is requested by an installed version.
    Grants,
}

impl Yard {
    /// Verifies all bundles of the yard. Changes nothing. `progress` is called with the name and version of
    /// each bundle.
    ///
    /// # Errors
    /// Returns an error if the database cannot be read. A problem of a bundle is not an error.
    pub async fn verify(&self, progress: &mut (dyn FnMut(&str) + Send)) -> Result<Verification, Error> {
        let installed = self.store().bundles().await?;
        let uninstalled = self.store().uninstalled_bundles().await?;
        let mut bundles = Vec::new();
        for record in installed.iter().chain(&uninstalled) {
            progress(&format!("{} {}", record.name, record.version));
            bundles.push(self.verify_bundle(record).await?);
        }
        for (name, message) in self.foreign_grants(&installed).await? {
            let problem = BundleProblem { check: BundleCheck::Grants, message, kind: ErrorKind::Denied };
            // The newest version is listed last.
            if let Some(bundle) = bundles.iter_mut().rfind(|bundle| bundle.installed && bundle.name == name) {
                bundle.problems.push(problem);
            }
        }
        Ok(Verification { passed: bundles.iter().all(|bundle| bundle.problems.is_empty()), bundles })
    }

    async fn verify_bundle(&self, record: &BundleRecord) -> Result<VerifiedBundle, Error> {
        let mut bundle = VerifiedBundle::new(record);
        let Some(bytes) = self.store().bundle_bytes(&record.digest).await? else {
            bundle.problem(BundleCheck::Digest, ErrorKind::Denied, "its bytes are missing from the yard");
            return Ok(bundle);
        };
        let found = Digest::of(&bytes);
        if found != record.digest {
            let message = format!("its bytes were changed: their sha256 is {found}");
            bundle.problem(BundleCheck::Digest, ErrorKind::Denied, &message);
        }
        bundle.verify_signature(record, &bytes);
        // Changed bytes are not compiled.
        if found == record.digest {
            self.verify_code(record, bytes, &mut bundle).await;
        }
        Ok(bundle)
    }

    /// Compares the recorded manifest with the bytes, and loads the code.
    async fn verify_code(&self, record: &BundleRecord, bytes: Vec<u8>, bundle: &mut VerifiedBundle) {
        // Compares the embedded manifest with the one that the code returns.
        let (code, _) = match self.load(bytes).await {
            Ok(loaded) => loaded,
            Err(error) => {
                let mut reasons = vec![error.to_string()];
                reasons.extend(error.causes());
                return bundle.problem(BundleCheck::Load, error.kind(), &reasons.join(": "));
            }
        };
        let same = |a: &str, b: &str| {
            let parsed = |text| serde_json::from_str::<Value>(text).ok();
            parsed(a).is_some_and(|manifest| Some(manifest) == parsed(b))
        };
        let manifest = code.manifest();
        if manifest.name.as_str() != record.name || manifest.version.to_string() != record.version {
            let message = format!("its bytes are those of bundle `{}` {}", manifest.name, manifest.version);
            bundle.problem(BundleCheck::Manifest, ErrorKind::Denied, &message);
        } else if !same(code.manifest_text(), &record.manifest) {
            let message = "the manifest in the yard differs from the one in its bytes";
            bundle.problem(BundleCheck::Manifest, ErrorKind::Denied, message);
        }
    }

    /// Returns the grants that no installed version of their bundle requests, each with the name of
    /// the bundle.
    async fn foreign_grants(&self, installed: &[BundleRecord]) -> Result<Vec<(String, String)>, Error> {
        let mut foreign = Vec::new();
        let mut names: Vec<&str> = installed.iter().map(|record| record.name.as_str()).collect();
        names.dedup();
        for name in names {
            let versions = installed.iter().filter(|record| record.name == name);
            let manifests: Vec<Manifest> =
                versions.filter_map(|record| Manifest::parse(&record.manifest).ok()).collect();
            for capability in self.store().grants(name).await? {
                if !manifests.iter().any(|manifest| manifest.requests(&capability)) {
                    let message = format!("`{capability}` is granted, but no installed version requests it");
                    foreign.push((name.to_owned(), message));
                }
            }
        }
        Ok(foreign)
    }
}

impl VerifiedBundle {
    /// Creates the result of a bundle before its first check.
    pub(crate) fn new(record: &BundleRecord) -> Self {
        Self {
            name: record.name.clone(),
            version: record.version.clone(),
            sha256: record.digest.to_string(),
            installed: record.uninstalled_at.is_none(),
            signer: BundleSource::parse(&record.source).signer().map(str::to_owned),
            signature: SignatureState::Unsigned,
            problems: Vec::new(),
        }
    }

    fn problem(&mut self, check: BundleCheck, kind: ErrorKind, message: &str) {
        self.problems.push(BundleProblem { check, message: message.to_owned(), kind });
    }

    /// Verifies the stored signature with the key of the signer.
    pub(crate) fn verify_signature(&mut self, record: &BundleRecord, bytes: &[u8]) {
        let Some(key) = self.signer.clone() else { return };
        let Some(signature) = &record.signature else {
            self.signature = SignatureState::NotStored;
            return;
        };
        let verified = || -> Result<(), String> {
            let key: PublicKey = key.parse().map_err(|error| format!("{error}"))?;
            let name = BundleName::new(record.name.as_str()).map_err(|error| error.to_string())?;
            let version: Version = record.version.parse().map_err(|error| format!("{error}"))?;
            key.verify(signature, bytes, &name, &version).map_err(|error| error.to_string())
        };
        match verified() {
            Ok(()) => self.signature = SignatureState::Valid,
            Err(reason) => {
                self.signature = SignatureState::Invalid;
                let message = format!("its signature is not valid: {}", visible::line(&reason));
                self.problem(BundleCheck::Signature, ErrorKind::Denied, &message);
            }
        }
    }
}

impl Verification {
    /// Returns an error with the problems of all bundles. `None` if all passed.
    #[must_use]
    pub fn error(&self) -> Option<Error> {
        let failed: Vec<&VerifiedBundle> = self.bundles.iter().filter(|bundle| !bundle.problems.is_empty()).collect();
        let problems = || failed.iter().flat_map(|bundle| &bundle.problems);
        // A bundle that was changed is more severe than one that cannot be loaded.
        let denied = problems().find(|problem| problem.kind == ErrorKind::Denied);
        let kind = denied.or_else(|| problems().next())?.kind;
        let mut message = format!("{} of {} bundles failed the verification", failed.len(), self.bundles.len());
        for bundle in &failed {
            for problem in &bundle.problems {
                let text = visible::line(&problem.message);
                message.push_str(&format!("\n  `{}` {}: {text}", bundle.name, bundle.version));
            }
        }
        Some(Error::new(kind, message).multi_line().hint(
            "restore the yard from a backup, or install the bundle again; find out which program modified the yard",
        ))
    }
}
