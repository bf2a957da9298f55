//! Sections of a component file: their sizes, the imports, and the file without custom sections. No code of
//! the component is executed.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use wasm_encoder::{ComponentSectionId, Encode as _, RawSection, Section as _};
use wasmparser::{Encoding, KnownCustom, Parser, Payload};

use crate::component::{ComponentError, MANIFEST_SECTION, not_wasm};

/// Sizes in bytes, summed over all nested modules and components.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SectionSizes {
    /// Instructions of core modules.
    pub code: u64,
    /// Initial content of linear memories.
    pub data: u64,
    /// Custom sections: the manifest, metadata, names and debug information.
    pub custom: u64,
    /// Types, imports, exports and all other sections.
    pub other: u64,
    /// The file.
    pub total: u64,
}

/// Returns the sizes of the sections of a component. The bytes are guest-controlled.
///
/// # Errors
/// Returns [`ComponentError::NotWasm`] if the bytes are not WebAssembly.
pub fn sizes(bytes: &[u8]) -> Result<SectionSizes, ComponentError> {
    let mut sizes = SectionSizes { total: bytes.len() as u64, ..SectionSizes::default() };
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(not_wasm)?;
        let length = |range: std::ops::Range<usize>| range.len() as u64;
        match payload {
            Payload::CodeSectionStart { range, .. } => sizes.code += length(range),
            Payload::DataSection(section) => sizes.data += length(section.range()),
            Payload::CustomSection(section) => sizes.custom += length(section.range()),
            _ => {}
        }
    }
    sizes.other = sizes.total.saturating_sub(sizes.code + sizes.data + sizes.custom);
    Ok(sizes)
}

/// Returns the names of the imports of a component, without those of nested modules and components. The bytes
/// are guest-controlled.
///
/// # Errors
/// Returns [`ComponentError::NotWasm`] if the bytes are not WebAssembly.
pub fn imports(bytes: &[u8]) -> Result<Vec<String>, ComponentError> {
    let (mut found, mut depth) = (Vec::new(), 0usize);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(not_wasm)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    found.push(import.map_err(not_wasm)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Returns the tools that built a component, each with its version, as its section `producers` names them. The bytes
/// are guest-controlled.
///
/// # Errors
/// Returns [`ComponentError::NotWasm`] if the bytes are not WebAssembly. A malformed section names no tools.
pub fn tools(bytes: &[u8]) -> Result<Vec<(String, String)>, ComponentError> {
    let (mut found, mut depth) = (Vec::new(), 0usize);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(not_wasm)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 0 => {
                if let KnownCustom::Producers(fields) = section.as_known() {
                    let tools = fields.into_iter().flatten().filter(|field| field.name == "processed-by");
                    let tools = tools.flat_map(|field| field.values.into_iter().flatten());
                    found.extend(tools.map(|tool| (tool.name.to_owned(), tool.version.to_owned())));
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

/// A section that differs between two components.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SectionDifference {
    /// `code`, `data`, `manifest`, `custom section NAME` or `other`.
    pub section: String,
    /// Size in the first component in bytes.
    pub first: u64,
    /// Size in the second component in bytes.
    pub second: u64,
}

/// Compares the sections of two components, each kind as a whole: the sections of all nested modules together.
///
/// # Errors
/// Returns [`ComponentError::NotWasm`] if one of them is not WebAssembly.
pub fn differences(first: &[u8], second: &[u8]) -> Result<Vec<SectionDifference>, ComponentError> {
    let (first, second) = (by_kind(first)?, by_kind(second)?);
    let kinds: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    let differing = kinds.into_iter().filter(|kind| first.get(*kind) != second.get(*kind));
    let size = |sections: &BTreeMap<String, Vec<u8>>, kind: &String| sections.get(kind).map_or(0, Vec::len) as u64;
    let difference = |kind: &String| SectionDifference {
        section: kind.clone(),
        first: size(&first, kind),
        second: size(&second, kind),
    };
    Ok(differing.map(difference).collect())
}

/// Returns the content of all sections of each kind.
fn by_kind(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, ComponentError> {
    let mut sections: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(not_wasm)?;
        let kind = match &payload {
            // Their content is visited as well.
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => continue,
            Payload::CodeSectionStart { .. } => "code".to_owned(),
            Payload::DataSection(_) => "data".to_owned(),
            Payload::CustomSection(section) if section.name() == MANIFEST_SECTION => "manifest".to_owned(),
            Payload::CustomSection(section) => format!("custom section {}", section.name()),
            _ => "other".to_owned(),
        };
        if let Some((id, range)) = payload.as_section() {
            let content = sections.entry(kind).or_default();
            content.push(id);
            content.extend_from_slice(&bytes[range]);
        }
    }
    Ok(sections)
}

/// Returns the component or module without its custom sections, also those of nested modules and components.
/// Custom sections have no effect on execution.
///
/// # Errors
/// Returns [`ComponentError::NotWasm`] if the bytes are not WebAssembly.
pub fn strip(bytes: &[u8]) -> Result<Vec<u8>, ComponentError> {
    let mut stripped = Vec::new();
    // The enclosing components of the current module or component.
    let mut enclosing: Vec<Vec<u8>> = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(not_wasm)?;
        match &payload {
            Payload::Version { encoding, .. } => stripped.extend_from_slice(match encoding {
                Encoding::Component => &wasm_encoder::Component::HEADER,
                Encoding::Module => &wasm_encoder::Module::HEADER,
            }),
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                enclosing.push(std::mem::take(&mut stripped));
            }
            Payload::End(_) => {
                let Some(mut outer) = enclosing.pop() else { break };
                let id = if stripped.starts_with(&wasm_encoder::Component::HEADER) {
                    ComponentSectionId::Component
                } else {
                    ComponentSectionId::CoreModule
                };
                outer.push(id as u8);
                stripped.encode(&mut outer);
                stripped = outer;
            }
            Payload::CustomSection(_) => {}
            _ => {
                if let Some((id, range)) = payload.as_section() {
                    RawSection { id, data: &bytes[range] }.append_to(&mut stripped);
                }
            }
        }
    }
    Ok(stripped)
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{Component, CustomSection, Module, ModuleSection, NameMap, NameSection};

    use super::*;
    use crate::component::{About, embed, manifest};

    /// A component with a module that has code, data and the names of its functions.
    fn component() -> Vec<u8> {
        let mut module = Module::new();
        let mut types = wasm_encoder::TypeSection::new();
        types.ty().function([], []);
        let mut functions = wasm_encoder::FunctionSection::new();
        functions.function(0);
        let mut memories = wasm_encoder::MemorySection::new();
        memories.memory(wasm_encoder::MemoryType {
            minimum: 1,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        let mut code = wasm_encoder::CodeSection::new();
        let mut function = wasm_encoder::Function::new([]);
        function.instructions().end();
        code.function(&function);
        let mut data = wasm_encoder::DataSection::new();
        data.active(0, &wasm_encoder::ConstExpr::i32_const(0), b"lion".iter().copied());
        let mut names = NameSection::new();
        let mut map = NameMap::new();
        map.append(0, "roar");
        names.functions(&map);
        module.section(&types).section(&functions).section(&memories).section(&code).section(&data).section(&names);
        let mut component = Component::new();
        component.section(&CustomSection { name: "note".into(), data: b"abc".into() });
        component.section(&ModuleSection(&module));
        component.finish()
    }

    #[test]
    fn sizes_are_those_of_the_sections() {
        let bytes = component();
        let sizes = sizes(&bytes).expect("a component");
        assert_eq!(sizes.total, bytes.len() as u64);
        // One function of two bytes with its length, after the number of functions.
        assert_eq!((sizes.code, sizes.data), (4, 10));
        assert!(sizes.custom > 15, "{sizes:?}");
        assert_eq!(sizes.code + sizes.data + sizes.custom + sizes.other, sizes.total);
        assert!(super::sizes(&bytes[..bytes.len() - 1]).is_err(), "a truncated file");
    }

    #[test]
    fn stripped_components_have_no_custom_section() {
        let about = About { name: "zoo".into(), version: "0.1.0".into(), ..About::default() };
        let bytes = embed(&component(), "{}", &about).expect("a component");
        let stripped = strip(&bytes).expect("a component");
        let after = sizes(&stripped).expect("a component");
        assert_eq!((after.custom, after.code, after.data), (0, 4, 10));
        assert!(matches!(manifest(&stripped), Err(ComponentError::NoManifest)));
        wasmparser::validate(&stripped).expect("a valid component");
        assert_eq!(strip(&stripped).expect("a component"), stripped);
        assert!(strip(b"text").is_err());
    }

    #[test]
    fn differing_sections_are_named() {
        let tools = vec![("rustc".to_owned(), "1.95.0".to_owned())];
        let about = About { name: "zoo".into(), version: "0.1.0".into(), tools: tools.clone(), ..About::default() };
        let one = embed(&component(), "{}", &about).expect("a component");
        assert_eq!(super::tools(&one).expect("a component"), tools);
        assert_eq!(super::tools(&component()).expect("a component"), []);
        assert_eq!(differences(&one, &one).expect("components"), []);
        let other = embed(&component(), "{ }", &about).expect("a component");
        let [difference] = &differences(&one, &other).expect("components")[..] else { panic!("one difference") };
        assert_eq!((difference.section.as_str(), difference.second - difference.first), ("manifest", 1));
        let text = b"lion";
        let at = one.windows(text.len()).position(|bytes| bytes == text).expect("the data");
        let mut changed = one.clone();
        changed[at] = b'L';
        let differing = differences(&one, &changed).expect("components");
        assert_eq!(differing.iter().map(|found| found.section.as_str()).collect::<Vec<_>>(), ["data"]);
    }

    #[test]
    fn imports_of_a_component_are_named() {
        let mut component = Component::new();
        let mut types = wasm_encoder::ComponentTypeSection::new();
        types.instance(&wasm_encoder::InstanceType::new());
        let mut imports = wasm_encoder::ComponentImportSection::new();
        imports.import("blockyard:bundle/log@0.1.0", wasm_encoder::ComponentTypeRef::Instance(0));
        component.section(&types).section(&imports);
        assert_eq!(super::imports(&component.finish()).expect("a component"), ["blockyard:bundle/log@0.1.0"]);
        assert_eq!(super::imports(&self::component()).expect("a component"), Vec::<String>::new());
    }
}
