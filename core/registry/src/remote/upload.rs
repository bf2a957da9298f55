//! Publishes releases in OCI registries.

use blockyard_model::Digest;
use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, IF_NONE_MATCH, LOCATION};
use reqwest::{Method, StatusCode};
use semver::VersionReq;
use url::Url;

use super::http::{Incoming, Outgoing};
use super::manifest::{MANIFEST, ManifestFormat, upload};
use super::oci::{Repositories, invalid, open};
use super::session::Session;
use crate::access::Wanted;
use crate::index::{Registry, Release, Source};
use crate::publish::{NewRelease, OnPreceding, PublishError, preceding};
use crate::remote_error::RemoteError;
use crate::resolve::{Requested, resolve};
use crate::signing::SigningKey;

/// Maximum size of the responses to uploads in bytes.
const RESPONSE_BYTES: u64 = 1 << 20;

/// A release that was published in an OCI registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// `oci://HOST/NAMESPACE/NAME:VERSION`.
    pub reference: String,
    /// Digest of the component file.
    pub digest: Digest,
    /// `false` if the registry already had this release with the same bytes.
    pub changed: bool,
}

/// State of a tag.
enum Tag {
    Absent,
    /// The digest of its component, or the reason why it is something else.
    Present(Result<Digest, String>),
}

/// Uploads a release, unless the registry has it. Afterwards, the release is resolved and verified as
/// a consumer would do it. `repositories` has no cache.
pub(crate) async fn publish(
    session: &Session,
    repositories: Repositories,
    release: &NewRelease<'_>,
    key: &SigningKey,
    on_preceding: OnPreceding<'_>,
) -> Result<Uploaded, PublishError> {
    let NewRelease { manifest: bundle, bytes } = release;
    let (name, version) = (&bundle.name, &bundle.version);
    if !version.build.is_empty() {
        return Err(PublishError::BuildMetadata(version.to_string()));
    }
    let digest = Digest::of(bytes);
    let scope = repositories.scope(name, "pull,push");
    let manifest_url = repositories.url(name, &["manifests", &version.to_string()]);
    let changed = match tag(session, &manifest_url, &scope).await? {
        Tag::Present(Ok(published)) if published == digest => false,
        Tag::Present(published) => {
            return Err(PublishError::Exists {
                name: name.to_string(),
                version: version.to_string(),
                published: match published {
                    Ok(digest) => format!("sha256 {digest}"),
                    Err(reason) => format!("something else: {reason}"),
                },
                new: digest,
            });
        }
        Tag::Absent => true,
    };
    let wanted = [name.clone()];
    let reference = repositories.reference(name, version);
    let location = repositories.base().to_string();
    let registry = open(repositories, location, Wanted::Bundles(&wanted)).await?;
    check_signer(&registry, release, key)?;
    if changed {
        preceding(&registry, bundle).into_iter().for_each(on_preceding);
        let signature = key.sign(bytes, name, version)?;
        let upload = upload(bundle, bytes, &signature, key.public());
        let uploads = repositories_url(&manifest_url, &["blobs", "uploads", ""]);
        blob(session, &uploads, &scope, Bytes::copy_from_slice(bytes)).await?;
        blob(session, &uploads, &scope, upload.configuration.into()).await?;
        let mut request = Outgoing::get(manifest_url.clone(), RESPONSE_BYTES, session.times().document)
            .header(CONTENT_TYPE, MANIFEST)
            // Servers that know it reject the upload if another publisher was faster.
            .header(IF_NONE_MATCH, "*");
        (request.method, request.body) = (Method::PUT, Some(upload.manifest.into()));
        accepted(session.send(&request, &scope).await?, &[StatusCode::CREATED, StatusCode::OK])?;
    }
    Ok(Uploaded { reference, digest, changed })
}

/// Resolves and verifies a release as a consumer would.
pub(crate) async fn verify(
    repositories: Repositories,
    release: &NewRelease<'_>,
    key: &SigningKey,
) -> Result<(), PublishError> {
    let NewRelease { manifest: bundle, bytes } = release;
    let (name, version) = (&bundle.name, &bundle.version);
    let unresolved = |reason: String| PublishError::NotResolved(format!("{name} {version}: {reason}"));
    let wanted = [name.clone()];
    let location = repositories.base().to_string();
    let registries = [open(repositories, location, Wanted::Bundles(&wanted)).await?];
    let requirement = VersionReq::parse(&format!("={version}")).map_err(|error| unresolved(error.to_string()))?;
    let requested = Requested { name, requirement: &requirement, locked: Some(version) };
    let found = resolve(&registries, &requested).map_err(|error| unresolved(error.to_string()))?;
    let Release { source, sha256, signature, .. } = found.release;
    let (Some(digest), Source::Url(url)) = (sha256, source) else {
        return Err(unresolved("it is not a file".to_owned()));
    };
    let downloads = registries[0].downloads.as_ref().ok_or_else(|| unresolved("it cannot be downloaded".to_owned()))?;
    let downloaded = downloads.download(url, *digest).await?;
    if downloaded != *bytes {
        return Err(unresolved(format!("the downloaded file has sha256 {}", Digest::of(&downloaded))));
    }
    let signature = signature.as_deref().unwrap_or_default();
    key.public().verify(signature, &downloaded, name, version).map_err(|error| unresolved(error.to_string()))
}

/// Returns whether a tag exists. Any answer but "yes" and "not found" is an error: a release must not
/// be replaced because the server could not tell.
async fn tag(session: &Session, url: &Url, scope: &str) -> Result<Tag, RemoteError> {
    let request = Outgoing::get(url.clone(), RESPONSE_BYTES, session.times().document).header(ACCEPT, MANIFEST);
    let response = session.send(&request, scope).await?;
    match response.status {
        StatusCode::NOT_FOUND => Ok(Tag::Absent),
        StatusCode::OK => {
            let manifest = serde_json::from_slice::<ManifestFormat>(&response.body);
            Ok(Tag::Present(manifest.map_err(|error| error.to_string()).and_then(|manifest| manifest.component())))
        }
        _ => Err(response.unexpected()),
    }
}

/// Checks that the newest other release of the bundle is signed with the same key.
fn check_signer(registry: &Registry, release: &NewRelease<'_>, key: &SigningKey) -> Result<(), PublishError> {
    let entry = registry.entry_of(&release.manifest.name);
    let Some(newest) = entry.and_then(|entry| entry.releases.first()) else { return Ok(()) };
    let state = match &newest.key {
        Some(own) if own == key.public() => return Ok(()),
        Some(own) => format!("has `{}` {} signed with {own}", release.manifest.name, newest.version),
        None => format!("has `{}` {} unsigned", release.manifest.name, newest.version),
    };
    Err(PublishError::OtherSigner { state, key: key.public().to_string() })
}

/// Returns a URL of the repository, given one of its manifests.
fn repositories_url(manifest: &Url, rest: &[&str]) -> Url {
    let mut url = manifest.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop().pop().extend(rest);
    }
    url
}

/// Uploads a blob: a request for a location, and one with the bytes.
async fn blob(session: &Session, uploads: &Url, scope: &str, bytes: Bytes) -> Result<(), RemoteError> {
    let digest = format!("sha256:{}", Digest::of(&bytes));
    let mut request = Outgoing::get(uploads.clone(), RESPONSE_BYTES, session.times().document);
    (request.method, request.body) = (Method::POST, Some(Bytes::new()));
    let response = accepted(session.send(&request, scope).await?, &[StatusCode::ACCEPTED])?;
    let location = response.header(LOCATION).and_then(|location| response.url.join(location).ok());
    let mut location = location.ok_or_else(|| invalid(uploads, "the server named no location for the upload"))?;
    if location.origin() != uploads.origin() {
        return Err(invalid(uploads, &format!("the server wants the upload at another server, `{location}`")));
    }
    location.query_pairs_mut().append_pair("digest", &digest);
    let mut request = Outgoing::get(location, RESPONSE_BYTES, session.times().component)
        .header(CONTENT_TYPE, "application/octet-stream");
    (request.method, request.body) = (Method::PUT, Some(bytes));
    accepted(session.send(&request, scope).await?, &[StatusCode::CREATED])?;
    Ok(())
}

fn accepted(response: Incoming, expected: &[StatusCode]) -> Result<Incoming, RemoteError> {
    if expected.contains(&response.status) { Ok(response) } else { Err(response.unexpected()) }
}
