//! Manifests of bundles in OCI registries: how a release is described there.
//!
//! A release is an image manifest with one layer, the component file, and a configuration of the
//! media type that the CNCF defines for WebAssembly
//! (<https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/>). Annotations hold what
//! `registry.toml` says of a release. They may instead be in an artifact that refers to the
//! manifest, for registries where releases are signed later.

use std::collections::BTreeMap;

use blockyard_model::{BundleName, Digest, Manifest as Bundle, WIT_VERSION};
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::index::{Release, Source};
use crate::signature::PublicKey;

/// Media type of image manifests.
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of lists of manifests.
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of the layer.
const COMPONENT: &str = "application/wasm";
/// Media type of the configuration.
const CONFIGURATION: &str = "application/vnd.wasm.config.v0+json";
/// Type of an artifact that holds the annotations of a release.
pub(crate) const ARTIFACT: &str = "application/vnd.blockyard.release.v1+json";

/// Annotations: those of the OCI image specification, and Blockyard's.
const TITLE: &str = "org.opencontainers.image.title";
const VERSION: &str = "org.opencontainers.image.version";
const DESCRIPTION: &str = "org.opencontainers.image.description";
const LICENSES: &str = "org.opencontainers.image.licenses";
const SIGNATURE: &str = "dev.blockyard.signature";
const KEY: &str = "dev.blockyard.key";
const WIT: &str = "dev.blockyard.wit";
const CAPABILITIES: &str = "dev.blockyard.capabilities";
const TYPES: &str = "dev.blockyard.types";
const YANKED: &str = "dev.blockyard.yanked";

/// An image manifest, as far as Blockyard reads it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ManifestFormat {
    schema_version: u8,
    #[serde(default)]
    media_type: String,
    config: Descriptor,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

/// A reference to content by its digest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: String,
    #[serde(default)]
    pub(crate) size: u64,
    #[serde(default, skip_serializing)]
    pub(crate) artifact_type: Option<String>,
}

/// A list of manifests: the artifacts that refer to a manifest.
#[derive(Debug, Deserialize)]
pub(crate) struct IndexFormat {
    #[serde(default)]
    pub(crate) manifests: Vec<Descriptor>,
}

/// A release in an OCI registry, with the facts of the bundle in this version.
#[derive(Debug, Clone)]
pub(crate) struct OciRelease {
    pub(crate) release: Release,
    pub(crate) description: String,
    pub(crate) license: Option<String>,
    pub(crate) types: Vec<String>,
}

/// What is uploaded for a release.
#[derive(Debug)]
pub(crate) struct Upload {
    /// Text of the manifest.
    pub(crate) manifest: String,
    /// Text of the configuration.
    pub(crate) configuration: String,
}

impl ManifestFormat {
    /// Returns whether the manifest has a signature itself.
    pub(crate) fn is_signed(&self) -> bool {
        self.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(SIGNATURE))
    }

    /// Returns the annotations.
    pub(crate) fn annotations(&self) -> BTreeMap<String, String> {
        self.annotations.clone().unwrap_or_default()
    }

    /// Returns the digest of the component file.
    pub(crate) fn component(&self) -> Result<Digest, String> {
        let [layer] = self.layers.as_slice() else {
            return Err(format!("it has {} layers instead of one", self.layers.len()));
        };
        if layer.media_type != COMPONENT {
            return Err(format!("its layer is of the type `{}`, not `{COMPONENT}`", layer.media_type));
        }
        let digest = layer.digest.strip_prefix("sha256:").ok_or("its layer has no sha256 digest")?;
        digest.parse::<Digest>().map_err(|error| error.to_string())
    }

    /// Converts the manifest of a tag into a release. `referrers` are annotations of artifacts that
    /// refer to it, which hold only what the manifest lacks. `source` is the location of the
    /// bundle's files.
    pub(crate) fn release(
        &self,
        name: &BundleName,
        version: &Version,
        referrers: BTreeMap<String, String>,
        source: &str,
    ) -> Result<OciRelease, String> {
        let digest = self.component()?;
        let mut annotations = referrers;
        annotations.extend(self.annotations());
        for (key, expected) in [(TITLE, name.to_string()), (VERSION, version.to_string())] {
            if let Some(stated) = annotations.get(key).filter(|stated| **stated != expected) {
                return Err(format!("its annotation `{key}` is `{stated}`, not `{expected}`"));
            }
        }
        let list = |key: &str| match annotations.get(key) {
            None => Ok(Vec::new()),
            Some(text) => serde_json::from_str::<Vec<String>>(text)
                .map_err(|_| format!("its annotation `{key}` is not a JSON list of strings")),
        };
        let key = annotations.get(KEY).map(|text| text.parse::<PublicKey>());
        let release = Release {
            version: version.clone(),
            // A bundle that another tool has pushed: the component itself is checked when it is staged.
            wit: annotations.get(WIT).cloned().unwrap_or_else(|| WIT_VERSION.to_owned()),
            source: Source::Url(format!("{source}@sha256:{digest}")),
            sha256: Some(digest),
            signature: annotations.get(SIGNATURE).cloned(),
            key: key.transpose().map_err(|error| format!("its annotation `{KEY}`: {error}"))?,
            capabilities: list(CAPABILITIES)?,
            yanked: annotations.get(YANKED).is_some_and(|text| text == "true"),
        };
        let types = list(TYPES)?;
        let text = |key: &str| annotations.get(key).cloned();
        Ok(OciRelease { release, description: text(DESCRIPTION).unwrap_or_default(), license: text(LICENSES), types })
    }
}

/// Returns the manifest and the configuration of a new release. The same release has the same bytes.
pub(crate) fn upload(bundle: &Bundle, bytes: &[u8], signature: &str, key: &PublicKey) -> Upload {
    let digest = Digest::of(bytes);
    // The time is a required field, and would make each upload another one.
    let configuration = json!({
        "created": "1970-01-01T00:00:00Z",
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [format!("sha256:{digest}")],
        "component": { "imports": [], "exports": [], "target": null },
    })
    .to_string();
    let list = |texts: Vec<String>| json!(texts).to_string();
    let mut annotations = BTreeMap::from([
        (TITLE.to_owned(), bundle.name.to_string()),
        (VERSION.to_owned(), bundle.version.to_string()),
        (DESCRIPTION.to_owned(), bundle.description.to_string()),
        (SIGNATURE.to_owned(), signature.to_owned()),
        (KEY.to_owned(), key.to_string()),
        (WIT.to_owned(), WIT_VERSION.to_owned()),
        (CAPABILITIES.to_owned(), list(bundle.capabilities.iter().map(ToString::to_string).collect())),
        (TYPES.to_owned(), list(bundle.types.iter().map(|block_type| block_type.slug.to_string()).collect())),
    ]);
    annotations.extend(bundle.license.iter().map(|license| (LICENSES.to_owned(), license.to_string())));
    let descriptor = |media_type: &str, bytes: &[u8]| Descriptor {
        media_type: media_type.to_owned(),
        digest: format!("sha256:{}", Digest::of(bytes)),
        size: bytes.len() as u64,
        artifact_type: None,
    };
    let manifest = ManifestFormat {
        schema_version: 2,
        media_type: MANIFEST.to_owned(),
        config: descriptor(CONFIGURATION, configuration.as_bytes()),
        layers: vec![descriptor(COMPONENT, bytes)],
        annotations: Some(annotations),
    };
    Upload { manifest: serde_json::to_string(&manifest).expect("a manifest is JSON"), configuration }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const DIGEST: &str = "b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c";
    const KEY_TEXT: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    fn check(layers: &str, annotations: serde_json::Value, referrers: &[(&str, &str)], expected: Expect) {
        let text = format!(
            r#"{{"schemaVersion": 2, "config": {{"digest": "sha256:x"}}, "layers": {layers}, "annotations": {annotations}}}"#
        );
        let manifest: ManifestFormat = serde_json::from_str(&text).expect("a manifest");
        let referrers = referrers.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let name = BundleName::new("zoo").expect("a name");
        let release = manifest.release(&name, &Version::new(1, 2, 3), referrers, "oci://r.example/acme/zoo");
        expected.assert_eq(&match release {
            Err(error) => error,
            Ok(OciRelease { release, description, license, types }) => {
                let Release { wit, source, sha256, signature, key, capabilities, yanked, .. } = release;
                let digest = sha256.map(|digest| digest.short());
                format!(
                    "{source:?} {digest:?}\nwit {wit}, yanked {yanked}, key {key:?}, signature {signature:?}\n\
                     {capabilities:?} {description:?} {license:?} {types:?}"
                )
                .replace(DIGEST, "DIGEST")
            }
        });
    }

    #[test]
    fn annotations_describe_a_release() {
        let layer = format!(r#"[{{"mediaType": "application/wasm", "digest": "sha256:{DIGEST}", "size": 4}}]"#);
        check(
            &layer,
            json!({}),
            &[],
            expect![[r#"
                Url("oci://r.example/acme/zoo@sha256:DIGEST") Some("b5bb9d8014a0")
                wit 0.1, yanked false, key None, signature None
                [] "" None []"#]],
        );
        check(
            &layer,
            json!({TITLE: "zoo", VERSION: "1.2.3", DESCRIPTION: "A zoo", LICENSES: "MIT", SIGNATURE: "s", KEY: KEY_TEXT,
                   WIT: "0.9", CAPABILITIES: "[\"log\"]", TYPES: "[\"cage\"]", YANKED: "true"}),
            &[(SIGNATURE, "of a referrer"), (DESCRIPTION, "of a referrer")],
            expect![[r#"
                Url("oci://r.example/acme/zoo@sha256:DIGEST") Some("b5bb9d8014a0")
                wit 0.9, yanked true, key Some(PublicKey(RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3)), signature Some("s")
                ["log"] "A zoo" Some("MIT") ["cage"]"#]],
        );
        check(
            &layer,
            json!({}),
            &[(SIGNATURE, "of a referrer"), (KEY, KEY_TEXT)],
            expect![[r#"
                Url("oci://r.example/acme/zoo@sha256:DIGEST") Some("b5bb9d8014a0")
                wit 0.1, yanked false, key Some(PublicKey(RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3)), signature Some("of a referrer")
                [] "" None []"#]],
        );
    }

    #[test]
    fn other_images_are_not_releases() {
        let layer = format!(r#"{{"mediaType": "application/wasm", "digest": "sha256:{DIGEST}"}}"#);
        let one = format!("[{layer}]");
        check("[]", json!({}), &[], expect!["it has 0 layers instead of one"]);
        check(&format!("[{layer}, {layer}]"), json!({}), &[], expect!["it has 2 layers instead of one"]);
        check(
            &one.replace("application/wasm", "application/vnd.oci.image.layer.v1.tar"),
            json!({}),
            &[],
            expect!["its layer is of the type `application/vnd.oci.image.layer.v1.tar`, not `application/wasm`"],
        );
        check(&one.replace("sha256:", "sha512:"), json!({}), &[], expect!["its layer has no sha256 digest"]);
        check(
            &one,
            json!({TITLE: "sql"}),
            &[],
            expect!["its annotation `org.opencontainers.image.title` is `sql`, not `zoo`"],
        );
        check(
            &one,
            json!({CAPABILITIES: "log"}),
            &[],
            expect!["its annotation `dev.blockyard.capabilities` is not a JSON list of strings"],
        );
        check(
            &one,
            json!({KEY: "RW"}),
            &[],
            expect![
                "its annotation `dev.blockyard.key`: `RW` is not a minisign public key; a key has 56 characters and begins with `RW`"
            ],
        );
    }
}
