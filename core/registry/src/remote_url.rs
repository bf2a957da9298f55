//! URLs of registries on servers: `https://…` for a folder of files, `oci://…` for an OCI registry.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

use crate::index::Registry;

/// Maximum length of the namespace of an OCI registry, in bytes. Leaves room for the bundle's name
/// within the 255 bytes that registries accept for a repository.
const NAMESPACE_BYTES: usize = 190;

/// The URL of a registry on a server. It contains no credentials, no query and no fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteUrl {
    /// A folder of files on a web server.
    Files {
        /// URL of the `registry.toml`.
        index: Url,
    },
    /// Repositories of an OCI registry: the bundle NAME is the repository `NAMESPACE/NAME`.
    Oci {
        /// URL of the server, with the scheme `https`.
        server: Url,
        /// Path components before the bundle's name, joined by `/`.
        namespace: String,
    },
}

/// The error of a string that is not the URL of a registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RemoteUrlError(&'static str);

impl RemoteUrl {
    /// Returns whether a string has the scheme of a URL, and is therefore not a path.
    #[must_use]
    pub fn is_url(text: &str) -> bool {
        text.contains("://")
    }

    /// Returns the host, which identifies the server to a store of credentials, with a port that is
    /// not the default one.
    #[must_use]
    pub fn host(&self) -> String {
        let (Self::Files { index: url } | Self::Oci { server: url, .. }) = self;
        let host = url.host_str().unwrap_or_default();
        url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Returns whether the server is this machine, by its name or address.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let (Self::Files { index: url } | Self::Oci { server: url, .. }) = self;
        is_loopback(url)
    }
}

/// Returns whether the host of a URL is this machine, by its name or address.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

impl FromStr for RemoteUrl {
    type Err = RemoteUrlError;

    fn from_str(text: &str) -> Result<Self, RemoteUrlError> {
        let refused = |reason| Err(RemoteUrlError(reason));
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return refused("has spaces or control characters");
        }
        // The parser treats unknown schemes differently: it would not check the host.
        let (oci, text) = match text.strip_prefix("oci://") {
            Some(rest) => (true, format!("https://{rest}")),
            None => (false, text.to_owned()),
        };
        let Ok(url) = Url::parse(&text) else { return refused("is not a valid URL") };
        if !url.username().is_empty() || url.password().is_some() {
            return refused("has credentials, which a configuration file must not contain");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return refused("has a query or a fragment");
        }
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            "http" => return refused("is not encrypted; `http://` is permitted for this machine only"),
            _ => return refused("is not the address of a registry; write a path, `https://…` or `oci://…`"),
        }
        if oci { Self::oci(url) } else { Ok(Self::files(url)) }
    }
}

impl RemoteUrl {
    fn files(mut url: Url) -> Self {
        if !url.path().ends_with(".toml") {
            let path = format!("{}/{}", url.path().trim_end_matches('/'), Registry::FILE_NAME);
            url.set_path(&path);
        }
        Self::Files { index: url }
    }

    fn oci(mut url: Url) -> Result<Self, RemoteUrlError> {
        let namespace = url.path().trim_matches('/').to_owned();
        if namespace.is_empty() {
            return Err(RemoteUrlError("has no namespace; write `oci://HOST/NAMESPACE`"));
        }
        if namespace.len() > NAMESPACE_BYTES || !namespace.split('/').all(is_component) {
            return Err(RemoteUrlError(
                "has an invalid namespace; use lower-case letters, digits and single `.`, `_` or `-` between them",
            ));
        }
        url.set_path("");
        Ok(Self::Oci { server: url, namespace })
    }
}

/// Checks a component of a repository's name: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, as the
/// distribution specification defines it.
fn is_component(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut separator = String::new();
    let is_separator = |text: &str| matches!(text, "" | "." | "_" | "__") || text.chars().all(|c| c == '-');
    for c in text.chars() {
        match c {
            c if is_word(c) => separator.clear(),
            '.' | '_' | '-' => separator.push(c),
            _ => return false,
        }
        if !is_separator(&separator) {
            return false;
        }
    }
    text.starts_with(is_word) && text.ends_with(is_word)
}

/// Formats the URL that identifies the registry: of the folder, with a `/` at the end.
impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files { index } if index.path().ends_with("/registry.toml") => {
                f.write_str(index.as_str().strip_suffix(Registry::FILE_NAME).unwrap_or(index.as_str()))
            }
            Self::Files { index } => f.write_str(index.as_str()),
            Self::Oci { namespace, .. } => write!(f, "oci://{}/{namespace}/", self.host()),
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(text: &str, expected: Expect) {
        expected.assert_eq(&match text.parse::<RemoteUrl>() {
            Ok(url) => url.to_string(),
            Err(error) => format!("it {error}"),
        });
    }

    #[test]
    fn a_registry_is_a_folder_of_files_or_a_namespace() {
        check("https://r.example", expect!["https://r.example/"]);
        check("https://r.example/a/", expect!["https://r.example/a/"]);
        check("https://r.example/a/registry.toml", expect!["https://r.example/a/"]);
        check("https://r.example/a/other.toml", expect!["https://r.example/a/other.toml"]);
        check("https://R.example:443/a", expect!["https://r.example/a/"]);
        check("http://127.0.0.1:8080/a", expect!["http://127.0.0.1:8080/a/"]);
        check("http://[::1]/a", expect!["http://[::1]/a/"]);
        check("oci://ghcr.io/acme/bundles", expect!["oci://ghcr.io/acme/bundles/"]);
        check("oci://localhost:5000/acme/", expect!["oci://localhost:5000/acme/"]);
    }

    #[test]
    fn urls_that_hide_something_are_rejected() {
        check("http://r.example/a", expect!["it is not encrypted; `http://` is permitted for this machine only"]);
        check(
            "http://localhost.evil.example",
            expect!["it is not encrypted; `http://` is permitted for this machine only"],
        );
        check("https://u:p@r.example/a", expect!["it has credentials, which a configuration file must not contain"]);
        check("https://r.example/a?x", expect!["it has a query or a fragment"]);
        check("https://r.example/ a", expect!["it has spaces or control characters"]);
        check(
            "ftp://r.example",
            expect!["it is not the address of a registry; write a path, `https://…` or `oci://…`"],
        );
        check("oci://r.example", expect!["it has no namespace; write `oci://HOST/NAMESPACE`"]);
        for namespace in ["Acme", "a//b", "a/-b", "a/b_", "a..b", "a/b%2f", "a___b"] {
            let error = format!("oci://r.example/{namespace}").parse::<RemoteUrl>().expect_err(namespace);
            assert!(error.to_string().contains("invalid namespace"), "{namespace}: {error}");
        }
    }
}
