//! Signatures with a secret as the key, of the capabilities `crypto` and `http`.

use blockyard_model::SecretValue;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;

use crate::problem::Problem;

/// Returns the HMAC-SHA256 (RFC 2104) of data.
#[must_use]
pub fn hmac_sha256(key: &SecretValue, data: &[u8]) -> Vec<u8> {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key.expose().as_bytes());
    ring::hmac::sign(&key, data).as_ref().to_vec()
}

/// Signs data with RSASSA-PKCS1-v1_5 and SHA-256 (RFC 8017, section 8.2). The key is an RSA private
/// key in PEM, as PKCS#8 or PKCS#1.
///
/// # Errors
/// Returns the [`Problem`] of a key that cannot be used.
pub fn rs256(key: &SecretValue, data: &[u8]) -> Result<Vec<u8>, Problem> {
    let unreadable = |reason: String| {
        Problem::new("invalid", format!("the private key cannot be used: {reason}"))
            .hint("use an RSA key of 2048 to 4096 bits in PEM, beginning with `-----BEGIN PRIVATE KEY-----`")
    };
    let der =
        PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).map_err(|_| unreadable("it is not PEM".to_owned()))?;
    let pair = match &der {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        _ => return Err(unreadable("it is not an RSA key".to_owned())),
    }
    .map_err(|error| unreadable(error.to_string()))?;
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), data, &mut signature)
        .map_err(|_| unreadable("signing failed".to_owned()))?;
    Ok(signature)
}
