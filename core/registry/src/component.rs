//! Component files: made from a core module, with the manifest inside.

use wasm_encoder::{CustomSection, Encode as _, Section as _};
use wasm_metadata::{AddMetadata, AddMetadataField};
use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;

/// The custom section that holds the manifest.
pub const MANIFEST_SECTION: &str = "blockyard:manifest";

/// What stands in the component file about the crate that it was made from.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SPDX licence expression.
    pub license: Option<String>,
    /// Where the source is.
    pub source: Option<String>,
}

/// Why a component could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// The core module imports what is not in the contract.
    #[error("the module imports `{}`, which no bundle can have", .0.join("`, `"))]
    ForeignImports(Vec<String>),
    /// The module was not made with the SDK, or with one that does not fit.
    #[error("the module does not become a component: {0}")]
    Encode(String),
    /// The file is not WebAssembly.
    #[error("not WebAssembly: {0}")]
    NotWasm(String),
    /// There is no manifest.
    #[error("the component has no manifest (custom section `{MANIFEST_SECTION}`)")]
    NoManifest,
    /// There is more than one.
    #[error("the component has {0} manifests; it must have one")]
    ManyManifests(usize),
    /// It is not text.
    #[error("the component's manifest is not UTF-8")]
    NotText,
}

/// Makes a component of a core module that was built with the SDK.
///
/// # Errors
/// [`ComponentError::ForeignImports`], [`ComponentError::Encode`].
pub fn encode(module: &[u8]) -> Result<Vec<u8>, ComponentError> {
    let foreign = foreign_imports(module)?;
    if !foreign.is_empty() {
        return Err(ComponentError::ForeignImports(foreign));
    }
    let encode = || ComponentEncoder::default().validate(true).module(module)?.encode();
    encode().map_err(|error| ComponentError::Encode(format!("{error:#}")))
}

/// Imports that no capability stands behind: WASI, or symbols that the linker did not find.
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

/// Adds the manifest, and what the wider WebAssembly tools read: name, version, licence, source.
///
/// # Errors
/// [`ComponentError::NotWasm`].
pub fn embed(component: &[u8], manifest: &str, about: &About) -> Result<Vec<u8>, ComponentError> {
    let mut metadata = AddMetadata::default();
    metadata.name = AddMetadataField::Set(about.name.clone());
    metadata.version = field(Some(&about.version));
    metadata.licenses = field(about.license.as_ref());
    metadata.source = field(about.source.as_ref());
    let mut bytes = metadata.to_wasm(component).map_err(|error| ComponentError::NotWasm(format!("{error:#}")))?;
    let section = CustomSection { name: MANIFEST_SECTION.into(), data: manifest.as_bytes().into() };
    bytes.push(section.id());
    section.encode(&mut bytes);
    Ok(bytes)
}

/// A field that is set where its text is of the form that it must have.
fn field<T: std::str::FromStr + std::fmt::Debug + Clone>(text: Option<&String>) -> AddMetadataField<T> {
    text.and_then(|text| text.parse().ok()).map_or(AddMetadataField::Keep, AddMetadataField::Set)
}

/// The manifest in a component file. The bytes are guest-controlled; nothing of them runs.
///
/// # Errors
/// [`ComponentError`] where there is not exactly one.
pub fn manifest(bytes: &[u8]) -> Result<&str, ComponentError> {
    let mut found = Vec::new();
    let mut depth = 0usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(not_wasm)? {
            // What stands inside of the component is not its own.
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

fn not_wasm(error: wasmparser::BinaryReaderError) -> ComponentError {
    ComponentError::NotWasm(error.message().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest component: a preamble.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    fn about() -> About {
        About { name: "zoo".into(), version: "0.1.0".into(), license: Some("Apache-2.0".into()), source: None }
    }

    #[test]
    fn a_manifest_is_found_where_it_was_put() {
        let with = embed(EMPTY, "{\"a\": 1}", &about()).expect("a component");
        assert_eq!(manifest(&with).expect("one manifest"), "{\"a\": 1}");
        let twice = embed(&with, "{}", &about()).expect("a component");
        assert!(matches!(manifest(&twice), Err(ComponentError::ManyManifests(2))));
        assert!(matches!(manifest(EMPTY), Err(ComponentError::NoManifest)));
        assert!(matches!(manifest(b"text"), Err(ComponentError::NotWasm(_))));
    }
}
