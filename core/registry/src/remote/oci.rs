//! OCI registries: the bundle NAME in version VERSION is the repository `NAMESPACE/NAME` with the tag
//! VERSION (<https://github.com/opencontainers/distribution-spec/blob/main/spec.md>).
//!
//! Blockyard speaks the protocol itself, with the requests of `http.rs`: the common client libraries
//! limit neither the size of a document nor the target of a redirect.

use std::collections::BTreeMap;
use std::sync::Arc;

use blockyard_model::{BundleName, Digest};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use semver::Version;
use serde::Deserialize;
use url::Url;

use super::cache::Document;
use super::documents::Documents;
use super::manifest::{ARTIFACT, Descriptor, INDEX, IndexFormat, MANIFEST, ManifestFormat, OciRelease};
use crate::access::Wanted;
use crate::index::{Base, Download, Downloading, Entry, EntryError, Registry, RegistryTrust};
use crate::remote_error::RemoteError;

/// Maximum number of pages of a list, each with up to [`PAGE`] names.
const PAGES: usize = 50;
/// Number of names per page that is requested.
const PAGE: &str = "1000";
/// Maximum number of versions of a bundle whose manifests are read.
const VERSIONS: usize = 1_000;
/// Maximum number of bundles of a namespace that are listed.
const BUNDLES: usize = 1_000;
/// Maximum number of artifacts that are read to find a signature.
const REFERRERS: usize = 16;
/// Maximum size of a page of a list in bytes.
const PAGE_BYTES: u64 = 1 << 20;
/// Maximum size of a manifest in bytes. That of a bundle has about 2 KiB.
const MANIFEST_BYTES: u64 = 256 << 10;
/// Number of simultaneous requests.
const CONCURRENT: usize = 8;

/// The repositories of a namespace.
#[derive(Debug)]
pub(crate) struct Repositories {
    documents: Documents,
    /// `https://HOST/` or, on this machine, `http://HOST/`.
    server: Url,
    namespace: String,
    /// URL that identifies the registry.
    base: Url,
}

#[derive(Deserialize)]
struct TagsFormat {
    // Some servers write `null` for an empty repository.
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct CatalogFormat {
    repositories: Option<Vec<String>>,
}

/// Result of reading one tag.
enum Tag {
    Release(Box<OciRelease>),
    /// The manifest is not that of a bundle.
    Other(String),
}

impl Repositories {
    pub(crate) fn new(documents: Documents, server: Url, namespace: String, base: Url) -> Self {
        Self { documents, server, namespace, base }
    }

    /// Returns the URL that identifies the registry.
    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    /// Returns `HOST/v2/NAMESPACE/NAME/REST`.
    pub(crate) fn url(&self, name: &BundleName, rest: &[&str]) -> Url {
        let mut url = self.server.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().push("v2").extend(self.namespace.split('/')).push(name.as_str()).extend(rest);
        }
        url
    }

    /// Returns `oci://HOST/NAMESPACE/NAME:VERSION`.
    pub(crate) fn reference(&self, name: &BundleName, version: &Version) -> String {
        format!("{}{name}:{version}", self.base)
    }

    /// Returns the scope of actions on a repository: `pull` or `pull,push`.
    pub(crate) fn scope(&self, name: &BundleName, actions: &str) -> String {
        format!("repository:{}/{name}:{actions}", self.namespace)
    }

    /// Reads a list, which the server splits into pages.
    async fn pages<T>(
        &self,
        first: Url,
        scope: &str,
        parse: impl Fn(&str) -> Result<Vec<T>, serde_json::Error>,
    ) -> Result<Option<Vec<T>>, RemoteError> {
        let mut url = first;
        let mut all = Vec::new();
        for _ in 0..PAGES {
            let Some(document) = self.documents.document(&url, "application/json", scope, PAGE_BYTES).await? else {
                // Only the first page decides whether there is a list.
                return if all.is_empty() { Ok(None) } else { Err(invalid(&url, "a page of the list is missing")) };
            };
            all.extend(parse(&document.text).map_err(|error| invalid(&url, &error.to_string()))?);
            match next(&url, &document) {
                None => return Ok(Some(all)),
                Some(target) if target.origin() == url.origin() => url = target,
                Some(_) => return Err(invalid(&url, "the next page of the list is on another server")),
            }
        }
        Err(invalid(&url, &format!("the list has more than {PAGES} pages")))
    }

    /// Returns the names of the bundles in the namespace.
    async fn listed(&self) -> Result<Vec<BundleName>, RemoteError> {
        let mut url = self.server.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(["v2", "_catalog"]);
        }
        url.query_pairs_mut().append_pair("n", PAGE);
        let not_listed = |reason: String| RemoteError::NotListed { url: self.base.to_string(), reason };
        let parse = |text: &str| {
            serde_json::from_str::<CatalogFormat>(text).map(|catalog| catalog.repositories.unwrap_or_default())
        };
        let repositories = match self.pages(url, "registry:catalog:*", parse).await {
            Ok(Some(repositories)) => repositories,
            Ok(None) => return Err(not_listed("its server has no catalog".to_owned())),
            // Servers that have no catalog reject the request in different ways.
            Err(error @ (RemoteError::Credentials { .. } | RemoteError::Status { status: 400..=499, .. })) => {
                return Err(not_listed(format!("its server does not permit it: {error}")));
            }
            Err(error) => return Err(error),
        };
        let prefix = format!("{}/", self.namespace);
        let names = repositories.iter().filter_map(|repository| repository.strip_prefix(&prefix));
        let names: Vec<BundleName> = names.filter_map(|name| BundleName::new(name).ok()).collect();
        if names.len() > BUNDLES {
            return Err(not_listed(format!("it has more than {BUNDLES} bundles")));
        }
        Ok(names)
    }

    /// Reads a bundle. Returns `None` if the registry does not have it.
    async fn entry(&self, name: &BundleName, broken: &mut Vec<String>) -> Result<Option<Entry>, RemoteError> {
        let mut url = self.url(name, &["tags", "list"]);
        url.query_pairs_mut().append_pair("n", PAGE);
        let parse = |text: &str| serde_json::from_str::<TagsFormat>(text).map(|list| list.tags.unwrap_or_default());
        let Some(tags) = self.pages(url.clone(), &self.scope(name, "pull"), parse).await? else { return Ok(None) };
        // Tags that are not versions are common, for example `latest` and those of signatures.
        let mut versions: Vec<Version> = tags.iter().filter_map(|tag| Version::parse(tag).ok()).collect();
        versions.sort();
        versions.dedup();
        versions.reverse();
        if versions.len() > VERSIONS {
            return Err(invalid(&url, &format!("the bundle has more than {VERSIONS} versions")));
        }
        let tags: Vec<(Version, Tag)> = stream::iter(versions)
            .map(|version| async move { Ok::<_, RemoteError>((version.clone(), self.tag(name, &version).await?)) })
            .buffered(CONCURRENT)
            .try_collect()
            .await?;
        let mut releases = Vec::new();
        for (version, tag) in tags {
            match tag {
                Tag::Release(release) => releases.push(*release),
                Tag::Other(reason) => broken.push(format!("release {version}: {reason}")),
            }
        }
        let Some(newest) = releases.first().cloned() else { return Ok(None) };
        let OciRelease { description, license, types, .. } = newest;
        let releases = releases.into_iter().map(|release| release.release).collect();
        Ok(Some(Entry { name: name.clone(), description, license, types, releases }))
    }

    /// Reads the manifest of a version, as text and parsed. Returns `None` if there is no such tag.
    pub(crate) async fn manifest(
        &self,
        name: &BundleName,
        reference: &str,
    ) -> Result<Option<(String, ManifestFormat)>, RemoteError> {
        let url = self.url(name, &["manifests", reference]);
        let accept = format!("{MANIFEST}, {INDEX};q=0.5");
        let Some(document) = self.documents.document(&url, &accept, &self.scope(name, "pull"), MANIFEST_BYTES).await?
        else {
            return Ok(None);
        };
        let manifest = serde_json::from_str(&document.text).map_err(|error| invalid(&url, &error.to_string()))?;
        Ok(Some((document.text, manifest)))
    }

    async fn tag(&self, name: &BundleName, version: &Version) -> Result<Tag, RemoteError> {
        let (text, manifest) = match self.manifest(name, &version.to_string()).await {
            Ok(Some(found)) => found,
            // Deleted since it was listed.
            Ok(None) => return Ok(Tag::Other("its manifest does not exist".to_owned())),
            Err(RemoteError::Invalid { reason, .. }) => {
                return Ok(Tag::Other(format!("its manifest is not that of a bundle: {reason}")));
            }
            Err(error) => return Err(error),
        };
        let referrers = match manifest.is_signed() {
            true => BTreeMap::new(),
            false => self.referrers(name, Digest::of(text.as_bytes())).await?,
        };
        let source = format!("{}{name}", self.base);
        Ok(match manifest.release(name, version, referrers, &source) {
            Ok(release) => Tag::Release(Box::new(release)),
            Err(reason) => Tag::Other(reason),
        })
    }

    /// Returns the annotations of the artifacts that refer to a manifest: by the API of referrers, or,
    /// on servers without it, by the tag that the specification defines instead.
    async fn referrers(&self, name: &BundleName, digest: Digest) -> Result<BTreeMap<String, String>, RemoteError> {
        let scope = self.scope(name, "pull");
        let mut api = self.url(name, &["referrers", &format!("sha256:{digest}")]);
        api.query_pairs_mut().append_pair("artifactType", ARTIFACT);
        let tag = self.url(name, &["manifests", &format!("sha256-{digest}")]);
        let found = match self.documents.document(&api, INDEX, &scope, PAGE_BYTES).await {
            Ok(Some(document)) => Some((api, document)),
            // Servers without the API, and a cache that was filled from one.
            Ok(None) | Err(RemoteError::Status { status: 400..=499, .. } | RemoteError::NotCached { .. }) => {
                match self.documents.document(&tag, INDEX, &scope, PAGE_BYTES).await {
                    Err(RemoteError::NotCached { .. }) => None,
                    other => other?.map(|document| (tag, document)),
                }
            }
            Err(error) => return Err(error),
        };
        let Some((url, document)) = found else { return Ok(BTreeMap::new()) };
        let index: IndexFormat =
            serde_json::from_str(&document.text).map_err(|error| invalid(&url, &error.to_string()))?;
        let is_ours = |descriptor: &&Descriptor| descriptor.artifact_type.as_deref() == Some(ARTIFACT);
        let mut annotations = BTreeMap::new();
        for artifact in index.manifests.iter().filter(is_ours).take(REFERRERS) {
            let Some((text, manifest)) = self.manifest(name, &artifact.digest).await? else { continue };
            if artifact.digest != format!("sha256:{}", Digest::of(text.as_bytes())) {
                return Err(invalid(&url, &format!("the artifact `{}` has another digest", artifact.digest)));
            }
            annotations.extend(manifest.annotations());
        }
        Ok(annotations)
    }
}

impl Download for Repositories {
    fn download<'a>(&'a self, url: &'a str, digest: Digest) -> Downloading<'a> {
        Box::pin(async move {
            let name = url.strip_prefix(self.base.as_str()).and_then(|rest| rest.split('@').next());
            let name = name.and_then(|name| BundleName::new(name).ok());
            let name = name.ok_or_else(|| RemoteError::Invalid {
                url: url.to_owned(),
                reason: "it is not a file of this registry".to_owned(),
            })?;
            let blob = self.url(&name, &["blobs", &format!("sha256:{digest}")]);
            self.documents.component(&blob, digest, &self.scope(&name, "pull")).await
        })
    }
}

/// Reads the wanted bundles of a registry. `name` is its name for display.
pub(crate) async fn open(
    repositories: Repositories,
    name: String,
    wanted: Wanted<'_>,
) -> Result<Registry, RemoteError> {
    let listed;
    let names = match wanted {
        Wanted::Bundles(names) => names,
        Wanted::All => {
            listed = repositories.listed().await?;
            &listed
        }
    };
    let (mut entries, mut broken) = (Vec::new(), Vec::new());
    for bundle in names {
        let mut reasons = Vec::new();
        entries.extend(repositories.entry(bundle, &mut reasons).await?);
        broken.extend(reasons.into_iter().map(|reason| EntryError {
            number: None,
            name: Some(bundle.to_string()),
            reason,
        }));
    }
    Ok(Registry {
        name,
        base: Base::Server(repositories.base.clone()),
        trust: RegistryTrust::Undeclared,
        entries,
        broken,
        downloads: Some(Arc::new(repositories)),
        unavailable: None,
        credentials: None,
    })
}

/// Returns the URL of the next page (RFC 8288): `</v2/…?last=x>; rel="next"`.
fn next(url: &Url, document: &Document) -> Option<Url> {
    let (target, parameters) = document.link.as_deref()?.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.split(';').any(|parameter| matches!(parameter.trim(), "rel=\"next\"" | "rel=next"));
    is_next.then(|| url.join(target).ok()).flatten()
}

pub(crate) fn invalid(url: &Url, reason: &str) -> RemoteError {
    RemoteError::Invalid { url: url.to_string(), reason: reason.to_owned() }
}
