//! A bucket of Cloud Storage, by its JSON API (version 1).

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

/// How many objects one `compose` takes ("Composite objects", Cloud Storage).
const COMPOSED: usize = 32;

/// A bucket of Google Cloud Storage, or the part of one below a prefix.
#[derive(Block, Debug)]
#[block(type = "gcs-bucket", version = 1, title = "Google Cloud Storage bucket", interfaces("object-storage"))]
pub(crate) struct GcsBucket {
    /// Who calls.
    pub(crate) credentials: BlockRef<GcpCredentials>,
    /// The bucket's name.
    pub(crate) bucket: String,
    /// What stands before every path; empty for the whole bucket.
    #[serde(default)]
    pub(crate) prefix: String,
    /// A key of your own for the objects' encryption: 32 bytes in base64, as `openssl rand -base64 32` makes them.
    /// Cloud Storage does not keep it: what was written with it is not read without it.
    #[block(audience = "https://*.googleapis.com {config.credentials.config.endpoint}")]
    #[block(audience = "https://storage.{config.credentials.config.service_account.universe_domain}")]
    #[block(header = "x-goog-encryption-key x-goog-encryption-key-sha256")]
    #[block(header = "x-goog-copy-source-encryption-key x-goog-copy-source-encryption-key-sha256")]
    pub(crate) encryption_key: Option<Secret<String>>,
}

/// An object, without its bytes.
#[data]
struct Object {
    /// Its path, relative to the block's prefix.
    path: String,
    /// Its size, bytes.
    size: u64,
    /// When it was last changed (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    updated: Option<String>,
    /// Its media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    /// Its checksum: CRC32C, big-endian, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    crc32c: Option<String>,
    /// Which state of the object this is.
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<String>,
    /// The encoding of the stored bytes (`Content-Encoding`), such as `gzip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    content_encoding: Option<String>,
    /// Whether Cloud Storage decoded the bytes of this answer (decompressive transcoding). `size` and `crc32c` are
    /// those of the stored bytes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    decoded: bool,
    /// What its writers said about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
}

/// A page of a list.
#[data]
struct Page {
    /// Objects in the order of their names.
    objects: Vec<Object>,
    /// What stands for all objects whose paths go on after the delimiter.
    prefixes: Vec<String>,
    /// For the next page; none on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

/// What a signed URL lets somebody change.
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
    /// Its name.
    name: String,
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
}

#[operations]
impl GcsBucket {
    /// Objects whose paths begin with a prefix, a page at a time.
    #[operation(read)]
    fn list(
        &self,
        /// What the paths begin with.
        #[serde(default)]
        prefix: String,
        /// Paths that go on after this are shown as one prefix; `/` for folders.
        delimiter: Option<String>,
        /// How many at the most; Cloud Storage gives 1,000 of itself.
        page_size: Option<u32>,
        /// From the page before.
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

    /// What an object is, without its bytes.
    #[operation(read)]
    fn stat(
        &self,
        /// Its path.
        path: String,
    ) -> Result<Object> {
        self.object(&self.resource(&self.name(&path)?)?)
    }

    /// The bytes of an object, or a range of them. An object with `Content-Encoding: gzip` is decoded by Cloud
    /// Storage, unless its `Cache-Control` has `no-transform`; it has no ranges.
    #[operation(read)]
    fn get(
        &self,
        /// Its path.
        path: String,
        /// The first byte, from 0.
        offset: Option<u64>,
        /// How many bytes; where it is not said, all that follow.
        length: Option<u64>,
    ) -> Result<Streamed<Object>> {
        let name = self.name(&path)?;
        let resource = self.resource(&name)?;
        let range = byte_range(offset, length)?;
        let encoded = resource["contentEncoding"].as_str() == Some("gzip");
        if encoded && range.is_some() {
            let message = format!("{} is stored with gzip, and has no ranges of its decoded bytes", self.named(&name));
            return Err(Problem::invalid(message).hint("read the whole object"));
        }
        let url = self.object_url(&name)?;
        // That very state of the object: what was said of it holds for its bytes.
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
            return Err(Problem::invalid(format!("{} has no bytes in that range", self.named(&name))));
        }
        let answer = api::ok(answer, &self.named(&name))?;
        // Without `Content-Encoding`, what comes is not what is stored, which the checksum is about.
        let decoded = encoded && answer.header("content-encoding").is_none();
        let object = self.object(&resource)?;
        Ok(Streamed { result: Object { decoded, ..object }, body: answer.body })
    }

    /// Stores an object: its bytes are the input.
    #[operation(write)]
    fn put(
        &self,
        /// Its path.
        path: String,
        /// Its media type; where it is not said, that of the input.
        content_type: Option<String>,
        /// Only where there is no object at that path.
        #[serde(default)]
        if_absent: bool,
        /// Only over that state of the object (its generation, from `stat`): what somebody wrote since stays.
        if_generation: Option<String>,
        /// What to say about it.
        #[serde(default)]
        metadata: BTreeMap<String, String>,
        /// Its storage class, where it is not the bucket's: `NEARLINE`, `COLDLINE`, `ARCHIVE`.
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
            (true, Some(_)) => return Err(Problem::invalid("`if_absent` and `if_generation` do not go together")),
            (true, None) => Some("0".to_owned()),
            (false, generation) => generation.map(generation_number).transpose()?,
        };
        let content_type = content_type.unwrap_or_else(|| input.media_type());
        let content_type = if content_type.is_empty() { "application/octet-stream".to_owned() } else { content_type };
        let upload = Upload { bucket: self, name: self.name(&path)?, content_type, resource, only_over };
        self.object(&upload.send(&input)?)
    }

    /// Removes an object.
    #[operation(destructive)]
    fn delete(
        &self,
        /// Its path.
        path: String,
        /// Only that state of the object (its generation, from `stat`).
        if_generation: Option<String>,
    ) -> Result<()> {
        let generation = if_generation.map(generation_number).transpose()?;
        self.remove(&self.name(&path)?, generation.as_deref())
    }

    /// Copies an object within the bucket; its bytes stay where they are.
    #[operation(write)]
    fn copy(
        &self,
        /// Its path.
        from: String,
        /// The path of the copy.
        to: String,
    ) -> Result<Object> {
        let resource = self.rewrite(&self.name(&from)?, &self.name(&to)?)?;
        self.object(&resource)
    }

    /// Gives an object another path.
    #[operation(destructive)]
    fn r#move(
        &self,
        /// Its path.
        from: String,
        /// The new one.
        to: String,
    ) -> Result<Object> {
        let (from, to) = (self.name(&from)?, self.name(&to)?);
        if from == to {
            return Err(Problem::invalid("the object is there already"));
        }
        let generation = self.resource(&from)?["generation"].as_str().map(str::to_owned);
        let resource = self.rewrite(&from, &to)?;
        // What somebody wrote there meanwhile stays.
        self.remove(&from, generation.as_deref())?;
        self.object(&resource)
    }

    /// Joins objects of the bucket to one, in their order; they stay.
    #[operation(write)]
    fn compose(
        &self,
        /// Their paths, at most 32.
        from: Vec<String>,
        /// The path of the whole.
        to: String,
        /// Its media type.
        content_type: Option<String>,
    ) -> Result<Object> {
        if !(1..=COMPOSED).contains(&from.len()) {
            return Err(Problem::invalid(format!("{} objects cannot be joined; 1 to {COMPOSED} can", from.len())));
        }
        let sources = from.iter().map(|path| Ok(json!({ "name": self.name(path)? }))).collect::<Result<Vec<_>>>()?;
        let name = self.name(&to)?;
        let content_type = content_type.unwrap_or_else(|| "application/octet-stream".to_owned());
        let request = json!({ "sourceObjects": sources, "destination": { "contentType": content_type } });
        // Only over what is there now: sent again it would join twice what is joined to itself.
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
        // It was done, and the answer that said so did not arrive.
        if sent > 1 && answer.status == 412 {
            return self.object(&self.resource(&name)?);
        }
        self.object(&api::ok(answer, &self.named(&name))?.json()?)
    }

    /// Where an object is for Google's other services: `gs://BUCKET/NAME`.
    #[operation(read)]
    fn uri(
        &self,
        /// Its path; a `*` in it stays one.
        path: String,
    ) -> Result<String> {
        Ok(format!("gs://{}/{}", self.bucket, self.name(&path)?))
    }

    /// A URL with which anyone may read an object, for a while (V4 signature). A service account signs it;
    /// nobody is asked.
    #[operation(read)]
    fn sign_url(
        &self,
        /// Its path.
        path: String,
        /// For how many seconds, at most seven days; where it is not said, an hour.
        expires_in: Option<u64>,
    ) -> Result<String> {
        self.signed("GET", &path, expires_in, None)
    }

    /// A URL with which anyone may write an object, or remove it, for a while (V4 signature).
    #[operation(destructive)]
    fn sign_write_url(
        &self,
        /// Its path.
        path: String,
        /// `PUT` or `DELETE`.
        #[serde(default)]
        method: WriteMethod,
        /// For how many seconds, at most seven days; where it is not said, an hour.
        expires_in: Option<u64>,
        /// The media type that the request has to have.
        content_type: Option<String>,
    ) -> Result<String> {
        let method = match method {
            WriteMethod::Put => "PUT",
            WriteMethod::Delete => "DELETE",
        };
        self.signed(method, &path, expires_in, content_type.as_deref())
    }

    /// Makes the bucket.
    #[operation(write)]
    fn create_bucket(
        &self,
        /// Where; where it is not said, `US`.
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

    /// Gets a token, and asks for the bucket.
    #[check]
    fn check(&self) -> Vec<Step> {
        let started = clock::now();
        let answered = self.url().and_then(|url| self.credentials()?.sign(http::get(url)).send());
        api::check(answered, &self.what(), started, |bucket| {
            bucket["location"].as_str().map(|location| format!("bucket in {location}"))
        })
    }

    /// The names of buckets follow rules, and prefixes are paths.
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
                "is not the name of a bucket: 3 to 63 characters of `a-z`, `0-9`, `-`, `_`, `.`, beginning and ending with a letter or digit, without `gs://`",
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
            return Err(Problem::invalid("a person's credentials sign nothing")
                .hint("give the block credentials with `service_account`"));
        };
        let lasts = Duration::from_secs(expires_in.unwrap_or(60 * 60));
        if lasts.is_zero() || lasts > signed::LONGEST {
            return Err(Problem::invalid(format!("a URL is good for 1 to {} seconds", signed::LONGEST.as_secs())));
        }
        if content_type.is_some_and(|kind| kind.chars().any(char::is_control)) {
            return Err(Problem::invalid("the media type has a control character"));
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

    /// Removes an object, or only that state of it.
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
        // It is gone, and the answer that said so did not arrive.
        if sent > 1 && answer.status == 404 {
            return Ok(());
        }
        api::ok(answer, &self.named(name)).map(drop)
    }

    /// Copies on the server's side, in as many steps as it takes.
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
                return Err(Problem::new("failed", "Cloud Storage does not say how the copy goes on"));
            }
        }
    }

    fn resource(&self, name: &str) -> Result<Value> {
        let url = self.object_url(name)?;
        let answer = self.send(|| self.key().with(http::get(url.as_str())))?;
        api::ok(answer, &self.named(name))?.json()
    }

    fn object(&self, resource: &Value) -> Result<Object> {
        let unread = || Problem::new("failed", "Cloud Storage describes an object in a way that is not known");
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

    /// Sends a request that may be repeated.
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

/// A generation, which is a number of 64 bits.
fn generation_number(text: String) -> Result<String> {
    match text.parse::<u64>() {
        Ok(0) => Err(Problem::invalid("generation 0 is no object").hint("`if_absent` says that there must be none")),
        Ok(_) => Ok(text),
        Err(_) => Err(Problem::invalid(format!("`{}` is no generation", text.escape_debug()))),
    }
}

/// `Range` (RFC 9110, section 14.2); none for the whole object.
fn byte_range(offset: Option<u64>, length: Option<u64>) -> Result<Option<String>> {
    let begin = offset.unwrap_or(0);
    Ok(match length {
        Some(0) => return Err(Problem::invalid("a range has at least one byte")),
        Some(length) => {
            let end = begin.checked_add(length - 1).ok_or_else(|| Problem::invalid("the range ends nowhere"))?;
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
