//! Signatures with a secret that stays in the host. Requires the capability `crypto`, and a secret
//! whose schema names the form of the signed string: `#[block(sign = "goog4-rsa-sha256")]`.
//!
//! | form | text | function |
//! |---|---|---|
//! | `goog4-rsa-sha256` | the string to sign of Cloud Storage's V4 signing process | [`sign_rs256`] |
//! | `timestamp-hmac-sha256` | `TIMESTAMP.BODY` | [`hmac_sha256`] |
//! | `slack-hmac-sha256` | `v0:TIMESTAMP:BODY` | [`hmac_sha256`] |
//!
//! Strings of any other form are rejected. [`TokenSource`](crate::http::TokenSource) signs the
//! assertions that are exchanged for access tokens.

use crate::bindings::blockyard::bundle::crypto as wit;
use crate::{Result, Secret};

/// Computes the HMAC-SHA256 (RFC 2104) of a string of an HMAC form, with the secret as the key.
///
/// # Errors
/// The schema of the secret does not permit the form of the string.
pub fn hmac_sha256(key: &Secret<String>, data: &[u8]) -> Result<Vec<u8>> {
    Ok(wit::hmac_sha256(&key.handle()?, data)?)
}

/// Signs a string of an RSA form with RSASSA-PKCS1-v1_5 and SHA-256 (RFC 8017). The secret is a
/// PEM-encoded RSA private key.
///
/// # Errors
/// The secret is not an RSA private key, or its schema does not permit the form of the string.
pub fn sign_rs256(key: &Secret<String>, data: &[u8]) -> Result<Vec<u8>> {
    Ok(wit::sign_rs256(&key.handle()?, data)?)
}
