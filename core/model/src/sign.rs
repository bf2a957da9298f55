//! Signing forms: the only kinds of text that a bundle can have signed with a secret. A schema
//! declares the forms of a secret, and any other text is rejected, so that a bundle cannot obtain a
//! signed token, assertion or certificate.

use std::fmt;
use std::str::FromStr;

/// A grammar of text that a secret may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignForm {
    /// The string to sign of Cloud Storage's V4 signing process, signed with RSA:
    /// `GOOG4-RSA-SHA256`, a timestamp, a credential scope and the digest of a request, one per
    /// line.
    Goog4RsaSha256,
    /// `TIMESTAMP.BODY`, signed with HMAC. Used by Stripe and others for webhooks.
    TimestampHmacSha256,
    /// `v0:TIMESTAMP:BODY`, signed with HMAC. Used by Slack for requests.
    SlackHmacSha256,
}

/// Signature algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017).
    RsaSha256,
    /// HMAC with SHA-256 (RFC 2104).
    HmacSha256,
}

/// Error for an unknown name of a signing form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a signing form; the forms are `{}`", SignForm::ALL.map(SignForm::as_str).join("`, `"))]
pub struct SignFormError {
    given: String,
}

impl SignForm {
    /// All signing forms.
    pub const ALL: [Self; 3] = [Self::Goog4RsaSha256, Self::TimestampHmacSha256, Self::SlackHmacSha256];

    /// Returns the name of the form in a schema.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Goog4RsaSha256 => "goog4-rsa-sha256",
            Self::TimestampHmacSha256 => "timestamp-hmac-sha256",
            Self::SlackHmacSha256 => "slack-hmac-sha256",
        }
    }

    /// Returns the algorithm that signs text of this form.
    #[must_use]
    pub fn algorithm(self) -> SignAlgorithm {
        match self {
            Self::Goog4RsaSha256 => SignAlgorithm::RsaSha256,
            Self::TimestampHmacSha256 | Self::SlackHmacSha256 => SignAlgorithm::HmacSha256,
        }
    }

    /// Checks that all of `data` matches the grammar of the form.
    #[must_use]
    pub fn matches(self, data: &[u8]) -> bool {
        match self {
            Self::Goog4RsaSha256 => std::str::from_utf8(data).is_ok_and(is_goog4),
            Self::TimestampHmacSha256 => after_timestamp(data).is_some_and(|rest| rest.first() == Some(&b'.')),
            Self::SlackHmacSha256 => {
                data.strip_prefix(b"v0:").and_then(after_timestamp).is_some_and(|rest| rest.first() == Some(&b':'))
            }
        }
    }
}

/// Checks for `GOOG4-RSA-SHA256\nYYYYMMDDTHHMMSSZ\nYYYYMMDD/LOCATION/storage/goog4_request\nHEX64`.
fn is_goog4(text: &str) -> bool {
    let lines: Vec<&str> = text.split('\n').collect();
    let [algorithm, time, scope, digest] = lines.as_slice() else { return false };
    let parts: Vec<&str> = scope.split('/').collect();
    let [date, location, service, request] = parts.as_slice() else { return false };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let within = |range: std::ops::Range<usize>, numbers: std::ops::RangeInclusive<u8>| {
        time.get(range).and_then(|text| text.parse().ok()).is_some_and(|number| numbers.contains(&number))
    };
    *algorithm == "GOOG4-RSA-SHA256"
        && time.len() == 16
        && time.is_ascii()
        && digits(&time[..8])
        && time.as_bytes()[8] == b'T'
        && digits(&time[9..15])
        && time.ends_with('Z')
        && within(4..6, 1..=12)
        && within(6..8, 1..=31)
        && within(9..11, 0..=23)
        && within(11..13, 0..=59)
        && within(13..15, 0..=59)
        && *date == &time[..8]
        && (1..=63).contains(&location.len())
        && location.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && *service == "storage"
        && *request == "goog4_request"
        && digest.len() == 64
        && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns the bytes after a Unix timestamp of 10 to 13 digits. Base64 that begins with digits
/// never decodes to a `{`, even in a lenient decoder, so such text cannot be the input of a JSON
/// Web Signature.
fn after_timestamp(data: &[u8]) -> Option<&[u8]> {
    let digits = data.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (10..=13).contains(&digits).then(|| &data[digits..])
}

impl FromStr for SignForm {
    type Err = SignFormError;
    fn from_str(text: &str) -> Result<Self, SignFormError> {
        let known = Self::ALL.into_iter().find(|form| form.as_str() == text);
        known.ok_or_else(|| SignFormError { given: crate::name::printable(text) })
    }
}

impl fmt::Display for SignForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn goog4(text: &str) -> bool {
        SignForm::Goog4RsaSha256.matches(text.as_bytes())
    }

    #[test]
    fn a_string_to_sign_has_four_exact_lines() {
        let good = format!("GOOG4-RSA-SHA256\n20261124T000000Z\n20261124/auto/storage/goog4_request\n{DIGEST}");
        assert!(goog4(&good));
        for bad in [
            format!("{good}\n"),
            format!("\n{good}"),
            format!(" {good}"),
            format!("{good}.eyJpc3MiOiJhIn0"),
            good.replace("RSA", "HMAC"),
            good.replace("T000000Z", "T000000z"),
            good.replace("20261124", "20261324"),
            good.replace("20261124", "20261100"),
            good.replace("T000000Z", "T240000Z"),
            good.replace("20261124/", "20261125/"),
            good.replace("storage", "iam"),
            good.replace("goog4_request", "aws4_request"),
            good.replace("auto", "au.to"),
            good.replace(DIGEST, &DIGEST.to_uppercase()),
            good.replace(DIGEST, &DIGEST[1..]),
            good.replace('\n', "\r\n"),
            good.replacen('\n', "", 1),
            "GOOG4-RSA-SHA256\n20261124T000000Z\nscope\ndigest".to_owned(),
            String::new(),
        ] {
            assert!(!goog4(&bad), "{bad:?}");
        }
    }

    #[test]
    fn signing_input_of_a_token_matches_no_other_form() {
        let headers = [
            r#"{"alg":"RS256"}"#,
            r#" {"alg":"HS256"}"#,
            "\t\r\n{\"alg\":\"HS256\",\"x\":1e999}",
            r#"{"alg":"RS256","x":"\ud800"}"#,
            "\u{feff}{\"alg\":\"HS256\"}",
        ];
        for header in headers {
            for engine in [&base64_url, &base64_standard] as [&dyn Fn(&[u8]) -> String; 2] {
                let input = format!("{}.{}", engine(header.as_bytes()), engine(b"{\"sub\":\"admin\"}"));
                for form in SignForm::ALL {
                    assert!(!form.matches(input.as_bytes()), "{form}: {input}");
                    assert!(!form.matches(format!("\n{input}").as_bytes()), "{form}: {input}");
                }
            }
        }
        assert!(SignForm::TimestampHmacSha256.matches(b"1764000000.{\"a\":1}"));
        assert!(!SignForm::TimestampHmacSha256.matches(b"1764000000"));
        assert!(!SignForm::TimestampHmacSha256.matches(b"17640.x"));
        assert!(SignForm::SlackHmacSha256.matches(b"v0:1764000000:a=b"));
        assert!(!SignForm::SlackHmacSha256.matches(b"v1:1764000000:a=b"));
    }

    proptest::proptest! {
        /// The part before the first full stop is not a JSON object, even in a lenient decoder.
        #[test]
        fn hmac_input_with_a_json_header_is_rejected(data in "[0-9v:]{1,16}[.:][ -~]{0,40}") {
            if SignForm::ALL.iter().any(|form| form.matches(data.as_bytes())) {
                let header = data.split('.').next().unwrap_or_default();
                let letters: Vec<u8> = header.bytes().filter_map(sextet).collect();
                let first = letters.first().map_or(0, |first| first << 2 | letters.get(1).map_or(0, |next| next >> 4));
                proptest::prop_assert!(!matches!(first, b'{' | b' ' | b'\t' | b'\r' | b'\n' | 0xef), "{data}");
            }
        }
    }

    fn sextet(byte: u8) -> Option<u8> {
        match byte {
            b'A'..=b'Z' => Some(byte - b'A'),
            b'a'..=b'z' => Some(byte - b'a' + 26),
            b'0'..=b'9' => Some(byte - b'0' + 52),
            b'+' | b'-' => Some(62),
            b'/' | b'_' => Some(63),
            _ => None,
        }
    }

    fn encoded(bytes: &[u8], alphabet: &[u8; 64]) -> String {
        let mut text = String::new();
        for group in bytes.chunks(3) {
            let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
            for at in 0..=group.len() {
                text.push(char::from(alphabet[(bits >> (18 - 6 * at) & 63) as usize]));
            }
        }
        text
    }

    fn base64_url(bytes: &[u8]) -> String {
        encoded(bytes, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    }

    fn base64_standard(bytes: &[u8]) -> String {
        encoded(bytes, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
    }
}
