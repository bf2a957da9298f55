//! Block type `gcs-bucket`, implemented with the Cloud Storage JSON API (version 1).

use std::collections::BTreeMap;
use std::time::Duration;

use blockyard_sdk::clock;
use blockyard_sdk::http::{self, Request};
use blockyard_sdk::prelude::*;

use crate::api;
use crate::credentials::GcpCredentials;
use crate::encryption::Key;
use crate::path::{self, Prefix};
use crate::signed::{self, Permission};
use crate::upload::Upload;

/// Maximum number of source objects in one `compose` request ("Composite objects", Cloud Storage).
const COMPOSED: usize = 32;

/// A Google Cloud Storage bucket, or the part of a bucket below a prefix.
#[derive(Block, Debug)]
#[block(type = "gcs-bucket", version = 1, title = "Google Cloud Storage bucket", interfaces("object-storage"))]
pub(crate) struct GcsBucket {
    /// Credentials for the requests, e.g. `gcp-credentials/prod`.
    pub(crate) credentials: BlockRef<GcpCredentials>,
    /// Bucket name, e.g. `my-bucket`, without `gs://`.
    pub(crate) bucket: String,
    /// Prefix of all paths, e.g. `raw/2024`. Empty for the entire bucket.
    #[serde(default)]
    pub(crate) prefix: String,
    /// Customer-supplied encryption key: 32 bytes in base64, as printed by `openssl rand -base64
    /// 32`. Cloud Storage does not store the key; objects written with it cannot be read without
    /// it.
    #[block(audience = "https://*.googleapis.com {config.credentials.config.endpoint}")]
    #[block(audience = "https://storage.{config.credentials.config.service_account.universe_domain}")]
    #[block(header = "x-goog-encryption-key x-goog-encryption-key-sha256")]
    #[block(header = "x-goog-copy-source-encryption-key x-goog-copy-source-encryption-key-sha256")]
    pub(crate) encryption_key: Option<Secret<String>>,
}

/// Metadata of an object.
#[data]
struct Object {
    /// Path, relative to the block's prefix.
    path: String,
    /// Size in bytes.
    size: u64,
    /// Time of the last change (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    updated: Option<String>,
    /// Media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    /// CRC32C checksum, big-endian, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    crc32c: Option<String>,
    /// Generation number: identifies this version of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<String>,
    /// Content encoding of the stored bytes (`Content-Encoding`), e.g. `gzip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    content_encoding: Option<String>,
    /// `true` if Cloud Storage decompressed the returned bytes (decompressive transcoding). `size`
    /// and `crc32c` describe the stored bytes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    decoded: bool,
    /// Custom metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
}

/// A page of a listing.
#[data]
struct Page {
    /// Objects, in order of their names.
    objects: Vec<Object>,
    /// Common prefixes of the objects whose paths contain the delimiter after `prefix`.
    prefixes: Vec<String>,
    /// Token for the next page; omitted on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

/// HTTP method that a signed URL authorizes.
#[data]
#[derive(Clone, Copy, Default)]
#[serde(rename_all = "UPPERCASE")]
enum WriteMethod {
    #[default]
    Put,
    Delete,
}

/// A bucket.
#[data]
struct Bucket {
    /// Bucket name.
    name: String,
    /// Location, e.g. `EUROPE-WEST3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
}

#[operations]
impl GcsBucket {
    /// Lists the objects whose paths begin with a prefix, one page at a time.
    #[operation(read)]
    fn list(
        &self,
        /// Prefix of the paths, e.g. `2024/`.
        #[serde(default)]
        prefix: String,
        /// Groups paths that contain this delimiter after the prefix into `prefixes`; use `/` for
        /// folders.
        delimiter: Option<String>,
        /// Maximum number of objects. Cloud Storage defaults to 1,000.
        page_size: Option<u32>,
        /// `next_page_token` of the previous page.
        page_token: Option<String>,
    ) -> Result<Page> {
        let own = Prefix::new(&self.prefix);
        let beginning = own.beginning(&prefix)?;
        let size = page_size.map(|size| size.to_string());
        let parameters: Vec<(&str, &str)> = [
            ("prefix", Some(beginning.as_str()).filter(|prefix| !prefix.is_empty())),
            ("delimiter", delimiter.as_deref()),
            ("maxResults", size.as_deref()),
            ("pageToken", page_token.as_deref()),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
        let url = format!("{}/o", self.url()?);
        let answer = self.send(|| http::get(url.as_str()).query(parameters.iter().copied()))?;
        let found: Value = api::ok(answer, &self.what())?.json()?;
        let items = found["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let prefixes = found["prefixes"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(Page {
            objects: items.iter().map(|item| self.object(item)).collect::<Result<_>>()?,
            prefixes: prefixes.iter().filter_map(Value::as_str).map(|prefix| own.path(prefix)).collect(),
            next_page_token: found["nextPageToken"].as_str().filter(|token| !token.is_empty()).map(str::to_owned),
        })
    }

    /// Returns the metadata of an object.
    #[operation(read)]
    fn stat(
        &self,
        /// Path of the object.
        path: String,
    ) -> Result<Object> {
        self.object(&self.resource(&self.name(&path)?)?)
    }

    /// Returns the bytes of an object, or a range of them. Cloud Storage decompresses an object
    /// with `Content-Encoding: gzip`, unless its `Cache-Control` contains `no-transform`; ranges
    /// of such an object are not supported.
    #[operation(read)]
    fn get(
        &self,
        /// Path of the object.
        path: String,
        /// First byte, counted from 0.
        offset: Option<u64>,
        /// Number of bytes. Defaults to the rest of the object.
        length: Option<u64>,
    ) -> Result<Streamed<Object>> {
        let name = self.name(&path)?;
        let resource = self.resource(&name)?;
        let range = byte_range(offset, length)?;
        let encoded = resource["contentEncoding"].as_str() == Some("gzip");
        if encoded && range.is_some() {
            let message = format!("{} has the content encoding gzip, which does not support ranges", self.named(&name));
            return Err(Problem::invalid(message).hint("read the entire object"));
        }
        let url = self.object_url(&name)?;
        // Requires the same generation, so that the metadata describes the bytes.
        let generation = resource["generation"].as_str().unwrap_or_default();
        let mut parameters = vec![("alt", "media")];
        if !generation.is_empty() {
            parameters.push(("ifGenerationMatch", generation));
        }
        let answer = self.send(|| {
            let request = self.key().with(http::get(url.as_str()).query(parameters.iter().copied()));
            match &range {
                Some(range) => request.header("range", range),
                None => request,
            }
        })?;
        if answer.status == 416 {
            return Err(Problem::invalid(format!("{} has no bytes in the requested range", self.named(&name))));
        }
        let answer = api::ok(answer, &self.named(&name))?;
        // Without `Content-Encoding`, the response is decompressed and does not match the checksum.
        let decoded = encoded && answer.header("content-encoding").is_none();
        let object = self.object(&resource)?;
        Ok(Streamed { result: Object { decoded, ..object }, body: answer.body })
    }

    /// Stores the input as an object.
    #[operation(write)]
    fn put(
        &self,
        /// Path of the object.
        path: String,
        /// Media type. Defaults to that of the input.
        content_type: Option<String>,
        /// Fails if an object with this path exists.
        #[serde(default)]
        if_absent: bool,
        /// Fails unless the object has this generation (see `stat`), so that concurrent changes are
        /// not overwritten.
        if_generation: Option<String>,
        /// Custom metadata.
        #[serde(default)]
        metadata: BTreeMap<String, String>,
        /// Storage class if it is not the bucket's default: `NEARLINE`, `COLDLINE` or `ARCHIVE`.
        storage_class: Option<String>,
        input: Body,
    ) -> Result<Object> {
        let mut resource = Map::new();
        if !metadata.is_empty() {
            resource.insert("metadata".to_owned(), json!(metadata));
        }
        if let Some(class) = storage_class {
            resource.insert("storageClass".to_owned(), class.into());
        }
        let only_over = match (if_absent, if_generation) {
            (true, Some(_)) => return Err(Problem::invalid("`if_absent` and `if_generation` cannot be combined")),
            (true, None) => Some("0".to_owned()),
            (false, generation) => generation.map(generation_number).transpose()?,
        };
        let content_type = content_type.unwrap_or_else(|| input.media_type());
        let content_type = if content_type.is_empty() { "application/octet-stream".to_owned() } else { content_type };
        let upload = Upload { bucket: self, name: self.name(&path)?, content_type, resource, only_over };
        self.object(&upload.send(&input)?)
    }

    /// Deletes an object.
    #[operation(destructive)]
    fn delete(
        &self,
        /// Path of the object.
        path: String,
        /// Fails unless the object has this generation (see `stat`).
        if_generation: Option<String>,
    ) -> Result<()> {
        let generation = if_generation.map(generation_number).transpose()?;
        self.remove(&self.name(&path)?, generation.as_deref())
    }

    /// Copies an object within the bucket. The bytes are copied by Cloud Storage.
    #[operation(write)]
    fn copy(
        &self,
        /// Path of the source object.
        from: String,
        /// Path of the copy.
        to: String,
    ) -> Result<Object> {
        let resource = self.rewrite(&self.name(&from)?, &self.name(&to)?)?;
        self.object(&resource)
    }

    /// Moves an object to another path in the bucket.
    #[operation(destructive)]
    fn r#move(
        &self,
        /// Current path.
        from: String,
        /// New path.
        to: String,
    ) -> Result<Object> {
        let (from, to) = (self.name(&from)?, self.name(&to)?);
        if from == to {
            return Err(Problem::invalid("the source and the destination are the same object"));
        }
        let generation = self.resource(&from)?["generation"].as_str().map(str::to_owned);
        let resource = self.rewrite(&from, &to)?;
        // Deletes only the generation that was copied, so that a concurrent write is not lost.
        self.remove(&from, generation.as_deref())?;
        self.object(&resource)
    }

    /// Concatenates objects of the bucket into one, in the given order. The source objects are
    /// kept.
    #[operation(write)]
    fn compose(
        &self,
        /// Paths of the source objects, at most 32.
        from: Vec<String>,
        /// Path of the resulting object.
        to: String,
        /// Media type. Defaults to `application/octet-stream`.
        content_type: Option<String>,
    ) -> Result<Object> {
        if !(1..=COMPOSED).contains(&from.len()) {
            return Err(Problem::invalid(format!("expected 1 to {COMPOSED} source objects, found {}", from.len())));
        }
        let sources = from.iter().map(|path| Ok(json!({ "name": self.name(path)? }))).collect::<Result<Vec<_>>>()?;
        let name = self.name(&to)?;
        let content_type = content_type.unwrap_or_else(|| "application/octet-stream".to_owned());
        let request = json!({ "sourceObjects": sources, "destination": { "contentType": content_type } });
        // Requires the current generation: a retry could otherwise append the sources twice if the
        // destination is one of them.
        let now = match self.resource(&name) {
            Ok(resource) => resource["generation"].as_str().unwrap_or_default().to_owned(),
            Err(problem) if problem.code() == "not-found" => "0".to_owned(),
            Err(problem) => return Err(problem),
        };
        let parameters: Vec<(&str, &str)> =
            [("ifGenerationMatch", now.as_str())].into_iter().filter(|(_, now)| !now.is_empty()).collect();
        let url = format!("{}/compose", self.object_url(&name)?);
        let credentials = self.credentials()?;
        let (answer, sent) = api::send_counting(|| {
            let request = http::post(url.as_str()).query(parameters.iter().copied()).json(&request);
            Ok(credentials.sign(self.key().with(request)))
        })?;
        // An earlier attempt succeeded, but its response was lost.
        if sent > 1 && answer.status == 412 {
            return self.object(&self.resource(&name)?);
        }
        self.object(&api::ok(answer, &self.named(&name))?.json()?)
    }

    /// Returns the URI of an object for other Google services: `gs://BUCKET/NAME`.
    #[operation(read)]
    fn uri(
        &self,
        /// Path of the object; a `*` is not expanded.
        path: String,
    ) -> Result<String> {
        Ok(format!("gs://{}/{}", self.bucket, self.name(&path)?))
    }

    /// Creates a URL that allows anyone to read an object for a limited time (V4 signature).
    /// Requires a service account; no request is sent.
    #[operation(read)]
    fn sign_url(
        &self,
        /// Path of the object.
        path: String,
        /// Lifetime in seconds, at most seven days. Defaults to one hour.
        expires_in: Option<u64>,
    ) -> Result<String> {
        self.signed("GET", &path, expires_in, None)
    }

    /// Creates a URL that allows anyone to write or delete an object for a limited time (V4
    /// signature). Requires a service account; no request is sent.
    #[operation(destructive)]
    fn sign_write_url(
        &self,
        /// Path of the object.
        path: String,
        /// Method to authorize: `PUT` or `DELETE`.
        #[serde(default)]
        method: WriteMethod,
        /// Lifetime in seconds, at most seven days. Defaults to one hour.
        expires_in: Option<u64>,
        /// Media type that the request must declare, e.g. `text/csv`.
        content_type: Option<String>,
    ) -> Result<String> {
        let method = match method {
            WriteMethod::Put => "PUT",
            WriteMethod::Delete => "DELETE",
        };
        self.signed(method, &path, expires_in, content_type.as_deref())
    }

    /// Creates the bucket.
    #[operation(write)]
    fn create_bucket(
        &self,
        /// Location, e.g. `EUROPE-WEST3`. Defaults to `US`.
        location: Option<String>,
    ) -> Result<Bucket> {
        let credentials = self.credentials()?;
        let project = credentials.need_project()?;
        let url = format!("{}/storage/v1/b?project={}", credentials.base("storage"), http::percent_encode(project));
        let mut bucket = json!({ "name": self.bucket });
        if let Some(location) = location {
            bucket["location"] = location.into();
        }
        let answer = self.send(|| http::post(url.as_str()).json(&bucket))?;
        let made: Value = api::ok(answer, &self.what())?.json()?;
        Ok(Bucket { name: self.bucket.clone(), location: made["location"].as_str().map(str::to_owned) })
    }

    /// Requests an access token, then the metadata of the bucket.
    #[check]
    fn check(&self) -> Vec<Step> {
        let started = clock::now();
        let answered = self.url().and_then(|url| self.credentials()?.sign(http::get(url)).send());
        api::check(answered, &self.what(), started, |bucket| {
            bucket["location"].as_str().map(|location| format!("bucket in {location}"))
        })
    }

    /// Checks the bucket name and the prefix.
    #[validate]
    fn validate(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        let known = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
        let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let name = self.bucket.as_bytes();
        if !(3..=222).contains(&name.len())
            || !name.iter().all(|byte| known(*byte))
            || !ends(name.first().copied())
            || !ends(name.last().copied())
        {
            violations.push(Violation::new(
                "/bucket",
                "is not a valid bucket name: 3 to 63 characters of `a-z`, `0-9`, `-`, `_`, `.`, beginning and ending with a letter or digit, without `gs://`",
            ));
        }
        let prefix = self.prefix.trim_matches('/');
        if let Some(wrong) = path::mistake(prefix).filter(|_| !prefix.is_empty()) {
            violations.push(Violation::new("/prefix", wrong));
        }
        violations
    }
}

impl GcsBucket {
    pub(crate) fn credentials(&self) -> Result<&GcpCredentials> {
        self.credentials.get()
    }

    fn signed(&self, method: &str, path: &str, expires_in: Option<u64>, content_type: Option<&str>) -> Result<String> {
        let credentials = self.credentials()?;
        let Some(account) = &credentials.service_account else {
            return Err(
                Problem::invalid("user credentials cannot sign URLs").hint("use credentials with a `service_account`")
            );
        };
        let lasts = Duration::from_secs(expires_in.unwrap_or(60 * 60));
        if lasts.is_zero() || lasts > signed::LONGEST {
            return Err(Problem::invalid(format!(
                "`expires_in` must be between 1 and {} seconds",
                signed::LONGEST.as_secs()
            )));
        }
        if content_type.is_some_and(|kind| kind.chars().any(char::is_control)) {
            return Err(Problem::invalid("the media type contains a control character"));
        }
        let permission = Permission {
            account: &account.client_email,
            base: &credentials.base("storage"),
            method,
            bucket: &self.bucket,
            object: &self.name(path)?,
            content_type,
            from: clock::now(),
            lasts,
        };
        permission.url(&account.private_key)
    }

    /// Deletes an object, or only the given generation of it.
    pub(crate) fn remove(&self, name: &str, generation: Option<&str>) -> Result<()> {
        let url = self.object_url(name)?;
        let parameters: Vec<(&str, &str)> = generation
            .filter(|generation| !generation.is_empty())
            .map(|generation| ("ifGenerationMatch", generation))
            .into_iter()
            .collect();
        let credentials = self.credentials()?;
        let (answer, sent) =
            api::send_counting(|| Ok(credentials.sign(http::delete(url.as_str()).query(parameters.iter().copied()))))?;
        // An earlier attempt deleted the object, but its response was lost.
        if sent > 1 && answer.status == 404 {
            return Ok(());
        }
        api::ok(answer, &self.named(name)).map(drop)
    }

    /// Copies an object within Cloud Storage, in as many requests as it requires.
    fn rewrite(&self, from: &str, to: &str) -> Result<Value> {
        let to = http::percent_encode(to);
        let url = format!("{}/rewriteTo/b/{}/o/{to}", self.object_url(from)?, http::percent_encode(&self.bucket));
        let mut token: Option<String> = None;
        loop {
            let parameters: Vec<(&str, &str)> =
                token.as_deref().map(|token| ("rewriteToken", token)).into_iter().collect();
            let answer = self.send(|| {
                self.key().with_both(http::post(url.as_str()).query(parameters.iter().copied()).json(&json!({})))
            })?;
            let mut step: Value = api::ok(answer, &self.named(from))?.json()?;
            if step["done"] == true {
                return Ok(step["resource"].take());
            }
            token = step["rewriteToken"].as_str().map(str::to_owned);
            if token.is_none() {
                return Err(Problem::new("failed", "Cloud Storage returned no token to continue the copy"));
            }
        }
    }

    fn resource(&self, name: &str) -> Result<Value> {
        let url = self.object_url(name)?;
        let answer = self.send(|| self.key().with(http::get(url.as_str())))?;
        api::ok(answer, &self.named(name))?.json()
    }

    fn object(&self, resource: &Value) -> Result<Object> {
        let unread = || Problem::new("failed", "Cloud Storage returned an object in an unexpected format");
        let text = |field: &str| resource[field].as_str().map(str::to_owned);
        let size = resource["size"].as_str().and_then(|size| size.parse().ok()).or_else(|| resource["size"].as_u64());
        let metadata = resource["metadata"].as_object().into_iter().flatten();
        Ok(Object {
            path: Prefix::new(&self.prefix).path(resource["name"].as_str().ok_or_else(unread)?),
            size: size.ok_or_else(unread)?,
            updated: text("updated"),
            content_type: text("contentType"),
            crc32c: text("crc32c"),
            generation: text("generation"),
            content_encoding: text("contentEncoding"),
            decoded: false,
            metadata: metadata
                .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
                .collect(),
        })
    }

    pub(crate) fn key(&self) -> Key<'_> {
        Key(self.encryption_key.as_ref())
    }

    /// Sends an idempotent request, retrying transient failures.
    fn send(&self, request: impl Fn() -> Request) -> Result<http::Response> {
        let credentials = self.credentials()?;
        api::send(|| credentials.sign(request()))
    }

    fn url(&self) -> Result<String> {
        Ok(format!("{}/storage/v1/b/{}", self.credentials()?.base("storage"), http::percent_encode(&self.bucket)))
    }

    fn object_url(&self, name: &str) -> Result<String> {
        Ok(format!("{}/o/{}", self.url()?, http::percent_encode(name)))
    }

    fn name(&self, path: &str) -> Result<String> {
        Prefix::new(&self.prefix).name(path)
    }

    fn what(&self) -> String {
        format!("bucket `{}`", self.bucket)
    }

    fn named(&self, name: &str) -> String {
        format!("object `{name}` of bucket `{}`", self.bucket)
    }
}

/// Validates a generation, which is a 64-bit number.
fn generation_number(text: String) -> Result<String> {
    match text.parse::<u64>() {
        Ok(0) => Err(Problem::invalid("generation 0 does not identify an object")
            .hint("use `if_absent` to require that the object does not exist")),
        Ok(_) => Ok(text),
        Err(_) => Err(Problem::invalid(format!("`{}` is not a valid generation", text.escape_debug()))),
    }
}

/// `Range` header (RFC 9110, section 14.2), or `None` for the entire object.
fn byte_range(offset: Option<u64>, length: Option<u64>) -> Result<Option<String>> {
    let begin = offset.unwrap_or(0);
    Ok(match length {
        Some(0) => return Err(Problem::invalid("`length` must be at least 1")),
        Some(length) => {
            let end = begin
                .checked_add(length - 1)
                .ok_or_else(|| Problem::invalid("the end of the range is out of bounds"))?;
            Some(format!("bytes={begin}-{end}"))
        }
        None if begin == 0 => None,
        None => Some(format!("bytes={begin}-")),
    })
}

#[cfg(test)]
mod tests {
    use super::byte_range;

    #[test]
    fn ranges() {
        let range = |offset, length| byte_range(offset, length).expect("a range");
        assert_eq!(range(None, None), None);
        assert_eq!(range(Some(0), None), None);
        assert_eq!(range(Some(5), None).as_deref(), Some("bytes=5-"));
        assert_eq!(range(Some(5), Some(3)).as_deref(), Some("bytes=5-7"));
        assert!(byte_range(None, Some(0)).is_err());
        assert!(byte_range(Some(u64::MAX), Some(2)).is_err());
    }
}
