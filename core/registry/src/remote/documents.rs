//! Documents and component files of a registry: from the cache, or from the server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use blockyard_model::Digest;
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, ETAG, IF_NONE_MATCH, LINK};
use url::Url;

use super::cache::{Cache, Document, Entry};
use super::http::{Incoming, Outgoing};
use super::session::Session;
use crate::remote_error::RemoteError;

/// Maximum size of a component file in bytes, the limit of the sandbox.
const COMPONENT_BYTES: u64 = 64 << 20;

/// Reads what a registry offers.
pub(crate) struct Documents {
    /// `None` if the network may not be used.
    session: Option<Session>,
    cache: Option<Cache>,
    report: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Documents {
    pub(crate) fn new(session: Option<Session>, cache: Option<Cache>, report: Arc<dyn Fn(&str) + Send + Sync>) -> Self {
        Self { session, cache, report }
    }

    /// Reads a document of up to `limit` bytes: from the server if it changed, else from the cache.
    /// Returns `None` if the server does not have it.
    pub(crate) async fn document(
        &self,
        url: &Url,
        accept: &str,
        scope: &str,
        limit: u64,
    ) -> Result<Option<Document>, RemoteError> {
        let (cached, is_damaged) = match self.cache.as_ref().map(|cache| cache.document(url)) {
            Some(Entry::Good(document)) => (Some(document), false),
            Some(Entry::Damaged(path)) if self.session.is_none() => return Err(RemoteError::Damaged { path }),
            Some(Entry::Damaged(path)) => {
                (self.report)(&format!("the cache entry `{}` is damaged, and is not used", path.display()));
                (None, true)
            }
            Some(Entry::Absent) | None => (None, false),
        };
        let Some(session) = &self.session else {
            return cached.map(Some).ok_or_else(|| RemoteError::NotCached { url: url.to_string() });
        };
        let mut request = Outgoing::get(url.clone(), limit, session.times().document).header(ACCEPT, accept);
        if let Some(etag) = cached.as_ref().and_then(|document| document.etag.clone()) {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let response = session.send(&request, scope).await?;
        match response.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            StatusCode::NOT_MODIFIED if cached.is_some() => return Ok(cached),
            _ => return Err(response.unexpected()),
        }
        let document = document(url, response)?;
        if let Some(cache) = self.cache.as_ref().filter(|_| !is_damaged) {
            cache.store_document(url, &document);
        }
        Ok(Some(document))
    }

    /// Downloads a component file, or reads it from the cache. The caller verifies the bytes.
    pub(crate) async fn component(&self, url: &Url, digest: Digest, scope: &str) -> Result<Vec<u8>, RemoteError> {
        match self.cache.as_ref().map(|cache| cache.component(digest)) {
            Some(Entry::Good(bytes)) => return Ok(bytes),
            Some(Entry::Damaged(path)) if self.session.is_none() => return Err(RemoteError::Damaged { path }),
            Some(Entry::Damaged(path)) => {
                (self.report)(&format!("the cache entry `{}` is damaged, and is not used", path.display()));
            }
            Some(Entry::Absent) | None => {}
        }
        let session = self.session.as_ref().ok_or_else(|| RemoteError::NotCached { url: url.to_string() })?;
        let time: Duration = session.times().component;
        let response = session.send(&Outgoing::get(url.clone(), COMPONENT_BYTES, time), scope).await?;
        if response.status != StatusCode::OK {
            return Err(response.unexpected());
        }
        if Digest::of(&response.body) == digest
            && let Some(cache) = &self.cache
        {
            cache.store_component(digest, &response.body);
        }
        Ok(response.body)
    }
}

fn document(url: &Url, response: Incoming) -> Result<Document, RemoteError> {
    let (etag, link) = (response.header(ETAG).map(str::to_owned), response.header(LINK).map(str::to_owned));
    let invalid = |_| RemoteError::Invalid { url: url.to_string(), reason: "it is not UTF-8 text".to_owned() };
    let text = String::from_utf8(response.body).map_err(invalid)?;
    Ok(Document { text, etag, link })
}

impl fmt::Debug for Documents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, cache, report: _ } = self;
        f.debug_struct("Documents").field("session", session).field("cache", cache).finish_non_exhaustive()
    }
}
