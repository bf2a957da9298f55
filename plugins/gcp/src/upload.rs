//! Object uploads: a single request for small objects, a resumable session otherwise. After the
//! upload, the CRC32C checksum of the stored object is compared with that of the data read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blockyard_sdk::http;
use blockyard_sdk::prelude::*;
use blockyard_sdk::retry::RetriedResponse;

use crate::api;
use crate::bucket::GcsBucket;
use crate::checksum::CRC32C;
use crate::resumable::{self, CHUNK_BYTES, Session, Target};

/// Maximum number of bytes read at once to compute the checksum.
const READ_BYTES: u32 = 1 << 20;

/// An object to upload.
#[derive(Debug)]
pub(crate) struct Upload<'a> {
    pub(crate) bucket: &'a GcsBucket,
    /// Name in the bucket.
    pub(crate) name: String,
    pub(crate) content_type: String,
    /// Other fields of the object resource, e.g. `metadata`.
    pub(crate) resource: Map<String, Value>,
    /// Precondition: the generation to overwrite, or `0` if no object may exist.
    pub(crate) only_over: Option<String>,
}

impl Upload<'_> {
    /// Uploads all of `input` and returns the object resource.
    pub(crate) fn send(&self, input: &Body) -> Result<Value> {
        let first = resumable::chunk(input)?;
        let mut digest = CRC32C.digest();
        let mut seen = |chunk: &Body| -> Result<()> {
            let bytes = chunk.again()?;
            while let Some(bytes) = bytes.read(READ_BYTES)? {
                digest.update(&bytes);
            }
            Ok(())
        };
        let stored = if first.size() < Some(u64::from(CHUNK_BYTES)) && self.resource.is_empty() {
            seen(&first)?;
            self.send_at_once(&first)?
        } else {
            let mut resource = self.resource.clone();
            resource.insert("contentType".to_owned(), self.content_type.as_str().into());
            let (credentials, subject) = (self.bucket.credentials()?, self.subject());
            let target = Target { url: &self.url("resumable")?, content_type: &self.content_type, subject: &subject };
            Session::begin(credentials, target, self.bucket.key(), &resource)?.send(first, input, seen)?
        };
        self.compare(&stored, digest.finalize())?;
        Ok(stored)
    }

    fn subject(&self) -> String {
        format!("object `{}` of bucket `{}`", self.name, self.bucket.bucket)
    }

    fn url(&self, kind: &str) -> Result<String> {
        let base = self.bucket.credentials()?.base("storage");
        let mut url = format!(
            "{base}/upload/storage/v1/b/{}/o?uploadType={kind}&name={}",
            http::percent_encode(&self.bucket.bucket),
            http::percent_encode(&self.name)
        );
        if let Some(generation) = &self.only_over {
            url.push_str(&format!("&ifGenerationMatch={generation}"));
        }
        Ok(url)
    }

    fn send_at_once(&self, bytes: &Body) -> Result<Value> {
        let url = self.url("media")?;
        let credentials = self.bucket.credentials()?;
        let RetriedResponse { response, attempts } = api::send_counting(|| {
            let request = http::post(url.as_str()).header("content-type", &self.content_type);
            Ok(credentials.sign(self.bucket.key().with(request.body(bytes.again()?))))
        })?;
        let lost = attempts > 1 && self.only_over.is_some() && response.status == 412;
        let stored = api::ok(response, &self.subject()).map_err(|problem| match lost {
            true => problem.hint("check the object: a response was lost, and this call may have written it"),
            false => problem,
        });
        stored?.json()
    }

    /// Compares the checksum of the stored object with that of the data read, and deletes the
    /// object if they differ.
    fn compare(&self, stored: &Value, read: u32) -> Result<()> {
        let read = STANDARD.encode(read.to_be_bytes());
        let stored_checksum = stored["crc32c"].as_str().unwrap_or_default();
        if stored_checksum == read {
            return Ok(());
        }
        let generation = stored["generation"].as_str().unwrap_or_default();
        let removed = self.bucket.remove(&self.name, Some(generation));
        let left = if removed.is_ok() { "it was deleted" } else { "it could not be deleted" };
        Err(Problem::new(
            "failed",
            format!(
                "{} does not match the data sent (CRC32C `{stored_checksum}` instead of `{read}`); {left}",
                self.subject()
            ),
        )
        .retryable())
    }
}
