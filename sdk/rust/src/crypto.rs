//! Signatures made with a secret that the bundle does not see. Needs the capability `crypto`, and a secret whose
//! schema names the form of the signed text: `#[block(sign = "goog4-rsa-sha256")]`.
//!
//! | form | text | function |
//! |---|---|---|
//! | `goog4-rsa-sha256` | the string to sign of Cloud Storage's V4 signing process | [`sign_rs256`] |
//! | `timestamp-hmac-sha256` | `TIMESTAMP.BODY` | [`hmac_sha256`] |
//! | `slack-hmac-sha256` | `v0:TIMESTAMP:BODY` | [`hmac_sha256`] |
//!
//! A text of any other form is refused. [`TokenSource`](crate::http::TokenSource) signs the assertions that buy
//! access tokens.

use crate::bindings::blockyard::bundle::crypto as wit;
use crate::{Result, Secret};

/// HMAC with SHA-256 (RFC 2104) of a text of an HMAC form, with the secret as the key.
///
/// # Errors
/// The schema does not name the form of this text.
pub fn hmac_sha256(key: &Secret<String>, data: &[u8]) -> Result<Vec<u8>> {
    Ok(wit::hmac_sha256(&key.handle()?, data)?)
}

/// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017) of a text of an RSA form; the secret is an RSA private key in PEM.
///
/// # Errors
/// The secret is no such key, or the schema does not name the form of this text.
pub fn sign_rs256(key: &Secret<String>, data: &[u8]) -> Result<Vec<u8>> {
    Ok(wit::sign_rs256(&key.handle()?, data)?)
}
