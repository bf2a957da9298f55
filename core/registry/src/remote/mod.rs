//! Registries on servers: folders of files behind HTTPS, and OCI registries.
//!
//! Everything that a server sends is untrusted: the index is checked like a local one, and a
//! component file is verified by its digest and its signature before it is used. `http.rs` is the
//! only module that opens connections.

mod cache;
mod credentials;
mod documents;
mod files;
mod http;
mod manifest;
mod oci;
mod session;
mod upload;

use std::sync::{Arc, PoisonError};

use blockyard_model::Digest;
use url::Url;

use self::cache::Cache;
pub use self::cache::evict;
use self::credentials::Credentials;
use self::documents::Documents;
use self::files::Files;
use self::http::Http;
use self::oci::Repositories;
use self::session::{Session, Used};
pub use self::upload::Uploaded;
use crate::access::{RemoteAccess, RemoteRegistry, Wanted};
use crate::index::{Download, Downloading, Registry};
use crate::publish::{NewRelease, OnPreceding, PublishError};
use crate::remote_error::RemoteError;
use crate::remote_url::RemoteUrl;
use crate::signing::SigningKey;

/// Reads the index of a registry on a server. A registry that cannot be read is returned as
/// [`unavailable`](Registry::unavailable), so that it still takes its place among others.
pub async fn open(registry: &RemoteRegistry, wanted: Wanted<'_>, access: &RemoteAccess) -> Registry {
    let used = Used::default();
    let mut opened = match opened(registry, wanted, access, &used).await {
        Ok(opened) => opened,
        Err(error) => Registry::unavailable(display_name(registry), base(&registry.url), error),
    };
    opened.credentials = (!access.offline).then(|| used.lock().unwrap_or_else(PoisonError::into_inner).clone());
    if registry.unsigned {
        opened.accept_unsigned();
    }
    opened
}

async fn opened(
    registry: &RemoteRegistry,
    wanted: Wanted<'_>,
    access: &RemoteAccess,
    used: &Used,
) -> Result<Registry, RemoteError> {
    let documents = documents(Some(registry), access, used)?;
    let base = base(&registry.url);
    match &registry.url {
        RemoteUrl::Files { index } => files::open(documents, index, base).await,
        RemoteUrl::Oci { namespace, .. } => {
            let repositories = Repositories::new(documents, server(registry), namespace.clone(), base);
            oci::open(repositories, display_name(registry), wanted).await
        }
    }
}

/// Permits that the releases of a local registry name files on servers.
pub fn permit_downloads(registry: &mut Registry, access: &RemoteAccess) {
    registry.downloads = Some(Arc::new(Elsewhere { access: access.clone() }));
}

/// Downloads of a local registry. The client is created with the first one, because few of these
/// registries have any.
#[derive(Debug)]
struct Elsewhere {
    access: RemoteAccess,
}

impl Download for Elsewhere {
    fn download<'a>(&'a self, url: &'a str, digest: Digest) -> Downloading<'a> {
        Box::pin(
            async move { Files::new(documents(None, &self.access, &Used::default())?, None).fetch(url, digest).await },
        )
    }
}

/// Signs a component file and publishes it in an OCI registry. A release that is already published is
/// never replaced.
///
/// # Errors
/// Returns a [`PublishError`] if the registry has other bytes under this version, is signed with
/// another key, or rejects the upload.
pub async fn publish_remotely(
    registry: &RemoteRegistry,
    release: &NewRelease<'_>,
    key: &SigningKey,
    access: &RemoteAccess,
    on_preceding: OnPreceding<'_>,
) -> Result<Uploaded, PublishError> {
    let RemoteUrl::Oci { namespace, .. } = &registry.url else {
        return Err(PublishError::ReadOnly(registry.url.to_string()));
    };
    // What the cache has is not what a consumer would get.
    let access = RemoteAccess { cache: None, offline: false, ..access.clone() };
    let repositories = || -> Result<Repositories, RemoteError> {
        let documents = documents(Some(registry), &access, &Used::default())?;
        Ok(Repositories::new(documents, server(registry), namespace.clone(), base(&registry.url)))
    };
    let session = session(Some(registry), &access, &Used::default())?;
    let uploaded = upload::publish(&session, repositories()?, release, key, on_preceding).await?;
    upload::verify(repositories()?, release, key).await?;
    Ok(uploaded)
}

/// Returns the name for display: that of the configuration, or the location.
fn display_name(registry: &RemoteRegistry) -> String {
    registry.name.clone().unwrap_or_else(|| registry.url.to_string().trim_end_matches('/').to_owned())
}

/// Returns the URL that identifies a registry.
fn base(url: &RemoteUrl) -> Url {
    Url::parse(&url.to_string()).expect("the text of a `RemoteUrl` is a URL")
}

/// Returns the URL of the server. On this machine, only a registry with CA certificates uses TLS.
fn server(registry: &RemoteRegistry) -> Url {
    let (RemoteUrl::Files { index: url } | RemoteUrl::Oci { server: url, .. }) = &registry.url;
    let is_plain = matches!(registry.url, RemoteUrl::Oci { .. }) && registry.url.is_loopback() && registry.ca.is_none();
    if !is_plain {
        return url.clone();
    }
    // `Url::set_scheme` would drop the port 443, which is not the default one of `http`.
    let port = url.port_or_known_default().unwrap_or_default();
    let text = format!("http://{}:{port}/", url.host_str().unwrap_or_default());
    Url::parse(&text).expect("a host and a port are a URL")
}

fn session(registry: Option<&RemoteRegistry>, access: &RemoteAccess, used: &Used) -> Result<Session, RemoteError> {
    let url = registry.map(server);
    let ca = registry.and_then(|registry| registry.ca.as_deref());
    let http = Http::new(url.as_ref(), ca, access.times)?;
    let token = registry.and_then(|registry| registry.token.clone());
    let host = registry.map(|registry| registry.url.host()).unwrap_or_default();
    let token_service = registry.and_then(|registry| registry.token_service.clone());
    let credentials = Credentials::new(token, token_service, access.docker_config.clone(), host);
    Ok(Session::new(http, url, credentials, used.clone()))
}

fn documents(registry: Option<&RemoteRegistry>, access: &RemoteAccess, used: &Used) -> Result<Documents, RemoteError> {
    let session = if access.offline { None } else { Some(session(registry, access, used)?) };
    let cache = match access.cache.as_deref().map(Cache::open) {
        None => None,
        Some(Ok(cache)) => Some(cache),
        Some(Err(error)) => {
            let path = access.cache.as_deref().unwrap_or_else(|| std::path::Path::new(""));
            (access.report)(&format!("the cache `{}` is not used: {error}", path.display()));
            None
        }
    };
    Ok(Documents::new(session, cache, access.report.clone()))
}
