//! Objects and listings in results.

use std::collections::BTreeMap;

use blockyard_sdk::prelude::*;

use crate::path::Prefix;

/// Metadata of an object.
#[data]
pub(crate) struct Object {
    /// Path, relative to the block's prefix.
    pub(super) path: String,
    /// Size in bytes.
    pub(super) size: u64,
    /// Time of the last change (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) updated: Option<String>,
    /// Media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_type: Option<String>,
    /// CRC32C checksum, big-endian, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) crc32c: Option<String>,
    /// Generation number: identifies this version of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) generation: Option<String>,
    /// Content encoding of the stored bytes (`Content-Encoding`), e.g. `gzip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_encoding: Option<String>,
    /// `true` if Cloud Storage decompressed the returned bytes (decompressive transcoding). `size`
    /// and `crc32c` describe the stored bytes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) decoded: bool,
    /// Custom metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) metadata: BTreeMap<String, String>,
}

/// A page of a listing.
#[data]
pub(crate) struct Page {
    /// Objects, in order of their names.
    pub(super) objects: Vec<Object>,
    /// Common prefixes of the objects whose paths contain the delimiter after `prefix`.
    pub(super) prefixes: Vec<String>,
    /// Token for the next page; omitted on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_page_token: Option<String>,
}

impl Object {
    /// Reads an object from its API resource.
    pub(super) fn read(resource: &Value, prefix: &Prefix) -> Result<Self> {
        let unread = || Problem::new("failed", "Cloud Storage returned an object in an unexpected format");
        let text = |field: &str| resource[field].as_str().map(str::to_owned);
        let size = resource["size"].as_str().and_then(|size| size.parse().ok()).or_else(|| resource["size"].as_u64());
        let metadata = resource["metadata"].as_object().into_iter().flatten();
        Ok(Self {
            path: prefix.path(resource["name"].as_str().ok_or_else(unread)?),
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
}
