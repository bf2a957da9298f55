//! Compilation of components: validation first, then native code, once per engine and digest.
//!
//! The cost of compiling an untrusted file is bounded by its size and by the number and size of its
//! functions, which are checked before compilation starts.

use std::sync::Arc;

use blockyard_call::limits;
use blockyard_model::Digest;
use wasmparser::{Parser, Payload};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::error::HostError;
use crate::sandbox::Sandbox;

/// Checks an untrusted component before it is compiled.
///
/// # Errors
/// Returns [`HostError::TooLarge`] for a file above the size limit, [`HostError::NotAComponent`]
/// for a file that is not a valid component (also a truncated one), and [`HostError::NotABundle`]
/// if it has too many functions or a function that is too large.
pub fn examine(bytes: &[u8]) -> Result<(), HostError> {
    if bytes.len() > limits::COMPONENT_BYTES {
        return Err(HostError::TooLarge { bytes: bytes.len(), limit: limits::COMPONENT_BYTES });
    }
    if !is_component(bytes) {
        return Err(HostError::NotAComponent(file_kind(bytes).to_owned()));
    }
    let mut functions = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| invalid(&error))? {
            Payload::CodeSectionStart { count, .. } => {
                functions = functions.saturating_add(count as usize);
                if functions > limits::FUNCTIONS {
                    let limit = limits::FUNCTIONS;
                    return Err(HostError::NotABundle(format!("it has more than {limit} functions")));
                }
            }
            Payload::CodeSectionEntry(body) if body.range().len() > limits::FUNCTION_BYTES => {
                let (bytes, limit) = (body.range().len(), limits::FUNCTION_BYTES);
                return Err(HostError::NotABundle(format!("one function has {bytes} bytes; the limit is {limit}")));
            }
            _ => {}
        }
    }
    Ok(())
}

impl Sandbox {
    /// Returns the code of a component for one of the engines, from the cache if possible. Otherwise
    /// loads its bytes and compiles them on a blocking thread.
    ///
    /// # Errors
    /// Returns the error of `bytes`, and [`HostError::NotAComponent`] if the component does not
    /// compile.
    pub(crate) async fn compile(
        &self,
        engine: &Engine,
        bytes: impl AsyncFnOnce() -> Result<Arc<Vec<u8>>, HostError>,
        digest: Digest,
    ) -> Result<Component, HostError> {
        let (cache, engine) = (self.cache.clone(), engine.clone());
        let cached = tokio::task::spawn_blocking({
            let (cache, engine) = (cache.clone(), engine.clone());
            move || cache.and_then(|cache| cache.get(&engine, &digest))
        });
        if let Ok(Some(component)) = cached.await {
            return Ok(component);
        }
        let bytes = bytes().await?;
        let _permit = self.compiling.acquire().await.expect("the semaphore is never closed");
        tokio::task::spawn_blocking(move || {
            let component = Component::from_binary(&engine, &bytes)?;
            if let Some(cache) = cache {
                cache.put(&engine, &digest, &component);
            }
            Ok(component)
        })
        .await
        .map_err(|_| HostError::NotAComponent("the compiler crashed on this component".to_owned()))?
        .map_err(|error: wasmtime::Error| HostError::NotAComponent(format!("not a valid component: {error:#}")))
    }
}

/// Checks for the preamble of a component: magic `\0asm`, any version, layer 1
/// (<https://github.com/WebAssembly/component-model/blob/main/design/mvp/Binary.md>).
fn is_component(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0asm") && bytes.get(6..8) == Some(&[1, 0])
}

fn file_kind(bytes: &[u8]) -> &'static str {
    if bytes.starts_with(b"\0asm") && bytes.len() >= 8 {
        "a core WebAssembly module, not a component"
    } else if bytes.starts_with(b"\x7fELF") {
        "native machine code, not a WebAssembly component; Blockyard does not run precompiled code"
    } else if bytes.is_empty() {
        "the file is empty"
    } else {
        "not a WebAssembly component"
    }
}

fn invalid(error: &wasmparser::BinaryReaderError) -> HostError {
    HostError::NotAComponent(format!("not a valid component: {}", error.message()))
}
