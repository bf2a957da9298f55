//! Work done with a secret that does not give it away. Needs the capability `crypto`, and a secret
//! whose audience names `crypto`.

use crate::bindings::blockyard::bundle::crypto as wit;
use crate::{Result, Secret};

/// HMAC with SHA-256 (RFC 2104) under the secret.
///
/// # Errors
/// Where the secret is not meant for it.
pub fn hmac_sha256(key: &Secret<String>, data: &[u8]) -> Result<Vec<u8>> {
    Ok(wit::hmac_sha256(&key.handle()?, data)?)
}

/// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017); the secret is an RSA private key in PEM. The input of
/// a JSON Web Signature is refused: [`TokenSource`](crate::http::TokenSource) makes these.
///
/// # Errors
/// Where the secret is no such key, or not meant for it.
pub fn sign_rs256(key: &Secret<String>, data: &[u8]) -> Result<Vec<u8>> {
    Ok(wit::sign_rs256(&key.handle()?, data)?)
}
