//! Signed URLs ("V4 signing process", Cloud Storage). A signed URL authorizes its holder to send
//! one kind of request for one object for a limited time, without other credentials.

use std::time::Duration;

use blockyard_sdk::http::percent_encode;
use blockyard_sdk::prelude::*;
use blockyard_sdk::{Secret, calendar, crypto};
use sha2::{Digest as _, Sha256};

/// Maximum lifetime of a signed URL: seven days.
pub(crate) const MAX_VALIDITY: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The request that a signed URL authorizes.
pub(crate) struct Permission<'a> {
    /// Email address of the service account that signs.
    pub(crate) account: &'a str,
    /// Base URL of the API, e.g. `https://storage.googleapis.com`.
    pub(crate) base: &'a str,
    pub(crate) method: &'a str,
    pub(crate) bucket: &'a str,
    pub(crate) object: &'a str,
    /// Media type that the request must declare, if any.
    pub(crate) content_type: Option<&'a str>,
    /// Start of validity, as time since 1970-01-01 UTC.
    pub(crate) from: Duration,
    pub(crate) validity: Duration,
}

impl Permission<'_> {
    /// Returns the signed URL.
    pub(crate) fn url(&self, key: &Secret<String>) -> Result<String> {
        self.signed(|text| crypto::sign_rs256(key, text.as_bytes()))
    }

    fn signed(&self, sign: impl FnOnce(&str) -> Result<Vec<u8>>) -> Result<String> {
        let time = self.time()?;
        let scope = format!("{}/auto/storage/goog4_request", &time[..8]);
        let host = self.base.split_once("://").map_or(self.base, |(_, host)| host);
        let path = [self.bucket].into_iter().chain(self.object.split('/')).map(percent_encode).collect::<Vec<_>>();
        let path = format!("/{}", path.join("/"));
        let (headers, names) = match self.content_type {
            Some(kind) => (format!("content-type:{kind}\nhost:{host}\n"), "content-type;host"),
            None => (format!("host:{host}\n"), "host"),
        };
        // The signature requires the parameters in alphabetical order.
        let query = [
            ("X-Goog-Algorithm", "GOOG4-RSA-SHA256".to_owned()),
            ("X-Goog-Credential", format!("{}/{scope}", self.account)),
            ("X-Goog-Date", time.clone()),
            ("X-Goog-Expires", self.validity.as_secs().to_string()),
            ("X-Goog-SignedHeaders", names.to_owned()),
        ]
        .map(|(name, value)| format!("{name}={}", percent_encode(&value)))
        .join("&");
        let request = format!("{}\n{path}\n{query}\n{headers}\n{names}\nUNSIGNED-PAYLOAD", self.method);
        let digest = hex(&Sha256::digest(request.as_bytes()));
        let signature = sign(&format!("GOOG4-RSA-SHA256\n{time}\n{scope}\n{digest}"))?;
        Ok(format!("{}{path}?{query}&X-Goog-Signature={}", self.base, hex(&signature)))
    }

    /// Returns the start of validity as `YYYYMMDDTHHMMSSZ`.
    fn time(&self) -> Result<String> {
        let micros = i64::try_from(self.from.as_secs()).ok().and_then(|seconds| seconds.checked_mul(1_000_000));
        let micros = micros.ok_or_else(|| Problem::new("failed", "the system clock is out of range"))?;
        Ok(calendar::timestamp_text(micros, true).replace(['-', ':'], ""))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_request_matches_the_documentation_of_google() {
        let permission = Permission {
            account: "example@example-project.iam.gserviceaccount.com",
            base: "https://storage.googleapis.com",
            method: "GET",
            bucket: "example-bucket",
            object: "cat pics/tabby.jpeg",
            content_type: None,
            from: Duration::from_secs(1_541_088_377),
            validity: Duration::from_secs(900),
        };
        let mut text = String::new();
        let url = permission.signed(|signed| {
            text = signed.to_owned();
            Ok(vec![0xab, 0x01])
        });
        assert_eq!(
            url.expect("a URL"),
            "https://storage.googleapis.com/example-bucket/cat%20pics/tabby.jpeg?X-Goog-Algorithm=GOOG4-RSA-SHA256&\
             X-Goog-Credential=example%40example-project.iam.gserviceaccount.com%2F20181101%2Fauto%2Fstorage%2Fgoog4_request&\
             X-Goog-Date=20181101T160617Z&X-Goog-Expires=900&X-Goog-SignedHeaders=host&X-Goog-Signature=ab01"
        );
        assert!(
            text.starts_with("GOOG4-RSA-SHA256\n20181101T160617Z\n20181101/auto/storage/goog4_request\n"),
            "{text}"
        );
    }
}
