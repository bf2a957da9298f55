//! Block type `gcs-bucket`, implemented with the Cloud Storage JSON API (version 1).

mod argument;
mod object;
mod request;

use std::collections::BTreeMap;

use blockyard_sdk::clock;
use blockyard_sdk::http;
use blockyard_sdk::prelude::*;
use blockyard_sdk::retry::RetriedResponse;

use crate::api;
use crate::credentials::GcpCredentials;
use crate::path::{self, Prefix};
use crate::upload::Upload;
use argument::{byte_range, generation_number};
use object::{Object, Page};

/// A Google Cloud Storage bucket, or the part of a bucket below a prefix.
#[derive(Block, Debug)]
#[block(type = "gcs-bucket", version = 1, title = "Google Cloud Storage bucket", interfaces(interface::ObjectStorage))]
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
impl interface::ObjectStorage for GcsBucket {
    /// Lists the objects whose paths begin with a prefix, one page at a time.
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
        let found: Value = api::ok(answer, &self.subject())?.json()?;
        let items = found["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let prefixes = found["prefixes"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(Page {
            objects: items.iter().map(|item| self.object(item)).collect::<Result<_>>()?,
            prefixes: prefixes.iter().filter_map(Value::as_str).map(|prefix| own.path(prefix)).collect(),
            next_page_token: found["nextPageToken"].as_str().filter(|token| !token.is_empty()).map(str::to_owned),
        })
    }

    /// Returns the metadata of an object.
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

    /// Stores the input as an object. A repeated call replaces the object by the same content; with
    /// `if_absent` or `if_generation`, it fails if the first one succeeded.
    #[operation(repeatable)]
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
    #[operation(repeatable)]
    fn copy(
        &self,
        /// Path of the source object.
        from: String,
        /// Path of the copy.
        to: String,
    ) -> Result<Object> {
        let resource = self.rewrite(&self.name(&from)?, &self.name(&to)?, None)?;
        self.object(&resource)
    }
}

#[operations]
impl GcsBucket {
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
        // Copies and deletes one generation, so that a concurrent write is not lost.
        let resource = self.rewrite(&from, &to, generation.as_deref())?;
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
        self.concatenate(&from, &to, content_type)
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
    #[operation(destructive, repeatable)]
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
        let RetriedResponse { response, attempts } =
            api::send_counting(|| Ok(credentials.sign(http::post(url.as_str()).json(&bucket))))?;
        let lost = attempts > 1 && response.status == 409;
        let created = api::ok(response, &self.subject()).map_err(|problem| match lost {
            true => problem.hint("check the bucket: a response was lost, and this call may have created it"),
            false => problem,
        });
        let created: Value = created?.json()?;
        Ok(Bucket { name: self.bucket.clone(), location: created["location"].as_str().map(str::to_owned) })
    }

    /// Requests an access token, then the metadata of the bucket.
    #[check]
    fn check(&self) -> Vec<Step> {
        let started = clock::now();
        let answered = self.url().and_then(|url| self.credentials()?.sign(http::get(url)).send());
        api::check(answered, &self.subject(), started, |bucket| {
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

#[cfg(test)]
mod tests;
