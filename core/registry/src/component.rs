//! Component files: creation from a core module, and the embedded manifest.

use wasm_encoder::{CustomSection, Encode as _, Section as _};
use wasm_metadata::{AddMetadata, AddMetadataField};
use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;

/// Name of the custom section that contains the manifest.
pub const MANIFEST_SECTION: &str = "blockyard:manifest";

/// Metadata of the crate that a component was built from.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// Package name.
    pub name: String,
    /// Package version.
    pub version: String,
    /// SPDX license expression.
    pub license: Option<String>,
    /// URL of the source code.
    pub source: Option<String>,
    /// Tools that built the component, each with its version.
    pub tools: Vec<(String, String)>,
}

/// An error of creating or reading a component.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// The core module has imports that the WIT package does not define.
    #[error("the module imports `{}`, which Blockyard does not provide", .0.join("`, `"))]
    ForeignImports(Vec<String>),
    /// The core module has no description of its interface, which the SDK's `bundle!` adds.
    #[error("the module is not a bundle: it contains no description of its interface")]
    NoInterface,
    /// The core module cannot be converted: it was not built with the SDK, or with an incompatible
    /// version.
    #[error("the module cannot be converted to a component: {0}")]
    Encode(String),
    /// The file is not WebAssembly.
    #[error("not WebAssembly: {0}")]
    NotWasm(String),
    /// The component has no manifest.
    #[error("the component has no manifest (custom section `{MANIFEST_SECTION}`)")]
    NoManifest,
    /// The component has several manifests.
    #[error("the component has {0} manifests; it must have one")]
    ManyManifests(usize),
    /// The manifest is not UTF-8.
    #[error("the component's manifest is not UTF-8")]
    NotText,
}

/// Converts a core module that was built with the SDK to a component.
///
/// # Errors
/// Returns [`ComponentError::NotWasm`], [`ComponentError::ForeignImports`],
/// [`ComponentError::NoInterface`] or [`ComponentError::Encode`].
pub fn encode(module: &[u8]) -> Result<Vec<u8>, ComponentError> {
    let foreign = foreign_imports(module)?;
    if !foreign.is_empty() {
        return Err(ComponentError::ForeignImports(foreign));
    }
    if !has_interface(module)? {
        return Err(ComponentError::NoInterface);
    }
    let encode = || ComponentEncoder::default().validate(true).module(module)?.encode();
    encode().map_err(|error| ComponentError::Encode(format!("{error:#}")))
}

/// Returns the imports that are not part of the WIT package: WASI, or symbols that the linker did
/// not resolve.
fn foreign_imports(module: &[u8]) -> Result<Vec<String>, ComponentError> {
    let mut foreign = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ImportSection(imports) = payload.map_err(not_wasm)? {
            for import in imports.into_imports() {
                let import = import.map_err(not_wasm)?;
                if !import.module.starts_with("blockyard:bundle/")
                    && !import.module.starts_with("[export]blockyard:bundle/")
                {
                    foreign.push(format!("{} {}", import.module, import.name));
                }
            }
        }
    }
    Ok(foreign)
}

/// Checks for the custom section from which the encoder reads the interface of the module.
fn has_interface(module: &[u8]) -> Result<bool, ComponentError> {
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::CustomSection(section) = payload.map_err(not_wasm)?
            && section.name().starts_with("component-type")
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Embeds the manifest, and the metadata that common WebAssembly tools read: name, version, license,
/// source and the tools that built the component.
///
/// # Errors
/// Returns [`ComponentError::NotWasm`] if the bytes are not a component.
pub fn embed(component: &[u8], manifest: &str, about: &About) -> Result<Vec<u8>, ComponentError> {
    let mut metadata = AddMetadata::default();
    metadata.name = AddMetadataField::Set(about.name.clone());
    metadata.version = field(Some(&about.version));
    metadata.licenses = field(about.license.as_ref());
    metadata.source = field(about.source.as_ref());
    metadata.processed_by.clone_from(&about.tools);
    let mut bytes = metadata.to_wasm(component).map_err(|error| ComponentError::NotWasm(format!("{error:#}")))?;
    let section = CustomSection { name: MANIFEST_SECTION.into(), data: manifest.as_bytes().into() };
    bytes.push(section.id());
    section.encode(&mut bytes);
    Ok(bytes)
}

/// Parses a metadata field. An invalid or missing value leaves the field unchanged.
fn field<T: std::str::FromStr + std::fmt::Debug + Clone>(text: Option<&String>) -> AddMetadataField<T> {
    text.and_then(|text| text.parse().ok()).map_or(AddMetadataField::Keep, AddMetadataField::Set)
}

/// Returns the manifest that is embedded in a component file. The bytes are guest-controlled; no
/// code of the component is executed.
///
/// # Errors
/// Returns a [`ComponentError`] if the file is not WebAssembly, or does not contain exactly one
/// manifest, in UTF-8.
pub fn manifest(bytes: &[u8]) -> Result<&str, ComponentError> {
    let mut found = Vec::new();
    let mut depth = 0usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(not_wasm)? {
            // Sections of nested modules and components are ignored.
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 0 && section.name() == MANIFEST_SECTION => {
                found.push(section.data())
            }
            _ => {}
        }
    }
    match found.as_slice() {
        [] => Err(ComponentError::NoManifest),
        [manifest] => str::from_utf8(manifest).map_err(|_| ComponentError::NotText),
        many => Err(ComponentError::ManyManifests(many.len())),
    }
}

pub(crate) fn not_wasm(error: wasmparser::BinaryReaderError) -> ComponentError {
    ComponentError::NotWasm(error.message().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest valid component: a preamble.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    fn about() -> About {
        About { name: "zoo".into(), version: "0.1.0".into(), license: Some("Apache-2.0".into()), ..About::default() }
    }

    #[test]
    fn an_embedded_manifest_is_found() {
        let with = embed(EMPTY, "{\"a\": 1}", &about()).expect("a component");
        assert_eq!(manifest(&with).expect("one manifest"), "{\"a\": 1}");
        let twice = embed(&with, "{}", &about()).expect("a component");
        assert!(matches!(manifest(&twice), Err(ComponentError::ManyManifests(2))));
        assert!(matches!(manifest(EMPTY), Err(ComponentError::NoManifest)));
        assert!(matches!(manifest(b"text"), Err(ComponentError::NotWasm(_))));
    }
}
