//! Registries that are folders of files on a web server: a `registry.toml` and component files.

use std::sync::Arc;

use blockyard_model::Digest;
use url::Url;

use super::documents::Documents;
use super::http::permitted;
use crate::index::{Download, Downloading, Registry, RegistryTrust};
use crate::relative_path::RelativePath;
use crate::remote_error::RemoteError;

/// Media types of an index. Servers rarely know the one of TOML.
const ACCEPT: &str = "application/toml, text/plain, */*;q=0.1";
/// Maximum size of an index in bytes. A release takes about 1 KiB.
const INDEX_BYTES: u64 = 16 << 20;

/// Downloads the component files that an index names.
#[derive(Debug)]
pub(crate) struct Files {
    documents: Documents,
    /// URL of the index. `None` if the registry is a folder of this machine, whose index may name
    /// files on servers.
    index: Option<Url>,
}

impl Files {
    pub(crate) fn new(documents: Documents, index: Option<Url>) -> Self {
        Self { documents, index }
    }

    /// Resolves the `source.url` of a release: a path inside the registry, or an absolute URL.
    fn resolve(&self, source: &str) -> Result<Url, RemoteError> {
        let invalid = |reason: String| RemoteError::Invalid { url: source.to_owned(), reason };
        if source.contains("://") {
            let url = Url::parse(source).map_err(|error| invalid(error.to_string()))?;
            let first = self.index.as_ref().unwrap_or(&url);
            permitted(first, &url).map_err(|reason| invalid(reason.to_owned()))?;
            return Ok(url);
        }
        let path: RelativePath = source.parse().map_err(|error| invalid(format!("it {error}")))?;
        let outside = || invalid("the registry has no URL against which it can be resolved".to_owned());
        let mut url = self.index.clone().ok_or_else(outside)?;
        // Segments are encoded as they are added, so none of them becomes a query or leads outside.
        url.path_segments_mut().map_err(|()| outside())?.pop().extend(path.components());
        Ok(url)
    }

    /// Downloads a component file, or reads it from the cache.
    pub(crate) async fn fetch(&self, source: &str, digest: Digest) -> Result<Vec<u8>, RemoteError> {
        self.documents.component(&self.resolve(source)?, digest, "").await
    }
}

impl Download for Files {
    fn download<'a>(&'a self, url: &'a str, digest: Digest) -> Downloading<'a> {
        Box::pin(self.fetch(url, digest))
    }
}

/// Reads the index of a registry. `base` identifies the registry.
pub(crate) async fn open(documents: Documents, index: &Url, base: Url) -> Result<Registry, RemoteError> {
    let invalid = |reason: String| RemoteError::Invalid { url: index.to_string(), reason };
    let document = documents.document(index, ACCEPT, "", INDEX_BYTES).await?;
    let document = document.ok_or_else(|| RemoteError::Status { url: index.to_string(), status: 404, reason: None })?;
    let mut registry = Registry::parse(&document.text, base).map_err(invalid)?;
    // Only the user can accept the releases of a server without signatures.
    if registry.trust == RegistryTrust::Unsigned {
        registry.trust = RegistryTrust::Undeclared;
    }
    registry.downloads = Some(Arc::new(Files::new(documents, Some(index.clone()))));
    Ok(registry)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(index: Option<&str>, source: &str, expected: Expect) {
        let index = index.map(|index| Url::parse(index).expect("a URL"));
        let files = Files::new(Documents::new(None, None, Arc::new(|_| {})), index);
        expected.assert_eq(&match files.resolve(source) {
            Ok(url) => url.to_string(),
            Err(error) => format!("{error}: {}", error.reason().unwrap_or_default()),
        });
    }

    #[test]
    fn sources_stay_inside_the_registry_or_are_encrypted() {
        let index = Some("https://r.example/a/registry.toml");
        check(index, "zoo-0.1.0.wasm", expect!["https://r.example/a/zoo-0.1.0.wasm"]);
        check(index, "b c/zoo@1+2.wasm", expect!["https://r.example/a/b%20c/zoo@1+2.wasm"]);
        check(index, "https://cdn.example/zoo.wasm?x=1", expect!["https://cdn.example/zoo.wasm?x=1"]);
        let inside = "it is not a path inside the folder of the file that names it";
        for outside in ["../zoo.wasm", "/zoo.wasm", "b/../../zoo.wasm", "//evil.example/zoo.wasm", "zoo.wasm?x", ""] {
            let files = Files::new(
                Documents::new(None, None, Arc::new(|_| {})),
                index.map(|index| Url::parse(index).expect("a URL")),
            );
            let reason = files.resolve(outside).expect_err(outside).reason().unwrap_or_default();
            assert!(reason.starts_with(inside), "{outside}: {reason}");
        }
        check(
            index,
            "http://127.0.0.1/zoo.wasm",
            expect!["`http://127.0.0.1/zoo.wasm` is not valid: it is not encrypted"],
        );
        check(index, "file:///etc/passwd", expect!["`file:///etc/passwd` is not valid: only `https` is permitted"]);
        check(
            index,
            "https://u:p@cdn.example/zoo.wasm",
            expect!["`https://u:p@cdn.example/zoo.wasm` is not valid: the URL has credentials"],
        );
        check(
            Some("http://127.0.0.1:1/registry.toml"),
            "http://127.0.0.1:2/z.wasm",
            expect!["http://127.0.0.1:2/z.wasm"],
        );
        check(None, "http://127.0.0.1:2/z.wasm", expect!["http://127.0.0.1:2/z.wasm"]);
        check(None, "http://r.example/z.wasm", expect!["`http://r.example/z.wasm` is not valid: it is not encrypted"]);
    }
}
